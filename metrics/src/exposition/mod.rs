//! The formats a scraper may read, and which one it gets.
//! Adds nothing up: `collect` hands over one family after another.

mod negotiate;
mod openmetrics;
mod registry;
mod shared;
mod text;
mod write;

pub use negotiate::negotiate;
pub(crate) use openmetrics::{Anchor, OpenMetrics};
pub(crate) use registry::GatewayCollector;
pub(crate) use shared::Scrapes;
pub(crate) use text::Text;

/// A format of a scrape.
///
/// ```
/// use stagedoor_metrics::{Format, Metrics};
///
/// let page = Metrics::new("app").render(Format::OpenMetrics);
/// assert!(page.ends_with(b"# EOF\n"));
/// assert_eq!(Format::Text.content_type(), Metrics::TEXT_CONTENT_TYPE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: every scraper reads it.
    Text,
    /// OpenMetrics 1.0.0: units and exemplars too.
    OpenMetrics,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// The `Content-Type` to answer with; Prometheus 3 refuses any other.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
