//! Allowances for what costs us and brings nothing: a peer that overdraws one is told to calm down.
//!
//! Counts only; the connection decides when. Time is an argument. Numbers: `docs/limits.md`.

use std::time::Instant;

use crate::config::Rate;
use crate::error::{ConnectionError, Limit};

/// CVE-2019-9512 (Ping Flood); leaves room for bandwidth probes.
const PINGS: Rate = Rate { burst: 500, per_second: 50 };
/// CVE-2019-9515 (Settings Flood).
const SETTINGS: Rate = Rate { burst: 50, per_second: 5 };
/// CVE-2020-11080: entries of one SETTINGS frame.
pub(crate) const SETTINGS_ENTRIES: usize = 32;
/// VU#421644 (CONTINUATION flood): frames of one header block, and octets of it.
pub(crate) const CONTINUATIONS: u32 = 8;
pub(crate) const HEADER_BLOCK: usize = 64 << 10;
/// CVE-2019-9518 (Empty Frames Flood), for the life of a connection.
const EMPTY_DATA: u32 = 100;
/// CVE-2019-9517 (Internal Data Buffering): replies that wait for the socket; past the first we stop reading.
pub(crate) const REPLIES_SOFT: u32 = 256;
const REPLIES_HARD: u32 = 1000;
/// Frames of unknown type, in octets beyond those that carried something.
const UNKNOWN_OCTETS: u64 = 1 << 20;

#[derive(Debug, Default)]
struct Bucket {
    spent: u32,
    since: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, count: u32, rate: Rate, now: Instant, limit: Limit) -> Result<(), ConnectionError> {
        let since = *self.since.get_or_insert(now);
        let refill =
            now.saturating_duration_since(since).as_millis() as u64 * u64::from(rate.per_second) / 1000;
        if refill > 0 {
            self.spent = self.spent.saturating_sub(refill.min(u64::from(u32::MAX)) as u32);
            self.since = Some(now);
        }
        self.spent = self.spent.saturating_add(count);
        if self.spent > rate.burst { Err(ConnectionError::Calm(limit)) } else { Ok(()) }
    }
}

/// What one connection has spent.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    resets_received: Bucket,
    resets_provoked: Bucket,
    pings: Bucket,
    settings: Bucket,
    empty_data: u32,
    window_updates: u64,
    priorities: u64,
    refused_in_a_row: u32,
    unknown_octets: u64,
    useful_octets: u64,
    /// Replies in the octets still ahead of `mark`, and those behind it.
    replies: [u32; 2],
    /// Octets until all that waited when it was set has left.
    mark: usize,
}

impl Budget {
    /// A reset before we answered anything costs double: that is the attack's shape.
    pub(crate) fn reset_received(
        &mut self,
        answered: bool,
        rate: Rate,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.resets_received.take(2 - u32::from(answered), rate, now, Limit::ResetsReceived)
    }

    pub(crate) fn reset_provoked(&mut self, rate: Rate, now: Instant) -> Result<(), ConnectionError> {
        self.resets_provoked.take(1, rate, now, Limit::ResetsProvoked)
    }

    pub(crate) fn ping(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.pings.take(1, PINGS, now, Limit::Pings)
    }

    pub(crate) fn settings(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.settings.take(1, SETTINGS, now, Limit::Settings)
    }

    pub(crate) fn empty_data(&mut self) -> Result<(), ConnectionError> {
        self.empty_data += 1;
        over(self.empty_data > EMPTY_DATA, Limit::EmptyData)
    }

    /// CVE-2019-9511 (Data Dribble): a window update needs a stream or DATA of ours to be about.
    pub(crate) fn window_update(&mut self, streams: u64, data_sent: u64) -> Result<(), ConnectionError> {
        self.window_updates += 1;
        over(self.window_updates > 5 + 2 * (streams + 10 * data_sent), Limit::WindowUpdates)
    }

    /// CVE-2019-9513 (Resource Loop).
    pub(crate) fn priority(&mut self, streams: u64) -> Result<(), ConnectionError> {
        self.priorities += 1;
        over(self.priorities > 100 * (1 + streams), Limit::Priorities)
    }

    pub(crate) fn refused(&mut self, concurrency: u32) -> Result<(), ConnectionError> {
        self.refused_in_a_row += 1;
        over(u64::from(self.refused_in_a_row) > 2 * u64::from(concurrency.max(50)), Limit::RefusedStreams)
    }

    pub(crate) fn stream_accepted(&mut self) {
        self.refused_in_a_row = 0;
    }

    pub(crate) fn useful(&mut self, octets: usize) {
        self.useful_octets += octets as u64;
    }

    pub(crate) fn unknown_frame(&mut self, octets: usize) -> Result<(), ConnectionError> {
        self.unknown_octets += octets as u64;
        over(self.unknown_octets > self.useful_octets * 8 + UNKNOWN_OCTETS, Limit::UnknownFrames)
    }

    /// A reply (acknowledgement, reset) joins the output.
    pub(crate) fn reply_queued(&mut self) -> Result<(), ConnectionError> {
        self.replies[1] += 1;
        over(self.replies() > REPLIES_HARD, Limit::ControlQueue)
    }

    /// `count` octets of output have left and `waiting` are left. Under a long download the output is never
    /// empty, so replies are forgotten when all that waited beside them has gone.
    #[inline]
    pub(crate) fn output_advanced(&mut self, count: usize, waiting: usize) {
        self.mark = self.mark.saturating_sub(count);
        if waiting == 0 {
            (self.replies, self.mark) = ([0; 2], 0);
        } else if self.mark == 0 {
            (self.replies, self.mark) = ([self.replies[1], 0], waiting);
        }
    }

    /// Replies that wait, or a few more.
    pub(crate) fn replies(&self) -> u32 {
        self.replies[0] + self.replies[1]
    }
}

fn over(over: bool, limit: Limit) -> Result<(), ConnectionError> {
    if over { Err(ConnectionError::Calm(limit)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_refills_with_time_alone() {
        let start = Instant::now();
        let mut budget = Budget::default();
        for _ in 0..PINGS.burst {
            budget.ping(start).unwrap();
        }
        assert_eq!(budget.ping(start), Err(ConnectionError::Calm(Limit::Pings)));
        assert!(budget.ping(start + Duration::from_millis(40)).is_ok());
        assert!(budget.ping(start + Duration::from_millis(40)).is_err());
    }

    #[test]
    fn resets_before_an_answer_count_double() {
        let (now, mut budget) = (Instant::now(), Budget::default());
        let rate = Rate { burst: 300, per_second: 30 };
        for _ in 0..150 {
            budget.reset_received(false, rate, now).unwrap();
        }
        assert!(budget.reset_received(false, rate, now).is_err());
    }
}
