//! Messages out (RFC 9113 §6.1, §6.2, §8): heads are encoded when they are given, bodies are framed as windows,
//! priorities and the output's high-water mark allow.
//!
//! A call that fails has sent nothing.

use std::time::Instant;

use bytes::Bytes;

use super::closing::Phase;
use super::{Connection, Role};
use crate::error::UserError;
use crate::event::Event;
use crate::fields::Fields;
use crate::frame::{FrameHeader, HEADER_LEN, flag, kind};
use crate::hpack;
use crate::ids::StreamId;
use crate::message::{RequestHead, ResponseHead, check_fields};
use crate::stream::{BodyRule, Receiving, RecvHalf, SendHalf, Sending, Stream, Tail};

/// Octets of one DATA frame, and so of one turn of a stream, whatever larger frames the peer would take.
const TURN: usize = 16_384;

impl Connection {
    /// Client: opens a stream with a request.
    /// # Errors
    /// [`UserError::TooManyStreams`] at the peer's concurrency limit, [`UserError::GoingAway`] after GOAWAY,
    /// [`UserError::InvalidField`] for a head §8 forbids.
    pub fn send_request(&mut self, head: &RequestHead, end_stream: bool) -> Result<StreamId, UserError> {
        if self.role == Role::Server {
            return Err(UserError::WrongRole);
        }
        self.may_open()?;
        head.check(self.remote.enable_connect_protocol)?;
        let declared = check_fields(head.fields())?.filter(|_| head.method() != "CONNECT");
        let id = StreamId::from_wire(self.next_local);
        check_length(id, declared, 0, end_stream)?;
        self.next_local += 2;
        self.local_open += 1;
        self.streams_seen += 1;
        let send = match end_stream {
            true => SendHalf::Closed,
            false => SendHalf::Open(Sending {
                head_sent: true,
                declared,
                ..Sending::new(self.remote.initial_window_size)
            }),
        };
        let recv = RecvHalf::Open(Receiving { rule: BodyRule::AwaitHead, received: 0, discard: false });
        let mut stream = Stream::new(id, send, recv, self.local.initial_window_size);
        stream.head_request = head.method() == "HEAD";
        stream.connect = head.method() == "CONNECT";
        self.table.insert(stream);
        self.write_head(kind::HEADERS, id, None, end_stream, |encoder, run| {
            for (name, value) in head.pseudo() {
                encoder.field(name, value, false, run);
            }
            encode_fields(encoder, head.fields(), run);
        });
        Ok(id)
    }

    fn may_open(&self) -> Result<(), UserError> {
        match self.phase {
            Phase::Closed => return Err(UserError::ConnectionClosed),
            Phase::DrainAnnounced { .. } | Phase::Draining => return Err(UserError::GoingAway),
            Phase::Open => {}
        }
        if self.remote_goaway.is_some() {
            return Err(UserError::GoingAway);
        }
        if self.next_local > StreamId::MAX.get() {
            return Err(UserError::IdsExhausted);
        }
        if self.local_open >= self.remote.max_concurrent_streams {
            return Err(UserError::TooManyStreams);
        }
        Ok(())
    }

    /// Server: promises the response to a request that was not made, on a stream of its own (§8.4). The
    /// response follows by [`Self::send_response`] on the stream returned.
    /// # Errors
    /// [`UserError::WrongRole`] where the client does not allow push or `id` is itself a pushed stream.
    pub fn send_push(&mut self, id: StreamId, head: &RequestHead) -> Result<StreamId, UserError> {
        if self.role == Role::Client || !self.remote.enable_push || !id.is_client() {
            return Err(UserError::WrongRole);
        }
        self.may_open()?;
        head.check(false)?;
        match self.table.get(id) {
            Some(Stream { send: SendHalf::Open(sending), .. }) if matches!(sending.tail, Tail::Open) => {}
            Some(_) => return Err(UserError::Ended(id)),
            None => return Err(UserError::StreamGone(id)),
        }
        let promised = StreamId::from_wire(self.next_local);
        self.next_local += 2;
        self.streams_seen += 1;
        let send = SendHalf::Open(Sending::new(self.remote.initial_window_size));
        let mut stream = Stream::new(promised, send, RecvHalf::Closed, self.local.initial_window_size);
        stream.reserved = true;
        self.reserved += 1;
        stream.head_request = head.method() == "HEAD";
        self.table.insert(stream);
        self.write_head(kind::PUSH_PROMISE, id, Some(promised), false, |encoder, run| {
            for (name, value) in head.pseudo() {
                encoder.field(name, value, false, run);
            }
            encode_fields(encoder, head.fields(), run);
        });
        Ok(promised)
    }

    /// Server: an informational head: 100, or 102 to 199 (§8.1; 101 does not exist in HTTP/2, §8.6).
    /// # Errors
    /// As [`Self::send_response`].
    pub fn send_informational(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), UserError> {
        if head.status == 101 || !(100..200).contains(&head.status) {
            return Err(UserError::InvalidStatus(head.status));
        }
        check_fields(&head.fields)?;
        self.answerable(id)?;
        self.write_response(id, head, false);
        Ok(())
    }

    /// Server: the final head.
    /// # Errors
    /// [`UserError::HeadSent`] the second time, [`UserError::StreamGone`] after a reset,
    /// [`UserError::InvalidStatus`] outside 200 to 999, [`UserError::InvalidField`] for a field §8.2 forbids,
    /// [`UserError::ContentLength`] where content-length promises a body and `end_stream` denies it.
    pub fn send_response(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        end_stream: bool,
    ) -> Result<(), UserError> {
        if !(200..1000).contains(&head.status) {
            return Err(UserError::InvalidStatus(head.status));
        }
        let declared = check_fields(&head.fields)?;
        let (local_open, allowed) = (self.local_open, self.remote.max_concurrent_streams);
        self.answerable(id)?;
        let Some(stream) = self.table.get_mut(id) else { return Err(UserError::StreamGone(id)) };
        if stream.reserved && local_open >= allowed {
            return Err(UserError::TooManyStreams);
        }
        let bodyless = stream.head_request || matches!(head.status, 204 | 205 | 304);
        let declared = declared.filter(|_| !bodyless);
        check_length(id, declared, 0, end_stream)?;
        if stream.reserved {
            stream.reserved = false;
            self.reserved -= 1;
            self.local_open += 1;
        }
        if stream.connect
            && head.status < 300
            && let RecvHalf::Open(receiving) = &mut stream.recv
        {
            receiving.rule = BodyRule::Tunnel;
        }
        match &mut stream.send {
            send if end_stream => *send = SendHalf::Closed,
            SendHalf::Open(sending) => {
                sending.head_sent = true;
                sending.declared = declared;
            }
            SendHalf::Closed => {}
        }
        self.write_response(id, head, end_stream);
        if end_stream {
            self.settle(id);
        }
        Ok(())
    }

    /// The stream waits for its final head.
    fn answerable(&mut self, id: StreamId) -> Result<(), UserError> {
        if self.role == Role::Client {
            return Err(UserError::WrongRole);
        }
        let stream = self.table.get(id).ok_or(UserError::StreamGone(id))?;
        match &stream.send {
            SendHalf::Open(sending) if !sending.head_sent => Ok(()),
            SendHalf::Open(_) => Err(UserError::HeadSent(id)),
            SendHalf::Closed => Err(UserError::Ended(id)),
        }
    }

    /// The sending half of a stream whose head is out and whose end is not yet given.
    fn sendable(&mut self, id: StreamId) -> Result<&mut Sending, UserError> {
        let stream = self.table.get_mut(id).ok_or(UserError::StreamGone(id))?;
        match &mut stream.send {
            SendHalf::Open(sending) if !sending.head_sent => Err(UserError::HeadMissing(id)),
            SendHalf::Open(sending) if matches!(sending.tail, Tail::Open) => Ok(sending),
            SendHalf::Open(_) | SendHalf::Closed => Err(UserError::Ended(id)),
        }
    }

    /// Body octets. They leave at once where windows and the output have room and nobody waits, else they are
    /// queued. Never refuses for want of room: ask [`Self::capacity`] first.
    /// # Errors
    /// [`UserError::StreamGone`], [`UserError::Ended`], [`UserError::HeadMissing`], [`UserError::ContentLength`].
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end_stream: bool) -> Result<(), UserError> {
        let (connection, idle) = (self.send_window, self.scheduler.is_empty());
        let room = self.output.len() < self.config.output_high_water;
        let sending = self.sendable(id)?;
        let given = sending.given + data.len() as u64;
        check_length(id, sending.declared, given, end_stream)?;
        sending.given = given;
        if data.is_empty() && !end_stream {
            return Ok(());
        }
        let length = data.len() as i64;
        let direct = sending.queued == 0
            && (data.is_empty()
                || (idle && room && length <= sending.window && length <= connection && data.len() <= TURN));
        if direct {
            sending.window -= length;
            self.send_window -= length;
            self.write_data(id, data.len(), end_stream);
            self.output.payload(data);
            self.framed(id, length as u64, end_stream);
            return Ok(());
        }
        sending.queued += data.len();
        if !data.is_empty() {
            sending.queue.push_back(data);
        }
        if end_stream {
            sending.tail = Tail::End;
        }
        if sending.window > 0 && !sending.scheduled {
            sending.scheduled = true;
            if let Some(stream) = self.table.get(id) {
                self.scheduler.push(id.get(), stream.priority);
            }
        }
        Ok(())
    }

    fn framed(&mut self, id: StreamId, octets: u64, end_stream: bool) {
        if let Some(stream) = self.table.get_mut(id) {
            stream.sent += octets;
            if end_stream {
                stream.send = SendHalf::Closed;
            }
        }
        if end_stream {
            self.settle(id);
        }
    }

    /// Trailers; they follow what is queued and end the stream (§8.1).
    /// # Errors
    /// As [`Self::send_data`], and [`UserError::InvalidField`].
    pub fn send_trailers(&mut self, id: StreamId, fields: Fields) -> Result<(), UserError> {
        check_fields(&fields)?;
        let sending = self.sendable(id)?;
        check_length(id, sending.declared, sending.given, true)?;
        if sending.queued > 0 {
            sending.tail = Tail::Trailers(fields);
        } else {
            self.write_trailers(id, &fields);
        }
        Ok(())
    }

    fn write_trailers(&mut self, id: StreamId, fields: &Fields) {
        self.write_head(kind::HEADERS, id, None, true, |encoder, run| encode_fields(encoder, fields, run));
        self.framed(id, 0, true);
    }

    /// Body octets [`Self::send_data`] should be given now; when 0, a `CapacityAvailable` follows.
    pub fn capacity(&mut self, id: StreamId) -> usize {
        let limit = self.config.send_buffer;
        let Some(Stream { send: SendHalf::Open(sending), .. }) = self.table.get_mut(id) else { return 0 };
        let room = limit.saturating_sub(sending.queued);
        sending.starved = room == 0;
        room
    }

    /// Frames what windows and priorities allow, up to `output_high_water`; returns octets waiting for the
    /// socket. May bring `CapacityAvailable` and `StreamClosed` events.
    pub fn poll_output(&mut self, _now: Instant) -> usize {
        while !self.scheduler.is_empty() && self.output.len() < self.config.output_high_water {
            if self.send_window <= 0 {
                if !self.stalled {
                    self.stalled = true;
                    self.counters.flow_stalls[1] += 1;
                }
                break;
            }
            self.stalled = false;
            if let Some(id) = self.scheduler.pop() {
                self.frame_turn(StreamId::from_wire(id));
            }
        }
        self.output.len()
    }

    /// One DATA frame of one stream.
    fn frame_turn(&mut self, id: StreamId) {
        let low = self.config.send_buffer / 2;
        let limit = (self.send_window.max(0) as usize).min(TURN);
        let Some(stream) = self.table.get_mut(id) else { return };
        let priority = stream.priority;
        let SendHalf::Open(sending) = &mut stream.send else { return };
        sending.scheduled = false;
        let size = limit.min(sending.window.max(0) as usize).min(sending.queued);
        if size == 0 {
            // Out of window: WINDOW_UPDATE or SETTINGS schedules it again.
            self.counters.flow_stalls[0] += u64::from(sending.queued > 0);
            return;
        }
        let end_stream = size == sending.queued && matches!(sending.tail, Tail::End);
        let header = FrameHeader {
            length: size as u32,
            kind: kind::DATA,
            flags: if end_stream { flag::END_STREAM } else { 0 },
            id,
        };
        self.output.run().extend_from_slice(&header.octets());
        self.counters.frames_out[usize::from(kind::DATA)] += 1;
        let mut left = size;
        while left > 0 {
            let chunk = sending.take(left);
            if chunk.is_empty() {
                continue;
            }
            left -= chunk.len();
            self.output.payload(chunk);
        }
        sending.window -= size as i64;
        self.send_window -= size as i64;
        stream.sent += size as u64;
        if sending.starved && sending.queued <= low {
            sending.starved = false;
            self.events.push_back(Event::CapacityAvailable { id });
        }
        if end_stream {
            self.framed(id, 0, true);
        } else if sending.queued > 0 {
            if sending.window > 0 {
                sending.scheduled = true;
                self.scheduler.push(id.get(), priority);
            } else {
                self.counters.flow_stalls[0] += 1;
            }
        } else if let Tail::Trailers(fields) = std::mem::replace(&mut sending.tail, Tail::Open) {
            self.write_trailers(id, &fields);
        }
    }

    fn write_data(&mut self, id: StreamId, length: usize, end_stream: bool) {
        let flags = if end_stream { flag::END_STREAM } else { 0 };
        let header = FrameHeader { length: length as u32, kind: kind::DATA, flags, id };
        self.output.run().extend_from_slice(&header.octets());
        self.counters.frames_out[usize::from(kind::DATA)] += 1;
    }

    #[inline]
    fn write_response(&mut self, id: StreamId, head: &ResponseHead, end_stream: bool) {
        self.write_head(kind::HEADERS, id, None, end_stream, |encoder, run| {
            encoder.status(head.status, run);
            encode_fields(encoder, &head.fields, run);
        });
    }

    /// A header section, cut into CONTINUATION where it is longer than the peer's frames (§6.10).
    #[inline]
    fn write_head(
        &mut self,
        kind: u8,
        id: StreamId,
        promised: Option<StreamId>,
        end_stream: bool,
        encode: impl FnOnce(&mut hpack::Encoder, &mut Vec<u8>),
    ) {
        let run = self.output.run();
        let start = run.len();
        run.extend_from_slice(&[0; HEADER_LEN]);
        if let Some(promised) = promised {
            run.extend_from_slice(&promised.get().to_be_bytes());
        }
        self.encoder.begin(run);
        encode(&mut self.encoder, run);
        let block = start + HEADER_LEN;
        let length = run.len() - block;
        let end_stream = if end_stream { flag::END_STREAM } else { 0 };
        let limit = self.remote.max_frame_size as usize;
        if length <= limit {
            let flags = flag::END_HEADERS | end_stream;
            let header = FrameHeader { length: length as u32, kind, flags, id };
            run[start..block].copy_from_slice(&header.octets());
            self.counters.frames_out[usize::from(kind)] += 1;
            return;
        }
        let whole = run.split_off(block);
        run.truncate(start);
        let pieces = whole.chunks(limit).count();
        for (at, piece) in whole.chunks(limit).enumerate() {
            let last = if at + 1 == pieces { flag::END_HEADERS } else { 0 };
            let (kind, flags) = if at == 0 { (kind, end_stream | last) } else { (kind::CONTINUATION, last) };
            self.write_frame(kind, flags, id, piece);
        }
    }
}

#[inline]
fn encode_fields(encoder: &mut hpack::Encoder, fields: &Fields, run: &mut Vec<u8>) {
    for field in fields.iter() {
        match field.token {
            0 => encoder.field(field.name, field.value, field.sensitive, run),
            token => encoder.token_field(token, field.value, field.sensitive, run),
        }
    }
}

#[inline]
fn check_length(id: StreamId, declared: Option<u64>, sent: u64, end: bool) -> Result<(), UserError> {
    match declared {
        Some(declared) if sent > declared || (end && sent < declared) => {
            Err(UserError::ContentLength { id, sent, declared })
        }
        _ => Ok(()),
    }
}
