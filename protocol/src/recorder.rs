//! The flight recorder: the last frames and turning points of one connection, in sixteen octets each.
//!
//! Keeps no octets of any message. Invariants: holds at most [`Recorder::KEPT`] entries, the newest; asks the heap for
//! nothing before the first entry, and for little while there are few.

use std::time::{Duration, Instant};

use crate::event::Origin;
use crate::frame::FrameHeader;

/// Something that happened.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::frame::{self, FrameHeader, kind};
/// use stagedoor_protocol::{Origin, Recorder};
///
/// let mut recorder = Recorder::new(Instant::now(), true);
/// recorder.frame(Origin::Remote, FrameHeader { length: 8, kind: kind::PING, flags: 0, id: 0.into() });
/// let entry = recorder.entries()[0];
/// assert_eq!((frame::name(entry.kind), entry.length), ("PING", 8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since the recorder began; 49 days fit, later is shown as that.
    at: u32,
    /// Stream, 0 for the connection.
    pub id: u32,
    /// Frame: octets of its payload. Turning point: a number of its own.
    pub length: u32,
    /// Frame: its type (RFC 9113 §6). Turning point: which, by the owner's count.
    pub kind: u8,
    /// Frame: its flags.
    pub flags: u8,
    /// What it is.
    pub what: What,
}

/// What an [`Entry`] tells of.
///
/// ```
/// use stagedoor_protocol::recorder::{Entry, What};
///
/// fn arrow(entry: &Entry) -> char {
///     match entry.what {
///         What::Received => '<',
///         What::Sent => '>',
///         What::Turn => '*',
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// A frame that came.
    Received,
    /// A frame that was put into the output.
    Sent,
    /// Something of the owner's.
    Turn,
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    /// Since the recorder began.
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at.into())
    }
}

/// See the module.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::Recorder;
/// use stagedoor_protocol::recorder::What;
///
/// let mut recorder = Recorder::new(Instant::now(), true);
/// recorder.turn(1, 0, 42);
/// let entries = recorder.entries();
/// assert_eq!((entries.len(), entries[0].what, entries[0].length), (1, What::Turn, 42));
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    since: Instant,
    /// Milliseconds of the last [`Self::tick`].
    at: u32,
    /// Where the next entry goes once all places are taken.
    next: u8,
    on: bool,
    ring: Vec<Entry>,
}

impl Recorder {
    /// So many entries are kept.
    pub const KEPT: usize = 64;

    /// An empty one that counts time from `since`; one that is not `on` stays empty.
    pub fn new(since: Instant, on: bool) -> Self {
        Self { since, at: 0, next: 0, on, ring: Vec::new() }
    }

    /// The owner's clock has moved.
    #[inline]
    pub fn tick(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.since);
        let seconds = since.as_secs().min(u64::from(u32::MAX / 1000 - 1));
        self.at = seconds as u32 * 1000 + since.subsec_millis();
    }

    /// What another recorder kept comes before all of this one, and its time is the time of both.
    pub fn precede(&mut self, earlier: &Self) {
        let shift = self.since.saturating_duration_since(earlier.since);
        let shift = u32::try_from(shift.as_millis()).unwrap_or(u32::MAX);
        let own = self.entries();
        *self = Self { at: self.at.saturating_add(shift), ..earlier.clone() };
        for entry in own {
            self.push(Entry { at: entry.at.saturating_add(shift), ..entry });
        }
    }

    /// A frame.
    #[inline]
    pub fn frame(&mut self, by: Origin, header: FrameHeader) {
        let what = match by {
            Origin::Remote => What::Received,
            Origin::Local => What::Sent,
        };
        let FrameHeader { length, kind, flags, id } = header;
        self.push(Entry { at: self.at, id: id.get(), length, kind, flags, what });
    }

    /// Something of the owner's.
    pub fn turn(&mut self, kind: u8, id: u32, number: u32) {
        self.push(Entry { at: self.at, id, length: number, kind, flags: 0, what: What::Turn });
    }

    #[inline]
    fn push(&mut self, entry: Entry) {
        if !self.on {
            return;
        }
        if self.ring.len() < Self::KEPT {
            return self.ring.push(entry);
        }
        if let Some(place) = self.ring.get_mut(usize::from(self.next)) {
            *place = entry;
        }
        self.next = (self.next + 1) % Self::KEPT as u8;
    }

    /// Gives spare heap back.
    pub(crate) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
    }

    /// What was kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        let (new, old) = self.ring.split_at(usize::from(self.next).min(self.ring.len()));
        [old, new].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StreamId;

    fn ping(length: u32) -> FrameHeader {
        FrameHeader { length, kind: 6, flags: 0, id: StreamId::CONNECTION }
    }

    #[test]
    fn the_newest_are_kept_in_order() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start, true);
        assert_eq!(recorder.ring.capacity(), 0, "nothing before the first entry");
        for number in 0..100 {
            recorder.tick(start + Duration::from_millis(u64::from(number)));
            recorder.frame(Origin::Remote, ping(number));
        }
        let kept = recorder.entries();
        assert_eq!(kept.len(), Recorder::KEPT);
        let numbers: Vec<u32> = kept.iter().map(|entry| entry.length).collect();
        assert_eq!(numbers, (36..100).collect::<Vec<_>>());
        assert_eq!(kept[0].at(), Duration::from_millis(36));
        assert_eq!(recorder.ring.capacity(), Recorder::KEPT, "and nothing beyond what is kept");
    }

    #[test]
    fn one_that_is_off_stays_empty_and_time_does_not_wrap() {
        let start = Instant::now();
        let mut off = Recorder::new(start, false);
        off.turn(1, 0, 0);
        assert!(off.entries().is_empty());
        let mut recorder = Recorder::new(start, true);
        recorder.tick(start + Duration::from_secs(60 * 86_400));
        recorder.turn(1, 0, 0);
        assert!(recorder.entries()[0].at() > Duration::from_secs(49 * 86_400));
    }
}
