//! A client for tests: whole answers, panics in words where there is none.
//!
//! Holds no engine: it is a session of [`crate::client`] over a pipe. Invariant: it has no deadline of its own.

use std::panic::Location;
use std::time::Duration;

use stagedoor_actors::client::{
    self, ClientSession, ClientStream, ConnectError, Connector, Error, Options, RequestOptions, RequestParts,
    Scheme, SessionEnd,
};
use stagedoor_actors::config::Timeouts;
use tokio::time::timeout;

use super::response::Response;
use super::run::patience;
use crate::Body;

/// The authority of requests that name none.
const AUTHORITY: &str = "test";

/// A client on one HTTP/2 session. Clones share it; when the last is dropped the session ends with its last stream.
///
/// ```
/// use stagedoor::testing::{Server, run};
/// use stagedoor::{HttpRequest, handler};
///
/// run(async {
///     let echo = async |request: HttpRequest| request.into_body().collect(100).await;
///     let server = Server::new(handler(echo));
///     let client = server.client().await;
///     let answer = client.post("/", "tea").await;
///     assert_eq!(answer.body, "tea");
///     let asked = http::Request::put("/").header("x-key", "7").body("milk").unwrap();
///     client.request(asked).await.assert_text("milk");
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    session: ClientSession,
}

impl Client {
    /// A client over whatever `connector` connects: of [`Peer::serve`](super::Peer::serve), say. Does not wait.
    /// # Panics
    /// Outside [`run`](super::run()), as every actor.
    pub fn over(connector: Connector) -> Self {
        Self::start(Self::options(connector)).expect("an authority that can be")
    }

    fn start(options: Options) -> Result<Self, ConnectError> {
        Ok(Self { session: client::connect(AUTHORITY, options)? })
    }

    /// The options of clients in tests.
    pub(super) fn options(connector: Connector) -> Options {
        Options {
            scheme: Scheme::Http,
            timeouts: Timeouts {
                idle: Duration::ZERO,
                stall: Duration::ZERO,
                keepalive_ping: Duration::ZERO,
                ..Timeouts::default()
            },
            ..Options::with_connector(connector)
        }
    }

    /// One that is up.
    pub(super) async fn ready(options: Options, at: &'static Location<'static>) -> Self {
        let client =
            Self::start(options).unwrap_or_else(|error| panic!("no client: {error}, asked for at {at}"));
        match timeout(patience(), client.session.ready()).await {
            Ok(Ok(())) => client,
            Ok(Err(end)) => panic!("the client's session did not come up: {end}, asked for at {at}"),
            Err(_) => {
                panic!("the client's session was not up after {:?}, asked for at {at}", patience())
            }
        }
    }

    /// The answer to `GET path`.
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Response> {
        self.answer(RequestParts::get(path), Body::Empty, Location::caller())
    }

    /// The answer to `POST path` with a body.
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn post(&self, path: &str, body: impl Into<Body>) -> impl Future<Output = Response> {
        self.answer(RequestParts::post(path), body.into(), Location::caller())
    }

    /// The answer to a request. A target without scheme and authority is one of this server.
    /// # Panics
    /// Where there is none.
    #[track_caller]
    pub fn request(&self, request: http::Request<impl Into<Body>>) -> impl Future<Output = Response> {
        let (parts, body) = request.into_parts();
        self.answer(RequestParts::from(parts), body.into(), Location::caller())
    }

    /// As [`Self::request`], for tests of requests that come to nothing.
    ///
    /// ```
    /// use stagedoor::client::{Error, StreamError};
    /// use stagedoor::testing::{ErrorCode, Server, run};
    /// use stagedoor::{HttpRequest, handler};
    ///
    /// run(async {
    ///     let cancel = async |request: HttpRequest| request.body().handle().reset(ErrorCode::CANCEL);
    ///     let server = Server::new(handler(cancel));
    ///     let client = server.client().await;
    ///     let error = client.try_request(http::Request::get("/").body("").unwrap()).await.unwrap_err();
    ///     assert!(matches!(error, Error::Stream(StreamError::Reset(ErrorCode::CANCEL))), "{error}");
    /// });
    /// ```
    /// # Errors
    /// Why there is no whole answer.
    pub async fn try_request(&self, request: http::Request<impl Into<Body>>) -> Result<Response, Error> {
        let (parts, body) = request.into_parts();
        self.exchange(RequestParts::from(parts), body.into()).await
    }

    /// A request whose body is sent, and whose answer is read, bit by bit: `RequestParts::post("/upload")`, or a path for
    /// a GET. The body of any other method is open until [`ClientStream::finish`].
    ///
    /// ```
    /// use stagedoor::client::RequestParts;
    /// use stagedoor::testing::{Server, run};
    /// use stagedoor::{Body, HttpRequest, HttpResponse, handler};
    ///
    /// run(async {
    ///     let echo = async |request: HttpRequest| HttpResponse::new(Body::stream(request.into_body()));
    ///     let server = Server::new(handler(echo));
    ///     let client = server.client().await;
    ///     let mut stream = client.stream(RequestParts::post("/echo"));
    ///     stream.send_data("one".into()).await.unwrap();
    ///     assert_eq!(stream.response().await.unwrap().status, 200);
    ///     assert_eq!(stream.chunk().await.unwrap().unwrap(), "one");
    ///     stream.finish().await.unwrap();
    ///     assert!(stream.chunk().await.is_none());
    /// });
    /// ```
    /// # Panics
    /// On a request that cannot be made.
    #[track_caller]
    pub fn stream(&self, request: impl Into<RequestParts>) -> ClientStream {
        match self.session.request(request, RequestOptions::default()) {
            Ok(stream) => stream,
            Err(error) => panic!("the request was not made: {error}"),
        }
    }

    async fn answer(&self, parts: RequestParts, body: Body, at: &'static Location<'static>) -> Response {
        let method = if parts.method.is_empty() { "GET" } else { &parts.method };
        let asked = format!("{method} {}", parts.path.as_deref().unwrap_or("/"));
        match timeout(patience(), self.exchange(parts, body)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => panic!("{asked}: no answer: {error}, asked at {at}"),
            Err(_) => panic!("{asked}: no whole answer after {:?}, asked at {at}", patience()),
        }
    }

    async fn exchange(&self, parts: RequestParts, body: Body) -> Result<Response, Error> {
        let stream = self.session.request(parts, RequestOptions::with_body(body))?;
        Ok(Response::of(stream).await?)
    }

    /// A request made now would be taken: the session is open, and the server has not said GOAWAY.
    pub fn takes_requests(&self) -> bool {
        self.session.takes_requests()
    }

    /// The session, for everything else a client can do.
    pub fn session(&self) -> &ClientSession {
        &self.session
    }

    /// Ends the session when its streams have ended; waits for that and says how it ended.
    /// # Panics
    /// When it is still open after the time a test waits.
    #[track_caller]
    pub fn close(self) -> impl Future<Output = SessionEnd> {
        let at = Location::caller();
        async move {
            match timeout(patience(), self.session.close()).await {
                Ok(end) => end,
                Err(_) => panic!("the session is not over after {:?}, closed at {at}", patience()),
            }
        }
    }

    /// Waits until the session is over, whoever ends it, and says how it ended.
    /// # Panics
    /// When it is still open after the time a test waits.
    #[track_caller]
    pub fn ended(&self) -> impl Future<Output = SessionEnd> {
        let at = Location::caller();
        async move {
            match timeout(patience(), self.session.ended()).await {
                Ok(end) => end,
                Err(_) => panic!("the session is not over after {:?}, waited for at {at}", patience()),
            }
        }
    }
}
