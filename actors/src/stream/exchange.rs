//! An exchange that takes time: the handler's future, then the body, polled while the session takes octets.
//!
//! Invariants: the body is polled only with capacity in hand, so a producer is never more than one frame
//! ahead of what the session took; END_STREAM rides on the last octets where the body knows its end.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll, ready};

use actix::prelude::*;
use bytes::Bytes;
use stagedoor_metrics::{Outcome, RouteId};
use stagedoor_protocol::{ErrorCode, Fields, ResponseHead};

use super::{Answer, Identity, Stream, answer};
use crate::body::{BoxBody, TunnelBody};
use crate::convert;
use crate::files::take_read;
use crate::link::{Flow, Note, ToSession};
use crate::service::Response;

/// The future of a stream that did not end in `started`.
pub(crate) enum Exchange {
    /// The handler thinks.
    Handler(RouteId, Pin<Box<dyn Future<Output = Response>>>),
    /// The handler sends by itself.
    Driven(Pin<Box<dyn Future<Output = ()>>>),
    /// The body flows.
    Body(Box<Sending>),
    /// Nothing more to do.
    Over,
}

/// A body on its way.
pub(crate) struct Sending {
    body: BoxBody,
    flow: Rc<Flow>,
    /// Octets the body gave and the session has not taken yet.
    held: Bytes,
    /// What came after them.
    tail: Tail,
}

enum Tail {
    More,
    End,
    Trailers(Fields),
    Failed,
}

impl Exchange {
    /// Sends the head of a response whose body follows.
    pub(crate) fn body(stream: &Identity, route: RouteId, head: ResponseHead, body: BoxBody) -> Self {
        let flow = Rc::new(Flow::default());
        stream.link.answer(ToSession::SendHead { id: stream.id, route, head, flow: Rc::clone(&flow) });
        Self::Body(Box::new(Sending { body, flow, held: Bytes::new(), tail: Tail::More }))
    }

    /// Sends the head of a tunnel and serves it.
    pub(crate) fn tunnel(stream: &Identity, tunnel: TunnelBody) -> Self {
        stream.link.begin_tunnel(tunnel.head);
        Self::Driven(tunnel.run)
    }

    /// Sends the body of a request whose head is out.
    pub(crate) fn upload(body: BoxBody, flow: Rc<Flow>) -> Self {
        Self::Body(Box::new(Sending { body, flow, held: Bytes::new(), tail: Tail::More }))
    }

    fn poll_exchange(&mut self, stream: &Identity, cx: &mut task::Context<'_>) -> Poll<()> {
        if let Self::Handler(route, handler) = self {
            let route = *route;
            let response = ready!(handler.as_mut().poll(cx));
            // The handler's future goes before its response is sent: what it held is released.
            *self = Self::Over;
            *self = match answer(response, stream.method, stream.link.now()) {
                Answer::Whole(head, body) => {
                    stream.link.answer(ToSession::SendWhole { id: stream.id, route, head, body });
                    return Poll::Ready(());
                }
                Answer::Trailed(head, body, trailers) => match stream.trailed(route, head, body, trailers) {
                    Some(exchange) => exchange,
                    None => return Poll::Ready(()),
                },
                Answer::Streaming(head, body) => Self::body(stream, route, head, body),
                Answer::Tunnel(tunnel) => Self::tunnel(stream, *tunnel),
            };
        }
        // What a handler became may have work at once.
        match self {
            Self::Body(sending) => sending.poll(stream, cx),
            Self::Driven(handler) => handler.as_mut().poll(cx),
            Self::Handler(..) | Self::Over => Poll::Ready(()),
        }
    }
}

impl Sending {
    fn poll(&mut self, stream: &Identity, cx: &mut task::Context<'_>) -> Poll<()> {
        loop {
            if self.held.is_empty() && matches!(self.tail, Tail::More) {
                ready!(self.flow.poll_capacity(cx));
                ready!(self.pull(cx));
            }
            if self.held.is_empty() {
                match std::mem::replace(&mut self.tail, Tail::End) {
                    Tail::More => {
                        self.tail = Tail::More;
                        continue;
                    }
                    Tail::End => {
                        let data = Bytes::new();
                        stream.link.answer(ToSession::SendData { id: stream.id, data, end: true });
                    }
                    Tail::Trailers(fields) => {
                        stream.link.answer(ToSession::SendTrailers { id: stream.id, fields });
                    }
                    Tail::Failed => self.fail(stream),
                }
                return Poll::Ready(());
            }
            let capacity = ready!(self.flow.poll_capacity(cx));
            if matches!(self.tail, Tail::More) && capacity > self.held.len() {
                // Is this the last? Then END_STREAM can ride on it. If the body does not know yet, so be it.
                let mut kept = Kept { octets: std::mem::take(&mut self.held), stream };
                let pulled = self.pull(cx);
                let next = std::mem::replace(&mut self.held, kept.take());
                if pulled.is_ready() && !next.is_empty() {
                    self.give(stream, self.held.len(), false);
                    self.held = next;
                    continue;
                }
            }
            let take = capacity.min(self.held.len());
            let end = take == self.held.len() && matches!(self.tail, Tail::End);
            self.give(stream, take, end);
            if end {
                return Poll::Ready(());
            }
        }
    }

    fn give(&mut self, stream: &Identity, take: usize, end: bool) {
        let data = self.held.split_to(take);
        self.flow.spend(take);
        stream.link.answer(ToSession::SendData { id: stream.id, data, end });
    }

    /// Takes one frame from the body.
    fn pull(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.tail = match ready!(self.body.as_mut().poll_frame(cx)) {
            None => Tail::End,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.held = data;
                    if self.body.is_end_stream() { Tail::End } else { Tail::More }
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => Tail::Trailers(convert::to_fields(&trailers)),
                    Err(_) => Tail::More,
                },
            },
            Some(Err(error)) => {
                tracing::debug!(%error, "a response body failed");
                Tail::Failed
            }
        };
        Poll::Ready(())
    }

    fn fail(&self, stream: &Identity) {
        let (code, outcome) = (ErrorCode::INTERNAL_ERROR, Outcome::ResetByUs);
        stream.link.send(ToSession::Reset { id: stream.id, code, outcome });
    }
}

/// Octets put by while the body is asked for more: where it panics, they still go out before the reset.
struct Kept<'a> {
    octets: Bytes,
    stream: &'a Identity,
}

impl Kept<'_> {
    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.octets)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.octets.is_empty() {
            let (id, data) = (self.stream.id, self.take());
            self.stream.link.send(ToSession::SendData { id, data, end: false });
        }
    }
}

impl ActorFuture<Stream> for Exchange {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        stream: &mut Stream,
        ctx: &mut Context<Stream>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let Some(stream) = &stream.identity else { return Poll::Ready(()) };
        let span = stream.span();
        let _entered = span.enter();
        let polled = self.get_mut().poll_exchange(stream, cx);
        let octets = take_read();
        if octets > 0 {
            stream.link.send(ToSession::Note { id: stream.id, note: Note::FileRead(octets) });
        }
        ready!(polled);
        ctx.stop();
        Poll::Ready(())
    }
}
