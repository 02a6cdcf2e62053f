//! The way to the admin API of a gateway: one session of our own client, requests and event streams on it.
//!
//! Retries nothing. Invariant: whatever fails is either a refusal, with the words of the gateway, or a [`Failure`] that says
//! where it was tried; nothing that a gateway answers is kept beyond [`LONGEST`] octets.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use stagedoor::Body;
use stagedoor::client::{
    self, ClientSession, Connector, Error, Options, RequestOptions, RequestParts, ResponseBody,
};

use super::args::{AdminAddress, AdminArgs};
use super::shapes::Problem;
use super::sse::{Event, Reader};
use super::text;
use crate::failure::{Exit, Failure};

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take, up to its last octet; a stream of events up to its head.
const ANSWER: Duration = Duration::from_secs(30);

/// How long the good-bye may take.
const PARTING: Duration = Duration::from_secs(1);

/// Octets of an answer. A session with its streams takes some kilobytes.
const LONGEST: usize = 512 << 20;

/// Octets of a problem document.
const PROBLEM: usize = 64 << 10;

/// Why a request did not come to its good end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The gateway does not do it, and says why.
    Refused { status: u16, words: String },
    /// There was no answer to use.
    Failed(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused { status: 401, words } => Self::new(Exit::Input, words)
                .with_way_out("this gateway asks for a token: name the file that holds it with --token FILE"),
            Trouble::Refused { status, words } if status < 500 => Self::new(Exit::Input, words),
            Trouble::Refused { words, .. } => Self::new(Exit::Reach, words),
            Trouble::Failed(failure) => failure,
        }
    }
}

/// An answer, whole.
pub(super) struct Answer {
    /// `x-total-count`, where it is said.
    pub(super) total: Option<u64>,
    pub(super) body: Bytes,
}

impl Answer {
    /// The document.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        serde_json::from_slice(&self.body).map_err(|error| not_understood(&error))
    }

    /// The document as it came, fit for a terminal, with a line feed behind it.
    pub(super) fn document(&self) -> Result<String, Trouble> {
        self.json::<serde::de::IgnoredAny>()?;
        Ok(format!("{}\n", text::json(String::from_utf8_lossy(&self.body).trim_end())))
    }
}

/// What came cannot be read.
pub(super) fn not_understood(error: &serde_json::Error) -> Trouble {
    let words = format!("what the gateway says cannot be read: {error}");
    Trouble::Failed(
        Failure::new(Exit::Reach, words).with_way_out("is it a stagedoor gateway, and of this version?"),
    )
}

/// A connection to an admin address. Clones share it.
#[derive(Clone)]
pub(super) struct Admin {
    session: ClientSession,
    token: Option<String>,
    place: String,
}

impl Admin {
    /// Connects.
    ///
    /// # Errors
    /// A token that cannot be used, and no connection.
    pub(super) async fn connect(args: &AdminArgs) -> Result<Self, Failure> {
        let token = args.token.as_deref().map(token).transpose()?;
        let (origin, place, options) = match &args.admin {
            AdminAddress::Url(url) => (url.origin.clone(), url.origin.clone(), url.options()),
            AdminAddress::Unix(path) => (
                "http://localhost".to_owned(),
                format!("unix:{}", path.display()),
                Options::with_connector(Connector::unix(path)),
            ),
        };
        let options = Options { connect_timeout: CONNECT, ..options };
        let session = client::connect(&origin, options)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        session.ready().await.map_err(|end| unreachable_at(&place, &end))?;
        Ok(Self { session, token, place })
    }

    /// A request made now would be sent.
    #[cfg(feature = "top")]
    pub(super) fn is_up(&self) -> bool {
        self.session.takes_requests()
    }

    /// Says good-bye; a gateway that does not answer is no reason to wait.
    pub(super) async fn part(self) {
        let _ = tokio::time::timeout(PARTING, self.session.close()).await;
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, Trouble> {
        let answer = async {
            let body = body.map(|text| Body::Full(text.into()));
            let response = self.send(method, path, "application/json", body).await?;
            let total = response.headers().get("x-total-count");
            let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
            let body = self.collect(response.into_body(), LONGEST).await?;
            Ok(Answer { total, body })
        };
        tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// A stream of events.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn events(&self, path: &str) -> Result<Events, Trouble> {
        let opened = async {
            let response = self.send("GET", path, "text/event-stream", None).await?;
            let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
            if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
                let words = format!("{} answered with no stream of events", self.place);
                return Err(Trouble::Failed(Failure::new(Exit::Reach, words)));
            }
            Ok(Events { admin: self.clone(), body: response.into_body(), reader: Reader::new() })
        };
        tokio::time::timeout(ANSWER, opened).await.unwrap_or_else(|_| Err(self.silent()))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<Body>,
    ) -> Result<http::Response<ResponseBody>, Trouble> {
        let mut parts = RequestParts::new(method, path)
            .with_field("accept", accept)
            .with_field("user-agent", concat!("stagedoor/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            parts.fields.push_sensitive("authorization", format!("Bearer {token}"));
        }
        let options = RequestOptions { body: Some(body.unwrap_or(Body::Empty)), ..RequestOptions::default() };
        let response = self.session.send_parts(parts, options).await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let document = self.collect(response.into_body(), PROBLEM).await.unwrap_or_default();
        Err(Trouble::Refused { status, words: refusal(status, &document) })
    }

    async fn collect(&self, mut body: ResponseBody, limit: usize) -> Result<Bytes, Trouble> {
        body.collect_up_to(limit).await.map_err(|error| match error {
            client::CollectError::Stream(error) => self.lost(&error.into()),
            error => Trouble::Failed(Failure::new(Exit::Reach, format!("{}: {error}", self.place))),
        })
    }

    fn lost(&self, error: &Error) -> Trouble {
        let words = format!("the connection to {} is lost: {error}", self.place);
        Trouble::Failed(Failure::new(Exit::Reach, text::plain(&words)).with_way_out(WAY_OUT))
    }

    fn silent(&self) -> Trouble {
        let words = format!("{} did not answer within {} s", self.place, ANSWER.as_secs());
        Trouble::Failed(Failure::new(Exit::Reach, words).with_way_out(WAY_OUT))
    }
}

const WAY_OUT: &str = "'stagedoor serve' starts a gateway and prints its admin address; another one is named by --admin URL or \
                       STAGEDOOR_ADMIN";

fn unreachable_at(place: &str, end: &client::SessionEnd) -> Failure {
    let words = match end {
        client::SessionEnd::Connect(_) => format!("no gateway at {place}: {end}"),
        _ => format!("what answers at {place} is no admin address of a gateway: {end}"),
    };
    Failure::new(Exit::Reach, text::plain(&words)).with_way_out(WAY_OUT)
}

/// The first line of the file.
fn token(path: &std::path::Path) -> Result<String, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Input, format!("cannot use the token in {}: {why}", path.display()))
    };
    let content = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let token = content.trim();
    match token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        true => Err(failed(&"it is one line of ASCII signs without spaces")),
        false => Ok(token.to_owned()),
    }
}

/// Why, in the words of the gateway.
fn refusal(status: u16, document: &[u8]) -> String {
    let problem: Problem = serde_json::from_slice(document).unwrap_or_default();
    match (&*problem.title, &*problem.detail) {
        ("", "") => format!("the gateway answered {status}"),
        (title, "") => text::plain(title).into_owned(),
        (_, detail) if problem.errors.is_empty() => text::plain(detail).into_owned(),
        (_, detail) => {
            let lines = std::iter::once(detail).chain(problem.errors.trim_end().lines());
            lines.map(text::plain).collect::<Vec<_>>().join("\n")
        }
    }
}

/// A stream of events under way. Dropping it cancels it.
pub(super) struct Events {
    admin: Admin,
    body: ResponseBody,
    reader: Reader,
}

impl Events {
    /// The next event; `None` when the gateway ended the stream. May be dropped while it waits.
    ///
    /// # Errors
    /// A connection that is lost, an event that is too long.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Trouble> {
        loop {
            if let Some(event) = self.reader.next() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.body.chunk().await else { return Ok(None) };
            let chunk = chunk.map_err(|error| self.admin.lost(&error.into()))?;
            self.reader.push(&chunk).map_err(|error| {
                Trouble::Failed(Failure::new(Exit::Reach, format!("{}: {error}", self.admin.place)))
            })?;
        }
    }
}

/// A path with a query, put together piece by piece.
pub(super) struct Query(String);

impl Query {
    /// Of segments, each escaped, and no parameter yet.
    pub(super) fn new(segments: &[&str]) -> Self {
        let mut path = String::new();
        for segment in segments {
            path.push('/');
            escape(segment, &mut path);
        }
        Self(path)
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        escape(&value.to_string(), &mut self.0);
        self
    }

    /// Adds one that is there.
    pub(super) fn with_some(self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The whole.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Percent-encodes all but unreserved signs (RFC 3986 §2.3).
fn escape(text: &str, into: &mut String) {
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(octet.into()),
            _ => {
                let _ = write!(into, "%{octet:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_wrote_stays_in_its_place() {
        let query =
            Query::new(&["api", "sessions", "../x?y"]).with("filter", "a = b & c%").with_some("n", Some(1));
        assert_eq!(query.text(), "/api/sessions/..%2Fx%3Fy?filter=a%20%3D%20b%20%26%20c%25&n=1");
        assert_eq!(Query::new(&["api"]).with_some("n", None::<u8>).text(), "/api");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_gateway() {
        let problem = br#"{"title":"Bad filter","status":400,"detail":"no field \u001b[2J at 3"}"#;
        assert_eq!(refusal(400, problem), "no field \\u{1b}[2J at 3");
        assert_eq!(refusal(404, br#"{"title":"Not found"}"#), "Not found");
        let errors =
            br#"{"title":"Bad","detail":"2 errors","errors":"error[a]: \u001b\n --> f:1\n\nerror[b]\n"}"#;
        assert_eq!(refusal(422, errors), "2 errors\nerror[a]: \\u{1b}\n --> f:1\n\nerror[b]");
        assert_eq!(refusal(502, b"<html>"), "the gateway answered 502");
        let code = |status| Failure::from(Trouble::Refused { status, words: String::new() }).exit;
        assert_eq!([400, 401, 404, 409].map(code), [Exit::Input; 4]);
        assert_eq!([500, 503].map(code), [Exit::Reach; 2]);
    }

    #[test]
    fn a_token_is_one_word_of_ascii() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        assert!(token(&file).unwrap_err().message().contains("token"));
        for (content, wanted) in
            [("abc-1\n", Some("abc-1")), ("", None), ("a b", None), ("a\nb", None), ("ä", None)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(token(&file).ok().as_deref(), wanted, "{content:?}");
        }
    }
}
