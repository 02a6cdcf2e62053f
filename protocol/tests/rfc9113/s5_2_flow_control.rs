//! §5.2: flow control, the receiving side. What the sender does stands in s6_9.

use crate::prelude::*;

/// Windows of `stream` and `connection` octets that never grow; the connection's is 65 535 at least.
fn server(stream: u32, connection: u32) -> Raw {
    let config =
        Config { stream_window: fixed(stream), connection_window: fixed(connection), ..Config::default() };
    Raw::server_with(config, &[])
}

/// The same with so little memory that whatever is not given back is soon missed.
fn tight() -> Config {
    Config { session_memory: 65_535, ..plain_windows() }
}

fn flood(raw: &mut Raw, id: u32, mut octets: usize) {
    while octets > 0 {
        let part = octets.min(16_384);
        raw.send(frames::data(id, &vec![5; part], frames::NONE));
        octets -= part;
    }
}

#[test]
fn the_connection_window_is_raised_at_the_start() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    raw.send(frames::settings(&[]));
    assert_eq!(raw.credit(0), (1 << 20) - 65_535);
}

#[test]
fn the_stream_window_is_announced_in_the_first_settings() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    assert!(raw.frames[0].settings().contains(&(setting::INITIAL_WINDOW_SIZE, 256 << 10)));
}

#[test]
fn a_full_stream_window_passes_and_one_octet_more_is_a_stream_error() {
    let mut raw = server(100_000, 1 << 20);
    raw.post(1);
    flood(&mut raw, 1, 100_000);
    raw.expect_open(1);
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.expect_stream_or_connection_error(1, ErrorCode::FLOW_CONTROL_ERROR);
    assert_eq!(raw.body(1).len(), 100_000);
}

#[test]
fn a_full_connection_window_passes_and_one_octet_more_is_a_connection_error() {
    // Unread octets beyond half the budget keep the connection window shut.
    let config = Config {
        stream_window: fixed(65_535),
        connection_window: fixed(65_535),
        session_memory: 65_535,
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    raw.post(3);
    let mut granted: u64 = 65_535;
    for (id, octets) in [(1, 40_000usize), (3, 20_000)] {
        flood(&mut raw, id, octets);
        granted += raw.credit(0);
        raw.frames.clear();
        granted -= octets as u64;
    }
    raw.expect_alive();
    flood(&mut raw, 3, granted as usize);
    assert_eq!(raw.credit(0), 0, "no room is left in the budget");
    raw.expect_alive();
    raw.send(frames::data(3, b"x", frames::NONE));
    raw.expect_goaway(ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn consumption_gives_both_windows_back() {
    let mut raw = server(65_535, 65_535);
    raw.post(1);
    for _ in 0..20 {
        flood(&mut raw, 1, 60_000);
        raw.expect_open(1);
        raw.act(|conn| conn.consume(1.into(), 60_000));
        assert!(raw.credit(1) >= 60_000 / 2, "stream credit {}", raw.credit(1));
        // What is not given back yet is less than the next round needs, so ask for the rest by sum.
        let view = raw.conn.streams()[0].clone();
        assert!(view.recv_window >= 60_000, "{view:?}");
    }
    assert_eq!(raw.body(1).len(), 1_200_000);
}

#[test]
fn the_stream_window_stays_shut_while_nobody_reads() {
    let mut raw = server(65_535, 1 << 20);
    raw.post(1);
    flood(&mut raw, 1, 65_535);
    assert_eq!(raw.credit(1), 0);
    let view = raw.conn.streams()[0].clone();
    assert_eq!((view.recv_window, view.unread, view.received), (0, 65_535, 65_535));
    raw.act(|conn| conn.consume(1.into(), 65_535));
    assert_eq!(raw.credit(1), 65_535);
    assert_eq!(raw.conn.streams()[0].unread, 0);
}

#[test]
fn one_paused_stream_does_not_block_another() {
    let mut raw = server(65_535, 65_535);
    raw.post(1);
    raw.post(3);
    flood(&mut raw, 1, 65_535); // nobody reads stream 1
    for _ in 0..10 {
        flood(&mut raw, 3, 60_000);
        raw.act(|conn| conn.consume(3.into(), 60_000));
        raw.expect_open(3);
    }
    assert_eq!(raw.body(3).len(), 600_000);
}

#[test]
fn unread_octets_and_the_outstanding_connection_window_stay_within_the_budget() {
    let budget = 200_000;
    let config = Config {
        stream_window: fixed(1 << 20),
        connection_window: fixed(100_000),
        session_memory: budget,
        ..Config::default()
    };
    let mut raw = Raw::bare(Role::Server, config);
    let mut hello = frames::PREFACE.to_vec();
    hello.extend([frames::settings(&[]), frames::settings_ack()].concat());
    raw.send(hello);
    let mut window = 65_535 + raw.credit(0) as i64;
    raw.frames.clear();
    let mut unread = 0;
    for id in [1, 3, 5, 7, 9, 11] {
        raw.post(id);
        while window > 0 {
            let part = window.min(16_000);
            raw.send(frames::data(id, &vec![1; part as usize], frames::NONE));
            unread += part;
            window += raw.credit(0) as i64 - part;
            raw.frames.clear();
            assert!(unread + window <= budget as i64, "{unread} + {window}");
            if raw.conn.streams().iter().any(|view| view.id.get() == id && view.recv_window < 16_000) {
                break;
            }
        }
    }
    assert!(unread > budget as i64 / 2, "the budget is used: {unread}");
    // Readers come back: the window opens again.
    for view in raw.conn.streams() {
        raw.conn.consume(view.id, view.unread);
    }
    raw.pump();
    assert!(window + raw.credit(0) as i64 >= 50_000, "{window} + {}", raw.credit(0));
}

#[test]
fn past_half_the_budget_only_readers_open_the_connection_window() {
    let config = Config {
        stream_window: fixed(1 << 20),
        connection_window: fixed(65_535),
        session_memory: 200_000,
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    flood(&mut raw, 1, 60_000);
    assert!(raw.credit(0) > 0, "below half the budget arrival gives credit");
    flood(&mut raw, 1, 50_000);
    raw.frames.clear();
    let before = raw.conn.recv_window();
    flood(&mut raw, 1, 30_000);
    assert_eq!((raw.credit(0), raw.conn.recv_window()), (0, before - 30_000));
    raw.act(|conn| conn.consume(1.into(), 140_000));
    assert!(raw.conn.recv_window() >= 60_000, "{}", raw.conn.recv_window());
}

#[test]
fn a_declared_body_gets_all_the_credit_it_needs() {
    for length in [9_999, 10_000, 10_001, 15_000, 20_000, 20_001, 100_000] {
        let mut raw = Raw::server_with(Config { stream_window: fixed(10_000), ..Config::default() }, &[]);
        let head = block::post_with(&[("content-length", &length.to_string())]);
        raw.send(frames::headers(1, &head, frames::NONE));
        let mut left: usize = length;
        while left > 0 {
            let part = left.min(raw.conn.streams()[0].recv_window as usize);
            assert!(part > 0, "{left} octets of {length} have no window");
            raw.send(frames::data(1, &vec![0; part], u8::from(part == left)));
            raw.act(|conn| conn.consume(1.into(), part));
            left -= part;
        }
        assert!(raw.ended(1));
    }
}

#[test]
fn windows_grow_with_consumption_up_to_their_bound() {
    let config = Config {
        stream_window: stagedoor_protocol::Window { start: 65_535, max: 1 << 20 },
        connection_window: stagedoor_protocol::Window { start: 65_535, max: 2 << 20 },
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    let mut largest = 0;
    for _ in 0..800 {
        assert!(raw.conn.recv_window() <= 2 << 20, "{}", raw.conn.recv_window());
        let window = raw.conn.streams()[0].recv_window;
        largest = largest.max(window);
        assert!(window <= 1 << 20, "{window}");
        let part = (window as usize).min(16_384);
        raw.now += Duration::from_micros(100);
        raw.send(frames::data(1, &vec![1; part], frames::NONE));
        raw.act(|conn| conn.consume(1.into(), part));
    }
    raw.expect_open(1);
    assert!(largest > 65_535, "a reader that keeps up gets more than {largest}");
}

#[test]
fn octets_of_a_stream_the_peer_reset_are_given_back() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..200).step_by(2) {
        raw.post(id);
        flood(&mut raw, id, 30_000);
        raw.send(frames::rst(id, ErrorCode::CANCEL));
        raw.act(|conn| conn.release_stream(id.into()));
    }
    raw.expect_fine();
}

#[test]
fn octets_of_a_stream_we_reset_are_given_back() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..200).step_by(2) {
        raw.post(id);
        flood(&mut raw, id, 20_000);
        raw.act(|conn| conn.reset_stream(id.into(), ErrorCode::CANCEL)).unwrap();
        flood(&mut raw, id, 20_000); // was on its way
        raw.act(|conn| conn.release_stream(id.into()));
    }
    raw.expect_alive();
}

#[test]
fn octets_unread_when_a_stream_ends_are_given_back_when_they_are_read() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..100).step_by(2) {
        raw.post(id);
        flood(&mut raw, id, 30_000);
        raw.answer(id);
        raw.send(frames::data(id, b"", frames::END_STREAM));
        raw.act(|conn| conn.consume(id.into(), 30_000));
        assert_eq!(raw.closed(id), [Cause::EndStream]);
    }
    raw.expect_fine();
}

#[test]
fn octets_unread_when_a_stream_ends_are_given_back_when_it_is_released() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..100).step_by(2) {
        raw.post(id);
        flood(&mut raw, id, 30_000);
        raw.answer(id);
        raw.send(frames::data(id, b"", frames::END_STREAM));
        raw.act(|conn| conn.release_stream(id.into()));
    }
    raw.expect_fine();
}

#[test]
fn octets_refused_with_their_stream_are_given_back() {
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 1, ..tight() }, &[]);
    raw.post(1);
    for id in (3..40).step_by(2) {
        raw.send(frames::headers(id, &block::post(), frames::NONE));
        flood(&mut raw, id, 30_000);
    }
    raw.expect_alive();
}

#[test]
fn octets_of_a_malformed_request_are_given_back() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..40).step_by(2) {
        raw.send(frames::headers(id, &block::post_with(&[("Upper", "x")]), frames::NONE));
        flood(&mut raw, id, 30_000);
    }
    raw.expect_alive();
}

#[test]
fn octets_that_make_a_message_malformed_are_given_back() {
    let mut raw = Raw::server_with(tight(), &[]);
    for id in (1..40).step_by(2) {
        raw.send(frames::headers(id, &block::post_with(&[("content-length", "5")]), frames::NONE));
        flood(&mut raw, id, 16_384);
        assert_eq!(raw.closed(id).len(), 1);
        raw.act(|conn| conn.release_stream(id.into()));
    }
    raw.expect_alive();
}

#[test]
fn octets_beyond_a_stream_window_are_given_back_to_the_connection() {
    let mut raw = Raw::server_with(Config { stream_window: fixed(10_000), ..tight() }, &[]);
    for id in (1..40).step_by(2) {
        raw.post(id);
        raw.send(frames::data(id, &[0; 10_001], frames::NONE));
        raw.act(|conn| conn.release_stream(id.into()));
    }
    raw.expect_alive();
    assert_eq!(raw.of_kind(frames::RST_STREAM).len(), 20);
}

#[test]
fn octets_of_a_head_too_large_are_given_back_on_arrival() {
    let mut raw = Raw::server_with(Config { max_header_list_size: 300, ..tight() }, &[]);
    let head = block::post_with(&[("x", &"v".repeat(300))]);
    raw.send(frames::headers(1, &head, frames::NONE));
    assert!(raw.events.contains(&Event::HeadTooLarge { id: 1.into() }));
    // The upload goes on until it has read the answer; nobody consumes it.
    for _ in 0..20 {
        flood(&mut raw, 1, 30_000);
    }
    raw.expect_open(1);
    assert!(raw.body(1).is_empty());
    raw.answer(1);
    raw.send(frames::data(1, b"", frames::END_STREAM));
    raw.expect_fine();
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn padding_is_given_back_on_arrival() {
    let budgets = Budgets { small_data: u32::MAX, ..Budgets::default() };
    let mut raw = Raw::server_with(Config { budgets, ..tight() }, &[]);
    raw.post(1);
    // Far more than a window of padding around 500 octets that nobody reads.
    for _ in 0..500 {
        raw.send(frames::padded_data(1, b"x", 255, frames::NONE));
    }
    raw.expect_open(1);
    assert_eq!(raw.conn.streams()[0].unread, 500);
}

#[test]
fn consuming_more_than_was_received_gives_nothing_more() {
    let config = Config {
        stream_window: stagedoor_protocol::Window { start: 65_535, max: 1 << 20 },
        connection_window: stagedoor_protocol::Window { start: 65_535, max: 1 << 20 },
        ..Config::default()
    };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    flood(&mut raw, 1, 50_000);
    raw.act(|conn| conn.consume(1.into(), 50_000));
    for _ in 0..10 {
        raw.act(|conn| conn.consume(1.into(), 1_000_000));
    }
    raw.act(|conn| conn.consume(3.into(), 1_000_000));
    assert!(raw.credit(1) <= 50_000, "{}", raw.credit(1));
    assert!(raw.credit(0) <= 50_000, "{}", raw.credit(0));
    raw.expect_open(1);
}

#[test]
fn control_frames_are_not_flow_controlled() {
    let mut raw = Raw::server_with(plain_windows(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    raw.get(1);
    raw.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
    raw.act(|conn| conn.send_data(1.into(), Bytes::from_static(b"waits"), true)).unwrap();
    assert_eq!(raw.of_kind(frames::HEADERS).len(), 1);
    assert_eq!(raw.data_sent(1), 0);
    raw.expect_fine();
}
