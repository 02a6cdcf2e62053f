//! §8.4: server push, as a client that allowed it sees it.

use crate::prelude::*;

fn promised() -> (Raw, u32) {
    let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
    let id = raw.ask_get();
    raw.send(frames::push_promise(id, 2, &block::get()));
    raw.expect_fine();
    (raw, id)
}

#[test]
fn a_promised_response_arrives_on_its_stream() {
    let (mut raw, id) = promised();
    raw.send(frames::headers(2, &block::status("200"), frames::NONE));
    raw.send(frames::data(2, b"pushed", frames::END_STREAM));
    assert_eq!(raw.body(2), b"pushed");
    assert_eq!(raw.closed(2), [Cause::EndStream]);
    raw.expect_open(id);
}

#[test]
fn a_promise_may_be_refused() {
    let (mut raw, id) = promised();
    raw.act(|conn| conn.reset_stream(2.into(), ErrorCode::REFUSED_STREAM)).unwrap();
    assert_eq!(raw.of_kind(frames::RST_STREAM)[0].code(), ErrorCode::REFUSED_STREAM);
    raw.frames.clear();
    raw.send(frames::headers(2, &block::status("200"), frames::NONE));
    raw.send(frames::data(2, b"late", frames::END_STREAM));
    raw.expect_fine();
    raw.expect_open(id);
    assert_eq!(raw.closed(2).len(), 1);
}

#[test]
fn a_promise_may_be_withdrawn() {
    let (mut raw, _) = promised();
    raw.send(frames::rst(2, ErrorCode::CANCEL));
    assert_eq!(raw.closed(2), [Cause::Reset { by: Origin::Remote, code: ErrorCode::CANCEL }]);
    raw.expect_fine();
}

#[test]
fn data_on_a_reserved_stream_is_a_connection_error() {
    let (mut raw, _) = promised();
    raw.send(frames::data(2, b"x", frames::NONE));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn window_update_on_a_reserved_stream_is_a_connection_error() {
    // §5.1 reserved (remote): anything but HEADERS, RST_STREAM and PRIORITY.
    let (mut raw, _) = promised();
    raw.send(frames::window_update(2, 1));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_promised_request_must_be_safe_cacheable_and_without_body() {
    for wrong in [
        block::post(),
        block::get_with(&[("content-length", "5")]),
        block::of(&[(":method", "GET")]),
        block::get_with(&[("Upper", "x")]),
    ] {
        let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
        let id = raw.ask_get();
        raw.send(frames::push_promise(id, 2, &wrong));
        assert!(
            !raw.events.iter().any(|event| matches!(event, Event::PushPromised { .. })),
            "{:?}",
            raw.events
        );
        assert_eq!(
            raw.of_kind(frames::RST_STREAM).iter().map(|f| (f.id, f.code())).collect::<Vec<_>>(),
            [(2, ErrorCode::PROTOCOL_ERROR)]
        );
        raw.expect_open_but_for_resets(id);
    }
}

#[test]
fn a_promise_ends_with_the_connection() {
    let (mut raw, id) = promised();
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.closed(2), [Cause::ConnectionClosed]);
    assert_eq!(raw.closed(id), [Cause::ConnectionClosed]);
}
