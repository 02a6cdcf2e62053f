//! §5.5: extending HTTP/2.

use crate::prelude::*;

#[test]
fn unknown_frame_types_are_ignored_on_any_stream_in_any_state() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.get(3);
    raw.post(5);
    for kind in [0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x11, 0x42, 0xff] {
        for id in [0, 1, 3, 5, 7, 2] {
            raw.send(frames::unknown(kind, 0xff, id, b"extension"));
        }
    }
    raw.expect_open(3);
    raw.expect_open(5);
    raw.get(7);
}

#[test]
fn an_unknown_frame_in_a_field_block_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block::get(), frames::END_STREAM));
    raw.send(frames::unknown(0x42, 0, 1, b""));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn unknown_settings_are_acknowledged_and_given_to_the_owner() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(0xff, 7), (0x4242, 0xffff_ffff)]));
    let acks = raw.of_kind(frames::SETTINGS);
    assert_eq!((acks.len(), acks[0].flags), (1, frames::ACK));
    let told = raw.events.iter().any(|event| match event {
        Event::SettingsReceived { settings } => settings.custom == [(0xff, 7), (0x4242, 0xffff_ffff)],
        _ => false,
    });
    assert!(told, "{:?}", raw.events);
    raw.expect_fine();
}

#[test]
fn settings_of_our_own_go_out_in_the_first_frame() {
    let mut raw = Raw::bare(Role::Server, Config { custom_settings: vec![(0x4242, 5)], ..Config::default() });
    raw.send(frames::PREFACE);
    assert!(raw.frames[0].settings().contains(&(0x4242, 5)));
}

#[test]
fn unknown_error_codes_trigger_nothing_special() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::rst(1, ErrorCode(0xdead_beef)));
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode(0xdead_beef) }]);
    raw.expect_fine();
}

#[test]
fn an_empty_unknown_frame_is_ignored_too() {
    let mut raw = Raw::client();
    raw.send(frames::unknown(0x16, 0, 0, b""));
    raw.expect_fine();
}
