//! §5.4: error handling. How far an error reaches.

use crate::prelude::*;

#[test]
fn a_connection_error_closes_every_stream_once_and_says_which_was_last() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.post(3);
    raw.post(5);
    raw.answer(1);
    raw.send(frames::frame(frames::PING, 0, 0, b"short"));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    let goaway = raw.of_kind(frames::GOAWAY)[0].clone();
    assert_eq!(goaway.u32_at(0), 5, "the last stream we looked at");
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    assert_eq!(raw.closed(3), [Cause::ConnectionClosed]);
    assert_eq!(raw.closed(5), [Cause::ConnectionClosed]);
}

#[test]
fn a_stream_error_leaves_its_neighbours_alone() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.post(3);
    raw.send(frames::window_update(1, 0));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
    raw.send(frames::data(3, b"fine", frames::END_STREAM));
    raw.answer(3);
    assert_eq!(raw.closed(3), [Cause::EndStream]);
}

#[test]
fn rst_stream_is_never_answered_by_rst_stream() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert!(raw.of_kind(frames::RST_STREAM).is_empty());
    raw.expect_alive();
}

#[test]
fn a_stream_error_is_answered_once_however_many_frames_follow() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::window_update(1, 0));
    raw.send(frames::window_update(1, 0));
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.send(frames::window_update(1, 0));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR); // panics on a second one
}

#[test]
fn errors_are_recorded_with_who_sent_them() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.post(3);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.send(frames::window_update(3, 0));
    let records = raw.conn.take_error_records();
    let told: Vec<_> = records.iter().map(|record| (record.id.get(), record.by, record.code)).collect();
    assert_eq!(told, [(1, Origin::Remote, ErrorCode::CANCEL), (3, Origin::Local, ErrorCode::PROTOCOL_ERROR)]);
    assert!(raw.conn.take_error_records().is_empty());
    raw.send(frames::frame(frames::PING, 0, 0, b"short"));
    let told: Vec<_> =
        raw.conn.take_error_records().iter().map(|record| (record.id.get(), record.by)).collect();
    assert_eq!(told, [(0, Origin::Local)]);
}

#[test]
fn goaway_of_an_error_carries_debug_text() {
    let mut raw = Raw::server();
    raw.send(frames::frame(frames::PING, 0, 0, b"short"));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    let text = String::from_utf8(raw.of_kind(frames::GOAWAY)[0].payload[8..].to_vec()).unwrap();
    assert!(!text.is_empty());
}

#[test]
fn queued_octets_do_not_stand_in_the_way_of_goaway() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 10)]);
    raw.get(1);
    raw.act(|conn| {
        conn.send_response(1.into(), &status(200), false).unwrap();
        conn.send_data(1.into(), Bytes::from(vec![0; 50_000]), true).unwrap();
    });
    raw.send(frames::window_update(0, 0));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    assert_eq!(raw.data_sent(1), 10);
}

#[test]
fn the_rest_of_the_input_behind_an_error_is_ignored() {
    let mut raw = Raw::server();
    let mut octets = frames::window_update(0, 0);
    octets.extend(frames::headers(1, &block::get(), frames::END_STREAM));
    raw.send(octets);
    assert!(!raw.opened(1));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}
