//! What is counted of upstreams: the cells of one arbiter, and the few of an endpoint that any thread writes.
//! Knows no addresses and decides nothing: who is healthy, retried or put aside is the balancer's business.
//!
//! Invariants: [`UpstreamCells`] have one writing thread, that of their shard, and a gauge may be below zero in one
//! shard; an endpoint is shown as long as somebody holds its [`EndpointCells`], so a scrape has no rows of endpoints
//! that are gone, and two generations of a configuration that name the same endpoint share its row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::cell::{Cell, Gauge, SharedCell};
use crate::examples::{Examples, Moment};
use crate::histogram::{Handshake, Histogram, Latency};
use crate::labels::{CloseReason, EjectionReason, HealthResult, Protocol, RetryResult, UpstreamFailure};
use crate::per::Per;
use crate::shard::{Exemplar, unpoisoned};
use crate::status;

/// A configured upstream, by its place in the process's list.
///
/// ```
/// use stagedoor_metrics::Metrics;
///
/// let metrics = Metrics::new("app");
/// let id = metrics.add_upstream("backend");
/// assert_eq!((id.get(), metrics.add_upstream("backend")), (0, id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub(crate) u16);

impl UpstreamId {
    /// Place in the list, from 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The codes of `status.rs`, and one slot more for requests that no response came to.
pub(crate) const SLOTS: usize = status::SLOTS + 1;

/// What one arbiter counts for one upstream.
///
/// ```
/// use stagedoor_metrics::{CloseReason, Protocol, UpstreamCells, UpstreamFailure};
///
/// let cells = UpstreamCells::default();
/// cells.connection_opened(Protocol::H2, 3_000_000);
/// cells.failures[UpstreamFailure::Stall].inc();
/// cells.connection_closed(Protocol::H2, CloseReason::IdleTimeout);
/// assert_eq!(cells.connections_active[Protocol::H2].get(), 0);
/// ```
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UpstreamCells {
    /// Connections open now.
    pub connections_active: Per<Protocol, Gauge>,
    /// Connections that ended.
    pub connections_closed: Per<CloseReason, Cell>,
    /// TCP and TLS, of connections that came up.
    pub connect_duration: Histogram<Handshake>,
    /// Requests in flight.
    pub requests_active: Gauge,
    /// Requests that wait for a connection or a stream.
    pub requests_pending: Gauge,
    /// A cell per status code, made with the first request.
    requests: OnceLock<Box<[Cell; SLOTS]>>,
    /// Request sent to last octet of the response, of requests that were answered.
    pub request_duration: Histogram<Latency>,
    /// Of `request_duration`.
    pub(crate) duration_examples: Examples,
    /// What became of wishes to try again.
    pub retries: Per<RetryResult, Cell>,
    /// Endpoints put aside for what their traffic showed.
    pub ejections: Per<EjectionReason, Cell>,
    /// Tries that failed, retried or not.
    pub failures: Per<UpstreamFailure, Cell>,
}

impl UpstreamCells {
    /// Counts a connection that came up after `nanos` of TCP and TLS.
    #[inline]
    pub fn connection_opened(&self, protocol: Protocol, nanos: u64) {
        self.connections_active[protocol].inc();
        self.connect_duration.observe_nanos(nanos);
    }

    /// Counts the end of a connection that was opened with `protocol`.
    #[inline]
    pub fn connection_closed(&self, protocol: Protocol, reason: CloseReason) {
        self.connections_active[protocol].dec();
        self.connections_closed[reason].inc();
    }

    /// Counts a try that ended: its final status, 0 where no response came. No lock; the first one allocates the cells.
    #[inline]
    pub fn request(&self, status: u16) {
        let codes = self.requests.get_or_init(|| Box::new([const { Cell::new() }; SLOTS]));
        let slot = if status == 0 { SLOTS - 1 } else { status::slot(status) };
        codes[slot].inc();
    }

    /// Counts how long a response took to its last octet; `at` is the clock of the turn, `who` names the stream, should
    /// its bucket want an example. No lock; the first call allocates the examples.
    #[inline]
    pub fn request_took(&self, nanos: u64, at: Moment, who: impl FnOnce() -> Exemplar) {
        let bucket = self.request_duration.observe(nanos);
        self.duration_examples.offer(bucket, nanos, at, who);
    }

    /// Adds the counts to `codes`.
    pub(crate) fn add_requests(&self, codes: &mut [u64; SLOTS]) {
        if let Some(cells) = self.requests.get() {
            for (total, cell) in codes.iter_mut().zip(cells.iter()) {
                *total += cell.get();
            }
        }
    }
}

/// The label of a slot.
pub(crate) fn code(slot: usize) -> String {
    if slot == SLOTS - 1 { "0".to_owned() } else { status::label(slot) }
}

/// One endpoint of an upstream; any thread writes it. Its row vanishes with the last handle.
///
/// ```
/// use stagedoor_metrics::Metrics;
///
/// let metrics = Metrics::new("app");
/// let endpoint = metrics.endpoint(metrics.add_upstream("backend"), "10.0.0.7:80");
/// endpoint.set_up(false);
/// assert!(!endpoint.is_up());
/// ```
#[derive(Debug)]
pub struct EndpointCells {
    up: AtomicBool,
    /// Active checks.
    pub checks: Per<HealthResult, SharedCell>,
}

impl Default for EndpointCells {
    fn default() -> Self {
        Self { up: AtomicBool::new(true), checks: Per::default() }
    }
}

impl EndpointCells {
    /// Whether it takes traffic; true until said otherwise.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// Whether it was said to take traffic last.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// Every endpoint that somebody holds, by label.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(Mutex<BTreeMap<String, Weak<EndpointCells>>>);

impl Endpoints {
    /// The cells under a label, those that are held already if there are any.
    pub(crate) fn get(&self, label: String) -> Arc<EndpointCells> {
        let mut listed = unpoisoned(&self.0);
        listed.retain(|_, cells| cells.strong_count() > 0);
        if let Some(cells) = listed.get(&label).and_then(Weak::upgrade) {
            return cells;
        }
        let cells = Arc::default();
        listed.insert(label, Arc::downgrade(&cells));
        cells
    }

    /// Those that are held, by label.
    pub(crate) fn held(&self) -> Vec<(String, Arc<EndpointCells>)> {
        let listed = unpoisoned(&self.0);
        listed.iter().filter_map(|(label, cells)| Some((label.clone(), cells.upgrade()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_response_has_a_code_of_its_own() {
        let cells = UpstreamCells::default();
        for status in [0, 0, 200, 299, 503] {
            cells.request(status);
        }
        let mut codes = [0; SLOTS];
        cells.add_requests(&mut codes);
        let shown: Vec<_> = codes.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        let shown: Vec<_> = shown.into_iter().map(|(slot, count)| (code(slot), *count)).collect();
        let wanted = [("200", 1), ("503", 1), ("other", 1), ("0", 2)];
        assert_eq!(shown, wanted.map(|(code, count)| (code.to_owned(), count)));
    }

    #[test]
    fn an_endpoint_is_listed_as_long_as_one_generation_holds_it() {
        let endpoints = Endpoints::default();
        let old = endpoints.get("api/10.0.0.7:80".into());
        old.set_up(false);
        let new = endpoints.get("api/10.0.0.7:80".into());
        assert!(Arc::ptr_eq(&old, &new) && !new.is_up());
        drop(old);
        assert_eq!(endpoints.held().len(), 1);
        drop(new);
        assert!(endpoints.held().is_empty());
        // Whoever comes back later begins anew.
        assert!(endpoints.get("api/10.0.0.7:80".into()).is_up());
    }
}
