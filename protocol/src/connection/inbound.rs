//! Frames in (RFC 9113 §4 to §6): cuts the input, checks each frame against its stream, keeps the ledgers.

use std::time::Instant;

use bytes::Bytes;

use super::closing::{GoAway, MAX_DEBUG, Phase};
use super::{Connection, Role};
use crate::budget::SMALL;
use crate::error::{ConnectionError, ErrorCode, StreamError};
use crate::event::{Cause, Event, Origin, Scope};
use crate::flow::{MAX_WINDOW, Unread};
use crate::frame::{self, FrameHeader, HEADER_LEN, PREFACE, flag, kind};
use crate::ids::StreamId;
use crate::limit::Limit;
use crate::message::Malformed;
use crate::priority::Priority;
use crate::settings::{self, MAX_CUSTOM, Settings};
use crate::stream::{BodyRule, RecvHalf, SendHalf};
use crate::table::Gone;

impl Connection {
    /// Takes bytes as they arrive, all of them; keeps only the tail of an incomplete frame.
    /// # Errors
    /// The connection is over: GOAWAY is in the output, every open stream has had its `StreamClosed`, further
    /// input is ignored.
    pub fn handle_input(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), ConnectionError> {
        while !bytes.is_empty() {
            let taken = self.take_input(bytes, now)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// As [`Self::handle_input`], but stops behind the first frame that left an event waiting; returns how many
    /// octets it took. An owner that acts on each event before the next frame is read keeps what both touch in
    /// the processor's nearest cache (docs/performance.md).
    /// # Errors
    /// As [`Self::handle_input`].
    pub fn take_input(&mut self, bytes: &[u8], now: Instant) -> Result<usize, ConnectionError> {
        if self.is_closed() {
            return Ok(bytes.len());
        }
        self.set_clock(now);
        self.take_frames(bytes, now).inspect_err(|error| self.fail(error.clone()))
    }

    fn take_frames(&mut self, bytes: &[u8], now: Instant) -> Result<usize, ConnectionError> {
        let mut rest = bytes;
        if self.preface_left > 0 {
            rest = self.take_preface(rest)?;
        }
        if !self.partial_frame.is_empty() {
            rest = self.complete_partial_frame(rest, now)?;
            if !self.events.is_empty() {
                self.note_partial(now);
                return Ok(bytes.len() - rest.len());
            }
        }
        while let Some(head) = rest.first_chunk::<HEADER_LEN>() {
            let header = FrameHeader::parse(head);
            self.check_header(header)?;
            let end = HEADER_LEN + header.length as usize;
            let Some(payload) = rest.get(HEADER_LEN..end) else { break };
            self.handle_frame(header, payload, now)?;
            rest = &rest[end..];
            if !self.events.is_empty() {
                return Ok(bytes.len() - rest.len());
            }
        }
        if !rest.is_empty() {
            self.partial_frame.extend_from_slice(rest);
        }
        self.note_partial(now);
        Ok(bytes.len())
    }

    /// Starts or ends the clock of an incomplete frame.
    #[inline]
    fn note_partial(&mut self, now: Instant) {
        let data = self.partial_frame.get(3) == Some(&kind::DATA);
        if self.partial_frame.is_empty() || data {
            self.partial_since = None;
        } else {
            self.partial_since.get_or_insert(now);
        }
    }

    fn take_preface<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ConnectionError> {
        let expected = &PREFACE[PREFACE.len() - self.preface_left..];
        let count = expected.len().min(bytes.len());
        if bytes[..count] != expected[..count] {
            return Err(ConnectionError::BadPreface);
        }
        self.preface_left -= count;
        Ok(&bytes[count..])
    }

    /// Fills up the frame that the last input cut; returns what follows it, or nothing if it is still cut.
    fn complete_partial_frame<'a>(
        &mut self,
        mut bytes: &'a [u8],
        now: Instant,
    ) -> Result<&'a [u8], ConnectionError> {
        let mut top_up = |partial: &mut Vec<u8>, wanted: usize| {
            let step = wanted.saturating_sub(partial.len()).min(bytes.len());
            partial.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
        };
        top_up(&mut self.partial_frame, HEADER_LEN);
        let Some(head) = self.partial_frame.first_chunk::<HEADER_LEN>() else { return Ok(bytes) };
        let header = FrameHeader::parse(head);
        self.check_header(header)?;
        let end = HEADER_LEN + header.length as usize;
        top_up(&mut self.partial_frame, end);
        if self.partial_frame.len() < end {
            return Ok(bytes);
        }
        let mut frame = std::mem::take(&mut self.partial_frame);
        let handled = self.handle_frame(header, &frame[HEADER_LEN..], now);
        frame.clear();
        self.partial_frame = frame;
        self.partial_since = None;
        handled.map(|()| bytes)
    }

    /// What the nine octets alone can tell, before a payload is waited for.
    #[inline]
    fn check_header(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        let limit = self.frame_limit();
        if header.length > limit {
            return Err(ConnectionError::FrameTooLarge { length: header.length, limit });
        }
        if !self.settings_seen && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(ConnectionError::FirstFrameNotSettings(header.kind));
        }
        if let Some(partial) = &self.partial_block
            && (header.kind != kind::CONTINUATION || header.id != partial.id)
        {
            return Err(ConnectionError::Continuation);
        }
        Ok(())
    }

    /// Our SETTINGS_MAX_FRAME_SIZE: the larger of what is in force and what is on its way.
    #[inline]
    fn frame_limit(&self) -> u32 {
        let announced = self.settings_sent.iter().filter_map(|(settings, _)| settings.max_frame_size).max();
        announced.map_or(self.local.max_frame_size, |size| size.max(self.local.max_frame_size))
    }

    #[inline]
    fn handle_frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        self.note_in(header, payload);
        match header.kind {
            kind::DATA => self.on_data(header, payload, now),
            kind::HEADERS => self.on_headers(header, payload, now),
            kind::PRIORITY => self.on_priority(header),
            kind::RST_STREAM => self.on_reset(header, payload, now),
            kind::SETTINGS => self.on_settings(header, payload, now),
            kind::PUSH_PROMISE => self.on_push_promise(header, payload, now),
            kind::PING => self.on_ping(header, payload, now),
            kind::GOAWAY => self.on_goaway(header, payload),
            kind::WINDOW_UPDATE => self.on_window_update(header, payload, now),
            kind::CONTINUATION => self.on_continuation(header, payload, now),
            kind::PRIORITY_UPDATE => self.on_priority_update(header, payload),
            kind::ALTSVC if self.role == Role::Client => self.on_altsvc(header, payload),
            kind::ORIGIN if self.role == Role::Client => self.on_origin(header, payload),
            _ => self.spent.unknown_frame(HEADER_LEN + payload.len(), &self.config.budgets),
        }
    }

    fn on_data(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Result<(), ConnectionError> {
        let id = header.id;
        if id.is_connection() {
            return Err(ConnectionError::WrongStream("DATA"));
        }
        let (data, padding) = frame::strip_padding(header, payload)?;
        let end_stream = header.has(flag::END_STREAM);
        if !end_stream {
            self.spent.data(data.len(), &self.config.budgets)?;
        }
        self.spent.useful(data.len());
        let open = self.recv_window.window();
        // The whole payload counts, padding too (§6.1); until a reader holds it none of it is unread.
        self.recv_window.receive(payload.len()).map_err(ConnectionError::ConnectionWindowExceeded)?;
        let Some(stream) = self.table.get_mut(id) else {
            return self.data_on_gone_stream(id, data.len());
        };
        if stream.reserved {
            return Err(ConnectionError::ReservedStream { frame: "DATA", id });
        }
        let RecvHalf::Open(receiving) = &mut stream.recv else {
            return Err(ConnectionError::StreamClosed { frame: "DATA", id });
        };
        let received = receiving.received + data.len() as u64;
        let rule = match receiving.rule {
            BodyRule::AwaitHead => Err(Malformed::UnexpectedData),
            BodyRule::None if !data.is_empty() => Err(Malformed::UnexpectedData),
            BodyRule::Declared(length) if received > length || (end_stream && received < length) => {
                Err(Malformed::BodyLength)
            }
            BodyRule::Free | BodyRule::None | BodyRule::Tunnel | BodyRule::Declared(_) => Ok(()),
        };
        let open = open.min(stream.window.window());
        let taken = match rule {
            Err(rule) => Err(StreamError::Malformed(rule)),
            Ok(()) => stream.window.receive(payload.len()).map_err(StreamError::WindowExceeded),
        };
        if let Err(error) = taken {
            self.recv_window.skip(data.len());
            self.fail_stream(id, &error, now)?;
            self.connection_credit();
            return Ok(());
        }
        receiving.received = received;
        stream.received = received;
        let discard = receiving.discard;
        if end_stream {
            stream.recv = RecvHalf::Closed;
        }
        if discard {
            self.recv_window.skip(data.len());
        } else if !data.is_empty() || end_stream {
            // The last frame of a body is as long as the body makes it; others are what the window leaves, or less.
            let piece = Unread::piece(data.len(), end_stream || payload.len() as i64 >= open);
            stream.window.keep(piece);
            self.recv_window.keep(piece);
            let data = Bytes::copy_from_slice(data);
            self.events.push_back(Event::DataReceived { id, data, end_stream });
        }
        if end_stream {
            self.settle(id);
        } else if discard || padding > 0 {
            self.stream_credit(id);
        }
        // What no reader will take goes back at once, however little room there is: nothing else would.
        let roomy = self.recv_window.roomy();
        if discard || padding > 0 || roomy {
            self.connection_credit();
        }
        let thin = self.thin && self.recv_window.thin() > self.config.budgets.small_data as usize;
        if thin || (!roomy && self.recv_window.crowded()) {
            return Err(ConnectionError::Calm(Limit::SmallData));
        }
        Ok(())
    }

    /// DATA for a stream that is not in the table: its octets go back to the connection (§5.1, §6.9).
    fn data_on_gone_stream(&mut self, id: StreamId, data: usize) -> Result<(), ConnectionError> {
        self.recv_window.skip(data);
        if self.is_idle(id) {
            return Err(ConnectionError::IdleStream { frame: "DATA", id });
        }
        if self.table.gone(id) != Gone::Reset {
            return Err(ConnectionError::StreamClosed { frame: "DATA", id });
        }
        // What was on its way in frames of some size is nobody's fault; thin ones without end are a flood.
        self.spent.unknown_frame(SMALL.saturating_sub(data), &self.config.budgets)?;
        self.connection_credit();
        Ok(())
    }

    /// Parsed for its size alone (§5.3.2): the scheme is deprecated.
    fn on_priority(&mut self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.id.is_connection() {
            return Err(ConnectionError::WrongStream("PRIORITY"));
        }
        if header.length != 5 {
            // A stream error by §6.3; on an idle stream there is nothing to reset, and repeated it is an
            // attack (CVE-2025-8671), so the connection ends as §5.4.1 allows.
            return Err(ConnectionError::FrameSize { frame: "PRIORITY", length: header.length });
        }
        self.spent.priority(self.streams_seen, &self.config.budgets)
    }

    fn on_reset(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Result<(), ConnectionError> {
        let id = header.id;
        if id.is_connection() {
            return Err(ConnectionError::WrongStream("RST_STREAM"));
        }
        let (4, Some(code)) = (payload.len(), frame::leading_u32(payload)) else {
            return Err(ConnectionError::FrameSize { frame: "RST_STREAM", length: header.length });
        };
        if self.is_idle(id) {
            return Err(ConnectionError::IdleStream { frame: "RST_STREAM", id });
        }
        let code = ErrorCode(code);
        self.record(id, Origin::Remote, code);
        let answered = self.table.get(id).is_none_or(|stream| stream.answered());
        if self.role == Role::Server {
            self.spent.reset_received(answered, &self.config.budgets, now)?;
            self.spent.stream_given_up();
        }
        self.forget(id, Cause::Reset { by: Origin::Remote, code });
        Ok(())
    }

    fn on_settings(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        if !header.id.is_connection() {
            return Err(ConnectionError::WrongStream("SETTINGS"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::FrameSize { frame: "SETTINGS", length: header.length });
            }
            return self.settings_acknowledged();
        }
        if !payload.len().is_multiple_of(6) {
            return Err(ConnectionError::FrameSize { frame: "SETTINGS", length: header.length });
        }
        self.spent.settings(payload.len() / 6, &self.config.budgets, now)?;
        let mut settings = Settings::decode(payload)?;
        let wanted = &self.config.remote_custom_settings;
        settings.custom.retain(|(id, _)| wanted.iter().take(MAX_CUSTOM).any(|other| other == id));
        // In order (§6.5.3): a table that was small in between has lost its entries (RFC 7541 §4.2).
        for size in Settings::table_sizes(payload) {
            self.encoder.set_peer_limit(size);
        }
        if !self.settings_seen {
            self.remote.max_concurrent_streams = u32::MAX;
        }
        self.apply_remote(&settings)?;
        self.settings_seen = true;
        self.preface_deadline = None;
        self.write_frame(kind::SETTINGS, flag::ACK, StreamId::CONNECTION, &[]);
        self.spent.ack_queued(&self.config.budgets)?;
        self.events.push_back(Event::SettingsReceived { settings });
        Ok(())
    }

    /// The peer's settings come into force (§6.5.2, §6.9.2).
    fn apply_remote(&mut self, settings: &Settings) -> Result<(), ConnectionError> {
        let invalid = |id, value: bool| ConnectionError::InvalidSetting { id, value: u32::from(value) };
        if self.role == Role::Client && settings.enable_push == Some(true) {
            return Err(invalid(settings::id::ENABLE_PUSH, true));
        }
        if self.remote.enable_connect_protocol && settings.enable_connect_protocol == Some(false) {
            return Err(invalid(settings::id::ENABLE_CONNECT_PROTOCOL, false));
        }
        if let Some(initial) = settings.initial_window_size {
            let delta = i64::from(initial) - i64::from(self.remote.initial_window_size);
            for stream in self.table.iter_mut() {
                let SendHalf::Open(sending) = &mut stream.send else { continue };
                sending.window += delta;
                if sending.window > MAX_WINDOW {
                    return Err(ConnectionError::InitialWindow(initial));
                }
                if sending.window > 0 && sending.queued > 0 && !sending.scheduled {
                    sending.scheduled = true;
                    let since = sending.dry.take();
                    self.scheduler.push(stream.id.get(), stream.priority);
                    self.counters.wetted(Scope::Stream, since, self.clock);
                }
            }
        }
        self.remote.apply(settings);
        Ok(())
    }

    fn on_ping(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Result<(), ConnectionError> {
        if !header.id.is_connection() {
            return Err(ConnectionError::WrongStream("PING"));
        }
        let Ok(octets) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::FrameSize { frame: "PING", length: header.length });
        };
        if header.has(flag::ACK) {
            return self.pong(octets, now);
        }
        self.spent.ping(&self.config.budgets, now)?;
        self.write_frame(kind::PING, flag::ACK, StreamId::CONNECTION, &octets);
        self.spent.ack_queued(&self.config.budgets)?;
        self.events.push_back(Event::PingReceived { payload: octets });
        Ok(())
    }

    fn on_goaway(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        if !header.id.is_connection() {
            return Err(ConnectionError::WrongStream("GOAWAY"));
        }
        let Some(([last, code], debug)) = payload.split_at_checked(8).map(|(fixed, debug)| {
            let word = |at: usize| frame::leading_u32(&fixed[at..]).unwrap_or_default();
            ([word(0), word(4)], debug)
        }) else {
            return Err(ConnectionError::FrameSize { frame: "GOAWAY", length: header.length });
        };
        let (last, code) = (StreamId::from_wire(last), ErrorCode(code));
        let before = self.goaway_received();
        if before.is_some_and(|(before, _)| last > before) {
            return Err(ConnectionError::GoAwayRaised(last));
        }
        if before.is_some() {
            // Twice is graceful (§6.8); without end it is as good as an unknown frame.
            self.spent.unknown_frame(HEADER_LEN + payload.len(), &self.config.budgets)?;
        }
        self.record(StreamId::CONNECTION, Origin::Remote, code);
        let debug = Bytes::copy_from_slice(&debug[..debug.len().min(MAX_DEBUG)]);
        self.remote_goaway = Some(Box::new(GoAway { last, code, debug: debug.clone() }));
        self.events.push_back(Event::GoAwayReceived { last, code, debug });
        for id in self.table.ids() {
            if !self.is_remote(id) && id > last {
                self.forget(id, Cause::Unprocessed);
            }
        }
        Ok(())
    }

    fn on_window_update(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let id = header.id;
        let (4, Some(raw)) = (payload.len(), frame::leading_u32(payload)) else {
            return Err(ConnectionError::FrameSize { frame: "WINDOW_UPDATE", length: header.length });
        };
        let increment = i64::from(raw & 0x7fff_ffff);
        let frames = self.counters.frames_out[usize::from(kind::DATA)];
        self.spent.window_update(self.streams_seen, frames, self.data_sent, &self.config.budgets)?;
        if id.is_connection() {
            if increment == 0 {
                return Err(ConnectionError::ZeroIncrement);
            }
            self.send_window += increment;
            if self.send_window > MAX_WINDOW {
                return Err(ConnectionError::WindowOverflow);
            }
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(ConnectionError::IdleStream { frame: "WINDOW_UPDATE", id });
        }
        let Some(stream) = self.table.get_mut(id) else { return Ok(()) };
        if stream.reserved && self.role == Role::Client {
            return Err(ConnectionError::ReservedStream { frame: "WINDOW_UPDATE", id });
        }
        if increment == 0 {
            return self.fail_stream(id, &StreamError::ZeroIncrement, now);
        }
        let SendHalf::Open(sending) = &mut stream.send else { return Ok(()) };
        sending.window += increment;
        if sending.window > MAX_WINDOW {
            return self.fail_stream(id, &StreamError::WindowOverflow, now);
        }
        if sending.window > 0 && sending.queued > 0 && !sending.scheduled {
            sending.scheduled = true;
            let since = sending.dry.take();
            self.scheduler.push(id.get(), stream.priority);
            self.counters.wetted(Scope::Stream, since, now);
            self.note_moved(id);
        }
        Ok(())
    }

    /// RFC 9218 §7.1.
    fn on_priority_update(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        if self.role == Role::Client {
            return Err(ConnectionError::UnexpectedPriorityUpdate);
        }
        if !header.id.is_connection() {
            return Err(ConnectionError::WrongStream("PRIORITY_UPDATE"));
        }
        let Some(raw) = frame::leading_u32(payload) else {
            return Err(ConnectionError::FrameSize { frame: "PRIORITY_UPDATE", length: header.length });
        };
        let id = StreamId::from_wire(raw);
        if id.is_connection() {
            return Err(ConnectionError::UnexpectedPriorityUpdate);
        }
        self.spent.priority(self.streams_seen, &self.config.budgets)?;
        let priority = Priority::parse(&payload[4..]);
        if let Some(stream) = self.table.get_mut(id) {
            stream.priority = priority;
            if let SendHalf::Open(sending) = &stream.send
                && sending.scheduled
            {
                self.scheduler.remove(id.get());
                self.scheduler.push(id.get(), priority);
            }
            self.events.push_back(Event::PriorityUpdated { id, priority });
        } else if !id.is_client() {
            // A push stream: open ones are in the table, an idle one cannot be spoken of.
            if self.is_idle(id) {
                return Err(ConnectionError::UnexpectedPriorityUpdate);
            }
        } else if self.is_idle(id) {
            self.early_priorities.retain(|(other, _)| *other != id);
            if self.early_priorities.len() < self.config.max_concurrent_streams as usize {
                self.early_priorities.push((id, priority));
            }
        }
        Ok(())
    }

    /// Gives credit to a stream's sender when it is worth a frame.
    pub(super) fn stream_credit(&mut self, id: StreamId) {
        let bounds = self.config.stream_window;
        let raise = if self.settings_sent.is_empty() { 0 } else { self.pending_raise() };
        let Some(stream) = self.table.get_mut(id) else { return };
        let RecvHalf::Open(receiving) = &stream.recv else { return };
        let remaining = match receiving.rule {
            BodyRule::Declared(length) => Some(length - receiving.received.min(length)),
            BodyRule::Free | BodyRule::AwaitHead | BodyRule::None | BodyRule::Tunnel => None,
        };
        if let Some(credit) = stream.window.update(bounds, remaining, raise) {
            self.write_window_update(id, credit);
        }
    }

    /// Gives credit to the connection's sender when it is worth a frame.
    pub(super) fn connection_credit(&mut self) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if let Some(credit) = self.recv_window.update() {
            self.write_window_update(StreamId::CONNECTION, credit);
        }
    }
}
