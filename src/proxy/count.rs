//! What a worker counts of its requests to one upstream.
//!
//! Invariant: a [`Ticket`] counts its request once, whatever becomes of it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use stagedoor_actors::SessionHandle;
use stagedoor_metrics::{Metrics, RouteId, Shard, UpstreamCells};
use stagedoor_protocol::StreamId;

use super::failure::Failure;
use crate::upstream::Upstream;

/// The cells of one upstream on this worker, which is one of the upstream's as long as they live.
pub(crate) struct Counts {
    pub(crate) cells: Arc<UpstreamCells>,
    upstream: Weak<Upstream>,
    /// The second of the last warning.
    warned: Cell<u64>,
}

impl Drop for Counts {
    fn drop(&mut self) {
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.workers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// Of the shard that this thread writes; a shard of its own where no sessions run here.
    pub(crate) fn new(upstream: &Arc<Upstream>, here: Option<&(Metrics, Arc<Shard>)>) -> Self {
        let cells = match here {
            Some((_, shard)) => shard.upstream(upstream.metric),
            None => Arc::default(),
        };
        upstream.workers.fetch_add(1, Ordering::Relaxed);
        Self { cells, upstream: Arc::downgrade(upstream), warned: Cell::new(0) }
    }
}

impl Counts {
    /// A failure at `now` (milliseconds) is told to whoever reads the log: one a second, the others are counted.
    pub(crate) fn is_worth_a_warning(&self, now: u64) -> bool {
        let second = now / 1000 + 1;
        self.warned.replace(second) != second
    }
}

/// A request under way.
pub(crate) struct Ticket {
    counts: Rc<Counts>,
    session: SessionHandle,
    /// The client's stream and its route.
    of: (StreamId, RouteId),
    began: Instant,
    status: u16,
}

impl Ticket {
    pub(crate) fn new(counts: &Rc<Counts>, session: &SessionHandle, of: (StreamId, RouteId)) -> Self {
        counts.cells.requests_active.inc();
        let began = session.now();
        Self { counts: Rc::clone(counts), session: session.clone(), of, began, status: 0 }
    }

    /// The answer broke off after its head.
    pub(crate) fn broke(&self, failure: &Failure) {
        if let Some(cause) = failure.after_head() {
            self.counts.cells.failures[cause].inc();
            let (stream, route) = self.of;
            self.session.stream(stream, route).blame(cause.label());
        }
    }

    /// The status that came.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let cells = &self.counts.cells;
        cells.requests_active.dec();
        cells.request(self.status);
        if self.status != 0 {
            let took = self.session.now().saturating_duration_since(self.began);
            cells.request_duration.observe_nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}
