//! §4.3: field section compression and decompression.

use crate::prelude::*;
use stagedoor_protocol::hpack::Encoder;

fn encoded(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), false, &mut out);
    }
    out
}

const GET: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.example"),
    (":path", "/"),
    ("x-mark", "one"),
];

#[test]
fn a_block_that_cannot_be_decoded_is_a_compression_error() {
    // A table entry that does not exist, an integer without end, a string without its octets.
    let unfinished: [&[u8]; 5] =
        [&[0xbf, 0x80, 0x01], &[0x80], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x3f], &[0, 5, b'a']];
    for wrong in unfinished {
        let mut raw = Raw::server();
        let mut head = block::get();
        head.extend_from_slice(wrong);
        raw.send(frames::headers(1, &head, frames::END_STREAM));
        raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
    }
}

#[test]
fn a_response_that_cannot_be_decoded_is_a_compression_error() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &[0xff, 0xff], frames::END_STREAM));
    raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
    assert_eq!(raw.closed(id), [Cause::ConnectionClosed]);
}

#[test]
fn a_block_in_fragments_is_one_block() {
    let mut raw = Raw::server();
    let head = block::get_with(&[("a", "b")]);
    raw.send(frames::headers_open(1, &head[..5], frames::END_STREAM));
    raw.send(frames::continuation(1, &head[5..20], frames::NONE));
    assert!(!raw.opened(1));
    raw.send(frames::continuation(1, &head[20..], frames::END_HEADERS));
    raw.expect_opened(1);
    assert!(raw.ended(1));
    raw.expect_fine();
}

#[test]
fn the_dynamic_table_lives_as_long_as_the_connection() {
    let mut raw = Raw::server();
    let mut encoder = Encoder::new();
    let first = encoded(&mut encoder, &GET);
    let again = encoded(&mut encoder, &GET);
    assert!(again.len() < first.len());
    raw.send(frames::headers(1, &first, frames::END_STREAM));
    raw.send(frames::headers(3, &again, frames::END_STREAM));
    let heads: Vec<_> = raw
        .events
        .iter()
        .filter_map(|e| if let Event::StreamOpened { head, .. } = e { Some(head.clone()) } else { None })
        .collect();
    assert_eq!(heads.len(), 2);
    assert_eq!(heads[0], heads[1]);
    assert_eq!(heads[1].fields().get("x-mark"), Some(&b"one"[..]));
    raw.expect_fine();
}

/// A block that puts one field in the table, and a later one that refers to it.
fn stays_in_step(config: Config, between: impl FnOnce(&mut Raw, Vec<u8>)) {
    let mut raw = Raw::server_with(config, &[]);
    between(&mut raw, block::indexed_literal("x-in-table", "kept"));
    let mut later = block::get();
    later.extend(block::index(62));
    raw.send(frames::headers(99, &later, frames::END_STREAM));
    raw.expect_opened(99);
    let opened = raw.log.iter().find_map(|event| match event {
        Event::StreamOpened { id, head, .. } if id.get() == 99 => Some(head),
        _ => None,
    });
    assert_eq!(opened.unwrap().fields().get("x-in-table"), Some(&b"kept"[..]));
}

#[test]
fn a_malformed_request_leaves_the_tables_in_step() {
    stays_in_step(Config::default(), |raw, entry| {
        let head = [block::get_with(&[("Upper", "x")]), entry].concat();
        raw.send(frames::headers(1, &head, frames::END_STREAM));
        raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    });
}

#[test]
fn a_refused_request_leaves_the_tables_in_step() {
    stays_in_step(Config { max_concurrent_streams: 1, ..Config::default() }, |raw, entry| {
        raw.get(1);
        raw.send(frames::headers(3, &[block::get(), entry].concat(), frames::END_STREAM));
        raw.expect_reset(3, ErrorCode::REFUSED_STREAM);
        raw.answer(1);
        raw.act(|conn| conn.release_stream(1.into()));
    });
}

#[test]
fn a_head_too_large_leaves_the_tables_in_step() {
    stays_in_step(Config { max_header_list_size: 1000, ..Config::default() }, |raw, entry| {
        let head = [block::get_with(&[("big", &"x".repeat(1000))]), entry].concat();
        raw.send(frames::headers(1, &head, frames::END_STREAM));
        assert!(raw.events.contains(&Event::HeadTooLarge { id: 1.into() }), "{:?}", raw.events);
    });
}

#[test]
fn trailers_leave_the_tables_in_step() {
    stays_in_step(Config::default(), |raw, entry| {
        raw.post(1);
        raw.send(frames::headers(1, &entry, frames::END_STREAM));
        assert!(raw.events.iter().any(|event| matches!(event, Event::TrailersReceived { .. })));
    });
}

#[test]
fn headers_of_a_stream_we_reset_leave_the_tables_in_step() {
    stays_in_step(Config::default(), |raw, entry| {
        raw.post(1);
        raw.act(|conn| conn.reset_stream(1.into(), ErrorCode::CANCEL)).unwrap();
        raw.send(frames::headers(1, &entry, frames::END_STREAM));
        raw.expect_alive();
    });
}

#[test]
fn a_promise_leaves_the_tables_in_step() {
    let mut raw = Raw::client_with(Config { enable_push: true, ..Config::default() }, &[]);
    let id = raw.ask_get();
    let promise = [block::get(), block::indexed_literal("x-in-table", "kept")].concat();
    raw.send(frames::push_promise(id, 2, &promise));
    raw.send(frames::headers(id, &[block::status("200"), block::index(62)].concat(), frames::END_STREAM));
    let head = raw.log.iter().find_map(|event| match event {
        Event::ResponseReceived { head, .. } => Some(head),
        _ => None,
    });
    assert_eq!(head.unwrap().fields.get("x-in-table"), Some(&b"kept"[..]));
    raw.expect_fine();
}

#[test]
fn a_size_update_up_to_our_limit_passes_and_above_is_a_compression_error() {
    for (size, passes) in [(4096, true), (0, true), (4097, false)] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &[block::size_update(size), block::get()].concat(), frames::END_STREAM));
        if passes {
            raw.expect_opened(1);
            raw.expect_fine();
        } else {
            raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
        }
    }
}

#[test]
fn a_size_update_behind_a_field_is_a_compression_error() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &[block::get(), block::size_update(0)].concat(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn a_smaller_table_of_ours_holds_from_the_acknowledgement_on() {
    let smaller = Settings { header_table_size: Some(100), ..Settings::default() };
    // Before the acknowledgement the peer may still use all of 4 096 octets.
    let mut raw = Raw::server();
    let now = raw.now;
    raw.act(|conn| conn.update_settings(smaller, now)).unwrap();
    raw.send(frames::headers(1, &[block::size_update(4096), block::get()].concat(), frames::END_STREAM));
    raw.expect_opened(1);
    raw.send(frames::settings_ack());
    raw.send(frames::headers(3, &[block::size_update(100), block::get()].concat(), frames::END_STREAM));
    raw.expect_opened(3);
    raw.send(frames::headers(5, &[block::size_update(101), block::get()].concat(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn a_lowered_table_must_be_acknowledged_in_the_next_block() {
    let mut raw = Raw::server();
    let now = raw.now;
    let smaller = Settings { header_table_size: Some(100), ..Settings::default() };
    raw.act(|conn| conn.update_settings(smaller, now)).unwrap();
    raw.send(frames::settings_ack());
    raw.send(frames::headers(1, &block::get(), frames::END_STREAM));
    raw.expect_goaway(ErrorCode::COMPRESSION_ERROR);
}

#[test]
fn we_tell_a_table_lowered_by_the_peer_at_the_start_of_the_next_block() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
    raw.get(1);
    raw.answer(1);
    let block = &raw.of_kind(frames::HEADERS)[0].payload;
    assert_eq!(block[0], 0x20, "a size update to 0 comes first: {block:x?}");
}

#[test]
fn a_table_lowered_and_raised_again_is_told_as_both() {
    let mut raw = Raw::server();
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
    raw.send(frames::settings(&[(setting::HEADER_TABLE_SIZE, 4096)]));
    raw.get(1);
    raw.answer(1);
    let block = &raw.of_kind(frames::HEADERS)[0].payload;
    assert_eq!(block[..4], [0x20, 0x3f, 0xe1, 0x1f], "{block:x?}");
}
