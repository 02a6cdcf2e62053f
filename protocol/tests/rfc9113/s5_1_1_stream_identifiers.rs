//! §5.1.1: stream identifiers.

use crate::prelude::*;

#[test]
fn a_client_opens_odd_streams_upwards_from_one() {
    let mut pair = Pair::connected();
    let ids: Vec<_> = (0..3).map(|_| pair.request(&get(), true).get()).collect();
    assert_eq!(ids, [1, 3, 5]);
}

#[test]
fn an_even_stream_of_a_client_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers(2, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn headers_on_stream_zero_are_a_connection_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers(0, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn an_identifier_lower_than_the_last_is_a_connection_error() {
    let mut raw = Raw::server();
    raw.get(5);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn identifiers_may_be_skipped_and_the_skipped_ones_are_closed() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.get(101);
    raw.expect_fine();
    // §5.1.1: 3 to 99 moved from idle to closed; WINDOW_UPDATE and RST_STREAM there may be late.
    raw.send(frames::headers(99, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn an_identifier_cannot_be_used_again() {
    let mut raw = Raw::server();
    raw.exchange(1);
    raw.send(frames::headers(1, &block::get(), frames::END_STREAM));
    assert!(matches!(
        raw.result.as_ref().map_err(ConnectionError::code),
        Err(ErrorCode::STREAM_CLOSED | ErrorCode::PROTOCOL_ERROR)
    ));
}

#[test]
fn the_highest_identifier_may_be_used() {
    let mut raw = Raw::server();
    raw.get(0x7fff_ffff);
    raw.expect_fine();
    raw.answer(0x7fff_ffff);
    assert_eq!(raw.closed(0x7fff_ffff), [Cause::EndStream]);
}

#[test]
fn a_refused_stream_uses_its_identifier_up() {
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 1, ..Config::default() }, &[]);
    raw.get(1);
    raw.send(frames::headers(5, &block::get(), frames::END_STREAM));
    raw.expect_reset(5, ErrorCode::REFUSED_STREAM);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_malformed_request_uses_its_identifier_up() {
    let mut raw = Raw::server();
    raw.send(frames::headers(5, &block::get_with(&[("Upper", "")]), frames::END_STREAM));
    raw.expect_reset(5, ErrorCode::PROTOCOL_ERROR);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn a_server_cannot_open_a_stream_with_headers() {
    for id in [2, 7] {
        let mut raw = Raw::client();
        raw.ask_get();
        raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
        raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    }
}
