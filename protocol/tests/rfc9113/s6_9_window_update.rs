//! §6.9: WINDOW_UPDATE, the sending side of flow control.

use crate::prelude::*;

const INITIAL: u16 = setting::INITIAL_WINDOW_SIZE;

/// A server that answers stream 1 with `octets` while the peer's windows are `initial` and 65 535.
fn answering(initial: u32, octets: usize) -> Raw {
    let mut raw = Raw::server_with(Config::default(), &[(INITIAL, initial)]);
    answer(&mut raw, 1, octets);
    raw
}

fn answer(raw: &mut Raw, id: u32, octets: usize) {
    raw.get(id);
    raw.act(|conn| {
        conn.send_response(id.into(), &status(200), false).unwrap();
        conn.send_data(id.into(), Bytes::from(vec![7; octets]), true).unwrap();
    });
}

#[test]
fn window_update_of_any_length_but_four_is_a_connection_error() {
    for (id, length) in [(0, 3), (0, 5), (1, 3), (1, 5), (1, 0)] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::frame(frames::WINDOW_UPDATE, 0, id, &vec![1; length]));
        raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn zero_increment_on_a_stream_resets_only_that_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.post(3);
    raw.send(frames::window_update(1, 0));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
    assert!(raw.closed(3).is_empty());
}

#[test]
fn zero_increment_on_the_connection_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::window_update(0, 0));
    assert_eq!(raw.result, Err(ConnectionError::ZeroIncrement));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_zero_increment_with_the_reserved_bit_is_still_zero() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::window_update(1, 1 << 31));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn the_initial_window_bounds_what_is_sent() {
    for initial in [0, 1, 100, 16_384, 16_385, 40_000] {
        let mut raw = answering(initial, 50_000);
        assert_eq!(raw.data_sent(1), initial as usize);
        assert!(raw.frames.iter().all(|frame| frame.kind != frames::DATA || !frame.has(frames::END_STREAM)));
        raw.send(frames::window_update(1, 50_000 - initial));
        assert_eq!(raw.data_sent(1), 50_000);
        assert_eq!(raw.closed(1), [Cause::EndStream]);
    }
}

#[test]
fn the_connection_window_bounds_all_streams_together() {
    let mut raw = answering(0x7fff_ffff, 50_000);
    answer(&mut raw, 3, 50_000);
    assert_eq!(raw.data_sent(1) + raw.data_sent(3), 65_535);
    assert_eq!(raw.conn.send_window(), 0);
    raw.send(frames::window_update(0, 1));
    assert_eq!(raw.data_sent(1) + raw.data_sent(3), 65_536);
    raw.send(frames::window_update(0, 100_000));
    assert_eq!((raw.data_sent(1), raw.data_sent(3)), (50_000, 50_000));
    assert_eq!(raw.conn.send_window(), 65_536);
}

#[test]
fn window_of_one_octet_at_a_time_moves_everything() {
    let mut raw = answering(1, 200);
    for _ in 0..199 {
        raw.send(frames::window_update(1, 1));
    }
    assert_eq!(raw.data_sent(1), 200);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn a_stream_window_of_2_31_less_one_passes_and_one_more_is_a_stream_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::window_update(1, 0x7fff_ffff - 65_535));
    raw.expect_open(1);
    assert_eq!(raw.conn.streams()[0].send_window, 0x7fff_ffff);
    raw.send(frames::window_update(1, 1));
    raw.expect_reset_told(1, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn a_connection_window_of_2_31_less_one_passes_and_one_more_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::window_update(0, 0x7fff_ffff - 65_535));
    raw.expect_fine();
    assert_eq!(raw.conn.send_window(), 0x7fff_ffff);
    raw.send(frames::window_update(0, 1));
    assert_eq!(raw.result, Err(ConnectionError::WindowOverflow));
    raw.expect_goaway(ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn two_increments_of_2_31_less_one_overflow() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send([frames::window_update(1, 0x7fff_ffff), frames::window_update(1, 0x7fff_ffff)].concat());
    raw.expect_reset_told(1, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn a_change_of_the_initial_window_moves_every_open_stream() {
    let mut raw = answering(100, 1_000);
    answer(&mut raw, 3, 1_000);
    raw.send(frames::settings(&[(INITIAL, 150)]));
    assert_eq!((raw.data_sent(1), raw.data_sent(3)), (150, 150));
    raw.send(frames::settings(&[(INITIAL, 1_000)]));
    assert_eq!((raw.data_sent(1), raw.data_sent(3)), (1_000, 1_000));
}

#[test]
fn a_window_made_negative_sends_nothing_until_it_is_positive_again() {
    let mut raw = answering(100, 1_000);
    raw.send(frames::settings(&[(INITIAL, 10)]));
    assert_eq!(raw.conn.streams()[0].send_window, -90);
    raw.send(frames::window_update(1, 90));
    assert_eq!(raw.conn.streams()[0].send_window, 0);
    assert_eq!(raw.data_sent(1), 100);
    raw.send(frames::window_update(1, 1));
    assert_eq!(raw.data_sent(1), 101);
    raw.send(frames::settings(&[(INITIAL, 0)]));
    raw.send(frames::settings(&[(INITIAL, 200)]));
    assert_eq!(raw.data_sent(1), 291);
    raw.expect_fine();
}

#[test]
fn the_initial_window_does_not_touch_the_connection_window() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(INITIAL, 1)]));
    assert_eq!(raw.conn.send_window(), 65_535);
    raw.send(frames::settings(&[(INITIAL, 0x7fff_ffff)]));
    assert_eq!(raw.conn.send_window(), 65_535);
}

#[test]
fn an_initial_window_that_overflows_an_open_stream_is_a_connection_error() {
    for (initial, passes) in [(0x7fff_ffff - 10, true), (0x7fff_ffff - 9, false)] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::window_update(1, 10));
        raw.send(frames::settings(&[(INITIAL, initial)]));
        if passes {
            raw.expect_open(1);
            assert_eq!(raw.conn.streams()[0].send_window, 0x7fff_ffff);
        } else {
            raw.expect_goaway(ErrorCode::FLOW_CONTROL_ERROR);
        }
    }
}

#[test]
fn an_initial_window_overflows_no_stream_that_is_closed() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::window_update(1, 10));
    raw.answer(1);
    raw.send(frames::settings(&[(INITIAL, 0x7fff_ffff)]));
    raw.expect_fine();
}

#[test]
fn several_values_in_one_frame_act_in_order() {
    let mut raw = answering(0, 100);
    raw.send(frames::settings(&[(INITIAL, 40), (INITIAL, 20)]));
    assert!(raw.data_sent(1) <= 40);
    assert_eq!(raw.conn.remote_settings().initial_window_size, 20);
    raw.expect_fine();
}

#[test]
fn window_update_may_come_after_end_stream_of_the_peer() {
    let mut raw = answering(10, 100); // GET: half-closed (remote)
    raw.send(frames::window_update(1, 90));
    assert_eq!(raw.data_sent(1), 100);
    raw.expect_fine();
}

#[test]
fn trailers_wait_for_the_octets_before_them() {
    let mut raw = Raw::server_with(Config::default(), &[(INITIAL, 5)]);
    raw.get(1);
    raw.act(|conn| {
        conn.send_response(1.into(), &status(200), false).unwrap();
        conn.send_data(1.into(), Bytes::from_static(b"0123456789"), false).unwrap();
        conn.send_trailers(1.into(), fields(&[("x-sum", "1")])).unwrap();
    });
    assert_eq!(raw.of_kind(frames::HEADERS).len(), 1);
    raw.send(frames::window_update(1, 5));
    let kinds: Vec<_> = raw.frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [frames::HEADERS, frames::DATA, frames::DATA, frames::HEADERS]);
    let last = raw.frames.last().unwrap();
    assert!(last.has(frames::END_STREAM));
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn a_stream_without_capacity_is_told_when_it_has_some() {
    let mut raw = Raw::server_with(Config { send_buffer: 1_000, ..Config::default() }, &[(INITIAL, 0)]);
    raw.get(1);
    let id = StreamId::from(1);
    raw.act(|conn| conn.send_response(id, &status(200), false)).unwrap();
    let room = raw.act(|conn| conn.capacity(id));
    assert_eq!(room, 1_000);
    raw.act(|conn| conn.send_data(id, Bytes::from(vec![0; room]), false)).unwrap();
    assert_eq!(raw.act(|conn| conn.capacity(id)), 0);
    assert!(!raw.events.contains(&Event::CapacityAvailable { id }));
    raw.send(frames::window_update(1, 600));
    assert!(raw.events.contains(&Event::CapacityAvailable { id }), "{:?}", raw.events);
    assert_eq!(raw.act(|conn| conn.capacity(id)), 600);
}

#[test]
fn stalls_are_counted_by_cause() {
    let raw = answering(10, 100);
    assert_eq!(raw.conn.counters().flow_stalls, [1, 0]);
    let raw = answering(0x7fff_ffff, 100_000);
    assert_eq!(raw.conn.counters().flow_stalls, [0, 1]);
}

#[test]
fn the_time_of_a_stall_is_counted_by_cause_when_it_is_over() {
    for (window, octets, stream, scope) in [(10, 100, 1, 0), (0x7fff_ffff, 100_000, 0, 1)] {
        let mut raw = answering(window, octets);
        raw.now += Duration::from_secs(3);
        assert_eq!(raw.conn.counters().flow_stalled, [Duration::ZERO; 2]);
        raw.send(frames::window_update(stream, 1 << 20));
        let mut stalled = [Duration::ZERO; 2];
        stalled[scope] = Duration::from_secs(3);
        assert_eq!(raw.conn.counters().flow_stalled, stalled);
        assert_eq!(raw.closed(1), [Cause::EndStream]);
    }
}

#[test]
fn a_stream_that_is_reset_while_it_waits_has_its_wait_counted() {
    let mut raw = answering(10, 100);
    raw.now += Duration::from_secs(2);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert_eq!(raw.conn.counters().flow_stalled, [Duration::from_secs(2), Duration::ZERO]);
}

#[test]
fn settings_that_raise_the_window_end_a_stall() {
    let mut raw = answering(10, 100);
    raw.now += Duration::from_secs(1);
    raw.send(frames::settings(&[(INITIAL, 1000)]));
    assert_eq!(raw.conn.counters().flow_stalled, [Duration::from_secs(1), Duration::ZERO]);
}
