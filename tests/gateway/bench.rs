//! `stagedoor bench`: its figures are the server's, it ends, and GOAWAY costs it nothing.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stagedoor::{MaxAge, Response};

use crate::support::client::Client;
use crate::support::command::{Ran, command, ended, seen_on, stagedoor, terminal};
use crate::support::embedded::Embedded;
use crate::support::exposition::Scrape;
use crate::support::{Gateway, PATIENCE, run};

fn bench(state: &Path, args: &[&str]) -> (Ran, Value) {
    let ran = stagedoor(state, &[&["bench", "--json"], args].concat());
    let figures = serde_json::from_slice(&ran.out).unwrap_or(Value::Null);
    (ran, figures)
}

/// Requests the demo answered with `code`.
fn answered(gateway: &Gateway, code: &str) -> u64 {
    let mut count = 0.0;
    run(async {
        let scrape = Scrape::read(Client::admin(gateway).await.get("/metrics").await.text());
        count = scrape.sum("stagedoor_requests_total", &[("route", "demo"), ("code", code)]);
    });
    count as u64
}

#[test]
fn its_figures_are_those_of_the_server() {
    let gateway = Gateway::start();
    let state = gateway.process.state();
    let plain = format!("http://{}/bytes/100", gateway.plain);
    let (ran, figures) = bench(state, &[&plain, "-n", "5001", "-c", "7", "-m", "20"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_eq!(
        figures["requests"],
        json!({ "answered": 5001, "failed": 0, "unfinished": 0, "made_again": 0 })
    );
    assert_eq!(figures["status"], json!({ "2xx": 5001 }));
    assert_eq!((&figures["body_bytes"], &figures["connections"]["made"]), (&json!(500_100), &json!(7)));
    assert_eq!(answered(&gateway, "200"), 5001);
    let latency = &figures["latency_seconds"];
    let of = |name: &str| latency[name].as_f64().unwrap();
    assert!(of("p50") > 0.0 && of("p50") <= of("p90") && of("p90") <= of("p99"), "{latency}");
    assert!(of("p99") <= of("p99.9") && of("p99.9") <= of("max"), "{latency}");
    assert!(figures["requests_per_second"].as_f64().unwrap() > 0.0);

    let public = format!("https://localhost:{}/status/404", gateway.public.port());
    let (ran, figures) = bench(state, &[&public, "-n", "300", "-c", "2", "--threads", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((&figures["status"], &figures["protocol"]), (&json!({ "4xx": 300 }), &json!("h2")));
    assert_eq!(answered(&gateway, "404"), 300);
}

#[test]
fn people_read_the_same_in_words() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/1024", gateway.plain);
    let ran = stagedoor(gateway.process.state(), &["bench", &url, "-n", "64", "-c", "1", "-m", "1"]);
    let text = String::from_utf8(ran.quietly()).unwrap();
    for words in [
        "64 answered in",
        "0 failed, 0 unfinished",
        "2xx 64",
        "64.00 KiB",
        "p50 ",
        "p99.9 ",
        "max ",
        "1 made",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[test]
fn a_time_ends_by_itself_and_loses_nothing() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10", gateway.plain);
    let (ran, figures) = bench(gateway.process.state(), &[&url, "-d", "300ms", "-c", "3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let requests = &figures["requests"];
    assert_eq!((&requests["failed"], &requests["unfinished"]), (&json!(0), &json!(0)));
    assert_eq!(requests["answered"].as_u64().unwrap(), answered(&gateway, "200"));
    let seconds = figures["seconds"].as_f64().unwrap();
    assert!((0.2..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn goaway_after_some_requests_of_each_connection_loses_none_and_repeats_none() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let server = Embedded::start(
        |_| (),
        move |request| {
            // Every hundredth request has its session drained.
            if count.fetch_add(1, Ordering::Relaxed) % 100 == 99 {
                request.session.close().unwrap();
            }
            Response::text("answered").into()
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/", server.address);
    let (ran, figures) = bench(dir.path(), &[&url, "-n", "10000", "-c", "4", "-m", "25"]);
    assert_eq!(ran.code, Some(0), "{} {figures}", ran.err);
    assert_eq!(
        (&figures["requests"]["answered"], &figures["requests"]["failed"]),
        (&json!(10_000), &json!(0))
    );
    assert_eq!(seen.load(Ordering::Relaxed), 10_000, "nothing was processed twice");
    let connections = &figures["connections"];
    let (made, goaway) = (connections["made"].as_u64().unwrap(), connections["goaway"].as_u64().unwrap());
    assert!(goaway >= 4 && made > goaway, "{connections}");
}

#[test]
fn sessions_that_grow_old_lose_no_request() {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let age = MaxAge { after: Duration::from_millis(100), jitter: 0.5, grace: Duration::from_secs(30) };
    let server = Embedded::start(
        |config| config.limits.session_max_age = Some(age),
        move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Response::text("answered").into()
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/", server.address);
    let (ran, figures) = bench(dir.path(), &[&url, "-d", "1s", "-c", "4", "-m", "10"]);
    assert_eq!(ran.code, Some(0), "{} {figures}", ran.err);
    assert_eq!(figures["requests"]["answered"].as_u64().unwrap(), seen.load(Ordering::Relaxed));
    assert!(figures["connections"]["goaway"].as_u64().unwrap() >= 4, "{}", figures["connections"]);
}

#[test]
fn failures_are_counted_by_kind_and_are_no_success() {
    let gateway = Gateway::start();
    let url = format!("http://{}/panic?after=10", gateway.plain);
    // One stream at a time: sessions with too many panics are ended.
    let (ran, figures) = bench(gateway.process.state(), &[&url, "-n", "5", "-c", "1", "-m", "1"]);
    ran.failed_with(1, "5 of 5 requests were not answered");
    assert_eq!(figures["requests"]["failed"], 5);
    let errors = figures["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["kind"], &errors[0]["count"]), (1, &json!("reset"), &json!(5)));
    assert_eq!(errors[0]["first"], "the peer reset the stream with INTERNAL_ERROR");
}

#[test]
fn wrong_arguments_are_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let bench = |args: &[&str]| stagedoor(dir.path(), &[&["bench"], args].concat());
    bench(&["localhost:8443"]).failed_with(1, "begins with http:// or https://");
    bench(&["http://localhost/", "-H", "nothing"]).failed_with(1, "one looks like 'name: value'");
    bench(&["http://localhost/", "-c", "0"]).failed_with(2, "1..=10000");
    bench(&["http://localhost/", "-m", "1001"]).failed_with(2, "1..=1000");
    bench(&["http://localhost/", "-d", "0s"]).failed_with(2, "no load can be put on in no time");
    bench(&["http://localhost/", "-d", "2days"]).failed_with(2, "a day at most");
    bench(&["http://localhost/", "-n", "1", "-d", "1s"]).failed_with(2, "cannot be used with");
}

#[test]
fn a_server_that_is_not_there_or_speaks_something_else_is_3() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let ran = stagedoor(dir.path(), &["bench", &nobody]);
    ran.failed_with(3, "cannot connect to 127.0.0.1");
    assert!(ran.out.is_empty());
    // Whoever hangs up at once is not asked for ever.
    let rude = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", rude.local_addr().unwrap());
    std::thread::spawn(move || rude.incoming().for_each(drop));
    let (ran, figures) = bench(dir.path(), &[&url, "-d", "60s", "-c", "1", "-m", "1"]);
    assert_eq!(ran.code, Some(3), "{} {figures}", ran.err);
    assert_eq!(figures["requests"]["answered"], 0);
}

#[test]
fn a_server_that_dies_under_load_ends_it() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10", gateway.plain);
    let state = tempfile::tempdir().unwrap();
    let child = command(state.path(), &["bench", "--json", &url, "-d", "10m", "-c", "2"]).spawn().unwrap();
    under_load(&gateway);
    gateway.process.signal(Signal::KILL);
    let ran = ended(child);
    ran.failed_with(3, "stagedoor: ");
    let figures: Value = serde_json::from_slice(&ran.out).unwrap();
    assert!(figures["requests"]["answered"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["unreachable"].is_string(), "{figures}");
}

#[test]
fn a_gateway_that_drains_under_load_loses_no_request() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10", gateway.plain);
    let state = tempfile::tempdir().unwrap();
    let child = command(state.path(), &["bench", "--json", &url, "-d", "10m", "-c", "4"]).spawn().unwrap();
    under_load(&gateway);
    gateway.terminate();
    // It stops accepting before it says GOAWAY, and no other takes its port.
    let ran = ended(child);
    ran.failed_with(3, "cannot connect to 127.0.0.1");
    let figures: Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(figures["requests"]["unfinished"], 0);
    // Those that crossed the GOAWAY were never sent, and there is nobody else to send them to.
    let errors = figures["errors"].as_array().unwrap();
    assert!(errors.iter().all(|error| error["kind"] == "connect"), "{figures}");
    assert_eq!(figures["connections"]["goaway"], 4, "{figures}");
    assert_eq!(gateway.process.ended().0.code(), Some(0));
}

#[test]
fn an_interrupt_ends_it_with_the_figures_so_far() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10", gateway.plain);
    let mut child =
        command(gateway.process.state(), &["bench", "--json", &url, "-d", "10m", "-c", "2"]).spawn().unwrap();
    under_load(&gateway);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    let ran = ended(child);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    let figures: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(figures["requests"]["answered"].as_u64().unwrap(), answered(&gateway, "200"));
    assert_eq!(figures["requests"]["unfinished"], 0);
}

#[test]
fn a_terminal_sees_how_far_it_is() {
    let gateway = Gateway::start();
    let url = format!("http://{}/bytes/10", gateway.plain);
    let (ours, theirs) = terminal();
    let child = command(gateway.process.state(), &["bench", &url, "-d", "500ms", "-c", "1"])
        .env("TERM", "xterm")
        .stderr(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let seen = seen_on(ours);
    let report = ended(child).quietly();
    assert!(seen.contains(" answered   ") && seen.contains("Ctrl-C ends it"), "{seen:?}");
    assert!(String::from_utf8(report).unwrap().starts_with("http://"));
}

/// Waits until requests are answered.
fn under_load(gateway: &Gateway) {
    let began = Instant::now();
    while answered(gateway, "200") == 0 {
        assert!(began.elapsed() < PATIENCE, "no request came");
    }
}
