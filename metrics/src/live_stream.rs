//! A stream of some age in the live registry, as atomics its session's thread writes and anyone reads.
//! Streams that are over soon never get one: the aggregates describe them better.
//!
//! Invariant: one writing thread, that of its session.

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::cell::{Cell, Gauge};
use crate::labels::{Method, WaitOn};
use crate::live::{SessionId, nanos};
use crate::per::Per;
use crate::shard::RouteId;

/// What is known of a live stream.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use stagedoor_metrics::{Method, SessionId, StreamStats, WaitOn};
///
/// let opened = Instant::now();
/// let stream = StreamStats::new(SessionId { worker: 0, number: 1 }, 3, Method::Get, opened);
/// stream.set_on(WaitOn::Upstream, opened + Duration::from_secs(1));
/// assert_eq!(stream.on(), WaitOn::Upstream);
/// assert_eq!(stream.waited(opened + Duration::from_secs(3)), Duration::from_secs(2));
/// ```
#[derive(Debug)]
pub struct StreamStats {
    session: SessionId,
    id: u32,
    method: Method,
    opened: Instant,
    route: AtomicU16,
    on: AtomicU8,
    /// Nanoseconds from opening to where what it waits for now began.
    since: Gauge,
    /// Octets of the body received.
    pub bytes_in: Cell,
    /// Octets of the body sent.
    pub bytes_out: Cell,
    /// Octets accepted for sending and not yet written.
    pub write_queue_bytes: Gauge,
    /// Send window in octets; may be below zero (RFC 9113 §6.9.2).
    pub send_window: Gauge,
    /// What its time went to before what it waits for now, in nanoseconds.
    pub waits: Per<WaitOn, Cell>,
}

impl StreamStats {
    /// Stream `id` of `session`, which began at `opened`.
    #[must_use]
    pub fn new(session: SessionId, id: u32, method: Method, opened: Instant) -> Self {
        Self {
            session,
            id,
            method,
            opened,
            route: AtomicU16::new(RouteId::UNMATCHED.get()),
            on: AtomicU8::new(WaitOn::Handler as u8),
            since: Gauge::new(),
            bytes_in: Cell::new(),
            bytes_out: Cell::new(),
            write_queue_bytes: Gauge::new(),
            send_window: Gauge::new(),
            waits: Per::default(),
        }
    }

    /// Its session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The method of its request.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// When it began.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// The route it took, as far as that is known.
    #[must_use]
    pub fn route(&self) -> RouteId {
        RouteId(self.route.load(Ordering::Relaxed))
    }

    /// Says which route it took.
    pub fn set_route(&self, route: RouteId) {
        self.route.store(route.get(), Ordering::Relaxed);
    }

    /// What it waits for now.
    #[must_use]
    pub fn on(&self) -> WaitOn {
        WaitOn::from_index(usize::from(self.on.load(Ordering::Relaxed))).unwrap_or(WaitOn::Handler)
    }

    /// Says what it waits for since `since`.
    pub fn set_on(&self, on: WaitOn, since: Instant) {
        self.since.set(nanos(since.saturating_duration_since(self.opened)));
        self.on.store(on as u8, Ordering::Relaxed);
    }

    /// How long it has waited for [`Self::on`], seen from `now`.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        let since = Duration::from_nanos(self.since.get().unsigned_abs());
        now.saturating_duration_since(self.opened).saturating_sub(since)
    }
}
