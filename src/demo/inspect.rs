//! Paths that show the client to itself: `/headers` and `/session`.

use std::sync::Arc;

use serde::Serialize;
use stagedoor_actors::{Reply, Request, Response};
use stagedoor_protocol::RequestHead;

use super::answer;
use crate::lifecycle::ServerSlot;
use crate::seen::{SessionSeen, StreamSeen};

/// A request head; octets that are no UTF-8 are shown as U+FFFD.
#[derive(Serialize)]
struct HeadSeen<'a> {
    method: &'a str,
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    fields: Vec<[String; 2]>,
}

/// `/headers`.
pub(super) fn headers(head: &RequestHead) -> Response {
    let text = |octets| String::from_utf8_lossy(octets).into_owned();
    answer::json(&HeadSeen {
        method: head.method(),
        scheme: head.scheme(),
        authority: head.authority(),
        path: head.path(),
        fields: head.fields().iter().map(|field| [text(field.name), text(field.value)]).collect(),
    })
}

/// A session and the stream that asks.
#[derive(Serialize)]
struct OwnSession<'a> {
    session: SessionSeen<'a>,
    stream: Option<StreamSeen<'a>>,
}

/// `/session`.
pub(super) fn session(server: &ServerSlot, request: &Request) -> Reply {
    let server = Arc::clone(server);
    let session = request.session.clone();
    let stream = request.stream.get();
    Reply::later(async move {
        let view = match server.get() {
            Some(server) => server.session(&session.id).await,
            None => None,
        };
        match view {
            Some(view) => answer::json(&OwnSession {
                session: SessionSeen::from(&view),
                stream: view.streams.iter().find(|seen| seen.id == stream).map(StreamSeen::from),
            }),
            None => answer::text(503, format!("session {} is not listed now\n", session.id)),
        }
    })
}

#[cfg(test)]
mod tests {
    use stagedoor_actors::Body;

    use super::*;

    #[test]
    fn fields_keep_order_repetition_and_odd_octets() {
        let mut head = RequestHead::new("GET", "https", "localhost", "/headers?x");
        for (name, value) in [("b", &b"1"[..]), ("a", b"\xff"), ("b", b"2")] {
            head.fields_mut().push(name, value);
        }
        let Body::Full(document) = headers(&head).body else { panic!("one message") };
        let seen: serde_json::Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(seen["path"], "/headers?x");
        assert_eq!(seen["fields"], serde_json::json!([["b", "1"], ["a", "\u{fffd}"], ["b", "2"]]));
    }
}
