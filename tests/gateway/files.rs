//! Files through the compiled binary: the demo's `/files/`, and `stagedoor files DIR`.

use std::path::Path;

use rustix::process::Signal;

use crate::support::client::{Client, Speaks, next_octets, nothing};
use crate::support::exposition::Scrape;
use crate::support::peers::{find, stdout};
use crate::support::{Gateway, Process, run};

/// A directory with a page, a text of 300 000 octets, and a secret beside it.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("index.html"), "<h1>here</h1>").unwrap();
    std::fs::write(root.join("sub/long.txt"), long()).unwrap();
    std::fs::write(dir.path().join("secret"), "hunter2").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
    dir
}

fn long() -> String {
    (0..37_500).map(|number| format!("{number:07}\n")).collect()
}

/// `stagedoor files` on free ports.
fn serve(root: &Path, flags: &[&str]) -> Gateway {
    let mut args = vec!["files", root.to_str().unwrap(), "--listen", "127.0.0.1:0", "--plain", "127.0.0.1:0"];
    args.extend(flags);
    Gateway::of(Process::spawn(&args))
}

#[test]
fn a_directory_is_served_on_every_protocol() {
    let dir = site();
    let gateway = serve(&dir.path().join("root"), &[]);
    for speaks in Speaks::ALL {
        run(async {
            let mut client = Client::connect(&gateway, speaks).await;
            let index = client.get("/").await;
            assert_eq!((index.status, index.text()), (200, "<h1>here</h1>"), "{speaks:?}");
            assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
            let text = client.get("/sub/long.txt").await;
            assert_eq!((text.status, text.header("content-length")), (200, "300000"));
            assert!(text.text() == long());
            let head = client.bare("HEAD", "/sub/long.txt").await;
            assert_eq!((head.header("content-length"), head.body.len()), ("300000", 0));
            let part = client.request("GET", "/sub/long.txt").header("range", "bytes=8-14").body(nothing());
            let part = client.whole(part.unwrap()).await.unwrap();
            assert_eq!((part.status, part.text()), (206, "0000001"));
            assert_eq!(part.header("content-range"), "bytes 8-14/300000");
            let beyond =
                client.request("GET", "/sub/long.txt").header("range", "bytes=300000-").body(nothing());
            let beyond = client.whole(beyond.unwrap()).await.unwrap();
            assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */300000"));
            let tag = text.header("etag").to_owned();
            let again = client.request("GET", "/sub/long.txt").header("if-none-match", tag).body(nothing());
            let again = client.whole(again.unwrap()).await.unwrap();
            assert_eq!((again.status, again.body.len()), (304, 0));
            assert_eq!(client.get("/sub").await.header("location"), "/sub/");
            for (path, status) in [("/sub/", 403), ("/out", 403), ("/none", 404), ("/%2e%2e/secret", 400)] {
                let refused = client.get(path).await;
                assert_eq!(refused.status, status, "{path}");
                assert!(!refused.text().contains("hunter2"));
            }
            let refused = client.post("/", "").await;
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"));
        });
    }
}

#[test]
fn curl_takes_ranges_and_compressed_siblings() {
    let Some(curl) = find("curl") else { return };
    let dir = site();
    let files = serve(&dir.path().join("root"), &["--listing"]);
    let demo = Gateway::start();
    let of = |gateway: &Gateway| {
        [
            ("--http2", format!("https://localhost:{}", gateway.public.port()), gateway.process.ca_pem()),
            ("--http2-prior-knowledge", format!("http://{}", gateway.plain), gateway.process.ca_pem()),
            ("--http1.1", format!("http://{}", gateway.plain), gateway.process.ca_pem()),
        ]
    };
    let curl_of = |flag: &str, ca: &Path, args: &[&str]| {
        let common =
            ["-sS", "--max-time", "30", "--noproxy", "*", "-4", "--cacert", ca.to_str().unwrap(), flag];
        stdout(&curl, &[&common, args].concat())
    };
    for (flag, site, ca) in of(&files) {
        let url = format!("{site}/sub/long.txt");
        assert_eq!(curl_of(flag, &ca, &["-r", "0-6", &url]), "0000000");
        assert_eq!(curl_of(flag, &ca, &["-r", "-8", &url]), "0037499\n");
        let climbing =
            curl_of(flag, &ca, &["--path-as-is", "-w", "%{http_code}", &format!("{site}/../secret")]);
        assert!(climbing.ends_with("400") && !climbing.contains("hunter2"), "{climbing}");
        assert!(curl_of(flag, &ca, &[&format!("{site}/sub/")]).contains("long.txt</a>"));
    }
    for (flag, site, ca) in of(&demo) {
        for name in ["", "style.css", "play.txt", "door.svg"] {
            let url = format!("{site}/files/{name}");
            let plain = curl_of(flag, &ca, &[&url]);
            assert!(!plain.is_empty());
            for coding in ["br", "zstd", "gzip"] {
                let accept = format!("accept-encoding: {coding}");
                let shrunk = ["--compressed", "-H", &accept, &url];
                assert!(curl_of(flag, &ca, &shrunk) == plain, "{coding} of {url} is {url}");
                let said = curl_of(flag, &ca, &["-o", "/dev/null", "-D", "-", "-H", &accept, &url]);
                assert!(said.contains(&format!("content-encoding: {coding}\r\n")), "{said}");
            }
        }
    }
}

#[test]
fn nghttp_takes_a_page_and_what_it_needs() {
    let Some(nghttp) = find("nghttp") else { return };
    let gateway = Gateway::start();
    let log = stdout(&nghttp, &["-nva", "--no-dep", "-t", "30", &format!("http://{}/files/", gateway.plain)]);
    assert_eq!(log.matches(":status: 200").count(), 3, "the page, its style and its picture: {log}");
    assert!(!log.contains("recv RST_STREAM") && !log.contains("[ERROR]"), "{log}");
}

#[test]
fn the_demo_serves_a_real_directory() {
    let gateway = Gateway::start();
    for speaks in Speaks::ALL {
        run(async {
            let mut client = Client::connect(&gateway, speaks).await;
            assert_eq!(client.get("/files").await.header("location"), "/files/");
            let page = client.get("/files/").await;
            assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
            let text = client.get("/files/play.txt").await;
            assert!(text.text().starts_with("THE STAGE DOOR\n") && text.text().ends_with("CURTAIN\n"));
            assert_eq!(text.header("last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
            assert_eq!((text.header("vary"), text.header("cache-control")), ("accept-encoding", "no-cache"));
            let tag = text.header("etag").to_owned();
            assert!(tag.starts_with('"'), "{tag}");
            let range = client.request("GET", "/files/play.txt").header("range", "bytes=4-8");
            let part = client.whole(range.header("if-range", &tag).body(nothing()).unwrap()).await.unwrap();
            assert_eq!((part.status, part.text()), (206, "STAGE"));
            let wrong =
                client.request("GET", "/files/play.txt").header("if-match", "\"other\"").body(nothing());
            assert_eq!(client.whole(wrong.unwrap()).await.unwrap().status, 412);
            assert_eq!(client.get("/files/none").await.status, 404);
            assert_eq!(client.bare("DELETE", "/files/play.txt").await.status, 405);
        });
    }
    // It lies where state lies, so what is changed there is seen.
    let demo = gateway.process.state().join("demo");
    let place = std::fs::read_dir(&demo).unwrap().next().unwrap().unwrap().path();
    std::fs::write(place.join("new.txt"), "new").unwrap();
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::H2c).await.get("/files/new.txt").await.text(), "new");
    });
}

#[test]
fn the_banner_says_what_is_served_and_admin_is_asked_for() {
    let dir = site();
    let root = dir.path().join("root");
    let gateway = serve(&root, &["--workers", "1"]);
    let stderr = gateway.process.stderr();
    let first = stderr.lines().next().unwrap();
    assert!(
        first.ends_with(&format!("1 worker   files: {}   listings off (--listing)", root.display())),
        "{stderr}"
    );
    assert!(!stderr.contains("admin") && !stderr.contains("metrics"), "{stderr}");
    let gateway = serve(&root, &["--admin", "127.0.0.1:0", "--listing"]);
    assert!(gateway.process.stderr().contains("listings on"));
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::H2c).await.get("/").await.status, 200);
        let scrape = Scrape::read(Client::admin(&gateway).await.get("/metrics").await.text());
        assert_eq!(scrape.sum("stagedoor_requests_total", &[("route", "files"), ("code", "200")]), 1.0);
    });
}

#[test]
fn term_lets_a_file_end() {
    let dir = site();
    let gateway = serve(&dir.path().join("root"), &[]);
    run(async {
        let mut client = Client::connect_with(&gateway, Speaks::H2c, 65_535).await;
        let request = client.request("GET", "/sub/long.txt").body(nothing()).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        let mut received = next_octets(&mut body).await.unwrap().unwrap().len();
        gateway.process.signal(Signal::TERM);
        gateway.process.line(|line| line.contains("draining"));
        while let Some(octets) = next_octets(&mut body).await {
            received += octets.unwrap().len();
        }
        assert_eq!(received, 300_000);
    });
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("drained in "), "{stderr}");
}

#[test]
fn a_directory_that_cannot_be_served_is_exit_1_and_a_taken_port_3() {
    let dir = site();
    let fails = |args: &[&str], code: i32, said: &[&str]| {
        let (status, stderr) = Process::spawn(args).ended();
        assert_eq!(status.code(), Some(code), "{stderr}");
        for said in said {
            assert!(stderr.contains(said), "{stderr}");
        }
        assert!(!stderr.contains("panic"), "{stderr}");
    };
    let none = dir.path().join("none");
    fails(&["files", none.to_str().unwrap()], 1, &["none: there is none", "name a directory that exists"]);
    let file = dir.path().join("secret");
    fails(
        &["files", file.to_str().unwrap()],
        1,
        &["secret: it is no directory", "the directory the file lies in"],
    );
    fails(&["files"], 2, &["<DIR>"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    for (args, flag) in [
        (["files", root, "--listen", &address, "--plain", "127.0.0.1:0"], "--listen"),
        (["files", root, "--listen", "127.0.0.1:0", "--plain", &address], "--plain"),
    ] {
        fails(&args, 3, &["the port is taken", &format!("choose another with {flag} ADDR")]);
    }
}
