//! Servers that requests are sent on to: who they are and how they fare, shared by all workers.

use std::sync::Arc;

use crate::config;

/// An upstream as all workers know it.
#[derive(Debug)]
pub struct Upstream {
    /// What it was told.
    pub config: config::Upstream,
}

/// The upstreams of one configuration, in its order.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(pub Vec<Arc<Upstream>>);
