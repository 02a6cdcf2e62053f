//! `stagedoor files DIR` against those who want out of DIR, and with files that do not hold still, over sockets. The
//! long form is in `actors/tests/files/`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};

use crate::support::client::{Client, Speaks, next_octets, nothing};
use crate::support::raw::{DATA, HEADERS, RST_STREAM, Raw};
use crate::support::{Gateway, PATIENCE, Process, run};

const SECRET: &str = "hunter2";
const LARGE: usize = 6_000_000;

/// A directory to serve, with a secret beside it and every way that seems to lead there.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let root = at.join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir_all(root.join(".git")).unwrap();
    std::fs::create_dir(at.join("outside")).unwrap();
    for name in ["secret", "outside/name", "root/.git/config"] {
        std::fs::write(at.join(name), SECRET).unwrap();
    }
    std::fs::write(root.join("file"), "inside").unwrap();
    std::fs::write(root.join("sub/name"), "inside").unwrap();
    std::fs::write(root.join("<b>'\"\n"), "inside").unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("../outside", root.join("gate")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    mkfifoat(CWD, root.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    dir
}

fn serve(dir: &tempfile::TempDir) -> Gateway {
    let root = dir.path().join("root");
    let root = root.to_str().unwrap();
    let args = ["files", root, "--listing", "--listen", "127.0.0.1:0", "--plain", "127.0.0.1:0"];
    Gateway::of(Process::spawn(&args))
}

#[test]
fn no_path_leads_out_on_any_protocol() {
    let dir = site();
    let gateway = serve(&dir);
    for speaks in Speaks::ALL {
        run(async {
            let mut client = Client::connect(&gateway, speaks).await;
            for (path, status) in [
                ("/../secret", 400),
                ("/sub/../../secret", 400),
                ("/%2e%2e/secret", 400),
                ("/%2E./secret", 400),
                ("/..%2fsecret", 400),
                ("/..%5csecret", 400),
                ("/file%00", 400),
                ("/%zz", 400),
                ("/%252e%252e/secret", 404),
                ("/%c0%ae%c0%ae/secret", 404),
                ("//etc/passwd", 404),
                ("/..;/secret", 404),
                ("/.git/config", 404),
                ("/%2egit/config", 404),
                ("/file/", 404),
                ("/out", 403),
                ("/gate/name", 403),
                ("/gate/", 403),
                ("/absolute", 403),
                ("/magic/etc/passwd", 403),
                ("/loop", 403),
                ("/fifo", 403),
                (&format!("/{}", "n".repeat(256)), 404),
                ("/file", 200),
            ] {
                let answer = client.get(path).await;
                assert_eq!(answer.status, status, "{speaks:?} {path}: {}", answer.text());
                assert!(!answer.text().contains(SECRET) && !answer.text().contains("root:"), "{path}");
            }
            let page = client.get("/").await;
            let page = page.text();
            for absent in ["<b>", "./out", "./gate", "./absolute", "./magic", "./fifo", ".git"] {
                assert!(!page.contains(absent), "{absent} is in {page}");
            }
            assert!(page.contains("./%3Cb%3E%27%22%0A") && page.contains("&lt;b&gt;"), "{page}");
        });
    }
}

/// What no client library sends.
#[test]
fn octets_that_are_no_path_are_refused_by_both_protocols() {
    let dir = site();
    let gateway = serve(&dir);
    for path in ["\\..\\secret", "file", "../secret", "*", "?file", "", "/fi\x01le", "/file\x7f"] {
        let mut raw = Raw::connect(gateway.plain, 65_535);
        raw.request(1, "GET", path, true);
        let reset = raw.next_of(RST_STREAM);
        assert_eq!((reset.stream, reset.number(0)), (1, 1), "PROTOCOL_ERROR for {path:?}");
        // The session lives.
        raw.request(3, "GET", "/file", true);
        assert_eq!(raw.body(3, 6), b"inside");

        let mut socket = TcpStream::connect(gateway.plain).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\nGET /file HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path:?}: {answer}");
        assert!(!answer.contains("inside"), "nothing is asked behind it: {answer}");
    }
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "GET", "/..\\secret", true);
    assert_eq!(raw.next_of(HEADERS).stream, 1);
    assert!(!String::from_utf8(raw.next_of(DATA).payload).unwrap().contains(SECRET));
}

#[test]
fn a_file_that_is_cut_while_sent_is_never_taken_for_whole() {
    let dir = site();
    let large = dir.path().join("root/large");
    let gateway = serve(&dir);
    for speaks in Speaks::ALL {
        std::fs::write(&large, vec![b'x'; LARGE]).unwrap();
        run(async {
            let mut client = Client::connect_with(&gateway, speaks, 65_535).await;
            let request = client.request("GET", "/large").body(nothing()).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.headers()["content-length"], LARGE.to_string());
            let mut body = response.into_body();
            let mut received = next_octets(&mut body).await.unwrap().unwrap().len();
            std::fs::File::options().write(true).open(&large).unwrap().set_len(1_000).unwrap();
            let error = loop {
                match next_octets(&mut body).await.expect("never silently short") {
                    Ok(octets) => received += octets.len(),
                    Err(error) => break error,
                }
            };
            assert!(received < LARGE, "{speaks:?}");
            if speaks.is_http2() {
                assert_eq!(error.code(), Some(h2::Reason::INTERNAL_ERROR), "{speaks:?}");
                assert_eq!(client.get("/file").await.text(), "inside", "the session lives");
            }
        });
    }
}

#[test]
fn a_name_exchanged_for_a_link_while_asked_for_never_leads_out() {
    let dir = site();
    let gateway = serve(&dir);
    let (file, link) = (dir.path().join("root/file"), dir.path().join("root/out"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            renameat_with(CWD, &file, CWD, &link, RenameFlags::EXCHANGE).unwrap();
        }
    });
    for speaks in Speaks::ALL {
        run(async {
            let mut client = Client::connect(&gateway, speaks).await;
            let (mut served, mut refused) = (0, 0);
            while served + refused < 500 || served < 10 || refused < 10 {
                let answer = client.get("/file").await;
                match (answer.status, answer.text()) {
                    (200, "inside") => served += 1,
                    (403, _) => refused += 1,
                    (status, body) => panic!("{speaks:?}: {status} {body}"),
                }
            }
        });
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
