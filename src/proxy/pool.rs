//! The connections of one worker to one endpoint. HTTP/2 sessions are shared by many requests and another is opened where
//! the peer takes no more streams; HTTP/1.1 connections carry one request at a time and wait for the next, the
//! one used last first.
//!
//! Belongs to one thread. Invariants: a worker has no more connections than its share of the endpoint's limit, all workers
//! together no more than the limit, save that each may always have one, so that nobody waits for what another worker
//! holds; a connection is counted while it lives, and whoever waits for one is told when there may be another.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use stagedoor_actors::client::{self, ClientSession, ConnectError, Line, SessionEnd};
use stagedoor_metrics::{CloseReason, Protocol, UpstreamFailure};
use tokio::sync::oneshot;

use super::count::Counts;
use super::failure::{Failure, Reach};
use super::http1::Live;
use crate::upstream::{Endpoint, Upstream, options, origin};

/// Streams that a peer is thought to take at once until one of its SETTINGS has come: what RFC 9113 §6.5.2 asks it not to
/// go below.
const THOUGHT: usize = 100;

/// See the module.
pub(crate) struct Pool {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) counts: Rc<Counts>,
    open: Cell<usize>,
    sessions: RefCell<Vec<Rc<Shared>>>,
    /// Where a session with room was found last.
    cursor: Cell<usize>,
    /// Streams that a session will take, as the last one to say it did.
    thought: Cell<usize>,
    pub(super) idle: RefCell<Vec<Live>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Grant>>>,
}

/// A session of ours and how many requests it carries.
pub(crate) struct Shared {
    pub(crate) session: ClientSession,
    streams: Cell<usize>,
    /// Streams that it is thought to take; none once it has said so itself.
    thought: Cell<Option<usize>>,
}

impl Shared {
    /// Another request would not have to wait in line.
    fn has_room(&self) -> bool {
        let limit = self.thought.get().unwrap_or_else(|| self.session.stream_limit() as usize);
        self.streams.get() < limit && self.session.takes_requests()
    }
}

/// A request on a shared session.
pub(crate) struct Lease {
    pub(crate) shared: Rc<Shared>,
    endpoint: Arc<Endpoint>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.streams.set(self.shared.streams.get() - 1);
        self.endpoint.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that may be, or is.
pub(crate) struct Slot {
    pool: Weak<Pool>,
    endpoint: Arc<Endpoint>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(pool) = self.pool.upgrade() {
            pool.open.set(pool.open.get() - 1);
            pool.make_room();
        }
    }
}

/// What somebody who waited is given.
pub(crate) enum Grant {
    /// A connection that has just come free.
    Live(Live),
    /// Leave to open another.
    Slot(Slot),
}

impl Pool {
    pub(crate) fn new(upstream: Arc<Upstream>, endpoint: Arc<Endpoint>, counts: Rc<Counts>) -> Rc<Self> {
        Rc::new(Self {
            upstream,
            endpoint,
            counts,
            open: Cell::new(0),
            sessions: RefCell::default(),
            cursor: Cell::new(0),
            thought: Cell::new(THOUGHT),
            idle: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    /// This worker's share of the endpoint's connections, of those workers that have asked this upstream for anything.
    fn share(&self) -> usize {
        let workers = self.upstream.workers.load(Ordering::Relaxed).max(1);
        (self.upstream.config.limits.connections / workers).max(1)
    }

    /// Room for another connection.
    pub(super) fn reserve(self: &Rc<Self>) -> Option<Slot> {
        let open = self.open.get();
        let connections = &self.endpoint.connections;
        let limit = self.upstream.config.limits.connections;
        if open > 0 && open >= self.share() {
            return None;
        }
        if connections.fetch_add(1, Ordering::Relaxed) >= limit && open > 0 {
            connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.open.set(open + 1);
        Some(Slot { pool: Rc::downgrade(self), endpoint: Arc::clone(&self.endpoint) })
    }

    // HTTP/2.

    /// A place on a session for a request of the client session of this number; it may have to wait in line there.
    /// # Errors
    /// More wait already than may.
    pub(crate) fn lease(self: &Rc<Self>, client: u64) -> Result<Lease, Failure> {
        let shared = self.find(client)?;
        shared.streams.set(shared.streams.get() + 1);
        self.endpoint.active.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { shared, endpoint: Arc::clone(&self.endpoint) })
    }

    fn find(self: &Rc<Self>, client: u64) -> Result<Rc<Shared>, Failure> {
        let mut sessions = self.sessions.borrow_mut();
        // What one client asks together goes out together, and its answers come back together: fewer writes, fewer turns.
        let own = (client % sessions.len().max(1) as u64) as usize;
        if let Some(shared) = sessions.get(own)
            && shared.has_room()
        {
            return Ok(Rc::clone(shared));
        }
        if let Some(shared) = sessions.get(self.cursor.get())
            && shared.has_room()
        {
            return Ok(Rc::clone(shared));
        }
        let mut gone = false;
        let mut least: Option<&Rc<Shared>> = None;
        for (place, shared) in sessions.iter().enumerate() {
            if !shared.session.takes_requests() {
                gone = true;
                continue;
            }
            let streams = shared.streams.get();
            if shared.has_room() {
                self.cursor.set(place);
                return Ok(Rc::clone(shared));
            }
            if least.is_none_or(|known| streams < known.streams.get()) {
                least = Some(shared);
            }
        }
        let least = least.cloned();
        if gone {
            sessions.retain(|shared| shared.session.takes_requests());
        }
        if let Some(slot) = self.reserve() {
            let session = client::connect(&origin(&self.endpoint), self.options()).map_err(Failure::from)?;
            let thought = Cell::new(Some(self.thought.get()));
            let shared = Rc::new(Shared { session, streams: Cell::new(0), thought });
            sessions.push(Rc::clone(&shared));
            actix_rt::spawn(attend(
                Rc::downgrade(self),
                Rc::downgrade(&shared),
                shared.session.clone(),
                slot,
            ));
            return Ok(shared);
        }
        let Some(least) = least else { return Err(full("every connection is being closed")) };
        if self.endpoint.pending.load(Ordering::Relaxed) >= self.upstream.config.limits.pending {
            return Err(full("as many requests wait as may"));
        }
        Ok(least)
    }

    fn options(&self) -> client::Options {
        let config = &self.upstream.config;
        let mut options = options(&self.upstream, &self.endpoint, config.timeouts.connect);
        options.timeouts.stall = config.timeouts.stall;
        options.timeouts.idle = config.keepalive.idle;
        options.timeouts.keepalive_ping = config.keepalive.ping;
        options.timeouts.keepalive_timeout = config.keepalive.timeout;
        options.timeouts.keepalive_without_streams = !config.keepalive.ping.is_zero();
        options.http2.strict_single_value_fields = false;
        // Others wait for its SETTINGS, which it sends first of all: what it would refuse is often lost, since a body that
        // was sent is not sent again.
        options.initial_max_streams = 1;
        // Who waits is bounded by `limits.pending`.
        options.max_queued = usize::MAX;
        options
    }

    /// ALPN has said meanwhile that the endpoint speaks HTTP/1.1.
    pub(crate) fn has_learnt(&self, endpoint: &Endpoint) -> bool {
        endpoint.tls
            && self.upstream.protocol() == crate::config::UpstreamProtocol::Auto
            && !endpoint.speaks_http2(self.upstream.protocol())
    }

    // HTTP/1.1.

    /// The connection used last.
    pub(super) fn take_idle(&self) -> Option<Live> {
        self.idle.borrow_mut().pop()
    }

    /// A connection is free again: somebody waits for it, or will.
    pub(super) fn give_back(&self, mut live: Live) {
        loop {
            let Some(waiting) = self.waiting.borrow_mut().pop_front() else { break };
            match waiting.send(Grant::Live(live)) {
                Ok(()) => return,
                Err(Grant::Live(back)) => live = back,
                Err(Grant::Slot(_)) => return,
            }
        }
        // What is beyond the share was opened before another worker came.
        if !self.endpoint.is_gone() && self.open.get() <= self.share() {
            self.idle.borrow_mut().push(live);
        }
    }

    /// Leave to open a connection, or a place in line.
    /// # Errors
    /// More wait already than may.
    pub(super) fn ask(self: &Rc<Self>) -> Result<Result<Slot, oneshot::Receiver<Grant>>, Failure> {
        if let Some(slot) = self.reserve() {
            return Ok(Ok(slot));
        }
        if self.endpoint.pending.load(Ordering::Relaxed) >= self.upstream.config.limits.pending {
            return Err(full("as many requests wait as may"));
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        Ok(Err(receiver))
    }

    /// A connection is gone: who waits longest may open another.
    fn make_room(self: &Rc<Self>) {
        loop {
            let Some(waiting) = self.waiting.borrow_mut().pop_front() else { return };
            if waiting.is_closed() {
                continue;
            }
            let Some(slot) = self.reserve() else { return self.waiting.borrow_mut().push_front(waiting) };
            // A refusal comes back here through the slot's drop.
            drop(waiting.send(Grant::Slot(slot)));
            return;
        }
    }

    /// Closes what has been idle for too long, or was closed by the other end; true while the pool is of use.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let gone = self.endpoint.is_gone();
        let idle = self.upstream.config.keepalive.idle;
        let mut kept = Vec::new();
        for mut live in self.idle.take() {
            if !gone && now.saturating_duration_since(live.used) < idle && live.is_alive() {
                kept.push(live);
            }
        }
        *self.idle.borrow_mut() = kept;
        if gone {
            // With its last handle a session ends when its streams have.
            self.sessions.borrow_mut().clear();
        }
        !gone || self.open.get() > 0
    }
}

impl Line for Pool {
    fn joined(&self) {
        self.counts.cells.requests_pending.inc();
        self.endpoint.pending.fetch_add(1, Ordering::Relaxed);
    }

    fn left(&self) {
        self.counts.cells.requests_pending.dec();
        self.endpoint.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

fn full(what: &str) -> Failure {
    Failure::new(UpstreamFailure::ConnectionLimitReached, Reach::Final, what)
}

/// Sees a session of ours through: counts its beginning and its end, and takes it out of its pool.
async fn attend(pool: Weak<Pool>, shared: Weak<Shared>, session: ClientSession, slot: Slot) {
    let began = tokio::time::Instant::now();
    let ready = session.ready().await;
    let Some(counts) = pool.upgrade().map(|pool| Rc::clone(&pool.counts)) else { return };
    let protocol = if slot.endpoint.tls { Protocol::H2 } else { Protocol::H2c };
    match ready {
        Ok(()) => {
            counts.cells.connection_opened(protocol, began.elapsed().as_nanos() as u64);
            // With its SETTINGS; a session that ends before has nothing to say.
            if session.offers_connect_protocol().await.is_ok()
                && let Some(shared) = shared.upgrade()
            {
                shared.thought.set(None);
                if let Some(pool) = pool.upgrade() {
                    pool.thought.set(session.stream_limit() as usize);
                }
            }
            // The pool's handle is the one that keeps it.
            let ended = session.ended_apart();
            drop(session);
            let end = ended.await;
            let reason = match &end {
                SessionEnd::Closed { reason, .. } => *reason,
                _ => CloseReason::Other,
            };
            counts.cells.connection_closed(protocol, reason);
            tracing::debug!(endpoint = slot.endpoint.url, %end, "a connection to an upstream ended");
        }
        Err(end) => {
            if matches!(end, SessionEnd::Connect(ConnectError::NoHttp2 { .. })) {
                slot.endpoint.learn_http1();
            }
            tracing::debug!(endpoint = slot.endpoint.url, %end, "no connection to an upstream");
        }
    }
    if let Some(pool) = pool.upgrade() {
        pool.sessions.borrow_mut().retain(|shared| shared.session.takes_requests());
    }
}
