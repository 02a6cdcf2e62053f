//! One stream: two halves, each an enum whose open variant carries what it needs (RFC 9113 §5.1).
//!
//! A half that is closed has no queue and no window to misuse. Transitions that concern the wire live in
//! [`crate::connection`].

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::fields::Fields;
use crate::flow::StreamWindow;
use crate::ids::StreamId;
use crate::memory::{Account, Credit};
use crate::priority::Priority;

/// What follows the octets that are queued.
#[derive(Debug)]
pub(crate) enum Tail {
    /// More may come.
    Open,
    /// END_STREAM on the last DATA.
    End,
    /// Trailers, which carry END_STREAM.
    Trailers(Box<Fields>),
}

/// What we may send behind our head (RFC 9110 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendRule {
    /// Any length, and trailers.
    Free,
    /// So many octets, by content-length, and trailers.
    Declared(u64),
    /// Nothing: HEAD, 204, 205, 304.
    Nothing,
    /// Octets of a tunnel, which has no trailers (RFC 9113 §8.5).
    Tunnel,
}

impl SendRule {
    /// By content-length, if there is one.
    pub(crate) fn declared(length: Option<u64>) -> Self {
        length.map_or(Self::Free, Self::Declared)
    }
}

/// Sending half while it is open.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Octets the peer takes; below zero after SETTINGS (§6.9.2).
    pub(crate) window: i64,
    /// The final head is out.
    pub(crate) head_sent: bool,
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) queued: usize,
    /// What is queued, charged as far as the send buffer goes: more than that is the handler's own.
    pub(crate) charge: Option<Credit>,
    pub(crate) tail: Tail,
    /// What the head we sent says of the body.
    pub(crate) rule: SendRule,
    /// Octets the owner gave.
    pub(crate) given: u64,
    /// The owner was told there is no capacity and waits.
    pub(crate) starved: bool,
    /// The scheduler knows it.
    pub(crate) scheduled: bool,
    /// Since when octets wait for the peer's window.
    pub(crate) dry: Option<Instant>,
}

impl Sending {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            window: i64::from(window),
            head_sent: false,
            queue: VecDeque::new(),
            queued: 0,
            charge: None,
            tail: Tail::Open,
            rule: SendRule::Free,
            given: 0,
            starved: false,
            scheduled: false,
            dry: None,
        }
    }

    /// Brings the charge of the queue up to date, which counts up to `most` octets.
    #[inline]
    pub(crate) fn recharge(&mut self, account: &Account, most: usize) {
        match &mut self.charge {
            Some(charge) => charge.resize(self.queued.min(most)),
            None if self.queued > 0 => self.charge = Some(account.charge(self.queued.min(most))),
            None => {}
        }
    }

    /// Takes up to `limit` octets from the front of the queue.
    pub(crate) fn take(&mut self, limit: usize) -> Bytes {
        let Some(front) = self.queue.front_mut() else { return Bytes::new() };
        let chunk = if front.len() > limit {
            front.split_to(limit)
        } else {
            self.queue.pop_front().unwrap_or_default()
        };
        self.queued -= chunk.len();
        chunk
    }
}

/// Where the sending half stands.
#[derive(Debug)]
pub(crate) enum SendHalf {
    Open(Sending),
    Closed,
}

/// What a body may be (RFC 9110 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// The final head has not come (client).
    AwaitHead,
    /// Any length.
    Free,
    /// So many octets, by content-length.
    Declared(u64),
    /// None, whatever content-length says: HEAD, 204, 304.
    None,
    /// Octets of a tunnel, which has no trailers (RFC 9113 §8.5).
    Tunnel,
}

/// Receiving half while it is open.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) rule: BodyRule,
    /// Body octets so far.
    pub(crate) received: u64,
    /// The message was refused (431): what comes is dropped.
    pub(crate) discard: bool,
}

/// Where the receiving half stands.
#[derive(Debug)]
pub(crate) enum RecvHalf {
    Open(Receiving),
    Closed,
}

/// One stream in the table.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    /// Kept outside the half: unread octets outlive END_STREAM.
    pub(crate) window: StreamWindow,
    pub(crate) priority: Priority,
    /// The request asked with HEAD.
    pub(crate) head_request: bool,
    /// The request asked for a tunnel by CONNECT.
    pub(crate) connect: bool,
    /// Promised and not begun (§8.4): `reserved` in §5.1.
    pub(crate) reserved: bool,
    /// Client: informational heads so far.
    pub(crate) informational: u32,
    /// Body octets framed so far.
    pub(crate) sent: u64,
    /// Where in the connection's output its last octets end.
    pub(crate) reaches: u64,
    pub(crate) received: u64,
    /// The request's head, where it is large: charged while somebody may hold it.
    pub(crate) held: Option<Credit>,
}

impl Stream {
    pub(crate) fn new(id: StreamId, send: SendHalf, recv: RecvHalf, recv_window: u32) -> Self {
        Self {
            id,
            send,
            recv,
            window: StreamWindow::new(recv_window),
            priority: Priority::UNSAID,
            head_request: false,
            connect: false,
            reserved: false,
            informational: 0,
            sent: 0,
            reaches: 0,
            received: 0,
            held: None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!((&self.send, &self.recv), (SendHalf::Closed, RecvHalf::Closed))
    }

    /// The final head is out, or was never ours to send.
    pub(crate) fn answered(&self) -> bool {
        match &self.send {
            SendHalf::Open(sending) => sending.head_sent,
            SendHalf::Closed => true,
        }
    }

    /// Name of the state in §5.1.
    pub(crate) fn state(&self) -> &'static str {
        match (&self.send, &self.recv) {
            (SendHalf::Open(_), RecvHalf::Closed) if self.reserved => "reserved_local",
            (SendHalf::Closed, RecvHalf::Open(_)) if self.reserved => "reserved_remote",
            (SendHalf::Open(_), RecvHalf::Open(_)) => "open",
            (SendHalf::Closed, RecvHalf::Open(_)) => "half_closed_local",
            (SendHalf::Open(_), RecvHalf::Closed) => "half_closed_remote",
            (SendHalf::Closed, RecvHalf::Closed) => "closed",
        }
    }
}
