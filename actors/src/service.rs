//! What an application writes: a [`Service`] turns a [`Request`] into a [`Response`], the same on HTTP/2 and
//! HTTP/1.1. It runs inside a Stream actor, never inside frame parsing; a panic ends its stream alone.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use stagedoor_metrics::RouteId;
use stagedoor_protocol::{Fields, RequestHead, StreamId};

use crate::body::{Body, RequestBody, TunnelBody};
use crate::link::{Note, ToSession};
use crate::session::SessionHandle;
use crate::stream::{ServerStream, StreamHandle, StreamMisuse};
use crate::trace::{self, TraceContext};
use crate::tunnel::{self, Tunnel, TunnelTo};

/// Handles requests. One instance per worker: it may be `!Send` and needs no locks.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use std::{cell::Cell, rc::Rc};
///
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// /// One for each worker: a `Cell` will do.
/// struct Counter(Cell<u64>);
///
/// impl Service for Counter {
///     fn call(&self, _: Request) -> Reply {
///         self.0.set(self.0.get() + 1);
///         Response::text(self.0.get().to_string()).into()
///     }
/// }
///
/// let service = Rc::new(Counter(Cell::new(0)));
/// # let (_host, session) = in_memory(service)?;
/// session.send(http::Request::get("/").body(())?).await?;
/// let mut second = session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(second.body_mut().collect_up_to(100).await?, "2");
/// # Ok(())
/// # })
/// # }
/// ```
pub trait Service: 'static {
    /// The route whose label this request counts under. Called before [`Self::call`].
    fn route(&self, head: &RequestHead) -> RouteId {
        let _ = head;
        RouteId::UNMATCHED
    }

    /// The name of a route, for people who look at live streams.
    fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        match route {
            RouteId::UNMATCHED => Cow::Borrowed("_unmatched"),
            RouteId::ADMIN => Cow::Borrowed("_admin"),
            other => Cow::Owned(other.get().to_string()),
        }
    }

    /// What a client hears whose request has an `expect` field (RFC 9110 §10.1.1). By default 100-continue goes out
    /// when the handler first waits for the body, and any other expectation is answered 417.
    fn expect(&self, head: &RequestHead) -> Expectation {
        match head.fields().get("expect") {
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Expectation::Continue,
            _ => Expectation::Fail,
        }
    }

    /// Answers a request.
    fn call(&self, request: Request) -> Reply;
}

/// Makes a worker's own [`Service`].
///
/// ```
/// use std::{rc::Rc, sync::Arc};
///
/// use stagedoor_actors::{Reply, Request, Response, Service, ServiceFactory};
///
/// struct Hello;
///
/// impl Service for Hello {
///     fn call(&self, _: Request) -> Reply {
///         Response::text("hello").into()
///     }
/// }
///
/// let factory: ServiceFactory = Arc::new(|| Rc::new(Hello));
/// ```
pub type ServiceFactory = Arc<dyn Fn() -> Rc<dyn Service> + Send + Sync>;

/// What is done about an `expect` field.
///
/// ```
/// use stagedoor_actors::{Expectation, Reply, Request, Response, Service};
/// use stagedoor_protocol::RequestHead;
///
/// struct Small;
///
/// impl Service for Small {
///     fn expect(&self, head: &RequestHead) -> Expectation {
///         let small = head.content_length().is_some_and(|octets| octets < 1024);
///         if small { Expectation::Continue } else { Expectation::Fail }
///     }
///
///     fn call(&self, _: Request) -> Reply {
///         Response::new(204).into()
///     }
/// }
///
/// let head = RequestHead::new("PUT", "http", "example.org", "/");
/// assert_eq!(Small.expect(&head), Expectation::Fail);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// 100 when the handler first waits for the body; none when it answers before.
    Continue,
    /// The handler sees to it: [`StreamHandle::informational`] with 100, or a final answer. HTTP/1.1 sends 100
    /// when the body is waited for all the same.
    Handler,
    /// 417 without asking the handler.
    Fail,
}

/// An answer, or the promise of one.
///
/// ```
/// use stagedoor_actors::{Reply, Request, Response};
///
/// fn answer(request: Request) -> Reply {
///     match request.head.path() {
///         Some("/now") => Response::text("known at once\n").into(),
///         Some("/soon") => Reply::soon(async { Response::text("mostly known at once\n") }),
///         _ => Reply::later(async move {
///             let body = request.body.collect(100).await;
///             body.map_or_else(|_| Response::new(413), |octets| Response::text(format!("{} octets\n", octets.len())))
///         }),
///     }
/// }
/// assert!(matches!(Reply::soon(async { Response::new(204) }), Reply::Ready(_)));
/// ```
pub enum Reply {
    /// Known at once: no future is allocated.
    Ready(Response),
    /// Known later. Dropped when the stream ends first.
    Later(Pin<Box<dyn Future<Output = Response>>>),
    /// The handler says it bit by bit through a [`ServerStream`]. Dropped when the stream ends first.
    Driven(Pin<Box<dyn Future<Output = ()>>>),
}

impl Reply {
    /// A reply that is computed by `future`.
    pub fn later(future: impl Future<Output = Response> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// [`Self::later`] for a handler that often has nothing to wait for: it is polled right here, and an answer that is
    /// known then costs no more than [`Self::Ready`]. What has to wait is polled again by its stream at once.
    pub fn soon(future: impl Future<Output = Response> + 'static) -> Self {
        let mut future: Pin<Box<dyn Future<Output = Response>>> = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Self::Ready(response),
            Poll::Pending => Self::Later(future),
        }
    }

    /// A reply that `future` sends through a [`ServerStream`] it holds.
    pub fn driven(future: impl Future<Output = ()> + 'static) -> Self {
        Self::Driven(Box::pin(future))
    }
}

impl Reply {
    /// The same with its response changed, once it is known. A reply that its handler sends by itself stays as it is.
    pub fn map(self, change: impl FnOnce(Response) -> Response + 'static) -> Self {
        match self {
            Self::Ready(response) => Self::Ready(change(response)),
            Self::Later(reply) => Self::later(async move { change(reply.await) }),
            Self::Driven(reply) => Self::Driven(reply),
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Ready(response)
    }
}

/// A request as it reaches the application.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// struct Told;
///
/// impl Service for Told {
///     fn call(&self, request: Request) -> Reply {
///         let (method, path) = (request.head.method(), request.head.path().unwrap_or("-"));
///         let Request { stream, session, .. } = &request;
///         Response::text(format!("{method} {path} on stream {stream} over {}", session.protocol)).into()
///     }
/// }
/// # let service = std::rc::Rc::new(Told);
/// # let (_host, session) = in_memory(service)?;
/// # let mut answer = session.send(http::Request::get("/a").body(())?).await?;
/// # assert_eq!(answer.body_mut().collect_up_to(100).await?, "GET /a on stream 1 over h2c");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Request {
    /// Method, target and fields, in raw order.
    pub head: RequestHead,
    /// The body, read with backpressure; dropping it unread tells the peer to stop.
    pub body: RequestBody,
    /// The stream it came on (HTTP/1.1: the number of the exchange, counted 1, 3, 5 ...).
    pub stream: StreamId,
    /// The session it came on: what it is, and what it can be told and asked.
    pub session: SessionHandle,
    /// What [`Service::route`] said of it.
    pub route: RouteId,
}

impl Request {
    /// A handle of the stream: informational heads, pushes, resets, its end.
    pub fn handle(&self) -> StreamHandle {
        StreamHandle::new(self.session.link(), self.stream, self.route)
    }

    /// From now on the stream's time goes to `upstream` while nothing else holds it up, as
    /// [`StreamHandle::waits_for_upstream`] says it, without a handle.
    pub fn waits_for_upstream(&self) {
        self.session.link().send(ToSession::Note { id: self.stream, note: Note::Upstream(true) });
    }

    /// Says why the request is answered by an error, as [`StreamHandle::blame`] does, without a handle.
    pub fn blame(&self, cause: &'static str) {
        self.session.link().send(ToSession::Note { id: self.stream, note: Note::Cause(cause) });
    }

    /// Where the request stands in its trace (W3C Trace Context): the one it brought, otherwise one that begins with
    /// it, the same whenever it is asked for. Made now; pass [`TraceContext::traceparent`] on with what is asked of
    /// others on its behalf.
    pub fn trace(&self) -> TraceContext {
        trace::of_stream(&self.head, &self.session, self.stream)
    }

    /// Takes the answer into the handler's own hands, see [`Reply::driven`].
    pub fn into_stream(self) -> ServerStream {
        ServerStream::new(self)
    }

    /// The tunnel the request asks for: CONNECT, extended CONNECT (RFC 8441), or an HTTP/1.1 upgrade.
    pub fn tunnel(&self) -> Option<TunnelTo<'_>> {
        tunnel::wanted(&self.head)
    }

    /// The response that opens the tunnel and serves it with `run`, inside the Stream actor.
    /// # Errors
    /// As [`Self::accept_tunnel`].
    pub fn tunnel_response<F, Fut>(self, fields: Fields, run: F) -> Result<Response, StreamMisuse>
    where
        F: FnOnce(Tunnel) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (head, tunnel) = tunnel::open(&self.handle(), &self.head, self.body, fields, true)?;
        let task = TunnelBody { head, run: Box::pin(run(tunnel)) };
        Ok(Response::new(200).with_body(Body::Tunnel(Box::new(task))))
    }

    /// Answers with a tunnel that `run` serves; it runs inside the Stream actor and ends with it. Meant for
    /// handlers that are not `async`; others may use [`ServerStream::tunnel`].
    /// # Errors
    /// [`StreamMisuse::NoTunnel`] where the request asks for none; the fields are at fault otherwise.
    pub fn accept_tunnel<F, Fut>(self, fields: Fields, run: F) -> Result<Reply, StreamMisuse>
    where
        F: FnOnce(Tunnel) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let tunnel = self.into_stream().tunnel(fields)?;
        Ok(Reply::driven(run(tunnel)))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("stream", &self.stream)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// A [`Response`] that is known whole, and so may go to another thread.
///
/// ```
/// use stagedoor_actors::{Response, WholeResponse};
///
/// let whole: WholeResponse = Response::text("hello").into_whole().expect("it is known whole");
/// let there = std::thread::spawn(move || Response::from(whole).status);
/// assert_eq!(there.join().unwrap(), 200);
/// ```
#[derive(Debug)]
pub struct WholeResponse {
    status: u16,
    fields: Fields,
    octets: Bytes,
    dated: bool,
    trailers: Option<Box<Fields>>,
}

impl From<WholeResponse> for Response {
    fn from(whole: WholeResponse) -> Self {
        let WholeResponse { status, fields, octets, dated, trailers } = whole;
        Self { status, fields, body: Body::full(octets), dated, trailers }
    }
}

/// A response. `date` is added when missing; `content-length` when the body's length is known.
///
/// ```
/// use stagedoor_actors::{Body, Response};
/// use stagedoor_protocol::Fields;
///
/// let made = Response::new(201).with_field("location", "/jobs/7").with_body(Body::from("made\n"));
/// assert_eq!((made.status, made.fields.get_str("location")), (201, Some("/jobs/7")));
/// let summed = Response::text("1 2 3\n").with_trailers(Fields::from_iter([("x-sum", "6")]));
/// assert_eq!(summed.status, 200);
/// ```
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Fields in raw order.
    pub fields: Fields,
    /// The body.
    pub body: Body,
    /// `date` is added where it is missing.
    pub(crate) dated: bool,
    /// They follow the body.
    pub(crate) trailers: Option<Box<Fields>>,
}

impl Response {
    /// `status` without fields or body.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), body: Body::Empty, dated: true, trailers: None }
    }

    /// 200 with a text body.
    pub fn text(text: impl Into<Bytes>) -> Self {
        // Room for the `content-length` and `date` that are added on the way out.
        let fields = Fields::with_capacity(4, 104);
        let response =
            Self { status: 200, fields, body: Body::Full(text.into()), dated: true, trailers: None };
        response.with_field("content-type", "text/plain; charset=utf-8")
    }

    /// 500 in words that say nothing: what went wrong is for the log.
    pub fn internal_error() -> Self {
        let mut response = Self::text("internal server error\n");
        response.status = 500;
        response
    }

    /// Adds a field.
    pub fn with_field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// The answer to CONNECT: 2xx without a tunnel would say that there is one (RFC 9110 §9.3.6), and who opened none has
    /// not meant it. 405 then.
    pub fn unless_by_chance(self) -> Self {
        if matches!(self.body, Body::Tunnel(_)) || !(200..300).contains(&self.status) {
            return self;
        }
        // Nothing else is allowed of the end of a tunnel either.
        let mut refused = Self::text("no tunnels here\n").with_field("allow", "");
        refused.status = 405;
        refused
    }

    /// The same without the `date` field we would add.
    #[must_use]
    pub fn without_date(mut self) -> Self {
        self.dated = false;
        self
    }

    /// Trailers behind the body (RFC 9110 §6.5). No `content-length` is added then. Of a body that has some of its own, these
    /// come in their place.
    pub fn with_trailers(mut self, trailers: Fields) -> Self {
        self.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
        self
    }

    /// The response for another thread; `None` where its body is produced while it is sent, or is a tunnel.
    pub fn into_whole(self) -> Option<WholeResponse> {
        let Self { status, fields, body, dated, trailers } = self;
        let octets = match body {
            Body::Empty => Bytes::new(),
            Body::Full(octets) => octets,
            Body::Stream(_) | Body::Tunnel(_) => return None,
        };
        Some(WholeResponse { status, fields, octets, dated, trailers })
    }

    /// Sets the body.
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}
