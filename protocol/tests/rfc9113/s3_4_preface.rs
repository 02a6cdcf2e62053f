//! §3.4: the connection preface.

use crate::prelude::*;

#[test]
fn the_client_sends_the_preface_and_settings_at_once() {
    // Raw::bare asserts the 24 octets.
    let raw = Raw::bare(Role::Client, Config::default());
    assert_eq!(raw.frames[0].kind, frames::SETTINGS);
    assert!(!raw.frames[0].has(frames::ACK));
}

#[test]
fn the_server_preface_is_settings_the_first_frame_it_sends() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    raw.send(frames::settings(&[]));
    assert_eq!(raw.frames[0].kind, frames::SETTINGS);
    assert!(!raw.frames[0].has(frames::ACK));
    assert_eq!(raw.of_kind(frames::SETTINGS).into_iter().filter(|f| f.has(frames::ACK)).count(), 1);
}

#[test]
fn the_preface_may_come_octet_by_octet() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    for octet in frames::PREFACE.iter().chain(&frames::settings(&[])).chain(&frames::settings_ack()) {
        raw.send([*octet]);
    }
    raw.expect_fine();
}

#[test]
fn an_invalid_preface_is_a_connection_error() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(raw.result, Err(ConnectionError::BadPreface));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_preface_wrong_in_its_last_octet_is_a_connection_error() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(&frames::PREFACE[..23]);
    assert_eq!(raw.result, Ok(()));
    raw.send(b"X");
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_wrong_octet_is_known_before_the_preface_is_complete() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(b"PRX");
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn the_first_frame_of_a_client_must_be_settings() {
    for first in [frames::ping([0; 8]), frames::headers(1, &block::get(), frames::END_STREAM)] {
        let mut raw = Raw::bare(Role::Server, Config::default());
        raw.send(frames::PREFACE);
        raw.send(first);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn the_first_frame_of_a_server_must_be_settings() {
    for first in
        [frames::ping([0; 8]), frames::window_update(0, 1), frames::goaway(0, ErrorCode::NO_ERROR, b"")]
    {
        let mut raw = Raw::bare(Role::Client, Config::default());
        raw.send(first);
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_settings_ack_is_no_preface() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    raw.send(frames::settings_ack());
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn an_empty_settings_frame_is_a_whole_preface() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send(frames::PREFACE);
    raw.send(frames::settings(&[]));
    raw.expect_fine();
}

#[test]
fn a_client_may_send_requests_without_waiting_for_the_server_preface() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    let mut hello = frames::PREFACE.to_vec();
    hello.extend(frames::settings(&[]));
    hello.extend(frames::headers(1, &block::get(), frames::END_STREAM));
    raw.send(hello);
    raw.expect_opened(1);
    raw.expect_fine();
}

#[test]
fn our_client_asks_without_waiting_for_the_server_preface() {
    let mut raw = Raw::bare(Role::Client, Config::default());
    assert_eq!(raw.ask_get(), 1);
    assert_eq!(raw.of_kind(frames::HEADERS).len(), 1);
}

#[test]
fn a_preface_that_does_not_come_in_time_ends_the_connection() {
    for said in [&b""[..], b"PRI * HTTP", frames::PREFACE] {
        let config = Config { preface_timeout: Duration::from_secs(5), ..Config::default() };
        let mut raw = Raw::bare(Role::Server, config);
        raw.send(said);
        raw.advance(Duration::from_millis(4_999));
        assert_eq!(raw.result, Ok(()));
        raw.advance(Duration::from_millis(1));
        assert_eq!(raw.result, Err(ConnectionError::PrefaceTimeout));
        assert!(raw.conn.is_closed());
    }
}

#[test]
fn a_preface_that_came_in_time_has_no_deadline_any_more() {
    let config = Config { preface_timeout: Duration::from_secs(5), ..Config::default() };
    let mut raw = Raw::server_with(config, &[]);
    raw.advance(Duration::from_secs(3600));
    raw.expect_fine();
}

#[test]
fn our_first_settings_says_that_rfc_7540_priorities_are_unused() {
    for role in [Role::Client, Role::Server] {
        let mut raw = Raw::bare(role, Config::default());
        if role == Role::Server {
            raw.send(frames::PREFACE);
        }
        let first = raw.frames[0].settings();
        assert!(first.contains(&(setting::NO_RFC7540_PRIORITIES, 1)), "{first:?}");
    }
}
