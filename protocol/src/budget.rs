//! Allowances for what costs us and brings nothing: a peer that overdraws one is told to calm down.
//!
//! [`Budgets`] are the numbers, all in one place; [`Spent`] is what one connection has used of them. Counts only; the
//! connection decides when. Time is an argument. [`Limit`] has their names and what the peer sees.

use std::time::{Duration, Instant};

use crate::config::Rate;
use crate::error::ConnectionError;
use crate::limit::Limit;

/// DATA of fewer octets than this costs more to keep than it brings.
pub(crate) const SMALL: usize = 256;

/// The allowances of one connection. Those that settings announce stand in [`crate::Config`]: streams at once, header
/// lists, frame and table sizes, memory. A number at its maximum switches a budget off.
///
/// ```
/// use stagedoor_protocol::{Budgets, Rate};
///
/// // Clients that close many streams at once, for good reasons.
/// let resets_received = Rate { burst: 2000, per_second: 500 };
/// let budgets = Budgets { resets_received, ..Budgets::default() };
/// assert_eq!(budgets.pings, Budgets::default().pings);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Server: RST_STREAM the peer may send (CVE-2023-44487, Rapid Reset); one before the answer began counts double.
    /// More than twice the concurrency limit at once, so that closing a busy tab is fine.
    pub resets_received: Rate,
    /// Stream errors the peer may make us answer (CVE-2025-8671, MadeYouReset; CVE-2019-9514).
    pub resets_provoked: Rate,
    /// Frames that break a rule and do not end the connection, for its life; each stream that ends well gives one back
    /// (CVE-2025-8671 below the rate of `resets_provoked`).
    pub invalid_frames: u32,
    /// PING to be answered (CVE-2019-9512, Ping Flood); leaves room for bandwidth probes.
    pub pings: Rate,
    /// SETTINGS (CVE-2019-9515, Settings Flood).
    pub settings: Rate,
    /// Entries of one SETTINGS frame (CVE-2020-11080).
    pub settings_entries: u32,
    /// Acknowledgements of PING and SETTINGS that may wait for a peer that does not read (CVE-2019-9512, CVE-2019-9515).
    pub outstanding_acks: u32,
    /// Replies of any kind that may wait for a peer that does not read (CVE-2019-9514, CVE-2019-9517).
    pub control_queue: u32,
    /// Replies that wait from which on nothing is read from the peer.
    pub control_queue_stop: u32,
    /// CONTINUATION frames of one header block (VU#421644, CVE-2024-27316 and kin).
    pub continuations: u32,
    /// Fragments of one header block that are empty and not the last: one may be clumsiness (CVE-2019-9518).
    pub empty_continuations: u32,
    /// Octets of one header block in CONTINUATION frames, encoded (VU#421644, CVE-2022-41723).
    pub header_block_bytes: usize,
    /// How many times [`crate::Config::max_header_list_size`] a header block may decode to before decoding stops and the
    /// connection ends (CVE-2016-6581, CVE-2026-49975).
    pub header_list_factor: u32,
    /// DATA without octets and without END_STREAM (CVE-2019-9518, RUSTSEC-2026-0258); one with octets gives one back.
    pub empty_data: u32,
    /// Octets by which unread DATA frames fall short of 256 each (RUSTSEC-2026-0258). What a window forced is not
    /// counted; larger frames and reading give back.
    pub small_data: u32,
    /// WINDOW_UPDATE beyond those that streams and DATA of ours explain (CVE-2019-9511, Data Dribble).
    pub window_updates: u32,
    /// PRIORITY and PRIORITY_UPDATE for each stream opened, and one more (CVE-2019-9513, Resource Loop).
    pub priorities: u32,
    /// Octets of frames that mean nothing here, beyond eight times those that did.
    pub unknown_bytes: u64,
    /// Server: streams the peer may open before octets of ours have left again, times the concurrency limit, those it reset
    /// itself apart: it cannot know of more that ended. More are refused (CVE-2023-44487).
    pub new_streams: u32,
    /// Streams refused in a row, times the concurrency limit (at least 100: so many a client may open before it has read our
    /// SETTINGS).
    pub refused_streams: u32,
    /// How long a connection may be over [`crate::Config::session_memory`] (CVE-2019-9517).
    pub memory_patience: Duration,
    /// Panics of handlers after which the owner is to end the connection ([`crate::Connection::handler_panicked`]).
    pub panics: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            resets_received: Rate { burst: 300, per_second: 30 },
            resets_provoked: Rate { burst: 200, per_second: 10 },
            invalid_frames: 1000,
            pings: Rate { burst: 500, per_second: 50 },
            settings: Rate { burst: 50, per_second: 5 },
            settings_entries: 32,
            outstanding_acks: 1000,
            control_queue: 1000,
            control_queue_stop: 256,
            continuations: 8,
            empty_continuations: 1,
            header_block_bytes: 64 << 10,
            header_list_factor: 4,
            empty_data: 100,
            small_data: 100 * SMALL as u32,
            window_updates: 5,
            priorities: 100,
            unknown_bytes: 1 << 20,
            new_streams: 2,
            refused_streams: 2,
            memory_patience: Duration::from_secs(30),
            panics: 10,
        }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    spent: u32,
    since: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, count: u32, rate: Rate, now: Instant, limit: Limit) -> Result<(), ConnectionError> {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since).as_millis();
        let refill = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(rate.per_second.into()) / 1000;
        if refill > 0 {
            self.spent = self.spent.saturating_sub(refill.min(u64::from(u32::MAX)) as u32);
            self.since = Some(now);
        }
        self.spent = self.spent.saturating_add(count);
        over(self.spent > rate.burst, limit)
    }
}

/// What one connection has spent.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    resets_received: Bucket,
    resets_provoked: Bucket,
    pings: Bucket,
    settings: Bucket,
    invalid_frames: u32,
    empty_data: u32,
    window_updates: u64,
    priorities: u64,
    refused_in_a_row: u32,
    /// Streams opened since octets of ours last left.
    new_streams: u32,
    unknown_octets: u64,
    useful_octets: u64,
    /// Replies in the octets still ahead of `mark`, and those behind it.
    replies: [u32; 2],
    /// Of these, acknowledgements.
    acks: [u32; 2],
    /// Octets until all that waited when it was set has left.
    mark: usize,
    panics: u32,
}

impl Spent {
    /// A reset before we answered anything costs double: that is the attack's shape.
    pub(crate) fn reset_received(
        &mut self,
        answered: bool,
        budgets: &Budgets,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let count = 2 - u32::from(answered);
        self.resets_received.take(count, budgets.resets_received, now, Limit::ResetsReceived)
    }

    pub(crate) fn reset_provoked(&mut self, budgets: &Budgets, now: Instant) -> Result<(), ConnectionError> {
        self.resets_provoked.take(1, budgets.resets_provoked, now, Limit::ResetsProvoked)?;
        self.invalid_frame(budgets)
    }

    pub(crate) fn invalid_frame(&mut self, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.invalid_frames = self.invalid_frames.saturating_add(1);
        over(self.invalid_frames > budgets.invalid_frames, Limit::InvalidFrames)
    }

    /// A stream ended as it should.
    #[inline]
    pub(crate) fn stream_ended_well(&mut self) {
        self.invalid_frames = self.invalid_frames.saturating_sub(1);
    }

    pub(crate) fn ping(&mut self, budgets: &Budgets, now: Instant) -> Result<(), ConnectionError> {
        self.pings.take(1, budgets.pings, now, Limit::Pings)
    }

    pub(crate) fn settings(
        &mut self,
        entries: usize,
        budgets: &Budgets,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.settings.take(1, budgets.settings, now, Limit::Settings)?;
        over(entries > budgets.settings_entries as usize, Limit::SettingsEntries)
    }

    /// DATA that does not end its stream.
    #[inline]
    pub(crate) fn data(&mut self, octets: usize, budgets: &Budgets) -> Result<(), ConnectionError> {
        if octets > 0 {
            self.empty_data = self.empty_data.saturating_sub(1);
            return Ok(());
        }
        self.empty_data = self.empty_data.saturating_add(1);
        over(self.empty_data > budgets.empty_data, Limit::EmptyData)
    }

    /// A window update needs a stream or DATA of ours to be about. A peer that gives back what it read in small pieces
    /// sends many for one frame, for stream and connection: one for each 64 octets is its right.
    pub(crate) fn window_update(
        &mut self,
        streams: u64,
        data_sent: u64,
        octets_sent: u64,
        budgets: &Budgets,
    ) -> Result<(), ConnectionError> {
        self.window_updates += 1;
        let explained = 2 * (streams + 10 * data_sent) + octets_sent / 64;
        over(self.window_updates > u64::from(budgets.window_updates) + explained, Limit::WindowUpdates)
    }

    pub(crate) fn priority(&mut self, streams: u64, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.priorities += 1;
        over(self.priorities > u64::from(budgets.priorities).saturating_mul(1 + streams), Limit::Priorities)
    }

    pub(crate) fn refused(&mut self, concurrency: u32, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        let most = u64::from(budgets.refused_streams) * u64::from(concurrency.max(100));
        over(u64::from(self.refused_in_a_row) > most, Limit::RefusedStreams)
    }

    #[inline]
    pub(crate) fn stream_accepted(&mut self) {
        self.refused_in_a_row = 0;
        self.new_streams += 1;
    }

    /// The peer reset a stream of its own: that one it knows to be free.
    #[inline]
    pub(crate) fn stream_given_up(&mut self) {
        self.new_streams = self.new_streams.saturating_sub(1);
    }

    /// The peer has opened more streams than it can know to be free.
    #[inline]
    pub(crate) fn crowded(&self, concurrency: u32, budgets: &Budgets) -> bool {
        u64::from(self.new_streams) >= u64::from(budgets.new_streams) * u64::from(concurrency)
    }

    #[inline]
    pub(crate) fn useful(&mut self, octets: usize) {
        self.useful_octets += octets as u64;
    }

    pub(crate) fn unknown_frame(&mut self, octets: usize, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.unknown_octets += octets as u64;
        let allowed = (self.useful_octets * 8).saturating_add(budgets.unknown_bytes);
        over(self.unknown_octets > allowed, Limit::UnknownFrames)
    }

    /// A reply (acknowledgement, reset) joins the output.
    pub(crate) fn reply_queued(&mut self, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.replies[1] += 1;
        over(self.replies() > budgets.control_queue, Limit::ControlQueue)
    }

    /// An acknowledgement joins the output.
    pub(crate) fn ack_queued(&mut self, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.acks[1] += 1;
        over(self.acks[0] + self.acks[1] > budgets.outstanding_acks, Limit::OutstandingAcks)?;
        self.reply_queued(budgets)
    }

    /// `count` octets of output have left and `waiting` are left. Under a long download the output is never
    /// empty, so replies are forgotten when all that waited beside them has gone.
    #[inline]
    pub(crate) fn output_advanced(&mut self, count: usize, waiting: usize) {
        if count > 0 {
            self.new_streams = 0;
        }
        self.mark = self.mark.saturating_sub(count);
        if waiting == 0 {
            (self.replies, self.acks, self.mark) = ([0; 2], [0; 2], 0);
        } else if self.mark == 0 {
            self.replies = [self.replies[1], 0];
            self.acks = [self.acks[1], 0];
            self.mark = waiting;
        }
    }

    /// Replies that wait, or a few more.
    #[inline]
    pub(crate) fn replies(&self) -> u32 {
        self.replies[0] + self.replies[1]
    }

    pub(crate) fn panics(&self) -> u32 {
        self.panics
    }

    pub(crate) fn panicked(&mut self, budgets: &Budgets) -> Result<(), ConnectionError> {
        self.panics = self.panics.saturating_add(1);
        over(self.panics >= budgets.panics, Limit::Panics)
    }
}

#[inline]
fn over(over: bool, limit: Limit) -> Result<(), ConnectionError> {
    if over { Err(ConnectionError::Calm(limit)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_with_time_alone() {
        let start = Instant::now();
        let (mut spent, budgets) = (Spent::default(), Budgets::default());
        for _ in 0..budgets.pings.burst {
            spent.ping(&budgets, start).unwrap();
        }
        assert_eq!(spent.ping(&budgets, start), Err(ConnectionError::Calm(Limit::Pings)));
        assert!(spent.ping(&budgets, start + Duration::from_millis(40)).is_ok());
        assert!(spent.ping(&budgets, start + Duration::from_millis(40)).is_err());
    }

    #[test]
    fn resets_before_an_answer_count_double() {
        let (now, mut spent, budgets) = (Instant::now(), Spent::default(), Budgets::default());
        for _ in 0..150 {
            spent.reset_received(false, &budgets, now).unwrap();
        }
        assert!(spent.reset_received(false, &budgets, now).is_err());
    }

    #[test]
    fn what_is_switched_off_never_ends_anything() {
        let now = Instant::now();
        let budgets = Budgets {
            pings: Rate { burst: u32::MAX, per_second: u32::MAX },
            empty_data: u32::MAX,
            unknown_bytes: u64::MAX,
            priorities: u32::MAX,
            ..Budgets::default()
        };
        let mut spent = Spent::default();
        for _ in 0..100_000 {
            spent.ping(&budgets, now + Duration::from_secs(1 << 40)).unwrap();
            spent.data(0, &budgets).unwrap();
            spent.unknown_frame(16_384, &budgets).unwrap();
            spent.priority(u64::MAX >> 1, &budgets).unwrap();
        }
    }

    #[test]
    fn useful_work_pays_for_empty_and_invalid_frames() {
        let (mut spent, budgets) = (Spent::default(), Budgets::default());
        for _ in 0..10_000 {
            spent.data(0, &budgets).unwrap();
            spent.data(1, &budgets).unwrap();
            spent.invalid_frame(&budgets).unwrap();
            spent.stream_ended_well();
        }
    }
}
