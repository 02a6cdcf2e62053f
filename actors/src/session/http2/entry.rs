//! A stream as its session keeps it: what is counted when it ends, and how its actor is reached while it
//! lives. The state of the stream on the wire is the protocol machine's, not kept here.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Instant;

use stagedoor_metrics::{Method, Outcome, RouteId, SessionId, StreamStats, WaitOn};
use stagedoor_protocol::{ErrorCode, RequestHead, StreamId};
use tracing::Span;

use crate::body::Inbound;
use crate::brood::Place;
use crate::client::call::Call;
use crate::link::{Flow, Link, Note};
use crate::session::common::Common;
use crate::session::handle::SessionHandle;
use crate::session::pace::Pace;
use crate::session::spans;
use crate::session::waits::Waits;
use crate::stream::Closed;
use crate::trace::{self, TraceContext};

/// Octets of a path that are kept for people who look.
pub(crate) const KEPT_PATH: usize = 256;

/// Streams of a session by id.
pub(crate) type Streams = HashMap<StreamId, Entry, BuildHasherDefault<IdHasher>>;

/// One stream.
pub(crate) struct Entry {
    pub(crate) opened: Instant,
    /// When its head was sent.
    pub(crate) answered: Option<Instant>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) route: RouteId,
    pub(crate) method: Method,
    /// Status of the final head, once sent.
    pub(crate) status: u16,
    /// What it ended with, where that is not read off the wire.
    pub(crate) outcome: Option<Outcome>,
    /// END_STREAM is given to the machine.
    pub(crate) ended: bool,
    /// The peer has not ended its side.
    pub(crate) receiving: bool,
    /// Its handler let go of the request's body, or never had one: octets are dropped.
    pub(crate) discards: bool,
    /// The machine said it is closed, and that was counted; only the actor still lives.
    pub(crate) closed: bool,
    /// Its actor lives.
    pub(crate) alive: bool,
    /// What only streams need that do not end in their first poll.
    pub(crate) parts: Option<Box<Parts>>,
}

/// See [`Entry::parts`].
#[derive(Default)]
pub(crate) struct Parts {
    /// Where its actor runs, while it does.
    pub(crate) place: Option<Place>,
    pub(crate) inbound: Option<Rc<Inbound>>,
    pub(crate) flow: Option<Rc<Flow>>,
    /// A stream of ours: what its handles see of it.
    pub(crate) call: Option<Rc<Call>>,
    /// Declared length of the request's body.
    pub(crate) declared: bool,
    /// How it gets on, once it was looked at: most streams never are.
    pub(crate) pace: Option<Box<Pace>>,
    /// When the first octets of a body came.
    pub(crate) first_in: Option<Instant>,
    /// When the first octets of a body that takes time were given to the machine.
    pub(crate) first_out: Option<Instant>,
    /// What its time went to, once it has outlived its first turn.
    pub(crate) waits: Option<Waits>,
    /// Its handler says that it waits for another server.
    pub(crate) upstream: bool,
    /// Why it is answered by an error, as its handler says.
    pub(crate) cause: Option<&'static str>,
    /// Octets read from files for its response and not counted yet.
    pub(crate) file_read: u64,
    /// The path it asked for, as [`Entry::keep_path`] cuts it; octets, which become text where somebody looks.
    pub(crate) path: Box<[u8]>,
    /// Octets of it that were framed, and where in the session's output the last of them ended.
    pub(crate) framed: Option<(u64, u64)>,
    /// Its span, where somebody wants it.
    pub(crate) span: Option<Box<Span>>,
    /// The trace its request brought.
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl Entry {
    pub(crate) fn new(opened: Instant, method: Method) -> Self {
        Self {
            opened,
            answered: None,
            bytes_in: 0,
            bytes_out: 0,
            route: RouteId::UNMATCHED,
            method,
            status: 0,
            outcome: None,
            ended: false,
            receiving: false,
            discards: true,
            closed: false,
            alive: false,
            parts: None,
        }
    }

    pub(crate) fn inbound(&self) -> Option<&Rc<Inbound>> {
        self.parts.as_ref()?.inbound.as_ref()
    }

    pub(crate) fn flow(&self) -> Option<&Rc<Flow>> {
        self.parts.as_ref()?.flow.as_ref()
    }

    pub(crate) fn call(&self) -> Option<&Rc<Call>> {
        self.parts.as_ref()?.call.as_ref()
    }

    /// Keeps what its handler says of itself.
    pub(crate) fn take(&mut self, note: Note) {
        match note {
            Note::Routed(route) => self.route = route,
            Note::Upstream(waits) => self.parts().upstream = waits,
            Note::FileRead(octets) => self.parts().file_read += octets,
            Note::Cause(cause) => self.parts().cause = Some(cause),
            // It is asked at the end of the turn.
            Note::Awaits => {}
        }
    }

    pub(crate) fn span(&self) -> Option<&Span> {
        self.parts.as_ref()?.span.as_deref()
    }

    /// Takes note of what is asked about its request while it lives, and of the trace it brought.
    #[inline]
    pub(crate) fn note(&mut self, link: &Rc<Link>, id: StreamId, head: &RequestHead) {
        if let Some(span) = spans::of_request(link, id, head) {
            self.parts().span = Some(span);
        }
        if trace::is_brought(head) {
            let trace = trace::of_stream(head, &SessionHandle::new(Rc::clone(link)), id);
            self.parts().trace = trace.parent.is_some().then(|| Box::new(trace));
        }
    }

    /// Keeps the path it asked for, `target` without its query where that is not to be shown.
    pub(crate) fn keep_path(&mut self, target: &[u8], show_query: bool) {
        let path = match target.iter().position(|octet| *octet == b'?') {
            Some(query) if !show_query => &target[..query],
            _ => target,
        };
        let path = path.get(..KEPT_PATH).unwrap_or(path);
        self.parts().path = path.into();
    }

    /// The trace it belongs to, for people who look.
    pub(crate) fn trace_id(&self, session: SessionId, id: StreamId) -> u128 {
        let brought = self.parts.as_ref().and_then(|parts| parts.trace.as_deref());
        brought.map_or_else(|| trace::begun(session, id.get()), |trace| trace.trace_id)
    }

    pub(crate) fn parts(&mut self) -> &mut Parts {
        self.parts.get_or_insert_default()
    }

    /// Octets both ways mean what its ends agreed on: silence is no stall (RFC 9113 §8.5, RFC 8441).
    pub(crate) fn is_tunnel(&self) -> bool {
        self.status == 101 || (self.method == Method::Connect && self.status < 300)
    }

    /// A whole response is given to the machine.
    #[inline]
    pub(crate) fn answer(&mut self, route: RouteId, status: u16, octets: usize, now: Instant) {
        self.route = route;
        self.status = status;
        self.answered = Some(now);
        self.bytes_out += octets as u64;
        self.ended = true;
    }

    /// What it waits for from `now` on.
    #[inline]
    pub(crate) fn charge(&mut self, on: WaitOn, now: Instant) {
        let opened = self.opened;
        self.parts().waits.get_or_insert_with(|| Waits::new(opened)).charge(on, now);
    }

    /// What the peer or the handler is waited for while nothing of ours is queued.
    #[inline]
    pub(crate) fn awaited(&self) -> WaitOn {
        let Some(parts) = &self.parts else { return WaitOn::Handler };
        if parts.call.is_some() {
            // A stream of ours: its body is made, or its response comes.
            return if self.ended || !self.alive { WaitOn::Upstream } else { WaitOn::Handler };
        }
        let reads = parts.inbound.as_ref().is_some_and(|inbound| inbound.waits_since().is_some());
        if self.receiving && (reads || self.ended) {
            WaitOn::RequestBody
        } else if parts.upstream {
            WaitOn::Upstream
        } else {
            WaitOn::Handler
        }
    }

    /// Lets those who look see how it stands: its route's and session's figures, and its own once it is of some age.
    pub(crate) fn publish(&mut self, id: StreamId, common: &Common, now: Instant) -> Option<&StreamStats> {
        let (opened, method, route) = (self.opened, self.method, self.route);
        let (bytes_in, bytes_out) = (self.bytes_in, self.bytes_out);
        let parts = self.parts.as_mut()?;
        let read = std::mem::take(&mut parts.file_read);
        let waits = parts.waits.as_mut()?;
        let mut routes = common.host.routes.borrow_mut();
        let cells = routes.get(route);
        cells.file_read_bytes.add(read);
        waits.publish(cells, &common.stats, now);
        let listed = waits.listed(&common.stats, id, method, opened, now)?;
        listed.set_route(route);
        listed.bytes_in.add(bytes_in.saturating_sub(listed.bytes_in.get()));
        listed.bytes_out.add(bytes_out.saturating_sub(listed.bytes_out.get()));
        Some(listed)
    }

    /// Its end, for those who watch it.
    pub(crate) fn closed_as(&self, outcome: Outcome, code: ErrorCode) -> Closed {
        let outcome = self.outcome.unwrap_or(outcome);
        Closed { outcome, code, complete: outcome == Outcome::Complete }
    }
}

/// Stream ids are numbers the peer may only count upwards with, at most a few hundred at once: spreading the
/// bits is enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
