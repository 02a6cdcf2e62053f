//! §4.1: frame format.

use crate::prelude::*;

#[test]
fn a_frame_of_unknown_type_is_ignored() {
    let mut raw = Raw::server();
    for (id, flags) in [(0, 0xff), (1, 0), (2, 0), (0x7fff_ffff, 1)] {
        raw.send(frames::unknown(0xbe, flags, id, b"whatever"));
    }
    raw.send(frames::unknown(0xff, 0, 0, &[0; 16_384]));
    raw.expect_fine();
    assert!(raw.events.iter().all(|event| matches!(event, Event::PingReceived { .. })), "{:?}", raw.events);
}

#[test]
fn a_client_ignores_frames_of_unknown_type() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::unknown(0xbe, 0xff, id, b"whatever"));
    raw.send(frames::unknown(0x0b, 0xff, 0, b""));
    raw.expect_open(id);
}

#[test]
fn flags_with_no_meaning_for_a_type_are_ignored() {
    let mut raw = Raw::server();
    raw.send(frames::frame(frames::PING, 0xfe, 0, b"undefine"));
    let pong = raw.of_kind(frames::PING)[0].clone();
    assert_eq!((pong.flags, &pong.payload[..]), (frames::ACK, &b"undefine"[..]));
    raw.send(frames::frame(frames::SETTINGS, 0xfe, 0, &[]));
    raw.send(frames::frame(frames::WINDOW_UPDATE, 0xff, 0, &[0, 0, 0, 1]));
    raw.post(1);
    raw.send(frames::frame(frames::WINDOW_UPDATE, 0xff, 1, &[0, 0, 0, 1]));
    raw.send(frames::frame(frames::DATA, 0xf6 & !frames::PADDED, 1, b"x"));
    raw.expect_open(1);
    assert!(!raw.ended(1));
    raw.send(frames::frame(frames::PRIORITY, 0xff, 1, &[0, 0, 0, 0, 1]));
    raw.send(frames::frame(frames::DATA, (0xf6 & !frames::PADDED) | frames::END_STREAM, 1, b""));
    assert!(raw.ended(1));
    raw.expect_open(1);
    raw.send(frames::frame(frames::RST_STREAM, 0xff, 1, &[0, 0, 0, 8]));
    raw.expect_fine();
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
}

#[test]
fn undefined_flags_of_headers_are_ignored() {
    let mut raw = Raw::server();
    raw.send(frames::frame(frames::HEADERS, 0xd7 & !frames::END_STREAM, 1, &block::post()));
    raw.expect_open(1);
    assert!(!raw.ended(1));
}

#[test]
fn the_reserved_bit_is_ignored_on_receipt() {
    let mut raw = Raw::server();
    raw.send(frames::frame(frames::PING, 0, 1 << 31, b"reserved"));
    assert_eq!(raw.of_kind(frames::PING)[0].payload, b"reserved");
    raw.send(frames::headers(1 | 1 << 31, &block::post(), frames::NONE));
    raw.expect_opened(1);
    raw.send(frames::data(1 | 1 << 31, b"x", frames::END_STREAM));
    assert_eq!(raw.body(1), b"x");
    raw.expect_fine();
}

#[test]
fn the_reserved_bit_of_window_update_and_goaway_is_ignored() {
    let mut raw = Raw::server();
    let before = raw.conn.send_window();
    raw.send(frames::window_update(0, 1 << 31 | 1));
    assert_eq!(raw.conn.send_window(), before + 1);
    raw.send(frames::goaway(1 << 31 | 7, ErrorCode::NO_ERROR, b""));
    assert!(raw.events.iter().any(|e| matches!(e, Event::GoAwayReceived { last, .. } if last.get() == 7)));
    raw.expect_fine();
}

#[test]
fn many_frames_in_one_piece_and_one_frame_in_many() {
    let mut raw = Raw::server();
    let mut octets = Vec::new();
    for id in [1, 3, 5] {
        octets.extend(frames::headers(id, &block::post(), frames::NONE));
        octets.extend(frames::data(id, b"abc", frames::END_STREAM));
    }
    raw.send(&octets);
    for id in [1, 3, 5] {
        assert_eq!(raw.body(id), b"abc");
    }
    for octet in frames::headers(7, &block::get(), frames::END_STREAM) {
        raw.send([octet]);
    }
    raw.expect_opened(7);
    raw.expect_fine();
}

#[test]
fn counters_know_each_frame_by_type_and_direction() {
    let mut raw = Raw::server();
    let before = *raw.conn.counters();
    raw.post(1);
    raw.send(frames::data(1, b"x", frames::END_STREAM));
    raw.send(frames::priority(1, 0, 1));
    raw.send(frames::priority_update(1, "u=1"));
    raw.send(frames::unknown(0xbe, 0, 0, b""));
    raw.send(frames::ping([0; 8]));
    raw.answer(1);
    let after = *raw.conn.counters();
    let diff =
        |now: [u64; 12], then: [u64; 12]| -> Vec<u64> { now.iter().zip(then).map(|(a, b)| a - b).collect() };
    assert_eq!(diff(after.frames_in, before.frames_in), [1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
    let out = diff(after.frames_out, before.frames_out);
    assert_eq!((out[1], out[6]), (1, 1), "{out:?}");
}
