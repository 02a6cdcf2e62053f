//! What a review of the core found, one test a defect.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::settings::id as setting;
use stagedoor_protocol::{Budgets, Cause, Config, ConnectionError, ErrorCode, Event, Limit, Origin, Role};
use support::{Raw, block, fixed, frames, status};

const BIG: u32 = 0x7fff_ffff;

/// A server whose peer has windows without end.
fn generous(config: Config) -> Raw {
    let mut raw = Raw::server_with(config, &[(setting::INITIAL_WINDOW_SIZE, BIG)]);
    raw.send(frames::window_update(0, BIG - 65_535));
    raw.forget();
    raw
}

// --- replies that wait (CVE-2019-9517) ---

#[test]
fn replies_that_have_left_are_forgotten_though_the_output_is_never_empty() {
    let mut raw = generous(Config::default());
    raw.get(1);
    raw.conn.send_response(1.into(), &status(200), false).unwrap();
    raw.conn.send_data(1.into(), Bytes::from(vec![0; 32 << 20]), true).unwrap();
    // A slow reader of a large download who measures the way now and then: a few KiB leave between two PINGs.
    for n in 0..2_000u64 {
        raw.now += std::time::Duration::from_millis(100);
        raw.conn.handle_input(&frames::ping(n.to_be_bytes()), raw.now).unwrap();
        while raw.conn.poll_event().is_some() {}
        raw.conn.poll_output(raw.now);
        raw.conn.advance_output(8_000);
        assert!(raw.conn.poll_output(raw.now) > 0);
        assert!(raw.conn.wants_input(), "after {n} PINGs, all but the last few answered");
    }
}

// --- the window of the connection ---

#[test]
fn octets_dropped_on_arrival_give_the_window_back_while_memory_is_short() {
    let memory = 1 << 20;
    let config = Config {
        stream_window: fixed(768 << 10),
        connection_window: fixed(512 << 10),
        session_memory: memory,
        max_header_list_size: 1_000,
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    // A reader that has stopped holds more than half of the memory.
    while raw.conn.stream(1.into()).unwrap().unread <= memory / 2 {
        raw.send(frames::data(1, &[0; 16_384], frames::NONE));
    }
    // The body of a refused request is dropped as it comes: it must not take the window with it.
    raw.send(frames::headers(3, &block::post_with(&[("x", &"y".repeat(2_000))]), frames::NONE));
    raw.expect_opened(3);
    for _ in 0..64 {
        let step = raw.conn.recv_window().min(16_384) as usize;
        assert!(step > 0, "nobody else can send any more, and nobody will give credit");
        raw.send(frames::data(3, &vec![0; step], frames::NONE));
        assert_eq!(raw.result, Ok(()));
    }
    raw.expect_alive();
}

#[test]
fn padding_gives_the_window_back_while_memory_is_short() {
    let memory = 1 << 20;
    let config = Config {
        stream_window: fixed(768 << 10),
        connection_window: fixed(512 << 10),
        session_memory: memory,
        // That nobody reads them is not the matter here.
        budgets: Budgets { small_data: u32::MAX, ..Budgets::default() },
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    while raw.conn.stream(1.into()).unwrap().unread <= memory / 2 {
        raw.send(frames::data(1, &[0; 16_384], frames::NONE));
    }
    raw.post(3);
    for _ in 0..4_000 {
        assert!(raw.conn.recv_window() > 256, "padding has eaten the window");
        raw.send(frames::padded_data(3, b"a", 255, frames::NONE));
        assert_eq!(raw.result, Ok(()));
    }
}

#[test]
fn pieces_that_nobody_reads_are_charged_for_more_than_their_octets() {
    pieces_are_charged(|id| frames::data(id, b"a", frames::NONE));
    pieces_are_charged(|id| frames::padded_data(id, b"a", 0, frames::NONE));
}

fn pieces_are_charged(piece: fn(u32) -> Vec<u8>) {
    let mut raw = Raw::server();
    let mut pieces = 0usize;
    for id in (1..256).step_by(2) {
        raw.post(id);
        while raw.result.is_ok()
            && raw.conn.recv_window() > 1
            && raw.conn.stream(id.into()).is_some_and(|stream| stream.recv_window > 1)
        {
            // Straight into the connection: the log of a test is no place for millions of events.
            raw.result = raw.conn.handle_input(&piece(id), raw.now);
            while raw.conn.poll_event().is_some() {}
            pieces += 1;
        }
        if raw.result.is_err() || raw.conn.recv_window() <= 1 {
            break;
        }
        raw.frames.clear();
    }
    let memory = Config::default().session_memory;
    assert!(pieces * 64 <= 3 * memory, "{pieces} pieces of one octet are kept");
}

#[test]
fn small_messages_that_are_read_cost_nothing_in_the_end() {
    let mut raw = Raw::server();
    raw.post(1);
    // Many more than could be kept, each read a little late.
    let mut unread = 0;
    for n in 0..600_000 {
        raw.result = raw.conn.handle_input(&frames::data(1, &[0; 20], frames::NONE), raw.now);
        assert_eq!(raw.result, Ok(()), "message {n}");
        while raw.conn.poll_event().is_some() {}
        unread += 20;
        if unread > 1_000 {
            raw.conn.consume(1.into(), unread - 100);
            unread = 100;
        }
        if n % 64 == 0 {
            let waits = raw.conn.poll_output(raw.now);
            raw.conn.advance_output(waits);
        }
    }
    raw.conn.consume(1.into(), unread);
    raw.expect_open(1);
}

// --- requests ---

#[test]
fn the_rules_of_http_hold_however_the_scheme_is_spelled() {
    for scheme in ["https", "HTTPS", "Http"] {
        for (authority, path) in [("example.com", "x"), ("example.com", "*"), ("user@example.com", "/")] {
            let mut raw = Raw::server();
            let fields =
                [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)];
            raw.send(frames::headers(1, &block::of(&fields), frames::END_STREAM));
            assert!(!raw.opened(1), "{scheme} {authority} {path}");
            raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn no_host_has_a_user() {
    let mut raw = Raw::server();
    let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "user@example.com")];
    raw.send(frames::headers(1, &block::of(&fields), frames::END_STREAM));
    assert!(!raw.opened(1));
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    let fields = [(":method", "CONNECT"), (":authority", "user@example.com:443")];
    raw.send(frames::headers(3, &block::of(&fields), frames::NONE));
    assert!(!raw.opened(3));
    raw.expect_reset(3, ErrorCode::PROTOCOL_ERROR);
}

// --- streams that we reset ---

#[test]
fn answers_to_many_requests_cancelled_at_once_do_no_harm() {
    let mut raw = Raw::client_with(Config::default(), &[(setting::MAX_CONCURRENT_STREAMS, 1_000)]);
    let ids: Vec<u32> = (0..1_000).map(|_| raw.ask_get()).collect();
    for &id in &ids {
        raw.act(|conn| conn.reset_stream(id.into(), ErrorCode::CANCEL)).unwrap();
    }
    // They were on their way.
    for &id in &ids {
        raw.send(frames::headers(id, &block::status("200"), frames::NONE));
        raw.send(frames::data(id, b"late", frames::END_STREAM));
        assert_eq!(raw.result, Ok(()), "stream {id}");
    }
    raw.expect_alive();
}

#[test]
fn bodies_of_many_requests_refused_at_once_do_no_harm() {
    let config = Config { max_concurrent_streams: 600, ..Config::default() };
    let mut raw = Raw::server_with(config, &[]);
    let ids: Vec<u32> = (0..1_200).map(|n| 2 * n + 1).collect();
    for &id in &ids {
        raw.send(frames::headers(id, &block::post(), frames::NONE));
    }
    for &id in &ids {
        raw.send(frames::data(id, b"body", frames::END_STREAM));
        assert_eq!(raw.result, Ok(()), "stream {id}");
    }
    raw.expect_alive();
}

#[test]
fn header_blocks_on_a_stream_that_was_reset_are_paid_for() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)).unwrap();
    let trailers = block::of(&[("x", &"y".repeat(1_000))]);
    for _ in 0..10_000 {
        raw.send(frames::headers(1, &trailers, frames::NONE));
        if raw.result.is_err() {
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::UnknownFrames)));
            return;
        }
    }
    panic!("the flood has no end");
}

// --- SETTINGS, GOAWAY, PUSH_PROMISE ---

#[test]
fn a_table_size_that_a_settings_frame_passes_through_is_told() {
    // §6.5.3: values are processed in order; RFC 7541 §4.2: the smallest of them is signalled.
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 0), (setting::HEADER_TABLE_SIZE, 4_096)]));
    raw.get(1);
    raw.answer(1);
    let head = raw.of_kind(frames::HEADERS)[0];
    assert!(head.payload.starts_with(&[0x20, 0x3f, 0xe1, 0x1f]), "{:x?}", head.payload);
}

#[test]
fn goaway_said_again_and_again_is_paid_for() {
    let mut raw = Raw::client();
    raw.ask_get();
    for _ in 0..200_000 {
        raw.result = raw.conn.handle_input(&frames::goaway(9, ErrorCode::NO_ERROR, b""), raw.now);
        while raw.conn.poll_event().is_some() {}
        if raw.result.is_err() {
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::UnknownFrames)));
            return;
        }
    }
    panic!("the flood has no end");
}

#[test]
fn promises_refused_now_and_then_do_no_harm() {
    let config = Config { enable_push: true, max_reserved_streams: 1, ..Config::default() };
    let mut raw = Raw::client_with(config, &[]);
    let mut promised = 2;
    for _ in 0..150 {
        let id = raw.ask_get();
        let first = promised;
        for _ in 0..2 {
            raw.send(frames::push_promise(id, promised, &block::get()));
            promised += 2;
        }
        raw.send(frames::headers(first, &block::status("200"), frames::END_STREAM));
        raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
        assert_eq!(raw.result, Ok(()));
        assert_eq!(raw.closed(first), [Cause::EndStream]);
    }
    raw.expect_alive();
}

#[test]
fn a_promise_that_crossed_our_goaway_is_refused_and_does_not_hold_up_the_drain() {
    let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
    let id = raw.ask_get();
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.send(frames::ping_ack(*b"draining"));
    assert_eq!(raw.of_kind(frames::GOAWAY).len(), 2);
    // The server forgets streams above the last one (§6.8): nothing else would ever end this one.
    raw.send(frames::push_promise(id, 2, &block::get()));
    let resets: Vec<_> =
        raw.of_kind(frames::RST_STREAM).iter().map(|reset| (reset.id, reset.code())).collect();
    assert_eq!(resets, [(2, ErrorCode::REFUSED_STREAM)]);
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    assert!(raw.conn.is_drained());
    raw.expect_alive_after_goaway();
}

#[test]
fn a_client_told_to_allow_push_allows_it() {
    let mut raw = Raw::client();
    let settings = stagedoor_protocol::Settings { enable_push: Some(true), ..Default::default() };
    let now = raw.now;
    raw.act(|conn| conn.update_settings(settings, now)).unwrap();
    raw.send(frames::settings_ack());
    let id = raw.ask_get();
    raw.send(frames::push_promise(id, 2, &block::get()));
    assert!(raw.events.iter().any(|event| matches!(event, Event::PushPromised { .. })), "{:?}", raw.frames);
    raw.expect_fine();
}

// --- records ---

#[test]
fn the_latest_errors_are_kept() {
    let mut raw = Raw::client_with(Config::default(), &[]);
    assert_eq!(raw.conn.role(), Role::Client);
    let mut last = 0;
    for _ in 0..1_100 {
        last = raw.ask_get();
        raw.act(|conn| conn.reset_stream(last.into(), ErrorCode::CANCEL)).unwrap();
    }
    let records = raw.conn.take_error_records();
    assert_eq!(records.len(), 1_024);
    let newest = records.last().unwrap();
    assert_eq!((newest.id.get(), newest.by), (last, Origin::Local));
}
