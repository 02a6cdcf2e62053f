//! §8.3: HTTP control data, the pseudo-header fields.

use crate::prelude::*;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "example.com");
const PATH: (&str, &str) = (":path", "/");

fn request(fields: &[(&str, &str)]) -> Raw {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::of(fields), frames::END_STREAM));
    raw
}

#[track_caller]
fn malformed(fields: &[(&str, &str)]) {
    let mut raw = request(fields);
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    assert!(!raw.opened(1), "{fields:?}");
}

#[track_caller]
fn passes(fields: &[(&str, &str)]) -> RequestHead {
    let mut raw = request(fields);
    raw.expect_fine();
    let head = raw.log.iter().find_map(|event| match event {
        Event::StreamOpened { head, .. } => Some(head.clone()),
        _ => None,
    });
    head.unwrap_or_else(|| panic!("{fields:?} {:?}", raw.log))
}

#[test]
fn a_request_is_told_as_sent() {
    let head = passes(&[METHOD, SCHEME, AUTHORITY, (":path", "/a?b=c"), ("x", "y")]);
    assert_eq!(
        (head.method(), head.scheme(), head.authority(), head.path(), head.protocol()),
        ("GET", Some("https"), Some("example.com"), Some("/a?b=c"), None)
    );
    assert_eq!(head.fields(), &fields(&[("x", "y")]));
}

#[test]
fn pseudo_fields_may_come_in_any_order() {
    passes(&[PATH, AUTHORITY, SCHEME, METHOD]);
}

#[test]
fn each_of_method_scheme_and_path_must_be_there() {
    malformed(&[SCHEME, AUTHORITY, PATH]);
    malformed(&[METHOD, AUTHORITY, PATH]);
    malformed(&[METHOD, SCHEME, AUTHORITY]);
    malformed(&[("x", "y")]);
}

#[test]
fn authority_may_be_missing_or_said_by_host() {
    assert_eq!(passes(&[METHOD, SCHEME, PATH, ("host", "example.com")]).authority(), Some("example.com"));
    assert_eq!(passes(&[METHOD, SCHEME, PATH]).authority(), None);
}

#[test]
fn host_must_agree_with_authority() {
    passes(&[METHOD, SCHEME, AUTHORITY, PATH, ("host", "example.com")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, PATH, ("host", "other.example")]);
}

#[test]
fn no_pseudo_field_comes_twice() {
    for twice in [METHOD, SCHEME, AUTHORITY, PATH] {
        malformed(&[METHOD, SCHEME, AUTHORITY, PATH, twice]);
    }
}

#[test]
fn no_pseudo_field_comes_behind_a_regular_one() {
    malformed(&[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]);
    malformed(&[("x", "y"), METHOD, SCHEME, AUTHORITY, PATH]);
}

#[test]
fn unknown_pseudo_fields_are_malformed() {
    malformed(&[METHOD, SCHEME, AUTHORITY, PATH, (":unknown", "x")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, PATH, (":", "x")]);
}

#[test]
fn pseudo_fields_of_responses_are_malformed_in_requests() {
    malformed(&[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]);
}

#[test]
fn a_path_is_not_empty_and_begins_with_a_slash() {
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "a")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "*")]);
    passes(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]);
    passes(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, PATH]);
}

#[test]
fn values_of_pseudo_fields_are_what_they_must_be() {
    malformed(&[(":method", ""), SCHEME, AUTHORITY, PATH]);
    malformed(&[(":method", "G T"), SCHEME, AUTHORITY, PATH]);
    malformed(&[(":method", "GET /\r\n"), SCHEME, AUTHORITY, PATH]);
    malformed(&[METHOD, (":scheme", ""), AUTHORITY, PATH]);
    malformed(&[METHOD, (":scheme", "ht tp"), AUTHORITY, PATH]);
    malformed(&[METHOD, SCHEME, (":authority", "user@example.com"), PATH]);
    malformed(&[METHOD, SCHEME, (":authority", "exa mple.com"), PATH]);
    malformed(&[METHOD, SCHEME, (":authority", "a\r\nb"), PATH]);
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "/a b")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "/a\0")]);
    malformed(&[METHOD, SCHEME, AUTHORITY, (":path", "/a\r\nx: y")]);
    passes(&[(":method", "get"), SCHEME, (":authority", "[::1]:8443"), (":path", "/%00?a=b&c=%20")]);
}

// --- responses ---

fn response(fields: &[(&str, &str)]) -> (Raw, u32) {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::of(fields), frames::NONE));
    (raw, id)
}

#[test]
fn a_response_must_have_a_status() {
    for wrong in [&[("server", "x")][..], &[]] {
        let (mut raw, id) = response(wrong);
        raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_status_is_three_digits_and_comes_once() {
    for wrong in [
        &[(":status", "")][..],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "2x0")],
        &[(":status", "099")],
        &[(":status", "+20")],
        &[(":status", "200"), (":status", "200")],
        &[("x", "y"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), (":unknown", "/")],
    ] {
        let (mut raw, id) = response(wrong);
        raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
    }
    for right in ["200", "404", "599", "999"] {
        let (mut raw, id) = response(&[(":status", right)]);
        raw.expect_open(id);
    }
}

#[test]
fn our_requests_are_checked_before_they_are_sent() {
    for wrong in [
        RequestHead::new("", "https", "a", "/"),
        RequestHead::new("G T", "https", "a", "/"),
        RequestHead::new("GET", "https", "a", ""),
        RequestHead::new("GET", "https", "a", "x"),
        RequestHead::new("GET", "", "a", "/"),
        RequestHead::new("GET", "https", "u@a", "/"),
        RequestHead::new("GET", "https", "a", "/ b"),
    ] {
        let mut raw = Raw::client();
        let said = raw.act(|conn| conn.send_request(&wrong, true));
        assert!(matches!(said, Err(UserError::InvalidField(_))), "{wrong:?} {said:?}");
    }
}
