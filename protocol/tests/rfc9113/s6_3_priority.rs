//! §6.3: PRIORITY.

use crate::prelude::*;

#[test]
fn priority_on_stream_zero_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::priority(0, 1, 16));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn five_octets_pass_and_any_other_length_is_a_frame_size_error() {
    for length in [0, 4, 5, 6, 100] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::frame(frames::PRIORITY, 0, 1, &vec![0; length]));
        if length == 5 {
            raw.expect_open(1);
        } else {
            raw.expect_stream_or_connection_error(1, ErrorCode::FRAME_SIZE_ERROR);
        }
    }
}

#[test]
fn priority_may_come_in_any_state() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.get(3);
    raw.post(5);
    for id in [1, 3, 5, 7, 2] {
        raw.send(frames::priority(id, 0, 16));
    }
    raw.expect_open(3);
    raw.expect_open(5);
}

#[test]
fn a_client_ignores_priority_too() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::priority(id, 0, 16));
    raw.expect_open(id);
}
