//! RFC 8441: bootstrapping WebSockets, the extended CONNECT.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::settings::id as setting;
use stagedoor_protocol::{Cause, Config, ErrorCode, Event, RequestHead, Role, UserError};
use support::{Pair, Raw, block, frames, status};

const EXTENDED: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", "server.example.com"),
    (":path", "/chat"),
];

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    EXTENDED.iter().copied().filter(|(other, _)| *other != name).collect()
}

fn websocket() -> RequestHead {
    RequestHead::extended_connect("websocket", "https", "server.example.com", "/chat")
}

// --- §3: the setting ---

#[test]
fn a_server_announces_the_setting_and_a_client_does_not() {
    for (offers, expected) in [(true, true), (false, false)] {
        let mut raw =
            Raw::bare(Role::Server, Config { enable_connect_protocol: offers, ..Config::default() });
        raw.send(frames::PREFACE);
        assert_eq!(raw.frames[0].settings().contains(&(setting::ENABLE_CONNECT_PROTOCOL, 1)), expected);
    }
    let raw = Raw::bare(Role::Client, Config::default());
    assert!(raw.frames[0].settings().iter().all(|(id, _)| *id != setting::ENABLE_CONNECT_PROTOCOL));
}

#[test]
fn the_setting_is_zero_or_one() {
    for (value, passes) in [(0, true), (1, true), (2, false)] {
        let mut raw = Raw::client();
        raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, value)]));
        if passes {
            raw.expect_fine();
            assert_eq!(raw.conn.remote_settings().enable_connect_protocol, value == 1);
        } else {
            raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
        }
    }
}

#[test]
fn the_setting_is_not_taken_back() {
    let mut raw = Raw::client();
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]));
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]));
    raw.expect_fine();
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 0)]));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_client_waits_for_the_setting() {
    let mut raw = Raw::client();
    let said = raw.act(|conn| conn.send_request(&websocket(), false));
    assert!(matches!(said, Err(UserError::InvalidField(_))), "{said:?}");
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]));
    assert_eq!(raw.ask(&websocket(), false), 1);
    let mut sent = raw.sections[0].1.clone();
    sent.sort();
    let mut expected: Vec<_> =
        EXTENDED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    expected.sort();
    assert_eq!(sent, expected);
}

// --- §4: the extended CONNECT ---

#[test]
fn an_extended_connect_is_told_with_all_its_fields() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(&EXTENDED), frames::NONE));
    let Some(Event::StreamOpened { head, end_stream: false, .. }) = raw.events.first() else {
        panic!("{:?}", raw.events)
    };
    assert_eq!(head.method(), "CONNECT");
    assert_eq!(head.protocol(), Some("websocket"));
    assert_eq!(head.scheme(), Some("https"));
    assert_eq!(head.authority(), Some("server.example.com"));
    assert_eq!(head.path(), Some("/chat"));
    raw.expect_fine();
}

#[test]
fn without_the_setting_protocol_is_malformed() {
    let mut raw = Raw::server_with(Config { enable_connect_protocol: false, ..Config::default() }, &[]);
    raw.send(frames::headers(1, &block::of(&EXTENDED), frames::NONE));
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    assert!(!raw.opened(1));
}

#[test]
fn scheme_path_and_authority_must_be_there_with_protocol() {
    for missing in [":scheme", ":path", ":authority"] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::of(&without(missing)), frames::NONE));
        raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
        assert!(!raw.opened(1), "{missing}");
    }
}

#[test]
fn protocol_with_another_method_is_malformed() {
    let mut head = without(":method");
    head.insert(0, (":method", "GET"));
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(&head), frames::NONE));
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn protocol_twice_empty_or_in_a_response_is_malformed() {
    let mut twice = EXTENDED.to_vec();
    twice.push((":protocol", "websocket"));
    let mut empty = without(":protocol");
    empty.push((":protocol", ""));
    for wrong in [twice, empty] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::of(&wrong), frames::NONE));
        raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    }
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(
        id,
        &block::of(&[(":status", "200"), (":protocol", "websocket")]),
        frames::NONE,
    ));
    raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn an_ordinary_connect_still_goes_without_scheme_and_path() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(&[(":method", "CONNECT"), (":authority", "a:1")]), frames::NONE));
    raw.expect_open(1);
}

// --- §5: using extended CONNECT ---

#[test]
fn a_tunnel_lives_and_each_side_ends_on_its_own() {
    let mut pair = Pair::connected();
    let id = pair.request(&websocket(), false);
    pair.server.conn.send_response(id, &status(200), false).unwrap();
    pair.drive();
    for round in 0..10u8 {
        pair.client.conn.send_data(id, Bytes::from(vec![round; 125]), false).unwrap();
        pair.drive();
        pair.server.conn.send_data(id, Bytes::from(vec![round; 125]), false).unwrap();
        pair.drive();
    }
    assert_eq!(pair.server.body(id), pair.client.body(id));
    assert_eq!(pair.client.body(id).0.len(), 1250);
    pair.server.conn.send_data(id, Bytes::new(), true).unwrap();
    pair.drive();
    assert!(pair.client.closed().is_empty(), "END_STREAM is the FIN of one direction");
    pair.client.conn.send_data(id, Bytes::from_static(b"last"), true).unwrap();
    pair.drive();
    assert_eq!(pair.client.closed(), [(id, Cause::EndStream)]);
    assert_eq!(pair.server.closed(), [(id, Cause::EndStream)]);
}

#[test]
fn a_tunnel_is_broken_by_rst_stream_with_cancel() {
    let mut pair = Pair::connected();
    let id = pair.request(&websocket(), false);
    pair.server.conn.send_response(id, &status(200), false).unwrap();
    pair.drive();
    pair.client.conn.reset_stream(id, ErrorCode::CANCEL).unwrap();
    pair.drive();
    assert_eq!(pair.server.resets(), [(id, ErrorCode::CANCEL)]);
    pair.request(&support::get(), true);
}

#[test]
fn headers_in_a_tunnel_are_a_stream_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(&EXTENDED), frames::NONE));
    raw.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
    raw.frames.clear();
    raw.send(frames::headers(1, &block::of(&[("x", "y")]), frames::END_STREAM));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
}
