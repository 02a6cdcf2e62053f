//! What a client session and its handles share: the requests that wait, and how far the session has come.
//!
//! The session holds it by a [`Keeper`], handles by an `Rc`. Invariants: requests leave the queue in order; a stage only
//! moves on; when the keeper goes, nobody waits any more, however the session ended.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix::Addr;
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::ErrorCode;

use super::abort::Abort;
use super::call::{Call, Waiting};
use super::error::{ConnectError, RequestError, SessionEnd, StreamError};
use super::target::{Scheme, Target};
use super::waiters::Waiters;
use crate::close::CloseSession;
use crate::link::Link;
use crate::session::Session;

/// See the module.
pub(crate) struct Desk {
    pub(crate) target: Target,
    /// See [`Http2Options::strict_single_value_fields`](crate::config::Http2Options).
    pub(crate) strict: bool,
    max_queued: usize,
    stage: RefCell<Stage>,
    queue: RefCell<VecDeque<Waiting>>,
    session: RefCell<Waker>,
    waiters: Waiters,
    addr: RefCell<Option<Addr<Session>>>,
    /// Nobody holds a handle of the session.
    orphan: Cell<bool>,
    /// The code of the peer's GOAWAY.
    goaway: Cell<Option<ErrorCode>>,
    /// Whether the server offers extended CONNECT; `None` before its SETTINGS.
    connect_protocol: Cell<Option<bool>>,
    /// Streams the server allows at once.
    stream_limit: Cell<u32>,
    /// What the server answers for, over TLS.
    origins: RefCell<Option<Vec<String>>>,
    max_origins: usize,
}

enum Stage {
    Connecting,
    Open(Rc<Link>),
    /// No new requests; streams go on.
    Closing(Option<Rc<Link>>),
    Closed(SessionEnd),
}

impl Desk {
    pub(crate) fn new(
        target: Target,
        strict: bool,
        max_queued: usize,
        max_origins: usize,
        stream_limit: u32,
    ) -> Rc<Self> {
        let origins = (target.scheme == Scheme::Https).then(|| vec![target.origin()]);
        Rc::new(Self {
            target,
            strict,
            max_queued,
            stage: RefCell::new(Stage::Connecting),
            queue: RefCell::default(),
            session: RefCell::new(Waker::noop().clone()),
            waiters: Waiters::default(),
            addr: RefCell::default(),
            orphan: Cell::new(false),
            goaway: Cell::new(None),
            connect_protocol: Cell::new(None),
            stream_limit: Cell::new(stream_limit),
            origins: RefCell::new(origins),
            max_origins,
        })
    }

    // Handles.

    /// Puts a request in line.
    pub(crate) fn enqueue(&self, waiting: Waiting) -> Result<(), RequestError> {
        self.takes_requests()?;
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= self.max_queued {
            return Err(RequestError::QueueFull(queue.len()));
        }
        queue.push_back(waiting);
        drop(queue);
        self.stir();
        Ok(())
    }

    pub(crate) fn takes_requests(&self) -> Result<(), RequestError> {
        match &*self.stage.borrow() {
            Stage::Connecting | Stage::Open(_) => Ok(()),
            Stage::Closing(_) => Err(RequestError::Closing),
            Stage::Closed(error) => Err(RequestError::Closed(error.clone())),
        }
    }

    /// Requests that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    /// A request that waits is not wanted any more.
    pub(crate) fn withdraw(&self, call: &Call) {
        let mut queue = self.queue.borrow_mut();
        let at = queue.iter().position(|waiting| std::ptr::eq(Rc::as_ptr(&waiting.call), call));
        let withdrawn = at.and_then(|at| queue.remove(at));
        drop(queue);
        drop(withdrawn);
    }

    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), SessionEnd>> {
        match &*self.stage.borrow() {
            Stage::Connecting => {
                self.waiters.wait(cx);
                Poll::Pending
            }
            Stage::Open(_) | Stage::Closing(Some(_)) => Poll::Ready(Ok(())),
            Stage::Closing(None) => Poll::Ready(Err(ConnectError::GivenUp.into())),
            Stage::Closed(error) => Poll::Ready(Err(error.clone())),
        }
    }

    /// Whether the server offers extended CONNECT, once its SETTINGS have come.
    pub(crate) fn poll_connect_protocol(&self, cx: &Context<'_>) -> Poll<Result<bool, SessionEnd>> {
        if let Some(offered) = self.connect_protocol.get() {
            return Poll::Ready(Ok(offered));
        }
        match &*self.stage.borrow() {
            Stage::Closed(error) => Poll::Ready(Err(error.clone())),
            Stage::Connecting | Stage::Open(_) | Stage::Closing(_) => {
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<SessionEnd> {
        match &*self.stage.borrow() {
            Stage::Closed(error) => Poll::Ready(error.clone()),
            Stage::Connecting | Stage::Open(_) | Stage::Closing(_) => {
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn connect_protocol(&self) -> Option<bool> {
        self.connect_protocol.get()
    }

    pub(crate) fn stream_limit(&self) -> u32 {
        self.stream_limit.get()
    }

    pub(crate) fn set_stream_limit(&self, limit: u32) {
        self.stream_limit.set(limit);
    }

    /// The code of the peer's GOAWAY.
    pub(crate) fn goaway(&self) -> Option<ErrorCode> {
        self.goaway.get()
    }

    pub(crate) fn link(&self) -> Option<Rc<Link>> {
        match &*self.stage.borrow() {
            Stage::Open(link) | Stage::Closing(Some(link)) => Some(Rc::clone(link)),
            Stage::Connecting | Stage::Closing(None) | Stage::Closed(_) => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Open(_))
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Connecting)
    }

    pub(crate) fn addr(&self) -> Option<Addr<Session>> {
        self.addr.borrow().clone()
    }

    pub(crate) fn set_addr(&self, addr: Addr<Session>) {
        *self.addr.borrow_mut() = Some(addr);
    }

    /// Orders the session to close; it may have ended already.
    pub(crate) fn order(&self, order: CloseSession) {
        if let Some(addr) = self.addr() {
            // A handle sends one or two in its life.
            #[allow(clippy::disallowed_methods)]
            addr.do_send(order);
        }
    }

    /// The last handle of the session is gone: it ends when its streams have.
    pub(crate) fn orphaned(&self) {
        self.orphan.set(true);
        self.stir();
    }

    pub(crate) fn is_orphan(&self) -> bool {
        self.orphan.get()
    }

    fn stir(&self) {
        self.session.borrow().wake_by_ref();
    }

    /// What the server answers for: its own origin first. `None` without TLS, and when the session is over.
    pub(crate) fn origins(&self) -> Option<Vec<String>> {
        self.origins.borrow().clone()
    }

    // The session.

    /// The session's turn: whom to wake when something is asked for.
    pub(crate) fn attend(&self, waker: &Waker) {
        let mut known = self.session.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
    }

    pub(crate) fn opened(&self, link: Rc<Link>) {
        let mut stage = self.stage.borrow_mut();
        if matches!(*stage, Stage::Connecting) {
            *stage = Stage::Open(link);
        } else if matches!(*stage, Stage::Closing(None)) {
            *stage = Stage::Closing(Some(link));
        }
        drop(stage);
        self.waiters.wake();
    }

    pub(crate) fn set_connect_protocol(&self, offered: bool) {
        if self.connect_protocol.replace(Some(offered)) != Some(offered) {
            self.waiters.wake();
        }
    }

    pub(crate) fn set_goaway(&self, code: ErrorCode) {
        self.goaway.set(Some(code));
    }

    /// Adds to the origin set; false where it would outgrow its bound, `None` where there is none.
    pub(crate) fn add_origins(&self, origins: &[String]) -> Option<bool> {
        let mut known = self.origins.borrow_mut();
        let known = known.as_mut()?;
        for origin in origins {
            if !known.contains(origin) {
                if known.len() >= self.max_origins {
                    return Some(false);
                }
                known.push(origin.clone());
            }
        }
        Some(true)
    }

    pub(crate) fn remove_origin(&self, origin: &str) {
        if let Some(known) = &mut *self.origins.borrow_mut() {
            known.retain(|other| other != origin);
        }
    }

    /// The request whose turn it is.
    pub(crate) fn take(&self) -> Option<Waiting> {
        self.queue.borrow_mut().pop_front()
    }

    /// It has to wait on.
    pub(crate) fn put_back(&self, waiting: Waiting) {
        self.queue.borrow_mut().push_front(waiting);
    }

    /// The session takes no more requests; those that wait are told.
    pub(crate) fn closing(&self) {
        let mut stage = self.stage.borrow_mut();
        let link = match &*stage {
            Stage::Connecting => None,
            Stage::Open(link) => Some(Rc::clone(link)),
            Stage::Closing(_) | Stage::Closed(_) => return,
        };
        *stage = Stage::Closing(link);
        drop(stage);
        let error = match self.goaway.get() {
            Some(code) => StreamError::Unprocessed { code },
            None => StreamError::Closing,
        };
        self.dismiss(&error);
        self.waiters.wake();
    }

    /// The session is over; those that wait are told.
    pub(crate) fn closed(&self, error: SessionEnd) {
        let mut stage = self.stage.borrow_mut();
        if matches!(*stage, Stage::Closed(_)) {
            return;
        }
        *stage = Stage::Closed(error.clone());
        drop(stage);
        self.dismiss(&StreamError::Cancelled { cause: error });
        *self.addr.borrow_mut() = None;
        *self.origins.borrow_mut() = None;
        self.waiters.wake();
    }

    fn dismiss(&self, error: &StreamError) {
        let queue = self.queue.take();
        for waiting in queue {
            waiting.call.closed(Err(error.clone()));
        }
    }

    /// What streams that were open are told.
    pub(crate) fn error(&self) -> SessionEnd {
        match &*self.stage.borrow() {
            Stage::Closed(error) => error.clone(),
            Stage::Connecting | Stage::Open(_) | Stage::Closing(_) => ended(CloseReason::Other, None, ""),
        }
    }
}

impl Abort for Desk {
    fn abort(&self) {
        self.order(
            CloseSession::new(CloseReason::Admin).now().with_code(ErrorCode::CANCEL).with_detail("aborted"),
        );
    }
}

/// The error of a session that ended for `reason`.
pub(crate) fn ended(reason: CloseReason, code: Option<ErrorCode>, detail: &str) -> SessionEnd {
    let detail = if detail.is_empty() { reason.label() } else { detail };
    SessionEnd::Closed { reason, code: code.unwrap_or(ErrorCode::NO_ERROR), detail: detail.to_owned() }
}

/// The session's hold on its desk: when it goes, whoever waits is told.
pub(crate) struct Keeper(Rc<Desk>);

impl Keeper {
    pub(crate) fn new(desk: Rc<Desk>) -> Self {
        Self(desk)
    }
}

impl std::ops::Deref for Keeper {
    type Target = Rc<Desk>;

    fn deref(&self) -> &Rc<Desk> {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.closed(ended(CloseReason::Other, self.0.goaway.get(), ""));
    }
}
