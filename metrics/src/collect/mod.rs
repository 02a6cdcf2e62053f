//! The scrape: sums the shards into the families of the catalogue, anew each time.
//! Counts nothing and keeps nothing between two scrapes but the live tables; never waits for an actor.
//!
//! Invariants: names, labels and buckets come from `catalogue`; the number of series depends on the
//! configuration and the caps of the live tables alone, not on how many sessions or streams are open;
//! families come in the order of the catalogue.

mod actors;
mod gateway;
mod listeners;
mod live;
mod sessions;
mod streams;
mod upstreams;
mod view;

use std::time::Instant;

use crate::metrics::Inner;
use crate::series::{Families, Sink};
use view::View;

/// Every family, as seen at `now`.
pub(crate) fn all(inner: &Inner, now: Instant, sink: &mut dyn Sink) {
    gateway(inner, now, &mut Families::new(&inner.namespace, sink));
    gateway::process_families(&mut Families::new("", sink));
}

/// Every family but `process_*`, as seen at `now`.
pub(crate) fn gateway(inner: &Inner, now: Instant, out: &mut Families<'_>) {
    let view = View::of(inner, now);
    listeners::families(&view, out);
    sessions::families(&view, out);
    streams::families(&view, out);
    live::families(&view, out);
    upstreams::families(&view, out);
    actors::families(&view, out);
    gateway::families(&view, out);
}
