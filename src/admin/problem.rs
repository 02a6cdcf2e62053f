//! Problem documents (RFC 9457): what the admin service says when it says no.

use std::fmt::Display;
use std::net::IpAddr;

use serde::Serialize;
use stagedoor_actors::{Body, Reply, Response};

/// A problem document; its type is `about:blank`, so the title is that of the status (RFC 9457 §4.2.1).
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    /// Of a configuration: every error, as it is shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<String>,
    #[serde(skip)]
    allow: Option<&'static str>,
    /// 401 says what is asked for (RFC 9110 §11.6.1).
    #[serde(skip)]
    challenge: bool,
}

impl Problem {
    fn new(status: u16, title: &'static str, detail: String) -> Self {
        Self { title, status, detail, errors: None, allow: None, challenge: false }
    }

    pub(super) fn foreign_host(bound: IpAddr) -> Self {
        let detail = format!("the request must name localhost or {bound} as its host");
        Self::new(403, "Forbidden", detail)
    }

    pub(super) fn not_found(path: &str) -> Self {
        let path: String = path.chars().take(80).collect();
        Self::new(404, "Not Found", format!("nothing lives at {path}; / lists what does"))
    }

    pub(super) fn not_allowed(method: &str, methods: &'static str) -> Self {
        let method: String = method.chars().take(20).collect();
        let mut problem = Self::new(405, "Method Not Allowed", format!("{method} does nothing here"));
        problem.allow = Some(methods);
        problem
    }

    pub(super) fn bad(what: impl Into<String>) -> Self {
        Self::new(400, "Bad Request", what.into())
    }

    pub(super) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let name: String = name.chars().take(40).collect();
        Self::bad(format!("{name:?} is no parameter here; known are {}", known.join(", ")))
    }

    pub(super) fn no_token() -> Self {
        let what = "this wants the token of the admin address, as authorization: Bearer TOKEN";
        let mut problem = Self::new(401, "Unauthorized", what.to_owned());
        problem.challenge = true;
        problem
    }

    pub(super) fn foreign_origin() -> Self {
        let what = "a page of another origin may not change anything here";
        Self::new(403, "Forbidden", what.to_owned())
    }

    pub(super) fn missing(what: impl Into<String>) -> Self {
        Self::new(404, "Not Found", what.into())
    }

    pub(super) fn no_session(id: &str) -> Self {
        let id: String = id.chars().take(40).collect();
        Self::missing(format!("there is no session {id}; /api/sessions lists those that are open"))
    }

    pub(super) fn no_stream(id: &str, stream: u32) -> Self {
        Self::missing(format!("session {id} has no open stream {stream}"))
    }

    pub(super) fn no_reset(id: &str) -> Self {
        Self::conflict(format!("session {id} speaks HTTP/1.1, where only the session can be closed"))
    }

    pub(super) fn conflict(what: impl Into<String>) -> Self {
        Self::new(409, "Conflict", what.into())
    }

    pub(super) fn too_large(most: usize) -> Self {
        Self::new(413, "Content Too Large", format!("at most {most} octets are taken here"))
    }

    pub(super) fn refused_configuration(count: usize, errors: String) -> Self {
        let of = if count == 1 { "an error".to_owned() } else { format!("{count} errors") };
        let what = format!("the configuration has {of}; the one before stays in force");
        let mut problem = Self::new(422, "Unprocessable Content", what);
        problem.errors = Some(errors);
        problem
    }

    pub(super) fn too_busy() -> Self {
        Self::new(503, "Service Unavailable", "the gateway did not say so in time".to_owned())
    }

    pub(super) fn too_slow() -> Self {
        Self::new(503, "Service Unavailable", "rendering took longer than the scraper waits".to_owned())
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
        if self.challenge {
            response.fields.push("www-authenticate", "Bearer");
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
        let response = Problem::not_allowed("POST", "GET, HEAD, OPTIONS").into_response();
        assert_eq!(response.fields.get("content-type"), Some(&b"application/problem+json"[..]));
        assert_eq!(response.fields.get("allow"), Some(&b"GET, HEAD, OPTIONS"[..]));
        let Body::Full(document) = response.body else { panic!("one message") };
        let shown = std::str::from_utf8(&document).unwrap();
        assert_eq!(shown, r#"{"title":"Method Not Allowed","status":405,"detail":"POST does nothing here"}"#);
    }

    #[test]
    fn a_configuration_is_refused_with_all_its_errors() {
        let response = Problem::refused_configuration(2, "error[a]\nerror[b]\n".to_owned()).into_response();
        let Body::Full(document) = response.body else { panic!("one message") };
        let shown: serde_json::Value = serde_json::from_slice(&document).unwrap();
        assert_eq!((&shown["status"], &shown["errors"]), (&422.into(), &"error[a]\nerror[b]\n".into()));
        assert_eq!(shown["detail"], "the configuration has 2 errors; the one before stays in force");
    }
}
