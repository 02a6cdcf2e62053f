//! What an owner may not do: each call out of order or out of bounds is a typed error of its own, nothing is sent, and
//! the connection and the tables of header compression go on as if it had not been made.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::message::Malformed;
use stagedoor_protocol::settings::id as setting;
use stagedoor_protocol::{
    Config, Connection, ErrorCode, Fields, RequestHead, ResponseHead, StreamId, UserError,
};
use support::{Pair, Raw, fields, frames, get, post, status, with};

fn octets(count: usize) -> Bytes {
    Bytes::from(vec![7; count])
}

fn rule<T>(said: Result<T, UserError>) -> (String, Malformed) {
    match said {
        Err(UserError::InvalidField(error)) => (error.name.clone(), error.rule),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was sent"),
    }
}

/// The call is refused, and what follows it arrives in step.
#[track_caller]
fn refused(raw: &mut Raw, call: impl FnOnce(&mut Connection) -> Result<(), UserError>, error: UserError) {
    raw.frames.clear();
    assert_eq!(raw.act(call), Err(error));
    assert!(raw.frames.is_empty(), "{:?}", raw.frames);
}

// --- bodies ---

#[test]
fn a_response_that_may_have_no_body_gets_none() {
    for (method, code) in [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)] {
        let mut pair = Pair::connected();
        let id = pair.request(&RequestHead::new(method, "https", "example.com", "/"), true);
        let head = ResponseHead::new(code, fields(&[("x", "y")]));
        pair.server.conn.send_response(id, &head, false).unwrap();
        let said = pair.server.conn.send_data(id, octets(1), false);
        assert_eq!(said, Err(UserError::BodyForbidden(id)), "{method} {code}");
        let said = pair.server.conn.send_trailers(id, fields(&[("x", "y")]));
        assert_eq!(said, Err(UserError::BodyForbidden(id)), "{method} {code}");
        pair.server.conn.send_data(id, Bytes::new(), true).unwrap();
        pair.drive();
        assert_eq!(pair.client.body(id), (vec![], true));
        assert!(pair.client.resets().is_empty());
    }
}

#[test]
fn nothing_follows_the_end_of_a_response() {
    let mut raw = Raw::server();
    raw.post(1);
    let id = StreamId::from(1);
    raw.act(|conn| conn.send_response(id, &status(200), true)).unwrap();
    refused(&mut raw, |conn| conn.send_data(id, octets(1), false), UserError::Ended(id));
    refused(&mut raw, |conn| conn.send_data(id, Bytes::new(), true), UserError::Ended(id));
    refused(&mut raw, |conn| conn.send_trailers(id, Fields::new()), UserError::Ended(id));
    refused(&mut raw, |conn| conn.send_response(id, &status(200), true), UserError::Ended(id));
    refused(&mut raw, |conn| conn.send_informational(id, &status(103)), UserError::Ended(id));
    raw.expect_open(1);
}

#[test]
fn nothing_follows_an_end_that_waits_for_a_window() {
    let mut raw = Raw::server_with(Config::default(), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    raw.get(1);
    let id = StreamId::from(1);
    raw.act(|conn| conn.send_response(id, &status(200), false)).unwrap();
    raw.act(|conn| conn.send_data(id, octets(5), false)).unwrap();
    raw.act(|conn| conn.send_trailers(id, fields(&[("x", "y")]))).unwrap();
    refused(&mut raw, |conn| conn.send_trailers(id, fields(&[("x", "y")])), UserError::Ended(id));
    refused(&mut raw, |conn| conn.send_data(id, octets(1), true), UserError::Ended(id));
    raw.send(frames::window_update(1, 5));
    assert_eq!(raw.data_sent(1), 5);
    assert_eq!(raw.sections.last().unwrap().1, [("x".to_owned(), "y".to_owned())]);
}

#[test]
fn a_stream_that_is_gone_or_never_was_takes_nothing() {
    let mut raw = Raw::server();
    raw.exchange(1);
    for id in [1, 2, 3].map(StreamId::from) {
        refused(&mut raw, |conn| conn.send_response(id, &status(200), true), UserError::StreamGone(id));
        refused(&mut raw, |conn| conn.send_informational(id, &status(103)), UserError::StreamGone(id));
        refused(&mut raw, |conn| conn.send_data(id, octets(1), true), UserError::StreamGone(id));
        refused(&mut raw, |conn| conn.send_trailers(id, Fields::new()), UserError::StreamGone(id));
        refused(&mut raw, |conn| conn.reset_stream(id, ErrorCode::CANCEL), UserError::StreamGone(id));
    }
}

#[test]
fn octets_differ_from_content_length_on_neither_side() {
    let declared = |declared: u64, sent: u64| UserError::ContentLength { id: 1.into(), sent, declared };
    let id = StreamId::from(1);
    let mut raw = Raw::server();
    raw.post(1);
    let head = ResponseHead::new(200, fields(&[("content-length", "4")]));
    refused(&mut raw, |conn| conn.send_response(id, &head, true), declared(4, 0));
    raw.act(|conn| conn.send_response(id, &head, false)).unwrap();
    refused(&mut raw, |conn| conn.send_data(id, octets(5), false), declared(4, 5));
    refused(&mut raw, |conn| conn.send_data(id, octets(3), true), declared(4, 3));
    refused(&mut raw, |conn| conn.send_trailers(id, Fields::new()), declared(4, 0));
    raw.act(|conn| conn.send_data(id, octets(4), true)).unwrap();

    let mut raw = Raw::client();
    let head = with(post(), &[("content-length", "4")]);
    refused(&mut raw, |conn| conn.send_request(&head, true).map(drop), declared(4, 0));
    raw.ask(&head, false);
    refused(&mut raw, |conn| conn.send_data(id, octets(5), true), declared(4, 5));
    refused(&mut raw, |conn| conn.send_data(id, octets(1), true), declared(4, 1));
    raw.act(|conn| conn.send_data(id, octets(4), true)).unwrap();
}

#[test]
fn a_tunnel_has_octets_of_any_number_and_no_trailers() {
    let mut pair = Pair::connected();
    let id = pair.request(&RequestHead::connect("example.com:443"), false);
    let head = ResponseHead::new(200, fields(&[("content-length", "0")])); // means nothing here (RFC 9110 §9.3.6)
    pair.server.conn.send_response(id, &head, false).unwrap();
    pair.drive();
    for side in [&mut pair.client, &mut pair.server] {
        side.conn.send_data(id, octets(3), false).unwrap();
        let said = side.conn.send_trailers(id, fields(&[("x", "y")]));
        assert_eq!(said, Err(UserError::TrailersOnTunnel(id)));
        side.conn.send_data(id, octets(3), true).unwrap();
    }
    pair.drive();
    assert_eq!((pair.client.body(id), pair.server.body(id)), ((vec![7; 6], true), (vec![7; 6], true)));
    assert!(pair.client.resets().is_empty());
}

// --- heads ---

#[test]
fn heads_come_in_order() {
    let mut raw = Raw::server();
    raw.get(1);
    let id = StreamId::from(1);
    refused(&mut raw, |conn| conn.send_data(id, octets(1), true), UserError::HeadMissing(id));
    refused(&mut raw, |conn| conn.send_trailers(id, Fields::new()), UserError::HeadMissing(id));
    raw.act(|conn| conn.send_response(id, &status(200), false)).unwrap();
    refused(&mut raw, |conn| conn.send_response(id, &status(200), true), UserError::HeadSent(id));
    refused(&mut raw, |conn| conn.send_informational(id, &status(103)), UserError::HeadSent(id));
}

#[test]
fn every_status_from_200_to_599_is_final_and_100_to_199_but_101_informational() {
    for code in 0..=1100 {
        let mut raw = Raw::server();
        raw.get(1);
        let id = StreamId::from(1);
        let informational = (100..200).contains(&code) && code != 101;
        let said = raw.act(|conn| conn.send_informational(id, &status(code)));
        assert_eq!(said, if informational { Ok(()) } else { Err(UserError::InvalidStatus(code)) });
        let said = raw.act(|conn| conn.send_response(id, &status(code), true));
        let last = (200..600).contains(&code);
        assert_eq!(said, if last { Ok(()) } else { Err(UserError::InvalidStatus(code)) });
        assert_eq!(raw.sections.len(), usize::from(informational || last));
        assert_eq!(status(code).check(true).is_ok(), last);
        assert_eq!(status(code).check_informational(true).is_ok(), informational);
    }
}

#[test]
fn a_field_that_cannot_be_sent_is_named_with_its_rule() {
    use Malformed::*;
    for (name, value, because) in [
        ("Upper", "x", FieldName),
        ("", "x", FieldName),
        ("x y", "x", FieldName),
        ("x:", "x", FieldName),
        (":status", "200", PseudoField),
        (":path", "/", PseudoField),
        (":own", "x", PseudoField),
        ("x", "a\r\nset-cookie: b", FieldValue),
        ("x", "a\nb", FieldValue),
        ("x", "a\0", FieldValue),
        ("x", " a", FieldValue),
        ("x", "a\t", FieldValue),
        ("connection", "close", ConnectionSpecific),
        ("keep-alive", "5", ConnectionSpecific),
        ("proxy-connection", "x", ConnectionSpecific),
        ("transfer-encoding", "chunked", ConnectionSpecific),
        ("upgrade", "h2c", ConnectionSpecific),
        ("http2-settings", "AAMAAABk", ConnectionSpecific),
        ("te", "gzip", ConnectionSpecific),
        ("te", "trailers, gzip", ConnectionSpecific),
        ("content-length", "+1", ContentLength),
        ("content-length", "", ContentLength),
    ] {
        let list = fields(&[("fine", "x"), (name, value)]);
        let named = (name.to_owned(), because);
        let mut server = Raw::server();
        server.get(1);
        let head = ResponseHead::new(200, list.clone());
        assert_eq!(rule(server.act(|conn| conn.send_response(1.into(), &head, true))), named);
        assert_eq!(rule(head.check(true)), named);
        let early = ResponseHead::new(103, list.clone());
        assert_eq!(rule(server.act(|conn| conn.send_informational(1.into(), &early))), named);
        assert_eq!(rule(early.check_informational(true)), named);
        server.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
        assert_eq!(rule(server.act(|conn| conn.send_trailers(1.into(), list.clone()))), named);
        assert_eq!(rule(list.check_trailers(true)), named);
        assert_eq!(server.of_kind(frames::HEADERS).len(), 1);

        let mut client = Raw::client();
        let head = with(get(), &[("fine", "x"), (name, value)]);
        assert_eq!(rule(client.act(|conn| conn.send_request(&head, true))), named);
        assert_eq!(rule(head.check(true)), named);
        assert!(client.frames.is_empty());
        assert_eq!(client.ask_get(), 1, "no identifier was used");
    }
}

#[test]
fn te_says_trailers_in_requests_alone_and_content_length_stands_in_no_trailers() {
    assert_eq!(with(get(), &[("te", "trailers")]).check(true), Ok(()));
    let te = fields(&[("te", "trailers")]);
    let refused = ("te".to_owned(), Malformed::ConnectionSpecific);
    assert_eq!(rule(ResponseHead::new(200, te.clone()).check(true)), refused);
    assert_eq!(rule(te.check_trailers(true)), refused);
    let length = fields(&[("content-length", "1")]);
    assert_eq!(rule(length.check_trailers(true)), ("content-length".into(), Malformed::ContentLength));
}

#[test]
fn a_request_names_what_is_wrong_with_its_pseudo_fields() {
    use Malformed::*;
    let connect =
        |scheme: &str, authority: &str, path: &str| RequestHead::new("CONNECT", scheme, authority, path);
    for (head, name, because) in [
        (RequestHead::new("", "https", "a", "/"), ":method", PseudoValue(":method")),
        (RequestHead::new("G T", "https", "a", "/"), ":method", PseudoValue(":method")),
        (RequestHead::new("GET", "", "a", "/"), ":scheme", PseudoValue(":scheme")),
        (RequestHead::new("GET", "https", "a/b", "/"), ":authority", PseudoValue(":authority")),
        (RequestHead::new("GET", "https", "u@a", "/"), ":authority", PseudoValue(":authority")),
        (RequestHead::new("GET", "https", "a", ""), ":path", PseudoValue(":path")),
        (RequestHead::new("GET", "https", "a", "x"), ":path", PseudoValue(":path")),
        (RequestHead::new("GET", "https", "a", "/\r\n"), ":path", PseudoValue(":path")),
        (RequestHead::connect(""), ":authority", MissingPseudo(":authority")),
        (connect("https", "a:1", "/"), ":scheme", ConnectPseudo(":scheme")),
        (RequestHead::default(), ":method", MissingPseudo(":method")),
        (with(get(), &[("host", "other.example")]), "host", HostMismatch),
        (with(get(), &[("host", "example.com"), ("host", "example.com")]), "host", PseudoValue("host")),
    ] {
        let mut raw = Raw::client();
        assert_eq!(rule(raw.act(|conn| conn.send_request(&head, true))), (name.into(), because), "{head:?}");
        assert_eq!(rule(head.check(true)), (name.into(), because));
    }
    let websocket = RequestHead::extended_connect("websocket", "https", "a", "/");
    assert_eq!(websocket.check(true), Ok(()), "what the peer takes is not known here");
    let mut raw = Raw::client();
    let said = rule(raw.act(|conn| conn.send_request(&websocket, false)));
    assert_eq!(said, (":protocol".into(), ExtendedConnect));
}

#[test]
fn what_the_pure_check_lets_pass_the_peer_takes() {
    let mut pair = Pair::connected();
    for list in [
        &[][..],
        &[("x", ""), ("x", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")],
        &[("host", "EXAMPLE.com"), ("content-length", "0"), ("x", "\u{e9}\u{7f}")],
    ] {
        let head = with(post(), list);
        head.check(true).unwrap();
        let id = pair.request(&head, true);
        let heard = pair.server.events.iter().find_map(|event| match event {
            stagedoor_protocol::Event::StreamOpened { id: opened, head, .. } if *opened == id => Some(head),
            _ => None,
        });
        let plain = |fields: &Fields| -> Vec<(Vec<u8>, Vec<u8>)> {
            fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
        };
        assert_eq!(plain(heard.unwrap().fields()), plain(head.fields()));
    }
}

// --- fields that are there once ---

#[test]
fn a_single_value_field_is_not_sent_twice() {
    let twice = [("content-type", "text/plain"), ("x", "y"), ("content-type", "text/html")];
    let again = UserError::RepeatedField("content-type".into());
    let mut raw = Raw::server();
    raw.get(1);
    let head = ResponseHead::new(200, fields(&twice));
    refused(&mut raw, |conn| conn.send_response(1.into(), &head, true), again.clone());
    let early = ResponseHead::new(103, fields(&twice));
    refused(&mut raw, |conn| conn.send_informational(1.into(), &early), again.clone());
    raw.act(|conn| conn.send_response(1.into(), &status(200), false)).unwrap();
    refused(&mut raw, |conn| conn.send_trailers(1.into(), fields(&twice)), again.clone());
    let mut raw = Raw::client();
    refused(&mut raw, |conn| conn.send_request(&with(get(), &twice), true).map(drop), again);
    let dnt = with(get(), &[("dnt", "1"), ("dnt", "1")]);
    refused(&mut raw, |conn| conn.send_request(&dnt, true).map(drop), UserError::RepeatedField("dnt".into()));
}

#[test]
fn a_gateway_that_is_not_strict_passes_both_values_on() {
    let lax = Config { strict_single_value_fields: false, ..Config::default() };
    let mut raw = Raw::server_with(lax, &[]);
    raw.get(1);
    let head = ResponseHead::new(200, fields(&[("etag", "a"), ("etag", "b")]));
    raw.act(|conn| conn.send_response(1.into(), &head, true)).unwrap();
    let etags = raw.sections[0].1.iter().filter(|(name, _)| name == "etag").count();
    assert_eq!(etags, 2);
    // Two lengths that differ are malformed, strict or not.
    raw.get(3);
    let head = ResponseHead::new(200, fields(&[("content-length", "1"), ("content-length", "2")]));
    let said = rule(raw.act(|conn| conn.send_response(3.into(), &head, false)));
    assert_eq!(said, ("content-length".into(), Malformed::ContentLength));
}

// --- size ---

#[test]
fn a_header_block_beyond_our_bound_is_not_sent_and_the_tables_stay_in_step() {
    let config = Config { max_send_header_block: 1_000, ..Config::default() };
    let mut raw = Raw::server_with(config, &[]);
    raw.get(1);
    let id = StreamId::from(1);
    let head = |octets: usize| ResponseHead::new(200, fields(&[("x-own", &"v".repeat(octets))]));
    // 128 octets for the block and 16 for the field beside name and value.
    let most = 1_000 - 128 - 16 - "x-own".len();
    let error = UserError::HeaderBlockTooLarge { octets: 1_001, limit: 1_000 };
    refused(&mut raw, |conn| conn.send_response(id, &head(most + 1), false), error.clone());
    refused(
        &mut raw,
        |conn| conn.send_informational(id, &ResponseHead { status: 103, ..head(most + 1) }),
        error.clone(),
    );
    raw.act(|conn| conn.send_response(id, &head(most), false)).unwrap();
    refused(&mut raw, |conn| conn.send_trailers(id, head(most + 1).fields), error);
    raw.act(|conn| conn.send_trailers(id, head(most).fields)).unwrap();
    for (_, section) in &raw.sections {
        assert_eq!(section.last().unwrap().1.len(), most);
    }
    let mut raw = Raw::client();
    let path = format!("/{}", "p".repeat(70_000));
    let head = RequestHead::new("GET", "https", "example.com", &path);
    let said = raw.act(|conn| conn.send_request(&head, true));
    assert!(matches!(said, Err(UserError::HeaderBlockTooLarge { limit: 65_536, .. })), "{said:?}");
    assert_eq!(raw.ask_get(), 1);
}

#[test]
fn fields_that_were_removed_count_no_more() {
    let mut head = ResponseHead::new(200, fields(&[("x", &"v".repeat(70_000)), ("y", "z")]));
    head.fields.remove("x");
    let mut raw = Raw::server();
    raw.get(1);
    raw.act(|conn| conn.send_response(1.into(), &head, true)).unwrap();
}

// --- push ---

#[test]
fn a_promise_that_cannot_be_says_why() {
    let push = get();
    let mut raw = Raw::server_with(Config::default(), &[(setting::ENABLE_PUSH, 0)]);
    raw.get(1);
    refused(&mut raw, |conn| conn.send_push(1.into(), &push).map(drop), UserError::PushDisabled);

    let mut raw = Raw::server();
    raw.get(1);
    let promised = raw.act(|conn| conn.send_push(1.into(), &push)).unwrap();
    refused(&mut raw, |conn| conn.send_push(promised, &push).map(drop), UserError::NestedPush(promised));
    refused(&mut raw, |conn| conn.send_push(9.into(), &push).map(drop), UserError::StreamGone(9.into()));
    for unsafe_one in [
        post(),
        RequestHead::new("OPTIONS", "https", "example.com", "/"),
        RequestHead::connect("example.com:443"),
        with(get(), &[("content-length", "5")]),
        RequestHead::new("GET", "https", "", "/"),
    ] {
        refused(&mut raw, |conn| conn.send_push(1.into(), &unsafe_one).map(drop), UserError::UnsafePush);
    }
    let said = rule(raw.act(|conn| conn.send_push(1.into(), &with(get(), &[("Upper", "x")]))));
    assert_eq!(said, ("Upper".into(), Malformed::FieldName));
    raw.answer(1);
    raw.post(3);
    raw.answer(3);
    refused(&mut raw, |conn| conn.send_push(3.into(), &push).map(drop), UserError::Ended(3.into()));

    let mut raw = Raw::client();
    let id = StreamId::from(raw.ask_get());
    refused(&mut raw, |conn| conn.send_push(id, &push).map(drop), UserError::WrongRole);
}

// --- secrets ---

#[test]
fn credentials_and_short_cookies_are_sensitive_on_the_wire_unasked_and_told_so() {
    let mut pair = Pair::connected();
    let long = "a".repeat(20);
    let list = [("authorization", "Basic c2VjcmV0"), ("cookie", "a=1"), ("cookie", &long), ("x", "y")];
    for _ in 0..2 {
        pair.request(&with(get(), &list), true);
    }
    let mut heard = 0;
    for event in &pair.server.events {
        if let stagedoor_protocol::Event::StreamOpened { head, .. } = event {
            let flags: Vec<_> = head.fields().iter().map(|field| field.sensitive).collect();
            assert_eq!(flags, [true, true, false, false]);
            let (cookie, crumbs) = (head.fields().cookie().unwrap(), head.fields().get_all("cookie").count());
            assert_eq!((&cookie[..], crumbs), (format!("a=1; {long}").as_bytes(), 2));
            heard += 1;
        }
    }
    assert_eq!(heard, 2);
}

#[test]
fn a_field_marked_sensitive_is_told_as_such_on_the_other_side() {
    let mut pair = Pair::connected();
    let id = pair.request(&get(), true);
    let mut list = Fields::new();
    list.push_sensitive("x-token", "secret");
    list.push_sensitive("set-cookie", "id=1");
    list.push("x-open", "y");
    pair.server.conn.send_response(id, &ResponseHead::new(200, list), true).unwrap();
    pair.drive();
    let head = pair.client.events.iter().find_map(|event| match event {
        stagedoor_protocol::Event::ResponseReceived { head, .. } => Some(head),
        _ => None,
    });
    let flags: Vec<_> = head.unwrap().fields.iter().map(|field| field.sensitive).collect();
    assert_eq!(flags, [true, true, false]);
}
