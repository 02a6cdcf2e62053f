//! A stream that is over, as it is counted: what is known of it, once its last octet has left.
//!
//! Invariant: counted once; [`Common::stream_ended`] takes it by value.

use std::time::{Duration, Instant};

use stagedoor_metrics::{Exemplar, Method, Outcome, Protocol, RouteId, WaitOn};
use stagedoor_protocol::StreamId;
use tracing::Span;

use super::common::Common;
use super::events::{SessionEvent, StreamTimes};
use super::http2::Entry;
use super::spans;
use super::waits::{WaitTimes, Waits};
use crate::host::Host;
use crate::trace::{self, TraceContext};

/// See the module.
pub(crate) struct Ended {
    pub(crate) opened: Instant,
    answered: Option<Instant>,
    first_in: Option<Instant>,
    first_out: Option<Instant>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) route: RouteId,
    method: Method,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) waits: Option<Box<Waits>>,
    file_read: u64,
    trace: Option<Box<TraceContext>>,
    span: Option<Box<Span>>,
}

impl Ended {
    /// The stream of `entry`, which ended by `outcome` unless it knows better.
    #[inline]
    pub(crate) fn of(entry: &mut Entry, outcome: Outcome) -> Self {
        let (mut first_in, mut first_out, mut waits, mut trace, mut span) = (None, None, None, None, None);
        let mut file_read = 0;
        if let Some(parts) = &mut entry.parts {
            (first_in, first_out, file_read) = (parts.first_in, parts.first_out, parts.file_read);
            (waits, trace, span) = (parts.waits.take(), parts.trace.take(), parts.span.take());
        }
        Self {
            opened: entry.opened,
            answered: entry.answered,
            first_in,
            // A whole body goes with its head.
            first_out: first_out.or(entry.answered.filter(|_| entry.bytes_out > 0)),
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            route: entry.route,
            method: entry.method,
            status: entry.status,
            outcome: entry.outcome.unwrap_or(outcome),
            waits,
            file_read,
            trace,
            span,
        }
    }

    /// What it waits for from `now` on.
    pub(crate) fn charge(&mut self, on: WaitOn, now: Instant) {
        self.waits.get_or_insert_with(|| Box::new(Waits::new(self.opened))).charge(on, now);
    }

    /// What its time went to.
    pub(crate) fn wait_times(&self, now: Instant) -> WaitTimes {
        match &self.waits {
            Some(waits) => waits.times(now),
            None => {
                let mut times = WaitTimes::default();
                times[WaitOn::Handler as usize] = now.saturating_duration_since(self.opened);
                times
            }
        }
    }

    /// When it got under way, for those who listen.
    pub(crate) fn times(&self) -> StreamTimes {
        let after = |at: Instant| at.saturating_duration_since(self.opened);
        StreamTimes {
            head: self.answered.map(after),
            first_in: self.first_in.map(after),
            first_out: self.first_out.map(after),
        }
    }

    /// Counts it; says how long it lived, in nanoseconds.
    #[inline]
    fn observe(
        &mut self,
        host: &Host,
        common: &Common,
        protocol: Protocol,
        id: StreamId,
        now: Instant,
    ) -> u64 {
        let lived = nanos(self.opened, now);
        if !host.config.observed {
            return lived;
        }
        host.cells.stream_closed(protocol, self.outcome);
        let mut routes = host.routes.borrow_mut();
        let cells = routes.get(self.route);
        let who = || Exemplar {
            session: common.stats.id(),
            stream: id.get(),
            trace: match &self.trace {
                Some(trace) => trace.trace_id,
                None => trace::begun(common.stats.id(), id.get()),
            },
        };
        if let Some(answered) = self.answered {
            cells.request(self.method, self.status);
            cells.response_began(nanos(self.opened, answered), now, who);
        }
        cells.request_took(lived, now, who);
        cells.request_body_bytes.observe_value(self.bytes_in);
        cells.response_body_bytes.observe_value(self.bytes_out);
        if self.file_read > 0 {
            cells.file_read_bytes.add(self.file_read);
        }
        if let Some(waits) = &mut self.waits {
            waits.publish(cells, &common.stats, now);
            waits.strike(&common.stats);
        }
        lived
    }
}

impl Common {
    /// Counts a stream that is over and whose octets have left, or never will.
    #[inline]
    pub(crate) fn stream_ended(&mut self, id: StreamId, mut ended: Ended, now: Instant) {
        let nanos = ended.observe(&self.host, self, self.protocol, id, now);
        self.stream_lasted(nanos);
        if let Some(span) = &ended.span {
            spans::ended(span, &ended, &self.host.service.route_name(ended.route), nanos, now);
        }
        self.tell(|| SessionEvent::StreamClosed {
            id,
            outcome: ended.outcome,
            status: ended.status,
            lasted: Duration::from_nanos(nanos),
            octets: (ended.bytes_in, ended.bytes_out),
            times: ended.times(),
            route: ended.route,
            waits: ended.wait_times(now),
        });
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    if from == to {
        // Answered in the turn it came in.
        return 0;
    }
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
