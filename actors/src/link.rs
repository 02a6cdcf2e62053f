//! The way from streams to their session: a queue of typed messages on the session's own thread.
//!
//! A message is a push; nothing is allocated for it and nobody waits. While the session runs its turn
//! (it polls its streams itself) the queue is emptied by that turn; otherwise the first message wakes it.
//! Invariant: the queue is borrowed for a push or a pop only, never while user code runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::{Outcome, RouteId};
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId};

use crate::body::{BoxBody, Inbound, RequestBody};
use crate::config::StreamTimeouts;
use crate::promise::Promise;
use crate::service::{Reply, Service};
use crate::session::SessionInfo;
use crate::session::board::Board;
use crate::session::events::SessionEvent;
use crate::session::handle::Command;
use crate::session::http1::Slot;
use crate::stream::{Closed, Identity, Phase, StreamMisuse, Watched};
use crate::supervise::Contained;

/// What a stream says to its session.
pub(crate) enum ToSession {
    /// Head, body and end are known together: the common case.
    SendWhole { id: StreamId, route: RouteId, head: ResponseHead, body: Bytes },
    /// The head; a body follows as `flow` allows.
    SendHead { id: StreamId, route: RouteId, head: ResponseHead, flow: Rc<Flow> },
    /// How it gets on, to be kept; nothing follows for the peer.
    Note { id: StreamId, note: Note },
    /// Octets of the body.
    SendData { id: StreamId, data: Bytes, end: bool },
    /// Trailers; nothing follows.
    SendTrailers { id: StreamId, fields: Fields },
    /// The stream cannot go on.
    Reset { id: StreamId, code: ErrorCode, outcome: Outcome },
    /// A handle of the stream was made, which may be over by now.
    Watch { id: StreamId },
    /// The stream has deadlines of its own from now on.
    Deadlines { id: StreamId, own: Box<StreamTimeouts> },
    /// The handler has read octets of the request's body.
    Consumed { id: StreamId, octets: usize },
    /// The handler let go of the request's body, so many octets unread.
    BodyDropped { id: StreamId, unread: usize },
    /// A handle of the session says something.
    Command(Box<Command>),
    /// An informational head (1xx).
    Inform { id: StreamId, head: Box<ResponseHead> },
    /// The head that makes a tunnel of the stream. HTTP/1.1: what the peer sends goes to `inbound` from then on.
    SendTunnel {
        id: StreamId,
        route: RouteId,
        head: ResponseHead,
        flow: Rc<Flow>,
        inbound: Option<Rc<Inbound>>,
    },
    /// A response the client did not ask for.
    Push(Box<Push>),
    /// HTTP/1.1: a request came.
    Exchange(Box<Exchange>),
    /// HTTP/1.1: the connection is done with a response, to its last octet or not.
    Written { id: StreamId, whole: bool },
}

impl ToSession {
    /// The stream the message may have changed something of, where its entry outlives the message.
    #[inline]
    pub(crate) fn stream(&self) -> Option<StreamId> {
        Some(match self {
            Self::SendHead { id, .. }
            | Self::SendTunnel { id, .. }
            | Self::Note { id, .. }
            | Self::SendData { id, .. }
            | Self::SendTrailers { id, .. }
            | Self::SendWhole { id, .. }
            | Self::Consumed { id, .. }
            | Self::BodyDropped { id, .. } => *id,
            Self::Reset { .. } | Self::Watch { .. } | Self::Deadlines { .. } | Self::Inform { .. } => {
                return None;
            }
            Self::Command(_) | Self::Push(_) | Self::Exchange(_) | Self::Written { .. } => return None,
        })
    }

    /// What the message makes of the stream it speaks of.
    fn phase(&self) -> Option<(StreamId, Phase)> {
        Some(match self {
            Self::SendWhole { id, .. } | Self::SendTrailers { id, .. } | Self::Reset { id, .. } => {
                (*id, Phase::Ended)
            }
            Self::SendHead { id, .. } | Self::SendTunnel { id, .. } => (*id, Phase::HeadSent),
            Self::SendData { id, end: true, .. } => (*id, Phase::Ended),
            _ => return None,
        })
    }
}

/// What a stream says of how it gets on.
#[derive(Clone, Copy)]
pub(crate) enum Note {
    /// The handler takes its time: where it was routed to.
    Routed(RouteId),
    /// The handler waits for another server, or not any more.
    Upstream(bool),
    /// The handler waits for octets of the request's body.
    Awaits,
    /// So many octets were read from a file for the response.
    FileRead(u64),
    /// Why it is answered by an error.
    Cause(&'static str),
}

/// See [`ToSession::Push`].
pub(crate) struct Push {
    /// The stream the promise goes out on.
    pub(crate) parent: StreamId,
    /// The request that was not made.
    pub(crate) head: RequestHead,
    pub(crate) route: RouteId,
    /// Its answer.
    pub(crate) reply: Contained<Reply>,
    /// Where the stream's identifier is told, or why there is none.
    pub(crate) told: Promise<Result<StreamId, StreamMisuse>>,
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
    /// When something was first said between turns.
    stirred: Cell<Option<Instant>>,
    /// A field that a message has once is refused the second time (the listener's choice).
    pub(crate) strict: Cell<bool>,
    /// The client takes pushed responses (RFC 9113 §8.4).
    pub(crate) push_allowed: Cell<bool>,
    /// Streams somebody holds a handle of: their phase is kept up to date.
    watched: RefCell<Vec<Rc<Watched>>>,
    /// There are such streams.
    watches: Cell<bool>,
    /// The session hears nothing more.
    over: Cell<bool>,
    /// Handles the requests.
    pub(crate) service: Rc<dyn Service>,
    /// Never changes.
    pub(crate) info: Arc<SessionInfo>,
    /// What its handles see.
    pub(crate) board: Board,
    /// The session's span, parent of its streams' spans.
    pub(crate) span: tracing::Span,
}

impl Link {
    pub(crate) fn new(
        service: Rc<dyn Service>,
        info: Arc<SessionInfo>,
        board: Board,
        span: tracing::Span,
        now: Instant,
    ) -> Self {
        Self {
            queue: RefCell::default(),
            waker: RefCell::new(Waker::noop().clone()),
            in_turn: Cell::new(false),
            now: Cell::new(now),
            stirred: Cell::new(None),
            strict: Cell::new(true),
            push_allowed: Cell::new(false),
            watched: RefCell::default(),
            watches: Cell::new(false),
            over: Cell::new(false),
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
        let mut queue = self.queue.borrow_mut();
        queue.push_back(message);
        drop(queue);
        if !self.in_turn.get() {
            self.stir();
        }
    }

    /// Something was said between turns.
    fn stir(&self) {
        if self.over.get() {
            return self.hush();
        }
        if self.stirred.get().is_none() {
            self.stirred.set(Some(crate::clock::now()));
        }
        self.waker.borrow().wake_by_ref();
    }

    /// When the first message since the last turn was said, if that was between turns.
    pub(crate) fn take_stirred(&self) -> Option<Instant> {
        self.stirred.take()
    }

    /// Drops what nobody will hear; what goes may say something in its turn.
    fn hush(&self) {
        while self.take().is_some() {}
    }

    /// The session is over: what is said from now on is dropped, and streams that are still watched are closed.
    pub(crate) fn shut(&self) {
        self.over.set(true);
        self.hush();
        self.watches.set(false);
        let left = self.watched.take();
        left.iter().for_each(|watched| watched.close(Closed::UNKNOWN));
    }

    /// [`Self::send`] of what changes the phase of a stream that may be watched.
    #[inline]
    pub(crate) fn answer(&self, message: ToSession) {
        if self.watches.get() {
            self.note(&message);
        }
        self.send(message);
    }

    /// [`Self::answer`] of the head of a tunnel: what is said in it counts from now on.
    pub(crate) fn begin_tunnel(&self, head: ToSession) {
        if let ToSession::SendTunnel { flow, .. } = &head {
            flow.begun.set(true);
        }
        self.answer(head);
    }

    #[cold]
    #[inline(never)]
    fn note(&self, message: &ToSession) {
        if let Some((id, phase)) = message.phase()
            && let Some(watched) = self.watched(id)
        {
            watched.enter(phase);
        }
    }

    /// Ends the body of a stream: END_STREAM rides on its last octets when the session has not seen them yet.
    pub(crate) fn end(&self, id: StreamId) {
        let mut queue = self.queue.borrow_mut();
        if let Some(ToSession::SendData { id: last, end, .. }) = queue.back_mut()
            && *last == id
        {
            *end = true;
            drop(queue);
            if let Some(watched) = self.watched(id) {
                watched.enter(Phase::Ended);
            }
            return;
        }
        drop(queue);
        self.answer(ToSession::SendData { id, data: Bytes::new(), end: true });
    }

    /// From now on the phase of a stream is known to those who hold what is returned.
    pub(crate) fn watch(&self, id: StreamId) -> Rc<Watched> {
        if let Some(watched) = self.watched(id) {
            return watched;
        }
        let watched = Rc::new(Watched::new(id));
        if self.over.get() {
            watched.close(Closed::UNKNOWN);
            return watched;
        }
        self.watched.borrow_mut().push(Rc::clone(&watched));
        self.watches.set(true);
        // Whoever kept a request may come when its stream is over: only the session knows.
        self.send(ToSession::Watch { id });
        watched
    }

    fn watched(&self, id: StreamId) -> Option<Rc<Watched>> {
        self.watched.borrow().iter().find(|watched| watched.id() == id).cloned()
    }

    /// A stream is closed: whoever watches it is told.
    #[inline]
    pub(crate) fn closed(&self, id: StreamId, closed: impl FnOnce() -> Closed) {
        if self.watches.get() {
            self.closed_now(id, closed);
        }
    }

    #[cold]
    #[inline(never)]
    fn closed_now(&self, id: StreamId, closed: impl FnOnce() -> Closed) {
        let mut list = self.watched.borrow_mut();
        let Some(at) = list.iter().position(|watched| watched.id() == id) else { return };
        let watched = list.swap_remove(at);
        self.watches.set(!list.is_empty());
        drop(list);
        watched.close(closed());
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
            self.tell_now(event);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_now(self: &Rc<Self>, event: impl FnOnce() -> SessionEvent) {
        self.board.publish(self, event());
    }

    /// Gives spare heap back.
    pub(crate) fn shrink(&self) {
        self.queue.borrow_mut().shrink_to_fit();
        self.watched.borrow_mut().shrink_to_fit();
    }
}

/// What a stream starts with.
pub(crate) enum Start {
    /// A request, to be handled.
    Request(RequestHead, RequestBody),
    /// A response that is pushed.
    Push(RouteId, Contained<Reply>),
    /// The body of a request of ours, and how much of it is taken.
    Upload(Contained<BoxBody>, Rc<Flow>),
}

thread_local! {
    /// What the stream that is about to start is, and what it begins with.
    static START: Cell<Option<(Identity, Start)>> = const { Cell::new(None) };
}

/// Leaves a start for the stream that is polled next on this arbiter.
pub(crate) fn hand_over(identity: Identity, start: Start) {
    START.set(Some((identity, start)));
}

/// The start that was left.
pub(crate) fn take_start() -> Option<(Identity, Start)> {
    START.take()
}

/// How much of a body its session takes now; the stream's view of the connection's capacity.
#[derive(Default)]
pub(crate) struct Flow {
    octets: Cell<usize>,
    waker: Cell<Option<Waker>>,
    /// The stream is closed: nothing is taken any more.
    shut: Cell<bool>,
    /// A tunnel's head was given to its session.
    begun: Cell<bool>,
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

    /// The stream is closed; true when somebody who waited was woken.
    pub(crate) fn shut(&self) -> bool {
        self.shut.set(true);
        self.octets.set(0);
        self.waker.take().map(Waker::wake).is_some()
    }

    /// The head of a tunnel was given to its session.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// The stream is closed.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.get()
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
