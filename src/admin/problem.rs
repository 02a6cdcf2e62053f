//! Problem documents (RFC 9457): what the admin service says when it says no.

use std::fmt::Display;
use std::net::IpAddr;

use serde::Serialize;
use stagedoor_actors::{Body, Reply, Response};

/// The methods of a path that is only read.
pub(super) const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// A problem document; its type is `about:blank`, so the title is that of the status (RFC 9457 §4.2.1).
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip)]
    allow: Option<&'static str>,
}

impl Problem {
    fn new(status: u16, title: &'static str, detail: String) -> Self {
        Self { title, status, detail, allow: None }
    }

    pub(super) fn foreign_host(bound: IpAddr) -> Self {
        let detail = format!("the request must name localhost or {bound} as its host");
        Self::new(403, "Forbidden", detail)
    }

    pub(super) fn not_found(path: &str) -> Self {
        let path: String = path.chars().take(80).collect();
        Self::new(404, "Not Found", format!("nothing lives at {path}; / lists what does"))
    }

    pub(super) fn not_allowed(method: &str) -> Self {
        let method: String = method.chars().take(20).collect();
        let mut problem = Self::new(405, "Method Not Allowed", format!("{method} does nothing here"));
        problem.allow = Some(READ_METHODS);
        problem
    }

    pub(super) fn no_filter_yet() -> Self {
        Self::new(501, "Not Implemented", "sessions cannot be filtered yet; ask without a query".to_owned())
    }

    pub(super) fn internal(error: &dyn Display) -> Self {
        Self::new(500, "Internal Server Error", error.to_string())
    }

    pub(super) fn into_response(self) -> Response {
        let document = serde_json::to_vec(&self).expect("plain structs are JSON");
        let mut response =
            super::fresh(self.status, "application/problem+json").with_body(Body::Full(document.into()));
        if let Some(allow) = self.allow {
            response.fields.push("allow", allow);
        }
        response
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        problem.into_response().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_status_title_and_detail() {
        let response = Problem::not_allowed("POST").into_response();
        assert_eq!(response.fields.get("content-type"), Some(&b"application/problem+json"[..]));
        assert_eq!(response.fields.get("allow"), Some(&b"GET, HEAD, OPTIONS"[..]));
        let Body::Full(document) = response.body else { panic!("one message") };
        let shown = std::str::from_utf8(&document).unwrap();
        assert_eq!(shown, r#"{"title":"Method Not Allowed","status":405,"detail":"POST does nothing here"}"#);
    }
}
