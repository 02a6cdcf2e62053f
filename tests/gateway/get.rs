//! `stagedoor get` against the gateway and against servers that disappoint it.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stagedoor::{Response, devca};

use crate::support::command::{command, ended, seen_on, stagedoor, stagedoor_reading, terminal};
use crate::support::embedded::Embedded;
use crate::support::{Gateway, sha256};

/// Octets of `/bytes/{n}`.
fn bytes(count: usize) -> Vec<u8> {
    (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*b"-_").cycle().take(count).collect()
}

fn entries(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_body_comes_over_cleartext_and_over_tls_that_the_development_authority_vouches_for() {
    let gateway = Gateway::start();
    let state = gateway.process.state();
    let plain = format!("http://{}/bytes/300000", gateway.plain);
    let public = format!("https://localhost:{}/bytes/300000", gateway.public.port());
    let expected = stagedoor(state, &["get", &plain]).quietly();
    assert_eq!(expected.len(), 300_000);
    assert_eq!(expected[..4], bytes(4));
    assert_eq!(stagedoor(state, &["get", &public]).quietly(), expected);
    assert_eq!(stagedoor(state, &["get", "--h2c", &plain, "-o", "-"]).quietly(), expected);
}

#[test]
fn a_shell_may_redirect_it() {
    let gateway = Gateway::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let script = r#""$0" get "$1" > "$2" && "$0" get "$1" >> "$2""#;
    let status = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_stagedoor"), &format!("http://{}/bytes/10", gateway.plain)])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read(&file).unwrap(), b"ABCDEFGHIJABCDEFGHIJ");
}

#[test]
fn a_file_gets_its_name_when_it_is_whole_and_keeps_what_it_was_when_it_is_not() {
    let gateway = Gateway::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let (path, get) = (path.to_str().unwrap(), |path: &str| format!("http://{}{path}", gateway.plain));
    assert!(stagedoor(dir.path(), &["get", &get("/bytes/100000"), "-o", path]).quietly().is_empty());
    assert_eq!(fs::read(path).unwrap().len(), 100_000);
    // Over what is there, with its mode left to it.
    assert!(stagedoor(dir.path(), &["get", &get("/bytes/3"), "--output", path]).quietly().is_empty());
    assert_eq!(fs::read(path).unwrap(), b"ABC");
    let cut = stagedoor(dir.path(), &["get", &get("/panic?after=200000"), "-o", path]);
    cut.failed_with(3, "the response is not whole");
    cut.failed_with(3, "the peer reset the stream with INTERNAL_ERROR");
    cut.failed_with(3, "file was not written");
    assert_eq!(fs::read(path).unwrap(), b"ABC");
    assert_eq!(entries(dir.path()), ["file"]);
    stagedoor(dir.path(), &["get", &get("/"), "-o", dir.path().to_str().unwrap()])
        .failed_with(1, "it is a directory");
}

#[test]
fn a_response_shorter_than_it_said_is_no_success() {
    let short = |_| {
        let mut response = Response::text("short");
        response.fields.set("content-length", "10");
        response.into()
    };
    let server = Embedded::start(|_| (), short);
    let dir = tempfile::tempdir().unwrap();
    let ran = stagedoor(dir.path(), &["get", &format!("http://{}/", server.address)]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
}

#[test]
fn what_is_sent_comes_from_the_words_a_file_or_stdin() {
    let gateway = Gateway::start();
    let dir = tempfile::tempdir().unwrap();
    let (echo, digest) =
        (format!("http://{}/echo", gateway.plain), format!("http://{}/sha256", gateway.plain));
    assert_eq!(stagedoor(dir.path(), &["get", &echo, "-d", "words"]).quietly(), b"words");
    assert_eq!(stagedoor(dir.path(), &["get", &echo, "-d", ""]).quietly(), b"");
    let file = dir.path().join("file");
    let octets = bytes(3_000_000);
    fs::write(&file, &octets).unwrap();
    let from_file = format!("@{}", file.display());
    let hex = stagedoor(dir.path(), &["get", &digest, "-d", &from_file]).quietly();
    assert_eq!(String::from_utf8(hex).unwrap().trim_end(), sha256(&octets));
    for stdin in ["-", "@-"] {
        assert_eq!(
            stagedoor_reading(dir.path(), &["get", &echo, "-d", stdin], &octets[..500_000]).quietly(),
            &octets[..500_000]
        );
    }
    // What was refused unread is told as the server said it.
    let refused =
        stagedoor(dir.path(), &["get", "-f", &format!("http://{}/reject", gateway.plain), "-d", &from_file]);
    refused.failed_with(1, "the server answered 413");
    stagedoor(dir.path(), &["get", &echo, "-d", "@/no/such/file"])
        .failed_with(1, "cannot read /no/such/file");
    let directory = format!("@{}", dir.path().display());
    stagedoor(dir.path(), &["get", &echo, "-d", &directory]).failed_with(1, "it is a directory");
}

#[test]
fn fields_are_sent_as_they_were_given() {
    let gateway = Gateway::start();
    let url = format!("http://{}/headers?a=b#c", gateway.plain);
    let args =
        ["get", &url, "-H", "X-One: 1", "-H", "x-one: 2", "-H", "user-agent:me", "-H", "host: example.org"];
    let seen: Value = serde_json::from_slice(&stagedoor(gateway.process.state(), &args).quietly()).unwrap();
    assert_eq!((&seen["method"], &seen["path"]), (&json!("GET"), &json!("/headers?a=b")));
    assert_eq!(seen["authority"], "example.org");
    let fields = seen["fields"].as_array().unwrap();
    for field in [["x-one", "1"], ["x-one", "2"], ["user-agent", "me"], ["accept", "*/*"]] {
        assert!(fields.contains(&json!(field)), "{field:?} in {fields:?}");
    }
}

#[test]
fn verbose_shows_the_frames_both_ways_and_no_credentials() {
    let gateway = Gateway::start();
    let sites = [format!("http://{}", gateway.plain), format!("https://localhost:{}", gateway.public.port())];
    for site in sites {
        let url = format!("{site}/echo");
        let secrets =
            ["-H", "authorization: Bearer hush", "-H", "cookie: a=hush", "-H", "proxy-authorization: hush"];
        let ran =
            stagedoor(gateway.process.state(), &[&["get", "-v", &url, "-d", "hello"][..], &secrets].concat());
        assert_eq!((ran.code, &ran.out[..]), (Some(0), &b"hello"[..]), "{}", ran.err);
        let shown: Vec<_> = ran.err.lines().map(|line| line.split("] ").last().unwrap().trim()).collect();
        for line in [
            "> PREFACE",
            "< SETTINGS stream=0 length=0 flags=ACK",
            "> SETTINGS stream=0 length=0 flags=ACK",
            ":method: POST",
            ":path: /echo",
            "authorization: [redacted, 11 octets]",
            "proxy-authorization: [redacted, 4 octets]",
            "cookie: [redacted, 6 octets]",
            "content-length: 5",
            "> DATA stream=1 length=5 flags=END_STREAM",
            ":status: 200",
            // Our own: the gateway's may come too late to be seen.
            "last=2147483646 code=NO_ERROR",
        ] {
            assert!(shown.contains(&line), "no {line:?} in {}", ran.err);
        }
        for begin in ["> HEADERS stream=1 ", "< HEADERS stream=1 ", "< DATA stream=1 ", "> GOAWAY stream=0 "]
        {
            assert!(shown.iter().any(|line| line.starts_with(begin)), "no {begin:?} in {}", ran.err);
        }
        assert!(!ran.err.contains("hush"), "{}", ran.err);
    }
}

#[test]
fn verbose_shows_heads_before_the_answer_trailers_and_hides_cookies_that_are_set() {
    let gateway = Gateway::start();
    let shown = |path: &str| {
        let ran =
            stagedoor(gateway.process.state(), &["get", "-v", &format!("http://{}{path}", gateway.plain)]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err
    };
    let hints = shown("/hints");
    assert!(hints.contains(":status: 103") && hints.contains(":status: 200"), "{hints}");
    let trailers = shown("/trailers");
    assert!(trailers.contains("x-octets: 42"), "{trailers}");
    let cookies = |_| {
        let mut response = Response::text("set");
        response.fields.push("set-cookie", "session=hush");
        response.into()
    };
    let server = Embedded::start(|_| (), cookies);
    let ran = stagedoor(gateway.process.state(), &["get", "-v", &format!("http://{}/", server.address)]);
    assert!(
        ran.err.contains("set-cookie: [redacted, 12 octets]") && !ran.err.contains("hush"),
        "{}",
        ran.err
    );
}

#[test]
fn a_status_is_no_failure_unless_asked_to_be() {
    let gateway = Gateway::start();
    let url = format!("http://{}/status/503", gateway.plain);
    let body = stagedoor(gateway.process.state(), &["get", &url]).quietly();
    assert!(!body.is_empty());
    let ran = stagedoor(gateway.process.state(), &["get", "--fail", &url]);
    ran.failed_with(1, "the server answered 503");
    assert_eq!(ran.out, body);
    let fine = format!("http://{}/status/204", gateway.plain);
    assert!(stagedoor(gateway.process.state(), &["get", "--fail", &fine]).quietly().is_empty());
}

#[test]
fn wrong_input_is_1_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let get = |args: &[&str]| stagedoor(dir.path(), &[&["get"], args].concat());
    get(&["localhost:8443"]).failed_with(1, "begins with http:// or https://");
    get(&["ftp://localhost/"]).failed_with(1, "the scheme \"ftp\" is not supported");
    get(&["http://localhost:port/"]).failed_with(1, "the port is no number");
    get(&["http://me:secret@localhost/"]).failed_with(1, "-H 'authorization");
    get(&["--h2c", "https://localhost/"]).failed_with(1, "--h2c is HTTP/2 in cleartext");
    get(&["http://localhost/", "-H", "nothing"]).failed_with(1, "one looks like 'name: value'");
    get(&["http://localhost/", "-H", ":path: /"]).failed_with(1, "come from the URL");
    get(&["http://localhost/", "-o", "/no/such/dir/file"]).failed_with(1, "/no/such/dir/file");
    get(&[]).failed_with(2, "<URL>");
    let gateway = Gateway::start();
    // What HTTP/2 has no place for (RFC 9113 §8.2.2).
    get(&[&format!("http://{}/", gateway.plain), "-H", "connection: close"]).failed_with(1, "connection");
}

#[test]
fn who_cannot_be_reached_is_3_and_says_why() {
    let gateway = Gateway::start();
    let state = gateway.process.state();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    stagedoor(state, &["get", &format!("http://{nobody}/")]).failed_with(3, "cannot connect to 127.0.0.1");
    // Cleartext where TLS is spoken, and the other way around.
    stagedoor(state, &["get", &format!("https://{}/", gateway.plain)]).failed_with(3, "TLS with 127.0.0.1");
    let ran = stagedoor(state, &["get", &format!("http://{}/", gateway.public)]);
    ran.failed_with(3, "is it http:// or https://?");
    // Another user's state directory: nobody vouches for the certificate.
    let other = tempfile::tempdir().unwrap();
    let url = format!("https://localhost:{}/", gateway.public.port());
    let stranger = stagedoor(other.path(), &["get", &url]);
    stranger.failed_with(3, "TLS with localhost");
    stranger.failed_with(3, "vouches for its certificate");
    // A server that speaks HTTP/1.1 alone.
    let certificate = devca::load_or_make(state).unwrap();
    let tls = certificate.server_config().unwrap();
    let old = Embedded::start(
        |config| (config.tls, config.http2) = (Some(tls), false),
        |_| Response::text("old").into(),
    );
    stagedoor(state, &["get", &format!("https://localhost:{}/", old.address.port())])
        .failed_with(3, "does not speak HTTP/2");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10000000000", gateway.plain);
    let mut child = command(gateway.process.state(), &["get", &url]).spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    let mut first = [0; 10];
    reader.read_exact(&mut first).unwrap();
    drop(reader);
    assert_eq!(&first, b"ABCDEFGHIJ");
    assert!(ended(child).quietly().is_empty());
}

#[test]
fn a_signal_leaves_no_half_file_behind() {
    let gateway = Gateway::start();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/drip?bytes=1M&rate=1k", gateway.plain);
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        let path = dir.path().join("file");
        let args = ["get", "-v", &url, "-o", path.to_str().unwrap()];
        let mut child = command(gateway.process.state(), &args).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut said = String::new();
        while !said.contains("< DATA") {
            let mut piece = [0; 1000];
            let count = stderr.read(&mut piece).unwrap();
            assert_ne!(count, 0, "{said}");
            said.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        assert_eq!(entries(dir.path()).len(), 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(ended(child).code, Some(130), "{said}");
        assert!(said.contains(&format!("stopped by {name}")), "{said}");
        assert!(entries(dir.path()).is_empty());
    }
}

#[test]
fn a_terminal_sees_a_bar_and_a_pipe_does_not() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/30000000", gateway.plain);
    let (ours, theirs) = terminal();
    let mut child = command(gateway.process.state(), &["get", &url])
        .env("TERM", "xterm")
        .stderr(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut body = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut octets = Vec::new();
        body.read_to_end(&mut octets).unwrap();
        octets.len()
    });
    let seen = seen_on(ours);
    assert_eq!(ended(child).code, Some(0));
    assert_eq!(reader.join().unwrap(), 30_000_000);
    assert!(seen.contains("28.61 MiB of 28.61 MiB"), "{seen:?}");
    assert!(seen.contains("=====") && seen.contains("/s"), "{seen:?}");
}
