//! How the connection and its streams stand, for people who look. Changes nothing.

use super::Connection;
use crate::event::{Counters, ErrorRecord};
use crate::ids::StreamId;
use crate::priority::Priority;
use crate::settings::InForce;
use crate::stream::{RecvHalf, SendHalf, Stream};

/// A stream as it stands, for people who look.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, RequestHead, Role};
///
/// let mut client = Connection::new(Role::Client, Config::default(), Instant::now());
/// let id = client.send_request(&RequestHead::new("POST", "http", "example.org", "/"), false)?;
/// client.send_data(id, "four".into(), true)?;
/// let view = client.stream(id).ok_or("it is open")?;
/// assert_eq!((view.state, view.sent), ("half_closed_local", 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The stream.
    pub id: StreamId,
    /// Name of its state in RFC 9113 §5.1: `open`, `half_closed_local`, `half_closed_remote`,
    /// `reserved_local`, `reserved_remote`, `closed`.
    pub state: &'static str,
    /// We have sent END_STREAM, or never had anything to send.
    pub local_closed: bool,
    /// The peer has sent END_STREAM, or never had anything to send.
    pub remote_closed: bool,
    /// Octets we may send as far as the stream's window goes; negative after a SETTINGS change (§6.9.2).
    pub send_window: i64,
    /// Octets the peer may send.
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

impl StreamView {
    fn of(stream: &Stream) -> Self {
        let (send_window, queued) = match &stream.send {
            SendHalf::Open(sending) => (sending.window, sending.queued),
            SendHalf::Closed => (0, 0),
        };
        Self {
            id: stream.id,
            state: stream.state(),
            local_closed: matches!(stream.send, SendHalf::Closed),
            remote_closed: matches!(stream.recv, RecvHalf::Closed),
            send_window,
            recv_window: stream.window.window(),
            queued,
            unread: stream.window.unread().octets,
            received: stream.received,
            sent: stream.sent,
            priority: stream.priority,
        }
    }
}

/// The connection as it stands, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionState {
    /// Octets our receive window is brought up to; it grows with what is read.
    pub recv_window_target: i64,
    /// Octets received and not yet given back by WINDOW_UPDATE.
    pub recv_unreturned: i64,
    /// Octets the peer may send now.
    pub recv_window: i64,
    /// Octets we may send now.
    pub send_window: i64,
    /// The stream we would open next; none when identifiers are used up.
    pub next_stream_id: Option<StreamId>,
    /// The highest stream of the peer that was looked at.
    pub last_processed: StreamId,
    /// Octets that wait to be sent: bodies that streams have queued, and output ready for the socket.
    pub queued: usize,
    /// Octets the dynamic table of our header encoder holds, as RFC 7541 §4.1 counts.
    pub encoder_table: usize,
    /// Octets the dynamic table of our header decoder holds.
    pub decoder_table: usize,
    /// Open streams that we opened, promises not begun apart.
    pub streams_local: u32,
    /// Open streams that the peer opened, promises not begun apart.
    pub streams_remote: u32,
    /// Promises (§8.4) whose response has not begun, of either side.
    pub streams_reserved: u32,
    /// SETTINGS of ours that the peer has not acknowledged.
    pub settings_pending: usize,
    /// PINGs of ours that the peer has not answered.
    pub pings_pending: usize,
    /// Octets charged to the connection ([`Connection::memory`]).
    pub memory: usize,
}

impl Connection {
    /// The connection as it stands. Looks at every stream once.
    pub fn state(&self) -> ConnectionState {
        let (target, window) = (self.recv_window.target(), self.recv_window.window());
        ConnectionState {
            recv_window_target: target,
            recv_unreturned: (target - window).max(0),
            recv_window: window,
            send_window: self.send_window,
            next_stream_id: (self.next_local <= StreamId::MAX.get())
                .then(|| StreamId::from_wire(self.next_local)),
            last_processed: self.last_remote.min(self.announced_last),
            queued: self.queued(),
            encoder_table: self.encoder.table_size(),
            decoder_table: self.decoder.table_size(),
            streams_local: self.local_open,
            streams_remote: self.remote_open,
            streams_reserved: self.reserved,
            settings_pending: self.pending_settings(),
            pings_pending: self.pending_pings(),
            memory: self.memory(),
        }
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.table.len()
    }

    /// Streams as they stand, by identifier.
    pub fn streams(&self) -> Vec<StreamView> {
        let mut views: Vec<_> = self.table.iter().map(StreamView::of).collect();
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// One stream as it stands.
    pub fn stream(&self, id: StreamId) -> Option<StreamView> {
        self.table.get(id).map(StreamView::of)
    }

    /// Settings of ours that the peer has acknowledged.
    pub fn local_settings(&self) -> &InForce {
        &self.local
    }

    /// Settings the peer told us.
    pub fn remote_settings(&self) -> &InForce {
        &self.remote
    }

    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Frames received since the start, of all types.
    #[inline]
    pub fn frames_in(&self) -> u64 {
        self.counters.frames_in.iter().sum()
    }

    /// RST_STREAM and GOAWAY since the last call, both directions (the latest 1 024).
    pub fn take_error_records(&mut self) -> Vec<ErrorRecord> {
        std::mem::take(&mut self.errors).into()
    }

    /// Octets the connection as a whole may send now.
    pub fn send_window(&self) -> i64 {
        self.send_window
    }

    /// Octets the peer may send on the connection as a whole now.
    pub fn recv_window(&self) -> i64 {
        self.recv_window.window()
    }

    /// Body octets queued by streams plus output octets waiting.
    pub fn queued(&self) -> usize {
        self.queued_bodies() + self.output.len()
    }

    fn queued_bodies(&self) -> usize {
        let queued = |stream: &Stream| match &stream.send {
            SendHalf::Open(sending) => sending.queued,
            SendHalf::Closed => 0,
        };
        self.table.iter().map(queued).sum()
    }
}
