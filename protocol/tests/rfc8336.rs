//! RFC 8336: ORIGIN frames, sent by servers and read by clients.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use stagedoor_protocol::{ErrorCode, Event, UserError};
use support::{Pair, Raw, frames};

fn told(events: &[Event]) -> Vec<&[String]> {
    let mut told = Vec::new();
    for event in events {
        if let Event::OriginReceived { origins } = event {
            told.push(&origins[..]);
        }
    }
    told
}

#[test]
fn origins_are_told_as_they_are_written_in_ascii() {
    let mut pair = Pair::connected();
    pair.server
        .conn
        .send_origin(&["https://Example.org/x", "http://a.example:80", "https://[::1]:8443"])
        .unwrap();
    pair.drive();
    assert_eq!(
        told(&pair.client.events),
        [["https://example.org", "http://a.example", "https://[::1]:8443"]]
    );
}

#[test]
fn an_empty_set_is_said_by_an_empty_frame() {
    let mut pair = Pair::connected();
    pair.server.conn.send_origin::<&str>(&[]).unwrap();
    pair.drive();
    assert_eq!(told(&pair.client.events), [[""; 0]]);
}

#[test]
fn what_is_no_origin_is_refused_and_nothing_is_sent() {
    let mut raw = Raw::server();
    for wrong in ["null", "example.org", "about:blank", "https://exa mple.org"] {
        let said = raw.act(|conn| conn.send_origin(&["https://example.org", wrong]));
        assert_eq!(said, Err(UserError::InvalidOrigin(wrong.into())));
    }
    assert!(raw.of_kind(frames::ORIGIN).is_empty());
}

#[test]
fn entries_of_16_384_octets_fit_and_one_more_does_not() {
    for (last, fits) in [(384, true), (385, false)] {
        // 8 entries of 2 000 octets and one more, each with its two octets of length.
        let entry = |octets: usize| format!("https://{}", "a".repeat(octets - 2 - 8));
        let mut entries = vec![entry(2_000); 8];
        entries.push(entry(last));
        let mut raw = Raw::server();
        let said = raw.act(|conn| conn.send_origin(&entries));
        let error = UserError::FrameTooLong { frame: "ORIGIN", length: 16_385, limit: 16_384 };
        assert_eq!(said, if fits { Ok(()) } else { Err(error) });
        let sent: Vec<_> = raw.of_kind(frames::ORIGIN).iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(sent, if fits { vec![16_384] } else { vec![] });
    }
}

#[test]
fn only_servers_on_a_living_connection_send_it() {
    let mut raw = Raw::client();
    assert_eq!(raw.act(|conn| conn.send_origin(&["https://example.org"])), Err(UserError::WrongRole));
    let mut raw = Raw::server();
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    assert_eq!(raw.act(|conn| conn.send_origin(&["https://example.org"])), Err(UserError::ConnectionClosed));
}

#[test]
fn an_entry_that_cannot_be_read_is_left_out() {
    let mut raw = Raw::client();
    raw.send(frames::origin(&[
        "https://a.example",
        "",
        "null",
        "what",
        "https://b.example",
        "wss://c.example",
    ]));
    assert_eq!(told(&raw.events), [["https://a.example", "https://b.example"]]);
    raw.expect_fine();
}

#[test]
fn a_frame_that_breaks_off_or_stands_in_the_wrong_place_is_ignored() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    let whole = frames::origin(&["https://example.org"]);
    let (payload, reserved) = (&whole[9..], [0x1, 0x2, 0x4, 0x8]);
    for cut in [1, 2, 5, payload.len() - 1] {
        raw.send(frames::frame(frames::ORIGIN, 0, 0, &payload[..cut]));
    }
    raw.send(frames::frame(frames::ORIGIN, 0, id, payload));
    for flag in reserved {
        raw.send(frames::frame(frames::ORIGIN, flag, 0, payload));
    }
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.send(frames::frame(frames::ORIGIN, 0xf0, 0, payload)); // other flags mean nothing
    assert_eq!(told(&raw.events), [["https://example.org"]]);
    raw.expect_open(id);
}

#[test]
fn one_frame_brings_128_origins_at_most() {
    let origins: Vec<_> = (0..200).map(|at| format!("https://{at}.example")).collect();
    let mut raw = Raw::client();
    raw.send(frames::origin(&origins.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(told(&raw.events), [&origins[..128]]);
    raw.expect_fine();
}

#[test]
fn a_server_ignores_it() {
    let mut raw = Raw::server();
    raw.send(frames::origin(&["https://example.org"]));
    assert!(raw.events.is_empty(), "{:?}", raw.events);
    raw.expect_fine();
}
