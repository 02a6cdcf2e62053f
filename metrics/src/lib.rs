//! The metric families of stagedoor: sharded single-writer cells, summed when someone looks.
//!
//! The way through: [`Metrics`] gives each arbiter a [`Shard`]; an actor takes its handles from it when it
//! starts ([`ListenerCells`], [`RouteCells`], [`ActorCells`]) and counts with plain stores; a scrape sums
//! the shards into the families of the [`catalogue`]. [`LiveSessions`] lists who is connected.
//!
//! Knows prometheus alone: not who counts (no actix, tokio or protocol), not how a scrape is served.
//! Invariants: labels take values from the configuration or from the enums in [`labels`], so the output
//! is bounded however many sessions are open; counting takes no lock and no atomic read-modify-write.

pub mod catalogue;
mod cell;
mod collect;
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

pub use cell::{Cell, Gauge};
pub use histogram::Histogram;
pub use labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, FrameType, H2Code, MessageKind, Method,
    Origin, Outcome, Protocol, Role, Scope, SessionState, TimeoutAction, TimeoutKind, TlsResult, TlsVersion,
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
