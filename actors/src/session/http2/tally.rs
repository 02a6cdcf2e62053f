//! What a session counts in plain fields during a turn and hands to its listener's cells at the end of it.

use std::time::{Duration, Instant};

use stagedoor_metrics::{Direction, FrameType, H2Code, MessageKind, Origin, Outcome, Scope};
use stagedoor_protocol::{Counters, ErrorCode};

use super::Http2;
use crate::close::abuse_of;
use crate::session::common::Common;

/// See the module.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Messages of streams.
    pub(super) replies: u64,
    /// The low halves of what of the machine's counters is in the cells already; a turn does not count 2^32.
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    frames: [[u32; FrameType::COUNT]; 2],
    stalls: [u32; 2],
    stalled: [Duration; 2],
}

/// What was counted since `seen`, which is brought up to date.
fn news(count: u64, seen: &mut u32) -> u64 {
    let low = count as u32;
    u64::from(low.wrapping_sub(std::mem::replace(seen, low)))
}

impl Http2 {
    /// What nobody counts is not kept either.
    #[cold]
    fn forget(&mut self, common: &Common) {
        for (limit, times) in self.conn.take_trips() {
            common.host.outlet.limit_hit(common.stats.id(), limit, times);
        }
        self.conn.take_error_records();
    }

    /// Hands the numbers of the turn over.
    pub(super) fn publish(&mut self, common: &mut Common, now: Instant) {
        let tally = &mut self.tally;
        common.moved(std::mem::take(&mut tally.received), std::mem::take(&mut tally.sent), now);
        common.queued(self.conn.queued());
        common.stats.streams_open.set(self.streams.len() as i64);
        common.stats.send_window.set(self.conn.send_window());
        common.held(self.conn.memory());
        if !common.host.config.observed {
            return self.forget(common);
        }
        let replies = std::mem::take(&mut tally.replies);
        if replies > 0 {
            common.host.shard.messages()[MessageKind::SessionReply].handled.add(replies);
        }
        let cells = &common.host.cells;
        let Counters { frames_in, frames_out, flow_stalls, flow_stalled } = self.conn.counters();
        let directions = [(Direction::Rx, frames_in), (Direction::Tx, frames_out)];
        for ((direction, counts), seen) in directions.into_iter().zip(&mut tally.seen.frames) {
            let kinds = cells.h2_frames[direction].iter();
            for (((_, cell), count), seen) in kinds.zip(counts).zip(seen) {
                let count = news(*count, seen);
                if count > 0 {
                    cell.add(count);
                }
            }
        }
        let scopes = [Scope::Stream, Scope::Connection].into_iter();
        for ((scope, count), seen) in scopes.zip(flow_stalls).zip(&mut tally.seen.stalls) {
            cells.h2_flow_stalls[scope].add(news(*count, seen));
        }
        for (at, scope) in [Scope::Stream, Scope::Connection].into_iter().enumerate() {
            let waited = flow_stalled[at] - tally.seen.stalled[at];
            if !waited.is_zero() {
                tally.seen.stalled[at] = flow_stalled[at];
                cells.h2_flow_stalled_nanos[scope].add(waited.as_nanos() as u64);
            }
        }
        for (limit, count) in self.conn.take_trips() {
            cells.abuse[abuse_of(limit)].add(count.into());
            common.host.outlet.limit_hit(common.stats.id(), limit, count);
        }
        for record in self.conn.take_error_records() {
            let scope = if record.id.is_connection() { Scope::Connection } else { Scope::Stream };
            let origin = match record.by {
                stagedoor_protocol::Origin::Local => Origin::Local,
                stagedoor_protocol::Origin::Remote => Origin::Remote,
            };
            cells.h2_errors[scope][origin][H2Code::from_wire(record.code.0)].inc();
            let refused = record.code == ErrorCode::REFUSED_STREAM && origin == Origin::Local;
            if refused && scope == Scope::Stream && !self.streams.contains_key(&record.id) {
                cells.stream_opened(self.protocol);
                cells.stream_closed(self.protocol, Outcome::Refused);
            }
        }
    }
}
