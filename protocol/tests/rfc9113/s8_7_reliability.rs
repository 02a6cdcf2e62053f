//! §8.7: request reliability: what may be retried.

use crate::prelude::*;

#[test]
fn refused_stream_says_that_nothing_was_done() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::rst(id, ErrorCode::REFUSED_STREAM));
    assert_eq!(raw.closed(id), [Cause::Reset { by: Origin::Remote, code: ErrorCode::REFUSED_STREAM }]);
    raw.ask_get();
    raw.expect_fine();
}

#[test]
fn a_refused_request_was_never_given_to_the_owner() {
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 0, ..Config::default() }, &[]);
    raw.send(frames::headers(1, &block::get(), frames::END_STREAM));
    raw.expect_reset(1, ErrorCode::REFUSED_STREAM);
    assert!(
        raw.log.iter().all(|event| !matches!(event, Event::StreamOpened { .. } | Event::StreamClosed { .. }))
    );
}

#[test]
fn a_failed_connection_does_not_call_its_streams_unprocessed() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::window_update(0, 0));
    assert_eq!(raw.closed(id), [Cause::ConnectionClosed]);
}

#[test]
fn goaway_with_an_error_still_says_what_was_not_processed() {
    let mut raw = Raw::client();
    let ids = [raw.ask_get(), raw.ask_get()];
    raw.send(frames::goaway(ids[0], ErrorCode::ENHANCE_YOUR_CALM, b""));
    assert_eq!(raw.closed(ids[1]), [Cause::Unprocessed]);
    assert!(raw.closed(ids[0]).is_empty());
}
