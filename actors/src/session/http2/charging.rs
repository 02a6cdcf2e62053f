//! What each stream waits for, said at the end of a turn, and streams whose last octets are on their way.
//!
//! Only streams that something happened to are asked, and all of them where something happened to all: the socket, the
//! connection's window. Sessions whose streams are over in the turn they came in do nothing here but count them.
//!
//! Invariant: a stream that the machine has ended is counted when the socket has taken its last octet, or the session
//! is cut off: in the same turn where the socket takes all.

use std::collections::VecDeque;
use std::time::Instant;

use stagedoor_metrics::{Outcome, WaitOn};
use stagedoor_protocol::{Connection, Holdup, StreamId};

use super::{Arrived, Entry, Http2};
use crate::session::common::Common;
use crate::session::ended::Ended;
use crate::session::waits::Tick;

/// See the module.
#[derive(Default)]
pub(super) struct Charging {
    /// Streams to be asked at the end of the turn.
    touched: Vec<StreamId>,
    /// All of them are.
    all: bool,
    /// The socket did not take everything at the end of the last turn.
    blocked: bool,
    /// The connection's window was used up then.
    dry: bool,
    pub(super) tick: Tick,
    /// The target of the request that is being opened, for streams that outlive their first poll.
    pub(super) target: Vec<u8>,
    /// Requests that begin at the end of what was read; here, because a session that rests has no room for them.
    pub(super) arrived: Vec<Arrived>,
    /// Ended, with octets in the output up to there.
    tails: VecDeque<Tail>,
}

struct Tail {
    id: StreamId,
    until: u64,
    ended: Ended,
}

impl Charging {
    /// Something happened to a stream.
    #[inline]
    pub(super) fn touch(&mut self, id: StreamId) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    /// Something happened to every stream.
    pub(super) fn touch_all(&mut self) {
        self.all = true;
    }

    /// Gives spare heap back.
    pub(super) fn shrink(&mut self) {
        self.touched = Vec::new();
        self.target = Vec::new();
        self.tails.shrink_to_fit();
    }
}

/// What a stream waits for as things stand.
#[inline]
fn waits_for(id: StreamId, entry: &Entry, conn: &Connection) -> WaitOn {
    match conn.holdup(id) {
        None => entry.awaited(),
        Some(Holdup::Socket) => WaitOn::Socket,
        Some(Holdup::StreamWindow) => WaitOn::PeerStreamWindow,
        Some(Holdup::ConnectionWindow) => WaitOn::PeerConnectionWindow,
        Some(Holdup::Turn) => WaitOn::Scheduler,
    }
}

impl Http2 {
    /// The machine is done with a stream; what it framed last may still be in the output.
    #[inline]
    pub(super) fn ended(&mut self, id: StreamId, ended: Ended, common: &mut Common, now: Instant) {
        if let Some(taps) = &mut common.taps {
            taps.remember(id, ended.route);
        }
        if ended.outcome != Outcome::Complete {
            return common.stream_ended(id, ended, now);
        }
        self.charging.tails.push_back(Tail { id, until: self.conn.position(), ended });
    }

    /// The socket took octets: streams whose last are among them are counted.
    #[inline]
    pub(super) fn count_tails(&mut self, common: &mut Common, now: Instant) {
        let taken = self.conn.taken();
        while self.charging.tails.front().is_some_and(|tail| tail.until <= taken) {
            let Some(Tail { id, ended, .. }) = self.charging.tails.pop_front() else { return };
            common.stream_ended(id, ended, now);
        }
    }

    /// The session is cut off: what has not left will not.
    pub(super) fn cut_tails(&mut self, common: &mut Common, now: Instant) {
        self.count_tails(common, now);
        for Tail { id, mut ended, .. } in std::mem::take(&mut self.charging.tails) {
            ended.outcome = Outcome::SessionClosed;
            common.stream_ended(id, ended, now);
        }
    }

    /// The end of a turn: what does each stream wait for from here on?
    #[inline]
    pub(super) fn charge(&mut self, common: &mut Common, now: Instant) {
        if !self.charging.tails.is_empty() {
            self.count_tails(common, now);
        }
        if !common.host.config.observed {
            return self.charging.touched.clear();
        }
        if self.streams.is_empty() && self.charging.tails.is_empty() {
            self.charging.touched.clear();
            self.charging.blocked = false;
            return;
        }
        self.charge_streams(common, now);
    }

    fn charge_streams(&mut self, common: &mut Common, now: Instant) {
        let (conn, charging) = (&mut self.conn, &mut self.charging);
        for tail in &mut charging.tails {
            tail.ended.charge(WaitOn::Socket, now);
        }
        let (blocked, dry) = (conn.output_len() > 0, conn.send_window() <= 0);
        let mut all = std::mem::take(&mut charging.all) || blocked || charging.blocked || dry != charging.dry;
        (charging.blocked, charging.dry) = (blocked, dry);
        all |= conn.take_moved_many();
        while let Some(id) = conn.take_moved() {
            charging.touch(id);
        }
        let due = charging.tick.is_due(now);
        if !all && !due {
            while let Some(id) = self.charging.touched.pop() {
                if let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) {
                    entry.charge(waits_for(id, entry, &self.conn), now);
                    show(id, entry, &self.conn);
                }
            }
            return;
        }
        charging.touched.clear();
        for (id, entry) in self.streams.iter_mut().filter(|(_, entry)| !entry.closed) {
            entry.charge(waits_for(*id, entry, &self.conn), now);
            if due {
                entry.publish(*id, common, now);
            }
            show(*id, entry, &self.conn);
        }
    }
}

/// Brings what others see of a stream up to date, where they see it at all.
#[inline]
fn show(id: StreamId, entry: &Entry, conn: &Connection) {
    let waits = entry.parts.as_ref().and_then(|parts| parts.waits.as_ref());
    if let Some(listed) = waits.and_then(|waits| waits.shown())
        && let Some(view) = conn.stream(id)
    {
        listed.bytes_in.add(view.received.saturating_sub(listed.bytes_in.get()));
        listed.bytes_out.add(view.sent.saturating_sub(listed.bytes_out.get()));
        listed.write_queue_bytes.set(i64::try_from(view.queued).unwrap_or(i64::MAX));
        listed.send_window.set(view.send_window);
    }
}
