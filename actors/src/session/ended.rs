//! A stream that is over, as it is counted: what is known of it, once its last octet has left.
//!
//! Invariant: counted once; [`Common::stream_ended`] takes it by value.

use std::time::{Duration, Instant};

use stagedoor_metrics::{Exemplar, Method, Outcome, Protocol, RouteId, WaitOn};
use stagedoor_protocol::StreamId;

use super::common::Common;
use super::events::{SessionEvent, StreamTimes};
use super::http2::{Entry, Parts};
use super::spans;
use super::waits::{WaitTimes, Waits};
use crate::host::Host;
use crate::trace;

/// See the module. Moved for every stream, so it is kept small: what few streams have stays where it was.
pub(crate) struct Ended {
    pub(crate) opened: Instant,
    answered: Option<Instant>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    parts: Option<Box<Parts>>,
    pub(crate) route: RouteId,
    method: Method,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
}

impl Ended {
    /// The stream of `entry`, which ended by `outcome` unless it knows better. An entry whose actor is gone gives away
    /// its parts: whoever needs them is told before.
    #[inline]
    pub(crate) fn of(entry: &mut Entry, outcome: Outcome) -> Self {
        Self {
            opened: entry.opened,
            answered: entry.answered,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            parts: if entry.alive { copied(entry) } else { entry.parts.take() },
            route: entry.route,
            method: entry.method,
            status: entry.status,
            outcome: entry.outcome.unwrap_or(outcome),
        }
    }

    /// What it waits for from `now` on.
    pub(crate) fn charge(&mut self, on: WaitOn, now: Instant) {
        let parts = self.parts.get_or_insert_default();
        parts.waits.get_or_insert_with(|| Waits::new(self.opened)).charge(on, now);
    }

    /// Why it was answered by an error.
    pub(crate) fn cause(&self) -> Option<&'static str> {
        self.parts.as_ref()?.cause
    }

    fn waits(&self) -> Option<&Waits> {
        self.parts.as_ref()?.waits.as_ref()
    }

    /// What its time went to.
    pub(crate) fn wait_times(&self, now: Instant) -> WaitTimes {
        match self.waits() {
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
        let parts = self.parts.as_ref();
        let whole = self.answered.filter(|_| self.bytes_out > 0);
        StreamTimes {
            head: self.answered.map(after),
            first_in: parts.and_then(|parts| parts.first_in).map(after),
            // A whole body goes with its head.
            first_out: parts.and_then(|parts| parts.first_out).or(whole).map(after),
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
        let moment = host.moment(now);
        let mut routes = host.routes.borrow_mut();
        let cells = routes.get(self.route);
        let brought = self.parts.as_ref().and_then(|parts| parts.trace.as_deref());
        let who = || Exemplar {
            session: common.stats.id(),
            stream: id.get(),
            trace: match brought {
                Some(trace) => trace.trace_id,
                None => trace::begun(common.stats.id(), id.get()),
            },
        };
        if let Some(answered) = self.answered {
            cells.request(self.method, self.status);
            cells.response_began(nanos(self.opened, answered), moment, who);
        }
        cells.request_took(lived, moment, who);
        cells.request_body_bytes.observe_value(self.bytes_in);
        cells.response_body_bytes.observe_value(self.bytes_out);
        if let Some(parts) = &mut self.parts {
            cells.file_read_bytes.add(parts.file_read);
            if let Some(waits) = &mut parts.waits {
                waits.publish(cells, &common.stats, now);
                waits.strike(&common.stats);
            }
        }
        lived
    }
}

/// What is counted of the parts of a stream whose actor still needs them.
fn copied(entry: &mut Entry) -> Option<Box<Parts>> {
    let parts = entry.parts.as_mut()?;
    Some(Box::new(Parts {
        first_in: parts.first_in,
        first_out: parts.first_out,
        file_read: std::mem::take(&mut parts.file_read),
        waits: parts.waits.take(),
        trace: parts.trace.clone(),
        cause: parts.cause,
        span: parts.span.take(),
        ..Parts::default()
    }))
}

impl Common {
    /// Counts a stream that is over and whose octets have left, or never will.
    #[inline]
    pub(crate) fn stream_ended(&mut self, id: StreamId, mut ended: Ended, now: Instant) {
        let nanos = ended.observe(&self.host, self, self.protocol, id, now);
        self.stream_lasted(nanos);
        if let Some(span) = ended.parts.as_ref().and_then(|parts| parts.span.as_deref()) {
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
            cause: ended.cause(),
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
