//! Header blocks in (RFC 9113 §4.3, §6.2, §6.6, §6.10, §8): collected, decoded once, turned into messages.
//!
//! A block is decoded whatever becomes of its stream, or the tables would lose step with the peer.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Connection, PartialBlock, Role};
use crate::error::{ConnectionError, StreamError};
use crate::event::{Event, Origin};
use crate::frame::{self, FrameHeader, HEADER_LEN, flag};
use crate::hpack;
use crate::ids::StreamId;
use crate::limit::Limit;
use crate::message::{Collector, Kind, Malformed};
use crate::priority::Priority;
use crate::stream::{BodyRule, Receiving, RecvHalf, SendHalf, Sending, Stream};
use crate::table::Gone;

/// Octets of one decoded name or value.
const MAX_STRING: usize = 64 << 10;

impl Connection {
    pub(super) fn on_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if header.id.is_connection() {
            return Err(ConnectionError::WrongStream("HEADERS"));
        }
        let (mut fragment, _) = frame::strip_padding(header, payload)?;
        if header.has(flag::PRIORITY) {
            // Five octets of the deprecated scheme (§5.3.2), not looked at.
            fragment = match fragment.split_at_checked(5) {
                Some((_, rest)) => rest,
                None => return Err(ConnectionError::FrameSize { frame: "HEADERS", length: header.length }),
            };
        }
        if header.has(flag::END_HEADERS) {
            self.on_block(header.id, header.flags, None, fragment, now)
        } else {
            self.begin_block(header, None, fragment, now)
        }
    }

    pub(super) fn on_push_promise(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if header.id.is_connection() {
            return Err(ConnectionError::WrongStream("PUSH_PROMISE"));
        }
        if self.role == Role::Server || !self.local.enable_push {
            return Err(ConnectionError::UnexpectedPush);
        }
        let (fragment, _) = frame::strip_padding(header, payload)?;
        let Some((promised, fragment)) = frame::leading_u32(fragment).zip(fragment.get(4..)) else {
            return Err(ConnectionError::FrameSize { frame: "PUSH_PROMISE", length: header.length });
        };
        let promised = Some(StreamId::from_wire(promised));
        if header.has(flag::END_HEADERS) {
            self.on_block(header.id, header.flags, promised, fragment, now)
        } else {
            self.begin_block(header, promised, fragment, now)
        }
    }

    fn begin_block(
        &mut self,
        header: FrameHeader,
        promised: Option<StreamId>,
        fragment: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.partial_block = Some(Box::new(PartialBlock {
            id: header.id,
            flags: header.flags,
            promised,
            block: fragment.to_vec(),
            continuations: 0,
            empty: fragment.is_empty().into(),
            since: now,
            charge: self.account.charge(fragment.len()),
        }));
        Ok(())
    }

    pub(super) fn on_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Some(partial) = self.partial_block.as_mut() else { return Err(ConnectionError::Continuation) };
        let last = header.has(flag::END_HEADERS);
        let budgets = &self.config.budgets;
        partial.continuations += 1;
        if partial.continuations > budgets.continuations {
            return Err(ConnectionError::Calm(Limit::Continuations));
        }
        partial.empty += u32::from(payload.is_empty() && !last);
        if partial.empty > budgets.empty_continuations {
            return Err(ConnectionError::Calm(Limit::EmptyContinuations));
        }
        if partial.block.len() + payload.len() > budgets.header_block_bytes {
            return Err(ConnectionError::Calm(Limit::HeaderBlockBytes));
        }
        partial.block.extend_from_slice(payload);
        partial.charge.resize(partial.block.capacity());
        if !last {
            return Ok(());
        }
        match self.partial_block.take() {
            Some(partial) => self.on_block(partial.id, partial.flags, partial.promised, &partial.block, now),
            None => Ok(()),
        }
    }

    /// A whole header block.
    #[inline]
    fn on_block(
        &mut self,
        id: StreamId,
        flags: u8,
        promised: Option<StreamId>,
        block: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let end_stream = flags & flag::END_STREAM != 0;
        if let Some(promised) = promised {
            return self.on_promise(id, promised, block, now);
        }
        if self.table.get(id).is_some() {
            return match self.role {
                Role::Server => self.on_trailers(id, end_stream, block, now),
                Role::Client => self.on_client_headers(id, end_stream, block, now),
            };
        }
        if self.role == Role::Server && self.is_remote(id) && self.is_idle(id) {
            return self.on_request(id, end_stream, block, now);
        }
        self.on_stray(id, block)
    }

    /// HEADERS for a stream that is neither open nor new.
    fn on_stray(&mut self, id: StreamId, block: &[u8]) -> Result<(), ConnectionError> {
        if self.is_idle(id) {
            return Err(match self.role {
                Role::Server => ConnectionError::InvalidStreamId(id),
                Role::Client => ConnectionError::IdleStream { frame: "HEADERS", id },
            });
        }
        match self.table.gone(id) {
            Gone::Reset => {
                // Read for the tables' sake alone.
                self.spent.unknown_frame(HEADER_LEN + block.len(), &self.config.budgets)?;
                self.decode(Kind::Trailers, block).map(drop)
            }
            Gone::Ended => Err(ConnectionError::StreamClosed { frame: "HEADERS", id }),
            Gone::Unknown if self.role == Role::Server => Err(ConnectionError::InvalidStreamId(id)),
            Gone::Unknown => Err(ConnectionError::StreamClosed { frame: "HEADERS", id }),
        }
    }

    #[inline]
    fn decode(&mut self, kind: Kind, block: &[u8]) -> Result<Collector, ConnectionError> {
        let max = self.config.max_header_list_size as usize;
        let mut collector = Collector::new(kind, max, self.config.max_header_fields);
        // A request is often sent on, with a few fields more.
        let least = if matches!(kind, Kind::Request { .. }) { 384 } else { 256 };
        collector.reserve(16, (block.len() * 2).clamp(least, 4096));
        let factor = self.config.budgets.header_list_factor as usize;
        let abuse = max.saturating_mul(factor).max(self.config.budgets.header_block_bytes);
        let decoded = self.decoder.decode(block, MAX_STRING, |field| {
            collector.field(field);
            if collector.size() > abuse { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match decoded {
            Ok(()) => Ok(collector),
            // CVE-2016-6581, CVE-2026-49975: a few octets that become very many.
            Err(hpack::Error::Stopped) => Err(ConnectionError::Calm(Limit::HeaderList)),
            Err(error) => Err(error.into()),
        }
    }

    fn on_request(
        &mut self,
        id: StreamId,
        end_stream: bool,
        block: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.last_remote = id;
        self.streams_seen += 1;
        let connect_protocol = self.config.enable_connect_protocol;
        let collector = self.decode(Kind::Request { connect_protocol }, block)?;
        self.spent.useful(block.len());
        let priority = self.take_early_priority(id);
        if id > self.announced_last {
            return self.fail_stream(id, &StreamError::Draining, now);
        }
        if let Some((limit, error)) = self.no_room() {
            self.trip(limit);
            return self.fail_stream(id, &error, now);
        }
        self.spent.stream_accepted();
        if collector.too_large() {
            self.trip(collector.excess());
            self.insert_remote(id, BodyRule::Free, true, end_stream);
            self.events.push_back(Event::HeadTooLarge { id });
            return Ok(());
        }
        let collector_size = collector.size();
        let head = match collector.request() {
            Ok(head) => head,
            Err(rule) => return self.fail_stream(id, &StreamError::Malformed(rule), now),
        };
        // A tunnel's octets are not content (RFC 9110 §9.3.6); a lone END_STREAM with content-length above
        // zero is malformed (§8.1.1).
        let declared = head.content_length().filter(|_| head.method_octets() != b"CONNECT");
        if end_stream && declared.is_some_and(|length| length > 0) {
            return self.fail_stream(id, &StreamError::Malformed(Malformed::BodyLength), now);
        }
        let rule = declared.map_or(BodyRule::Free, BodyRule::Declared);
        let held = self.charge_head(collector_size);
        let stream = self.insert_remote(id, rule, false, end_stream);
        stream.head_request = head.method_octets() == b"HEAD";
        stream.connect = head.method_octets() == b"CONNECT";
        stream.held = held;
        if let Some(priority) = priority.or(head.priority()) {
            stream.priority = priority;
        }
        self.note_fields(Origin::Remote, id, || head.all_fields());
        self.events.push_back(Event::StreamOpened { id, head, end_stream });
        Ok(())
    }

    /// Why a new stream of the peer is refused, if it is: nothing was done for it then.
    #[inline]
    fn no_room(&self) -> Option<(Limit, StreamError)> {
        let (most, budgets) = (self.config.max_concurrent_streams, &self.config.budgets);
        if self.remote_open as usize + self.lingering.len() >= most as usize {
            return Some((Limit::Streams, StreamError::TooManyStreams));
        }
        if self.spent.crowded(most, budgets) {
            return Some((Limit::NewStreams, StreamError::TooManyStreams));
        }
        if self.account.charged() > self.config.session_memory {
            return Some((Limit::Memory, StreamError::NoMemory));
        }
        None
    }

    fn insert_remote(
        &mut self,
        id: StreamId,
        rule: BodyRule,
        discard: bool,
        end_stream: bool,
    ) -> &mut Stream {
        let recv = match end_stream {
            true => RecvHalf::Closed,
            false => RecvHalf::Open(Receiving { rule, received: 0, discard }),
        };
        let send = SendHalf::Open(Sending::new(self.remote.initial_window_size));
        self.remote_open += 1;
        self.table.insert(Stream::new(id, send, recv, self.local.initial_window_size))
    }

    /// PRIORITY_UPDATE that came before its request, which it outweighs (RFC 9218 §7.1).
    fn take_early_priority(&mut self, id: StreamId) -> Option<Priority> {
        if self.early_priorities.is_empty() {
            return None;
        }
        let found =
            self.early_priorities.iter().find(|(other, _)| *other == id).map(|(_, priority)| *priority);
        // Identifiers are used in order: what is not above this one will never be opened.
        self.early_priorities.retain(|(other, _)| *other > id);
        found
    }

    /// A second header section of a request: trailers (§8.1).
    fn on_trailers(
        &mut self,
        id: StreamId,
        end_stream: bool,
        block: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let collector = self.decode(Kind::Trailers, block)?;
        let Some(Stream { recv: RecvHalf::Open(receiving), .. }) = self.table.get(id) else {
            return Err(ConnectionError::StreamClosed { frame: "HEADERS", id });
        };
        if receiving.discard {
            return self.end_receiving(id, end_stream);
        }
        let error = if !end_stream || receiving.rule == BodyRule::Tunnel {
            StreamError::Malformed(Malformed::UnexpectedHeaders)
        } else if collector.too_large() {
            self.trip(collector.excess());
            StreamError::HeaderListTooLarge
        } else if matches!(receiving.rule, BodyRule::Declared(length) if length != receiving.received) {
            StreamError::Malformed(Malformed::BodyLength)
        } else {
            match collector.trailers() {
                Ok(fields) => {
                    self.note_fields(Origin::Remote, id, || fields.clone());
                    self.events.push_back(Event::TrailersReceived { id, fields });
                    return self.end_receiving(id, true);
                }
                Err(rule) => StreamError::Malformed(rule),
            }
        };
        self.fail_stream(id, &error, now)
    }

    fn end_receiving(&mut self, id: StreamId, end_stream: bool) -> Result<(), ConnectionError> {
        if end_stream {
            if let Some(stream) = self.table.get_mut(id) {
                stream.recv = RecvHalf::Closed;
            }
            self.settle(id);
        }
        Ok(())
    }

    /// Client: an informational head, the final head, or trailers.
    fn on_client_headers(
        &mut self,
        id: StreamId,
        end_stream: bool,
        block: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let Some(Stream { recv: RecvHalf::Open(receiving), .. }) = self.table.get(id) else {
            return Err(ConnectionError::StreamClosed { frame: "HEADERS", id });
        };
        if receiving.rule != BodyRule::AwaitHead {
            return self.on_trailers(id, end_stream, block, now);
        }
        let collector = self.decode(Kind::Response, block)?;
        if collector.too_large() {
            self.trip(collector.excess());
            return self.fail_stream(id, &StreamError::HeaderListTooLarge, now);
        }
        match self.take_response(id, end_stream, collector) {
            Ok(()) => self.end_receiving(id, end_stream),
            Err(error) => self.fail_stream(id, &error, now),
        }
    }

    fn take_response(
        &mut self,
        id: StreamId,
        end_stream: bool,
        collector: Collector,
    ) -> Result<(), StreamError> {
        let (head, declared) = collector.response()?;
        if (100..200).contains(&head.status) {
            if end_stream {
                return Err(Malformed::Status.into());
            }
            if let Some(stream) = self.table.get_mut(id) {
                stream.informational += 1;
                if stream.informational > self.config.max_informational {
                    return Err(StreamError::TooManyInformational);
                }
            }
            self.note_fields(Origin::Remote, id, || head.all_fields());
            self.events.push_back(Event::InformationalReceived { id, head });
            return Ok(());
        }
        let Some(stream) = self.table.get_mut(id) else { return Ok(()) };
        if stream.reserved {
            if self.remote_open >= self.config.max_concurrent_streams {
                return Err(StreamError::TooManyStreams);
            }
            stream.reserved = false;
            self.reserved -= 1;
            self.remote_open += 1;
        }
        let bodyless = stream.head_request || matches!(head.status, 204 | 304);
        let rule = match declared {
            _ if stream.connect && head.status < 300 => BodyRule::Tunnel,
            _ if bodyless => BodyRule::None,
            Some(length) => BodyRule::Declared(length),
            None => BodyRule::Free,
        };
        if end_stream && matches!(rule, BodyRule::Declared(length) if length > 0) {
            return Err(Malformed::BodyLength.into());
        }
        if let RecvHalf::Open(receiving) = &mut stream.recv {
            receiving.rule = rule;
        }
        self.note_fields(Origin::Remote, id, || head.all_fields());
        self.events.push_back(Event::ResponseReceived { id, head, end_stream });
        Ok(())
    }

    /// Client: PUSH_PROMISE (§8.4).
    fn on_promise(
        &mut self,
        id: StreamId,
        promised: StreamId,
        block: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let collector = self.decode(Kind::Request { connect_protocol: false }, block)?;
        if promised.is_connection() || promised.is_client() || promised <= self.last_remote {
            return Err(ConnectionError::InvalidStreamId(promised));
        }
        if self.is_idle(id) || self.is_remote(id) {
            return Err(ConnectionError::IdleStream { frame: "PUSH_PROMISE", id });
        }
        self.last_remote = promised;
        self.streams_seen += 1;
        match self.table.get(id).map(|stream| &stream.recv) {
            Some(RecvHalf::Open(_)) => {}
            None if self.table.gone(id) == Gone::Reset => {}
            _ => return Err(ConnectionError::StreamClosed { frame: "PUSH_PROMISE", id }),
        }
        if promised > self.announced_last {
            return self.fail_stream(promised, &StreamError::Draining, now);
        }
        if !self.config.enable_push
            || self.table.get(id).is_none()
            || self.reserved >= self.config.max_reserved_streams
        {
            return self.fail_stream(promised, &StreamError::TooManyStreams, now);
        }
        if collector.too_large() {
            self.trip(collector.excess());
            return self.fail_stream(promised, &StreamError::HeaderListTooLarge, now);
        }
        let head = match collector.request() {
            // Safe, cacheable and without a body (§8.4); an authority is needed to judge it.
            Ok(head)
                if matches!(head.method_octets(), b"GET" | b"HEAD")
                    && head.authority().is_some()
                    && head.content_length().unwrap_or(0) == 0 =>
            {
                head
            }
            Ok(_) => {
                let rule = Malformed::PseudoValue(":method");
                return self.fail_stream(promised, &StreamError::Malformed(rule), now);
            }
            Err(rule) => return self.fail_stream(promised, &StreamError::Malformed(rule), now),
        };
        let recv = RecvHalf::Open(Receiving { rule: BodyRule::AwaitHead, received: 0, discard: false });
        let mut stream = Stream::new(promised, SendHalf::Closed, recv, self.local.initial_window_size);
        stream.reserved = true;
        stream.head_request = head.method_octets() == b"HEAD";
        self.spent.stream_accepted();
        self.reserved += 1;
        self.table.insert(stream);
        self.note_fields(Origin::Remote, id, || head.all_fields());
        self.events.push_back(Event::PushPromised { id, promised, head });
        Ok(())
    }
}
