//! What a session counts in plain fields during a turn and hands to its listener's cells at the end of it.

use std::time::Instant;

use stagedoor_metrics::{AbuseKind, Direction, FrameType, H2Code, Origin, Outcome, Scope};
use stagedoor_protocol::{Counters, ErrorCode};

use super::Http2;
use crate::session::common::Common;

/// See the module.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) abuse: Option<AbuseKind>,
    /// What of the machine's counters is in the cells already.
    seen: Box<Counters>,
}

impl Tally {
    pub(super) fn opened(&mut self, common: &Common) {
        common.stats.streams_total.inc();
    }
}

impl Http2 {
    /// Hands the numbers of the turn over.
    pub(super) fn publish(&mut self, common: &mut Common, now: Instant) {
        let tally = &mut self.tally;
        common.moved(std::mem::take(&mut tally.received), std::mem::take(&mut tally.sent), now);
        common.queued(self.conn.queued());
        common.stats.streams_open.set(self.streams.len() as i64);
        common.stats.send_window.set(self.conn.send_window());
        common.stats.memory_bytes.set(self.conn.memory() as i64);
        let cells = &common.host.cells;
        let counters = self.conn.counters();
        if *counters != *tally.seen {
            for (direction, all, seen) in [
                (Direction::Rx, &counters.frames_in, &tally.seen.frames_in),
                (Direction::Tx, &counters.frames_out, &tally.seen.frames_out),
            ] {
                for ((kind, count), seen) in cells.h2_frames[direction].iter().zip(all).zip(seen) {
                    if all.len() == FrameType::COUNT && count != seen {
                        kind.1.add(count - seen);
                    }
                }
            }
            let stalls = counters.flow_stalls.iter().zip(tally.seen.flow_stalls);
            for (scope, (count, seen)) in [Scope::Stream, Scope::Connection].into_iter().zip(stalls) {
                cells.h2_flow_stalls[scope].add(count - seen);
            }
            *tally.seen = *counters;
        }
        if let Some(kind) = tally.abuse.take() {
            cells.abuse[kind].inc();
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
