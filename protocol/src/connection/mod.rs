//! The machine of one connection (RFC 9113), both roles.

use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;

use crate::config::Config;
use crate::error::{ConnectionError, ErrorCode, UserError};
use crate::event::{Counters, ErrorRecord, Event};
use crate::fields::Fields;
use crate::ids::StreamId;
use crate::message::{RequestHead, ResponseHead};
use crate::priority::Priority;
use crate::settings::{InForce, Settings};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opens odd streams and asks.
    Client,
    /// Answers.
    Server,
}

/// A stream as it stands, for people who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The stream.
    pub id: StreamId,
    /// Name of its state in RFC 9113 §5.1: `open`, `half_closed_local`, `half_closed_remote`, `reserved_local`, `reserved_remote`, `closed`.
    pub state: &'static str,
    /// Octets we may send now as far as the stream's window goes; negative after a SETTINGS change (§6.9.2).
    pub send_window: i64,
    /// Octets the peer may send now.
    pub recv_window: i64,
    /// Body octets accepted for sending and not yet framed.
    pub queued: usize,
    /// Body octets received and not yet consumed.
    pub unread: usize,
    /// Body octets received.
    pub received: u64,
    /// Body octets framed.
    pub sent: u64,
    /// Its priority.
    pub priority: Priority,
}

/// One HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {}

#[allow(unused_variables, clippy::unimplemented)]
impl Connection {
    /// A connection in `role`. The preface (client) and the first SETTINGS are in the output at once.
    pub fn new(role: Role, config: Config, now: Instant) -> Self { unimplemented!() }
    /// Which side this is.
    pub fn role(&self) -> Role { unimplemented!() }

    // --- in ---
    /// Takes bytes as they arrive, all of them; keeps only the tail of an incomplete frame.
    /// # Errors
    /// The connection is over: GOAWAY is in the output, every open stream has had its `StreamClosed`, further input is ignored.
    pub fn handle_input(&mut self, bytes: &[u8], now: Instant) -> Result<(), ConnectionError> { unimplemented!() }
    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> { unimplemented!() }
    /// When [`Self::handle_deadline`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> { unimplemented!() }
    /// Acts on deadlines that have passed (preface, header block, SETTINGS ack, drain PING).
    /// # Errors
    /// As [`Self::handle_input`].
    pub fn handle_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> { unimplemented!() }
    /// False while so much output waits that reading more would only add to it (replies to a peer that does not read).
    pub fn wants_input(&self) -> bool { unimplemented!() }

    // --- out ---
    /// Frames what windows and priorities allow, up to `output_high_water`; returns octets waiting for the socket.
    pub fn poll_output(&mut self, now: Instant) -> usize { unimplemented!() }
    /// Fills `slices` with the octets waiting; returns how many slices were filled.
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize { unimplemented!() }
    /// The socket took `count` octets.
    pub fn advance_output(&mut self, count: usize) { unimplemented!() }

    // --- streams ---
    /// Client: opens a stream. # Errors TooManyStreams, GoingAway, InvalidField, WrongRole, ...
    pub fn send_request(&mut self, head: &RequestHead, end_stream: bool) -> Result<StreamId, UserError> { unimplemented!() }
    /// Server: an informational head (100, 102 to 199).
    pub fn send_informational(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), UserError> { unimplemented!() }
    /// Server: the final head.
    pub fn send_response(&mut self, id: StreamId, head: &ResponseHead, end_stream: bool) -> Result<(), UserError> { unimplemented!() }
    /// Queues body octets; they leave as windows allow. Never blocks: ask [`Self::capacity`] first.
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end_stream: bool) -> Result<(), UserError> { unimplemented!() }
    /// Trailers, after what is queued.
    pub fn send_trailers(&mut self, id: StreamId, fields: Fields) -> Result<(), UserError> { unimplemented!() }
    /// RST_STREAM; what is queued is dropped.
    pub fn reset_stream(&mut self, id: StreamId, code: ErrorCode) -> Result<(), UserError> { unimplemented!() }
    /// The owner's work on a closed stream has really stopped. A stream that was reset counts against the
    /// concurrency limit until then (CVE-2023-44487, CVE-2025-8671). Harmless for any other stream.
    pub fn release_stream(&mut self, id: StreamId) { unimplemented!() }
    /// Body octets [`Self::send_data`] should be given now; when 0, a `CapacityAvailable` follows.
    pub fn capacity(&mut self, id: StreamId) -> usize { unimplemented!() }
    /// The reader has taken `count` octets of received body: windows may grow again.
    pub fn consume(&mut self, id: StreamId, count: usize) { unimplemented!() }
    /// Whether the peer still may send on the stream (no END_STREAM, no reset so far).
    pub fn is_receiving(&self, id: StreamId) -> bool { unimplemented!() }
    /// How many streams are open (either side), and how the given one stands.
    pub fn open_streams(&self) -> usize { unimplemented!() }
    /// Streams as they stand.
    pub fn streams(&self) -> Vec<StreamView> { unimplemented!() }

    // --- connection ---
    /// Sends a PING; `PongReceived` follows.
    pub fn ping(&mut self, payload: [u8; 8]) { unimplemented!() }
    /// Changes our settings; in force when the peer acknowledges.
    pub fn update_settings(&mut self, settings: Settings, now: Instant) -> Result<(), UserError> { unimplemented!() }
    /// Settings of ours the peer has acknowledged.
    pub fn local_settings(&self) -> &InForce { unimplemented!() }
    /// Settings the peer told us.
    pub fn remote_settings(&self) -> &InForce { unimplemented!() }
    /// Begins a graceful close (§6.8): GOAWAY(2^31-1), PING, then on its answer or after 1 s GOAWAY(last id) and
    /// `DrainStarted`. Streams go on; [`Self::is_drained`] tells when none is left.
    pub fn drain(&mut self, now: Instant) { unimplemented!() }
    /// A drain has put out its second GOAWAY and no stream is open.
    pub fn is_drained(&self) -> bool { unimplemented!() }
    /// Ends the connection now: GOAWAY(last id, code, debug), every open stream gets `StreamClosed`.
    pub fn close(&mut self, code: ErrorCode, debug: &[u8]) { unimplemented!() }
    /// After `close` or an error: nothing more will be said.
    pub fn is_closed(&self) -> bool { unimplemented!() }

    // --- observation ---
    /// Counters since the start.
    pub fn counters(&self) -> &Counters { unimplemented!() }
    /// RST_STREAM and GOAWAY since the last call, both directions.
    pub fn take_error_records(&mut self) -> Vec<ErrorRecord> { unimplemented!() }
    /// Octets the connection as a whole may send now.
    pub fn send_window(&self) -> i64 { unimplemented!() }
    /// Octets charged: unread bodies, queued bodies, output, header tables.
    pub fn memory(&self) -> usize { unimplemented!() }
    /// Body octets queued by streams plus output octets waiting.
    pub fn queued(&self) -> usize { unimplemented!() }
    /// Gives back spare heap; for a connection that has become idle.
    pub fn shrink(&mut self) { unimplemented!() }
}
