//! The connection itself (RFC 9113 §3.4, §6.5, §6.7): how it starts, settings and their acknowledgement, PING,
//! deadlines. The way down is [`super::closing`]'s business.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::Phase;
use super::limits::Charges;
use super::{Connection, Ping, PingKind, Role};
use crate::budget::Spent;
use crate::config::Config;
use crate::error::{ConnectionError, ErrorCode, UserError};
use crate::event::{Counters, Event, Origin};
use crate::flow::{ConnectionWindow, MAX_WINDOW};
use crate::frame::{FrameHeader, PREFACE, flag, kind};
use crate::hpack;
use crate::ids::StreamId;
use crate::limit::Limit;
use crate::memory::Account;
use crate::output::Output;
use crate::recorder::Recorder;
use crate::schedule::Scheduler;
use crate::settings::{InForce, MAX_CUSTOM, Settings, id};
use crate::stream::Stream;
use crate::table::Table;

impl Connection {
    /// A connection in `role`. The preface (client), the first SETTINGS and the connection's window are in the
    /// output at once.
    pub fn new(role: Role, config: impl Into<Arc<Config>>, now: Instant) -> Self {
        let config = config.into();
        let account = Account::default();
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
            recv_window: ConnectionWindow::new(config.connection_window, config.session_memory, &account),
            events: VecDeque::new(),
            table: Table::default(),
            last_remote: StreamId::CONNECTION,
            next_local: if role == Role::Client { 1 } else { 2 },
            remote_open: 0,
            local_open: 0,
            reserved: 0,
            streams_seen: 0,
            lingering: Vec::new(),
            orphans: Vec::new(),
            early_priorities: Vec::new(),
            encoder: hpack::Encoder::with_cap(config.encoder_table_size),
            output: Output::default(),
            scheduler: Scheduler::default(),
            send_window: 65_535,
            data_sent: 0,
            dry: None,
            clock: now,
            local: InForce::default(),
            remote: InForce {
                // Until the first SETTINGS says otherwise (§6.5.2 has no limit, prudence has).
                max_concurrent_streams: config.peer_max_concurrent_streams,
                ..InForce::default()
            },
            settings_sent: VecDeque::new(),
            pings_sent: VecDeque::new(),
            announced_last: role.highest_of_peer(),
            remote_goaway: None,
            spent: Spent::default(),
            trips: Vec::new(),
            charges: Charges::new(&account),
            account,
            thin: false,
            over_memory: None,
            counters: Box::new(Counters::default()),
            recorder: Recorder::new(now, config.record),
            tap: None,
            taken: 0,
            moved: Vec::new(),
            moved_many: false,
            errors: VecDeque::new(),
            config,
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
            custom: config.custom_settings.iter().copied().take(MAX_CUSTOM).collect(),
        };
        self.send_settings(settings, now);
    }

    fn send_settings(&mut self, settings: Settings, now: Instant) {
        self.write_frame(kind::SETTINGS, 0, StreamId::CONNECTION, &settings.encode());
        self.settings_sent.push_back((settings, now));
    }

    /// Changes our settings; they are in force when the peer has acknowledged (`SettingsAcknowledged`).
    /// # Errors
    /// [`UserError::InvalidSetting`] for a value §6.5.2 forbids, or one that may not be taken back (extended
    /// CONNECT, RFC 8441 §3; the old priorities, RFC 9218 §2.1); [`UserError::TooManyCustomSettings`];
    /// [`UserError::WindowTooLarge`] where SETTINGS_INITIAL_WINDOW_SIZE would lift the window of an open stream past
    /// 2^31-1 (§6.9.2); [`UserError::TooManySettings`] while [`Config::max_outstanding_settings`] are not
    /// acknowledged; [`UserError::ConnectionClosed`].
    pub fn update_settings(&mut self, settings: Settings, now: Instant) -> Result<(), UserError> {
        if self.is_closed() {
            return Err(UserError::ConnectionClosed);
        }
        let settings = settings.checked(self.role == Role::Server)?;
        if self.settings_sent.len() >= self.config.max_outstanding_settings {
            return Err(UserError::TooManySettings(self.config.max_outstanding_settings));
        }
        if settings.enable_connect_protocol == Some(false) && self.offered_connect_protocol() {
            return Err(UserError::InvalidSetting { id: id::ENABLE_CONNECT_PROTOCOL, value: 0 });
        }
        if settings.no_rfc7540_priorities == Some(false) {
            return Err(UserError::InvalidSetting { id: id::NO_RFC7540_PRIORITIES, value: 0 });
        }
        if let Some(initial) = settings.initial_window_size {
            let delta = i64::from(initial) - i64::from(self.local.initial_window_size);
            let over = |stream: &&Stream| stream.window.window() + delta > MAX_WINDOW;
            if let Some(stream) = self.table.iter().find(over) {
                return Err(UserError::WindowTooLarge { id: stream.id, initial });
            }
        }
        self.send_settings(settings, now);
        Ok(())
    }

    /// SETTINGS of ours that the peer has not acknowledged.
    pub fn pending_settings(&self) -> usize {
        self.settings_sent.len()
    }

    /// Extended CONNECT is in force or on its way: it cannot be taken back (RFC 8441 §3).
    fn offered_connect_protocol(&self) -> bool {
        let offered = |(settings, _): &(Settings, Instant)| settings.enable_connect_protocol == Some(true);
        self.local.enable_connect_protocol || self.settings_sent.iter().any(offered)
    }

    /// Octets by which SETTINGS on their way will lift the windows of streams at the peer: credit given meanwhile
    /// must leave room for it (§6.9.2).
    pub(super) fn pending_raise(&self) -> i64 {
        let now = i64::from(self.local.initial_window_size);
        let raise =
            |(settings, _): &(Settings, Instant)| Some(i64::from(settings.initial_window_size?) - now);
        self.settings_sent.iter().filter_map(raise).max().unwrap_or(0).max(0)
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
        // What the first SETTINGS of a session say is what all its neighbours say.
        if let Some(limit) = settings.max_concurrent_streams
            && limit != self.config.max_concurrent_streams
        {
            Arc::make_mut(&mut self.config).max_concurrent_streams = limit;
        }
        if let Some(limit) = settings.max_header_list_size
            && limit != self.config.max_header_list_size
        {
            Arc::make_mut(&mut self.config).max_header_list_size = limit;
        }
        if let Some(allowed) = settings.enable_push
            && allowed != self.config.enable_push
        {
            Arc::make_mut(&mut self.config).enable_push = allowed;
        }
        if let Some(allowed) = settings.enable_connect_protocol
            && allowed != self.config.enable_connect_protocol
        {
            Arc::make_mut(&mut self.config).enable_connect_protocol = allowed;
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
    /// # Errors
    /// [`UserError::TooManyPings`] while [`Config::max_outstanding_pings`] are unanswered,
    /// [`UserError::ConnectionClosed`].
    pub fn ping(&mut self, payload: [u8; 8]) -> Result<(), UserError> {
        self.may_ping(PingKind::Owner, self.config.max_outstanding_pings)?;
        self.write_ping(payload, PingKind::Owner);
        Ok(())
    }

    /// As [`Self::ping`], from a place of its own beside those of the application: for whoever watches whether the
    /// peer lives. One at a time.
    /// # Errors
    /// [`UserError::TooManyPings`] while the last one is unanswered, [`UserError::ConnectionClosed`].
    pub fn ping_keepalive(&mut self, payload: [u8; 8]) -> Result<(), UserError> {
        self.may_ping(PingKind::Keepalive, 1)?;
        self.write_ping(payload, PingKind::Keepalive);
        Ok(())
    }

    fn may_ping(&self, kind: PingKind, limit: usize) -> Result<(), UserError> {
        if self.is_closed() {
            return Err(UserError::ConnectionClosed);
        }
        let waiting = self.pings_sent.iter().filter(|ping| ping.kind == kind).count();
        if waiting >= limit { Err(UserError::TooManyPings(limit)) } else { Ok(()) }
    }

    /// PINGs of ours that the peer has not answered, of every kind.
    pub fn pending_pings(&self) -> usize {
        self.pings_sent.len()
    }

    pub(super) fn write_ping(&mut self, payload: [u8; 8], kind: PingKind) {
        self.write_frame(kind::PING, 0, StreamId::CONNECTION, &payload);
        self.pings_sent.push_back(Ping { payload, kind });
    }

    /// An answer to a PING. One that answers nothing is not told, and costs the peer as much as a PING of its own.
    pub(super) fn pong(&mut self, payload: [u8; 8], now: Instant) -> Result<(), ConnectionError> {
        let Some(at) = self.pings_sent.iter().position(|ping| ping.payload == payload) else {
            self.spent.invalid_frame(&self.config.budgets)?;
            return self.spent.ping(&self.config.budgets, now);
        };
        match self.pings_sent.remove(at).map(|ping| ping.kind) {
            Some(PingKind::Drain) => self.drain_answered(),
            Some(PingKind::Owner | PingKind::Keepalive) | None => {
                self.events.push_back(Event::PongReceived { payload });
            }
        }
        Ok(())
    }

    /// When [`Self::handle_deadline`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let drain = match self.phase {
            Phase::DrainAnnounced { deadline, .. } => Some(deadline),
            Phase::Open | Phase::Draining => None,
            Phase::Closed => return None,
        };
        let settings = self.settings_sent.front().map(|(_, sent)| *sent + self.config.settings_timeout);
        let memory = self.memory_deadline();
        [self.preface_deadline, self.header_deadline(), settings, memory, drain].into_iter().flatten().min()
    }

    /// A header block, or the frame that begins one, has to be complete by then.
    fn header_deadline(&self) -> Option<Instant> {
        let block = self.partial_block.as_ref().map(|partial| partial.since);
        block.or(self.partial_since).map(|since| since + self.config.header_timeout)
    }

    /// Our owner did not read from the peer for `time`: what the peer may have sent meanwhile is not late by that.
    pub fn postpone_deadlines(&mut self, time: Duration) {
        let settings = self.settings_sent.iter_mut().map(|(_, sent)| sent);
        let block = self.partial_block.as_mut().map(|partial| &mut partial.since);
        let parts = [self.preface_deadline.as_mut(), self.partial_since.as_mut(), block];
        for at in parts.into_iter().flatten().chain(settings) {
            *at += time;
        }
    }

    /// Acts on deadlines that have passed: preface, header block, SETTINGS acknowledgement, memory, the PING of a drain.
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
        } else if passed(self.memory_deadline()) {
            ConnectionError::Calm(Limit::Memory)
        } else {
            if let Phase::DrainAnnounced { deadline, .. } = self.phase
                && deadline <= now
            {
                self.finish_drain_announcement();
            }
            return Ok(());
        };
        self.fail(error.clone());
        Err(error)
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
        self.note_out(header, payload);
    }
}

const _: () = assert!(flag::END_STREAM == flag::ACK, "one bit, two names (§6)");
