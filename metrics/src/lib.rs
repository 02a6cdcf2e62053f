//! The metric families of stagedoor: sharded single-writer cells, summed when someone looks.
//!
//! The way through: [`Metrics`] gives each arbiter a [`Shard`]; an actor takes its handles from it when it
//! starts ([`ListenerCells`], [`RouteCells`], [`UpstreamCells`], [`ActorCells`]) and counts with plain stores; a scrape sums
//! the shards into the families of the [`catalogue`]. [`LiveSessions`] lists who is connected; a capped
//! choice of it has series of its own ([`TableOptions`]).
//!
//! Knows prometheus and a compressor: not who counts (no actix, tokio or protocol), not how a scrape is served.
//! Invariants: labels take values from the configuration, from the enums in [`labels`] or from a capped
//! table, so the output is bounded however many sessions are open; counting takes no lock and no atomic read-modify-write.

pub mod catalogue;
mod cell;
mod collect;
mod examples;
mod exposition;
pub mod histogram;
pub mod labels;
mod live;
mod live_stream;
mod mailbox;
mod metrics;
mod per;
mod process;
mod series;
mod shard;
mod status;
mod tables;
mod totals;
mod upstream;

/// Registries that [`Metrics::collector`] fits are those of this very version.
pub use prometheus;

pub use cell::{Cell, Gauge, SharedCell};
pub use examples::Moment;
pub use exposition::{Format, negotiate};
pub use histogram::Histogram;
pub use labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, EjectionReason, FrameType, H2Code,
    HealthResult, MessageKind, Method, Origin, Outcome, Protocol, ReloadResult, RetryResult, Role, Scope,
    SessionState, TableScope, TimeoutAction, TimeoutKind, TlsResult, TlsVersion, Untracked, UpstreamFailure,
    WaitOn,
};
pub use live::{LiveSessions, ParseSessionIdError, Peer, SessionId, SessionStats};
pub use live_stream::StreamStats;
pub use mailbox::Mailbox;
pub use metrics::Metrics;
pub use per::{Label, Per};
pub use process::resident_bytes;
pub use shard::{
    ActorCells, ActorCounts, Exemplar, ListenerCells, ListenerId, MessageCounts, RouteCells, RouteHandles,
    RouteId, Shard,
};
pub use tables::{LabelMode, TableLimits, TableOptions};
pub use totals::{ActorTotals, MessageTotals, Totals, UpstreamTotals, WorkerTotals};
pub use upstream::{EndpointCells, UpstreamCells, UpstreamId};
