//! §6.4: RST_STREAM.

use crate::prelude::*;

#[test]
fn rst_stream_on_stream_zero_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::rst(0, ErrorCode::CANCEL));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn rst_stream_on_an_idle_stream_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn any_length_but_four_is_a_connection_error() {
    for length in [0, 3, 5, 8] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::frame(frames::RST_STREAM, 0, 1, &vec![0; length]));
        raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn the_owner_hears_the_code_and_nothing_more_of_the_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, b"some", frames::NONE));
    raw.send(frames::rst(1, ErrorCode::INTERNAL_ERROR));
    let by_peer = Cause::Reset { by: Origin::Remote, code: ErrorCode::INTERNAL_ERROR };
    assert_eq!(raw.events.last(), Some(&Event::StreamClosed { id: 1.into(), cause: by_peer }));
    assert_eq!(raw.conn.open_streams(), 0);
    raw.expect_fine();
}

#[test]
fn what_is_queued_is_dropped_with_the_stream() {
    for ours in [true, false] {
        let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 5)]);
        raw.get(1);
        raw.act(|conn| {
            conn.send_response(1.into(), &status(200), false).unwrap();
            conn.send_data(1.into(), Bytes::from(vec![0; 10_000]), true).unwrap();
        });
        assert_eq!(raw.data_sent(1), 5);
        if ours {
            raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)).unwrap();
            assert_eq!(raw.frames.last().unwrap().kind, frames::RST_STREAM);
        } else {
            raw.send(frames::rst(1, ErrorCode::CANCEL));
        }
        assert_eq!(raw.conn.queued(), 0);
        raw.send(frames::window_update(0, 1000));
        raw.send(frames::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]));
        assert_eq!(raw.data_sent(1), 5);
        raw.expect_alive();
    }
}

#[test]
fn our_reset_carries_its_code() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.act(|conn| conn.reset_stream(id.into(), ErrorCode(0x1234))).unwrap();
    let rst = raw.of_kind(frames::RST_STREAM)[0].clone();
    assert_eq!((rst.id, rst.code()), (id, ErrorCode(0x1234)));
    assert_eq!(raw.closed(id), [Cause::Reset { by: Origin::Local, code: ErrorCode(0x1234) }]);
}

#[test]
fn both_sides_of_a_pair_hear_of_a_reset() {
    let mut pair = Pair::connected();
    let one = pair.request(&post(), false);
    let two = pair.request(&get(), true);
    pair.client.conn.reset_stream(one, ErrorCode::CANCEL).unwrap();
    pair.server.conn.reset_stream(two, ErrorCode::INTERNAL_ERROR).unwrap();
    pair.drive();
    let expected = [(one, ErrorCode::CANCEL), (two, ErrorCode::INTERNAL_ERROR)];
    for side in [&pair.client, &pair.server] {
        let mut resets = side.resets();
        resets.sort();
        assert_eq!(resets, expected);
        assert_eq!(side.conn.open_streams(), 0);
    }
}

#[test]
fn both_may_reset_at_once() {
    let mut pair = Pair::connected();
    let id = pair.request(&post(), false);
    pair.client.conn.reset_stream(id, ErrorCode::CANCEL).unwrap();
    pair.server.conn.reset_stream(id, ErrorCode::INTERNAL_ERROR).unwrap();
    pair.drive();
    assert_eq!(pair.client.closed().len(), 1);
    assert_eq!(pair.server.closed().len(), 1);
    pair.request(&get(), true);
    assert!(!pair.client.conn.is_closed() && !pair.server.conn.is_closed());
}
