//! What streams say, put into the machine.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::{Outcome, RouteId};
use stagedoor_protocol::{ErrorCode, ResponseHead, StreamId, UserError};

use super::{Early, Entry, Http2};
use crate::client;
use crate::link::{Flow, ToSession};
use crate::session::events::SessionEvent;
use crate::stream::{CloseStream, Closed};

impl Http2 {
    /// Takes every message that waits.
    pub(super) fn replies(&mut self, now: Instant) {
        while let Some(message) = self.link.take() {
            self.reply(message, now);
        }
    }

    /// Takes one message.
    pub(super) fn reply(&mut self, message: ToSession, now: Instant) {
        self.tally.replies += 1;
        if let Some(id) = message.stream() {
            self.charging.touch(id);
        }
        match message {
            ToSession::SendWhole { id, route, head, body } => self.whole(id, route, (head, body), now),
            ToSession::SendHead { id, route, head, flow } => self.begin(id, route, &head, flow, now),
            ToSession::SendTunnel { id, route, head, flow, .. } => self.begin(id, route, &head, flow, now),
            ToSession::Inform { id, head } => {
                // Too late is no mistake here: the answer, or the peer, was faster.
                if let Err(error) = self.conn.send_informational(id, &head) {
                    tracing::debug!(parent: &self.link.span, stream = id.get(), %error, "not informed");
                }
                self.stirred = true;
            }
            ToSession::Push(push) => self.promise(*push),
            ToSession::Note { id, note } => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.take(note);
                }
            }
            ToSession::Watch { id } => {
                if self.streams.get(&id).is_none_or(|entry| entry.closed) && !self.is_promised(id) {
                    self.link.closed(id, || Closed::UNKNOWN);
                }
            }
            ToSession::Deadlines { id, own } => self.deadlines(id, *own, now),
            ToSession::SendData { id, data, end } => {
                let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) else {
                    return;
                };
                entry.bytes_out += data.len() as u64;
                entry.ended |= end;
                if let Some(parts) = entry.parts.as_mut().filter(|_| !data.is_empty()) {
                    parts.first_out.get_or_insert(now);
                }
                match self.conn.send_data(id, data, end) {
                    Ok(()) if end => {}
                    Ok(()) => self.grant(id),
                    Err(error) => self.misused(id, &error, now),
                }
            }
            ToSession::SendTrailers { id, fields } => {
                let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) else {
                    return;
                };
                entry.ended = true;
                if let Err(error) = self.conn.send_trailers(id, fields) {
                    self.misused(id, &error, now);
                }
            }
            // The answer is given whole and may still be on its way: what is told to stop is the request.
            ToSession::Reset { id, code: ErrorCode::NO_ERROR, .. } if self.client.is_none() => {
                self.enough(id)
            }
            ToSession::Reset { id, code, outcome } => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.outcome.get_or_insert(outcome);
                }
                self.reset(id, code);
            }
            ToSession::Consumed { id, octets } => {
                self.conn.consume(id, octets);
                // A window update may be due.
                self.stirred = true;
            }
            ToSession::BodyDropped { id, unread } => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.discards = true;
                }
                if unread > 0 {
                    self.conn.consume(id, unread);
                    self.stirred = true;
                }
            }
            ToSession::Command(command) => self.command(*command, now),
            ToSession::Exchange(_) | ToSession::Written { .. } => {}
        }
    }

    /// The head of a response whose body follows.
    fn begin(&mut self, id: StreamId, route: RouteId, head: &ResponseHead, flow: Rc<Flow>, now: Instant) {
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) else { return };
        entry.route = route;
        entry.status = head.status;
        entry.answered = Some(now);
        entry.parts().flow = Some(flow);
        match self.conn.send_response(id, head, false) {
            Ok(()) => {
                self.link.tell(|| SessionEvent::StreamAnswered { id, status: head.status });
                self.grant(id);
            }
            Err(error) => self.misused(id, &error, now),
        }
    }

    /// A whole response.
    #[inline]
    pub(super) fn whole(
        &mut self,
        id: StreamId,
        route: RouteId,
        (head, body): (ResponseHead, Bytes),
        now: Instant,
    ) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        if entry.closed {
            return;
        }
        entry.answer(route, head.status, body.len(), now);
        self.send_whole(id, &head, body, now);
    }

    #[inline]
    pub(super) fn send_whole(&mut self, id: StreamId, head: &ResponseHead, body: Bytes, now: Instant) {
        match self.give_whole(id, head, body) {
            Ok(()) => self.link.tell(|| SessionEvent::StreamAnswered { id, status: head.status }),
            Err(error) => self.misused(id, &error, now),
        }
    }

    /// Head, body and end, to the machine.
    #[inline]
    pub(super) fn give_whole(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        body: Bytes,
    ) -> Result<(), UserError> {
        self.conn.send_response(id, head, body.is_empty())?;
        if body.is_empty() { Ok(()) } else { self.conn.send_data(id, body, true) }
    }

    /// The request of a stream that is answered to the end is not wanted any more (RFC 9113 §8.1).
    fn enough(&mut self, id: StreamId) {
        let whole = self.conn.stream(id).is_some_and(|view| view.state == "half_closed_local");
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| entry.receiving && !entry.closed) else {
            return;
        };
        if whole {
            entry.outcome.get_or_insert(Outcome::Complete);
            return self.reset(id, ErrorCode::NO_ERROR);
        }
        self.early.push(Early { id, sent: None });
        self.stirred = true;
    }

    pub(super) fn reset(&mut self, id: StreamId, code: ErrorCode) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.ended = true;
        }
        // The peer may have been faster: then it is gone, and that is all right.
        self.conn.reset_stream(id, code).ok();
        self.stirred = true;
    }

    /// A handler asked for what cannot be.
    #[cold]
    pub(super) fn misused(&mut self, id: StreamId, error: &UserError, now: Instant) {
        if matches!(error, UserError::StreamGone(_) | UserError::ConnectionClosed) {
            return;
        }
        if let Some(call) = self.streams.get(&id).and_then(Entry::call) {
            call.blame(client::StreamError::Misused(error.clone()));
            return self.reset(id, ErrorCode::INTERNAL_ERROR);
        }
        if matches!(error, UserError::TooManyStreams) {
            // A promise the client has no room for after all.
            return self.reset(id, ErrorCode::CANCEL);
        }
        tracing::error!(parent: &self.link.span, stream = id.get(), %error, "a response cannot be sent");
        self.link.tell(|| SessionEvent::FrameError { stream: id, error: error.clone() });
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.outcome.get_or_insert(Outcome::ResetByUs);
        if error.is_about_fields() && entry.status != 500 {
            entry.status = 500;
            entry.ended = true;
            entry.bytes_out = 0;
            entry.answered = Some(now);
            let head = ResponseHead::new(500, [("content-length", "0")].into_iter().collect());
            if self.conn.send_response(id, &head, true).is_ok() {
                // The handler's body has nowhere to go.
                if let Some(place) = entry.parts.as_ref().and_then(|parts| parts.place) {
                    self.brood.tell(place, CloseStream { id, code: ErrorCode::INTERNAL_ERROR });
                    self.stirred = true;
                }
                return;
            }
        }
        self.reset(id, ErrorCode::INTERNAL_ERROR);
    }
}
