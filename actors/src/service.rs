//! What an application writes: a [`Service`] turns a [`Request`] into a [`Response`], the same on HTTP/2 and
//! HTTP/1.1. It runs inside a Stream actor, never inside frame parsing; a panic ends its stream alone.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use stagedoor_metrics::RouteId;
use stagedoor_protocol::{Fields, RequestHead, StreamId};

use crate::body::{Body, RequestBody};
use crate::session::SessionHandle;

/// Handles requests. One instance per worker: it may be `!Send` and needs no locks.
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

    /// Answers a request.
    fn call(&self, request: Request) -> Reply;
}

/// Makes a worker's own [`Service`].
pub type ServiceFactory = Arc<dyn Fn() -> Rc<dyn Service> + Send + Sync>;

/// An answer, or the promise of one.
pub enum Reply {
    /// Known at once: no future is allocated.
    Ready(Response),
    /// Known later. Dropped when the stream ends first.
    Later(Pin<Box<dyn Future<Output = Response>>>),
}

impl Reply {
    /// A reply that is computed by `future`.
    pub fn later(future: impl Future<Output = Response> + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Ready(response)
    }
}

/// A request as it reaches the application.
pub struct Request {
    /// Method, target and fields, in raw order.
    pub head: RequestHead,
    /// The body, read with backpressure; dropping it unread tells the peer to stop.
    pub body: RequestBody,
    /// The stream it came on (HTTP/1.1: the number of the exchange, counted 1, 3, 5 ...).
    pub stream: StreamId,
    /// The session it came on: what it is, and what it can be told and asked.
    pub session: SessionHandle,
}

/// A response. `date` is added when missing; `content-length` when the body's length is known.
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Fields in raw order.
    pub fields: Fields,
    /// The body.
    pub body: Body,
}

impl Response {
    /// `status` without fields or body.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), body: Body::Empty }
    }

    /// 200 with a text body.
    pub fn text(text: impl Into<Bytes>) -> Self {
        // Room for the `content-length` and `date` that are added on the way out.
        let fields = Fields::with_capacity(4, 104);
        let response = Self { status: 200, fields, body: Body::Full(text.into()) };
        response.with_field("content-type", "text/plain; charset=utf-8")
    }

    /// Adds a field.
    pub fn with_field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Sets the body.
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}
