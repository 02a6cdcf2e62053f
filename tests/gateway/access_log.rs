//! The access log of the real binary: one line a request, nothing in it that should not be, and no request that
//! waits for it.

use std::collections::HashSet;
use std::path::Path;

use futures_util::future::join_all;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::support::client::{Client, Speaks, full, nothing};
use crate::support::raw::Raw;
use crate::support::{Gateway, Process, run};

/// Lines that wait for the writer at most (src/access/writer.rs), and some that a pipe may hold.
const MORE_THAN_FIT: usize = 4096 + 500;

/// Ends the gateway and reads what it wrote.
fn lines(gateway: Gateway, path: &Path) -> Vec<String> {
    gateway.terminate();
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("access log"), "{stderr}");
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn gateway(format: &str, path: &Path, more: &[&str]) -> Gateway {
    let flag = format!("{format}:{}", path.display());
    Gateway::start_with(&[&["--access-log", &flag], more].concat())
}

#[test]
fn every_request_is_one_line() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("access.log");
    let gateway = gateway("json", &path, &[]);
    run(async {
        for speaks in Speaks::ALL {
            let mut client = Client::connect(&gateway, speaks).await;
            assert_eq!(client.get("/bytes/1000?token=hidden").await.status, 200);
            assert_eq!(client.post("/sha256", "twelve octets").await.status, 200);
            assert_eq!(client.get("/nowhere").await.status, 404);
            let secret = client
                .request("GET", "/headers")
                .header("authorization", "Bearer hidden")
                .header("cookie", "id=hidden")
                .header("referer", "http://elsewhere.example/page?id=hidden")
                .header("user-agent", "quote\" and \\ \u{e4}")
                .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                .body(nothing());
            assert_eq!(client.whole(secret.unwrap()).await.unwrap().status, 200);
        }
        // Nobody asked for those.
        Client::admin(&gateway).await.get("/livez").await;
    });
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "GET", "/panic?after=0", true);
    while raw.next().is_some_and(|frame| frame.stream != 1) {}
    drop(raw);

    let lines = lines(gateway, &path);
    let text = lines.join("\n");
    assert!(!text.contains("hidden") && !text.contains("livez"), "{text}");
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4 * 4 + 1, "{text}");
    let mut traces = HashSet::new();
    for speaks in Speaks::ALL {
        let listener = if matches!(speaks, Speaks::H2 | Speaks::Http1Tls) { "public" } else { "plain" };
        let of_it: Vec<_> = lines
            .iter()
            .filter(|line| line["protocol"] == speaks.name() && line["listener"] == listener)
            .filter(|line| line["outcome"] == "complete")
            .collect();
        let seen: Vec<_> = of_it
            .iter()
            .map(|line| {
                let stream = line["stream"].as_u64().unwrap();
                let (method, path) = (line["method"].as_str().unwrap(), line["path"].as_str().unwrap());
                (stream, format!("{method} {path} {} {} {}", line["status"], line["bytes"], line["route"]))
            })
            .map(|(stream, line)| (stream / 2, line))
            .collect();
        let expected = [
            r#"GET /bytes/1000 200 {"in":0,"out":1000} "demo""#,
            r#"POST /sha256 200 {"in":13,"out":65} "demo""#,
        ];
        assert_eq!(seen.len(), 4, "{text}");
        assert_eq!([&seen[0].1, &seen[1].1], expected, "{text}");
        assert!(seen[2].1.starts_with("GET /nowhere 404 ") && seen[2].1.ends_with(r#""_unmatched""#));
        assert!(seen.is_sorted(), "streams are numbered as they come: {seen:?}");
        for line in &of_it[..3] {
            let trace = line["trace_id"].as_str().unwrap();
            assert!(trace.len() == 32 && traces.insert(trace.to_owned()), "{line}");
            let waits = line["waits"].as_object().unwrap();
            assert_eq!(waits.len(), 7, "{line}");
            assert!(line["duration_seconds"].as_f64() >= line["start_seconds"].as_f64(), "{line}");
        }
        let last = of_it[3];
        assert_eq!(last["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(last["user_agent"], "quote\" and \\ \u{e4}");
        assert_eq!(last["referer"], "http://elsewhere.example/page");
    }
    let panic = lines.iter().find(|line| line["path"] == "/panic").unwrap();
    assert_eq!((&panic["outcome"], &panic["method"]), (&"panic".into(), &"GET".into()));
}

#[test]
fn queries_are_written_where_they_are_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("access.log");
    let gateway = gateway("common", &path, &["--show-query"]);
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        client.get("/bytes/10?a=1").await;
    });
    let lines = lines(gateway, &path);
    let [line] = &*lines else { panic!("{lines:?}") };
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with(" +0000] \"GET /bytes/10?a=1 HTTP/2.0\" 200 10"), "{line}");
}

#[test]
fn nothing_a_client_sends_makes_a_second_line() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("access.log");
    let gateway = gateway("combined", &path, &[]);
    run(async {
        let mut client = Client::connect(&gateway, Speaks::Http1).await;
        let agent = http::HeaderValue::from_bytes(b"me\"\xff\t\\\" 200 1").unwrap();
        let request =
            client.request("POST", "/echo").header("user-agent", agent).body(full("hello")).unwrap();
        assert_eq!(client.whole(request).await.unwrap().text(), "hello");
    });
    let lines = lines(gateway, &path);
    let [line] = &*lines else { panic!("{lines:?}") };
    assert!(line.ends_with(r#""POST /echo HTTP/1.1" 200 5 "-" "me\"\xff\t\\\" 200 1""#), "{line}");
}

#[test]
fn a_log_nobody_reads_stops_no_request() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let gateway = gateway("json", &path, &[]);
    run(async {
        let client = Client::connect(&gateway, Speaks::H2c).await;
        let mut left = MORE_THAN_FIT;
        while left > 0 {
            let now = left.min(64);
            let requests = (0..now).map(|_| {
                let mut client = client.share();
                async move { client.get("/bytes/1").await.status }
            });
            assert!(join_all(requests).await.iter().all(|status| *status == 200));
            left -= now;
        }
        assert_eq!(Client::admin(&gateway).await.get("/livez").await.status, 200);
    });
    gateway.terminate();
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let lacks =
        stderr.lines().find_map(|line| line.strip_prefix("the access log lacks ")).expect("dropped lines");
    let dropped: usize = lacks.split(' ').next().unwrap().parse().unwrap();
    assert!((1..MORE_THAN_FIT).contains(&dropped), "{dropped}");
}

#[test]
fn a_log_that_cannot_be_written_is_told_at_once() {
    let process = Process::spawn(&[
        "serve",
        "--plain",
        "127.0.0.1:0",
        "--access-log",
        "json:/nowhere/at/all/access.log",
    ]);
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the access log to /nowhere/at/all/access.log: "), "{stderr}");
}
