//! One request as its session and its handles share it: what came back, what may be sent, how it ended.
//!
//! The session writes, handles read and wait; orders go over the [`Link`] once the stream has its number.
//! Invariants: a call is closed exactly once; octets that came before the end are read before the end is told;
//! when its last handle goes, what is unfinished is cancelled.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::Outcome;
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId};

use super::abort::Abort;
use super::desk::Desk;
use super::error::{SendError, StreamError};
use super::line::InLine;
use super::stream::PushedStream;
use super::target::Target;
use super::waiters::Waiters;
use crate::body::{BoxBody, Inbound};
use crate::config::StreamTimeouts;
use crate::link::{Flow, Link, ToSession};
use crate::supervise::Contained;

/// Informational heads that may wait for a reader.
const INFORMATIONAL: usize = 32;

/// Promises that may wait for somebody to claim them.
const PUSHES: usize = 128;

/// See the module.
pub(crate) struct Call {
    desk: Rc<Desk>,
    inner: RefCell<Inner>,
    /// Somebody waits for its number alone: who waits for an answer is not woken for that.
    opening_awaited: Cell<bool>,
    handles: Cell<usize>,
    waiters: Waiters,
}

struct Inner {
    stage: Stage,
    response: Option<ResponseHead>,
    /// The final head has come, whether it was taken or not.
    answered: bool,
    end_told: bool,
    sending: Sending,
    /// Nobody holds a handle any more.
    abandoned: bool,
    /// What most calls never have: requests that are passed on are held by the thousand.
    rare: Option<Box<Rare>>,
    /// Its head, where it is for another origin than the session's.
    elsewhere: Option<Rc<RequestHead>>,
}

/// See [`Inner::rare`].
#[derive(Default)]
struct Rare {
    /// Why we reset it, where we do.
    ours: Option<StreamError>,
    informational: VecDeque<ResponseHead>,
    pushes: VecDeque<PushedStream>,
    trailers: Option<Fields>,
}

impl Inner {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

enum Stage {
    /// It waits for the connection, or for its turn.
    Pending,
    Open(Open),
    Closed {
        open: Option<Open>,
        end: Result<(), StreamError>,
    },
}

#[derive(Clone)]
struct Open {
    id: StreamId,
    /// When it got its number.
    at: Instant,
    link: Rc<Link>,
    inbound: Rc<Inbound>,
    flow: Option<Rc<Flow>>,
}

/// What handles may send.
pub(crate) enum Sending {
    /// Nothing: it ended, or the session sends a body that was given with the request.
    Nothing,
    /// Octets, as the peer takes them.
    Octets { sent: u64, declared: Option<u64> },
}

/// Something that came back, in the order of a response.
pub(crate) enum News {
    Informational(ResponseHead),
    Push(PushedStream),
    Response(ResponseHead),
    Trailers(Fields),
    Closed(Result<(), StreamError>),
}

impl Call {
    pub(crate) fn new(desk: Rc<Desk>, sending: Sending) -> Rc<Self> {
        Rc::new(Self {
            desk,
            inner: RefCell::new(Inner {
                stage: Stage::Pending,
                response: None,
                answered: false,
                end_told: false,
                sending,
                abandoned: false,
                rare: None,
                elsewhere: None,
            }),
            opening_awaited: Cell::new(false),
            handles: Cell::new(0),
            waiters: Waiters::default(),
        })
    }

    // What the session says.

    /// It has its number: what waits goes out now.
    pub(crate) fn opened(&self, id: StreamId, link: Rc<Link>, inbound: Rc<Inbound>, flow: Option<Rc<Flow>>) {
        let at = link.now();
        self.inner.borrow_mut().stage = Stage::Open(Open { id, at, link, inbound, flow });
        if self.opening_awaited.get() {
            self.waiters.wake();
        }
    }

    /// An informational head; false when more of them wait than anybody will read.
    pub(crate) fn informational(&self, head: ResponseHead) -> bool {
        let mut inner = self.inner.borrow_mut();
        let informational = &mut inner.rare().informational;
        if informational.len() == INFORMATIONAL {
            return false;
        }
        informational.push_back(head);
        drop(inner);
        self.waiters.wake();
        true
    }

    pub(crate) fn response(&self, head: ResponseHead) {
        let mut inner = self.inner.borrow_mut();
        inner.answered = true;
        inner.response = Some(head);
        drop(inner);
        self.waiters.wake();
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.inner.borrow().answered
    }

    /// A promise; given back where nobody will claim it, or more of them wait than anybody will read: what is
    /// whole counts against no limit of streams any more.
    pub(crate) fn pushed(&self, stream: PushedStream) -> Option<PushedStream> {
        let mut inner = self.inner.borrow_mut();
        if inner.abandoned || inner.rare().pushes.len() >= PUSHES {
            return Some(stream);
        }
        inner.rare().pushes.push_back(stream);
        drop(inner);
        self.waiters.wake();
        None
    }

    pub(crate) fn trailers(&self, fields: Fields) {
        self.inner.borrow_mut().rare().trailers = Some(fields);
        self.waiters.wake();
    }

    /// Why this side resets it; the first reason stays.
    pub(crate) fn blame(&self, error: StreamError) {
        self.inner.borrow_mut().rare().ours.get_or_insert(error);
    }

    /// Why this side reset it.
    pub(crate) fn blamed(&self) -> Option<StreamError> {
        self.inner.borrow().rare.as_ref()?.ours.clone()
    }

    /// It is over.
    pub(crate) fn closed(&self, end: Result<(), StreamError>) {
        let mut inner = self.inner.borrow_mut();
        let open = match std::mem::replace(&mut inner.stage, Stage::Pending) {
            Stage::Pending => None,
            Stage::Open(open) => Some(open),
            before @ Stage::Closed { .. } => {
                inner.stage = before;
                return;
            }
        };
        inner.stage = Stage::Closed { open, end };
        drop(inner);
        self.waiters.wake();
    }

    /// It need not be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.inner.borrow().stage, Stage::Closed { .. })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.desk.target
    }

    /// The request is for another origin than the session's.
    pub(crate) fn goes_to(&self, head: &Rc<RequestHead>) {
        self.inner.borrow_mut().elsewhere = Some(Rc::clone(head));
    }

    /// The origin of the request (RFC 6454).
    pub(crate) fn origin(&self) -> String {
        let inner = self.inner.borrow();
        let elsewhere = inner.elsewhere.as_ref().and_then(|head| head.scheme().zip(head.authority()));
        match elsewhere {
            Some((scheme, authority)) => format!("{scheme}://{authority}"),
            None => self.desk.target.origin(),
        }
    }

    // What handles ask.

    /// The number of the stream, once it has one.
    pub(crate) fn id(&self) -> Option<StreamId> {
        match &self.inner.borrow().stage {
            Stage::Open(open) | Stage::Closed { open: Some(open), .. } => Some(open.id),
            Stage::Pending | Stage::Closed { open: None, .. } => None,
        }
    }

    /// When it got its number.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        match &self.inner.borrow().stage {
            Stage::Open(open) | Stage::Closed { open: Some(open), .. } => Some(open.at),
            Stage::Pending | Stage::Closed { open: None, .. } => None,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.inner.borrow().stage, Stage::Pending)
    }

    /// How it ended, once it has.
    pub(crate) fn end(&self) -> Option<Result<(), StreamError>> {
        match &self.inner.borrow().stage {
            Stage::Closed { end, .. } => Some(end.clone()),
            Stage::Pending | Stage::Open(_) => None,
        }
    }

    pub(crate) fn poll_opened(&self, cx: &Context<'_>) -> Poll<Result<StreamId, StreamError>> {
        if let Some(id) = self.id() {
            return Poll::Ready(Ok(id));
        }
        match self.end() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(())) | None => {
                self.opening_awaited.set(true);
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The final head; taken once.
    pub(crate) fn poll_response(&self, cx: &Context<'_>) -> Poll<Result<Option<ResponseHead>, StreamError>> {
        let mut inner = self.inner.borrow_mut();
        if let Some(head) = inner.response.take() {
            return Poll::Ready(Ok(Some(head)));
        }
        if inner.answered {
            return Poll::Ready(Ok(None));
        }
        match &inner.stage {
            Stage::Closed { end: Err(error), .. } => Poll::Ready(Err(error.clone())),
            // Without a head it cannot have ended well.
            Stage::Closed { end: Ok(()), .. } => Poll::Ready(Err(StreamError::Reset(ErrorCode::NO_ERROR))),
            Stage::Pending | Stage::Open(_) => {
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn take_informational(&self) -> Option<ResponseHead> {
        self.inner.borrow_mut().rare.as_mut()?.informational.pop_front()
    }

    /// What came next; `None` after the end was told.
    pub(crate) fn poll_news(&self, cx: &Context<'_>) -> Poll<Option<News>> {
        let mut inner = self.inner.borrow_mut();
        if let Some(rare) = &mut inner.rare {
            if let Some(head) = rare.informational.pop_front() {
                return Poll::Ready(Some(News::Informational(head)));
            }
            if let Some(push) = rare.pushes.pop_front() {
                return Poll::Ready(Some(News::Push(push)));
            }
        }
        if let Some(head) = inner.response.take() {
            return Poll::Ready(Some(News::Response(head)));
        }
        if let Some(fields) = inner.rare.as_mut().and_then(|rare| rare.trailers.take()) {
            return Poll::Ready(Some(News::Trailers(fields)));
        }
        if inner.end_told {
            return Poll::Ready(None);
        }
        if let Stage::Closed { end, .. } = &inner.stage {
            let end = end.clone();
            inner.end_told = true;
            return Poll::Ready(Some(News::Closed(end)));
        }
        self.waiters.wait(cx);
        Poll::Pending
    }

    /// The final head has come, or the end.
    pub(crate) fn poll_answered(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_answered() || self.is_closed() {
            return Poll::Ready(());
        }
        self.waiters.wait(cx);
        Poll::Pending
    }

    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<Result<(), StreamError>> {
        match self.end() {
            Some(end) => Poll::Ready(end),
            None => {
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Where the octets of the response arrive, once it has its number.
    pub(crate) fn inbound(&self) -> Option<Rc<Inbound>> {
        match &self.inner.borrow().stage {
            Stage::Open(open) | Stage::Closed { open: Some(open), .. } => Some(Rc::clone(&open.inbound)),
            Stage::Pending | Stage::Closed { open: None, .. } => None,
        }
    }

    /// Octets of the response; an error where it is not whole, whatever the peer calls it.
    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        let Some(inbound) = self.inbound() else {
            return match self.end() {
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                Some(Ok(())) => Poll::Ready(None),
                None => {
                    self.waiters.wait(cx);
                    Poll::Pending
                }
            };
        };
        inbound.poll_chunk(cx).map(|chunk| {
            chunk.map(|octets| {
                octets.map_err(|_| match self.end() {
                    Some(Err(error)) => error,
                    Some(Ok(())) | None => StreamError::Reset(ErrorCode::NO_ERROR),
                })
            })
        })
    }

    /// Fields that a message has once are not sent twice.
    pub(crate) fn strict(&self) -> bool {
        self.desk.strict
    }

    // What handles send.

    /// Octets the peer takes now; an error where nothing may be sent.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, SendError>> {
        let inner = self.inner.borrow();
        if matches!(inner.sending, Sending::Nothing) {
            return Poll::Ready(Err(SendError::Ended));
        }
        match &inner.stage {
            Stage::Closed { end: Ok(()), .. } => Poll::Ready(Err(SendError::Unwanted)),
            Stage::Closed { end: Err(error), .. } => Poll::Ready(Err(error.clone().into())),
            Stage::Open(Open { flow: Some(flow), .. }) => match flow.poll_capacity(cx) {
                Poll::Ready(octets) => Poll::Ready(Ok(octets)),
                Poll::Pending => {
                    self.waiters.wait(cx);
                    Poll::Pending
                }
            },
            Stage::Open(Open { flow: None, .. }) => Poll::Ready(Err(SendError::Ended)),
            Stage::Pending => {
                self.opening_awaited.set(true);
                self.waiters.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Whether `octets` more fit the declared length, and whether they must be all where `end`.
    pub(crate) fn check(&self, octets: usize, end: bool) -> Result<(), SendError> {
        match &self.inner.borrow().sending {
            Sending::Nothing => Err(SendError::Ended),
            Sending::Octets { sent, declared: Some(declared) } => {
                let sent = sent + octets as u64;
                if sent > *declared || (end && sent < *declared) {
                    return Err(SendError::ContentLength { sent, declared: *declared });
                }
                Ok(())
            }
            Sending::Octets { declared: None, .. } => Ok(()),
        }
    }

    /// Gives octets to the session; the caller has asked for room, or ends.
    pub(crate) fn give(&self, data: Bytes, end: bool) {
        let mut inner = self.inner.borrow_mut();
        if let Sending::Octets { sent, .. } = &mut inner.sending {
            *sent += data.len() as u64;
        }
        if end {
            inner.sending = Sending::Nothing;
        }
        let Stage::Open(open) = &inner.stage else { return };
        if let Some(flow) = &open.flow {
            flow.spend(data.len());
        }
        let (link, id) = (Rc::clone(&open.link), open.id);
        drop(inner);
        link.send(ToSession::SendData { id, data, end });
    }

    /// Trailers, and the end with them.
    pub(crate) fn give_trailers(&self, fields: Fields) {
        let mut inner = self.inner.borrow_mut();
        inner.sending = Sending::Nothing;
        let Stage::Open(open) = &inner.stage else { return };
        let (link, id) = (Rc::clone(&open.link), open.id);
        drop(inner);
        link.send(ToSession::SendTrailers { id, fields });
    }

    /// Resets it from this side; the peer reads `code`.
    pub(crate) fn reset(&self, error: StreamError, code: ErrorCode, outcome: Outcome) {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.stage, Stage::Closed { .. }) {
            inner.rare().ours.get_or_insert_with(|| error.clone());
        }
        inner.sending = Sending::Nothing;
        match &inner.stage {
            Stage::Pending => {
                drop(inner);
                self.closed(Err(error));
                self.desk.withdraw(self);
            }
            Stage::Open(open) => {
                let (link, id) = (Rc::clone(&open.link), open.id);
                drop(inner);
                link.send(ToSession::Reset { id, code, outcome });
            }
            Stage::Closed { .. } => {}
        }
    }

    /// There is another handle of it.
    pub(super) fn held(&self) {
        self.handles.set(self.handles.get() + 1);
    }

    /// A handle is gone; with the last, nobody wants it any more.
    pub(super) fn released(&self) {
        self.handles.set(self.handles.get() - 1);
        if self.handles.get() == 0 {
            self.let_go();
        }
    }

    fn let_go(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.abandoned = true;
        let pushes = inner.rare.as_mut().map(|rare| {
            rare.informational = VecDeque::new();
            std::mem::take(&mut rare.pushes)
        });
        let unfinished = match &inner.stage {
            // Octets nobody will read go back to the connection, and a response that is whole needs no reset: a body
            // the session still sends goes on.
            Stage::Open(open) => {
                let inbound = Rc::clone(&open.inbound);
                let sending = matches!(inner.sending, Sending::Octets { .. });
                drop(inner);
                let whole = inbound.is_ended();
                if whole {
                    inbound.let_go();
                }
                !whole || sending
            }
            Stage::Closed { open: Some(open), .. } => {
                let inbound = Rc::clone(&open.inbound);
                drop(inner);
                inbound.let_go();
                false
            }
            Stage::Pending => {
                drop(inner);
                true
            }
            Stage::Closed { open: None, .. } => return,
        };
        // Each of them cancels its stream.
        drop(pushes);
        if unfinished {
            self.abort();
        }
    }
}

impl Abort for Call {
    fn abort(&self) {
        self.reset(StreamError::Aborted, ErrorCode::CANCEL, Outcome::Cancelled);
    }
}

/// A call whose head waits to be sent.
pub(crate) struct Waiting {
    pub(crate) call: Rc<Call>,
    pub(crate) head: Rc<RequestHead>,
    pub(crate) upload: Upload,
    /// Deadlines of its own, from the moment it is sent.
    pub(crate) timeouts: Option<Box<StreamTimeouts>>,
    /// Dropped when it waits no longer, whatever becomes of it.
    pub(crate) in_line: Option<InLine>,
}

/// What follows the head.
pub(crate) enum Upload {
    /// Nothing: END_STREAM rides on HEADERS.
    Nothing,
    Full(Bytes),
    Stream(Contained<BoxBody>),
    /// The handle sends.
    Handle,
}
