//! A handle to a stream: what may be said on it beside its answer (RFC 9113 §8.1, §8.4, §7), and what has become of it.
//!
//! Calls are checked here, at once; what passes goes to the session as a message and nobody waits. The phase a
//! handle knows is kept by the link as messages pass and by the session when the stream closes.
//! Invariant: [`Closed`] is told exactly once for each stream, after everything else.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use stagedoor_metrics::{Outcome, RouteId};
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId, UserError};

use crate::config::StreamTimeouts;
use crate::link::{Link, Note, Push, ToSession};
use crate::promise::{Kept, promise};
use crate::service::Reply;
use crate::session::SessionHandle;
use crate::supervise::Contained;

/// A call on a stream that cannot be carried out. Nothing was sent; the stream is as it was.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::StreamMisuse;
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
/// use stagedoor_protocol::Fields;
///
/// let service = local_handler(async |request: HttpRequest| {
///     match request.body().handle().informational(200, Fields::new()) {
///         Err(StreamMisuse::Status(status)) => format!("{status} is final"),
///         other => format!("{other:?}"),
///     }
/// });
/// # let (_host, session) = in_memory(service)?;
/// let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(answer.body_mut().collect_up_to(100).await?, "200 is final");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamMisuse {
    /// The stream is closed; often not a mistake: the peer may have reset it meanwhile.
    #[error("the stream is closed ({0})")]
    Closed(ErrorCode),
    /// The head was sent already: no second one, and nothing informational after it (RFC 9110 §15.2).
    #[error("the head was sent already")]
    HeadSent,
    /// Trailers or the like before the head.
    #[error("the head was not sent yet")]
    HeadMissing,
    /// The response was ended already.
    #[error("the response was ended already")]
    Ended,
    /// A status that has no place here: 200 to 599 for a final head, 100 and 102 to 199 for an informational one.
    #[error("status {0} cannot be sent here")]
    Status(u16),
    /// A body where none may be: the answer to HEAD, or 204, 205, 304 (RFC 9110 §6.4.1).
    #[error("a response to {method} with status {status} has no body")]
    NoBody {
        /// The method of the request.
        method: String,
        /// The status of the response.
        status: u16,
    },
    /// What the protocol machine refuses to send, such as a field with CR, LF or NUL in its value.
    #[error(transparent)]
    Refused(#[from] UserError),
    /// The client does not take pushed responses (SETTINGS_ENABLE_PUSH is 0).
    #[error("the client does not take pushed responses")]
    PushDisabled,
    /// A pushed stream cannot push (RFC 9113 §8.4: promises go out on streams the client opened).
    #[error("a pushed stream cannot push")]
    NestedPush,
    /// Only a request that is safe and has no body can be promised (RFC 9113 §8.4).
    #[error("only a safe request without a body can be promised, not {0}")]
    UnsafePush(String),
    /// HTTP/1.1 has no such thing.
    #[error("HTTP/1.1 has no such thing")]
    NotHttp2,
    /// The request asks for no tunnel: it is neither CONNECT nor an upgrade.
    #[error("the request asks for no tunnel")]
    NoTunnel,
    /// A tunnel has no content-length (RFC 9110 §8.6).
    #[error("a tunnel has no content-length")]
    TunnelLength,
    /// NO_ERROR would tell the peer that a response which is not whole is (RFC 9113 §8.1).
    #[error("NO_ERROR cannot cut a response short; CANCEL and INTERNAL_ERROR can")]
    NoErrorBeforeEnd,
}

/// How far the answer of a stream has come.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::{Phase, Reply, Request, Response, Service};
///
/// struct Asked;
///
/// impl Service for Asked {
///     fn call(&self, request: Request) -> Reply {
///         let mut stream = request.into_stream();
///         Reply::driven(async move {
///             assert_eq!(stream.phase(), Phase::Open);
///             stream.send(Response::text("hello")).await.ok();
///             assert_eq!(stream.phase(), Phase::Ended);
///         })
///     }
/// }
/// # let service = std::rc::Rc::new(Asked);
/// # let (_host, session) = in_memory(service)?;
/// # let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// # assert_eq!(answer.body_mut().collect_up_to(100).await?, "hello");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing final was said.
    Open,
    /// The final head was sent.
    HeadSent,
    /// Everything was said.
    Ended,
    /// The stream is closed.
    Closed,
}

/// The end of a stream; told once.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use std::{cell::RefCell, rc::Rc};
///
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
/// use stagedoor_metrics::Outcome;
///
/// let kept = Rc::new(RefCell::new(None));
/// let theirs = Rc::clone(&kept);
/// let service = local_handler(move |request: HttpRequest| {
///     theirs.replace(Some(request.body().handle()));
///     async { "hello" }
/// });
/// # let (_host, session) = in_memory(service)?;
/// session.send(http::Request::get("/").body(())?).await?.body_mut().collect_up_to(100).await?;
/// let handle = kept.take().ok_or("it was called")?;
/// let closed = handle.closed().await;
/// assert_eq!((closed.outcome, closed.complete), (Outcome::Complete, true));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// How it ended, as it is counted.
    pub outcome: Outcome,
    /// The code of RST_STREAM or GOAWAY behind it; NO_ERROR where both sides ended in good order.
    pub code: ErrorCode,
    /// Both messages went through to their ends.
    pub complete: bool,
}

impl Closed {
    /// Of a stream that was over when the first handle of it was made: how it ended is not kept.
    pub(crate) const UNKNOWN: Self =
        Self { outcome: Outcome::SessionClosed, code: ErrorCode::CANCEL, complete: false };
}

/// What handles of one stream share.
pub(crate) struct Watched {
    id: StreamId,
    phase: Cell<Phase>,
    closed: Cell<Option<Closed>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Watched {
    pub(crate) fn new(id: StreamId) -> Self {
        Self { id, phase: Cell::new(Phase::Open), closed: Cell::new(None), waiting: RefCell::default() }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn enter(&self, phase: Phase) {
        if self.phase.get() != Phase::Closed {
            self.phase.set(phase);
        }
    }

    pub(crate) fn close(&self, closed: Closed) {
        self.phase.set(Phase::Closed);
        self.closed.set(Some(closed));
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// See the module. Cheap to clone; stays on its arbiter.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::client::RequestOptions;
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| {
///     let stream = request.body().handle();
///     stream.early_hints(["</a.css>; rel=preload"])?;
///     Ok::<_, stagedoor_actors::StreamMisuse>(format!("on stream {}", stream.id()))
/// });
/// # let (_host, session) = in_memory(service)?;
/// let mut stream = session.request("/", RequestOptions::default())?;
/// assert_eq!(stream.response().await?.status, 200);
/// assert_eq!(stream.informational().map(|head| head.status), Some(103));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct StreamHandle {
    link: Rc<Link>,
    route: RouteId,
    watched: Rc<Watched>,
}

impl StreamHandle {
    /// From now on the stream's time goes to `upstream` while nothing else holds it up, or to its handler again: for
    /// handlers that ask another server ([`stagedoor_metrics::WaitOn`]).
    pub fn waits_for_upstream(&self, waits: bool) {
        self.link.send(ToSession::Note { id: self.id(), note: Note::Upstream(waits) });
    }

    /// Says why the stream is answered by an error, or reset: a name out of a small set, for the access log and the
    /// stream's span. The last one counts.
    pub fn blame(&self, cause: &'static str) {
        self.link.send(ToSession::Note { id: self.id(), note: Note::Cause(cause) });
    }

    pub(crate) fn new(link: &Rc<Link>, id: StreamId, route: RouteId) -> Self {
        Self { link: Rc::clone(link), route, watched: link.watch(id) }
    }

    /// The stream's identifier.
    pub fn id(&self) -> StreamId {
        self.watched.id
    }

    /// Its session.
    pub fn session(&self) -> SessionHandle {
        SessionHandle::new(Rc::clone(&self.link))
    }

    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// Fields that a message has once are refused the second time.
    pub(crate) fn strict(&self) -> bool {
        self.link.strict.get()
    }

    pub(crate) fn route(&self) -> RouteId {
        self.route
    }

    /// How far the answer has come.
    pub fn phase(&self) -> Phase {
        self.watched.phase.get()
    }

    /// The stream's end; waits for it.
    pub async fn closed(&self) -> Closed {
        poll_fn(|cx| match self.watched.closed.get() {
            Some(closed) => Poll::Ready(closed),
            None => {
                self.also_wake(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Wakes `waker` when the stream closes.
    pub(crate) fn also_wake(&self, waker: &Waker) {
        let mut waiting = self.watched.waiting.borrow_mut();
        waiting.retain(|known| !known.will_wake(waker));
        waiting.push(waker.clone());
    }

    /// # Errors
    /// Why nothing can be said before the head.
    fn before_head(&self) -> Result<(), StreamMisuse> {
        match self.phase() {
            Phase::Open => Ok(()),
            Phase::HeadSent | Phase::Ended => Err(StreamMisuse::HeadSent),
            Phase::Closed => Err(self.gone()),
        }
    }

    pub(crate) fn gone(&self) -> StreamMisuse {
        let code = self.watched.closed.get().map_or(ErrorCode::CANCEL, |closed| closed.code);
        StreamMisuse::Closed(code)
    }

    /// Sends an informational head (RFC 9110 §15.2): 100, 102, 103 or any other 1xx but 101, as often as wanted,
    /// before the final one.
    /// # Errors
    /// [`StreamMisuse::Status`], [`StreamMisuse::HeadSent`], [`StreamMisuse::Closed`],
    /// [`StreamMisuse::Refused`] for a field that cannot be sent, [`StreamMisuse::NotHttp2`].
    pub fn informational(&self, status: u16, fields: Fields) -> Result<(), StreamMisuse> {
        if status == 101 || !(100..200).contains(&status) {
            return Err(StreamMisuse::Status(status));
        }
        if !self.link.info.is_http2() {
            return Err(StreamMisuse::NotHttp2);
        }
        self.before_head()?;
        let head = Box::new(ResponseHead::new(status, fields));
        head.check_informational(self.strict())?;
        self.link.send(ToSession::Inform { id: self.id(), head });
        Ok(())
    }

    /// 103 with `link` fields (RFC 8297); no link, no head.
    /// # Errors
    /// As [`Self::informational`].
    pub fn early_hints<L: AsRef<str>>(&self, links: impl IntoIterator<Item = L>) -> Result<(), StreamMisuse> {
        let links: Fields = links.into_iter().map(|link| ("link", link.as_ref().to_owned())).collect();
        if links.is_empty() { Ok(()) } else { self.informational(103, links) }
    }

    /// The client takes pushed responses now.
    pub fn push_allowed(&self) -> bool {
        self.may_push().is_ok()
    }

    fn may_push(&self) -> Result<(), StreamMisuse> {
        if !self.link.info.is_http2() {
            return Err(StreamMisuse::NotHttp2);
        }
        if !self.id().is_client() {
            return Err(StreamMisuse::NestedPush);
        }
        match self.phase() {
            Phase::Open | Phase::HeadSent => {}
            Phase::Ended => return Err(StreamMisuse::Ended),
            Phase::Closed => return Err(self.gone()),
        }
        if self.link.push_allowed.get() { Ok(()) } else { Err(StreamMisuse::PushDisabled) }
    }

    /// Promises the response to a request the client did not make (RFC 9113 §8.4) and sends it: `reply` becomes a
    /// Stream actor of its own. PUSH_PROMISE leaves before anything that is said after this call. The future
    /// tells the promised stream; it need not be awaited.
    /// # Errors
    /// At once: [`StreamMisuse::PushDisabled`], [`StreamMisuse::NestedPush`], [`StreamMisuse::UnsafePush`],
    /// [`StreamMisuse::Ended`], [`StreamMisuse::Closed`], [`StreamMisuse::NotHttp2`]. From the future:
    /// [`StreamMisuse::Refused`] where the client's limit of streams is reached or the session is draining.
    pub fn push(&self, head: RequestHead, reply: impl Into<Reply>) -> Result<Pushed, StreamMisuse> {
        self.may_push()?;
        if !matches!(head.method(), "GET" | "HEAD") || head.fields().contains("content-length") {
            return Err(StreamMisuse::UnsafePush(head.method().to_owned()));
        }
        head.check(self.strict())?;
        let (told, kept) = promise();
        let reply = Contained::new(reply.into());
        let push = Push { parent: self.id(), head, route: self.route, reply, told };
        self.link.send(ToSession::Push(Box::new(push)));
        Ok(Pushed(kept))
    }

    /// Gives the stream deadlines of its own from now on; what is `None` keeps the listener's.
    /// # Errors
    /// [`StreamMisuse::Closed`].
    pub fn set_timeouts(&self, own: StreamTimeouts) -> Result<(), StreamMisuse> {
        if self.phase() == Phase::Closed {
            return Err(self.gone());
        }
        self.link.send(ToSession::Deadlines { id: self.id(), own: Box::new(own) });
        Ok(())
    }

    /// Ends the stream now by RST_STREAM with `code`; on HTTP/1.1 the connection is cut.
    /// # Errors
    /// [`StreamMisuse::Closed`], and [`StreamMisuse::NoErrorBeforeEnd`] for NO_ERROR before the response is whole.
    pub fn reset(&self, code: ErrorCode) -> Result<(), StreamMisuse> {
        match self.phase() {
            Phase::Closed => return Err(self.gone()),
            Phase::Open | Phase::HeadSent if code == ErrorCode::NO_ERROR => {
                return Err(StreamMisuse::NoErrorBeforeEnd);
            }
            Phase::Open | Phase::HeadSent | Phase::Ended => {}
        }
        self.link.answer(ToSession::Reset { id: self.id(), code, outcome: Outcome::ResetByUs });
        Ok(())
    }
}

/// The stream a push was promised on, once the promise is out.
///
/// ```
/// use stagedoor_actors::{Response, StreamHandle, StreamMisuse};
/// use stagedoor_protocol::RequestHead;
///
/// async fn with_style(stream: &StreamHandle) -> Result<(), StreamMisuse> {
///     if stream.push_allowed() {
///         let head = RequestHead::new("GET", "https", "example.org", "/a.css");
///         let promised = stream.push(head, Response::text("body { margin: 0 }"))?;
///         println!("promised on stream {}", promised.await?);
///     }
///     Ok(())
/// }
/// ```
pub struct Pushed(Kept<Result<StreamId, StreamMisuse>>);

impl Future for Pushed {
    type Output = Result<StreamId, StreamMisuse>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = Err(StreamMisuse::Closed(ErrorCode::CANCEL));
        Pin::new(&mut self.0).poll(cx).map(|told| told.unwrap_or(gone))
    }
}

impl std::fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHandle").field("id", &self.id()).field("phase", &self.phase()).finish()
    }
}
