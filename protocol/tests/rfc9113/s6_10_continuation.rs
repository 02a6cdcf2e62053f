//! §6.10: CONTINUATION.

use crate::prelude::*;

#[test]
fn a_block_may_be_continued_several_times() {
    let mut raw = Raw::server();
    let head = block::get_with(&[("a", "1"), ("b", "2")]);
    raw.send(frames::headers_open(1, &head[..1], frames::END_STREAM));
    for octet in &head[1..4] {
        raw.send(frames::continuation(1, &[*octet], frames::NONE));
    }
    raw.send(frames::continuation(1, &head[4..], frames::END_HEADERS));
    raw.expect_opened(1);
    raw.expect_fine();
}

#[test]
fn end_stream_on_continuation_means_nothing() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::post(), frames::NONE));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS | frames::END_STREAM));
    raw.expect_open(1);
    assert!(!raw.ended(1));
}

#[test]
fn any_other_frame_in_a_block_is_a_connection_error() {
    let wrong = [
        frames::data(1, b"x", frames::NONE),
        frames::headers(1, &block::get(), frames::NONE),
        frames::headers(3, &block::get(), frames::NONE),
        frames::priority(1, 0, 1),
        frames::rst(1, ErrorCode::CANCEL),
        frames::settings(&[]),
        frames::ping([0; 8]),
        frames::goaway(0, ErrorCode::NO_ERROR, b""),
        frames::window_update(0, 1),
        frames::window_update(1, 1),
        frames::priority_update(1, "u=1"),
        frames::unknown(0xfe, 0, 0, b""),
        frames::continuation(3, b"", frames::END_HEADERS),
        frames::continuation(0, b"", frames::END_HEADERS),
    ];
    for frame in wrong {
        let mut raw = Raw::server();
        raw.send(frames::headers_open(1, &block::get(), frames::NONE));
        raw.send(&frame);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
        assert!(!raw.opened(1));
    }
}

#[test]
fn other_frames_between_continuations_are_a_connection_error_too() {
    let mut raw = Raw::server();
    let head = block::get();
    raw.send(frames::headers_open(1, &head[..4], frames::NONE));
    raw.send(frames::continuation(1, &head[4..8], frames::NONE));
    raw.send(frames::ping([0; 8]));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_continuation_behind_a_complete_block_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::continuation(1, &block::of(&[("a", "b")]), frames::END_HEADERS));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_continuation_behind_a_continuation_that_ended_the_block_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::get(), frames::NONE));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_continuation_on_stream_zero_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::continuation(0, b"", frames::END_HEADERS));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_continuation_behind_data_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn trailers_may_be_continued() {
    let mut raw = Raw::server();
    raw.post(1);
    let trailers = block::of(&[("x-sum", "1")]);
    raw.send(frames::headers_open(1, &trailers[..3], frames::END_STREAM));
    raw.send(frames::continuation(1, &trailers[3..], frames::END_HEADERS));
    let expected = Event::TrailersReceived { id: 1.into(), fields: fields(&[("x-sum", "1")]) };
    assert!(raw.events.contains(&expected), "{:?}", raw.events);
}

#[test]
fn a_block_that_is_not_complete_in_time_ends_the_connection() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::get(), frames::NONE));
    raw.advance(Duration::from_secs(5));
    raw.send(frames::continuation(1, b"", frames::NONE)); // does not renew the deadline
    raw.advance(Duration::from_millis(4_999));
    assert_eq!(raw.result, Ok(()));
    raw.advance(Duration::from_millis(1));
    assert_eq!(raw.result, Err(ConnectionError::HeaderTimeout));
    assert!(raw.conn.is_closed());
}

#[test]
fn a_complete_block_has_no_deadline() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::get(), frames::NONE));
    raw.advance(Duration::from_secs(9));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    raw.advance(Duration::from_secs(3600));
    raw.expect_open(1);
}
