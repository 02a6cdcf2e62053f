//! §6.7: PING.

use crate::prelude::*;

#[test]
fn a_ping_is_answered_with_the_same_payload() {
    for mut raw in [Raw::server(), Raw::client()] {
        raw.send(frames::ping(*b"12345678"));
        let pong = raw.of_kind(frames::PING)[0].clone();
        assert_eq!((pong.id, pong.flags, &pong.payload[..]), (0, frames::ACK, &b"12345678"[..]));
        assert!(raw.events.contains(&Event::PingReceived { payload: *b"12345678" }));
    }
}

#[test]
fn each_ping_gets_its_own_answer_in_order() {
    let mut raw = Raw::server();
    raw.send([frames::ping([1; 8]), frames::ping([2; 8]), frames::ping([3; 8])].concat());
    let answers: Vec<_> = raw.of_kind(frames::PING).iter().map(|frame| frame.payload[0]).collect();
    assert_eq!(answers, [1, 2, 3]);
}

#[test]
fn an_answer_is_not_answered() {
    let mut raw = Raw::server();
    raw.send(frames::ping_ack([1; 8]));
    assert!(raw.of_kind(frames::PING).is_empty());
    raw.expect_fine();
}

#[test]
fn a_ping_on_a_stream_is_a_connection_error() {
    for flags in [frames::NONE, frames::ACK] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::frame(frames::PING, flags, 1, &[0; 8]));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn any_length_but_eight_is_a_connection_error() {
    for length in [0, 6, 7, 9, 16] {
        let mut raw = Raw::server();
        raw.send(frames::frame(frames::PING, 0, 0, &vec![0; length]));
        raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn our_ping_is_told_when_it_is_answered() {
    let mut raw = Raw::client();
    raw.act(|conn| conn.ping(*b"are you?"));
    let ping = raw.of_kind(frames::PING)[0].clone();
    assert_eq!((ping.flags, &ping.payload[..]), (frames::NONE, &b"are you?"[..]));
    raw.send(frames::ping_ack(*b"are you?"));
    assert!(raw.events.contains(&Event::PongReceived { payload: *b"are you?" }));
    raw.expect_fine();
}

#[test]
fn an_answer_to_nothing_does_no_harm_and_is_not_told() {
    let mut raw = Raw::client();
    raw.send(frames::ping_ack(*b"surprise"));
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.expect_fine();
}

#[test]
fn an_answer_goes_before_octets_that_wait() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.conn.send_response(1.into(), &status(200), false).unwrap();
    raw.conn.send_data(1.into(), Bytes::from(vec![0; 200_000]), true).unwrap();
    raw.send(frames::ping([9; 8]));
    let at = raw.frames.iter().position(|frame| frame.kind == frames::PING).unwrap();
    let before: usize = raw.frames[..at].iter().map(|frame| frame.payload.len()).sum();
    assert!(before <= 70_000, "{before} octets went first");
}
