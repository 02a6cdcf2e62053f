//! What a session is apart from what it speaks: identity, numbers, the state of its ending.
//!
//! Invariant: [`Common::finish`] observes the metrics, strikes the registry entry and tells the listener
//! exactly once, whoever calls it how often.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_metrics::{
    CloseReason, ConnectionResult, Direction, Peer, Protocol, Role, SessionId, SessionState, SessionStats,
    TimeoutAction, TimeoutKind,
};
use stagedoor_protocol::{ErrorCode, Recorder, StreamId};
use tokio::sync::oneshot;
use tracing::Span;

use super::board::{Board, Phase};
use super::events::{SessionEvent, SessionStatistics};
use super::handle::{SessionError, SessionHandle, SessionInfo, TlsFacts};
use super::timer::{Due, sooner};
use super::turning::{Turning, recorded};
use crate::close::CloseSession;
use crate::events::{Event, PanicPlace};
use crate::host::Host;
use crate::link::Link;
use crate::listener::{Full, SessionEnded};
use crate::postmortem::is_abnormal;
use crate::tap::{TapSink, Taps};
use crate::view::{PostMortem, Recorded, SessionView};

/// The ending of a session.
#[derive(Debug)]
struct Ending {
    reason: CloseReason,
    code: ErrorCode,
    hard: bool,
    /// For people.
    detail: Cow<'static, str>,
    /// Opaque data of GOAWAY.
    opaque: Bytes,
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

/// What is only known where it happens, kept for the end.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) streams_peak: u32,
    pub(crate) ping_rtt: Option<Duration>,
    streams_ended: u64,
    streams_nanos: u64,
}

/// How the socket came to be.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) unix: bool,
    pub(crate) server_name: Option<String>,
    pub(crate) tls: Option<TlsFacts>,
}

/// The other end of a connection, as it came in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) peer: Option<SocketAddr>,
    /// The listener counted its address.
    pub(crate) booked: bool,
    pub(crate) unix: bool,
}

/// See the module.
pub(crate) struct Common {
    pub(crate) host: Rc<Host>,
    pub(crate) stats: Arc<SessionStats>,
    pub(crate) span: Span,
    pub(crate) protocol: Protocol,
    peer: Option<SocketAddr>,
    /// The address of the peer is in the books of the listener.
    booked: bool,
    opened: Instant,
    /// When it is old enough to be drained.
    retires: Option<Instant>,
    ending: Option<Box<Ending>>,
    pub(crate) life: Life,
    /// Who watches its frames.
    pub(crate) taps: Option<Box<Taps>>,
    /// The last that happened, while the engine does not keep it itself.
    recorder: Option<Box<Recorder>>,
    /// Once it is known what the session speaks.
    link: Option<Rc<Link>>,
    /// Who waits to know what the session speaks.
    opened_to: Option<oneshot::Sender<Result<SessionHandle, SessionError>>>,
    /// The error was told.
    failed: bool,
    queued: i64,
    held: i64,
    accounted: bool,
    finished: bool,
}

impl Common {
    pub(crate) fn new(host: Rc<Host>, id: SessionId, ends: Ends, now: Instant) -> Self {
        let Ends { peer, booked, unix } = ends;
        let protocol = match (&host.tls, host.config.http2) {
            (_, false) => Protocol::Http1,
            (Some(_), true) => Protocol::H2,
            (None, true) => Protocol::H2c,
        };
        let unnamed = if unix { "unix" } else { "-" };
        let other_end = peer.map_or_else(|| Peer::Named(unnamed.into()), Peer::Inet);
        let name = Arc::clone(&host.name);
        let stats = Arc::new(SessionStats::new(id, Role::Server, protocol, name, other_end, now));
        host.live().insert(Arc::clone(&stats));
        let span = span(&host, &stats);
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
            booked,
            opened: now,
            retires,
            ending: None,
            life: Life::default(),
            taps: None,
            recorder: None,
            link: None,
            opened_to: None,
            failed: false,
            queued: 0,
            held: 0,
            accounted: false,
            finished: false,
        }
    }

    /// A session of ours, to `authority`.
    pub(crate) fn of_client(
        host: Rc<Host>,
        id: SessionId,
        authority: &str,
        protocol: Protocol,
        now: Instant,
    ) -> Self {
        let mut common = Self::new(host, id, Ends::default(), now);
        common.host.live().remove(id);
        let (name, peer) = (Arc::clone(&common.host.name), Peer::Named(authority.into()));
        common.stats = Arc::new(SessionStats::new(id, Role::Client, protocol, name, peer, now));
        common.host.live().insert(Arc::clone(&common.stats));
        common.span = tracing::info_span!("session", %id, listener = &*common.host.name, peer = %authority);
        common.protocol = protocol;
        common
    }

    /// The other end, once it is known.
    pub(crate) fn set_peer(&mut self, peer: Option<SocketAddr>) {
        self.peer = peer;
        if let Some(peer) = peer {
            self.stats.set_client(Peer::Inet(peer));
        }
    }

    /// The address of the other end, as its socket or a proxy tells it.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip())
    }

    /// The other end speaks for `client`, which is the peer from now on, also for the limit of its address.
    /// # Errors
    /// That limit.
    pub(super) fn speaks_for(&mut self, client: SocketAddr) -> Result<(), Full> {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        if let Some(ledger) = &self.host.ledger {
            ledger.unbook(self.booked.then_some(self.peer).flatten().map(|peer| peer.ip()));
            self.booked = false;
        }
        self.peer = Some(client);
        self.stats.set_client(Peer::Inet(client));
        self.span = span(&self.host, &self.stats);
        if let Some(ledger) = &self.host.ledger {
            self.booked = ledger.book(client.ip())?;
        }
        Ok(())
    }

    /// It is known what the session speaks; what its streams need of it.
    pub(crate) fn opened_as(&mut self, protocol: Protocol, facts: Facts, now: Instant) -> Rc<Link> {
        self.host.openings.leave(self.stats.id().number);
        self.protocol = protocol;
        self.stats.set_protocol(protocol);
        self.stats.set_state(SessionState::Open);
        self.account(ConnectionResult::Accepted);
        if protocol == Protocol::Http1 {
            // The machine of HTTP/2 has one of its own.
            self.record(Turning::Open(protocol), now);
        }
        tracing::debug!(parent: &self.span, protocol = protocol.label(), "session opened");
        let link = self.link(facts, now);
        self.link = Some(Rc::clone(&link));
        if self.host.is_public() && protocol != Protocol::Http1 {
            self.host.arena.watchers().into_iter().for_each(|sink| self.watch(sink));
        }
        link.tell(|| SessionEvent::Opened);
        if let Some(waiting) = self.opened_to.take() {
            waiting.send(Ok(SessionHandle::new(Rc::clone(&link)))).ok();
        }
        link
    }

    /// Somebody watches its frames from now on.
    pub(crate) fn watch(&mut self, sink: TapSink) {
        self.taps.get_or_insert_default().add(sink);
    }

    /// Keeps a turning point, where no machine of HTTP/2 does.
    pub(super) fn record(&mut self, turning: Turning, now: Instant) {
        let (opened, on) = (self.opened, self.host.config.observed);
        let recorder = self.recorder.get_or_insert_with(|| Box::new(Recorder::new(opened, on)));
        recorder.tick(now);
        turning.write(recorder);
    }

    /// What the machine of HTTP/2 kept, which is over.
    pub(super) fn keep_record(&mut self, recorder: &Recorder) {
        self.recorder = Some(Box::new(recorder.clone()));
    }

    /// What was kept, in words.
    pub(super) fn recorded(&self) -> Vec<Recorded> {
        self.recorder.as_deref().map(recorded).unwrap_or_default()
    }

    /// What happened before the machine of HTTP/2 began.
    pub(super) fn recorded_before(&self, now: Instant) -> Recorder {
        let mut recorder = Recorder::new(self.opened, self.host.config.observed);
        recorder.tick(now);
        Turning::Open(self.protocol).write(&mut recorder);
        recorder
    }

    /// Who waits to know what the session speaks.
    pub(crate) fn await_opening(
        &mut self,
        waiting: Option<oneshot::Sender<Result<SessionHandle, SessionError>>>,
    ) {
        self.opened_to = waiting;
    }

    fn link(&self, facts: Facts, now: Instant) -> Rc<Link> {
        let info = SessionInfo {
            id: self.stats.id().to_string(),
            worker: self.stats.id().worker,
            number: self.stats.id().number,
            listener: match self.stats.role() {
                Role::Server => self.host.name.to_string(),
                Role::Client => self.stats.peer().to_string(),
            },
            role: self.stats.role(),
            protocol: self.protocol.label(),
            peer: self.peer,
            local: facts.local,
            unix: facts.unix,
            server_name: facts.server_name,
            tls: facts.tls,
        };
        let config = &self.host.config;
        let observer = self.host.observer.borrow().clone();
        let outlet = Rc::clone(&self.host.outlet);
        let board = Board::new(observer, outlet, config.outstanding(), config.timeouts.idle);
        if let Some(ending) = &self.ending {
            board.ends_for(ending.reason);
            board.advance(Phase::Draining);
        }
        let link = Link::new(Rc::clone(&self.host.service), Arc::new(info), board, self.span.clone(), now);
        link.strict.set(self.host.protocol.strict_single_value_fields);
        Rc::new(link)
    }

    /// Tells those who listen.
    #[inline]
    pub(super) fn tell(&self, event: impl FnOnce() -> SessionEvent) {
        if let Some(link) = &self.link {
            link.tell(event);
        }
    }

    /// Handles see that the session goes on to this.
    pub(crate) fn advance(&self, phase: Phase) {
        if let Some(link) = &self.link {
            link.board.advance(phase);
        }
    }

    /// A timer was due.
    pub(crate) fn timed(&self, kind: TimeoutKind, action: TimeoutAction, stream: Option<StreamId>) {
        self.host.cells.timeouts[kind][action].inc();
        match &self.link {
            Some(link) => link.tell(|| SessionEvent::Timeout { kind, action, stream }),
            // Nobody knows yet what it speaks.
            None => self.host.outlet.tell(|listener| {
                let session = self.stats.id();
                Event::Timeout { session, listener, stream, kind, action }
            }),
        }
    }

    /// A panic on this session was caught.
    pub(crate) fn caught(&self, stream: Option<StreamId>, place: PanicPlace, words: &str) {
        self.host.arena.caught(Some(self.stats.id()), stream, place, words);
    }

    /// Handles and listeners learn of an order to close.
    pub(crate) fn tell_close(&mut self, order: &CloseSession, cut_off: bool) {
        if self.link.is_none() && self.host.observer.borrow().is_some() {
            // Whoever watches the host hears of connections that became nothing, too.
            self.link = Some(self.link(Facts::default(), crate::clock::now()));
        }
        let Some(link) = &self.link else { return };
        link.board.ends_for(order.reason);
        link.board.advance(if cut_off { Phase::Closing } else { Phase::Draining });
        if order.is_error() && !std::mem::replace(&mut self.failed, true) {
            link.tell(|| {
                let theirs = link.board.goaway.borrow().as_ref().map(|goaway| goaway.code);
                let code = if order.reason == CloseReason::PeerError { theirs } else { None };
                SessionEvent::Error {
                    reason: order.reason,
                    code: code.unwrap_or(order.code),
                    detail: order.detail.to_string(),
                }
            });
        }
    }

    /// When somebody last said something between turns, if that is news.
    pub(super) fn take_stirred(&self) -> Option<Instant> {
        self.link.as_ref().and_then(|link| link.take_stirred())
    }

    /// A stream begins.
    #[inline]
    pub(super) fn stream_opened(&self, protocol: Protocol) {
        self.stats.streams_total.inc();
        if self.host.config.observed {
            self.host.cells.stream_opened(protocol);
        }
    }

    /// A stream of so many nanoseconds is over.
    #[inline]
    pub(super) fn stream_lasted(&mut self, nanos: u64) {
        self.life.streams_ended += 1;
        self.life.streams_nanos += nanos;
    }

    fn statistics(&self, lasted: Duration) -> SessionStatistics {
        let life = &self.life;
        SessionStatistics {
            lasted,
            bytes_in: self.stats.bytes_in.get(),
            bytes_out: self.stats.bytes_out.get(),
            frames_in: life.frames_in,
            frames_out: life.frames_out,
            streams: self.stats.streams_total.get(),
            streams_peak: life.streams_peak,
            stream_mean: Duration::from_nanos(life.streams_nanos / life.streams_ended.max(1)),
            ping_rtt: life.ping_rtt,
        }
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
                self.ending = Some(Box::new(Ending {
                    reason: order.reason,
                    code: order.code,
                    hard: order.hard,
                    detail: order.detail.clone(),
                    opaque: order.opaque.clone(),
                    deadline: now + grace,
                }));
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

    /// What the GOAWAY of a drain carries.
    pub(crate) fn opaque(&self) -> &[u8] {
        self.ending.as_ref().map_or(&[], |ending| &ending.opaque)
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

    /// Octets are charged to the session.
    #[inline]
    pub(crate) fn held(&mut self, octets: usize) {
        let octets = i64::try_from(octets).unwrap_or(i64::MAX);
        if octets != self.held {
            self.host.cells.session_memory_bytes.add(octets - self.held);
            self.stats.memory_bytes.set(octets);
            self.held = octets;
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
            CloseReason::Overload => ConnectionResult::RefusedOverload,
            _ => ConnectionResult::Accepted,
        });
        // Browsers open connections that they may never use.
        let silent = matches!(reason, CloseReason::PrefaceTimeout | CloseReason::HandshakeTimeout)
            && self.stats.bytes_in.get() == 0;
        if is_abnormal(reason) && !silent {
            self.dissect(reason, now);
        }
        self.queued(0);
        self.held(0);
        let age = now.saturating_duration_since(self.opened);
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        self.host.cells.session_closed(self.protocol, reason, nanos, self.stats.streams_total.get());
        let id = self.stats.id();
        self.host.openings.leave(id.number);
        self.host.live().remove(id);
        self.host.arena.sessions.borrow_mut().remove(&id.number);
        if let Some(listener) = &*self.host.on_end.borrow() {
            listener.tell(SessionEnded { id, peer: self.peer, reason });
        }
        if let Some(taps) = &mut self.taps {
            taps.end(id, reason);
        }
        if let Some(waiting) = self.opened_to.take() {
            waiting.send(Err(SessionError::Gone { reason })).ok();
        }
        match self.link.take() {
            Some(link) => {
                link.board.ends_for(reason);
                link.tell(|| SessionEvent::Closed { reason, statistics: Box::new(self.statistics(age)) });
                link.board.advance(Phase::Closed);
            }
            None => self.host.outlet.tell(|listener| Event::SessionClosed {
                session: id,
                listener,
                peer: self.peer,
                reason,
                statistics: Arc::new(self.statistics(age)),
            }),
        }
        // Last: who waits for the end of all sessions finds everything told.
        if let Some(ledger) = &self.host.ledger {
            ledger.release(self.booked.then_some(self.peer).flatten().map(|peer| peer.ip()), id.worker);
        }
        let streams = self.stats.streams_total.get();
        tracing::debug!(parent: &self.span, %reason, age_ms = age.as_millis() as u64, streams,
            bytes_in = self.stats.bytes_in.get(), bytes_out = self.stats.bytes_out.get(), "session closed");
    }

    /// Keeps what is known of a session that ended as it should not have.
    #[cold]
    fn dissect(&mut self, reason: CloseReason, now: Instant) {
        self.record(Turning::Closed(reason), now);
        let mut view = self.view(now);
        view.recorder = self.recorded();
        let (code, detail) = match &self.ending {
            Some(ending) => (ending.code, ending.detail.to_string()),
            None => (ErrorCode::INTERNAL_ERROR, String::new()),
        };
        let (opened_at, closed_at) = (self.stats.opened_at(), std::time::SystemTime::now());
        let post_mortem = PostMortem { view, reason, code, detail, opened_at, closed_at };
        self.host.arena.post_mortems.keep(post_mortem, &self.span, now);
    }

    pub(crate) fn view(&self, now: Instant) -> SessionView {
        SessionView::of_stats(&self.stats, now)
    }
}

fn span(host: &Host, stats: &SessionStats) -> Span {
    tracing::info_span!("session", id = %stats.id(), listener = &*host.name, peer = %stats.peer())
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
