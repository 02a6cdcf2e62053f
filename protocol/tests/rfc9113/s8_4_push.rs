//! §8.4: server push, as a client that allowed it sees it and as a server that does it.

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

// --- as a server that pushes ---

fn pushing() -> (Pair, StreamId) {
    let mut pair = Pair::connected_with(Config { enable_push: true, ..Config::default() }, Config::default());
    let id = pair.request(&get(), true);
    (pair, id)
}

fn style() -> RequestHead {
    RequestHead::new("GET", "https", "example.com", "/style.css")
}

#[test]
fn a_promise_and_its_response_reach_the_client() {
    let (mut pair, id) = pushing();
    let promised = pair.server.conn.send_push(id, &style()).unwrap();
    assert_eq!(promised.get(), 2);
    pair.respond(promised, &status(200), b"body {}");
    pair.respond(id, &status(200), b"<html>");
    let told = pair.client.events.iter().find_map(|event| match event {
        Event::PushPromised { id: on, promised, head } => Some((*on, *promised, head.path())),
        _ => None,
    });
    assert_eq!(told, Some((id, promised, Some("/style.css"))));
    assert_eq!(pair.client.body(promised), (b"body {}".to_vec(), true));
    assert_eq!(pair.client.body(id), (b"<html>".to_vec(), true));
    for side in [&pair.client, &pair.server] {
        let mut closed = side.closed();
        closed.sort_by_key(|(id, _)| *id);
        assert_eq!(closed, [(id, Cause::EndStream), (promised, Cause::EndStream)]);
    }
}

#[test]
fn promised_streams_of_a_server_are_even_and_rise() {
    let (mut pair, id) = pushing();
    let ids: Vec<_> = (0..3).map(|_| pair.server.conn.send_push(id, &style()).unwrap().get()).collect();
    assert_eq!(ids, [2, 4, 6]);
    pair.drive();
    assert_eq!(pair.client.conn.open_streams(), 4);
}

#[test]
fn a_server_promises_nothing_to_a_client_that_disabled_push() {
    let mut pair = Pair::connected();
    let id = pair.request(&get(), true);
    assert!(pair.server.conn.send_push(id, &style()).is_err());
    pair.drive();
    assert!(!pair.client.conn.is_closed());
    assert!(pair.client.take().is_empty());
}

#[test]
fn a_server_promises_on_streams_of_the_client_it_has_not_ended() {
    let (mut pair, id) = pushing();
    let promised = pair.server.conn.send_push(id, &style()).unwrap();
    assert!(pair.server.conn.send_push(promised, &style()).is_err(), "§6.6: not on a pushed stream");
    pair.respond(id, &status(200), b"");
    assert!(pair.server.conn.send_push(id, &style()).is_err(), "§6.6: the stream is closed");
}

#[test]
fn a_client_that_resets_a_promise_hears_no_more_of_it() {
    let (mut pair, id) = pushing();
    let promised = pair.server.conn.send_push(id, &style()).unwrap();
    pair.drive();
    pair.client.conn.reset_stream(promised, ErrorCode::CANCEL).unwrap();
    pair.server.conn.send_response(promised, &status(200), false).unwrap();
    pair.server.conn.send_data(promised, Bytes::from_static(b"late"), true).unwrap();
    pair.drive();
    assert_eq!(pair.client.closed().iter().filter(|(id, _)| *id == promised).count(), 1);
    assert_eq!(pair.server.closed().iter().filter(|(id, _)| *id == promised).count(), 1);
    pair.respond(id, &status(200), b"fine");
    assert_eq!(pair.client.body(id).0, b"fine");
}

#[test]
fn a_server_keeps_to_the_limit_of_streams_it_may_push() {
    let client = Config { enable_push: true, max_concurrent_streams: 1, ..Config::default() };
    let mut pair = Pair::connected_with(client, Config::default());
    let id = pair.request(&get(), true);
    let one = pair.server.conn.send_push(id, &style()).unwrap();
    pair.server.conn.send_response(one, &status(200), false).unwrap();
    let said = match pair.server.conn.send_push(id, &style()) {
        Ok(two) => pair.server.conn.send_response(two, &status(200), false),
        Err(error) => Err(error),
    };
    assert_eq!(said, Err(UserError::TooManyStreams));
}

#[test]
fn a_second_promise_begins_when_the_first_has_ended() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::MAX_CONCURRENT_STREAMS, 1)]);
    raw.get(1);
    let one = raw.act(|conn| conn.send_push(1.into(), &style())).unwrap();
    let two = raw.act(|conn| conn.send_push(1.into(), &style())).unwrap(); // reserved streams do not count
    raw.act(|conn| conn.send_response(one, &status(200), false)).unwrap();
    assert_eq!(raw.act(|conn| conn.send_response(two, &status(200), true)), Err(UserError::TooManyStreams));
    raw.act(|conn| conn.send_data(one, Bytes::new(), true)).unwrap();
    raw.act(|conn| conn.send_response(two, &status(200), true)).unwrap();
    assert_eq!((raw.closed(2), raw.closed(4)), (vec![Cause::EndStream], vec![Cause::EndStream]));
}
