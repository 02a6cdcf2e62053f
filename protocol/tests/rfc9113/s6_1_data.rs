//! §6.1: DATA.

use crate::prelude::*;

#[test]
fn data_arrives_as_sent() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, b"hello ", frames::NONE));
    raw.send(frames::data(1, b"world", frames::END_STREAM));
    assert_eq!(raw.body(1), b"hello world");
    assert!(raw.ended(1));
    raw.expect_fine();
}

#[test]
fn data_on_stream_zero_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::data(0, b"x", frames::NONE));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn padding_is_no_part_of_the_body() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::padded_data(1, b"abc", 0, frames::NONE));
    raw.send(frames::padded_data(1, b"def", 255, frames::END_STREAM));
    assert_eq!(raw.body(1), b"abcdef");
    raw.expect_fine();
}

#[test]
fn padding_that_fills_the_payload_passes_and_one_octet_more_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.post(1);
    // Pad Length 3 in a payload of 4: nothing but padding.
    raw.send(frames::frame(frames::DATA, frames::PADDED, 1, &[3, 0, 0, 0]));
    raw.expect_open(1);
    assert!(raw.body(1).is_empty());
    raw.send(frames::frame(frames::DATA, frames::PADDED, 1, &[4, 0, 0, 0]));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_padded_frame_without_its_pad_length_is_an_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::frame(frames::DATA, frames::PADDED, 1, &[]));
    assert!(matches!(
        raw.result.as_ref().map_err(ConnectionError::code),
        Err(ErrorCode::FRAME_SIZE_ERROR | ErrorCode::PROTOCOL_ERROR)
    ));
}

#[test]
fn padding_counts_in_flow_control_and_is_given_back() {
    let mut raw = Raw::server_with(plain_windows(), &[]);
    raw.post(1);
    // 2 000 x (1 + 1 + 255) octets are eight windows full; the body alone is 2 000 octets.
    for _ in 0..2_000 {
        raw.send(frames::padded_data(1, b"x", 255, frames::NONE));
        raw.act(|conn| conn.consume(1.into(), 1));
    }
    raw.expect_open(1);
    assert_eq!(raw.body(1).len(), 2_000);
}

#[test]
fn padding_beyond_the_window_is_a_flow_control_error() {
    for (pad, passes) in [(9, true), (10, false)] {
        let config = Config { stream_window: fixed(100), ..Config::default() };
        let mut raw = Raw::server_with(config, &[]);
        raw.post(1);
        raw.send(frames::data(1, &[0; 80], frames::NONE));
        raw.send(frames::padded_data(1, &[0; 10], pad, frames::NONE)); // 1 + 10 + pad octets
        if passes {
            raw.expect_open(1);
        } else {
            raw.expect_stream_or_connection_error(1, ErrorCode::FLOW_CONTROL_ERROR);
        }
    }
}

#[test]
fn an_empty_frame_may_end_the_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, b"", frames::END_STREAM));
    let last = raw.events.last().unwrap();
    assert_eq!(last, &Event::DataReceived { id: 1.into(), data: Bytes::new(), end_stream: true });
    raw.expect_fine();
}

#[test]
fn an_empty_frame_without_end_stream_tells_nothing() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.events.clear();
    raw.send(frames::data(1, b"", frames::NONE));
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.expect_open(1);
}

#[test]
fn end_stream_rides_on_the_last_octets() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.act(|conn| {
        conn.send_response(1.into(), &status(200), false).unwrap();
        conn.send_data(1.into(), Bytes::from_static(b"all of it"), true).unwrap();
    });
    let data = raw.of_kind(frames::DATA);
    assert_eq!(data.len(), 1);
    assert_eq!((data[0].flags, &data[0].payload[..]), (frames::END_STREAM, &b"all of it"[..]));
}

#[test]
fn an_end_after_the_octets_left_is_one_empty_frame() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.act(|conn| {
        conn.send_response(1.into(), &status(200), false).unwrap();
        conn.send_data(1.into(), Bytes::from_static(b"some"), false).unwrap();
    });
    assert_eq!(raw.data_sent(1), 4);
    raw.act(|conn| conn.send_data(1.into(), Bytes::new(), true)).unwrap();
    let last = raw.frames.last().unwrap();
    assert_eq!((last.kind, last.flags, last.payload.len()), (frames::DATA, frames::END_STREAM, 0));
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn an_empty_end_needs_no_window() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    raw.get(1);
    raw.act(|conn| {
        conn.send_response(1.into(), &status(200), false).unwrap();
        conn.send_data(1.into(), Bytes::new(), true).unwrap();
    });
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn both_sides_of_a_pair_agree_on_every_size_around_a_frame() {
    for size in [0, 1, 2, 2047, 2048, 2049, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000] {
        let mut pair = Pair::connected();
        let id = pair.request(&post(), false);
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        pair.client.conn.send_data(id, Bytes::from(body.clone()), true).unwrap();
        pair.drive();
        assert_eq!(pair.server.body(id), (body.clone(), true));
        pair.respond(id, &status(200), &body);
        assert_eq!(pair.client.body(id), (body, true), "{size}");
        assert_eq!(pair.client.closed(), [(id, Cause::EndStream)]);
        assert_eq!(pair.server.closed(), [(id, Cause::EndStream)]);
    }
}
