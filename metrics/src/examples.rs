//! Exemplars: for each bucket of a histogram, the stream behind a recent observation.
//! Writes no text and sees no bounds: a bucket is an index here.
//!
//! Invariants: one writing thread, that of the histogram; it never waits and takes no lock. A reader gets
//! a whole example or none: each slot is a sequence lock, odd while it is being written.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use crate::histogram::MOST_BUCKETS;
use crate::live::{SessionId, nanos};
use crate::shard::Exemplar;

/// A reader that meets a writer this often in a row goes without.
const TRIES: usize = 16;

/// The clock of a turn, and the same in whole seconds since some moment that all observations of a histogram share.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use stagedoor_metrics::Moment;
///
/// let since = Instant::now();
/// let moment = Moment::new(since + Duration::from_millis(2_700), since);
/// assert_eq!(moment.second, 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The clock.
    pub exact: Instant,
    /// Whole seconds.
    pub second: u64,
}

impl Moment {
    /// `exact`, seconds counted from `since`.
    #[must_use]
    pub fn new(exact: Instant, since: Instant) -> Self {
        Self { exact, second: exact.saturating_duration_since(since).as_secs() }
    }
}

/// An observation and the stream behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Example {
    /// The stream.
    pub(crate) who: Exemplar,
    /// What was observed, in the histogram's own unit.
    pub(crate) value: u64,
    /// When.
    pub(crate) at: Instant,
}

/// The examples of one histogram; 16 octets until the first observation.
#[derive(Debug, Default)]
pub(crate) struct Examples(OnceLock<Box<Slots>>);

#[derive(Debug)]
struct Slots {
    /// What times in the slots count from.
    begun: Instant,
    slots: [Slot; MOST_BUCKETS],
}

#[derive(Debug, Default)]
struct Slot {
    /// The second from which on the example may be replaced; only the writer reads it.
    due: AtomicU64,
    /// Even when the rest is whole, 0 when there is nothing yet.
    sequence: AtomicU64,
    /// Worker (upper half) and stream.
    place: AtomicU64,
    number: AtomicU64,
    trace_high: AtomicU64,
    trace_low: AtomicU64,
    value: AtomicU64,
    /// Nanoseconds from `begun`.
    at: AtomicU64,
}

impl Examples {
    /// Takes note of an observation, unless its bucket has one of this second already. `who` is
    /// asked only when it is kept. Only the owning thread calls this.
    #[inline]
    pub(crate) fn offer(&self, bucket: usize, value: u64, at: Moment, who: impl FnOnce() -> Exemplar) {
        let slots = self.0.get_or_init(|| Box::new(Slots::new(at.exact)));
        let slot = &slots.slots[bucket];
        // Seconds are compared, and they were counted once for the whole turn.
        if at.second >= slot.due.load(Ordering::Relaxed) {
            slot.put(at.exact.saturating_duration_since(slots.begun), at.second, value, who());
        }
    }

    /// Puts into `newest` what is newer than what stands there. Any thread.
    pub(crate) fn newest_into(&self, newest: &mut [Option<Example>; MOST_BUCKETS]) {
        let Some(slots) = self.0.get() else { return };
        for (slot, newest) in slots.slots.iter().zip(newest) {
            if let Some(example) = slot.get(slots.begun)
                && newest.is_none_or(|known| known.at < example.at)
            {
                *newest = Some(example);
            }
        }
    }
}

impl Slots {
    fn new(begun: Instant) -> Self {
        Self { begun, slots: Default::default() }
    }
}

impl Slot {
    #[cold]
    fn put(&self, since: Duration, second: u64, value: u64, who: Exemplar) {
        let now = nanos(since).unsigned_abs();
        let Exemplar { session: SessionId { worker, number }, stream, trace } = who;
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // No store below may be seen before the odd number above.
        fence(Ordering::Release);
        self.place.store(u64::from(worker) << 32 | u64::from(stream), Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.trace_high.store((trace >> 64) as u64, Ordering::Relaxed);
        self.trace_low.store(trace as u64, Ordering::Relaxed);
        self.value.store(value, Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
        self.due.store(second.saturating_add(1), Ordering::Relaxed);
    }

    fn get(&self, begun: Instant) -> Option<Example> {
        for _ in 0..TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let place = self.place.load(Ordering::Relaxed);
            let number = self.number.load(Ordering::Relaxed);
            let high = self.trace_high.load(Ordering::Relaxed);
            let low = self.trace_low.load(Ordering::Relaxed);
            let value = self.value.load(Ordering::Relaxed);
            let at = self.at.load(Ordering::Relaxed);
            // No load above may happen after the one below.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                let session = SessionId { worker: (place >> 32) as u16, number };
                let trace = u128::from(high) << 64 | u128::from(low);
                let who = Exemplar { session, stream: place as u32, trace };
                return Some(Example { who, value, at: begun + Duration::from_nanos(at) });
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    fn who(number: u64) -> Exemplar {
        let trace = u128::from(number) << 64 | u128::from(number);
        Exemplar { session: SessionId { worker: number as u16, number }, stream: number as u32, trace }
    }

    fn read(examples: &Examples, bucket: usize) -> Option<Example> {
        let mut newest = [None; MOST_BUCKETS];
        examples.newest_into(&mut newest);
        newest[bucket]
    }

    #[test]
    fn a_bucket_keeps_its_example_for_a_second() {
        let examples = Examples::default();
        let begun = Instant::now();
        let after = |millis| begun + Duration::from_millis(millis);
        assert_eq!(read(&examples, 3), None);
        examples.offer(3, 30, Moment::new(begun, begun), || who(1));
        examples.offer(3, 31, Moment::new(after(999), begun), || panic!("not asked within the second"));
        assert_eq!(read(&examples, 3), Some(Example { who: who(1), value: 30, at: begun }));
        examples.offer(3, 32, Moment::new(after(1_000), begun), || who(2));
        assert_eq!(read(&examples, 3), Some(Example { who: who(2), value: 32, at: after(1_000) }));
        // Buckets do not wait for each other.
        examples.offer(4, 40, Moment::new(after(1_001), begun), || who(3));
        assert_eq!(read(&examples, 4).map(|example| example.who), Some(who(3)));
    }

    #[test]
    fn the_newest_of_several_histograms_is_shown() {
        let [old, new] = [Examples::default(), Examples::default()];
        let begun = Instant::now();
        new.offer(0, 2, Moment::new(begun + Duration::from_secs(1), begun), || who(2));
        old.offer(0, 1, Moment::new(begun, begun), || who(1));
        for order in [[&old, &new], [&new, &old]] {
            let mut newest = [None; MOST_BUCKETS];
            order.into_iter().for_each(|examples| examples.newest_into(&mut newest));
            assert_eq!(newest[0].map(|example| example.who), Some(who(2)));
        }
    }

    #[test]
    fn a_reader_never_sees_half_an_example() {
        let examples = Examples::default();
        let done = AtomicBool::new(false);
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..50_000 {
                    examples.offer(
                        0,
                        number,
                        Moment::new(begun + Duration::from_secs(number), begun),
                        || who(number),
                    );
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                if let Some(example) = read(&examples, 0) {
                    assert_eq!(example.who, who(example.value));
                }
            }
        });
        assert_eq!(read(&examples, 0).map(|example| example.value), Some(49_999));
    }
}
