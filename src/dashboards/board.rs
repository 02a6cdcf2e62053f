//! A board as data: rows of panels, each with a question, a unit and its queries. `json.rs` writes it for Grafana.
//!
//! Invariant: a uid, once shipped, stays, because links and bookmarks name it.

/// A board.
pub(super) struct Board {
    /// Its address in Grafana, and the name of its file.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) rows: Vec<Row>,
}

/// Panels under a heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// One picture.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What is seen, and what it means when it changes.
    pub(super) description: &'static str,
    pub(super) unit: Unit,
    pub(super) shape: Shape,
    pub(super) queries: Vec<Query>,
    /// From where on a value deserves attention.
    pub(super) thresholds: Thresholds,
}

/// How values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The last value, large.
    Stat,
    /// The legend of the last value, large: for what is told by a label.
    Name,
    /// Lines over time.
    Lines,
    /// Areas over time, one upon another: parts of a whole.
    Parts,
    /// Buckets over time.
    Heatmap,
    /// The rows of now, greatest first.
    Table,
    /// States over time: 1 is good, 0 is not.
    States,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things.
    Count,
    /// Events in a second.
    Events,
    /// Requests in a second.
    Requests,
    /// Seconds.
    Seconds,
    /// Octets.
    Bytes,
    /// Octets in a second.
    BytesPerSecond,
    /// A share of one.
    Share,
    /// A yes or a no.
    State,
}

/// Colours by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Thresholds {
    /// None.
    None,
    /// Good below the first, bad from the second on.
    Rising(f64, f64),
    /// Bad below the first, good from the second on.
    Falling(f64, f64),
    /// Good from here on, bad below.
    Least(f64),
    /// Bad from here on, good below.
    Below(f64),
}

/// One question to Prometheus.
pub(super) struct Query {
    pub(super) expr: String,
    /// How its series are called, with `{{label}}`.
    pub(super) legend: &'static str,
    /// Whether single requests are shown as dots.
    pub(super) exemplars: bool,
}

impl Board {
    /// Its panels, row by row.
    pub(super) fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|row| &row.panels)
    }
}

impl Row {
    pub(super) fn new(title: &'static str, panels: impl Into<Vec<Panel>>) -> Self {
        Self { title, panels: panels.into() }
    }
}

impl Panel {
    pub(super) fn new(shape: Shape, title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self { title, description, unit, shape, queries: Vec::new(), thresholds: Thresholds::None }
    }

    /// Lines over time.
    pub(super) fn lines(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::Lines, title, unit, description)
    }

    /// A large number.
    pub(super) fn stat(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::Stat, title, unit, description)
    }

    /// A table of now.
    pub(super) fn table(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::Table, title, unit, description)
    }

    pub(super) fn query(mut self, legend: &'static str, expr: String) -> Self {
        self.queries.push(Query { expr, legend, exemplars: false });
        self
    }

    /// A query whose histogram carries exemplars.
    pub(super) fn query_with_exemplars(mut self, legend: &'static str, expr: String) -> Self {
        self.queries.push(Query { expr, legend, exemplars: true });
        self
    }

    /// Colours by value.
    pub(super) fn judged(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }
}

impl Unit {
    /// What Grafana calls it.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::Events => "ops",
            Self::Requests => "reqps",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            Self::Share => "percentunit",
            Self::State => "none",
        }
    }
}
