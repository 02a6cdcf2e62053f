//! The figures of a load: one tally a thread, added up at the end. Nothing here is shared while the load runs.
//!
//! Latencies go from the call to the end of the body, in microseconds, to three digits; the first connecting is left out,
//! moving to another connection is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use stagedoor::client::{Error, RequestError, SessionEnd, StreamError};

/// Longer ones count as this: a day.
const LONGEST: u64 = 24 * 60 * 60 * 1_000_000;

/// See the module.
pub(super) struct Tally {
    /// Answers, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// By first digit of the status; 0 for what is none.
    pub(super) statuses: [u64; 6],
    /// Octets of bodies.
    pub(super) octets: u64,
    /// Requests that were not answered, by kind.
    pub(super) errors: BTreeMap<&'static str, Failed>,
    /// Requests that were begun and cut off by the end.
    pub(super) unfinished: u64,
    /// Times a request went to another connection because the server had not looked at it.
    pub(super) moved: u64,
    /// Connections that came up.
    pub(super) connections: u64,
    /// Of those, ended by GOAWAY.
    pub(super) goaways: u64,
    /// Why a connection never came up, or not any more.
    pub(super) unreachable: Option<String>,
    /// When the last request was over.
    pub(super) last: Option<Instant>,
}

/// Failures of one kind.
pub(super) struct Failed {
    pub(super) count: u64,
    /// The first one in words.
    pub(super) words: String,
}

impl Tally {
    pub(super) fn new() -> Self {
        // The bounds are constants that fit.
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds of a histogram");
        Self {
            latency,
            statuses: [0; 6],
            octets: 0,
            errors: BTreeMap::new(),
            unfinished: 0,
            moved: 0,
            connections: 0,
            goaways: 0,
            unreachable: None,
            last: None,
        }
    }

    /// A whole answer.
    pub(super) fn answer(&mut self, status: u16, octets: u64, began: Instant, now: Instant) {
        let micros = u64::try_from(now.duration_since(began).as_micros()).unwrap_or(LONGEST);
        self.latency.saturating_record(micros.max(1));
        let class = usize::from(status / 100);
        if let Some(count) = self.statuses.get_mut(class) {
            *count += 1;
        } else {
            self.statuses[0] += 1;
        }
        self.octets += octets;
        self.last = self.last.max(Some(now));
    }

    /// A request that was not answered.
    pub(super) fn fail(&mut self, kind: &'static str, words: String, now: Instant) {
        self.errors.entry(kind).or_insert(Failed { count: 0, words }).count += 1;
        self.last = self.last.max(Some(now));
    }

    /// Puts another thread's figures to these.
    pub(super) fn add(&mut self, other: Self) {
        // Both have the same bounds.
        self.latency.add(&other.latency).expect("histograms of one kind");
        for (sum, count) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += count;
        }
        self.octets += other.octets;
        for (kind, failed) in other.errors {
            self.errors.entry(kind).or_insert(Failed { count: 0, words: failed.words }).count += failed.count;
        }
        self.unfinished += other.unfinished;
        self.moved += other.moved;
        self.connections += other.connections;
        self.goaways += other.goaways;
        self.unreachable = self.unreachable.take().or(other.unreachable);
        self.last = self.last.max(other.last);
    }

    pub(super) fn answered(&self) -> u64 {
        self.latency.len()
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().map(|failed| failed.count).sum()
    }

    /// A quantile of the latencies; zero where nothing was answered.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(quantile))
    }

    pub(super) fn slowest(&self) -> Duration {
        Duration::from_micros(self.latency.max())
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos((self.latency.mean() * 1000.0) as u64)
    }
}

/// The kind an error counts as.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::Request(RequestError::Closed(end)) | Error::Stream(StreamError::Cancelled { cause: end }) => {
            of_end(end)
        }
        Error::Request(_) => "request",
        Error::Stream(error) => match error {
            StreamError::Reset(_) => "reset",
            StreamError::Unprocessed { .. } | StreamError::Closing => "refused",
            StreamError::SessionClosed(end) => of_end(end),
            StreamError::TimedOut => "timeout",
            StreamError::Malformed(_) => "malformed",
            _ => "other",
        },
        _ => "other",
    }
}

fn of_end(end: &SessionEnd) -> &'static str {
    match end {
        SessionEnd::Connect(_) => "connect",
        _ => "connection_lost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_two_threads_add_up() {
        let began = Instant::now();
        let mut sum = Tally::new();
        for (status, millis) in [(200, 1), (204, 2), (404, 100)] {
            let mut tally = Tally::new();
            tally.answer(status, 10, began, began + Duration::from_millis(millis));
            tally.fail("reset", format!("at {millis}"), began);
            sum.add(tally);
        }
        assert_eq!((sum.answered(), sum.failed(), sum.octets), (3, 3, 30));
        assert_eq!(sum.statuses, [0, 0, 2, 0, 1, 0]);
        assert_eq!((&*sum.errors["reset"].words, sum.errors["reset"].count), ("at 1", 3));
        let close =
            |found: Duration, millis: f64| (found.as_secs_f64() * 1000.0 / millis - 1.0).abs() < 0.002;
        assert!(close(sum.quantile(0.5), 2.0), "{:?}", sum.quantile(0.5));
        assert!(close(sum.slowest(), 100.0), "{:?}", sum.slowest());
        assert_eq!(sum.last, Some(began + Duration::from_millis(100)));
    }

    #[test]
    fn what_took_too_long_or_no_time_is_counted_all_the_same() {
        let began = Instant::now();
        let mut tally = Tally::new();
        tally.answer(200, 0, began, began);
        tally.answer(999, 0, began, began + Duration::from_secs(1_000_000));
        assert_eq!((tally.answered(), tally.statuses[0]), (2, 1));
    }
}
