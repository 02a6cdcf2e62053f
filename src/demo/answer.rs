//! Answers that several paths give: text, JSON, and the three ways of saying no.

use serde::Serialize;
use stagedoor_actors::{Body, Response};

/// Text that is never taken for something else.
pub(super) fn text(status: u16, text: impl Into<String>) -> Response {
    Response::new(status)
        .with_field("content-type", "text/plain; charset=utf-8")
        .with_field("x-content-type-options", "nosniff")
        .with_body(Body::Full(text.into().into()))
}

/// A value as one JSON document, not to be kept.
pub(super) fn json(value: &impl Serialize) -> Response {
    let mut document = serde_json::to_vec_pretty(value).expect("plain structs are JSON");
    document.push(b'\n');
    Response::new(200)
        .with_field("content-type", "application/json")
        .with_field("cache-control", "no-store")
        .with_body(Body::Full(document.into()))
}

/// 400 with one sentence.
pub(super) fn bad(sentence: impl Into<String>) -> Response {
    let mut sentence = sentence.into();
    sentence.push('\n');
    text(400, sentence)
}

/// 404 that names the way out.
pub(super) fn not_found(path: &str) -> Response {
    text(404, format!("nothing lives at {}; / lists what does\n", shown(path)))
}

/// 405 with the methods that would do.
pub(super) fn not_allowed(method: &str, path: &str, allow: &str) -> Response {
    text(405, format!("{} does not take {}; it takes {allow}\n", shown(path), shown(method)))
        .with_field("allow", allow)
}

/// 405 for CONNECT: this is no proxy.
pub(super) fn no_tunnels(allow: &str) -> Response {
    text(405, format!("this site opens no tunnels; it takes {allow}\n")).with_field("allow", allow)
}

/// What a client sent, short enough to repeat.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
