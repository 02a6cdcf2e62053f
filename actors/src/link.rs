//! The way from streams to their session: a queue of typed messages on the session's own thread.
//!
//! A message is a push; nothing is allocated for it and nobody waits. While the session runs its turn
//! (it polls its streams itself) the queue is emptied by that turn; otherwise the first message wakes it.
//! Invariant: the queue is borrowed for a push or a pop only, never while user code runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::{Outcome, RouteId};
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId};

use crate::body::RequestBody;
use crate::config::StreamTimeouts;
use crate::service::Service;
use crate::session::SessionInfo;
use crate::session::board::Board;
use crate::session::events::SessionEvent;
use crate::session::handle::Command;
use crate::session::http1::Slot;

/// What a stream says to its session.
pub(crate) enum ToSession {
    /// Head, body and end are known together: the common case.
    SendWhole { id: StreamId, route: RouteId, head: ResponseHead, body: Bytes },
    /// The head; a body follows as `flow` allows.
    SendHead { id: StreamId, route: RouteId, head: ResponseHead, flow: Rc<Flow> },
    /// The handler takes its time: where it was routed to.
    Routed { id: StreamId, route: RouteId },
    /// Octets of the body.
    SendData { id: StreamId, data: Bytes, end: bool },
    /// Trailers; nothing follows.
    SendTrailers { id: StreamId, fields: Fields },
    /// The stream cannot go on.
    Reset { id: StreamId, code: ErrorCode, outcome: Outcome },
    /// The stream has deadlines of its own from now on.
    #[allow(dead_code)] // Said by the handle of a stream.
    Deadlines { id: StreamId, own: Box<StreamTimeouts> },
    /// The handler has read octets of the request's body.
    Consumed { id: StreamId, octets: usize },
    /// The handler let go of the request's body, so many octets unread.
    BodyDropped { id: StreamId, unread: usize },
    /// A handle of the session says something.
    Command(Box<Command>),
    /// HTTP/1.1: a request came.
    Exchange(Box<Exchange>),
    /// HTTP/1.1: the connection is done with a response, to its last octet or not.
    Written { id: StreamId, whole: bool },
}

/// What is wrong with a request of HTTP/1.1: the status and the words of its answer.
pub(crate) type Refusal = (u16, &'static str);

/// A request of HTTP/1.1, or what is wrong with it.
pub(crate) struct Exchange {
    pub(crate) head: Result<RequestHead, Refusal>,
    pub(crate) body: RequestBody,
    pub(crate) slot: Rc<Slot>,
}

/// Shared by a session and its streams.
pub(crate) struct Link {
    queue: RefCell<VecDeque<ToSession>>,
    waker: RefCell<Waker>,
    /// The session is in its turn and will look at the queue by itself.
    in_turn: Cell<bool>,
    now: Cell<Instant>,
    /// Handles the requests.
    pub(crate) service: Rc<dyn Service>,
    /// Never changes.
    pub(crate) info: Rc<SessionInfo>,
    /// What its handles see.
    pub(crate) board: Board,
    /// The session's span, parent of its streams' spans.
    pub(crate) span: tracing::Span,
}

impl Link {
    pub(crate) fn new(
        service: Rc<dyn Service>,
        info: Rc<SessionInfo>,
        board: Board,
        span: tracing::Span,
        now: Instant,
    ) -> Self {
        Self {
            queue: RefCell::default(),
            waker: RefCell::new(Waker::noop().clone()),
            in_turn: Cell::new(false),
            now: Cell::new(now),
            service,
            info,
            board,
            span,
        }
    }

    /// The session's turn begins.
    pub(crate) fn begin_turn(&self, waker: &Waker, now: Instant) {
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
        self.in_turn.set(true);
        self.now.set(now);
    }

    /// The session's turn ends.
    pub(crate) fn end_turn(&self) {
        self.in_turn.set(false);
        if !self.queue.borrow().is_empty() {
            self.waker.borrow().wake_by_ref();
        }
    }

    /// The clock reading of the session's last turn.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Says something to the session.
    #[inline]
    pub(crate) fn send(&self, message: ToSession) {
        self.queue.borrow_mut().push_back(message);
        if !self.in_turn.get() {
            self.waker.borrow().wake_by_ref();
        }
    }

    /// The oldest message.
    #[inline]
    pub(crate) fn take(&self) -> Option<ToSession> {
        self.queue.borrow_mut().pop_front()
    }

    /// Tells those who listen; nothing is made where nobody does.
    #[inline]
    pub(crate) fn tell(self: &Rc<Self>, event: impl FnOnce() -> SessionEvent) {
        if self.board.is_listened() {
            self.board.publish(self, event());
        }
    }

    /// Gives spare heap back.
    pub(crate) fn shrink(&self) {
        self.queue.borrow_mut().shrink_to_fit();
    }
}

thread_local! {
    /// The request of the stream that is about to start: it need not travel inside the actor, which is moved.
    static REQUEST: Cell<Option<(RequestHead, RequestBody)>> = const { Cell::new(None) };
}

/// Leaves a request for the stream that is polled next on this arbiter.
pub(crate) fn hand_over(head: RequestHead, body: RequestBody) {
    REQUEST.set(Some((head, body)));
}

/// The request that was left.
pub(crate) fn take_request() -> Option<(RequestHead, RequestBody)> {
    REQUEST.take()
}

/// How much of a body its session takes now; the stream's view of the connection's capacity.
#[derive(Default)]
pub(crate) struct Flow {
    octets: Cell<usize>,
    waker: Cell<Option<Waker>>,
}

impl Flow {
    /// Octets the session takes now; when none, `cx` is woken when that changes.
    pub(crate) fn poll_capacity(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.octets.get() {
            0 => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
            octets => Poll::Ready(octets),
        }
    }

    /// The stream has given `octets`; the session says anew what it takes when it has seen them.
    pub(crate) fn spend(&self, octets: usize) {
        self.octets.set(self.octets.get().saturating_sub(octets));
    }

    /// The session takes `octets`; true when a waiting stream was woken.
    pub(crate) fn grant(&self, octets: usize) -> bool {
        self.octets.set(octets);
        if octets == 0 {
            return false;
        }
        self.waker.take().map(Waker::wake).is_some()
    }
}
