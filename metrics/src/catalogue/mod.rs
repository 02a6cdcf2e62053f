//! The one table of families: names, kinds, help, labels and buckets. The collector takes its names from
//! here and docs/metrics.md is printed from here ([`markdown`]); no name is written anywhere else.
//! Holds no numbers; [`most_series`] says how many there can be at most.
//!
//! Invariants: a name, once shipped, keeps its meaning, because dashboards and alerts quote it; every
//! label is a closed set of the code, comes from the configuration, or names a row of a capped table.

mod bound;
mod page;
mod table;

use std::borrow::Cow;

use prometheus::proto::MetricType;

use crate::histogram::Buckets;
use crate::status;

pub use bound::{Deployment, most_series};
pub use page::markdown;
pub use table::*;

/// The namespace the table is written in.
const NAMESPACE: &str = "stagedoor";

/// A metric family.
///
/// ```
/// use stagedoor_metrics::catalogue::{Kind, families};
///
/// let counters = families().filter(|family| family.kind == Kind::Counter);
/// for family in counters.filter(|family| family.unit() == Some("bytes")) {
///     assert!(family.name_in("app").ends_with("_bytes_total"), "{}", family.name);
/// }
/// ```
#[derive(Debug)]
pub struct Family {
    /// Full name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The HELP line.
    pub help: &'static str,
    /// Labels, in the order they are written.
    pub labels: &'static [LabelSpec],
    /// The bucket table of a histogram.
    pub buckets: Option<Buckets>,
    /// Which series are written before anything was counted.
    pub zeros: Zeros,
}

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by bucket.
    Histogram,
}

/// Whether a series is written before anything was counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Written from the start, so that `rate` sees the first event.
    Shown,
    /// Left out until touched: most cells of a big product never are.
    Hidden,
}

/// A label and where its values come from.
#[derive(Debug)]
pub struct LabelSpec {
    /// Name of the label.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// Where the values of a label come from.
///
/// ```
/// use stagedoor_metrics::catalogue::{Values, families};
///
/// for label in families().flat_map(|family| family.labels) {
///     if let Values::Closed(values) = &label.values {
///         assert!(label.values.contains(values[0]));
///     }
/// }
/// ```
#[derive(Debug)]
pub enum Values {
    /// An enum of `labels.rs`.
    Closed(&'static [&'static str]),
    /// The status codes of `status.rs`.
    StatusCode,
    /// The same, and `0` where no response arrived.
    StatusCodeOrZero,
    /// The configuration, the build, or the rows of a capped table.
    Configured(Source),
}

/// What an open label names; its number of values follows from a [`Deployment`].
///
/// ```
/// use stagedoor_metrics::catalogue::{Source, Values, families};
///
/// let of_listeners = families().filter(|family| {
///     family.labels.iter().any(|label| matches!(label.values, Values::Configured(Source::Listener)))
/// });
/// assert!(of_listeners.count() > 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A listener.
    Listener,
    /// The address of the listener beside it.
    Address,
    /// A route, or one of the two that are always there.
    Route,
    /// The version that runs; one.
    Version,
    /// The commit that runs; one.
    Revision,
    /// A certificate.
    Certificate,
    /// An upstream.
    Upstream,
    /// An endpoint of an upstream.
    Endpoint,
    /// An arbiter.
    Worker,
    /// A row of the table of sessions.
    SessionRow,
    /// The session of the row of the table of streams beside it.
    SessionOfStreamRow,
    /// A row of the table of streams.
    StreamRow,
}

/// Families that belong together.
#[derive(Debug)]
pub struct Section {
    /// Its heading in docs/metrics.md.
    pub title: &'static str,
    /// Its families, in the order they are written.
    pub families: &'static [&'static Family],
}

/// Every family, in the order they are written.
///
/// ```
/// use stagedoor_metrics::catalogue::families;
///
/// let opened = families().find(|family| family.name == "stagedoor_sessions_opened_total");
/// assert_eq!(opened.map(|family| family.labels[0].name), Some("listener"));
/// ```
pub fn families() -> impl Iterator<Item = &'static Family> {
    SECTIONS.iter().flat_map(|section| section.families.iter().copied())
}

impl Family {
    /// The name under another namespace; `process_*` belongs to none and stays.
    #[must_use]
    pub fn name_in(&self, namespace: &str) -> Cow<'static, str> {
        match self.name.strip_prefix(NAMESPACE) {
            Some(rest) if namespace != NAMESPACE => Cow::Owned(format!("{namespace}{rest}")),
            _ => Cow::Borrowed(self.name),
        }
    }

    /// The base unit, if the name says one: `seconds` or `bytes`.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }

    /// Whether the family is about the process and not about the gateway.
    #[must_use]
    pub fn is_of_process(&self) -> bool {
        self.name.starts_with("process_")
    }
}

impl Kind {
    /// The word of the TYPE line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    pub(crate) const fn proto(self) -> MetricType {
        match self {
            Self::Counter => MetricType::COUNTER,
            Self::Gauge => MetricType::GAUGE,
            Self::Histogram => MetricType::HISTOGRAM,
        }
    }
}

impl Values {
    /// Whether a label may have this value.
    #[must_use]
    pub fn contains(&self, value: &str) -> bool {
        let is_code = || (0..status::SLOTS).any(|slot| status::label(slot) == value);
        match self {
            Self::Closed(labels) => labels.contains(&value),
            Self::StatusCode => is_code(),
            Self::StatusCodeOrZero => value == "0" || is_code(),
            Self::Configured(_) => true,
        }
    }
}
