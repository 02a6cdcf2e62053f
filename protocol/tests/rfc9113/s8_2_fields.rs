//! §8.2: HTTP fields.

use crate::prelude::*;

fn request_with(name: &[u8], value: &[u8]) -> Raw {
    let mut raw = Raw::server();
    let head = [block::get(), block::literal(name, value)].concat();
    raw.send(frames::headers(1, &head, frames::END_STREAM));
    raw
}

#[track_caller]
fn malformed(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let (name, value) = (name.as_ref(), value.as_ref());
    let mut raw = request_with(name, value);
    raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    assert!(!raw.opened(1), "{name:x?}: {value:x?}");
    // The same in trailers.
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::headers(1, &block::literal(name, value), frames::END_STREAM));
    raw.expect_reset_told(1, ErrorCode::PROTOCOL_ERROR);
    // The same in a response.
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(
        id,
        &[block::status("200"), block::literal(name, value)].concat(),
        frames::NONE,
    ));
    raw.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
}

#[track_caller]
fn passes(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let (name, value) = (name.as_ref(), value.as_ref());
    let mut raw = request_with(name, value);
    raw.expect_opened(1);
    raw.expect_fine();
    let text = std::str::from_utf8(name).unwrap();
    let kept = raw.log.iter().any(|event| match event {
        Event::StreamOpened { head, .. } => head.fields().get(text) == Some(value),
        _ => false,
    });
    assert!(kept, "{:?}", raw.log);
}

#[test]
fn upper_case_names_are_malformed() {
    malformed("X-Upper", "x");
    malformed("xX", "x");
    passes("x-upper", "X");
}

#[test]
fn names_outside_a_token_are_malformed() {
    for octet in (0..=b' ').chain([b'"', b'(', b')', b',', b'/', b':', b';', b'<', b'=', b'>', b'?', b'@']) {
        malformed([b'x', octet, b'x'], "x");
    }
    for octet in [b'[', b'\\', b']', b'{', b'}', 0x7f, 0x80, 0xff] {
        malformed([b'x', octet], "x");
    }
    malformed("", "x");
    for name in ["!#$%&'*+-.^_`|~", "0", "x-1"] {
        passes(name, "x");
    }
}

#[test]
fn values_with_nul_cr_or_lf_are_malformed() {
    for octet in [0, b'\r', b'\n'] {
        malformed("x", [octet]);
        malformed("x", [b'a', octet, b'b']);
        malformed("x", [b'a', octet]);
    }
    malformed("x", "a\r\nb: c");
}

#[test]
fn values_with_blank_at_an_edge_are_malformed() {
    for value in [" a", "a ", "\ta", "a\t", " ", "\t"] {
        malformed("x", value);
    }
}

#[test]
fn other_octets_of_values_pass() {
    passes("x", "");
    passes("x", "a b\tc");
    passes("x", [0x80, 0xff]);
    passes("x", [b'a', 0x01, 0x7f, b'b']);
}

#[test]
fn connection_specific_fields_are_malformed() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        malformed(name, "x");
    }
}

#[test]
fn te_may_say_trailers_and_nothing_else() {
    passes("te", "trailers");
    for value in ["gzip", "trailers, deflate", ""] {
        let mut raw = request_with(b"te", value.as_bytes());
        raw.expect_reset(1, ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn repeated_fields_are_kept_in_order() {
    let mut raw = Raw::server();
    let head = block::get_with(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")]);
    raw.send(frames::headers(1, &head, frames::END_STREAM));
    let kept = raw.log.iter().find_map(|event| match event {
        Event::StreamOpened { head, .. } => Some(head.fields().clone()),
        _ => None,
    });
    assert_eq!(kept.unwrap(), fields(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")]));
}

#[test]
fn what_may_not_be_received_is_not_sent_either() {
    for (name, value) in [
        ("Upper", "x"),
        ("", "x"),
        ("x y", "x"),
        ("x", "a\r\nb"),
        ("x", "a\0"),
        ("x", " a"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        (":status", "200"),
    ] {
        let mut server = Raw::server();
        server.get(1);
        let head = stagedoor_protocol::ResponseHead::new(200, fields(&[(name, value)]));
        let said = server.act(|conn| conn.send_response(1.into(), &head, true));
        assert!(matches!(said, Err(UserError::InvalidField(_))), "{name:?}: {value:?} {said:?}");
        let said = server.act(|conn| {
            conn.send_informational(
                1.into(),
                &stagedoor_protocol::ResponseHead::new(103, fields(&[(name, value)])),
            )
        });
        assert!(matches!(said, Err(UserError::InvalidField(_))), "{name:?}: {value:?} {said:?}");
        server.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
        let said = server.act(|conn| conn.send_trailers(1.into(), fields(&[(name, value)])));
        assert!(matches!(said, Err(UserError::InvalidField(_))), "{name:?}: {value:?} {said:?}");
        assert_eq!(server.of_kind(frames::HEADERS).len(), 1);

        let mut client = Raw::client();
        let said = client.act(|conn| conn.send_request(&with(get(), &[(name, value)]), true));
        assert!(matches!(said, Err(UserError::InvalidField(_))), "{name:?}: {value:?} {said:?}");
        assert!(client.frames.is_empty());
    }
}

#[test]
fn a_refused_request_of_ours_uses_no_identifier() {
    let mut raw = Raw::client();
    assert!(raw.act(|conn| conn.send_request(&with(get(), &[("Upper", "x")]), true)).is_err());
    assert_eq!(raw.ask_get(), 1);
}

#[test]
fn sensitive_fields_are_never_indexed() {
    let mut raw = Raw::client();
    let mut head = get();
    head.fields_mut().push_sensitive("authorization", "Basic c2VjcmV0");
    raw.ask(&head, true);
    let first = raw.frames[0].payload.len();
    raw.ask(&head, true);
    let second = raw.frames[1].payload.len();
    assert!(second > 10, "{first} {second}: the value is sent again");
    assert_eq!(raw.sections[0].1, raw.sections[1].1);
}
