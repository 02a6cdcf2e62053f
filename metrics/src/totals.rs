//! A few sums for pages and terminals that look every second: no families, no live tables, no text.
//!
//! Invariant: takes part in nothing a scrape does; two viewers cost what they read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::histogram::Merged;
use crate::labels::{ActorKind, Direction, MessageKind, RetryResult};
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::shard::unpoisoned;
use crate::upstream::{SLOTS, UpstreamCells};

/// The first shard of a thread that runs clients and no worker; listeners have the very last one.
const FIRST_OF_CLIENTS: u16 = 0x8000;

/// Sums over every listener that is not hidden and no client's, since the start.
///
/// ```
/// use stagedoor_metrics::{Direction, Metrics, Protocol};
///
/// let metrics = Metrics::new("app");
/// let cells = metrics.shard(0).listener(metrics.add_listener("http", "127.0.0.1:8080"));
/// cells.session_opened(Protocol::H2);
/// cells.network_bytes[Direction::Rx].add(24);
/// let totals = metrics.totals();
/// assert_eq!((totals.sessions_opened, totals.bytes_in, totals.bytes_out), (1, 24, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions started.
    pub sessions_opened: u64,
    /// Requests answered.
    pub requests: u64,
    /// Octets read from sockets, after TLS.
    pub bytes_in: u64,
    /// Octets written to sockets, before TLS.
    pub bytes_out: u64,
}

/// Actors of one kind.
///
/// ```
/// use stagedoor_metrics::{ActorKind, Metrics};
///
/// let metrics = Metrics::new("app");
/// metrics.shard(0).actors()[ActorKind::Stream].alive.inc();
/// let totals = metrics.actor_totals();
/// let streams = totals.iter().find(|totals| totals.kind == ActorKind::Stream);
/// assert_eq!(streams.map(|totals| totals.alive), Some(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ActorTotals {
    pub kind: ActorKind,
    pub alive: u64,
    pub started: u64,
    pub restarts: u64,
    pub panics: u64,
    /// Sends refused because a mailbox was full.
    pub mailbox_full: u64,
    /// Messages that wait, over all mailboxes.
    pub waiting: u64,
    /// Messages that wait at the fullest one.
    pub waiting_most: u64,
}

/// Messages of one kind.
///
/// ```
/// use stagedoor_metrics::{MessageKind, Metrics};
///
/// let metrics = Metrics::new("app");
/// metrics.shard(0).messages()[MessageKind::SessionTurn].handled.inc();
/// let totals = metrics.message_totals();
/// let turns = totals.iter().find(|totals| totals.kind == MessageKind::SessionTurn);
/// assert_eq!(turns.map(|totals| totals.handled), Some(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MessageTotals {
    pub kind: MessageKind,
    pub handled: u64,
    /// Time spent on it.
    pub busy: Duration,
}

/// One worker.
///
/// ```
/// use stagedoor_metrics::Metrics;
///
/// let metrics = Metrics::new("app");
/// metrics.shard(3).loop_lag.observe_nanos(2_000_000);
/// let workers = metrics.worker_totals();
/// assert_eq!((workers[0].worker, workers[0].sessions), (3, 0));
/// assert!(workers[0].lag_p99 >= 0.002);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct WorkerTotals {
    pub worker: u16,
    pub sessions: u64,
    pub streams: u64,
    /// An upper bound of how late 99 of 100 of its ticks were, in seconds, since the start.
    pub lag_p99: f64,
}

/// One upstream, over all arbiters.
///
/// ```
/// use stagedoor_metrics::Metrics;
///
/// let metrics = Metrics::new("app");
/// let shard = metrics.shard(0);
/// shard.upstream(metrics.add_upstream("backend")).request(200);
/// let totals = metrics.upstream_totals();
/// assert_eq!((&*totals[0].name, totals[0].requests, totals[0].unanswered), ("backend", 1, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTotals {
    /// As it was listed.
    pub name: Arc<str>,
    /// Tries that ended, since the start.
    pub requests: u64,
    /// Of them, those without a response.
    pub unanswered: u64,
    /// Tries that came to nothing, since the start.
    pub failures: u64,
    /// Requests sent again, since the start.
    pub retries: u64,
    /// Requests in flight.
    pub active: u64,
    /// Requests that wait for a connection or a stream.
    pub pending: u64,
    /// Connections open now.
    pub connections: u64,
}

impl Metrics {
    /// Sums of the listeners that are not hidden and no client's.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let inner = self.inner();
        let hidden = unpoisoned(&inner.hidden).clone();
        let listeners = unpoisoned(&inner.listeners).clone();
        let is_shown = |id: u16| {
            listeners.get(usize::from(id)).is_some_and(|listener| {
                !hidden.contains(&*listener.name) && !listener.of_client.load(Ordering::Relaxed)
            })
        };
        let mut totals = Totals::default();
        for shard in unpoisoned(&inner.shards).values() {
            for (id, cells) in shard.known_listeners() {
                if is_shown(id.get()) {
                    totals.sessions_opened +=
                        cells.sessions_opened.iter().map(|(_, cell)| cell.get()).sum::<u64>();
                    totals.bytes_in += cells.network_bytes[Direction::Rx].get();
                    totals.bytes_out += cells.network_bytes[Direction::Tx].get();
                }
            }
            for ((listener, _), cells) in shard.known_routes() {
                if is_shown(listener.get()) {
                    totals.requests += cells.response_start.count();
                }
            }
        }
        totals
    }

    /// Actors by kind.
    #[must_use]
    pub fn actor_totals(&self) -> Vec<ActorTotals> {
        let live = self.live().snapshot();
        let shards: Vec<_> =
            unpoisoned(&self.inner().shards).iter().map(|(number, shard)| (*number, shard.clone())).collect();
        let depth = |mailboxes: &mut dyn Iterator<Item = &Mailbox>| {
            mailboxes
                .map(Mailbox::waiting)
                .fold((0, 0), |(sum, most): (u64, u64), waiting| (sum + waiting, most.max(waiting)))
        };
        let of_shards = |of: fn(u16) -> bool| {
            depth(&mut shards.iter().filter(|(number, _)| of(*number)).map(|(_, shard)| &shard.mailbox))
        };
        ActorKind::ALL
            .iter()
            .map(|kind| {
                let sum = |cell: fn(&crate::shard::ActorCounts) -> u64| {
                    shards.iter().map(|(_, shard)| cell(&shard.actors()[*kind])).sum()
                };
                let alive: i64 = shards.iter().map(|(_, shard)| shard.actors()[*kind].alive.get()).sum();
                let (waiting, waiting_most) = match kind {
                    ActorKind::Listener => of_shards(|number| number == u16::MAX),
                    ActorKind::Worker => of_shards(|number| number < FIRST_OF_CLIENTS),
                    ActorKind::Session => depth(&mut live.iter().map(|session| &session.mailbox)),
                    ActorKind::Stream => (0, 0),
                };
                ActorTotals {
                    kind: *kind,
                    alive: u64::try_from(alive).unwrap_or(0),
                    started: sum(|counts| counts.started.get()),
                    restarts: sum(|counts| counts.restarts.get()),
                    panics: sum(|counts| counts.panics.get()),
                    mailbox_full: sum(|counts| counts.mailbox_full.get()),
                    waiting,
                    waiting_most,
                }
            })
            .collect()
    }

    /// Messages by kind.
    #[must_use]
    pub fn message_totals(&self) -> Vec<MessageTotals> {
        let shards: Vec<_> = unpoisoned(&self.inner().shards).values().cloned().collect();
        let all = MessageKind::ALL.iter().map(|kind| {
            let counts = || shards.iter().map(|shard| &shard.messages()[*kind]);
            MessageTotals {
                kind: *kind,
                handled: counts().map(|counts| counts.handled.get()).sum(),
                busy: Duration::from_nanos(counts().map(|counts| counts.busy_nanos.get()).sum()),
            }
        });
        all.collect()
    }

    /// Upstreams in the order they were listed, those of earlier configurations too.
    #[must_use]
    pub fn upstream_totals(&self) -> Vec<UpstreamTotals> {
        let names = unpoisoned(&self.inner().upstreams).clone();
        let mut all: Vec<_> = names.into_iter().map(|name| (name, Vec::new())).collect();
        for shard in unpoisoned(&self.inner().shards).values() {
            for (id, cells) in shard.known_upstreams() {
                if let Some((_, parts)) = all.get_mut(usize::from(id.get())) {
                    parts.push(cells);
                }
            }
        }
        all.into_iter().map(|(name, parts)| UpstreamTotals::of(name, &parts)).collect()
    }

    /// Workers by number.
    #[must_use]
    pub fn worker_totals(&self) -> Vec<WorkerTotals> {
        let mut open: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for session in self.live().snapshot() {
            let (sessions, streams) = open.entry(session.id().worker).or_default();
            *sessions += 1;
            *streams += u64::try_from(session.streams_open.get()).unwrap_or(0);
        }
        let shards = unpoisoned(&self.inner().shards);
        let workers = shards.iter().filter(|(number, _)| **number < FIRST_OF_CLIENTS);
        workers
            .map(|(worker, shard)| {
                let (sessions, streams) = open.get(worker).copied().unwrap_or_default();
                let lag_p99 = quantile(&Merged::of([&shard.loop_lag]), 0.99);
                WorkerTotals { worker: *worker, sessions, streams, lag_p99 }
            })
            .collect()
    }
}

impl UpstreamTotals {
    fn of(name: Arc<str>, parts: &[Arc<UpstreamCells>]) -> Self {
        let level = |gauge: &dyn Fn(&UpstreamCells) -> i64| {
            u64::try_from(parts.iter().map(|cells| gauge(cells)).sum::<i64>()).unwrap_or(0)
        };
        let mut codes = [0; SLOTS];
        parts.iter().for_each(|cells| cells.add_requests(&mut codes));
        Self {
            name,
            requests: codes.iter().sum(),
            unanswered: codes[SLOTS - 1],
            failures: parts.iter().flat_map(|cells| cells.failures.iter()).map(|(_, cell)| cell.get()).sum(),
            retries: parts.iter().map(|cells| cells.retries[RetryResult::Sent].get()).sum(),
            active: level(&|cells| cells.requests_active.get()),
            pending: level(&|cells| cells.requests_pending.get()),
            connections: level(&|cells| cells.connections_active.iter().map(|(_, gauge)| gauge.get()).sum()),
        }
    }
}

/// The upper bound of the bucket that holds the quantile; the last bound where it is beyond that, zero without any.
fn quantile(merged: &Merged, share: f64) -> f64 {
    let wanted = (merged.count() as f64 * share).ceil() as u64;
    if wanted == 0 {
        return 0.0;
    }
    let reached = merged.cumulative().find(|(_, count)| *count >= wanted);
    reached.or(merged.cumulative().last()).map_or(0.0, |(bound, _)| bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::labels::{CloseReason, Protocol, UpstreamFailure};

    #[test]
    fn hidden_listeners_and_clients_are_not_summed() {
        let metrics = Metrics::new("stagedoor");
        let (public, admin) = (metrics.add_listener("public", "-"), metrics.add_listener("admin", "-"));
        let client = metrics.add_client("upstream");
        let shard = metrics.shard(0);
        for (id, octets) in [(public, 5), (admin, 100), (client, 1_000)] {
            shard.listener(id).network_bytes[Direction::Rx].add(octets);
        }
        assert_eq!(metrics.totals(), Totals { bytes_in: 5, ..Totals::default() });
    }

    #[test]
    fn an_upstream_is_summed_over_arbiters_and_a_level_is_never_negative() {
        let metrics = Metrics::new("stagedoor");
        let api = metrics.add_upstream("api");
        let [one, two] = [0, 1].map(|worker| metrics.shard(worker).upstream(api));
        one.connection_opened(Protocol::H2, 1);
        two.connection_opened(Protocol::Http1, 1);
        two.connection_closed(Protocol::Http1, CloseReason::IdleTimeout);
        one.requests_active.inc();
        two.requests_active.add(2);
        one.requests_pending.dec();
        one.request(200);
        two.request(0);
        two.failures[UpstreamFailure::ConnectionRefused].inc();
        one.retries[RetryResult::Sent].inc();
        one.retries[RetryResult::NotRetryable].inc();
        let wanted = UpstreamTotals {
            name: "api".into(),
            requests: 2,
            unanswered: 1,
            failures: 1,
            retries: 1,
            active: 3,
            pending: 0,
            connections: 1,
        };
        assert_eq!(metrics.upstream_totals(), [wanted]);
    }

    #[test]
    fn a_quantile_is_the_bound_above_it() {
        let lag = Histogram::<crate::histogram::Lag>::default();
        assert_eq!(quantile(&Merged::of([&lag]), 0.99), 0.0);
        (0..99).for_each(|_| lag.observe_nanos(60_000));
        lag.observe_nanos(3_000_000);
        assert_eq!(quantile(&Merged::of([&lag]), 0.99), 0.0001);
        lag.observe_nanos(60_000_000_000);
        lag.observe_nanos(60_000_000_000);
        assert_eq!(quantile(&Merged::of([&lag]), 0.99), 1.0);
    }
}
