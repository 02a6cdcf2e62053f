//! How many series there can be at most, from the table and the size of a deployment.
//!
//! Invariant: no traffic changes the bound: a label has as many values as its enum, its configuration or
//! its capped table.

use super::{Family, Source, Values, families};
use crate::status;

/// The size of a deployment, as far as metrics grow with it.
///
/// ```
/// use stagedoor_metrics::catalogue::{Deployment, most_series};
///
/// let small = Deployment { routes: 2, upstreams: 0, endpoints: 0, ..Deployment::REFERENCE };
/// assert!(most_series(&small) < most_series(&Deployment::REFERENCE));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Listeners.
    pub listeners: u64,
    /// Configured routes; `_unmatched` and `_admin` come on top.
    pub routes: u64,
    /// Arbiters that run sessions, those of clients included.
    pub workers: u64,
    /// Certificates.
    pub certificates: u64,
    /// Upstreams.
    pub upstreams: u64,
    /// Endpoints of all upstreams.
    pub endpoints: u64,
    /// Cap of the table of sessions; 0 when the tables are off.
    pub session_rows: u64,
    /// Cap of the table of streams; 0 when the tables are off.
    pub stream_rows: u64,
}

impl Deployment {
    /// The one the figures in the documentation are for: 2 listeners, 20 routes, 4 workers, 5 upstreams
    /// of 4 endpoints, both tables at their default cap.
    pub const REFERENCE: Self = Self {
        listeners: 2,
        routes: 20,
        workers: 4,
        certificates: 4,
        upstreams: 5,
        endpoints: 20,
        session_rows: 256,
        stream_rows: 256,
    };
}

/// Series that a scrape of `deployment` can have at most, `_bucket`, `_sum` and `_count` each counted:
/// every label at all its values at once, which no real one comes near.
///
/// ```
/// use stagedoor_metrics::catalogue::{Deployment, most_series};
///
/// let without_tables = Deployment { session_rows: 0, stream_rows: 0, ..Deployment::REFERENCE };
/// assert!(most_series(&without_tables) < most_series(&Deployment::REFERENCE));
/// ```
#[must_use]
pub fn most_series(deployment: &Deployment) -> u64 {
    families().map(|family| family.most_series(deployment)).sum()
}

impl Family {
    /// Series of this family at most.
    #[must_use]
    pub fn most_series(&self, deployment: &Deployment) -> u64 {
        let labels: u64 = self.labels.iter().map(|label| label.values.most(deployment)).product();
        // `+Inf`, `_sum` and `_count` beside the bounds.
        labels * self.buckets.map_or(1, |buckets| buckets.bounds.len() as u64 + 3)
    }
}

impl Values {
    fn most(&self, deployment: &Deployment) -> u64 {
        match self {
            Self::Closed(labels) => labels.len() as u64,
            Self::StatusCode => status::SLOTS as u64,
            Self::StatusCodeOrZero => status::SLOTS as u64 + 1,
            Self::Configured(source) => source.most(deployment),
        }
    }
}

impl Source {
    const fn most(self, deployment: &Deployment) -> u64 {
        match self {
            Self::Listener => deployment.listeners,
            Self::Route => deployment.routes + 2,
            Self::Certificate => deployment.certificates,
            Self::Upstream => deployment.upstreams,
            Self::Endpoint => deployment.endpoints,
            Self::Worker => deployment.workers,
            Self::SessionRow => deployment.session_rows,
            Self::StreamRow => deployment.stream_rows,
            // Given by the label beside it, or one.
            Self::Address | Self::SessionOfStreamRow | Self::Version | Self::Revision => 1,
        }
    }
}
