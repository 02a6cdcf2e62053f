//! What one scrape looks at: handles by listener and route, so that locks are held briefly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::cell::Cell;
use crate::labels::{ActorKind, CloseReason, Protocol};
use crate::live::SessionStats;
use crate::metrics::{Inner, Route};
use crate::shard::{ActorCounts, ListenerCells, RouteCells, Shard, unpoisoned};
use crate::tables::{Begun, Shown};
use crate::upstream::UpstreamCells;

/// The shards as one scrape sees them: handles by listener and route, so that locks are held briefly.
pub(super) struct View<'a> {
    pub(super) inner: &'a Inner,
    pub(super) listeners: Vec<ListenerView>,
    /// By route name, over all listeners.
    pub(super) routes: BTreeMap<Arc<str>, Vec<Arc<RouteCells>>>,
    /// Every route that is listed.
    pub(super) listed: Vec<Route>,
    /// In the order they were listed.
    pub(super) upstreams: Vec<UpstreamView>,
    /// By number.
    pub(super) shards: Vec<(u16, Arc<Shard>)>,
    /// Every session that is open.
    pub(super) live: Vec<Arc<SessionStats>>,
    /// Those, and their streams, that have a row of their own.
    pub(super) tables: Shown,
}

pub(super) struct ListenerView {
    pub(super) name: Arc<str>,
    pub(super) address: String,
    pub(super) accepting: bool,
    /// Its sessions are ours to others: no socket listens, and what they ask is counted of upstreams.
    pub(super) of_client: bool,
    pub(super) cells: Vec<Arc<ListenerCells>>,
    pub(super) routes: BTreeMap<Arc<str>, Vec<Arc<RouteCells>>>,
}

impl<'a> View<'a> {
    pub(super) fn of(inner: &'a Inner, now: Instant) -> Self {
        let shards: Vec<_> =
            unpoisoned(&inner.shards).iter().map(|(number, shard)| (*number, Arc::clone(shard))).collect();
        let listed = unpoisoned(&inner.listeners).clone();
        let mut listeners: Vec<_> = listed
            .iter()
            .map(|listener| ListenerView {
                name: Arc::clone(&listener.name),
                address: unpoisoned(&listener.address).clone(),
                accepting: listener.accepting.load(Ordering::Relaxed),
                of_client: listener.of_client.load(Ordering::Relaxed),
                cells: Vec::new(),
                routes: BTreeMap::new(),
            })
            .collect();
        // What is listed from here on, and its handles, are left to the next scrape.
        let listed = unpoisoned(&inner.routes).clone();
        let named = unpoisoned(&inner.upstreams).clone();
        let mut upstreams: Vec<_> =
            named.into_iter().map(|name| UpstreamView { name, cells: Vec::new() }).collect();
        let mut routes = BTreeMap::<_, Vec<_>>::new();
        for (_, shard) in &shards {
            for (id, cells) in shard.known_listeners() {
                if let Some(listener) = listeners.get_mut(usize::from(id.get())) {
                    listener.cells.push(cells);
                }
            }
            for (id, cells) in shard.known_upstreams() {
                if let Some(upstream) = upstreams.get_mut(usize::from(id.get())) {
                    upstream.cells.push(cells);
                }
            }
            for ((listener, route), cells) in shard.known_routes() {
                let listener =
                    listeners.get_mut(usize::from(listener.get())).filter(|listener| !listener.of_client);
                if let (Some(listener), Some(Route { name, .. })) =
                    (listener, listed.get(usize::from(route.get())))
                {
                    routes.entry(Arc::clone(name)).or_default().push(Arc::clone(&cells));
                    listener.routes.entry(Arc::clone(name)).or_default().push(cells);
                }
            }
        }
        let hidden = unpoisoned(&inner.hidden).clone();
        // Before the registry is read: who begins in between is then no riddle.
        let begun = begun(listeners.iter().filter(|listener| !hidden.contains(&listener.name)));
        let live = inner.live.snapshot();
        let tracked: Vec<_> =
            live.iter().filter(|session| !hidden.contains(session.listener())).cloned().collect();
        let tables = unpoisoned(&inner.tables).look(now, begun, &tracked);
        Self { inner, listeners, routes, listed, upstreams, shards, live, tables }
    }

    /// One actor counter of one kind, over all shards.
    pub(super) fn actors(&self, kind: ActorKind, cell: impl Fn(&ActorCounts) -> &Cell) -> f64 {
        self.shards.iter().map(|(_, shard)| cell(&shard.actors()[kind]).get()).sum::<u64>() as f64
    }
}

pub(super) struct UpstreamView {
    pub(super) name: Arc<str>,
    pub(super) cells: Vec<Arc<UpstreamCells>>,
}

impl UpstreamView {
    /// One cell, over all shards.
    pub(super) fn sum(&self, cell: impl Fn(&UpstreamCells) -> &Cell) -> f64 {
        self.cells.iter().map(|cells| cell(cells).get()).sum::<u64>() as f64
    }
}

impl View<'_> {
    /// Those that have a socket.
    pub(super) fn listening(&self) -> impl Iterator<Item = &ListenerView> {
        self.listeners.iter().filter(|listener| !listener.of_client)
    }
}

impl ListenerView {
    /// One cell, over all shards.
    pub(super) fn sum(&self, cell: impl Fn(&ListenerCells) -> &Cell) -> f64 {
        self.cells.iter().map(|cells| cell(cells).get()).sum::<u64>() as f64
    }

    /// Sessions of a protocol open now. Shards count on while this reads, hence no less than zero.
    pub(super) fn sessions_active(&self, protocol: Protocol) -> f64 {
        let closed: f64 = CloseReason::ALL
            .iter()
            .map(|reason| self.sum(|cells| &cells.sessions_closed[protocol][*reason]))
            .sum();
        (self.sum(|cells| &cells.sessions_opened[protocol]) - closed).max(0.0)
    }
}

/// What the counters say of sessions and streams that ever began on these listeners. A session that goes
/// on as another protocol is opened twice and lives once.
fn begun<'a>(listeners: impl Iterator<Item = &'a ListenerView>) -> Begun {
    let mut begun = Begun::default();
    for cells in listeners.flat_map(|listener| &listener.cells) {
        for protocol in Protocol::ALL {
            let upgraded = cells.sessions_closed[*protocol][CloseReason::Upgraded].get();
            begun.sessions += cells.sessions_opened[*protocol].get().saturating_sub(upgraded);
            begun.streams += cells.streams_opened[*protocol].get();
        }
    }
    begun
}
