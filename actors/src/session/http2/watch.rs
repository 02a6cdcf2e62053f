//! Deadlines of an HTTP/2 session and of its streams (docs/architecture.md, "Timeouts"). Preface, SETTINGS and
//! header block are the machine's own; what runs for a stream is said in [`crate::session::pace`].
//!
//! *Idle* runs only while no stream is open and control frames do not renew it. *Stall* of the session runs only
//! while its socket takes nothing of what waits; *keepalive* only while nothing waits: a socket that takes octets
//! is a sign of life, and one that takes none is the stall's business.
//!
//! Streams are looked at a little after something happened in their session, at the end of a turn, and then at the
//! exact moment the next of their deadlines ends: no work per frame, and none at all in a session where nothing
//! happens. What the peer must have said in time is judged after the socket was read: what lies there unread
//! is not late.

use std::task::Context;
use std::time::{Duration, Instant};

use stagedoor_metrics::{CloseReason, Outcome, TimeoutAction, TimeoutKind};
use stagedoor_protocol::{ErrorCode, StreamId};

use super::{EARLY_GRACE, Http2};
use crate::close::CloseSession;
use crate::config::{StreamTimeouts, Timeouts};
use crate::session::common::Common;
use crate::session::pace::{Lookout, Sight, Verdict, on};
use crate::session::timer::{Due, sooner};

/// Payload of our keepalive PING.
pub(super) const KEEPALIVE: [u8; 8] = *b"stagedor";
/// A session without streams gives spare heap back after this long.
const SHRINK_AFTER: Duration = Duration::from_millis(100);
/// What TLS may hold of octets that it took.
const TLS_BUFFER: u64 = 64 << 10;
/// Turns after which a peer is judged although it had more to say each time.
const PATIENCE: u8 = 64;

/// Octets of ours that the socket does not take.
pub(super) struct Backlog {
    /// Since when none of them moves.
    since: Instant,
    /// When the present term began; a term that ends after a move is an extension.
    term: Instant,
}

/// See the module.
pub(super) struct Watch {
    /// Since when no stream is open; `None` while one is.
    idle_since: Option<Instant>,
    /// The last sign of life: octets came, or a socket that was blocked took some.
    pub(super) last_input: Instant,
    /// When our unanswered PING was sent.
    pub(super) pinged: Option<Instant>,
    pub(super) backlog: Option<Backlog>,
    lookout: Lookout,
    /// Spare heap is to be given back.
    spare: bool,
    /// Since when the machine would not take input; we look again when octets have left.
    pub(super) starved: Option<Instant>,
    /// TLS holds octets the socket has not taken.
    pub(super) unflushed: bool,
    /// Octets the socket below TLS had taken when it was last blocked.
    below: u64,
    /// A deadline of the peer's has passed; how many turns were spent on hearing it out.
    judging: Option<u8>,
}

impl Watch {
    pub(super) fn new(timeouts: &Timeouts, now: Instant) -> Self {
        Self {
            idle_since: Some(now),
            last_input: now,
            pinged: None,
            backlog: None,
            lookout: Lookout::new(timeouts),
            spare: true,
            starved: None,
            unflushed: false,
            below: 0,
            judging: None,
        }
    }

    /// A stream is open.
    #[inline]
    pub(super) fn busy(&mut self) {
        self.idle_since = None;
    }

    /// The last stream is gone.
    #[inline]
    pub(super) fn idle(&mut self, now: Instant) {
        self.idle_since = Some(now);
        self.lookout.rest();
        self.spare = true;
    }

    /// When keepalive has something to do: a PING, or the end of its patience.
    fn keepalive_due(&self, timeouts: &Timeouts) -> Option<Instant> {
        if self.backlog.is_some() || (self.idle_since.is_some() && !timeouts.keepalive_without_streams) {
            return None;
        }
        let ping = on(timeouts.keepalive_ping)?;
        Some(match self.pinged {
            // Any octet of the peer is a sign of life.
            Some(asked) if self.last_input <= asked => asked + timeouts.keepalive_timeout,
            Some(_) | None => self.last_input + ping,
        })
    }
}

impl Http2 {
    /// The socket does not take what waits.
    #[cold]
    pub(super) fn blocked(&mut self, wrote: bool, now: Instant) {
        // What TLS takes is not sent.
        let moved = match self.io.below() {
            None => wrote,
            Some(below) => std::mem::replace(&mut self.watch.below, below) != below,
        };
        match &mut self.watch.backlog {
            Some(backlog) if moved => {
                backlog.since = now;
                self.watch.last_input = now;
            }
            Some(_) => {}
            none @ None => *none = Some(Backlog { since: now, term: now }),
        }
    }

    pub(crate) fn deadline(&self, common: &Common) -> Option<(Instant, Due)> {
        let timeouts = &common.host.config.timeouts;
        let watch = &self.watch;
        if let Some(until) = self.leaving {
            return Some((until, Due::Drain));
        }
        let mut next = self.peers_deadline().map(|at| (at, Due::Absolute));
        let mut also = |at, due| next = sooner(next, Some((at, due)));
        match watch.idle_since {
            Some(since) => {
                if watch.spare {
                    also(since + SHRINK_AFTER, Due::Shrink);
                }
                if !common.is_ending()
                    && let Some(idle) = on(self.link.board.idle.get())
                {
                    also(since + idle, Due::Idle);
                }
            }
            None => {
                if let Some(look) = watch.lookout.next() {
                    also(look, Due::Look);
                }
                if let Some(tick) = self.charging.tick.next().filter(|_| common.host.config.observed) {
                    also(tick, Due::Look);
                }
            }
        }
        if let Some(at) = watch.keepalive_due(timeouts) {
            also(at, Due::Keepalive);
        }
        if let Some(sent) = self.early.iter().filter_map(|early| early.sent).min() {
            also(sent + EARLY_GRACE, Due::Shrink);
        }
        if let (Some(backlog), Some(stall)) = (&watch.backlog, on(timeouts.stall)) {
            also(backlog.since + stall, Due::Look);
        }
        next
    }

    /// The machine's deadlines, which do not run while it is we who do not read.
    fn peers_deadline(&self) -> Option<Instant> {
        if self.watch.starved.is_some() { None } else { self.conn.next_deadline() }
    }

    pub(crate) fn on_timer(&mut self, common: &mut Common, now: Instant) -> Option<CloseSession> {
        let timeouts = &common.host.config.timeouts;
        if self.leaving.is_some() {
            return None;
        }
        if self.peers_deadline().is_some_and(|at| now >= at) {
            self.watch.judging.get_or_insert(0);
        }
        if let (Some(backlog), Some(stall)) = (&mut self.watch.backlog, on(timeouts.stall)) {
            if now >= backlog.since + stall {
                return Some(CloseSession::new(CloseReason::WriteStall));
            }
            if now >= backlog.term + stall {
                backlog.term = backlog.since;
                common.timed(TimeoutKind::WriteStall, TimeoutAction::Extended, None);
            }
        }
        self.keep_alive(timeouts, now);
        let since = self.watch.idle_since?;
        if self.watch.spare && now >= since + SHRINK_AFTER {
            self.shrink();
        }
        let idle = on(self.link.board.idle.get()).is_some_and(|idle| now >= since + idle);
        (idle && !common.is_ending()).then(|| CloseSession::new(CloseReason::IdleTimeout))
    }

    fn keep_alive(&mut self, timeouts: &Timeouts, now: Instant) {
        if self.watch.pinged.is_some_and(|asked| self.watch.last_input > asked) {
            self.watch.pinged = None;
        }
        if self.watch.keepalive_due(timeouts).is_none_or(|due| now < due) {
            return;
        }
        match self.watch.pinged {
            Some(_) => {
                self.watch.judging.get_or_insert(0);
            }
            None => {
                // Refused only while the last one waits, and then the answer to that one will do.
                self.conn.ping_keepalive(KEEPALIVE).ok();
                self.watch.pinged = Some(now);
            }
        }
    }

    /// The socket was read, `dry` if nothing was left in it: is the peer late?
    #[inline]
    pub(super) fn judge(&mut self, common: &Common, dry: bool, now: Instant) {
        if self.watch.judging.is_some() {
            self.judge_late(common, dry, now);
        }
    }

    #[cold]
    fn judge_late(&mut self, common: &Common, dry: bool, now: Instant) {
        let Some(turns) = self.watch.judging.take() else { return };
        if self.watch.starved.is_some() || self.eof || self.leaving.is_some() {
            return;
        }
        if !dry && turns < PATIENCE {
            self.watch.judging = Some(turns + 1);
            return;
        }
        if self.conn.next_deadline().is_some_and(|at| now >= at)
            && let Err(error) = self.conn.handle_deadline(now)
        {
            return self.fail(&error);
        }
        let answer = self.watch.pinged.is_some_and(|asked| self.watch.last_input <= asked);
        let due = self.watch.keepalive_due(&common.host.config.timeouts);
        if answer && due.is_some_and(|due| now >= due) {
            self.order.get_or_insert_with(|| CloseSession::new(CloseReason::KeepaliveTimeout));
        }
    }

    /// A stream asks for deadlines of its own.
    pub(super) fn deadlines(&mut self, id: StreamId, own: StreamTimeouts, now: Instant) {
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) else { return };
        entry.parts().pace.get_or_insert_default().ask(own);
        self.watch.lookout.heed(&own, now);
    }

    /// The end of a turn: looks at the streams if it is time, else sees to it that they are looked at soon.
    #[inline]
    pub(super) fn look_around(&mut self, common: &Common, cx: &mut Context<'_>, now: Instant) {
        if self.watch.idle_since.is_none() && self.watch.lookout.is_due(now) {
            self.look(common, cx, now);
        }
    }

    /// Looks at each stream and ends those whose time is over.
    #[cold]
    fn look(&mut self, common: &Common, cx: &mut Context<'_>, now: Instant) {
        let defaults = self.watch.lookout.limits;
        // Where in the output of this session we are: what the socket took, and what it will have taken.
        let taken = common.stats.bytes_out.get() + self.tally.sent;
        let all = taken + self.conn.output_len() as u64 + TLS_BUFFER;
        let mut next: Option<Instant> = None;
        let mut over: Vec<(StreamId, TimeoutKind)> = Vec::new();
        for (id, entry) in self.streams.iter_mut().filter(|(_, entry)| !entry.closed) {
            let Some(view) = self.conn.stream(*id) else { continue };
            let tunnel = entry.is_tunnel();
            let (opened, receiving) = (entry.opened, entry.receiving);
            let answered = entry.answered.is_some();
            let parts = entry.parts();
            let inbound = parts.inbound.as_ref().filter(|_| receiving && parts.declared && !tunnel);
            // The peer's windows are shut, and the socket has what it could open them for.
            let shut = !tunnel && view.queued > 0 && (view.send_window <= 0 || self.conn.send_window() <= 0);
            if parts.framed.is_none_or(|(sent, _)| sent != view.sent) {
                parts.framed = Some((view.sent, all));
            }
            if self.watch.backlog.is_none() {
                parts.framed = Some((view.sent, 0));
            }
            let sight = Sight {
                opened,
                received: view.received,
                sent: view.sent,
                answered,
                queued: view.queued > 0 && !tunnel,
                refused: (shut && parts.framed.is_some_and(|(_, until)| taken >= until)).then_some(now),
                awaited: inbound.and_then(|inbound| inbound.waits_since()),
            };
            match parts.pace.get_or_insert_default().look(&sight, defaults, now, |kind| {
                common.timed(kind, TimeoutAction::Extended, Some(*id));
            }) {
                Verdict::Fine(at) => next = [next, at].into_iter().flatten().min(),
                Verdict::Over(kind) => over.push((*id, kind)),
            }
        }
        self.watch.lookout.looked(next);
        for (id, kind) in over {
            common.timed(kind, TimeoutAction::Closed, Some(id));
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.outcome.get_or_insert(Outcome::Timeout);
            }
            tracing::debug!(parent: &common.span, stream = id.get(), timer = kind.label(), "stream timed out");
            self.reset(id, ErrorCode::CANCEL);
            // Its octets leave in the next turn.
            cx.waker().wake_by_ref();
        }
    }

    /// Gives spare heap back: an idle session should cost next to nothing.
    fn shrink(&mut self) {
        self.watch.spare = false;
        self.watch.lookout.rest();
        self.conn.shrink();
        self.link.shrink();
        self.desk.shrink();
        self.brood.shrink();
        self.streams.shrink_to_fit();
        self.early.shrink_to_fit();
        self.charging.shrink();
    }
}
