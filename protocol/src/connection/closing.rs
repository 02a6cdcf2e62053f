//! The way down (RFC 9113 §5.4.1, §6.8): the graceful close in two steps, GOAWAY alone, the end.
//!
//! Invariant: the last stream we announce never rises, and no stream above it is looked at.

use std::time::Instant;

use bytes::Bytes;

use super::{Connection, PingKind, Role};
use crate::error::{ConnectionError, ErrorCode, UserError};
use crate::event::{Cause, Event, Origin};
use crate::frame::kind;
use crate::ids::StreamId;

/// The PING between the two GOAWAY frames of a graceful close.
const DRAIN_PING: [u8; 8] = *b"draining";

/// Octets of opaque data in a GOAWAY, sent or kept.
pub(super) const MAX_DEBUG: usize = 1024;

/// How far the way down has come (§6.8).
#[derive(Debug)]
pub(super) enum Phase {
    Open,
    /// GOAWAY(highest) and PING are out.
    DrainAnnounced {
        deadline: Instant,
        /// Opaque data of both GOAWAY frames.
        debug: Box<[u8]>,
    },
    /// GOAWAY(last) is out.
    Draining,
    Closed,
}

/// What the peer's latest GOAWAY said.
#[derive(Debug)]
pub(super) struct GoAway {
    pub(super) last: StreamId,
    pub(super) code: ErrorCode,
    pub(super) debug: Bytes,
}

impl Connection {
    /// Begins a graceful close (§6.8): GOAWAY with the highest stream the peer can open (2^31-1 of a client, 2^31-2 of a
    /// server) and PING; on its answer, or after [`crate::Config::drain_ping_timeout`], GOAWAY(last) and
    /// `DrainStarted`. Streams go on; [`Self::is_drained`]
    /// tells when none is left. A request that crossed the first GOAWAY is still served.
    pub fn drain(&mut self, now: Instant) {
        self.drain_with(now, b"");
    }

    /// As [`Self::drain`], with opaque data for the peer in both GOAWAY frames (the first 1 024 octets of it).
    pub fn drain_with(&mut self, now: Instant, debug: &[u8]) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let debug = shorten(debug);
        // What an earlier GOAWAY announced is not raised.
        self.write_goaway(self.announced_last, ErrorCode::NO_ERROR, debug);
        self.write_ping(DRAIN_PING, PingKind::Drain);
        let deadline = now + self.config.drain_ping_timeout;
        self.phase = Phase::DrainAnnounced { deadline, debug: debug.into() };
    }

    /// The PING of a drain came back; too late if the drain did not wait for it any more.
    pub(super) fn drain_answered(&mut self) {
        if matches!(self.phase, Phase::DrainAnnounced { .. }) {
            self.finish_drain_announcement();
        }
    }

    pub(super) fn finish_drain_announcement(&mut self) {
        let debug = match std::mem::replace(&mut self.phase, Phase::Draining) {
            Phase::DrainAnnounced { debug, .. } => debug,
            Phase::Open | Phase::Draining | Phase::Closed => Box::default(),
        };
        let last = self.last_remote.min(self.announced_last);
        self.write_goaway(last, ErrorCode::NO_ERROR, &debug);
        self.events.push_back(Event::DrainStarted { last });
    }

    /// Sends GOAWAY(NO_ERROR) and nothing else: streams go on and we may open more, but streams of the peer above
    /// `last` are refused from now on (REFUSED_STREAM, safe to retry). `None` is the highest stream the peer has
    /// opened. `debug` is opaque data, of which 1 024 octets are sent. An error code belongs to [`Self::close`].
    /// # Errors
    /// [`UserError::GoAwayLast`] for a `last` above one announced before (§6.8), or below a stream that was looked
    /// at already: its request would be made again elsewhere; and for one that the peer cannot open, which nghttp2
    /// answers with PROTOCOL_ERROR. [`UserError::ConnectionClosed`].
    pub fn send_goaway(&mut self, last: Option<StreamId>, debug: &[u8]) -> Result<(), UserError> {
        if self.is_closed() {
            return Err(UserError::ConnectionClosed);
        }
        let (lowest, highest) = (self.last_remote.min(self.announced_last), self.announced_last);
        let last = last.unwrap_or(lowest);
        let theirs = last.is_connection() || last.is_client() == (self.role == Role::Server);
        if !theirs || !(lowest..=highest).contains(&last) {
            return Err(UserError::GoAwayLast { last, lowest, highest });
        }
        self.write_goaway(last, ErrorCode::NO_ERROR, debug);
        Ok(())
    }

    /// Last stream and code of the GOAWAY the peer sent, the latest of several.
    pub fn goaway_received(&self) -> Option<(StreamId, ErrorCode)> {
        self.remote_goaway.as_deref().map(|goaway| (goaway.last, goaway.code))
    }

    /// Opaque data of that GOAWAY, its first 1 024 octets.
    pub fn goaway_debug(&self) -> Option<&Bytes> {
        self.remote_goaway.as_deref().map(|goaway| &goaway.debug)
    }

    /// A drain has put out its second GOAWAY and no stream is open; or the connection is closed.
    pub fn is_drained(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::DrainAnnounced { .. } => false,
            Phase::Draining => self.table.is_empty(),
            Phase::Closed => true,
        }
    }

    /// Ends the connection now: GOAWAY(last, code, debug), and each open stream gets its `StreamClosed`.
    pub fn close(&mut self, code: ErrorCode, debug: &[u8]) {
        if self.is_closed() {
            return;
        }
        self.write_goaway(self.last_remote.min(self.announced_last), code, debug);
        for id in self.table.ids() {
            self.forget(id, Cause::ConnectionClosed);
        }
        self.phase = Phase::Closed;
        self.partial_block = None;
        self.partial_frame = Vec::new();
        self.settings_sent.clear();
        self.pings_sent.clear();
    }

    /// After [`Self::close`] or an error: nothing more will be said.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The connection ends by an error (§5.4.1).
    pub(super) fn fail(&mut self, error: ConnectionError) {
        if !self.is_closed() {
            if let ConnectionError::Calm(limit) = &error {
                self.trip(*limit);
            }
            self.close(error.code(), error.to_string().as_bytes());
            self.events.push_back(Event::ConnectionFailed { error });
        }
    }

    fn write_goaway(&mut self, last: StreamId, code: ErrorCode, debug: &[u8]) {
        let debug = shorten(debug);
        let mut payload = Vec::with_capacity(8 + debug.len());
        payload.extend_from_slice(&last.get().to_be_bytes());
        payload.extend_from_slice(&code.0.to_be_bytes());
        payload.extend_from_slice(debug);
        self.write_frame(kind::GOAWAY, 0, StreamId::CONNECTION, &payload);
        self.announced_last = last;
        self.record(StreamId::CONNECTION, Origin::Local, code);
    }
}

fn shorten(debug: &[u8]) -> &[u8] {
    &debug[..debug.len().min(MAX_DEBUG)]
}
