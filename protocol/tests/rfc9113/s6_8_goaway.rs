//! §6.8: GOAWAY, and the graceful end in two steps.

use crate::prelude::*;

fn goaways(raw: &Raw) -> Vec<(u32, ErrorCode)> {
    raw.of_kind(frames::GOAWAY).iter().map(|frame| (frame.u32_at(0), frame.code())).collect()
}

#[test]
fn goaway_on_a_stream_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::frame(frames::GOAWAY, 0, 1, &[0; 8]));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn eight_octets_pass_and_seven_are_a_connection_error() {
    for length in [0, 7, 8, 100] {
        let mut raw = Raw::server();
        raw.send(frames::frame(frames::GOAWAY, 0, 0, &vec![0; length]));
        if length >= 8 { raw.expect_alive() } else { raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR) }
    }
}

#[test]
fn goaway_is_told_with_code_and_debug_data() {
    let mut raw = Raw::server();
    raw.send(frames::goaway(0, ErrorCode::ENHANCE_YOUR_CALM, b"why"));
    let expected = Event::GoAwayReceived {
        last: StreamId::CONNECTION,
        code: ErrorCode::ENHANCE_YOUR_CALM,
        debug: Bytes::from_static(b"why"),
    };
    assert!(raw.events.contains(&expected), "{:?}", raw.events);
}

#[test]
fn a_server_still_answers_what_is_open_after_the_clients_goaway() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::goaway(0, ErrorCode::NO_ERROR, b""));
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    assert_eq!(raw.of_kind(frames::HEADERS).len(), 1);
}

#[test]
fn streams_above_the_last_were_not_processed() {
    let mut raw = Raw::client();
    let ids = [raw.ask_get(), raw.ask_get(), raw.ask_get()];
    raw.send(frames::goaway(ids[1], ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.closed(ids[2]), [Cause::Unprocessed]);
    assert!(raw.closed(ids[0]).is_empty() && raw.closed(ids[1]).is_empty());
    raw.send(frames::headers(ids[1], &block::status("200"), frames::END_STREAM));
    assert_eq!(raw.closed(ids[1]), [Cause::EndStream]);
    raw.expect_fine();
}

#[test]
fn after_goaway_a_client_opens_no_stream() {
    let mut raw = Raw::client();
    raw.ask_get();
    raw.send(frames::goaway(0x7fff_ffff, ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::GoingAway));
}

#[test]
fn a_second_goaway_may_lower_the_last_stream() {
    let mut raw = Raw::client();
    let ids = [raw.ask_get(), raw.ask_get()];
    raw.send(frames::goaway(0x7fff_ffff, ErrorCode::NO_ERROR, b""));
    assert!(raw.closed(ids[0]).is_empty() && raw.closed(ids[1]).is_empty());
    raw.send(frames::goaway(ids[0], ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.closed(ids[1]), [Cause::Unprocessed]);
    raw.send(frames::goaway(ids[0], ErrorCode::NO_ERROR, b""));
    raw.expect_open(ids[0]);
}

#[test]
fn a_second_goaway_that_raises_the_last_stream_is_a_connection_error() {
    let mut raw = Raw::client();
    raw.ask_get();
    raw.ask_get();
    raw.send(frames::goaway(1, ErrorCode::NO_ERROR, b""));
    raw.send(frames::goaway(3, ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.result, Err(ConnectionError::GoAwayRaised(3.into())));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn unprocessed_streams_are_told_after_goaway_itself() {
    let mut raw = Raw::client();
    raw.ask_get();
    raw.send(frames::goaway(0, ErrorCode::NO_ERROR, b""));
    let told: Vec<_> = raw.events.iter().map(std::mem::discriminant).collect();
    assert_eq!(told.len(), 2, "{:?}", raw.events);
    assert!(matches!(raw.events[0], Event::GoAwayReceived { .. }), "{:?}", raw.events);
}

#[test]
fn frames_on_unprocessed_streams_that_were_under_way_do_no_harm() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::goaway(0, ErrorCode::NO_ERROR, b""));
    raw.send(frames::window_update(id, 5));
    raw.send(frames::rst(id, ErrorCode::REFUSED_STREAM));
    raw.expect_alive();
}

#[test]
fn a_graceful_end_says_goaway_twice_with_a_ping_between() {
    let mut raw = Raw::server();
    raw.get(1);
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    assert_eq!(goaways(&raw), [(0x7fff_ffff, ErrorCode::NO_ERROR)]);
    let ping = raw.of_kind(frames::PING)[0].clone();
    assert_eq!(ping.flags, frames::NONE);
    raw.get(3); // was on its way
    raw.send(frames::ping_ack(ping.payload.clone().try_into().unwrap()));
    assert_eq!(goaways(&raw)[1..], [(3, ErrorCode::NO_ERROR)]);
    assert!(raw.events.contains(&Event::DrainStarted { last: 3.into() }));
    assert!(!raw.events.iter().any(|event| matches!(event, Event::PongReceived { .. })), "the PING was ours");
    assert!(!raw.conn.is_drained());
    raw.answer(1);
    raw.answer(3);
    assert_eq!((raw.closed(1), raw.closed(3)), (vec![Cause::EndStream], vec![Cause::EndStream]));
    assert!(raw.conn.is_drained());
}

#[test]
fn a_client_names_no_stream_that_a_server_cannot_open() {
    // nghttp2 answers a GOAWAY with a stream of the wrong parity with PROTOCOL_ERROR.
    let mut raw = Raw::client();
    let id = raw.ask_get();
    let refused = |last: u32| {
        let (lowest, highest) = (StreamId::CONNECTION, 0x7fff_fffe.into());
        Err(UserError::GoAwayLast { last: last.into(), lowest, highest })
    };
    assert_eq!(raw.act(|conn| conn.send_goaway(Some(id.into()), b"")), refused(id));
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    let ping = raw.of_kind(frames::PING)[0].clone();
    raw.send(frames::ping_ack(ping.payload.clone().try_into().unwrap()));
    assert_eq!(goaways(&raw), [(0x7fff_fffe, ErrorCode::NO_ERROR), (0, ErrorCode::NO_ERROR)]);
}

#[test]
fn the_answer_to_another_ping_does_not_shorten_a_graceful_end() {
    let mut raw = Raw::server();
    raw.act(|conn| conn.ping(*b"keepaliv")).unwrap();
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.send(frames::ping_ack(*b"keepaliv"));
    assert!(raw.events.contains(&Event::PongReceived { payload: *b"keepaliv" }));
    assert_eq!(goaways(&raw).len(), 1);
    raw.advance(Duration::from_secs(1));
    assert_eq!(goaways(&raw).len(), 2);
}

#[test]
fn a_graceful_end_waits_one_second_for_the_ping() {
    let mut raw = Raw::server();
    raw.get(1);
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_millis(999));
    assert_eq!(goaways(&raw).len(), 1);
    raw.advance(Duration::from_millis(1));
    assert_eq!(goaways(&raw)[1..], [(1, ErrorCode::NO_ERROR)]);
    assert!(raw.events.contains(&Event::DrainStarted { last: 1.into() }));
    // The answer that comes too late changes nothing.
    let ping = raw.of_kind(frames::PING)[0].payload.clone();
    raw.send(frames::ping_ack(ping.try_into().unwrap()));
    assert_eq!(goaways(&raw).len(), 2);
    raw.answer(1);
    assert!(raw.conn.is_drained());
}

#[test]
fn streams_opened_behind_the_second_goaway_are_not_looked_at() {
    let mut raw = Raw::server();
    raw.get(1);
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_secs(1));
    raw.send(frames::headers(3, &block::post(), frames::NONE));
    raw.send(frames::data(3, b"x", frames::END_STREAM));
    assert!(!raw.opened(3));
    raw.expect_alive_after_goaway();
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    assert!(raw.conn.is_drained());
}

#[test]
fn draining_twice_is_draining_once() {
    let mut raw = Raw::server();
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_secs(1));
    raw.act(|conn| conn.drain(now));
    assert_eq!(goaways(&raw).len(), 2);
    assert!(raw.conn.is_drained());
    assert!(!raw.conn.is_closed());
}

#[test]
fn a_draining_client_opens_no_stream_and_finishes_those_it_has() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::GoingAway));
    raw.advance(Duration::from_secs(1));
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    assert_eq!(raw.closed(id), [Cause::EndStream]);
    assert!(raw.conn.is_drained());
}

#[test]
fn an_error_while_draining_reports_a_last_stream_that_is_not_higher() {
    let mut raw = Raw::server();
    raw.get(1);
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_secs(1));
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.frames.clear();
    raw.send(frames::window_update(0, 0));
    assert_eq!(goaways(&raw), [(1, ErrorCode::PROTOCOL_ERROR)], "a sender must not raise it");
}

#[test]
fn close_says_its_code_and_text() {
    let mut raw = Raw::server();
    raw.get(7);
    raw.act(|conn| conn.close(ErrorCode::ENHANCE_YOUR_CALM, b"enough"));
    let goaway = raw.of_kind(frames::GOAWAY)[0].clone();
    assert_eq!(
        (goaway.u32_at(0), goaway.code(), &goaway.payload[8..]),
        (7, ErrorCode::ENHANCE_YOUR_CALM, &b"enough"[..])
    );
    assert_eq!(raw.closed(7), [Cause::ConnectionClosed]);
    assert!(raw.conn.is_closed());
}

#[test]
fn a_client_that_closes_reports_the_last_stream_of_the_server() {
    let mut raw = Raw::client();
    raw.ask_get();
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(goaways(&raw), [(0, ErrorCode::NO_ERROR)], "no stream of the peer was looked at");
}

#[test]
fn a_pair_drains_without_losing_an_answer() {
    let mut pair = Pair::connected();
    let ids: Vec<_> = (0..5).map(|_| pair.request(&get(), true)).collect();
    let now = pair.now;
    pair.server.conn.drain(now);
    pair.drive();
    assert!(pair.client.conn.send_request(&get(), true).is_err());
    for id in &ids {
        pair.respond(*id, &status(200), b"answer");
    }
    assert!(pair.server.conn.is_drained());
    assert!(pair.client.closed().iter().all(|(_, cause)| *cause == Cause::EndStream));
    assert_eq!(pair.client.closed().len(), 5);
}

#[test]
fn a_graceful_end_carries_its_text_in_both_goaways() {
    let mut raw = Raw::server();
    let now = raw.now;
    let text = "x".repeat(2_000);
    raw.act(|conn| conn.drain_with(now, text.as_bytes()));
    raw.advance(Duration::from_secs(1));
    let said: Vec<_> = raw.of_kind(frames::GOAWAY).iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(said, [8 + 1_024, 8 + 1_024], "opaque data has a bound");
}

#[test]
fn goaway_alone_leaves_the_session_usable_and_refuses_newer_streams() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.act(|conn| conn.send_goaway(None, b"enough for now")).unwrap();
    let goaway = raw.of_kind(frames::GOAWAY)[0].clone();
    assert_eq!(
        (goaway.u32_at(0), goaway.code(), &goaway.payload[8..]),
        (1, ErrorCode::NO_ERROR, &b"enough for now"[..])
    );
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    assert!(!raw.opened(3));
    assert_eq!(raw.of_kind(frames::RST_STREAM)[0].code(), ErrorCode::REFUSED_STREAM);
    assert_eq!(raw.conn.state().last_processed, 1.into());
    raw.send(frames::data(1, b"still here", frames::END_STREAM));
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    assert!(!raw.conn.is_drained() && !raw.conn.is_closed());
    raw.expect_alive_after_goaway();
}

#[test]
fn goaway_may_name_a_stream_that_is_still_to_come() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.act(|conn| conn.send_goaway(Some(StreamId::from(5)), b"")).unwrap();
    raw.get(3);
    raw.get(5);
    raw.send(frames::headers(7, &block::get(), frames::END_STREAM));
    assert!(!raw.opened(7));
    // A drain does not raise it again.
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_secs(1));
    assert_eq!(goaways(&raw), [(5, ErrorCode::NO_ERROR); 3]);
}

#[test]
fn goaway_neither_raises_nor_disowns() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.get(3);
    let refused = |last: u32, highest: StreamId| {
        Err(UserError::GoAwayLast { last: last.into(), lowest: 3.into(), highest })
    };
    assert_eq!(raw.act(|conn| conn.send_goaway(Some(1.into()), b"")), refused(1, StreamId::MAX));
    assert_eq!(raw.act(|conn| conn.send_goaway(Some(4.into()), b"")), refused(4, StreamId::MAX));
    raw.act(|conn| conn.send_goaway(Some(5.into()), b"")).unwrap();
    assert_eq!(raw.act(|conn| conn.send_goaway(Some(7.into()), b"")), refused(7, 5.into()));
    raw.act(|conn| conn.send_goaway(None, b"")).unwrap();
    assert_eq!(goaways(&raw), [(5, ErrorCode::NO_ERROR), (3, ErrorCode::NO_ERROR)]);
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.act(|conn| conn.send_goaway(None, b"")), Err(UserError::ConnectionClosed));
}

#[test]
fn a_client_that_said_goaway_takes_no_promise_and_may_ask_on() {
    let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
    let id = raw.ask_get();
    raw.act(|conn| conn.send_goaway(None, b"")).unwrap();
    raw.send(frames::push_promise(id, 2, &block::get()));
    assert_eq!(raw.of_kind(frames::RST_STREAM)[0].code(), ErrorCode::REFUSED_STREAM);
    raw.ask_get();
    raw.expect_alive_after_goaway();
}

#[test]
fn the_peers_latest_goaway_stays_readable() {
    let mut raw = Raw::client();
    assert_eq!((raw.conn.goaway_received(), raw.conn.goaway_debug()), (None, None));
    raw.send(frames::goaway(0x7fff_ffff, ErrorCode::NO_ERROR, b"soon"));
    raw.send(frames::goaway(1, ErrorCode::ENHANCE_YOUR_CALM, b"now"));
    assert_eq!(raw.conn.goaway_received(), Some((1.into(), ErrorCode::ENHANCE_YOUR_CALM)));
    assert_eq!(raw.conn.goaway_debug(), Some(&Bytes::from_static(b"now")));
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(
        raw.conn.goaway_received(),
        Some((1.into(), ErrorCode::ENHANCE_YOUR_CALM)),
        "after the end too"
    );
}
