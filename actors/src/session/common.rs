//! What a session is apart from what it speaks: identity, numbers, the state of its ending.
//!
//! Invariant: [`Common::finish`] observes the metrics, strikes the registry entry and tells the listener
//! exactly once, whoever calls it how often.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor_metrics::{
    CloseReason, ConnectionResult, Direction, Peer, Protocol, Role, SessionId, SessionState, SessionStats,
};
use stagedoor_protocol::ErrorCode;
use tracing::Span;

use super::SessionInfo;
use super::timer::{Due, sooner};
use crate::close::CloseSession;
use crate::host::Host;
use crate::link::Link;
use crate::listener::SessionEnded;
use crate::view::SessionView;

/// The ending of a session.
#[derive(Debug)]
struct Ending {
    reason: CloseReason,
    code: ErrorCode,
    hard: bool,
    /// When streams are cut off.
    deadline: Instant,
}

/// What an order changed.
pub(crate) struct News {
    /// It is the first order.
    pub(crate) first: bool,
    /// Streams are cut off by it and were not before.
    pub(crate) cut_off: bool,
}

/// See the module.
pub(crate) struct Common {
    pub(crate) host: Rc<Host>,
    pub(crate) stats: Arc<SessionStats>,
    pub(crate) span: Span,
    pub(crate) protocol: Protocol,
    peer: Option<SocketAddr>,
    opened: Instant,
    /// When it is old enough to be drained.
    retires: Option<Instant>,
    ending: Option<Ending>,
    queued: i64,
    accounted: bool,
    finished: bool,
}

impl Common {
    pub(crate) fn new(host: Rc<Host>, id: SessionId, peer: Option<SocketAddr>, now: Instant) -> Self {
        let protocol = match (&host.tls, host.config.http2) {
            (_, false) => Protocol::Http1,
            (Some(_), true) => Protocol::H2,
            (None, true) => Protocol::H2c,
        };
        let other_end = peer.map_or_else(|| Peer::Named("-".into()), Peer::Inet);
        let name = Arc::clone(&host.name);
        let stats = Arc::new(SessionStats::new(id, Role::Server, protocol, name, other_end, now));
        host.live().insert(Arc::clone(&stats));
        let span = tracing::info_span!("session", %id, listener = &*host.name, peer = %stats.peer());
        let retires = host.config.limits.session_max_age.as_ref().map(|age| {
            let share = (age.jitter.clamp(0.0, 1.0)) * spread(id);
            now + age.after.mul_f64(1.0 + share)
        });
        Self {
            host,
            stats,
            span,
            protocol,
            peer,
            opened: now,
            retires,
            ending: None,
            queued: 0,
            accounted: false,
            finished: false,
        }
    }

    /// It is known what the session speaks; what its streams need of it.
    pub(crate) fn opened_as(
        &mut self,
        protocol: Protocol,
        server_name: Option<String>,
        now: Instant,
    ) -> Rc<Link> {
        self.protocol = protocol;
        self.stats.set_protocol(protocol);
        self.stats.set_state(SessionState::Open);
        self.account(ConnectionResult::Accepted);
        let info = SessionInfo {
            id: self.stats.id().to_string(),
            listener: self.host.name.to_string(),
            protocol: protocol.label(),
            peer: self.peer,
            server_name,
        };
        tracing::debug!(parent: &self.span, protocol = protocol.label(), "session opened");
        Rc::new(Link::new(Rc::clone(&self.host.service), Rc::new(info), self.span.clone(), now))
    }

    /// Counts the connection and the session once, when it is known what became of it.
    pub(crate) fn account(&mut self, result: ConnectionResult) {
        if !self.accounted {
            self.accounted = true;
            self.host.cells.connections[result].inc();
            self.host.cells.session_opened(self.protocol);
        }
    }

    /// Takes note of an order to close.
    pub(crate) fn note_close(&mut self, order: &CloseSession, now: Instant) -> News {
        let grace = order.grace.unwrap_or(self.host.config.timeouts.drain);
        match &mut self.ending {
            None => {
                self.ending = Some(Ending {
                    reason: order.reason,
                    code: order.code,
                    hard: order.hard,
                    deadline: now + grace,
                });
                News { first: true, cut_off: order.hard }
            }
            Some(ending) => {
                ending.deadline = ending.deadline.min(now + grace);
                let cut_off = order.hard && !ending.hard;
                ending.hard |= order.hard;
                News { first: false, cut_off }
            }
        }
    }

    /// An order to close was heard.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The reason that will be reported, once there is one.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.ending.as_ref().map(|ending| ending.reason)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The time for streams to finish has passed.
    pub(crate) fn drain_is_over(&self, now: Instant) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.hard && now >= ending.deadline)
    }

    /// The order that follows then.
    pub(crate) fn cut_off_order(&self) -> CloseSession {
        let (reason, code) = match &self.ending {
            Some(ending) => (ending.reason, ending.code),
            None => (CloseReason::Other, ErrorCode::INTERNAL_ERROR),
        };
        CloseSession::new(reason).with_code(code).with_detail("drain is over").now()
    }

    pub(crate) fn is_too_old(&self, now: Instant) -> bool {
        self.ending.is_none() && self.retires.is_some_and(|retires| now >= retires)
    }

    pub(crate) fn max_age_grace(&self) -> Duration {
        let age = &self.host.config.limits.session_max_age;
        age.as_ref().map_or(self.host.config.timeouts.drain, |age| age.grace)
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, Due)> {
        match &self.ending {
            None => self.retires.map(|at| (at, Due::MaxAge)),
            Some(ending) if !ending.hard => sooner(None, Some((ending.deadline, Due::Drain))),
            Some(_) => None,
        }
    }

    /// Octets moved between us and the peer.
    pub(crate) fn moved(&self, received: u64, sent: u64, now: Instant) {
        if received | sent == 0 {
            return;
        }
        self.stats.bytes_in.add(received);
        self.stats.bytes_out.add(sent);
        self.host.cells.network_bytes[Direction::Rx].add(received);
        self.host.cells.network_bytes[Direction::Tx].add(sent);
        self.stats.touch(now);
    }

    /// Octets wait for the peer.
    pub(crate) fn queued(&mut self, octets: usize) {
        let octets = i64::try_from(octets).unwrap_or(i64::MAX);
        if octets != self.queued {
            self.host.cells.write_queue_bytes.add(octets - self.queued);
            self.stats.write_queue_bytes.set(octets);
            self.queued = octets;
        }
    }

    /// The end of every session, whichever way it came.
    pub(crate) fn finish(&mut self, now: Instant) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let reason = self.reason().unwrap_or(CloseReason::Other);
        self.account(match reason {
            CloseReason::TlsError => ConnectionResult::TlsError,
            CloseReason::HandshakeTimeout => ConnectionResult::Timeout,
            _ => ConnectionResult::Accepted,
        });
        self.queued(0);
        let age = now.saturating_duration_since(self.opened);
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        self.host.cells.session_closed(self.protocol, reason, nanos, self.stats.streams_total.get());
        let id = self.stats.id();
        self.host.live().remove(id);
        self.host.arena.sessions.borrow_mut().remove(&id.number);
        if let Some(ledger) = &self.host.ledger {
            ledger.release(self.peer.map(|peer| peer.ip()), id.worker);
        }
        if let Some(listener) = &*self.host.on_end.borrow() {
            // One message a session, and sessions are bounded.
            #[allow(clippy::disallowed_methods)]
            listener.do_send(SessionEnded { id, peer: self.peer, reason });
        }
        let streams = self.stats.streams_total.get();
        tracing::debug!(parent: &self.span, %reason, age_ms = age.as_millis() as u64, streams,
            bytes_in = self.stats.bytes_in.get(), bytes_out = self.stats.bytes_out.get(), "session closed");
    }

    pub(crate) fn view(&self, now: Instant) -> SessionView {
        SessionView::of_stats(&self.stats, now)
    }
}

/// A number from -1 to 1 that differs from session to session (splitmix64 of its id).
fn spread(id: SessionId) -> f64 {
    let mut x = (id.number ^ (u64::from(id.worker) << 48)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_the_whole_jitter() {
        let all: Vec<f64> = (0..1000).map(|number| spread(SessionId { worker: 1, number })).collect();
        assert!(all.iter().all(|share| (-1.0..=1.0).contains(share)));
        assert!(all.iter().any(|share| *share < -0.9) && all.iter().any(|share| *share > 0.9));
    }
}
