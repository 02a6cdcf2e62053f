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
use stagedoor_protocol::{ErrorCode, RequestHead, StreamId};
use tracing::Span;

use crate::body::RequestBody;
use crate::link::{Link, ToSession};
use crate::service::{Reply, Request};

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

/// One exchange of a session.
pub struct Stream {
    id: StreamId,
    link: Rc<Link>,
    request: Option<(RequestHead, RequestBody)>,
    /// HEAD: a response has fields only (RFC 9110 §9.3.2).
    is_head: bool,
    span: Span,
}

impl Stream {
    pub(crate) fn new(id: StreamId, link: Rc<Link>, head: RequestHead, body: RequestBody) -> Self {
        let span = tracing::debug_span!(parent: &link.span, "stream", id = id.get());
        let is_head = head.method() == "HEAD";
        Self { id, link, request: Some((head, body)), is_head, span }
    }
}

impl Actor for Stream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((head, body)) = self.request.take() else { return ctx.stop() };
        let span = self.span.clone();
        let _entered = span.enter();
        let service = &self.link.service;
        let route = service.route(&head);
        let session = Rc::clone(&self.link.info);
        let later = match service.call(Request { head, body, stream: self.id, session }) {
            Reply::Ready(response) => match answer(response, self.is_head, self.link.now()) {
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
        tracing::debug!(parent: &self.span, %code, "stream closed under its handler");
        ctx.stop();
    }
}
