//! Where a Stream's messages wait for hyper: the head as a future, the body as an `http_body::Body`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use stagedoor_protocol::{ResponseHead, StreamId};

use crate::convert;
use crate::link::{Flow, Link, ToSession};

/// Octets of a body that wait for hyper before the stream is asked to stop.
const SEND_BUFFER: usize = 64 << 10;

/// One exchange between its Stream actor and hyper.
#[derive(Default)]
pub(crate) struct Slot {
    id: Cell<StreamId>,
    state: RefCell<State>,
    /// Octets of the request's body.
    received: Cell<u64>,
    /// Since when the handler waits for octets of a body of declared length.
    waiting: Cell<Option<Instant>>,
    /// The handler waits for octets of a body of any length.
    reads: Cell<bool>,
    /// No request may follow on this connection.
    last: Cell<bool>,
}

#[derive(Default)]
struct State {
    head: Option<ResponseHead>,
    exact: Option<u64>,
    chunks: VecDeque<Bytes>,
    queued: usize,
    trailers: Option<HeaderMap>,
    end: bool,
    broken: bool,
    /// hyper has had its turn to write what came before that.
    parted: bool,
    flow: Option<Rc<Flow>>,
    waker: Option<Waker>,
}

/// The body is not whole; hyper cuts the connection.
#[derive(Debug, thiserror::Error)]
#[error("the response could not be finished")]
pub(crate) struct Broken;

impl Slot {
    pub(super) fn set_id(&self, id: StreamId) {
        self.id.set(id);
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.borrow_mut();
        let result = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    pub(super) fn whole(&self, head: ResponseHead, body: Bytes) {
        self.change(|state| {
            state.head = Some(head);
            state.exact = Some(body.len() as u64);
            state.queued = body.len();
            state.chunks.extend((!body.is_empty()).then_some(body));
            state.end = true;
        });
    }

    pub(super) fn head(&self, head: ResponseHead, flow: Rc<Flow>) -> bool {
        self.change(|state| {
            let length = head.fields.get("content-length").and_then(|value| std::str::from_utf8(value).ok());
            state.exact = length.and_then(|length| length.parse().ok());
            state.head = Some(head);
            let woken = flow.grant(SEND_BUFFER);
            state.flow = Some(flow);
            woken
        })
    }

    /// True when the stream was woken for more.
    pub(super) fn data(&self, data: Bytes, end: bool) -> bool {
        self.change(|state| {
            state.queued += data.len();
            state.chunks.extend((!data.is_empty()).then_some(data));
            state.end |= end;
            let room = SEND_BUFFER.saturating_sub(state.queued);
            state.flow.as_ref().is_some_and(|flow| flow.grant(room))
        })
    }

    pub(super) fn trailers(&self, trailers: HeaderMap) {
        self.change(|state| {
            state.trailers = Some(trailers);
            state.end = true;
        });
    }

    /// The body cannot go on.
    pub(super) fn fail(&self) {
        self.change(|state| state.broken = true);
    }

    pub(super) fn queued(&self) -> usize {
        self.state.borrow().queued
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn add_received(&self, octets: usize) {
        self.received.set(self.received.get() + octets as u64);
    }

    /// The handler waits for octets at `now`; `None`: not any more.
    pub(super) fn set_waiting(&self, now: Option<Instant>) {
        self.waiting.set(now.map(|now| self.waiting.get().unwrap_or(now)));
    }

    /// The handler waits for octets, or not any more.
    pub(super) fn set_reads(&self, reads: bool) {
        self.reads.set(reads);
    }

    pub(super) fn is_read(&self) -> bool {
        self.reads.get()
    }

    /// Where its request ends is not beyond doubt.
    pub(super) fn set_last(&self) {
        self.last.set(true);
    }

    pub(super) fn take_last(&self) -> bool {
        self.last.take()
    }

    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waiting.get()
    }

    /// Tells the engine that hyper is done with the response.
    fn written(&self, link: &Link) {
        let state = self.state.borrow();
        let whole = state.end && state.chunks.is_empty() && state.trailers.is_none() && !state.broken;
        drop(state);
        link.send(ToSession::Written { id: self.id.get(), whole });
    }
}

/// The response as hyper waits for it.
pub(crate) struct Answered {
    slot: Option<Rc<Slot>>,
    link: Rc<Link>,
}

impl Answered {
    pub(super) fn new(slot: Rc<Slot>, link: Rc<Link>) -> Self {
        Self { slot: Some(slot), link }
    }
}

impl Future for Answered {
    type Output = Result<http::Response<SlotBody>, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = &self.slot else { return Poll::Ready(Err(Broken)) };
        let mut state = slot.state.borrow_mut();
        let Some(head) = state.head.take() else {
            if state.broken {
                return Poll::Ready(Err(Broken));
            }
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        let Some(slot) = self.slot.take() else { return Poll::Ready(Err(Broken)) };
        let body = SlotBody { slot, link: Rc::clone(&self.link) };
        let mut response = http::Response::new(body);
        *response.status_mut() =
            http::StatusCode::from_u16(head.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = convert::to_headers(&head.fields);
        Poll::Ready(Ok(response))
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            slot.written(&self.link);
        }
    }
}

/// The body as hyper pulls it.
pub(crate) struct SlotBody {
    slot: Rc<Slot>,
    link: Rc<Link>,
}

impl http_body::Body for SlotBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.slot.state.borrow_mut();
        if let Some(chunk) = state.chunks.pop_front() {
            state.queued -= chunk.len();
            let room = SEND_BUFFER.saturating_sub(state.queued);
            let flow = state.flow.clone();
            drop(state);
            if let Some(flow) = flow {
                flow.grant(room);
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if state.broken {
            if !std::mem::replace(&mut state.parted, true) {
                // hyper drops what it has not written when a body fails: what was given goes out before.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(Broken)));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if state.end {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.slot.state.borrow();
        state.end && state.chunks.is_empty() && state.trailers.is_none() && !state.broken
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.slot.state.borrow();
        match state.exact {
            Some(exact) => SizeHint::with_exact(exact),
            None => SizeHint::default(),
        }
    }
}

impl Drop for SlotBody {
    fn drop(&mut self) {
        self.slot.written(&self.link);
    }
}
