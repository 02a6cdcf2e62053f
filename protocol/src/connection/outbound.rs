//! Messages out (RFC 9113 §6.1, §6.2, §8): heads are encoded when they are given, bodies are framed as windows,
//! priorities and the output's high-water mark allow.
//!
//! A call that fails has sent nothing.

use std::time::Instant;

use bytes::Bytes;

use super::closing::Phase;
use super::{Connection, Role};
use crate::config::Padding;
use crate::error::UserError;
use crate::event::{Event, Origin, Scope};
use crate::fields::Fields;
use crate::frame::{FrameHeader, HEADER_LEN, flag, kind};
use crate::hpack;
use crate::ids::StreamId;
use crate::message::{RequestHead, ResponseHead};
use crate::stream::{BodyRule, Receiving, RecvHalf, SendHalf, SendRule, Sending, Stream, Tail};

/// Octets of one DATA frame, and so of one turn of a stream, whatever larger frames the peer would take.
const TURN: usize = 16_384;

impl Connection {
    /// Client: opens a stream with a request.
    /// # Errors
    /// [`UserError::TooManyStreams`] at the peer's concurrency limit, [`UserError::GoingAway`] after GOAWAY,
    /// [`UserError::IdsExhausted`], [`UserError::ConnectionClosed`]; those of [`RequestHead::check`] and
    /// [`UserError::HeaderBlockTooLarge`] for the head; [`UserError::ContentLength`] where content-length promises a
    /// body and `end_stream` denies it; [`UserError::WrongRole`] on a server.
    pub fn send_request(&mut self, head: &RequestHead, end_stream: bool) -> Result<StreamId, UserError> {
        if self.role == Role::Server {
            return Err(UserError::WrongRole);
        }
        self.may_open()?;
        let strict = self.config.strict_single_value_fields;
        let declared = head.check_to_send(strict, self.remote.enable_connect_protocol)?;
        self.check_size(head.fields(), || head.pseudo_octets())?;
        let id = StreamId::from_wire(self.next_local);
        let method = head.method_octets();
        let connect = method == b"CONNECT";
        let rule = if connect { SendRule::Tunnel } else { SendRule::declared(declared) };
        check_body(id, rule, 0, end_stream)?;
        self.next_local += 2;
        self.local_open += 1;
        self.streams_seen += 1;
        let send = match end_stream {
            true => SendHalf::Closed,
            false => SendHalf::Open(Sending {
                head_sent: true,
                rule,
                ..Sending::new(self.remote.initial_window_size)
            }),
        };
        let recv = RecvHalf::Open(Receiving { rule: BodyRule::AwaitHead, received: 0, discard: false });
        let mut stream = Stream::new(id, send, recv, self.local.initial_window_size);
        stream.head_request = method == b"HEAD";
        stream.connect = connect;
        self.table.insert(stream);
        self.write_head(kind::HEADERS, id, None, end_stream, |encoder, run| {
            for (name, token, value) in head.pseudo_tokens() {
                match token {
                    0 => encoder.field(name.as_bytes(), value, false, run),
                    token => encoder.token_field(token, value, false, run),
                }
            }
            encode_fields(encoder, head.fields(), run);
        });
        self.note_fields(Origin::Local, id, || head.all_fields());
        Ok(id)
    }

    /// Whether a header block of these stays within our bound, whatever compression does: the tables of both sides must
    /// not hear of a block that is not sent. `pseudo` tells the octets of the pseudo-header fields.
    #[inline]
    fn check_size(&self, fields: &Fields, pseudo: impl FnOnce() -> usize) -> Result<(), UserError> {
        if fields.encoded_bound() <= self.config.max_send_header_block {
            return Ok(());
        }
        let (octets, limit) = (fields.encoded_bound_exactly() + pseudo(), self.config.max_send_header_block);
        if octets <= limit { Ok(()) } else { Err(UserError::HeaderBlockTooLarge { octets, limit }) }
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
    /// [`UserError::PushDisabled`] where the client takes none, [`UserError::NestedPush`] on a pushed stream,
    /// [`UserError::UnsafePush`] for what cannot be promised, [`UserError::Ended`] and [`UserError::StreamGone`] for a
    /// stream that carries no more of ours, [`UserError::WrongRole`] on a client; else as [`Self::send_request`].
    pub fn send_push(&mut self, id: StreamId, head: &RequestHead) -> Result<StreamId, UserError> {
        if self.role == Role::Client {
            return Err(UserError::WrongRole);
        }
        if !self.remote.enable_push {
            return Err(UserError::PushDisabled);
        }
        if !id.is_client() {
            return Err(UserError::NestedPush(id));
        }
        self.may_open()?;
        let declared = head.check_to_send(self.config.strict_single_value_fields, false)?;
        let safe = matches!(head.method(), "GET" | "HEAD") && head.authority().is_some();
        if !safe || declared.is_some_and(|length| length > 0) {
            return Err(UserError::UnsafePush);
        }
        self.check_size(head.fields(), || head.pseudo_octets())?;
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
                encoder.field(name.as_bytes(), value, false, run);
            }
            encode_fields(encoder, head.fields(), run);
        });
        self.note_fields(Origin::Local, id, || head.all_fields());
        Ok(promised)
    }

    /// Server: an informational head: 100, or 102 to 199 (§8.1; 101 does not exist in HTTP/2, §8.6).
    /// # Errors
    /// As [`Self::send_response`].
    pub fn send_informational(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), UserError> {
        head.check_informational(self.config.strict_single_value_fields)?;
        self.check_size(&head.fields, || 0)?;
        if self.role == Role::Client {
            return Err(UserError::WrongRole);
        }
        awaits_head(self.table.get(id).ok_or(UserError::StreamGone(id))?)?;
        self.write_response(id, head, false);
        Ok(())
    }

    /// Server: the final head.
    /// # Errors
    /// [`UserError::HeadSent`] the second time, [`UserError::StreamGone`] after a reset,
    /// those of [`ResponseHead::check`] and [`UserError::HeaderBlockTooLarge`] for the head,
    /// [`UserError::ContentLength`] where content-length promises a body and `end_stream` denies it,
    /// [`UserError::TooManyStreams`] for a pushed response at the client's limit, [`UserError::WrongRole`] on a client.
    pub fn send_response(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        end_stream: bool,
    ) -> Result<(), UserError> {
        let declared = head.check_to_send(self.config.strict_single_value_fields)?;
        self.check_size(&head.fields, || 0)?;
        let (local_open, allowed) = (self.local_open, self.remote.max_concurrent_streams);
        let reaches = self.position() + 1;
        if self.role == Role::Client {
            return Err(UserError::WrongRole);
        }
        let Some(stream) = self.table.get_mut(id) else { return Err(UserError::StreamGone(id)) };
        awaits_head(stream)?;
        if stream.reserved && local_open >= allowed {
            return Err(UserError::TooManyStreams);
        }
        let rule = if stream.connect && head.status < 300 {
            SendRule::Tunnel
        } else if stream.head_request || matches!(head.status, 204 | 205 | 304) {
            SendRule::Nothing
        } else {
            SendRule::declared(declared)
        };
        check_body(id, rule, 0, end_stream)?;
        if stream.reserved {
            stream.reserved = false;
            self.reserved -= 1;
            self.local_open += 1;
        }
        if rule == SendRule::Tunnel
            && let RecvHalf::Open(receiving) = &mut stream.recv
        {
            receiving.rule = BodyRule::Tunnel;
        }
        // Its first octet; what follows says more exactly.
        stream.reaches = reaches;
        match &mut stream.send {
            send if end_stream => *send = SendHalf::Closed,
            SendHalf::Open(sending) => {
                sending.head_sent = true;
                sending.rule = rule;
            }
            SendHalf::Closed => {}
        }
        self.write_response(id, head, end_stream);
        if end_stream {
            self.settle(id);
        }
        Ok(())
    }

    /// Body octets. They leave at once where windows and the output have room and nobody waits, else they are
    /// queued. Never refuses for want of room: ask [`Self::capacity`] first.
    /// # Errors
    /// [`UserError::StreamGone`], [`UserError::Ended`], [`UserError::HeadMissing`]; [`UserError::ContentLength`] for
    /// more octets than declared, or fewer at the end; [`UserError::BodyForbidden`].
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end_stream: bool) -> Result<(), UserError> {
        let (connection, idle) = (self.send_window, self.scheduler.is_empty());
        let room = self.has_room();
        let Some(stream) = self.table.get_mut(id) else { return Err(UserError::StreamGone(id)) };
        let sending = sendable(stream)?;
        let given = sending.given + data.len() as u64;
        check_body(id, sending.rule, given, end_stream)?;
        sending.given = given;
        if data.is_empty() && !end_stream {
            return Ok(());
        }
        let length = data.len() as i64;
        let direct = sending.queued == 0
            && (data.is_empty()
                || (idle && room && length <= sending.window && length <= connection && data.len() <= TURN));
        if direct {
            let extra = match self.config.padding {
                Padding::None => 0,
                padding => {
                    let window = sending.window.min(connection) - length;
                    padding.extra(data.len(), window, self.remote.max_frame_size)
                }
            };
            sending.window -= length + extra as i64;
            self.send_window -= length + extra as i64;
            self.data_sent += length as u64;
            let header = write_data_header(self.output.run(), id, data.len(), extra, end_stream);
            self.note_out(header, &[]);
            self.output.payload(data);
            if extra > 0 {
                write_padding(self.output.run(), extra);
            }
            self.framed(id, length as u64, end_stream);
            return Ok(());
        }
        sending.queued += data.len();
        if !data.is_empty() {
            sending.queue.push_back(data);
        }
        sending.recharge(&self.account, self.config.send_buffer);
        if end_stream {
            sending.tail = Tail::End;
        }
        if sending.window <= 0 && sending.queued > 0 && sending.dry.is_none() {
            sending.dry = Some(self.clock);
            self.counters.flow_stalls[0] += 1;
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
        let reaches = self.position();
        if let Some(stream) = self.table.get_mut(id) {
            stream.sent += octets;
            stream.reaches = reaches;
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
    /// As [`Self::send_data`]; those of [`Fields::check_trailers`] and [`UserError::HeaderBlockTooLarge`];
    /// [`UserError::TrailersOnTunnel`].
    pub fn send_trailers(&mut self, id: StreamId, fields: Fields) -> Result<(), UserError> {
        fields.check_trailers(self.config.strict_single_value_fields)?;
        self.check_size(&fields, || 0)?;
        let Some(stream) = self.table.get_mut(id) else { return Err(UserError::StreamGone(id)) };
        let sending = sendable(stream)?;
        match sending.rule {
            SendRule::Nothing => return Err(UserError::BodyForbidden(id)),
            SendRule::Tunnel => return Err(UserError::TrailersOnTunnel(id)),
            rule @ (SendRule::Free | SendRule::Declared(_)) => check_body(id, rule, sending.given, true)?,
        }
        if sending.queued > 0 {
            sending.tail = Tail::Trailers(Box::new(fields));
        } else {
            self.write_trailers(id, &fields);
        }
        Ok(())
    }

    fn write_trailers(&mut self, id: StreamId, fields: &Fields) {
        self.write_head(kind::HEADERS, id, None, true, |encoder, run| encode_fields(encoder, fields, run));
        self.note_fields(Origin::Local, id, || fields.clone());
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
    pub fn poll_output(&mut self, now: Instant) -> usize {
        self.set_clock(now);
        while !self.scheduler.is_empty() && self.has_room() {
            if self.send_window <= 0 {
                if self.dry.is_none() {
                    self.dry = Some(now);
                    self.counters.flow_stalls[1] += 1;
                }
                break;
            }
            if let Some(id) = self.scheduler.pop() {
                self.frame_turn(StreamId::from_wire(id));
            }
        }
        if self.dry.is_some() && (self.send_window > 0 || self.scheduler.is_empty()) {
            // The window is back, or nobody waits for it any more.
            let since = self.dry.take();
            self.counters.wetted(Scope::Connection, since, now);
        }
        self.settle_charges(now);
        self.output.len()
    }

    /// One DATA frame of one stream.
    fn frame_turn(&mut self, id: StreamId) {
        self.note_moved(id);
        let low = self.config.send_buffer / 2;
        let limit = (self.send_window.max(0) as usize).min(TURN);
        let (padding, frame_limit) = (self.config.padding, self.remote.max_frame_size);
        let Some(stream) = self.table.get_mut(id) else { return };
        let priority = stream.priority;
        let SendHalf::Open(sending) = &mut stream.send else { return };
        sending.scheduled = false;
        let size = limit.min(sending.window.max(0) as usize).min(sending.queued);
        if size == 0 {
            // Out of window: WINDOW_UPDATE or SETTINGS schedules it again.
            if sending.queued > 0 && sending.dry.is_none() {
                sending.dry = Some(self.clock);
                self.counters.flow_stalls[0] += 1;
            }
            return;
        }
        let end_stream = size == sending.queued && matches!(sending.tail, Tail::End);
        let extra = padding.extra(size, sending.window.min(self.send_window) - size as i64, frame_limit);
        let header = write_data_header(self.output.run(), id, size, extra, end_stream);
        let (clock, tap) = (self.clock, &mut self.tap);
        self.counters.frames_out[usize::from(kind::DATA)] += 1;
        self.recorder.frame(Origin::Local, header);
        if let Some(tap) = tap {
            tap.frame(clock, Origin::Local, header, &[]);
        }
        let mut left = size;
        while left > 0 {
            let chunk = sending.take(left);
            if chunk.is_empty() {
                continue;
            }
            left -= chunk.len();
            self.output.payload(chunk);
        }
        if extra > 0 {
            write_padding(self.output.run(), extra);
        }
        sending.window -= (size + extra) as i64;
        self.send_window -= (size + extra) as i64;
        self.data_sent += size as u64;
        sending.recharge(&self.account, self.config.send_buffer);
        stream.sent += size as u64;
        stream.reaches = self.taken + self.output.len() as u64;
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
            } else if sending.dry.is_none() {
                sending.dry = Some(self.clock);
                self.counters.flow_stalls[0] += 1;
            }
        } else if let Tail::Trailers(fields) = std::mem::replace(&mut sending.tail, Tail::Open) {
            self.write_trailers(id, &fields);
        }
    }

    #[inline]
    fn write_response(&mut self, id: StreamId, head: &ResponseHead, end_stream: bool) {
        self.write_head(kind::HEADERS, id, None, end_stream, |encoder, run| {
            encoder.status(head.status, run);
            encode_fields(encoder, &head.fields, run);
        });
        self.note_fields(Origin::Local, id, || head.all_fields());
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
            let mut flags = flag::END_HEADERS | end_stream;
            let mut length = length;
            if self.config.padding != Padding::None && kind == kind::HEADERS {
                let extra = self.config.padding.extra(length, i64::MAX, self.remote.max_frame_size);
                if extra > 0 {
                    run.insert(block, (extra - 1) as u8);
                    write_padding(run, extra);
                    flags |= flag::PADDED;
                    length += extra;
                }
            }
            let header = FrameHeader { length: length as u32, kind, flags, id };
            run[start..block].copy_from_slice(&header.octets());
            self.note_out(header, &[]);
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

/// The header of a DATA frame with `extra` octets of padding, its length octet included.
#[inline(always)]
fn write_data_header(
    run: &mut Vec<u8>,
    id: StreamId,
    size: usize,
    extra: usize,
    end_stream: bool,
) -> FrameHeader {
    let padded = if extra > 0 { flag::PADDED } else { 0 };
    let flags = if end_stream { flag::END_STREAM } else { 0 } | padded;
    let header = FrameHeader { length: (size + extra) as u32, kind: kind::DATA, flags, id };
    run.extend_from_slice(&header.octets());
    if extra > 0 {
        run.push((extra - 1) as u8);
    }
    header
}

/// The octets of padding themselves; `extra` is not 0.
#[inline]
fn write_padding(run: &mut Vec<u8>, extra: usize) {
    run.resize(run.len() + extra - 1, 0);
}

/// The final head of our side is still to come.
#[inline]
fn awaits_head(stream: &Stream) -> Result<(), UserError> {
    match &stream.send {
        SendHalf::Open(sending) if !sending.head_sent => Ok(()),
        SendHalf::Open(_) => Err(UserError::HeadSent(stream.id)),
        SendHalf::Closed => Err(UserError::Ended(stream.id)),
    }
}

/// The sending half of a stream whose head is out and whose end is not yet given.
#[inline]
fn sendable(stream: &mut Stream) -> Result<&mut Sending, UserError> {
    match &mut stream.send {
        SendHalf::Open(sending) if !sending.head_sent => Err(UserError::HeadMissing(stream.id)),
        SendHalf::Open(sending) if matches!(sending.tail, Tail::Open) => Ok(sending),
        SendHalf::Open(_) | SendHalf::Closed => Err(UserError::Ended(stream.id)),
    }
}

#[inline]
fn encode_fields(encoder: &mut hpack::Encoder, fields: &Fields, run: &mut Vec<u8>) {
    for field in fields.iter() {
        match field.token {
            0 => encoder.unknown_name(field.name, field.value, field.sensitive, run),
            token => encoder.token_field(token, field.value, field.sensitive, run),
        }
    }
}

/// Whether `given` octets may have been given so far, and be all.
#[inline]
fn check_body(id: StreamId, rule: SendRule, given: u64, end: bool) -> Result<(), UserError> {
    match rule {
        SendRule::Declared(declared) if given > declared || (end && given < declared) => {
            Err(UserError::ContentLength { id, sent: given, declared })
        }
        SendRule::Nothing if given > 0 => Err(UserError::BodyForbidden(id)),
        SendRule::Free | SendRule::Declared(_) | SendRule::Nothing | SendRule::Tunnel => Ok(()),
    }
}
