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
    raw.act(|conn| conn.ping(*b"are you?")).unwrap();
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

#[test]
fn ten_pings_may_wait_for_their_answer_and_the_eleventh_is_refused() {
    let mut raw = Raw::client();
    for at in 0..10 {
        assert_eq!(raw.conn.pending_pings(), usize::from(at));
        raw.act(|conn| conn.ping([at; 8])).unwrap();
    }
    assert_eq!(raw.act(|conn| conn.ping([10; 8])), Err(UserError::TooManyPings(10)));
    assert_eq!(raw.of_kind(frames::PING).len(), 10, "the refused one was not sent");
    raw.send(frames::ping_ack([3; 8]));
    raw.act(|conn| conn.ping([10; 8])).unwrap();
    let told = raw.events.iter().filter(|event| matches!(event, Event::PongReceived { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn a_keepalive_has_a_place_beside_the_pings_of_the_application() {
    let mut raw = Raw::server();
    raw.act(|conn| conn.ping_keepalive(*b"alive???")).unwrap();
    for at in 0..10 {
        raw.act(|conn| conn.ping([at; 8])).unwrap();
    }
    assert_eq!(raw.act(|conn| conn.ping_keepalive(*b"alive?!?")), Err(UserError::TooManyPings(1)));
    raw.send(frames::ping_ack(*b"alive???"));
    raw.act(|conn| conn.ping_keepalive(*b"alive?!?")).unwrap();
    assert!(raw.events.contains(&Event::PongReceived { payload: *b"alive???" }));
}

#[test]
fn an_answer_with_octets_we_never_sent_answers_nothing() {
    let mut raw = Raw::client();
    raw.act(|conn| conn.ping(*b"are you?")).unwrap();
    raw.send(frames::ping_ack(*b"i am not"));
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    assert_eq!(raw.conn.pending_pings(), 1);
    raw.expect_fine();
}

#[test]
fn a_closed_connection_sends_no_ping() {
    let mut raw = Raw::server();
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.act(|conn| conn.ping([0; 8])), Err(UserError::ConnectionClosed));
    assert_eq!(raw.act(|conn| conn.ping_keepalive([0; 8])), Err(UserError::ConnectionClosed));
}
