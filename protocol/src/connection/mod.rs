//! The machine of one connection (RFC 9113), both roles.
//!
//! `inbound` reads frames, `headers` turns header blocks into messages, `outbound` writes them, `control` keeps
//! settings and liveness, `closing` the way down, `extension` ALTSVC and ORIGIN, `limits` what is held and which limits were
//! met, `notes` what is counted and recorded, `view` shows how things stand. No I/O, no clock. Invariants: every stream that was announced has
//! exactly one [`Event::StreamClosed`]; after the end nothing is emitted and input is ignored.

mod closing;
mod control;
mod extension;
mod headers;
mod inbound;
mod limits;
mod notes;
mod outbound;
mod view;

pub use extension::AltSvcTarget;
pub use notes::Holdup;
pub use view::{ConnectionState, StreamView};

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use self::closing::{GoAway, Phase};
use self::limits::Charges;
use crate::budget::Spent;
use crate::config::Config;
use crate::error::{ConnectionError, ErrorCode, StreamError, UserError};
use crate::event::{Cause, Counters, ErrorRecord, Event, Origin, Scope};
use crate::flow::{ConnectionWindow, StreamWindow};
use crate::hpack;
use crate::ids::StreamId;
use crate::limit::Limit;
use crate::memory::{Account, Credit};
use crate::output::Output;
use crate::priority::Priority;
use crate::recorder::Recorder;
use crate::schedule::Scheduler;
use crate::settings::{InForce, Settings};
use crate::stream::{RecvHalf, SendHalf, Stream};
use crate::table::Table;
use crate::tap::Tap;

/// Which side of the connection this is.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, RequestHead, Role, UserError};
///
/// let mut server = Connection::new(Role::Server, Config::default(), Instant::now());
/// let head = RequestHead::new("GET", "http", "example.org", "/");
/// assert!(matches!(server.send_request(&head, true), Err(UserError::WrongRole)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opens odd streams and asks.
    Client,
    /// Answers.
    Server,
}

impl Role {
    /// The highest stream the other side can open (§5.1.1).
    fn highest_of_peer(self) -> StreamId {
        match self {
            Self::Client => StreamId::from_wire(StreamId::MAX.get() - 1),
            Self::Server => StreamId::MAX,
        }
    }
}

/// Who asked for a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PingKind {
    /// The application.
    Owner,
    /// Whoever watches that the peer lives.
    Keepalive,
    /// A graceful close (§6.8).
    Drain,
}

/// A PING whose answer has not come.
#[derive(Clone, Copy, Debug)]
struct Ping {
    payload: [u8; 8],
    kind: PingKind,
}

/// A header block whose END_HEADERS has not come (§6.10).
#[derive(Debug)]
struct PartialBlock {
    id: StreamId,
    flags: u8,
    /// The stream a PUSH_PROMISE speaks of.
    promised: Option<StreamId>,
    block: Vec<u8>,
    continuations: u32,
    /// Fragments without octets.
    empty: u32,
    since: Instant,
    charge: Credit,
}

/// A stream that was reset while its owner still works on it.
#[derive(Debug)]
struct Lingering {
    id: StreamId,
    /// Its head is still in somebody's hands.
    _held: Option<Credit>,
}

/// One HTTP/2 connection.
///
/// Two of them, and what would go over a socket:
///
/// ```
/// use std::io::IoSlice;
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, Event, Fields, RequestHead, ResponseHead, Role};
///
/// /// Hands over what one has for the other.
/// fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Box<dyn std::error::Error>> {
///     while from.poll_output(Instant::now()) > 0 {
///         let mut slices = [IoSlice::new(&[]); 8];
///         let filled = from.output(&mut slices);
///         let octets: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
///         from.advance_output(octets.len());
///         to.handle_input(&octets, Instant::now())?;
///     }
///     Ok(())
/// }
///
/// let mut client = Connection::new(Role::Client, Config::default(), Instant::now());
/// let mut server = Connection::new(Role::Server, Config::default(), Instant::now());
/// client.send_request(&RequestHead::new("GET", "http", "example.org", "/"), true)?;
/// carry(&mut client, &mut server)?;
/// while let Some(event) = server.poll_event() {
///     if let Event::StreamOpened { id, head, .. } = event {
///         assert_eq!(head.path(), Some("/"));
///         server.send_response(id, &ResponseHead::new(204, Fields::new()), true)?;
///     }
/// }
/// carry(&mut server, &mut client)?;
/// let answered = std::iter::from_fn(|| client.poll_event())
///     .any(|event| matches!(event, Event::ResponseReceived { head, .. } if head.status == 204));
/// assert!(answered);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    role: Role,
    /// Shared by the connections of an owner until this one's differs.
    config: Arc<Config>,
    phase: Phase,

    // In.
    /// Octets of the preface still to come (server).
    preface_left: usize,
    /// The peer's first SETTINGS has come.
    settings_seen: bool,
    preface_deadline: Option<Instant>,
    /// The tail of an incomplete frame.
    partial_frame: Vec<u8>,
    /// Since when that tail waits, unless it is DATA (whose octets count as progress of its stream).
    partial_since: Option<Instant>,
    partial_block: Option<Box<PartialBlock>>,
    decoder: hpack::Decoder,
    recv_window: ConnectionWindow,
    events: VecDeque<Event>,

    // Streams.
    table: Table,
    /// Highest stream the peer opened.
    last_remote: StreamId,
    /// Next stream we open.
    next_local: u32,
    /// Streams in the table that the peer opened, and that we opened, without those that are reserved.
    remote_open: u32,
    local_open: u32,
    /// Promises in the table whose response has not begun.
    reserved: u32,
    streams_seen: u64,
    /// Closed by a reset while the owner still works on them; they count against the concurrency limit.
    lingering: Vec<Lingering>,
    /// Closed with octets unread: their share of the connection's memory.
    orphans: Vec<(StreamId, StreamWindow)>,
    /// PRIORITY_UPDATE for streams that are idle yet (RFC 9218 §7.1).
    early_priorities: Vec<(StreamId, Priority)>,

    // Out.
    encoder: hpack::Encoder,
    output: Output,
    scheduler: Scheduler,
    send_window: i64,
    /// Body octets framed.
    data_sent: u64,
    /// Since when octets wait for the connection window.
    dry: Option<Instant>,
    /// The time of the owner's last call.
    clock: Instant,

    // Both.
    local: InForce,
    remote: InForce,
    /// SETTINGS sent and not acknowledged, oldest first.
    settings_sent: VecDeque<(Settings, Instant)>,
    /// PINGs of ours that were not answered, oldest first.
    pings_sent: VecDeque<Ping>,
    /// Last stream of our GOAWAY; above it nothing is looked at.
    announced_last: StreamId,
    /// The peer's GOAWAY.
    remote_goaway: Option<Box<GoAway>>,
    spent: Spent,
    account: Account,
    charges: Charges,
    /// Small DATA that nobody reads was over its budget when the owner was last done with what had come.
    thin: bool,
    /// Since when more is held than there is memory for.
    over_memory: Option<Instant>,
    /// Limits that were reached and how often, until somebody asks.
    trips: Vec<(Limit, u32)>,
    counters: Box<Counters>,
    recorder: Recorder,
    tap: Option<Box<Tap>>,
    /// Octets the socket took.
    taken: u64,
    /// Streams whose queues or windows moved, until the owner asks.
    moved: Vec<StreamId>,
    /// More of them than are kept.
    moved_many: bool,
    errors: VecDeque<ErrorRecord>,
}

impl Connection {
    /// Which side this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The next thing that happened.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// False while so much output waits that reading more would only add to it: a peer that does not read
    /// what it asked for is not listened to (CVE-2019-9517).
    pub fn wants_input(&self) -> bool {
        !self.is_closed()
            && self.spent.replies() < self.config.budgets.control_queue_stop
            && self.output.len() < 2 * self.config.output_high_water
    }

    /// Octets waiting for the socket.
    #[inline]
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Whether [`Self::poll_output`] would frame more octets if streams had them.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.output.len() < self.config.output_high_water
    }

    /// Fills `slices` with the octets waiting; returns how many slices were filled.
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// The socket took `count` octets, at most as many as were handed out.
    pub fn advance_output(&mut self, count: usize) {
        self.output.advance(count);
        self.taken += count as u64;
        self.spent.output_advanced(count, self.output.len());
    }

    /// Whether the stream is open, on either side.
    #[inline]
    pub fn is_open(&self, id: StreamId) -> bool {
        self.table.get(id).is_some()
    }

    /// Whether the peer may still send on the stream: no END_STREAM, no reset so far.
    pub fn is_receiving(&self, id: StreamId) -> bool {
        self.table.get(id).is_some_and(|stream| matches!(stream.recv, RecvHalf::Open(_)))
    }

    /// Gives back spare heap; for a connection that has become idle.
    pub fn shrink(&mut self) {
        self.output.shrink();
        self.table.shrink();
        self.scheduler.shrink();
        self.decoder.shrink();
        self.encoder.shrink();
        self.events.shrink_to_fit();
        self.partial_frame.shrink_to_fit();
        self.lingering.shrink_to_fit();
        self.orphans.shrink_to_fit();
        self.settings_sent.shrink_to_fit();
        self.pings_sent.shrink_to_fit();
        self.trips.shrink_to_fit();
        self.moved = Vec::new();
        self.recorder.shrink();
        self.recharge();
        self.early_priorities.shrink_to_fit();
    }

    /// The reader has taken `count` octets of received body: windows may grow again.
    pub fn consume(&mut self, id: StreamId, count: usize) {
        if let Some(stream) = self.table.get_mut(id) {
            let taken = stream.window.consume(count);
            self.recv_window.release(taken);
            self.stream_credit(id);
        } else if let Some(at) = self.orphans.iter().position(|(orphan, _)| *orphan == id) {
            let window = &mut self.orphans[at].1;
            self.recv_window.release(window.consume(count));
            if window.unread().octets == 0 {
                self.orphans.swap_remove(at);
            }
        }
        self.connection_credit();
    }

    /// The owner's work on a closed stream has really stopped, and it will read no more of its body. A stream
    /// that was reset counts against the concurrency limit until then (CVE-2023-44487, CVE-2025-8671).
    /// Harmless for any other stream.
    pub fn release_stream(&mut self, id: StreamId) {
        if !self.lingering.is_empty() {
            self.lingering.retain(|other| other.id != id);
        }
        if let Some(at) = self.orphans.iter().position(|(orphan, _)| *orphan == id) {
            let (_, window) = self.orphans.swap_remove(at);
            self.recv_window.release(window.unread());
            self.connection_credit();
        }
    }

    /// The next stream we open gets this identifier; those passed over are never used. For tests of peers, and for who
    /// wants identifiers to run out early.
    /// # Errors
    /// [`UserError::InvalidStreamId`] for one of the other side, or lower than the next (§5.1.1).
    pub fn set_next_stream_id(&mut self, id: StreamId) -> Result<(), UserError> {
        if self.is_remote(id) || id.is_connection() || id.get() < self.next_local {
            return Err(UserError::InvalidStreamId(id));
        }
        self.next_local = id.get();
        Ok(())
    }

    /// The owner's clock, once a call; most calls of a turn bring the same.
    #[inline]
    fn set_clock(&mut self, now: Instant) {
        if now != self.clock {
            self.clock = now;
            self.recorder.tick(now);
        }
    }

    /// The peer opened this stream.
    fn is_remote(&self, id: StreamId) -> bool {
        id.is_client() == (self.role == Role::Server)
    }

    /// Nobody has opened this stream (§5.1).
    fn is_idle(&self, id: StreamId) -> bool {
        if self.is_remote(id) { id > self.last_remote } else { id.get() >= self.next_local }
    }

    fn record(&mut self, id: StreamId, by: Origin, code: ErrorCode) {
        if self.errors.len() == 1024 {
            self.errors.pop_front();
        }
        self.errors.push_back(ErrorRecord { id, by, code });
    }

    /// Takes a stream out of the table and tells of it; the one place where a stream is forgotten.
    fn forget(&mut self, id: StreamId, cause: Cause) {
        let Some(stream) = self.table.remove(id) else { return };
        match (stream.reserved, self.is_remote(id)) {
            (true, _) => self.reserved -= 1,
            (false, true) => self.remote_open -= 1,
            (false, false) => self.local_open -= 1,
        }
        if let SendHalf::Open(sending) = &stream.send {
            if sending.scheduled {
                self.scheduler.remove(id.get());
            }
            self.counters.wetted(Scope::Stream, sending.dry, self.clock);
        }
        let unread = stream.window.unread();
        match cause {
            Cause::EndStream => {
                self.table.remember_ended(id);
                self.spent.stream_ended_well();
                if unread.octets > 0 {
                    self.orphans.push((id, stream.window));
                }
            }
            Cause::Reset { by, .. } => {
                match by {
                    Origin::Local => self.table.remember_reset(id),
                    Origin::Remote => self.table.remember_ended(id),
                }
                if self.role == Role::Server && self.is_remote(id) {
                    self.lingering.push(Lingering { id, _held: stream.held });
                }
                self.recv_window.release(unread);
                self.connection_credit();
            }
            Cause::Unprocessed => {
                self.recv_window.release(unread);
                self.connection_credit();
            }
            Cause::ConnectionClosed => self.recv_window.release(unread),
        }
        self.events.push_back(Event::StreamClosed { id, cause });
    }

    /// Ends a stream whose halves are both closed.
    #[inline]
    fn settle(&mut self, id: StreamId) {
        if self.table.get(id).is_some_and(Stream::is_closed) {
            self.forget(id, Cause::EndStream);
        }
    }

    /// Answers a stream error with RST_STREAM (§5.4.2); the stream need not be in the table.
    fn fail_stream(
        &mut self,
        id: StreamId,
        error: &StreamError,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let code = error.code();
        self.write_reset(id, code);
        self.spent.reply_queued(&self.config.budgets)?;
        if self.table.get(id).is_some() {
            self.forget(id, Cause::Reset { by: Origin::Local, code });
        } else {
            self.table.remember_reset(id);
        }
        match error {
            StreamError::TooManyStreams | StreamError::NoMemory | StreamError::Draining => {
                self.spent.refused(self.config.max_concurrent_streams, &self.config.budgets)
            }
            _ => self.spent.reset_provoked(&self.config.budgets, now),
        }
    }

    /// RST_STREAM by the owner; what is queued is dropped, octets unread go back to the connection.
    /// # Errors
    /// [`UserError::StreamGone`] when it is closed already: often not a mistake.
    pub fn reset_stream(&mut self, id: StreamId, code: ErrorCode) -> Result<(), UserError> {
        if self.table.get(id).is_none() {
            return Err(UserError::StreamGone(id));
        }
        // The reply budget is the peer's; what the owner asks for is not charged.
        self.write_reset(id, code);
        self.forget(id, Cause::Reset { by: Origin::Local, code });
        Ok(())
    }
}
