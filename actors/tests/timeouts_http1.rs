//! Deadlines that understand progress, on HTTP/1.1: the same kinds with the same meaning; what a stream is reset
//! for there, the connection is closed for here.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::time::Duration;

use common::throttle::{DRIP, Pass, Throttle};
use common::*;
use stagedoor_actors::{ListenerConfig, Reply, Request, Response, StreamTimeouts, Timeouts};
use stagedoor_metrics::{CloseReason, Outcome, TimeoutAction, TimeoutKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn with(change: impl FnOnce(&mut Timeouts)) -> ListenerConfig {
    let mut config = config();
    change(&mut config.timeouts);
    config
}

fn sink(request: Request) -> Reply {
    Reply::later(async move {
        let mut body = request.body;
        while let Some(Ok(_)) = body.chunk().await {}
        Response::text("read")
    })
}

async fn rest(io: &mut DuplexStream) -> String {
    let mut octets = Vec::new();
    io.read_to_end(&mut octets).await.ok();
    String::from_utf8_lossy(&octets).into_owned()
}

fn timed(stage: &Stage, kind: TimeoutKind, action: TimeoutAction) -> u64 {
    stage.cells.timeouts[kind][action].get()
}

#[test]
fn a_reader_of_one_octet_a_second_is_extended_and_one_that_stops_is_closed() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (ours, mut client, valve) = Throttle::pair();
        stage.host.spawn_session(ours, None);
        client.write_all(GET).await.unwrap();
        valve.writes.set(DRIP);
        sleep(seconds(600)).await;
        assert_eq!(stage.metrics.live().len(), 1, "lives");
        let extended = timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Extended);
        assert!((8..=10).contains(&extended), "{extended}");
        valve.writes.set(Pass::Nothing);
        let stopped = Instant::now();
        stage.ends_once(CloseReason::WriteStall).await;
        let took = stopped.elapsed();
        assert!((seconds(59)..seconds(66)).contains(&took), "{took:?}");
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 1);
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn an_upload_of_one_octet_a_second_is_extended_and_one_that_stops_is_answered_408() {
    run_paused(async {
        let stage = Stage::new(service(sink));
        let (ours, mut client, valve) = Throttle::pair();
        stage.host.spawn_session(ours, None);
        client.write_all(POST).await.unwrap();
        settle().await;
        valve.reads.set(DRIP);
        client.write_all(&[b'x'; 1000]).await.unwrap();
        sleep(seconds(600)).await;
        assert_eq!(stage.metrics.live().len(), 1, "lives");
        assert!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Extended) >= 8);
        valve.reads.set(Pass::Nothing);
        let stopped = Instant::now();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        let took = stopped.elapsed();
        assert!((seconds(59)..seconds(66)).contains(&took), "{took:?}");
        drop(client);
        stage.ends_once(CloseReason::WriteStall).await;
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn a_handler_that_begins_to_read_late_has_the_whole_time() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            Reply::later(async move {
                sleep(seconds(300)).await;
                let mut body = request.body;
                while let Some(Ok(_)) = body.chunk().await {}
                Response::text("read")
            })
        }));
        let (_session, mut client) = stage.connect();
        let started = Instant::now();
        client.write_all(POST).await.unwrap();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
        assert_eq!(started.elapsed().as_secs(), 360);
        drop(client);
        stage.ends_once(CloseReason::WriteStall).await;
    });
}

#[test]
fn a_slow_handler_and_a_body_without_length_are_no_stall() {
    run_paused(async {
        let stage = Stage::new(service(|request| match request.head.method() {
            "GET" => Reply::later(async {
                sleep(seconds(600)).await;
                Response::text("slow")
            }),
            _ => sink(request),
        }));
        let (_session, mut client) = stage.connect();
        client
            .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await
            .unwrap();
        sleep(seconds(600)).await;
        client.write_all(b"0\r\n\r\n").await.unwrap();
        let mut room = [0; 1000];
        let count = client.read(&mut room).await.unwrap();
        assert!(room[..count].starts_with(b"HTTP/1.1 200 "));
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(&mut client).await.ends_with("slow"));
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 0);
    });
}

#[test]
fn a_hard_cap_ends_an_exchange_whatever_it_does() {
    run_paused(async {
        let stage = Stage::with(with(|timeouts| timeouts.hard = seconds(100)), service(sink));
        let (ours, mut client, valve) = Throttle::pair();
        stage.host.spawn_session(ours, None);
        let started = Instant::now();
        client.write_all(POST).await.unwrap();
        settle().await;
        valve.reads.set(DRIP);
        client.write_all(&[b'x'; 1000]).await.unwrap();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
        assert_eq!(started.elapsed().as_secs(), 100);
        drop(client);
        stage.ends_once(CloseReason::Limit).await;
        assert_eq!(timed(&stage, TimeoutKind::Hard, TimeoutAction::Closed), 1);
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn an_upload_below_the_least_rate_ends_the_connection_and_one_above_does_not() {
    for (octets, lives) in [(101, true), (99, false)] {
        run_paused(async {
            let stage = Stage::with(with(|timeouts| timeouts.min_rate = 100), service(sink));
            let (_session, mut client) = stage.connect();
            client.write_all(POST).await.unwrap();
            for _ in 0..30 {
                if client.write_all(&vec![b'x'; octets]).await.is_err() {
                    break;
                }
                sleep(seconds(1)).await;
            }
            let closed = timed(&stage, TimeoutKind::MinRate, TimeoutAction::Closed);
            assert_eq!(closed, u64::from(!lives), "{octets} octets a second");
            drop(client);
            stage.ends_once(if lives { CloseReason::ClientClosed } else { CloseReason::Limit }).await;
        });
    }
}

#[test]
fn an_exchange_on_which_nothing_moves_ends_where_idle_is_on_for_streams() {
    run_paused(async {
        let stage = Stage::with(with(|timeouts| timeouts.stream_idle = seconds(30)), forever().0);
        let (_session, mut client) = stage.connect();
        let started = Instant::now();
        client.write_all(GET).await.unwrap();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
        assert!((30..34).contains(&started.elapsed().as_secs()));
        drop(client);
        stage.ends_once(CloseReason::IdleTimeout).await;
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn an_exchange_has_deadlines_of_its_own() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            let own = StreamTimeouts { hard: Some(seconds(5)), ..StreamTimeouts::default() };
            request.handle().set_timeouts(own).unwrap();
            sink(request)
        }));
        let (_session, mut client) = stage.connect();
        let started = Instant::now();
        client.write_all(POST).await.unwrap();
        rest(&mut client).await;
        assert_eq!(started.elapsed().as_secs(), 5);
        drop(client);
        stage.ends_once(CloseReason::Limit).await;
    });
}
