//! §8.6: there is no upgrade, 101 does not exist.

use crate::prelude::*;

#[test]
fn a_101_is_malformed() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("101"), frames::NONE));
    raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
    assert!(!raw.log.iter().any(|event| matches!(event, Event::InformationalReceived { .. })));
}

#[test]
fn we_never_send_101() {
    let mut raw = Raw::server();
    raw.get(1);
    assert_eq!(
        raw.act(|conn| conn.send_informational(1.into(), &status(101))),
        Err(UserError::InvalidStatus(101))
    );
    assert_eq!(
        raw.act(|conn| conn.send_response(1.into(), &status(101), true)),
        Err(UserError::InvalidStatus(101))
    );
    assert!(raw.of_kind(frames::HEADERS).is_empty());
}

#[test]
fn an_upgrade_field_is_malformed() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::get_with(&[("upgrade", "h2c")]), frames::END_STREAM));
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    raw.send(frames::headers(3, &block::get_with(&[("http2-settings", "AAMAAABk")]), frames::END_STREAM));
    raw.expect_opened(3); // §3.1: obsolete and without meaning, a field like any other
}
