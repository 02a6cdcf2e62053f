//! The handler a newcomer writes: an `async fn` from a request to a response with the types of the `http` crate.
//!
//! A thin layer over [`Service`]: [`handler`] turns such a function into what a listener serves. The same function
//! answers HTTP/2 and HTTP/1.1. What it cannot say (informational heads, pushes, tunnels, resets) its request's
//! [`Incoming::handle`] can, and [`crate::ServerStream`] one level below says all of it.
//! Invariant: a response without trailers costs no frame more than the stream API would send.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use stagedoor_metrics::RouteId;
use stagedoor_protocol::{Fields, RequestHead, StreamId};

use crate::body::{Body, BodyError, RequestBody};
use crate::convert;
use crate::service::{Reply, Request, Response, Service, ServiceFactory};
use crate::session::SessionHandle;
use crate::stream::{StreamHandle, StreamMisuse};
use crate::tunnel::{self, Tunnel};

/// A request: method, URI, version and fields of the `http` crate, and a body that also knows its stream.
///
/// ```
/// use stagedoor_actors::facade::{HttpRequest, handler};
///
/// async fn hello(request: HttpRequest) -> String {
///     format!("{} {}\n", request.method(), request.uri().path())
/// }
/// let service = handler(hello);
/// ```
pub type HttpRequest = http::Request<Incoming>;

/// A response of the `http` crate.
///
/// ```
/// use stagedoor_actors::Body;
/// use stagedoor_actors::facade::{HttpResponse, IntoResponse as _};
///
/// let answer: HttpResponse = http::Response::new(Body::from("hello"));
/// assert_eq!(answer.into_response().status, 200);
/// ```
pub type HttpResponse = http::Response<Body>;

/// The body of a request, with backpressure: the peer's windows open as it is read. Dropping it unread tells the
/// peer to stop.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::BodyError;
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| {
///     let mut body = request.into_body();
///     let mut octets = 0;
///     while let Some(chunk) = body.chunk().await {
///         octets += chunk?.len();
///     }
///     Ok::<_, BodyError>(format!("{octets} octets on stream {}\n", body.handle().id()))
/// });
/// # let (_host, session) = in_memory(service)?;
/// let mut answer = session.send(http::Request::post("/").body("tea")?).await?;
/// assert_eq!(answer.body_mut().collect_up_to(100).await?, "3 octets on stream 1\n");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Incoming {
    body: RequestBody,
    /// Where it asks for a tunnel.
    head: Option<Box<RequestHead>>,
    stream: StreamId,
    route: RouteId,
    session: SessionHandle,
}

/// `:protocol` of an extended CONNECT (RFC 8441), among a request's extensions.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use http::StatusCode;
/// use stagedoor_actors::client::{Error, RequestParts, StreamError};
/// use stagedoor_actors::facade::{HttpRequest, Protocol, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| match request.extensions().get() {
///     Some(Protocol(name)) if name == "chat" => StatusCode::NOT_IMPLEMENTED,
///     _ => StatusCode::BAD_REQUEST,
/// });
/// # let (_host, session) = in_memory(service)?;
/// let refused = session.connect_tunnel(RequestParts::extended_connect("chat", "/")).await.err();
/// assert!(matches!(refused, Some(Error::Stream(StreamError::TunnelRefused(501)))));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(pub String);

/// A body that is larger than its reader allows.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use http::StatusCode;
/// use stagedoor_actors::facade::{CollectError, HttpRequest, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| match request.into_body().collect(4).await {
///     Ok(_) => StatusCode::NO_CONTENT,
///     Err(CollectError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
///     Err(_) => StatusCode::BAD_REQUEST,
/// });
/// # let (_host, session) = in_memory(service)?;
/// assert_eq!(session.send(http::Request::post("/").body("fives")?).await?.status(), 413);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// More than so many octets.
    #[error("the body is larger than {0} octets")]
    TooLarge(usize),
    /// It broke.
    #[error(transparent)]
    Broken(#[from] BodyError),
}

impl Incoming {
    /// The session the request came on.
    pub fn session(&self) -> &SessionHandle {
        &self.session
    }

    /// A handle of the stream: informational heads, pushes, resets, its end.
    pub fn handle(&self) -> StreamHandle {
        StreamHandle::new(self.session.link(), self.stream, self.route)
    }

    /// The next octets; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.body.chunk().await
    }

    /// Trailers, once [`Self::chunk`] has said `None`.
    pub fn trailers(&mut self) -> Option<http::HeaderMap> {
        self.body.trailers().map(|fields| convert::to_headers(&fields))
    }

    /// The whole body, of at most `limit` octets.
    /// # Errors
    /// [`CollectError::TooLarge`] as soon as it is known, [`CollectError::Broken`] where the peer goes.
    pub async fn collect(self, limit: usize) -> Result<Bytes, CollectError> {
        self.body.collect(limit).await.map_err(|error| match error {
            BodyError::TooLarge => CollectError::TooLarge(limit),
            broken => CollectError::Broken(broken),
        })
    }

    /// Answers with a tunnel: for CONNECT, extended CONNECT and HTTP/1.1 upgrades. `run` serves it inside the
    /// Stream actor; what it returns is for the handler to return.
    /// # Errors
    /// [`StreamMisuse::NoTunnel`] where the request asks for none.
    pub fn tunnel<F, Fut>(self, run: F) -> Result<HttpResponse, StreamMisuse>
    where
        F: FnOnce(Tunnel) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let wanted = self.head.as_deref().ok_or(StreamMisuse::NoTunnel)?;
        let (head, tunnel) = tunnel::open(&self.handle(), wanted, self.body, Fields::new(), true)?;
        let task = crate::body::TunnelBody { head, run: Box::pin(run(tunnel)) };
        Ok(http::Response::new(Body::Tunnel(Box::new(task))))
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("stream", &self.stream)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a handler may return.
///
/// ```
/// use http::StatusCode;
/// use stagedoor_actors::{IntoResponse, Response};
///
/// struct Busy;
///
/// impl IntoResponse for Busy {
///     fn into_response(self) -> Response {
///         (StatusCode::SERVICE_UNAVAILABLE, ([("retry-after", "1")], "come back soon\n")).into_response()
///     }
/// }
///
/// let answer = Busy.into_response();
/// assert_eq!((answer.status, answer.fields.get_str("retry-after")), (503, Some("1")));
/// ```
pub trait IntoResponse {
    /// The response it stands for.
    fn into_response(self) -> Response;
}

impl<B: Into<Body>> IntoResponse for http::Response<B> {
    fn into_response(self) -> Response {
        let (parts, body) = self.into_parts();
        let mut response = Response::new(parts.status.as_u16());
        response.fields = convert::to_fields(&parts.headers);
        response.body = body.into();
        response
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new(self.as_u16())
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(204)
    }
}

impl IntoResponse for Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

macro_rules! texts {
    ($($text:ty),*) => {$(
        impl IntoResponse for $text {
            fn into_response(self) -> Response {
                Response::text(self)
            }
        }

        impl From<$text> for Body {
            fn from(text: $text) -> Self {
                Self::full(text.into())
            }
        }
    )*};
}
texts!(&'static str, String);

macro_rules! octets {
    ($($octets:ty),*) => {$(
        impl IntoResponse for $octets {
            fn into_response(self) -> Response {
                Response::new(200).with_field("content-type", "application/octet-stream").with_body(self.into())
            }
        }

        impl From<$octets> for Body {
            fn from(octets: $octets) -> Self {
                Self::full(octets.into())
            }
        }
    )*};
}
octets!(Bytes, Vec<u8>);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::Empty
    }
}

/// Fields are added to what the response has.
impl<T: IntoResponse> IntoResponse for (http::HeaderMap, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        for (name, value) in &self.0 {
            response.fields.push(name.as_str(), value.as_bytes());
        }
        response
    }
}

/// Fields take the place of those the response has under the same name.
impl<N: AsRef<str>, V: AsRef<[u8]>, const C: usize, T: IntoResponse> IntoResponse for ([(N, V); C], T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        for (name, value) in &self.0 {
            response.fields.set(&name.as_ref().to_ascii_lowercase(), value.as_ref());
        }
        response
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        response.status = self.0.as_u16();
        response
    }
}

/// `Err` is logged and answered 500; its words stay here.
impl<T: IntoResponse, E: Display> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => {
                tracing::error!(%error, "a handler failed");
                Response::internal_error()
            }
        }
    }
}

/// Serves every request with `answer`: a factory for [`crate::ServerBuilder::listen`]. CONNECT that no handler made
/// a tunnel of with [`Incoming::tunnel`] is answered 405, whatever 2xx it says.
///
/// ```
/// use stagedoor_actors::facade::{HttpRequest, HttpResponse, handler};
///
/// async fn hello(request: HttpRequest) -> HttpResponse {
///     http::Response::new(format!("hello, {}\n", request.uri().path()).into())
/// }
/// let service = handler(hello);
/// ```
pub fn handler<F, Fut>(answer: F) -> ServiceFactory
where
    F: Fn(HttpRequest) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    Arc::new(move || Rc::new(Function(answer.clone())))
}

/// [`handler`] for one thread: the function need not be `Send`.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use std::{cell::Cell, rc::Rc};
///
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
///
/// let served = Rc::new(Cell::new(0));
/// let theirs = Rc::clone(&served);
/// let service = local_handler(move |_: HttpRequest| {
///     theirs.set(theirs.get() + 1);
///     async { "hello" }
/// });
/// # let (_host, session) = in_memory(service)?;
/// session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(served.get(), 1);
/// # Ok(())
/// # })
/// # }
/// ```
pub fn local_handler<F, Fut>(answer: F) -> Rc<dyn Service>
where
    F: Fn(HttpRequest) -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    Rc::new(Function(answer))
}

struct Function<F>(F);

impl<F, Fut> Service for Function<F>
where
    F: Fn(HttpRequest) -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoResponse,
{
    fn call(&self, request: Request) -> Reply {
        let connect = request.head.method() == "CONNECT";
        match to_http(request) {
            Some(request) => {
                let answer = (self.0)(request);
                Reply::soon(async move {
                    let response = answer.await.into_response();
                    if connect { response.unless_by_chance() } else { response }
                })
            }
            None => Response::new(400).into(),
        }
    }
}

/// The request with the types of the `http` crate; `None` where they cannot hold it.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::facade::to_http;
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// struct Paths;
///
/// impl Service for Paths {
///     fn call(&self, request: Request) -> Reply {
///         match to_http(request) {
///             Some(request) => Response::text(request.uri().path().to_owned()).into(),
///             None => Response::new(400).into(),
///         }
///     }
/// }
/// # let service = std::rc::Rc::new(Paths);
/// # let (_host, session) = in_memory(service)?;
/// # let mut answer = session.send(http::Request::get("/a?b").body(())?).await?;
/// # assert_eq!(answer.body_mut().collect_up_to(100).await?, "/a");
/// # Ok(())
/// # })
/// # }
/// ```
pub fn to_http(request: Request) -> Option<HttpRequest> {
    let Request { head, body, stream, route, session } = request;
    let protocol = head.protocol().map(|protocol| Protocol(protocol.to_owned()));
    // A tunnel is opened by what the head says.
    let kept = tunnel::wanted(&head).is_some().then(|| Box::new(head.clone()));
    let http2 = session.is_http2();
    let incoming = Incoming { body, head: kept, stream, route, session };
    let mut http = convert::to_request(head, http2, incoming, &mut None)?;
    if let Some(protocol) = protocol {
        http.extensions_mut().insert(protocol);
    }
    Some(http)
}
