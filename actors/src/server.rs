//! Starting and stopping it all.
use std::net::SocketAddr;
use std::time::Duration;

use stagedoor_metrics::Metrics;

use crate::config::ListenerConfig;
use crate::service::ServiceFactory;
use crate::view::SessionView;

/// Builds a server: workers, listeners, and the service each listener speaks for.
pub struct ServerBuilder {}

/// A listener could not start.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?} cannot bind {address}: {source}")]
pub struct BindError {
    /// Its name.
    pub listener: String,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// How a drain is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// Sessions left.
    pub sessions: usize,
    /// Streams left.
    pub streams: usize,
    /// Time to the deadline.
    pub left: Duration,
}

impl ServerBuilder {
    /// A server that counts in `metrics` and has `workers` arbiters.
    pub fn new(metrics: Metrics, workers: usize) -> Self {
        let _ = (metrics, workers);
        Self {}
    }
    /// Adds a listener. `keep_while_draining` is for admin listeners: they answer until [`ServerHandle::stop`].
    pub fn listen(self, config: ListenerConfig, service: ServiceFactory, keep_while_draining: bool) -> Self {
        let _ = (config, service, keep_while_draining);
        self
    }
    /// Binds every address, then starts the actors. Must run inside an actix `System`.
    /// # Errors
    /// The first address that could not be bound; nothing runs then.
    pub async fn start(self) -> Result<ServerHandle, BindError> {
        Ok(ServerHandle {})
    }
}

/// A running server; cheap to clone, may be sent anywhere.
#[derive(Clone)]
pub struct ServerHandle {}

impl ServerHandle {
    /// Bound addresses by listener name.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        Vec::new()
    }
    /// Every session of every listener, with its streams.
    pub async fn sessions(&self) -> Vec<SessionView> {
        Vec::new()
    }
    /// One session by id.
    pub async fn session(&self, _id: &str) -> Option<SessionView> {
        None
    }
    /// The drain of cli-and-config.md §3 over all listeners that are not kept: keep accepting for `min_accept`, stop accepting, drain
    /// each session, at `deadline` close what is left; `progress` is told about once a second and when the numbers change.
    pub async fn drain(&self, min_accept: Duration, deadline: Duration, progress: impl FnMut(DrainProgress)) {
        let _ = (min_accept, deadline, progress);
    }
    /// Closes everything now (reason `shutdown`), listeners that were kept included, and waits until it is gone.
    pub async fn stop(&self) {}
}
