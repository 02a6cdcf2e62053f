//! What a connection holds is charged and given back, whatever happens; over its memory it refuses, then ends.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod support;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use stagedoor_protocol::{
    Account, Cause, Config, Connection, ConnectionError, ErrorCode, Limit, RequestHead, ResponseHead, Role,
};
use support::{Raw, block, fields, fixed, frames, status};

fn server(change: impl FnOnce(&mut Config)) -> Raw {
    let mut config = Config::default();
    change(&mut config);
    Raw::server_with(config, &[])
}

/// A server whose memory is spent by queued answers that the peer has no window for.
fn over_memory() -> Raw {
    let config = Config { session_memory: 256 << 10, ..Config::default() };
    // SETTINGS_INITIAL_WINDOW_SIZE of zero.
    let mut raw = Raw::server_with(config, &[(4, 0)]);
    let head = ResponseHead::new(200, fields(&[]));
    for n in 0..4 {
        let id = 2 * n + 1;
        raw.get(id);
        raw.act(|conn| conn.send_response(id.into(), &head, false)).unwrap();
        raw.act(|conn| conn.send_data(id.into(), Bytes::from(vec![7; 64 << 10]), true)).unwrap();
    }
    raw
}

#[test]
fn over_its_memory_a_session_refuses_streams_until_it_is_below_again() {
    let mut raw = over_memory();
    assert!(raw.conn.memory() > 256 << 10, "{}", raw.conn.memory());
    raw.send(frames::headers(9, &block::get(), frames::END_STREAM));
    // Nothing was done for it: a retry is safe (§8.7).
    assert_eq!(raw.resets(), [(9, ErrorCode::REFUSED_STREAM)]);
    assert_eq!(raw.conn.take_trips(), [(Limit::Memory, 1)]);
    // The peer takes what waits.
    for id in [1, 3, 5, 7] {
        raw.send(frames::window_update(id, 64 << 10));
    }
    raw.send(frames::window_update(0, 1 << 20));
    assert!(raw.conn.memory() < 64 << 10, "{}", raw.conn.memory());
    raw.get(11);
    assert!(raw.opened(11));
    raw.expect_alive();
}

#[test]
fn a_session_that_stays_over_its_memory_is_ended() {
    let mut raw = over_memory();
    raw.advance(Duration::from_secs(29));
    assert_eq!(raw.result, Ok(()));
    raw.advance(Duration::from_secs(1));
    assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::Memory)));
    raw.expect_goaway(ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!(raw.conn.take_trips(), [(Limit::Memory, 1)]);
}

#[test]
fn a_session_that_came_below_its_memory_has_the_whole_time_again() {
    let mut raw = over_memory();
    raw.advance(Duration::from_secs(29));
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.act(|conn| conn.release_stream(1.into()));
    raw.advance(Duration::from_secs(60));
    raw.expect_alive();
}

#[test]
fn a_body_given_whole_is_charged_as_far_as_the_send_buffer_goes() {
    // The rest is the handler's own: a peer is not ended for it.
    let mut raw = Raw::server_with(Config::default(), &[(4, 0)]);
    raw.get(1);
    let head = ResponseHead::new(200, fields(&[]));
    raw.act(|conn| conn.send_response(1.into(), &head, false)).unwrap();
    raw.act(|conn| conn.send_data(1.into(), Bytes::from(vec![7; 64 << 20]), true)).unwrap();
    assert!((64 << 10..128 << 10).contains(&raw.conn.memory()), "{}", raw.conn.memory());
}

#[test]
fn a_reader_that_pauses_never_brings_its_session_over_its_memory() {
    let memory = 1 << 20;
    let mut raw = server(|config| {
        config.session_memory = memory;
        config.stream_window = fixed(4 << 20);
    });
    raw.post(1);
    while raw.conn.recv_window() > 0 {
        let piece = raw.conn.recv_window().min(16_384) as usize;
        raw.send(frames::data(1, &vec![7; piece], frames::NONE));
        assert_eq!(raw.result, Ok(()));
        assert!(raw.conn.memory() <= memory, "{}", raw.conn.memory());
    }
    assert!(raw.conn.memory() > memory / 2, "{}", raw.conn.memory());
}

#[test]
fn a_header_block_in_flight_and_large_heads_are_charged() {
    let mut raw = server(|_| {});
    let before = raw.conn.memory();
    let block = block::get_with(&[("x", &"y".repeat(9_000))]);
    raw.send(frames::headers_open(1, &block[..4_000], frames::END_STREAM));
    assert!(raw.conn.memory() >= before + 4_000);
    raw.send(frames::continuation(1, &block[4_000..], frames::END_HEADERS));
    assert!(raw.conn.memory() >= before + 9_000, "its handler holds the head");
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert!(raw.conn.memory() >= before + 9_000, "and goes on doing so");
    raw.act(|conn| conn.release_stream(1.into()));
    raw.pump();
    assert!(raw.conn.memory() < before + 4_500, "what is left is the header table");
}

/// One thing either side may do.
#[derive(Clone, Debug)]
enum Act {
    Open { end: bool, head: usize },
    Data { stream: usize, octets: usize, end: bool },
    Continue { stream: u32 },
    Reset { stream: usize },
    Window { stream: usize, octets: u32 },
    Answer { stream: usize, octets: usize, end: bool },
    Consume { stream: usize, octets: usize },
    Release { stream: usize },
    Cancel { stream: usize },
    Take { octets: usize },
    Octets(Vec<u8>),
    Settings(u32),
    Drain,
    Close,
}

fn act() -> impl Strategy<Value = Act> {
    let stream = 0usize..12;
    prop_oneof![
        4 => (any::<bool>(), 0usize..3_000).prop_map(|(end, head)| Act::Open { end, head }),
        4 => (stream.clone(), 0usize..16_384, any::<bool>())
            .prop_map(|(stream, octets, end)| Act::Data { stream, octets, end }),
        1 => (1u32..40).prop_map(|stream| Act::Continue { stream }),
        2 => stream.clone().prop_map(|stream| Act::Reset { stream }),
        2 => (stream.clone(), 1u32..100_000).prop_map(|(stream, octets)| Act::Window { stream, octets }),
        4 => (stream.clone(), 0usize..200_000, any::<bool>())
            .prop_map(|(stream, octets, end)| Act::Answer { stream, octets, end }),
        4 => (stream.clone(), 0usize..50_000).prop_map(|(stream, octets)| Act::Consume { stream, octets }),
        2 => stream.clone().prop_map(|stream| Act::Release { stream }),
        1 => stream.prop_map(|stream| Act::Cancel { stream }),
        4 => (0usize..300_000).prop_map(|octets| Act::Take { octets }),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Act::Octets),
        1 => (0u32..100_000).prop_map(Act::Settings),
        1 => Just(Act::Drain),
        1 => Just(Act::Close),
    ]
}

/// Plays `acts` on a server; returns its account, after it was dropped.
fn play(acts: &[Act], memory: usize) -> Account {
    let now = std::time::Instant::now();
    let config = Config { session_memory: memory, ..Config::default() };
    let mut conn = Connection::new(Role::Server, config, now);
    let account = conn.account().clone();
    let hello = [frames::PREFACE, &frames::settings(&[(4, 20_000)]), &frames::settings_ack()].concat();
    conn.handle_input(&hello, now).expect("a good beginning");
    let mut opened: Vec<u32> = Vec::new();
    let mut next = 1;
    for act in acts {
        let of = |stream: &usize| opened.get(stream % opened.len().max(1)).copied().unwrap_or(1);
        let said = match act {
            Act::Open { end, head } => {
                opened.push(next);
                next += 2;
                let block = block::get_with(&[("x", &"y".repeat(*head))]);
                frames::headers(next - 2, &block, if *end { frames::END_STREAM } else { frames::NONE })
            }
            Act::Data { stream, octets, end } => {
                let flags = if *end { frames::END_STREAM } else { frames::NONE };
                frames::data(of(stream), &vec![7; *octets], flags)
            }
            Act::Continue { stream } => frames::headers_open(*stream, &block::get(), frames::NONE),
            Act::Reset { stream } => frames::rst(of(stream), ErrorCode::CANCEL),
            Act::Window { stream, octets } => frames::window_update(of(stream), *octets),
            Act::Settings(window) => frames::settings(&[(4, *window)]),
            Act::Octets(octets) => octets.clone(),
            Act::Answer { stream, octets, end } => {
                let id = of(stream).into();
                conn.send_response(id, &status(200), false).ok();
                conn.send_data(id, Bytes::from(vec![7; *octets]), *end).ok();
                Vec::new()
            }
            Act::Consume { stream, octets } => {
                conn.consume(of(stream).into(), *octets);
                Vec::new()
            }
            Act::Release { stream } => {
                let id = of(stream).into();
                if !conn.is_open(id) {
                    conn.release_stream(id);
                }
                Vec::new()
            }
            Act::Cancel { stream } => {
                conn.reset_stream(of(stream).into(), ErrorCode::CANCEL).ok();
                Vec::new()
            }
            Act::Take { octets } => {
                let waits = conn.poll_output(now);
                conn.advance_output((*octets).min(waits));
                Vec::new()
            }
            Act::Drain => {
                conn.drain(now);
                Vec::new()
            }
            Act::Close => {
                conn.close(ErrorCode::NO_ERROR, b"");
                Vec::new()
            }
        };
        conn.handle_input(&said, now).ok();
        while conn.poll_event().is_some() {}
        conn.poll_output(now);
        // Unread octets and the open window never exceed what there is.
        let unread: usize = conn.streams().iter().map(|stream| stream.unread).sum();
        assert!(unread <= memory.max(65_535), "{unread}");
    }
    // Closed, with every stream released and every octet taken: what is left is what tables keep.
    conn.close(ErrorCode::NO_ERROR, b"");
    for id in &opened {
        conn.release_stream((*id).into());
    }
    let waits = conn.poll_output(now);
    conn.advance_output(waits);
    conn.shrink();
    conn.poll_output(now);
    assert!(conn.memory() < 20_000, "{} octets of a closed connection", conn.memory());
    drop(conn);
    account
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// All closed means zero charged.
    #[test]
    fn nothing_is_charged_when_all_is_closed(
        acts in proptest::collection::vec(act(), 0..80),
        memory in prop_oneof![Just(65_535usize), Just(200_000), Just(20 << 20)],
    ) {
        prop_assert_eq!(play(&acts, memory).charged(), 0);
    }
}

#[test]
fn a_client_is_charged_as_well() {
    let mut raw = Raw::client();
    let account = raw.conn.account().clone();
    let id = raw.conn.send_request(&RequestHead::new("POST", "https", "a", "/"), false).unwrap();
    raw.conn.send_data(id, Bytes::from(vec![7; 1 << 20]), true).unwrap();
    raw.pump();
    assert!(account.charged() >= 64 << 10, "{}", account.charged());
    raw.send(frames::rst(id.get(), ErrorCode::CANCEL));
    assert_eq!(raw.closed(id.get()).len(), 1);
    assert!(matches!(raw.closed(id.get())[0], Cause::Reset { .. }));
    assert!(account.charged() < 64 << 10, "{}", account.charged());
    drop(raw);
    assert_eq!(account.charged(), 0);
}
