//! §6.6: PUSH_PROMISE.

use crate::prelude::*;

fn client() -> Raw {
    Raw::client_with(Config { enable_push: true, ..Config::default() }, &[])
}

#[test]
fn a_server_never_takes_a_promise() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::push_promise(1, 2, &block::get()));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_client_that_disabled_push_takes_no_promise() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::push_promise(id, 2, &block::get()));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn push_is_allowed_until_its_end_is_acknowledged() {
    let mut raw = client();
    let id = raw.ask_get();
    let now = raw.now;
    let change = Settings { enable_push: Some(false), ..Settings::default() };
    raw.act(|conn| conn.update_settings(change, now)).unwrap();
    raw.send(frames::push_promise(id, 2, &block::get()));
    raw.expect_fine();
    raw.send(frames::settings_ack());
    raw.send(frames::push_promise(id, 4, &block::get()));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_promise_is_told_with_its_request() {
    let mut raw = client();
    let id = raw.ask_get();
    raw.send(frames::push_promise(id, 2, &block::get()));
    let told = raw.events.iter().any(|event| match event {
        Event::PushPromised { id: on, promised, head } => {
            (on.get(), promised.get(), head.method()) == (id, 2, "GET")
        }
        _ => false,
    });
    assert!(told, "{:?}", raw.events);
    assert!(raw.conn.streams().iter().any(|view| view.id.get() == 2 && view.state == "reserved_remote"));
    raw.expect_fine();
}

#[test]
fn a_promise_may_be_padded_and_continued() {
    let mut raw = client();
    let id = raw.ask_get();
    let head = block::get();
    let payload = frames::padded(&[&[0, 0, 0, 2][..], &head[..10]].concat(), 9);
    raw.send(frames::frame(frames::PUSH_PROMISE, frames::PADDED, id, &payload));
    raw.send(frames::continuation(id, &head[10..], frames::END_HEADERS));
    assert!(raw.events.iter().any(|event| matches!(event, Event::PushPromised { .. })));
    raw.expect_fine();
}

#[test]
fn a_promise_on_stream_zero_is_a_connection_error() {
    let mut raw = client();
    raw.ask_get();
    raw.send(frames::push_promise(0, 2, &block::get()));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_promise_on_an_idle_stream_is_a_connection_error() {
    let mut raw = client();
    raw.ask_get();
    raw.send(frames::push_promise(5, 2, &block::get()));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_promised_stream_must_be_even_idle_and_rising() {
    for wrong in [0, 1, 3, 2, 4] {
        let mut raw = client();
        let id = raw.ask_get();
        raw.send(frames::push_promise(id, 4, &block::get()));
        raw.expect_fine();
        raw.send(frames::push_promise(id, wrong, &block::get()));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_promise_too_short_for_its_stream_is_a_connection_error() {
    let mut raw = client();
    let id = raw.ask_get();
    raw.send(frames::frame(frames::PUSH_PROMISE, frames::END_HEADERS, id, &[0, 0, 2]));
    let code = raw.result.as_ref().map_err(ConnectionError::code);
    assert!(matches!(code, Err(ErrorCode::FRAME_SIZE_ERROR | ErrorCode::PROTOCOL_ERROR)), "{code:?}");
}

#[test]
fn padding_longer_than_the_rest_is_a_connection_error() {
    let mut raw = client();
    let id = raw.ask_get();
    let payload = [&[200, 0, 0, 0, 2][..], &block::get()].concat();
    raw.send(frames::frame(frames::PUSH_PROMISE, frames::PADDED | frames::END_HEADERS, id, &payload));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_promise_on_a_stream_the_server_ended_is_a_connection_error() {
    let mut raw = client();
    let id = raw.ask(&post(), false);
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    raw.send(frames::push_promise(id, 2, &block::get()));
    assert!(raw.result.is_err() || !raw.of_kind(frames::RST_STREAM).is_empty());
}

#[test]
fn a_promise_on_a_stream_the_client_reset_may_be_under_way() {
    let mut raw = client();
    let id = raw.ask_get();
    raw.act(|conn| conn.reset_stream(id.into(), ErrorCode::CANCEL)).unwrap();
    raw.frames.clear();
    raw.send(frames::push_promise(id, 2, &block::get()));
    raw.expect_alive();
}
