//! §5.1: stream states, frame by frame.

use crate::prelude::*;

// --- idle ---

#[test]
fn frames_on_an_idle_stream_are_connection_errors() {
    let wrong = [
        frames::data(1, b"x", frames::NONE),
        frames::rst(1, ErrorCode::CANCEL),
        frames::window_update(1, 1),
        frames::continuation(1, b"", frames::END_HEADERS),
    ];
    for frame in wrong {
        let mut raw = Raw::server();
        raw.send(&frame);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn frames_on_an_idle_stream_above_an_open_one_are_connection_errors() {
    for frame in [frames::data(5, b"x", 0), frames::rst(5, ErrorCode::CANCEL), frames::window_update(5, 1)] {
        let mut raw = Raw::server();
        raw.get(3);
        raw.send(&frame);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn frames_on_an_idle_stream_of_ours_are_connection_errors() {
    let wrong = [
        frames::headers(1, &block::status("200"), frames::END_STREAM),
        frames::data(1, b"x", frames::NONE),
        frames::rst(1, ErrorCode::CANCEL),
        frames::window_update(1, 1),
        frames::data(2, b"x", frames::NONE),
        frames::rst(2, ErrorCode::CANCEL),
        frames::window_update(2, 1),
    ];
    for frame in wrong {
        let mut raw = Raw::client();
        raw.send(&frame);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn even_streams_are_idle_for_a_server_without_push() {
    for frame in [frames::data(2, b"x", 0), frames::rst(2, ErrorCode::CANCEL), frames::window_update(2, 1)] {
        let mut raw = Raw::server();
        raw.send(&frame);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn priority_may_come_on_an_idle_stream() {
    let mut raw = Raw::server();
    raw.send(frames::priority(9, 0, 15));
    raw.expect_fine();
    raw.get(1); // and the idle stream opened nothing below it
}

// --- open ---

#[test]
fn headers_without_end_stream_open_a_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    assert_eq!(raw.conn.streams()[0].state, "open");
    assert!(raw.conn.is_receiving(1.into()));
    assert_eq!(raw.conn.open_streams(), 1);
    raw.expect_open(1);
}

#[test]
fn either_side_may_reset_an_open_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
    raw.post(3);
    raw.act(|conn| conn.reset_stream(3.into(), ErrorCode::INTERNAL_ERROR)).unwrap();
    raw.expect_reset_told(3, ErrorCode::INTERNAL_ERROR);
}

// --- half-closed (local) ---

#[test]
fn our_end_stream_half_closes_and_the_peer_may_go_on() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.answer(1);
    assert_eq!(raw.conn.streams()[0].state, "half_closed_local");
    raw.send(frames::data(1, b"more", frames::NONE));
    raw.send(frames::window_update(1, 1));
    raw.send(frames::priority(1, 0, 1));
    raw.expect_open(1);
    raw.send(frames::data(1, b"", frames::END_STREAM));
    assert_eq!(raw.body(1), b"more");
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    raw.expect_fine();
}

#[test]
fn a_half_closed_local_stream_may_be_reset_by_the_peer() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.answer(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
    raw.expect_fine();
}

// --- half-closed (remote) ---

#[test]
fn end_stream_half_closes_the_peers_side() {
    let mut raw = Raw::server();
    raw.get(1);
    assert_eq!(raw.conn.streams()[0].state, "half_closed_remote");
    assert!(!raw.conn.is_receiving(1.into()));
}

#[test]
fn data_on_a_half_closed_remote_stream_is_stream_closed() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::data(1, b"x", frames::END_STREAM));
    raw.expect_stream_or_connection_error(1, ErrorCode::STREAM_CLOSED);
}

#[test]
fn headers_on_a_half_closed_remote_stream_are_stream_closed() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::headers(1, &block::of(&[("a", "b")]), frames::END_STREAM));
    raw.expect_stream_or_connection_error(1, ErrorCode::STREAM_CLOSED);
}

#[test]
fn continuation_on_a_half_closed_remote_stream_is_an_error() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    assert!(matches!(
        raw.result.as_ref().map_err(ConnectionError::code),
        Err(ErrorCode::STREAM_CLOSED | ErrorCode::PROTOCOL_ERROR)
    ));
}

#[test]
fn window_update_priority_and_rst_stream_may_come_on_a_half_closed_remote_stream() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::window_update(1, 1));
    raw.send(frames::priority(1, 0, 1));
    raw.expect_open(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
    raw.expect_fine();
}

#[test]
fn a_client_treats_frames_after_the_end_of_a_response_as_stream_closed() {
    let mut raw = Raw::client();
    let id = raw.ask(&post(), false);
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    assert_eq!(raw.conn.streams()[0].state, "half_closed_remote");
    raw.send(frames::data(id, b"x", frames::NONE));
    raw.expect_stream_or_connection_error(id, ErrorCode::STREAM_CLOSED);
}

// --- closed by END_STREAM of both sides ---

#[test]
fn data_on_a_stream_that_ended_is_stream_closed() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.expect_stream_or_connection_error(1, ErrorCode::STREAM_CLOSED);
}

#[test]
fn headers_on_a_stream_that_ended_are_stream_closed() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.send(frames::headers(1, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::STREAM_CLOSED);
}

#[test]
fn late_window_update_rst_stream_and_priority_on_a_stream_that_ended_are_ignored() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.send(frames::window_update(1, 1));
    raw.send(frames::rst(1, ErrorCode::NO_ERROR));
    raw.send(frames::priority(1, 0, 1));
    raw.expect_fine();
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

// --- closed by RST_STREAM of the peer ---

#[test]
fn data_after_the_peers_reset_is_stream_closed() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.expect_stream_or_connection_error(1, ErrorCode::STREAM_CLOSED);
}

#[test]
fn headers_after_the_peers_reset_are_stream_closed() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.send(frames::headers(1, &block::of(&[("a", "b")]), frames::END_STREAM));
    raw.expect_stream_or_connection_error(1, ErrorCode::STREAM_CLOSED);
}

#[test]
fn priority_after_the_peers_reset_is_ignored() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.send(frames::priority(1, 0, 1));
    raw.expect_fine();
}

// --- closed by our RST_STREAM: the peer may not know yet ---

#[test]
fn anything_may_still_come_on_a_stream_we_reset_and_is_dropped() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)).unwrap();
    raw.frames.clear();
    raw.send(frames::data(1, b"late", frames::NONE));
    raw.send(frames::window_update(1, 10));
    raw.send(frames::priority(1, 0, 1));
    raw.send(frames::headers(1, &block::of(&[("a", "b")]), frames::END_STREAM));
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.expect_fine();
    assert!(raw.body(1).is_empty());
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Local, code: ErrorCode::CANCEL }]);
}

#[test]
fn a_late_malformed_frame_size_on_a_stream_we_reset_still_counts() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)).unwrap();
    raw.send(frames::frame(frames::WINDOW_UPDATE, 0, 1, b"abc"));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn a_response_may_still_come_on_a_stream_the_client_reset() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.act(|conn| conn.reset_stream(id.into(), ErrorCode::CANCEL)).unwrap();
    raw.frames.clear();
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::data(id, b"late", frames::END_STREAM));
    raw.expect_fine();
    assert_eq!(raw.closed(id), [Cause::Reset { by: Origin::Local, code: ErrorCode::CANCEL }]);
    assert!(!raw.log.iter().any(|event| matches!(event, Event::ResponseReceived { .. })));
}

// --- what the owner may do ---

#[test]
fn calls_on_a_closed_stream_say_that_it_is_gone() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    let gone = Err(UserError::StreamGone(1.into()));
    assert_eq!(raw.act(|conn| conn.send_response(1.into(), &status(200), false)), gone);
    assert_eq!(raw.act(|conn| conn.send_data(1.into(), Bytes::from_static(b"x"), true)), gone);
    assert_eq!(raw.act(|conn| conn.send_trailers(1.into(), Fields::new())), gone);
    assert_eq!(raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)), gone);
    assert_eq!(raw.act(|conn| conn.capacity(1.into())), 0);
    assert!(raw.of_kind(frames::RST_STREAM).is_empty());
    raw.act(|conn| conn.consume(1.into(), 10));
    raw.expect_alive();
}

#[test]
fn calls_out_of_order_never_reach_the_wire() {
    let mut raw = Raw::server();
    raw.get(1);
    let id = StreamId::from(1);
    assert_eq!(
        raw.act(|conn| conn.send_data(id, Bytes::from_static(b"x"), false)),
        Err(UserError::HeadMissing(id))
    );
    assert_eq!(raw.act(|conn| conn.send_trailers(id, Fields::new())), Err(UserError::HeadMissing(id)));
    raw.act(|conn| conn.send_response(id, &status(200), false)).unwrap();
    assert_eq!(raw.act(|conn| conn.send_response(id, &status(200), false)), Err(UserError::HeadSent(id)));
    assert_eq!(raw.act(|conn| conn.send_informational(id, &status(103))), Err(UserError::HeadSent(id)));
    raw.act(|conn| conn.send_data(id, Bytes::from_static(b"x"), true)).unwrap();
    assert!(raw.act(|conn| conn.send_data(id, Bytes::from_static(b"y"), true)).is_err());
    assert_eq!(raw.of_kind(frames::HEADERS).len(), 1);
    assert_eq!(raw.data_sent(1), 1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn calls_of_the_other_role_are_refused() {
    let mut server = Raw::server();
    assert_eq!(server.act(|conn| conn.send_request(&get(), true)), Err(UserError::WrongRole));
    let mut client = Raw::client();
    let id = StreamId::from(client.ask_get());
    assert_eq!(client.act(|conn| conn.send_response(id, &status(200), true)), Err(UserError::WrongRole));
    assert_eq!(client.act(|conn| conn.send_informational(id, &status(103))), Err(UserError::WrongRole));
}

#[test]
fn after_close_every_call_says_so() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b"bye"));
    assert_eq!(raw.closed(1), [Cause::ConnectionClosed]);
    assert!(raw.conn.is_closed());
    let said = raw.frames.len();
    assert_eq!(raw.frames[said - 1].kind, frames::GOAWAY);
    assert!(raw.act(|conn| conn.send_response(1.into(), &status(200), true)).is_err());
    assert_eq!(raw.act(|conn| conn.ping([1; 8])), Err(UserError::ConnectionClosed));
    raw.act(|conn| conn.close(ErrorCode::INTERNAL_ERROR, b"again"));
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    assert_eq!(raw.frames.len(), said, "nothing more is said");
    assert_eq!(raw.conn.open_streams(), 0);
}
