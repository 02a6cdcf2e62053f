//! The connection itself (RFC 9113 §3.4, §5.4.1, §6.5, §6.7, §6.8): how it starts, settings and their
//! acknowledgement, PING, deadlines, and the way down.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Connection, Phase, Role};
use crate::budget::Budget;
use crate::config::Config;
use crate::error::{ConnectionError, ErrorCode, UserError};
use crate::event::{Cause, Counters, Event, Origin};
use crate::flow::ConnectionWindow;
use crate::frame::{self, FrameHeader, PREFACE, flag, kind};
use crate::hpack;
use crate::ids::StreamId;
use crate::output::Output;
use crate::schedule::Scheduler;
use crate::settings::{InForce, Settings};
use crate::table::Table;

/// The PING between the two GOAWAY frames of a graceful close.
const DRAIN_PING: [u8; 8] = *b"draining";

impl Connection {
    /// A connection in `role`. The preface (client), the first SETTINGS and the connection's window are in the
    /// output at once.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let mut connection = Self {
            role,
            phase: Phase::Open,
            preface_left: if role == Role::Server { PREFACE.len() } else { 0 },
            settings_seen: false,
            preface_deadline: Some(now + config.preface_timeout),
            partial_frame: Vec::new(),
            partial_since: None,
            partial_block: None,
            decoder: hpack::Decoder::new(4096),
            recv_window: ConnectionWindow::new(config.connection_window, config.session_memory),
            events: VecDeque::new(),
            table: Table::default(),
            last_remote: StreamId::CONNECTION,
            next_local: if role == Role::Client { 1 } else { 2 },
            remote_open: 0,
            local_open: 0,
            streams_seen: 0,
            lingering: Vec::new(),
            orphans: Vec::new(),
            early_priorities: Vec::new(),
            encoder: hpack::Encoder::new(),
            output: Output::default(),
            scheduler: Scheduler::default(),
            send_window: 65_535,
            stalled: false,
            local: InForce::default(),
            remote: InForce::default(),
            settings_sent: VecDeque::new(),
            pings_waiting: 0,
            remote_last: None,
            budget: Budget::default(),
            counters: Box::new(Counters::default()),
            errors: VecDeque::new(),
            config: Box::new(config),
        };
        if role == Role::Client {
            connection.output.run().extend_from_slice(PREFACE);
        }
        connection.send_first_settings(now);
        connection.connection_credit();
        connection
    }

    fn send_first_settings(&mut self, now: Instant) {
        let config = &self.config;
        let unless = |value: u32, default: u32| (value != default).then_some(value);
        let server = self.role == Role::Server;
        let settings = Settings {
            header_table_size: unless(config.header_table_size, 4096),
            enable_push: (!server).then_some(config.enable_push),
            max_concurrent_streams: (server || config.enable_push).then_some(config.max_concurrent_streams),
            initial_window_size: unless(config.stream_window.start, 65_535),
            max_frame_size: unless(config.max_frame_size, 16_384),
            max_header_list_size: Some(config.max_header_list_size),
            enable_connect_protocol: (server && config.enable_connect_protocol).then_some(true),
            no_rfc7540_priorities: Some(true),
            custom: config.custom_settings.clone(),
        };
        self.send_settings(settings, now);
    }

    fn send_settings(&mut self, settings: Settings, now: Instant) {
        let mut payload = Vec::with_capacity(48);
        for (id, value) in settings.entries() {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.write_frame(kind::SETTINGS, 0, StreamId::CONNECTION, &payload);
        self.settings_sent.push_back((settings, now));
    }

    /// Changes our settings; they are in force when the peer has acknowledged (`SettingsAcknowledged`).
    /// # Errors
    /// [`UserError::InvalidSetting`] for a value §6.5.2 forbids; [`UserError::ConnectionClosed`].
    pub fn update_settings(&mut self, settings: Settings, now: Instant) -> Result<(), UserError> {
        if self.is_closed() {
            return Err(UserError::ConnectionClosed);
        }
        settings.check().map_err(|(id, value)| UserError::InvalidSetting { id, value })?;
        if self.role == Role::Server && settings.enable_push == Some(true) {
            return Err(UserError::InvalidSetting { id: crate::settings::id::ENABLE_PUSH, value: 1 });
        }
        self.send_settings(settings, now);
        Ok(())
    }

    /// Our oldest SETTINGS come into force on the peer's side, and so on ours (§6.5.3).
    pub(super) fn settings_acknowledged(&mut self) -> Result<(), ConnectionError> {
        let Some((settings, _)) = self.settings_sent.pop_front() else {
            return Err(ConnectionError::UnexpectedSettingsAck);
        };
        if let Some(size) = settings.header_table_size {
            self.decoder.set_limit(size);
        }
        if let Some(initial) = settings.initial_window_size {
            let delta = i64::from(initial) - i64::from(self.local.initial_window_size);
            for stream in self.table.iter_mut() {
                stream.window.shift(delta);
            }
        }
        if let Some(limit) = settings.max_concurrent_streams {
            self.config.max_concurrent_streams = limit;
        }
        if let Some(limit) = settings.max_header_list_size {
            self.config.max_header_list_size = limit;
        }
        if let Some(allowed) = settings.enable_push {
            self.config.enable_push = allowed;
        }
        if let Some(allowed) = settings.enable_connect_protocol {
            self.config.enable_connect_protocol = allowed;
        }
        self.local.apply(&settings);
        self.events.push_back(Event::SettingsAcknowledged);
        Ok(())
    }

    /// Raises the receive window of the connection to `target` octets, within the session's memory.
    pub fn set_connection_window(&mut self, target: u32) {
        self.recv_window.set_target(target.min(0x7fff_ffff));
        self.connection_credit();
    }

    /// Sends a PING; `PongReceived` follows with the same payload.
    pub fn ping(&mut self, payload: [u8; 8]) {
        if !self.is_closed() {
            self.write_ping(&payload);
        }
    }

    fn write_ping(&mut self, payload: &[u8; 8]) {
        self.write_frame(kind::PING, 0, StreamId::CONNECTION, payload);
        self.pings_waiting = self.pings_waiting.saturating_add(1);
    }

    /// An answer to a PING. One that answers nothing is not told, and costs the peer as much as a PING of its own.
    pub(super) fn pong(&mut self, payload: [u8; 8], now: Instant) -> Result<(), ConnectionError> {
        if self.pings_waiting == 0 {
            return self.budget.ping(now);
        }
        self.pings_waiting -= 1;
        if payload == DRAIN_PING && matches!(self.phase, Phase::DrainAnnounced { .. }) {
            self.finish_drain_announcement();
        } else {
            self.events.push_back(Event::PongReceived { payload });
        }
        Ok(())
    }

    /// When [`Self::handle_deadline`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let drain = match self.phase {
            Phase::DrainAnnounced { deadline } => Some(deadline),
            Phase::Open | Phase::Draining { .. } => None,
            Phase::Closed => return None,
        };
        let settings = self.settings_sent.front().map(|(_, sent)| *sent + self.config.settings_timeout);
        [self.preface_deadline, self.header_deadline(), settings, drain].into_iter().flatten().min()
    }

    /// A header block, or the frame that begins one, has to be complete by then.
    fn header_deadline(&self) -> Option<Instant> {
        let block = self.partial_block.as_ref().map(|partial| partial.since);
        block.or(self.partial_since).map(|since| since + self.config.header_timeout)
    }

    /// Acts on deadlines that have passed: preface, header block, SETTINGS acknowledgement, the PING of a drain.
    /// # Errors
    /// As [`Self::handle_input`].
    pub fn handle_deadline(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let settings = self.settings_sent.front().map(|(_, sent)| *sent + self.config.settings_timeout);
        let error = if self.is_closed() {
            return Ok(());
        } else if passed(self.preface_deadline) {
            ConnectionError::PrefaceTimeout
        } else if passed(self.header_deadline()) {
            ConnectionError::HeaderTimeout
        } else if passed(settings) {
            ConnectionError::SettingsTimeout
        } else {
            if let Phase::DrainAnnounced { deadline } = self.phase
                && deadline <= now
            {
                self.finish_drain_announcement();
            }
            return Ok(());
        };
        self.fail(error.clone());
        Err(error)
    }

    /// Begins a graceful close (§6.8): GOAWAY(2^31-1) and PING; on its answer, or after
    /// [`Config::drain_ping_timeout`], GOAWAY(last) and `DrainStarted`. Streams go on; [`Self::is_drained`]
    /// tells when none is left. A request that crossed the first GOAWAY is still served.
    pub fn drain(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.write_goaway(StreamId::MAX, ErrorCode::NO_ERROR, b"");
        self.write_ping(&DRAIN_PING);
        self.phase = Phase::DrainAnnounced { deadline: now + self.config.drain_ping_timeout };
    }

    fn finish_drain_announcement(&mut self) {
        let last = self.last_remote;
        self.write_goaway(last, ErrorCode::NO_ERROR, b"");
        self.phase = Phase::Draining { last };
        self.events.push_back(Event::DrainStarted { last });
    }

    /// A drain has put out its second GOAWAY and no stream is open; or the connection is closed.
    pub fn is_drained(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::DrainAnnounced { .. } => false,
            Phase::Draining { .. } => self.table.is_empty(),
            Phase::Closed => true,
        }
    }

    /// Ends the connection now: GOAWAY(last, code, debug), and each open stream gets its `StreamClosed`.
    pub fn close(&mut self, code: ErrorCode, debug: &[u8]) {
        if self.is_closed() {
            return;
        }
        let last = match self.phase {
            Phase::Draining { last } => last,
            Phase::Open | Phase::DrainAnnounced { .. } | Phase::Closed => self.last_remote,
        };
        self.write_goaway(last, code, debug);
        for id in self.table.ids() {
            self.forget(id, Cause::ConnectionClosed);
        }
        self.phase = Phase::Closed;
        self.partial_block = None;
        self.partial_frame = Vec::new();
        self.settings_sent.clear();
    }

    /// After [`Self::close`] or an error: nothing more will be said.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The connection ends by an error (§5.4.1).
    pub(super) fn fail(&mut self, error: ConnectionError) {
        if !self.is_closed() {
            self.close(error.code(), error.to_string().as_bytes());
            self.events.push_back(Event::ConnectionFailed { error });
        }
    }

    fn write_goaway(&mut self, last: StreamId, code: ErrorCode, debug: &[u8]) {
        let mut payload = Vec::with_capacity(8 + debug.len());
        payload.extend_from_slice(&last.get().to_be_bytes());
        payload.extend_from_slice(&code.0.to_be_bytes());
        payload.extend_from_slice(&debug[..debug.len().min(1024)]);
        self.write_frame(kind::GOAWAY, 0, StreamId::CONNECTION, &payload);
        self.record(StreamId::CONNECTION, Origin::Local, code);
    }

    pub(super) fn write_reset(&mut self, id: StreamId, code: ErrorCode) {
        self.write_frame(kind::RST_STREAM, 0, id, &code.0.to_be_bytes());
        self.record(id, Origin::Local, code);
    }

    pub(super) fn write_window_update(&mut self, id: StreamId, credit: u32) {
        self.write_frame(kind::WINDOW_UPDATE, 0, id, &credit.to_be_bytes());
    }

    #[inline]
    pub(super) fn write_frame(&mut self, kind: u8, flags: u8, id: StreamId, payload: &[u8]) {
        let header = FrameHeader { length: payload.len() as u32, kind, flags, id };
        let run = self.output.run();
        run.extend_from_slice(&header.octets());
        run.extend_from_slice(payload);
        self.counters.frames_out[frame::count_index(kind)] += 1;
    }
}

const _: () = assert!(flag::END_STREAM == flag::ACK, "one bit, two names (§6)");
