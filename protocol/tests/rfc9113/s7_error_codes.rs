//! §7: error codes.

use crate::prelude::*;

#[test]
fn codes_have_their_numbers_and_names() {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let code = ErrorCode(number as u32);
        assert_eq!(code.name(), name);
        assert_eq!(ErrorCode::from_name(name), Some(code));
        assert_eq!(code.to_string(), name);
    }
    assert_eq!(ErrorCode(14).to_string(), "unknown(0xe)");
    assert_eq!(ErrorCode::from_name("unknown"), None);
}

#[test]
fn an_unknown_code_in_goaway_is_told_as_it_is() {
    let mut raw = Raw::client();
    raw.send(frames::goaway(0, ErrorCode(0xcafe), b""));
    assert!(
        raw.events
            .iter()
            .any(|event| matches!(event, Event::GoAwayReceived { code, .. } if *code == ErrorCode(0xcafe)))
    );
}

#[test]
fn every_code_passes_through_rst_stream_both_ways() {
    let mut pair = Pair::connected();
    for code in (0..16).map(ErrorCode) {
        let id = pair.request(&post(), false);
        pair.client.conn.reset_stream(id, code).unwrap();
        pair.drive();
        assert_eq!(pair.server.resets(), [(id, code)]);
        pair.server.conn.release_stream(id);
        pair.server.take();
    }
}
