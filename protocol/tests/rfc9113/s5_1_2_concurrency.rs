//! §5.1.2: stream concurrency.

use crate::prelude::*;

fn limited(limit: u32) -> Raw {
    Raw::server_with(Config { max_concurrent_streams: limit, ..Config::default() }, &[])
}

#[test]
fn the_limit_is_announced() {
    let mut raw = Raw::bare(Role::Server, Config { max_concurrent_streams: 7, ..Config::default() });
    raw.send(frames::PREFACE);
    assert!(raw.frames[0].settings().contains(&(setting::MAX_CONCURRENT_STREAMS, 7)));
}

#[test]
fn as_many_as_allowed_pass_and_one_more_is_refused() {
    let mut raw = limited(2);
    raw.get(1);
    raw.post(3);
    raw.expect_fine();
    raw.send(frames::headers(5, &block::get(), frames::END_STREAM));
    raw.expect_reset(5, ErrorCode::REFUSED_STREAM);
    assert!(!raw.opened(5));
    assert!(raw.closed(1).is_empty() && raw.closed(3).is_empty());
}

#[test]
fn a_stream_that_ended_makes_room() {
    let mut raw = limited(1);
    raw.exchange(1);
    raw.exchange(3);
    raw.get(5);
    raw.expect_fine();
}

#[test]
fn half_closed_streams_count() {
    let mut raw = limited(1);
    raw.post(1);
    raw.answer(1); // half-closed (local)
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_reset(3, ErrorCode::REFUSED_STREAM);
    raw.send(frames::data(1, b"", frames::END_STREAM));
    assert_eq!(raw.closed(1), [Cause::EndStream]);
    raw.act(|conn| conn.release_stream(1.into()));
    raw.get(5);
}

#[test]
fn a_stream_the_peer_reset_keeps_its_slot_until_its_work_has_stopped() {
    let mut raw = limited(1);
    raw.get(1);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    assert_eq!(raw.closed(1), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_reset(3, ErrorCode::REFUSED_STREAM);
    raw.act(|conn| conn.release_stream(1.into()));
    raw.get(5);
}

#[test]
fn a_stream_we_were_made_to_reset_keeps_its_slot_until_its_work_has_stopped() {
    let mut raw = limited(1);
    raw.post(1);
    raw.send(frames::window_update(1, 0));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_reset(3, ErrorCode::REFUSED_STREAM);
    raw.act(|conn| conn.release_stream(1.into()));
    raw.get(5);
}

#[test]
fn a_stream_that_was_never_given_to_the_owner_keeps_no_slot() {
    let mut raw = limited(1);
    for id in [1, 3, 5] {
        raw.send(frames::headers(id, &block::get_with(&[("Upper", "")]), frames::END_STREAM));
        raw.expect_reset(id, ErrorCode::PROTOCOL_ERROR);
    }
    raw.get(7);
}

#[test]
fn release_of_a_living_stream_is_harmless() {
    let mut raw = limited(1);
    raw.get(1);
    raw.act(|conn| conn.release_stream(1.into()));
    raw.act(|conn| conn.release_stream(9.into()));
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_reset(3, ErrorCode::REFUSED_STREAM);
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn a_client_keeps_to_the_limit_of_the_server() {
    let mut raw = Raw::client_with(Config::default(), &[(setting::MAX_CONCURRENT_STREAMS, 1)]);
    let id = raw.ask_get();
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    assert_eq!(raw.closed(id), [Cause::EndStream]);
    raw.ask_get();
}

#[test]
fn a_limit_of_zero_refuses_all_and_may_be_raised() {
    let mut raw = Raw::client_with(Config::default(), &[(setting::MAX_CONCURRENT_STREAMS, 0)]);
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
    raw.send(frames::settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
    raw.ask_get();
}

#[test]
fn a_limit_lowered_below_what_is_open_closes_nothing() {
    let mut raw = Raw::client();
    let ids = [raw.ask_get(), raw.ask_get()];
    raw.send(frames::settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
    for id in ids {
        raw.expect_open(id);
    }
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
}

#[test]
fn our_own_limit_changes_when_the_peer_acknowledges() {
    let mut raw = limited(1);
    let now = raw.now;
    let more = Settings { max_concurrent_streams: Some(2), ..Settings::default() };
    raw.get(1);
    raw.act(|conn| conn.update_settings(more, now)).unwrap();
    raw.send(frames::settings_ack());
    raw.get(3);
    raw.send(frames::headers(5, &block::get(), frames::END_STREAM));
    raw.expect_reset(5, ErrorCode::REFUSED_STREAM);
}

#[test]
fn promises_beyond_our_limit_are_refused() {
    // Reserved streams do not count (§5.1.2), yet each takes memory: a client may refuse any promise (§8.4.2).
    let config = Config { enable_push: true, max_reserved_streams: 1, ..Config::default() };
    let mut raw = Raw::client_with(config, &[]);
    let id = raw.ask_get();
    raw.send(frames::push_promise(id, 2, &block::get()));
    raw.expect_fine();
    raw.send(frames::push_promise(id, 4, &block::get()));
    raw.expect_reset_of_a_promise(4, ErrorCode::REFUSED_STREAM);
    raw.send(frames::headers(4, &block::status("200"), frames::END_STREAM)); // was under way
    raw.send(frames::headers(2, &block::status("200"), frames::END_STREAM));
    assert_eq!(raw.closed(2), [Cause::EndStream]);
    raw.send(frames::push_promise(id, 6, &block::get()));
    assert!(
        raw.events
            .iter()
            .any(|event| matches!(event, Event::PushPromised { promised, .. } if promised.get() == 6))
    );
    raw.expect_alive();
}

#[test]
fn a_promised_response_beyond_our_limit_is_refused_when_it_begins() {
    let config = Config { enable_push: true, max_concurrent_streams: 1, ..Config::default() };
    let mut raw = Raw::client_with(config, &[]);
    let id = raw.ask_get();
    raw.send(
        [frames::push_promise(id, 2, &block::get()), frames::push_promise(id, 4, &block::get())].concat(),
    );
    raw.expect_fine();
    assert_eq!(raw.conn.state().streams_reserved, 2, "promises are not streams yet");
    raw.send(frames::headers(2, &block::status("200"), frames::NONE));
    raw.send(frames::headers(4, &block::status("200"), frames::NONE));
    raw.expect_reset(4, ErrorCode::REFUSED_STREAM);
    raw.send(frames::data(2, b"pushed", frames::END_STREAM));
    assert_eq!(raw.closed(2), [Cause::EndStream]);
    let state = raw.conn.state();
    assert_eq!((state.streams_reserved, state.streams_remote, state.streams_local), (0, 0, 1));
}

#[test]
fn two_hundred_promises_may_wait_and_one_more_is_refused() {
    let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
    let id = raw.ask_get();
    for promised in 1..=200 {
        raw.send(frames::push_promise(id, 2 * promised, &block::get()));
    }
    raw.expect_fine();
    raw.send(frames::push_promise(id, 402, &block::get()));
    raw.expect_reset_of_a_promise(402, ErrorCode::REFUSED_STREAM);
}

#[test]
fn a_peer_is_taken_to_allow_a_hundred_streams_until_it_says() {
    let mut raw = Raw::bare(Role::Client, Config::default());
    for _ in 0..100 {
        raw.ask_get();
    }
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
    raw.send([frames::settings(&[]), frames::settings_ack()].concat());
    raw.ask_get(); // no limit said is none (§6.5.2)
    let mut raw = Raw::bare(Role::Client, Config { peer_max_concurrent_streams: 1, ..Config::default() });
    raw.ask_get();
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
    raw.send(frames::settings(&[(setting::MAX_CONCURRENT_STREAMS, 2)]));
    raw.ask_get();
    assert_eq!(raw.act(|conn| conn.send_request(&get(), true)), Err(UserError::TooManyStreams));
}
