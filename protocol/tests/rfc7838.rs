//! RFC 7838 §4: ALTSVC frames, sent by servers and read by clients.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use stagedoor_protocol::{AltSvcTarget, Config, ErrorCode, Event, Role, StreamId, UserError};
use support::{Pair, Raw, block, frames, get};

const VALUE: &str = "h2=\":8000\"; ma=3600";

fn told(events: &[Event]) -> Vec<(u32, &str, &str)> {
    let mut told = Vec::new();
    for event in events {
        if let Event::AltSvcReceived { id, origin, value } = event {
            told.push((id.get(), &origin[..], &value[..]));
        }
    }
    told
}

#[test]
fn an_alternative_for_an_origin_goes_out_on_stream_0_and_is_told() {
    let mut pair = Pair::connected();
    let target = AltSvcTarget::Origin("https://Example.org:443/this?that");
    pair.server.conn.send_altsvc(target, VALUE).unwrap();
    pair.drive();
    assert_eq!(told(&pair.client.events), [(0, "https://example.org", VALUE)]);
}

#[test]
fn an_alternative_for_a_stream_names_no_origin() {
    let mut pair = Pair::connected();
    let id = pair.request(&get(), true);
    pair.server.conn.send_altsvc(AltSvcTarget::Stream(id), "clear").unwrap();
    pair.drive();
    assert_eq!(told(&pair.client.events), [(id.get(), "", "clear")]);
}

#[test]
fn a_stream_that_carries_no_more_of_ours_carries_no_altsvc() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.answer(1);
    raw.exchange(3);
    let mut send = |id: u32| raw.act(|conn| conn.send_altsvc(AltSvcTarget::Stream(id.into()), VALUE));
    assert_eq!(send(1), Err(UserError::Ended(1.into())));
    for gone in [0, 2, 3, 5] {
        assert_eq!(send(gone), Err(UserError::StreamGone(gone.into())));
    }
    assert!(raw.of_kind(frames::ALTSVC).is_empty());
}

#[test]
fn only_servers_send_it() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    for target in [AltSvcTarget::Origin("https://example.org"), AltSvcTarget::Stream(id.into())] {
        assert_eq!(raw.act(|conn| conn.send_altsvc(target, VALUE)), Err(UserError::WrongRole));
    }
}

#[test]
fn a_closed_connection_sends_none() {
    let mut raw = Raw::server();
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    let said = raw.act(|conn| conn.send_altsvc(AltSvcTarget::Origin("https://example.org"), VALUE));
    assert_eq!(said, Err(UserError::ConnectionClosed));
}

#[test]
fn what_is_no_origin_is_refused() {
    let mut raw = Raw::server();
    for wrong in
        ["", "null", "example.org", "ftp://example.org", "https://", "https://user@example.org", "h2"]
    {
        let said = raw.act(|conn| conn.send_altsvc(AltSvcTarget::Origin(wrong), VALUE));
        assert_eq!(said, Err(UserError::InvalidOrigin(wrong.into())));
    }
    assert!(raw.of_kind(frames::ALTSVC).is_empty());
}

#[test]
fn characters_outside_a_quoted_string_are_refused() {
    let mut raw = Raw::server();
    let origin = AltSvcTarget::Origin("https://example.org");
    for wrong in ["", "a\nb", "a\rb", "a\0b", "a\\b", "\x7f", "\x1f"] {
        assert_eq!(raw.act(|conn| conn.send_altsvc(origin, wrong)), Err(UserError::AltSvcValue), "{wrong:?}");
    }
    for fine in [VALUE, "clear", "a\tb", "\u{e9}", "~"] {
        raw.act(|conn| conn.send_altsvc(origin, fine)).unwrap();
    }
}

#[test]
fn origin_and_value_of_16_382_octets_fit_and_one_more_does_not() {
    let mut pair = Pair::connected();
    let origin = "https://example.org";
    for (length, fits) in [(16_382, true), (16_383, false)] {
        let value = "v".repeat(length - origin.len());
        let said = pair.server.conn.send_altsvc(AltSvcTarget::Origin(origin), &value);
        let error = UserError::FrameTooLong { frame: "ALTSVC", length, limit: 16_382 };
        assert_eq!(said, if fits { Ok(()) } else { Err(error) });
        pair.drive();
    }
    assert_eq!(told(&pair.client.events).len(), 1);
}

#[test]
fn a_malformed_altsvc_is_ignored() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    let closed = raw.ask_get();
    raw.send(frames::headers(closed, &block::status("200"), frames::END_STREAM));
    raw.events.clear();
    for wrong in [
        frames::altsvc(0, "", VALUE),                     // stream 0 names an origin
        frames::altsvc(id, "https://example.org", VALUE), // another stream must not
        frames::altsvc(0, "https://example.org", ""),     // nothing offered
        frames::altsvc(0, "null", VALUE),
        frames::altsvc(0, "not an origin", VALUE),
        frames::altsvc(0, "https://example.org", "a\nb"),
        frames::altsvc(closed, "", VALUE),
        frames::altsvc(99, "", VALUE),
        frames::altsvc(2, "", VALUE),
        frames::frame(frames::ALTSVC, 0, 0, b""),
        frames::frame(frames::ALTSVC, 0, 0, b"\0"),
        frames::frame(frames::ALTSVC, 0, 0, b"\0\x05abc"), // an origin longer than the frame
        frames::frame(frames::ALTSVC, 0, 0, b"\xff\xff"),
        frames::frame(frames::ALTSVC, 0, id, b"\0\0\xff\xfe"),
    ] {
        raw.send(wrong);
    }
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.expect_open(id);
}

#[test]
fn a_server_ignores_it() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.events.clear();
    raw.send(frames::altsvc(0, "https://example.org", VALUE));
    raw.send(frames::altsvc(1, "", VALUE));
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.expect_open(1);
}

#[test]
fn well_formed_ones_are_no_unknown_frames_and_malformed_ones_are() {
    let long = "v".repeat(16_000);
    for (origin, fine) in [("https://example.org", true), ("null", false)] {
        let mut raw = Raw::client();
        for _ in 0..100 {
            if !raw.conn.is_closed() {
                raw.send(frames::altsvc(0, origin, &long));
                raw.events.clear();
            }
        }
        assert_eq!(!raw.conn.is_closed(), fine, "1.6 MB: {:?}", raw.result);
    }
}

#[test]
fn it_may_not_come_inside_a_field_block() {
    let mut raw = Raw::client_with(Config::default(), &[]);
    let id = raw.ask_get();
    raw.send(frames::headers_open(id, &block::status("200"), frames::NONE));
    raw.send(frames::altsvc(0, "https://example.org", VALUE));
    raw.expect_goaway(ErrorCode::PROTOCOL_ERROR);
    assert_eq!(raw.conn.role(), Role::Client);
    assert!(!raw.conn.is_open(StreamId::from(id)));
}
