//! The live tables: a capped choice of live sessions and streams as series of their own.
//! Counts nothing and asks no actor: rows are chosen at a scrape, from the live registry.
//!
//! Invariants: the rows of a table are never more than its cap, closed ones that linger included, so the
//! number of series is bounded at any moment; new rows are never more than the budget in any 60 seconds,
//! so it is bounded over time too. Only scrapes take the lock all this is behind.

mod options;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::labels::{TableScope, Untracked, WaitOn};
use crate::live::{SessionId, SessionStats};
use crate::live_stream::StreamStats;
use crate::per::Per;

pub use options::{LabelMode, TableLimits, TableOptions};
use table::{Found, Table};

/// Both tables and what they have been told.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    options: TableOptions,
    sessions: Table<SessionId, Arc<SessionStats>>,
    streams: Table<(SessionId, u32), Arc<StreamStats>>,
    last: Option<Instant>,
}

/// How many sessions and streams ever began, by the aggregate counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begun {
    pub(crate) sessions: u64,
    pub(crate) streams: u64,
}

/// What a scrape shows of the tables.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) streams: Vec<StreamRow>,
    pub(crate) untracked: Per<TableScope, Per<Untracked, u64>>,
}

/// A row of the table of sessions.
#[derive(Debug)]
pub(crate) struct SessionRow {
    pub(crate) label: String,
    pub(crate) stats: Arc<SessionStats>,
    /// The moment its values are of: now, or when it was found closed.
    pub(crate) as_of: Instant,
}

/// A row of the table of streams.
#[derive(Debug)]
pub(crate) struct StreamRow {
    pub(crate) session: String,
    pub(crate) label: String,
    pub(crate) stats: Arc<StreamStats>,
    /// As with [`SessionRow`].
    pub(crate) as_of: Instant,
    /// Whether it has ended.
    pub(crate) ended: bool,
}

impl Tables {
    /// Takes other options; rows that are shown stay, whatever the new caps.
    pub(crate) fn set_options(&mut self, options: TableOptions) {
        self.options = options;
    }

    /// The tables at `now`, for the sessions that live then. `begun` was read before `live`.
    pub(crate) fn look(&mut self, now: Instant, begun: Begun, live: &[Arc<SessionStats>]) -> Shown {
        // Two scrapers may read the clock in one order and come here in the other.
        let now = self.last.map_or(now, |last| now.max(last));
        self.last = Some(now);
        let streams: Vec<_> = live.iter().flat_map(|session| session.streams()).collect();
        let TableOptions { label_mode, sessions: of_sessions, streams: of_streams, linger } = &self.options;
        if *label_mode == LabelMode::Off {
            self.sessions.rest(begun.sessions, live.len());
            self.streams.rest(begun.streams, streams.len());
        } else {
            let found = live.iter().map(|stats| Found {
                key: stats.id(),
                opened: stats.opened(),
                row: Arc::clone(stats),
            });
            self.sessions.look(now, of_sessions, *linger, begun.sessions, found);
            let found = streams.into_iter().map(|stats| Found {
                key: (stats.session(), stats.id()),
                opened: stats.opened(),
                row: stats,
            });
            self.streams.look(now, of_streams, *linger, begun.streams, found);
        }
        self.shown(now)
    }

    fn shown(&self, now: Instant) -> Shown {
        let slots = self.options.label_mode == LabelMode::Slot;
        let sessions = self.sessions.rows().map(|(id, row)| SessionRow {
            label: if slots { row.slot.to_string() } else { id.to_string() },
            stats: Arc::clone(&row.row),
            as_of: row.gone.unwrap_or(now),
        });
        let streams = self.streams.rows().map(|((session, id), row)| StreamRow {
            // The id would make a new pair of every stream that takes a used slot.
            session: if slots { "-".to_owned() } else { session.to_string() },
            label: if slots { row.slot.to_string() } else { id.to_string() },
            stats: Arc::clone(&row.row),
            as_of: row.gone.unwrap_or(now),
            ended: row.gone.is_some(),
        });
        Shown {
            sessions: sessions.collect(),
            streams: streams.collect(),
            untracked: Per::from_fn(|scope| {
                Per::from_fn(|cause| match scope {
                    TableScope::Session => self.sessions.untracked(cause),
                    TableScope::Stream => self.streams.untracked(cause),
                })
            }),
        }
    }
}

impl SessionRow {
    /// How long no octet has moved.
    pub(crate) fn idle(&self) -> Duration {
        self.stats.idle(self.as_of)
    }
}

impl StreamRow {
    /// How long it has lived.
    pub(crate) fn age(&self) -> Duration {
        self.as_of.saturating_duration_since(self.stats.opened())
    }

    /// How long it has waited for window; zero when it waits for something else or has ended.
    pub(crate) fn stalled(&self) -> Duration {
        if !self.ended && matches!(self.stats.on(), WaitOn::PeerStreamWindow | WaitOn::PeerConnectionWindow) {
            self.stats.waited(self.as_of)
        } else {
            Duration::ZERO
        }
    }
}
