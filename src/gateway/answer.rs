//! Answers of the gateway itself when it says no: a [`Fault`] becomes a response that its client can read.
//!
//! A sentence by default, a problem document (RFC 9457) for who asks for JSON, the route's own body where it has one for
//! the status, a trailers-only answer to a gRPC call. `proxy-status` (RFC 9209) names the cause where an upstream is to
//! blame.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use stagedoor_actors::{Body, Response};
use stagedoor_protocol::RequestHead;

use crate::config::ErrorBody;
use crate::fault::Fault;

/// How a client wants to hear of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// It takes JSON and no HTML.
    pub(super) json: bool,
    /// It makes a gRPC call.
    pub(super) grpc: bool,
}

impl Wants {
    /// What the request with this `head` wants.
    pub(super) fn of(head: &RequestHead) -> Self {
        let mut wants = Self::default();
        for field in head.fields().iter() {
            wants.see(field.name, field.value);
        }
        wants
    }

    /// Looks at a field.
    pub(super) fn see(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"accept" => self.json |= asks_for_json(value),
            b"content-type" => self.grpc |= is_grpc(value),
            _ => {}
        }
    }
}

/// A media type of gRPC, gRPC-Web aside.
pub(super) fn is_grpc(media_type: &[u8]) -> bool {
    let Some(kind) = media_type.get(..16) else { return false };
    let after = media_type.get(16);
    kind.eq_ignore_ascii_case(b"application/grpc") && matches!(after, None | Some(b'+' | b';' | b' '))
}

/// Names JSON, and HTML nowhere: browsers name both, and show a sentence better.
fn asks_for_json(accept: &[u8]) -> bool {
    let mut json = false;
    for range in accept.split(|octet| *octet == b',') {
        let range = range.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
        if range.eq_ignore_ascii_case(b"text/html") {
            return false;
        }
        json |= range.eq_ignore_ascii_case(b"application/json")
            || range.len() > 12
                && range.get(..12).is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/"))
                && range.get(range.len() - 5..).is_some_and(|kind| kind.eq_ignore_ascii_case(b"+json"));
    }
    json
}

/// RFC 9457; its type is `about:blank`.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// An extension: what logs and metrics call it.
    cause: &'a str,
}

/// The answer to a client that wants to hear of `fault` as `wants` says, on a route with `bodies` of its own.
pub(super) fn of(fault: &Fault, wants: Wants, bodies: &BTreeMap<u16, ErrorBody>) -> Response {
    if wants.grpc {
        return grpc(fault);
    }
    let mut response = Response::new(fault.status);
    let (kind, body) = match bodies.get(&fault.status) {
        Some(own) => (own.content_type.as_str(), own.body.clone()),
        None if wants.json => {
            let title = StatusCode::from_u16(fault.status).ok().and_then(|status| status.canonical_reason());
            let problem = Problem {
                title: title.unwrap_or("Error"),
                status: fault.status,
                detail: &fault.detail,
                cause: fault.cause,
            };
            let document = serde_json::to_vec(&problem).expect("plain structs are JSON");
            ("application/problem+json", document.into())
        }
        None => ("text/plain; charset=utf-8", Bytes::from(format!("{}\n", fault.detail))),
    };
    response.fields.push("content-type", kind);
    response.fields.push("x-content-type-options", "nosniff");
    response.fields.push("cache-control", "no-store");
    if let Some(after) = fault.retry_after {
        // The next whole second; never none, which would ask again at once.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.fields.push("retry-after", seconds.max(1).to_string());
    }
    response.with_body(Body::full(body))
}

/// The value of `proxy-status` for what an upstream did (RFC 9209 §2).
pub(super) fn proxy_status(fault: &Fault) -> String {
    format!("stagedoor; error={}", fault.cause)
}

/// Trailers alone: status and message of the call in the head of a response without a body.
fn grpc(fault: &Fault) -> Response {
    Response::new(200)
        .with_field("content-type", "application/grpc")
        .with_field("grpc-status", fault.grpc_status().to_string())
        .with_field("grpc-message", grpc_message(&fault.detail))
}

/// Percent-encoded, all but printable ASCII and the percent sign itself (gRPC over HTTP/2, "Responses").
fn grpc_message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' '..=b'~' if octet != b'%' => out.push(char::from(octet)),
            octet => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fault() -> Fault {
        Fault::new(503, "connection_limit_reached", "100 % of the connections are taken: ä")
    }

    fn text(response: &Response) -> &str {
        match &response.body {
            Body::Full(octets) => std::str::from_utf8(octets).unwrap(),
            _ => "",
        }
    }

    fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.fields.get_str(name)
    }

    #[test]
    fn a_sentence_is_said_by_default() {
        let fault = Fault { retry_after: Some(Duration::from_millis(1001)), ..fault() };
        let said = of(&fault, Wants::default(), &BTreeMap::new());
        assert_eq!((said.status, text(&said)), (503, "100 % of the connections are taken: ä\n"));
        assert_eq!(field(&said, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(field(&said, "retry-after"), Some("2"));
        let soon = Fault { retry_after: Some(Duration::ZERO), ..fault };
        assert_eq!(field(&of(&soon, Wants::default(), &BTreeMap::new()), "retry-after"), Some("1"));
    }

    #[test]
    fn json_is_for_who_asks_for_it() {
        let said = of(&fault(), Wants { json: true, grpc: false }, &BTreeMap::new());
        assert_eq!(field(&said, "content-type"), Some("application/problem+json"));
        assert_eq!(
            text(&said),
            r#"{"title":"Service Unavailable","status":503,"detail":"100 % of the connections are taken: ä","cause":"connection_limit_reached"}"#
        );
        for (accept, json) in [
            ("application/json", true),
            ("application/problem+json;q=0.5, */*", true),
            ("Application/JSON ; q=1", true),
            ("text/html, application/json", false),
            ("*/*", false),
            ("application/x", false),
            ("", false),
        ] {
            assert_eq!(asks_for_json(accept.as_bytes()), json, "{accept}");
        }
    }

    #[test]
    fn a_route_may_have_its_own_words() {
        let own =
            ErrorBody { content_type: "text/html".to_owned(), body: Bytes::from_static(b"<p>back soon") };
        let bodies = BTreeMap::from([(503, own)]);
        let said = of(&fault(), Wants { json: true, grpc: false }, &bodies);
        assert_eq!((field(&said, "content-type"), text(&said)), (Some("text/html"), "<p>back soon"));
        let other = Fault { status: 502, ..fault() };
        assert_eq!(
            field(&of(&other, Wants::default(), &bodies), "content-type"),
            Some("text/plain; charset=utf-8")
        );
    }

    #[test]
    fn a_call_of_grpc_is_answered_in_trailers_alone() {
        let mut head = RequestHead::new("POST", "https", "a", "/pkg.Service/Call");
        head.fields_mut().push("content-type", "application/grpc+proto");
        let said = of(&fault(), Wants::of(&head), &BTreeMap::new());
        assert_eq!((said.status, field(&said, "grpc-status")), (200, Some("14")));
        assert_eq!(field(&said, "grpc-message"), Some("100 %25 of the connections are taken: %C3%A4"));
        assert!(matches!(said.body, Body::Empty));
        assert!(
            !is_grpc(b"application/grpc-web") && is_grpc(b"application/grpc") && !is_grpc(b"application/grp")
        );
        assert_eq!(proxy_status(&fault()), "stagedoor; error=connection_limit_reached");
    }
}
