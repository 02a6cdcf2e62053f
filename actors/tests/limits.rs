//! Limits of the machine as a session meets them: what it tells its peer, what is counted, what is charged.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::*;
use stagedoor_actors::{Body, Request, Response, Service};
use stagedoor_metrics::{AbuseKind, CloseReason, Outcome};
use stagedoor_protocol::ErrorCode;

/// Answers of 64 KiB, which wait where the peer has no window.
fn waiting() -> Rc<dyn Service> {
    service(|_: Request| Response::new(200).with_body(Body::full(vec![7; 64 << 10].into())).into())
}

fn settings_of_no_window() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
}

#[test]
fn over_its_memory_a_session_refuses_then_ends_and_nothing_stays_charged() {
    run_paused(async {
        let mut config = config();
        config.limits.session_memory = 256 << 10;
        let stage = Stage::with(config, waiting());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&[settings_of_no_window(), settings_ack()].concat()).await;
        for stream in [1, 3, 5, 7] {
            client.send(&get(stream)).await;
        }
        settle().await;
        let held = stage.cells.session_memory_bytes.get();
        assert!(held > 256 << 10, "{held}");
        client.send(&get(9)).await;
        let reset = client.until(|frame| frame.kind == 3).await;
        assert_eq!((reset.stream, &reset.payload[..]), (9, &[0, 0, 0, 7][..]), "REFUSED_STREAM");
        assert_eq!(stage.cells.abuse[AbuseKind::Memory].get(), 1);
        assert_eq!(stage.outcome(Outcome::Refused), 1);
        // It stays so.
        let started = tokio::time::Instant::now();
        assert_eq!(client.goaways().await, [ErrorCode::ENHANCE_YOUR_CALM.0]);
        assert_eq!(started.elapsed().as_secs(), 30);
        drop(client);
        stage.ends_once(CloseReason::Memory).await;
        assert_eq!(stage.cells.abuse[AbuseKind::Memory].get(), 2);
        assert_eq!(stage.cells.session_memory_bytes.get(), 0);
    });
}

#[test]
fn a_session_that_gives_memory_back_goes_on() {
    run_paused(async {
        let mut config = config();
        config.limits.session_memory = 256 << 10;
        let stage = Stage::with(config, waiting());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&[settings_of_no_window(), settings_ack()].concat()).await;
        for stream in [1, 3, 5, 7] {
            client.send(&get(stream)).await;
        }
        settle().await;
        client.send(&get(9)).await;
        client.until(|frame| frame.kind == 3 && frame.stream == 9).await;
        client.send(&frame(8, 0, 0, &(1u32 << 20).to_be_bytes())).await;
        for stream in [1, 3, 5, 7] {
            client.send(&frame(8, 0, stream, &(64u32 << 10).to_be_bytes())).await;
        }
        client.until(|frame| frame.kind == 0 && frame.flags == 1 && frame.stream == 7).await;
        client.send(&get(11)).await;
        let said = client.until(|frame| frame.kind == 7 || (frame.kind == 1 && frame.stream == 11)).await;
        assert_eq!(said.kind, 1, "{}", String::from_utf8_lossy(&said.payload));
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(stage.metrics.live().len(), 1, "it lives");
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(stage.cells.session_memory_bytes.get(), 0);
    });
}

#[test]
fn a_session_whose_stream_identifiers_run_low_is_drained() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(0x7fff_efff)).await;
        let body = client.until(|frame| frame.kind == 0).await;
        assert_eq!(body.stream, 0x7fff_efff);
        client.send(&frame(6, 0, 0, b"01234567")).await;
        client.until(|frame| frame.kind == 6).await;
        // One more is one too many: it is answered, and the session goes in good order.
        client.send(&get(0x7fff_f001)).await;
        let body = client.until(|frame| frame.kind == 0).await;
        assert_eq!(body.stream, 0x7fff_f001);
        assert_eq!(client.goaways().await, [0, 0]);
        drop(client);
        stage.ends_once(CloseReason::Limit).await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
    });
}

#[test]
fn a_limit_that_is_met_is_counted_by_its_name() {
    run_paused(async {
        let mut config = config();
        config.limits.header_fields = 5;
        config.limits.streams_per_session = 1;
        let (service, _) = forever();
        let stage = Stage::with(config, service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        // Six fields: 431, and the session lives.
        let fields = [0x82, 0x86, 0x84, 0x41, 1, b'a', 0, 1, b'x', 1, b'y', 0, 1, b'x', 1, b'y'];
        client.send(&frame(1, 5, 1, &fields)).await;
        client.until(|frame| frame.kind == 1 && frame.stream == 1).await;
        assert_eq!(stage.cells.abuse[AbuseKind::HeaderFields].get(), 1);
        client.send(&[get(3), get(5)].concat()).await;
        client.until(|frame| frame.kind == 3 && frame.stream == 5).await;
        assert_eq!(stage.cells.abuse[AbuseKind::Streams].get(), 1);
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
    });
}
