//! §6.5: SETTINGS.

use crate::prelude::*;

#[test]
fn settings_are_acknowledged_at_once_and_told() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(setting::MAX_CONCURRENT_STREAMS, 5), (setting::INITIAL_WINDOW_SIZE, 1000)]));
    let acks = raw.of_kind(frames::SETTINGS);
    assert_eq!((acks.len(), acks[0].flags, acks[0].payload.len()), (1, frames::ACK, 0));
    let remote = raw.conn.remote_settings();
    assert_eq!((remote.max_concurrent_streams, remote.initial_window_size), (5, 1000));
    let told = raw.events.iter().any(|event| match event {
        Event::SettingsReceived { settings } => {
            settings.max_concurrent_streams == Some(5) && settings.header_table_size.is_none()
        }
        _ => false,
    });
    assert!(told);
    raw.expect_fine();
}

#[test]
fn each_of_several_settings_frames_is_acknowledged() {
    let mut raw = Raw::server();
    raw.send([frames::settings(&[]), frames::settings(&[(0x99, 1)]), frames::settings(&[])].concat());
    assert_eq!(raw.of_kind(frames::SETTINGS).len(), 3);
}

#[test]
fn the_last_value_of_a_setting_wins() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[
        (setting::INITIAL_WINDOW_SIZE, 1),
        (setting::INITIAL_WINDOW_SIZE, 70_000),
        (setting::INITIAL_WINDOW_SIZE, 20),
    ]));
    assert_eq!(raw.conn.remote_settings().initial_window_size, 20);
}

#[test]
fn settings_on_a_stream_are_a_connection_error() {
    for id in [1, 2] {
        let mut raw = Raw::server();
        raw.send(frames::frame(frames::SETTINGS, 0, id, &[]));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_length_that_is_no_multiple_of_six_is_a_connection_error() {
    for length in [1, 5, 7, 11] {
        let mut raw = Raw::server();
        raw.send(frames::frame(frames::SETTINGS, 0, 0, &vec![0; length]));
        raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn an_acknowledgement_with_a_payload_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::frame(frames::SETTINGS, frames::ACK, 0, &[0, 0x99, 0, 0, 0, 0]));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn an_acknowledgement_of_nothing_is_a_connection_error() {
    let mut raw = Raw::server(); // has acknowledged already
    raw.send(frames::settings_ack());
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn values_at_their_bounds_pass_and_beyond_are_connection_errors() {
    let protocol = Some(ErrorCode::PROTOCOL_ERROR);
    let flow = Some(ErrorCode::FLOW_CONTROL_ERROR);
    let table = [
        (setting::ENABLE_PUSH, 0, None),
        (setting::ENABLE_PUSH, 1, None),
        (setting::ENABLE_PUSH, 2, protocol),
        (setting::INITIAL_WINDOW_SIZE, 0, None),
        (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff, None),
        (setting::INITIAL_WINDOW_SIZE, 0x8000_0000, flow),
        (setting::INITIAL_WINDOW_SIZE, 0xffff_ffff, flow),
        (setting::MAX_FRAME_SIZE, 16_383, protocol),
        (setting::MAX_FRAME_SIZE, 16_384, None),
        (setting::MAX_FRAME_SIZE, 16_777_215, None),
        (setting::MAX_FRAME_SIZE, 16_777_216, protocol),
        (setting::HEADER_TABLE_SIZE, 0, None),
        (setting::HEADER_TABLE_SIZE, 0xffff_ffff, None),
        (setting::MAX_CONCURRENT_STREAMS, 0xffff_ffff, None),
        (setting::MAX_HEADER_LIST_SIZE, 0, None),
        (setting::ENABLE_CONNECT_PROTOCOL, 2, protocol),
        (setting::NO_RFC7540_PRIORITIES, 2, protocol),
    ];
    for (id, value, error) in table {
        let mut raw = Raw::server();
        raw.send(frames::settings(&[(id, value)]));
        match error {
            None => raw.expect_fine(),
            Some(code) => raw.expect_goaway(code),
        }
    }
}

#[test]
fn a_server_that_enables_push_is_a_connection_error() {
    for (value, passes) in [(0, true), (1, false)] {
        let mut raw = Raw::client();
        raw.send(frames::settings(&[(setting::ENABLE_PUSH, value)]));
        if passes { raw.expect_fine() } else { raw.expect_goaway(ErrorCode::PROTOCOL_ERROR) }
    }
}

#[test]
fn a_client_says_that_it_takes_no_push() {
    let raw = Raw::bare(Role::Client, Config::default());
    assert!(raw.frames[0].settings().contains(&(setting::ENABLE_PUSH, 0)));
    let server = {
        let mut raw = Raw::bare(Role::Server, Config::default());
        raw.send(frames::PREFACE);
        raw
    };
    let said = server.frames[0].settings();
    assert!(!said.contains(&(setting::ENABLE_PUSH, 1)), "a server must not enable push: {said:?}");
}

#[test]
fn nothing_acknowledged_in_time_is_a_settings_timeout() {
    let config = Config { settings_timeout: Duration::from_secs(10), ..Config::default() };
    let mut raw = Raw::bare(Role::Server, config);
    raw.send([frames::PREFACE, &frames::settings(&[])].concat());
    raw.advance(Duration::from_millis(9_999));
    raw.expect_fine();
    raw.advance(Duration::from_millis(1));
    assert_eq!(raw.result, Err(ConnectionError::SettingsTimeout));
    raw.expect_goaway(ErrorCode::SETTINGS_TIMEOUT);
}

#[test]
fn an_acknowledgement_in_time_stops_the_clock() {
    let mut raw = Raw::bare(Role::Server, Config::default());
    raw.send([frames::PREFACE, &frames::settings(&[])].concat());
    raw.advance(Duration::from_secs(9));
    raw.send(frames::settings_ack());
    assert!(raw.events.contains(&Event::SettingsAcknowledged));
    raw.advance(Duration::from_secs(60));
    raw.expect_fine();
    // A later change has a clock of its own.
    let now = raw.now;
    let change = Settings { max_concurrent_streams: Some(3), ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    raw.advance(Duration::from_secs(11));
    assert_eq!(raw.result, Err(ConnectionError::SettingsTimeout));
}

#[test]
fn an_acknowledgement_is_for_the_oldest_settings() {
    let mut raw = Raw::server();
    let start = raw.now;
    raw.act(|conn| conn.update_settings(Settings::default(), start)).unwrap();
    raw.advance(Duration::from_secs(6));
    let now = raw.now;
    raw.act(|conn| conn.update_settings(Settings::default(), now)).unwrap();
    assert_eq!(raw.conn.next_deadline(), Some(start + Duration::from_secs(10)), "the first is due first");
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.next_deadline(), Some(start + Duration::from_secs(16)));
    raw.advance(Duration::from_secs(9));
    raw.send(frames::settings_ack());
    raw.advance(Duration::from_secs(60));
    raw.expect_fine();
}

#[test]
fn our_settings_are_in_force_when_acknowledged_one_after_the_other() {
    let mut raw = Raw::server();
    let now = raw.now;
    for limit in [10, 20] {
        let change = Settings { max_concurrent_streams: Some(limit), ..Settings::default() };
        raw.act(|conn| conn.update_settings(change, now)).unwrap();
    }
    assert_eq!(raw.conn.local_settings().max_concurrent_streams, 128);
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.local_settings().max_concurrent_streams, 10);
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.local_settings().max_concurrent_streams, 20);
    assert_eq!(raw.events.iter().filter(|event| **event == Event::SettingsAcknowledged).count(), 2);
    raw.expect_fine();
}

#[test]
fn the_owner_cannot_send_what_may_not_be_sent() {
    let mut raw = Raw::server();
    let now = raw.now;
    for wrong in [
        Settings { initial_window_size: Some(1 << 31), ..Settings::default() },
        Settings { max_frame_size: Some(16_383), ..Settings::default() },
        Settings { max_frame_size: Some(1 << 24), ..Settings::default() },
    ] {
        let said = raw.act(|conn| conn.update_settings(wrong, now));
        assert!(matches!(said, Err(UserError::InvalidSetting { .. })), "{said:?}");
    }
    assert!(raw.of_kind(frames::SETTINGS).is_empty());
}

#[test]
fn a_larger_frame_limit_holds_from_the_acknowledgement_on() {
    let mut raw = Raw::server();
    let now = raw.now;
    let change = Settings { max_frame_size: Some(20_000), ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    raw.send(frames::settings_ack());
    raw.post(1);
    raw.send(frames::data(1, &[0; 20_000], frames::NONE));
    raw.expect_open(1);
    raw.send(frames::header(20_001, frames::DATA, 0, 1));
    raw.expect_goaway(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn a_smaller_stream_window_of_ours_allows_what_was_under_way() {
    let config = Config { stream_window: fixed(65_535), ..Config::default() };
    let mut raw = Raw::server_with(config, &[]);
    raw.post(1);
    let now = raw.now;
    let change = Settings { initial_window_size: Some(100), ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    raw.send(frames::data(1, &[0; 10_000], frames::NONE)); // sent before our SETTINGS arrived
    raw.expect_open(1);
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.local_settings().initial_window_size, 100);
    let view = raw.conn.streams()[0].clone();
    assert_eq!(view.recv_window, 100 - 10_000, "§6.9.2: the window is negative");
    raw.send(frames::data(1, b"x", frames::NONE));
    raw.expect_stream_or_connection_error(1, ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn a_smaller_stream_window_of_ours_holds_for_new_streams_after_the_acknowledgement() {
    for (size, passes) in [(100, true), (101, false)] {
        let mut raw = Raw::server();
        let now = raw.now;
        let change = Settings { initial_window_size: Some(100), ..Settings::default() };
        raw.act(|conn| conn.update_settings(change, now)).unwrap();
        raw.send(frames::settings_ack());
        raw.post(1);
        raw.send(frames::data(1, &vec![0; size], frames::NONE));
        if passes {
            raw.expect_open(1);
        } else {
            raw.expect_stream_or_connection_error(1, ErrorCode::FLOW_CONTROL_ERROR);
        }
    }
}

#[test]
fn settings_may_come_between_streams_at_any_time() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 100)]));
    raw.send(frames::data(1, b"x", frames::END_STREAM));
    raw.answer(1);
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 4096)]));
    raw.exchange(3);
    raw.expect_fine();
}

#[test]
fn ten_settings_may_wait_for_their_acknowledgement_and_the_eleventh_is_refused() {
    let mut raw = Raw::server();
    let now = raw.now;
    for waiting in 0..10 {
        assert_eq!(raw.conn.pending_settings(), waiting);
        raw.act(|conn| conn.update_settings(Settings::default(), now)).unwrap();
    }
    let said = raw.act(|conn| conn.update_settings(Settings::default(), now));
    assert_eq!(said, Err(UserError::TooManySettings(10)));
    assert_eq!(raw.of_kind(frames::SETTINGS).len(), 10);
    raw.send(frames::settings_ack());
    raw.act(|conn| conn.update_settings(Settings::default(), now)).unwrap();
    raw.expect_fine();
}

#[test]
fn a_setting_of_ours_cannot_lift_a_grown_window_past_its_bound() {
    // The window has grown by a WINDOW_UPDATE, to 200 octets more than it began with.
    let window = stagedoor_protocol::Window { start: 100, max: 300 };
    let mut raw = Raw::server_with(Config { stream_window: window, ..Config::default() }, &[]);
    raw.post(1);
    while raw.conn.streams()[0].recv_window < 300 {
        let octets = raw.conn.streams()[0].recv_window as usize;
        raw.send(frames::data(1, &vec![0; octets], frames::NONE));
        raw.act(|conn| conn.consume(1.into(), octets));
    }
    let now = raw.now;
    let initial = |size: u32| Settings { initial_window_size: Some(size), ..Settings::default() };
    let over = 0x7fff_ffff - 200 + 1;
    let said = raw.act(|conn| conn.update_settings(initial(over), now));
    assert_eq!(said, Err(UserError::WindowTooLarge { id: 1.into(), initial: over }));
    raw.act(|conn| conn.update_settings(initial(over - 1), now)).unwrap();
    raw.send(frames::settings_ack());
    assert_eq!(raw.conn.streams()[0].recv_window, 0x7fff_ffff);
    raw.expect_open(1);
}

#[test]
fn credit_given_while_settings_are_on_their_way_leaves_room_for_them() {
    // By the peer's book: 100 octets, raised by our SETTINGS to 2^31-1, and whatever WINDOW_UPDATE follows.
    let window = stagedoor_protocol::Window { start: 100, max: 1 << 20 };
    let mut raw = Raw::server_with(Config { stream_window: window, ..Config::default() }, &[]);
    raw.post(1);
    let now = raw.now;
    let change = Settings { initial_window_size: Some(0x7fff_ffff), ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    let mut book = i64::from(0x7fff_ffff);
    for round in 0..50 {
        if round == 25 {
            raw.send(frames::settings_ack());
        }
        let octets = raw.conn.streams()[0].recv_window.min(16_384) as usize;
        raw.frames.clear();
        raw.send(frames::data(1, &vec![0; octets], frames::NONE));
        raw.act(|conn| conn.consume(1.into(), octets));
        book += raw.credit(1) as i64 - octets as i64;
        assert!(book <= 0x7fff_ffff, "round {round}: {book}");
    }
    raw.expect_open(1);
}

#[test]
fn what_was_offered_for_good_is_not_taken_back() {
    let mut raw = Raw::server();
    let now = raw.now;
    for (change, id) in [
        (
            Settings { enable_connect_protocol: Some(false), ..Settings::default() },
            setting::ENABLE_CONNECT_PROTOCOL,
        ),
        (
            Settings { no_rfc7540_priorities: Some(false), ..Settings::default() },
            setting::NO_RFC7540_PRIORITIES,
        ),
    ] {
        let said = raw.act(|conn| conn.update_settings(change, now));
        assert_eq!(said, Err(UserError::InvalidSetting { id, value: 0 }));
    }
    // Never offered, it can be refused still, and then offered.
    let mut raw = Raw::server_with(Config { enable_connect_protocol: false, ..Config::default() }, &[]);
    for (offer, passes) in [(false, true), (true, true), (false, false)] {
        let change = Settings { enable_connect_protocol: Some(offer), ..Settings::default() };
        let said = raw.act(|conn| conn.update_settings(change, now));
        assert_eq!(said.is_ok(), passes, "{offer}");
    }
}

#[test]
fn a_peer_that_takes_extended_connect_back_is_a_connection_error() {
    let mut raw = Raw::client_with(Config::default(), &[(setting::ENABLE_CONNECT_PROTOCOL, 1)]);
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]));
    raw.expect_fine();
    raw.send(frames::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 0)]));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn thirty_two_entries_pass_and_one_more_is_a_connection_error() {
    for (count, passes) in [(32, true), (33, false)] {
        let mut raw = Raw::server();
        raw.send(frames::settings(&vec![(0x4242, 1); count]));
        if passes { raw.expect_fine() } else { raw.expect_goaway(ErrorCode::ENHANCE_YOUR_CALM) }
    }
}

#[test]
fn packed_settings_are_six_octets_an_entry_and_read_back() {
    let settings = Settings {
        enable_push: Some(false),
        initial_window_size: Some(0x7fff_ffff),
        custom: vec![(0x4242, 0)],
        ..Settings::default()
    };
    let packed = settings.pack().unwrap();
    assert_eq!(packed, [0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff, 0x42, 0x42, 0, 0, 0, 0]);
    assert_eq!(Settings::unpack(&packed), Ok(settings));
    assert_eq!((Settings::default().pack(), Settings::unpack(&[])), (Ok(vec![]), Ok(Settings::default())));
}

#[test]
fn packed_settings_of_a_wrong_length_or_value_are_refused() {
    for length in [1, 5, 7, 11] {
        assert_eq!(Settings::unpack(&vec![0; length]), Err(UserError::SettingsLength(length)));
    }
    let (id, value) = (setting::INITIAL_WINDOW_SIZE, 0x8000_0000);
    assert_eq!(
        Settings::unpack(&[0, 4, 0x80, 0, 0, 0]),
        Err(UserError::InvalidSetting { id, value }),
        "what cannot be sent"
    );
    let wrong = Settings { initial_window_size: Some(value), ..Settings::default() };
    assert_eq!(wrong.pack(), Err(UserError::InvalidSetting { id, value }));
    assert_eq!(
        Settings::unpack(&[0, 2, 0, 0, 0, 2]),
        Err(UserError::InvalidSetting { id: setting::ENABLE_PUSH, value: 2 })
    );
}
