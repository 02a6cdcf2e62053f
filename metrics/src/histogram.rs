//! Histograms over integer bounds: nanoseconds, octets or plain counts, never floats while counting.
//! Knows no names and writes no text; `collect.rs` turns a merged one into an exposition.
//!
//! Invariants: single writer, as in [`cell`](crate::Cell); the count of observations is the sum of the
//! buckets (it is not kept apart), so `+Inf` and `_count` agree in every scrape, however torn.

use std::marker::PhantomData;

use crate::cell::Cell;
use crate::examples::{Example, Examples};

/// More bounds than this no table has; one more bucket takes what exceeds them all.
const MOST_BOUNDS: usize = 15;

/// Buckets of a histogram at most, `+Inf` included.
pub(crate) const MOST_BUCKETS: usize = MOST_BOUNDS + 1;

/// What the integers of a bucket table mean, and so how they are exposed.
///
/// ```
/// use stagedoor_metrics::histogram::Unit;
///
/// assert_eq!(Unit::Nanos.to_base(5e8), 0.5);
/// assert_eq!(Unit::Plain.to_base(256.0), 256.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, exposed as seconds.
    Nanos,
    /// Octets or a count, exposed as they are.
    Plain,
}

impl Unit {
    /// A value of this unit in Prometheus' base unit (seconds, or the number itself).
    #[must_use]
    pub fn to_base(self, value: f64) -> f64 {
        match self {
            // Dividing by an exact 1e9 rounds once: 1_000_000 ns is printed as 0.001.
            Self::Nanos => value / 1e9,
            Self::Plain => value,
        }
    }
}

/// A bucket table: inclusive upper bounds, ascending, without `+Inf`.
///
/// ```
/// use stagedoor_metrics::histogram::{Bounds as _, Buckets, Size};
///
/// let Buckets { bounds, unit } = Size::BUCKETS;
/// assert_eq!((bounds[0], unit.to_base(256.0)), (256, 256.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Inclusive upper bounds in `unit`.
    pub bounds: &'static [u64],
    /// What a bound counts.
    pub unit: Unit,
}

/// Ties a [`Histogram`] to its table at compile time, so that the scan has constant bounds.
///
/// ```
/// use stagedoor_metrics::histogram::{Bounds, Latency, Unit};
///
/// assert_eq!(Latency::BUCKETS.unit, Unit::Nanos);
/// assert!(Latency::BUCKETS.bounds.is_sorted());
/// ```
pub trait Bounds: 'static {
    /// The table; at most 15 bounds.
    const BUCKETS: Buckets;
    /// The sum is kept in units of this many (1 unless the sum could outgrow 64 bits).
    const SUM_UNIT: u64 = 1;
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

macro_rules! bounds {
    ($(#[$doc:meta])* $name:ident, $unit:ident, $sum_unit:expr, [$($bound:expr),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Bounds for $name {
            const BUCKETS: Buckets = Buckets { bounds: &[$($bound),+], unit: Unit::$unit };
            const SUM_UNIT: u64 = $sum_unit;
        }
    };
}

bounds! {
    /// Requests and round trips: 1 ms to 60 s.
    /// The sum wraps after 584 years of summed duration per shard and route, read as a counter reset.
    Latency, Nanos, 1,
    [MS, 5 * MS / 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
     S, 5 * S / 2, 5 * S, 10 * S, 30 * S, 60 * S]
}
bounds! {
    /// TLS handshakes: 1 ms to 2.5 s.
    Handshake, Nanos, 1,
    [MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, S, 5 * S / 2]
}
bounds! {
    /// Ages of sessions: 1 s to a day. Summed in microseconds: ten thousand sessions that live for
    /// weeks would wrap 64 bits of nanoseconds.
    Lifetime, Nanos, 1_000,
    [S, 5 * S, 15 * S, 60 * S, 300 * S, 900 * S, 3_600 * S, 14_400 * S, 86_400 * S]
}
bounds! {
    /// Bodies in octets: 256 B to 256 MiB, by fours.
    Size, Plain, 1,
    [1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28]
}
bounds! {
    /// Waits in a mailbox: 10 us to 1 s.
    Wait, Nanos, 1,
    [10 * US, 50 * US, 100 * US, 500 * US, MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS, 500 * MS, S]
}
bounds! {
    /// Lateness of a tick: 100 us to 1 s.
    Lag, Nanos, 1,
    [100 * US, 500 * US, MS, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, S]
}
bounds! {
    /// Streams carried by a session.
    Count, Plain, 1,
    [1, 2, 5, 10, 25, 100, 250, 1_000, 10_000]
}

/// A single-writer histogram over the table `B`.
///
/// ```
/// use stagedoor_metrics::Histogram;
/// use stagedoor_metrics::histogram::Latency;
///
/// let histogram = Histogram::<Latency>::default();
/// histogram.observe_nanos(7_000_000);
/// assert_eq!(histogram.count(), 1);
/// ```
#[derive(Debug)]
pub struct Histogram<B> {
    counts: [Cell; MOST_BUCKETS],
    sum: Cell,
    bounds: PhantomData<fn() -> B>,
}

impl<B> Default for Histogram<B> {
    fn default() -> Self {
        Self { counts: [const { Cell::new() }; MOST_BUCKETS], sum: Cell::new(), bounds: PhantomData }
    }
}

impl<B: Bounds> Histogram<B> {
    const FITS: () = assert!(B::BUCKETS.bounds.len() <= MOST_BOUNDS);

    /// Counts one value in the table's own unit. Only the owning thread calls this.
    #[inline]
    pub fn observe_value(&self, value: u64) {
        self.observe(value);
    }

    /// As [`Self::observe_value`]; says which bucket it fell in.
    #[inline]
    pub(crate) fn observe(&self, value: u64) -> usize {
        let () = Self::FITS;
        let mut bucket = 0;
        // Most of what is observed is small: requests of less than a millisecond, bodies of a few octets or none.
        if B::BUCKETS.bounds.first().is_none_or(|least| value > *least) {
            // No branch: every bound below the value moves it one bucket on.
            for bound in B::BUCKETS.bounds {
                bucket += usize::from(value > *bound);
            }
        }
        self.counts[bucket].inc();
        self.sum.add(value / B::SUM_UNIT);
        bucket
    }

    /// Counts one duration in nanoseconds. Only the owning thread calls this.
    #[inline]
    pub fn observe_nanos(&self, nanos: u64) {
        debug_assert_eq!(B::BUCKETS.unit, Unit::Nanos, "this histogram does not count time");
        self.observe_value(nanos);
    }

    /// Observations so far, from any thread.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(Cell::get).sum()
    }
}

/// The sum of several histograms over one table, ready to be exposed.
#[derive(Debug)]
pub(crate) struct Merged {
    buckets: Buckets,
    counts: [u64; MOST_BUCKETS],
    sum: f64,
    /// By bucket; empty where the histogram keeps none.
    examples: Vec<Option<Example>>,
}

impl Merged {
    /// Adds up the same histogram of every shard.
    pub(crate) fn of<'a, B: Bounds>(parts: impl IntoIterator<Item = &'a Histogram<B>>) -> Self {
        let mut merged =
            Self { buckets: B::BUCKETS, counts: [0; MOST_BUCKETS], sum: 0.0, examples: Vec::new() };
        for part in parts {
            for (total, count) in merged.counts.iter_mut().zip(&part.counts) {
                *total += count.get();
            }
            merged.sum += part.sum.get() as f64 * B::SUM_UNIT as f64;
        }
        merged
    }

    /// Adds the newest example of each bucket.
    pub(crate) fn with_examples<'a>(mut self, parts: impl IntoIterator<Item = &'a Examples>) -> Self {
        let mut newest = [None; MOST_BUCKETS];
        for part in parts {
            part.newest_into(&mut newest);
        }
        self.examples = newest.into();
        self
    }

    /// The example of a bucket, the one above the last bound being `+Inf`'s.
    pub(crate) fn example(&self, bucket: usize) -> Option<&Example> {
        self.examples.get(bucket)?.as_ref()
    }

    /// The table the buckets follow.
    pub(crate) fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// All observations, those above the last bound included.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum in the base unit (seconds, octets or a count).
    pub(crate) fn sum(&self) -> f64 {
        self.buckets.unit.to_base(self.sum)
    }

    /// Upper bound in the base unit and cumulative count of every bucket but `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut total = 0;
        self.buckets.bounds.iter().zip(self.counts).map(move |(bound, count)| {
            total += count;
            (self.buckets.unit.to_base(*bound as f64), total)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_inclusive_and_one_more_is_not() {
        let histogram = Histogram::<Size>::default();
        histogram.observe_value(0);
        histogram.observe_value(256);
        histogram.observe_value(257);
        let merged = Merged::of([&histogram]);
        let counts: Vec<_> = merged.cumulative().take(2).collect();
        assert_eq!(counts, [(256.0, 2), (1024.0, 3)]);
    }

    #[test]
    fn what_exceeds_the_last_bound_is_counted_in_inf_only() {
        let histogram = Histogram::<Lifetime>::default();
        histogram.observe_nanos(86_400 * S);
        histogram.observe_nanos(86_400 * S + 1);
        let merged = Merged::of([&histogram]);
        assert_eq!(merged.cumulative().last(), Some((86_400.0, 1)));
        assert_eq!(merged.count(), 2);
        assert_eq!(merged.sum(), 172_800.0);
    }

    #[test]
    fn every_table_ascends() {
        for table in [Latency::BUCKETS, Handshake::BUCKETS, Lifetime::BUCKETS, Size::BUCKETS, Count::BUCKETS]
        {
            assert!(table.bounds.windows(2).all(|pair| pair[0] < pair[1]), "{table:?}");
        }
    }
}
