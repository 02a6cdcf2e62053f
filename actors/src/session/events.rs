//! What happens on a session, for whoever wants to hear it: an [`EventStream`] from a handle, or an
//! [`Observer`] for every session of a host.
//!
//! Who does not ask pays one look at a flag: no event is made for nobody. Order: [`SessionEvent::Opened`] first,
//! an error before the end, [`SessionEvent::Closed`] exactly once and nothing after it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use stagedoor_metrics::{CloseReason, Outcome, RouteId, TimeoutAction, TimeoutKind};
use stagedoor_protocol::settings::InForce;
use stagedoor_protocol::{ErrorCode, RequestHead, Settings, StreamId, UserError};

use super::handle::SessionHandle;
use super::waits::WaitTimes;

/// Something that happened on a session.
///
/// ```
/// use stagedoor_actors::SessionEvent;
///
/// fn line(event: &SessionEvent) -> Option<String> {
///     match event {
///         SessionEvent::GoAway { code, last, .. } => Some(format!("GOAWAY {code} behind stream {last}")),
///         SessionEvent::StreamAnswered { id, status } => Some(format!("{id}: {status}")),
///         SessionEvent::Closed { reason, .. } => Some(format!("it is over: {reason}")),
///         _ => None,
///     }
/// }
/// # let answered = SessionEvent::StreamAnswered { id: 1.into(), status: 200 };
/// # assert_eq!(line(&answered).as_deref(), Some("1: 200"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// It is known what the session speaks (after TLS and the first octets); before any stream.
    Opened,
    /// The peer's SETTINGS are in force.
    RemoteSettings {
        /// What the frame said; settings without a meaning here under `custom`.
        changed: Settings,
        /// All that is in force now.
        settings: InForce,
    },
    /// The peer acknowledged SETTINGS of ours: they are in force.
    LocalSettings {
        /// All that is in force now.
        settings: InForce,
        /// From the frame to its acknowledgement; `None` for the SETTINGS a session begins with.
        after: Option<Duration>,
    },
    /// The peer said GOAWAY (RFC 9113 §6.8): it opens and takes no more streams.
    GoAway {
        /// Why.
        code: ErrorCode,
        /// Highest stream of ours it looked at or may look at.
        last: StreamId,
        /// Its opaque data; often words for people.
        opaque: Bytes,
    },
    /// The peer sent a PING; it was answered.
    Ping {
        /// Its payload.
        payload: [u8; 8],
    },
    /// Client: the server offers an alternative service (ALTSVC, RFC 7838 §4).
    AltSvc {
        /// The stream whose origin it is for; stream 0 where `origin` names it.
        stream: StreamId,
        /// The origin; empty where the stream tells.
        origin: String,
        /// The value, as of an Alt-Svc field.
        value: String,
    },
    /// Client: the server answers for these origins, too (ORIGIN, RFC 8336).
    Origin {
        /// As `scheme://host[:port]`.
        origins: Vec<String>,
    },
    /// A timer was due: of the session, or of one of its streams.
    Timeout {
        /// Which.
        kind: TimeoutKind,
        /// It ended what it watched, or octets had moved and it waits on.
        action: TimeoutAction,
        /// The stream, where it watched one.
        stream: Option<StreamId>,
    },
    /// A frame of ours could not be sent: the application asked for what cannot be.
    FrameError {
        /// The stream it was for.
        stream: StreamId,
        /// What is wrong with it.
        error: UserError,
    },
    /// A stream began.
    StreamOpened {
        /// Which.
        id: StreamId,
        /// Its request.
        head: Arc<RequestHead>,
    },
    /// The final head of a stream was sent (server) or received (client).
    StreamAnswered {
        /// Which.
        id: StreamId,
        /// Its status.
        status: u16,
    },
    /// A stream is over: once for each that began.
    StreamClosed {
        /// Which.
        id: StreamId,
        /// How it ended.
        outcome: Outcome,
        /// Status of its final head; 0 when there was none.
        status: u16,
        /// From its first frame to its end.
        lasted: Duration,
        /// Octets of its body received and sent.
        octets: (u64, u64),
        /// When it got under way.
        times: StreamTimes,
        /// The route it took.
        route: RouteId,
        /// What its time went to, in the order of [`WaitOn::ALL`](stagedoor_metrics::WaitOn::ALL); adds up to `lasted`.
        waits: WaitTimes,
        /// Why it was answered by an error, or reset, where its handler said so ([`StreamHandle::blame`](crate::StreamHandle::blame)).
        cause: Option<&'static str>,
    },
    /// The session ends by an error. [`SessionEvent::Closed`] follows when the socket is gone.
    Error {
        /// The reason that is counted.
        reason: CloseReason,
        /// The code of GOAWAY, the peer's or ours.
        code: ErrorCode,
        /// For people.
        detail: String,
    },
    /// The session is over and its socket closed: the last event.
    Closed {
        /// The reason of the first order to close.
        reason: CloseReason,
        /// What the session did in its life.
        statistics: Box<SessionStatistics>,
    },
    /// An [`EventStream`] was read too slowly: so many events before the next one are lost.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// When a stream got under way, each from its opening; `None` for what never came.
///
/// ```
/// use stagedoor_actors::SessionEvent;
///
/// /// How long a handler took to say something.
/// fn to_head(event: &SessionEvent) -> Option<std::time::Duration> {
///     match event {
///         SessionEvent::StreamClosed { times, .. } => times.head,
///         _ => None,
///     }
/// }
/// # assert_eq!(to_head(&SessionEvent::Opened), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamTimes {
    /// To the final head, sent (server) or received (client).
    pub head: Option<Duration>,
    /// To the first octets of a body received; on HTTP/1.1 of a tunnel alone.
    pub first_in: Option<Duration>,
    /// To the first octets of a body given to the connection; windows may hold them up from there.
    pub first_out: Option<Duration>,
}

/// What a session did in its life.
///
/// ```
/// use stagedoor_actors::SessionStatistics;
///
/// fn line(did: &SessionStatistics) -> String {
///     format!("{} streams, {} at once, {} octets out", did.streams, did.streams_peak, did.bytes_out)
/// }
/// let did = SessionStatistics { streams: 7, streams_peak: 2, bytes_out: 999, ..SessionStatistics::default() };
/// assert_eq!(line(&did), "7 streams, 2 at once, 999 octets out");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStatistics {
    /// From the accepted connection to the closed socket.
    pub lasted: Duration,
    /// Octets received, above TLS.
    pub bytes_in: u64,
    /// Octets sent, above TLS.
    pub bytes_out: u64,
    /// Whole frames received (HTTP/2).
    pub frames_in: u64,
    /// Frames sent (HTTP/2).
    pub frames_out: u64,
    /// Streams begun.
    pub streams: u64,
    /// Most streams open at the same time.
    pub streams_peak: u32,
    /// Mean life of a stream that ended; zero without any.
    pub stream_mean: Duration,
    /// Round trip of the last PING of ours that was answered.
    pub ping_rtt: Option<Duration>,
}

/// Hears what happens on every session of a [`Host`](crate::Host) or listener, on the arbiter of the session
/// and in the middle of its turn: be brief, send a message to an actor for more.
///
/// A closure `Fn(&SessionHandle, &SessionEvent)` is one. A panic of it is logged; the session goes on.
/// Connections that fail before it is known what they speak (TLS, first octets) are told with
/// [`SessionEvent::Error`] and [`SessionEvent::Closed`], without [`SessionEvent::Opened`].
///
/// ```
/// use std::cell::Cell;
///
/// use stagedoor_actors::{Host, Observer, SessionEvent, SessionHandle};
///
/// #[derive(Default)]
/// struct Answers(Cell<u64>);
///
/// impl Observer for Answers {
///     fn observe(&self, _: &SessionHandle, event: &SessionEvent) {
///         if let SessionEvent::StreamAnswered { .. } = event {
///             self.0.set(self.0.get() + 1);
///         }
///     }
/// }
///
/// fn count_on(host: &Host) {
///     host.observe(Answers::default());
/// }
/// ```
pub trait Observer: 'static {
    /// Something happened on `session`. Orders given through it are heard in the same turn.
    fn observe(&self, session: &SessionHandle, event: &SessionEvent);
}

impl<F: Fn(&SessionHandle, &SessionEvent) + 'static> Observer for F {
    fn observe(&self, session: &SessionHandle, event: &SessionEvent) {
        self(session, event);
    }
}

/// Makes a worker's own [`Observer`].
///
/// ```
/// use std::{rc::Rc, sync::Arc};
///
/// use stagedoor_actors::{Observer, ObserverFactory, SessionEvent, SessionHandle};
///
/// let factory: ObserverFactory = Arc::new(|| -> Rc<dyn Observer> {
///     Rc::new(|session: &SessionHandle, _: &SessionEvent| println!("{}", session.id))
/// });
/// ```
pub type ObserverFactory = Arc<dyn Fn() -> Rc<dyn Observer> + Send + Sync>;

/// Where the events of one subscriber wait.
pub(crate) struct Ear {
    waiting: RefCell<VecDeque<SessionEvent>>,
    limit: usize,
    missed: Cell<u64>,
    over: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Ear {
    pub(crate) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            waiting: RefCell::default(),
            limit: limit.max(1),
            missed: Cell::new(0),
            over: Cell::new(false),
            waker: Cell::new(None),
        })
    }

    /// The oldest make room, so that the end is always heard.
    pub(super) fn push(&self, event: SessionEvent) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() == self.limit {
            waiting.pop_front();
            self.missed.set(self.missed.get() + 1);
        }
        waiting.push_back(event);
        drop(waiting);
        self.wake();
    }

    pub(super) fn end(&self) {
        self.over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The events of one session from the moment of [`SessionHandle::events`] on; ends after
/// [`SessionEvent::Closed`]. Dropping it ends the subscription.
///
/// Bounded: what is not read makes room for what is new, and [`SessionEvent::Lagged`] says how many are lost.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::SessionEvent;
///
/// session.ready().await?;
/// let mut events = session.handle().ok_or("it is up")?.events();
/// session.close().await;
/// let mut last = None;
/// while let Some(event) = events.next().await {
///     last = Some(event);
/// }
/// assert!(matches!(last, Some(SessionEvent::Closed { .. })));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct EventStream(pub(super) Rc<Ear>);

impl EventStream {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = SessionEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        let ear = &self.0;
        let missed = ear.missed.take();
        if missed > 0 {
            return Poll::Ready(Some(SessionEvent::Lagged { missed }));
        }
        if let Some(event) = ear.waiting.borrow_mut().pop_front() {
            return Poll::Ready(Some(event));
        }
        if ear.over.get() {
            return Poll::Ready(None);
        }
        ear.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("waiting", &self.0.waiting.borrow().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(number: u8) -> SessionEvent {
        SessionEvent::Ping { payload: [number; 8] }
    }

    #[test]
    fn who_reads_slowly_misses_the_oldest_and_is_told_how_many() {
        let ear = Ear::new(2);
        let mut stream = EventStream(Rc::clone(&ear));
        (1..=5).for_each(|number| ear.push(ping(number)));
        ear.end();
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || Pin::new(&mut stream).poll_next(&mut cx);
        assert!(matches!(next(), Poll::Ready(Some(SessionEvent::Lagged { missed: 3 }))));
        for number in [4, 5] {
            assert!(
                matches!(next(), Poll::Ready(Some(SessionEvent::Ping { payload })) if payload == [number; 8])
            );
        }
        assert!(matches!(next(), Poll::Ready(None)));
    }
}
