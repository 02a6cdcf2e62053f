//! RFC 9218: extensible priorities: the field, PRIORITY_UPDATE, and what the scheduler makes of them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::settings::id as setting;
use stagedoor_protocol::{Config, ConnectionError, ErrorCode, Event, Priority, Role, StreamId};
use support::{Raw, block, frames, status};

/// A server whose peer has windows without end.
fn server() -> Raw {
    let config = Config { output_high_water: 16_384, ..Config::default() };
    let mut raw = Raw::server_with(config, &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    raw.send(frames::window_update(0, 0x7fff_ffff - 65_535));
    raw.forget();
    raw
}

/// A request with this `priority` field; empty: none.
fn ask(raw: &mut Raw, id: u32, priority: &str) {
    let head = if priority.is_empty() { block::get() } else { block::get_with(&[("priority", priority)]) };
    raw.send(frames::headers(id, &head, frames::END_STREAM));
    raw.expect_opened(id);
}

fn answer(raw: &mut Raw, id: u32, octets: usize) {
    raw.conn.send_response(id.into(), &status(200), false).unwrap();
    raw.conn.send_data(id.into(), Bytes::from(vec![0; octets]), true).unwrap();
}

/// Asks on 1, 3, 5, ... with these priorities and answers each with `octets`, then lets all out: the streams of
/// the DATA frames in order.
fn served(priorities: &[&str], octets: usize) -> Vec<u32> {
    let mut raw = server();
    let ids: Vec<_> = (0..priorities.len() as u32).map(|n| 2 * n + 1).collect();
    for (&id, priority) in ids.iter().zip(priorities) {
        ask(&mut raw, id, priority);
    }
    for &id in &ids {
        answer(&mut raw, id, octets);
    }
    raw.pump();
    for &id in &ids {
        assert_eq!(raw.data_sent(id), octets, "stream {id}");
    }
    raw.of_kind(frames::DATA).iter().map(|frame| frame.id).collect()
}

fn last_of(order: &[u32], id: u32) -> usize {
    order.iter().rposition(|&other| other == id).unwrap()
}

fn first_of(order: &[u32], id: u32) -> usize {
    order.iter().position(|&other| other == id).unwrap()
}

// --- §2.1 ---

#[test]
fn no_rfc7540_priorities_is_in_the_first_settings() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    assert!(raw.frames[0].settings().contains(&(setting::NO_RFC7540_PRIORITIES, 1)));
}

#[test]
fn no_rfc7540_priorities_is_zero_or_one() {
    for (value, passes) in [(0, true), (1, true), (2, false)] {
        let mut raw = Raw::bare(Role::Server, Config::default());
        raw.send([frames::PREFACE, &frames::settings(&[(setting::NO_RFC7540_PRIORITIES, value)])].concat());
        if passes { raw.expect_fine() } else { raw.expect_goaway(ErrorCode::PROTOCOL_ERROR) }
    }
}

// --- §4, §5: the field ---

#[test]
fn the_field_is_read_and_given_to_the_owner() {
    let said = |urgency, incremental| Some(Priority { urgency, incremental });
    for (value, expected) in [
        ("", None),
        ("u=0", said(0, false)),
        ("u=7, i", said(7, true)),
        ("i", said(3, true)),
        ("i=?0", said(3, false)),
        ("u=9", said(3, false)),
        ("nonsense!!", said(3, false)),
        ("u=1, foo=2, i=?1", said(1, true)),
    ] {
        let mut raw = server();
        ask(&mut raw, 1, value);
        let told = raw.log.iter().find_map(|event| match event {
            Event::StreamOpened { head, .. } => Some(head.priority()),
            _ => None,
        });
        assert_eq!(told, Some(expected), "{value:?}");
        assert_eq!(raw.conn.streams()[0].priority, expected.unwrap_or(Priority::UNSAID));
        raw.expect_fine();
    }
}

// --- §7: PRIORITY_UPDATE ---

#[test]
fn priority_update_belongs_on_stream_zero() {
    for id in [1, 3] {
        let mut raw = server();
        raw.get(1);
        let payload = [&[0, 0, 0, 1][..], b"u=1"].concat();
        raw.send(frames::frame(frames::PRIORITY_UPDATE, 0, id, &payload));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_prioritized_stream_of_zero_is_a_connection_error() {
    for raw_id in [0, 1 << 31] {
        let mut raw = server();
        raw.send(frames::priority_update(raw_id, "u=1"));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn four_octets_pass_and_three_are_a_frame_size_error() {
    for length in [0, 3, 4] {
        let mut raw = server();
        raw.get(1);
        raw.send(frames::frame(frames::PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1][..length]));
        if length == 4 { raw.expect_open(1) } else { raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR) }
    }
}

#[test]
fn a_client_that_receives_one_ends_the_connection() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::priority_update(id, "u=1"));
    assert_eq!(raw.result, Err(ConnectionError::UnexpectedPriorityUpdate));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn an_update_of_an_open_stream_is_told_and_in_force() {
    let mut raw = server();
    ask(&mut raw, 1, "u=5");
    raw.send(frames::priority_update(1, "u=2, i"));
    let priority = Priority { urgency: 2, incremental: true };
    assert!(raw.events.contains(&Event::PriorityUpdated { id: 1.into(), priority }), "{:?}", raw.events);
    assert_eq!(raw.conn.streams()[0].priority, priority);
}

#[test]
fn members_that_are_not_said_get_their_default() {
    let mut raw = server();
    ask(&mut raw, 1, "u=5, i");
    raw.send(frames::priority_update(1, "u=2"));
    assert_eq!(raw.conn.streams()[0].priority, Priority { urgency: 2, incremental: false });
    raw.send(frames::priority_update(1, ""));
    assert_eq!(raw.conn.streams()[0].priority, Priority::default());
}

#[test]
fn an_update_before_the_request_outweighs_its_field() {
    let mut raw = server();
    raw.send(frames::priority_update(5, "u=6"));
    raw.send(frames::priority_update(5, "u=1"));
    ask(&mut raw, 1, "");
    ask(&mut raw, 5, "u=4, i");
    let views = raw.conn.streams();
    assert_eq!(views[0].priority, Priority::UNSAID);
    assert_eq!(views[1].priority, Priority { urgency: 1, incremental: false });
    raw.expect_fine();
}

#[test]
fn an_update_of_a_closed_stream_is_ignored() {
    let mut raw = server();
    raw.exchange(1);
    raw.exchange(3);
    raw.send(frames::priority_update(1, "u=1"));
    raw.expect_fine();
    assert!(!raw.events.iter().any(|event| matches!(event, Event::PriorityUpdated { .. })));
}

#[test]
fn an_update_of_an_idle_pushed_stream_is_a_connection_error() {
    let mut raw = server();
    raw.send(frames::priority_update(2, "u=1"));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn updates_are_kept_for_as_many_idle_streams_as_may_be_opened() {
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 4, ..Config::default() }, &[]);
    for id in [1, 3, 5, 7] {
        raw.send(frames::priority_update(id, "u=1"));
        raw.send(frames::priority_update(id, "u=0"));
    }
    raw.expect_fine();
    for id in [1, 3, 5, 7] {
        raw.get(id);
    }
    assert!(raw.conn.streams().iter().all(|view| view.priority.urgency == 0));
}

#[test]
fn updates_beyond_the_limit_keep_nothing() {
    // §7.1 asks for a connection error; to forget them is what the budget of design.md says. Never memory.
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 4, ..Config::default() }, &[]);
    for id in [1, 3, 5, 7, 9, 11, 13] {
        raw.send(frames::priority_update(id, "u=1"));
    }
    if raw.result.is_err() {
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
        return;
    }
    raw.get(13);
    assert_eq!(raw.conn.streams()[0].priority, Priority::UNSAID);
}

#[test]
fn an_update_moves_what_is_queued_already() {
    let mut raw = server();
    ask(&mut raw, 1, "u=1");
    ask(&mut raw, 3, "u=5");
    answer(&mut raw, 1, 200_000);
    answer(&mut raw, 3, 200_000);
    raw.conn.handle_input(&frames::priority_update(1, "u=7"), raw.now).unwrap();
    raw.pump();
    let order: Vec<_> = raw.of_kind(frames::DATA).iter().map(|frame| frame.id).collect();
    assert!(last_of(&order, 3) < last_of(&order, 1), "{order:?}");
    assert_eq!(order[..6], [3; 6], "{order:?}");
}

// --- §10: scheduling ---

#[test]
fn the_more_urgent_goes_first() {
    let order = served(&["u=5", "u=0", "u=3"], 160_000);
    // A frame in seventeen may go to those that wait.
    assert!(last_of(&order, 3) < last_of(&order, 5) && last_of(&order, 5) < last_of(&order, 1), "{order:?}");
    assert!(order[..10].iter().filter(|id| **id == 3).count() >= 9, "{order:?}");
}

#[test]
fn urgency_holds_whatever_the_order_of_requests() {
    for priorities in [["u=1", "u=2"], ["u=2", "u=1"]] {
        let order = served(&priorities, 100_000);
        let (urgent, other) = if priorities[0] == "u=1" { (1, 3) } else { (3, 1) };
        assert!(last_of(&order, urgent) < last_of(&order, other), "{priorities:?} {order:?}");
    }
}

#[test]
fn a_few_octets_do_not_overtake_those_that_wait() {
    let mut raw = server();
    ask(&mut raw, 1, "u=0");
    ask(&mut raw, 3, "u=6");
    answer(&mut raw, 1, 100_000);
    answer(&mut raw, 3, 10);
    raw.pump();
    let order: Vec<_> = raw.of_kind(frames::DATA).iter().map(|frame| frame.id).collect();
    assert!(last_of(&order, 1) < first_of(&order, 3), "{order:?}");
}

#[test]
fn incremental_streams_of_one_urgency_take_turns() {
    let order = served(&["u=3, i", "u=3, i", "u=3, i"], 200_000);
    for window in order.chunks(3).take(10) {
        let mut window = window.to_vec();
        window.sort_unstable();
        assert_eq!(window, [1, 3, 5], "{order:?}");
    }
}

#[test]
fn what_is_said_not_to_be_incremental_goes_one_after_the_other() {
    for priority in ["u=3", "i=?0", "u=3, i=?0"] {
        let order = served(&[priority; 3], 200_000);
        assert!(last_of(&order, 1) < first_of(&order, 3), "{order:?}");
        assert!(last_of(&order, 3) < first_of(&order, 5), "{order:?}");
    }
}

#[test]
fn both_kinds_of_one_urgency_alternate() {
    let order = served(&["u=3", "u=3, i", "u=3, i", "u=3"], 200_000);
    let kind = |id: &u32| *id == 3 || *id == 5;
    let incremental = order[..20].iter().filter(|id| kind(id)).count();
    assert_eq!(incremental, 10, "{order:?}");
    assert!(last_of(&order, 1) < first_of(&order, 7), "one after the other: {order:?}");
}

#[test]
fn streams_that_say_nothing_share_fairly() {
    let order = served(&["", "", "", ""], 200_000);
    for id in [1, 3, 5, 7] {
        let first_half = order[..order.len() / 2].iter().filter(|other| **other == id).count();
        let share = order.len() / 8;
        assert!(first_half.abs_diff(share) <= 1, "stream {id}: {first_half} of {share} in {order:?}");
    }
}

#[test]
fn a_low_urgency_never_starves() {
    for (urgent, low) in [("u=0", "u=7"), ("u=0, i", "u=7, i"), ("", "u=7"), ("u=2", "")] {
        let mut raw = server();
        ask(&mut raw, 1, urgent);
        ask(&mut raw, 3, low);
        raw.conn.send_response(1.into(), &status(200), false).unwrap();
        answer(&mut raw, 3, 50_000);
        // The urgent stream never runs dry.
        for _ in 0..40 {
            raw.conn.send_data(1.into(), Bytes::from(vec![0; 100_000]), false).unwrap();
        }
        let mut frames = 0;
        while raw.data_sent(3) == 0 {
            assert!(frames < 100, "{urgent} against {low}: nothing for the other in {frames} frames");
            raw.conn.send_data(1.into(), Bytes::from(vec![0; 16_384]), false).unwrap();
            raw.pump_once();
            frames += 1;
        }
    }
}

#[test]
fn a_stream_without_window_does_not_block_those_behind_it() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 100)]);
    ask(&mut raw, 1, "u=0");
    ask(&mut raw, 3, "u=7");
    answer(&mut raw, 1, 1_000);
    answer(&mut raw, 3, 50);
    raw.pump();
    assert_eq!((raw.data_sent(1), raw.data_sent(3)), (100, 50));
}

#[test]
fn the_urgent_one_takes_the_connection_window_first() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    ask(&mut raw, 1, "u=6");
    ask(&mut raw, 3, "u=1");
    answer(&mut raw, 1, 60_000);
    answer(&mut raw, 3, 60_000);
    raw.pump();
    assert!(raw.data_sent(3) > raw.data_sent(1), "{} {}", raw.data_sent(3), raw.data_sent(1));
    raw.send(frames::window_update(0, 100_000));
    assert_eq!((raw.data_sent(1), raw.data_sent(3)), (60_000, 60_000));
}

#[test]
fn a_stream_that_was_reset_leaves_the_schedule() {
    let mut raw = server();
    for id in [1, 3, 5] {
        ask(&mut raw, id, "u=3");
    }
    for id in [1, 3, 5] {
        answer(&mut raw, id, 100_000);
    }
    raw.conn.reset_stream(StreamId::from(3), ErrorCode::CANCEL).unwrap();
    raw.pump();
    assert_eq!((raw.data_sent(1), raw.data_sent(3), raw.data_sent(5)), (100_000, 0, 100_000));
}
