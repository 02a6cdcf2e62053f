//! What the live tables may show, as the configuration says it.

use std::time::Duration;

/// Options of both tables.
///
/// ```
/// use stagedoor_metrics::{LabelMode, Metrics, TableOptions};
///
/// let options = TableOptions { label_mode: LabelMode::Slot, ..TableOptions::default() };
/// Metrics::new("app").set_tables(options);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// What names a row.
    pub label_mode: LabelMode,
    /// Limits of the table of sessions.
    pub sessions: TableLimits,
    /// Limits of the table of streams.
    pub streams: TableLimits,
    /// How long the final values of a closed row stay.
    pub linger: Duration,
}

/// Limits of one table.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_metrics::{TableLimits, TableOptions};
///
/// let sessions = TableLimits { cap: 32, min_age: Duration::from_secs(60), new_per_minute: 10 };
/// let options = TableOptions { sessions, ..TableOptions::default() };
/// assert_eq!(options.streams.cap, 256);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Rows at most, those that linger included.
    pub cap: usize,
    /// Who is younger has no row yet.
    pub min_age: Duration,
    /// New rows at most in any 60 seconds.
    pub new_per_minute: usize,
}

/// What names a row of a live table.
///
/// ```
/// use stagedoor_metrics::{LabelMode, TableOptions};
///
/// assert_eq!(TableOptions::default().label_mode, LabelMode::Id);
/// let none = TableOptions { label_mode: LabelMode::Off, ..TableOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelMode {
    /// Its id, which no other row ever has.
    #[default]
    Id,
    /// A small number, free again once its row has lingered: few series over months.
    Slot,
    /// Nothing: there are no rows.
    Off,
}

impl Default for TableOptions {
    fn default() -> Self {
        let limits =
            |seconds| TableLimits { cap: 256, min_age: Duration::from_secs(seconds), new_per_minute: 30 };
        Self {
            label_mode: LabelMode::default(),
            sessions: limits(10),
            streams: limits(5),
            linger: Duration::from_secs(30),
        }
    }
}
