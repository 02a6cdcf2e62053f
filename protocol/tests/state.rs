//! How a connection stands, in the numbers an operator or an application asks for.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::settings::id as setting;
use stagedoor_protocol::{Config, Settings, StreamId, UserError};
use support::{Raw, fixed, frames, get, plain_windows, status};

#[test]
fn a_fresh_connection_stands_at_its_start() {
    let raw = Raw::server_with(plain_windows(), &[]);
    let state = raw.conn.state();
    assert_eq!((state.recv_window_target, state.recv_unreturned, state.recv_window), (65_535, 0, 65_535));
    assert_eq!((state.send_window, state.queued), (65_535, 0));
    assert_eq!((state.next_stream_id, state.last_processed), (Some(2.into()), StreamId::CONNECTION));
    assert_eq!((state.encoder_table, state.decoder_table), (0, 0));
    assert_eq!((state.streams_local, state.streams_remote, state.streams_reserved), (0, 0, 0));
    assert_eq!((state.settings_pending, state.pings_pending), (0, 0));
    assert_eq!(state.memory, raw.conn.memory());
}

#[test]
fn every_number_follows_what_happens() {
    let mut raw = Raw::server_with(plain_windows(), &[(setting::INITIAL_WINDOW_SIZE, 10)]);
    raw.post(1);
    raw.post(3);
    raw.send(frames::data(1, &[0; 1_000], frames::NONE));
    let state = raw.conn.state();
    assert_eq!((state.recv_window_target, state.recv_unreturned, state.recv_window), (65_535, 1_000, 64_535));
    assert_eq!((state.last_processed, state.streams_remote), (3.into(), 2));

    let head = stagedoor_protocol::ResponseHead::new(200, support::fields(&[("x-own", "value")]));
    raw.act(|conn| conn.send_response(1.into(), &head, false)).unwrap();
    raw.act(|conn| conn.send_data(1.into(), Bytes::from_static(&[0; 50]), true)).unwrap();
    let state = raw.conn.state();
    assert_eq!((state.send_window, state.queued), (65_525, 40), "ten octets went out");
    assert_eq!(state.encoder_table, "x-ownvalue".len() + 32);

    let now = raw.now;
    raw.act(|conn| conn.update_settings(Settings::default(), now)).unwrap();
    raw.act(|conn| conn.ping([1; 8])).unwrap();
    raw.act(|conn| conn.ping_keepalive([2; 8])).unwrap();
    let state = raw.conn.state();
    assert_eq!((state.settings_pending, state.pings_pending), (1, 2));
    raw.send([frames::settings_ack(), frames::ping_ack([1; 8]), frames::ping_ack([2; 8])].concat());
    let state = raw.conn.state();
    assert_eq!((state.settings_pending, state.pings_pending), (0, 0));
}

#[test]
fn a_table_of_the_decoder_is_counted() {
    let mut raw = Raw::server();
    let block = [support::block::get(), support::block::indexed_literal("x-own", "value")].concat();
    raw.send(frames::headers(1, &block, frames::END_STREAM));
    assert_eq!(raw.conn.state().decoder_table, 42);
}

#[test]
fn a_stream_shows_its_windows_and_which_halves_are_closed() {
    let config = Config { stream_window: fixed(70_000), ..plain_windows() };
    let mut raw = Raw::server_with(config, &[(setting::INITIAL_WINDOW_SIZE, 5)]);
    raw.post(1);
    raw.get(3);
    let view = raw.conn.stream(1.into()).unwrap();
    assert_eq!((view.state, view.local_closed, view.remote_closed), ("open", false, false));
    assert_eq!((view.recv_window, view.send_window), (70_000, 5));
    let view = raw.conn.stream(3.into()).unwrap();
    assert_eq!((view.state, view.local_closed, view.remote_closed), ("half_closed_remote", false, true));
    raw.act(|conn| conn.send_response(1.into(), &status(200), true)).unwrap();
    let view = raw.conn.stream(1.into()).unwrap();
    assert_eq!((view.state, view.local_closed, view.remote_closed), ("half_closed_local", true, false));
    assert_eq!(raw.conn.stream(5.into()), None);
}

#[test]
fn the_next_identifier_can_be_chosen_ahead_and_of_our_own_kind() {
    let mut raw = Raw::client();
    for wrong in [0, 2, 4] {
        let said = raw.act(|conn| conn.set_next_stream_id(wrong.into()));
        assert_eq!(said, Err(UserError::InvalidStreamId(wrong.into())));
    }
    raw.act(|conn| conn.set_next_stream_id(7.into())).unwrap();
    assert_eq!(raw.ask_get(), 7);
    assert_eq!(raw.act(|conn| conn.set_next_stream_id(7.into())), Err(UserError::InvalidStreamId(7.into())));
    assert_eq!(raw.conn.state().next_stream_id, Some(9.into()));
}

#[test]
fn identifiers_run_out_behind_the_highest() {
    let mut raw = Raw::client();
    raw.act(|conn| conn.set_next_stream_id(StreamId::MAX)).unwrap();
    assert_eq!(raw.ask_get(), 0x7fff_ffff);
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::IdsExhausted));
    assert_eq!(raw.conn.state().next_stream_id, None);
    raw.expect_open(0x7fff_ffff);
}
