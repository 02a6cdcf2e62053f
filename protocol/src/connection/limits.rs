//! What the connection holds and which limits it met: the account of its memory, and a note of each limit that was
//! reached. The numbers are [`crate::Budgets`]'; frames are refused where they are read.
//!
//! Invariant: what a closed and dropped connection held is given back to its account, whatever path led there.

use std::time::Instant;

use super::Connection;
use super::closing::Phase;
use crate::error::{ConnectionError, UserError};
use crate::ids::StreamId;
use crate::limit::Limit;
use crate::memory::{Account, Credit};

/// A head of so many octets is charged to the connection while its stream lives; a smaller one is part of what every
/// stream costs.
const LARGE_HEAD: usize = 1 << 10;

/// What is charged as a whole, brought up to date once in a while. Unread and queued bodies, header blocks in flight and
/// large heads have credits of their own.
#[derive(Debug)]
pub(super) struct Charges {
    /// Header tables and the table of streams.
    tables: Credit,
    /// Frames, replies among them, that wait for the socket.
    output: Credit,
    /// The tail of a frame that is cut.
    partial: Credit,
}

impl Charges {
    pub(super) fn new(account: &Account) -> Self {
        Self { tables: account.credit(), output: account.credit(), partial: account.credit() }
    }
}

impl Connection {
    /// The account of what this connection holds. It outlives the connection, and reads zero then. Whoever keeps something
    /// for the peer beside the machine charges it here, too.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Octets charged: unread bodies (64 octets a piece included), queued bodies up to [`crate::Config::send_buffer`] a
    /// stream, output, a frame or header block in flight, large heads, tables. Brought up to date by
    /// [`Self::poll_output`].
    pub fn memory(&self) -> usize {
        self.account.charged()
    }

    /// Brings the charges up to date that are taken as a whole, and looks how they stand to the budget.
    #[inline]
    pub(super) fn settle_charges(&mut self, now: Instant) {
        self.recharge();
        // Whoever reads had its chance by now.
        self.thin = self.recv_window.thin() > self.config.budgets.small_data as usize;
        if self.account.charged() <= self.config.session_memory {
            self.over_memory = None;
        } else if !matches!(self.phase, Phase::Closed) {
            self.over_memory.get_or_insert(now);
        }
    }

    #[inline]
    pub(super) fn recharge(&mut self) {
        let tables = self.decoder.heap_size() + self.encoder.heap_size() + self.table.heap();
        self.charges.tables.resize(tables);
        self.charges.output.resize(self.output.heap());
        self.charges.partial.resize(self.partial_frame.capacity());
    }

    /// A head of `octets` begins a stream.
    #[inline]
    pub(super) fn charge_head(&self, octets: usize) -> Option<Credit> {
        (octets > LARGE_HEAD).then(|| self.account.charge(octets))
    }

    /// When the connection will have been over its memory for too long.
    pub(super) fn memory_deadline(&self) -> Option<Instant> {
        self.over_memory.and_then(|since| since.checked_add(self.config.budgets.memory_patience))
    }

    /// A handler panicked. The budget of panics is one of the owner's own bugs, not of the protocol: nothing is sent.
    /// # Errors
    /// [`ConnectionError::Calm`] with [`Limit::Panics`] when it was one too many: the owner is to end the connection.
    pub fn handler_panicked(&mut self) -> Result<(), ConnectionError> {
        let panicked = self.spent.panicked(&self.config.budgets);
        if panicked.is_err() && self.spent.panics() == self.config.budgets.panics {
            self.trip(Limit::Panics);
        }
        panicked
    }

    /// A limit was reached.
    #[cold]
    pub(super) fn trip(&mut self, limit: Limit) {
        match self.trips.iter_mut().find(|(known, _)| *known == limit) {
            Some((_, count)) => *count += 1,
            None => self.trips.push((limit, 1)),
        }
    }

    /// Limits that were reached since the last call, and how often.
    pub fn take_trips(&mut self) -> Vec<(Limit, u32)> {
        std::mem::take(&mut self.trips)
    }

    /// Streams the peer may still open before identifiers run out (RFC 9113 §5.1.1): 2^30 at the start. A server that says
    /// GOAWAY in time spares its client the error.
    pub fn remote_ids_left(&self) -> u32 {
        (self.role.highest_of_peer().get() - self.last_remote.get()) / 2
    }

    /// As if the peer had used identifiers up to and including `id`. For tests of what happens when they run out.
    /// # Errors
    /// [`UserError::InvalidStreamId`] for a stream of ours, or below what the peer used.
    pub fn set_last_remote_stream_id(&mut self, id: StreamId) -> Result<(), UserError> {
        if !self.is_remote(id) || id < self.last_remote {
            return Err(UserError::InvalidStreamId(id));
        }
        self.last_remote = id;
        Ok(())
    }
}
