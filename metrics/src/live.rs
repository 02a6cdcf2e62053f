//! The live registry: who is connected now, as atomics the session's thread writes and anyone reads.
//! Makes no series (the aggregates carry no ids) and keeps nothing of a closed session.
//!
//! Invariants: [`SessionStats`] has one writing thread, that of its session; the registry's mutexes are
//! taken when a session opens, when it closes and when someone looks, never to count.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::cell::{Cell, Gauge};
use crate::labels::{Protocol, Role, SessionState, WaitOn};
use crate::live_stream::StreamStats;
use crate::mailbox::Mailbox;
use crate::per::Per;
use crate::shard::unpoisoned;

/// Names a session for the life of the process: `w-n`, the worker in decimal and a counter of that
/// worker in base 36 (`0-1a`).
///
/// ```
/// use stagedoor_metrics::SessionId;
///
/// let id = SessionId { worker: 0, number: 46 };
/// assert_eq!(id.to_string(), "0-1a");
/// assert_eq!("0-1a".parse(), Ok(id));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The worker it runs on.
    pub worker: u16,
    /// The how-manieth session of that worker it is.
    pub number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut text = [0; 13]; // 36^13 > 2^64
        let mut at = text.len();
        let mut rest = self.number;
        loop {
            at -= 1;
            text[at] = DIGITS[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        let digits: String = text[at..].iter().map(|digit| char::from(*digit)).collect();
        f.pad(&format!("{}-{digits}", self.worker))
    }
}

/// The text is not a session id.
///
/// ```
/// use stagedoor_metrics::{ParseSessionIdError, SessionId};
///
/// assert_eq!("0-1A".parse::<SessionId>(), Err(ParseSessionIdError), "lower case alone");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseSessionIdError;

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session id looks like 0-1a: worker, dash, number in base 36")
    }
}

impl std::error::Error for ParseSessionIdError {}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    /// Accepts exactly what `Display` writes, so that one session has one name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (worker, number) = text.split_once('-').ok_or(ParseSessionIdError)?;
        let id = Self {
            worker: worker.parse().map_err(|_| ParseSessionIdError)?,
            number: u64::from_str_radix(number, 36).map_err(|_| ParseSessionIdError)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(ParseSessionIdError) }
    }
}

/// The other end of a session.
///
/// ```
/// use stagedoor_metrics::Peer;
///
/// let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4000)));
/// assert_eq!(peer.to_string(), "127.0.0.1:4000");
/// assert_eq!(Peer::Named("unix".into()).to_string(), "unix");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An IP address and port.
    Inet(SocketAddr),
    /// Anything else: a Unix socket, a pipe in a test.
    Named(Box<str>),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => fmt::Display::fmt(address, f),
            Self::Named(name) => f.pad(name),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

/// What is known of a live session; about 200 octets. Written by its own thread only.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use stagedoor_metrics::{Peer, Protocol, Role, SessionId, SessionState, SessionStats};
///
/// let id = SessionId { worker: 0, number: 1 };
/// let opened = Instant::now();
/// let peer = Peer::Named("memory".into());
/// let stats = SessionStats::new(id, Role::Server, Protocol::H2c, "http".into(), peer, opened);
/// stats.set_state(SessionState::Open);
/// stats.bytes_in.add(24);
/// stats.touch(opened + Duration::from_secs(2));
/// assert_eq!((stats.state(), stats.bytes_in.get()), (SessionState::Open, 24));
/// assert_eq!(stats.idle(opened + Duration::from_secs(5)), Duration::from_secs(3));
/// ```
#[derive(Debug)]
pub struct SessionStats {
    id: SessionId,
    role: Role,
    listener: Arc<str>,
    peer: Peer,
    /// For whom a proxy speaks, or where a connection of ours went.
    client: OnceLock<Box<Peer>>,
    opened: Instant,
    opened_at: SystemTime,
    protocol: AtomicU8,
    state: AtomicU8,
    /// Octets read from the socket, after TLS.
    pub bytes_in: Cell,
    /// Octets written to the socket, before TLS.
    pub bytes_out: Cell,
    /// Streams open now.
    pub streams_open: Gauge,
    /// Streams carried so far.
    pub streams_total: Cell,
    /// Octets accepted for sending and not yet written.
    pub write_queue_bytes: Gauge,
    /// Connection send window in octets; may be below zero (RFC 9113 §6.9.2).
    pub send_window: Gauge,
    /// Memory charged to the session, in octets.
    pub memory_bytes: Gauge,
    /// Messages that wait at its actor.
    pub mailbox: Mailbox,
    /// Of its streams that took time; most sessions have none.
    aged: OnceLock<Box<Aged>>,
    last_active: Gauge,
}

/// See [`SessionStats::aged`].
#[derive(Debug, Default)]
struct Aged {
    waits: Per<WaitOn, Cell>,
    streams: Mutex<Vec<Arc<StreamStats>>>,
}

impl SessionStats {
    /// A session that starts at `opened` (state [`SessionState::Handshake`], everything else zero).
    /// `listener` is the interned name: clone the `Arc`, do not make one per session.
    #[must_use]
    pub fn new(
        id: SessionId,
        role: Role,
        protocol: Protocol,
        listener: Arc<str>,
        peer: Peer,
        opened: Instant,
    ) -> Self {
        Self {
            id,
            role,
            listener,
            peer,
            client: OnceLock::new(),
            opened,
            opened_at: SystemTime::now(),
            protocol: AtomicU8::new(protocol as u8),
            state: AtomicU8::new(SessionState::Handshake as u8),
            bytes_in: Cell::new(),
            bytes_out: Cell::new(),
            streams_open: Gauge::new(),
            streams_total: Cell::new(),
            write_queue_bytes: Gauge::new(),
            send_window: Gauge::new(),
            memory_bytes: Gauge::new(),
            mailbox: Mailbox::new(),
            aged: OnceLock::new(),
            last_active: Gauge::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Which end we are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Name of the listener it came through.
    #[must_use]
    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// The other end: the client, where a proxy said for whom it speaks.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.client.get().map_or(&self.peer, |client| client)
    }

    /// Says for whom the other end speaks, or which address of its name it is; the first word counts.
    pub fn set_client(&self, client: Peer) {
        self.client.set(Box::new(client)).ok();
    }

    /// When it opened, on the clock that only goes forward.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// When it opened, as people read it.
    #[must_use]
    pub fn opened_at(&self) -> SystemTime {
        self.opened_at
    }

    /// What it speaks now.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let index = self.protocol.load(Ordering::Relaxed);
        Protocol::from_index(usize::from(index)).unwrap_or(Protocol::Http1)
    }

    /// Says what it speaks, once ALPN or the preface told.
    pub fn set_protocol(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Ordering::Relaxed);
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        let index = self.state.load(Ordering::Relaxed);
        SessionState::from_index(usize::from(index)).unwrap_or(SessionState::Closing)
    }

    /// Says where it stands.
    pub fn set_state(&self, state: SessionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Octets moved at `now` (the turn's clock reading, not a new one).
    #[inline]
    pub fn touch(&self, now: Instant) {
        self.last_active.set(nanos(now.saturating_duration_since(self.opened)));
    }

    fn aged(&self) -> &Aged {
        self.aged.get_or_init(Box::default)
    }

    /// The time of its streams went to `on` for so many nanoseconds more.
    pub fn add_wait(&self, on: WaitOn, nanos: u64) {
        self.aged().waits[on].add(nanos);
    }

    /// How many nanoseconds of its streams' time went to `on`; of those that live, as of a moment ago.
    #[must_use]
    pub fn waited(&self, on: WaitOn) -> u64 {
        self.aged.get().map_or(0, |aged| aged.waits[on].get())
    }

    /// Lists a stream that has lived for a while. Takes a lock: once in the life of such a stream.
    pub fn list_stream(&self, stream: Arc<StreamStats>) {
        unpoisoned(&self.aged().streams).push(stream);
    }

    /// Strikes out a stream that was listed.
    pub fn strike_stream(&self, id: u32) {
        let Some(aged) = self.aged.get() else { return };
        let mut streams = unpoisoned(&aged.streams);
        streams.retain(|stream| stream.id() != id);
        if streams.is_empty() {
            *streams = Vec::new();
        }
    }

    /// The streams that are listed, in no order.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<StreamStats>> {
        self.aged.get().map(|aged| unpoisoned(&aged.streams).clone()).unwrap_or_default()
    }

    /// How long after opening octets last moved.
    #[must_use]
    pub fn last_active(&self) -> Duration {
        Duration::from_nanos(self.last_active.get().unsigned_abs())
    }

    /// How long no octet has moved, seen from `now`.
    #[must_use]
    pub fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened).saturating_sub(self.last_active())
    }
}

/// Nanoseconds as a gauge keeps them; 292 years fit.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Parts of the registry; sessions of different workers seldom meet at one.
const PARTS: usize = 16;

type Part = Mutex<HashMap<SessionId, Arc<SessionStats>>>;

/// Every session open in the process, on all workers.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
///
/// use stagedoor_metrics::{Metrics, Peer, Protocol, Role, SessionId, SessionStats};
///
/// let metrics = Metrics::new("app");
/// let id = SessionId { worker: 0, number: 1 };
/// let (peer, now) = (Peer::Named("memory".into()), Instant::now());
/// let stats = SessionStats::new(id, Role::Server, Protocol::H2c, "http".into(), peer, now);
/// metrics.live().insert(Arc::new(stats));
/// assert_eq!(metrics.live().snapshot().len(), 1);
/// assert!(metrics.live().remove(id).is_some() && metrics.live().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct LiveSessions {
    parts: [Part; PARTS],
}

impl LiveSessions {
    fn part(&self, id: SessionId) -> &Part {
        &self.parts[usize::from(id.worker) % PARTS]
    }

    /// Lists a session that opened; a second one of the same id replaces the first, which is returned.
    pub fn insert(&self, stats: Arc<SessionStats>) -> Option<Arc<SessionStats>> {
        unpoisoned(self.part(stats.id)).insert(stats.id, stats)
    }

    /// Strikes out a session that closed.
    pub fn remove(&self, id: SessionId) -> Option<Arc<SessionStats>> {
        unpoisoned(self.part(id)).remove(&id)
    }

    /// A session, if it is open.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Arc<SessionStats>> {
        unpoisoned(self.part(id)).get(&id).cloned()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| unpoisoned(part).len()).sum()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every open session, in no order. One part is locked at a time, so it is no single moment.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<SessionStats>> {
        let mut all = Vec::with_capacity(self.len());
        for part in &self.parts {
            all.extend(unpoisoned(part).values().cloned());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(worker: u16, number: u64) -> Arc<SessionStats> {
        let peer = Peer::Named("test".into());
        let id = SessionId { worker, number };
        Arc::new(SessionStats::new(id, Role::Server, Protocol::H2, "public".into(), peer, Instant::now()))
    }

    #[test]
    fn an_id_goes_through_text_and_back() {
        for (worker, number, text) in
            [(0, 0, "0-0"), (0, 46, "0-1a"), (3, 35, "3-z"), (65_535, u64::MAX, "65535-3w5e11264sgsf")]
        {
            let id = SessionId { worker, number };
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn one_session_has_one_name() {
        for text in ["", "0", "0-", "-1", "0-1A", "00-1", "0-01", "+0-1", "0-+1", "65536-0", "0-1-2", "0-é"]
        {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text}");
        }
    }

    #[test]
    fn a_session_is_listed_from_open_to_close() {
        let live = LiveSessions::default();
        for worker in 0..40 {
            live.insert(stats(worker, 1));
            live.insert(stats(worker, 2));
        }
        assert_eq!(live.len(), 80);
        assert_eq!(live.snapshot().len(), 80);
        let id = SessionId { worker: 17, number: 2 };
        assert_eq!(live.get(id).map(|stats| stats.id()), Some(id));
        assert!(live.remove(id).is_some());
        assert!(live.get(id).is_none());
        assert!(live.remove(id).is_none());
        assert_eq!(live.len(), 79);
    }

    #[test]
    fn idleness_is_counted_from_the_last_octet() {
        let stats = stats(0, 1);
        let later = stats.opened() + Duration::from_secs(5);
        assert_eq!(stats.idle(later), Duration::from_secs(5));
        stats.touch(stats.opened() + Duration::from_secs(3));
        assert_eq!(stats.idle(later), Duration::from_secs(2));
        assert_eq!(stats.idle(stats.opened()), Duration::ZERO);
    }

    #[test]
    fn an_idle_session_costs_a_fraction_of_a_kibibyte() {
        assert!(size_of::<SessionStats>() <= 208, "{}", size_of::<SessionStats>());
    }
}
