//! What happens in a whole server, for any thread that wants to hear it: sessions and streams that begin and end, timers,
//! limits, panics that were caught, the steps of a drain.
//!
//! The other two ways to hear are for the session's own thread and tell more of the protocol:
//! [`SessionHandle::events`](crate::SessionHandle::events) of one session, [`Observer`](crate::Observer) of all. Of the sessions
//! that the process opens itself (`client`) only panics are told.
//!
//! Invariants: the events of one session come in their order, [`Event::SessionClosed`] once and last; while nobody
//! listens no event is made.

mod hub;
mod tell;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stagedoor_metrics::{CloseReason, Outcome, RouteId, SessionId, TimeoutAction, TimeoutKind};
use stagedoor_protocol::{Limit, RequestHead, StreamId};

use crate::server::DrainProgress;
use crate::session::{SessionInfo, SessionStatistics, StreamTimes, WaitTimes};

pub(crate) use hub::EVENTS;
pub use hub::{Events, Hub};
pub(crate) use tell::Outlet;

/// Something that happened in a server. Clones share what is large.
///
/// ```
/// use stagedoor_actors::events::Event;
///
/// fn line(event: &Event) -> Option<String> {
///     match event {
///         Event::SessionOpened { session, peer, .. } => Some(format!("{session}: {peer:?} came")),
///         Event::StreamClosed { session, stream, status, lasted, .. } => {
///             Some(format!("{session}/{}: {status} in {lasted:?}", stream.get()))
///         }
///         Event::SessionClosed { session, reason, .. } => Some(format!("{session}: {reason}")),
///         Event::Lagged { missed } => Some(format!("{missed} events are lost")),
///         _ => None,
///     }
/// }
/// # assert_eq!(line(&Event::Lagged { missed: 3 }).as_deref(), Some("3 events are lost"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is known what a session speaks (after TLS and the first octets); before any of its streams.
    #[non_exhaustive]
    SessionOpened {
        /// Which.
        session: SessionId,
        /// The listener it came in by.
        listener: Arc<str>,
        /// The other end, where it is known.
        peer: Option<SocketAddr>,
        /// `h2`, `h2c` or `http/1.1`.
        protocol: &'static str,
        /// All there is to know of it.
        info: Arc<SessionInfo>,
    },
    /// A session is over and its socket closed. Connections that ended before it was known what they speak are told
    /// without [`Event::SessionOpened`].
    #[non_exhaustive]
    SessionClosed {
        /// Which.
        session: SessionId,
        /// The listener it came in by.
        listener: Arc<str>,
        /// The other end, where it is known.
        peer: Option<SocketAddr>,
        /// The reason of the first order to close.
        reason: CloseReason,
        /// What it did in its life.
        statistics: Arc<SessionStatistics>,
    },
    /// A stream began.
    #[non_exhaustive]
    StreamOpened {
        /// On which session.
        session: SessionId,
        /// Which.
        stream: StreamId,
        /// Its request.
        head: Arc<RequestHead>,
    },
    /// A stream is over: once for each that began.
    #[non_exhaustive]
    StreamClosed {
        /// On which session.
        session: SessionId,
        /// Which.
        stream: StreamId,
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
        /// Why it was answered by an error, or reset, where its handler said so.
        cause: Option<&'static str>,
    },
    /// A timer was due.
    #[non_exhaustive]
    Timeout {
        /// Of which session.
        session: SessionId,
        /// The listener it came in by.
        listener: Arc<str>,
        /// The stream, where the timer watched one.
        stream: Option<StreamId>,
        /// Which timer.
        kind: TimeoutKind,
        /// It ended what it watched, or octets had moved and it waits on.
        action: TimeoutAction,
    },
    /// A limit was met.
    #[non_exhaustive]
    LimitHit {
        /// By which session, where it was one.
        session: Option<SessionId>,
        /// Of which listener; `None` for a limit of the whole server.
        listener: Option<Arc<str>>,
        /// Which limit.
        limit: LimitKind,
        /// How often since this was last told of that session; 1 for what is no session's.
        times: u32,
    },
    /// A panic was caught; who is named here ended by it, and nobody else.
    #[non_exhaustive]
    Panicked {
        /// On which session, where it was on one. It may be one of ours to another server.
        session: Option<SessionId>,
        /// In which stream.
        stream: Option<StreamId>,
        /// Where.
        place: PanicPlace,
        /// What it said.
        words: String,
    },
    /// The server is on its way down, by [`ServerHandle::drain`](crate::ServerHandle::drain) and its like.
    Drain(DrainStep),
    /// Events were read too slowly: so many before the next one are lost.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl Event {
    /// The session it is about, where it is about one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::SessionOpened { session, .. }
            | Self::SessionClosed { session, .. }
            | Self::StreamOpened { session, .. }
            | Self::StreamClosed { session, .. }
            | Self::Timeout { session, .. } => Some(*session),
            Self::LimitHit { session, .. } | Self::Panicked { session, .. } => *session,
            Self::Drain(_) | Self::Lagged { .. } => None,
        }
    }
}

impl actix::Message for Event {
    type Result = ();
}

/// A step of a drain, in this order.
///
/// ```
/// use stagedoor_actors::DrainStep;
///
/// fn line(step: DrainStep) -> Option<String> {
///     match step {
///         DrainStep::Progress(progress) => Some(format!("{} sessions left", progress.sessions)),
///         DrainStep::Done => Some("drained".to_owned()),
///         _ => None,
///     }
/// }
/// assert_eq!(line(DrainStep::Done).as_deref(), Some("drained"));
/// assert_eq!(line(DrainStep::StoppedAccepting), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainStep {
    /// It was ordered. Connections are still accepted for `min_accept`.
    #[non_exhaustive]
    Began {
        /// Sessions at that moment.
        sessions: usize,
        /// How long connections are still accepted.
        min_accept: Duration,
        /// How long sessions have from then on.
        deadline: Duration,
    },
    /// Nothing more is accepted; sessions are told to end.
    StoppedAccepting,
    /// How it goes: about once a second, and when the numbers change.
    Progress(DrainProgress),
    /// The deadline has passed: what is left is cut off.
    #[non_exhaustive]
    Forced {
        /// Sessions that were left.
        sessions: usize,
    },
    /// It is over.
    Done,
}

/// A limit that was met.
///
/// ```
/// use stagedoor_actors::{Limit, LimitKind};
///
/// assert_eq!(LimitKind::AddressSessions.name(), "sessions_per_address");
/// match LimitKind::Protective(Limit::Pings) {
///     LimitKind::Protective(limit) => println!("against {}", limit.against()),
///     other => println!("{}", other.name()),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// A protective limit of a session; [`Limit`] says what the peer saw.
    Protective(Limit),
    /// Sessions of a listener (`limits.sessions`): a connection was closed.
    Sessions,
    /// Sessions of one address (`limits.sessions_per_address`): a connection was closed.
    AddressSessions,
    /// Connections that have not said what they speak (`limits.handshakes`): the oldest, which is named, had to go.
    Handshakes,
    /// Sessions of the whole server ([`OverloadLimits::sessions`](crate::OverloadLimits)): accepting pauses.
    ServerSessions,
    /// Resident memory ([`OverloadLimits::resident`](crate::OverloadLimits)): accepting pauses, idle sessions are shed.
    ResidentMemory,
    /// Descriptors of the process: connections wait or are closed, idle sessions are shed.
    Descriptors,
}

impl LimitKind {
    /// Its name, as its option has it where there is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Protective(limit) => limit.name(),
            Self::Sessions => "sessions",
            Self::AddressSessions => "sessions_per_address",
            Self::Handshakes => "handshakes",
            Self::ServerSessions => "server_sessions",
            Self::ResidentMemory => "resident",
            Self::Descriptors => "descriptors",
        }
    }
}

/// Where a panic was caught.
///
/// ```
/// use stagedoor_actors::PanicPlace;
///
/// /// Whether whoever wrote the handler should hear of it.
/// fn is_of_a_handler(place: PanicPlace) -> bool {
///     matches!(place, PanicPlace::Handler | PanicPlace::Body | PanicPlace::Tunnel)
/// }
/// assert!(is_of_a_handler(PanicPlace::Handler));
/// assert_eq!(PanicPlace::Session.label(), "session");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicPlace {
    /// The handler of a stream, before the head of its answer went out: the answer is a 500.
    Handler,
    /// The handler or the body of an answer behind its head: the stream is reset.
    Body,
    /// The body of a request of ours, to another server.
    Upload,
    /// A tunnel of HTTP/1.1.
    Tunnel,
    /// An observer of sessions or octets: what it hears goes on.
    Observer,
    /// The name of a route, as somebody looked at a session.
    RouteName,
    /// Something of the application's that was dropped before it began.
    Dropped,
    /// The turn of a session: our bug, and its end.
    Session,
    /// An accept loop: the listener is started again.
    Listener,
    /// An arbiter's Worker as it began to serve a listener: the factory of its service panicked.
    Worker,
}

impl PanicPlace {
    /// In one word.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Upload => "upload",
            Self::Tunnel => "tunnel",
            Self::Observer => "observer",
            Self::RouteName => "route_name",
            Self::Dropped => "dropped",
            Self::Session => "session",
            Self::Listener => "listener",
            Self::Worker => "worker",
        }
    }
}
