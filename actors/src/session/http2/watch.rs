//! Deadlines of an HTTP/2 session: idle, stall, keepalive (docs/architecture.md, "Timeouts"). Preface,
//! SETTINGS and header block are the machine's own.
//!
//! *Idle* runs only while no stream is open and control frames do not renew it. *Stall* runs only while
//! octets of ours wait for the peer, or while a request body of declared length is unfinished, being read,
//! and silent; it never runs because a handler takes its time.

use std::time::{Duration, Instant};

use stagedoor_metrics::{CloseReason, Method, Outcome, TimeoutAction, TimeoutKind};
use stagedoor_protocol::{ErrorCode, StreamId};

use super::{EARLY_GRACE, Http2};
use crate::close::CloseSession;
use crate::session::common::Common;
use crate::session::timer::{Due, sooner};

/// Payload of our keepalive PING.
pub(super) const KEEPALIVE: [u8; 8] = *b"stagedor";
/// A session without streams gives spare heap back after this long.
const SHRINK_AFTER: Duration = Duration::from_millis(100);
/// How often the progress of streams is looked at, as a part of `stall`.
const SWEEPS: u32 = 4;

/// See the module.
pub(super) struct Watch {
    /// Since when no stream is open; `None` while one is.
    idle_since: Option<Instant>,
    pub(super) last_input: Instant,
    /// When our unanswered PING was sent.
    pub(super) pinged: Option<Instant>,
    /// Since when the socket takes nothing of what waits.
    pub(super) blocked: Option<Instant>,
    /// When streams are looked at next.
    sweep: Option<Instant>,
    /// Spare heap is to be given back.
    spare: bool,
    /// The machine would not take input; look again when octets have left.
    pub(super) starved: bool,
    /// TLS holds octets the socket has not taken.
    pub(super) unflushed: bool,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            idle_since: Some(now),
            last_input: now,
            pinged: None,
            blocked: None,
            sweep: None,
            spare: true,
            starved: false,
            unflushed: false,
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
        self.sweep = None;
        self.spare = true;
    }
}

impl Http2 {
    pub(crate) fn deadline(&self, common: &Common) -> Option<(Instant, Due)> {
        let timeouts = &common.host.config.timeouts;
        let watch = &self.watch;
        if let Some(until) = self.leaving {
            return Some((until, Due::Drain));
        }
        let mut next = self.conn.next_deadline().map(|at| (at, Due::Absolute));
        let mut also = |at, due| next = sooner(next, Some((at, due)));
        match watch.idle_since {
            Some(since) => {
                if watch.spare {
                    also(since + SHRINK_AFTER, Due::Shrink);
                }
                if !common.is_ending() {
                    also(since + timeouts.idle, Due::Idle);
                }
            }
            None => {
                also(watch.sweep.unwrap_or(watch.last_input + timeouts.stall / SWEEPS), Due::Shrink);
                also(
                    match watch.pinged {
                        Some(asked) => asked + timeouts.keepalive_timeout,
                        None => watch.last_input + timeouts.keepalive_ping,
                    },
                    Due::Keepalive,
                );
            }
        }
        if let Some(sent) = self.early.iter().filter_map(|early| early.sent).min() {
            also(sent + EARLY_GRACE, Due::Shrink);
        }
        if let Some(since) = watch.blocked {
            also(since + timeouts.stall, Due::Stall);
        }
        next
    }

    pub(crate) fn on_timer(&mut self, common: &mut Common, now: Instant) -> Option<CloseSession> {
        let timeouts = common.host.config.timeouts.clone();
        if self.leaving.is_some() {
            return None;
        }
        if self.conn.next_deadline().is_some_and(|at| now >= at)
            && let Err(error) = self.conn.handle_deadline(now)
        {
            self.fail(&error);
            return None;
        }
        if self.watch.blocked.is_some_and(|since| now >= since + timeouts.stall) {
            return Some(CloseSession::new(CloseReason::WriteStall));
        }
        match self.watch.idle_since {
            Some(since) => {
                if self.watch.spare && now >= since + SHRINK_AFTER {
                    self.shrink();
                }
                (!common.is_ending() && now >= since + timeouts.idle)
                    .then(|| CloseSession::new(CloseReason::IdleTimeout))
            }
            None => {
                self.sweep(common, timeouts.stall, now);
                self.keep_alive(timeouts.keepalive_ping, timeouts.keepalive_timeout, now)
            }
        }
    }

    fn keep_alive(&mut self, ping: Duration, timeout: Duration, now: Instant) -> Option<CloseSession> {
        match self.watch.pinged {
            // Any octet of the peer is a sign of life.
            Some(asked) if self.watch.last_input > asked => self.watch.pinged = None,
            Some(asked) if now >= asked + timeout => {
                return Some(CloseSession::new(CloseReason::KeepaliveTimeout));
            }
            Some(_) => {}
            None if now >= self.watch.last_input + ping => {
                // Refused only while the last one waits, and then the answer to that one will do.
                self.conn.ping_keepalive(KEEPALIVE).ok();
                self.watch.pinged = Some(now);
            }
            None => {}
        }
        None
    }

    /// Ends the streams whose octets have not moved for `stall`.
    fn sweep(&mut self, common: &Common, stall: Duration, now: Instant) {
        if self.watch.sweep.is_some_and(|at| now < at) {
            return;
        }
        self.watch.sweep = Some(now + (stall / SWEEPS).max(Duration::from_millis(1)));
        let mut stalled: Vec<StreamId> = Vec::new();
        for view in self.conn.streams() {
            let Some(entry) = self.streams.get_mut(&view.id).filter(|entry| !entry.closed) else { continue };
            let reading = entry.receiving
                && entry.parts.as_ref().is_some_and(|parts| {
                    parts.declared && parts.inbound.as_ref().is_some_and(|inbound| inbound.is_waiting())
                });
            let moved = (view.received, view.sent);
            let tunnel = entry.method == Method::Connect;
            let parts = entry.parts();
            if tunnel || (view.queued == 0 && !reading) {
                parts.mark = None;
                continue;
            }
            match parts.mark {
                Some((before, since)) if before == moved => {
                    if now >= since + stall {
                        stalled.push(view.id);
                    }
                }
                Some(_) | None => parts.mark = Some((moved, now)),
            }
        }
        for id in stalled {
            common.timed(TimeoutKind::WriteStall, TimeoutAction::Closed, Some(id));
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.outcome.get_or_insert(Outcome::Timeout);
            }
            tracing::debug!(parent: &common.span, stream = id.get(), "stream stalled");
            self.reset(id, ErrorCode::CANCEL);
        }
    }

    /// Gives spare heap back: an idle session should cost next to nothing.
    fn shrink(&mut self) {
        self.watch.spare = false;
        self.watch.sweep = None;
        self.conn.shrink();
        self.link.shrink();
        self.desk.shrink();
        self.brood.shrink();
        self.streams.shrink_to_fit();
        self.early.shrink_to_fit();
    }
}
