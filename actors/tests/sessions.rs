//! What a session can be asked and ordered through its handle (RFC 9113 §6.5, §6.7, §6.8).

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use stagedoor_actors::{CloseSession, SessionError, SessionEvent, SessionHandle};
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::{ErrorCode, Settings, UserError};
use tokio::time::advance;

/// A session in the middle of its life, its handle, and the client on its other end.
async fn open(stage: &Stage) -> (SessionHandle, Raw) {
    let slot: Rc<RefCell<Option<SessionHandle>>> = Rc::default();
    let found = Rc::clone(&slot);
    stage.host.observe(move |session: &SessionHandle, event: &SessionEvent| {
        if matches!(event, SessionEvent::Opened) {
            *found.borrow_mut() = Some(session.clone());
        }
    });
    let (_, io) = stage.connect();
    let mut client = Raw::new(io);
    client.shake().await;
    settle().await;
    let handle = slot.borrow_mut().take().expect("the session opened");
    (handle, client)
}

fn streams(limit: u32) -> Settings {
    Settings { max_concurrent_streams: Some(limit), ..Settings::default() }
}

fn gone<T>(reason: CloseReason) -> Result<T, SessionError> {
    Err(SessionError::Gone { reason })
}

#[test]
fn settings_are_in_force_when_the_peer_has_acknowledged_them_and_not_before() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        assert_eq!(session.pending_settings(), 0);
        let before = session.local_settings().unwrap().max_concurrent_streams;
        let acknowledged = session.settings(streams(7)).unwrap();
        let frame = client.until(|frame| frame.kind == 4 && frame.flags == 0).await;
        assert_eq!(frame.payload, [0, 3, 0, 0, 0, 7]);
        assert_eq!(session.pending_settings(), 1);
        assert_eq!(session.local_settings().unwrap().max_concurrent_streams, before);
        advance(Duration::from_millis(300)).await;
        client.send(&settings_ack()).await;
        assert_eq!(acknowledged.await.unwrap().after, Duration::from_millis(300));
        assert_eq!(session.local_settings().unwrap().max_concurrent_streams, 7);
        assert_eq!(session.pending_settings(), 0);
    });
}

#[test]
fn settings_that_are_never_acknowledged_fail_when_the_session_ends() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, client) = open(&stage).await;
        let first = session.settings(streams(7)).unwrap();
        let second = session.settings(streams(8)).unwrap();
        settle().await;
        drop(client);
        assert_eq!(first.await, gone(CloseReason::ClientClosed));
        assert_eq!(second.await, gone(CloseReason::ClientClosed));
        stage.ends_once(CloseReason::ClientClosed).await;
    });
}

#[test]
fn settings_that_cannot_be_are_refused_by_the_call() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, _client) = open(&stage).await;
        for (settings, id, value) in [
            (Settings { initial_window_size: Some(1 << 31), ..Settings::default() }, 4, 1 << 31),
            (Settings { max_frame_size: Some(16_383), ..Settings::default() }, 5, 16_383),
            (Settings { max_frame_size: Some(1 << 24), ..Settings::default() }, 5, 1 << 24),
            (Settings { enable_push: Some(true), ..Settings::default() }, 2, 1),
        ] {
            let error = session.settings(settings).unwrap_err();
            assert_eq!(error, SessionError::InvalidSetting { id, value });
        }
        assert_eq!(session.pending_settings(), 0);
    });
}

#[test]
fn ten_settings_may_be_outstanding_and_the_eleventh_is_refused() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let asked: Vec<_> = (1..=10).map(|limit| session.settings(streams(limit)).unwrap()).collect();
        assert_eq!(session.settings(streams(11)).unwrap_err(), SessionError::TooManySettings { limit: 10 });
        let many = Settings { custom: (0xf000..0xf00b).map(|id| (id, 1)).collect(), ..Settings::default() };
        assert_eq!(
            session.settings(many).unwrap_err(),
            SessionError::Refused(UserError::TooManyCustomSettings(11))
        );
        for answer in asked {
            client.send(&settings_ack()).await;
            answer.await.unwrap();
        }
        let eleventh = session.settings(streams(11)).unwrap();
        client.send(&settings_ack()).await;
        eleventh.await.unwrap();
    });
}

#[test]
fn a_ping_measures_its_round_trip() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let chosen = session.ping(Some(*b"12345678")).unwrap();
        let other = session.ping(None).unwrap();
        let first = client.until(|frame| frame.kind == 6).await;
        assert_eq!(first.payload, b"12345678");
        let second = client.until(|frame| frame.kind == 6).await;
        advance(Duration::from_millis(20)).await;
        // The order of answers does not matter.
        client.send(&frame(6, 1, 0, &second.payload)).await;
        let pong = other.await.unwrap();
        assert_eq!((pong.rtt, pong.payload.to_vec()), (Duration::from_millis(20), second.payload));
        advance(Duration::from_millis(30)).await;
        client.send(&frame(6, 1, 0, &first.payload)).await;
        assert_eq!(chosen.await.unwrap().rtt, Duration::from_millis(50));
        assert_eq!(stage.cells.h2_ping_rtt.count(), 2);
    });
}

#[test]
fn ten_pings_may_be_outstanding_the_eleventh_is_refused_and_all_fail_at_the_end() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, client) = open(&stage).await;
        let asked: Vec<_> = (0..10).map(|_| session.ping(None).unwrap()).collect();
        assert_eq!(session.ping(None).unwrap_err(), SessionError::TooManyPings { limit: 10 });
        settle().await;
        drop(client);
        for answer in asked {
            assert_eq!(answer.await, gone(CloseReason::ClientClosed));
        }
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(session.ping(None).unwrap_err(), SessionError::Gone { reason: CloseReason::ClientClosed });
    });
}

#[test]
fn goaway_with_no_error_drains_with_its_opaque_data_in_both_frames() {
    run_paused(async {
        let stage = Stage::new(forever().0);
        let (session, mut client) = open(&stage).await;
        client.send(&get(1)).await;
        settle().await;
        session.goaway(ErrorCode::NO_ERROR, "moving house").unwrap();
        for last in [0x7fff_ffff, 1] {
            let goaway = client.until(|frame| frame.kind == 7).await;
            assert_eq!(goaway.payload[..4], u32::to_be_bytes(last));
            assert_eq!(&goaway.payload[8..], b"moving house");
        }
        client.send(&frame(3, 0, 1, &[0, 0, 0, 8])).await;
        drop(client);
        stage.ends_once(CloseReason::Admin).await;
    });
}

#[test]
fn goaway_with_an_error_ends_the_session_with_its_code_and_words() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        session.goaway(ErrorCode::ENHANCE_YOUR_CALM, "not like this").unwrap();
        let goaway = client.until(|frame| frame.kind == 7).await;
        assert_eq!(goaway.payload[4..8], [0, 0, 0, 0xb]);
        assert_eq!(&goaway.payload[8..], b"not like this");
        assert!(session.is_closed());
        drop(client);
        stage.ends_once(CloseReason::Admin).await;
        assert!(session.is_gone());
        assert_eq!(session.close_reason(), Some(CloseReason::Admin));
    });
}

#[test]
fn opaque_data_of_1024_octets_is_sent_and_1025_are_refused() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        let refused = session.goaway(ErrorCode::CANCEL, vec![b'x'; 1025]);
        assert_eq!(refused, Err(SessionError::OpaqueTooLong(1025)));
        session.goaway(ErrorCode::CANCEL, vec![b'x'; 1024]).unwrap();
        let goaway = client.until(|frame| frame.kind == 7).await;
        assert_eq!(goaway.payload.len(), 8 + 1024);
    });
}

#[test]
fn close_lets_open_streams_finish_and_nothing_can_be_ordered_afterwards() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (session, mut client) = open(&stage).await;
        client.send(&get(1)).await;
        settle().await;
        session.close().unwrap();
        let first = client.until(|frame| frame.kind == 7).await;
        assert_eq!(first.payload[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert!(session.is_closed() && !session.is_gone());
        assert_eq!(dropped.get(), 0, "the stream goes on");
        // A harder order shortens the drain; the first reason stays.
        session.close_with(CloseSession::new(CloseReason::Shutdown).now()).unwrap();
        settle().await;
        assert_eq!(dropped.get(), 1);
        assert_eq!(session.close(), gone(CloseReason::Admin));
        assert_eq!(session.set_connection_window(1 << 20), gone(CloseReason::Admin));
        drop(client);
        stage.ends_once(CloseReason::Admin).await;
    });
}

#[test]
fn two_orders_of_one_turn_are_both_heard() {
    run_paused(async {
        let stage = Stage::new(forever().0);
        let (session, mut client) = open(&stage).await;
        client.send(&get(1)).await;
        settle().await;
        session.close().unwrap();
        session.goaway(ErrorCode::INTERNAL_ERROR, "broken").unwrap();
        assert_eq!(client.goaways().await, [ErrorCode::INTERNAL_ERROR.0]);
        stage.ends_once(CloseReason::Admin).await;
    });
}

#[test]
fn the_connection_window_grows_to_what_was_ordered() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        client.until(|frame| frame.kind == 8).await; // The one of the start.
        let before = session.state().unwrap().await.unwrap().connection.recv_window;
        session.set_connection_window(4 << 20).unwrap();
        let update = client.until(|frame| frame.kind == 8).await;
        let credit = u32::from_be_bytes(update.payload[..].try_into().unwrap());
        assert_eq!(before + i64::from(credit), 4 << 20);
        assert_eq!(session.state().unwrap().await.unwrap().connection.recv_window, 4 << 20);
        for octets in [65_534, 1 << 31] {
            assert_eq!(session.set_connection_window(octets), Err(SessionError::InvalidWindow(octets)));
        }
    });
}

#[test]
fn what_only_http2_has_is_refused_on_http1_and_closing_is_not() {
    run_paused(async {
        let slot: Rc<RefCell<Option<SessionHandle>>> = Rc::default();
        let found = Rc::clone(&slot);
        let stage = Stage::new(service(move |request| {
            *found.borrow_mut() = Some(request.session.clone());
            stagedoor_actors::Response::text("hello").into()
        }));
        let (_, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        settle().await;
        let session = slot.borrow_mut().take().unwrap();
        let refused = SessionError::NotHttp2 { protocol: "http/1.1" };
        assert_eq!(session.settings(streams(1)).unwrap_err(), refused);
        assert_eq!(session.local_settings().unwrap_err(), refused);
        assert_eq!(session.remote_settings().unwrap_err(), refused);
        assert_eq!(session.ping(None).unwrap_err(), refused);
        assert_eq!(session.state().unwrap_err(), refused);
        assert_eq!(session.goaway(ErrorCode::NO_ERROR, "").unwrap_err(), refused);
        assert_eq!(session.set_connection_window(1 << 20).unwrap_err(), refused);
        session.close().unwrap();
        stage.ends_once(CloseReason::Admin).await;
    });
}

#[test]
fn a_session_may_have_an_idle_time_of_its_own() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, mut client) = open(&stage).await;
        // Longer than the two minutes of everybody, then shorter: counted from the last stream.
        session.set_idle(Duration::from_secs(600)).unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        client.send(&get(1)).await;
        client.until(|frame| frame.stream == 1 && frame.flags & 1 != 0).await;
        session.set_idle(Duration::from_secs(5)).unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(client.goaways().await, [0, 0]);
        let took = started.elapsed();
        assert!((4..7).contains(&took.as_secs()), "{took:?}");
        drop(client);
        stage.ends_once(CloseReason::IdleTimeout).await;
        assert_eq!(session.set_idle(Duration::ZERO), gone(CloseReason::IdleTimeout));
    });
}
