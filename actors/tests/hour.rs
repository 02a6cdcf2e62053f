//! An hour of traffic, compressed: every counter that it moves is known beforehand, and both formats of a scrape say
//! just that.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use stagedoor_actors::{Reply, Request, Response};
use stagedoor_metrics::{CloseReason, Format};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

/// Rounds of an hour: one every two minutes.
const ROUNDS: u64 = 30;

/// 404 for `/missing`, ten octets for everything else; a POST is read first.
fn site(request: Request) -> Reply {
    let path = request.head.path().unwrap_or_default().to_owned();
    Reply::later(async move {
        let mut body = request.body;
        while let Some(Ok(_)) = body.chunk().await {}
        match path.as_str() {
            "/slow" => {
                sleep(Duration::from_secs(3)).await;
                Response::text("0123456789")
            }
            "/missing" => {
                let mut response = Response::text("gone");
                response.status = 404;
                response
            }
            "/never" => std::future::pending().await,
            _ => Response::text("0123456789"),
        }
    })
}

/// HEADERS of a request for `path` at authority `a`; no body follows where `end`.
fn request(stream: u32, method: u8, path: &str, end: bool) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x41, 1, b'a', 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    frame(1, if end { 0x5 } else { 0x4 }, stream, &block)
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// One visit over HTTP/2: three answers, an upload, a reset of the client's, a stream that is cut with the session.
async fn visit(stage: &Stage) {
    let (session, io) = stage.connect();
    let mut client = Raw::new(io);
    client.shake().await;
    client.send(&request(1, GET, "/", true)).await;
    client.until(|frame| frame.stream == 1 && frame.flags & 1 == 1 && frame.kind == 0).await;
    client.send(&request(3, GET, "/missing", true)).await;
    client.until(|frame| frame.stream == 3 && frame.flags & 1 == 1 && frame.kind == 0).await;
    client.send(&request(5, GET, "/slow", true)).await;
    client.until(|frame| frame.stream == 5 && frame.flags & 1 == 1 && frame.kind == 0).await;
    client.send(&request(7, POST, "/", false)).await;
    client.send(&frame(0, 1, 7, &[b'x'; 300])).await;
    client.until(|frame| frame.stream == 7 && frame.flags & 1 == 1 && frame.kind == 0).await;
    client.send(&request(9, GET, "/never", true)).await;
    settle().await;
    client.send(&frame(3, 0, 9, &[0, 0, 0, 8])).await;
    client.send(&frame(6, 0, 0, b"pingpong")).await;
    client.until(|frame| frame.kind == 6).await;
    client.send(&request(11, GET, "/never", true)).await;
    settle().await;
    session.send(stagedoor_actors::CloseSession::new(CloseReason::Admin).now()).await.unwrap();
    while client.next().await.is_some() {}
    assert_eq!(stage.ended().await.reason, CloseReason::Admin);
}

/// One visit over HTTP/1.1: two requests, then the client goes.
async fn visit_http1(stage: &Stage) {
    let (_, mut io) = stage.connect();
    for path in ["/", "/missing"] {
        io.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0123456789") && !answer.ends_with(b"gone") {
            answer.push(io.read_u8().await.unwrap());
        }
    }
    settle().await;
    drop(io);
    assert_eq!(stage.ended().await.reason, CloseReason::ClientClosed);
}

/// A connection that says half a preface and is given up.
async fn dawdle(stage: &Stage) {
    let (_, mut io) = stage.connect();
    io.write_all(b"PRI * HT").await.unwrap();
    assert_eq!(stage.ended().await.reason, CloseReason::PrefaceTimeout);
}

/// Samples of a scrape by name and labels; comments left out.
fn samples(scrape: &[u8]) -> BTreeMap<String, f64> {
    let text = std::str::from_utf8(scrape).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            // An exemplar follows a space and a hash.
            let line = line.split(" # ").next().unwrap();
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn an_hour_counts_what_was_done_in_it_and_nothing_else() {
    run_paused(async {
        let stage = Stage::new(service(site));
        for _ in 0..ROUNDS {
            visit(&stage).await;
            visit_http1(&stage).await;
            dawdle(&stage).await;
            sleep(Duration::from_secs(80)).await;
        }
        settle().await;
        let n = ROUNDS as f64;
        let of = |series: &str| series.replace('{', "{listener=\"test\",");
        let route = "route=\"_unmatched\"";
        let mut known: Vec<(String, f64)> = Vec::new();
        let mut count = |series: &str, value: f64| known.push((of(series), value));
        count("stagedoor_listener_connections_total{result=\"accepted\"}", 3.0 * n);
        // What does not say what it speaks counts as what it could have been.
        count("stagedoor_sessions_opened_total{protocol=\"h2c\"}", 2.0 * n);
        count("stagedoor_sessions_opened_total{protocol=\"http/1.1\"}", n);
        count("stagedoor_sessions_closed_total{protocol=\"h2c\",reason=\"admin\"}", n);
        count("stagedoor_sessions_closed_total{protocol=\"h2c\",reason=\"preface_timeout\"}", n);
        count("stagedoor_sessions_closed_total{protocol=\"http/1.1\",reason=\"client_closed\"}", n);
        count("stagedoor_streams_opened_total{protocol=\"h2c\"}", 6.0 * n);
        count("stagedoor_streams_opened_total{protocol=\"http/1.1\"}", 2.0 * n);
        count("stagedoor_streams_closed_total{outcome=\"complete\"}", 6.0 * n);
        count("stagedoor_streams_closed_total{outcome=\"reset_by_peer\"}", n);
        count("stagedoor_streams_closed_total{outcome=\"session_closed\"}", n);
        count(&format!("stagedoor_requests_total{{{route},method=\"GET\",code=\"200\"}}"), 3.0 * n);
        count(&format!("stagedoor_requests_total{{{route},method=\"GET\",code=\"404\"}}"), 2.0 * n);
        count(&format!("stagedoor_requests_total{{{route},method=\"POST\",code=\"200\"}}"), n);
        count(&format!("stagedoor_request_duration_seconds_count{{{route}}}"), 8.0 * n);
        count(&format!("stagedoor_response_start_seconds_count{{{route}}}"), 6.0 * n);
        count("stagedoor_timeouts_total{kind=\"preface\",action=\"closed\"}", n);
        count("stagedoor_h2_frames_total{direction=\"rx\",type=\"HEADERS\"}", 6.0 * n);
        count("stagedoor_h2_frames_total{direction=\"rx\",type=\"DATA\"}", n);
        count("stagedoor_h2_frames_total{direction=\"rx\",type=\"RST_STREAM\"}", n);
        count("stagedoor_h2_frames_total{direction=\"rx\",type=\"PING\"}", n);
        count("stagedoor_h2_frames_total{direction=\"tx\",type=\"PING\"}", n);
        count("stagedoor_h2_frames_total{direction=\"tx\",type=\"HEADERS\"}", 4.0 * n);
        count("stagedoor_h2_frames_total{direction=\"tx\",type=\"DATA\"}", 4.0 * n);
        count("stagedoor_h2_frames_total{direction=\"tx\",type=\"GOAWAY\"}", n);
        count("stagedoor_h2_errors_total{scope=\"stream\",origin=\"remote\",code=\"CANCEL\"}", n);
        count("stagedoor_h2_errors_total{scope=\"connection\",origin=\"local\",code=\"NO_ERROR\"}", n);
        let plain = [
            ("stagedoor_request_body_bytes_sum{route=\"_unmatched\"}", 300.0 * n),
            ("stagedoor_request_body_bytes_count{route=\"_unmatched\"}", 8.0 * n),
            // Ten octets four times, "gone" twice.
            ("stagedoor_response_body_bytes_sum{route=\"_unmatched\"}", 48.0 * n),
            ("stagedoor_actor_started_total{actor=\"session\"}", 3.0 * n),
            ("stagedoor_actor_started_total{actor=\"stream\"}", 8.0 * n),
            ("stagedoor_actor_panics_total{actor=\"stream\"}", 0.0),
            ("stagedoor_actor_messages_total{message=\"session.inspect\"}", 0.0),
        ];
        known.extend(plain.map(|(series, value)| (series.to_owned(), value)));
        let text = samples(&stage.metrics.render(Format::Text));
        let open = samples(&stage.metrics.render(Format::OpenMetrics));
        for (series, value) in &known {
            for (format, scrape) in [("text", &text), ("OpenMetrics", &open)] {
                assert_eq!(scrape.get(series), Some(value), "{series} in {format}");
            }
        }
        // No other series of these families moved.
        for family in ["requests_total", "streams_closed_total", "sessions_closed_total", "abuse_total"] {
            let name = format!("stagedoor_{family}{{");
            for (series, value) in
                text.iter().filter(|(series, value)| series.starts_with(&name) && **value != 0.0)
            {
                assert!(known.iter().any(|(known, _)| known == series), "{series} {value}");
            }
        }
        let slow = text[&of(&format!("stagedoor_request_duration_seconds_bucket{{{route},le=\"1\"}}"))];
        assert_eq!(slow, 7.0 * n, "one of eight took three seconds");
        // Every gauge is back.
        for (series, value) in &text {
            let gauge = [
                "sessions_active",
                "streams_active",
                "write_queue_bytes",
                "session_memory_bytes",
                "metrics_tracked",
            ]
            .iter()
            .any(|name| series.starts_with(&format!("stagedoor_{name}{{")));
            assert!(!gauge || *value == 0.0, "{series} {value}");
        }
        assert!(!text.keys().any(|series| series.contains("session=\"")), "the tables are empty");
    });
}
