//! The Stream actor: one request, its handler, its response.
//!
//! A real actor with an address, but owned and polled by its session (`supervise.rs`), so that a panic of a
//! handler is a definite event there and ends this stream alone. It talks to the session through the
//! link and never waits for an answer. It knows no frames and no sockets: the same actor serves HTTP/2
//! and HTTP/1.1.
//!
//! Invariants: the handler runs inside this actor's context and nowhere else; on `Reply::Ready` with a body
//! known whole everything happens in `started`, without a future.

mod exchange;
mod finish;

use std::rc::Rc;

use actix::prelude::*;
use stagedoor_metrics::Method;
use stagedoor_protocol::{ErrorCode, StreamId};
use tracing::Span;

use crate::link::{Link, ToSession, take_request};
use crate::service::{Reply, Request};
use crate::session::SessionHandle;

pub(crate) use exchange::Exchange;
pub(crate) use finish::{Answer, answer};

/// Order: this stream is over; handler and body are dropped at once.
#[derive(Clone, Copy, Debug)]
pub struct CloseStream {
    /// The code of RST_STREAM or GOAWAY behind it.
    pub code: ErrorCode,
}

impl Message for CloseStream {
    type Result = ();
}

/// One exchange of a session. Kept small: with its context it is built and moved for every request, so the
/// request waits beside it and the span is boxed where it is enabled at all.
pub struct Stream {
    id: StreamId,
    link: Rc<Link>,
    /// What a response may hold depends on it (RFC 9110 §6.4.1).
    method: Method,
    span: Option<Box<Span>>,
}

impl Stream {
    /// The stream whose request was given to `hand_over`; it must be polled before the next one is.
    pub(crate) fn new(id: StreamId, link: Rc<Link>, method: Method) -> Self {
        let span = tracing::debug_span!(parent: &link.span, "stream", id = id.get());
        let span = (!span.is_disabled()).then(|| Box::new(span));
        Self { id, link, method, span }
    }

    /// A clone of the stream's span, to be entered while the actor is borrowed.
    fn span(&self) -> Span {
        self.span.as_ref().map_or_else(Span::none, |span| Span::clone(span))
    }
}

impl Actor for Stream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((head, body)) = take_request() else { return ctx.stop() };
        let span = self.span();
        let _entered = span.enter();
        let service = &self.link.service;
        let route = service.route(&head);
        let session = SessionHandle::new(Rc::clone(&self.link));
        let later = match service.call(Request { head, body, stream: self.id, session }) {
            Reply::Ready(response) => match answer(response, self.method, self.link.now()) {
                Answer::Whole(head, body) => {
                    self.link.send(ToSession::SendWhole { id: self.id, route, head, body });
                    return ctx.stop();
                }
                Answer::Streaming(head, body) => Exchange::body(self, route, head, body),
            },
            Reply::Later(handler) => {
                self.link.send(ToSession::Routed { id: self.id, route });
                Exchange::handler(route, handler)
            }
        };
        ctx.spawn(later);
    }
}

impl Handler<CloseStream> for Stream {
    type Result = ();

    fn handle(&mut self, CloseStream { code }: CloseStream, ctx: &mut Self::Context) {
        tracing::debug!(parent: &self.span(), %code, "stream closed under its handler");
        ctx.stop();
    }
}
