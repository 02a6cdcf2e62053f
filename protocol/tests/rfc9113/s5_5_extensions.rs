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

fn customs(raw: &Raw) -> Vec<Vec<(u16, u32)>> {
    let custom = |event: &Event| match event {
        Event::SettingsReceived { settings } => Some(settings.custom.clone()),
        _ => None,
    };
    raw.events.iter().filter_map(custom).collect()
}

#[test]
fn unknown_settings_are_acknowledged_and_told_to_an_owner_that_asked() {
    let config = Config { remote_custom_settings: vec![0x4242, 0xff], ..Config::default() };
    let mut raw = Raw::server_with(config, &[]);
    raw.send(frames::settings(&[(0xff, 7), (0xfe, 1), (0x4242, 0xffff_ffff)]));
    let acks = raw.of_kind(frames::SETTINGS);
    assert_eq!((acks.len(), acks[0].flags), (1, frames::ACK));
    assert_eq!(customs(&raw), [[(0xff, 7), (0x4242, 0xffff_ffff)]]);
    raw.send(frames::settings(&[(0xff, 8)]));
    assert_eq!(raw.conn.remote_settings().custom, [(0xff, 8), (0x4242, 0xffff_ffff)], "the last value wins");
    raw.expect_fine();
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(0xff, 7)]));
    assert_eq!(customs(&raw), [[]], "nobody asked");
    raw.expect_fine();
}

#[test]
fn ten_custom_settings_are_told_and_the_eleventh_is_not() {
    let ids: Vec<u16> = (0x100..0x10b).collect();
    let mut raw = Raw::server_with(Config { remote_custom_settings: ids.clone(), ..Config::default() }, &[]);
    let all: Vec<_> = ids.iter().map(|id| (*id, 1)).collect();
    raw.send(frames::settings(&all));
    assert_eq!(customs(&raw), [&all[..10]]);
    let now = raw.now;
    let custom = |count: usize| Settings { custom: all[..count].to_vec(), ..Settings::default() };
    raw.act(|conn| conn.update_settings(custom(10), now)).unwrap();
    let said = raw.act(|conn| conn.update_settings(custom(11), now));
    assert_eq!(said, Err(UserError::TooManyCustomSettings(11)));
}

#[test]
fn a_custom_setting_with_a_meaning_is_that_setting() {
    let mut raw = Raw::server();
    let now = raw.now;
    let change = Settings { custom: vec![(setting::MAX_FRAME_SIZE, 20_000)], ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.local_settings().max_frame_size, 20_000);
    let wrong = Settings { custom: vec![(setting::MAX_FRAME_SIZE, 1)], ..Settings::default() };
    let said = raw.act(|conn| conn.update_settings(wrong, now));
    assert_eq!(said, Err(UserError::InvalidSetting { id: setting::MAX_FRAME_SIZE, value: 1 }));
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
