//! An answer that is whole, and what a test says about it.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use stagedoor_actors::client::{ClientStream, StreamError};
use stagedoor_actors::convert;
use stagedoor_protocol::ResponseHead;

/// Octets of a body that a failure shows.
const SHOWN: usize = 2_000;

/// A whole answer.
///
/// ```
/// use stagedoor::testing::{Server, run};
/// use stagedoor::{HttpRequest, StatusCode, handler};
///
/// run(async {
///     let server = Server::new(handler(async |_: HttpRequest| (StatusCode::ACCEPTED, "job 1\n")));
///     let answer = server.client().await.get("/").await;
///     answer.assert_status(202).assert_header("content-length", "6").assert_text("job 1\n");
///     assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
///     assert!(answer.trailers.is_none());
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// All octets of the body.
    pub body: Bytes,
    /// Fields after the body, where there were any.
    pub trailers: Option<HeaderMap>,
    /// The heads that came before, in order.
    pub informational: Vec<Informational>,
}

/// A head that came before the answer (1xx).
///
/// ```
/// use stagedoor::testing::{Server, run};
/// use stagedoor::{HttpRequest, handler};
///
/// run(async {
///     let hinted = async |request: HttpRequest| {
///         request.body().handle().early_hints(["</a.css>; rel=preload"]).map(|()| "hello")
///     };
///     let server = Server::new(handler(hinted));
///     let answer = server.client().await.get("/").await;
///     assert_eq!(answer.informational[0].status, 103);
///     assert_eq!(answer.informational[0].headers["link"], "</a.css>; rel=preload");
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Informational {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
}

impl Response {
    pub(super) async fn of(mut stream: ClientStream) -> Result<Self, StreamError> {
        let head = stream.response().await?;
        let informational = std::iter::from_fn(|| stream.informational()).map(Informational::of).collect();
        let mut body = BytesMut::new();
        while let Some(chunk) = stream.chunk().await {
            body.extend_from_slice(&chunk?);
        }
        let trailers = stream.trailers().map(|fields| convert::to_headers(&fields));
        Ok(Self {
            status: status(head.status),
            headers: convert::to_headers(&head.fields),
            body: body.freeze(),
            trailers,
            informational,
        })
    }

    /// The body as text.
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body)
            .unwrap_or_else(|error| panic!("the body is no text ({error}): {}", self.shown()))
    }

    /// A field as text; the first of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A trailer as text; the first of its name.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }

    /// # Panics
    /// When the status is another one; shows the body.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        let is = self.status.as_u16();
        assert!(is == status, "the status is {is} and not {status}; the body: {}", self.shown());
        self
    }

    /// # Panics
    /// When the body is another one.
    #[track_caller]
    pub fn assert_text(&self, text: &str) -> &Self {
        let right = self.body == text.as_bytes();
        assert!(right, "the body of this {} is not {text:?}: {}", self.status.as_u16(), self.shown());
        self
    }

    /// # Panics
    /// When no field of this name has this value; shows those there are.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &Self {
        let mut values = self.headers.get_all(name).iter();
        let right = values.any(|is| is.as_bytes() == value.as_bytes());
        assert!(right, "no field {name}: {value}; there are {:?}", self.headers);
        self
    }

    /// # Panics
    /// When no trailer of this name has this value; shows those there are.
    #[track_caller]
    pub fn assert_trailer(&self, name: &str, value: &str) -> &Self {
        let right = self.trailers.as_ref().is_some_and(|trailers| {
            trailers.get_all(name).iter().any(|is| is.as_bytes() == value.as_bytes())
        });
        assert!(right, "no trailer {name}: {value}; there are {:?}", self.trailers);
        self
    }

    /// The body for people, cut where it is long.
    fn shown(&self) -> String {
        let cut = &self.body[..self.body.len().min(SHOWN)];
        let more = match self.body.len() - cut.len() {
            0 => String::new(),
            more => format!(" and {more} octets more"),
        };
        format!("{:?}{more}", String::from_utf8_lossy(cut))
    }
}

impl Informational {
    fn of(head: ResponseHead) -> Self {
        Self { status: status(head.status), headers: convert::to_headers(&head.fields) }
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).expect("three digits, as the session has found")
}
