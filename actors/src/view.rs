//! Sessions and streams as people see them: plain data, taken by message from the actors that own them.

use std::time::Instant;

use stagedoor_metrics::{Peer, SessionStats};
use stagedoor_protocol::ConnectionState;

/// A session as it stands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SessionView {
    /// `w-n`: worker, counter in base 36.
    pub id: String,
    pub role: &'static str,
    pub protocol: &'static str,
    pub listener: String,
    pub peer: Option<String>,
    /// handshake, open, draining, closing
    pub state: &'static str,
    pub age_seconds: f64,
    pub idle_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub streams_open: u64,
    pub streams_total: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
    pub recv_window: i64,
    pub memory_bytes: u64,
    /// Windows, tables and questions of an HTTP/2 session.
    pub http2: Option<ConnectionState>,
    pub streams: Vec<StreamView>,
}

impl SessionView {
    /// What its live numbers say, without its streams.
    pub(crate) fn of_stats(stats: &SessionStats, now: Instant) -> Self {
        Self {
            id: stats.id().to_string(),
            role: stats.role().label(),
            protocol: stats.protocol().label(),
            listener: stats.listener().to_string(),
            peer: match stats.peer() {
                Peer::Inet(address) => Some(address.to_string()),
                Peer::Named(_) => None,
            },
            state: stats.state().label(),
            age_seconds: now.saturating_duration_since(stats.opened()).as_secs_f64(),
            idle_seconds: stats.idle(now).as_secs_f64(),
            bytes_in: stats.bytes_in.get(),
            bytes_out: stats.bytes_out.get(),
            streams_open: u64::try_from(stats.streams_open.get()).unwrap_or(0),
            streams_total: stats.streams_total.get(),
            write_queue_bytes: u64::try_from(stats.write_queue_bytes.get()).unwrap_or(0),
            send_window: stats.send_window.get(),
            recv_window: 0,
            memory_bytes: u64::try_from(stats.memory_bytes.get()).unwrap_or(0),
            http2: None,
            streams: Vec::new(),
        }
    }
}

/// A stream as it stands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StreamView {
    pub id: u32,
    pub route: String,
    pub method: String,
    pub state: &'static str,
    pub age_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
}
