//! One capped table: which of those that live have a row, and how many never had one.
//! Knows nothing of sessions or series: rows are anything with a key and a time of opening.
//!
//! Invariants: a row stays until what it shows is gone and has lingered; a key is counted once, as a row
//! or, when it is gone without ever having had one, under one cause.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::TableLimits;
use crate::labels::Untracked;
use crate::per::Label as _;

/// The time the budget of new rows is for; it slides.
const MINUTE: Duration = Duration::from_secs(60);

/// Something that lives.
pub(super) struct Found<K, V> {
    pub(super) key: K,
    pub(super) opened: Instant,
    pub(super) row: V,
}

/// A row and what it shows.
#[derive(Debug)]
pub(super) struct Row<V> {
    pub(super) row: V,
    pub(super) slot: usize,
    /// When a look first missed it.
    pub(super) gone: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, Row<V>>,
    free: BTreeSet<usize>,
    /// When the rows of the last minute were made, oldest first.
    made: VecDeque<Instant>,
    /// Who lived at the last look without a row, and why there was none.
    waiting: HashMap<K, Untracked>,
    /// Who was gone before it had a row, by cause.
    left_out: [u64; Untracked::COUNT],
    /// Keys that any look has found.
    seen: u64,
    /// Who came and went between two looks, as far as counted.
    unseen: u64,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            free: BTreeSet::new(),
            made: VecDeque::new(),
            waiting: HashMap::new(),
            left_out: [0; Untracked::COUNT],
            seen: 0,
            unseen: 0,
        }
    }
}

impl<K: Copy + Ord + Hash, V> Table<K, V> {
    /// The rows to show, by key.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&K, &Row<V>)> {
        self.rows.iter()
    }

    /// How many were gone without ever having had a row.
    pub(super) fn untracked(&self, cause: Untracked) -> u64 {
        let unseen = if cause == Untracked::TooShort { self.unseen } else { 0 };
        self.left_out[cause.index()] + unseen
    }

    /// Forgets every row, and counts none of those that live meanwhile.
    pub(super) fn rest(&mut self, begun: u64, live: usize) {
        self.rows.clear();
        self.free.clear();
        self.waiting.clear();
        self.seen = begun.saturating_sub(self.unseen).saturating_sub(live as u64);
    }

    /// Brings the rows up to date. `begun` have begun since the process did, read before `live`.
    pub(super) fn look(
        &mut self,
        now: Instant,
        limits: &TableLimits,
        linger: Duration,
        begun: u64,
        live: impl Iterator<Item = Found<K, V>>,
    ) {
        let mut live: HashMap<K, Found<K, V>> = live.map(|found| (found.key, found)).collect();
        self.let_go(now, linger, &mut live);
        let mut waiting = HashMap::with_capacity(live.len());
        let mut ripe = Vec::new();
        for found in live.into_values() {
            self.seen += u64::from(!self.waiting.contains_key(&found.key));
            if now.saturating_duration_since(found.opened) < limits.min_age {
                waiting.insert(found.key, Untracked::TooShort);
            } else {
                ripe.push(found);
            }
        }
        self.admit(now, limits, ripe, &mut waiting);
        for (key, cause) in std::mem::replace(&mut self.waiting, waiting) {
            if !self.waiting.contains_key(&key) && !self.rows.contains_key(&key) {
                self.left_out[cause.index()] += 1;
            }
        }
        // Whoever has begun and was found by no look was gone before one came. Never less than before:
        // a key may be found a moment before it is counted as begun.
        self.unseen = self.unseen.max(begun.saturating_sub(self.seen));
    }

    /// Takes those with a row out of `live`, and ends rows that have lingered.
    fn let_go(&mut self, now: Instant, linger: Duration, live: &mut HashMap<K, Found<K, V>>) {
        let free = &mut self.free;
        self.rows.retain(|key, row| {
            if let Some(found) = live.remove(key) {
                row.row = found.row;
                row.gone = None;
                return true;
            }
            let gone = *row.gone.get_or_insert(now);
            let stays = gone == now || now.saturating_duration_since(gone) < linger;
            if !stays {
                free.insert(row.slot);
            }
            stays
        });
    }

    /// Makes rows of the oldest in `ripe`, as far as cap and budget go; the rest waits.
    fn admit(
        &mut self,
        now: Instant,
        limits: &TableLimits,
        mut ripe: Vec<Found<K, V>>,
        waiting: &mut HashMap<K, Untracked>,
    ) {
        while self.made.front().is_some_and(|made| now.saturating_duration_since(*made) >= MINUTE) {
            self.made.pop_front();
        }
        let room = limits.cap.saturating_sub(self.rows.len());
        let budget = limits.new_per_minute.saturating_sub(self.made.len());
        let places = room.min(budget).min(ripe.len());
        let age = |found: &Found<K, V>| (found.opened, found.key);
        if 0 < places && places < ripe.len() {
            ripe.select_nth_unstable_by_key(places, age);
        }
        // So that slots follow from ages too, and not from how keys hash.
        ripe[..places].sort_unstable_by_key(age);
        let cause = if room <= budget { Untracked::Cap } else { Untracked::Churn };
        for (place, found) in ripe.into_iter().enumerate() {
            if place < places {
                // Slots in use and free ones are all there are below the next new one.
                let slot = self.free.pop_first().unwrap_or(self.rows.len());
                self.rows.insert(found.key, Row { row: found.row, slot, gone: None });
                self.made.push_back(now);
            } else {
                waiting.insert(found.key, cause);
            }
        }
    }
}
