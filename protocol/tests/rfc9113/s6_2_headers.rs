//! §6.2: HEADERS.

use crate::prelude::*;

#[test]
fn headers_on_stream_zero_are_a_connection_error() {
    for mut raw in [Raw::server(), Raw::client()] {
        raw.send(frames::headers(0, &block::get(), frames::END_STREAM));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn padding_is_no_part_of_the_block() {
    let mut raw = Raw::server();
    for (id, pad) in [(1, 0), (3, 1), (5, 255)] {
        let payload = frames::padded(&block::get(), pad);
        raw.send(frames::headers(id, &payload, frames::END_STREAM | frames::PADDED));
        raw.expect_opened(id);
    }
    raw.expect_fine();
}

#[test]
fn padding_longer_than_what_is_left_is_a_connection_error() {
    let block = block::get();
    let length = block.len() as u8;
    for (pad, code) in [(length + 1, ErrorCode::PROTOCOL_ERROR), (255, ErrorCode::PROTOCOL_ERROR)] {
        let mut raw = Raw::server();
        let payload = [&[pad][..], &block].concat();
        raw.send(frames::headers(1, &payload, frames::END_STREAM | frames::PADDED));
        raw.expect_goaway(code);
    }
}

#[test]
fn padding_that_leaves_an_empty_block_is_a_request_without_fields() {
    let mut raw = Raw::server();
    let payload = frames::padded(b"", 20);
    raw.send(frames::headers(1, &payload, frames::END_STREAM | frames::PADDED));
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR); // malformed, the framing is right
}

#[test]
fn padding_and_priority_fields_together_leave_the_block() {
    let mut raw = Raw::server();
    let payload = frames::padded(&[&[0, 0, 0, 0, 9][..], &block::get()].concat(), 7);
    raw.send(frames::headers(1, &payload, frames::END_STREAM | frames::PADDED | frames::PRIORITY_FLAG));
    raw.expect_opened(1);
    raw.expect_fine();
}

#[test]
fn headers_too_short_for_their_flags_are_errors() {
    for (flags, payload) in [
        (frames::PADDED, &[][..]),
        (frames::PRIORITY_FLAG, &[0, 0, 0, 0][..]),
        (frames::PRIORITY_FLAG | frames::PADDED, &[0, 0, 0, 0, 0][..]),
        (frames::PRIORITY_FLAG | frames::PADDED, &[1, 0, 0, 0, 0, 0][..]),
    ] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, payload, flags));
        let code = raw.result.as_ref().map_err(ConnectionError::code);
        assert!(matches!(code, Err(ErrorCode::FRAME_SIZE_ERROR | ErrorCode::PROTOCOL_ERROR)), "{code:?}");
    }
}

#[test]
fn end_stream_on_headers_holds_though_continuation_follows() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::get(), frames::END_STREAM));
    raw.send(frames::continuation(1, b"", frames::END_HEADERS));
    assert!(raw.ended(1));
    raw.expect_fine();
}

#[test]
fn end_stream_rides_on_headers_of_an_answer_without_body() {
    let mut raw = Raw::server();
    raw.exchange(1);
    let sent: Vec<_> = raw.frames.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(sent, [(frames::HEADERS, frames::END_STREAM | frames::END_HEADERS)]);
}

#[test]
fn end_stream_rides_on_headers_of_a_request_without_body() {
    let mut raw = Raw::client();
    raw.ask_get();
    let sent: Vec<_> = raw.frames.iter().map(|frame| (frame.kind, frame.flags)).collect();
    assert_eq!(sent, [(frames::HEADERS, frames::END_STREAM | frames::END_HEADERS)]);
    let fields = &raw.sections[0].1;
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [":method", ":scheme", ":authority", ":path"]);
}
