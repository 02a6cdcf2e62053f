//! Single-writer numbers: what the counting path touches (shared/observability: "Hot path").
//! Does not know names, labels or shards.
//!
//! Invariant: one thread writes a given number, any thread may read it. That is why an addition is a
//! plain load and a plain store, both relaxed, with no read-modify-write and no lock prefix: the loaded
//! value is always the writer's own last one. Two writers would lose additions (never tear a value);
//! whoever counts from a second thread takes a second [`Shard`](crate::Shard).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A count that only grows; wraps at 2^64, which a scraper reads as a restart.
///
/// ```
/// use stagedoor_metrics::Cell;
///
/// let cell = Cell::new();
/// cell.inc();
/// cell.add(2);
/// assert_eq!(cell.get(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// A cell at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`. Only the owning thread calls this (see the module's invariant).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one. Only the owning thread calls this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// The value, from any thread; may be a moment old.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A count that any thread adds to: an atomic read-modify-write, for what is rare.
///
/// ```
/// use stagedoor_metrics::SharedCell;
///
/// let cell = SharedCell::default();
/// std::thread::scope(|scope| {
///     scope.spawn(|| cell.inc());
///     scope.spawn(|| cell.add(2));
/// });
/// assert_eq!(cell.get(), 3);
/// ```
#[derive(Debug, Default)]
pub struct SharedCell(AtomicU64);

impl SharedCell {
    /// Adds `n`; any thread.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one; any thread.
    pub fn inc(&self) {
        self.add(1);
    }

    /// The value; may be a moment old.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that goes up and down. Signed: a gauge summed over shards may be below zero in one of them.
///
/// ```
/// use stagedoor_metrics::Gauge;
///
/// let gauge = Gauge::new();
/// gauge.inc();
/// gauge.add(-3);
/// assert_eq!(gauge.get(), -2);
/// gauge.set(7);
/// gauge.dec();
/// assert_eq!(gauge.get(), 6);
/// ```
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds `n`, which may be negative. Only the owning thread calls this.
    #[inline]
    pub fn add(&self, n: i64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Adds one. Only the owning thread calls this.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away. Only the owning thread calls this.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Replaces the value. Only the owning thread calls this.
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value, from any thread; may be a moment old.
    #[inline]
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_returns_to_zero() {
        let gauge = Gauge::new();
        gauge.add(70_000);
        gauge.inc();
        gauge.add(-70_000);
        gauge.dec();
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_cell_wraps_instead_of_panicking() {
        let cell = Cell::new();
        cell.add(u64::MAX);
        cell.add(2);
        assert_eq!(cell.get(), 1);
    }
}
