//! §8.5: the CONNECT method.

use crate::prelude::*;

const CONNECT: (&str, &str) = (":method", "CONNECT");
const AUTHORITY: (&str, &str) = (":authority", "example.com:443");

fn connect() -> Raw {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(&[CONNECT, AUTHORITY]), frames::NONE));
    raw.expect_opened(1);
    raw
}

#[test]
fn connect_has_method_and_authority_alone() {
    let raw = connect();
    let Some(Event::StreamOpened { head, .. }) = raw.events.first() else { panic!("{:?}", raw.events) };
    assert_eq!(
        (head.method(), head.authority(), head.scheme(), head.path()),
        ("CONNECT", Some("example.com:443"), None, None)
    );
}

#[test]
fn connect_with_scheme_or_path_or_without_authority_is_malformed() {
    for wrong in [
        &[CONNECT][..],
        &[CONNECT, AUTHORITY, (":path", "/")],
        &[CONNECT, AUTHORITY, (":scheme", "https")],
        &[CONNECT, AUTHORITY, (":scheme", "https"), (":path", "/")],
        &[CONNECT, ("host", "example.com:443")],
    ] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::of(wrong), frames::NONE));
        raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
        assert!(!raw.opened(1), "{wrong:?}");
    }
}

#[test]
fn a_tunnel_carries_data_both_ways_and_each_side_ends_on_its_own() {
    let mut pair = Pair::connected();
    let id = pair.request(&RequestHead::connect("example.com:443"), false);
    pair.server.conn.send_response(id, &status(200), false).unwrap();
    pair.drive();
    for round in 0..3 {
        pair.client.conn.send_data(id, Bytes::from(vec![round; 100]), false).unwrap();
        pair.server.conn.send_data(id, Bytes::from(vec![round; 200]), false).unwrap();
        pair.drive();
    }
    pair.client.conn.send_data(id, Bytes::new(), true).unwrap();
    pair.drive();
    assert_eq!(pair.server.body(id).0.len(), 300);
    assert!(pair.server.body(id).1);
    assert!(pair.client.closed().is_empty());
    pair.server.conn.send_data(id, Bytes::from_static(b"last"), true).unwrap();
    pair.drive();
    assert_eq!(pair.client.body(id).0.len(), 604);
    assert_eq!(pair.client.closed(), [(id, Cause::EndStream)]);
    assert_eq!(pair.server.closed(), [(id, Cause::EndStream)]);
}

#[test]
fn headers_in_a_tunnel_are_a_stream_error() {
    let mut raw = connect();
    raw.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
    raw.frames.clear();
    raw.send(frames::headers(1, &block::of(&[("x", "y")]), frames::END_STREAM));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn headers_in_a_tunnel_are_a_stream_error_for_a_client_too() {
    let mut raw = Raw::client();
    let id = raw.ask(&RequestHead::connect("example.com:443"), false);
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::headers(id, &block::of(&[("x", "y")]), frames::END_STREAM));
    raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_refused_connect_is_an_ordinary_answer() {
    let mut raw = Raw::client();
    let id = raw.ask(&RequestHead::connect("example.com:443"), false);
    raw.send(frames::headers(id, &block::status_with("502", &[("content-length", "3")]), frames::NONE));
    raw.send(frames::data(id, b"why", frames::END_STREAM));
    assert_eq!(raw.body(id), b"why");
    raw.expect_fine();
}

#[test]
fn a_broken_tunnel_is_reset_with_connect_error() {
    let mut raw = connect();
    raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CONNECT_ERROR)).unwrap();
    raw.expect_reset_told(1, ErrorCode::CONNECT_ERROR);
}
