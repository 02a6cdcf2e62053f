//! §4.2: frame size.

use crate::prelude::*;

#[test]
fn data_of_16_384_octets_passes() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, &[7; 16_384], frames::NONE));
    assert_eq!(raw.body(1).len(), 16_384);
    raw.expect_open(1);
}

#[test]
fn data_of_16_385_octets_is_a_frame_size_error() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, &[7; 16_385], frames::NONE));
    raw.expect_stream_or_connection_error(1, ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn a_frame_too_large_is_refused_by_its_header_alone() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::header(16_385, frames::DATA, 0, 1));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn headers_of_16_384_octets_pass_and_of_16_385_are_a_connection_error() {
    for (size, passes) in [(16_384, true), (16_385, false)] {
        let mut raw = Raw::server();
        let mut head = block::get();
        // A literal of name "x" costs 1 + 2 + 3 octets besides its value.
        let value = "v".repeat(size - head.len() - 6);
        head.extend(block::literal("x", &value));
        assert_eq!(head.len(), size);
        raw.send(frames::headers(1, &head, frames::END_STREAM));
        if passes {
            raw.expect_opened(1);
            raw.expect_fine();
        } else {
            raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
        }
    }
}

#[test]
fn every_type_beyond_the_limit_is_a_connection_error() {
    for kind in [frames::HEADERS, frames::SETTINGS, frames::PUSH_PROMISE, frames::PING, frames::GOAWAY, 0xbe]
    {
        let mut raw = Raw::server();
        raw.send(frames::header(16_385, kind, 0, u32::from(kind == frames::HEADERS)));
        raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn a_larger_limit_of_ours_holds_once_it_is_acknowledged() {
    let config = Config { max_frame_size: 32_768, ..Config::default() };
    for (size, passes) in [(32_768, true), (32_769, false)] {
        let mut raw = Raw::server_with(config.clone(), &[]);
        raw.post(1);
        raw.send(frames::data(1, &vec![7; size], frames::NONE));
        if passes {
            raw.expect_open(1);
        } else {
            raw.expect_stream_or_connection_error(1, ErrorCode::FRAME_SIZE_ERROR);
        }
    }
}

#[test]
fn our_frames_keep_to_the_peers_limit() {
    for (limit, settings) in [(16_384, &[][..]), (20_000, &[(setting::MAX_FRAME_SIZE, 20_000)])] {
        let mut raw = Raw::server_with(Config::default(), settings);
        raw.get(1);
        raw.act(|conn| {
            conn.send_response(1.into(), &status(200), false).unwrap();
            conn.send_data(1.into(), Bytes::from(vec![1; 60_000]), true).unwrap();
        });
        assert_eq!(raw.data_sent(1), 60_000);
        let longest = raw.of_kind(frames::DATA).iter().map(|frame| frame.payload.len()).max().unwrap();
        assert!(longest <= limit, "{longest}");
    }
}

#[test]
fn a_block_larger_than_a_frame_goes_on_in_continuation() {
    let mut raw = Raw::server();
    raw.get(1);
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("x-long", &"~".repeat(20_000))]));
    raw.act(|conn| conn.send_response(1.into(), &head, true)).unwrap();
    let sent: Vec<_> = raw.frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(sent, [frames::HEADERS, frames::CONTINUATION]);
    assert!(raw.frames.iter().all(|frame| frame.payload.len() <= 16_384));
    assert_eq!((raw.frames[0].flags, raw.frames[1].flags), (frames::END_STREAM, frames::END_HEADERS));
    assert_eq!(raw.sections[0].1[1].1.len(), 20_000);
}
