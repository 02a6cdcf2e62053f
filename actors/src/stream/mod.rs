//! The Stream actor: one request, its handler, its response.
//!
//! A real actor with an address, but owned and polled by its session (`supervise.rs`), so that a panic of a
//! handler is a definite event there and ends this stream alone. It talks to the session through the
//! link and never waits for an answer. It knows no frames and no sockets: the same actor serves HTTP/2
//! and HTTP/1.1.
//!
//! Its context is used again: between two requests it is nobody (`brood.rs`).
//!
//! Invariants: the handler runs inside this actor's context and nowhere else; on `Reply::Ready` with a body
//! known whole everything happens in `started`, without a future.

mod exchange;
mod finish;
mod handle;
mod server;

use std::rc::Rc;

use actix::prelude::*;
use bytes::Bytes;
use stagedoor_metrics::{Method, RouteId};
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId};
use tracing::Span;

use crate::body::{Body, RequestBody};
use crate::brood::Reborn;
use crate::link::{Link, Note, Start, ToSession, take_start};
use crate::service::{Expectation, Reply, Request, Response};
use crate::session::SessionHandle;

pub use handle::{Closed, Phase, Pushed, StreamHandle, StreamMisuse};
pub use server::ServerStream;

pub(crate) use exchange::Exchange;
pub(crate) use finish::{Answer, answer, head_of, trailed};
pub(crate) use handle::Watched;

/// Order: this stream is over; handler and body are dropped at once.
#[derive(Clone, Copy, Debug)]
pub struct CloseStream {
    /// Which stream: the order may come after another has begun in its context.
    pub id: StreamId,
    /// The code of RST_STREAM or GOAWAY behind it.
    pub code: ErrorCode,
}

impl Message for CloseStream {
    type Result = ();
}

/// One exchange of a session, once it has started; nobody before, and after its end.
#[derive(Default)]
pub struct Stream {
    identity: Option<Identity>,
}

/// Who a stream is.
pub(crate) struct Identity {
    pub(crate) id: StreamId,
    pub(crate) link: Rc<Link>,
    /// What a response may hold depends on it (RFC 9110 §6.4.1).
    method: Method,
    span: Option<Box<Span>>,
}

impl Identity {
    /// `span` is the stream's, where somebody wants it.
    pub(crate) fn new(id: StreamId, link: Rc<Link>, method: Method, span: Option<&Span>) -> Self {
        Self { id, link, method, span: span.map(|span| Box::new(span.clone())) }
    }

    /// A clone of the stream's span, to be entered while the actor is borrowed.
    fn span(&self) -> Span {
        self.span.as_ref().map_or_else(Span::none, |span| Span::clone(span))
    }
}

impl Supervised for Stream {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.identity = None;
    }
}

impl Reborn for Stream {}

impl Actor for Stream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((identity, start)) = take_start() else { return ctx.stop() };
        let stream = self.identity.insert(identity);
        let span = stream.span();
        let _entered = span.enter();
        let Some(exchange) = stream.begin(start) else { return ctx.stop() };
        ctx.spawn(exchange);
    }
}

impl Identity {
    /// Does what can be done at once; what is left is a future.
    fn begin(&self, start: Start) -> Option<Exchange> {
        let (route, reply) = match start {
            Start::Request(head, body) => self.ask(head, body),
            Start::Push(route, reply) => (route, reply.take()?),
            Start::Upload(body, flow) => return Some(Exchange::upload(body.take()?, flow)),
        };
        match reply {
            Reply::Ready(response) => match answer(response, self.method, self.link.now()) {
                Answer::Whole(head, body) => {
                    self.link.answer(ToSession::SendWhole { id: self.id, route, head, body });
                    None
                }
                Answer::Trailed(head, body, trailers) => self.trailed(route, head, body, trailers),
                Answer::Streaming(head, body) => Some(Exchange::body(self, route, head, body)),
                Answer::Tunnel(tunnel) => Some(Exchange::tunnel(self, *tunnel)),
            },
            Reply::Later(handler) => {
                self.link.send(ToSession::Note { id: self.id, note: Note::Routed(route) });
                Some(Exchange::Handler(route, handler))
            }
            Reply::Driven(handler) => {
                self.link.send(ToSession::Note { id: self.id, note: Note::Routed(route) });
                Some(Exchange::Driven(handler))
            }
        }
    }

    /// A response known whole that ends with trailers.
    fn trailed(&self, route: RouteId, head: ResponseHead, body: Bytes, trailers: Fields) -> Option<Exchange> {
        if !self.link.info.is_http2() {
            return Some(Exchange::body(self, route, head, trailed(Body::Full(body), trailers)));
        }
        // The machine keeps what the windows do not allow yet, as of every whole response.
        self.link.answer(ToSession::SendHead { id: self.id, route, head, flow: Rc::default() });
        if !body.is_empty() {
            self.link.answer(ToSession::SendData { id: self.id, data: body, end: false });
        }
        self.link.answer(ToSession::SendTrailers { id: self.id, fields: trailers });
        None
    }

    /// Asks the service.
    #[inline]
    fn ask(&self, head: RequestHead, body: RequestBody) -> (RouteId, Reply) {
        let service = &self.link.service;
        let route = service.route(&head);
        if head.expects() {
            match service.expect(&head) {
                Expectation::Continue => body.ask_for_it(),
                Expectation::Handler => {}
                Expectation::Fail => return (route, Response::new(417).into()),
            }
        }
        let session = SessionHandle::new(Rc::clone(&self.link));
        (route, service.call(Request { head, body, stream: self.id, session, route }))
    }
}

impl Handler<CloseStream> for Stream {
    type Result = ();

    fn handle(&mut self, CloseStream { id, code }: CloseStream, ctx: &mut Self::Context) {
        let Some(stream) = self.identity.as_ref().filter(|stream| stream.id == id) else { return };
        tracing::debug!(parent: &stream.span(), %code, "stream closed under its handler");
        ctx.stop();
    }
}
