//! Shards: the cells one arbiter writes, grouped by the handle an actor keeps.
//! Knows no family names (`catalogue.rs`) and adds nothing up (`collect.rs`).
//!
//! Invariant: a shard has one writing thread, the arbiter it was made for; the collector only reads.
//! The mutexes guard the lists of handles and are taken when a handle is made and at a scrape, never
//! to count: an actor asks for its handles once, when it starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::cell::{Cell, Gauge};
use crate::examples::{Examples, Moment};
use crate::histogram::{Count, Handshake, Histogram, Lag, Latency, Lifetime, Size, Wait};
use crate::labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, FrameType, H2Code, MessageKind, Method,
    Origin, Outcome, Protocol, Scope, TimeoutAction, TimeoutKind, TlsResult, TlsVersion, WaitOn,
};
use crate::live::SessionId;
use crate::mailbox::Mailbox;
use crate::per::Per;
use crate::status;
use crate::upstream::{UpstreamCells, UpstreamId};

/// A configured listener, by its place in the process's list.
///
/// ```
/// use stagedoor_metrics::Metrics;
///
/// let metrics = Metrics::new("app");
/// let id = metrics.add_listener("http", "127.0.0.1:8080");
/// assert_eq!(metrics.add_listener("http", "[::1]:8080"), id, "a name keeps its id");
/// assert_eq!(metrics.listener_name(id).as_deref(), Some("http"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(crate) u16);

impl ListenerId {
    /// Place in the list, from 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A configured route, by its place in the process's list.
///
/// ```
/// use stagedoor_metrics::{Metrics, RouteId};
///
/// let metrics = Metrics::new("app");
/// let users = metrics.add_route("/users/{id}");
/// assert_ne!(users, RouteId::UNMATCHED);
/// assert_eq!(metrics.route_name(users).as_deref(), Some("/users/{id}"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub(crate) u16);

impl RouteId {
    /// Requests no route took: label `_unmatched`.
    pub const UNMATCHED: Self = Self(0);
    /// Requests to the admin interface: label `_admin`.
    pub const ADMIN: Self = Self(1);

    /// Place in the list, from 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What one arbiter counts for one listener. Aligned so that two arbiters never share a cache line.
///
/// ```
/// use stagedoor_metrics::{ListenerCells, Outcome, Protocol};
///
/// let cells = ListenerCells::default();
/// cells.stream_opened(Protocol::H2);
/// cells.stream_closed(Protocol::H2, Outcome::Complete);
/// assert_eq!(cells.streams_opened[Protocol::H2].get(), 1);
/// assert_eq!(cells.streams_active[Protocol::H2].get(), 0);
/// ```
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerCells {
    /// Connections offered, each counted once.
    pub connections: Per<ConnectionResult, Cell>,
    /// TLS handshakes ended.
    pub tls_handshakes: Per<TlsResult, Per<TlsVersion, Cell>>,
    /// From accept to a finished handshake.
    pub tls_handshake_duration: Histogram<Handshake>,
    /// Sessions started; less those closed, this is how many are open.
    pub sessions_opened: Per<Protocol, Cell>,
    /// Sessions ended.
    pub sessions_closed: Per<Protocol, Per<CloseReason, Cell>>,
    /// Age of a session when it closed.
    pub session_lifetime: Per<Protocol, Histogram<Lifetime>>,
    /// Streams carried by a session when it closed.
    pub session_lifetime_streams: Histogram<Count>,
    /// Octets read from and written to sockets, after TLS.
    pub network_bytes: Per<Direction, Cell>,
    /// Octets accepted for sending and not yet written.
    pub write_queue_bytes: Gauge,
    /// Octets charged to sessions.
    pub session_memory_bytes: Gauge,
    /// Frames by direction and type.
    pub h2_frames: Per<Direction, Per<FrameType, Cell>>,
    /// RST_STREAM (scope stream) and GOAWAY (scope connection), by who sent them.
    pub h2_errors: Per<Scope, Per<Origin, Per<H2Code, Cell>>>,
    /// Times a sender ran out of window with octets queued.
    pub h2_flow_stalls: Per<Scope, Cell>,
    /// Time spent so, in nanoseconds; exposed as seconds.
    pub h2_flow_stalled_nanos: Per<Scope, Cell>,
    /// Round trips of our own PING frames.
    pub h2_ping_rtt: Histogram<Latency>,
    /// Timers that expired.
    pub timeouts: Per<TimeoutKind, Per<TimeoutAction, Cell>>,
    /// Protective limits that tripped.
    pub abuse: Per<AbuseKind, Cell>,
    /// Streams open now.
    pub streams_active: Per<Protocol, Gauge>,
    /// Streams started.
    pub streams_opened: Per<Protocol, Cell>,
    /// Streams ended.
    pub streams_closed: Per<Outcome, Cell>,
}

impl ListenerCells {
    /// Counts a session that starts.
    #[inline]
    pub fn session_opened(&self, protocol: Protocol) {
        self.sessions_opened[protocol].inc();
    }

    /// Counts a session that ended after `lifetime_nanos`, having carried `streams`.
    /// `protocol` is the one it was opened with: a session that changes it closes as `upgraded` and
    /// opens anew.
    pub fn session_closed(&self, protocol: Protocol, reason: CloseReason, lifetime_nanos: u64, streams: u64) {
        self.sessions_closed[protocol][reason].inc();
        self.session_lifetime[protocol].observe_nanos(lifetime_nanos);
        self.session_lifetime_streams.observe_value(streams);
    }

    /// Counts a stream that starts.
    #[inline]
    pub fn stream_opened(&self, protocol: Protocol) {
        self.streams_opened[protocol].inc();
        self.streams_active[protocol].inc();
    }

    /// Counts a stream that ended.
    #[inline]
    pub fn stream_closed(&self, protocol: Protocol, outcome: Outcome) {
        self.streams_active[protocol].dec();
        self.streams_closed[outcome].inc();
    }
}

/// What one arbiter counts for one route of one listener; a stream is seen once, when it ends.
///
/// ```
/// use stagedoor_metrics::{Method, RouteCells, WaitOn};
///
/// let cells = RouteCells::default();
/// cells.request(Method::Get, 200);
/// cells.response_body_bytes.observe_value(512);
/// cells.stream_wait_nanos[WaitOn::Handler].add(7_000);
/// assert_eq!(cells.response_body_bytes.count(), 1);
/// ```
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCells {
    /// By method, a cell per status code, made when the method is first seen.
    requests: Per<Method, OnceLock<Box<[Cell; status::SLOTS]>>>,
    /// HEADERS received to last octet written.
    pub request_duration: Histogram<Latency>,
    /// HEADERS received to first response HEADERS written.
    pub response_start: Histogram<Latency>,
    /// Of `request_duration`.
    pub(crate) duration_examples: Examples,
    /// Of `response_start`.
    pub(crate) start_examples: Examples,
    /// Octets of a request body.
    pub request_body_bytes: Histogram<Size>,
    /// Octets of a response body.
    pub response_body_bytes: Histogram<Size>,
    /// What the time of streams went to, in nanoseconds; exposed as seconds.
    pub stream_wait_nanos: Per<WaitOn, Cell>,
    /// Octets read from files for responses.
    pub file_read_bytes: Cell,
}

impl RouteCells {
    /// Counts a request answered with the final status `status`. No lock; the first request of a method
    /// allocates its cells.
    #[inline]
    pub fn request(&self, method: Method, status: u16) {
        let codes = self.requests[method].get_or_init(|| Box::new([const { Cell::new() }; status::SLOTS]));
        codes[status::slot(status)].inc();
    }

    /// Counts how long a stream lived; `at` is the clock of the turn, `who` names the stream, should its
    /// bucket want an example. No lock; the first call allocates the examples.
    #[inline]
    pub fn request_took(&self, nanos: u64, at: Moment, who: impl FnOnce() -> Exemplar) {
        let bucket = self.request_duration.observe(nanos);
        self.duration_examples.offer(bucket, nanos, at, who);
    }

    /// Counts how long the head of a response took, as [`Self::request_took`].
    #[inline]
    pub fn response_began(&self, nanos: u64, at: Moment, who: impl FnOnce() -> Exemplar) {
        let bucket = self.response_start.observe(nanos);
        self.start_examples.offer(bucket, nanos, at, who);
    }

    /// Adds the counts of a method to `codes`, by slot of `status.rs`.
    pub(crate) fn add_requests(&self, method: Method, codes: &mut [u64; status::SLOTS]) {
        if let Some(cells) = self.requests[method].get() {
            for (total, cell) in codes.iter_mut().zip(cells.iter()) {
                *total += cell.get();
            }
        }
    }
}

/// The stream behind an observation.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_metrics::{Exemplar, Moment, RouteCells, SessionId};
///
/// let cells = RouteCells::default();
/// let (now, session) = (Instant::now(), SessionId { worker: 0, number: 1 });
/// cells.request_took(7_000_000, Moment::new(now, now), || Exemplar { session, stream: 1, trace: 42 });
/// assert_eq!(cells.request_duration.count(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Its session.
    pub session: SessionId,
    /// The stream.
    pub stream: u32,
    /// The trace it belongs to.
    pub trace: u128,
}

/// What one arbiter counts for one kind of message.
///
/// ```
/// use stagedoor_metrics::{MessageKind, Shard};
///
/// let shard = Shard::default();
/// let turns = &shard.messages()[MessageKind::SessionTurn];
/// turns.handled.inc();
/// turns.busy_nanos.add(900);
/// assert_eq!(shard.messages()[MessageKind::SessionTurn].handled.get(), 1);
/// ```
#[derive(Debug, Default)]
pub struct MessageCounts {
    /// Messages handled.
    pub handled: Cell,
    /// Time spent on it, in nanoseconds; exposed as seconds.
    pub busy_nanos: Cell,
}

/// What one arbiter counts for one kind of actor.
///
/// ```
/// use stagedoor_metrics::{ActorKind, Shard};
///
/// let shard = Shard::default();
/// shard.actors()[ActorKind::Session].started.inc();
/// shard.actors()[ActorKind::Session].alive.inc();
/// assert_eq!(shard.actors()[ActorKind::Session].alive.get(), 1);
/// ```
#[derive(Debug, Default)]
pub struct ActorCounts {
    /// Actors alive.
    pub alive: Gauge,
    /// Actors started.
    pub started: Cell,
    /// Supervised restarts.
    pub restarts: Cell,
    /// Panics caught at an actor boundary.
    pub panics: Cell,
    /// Sends refused because the mailbox was full.
    pub mailbox_full: Cell,
    /// From the sending of a message to its handling.
    pub mailbox_wait: Histogram<Wait>,
}

/// What one arbiter counts for its actors: `shard.actors()[ActorKind::Session].alive.inc()`.
pub type ActorCells = Per<ActorKind, ActorCounts>;

/// The cells of one arbiter, see the module's invariant.
///
/// ```
/// use std::sync::Arc;
///
/// use stagedoor_metrics::{Metrics, RouteId};
///
/// let metrics = Metrics::new("app");
/// let listener = metrics.add_listener("http", "127.0.0.1:8080");
/// let shard = metrics.shard(0);
/// assert!(Arc::ptr_eq(&shard, &metrics.shard(0)));
/// shard.route(listener, RouteId::UNMATCHED).file_read_bytes.add(5);
/// ```
#[derive(Debug, Default)]
pub struct Shard {
    listeners: Mutex<HashMap<ListenerId, Arc<ListenerCells>>>,
    routes: Mutex<HashMap<(ListenerId, RouteId), Arc<RouteCells>>>,
    upstreams: Mutex<HashMap<UpstreamId, Arc<UpstreamCells>>>,
    actors: ActorCells,
    messages: Per<MessageKind, MessageCounts>,
    /// Of the actor that owns this arbiter.
    pub mailbox: Mailbox,
    /// Lateness of a tick of 100 ms.
    pub loop_lag: Histogram<Lag>,
}

impl Shard {
    /// The cells of a listener, made on first use. Takes a lock: ask once and keep the handle.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Arc<ListenerCells> {
        Arc::clone(unpoisoned(&self.listeners).entry(id).or_default())
    }

    /// The cells of a route of a listener, made on first use. Takes a lock: ask once and keep the
    /// handle, in a [`RouteHandles`] where routes are chosen per request.
    #[must_use]
    pub fn route(&self, listener: ListenerId, route: RouteId) -> Arc<RouteCells> {
        Arc::clone(unpoisoned(&self.routes).entry((listener, route)).or_default())
    }

    /// The cells of an upstream, made on first use. Takes a lock: ask once and keep the handle.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> Arc<UpstreamCells> {
        Arc::clone(unpoisoned(&self.upstreams).entry(id).or_default())
    }

    /// The cells of this arbiter's actors.
    #[must_use]
    pub fn actors(&self) -> &ActorCells {
        &self.actors
    }

    /// The cells of the messages that this arbiter's actors handle.
    #[must_use]
    pub fn messages(&self) -> &Per<MessageKind, MessageCounts> {
        &self.messages
    }

    /// Every listener this arbiter ever asked for.
    pub(crate) fn known_listeners(&self) -> Vec<(ListenerId, Arc<ListenerCells>)> {
        unpoisoned(&self.listeners).iter().map(|(id, cells)| (*id, Arc::clone(cells))).collect()
    }

    /// Every upstream this arbiter ever asked for.
    pub(crate) fn known_upstreams(&self) -> Vec<(UpstreamId, Arc<UpstreamCells>)> {
        unpoisoned(&self.upstreams).iter().map(|(id, cells)| (*id, Arc::clone(cells))).collect()
    }

    /// Every route this arbiter ever asked for.
    pub(crate) fn known_routes(&self) -> Vec<((ListenerId, RouteId), Arc<RouteCells>)> {
        unpoisoned(&self.routes).iter().map(|(key, cells)| (*key, Arc::clone(cells))).collect()
    }
}

/// Route handles of one listener on one arbiter, found by index: what a worker keeps so that a request
/// takes no lock and hashes nothing.
///
/// ```
/// use stagedoor_metrics::{Method, Metrics, RouteHandles, RouteId};
///
/// let metrics = Metrics::new("app");
/// let listener = metrics.add_listener("http", "127.0.0.1:8080");
/// let mut routes = RouteHandles::new(metrics.shard(0), listener);
/// routes.get(RouteId::UNMATCHED).request(Method::Get, 404);
/// ```
#[derive(Debug)]
pub struct RouteHandles {
    shard: Arc<Shard>,
    listener: ListenerId,
    handles: Vec<Option<Arc<RouteCells>>>,
}

impl RouteHandles {
    /// An empty set; handles are fetched as routes are used.
    #[must_use]
    pub fn new(shard: Arc<Shard>, listener: ListenerId) -> Self {
        Self { shard, listener, handles: Vec::new() }
    }

    /// The cells of `route`.
    pub fn get(&mut self, route: RouteId) -> &Arc<RouteCells> {
        let place = usize::from(route.get());
        if place >= self.handles.len() {
            self.handles.resize(place + 1, None);
        }
        self.handles[place].get_or_insert_with(|| self.shard.route(self.listener, route))
    }
}

/// Locks a list whose entries are whole at any moment: a panic elsewhere does not spoil it.
pub(crate) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
