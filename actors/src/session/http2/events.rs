//! What the machine says, handed out to streams.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::{ActorKind, CloseReason, Method, Outcome, RouteId};
use stagedoor_protocol::{Cause, ErrorCode, Event, Fields, Origin, RequestHead, ResponseHead, StreamId};

use super::entry::{Entry, KEPT_PATH};
use super::{Arrived, Early, Http2};
use crate::body::{BodyError, Inbound, RequestBody};
use crate::brood::Hatched;
use crate::close::CloseSession;
use crate::events::PanicPlace;
use crate::files::take_read;
use crate::link::{Start, ToSession, hand_over};
use crate::session::common::Common;
use crate::session::ended::Ended;
use crate::session::events::SessionEvent;
use crate::session::handle::GoAway;
use crate::stream::{CloseStream, Identity};
use crate::supervise::Exit;

/// Streams from here on are the last a client can open: 2 048 are left, more than may be on their way.
const LAST_IDS: u32 = 0x7fff_f000;

impl Http2 {
    /// Asks the handlers of streams that were put by.
    pub(super) fn begin_arrived(&mut self, common: &mut Common, now: Instant) {
        for arrived in std::mem::take(&mut self.charging.arrived) {
            self.start(arrived, common, now);
        }
        self.events(common, now);
    }

    /// Everything the machine says now.
    pub(super) fn events(&mut self, common: &mut Common, now: Instant) {
        while let Some(event) = self.conn.poll_event() {
            match event {
                Event::StreamOpened { id, head, end_stream } => {
                    self.open(id, head, end_stream, common, now);
                }
                Event::DataReceived { id, data, end_stream } => self.data(id, data, end_stream, now),
                Event::StreamClosed { id, cause } => self.closed(id, cause, common, now),
                Event::TrailersReceived { id, fields } => self.trailers(id, fields),
                Event::CapacityAvailable { id } => self.grant(id),
                Event::HeadTooLarge { id } => {
                    common.stream_opened(self.protocol);
                    let mut entry = Entry::new(now, Method::Other);
                    entry.receiving = self.conn.is_receiving(id);
                    if entry.receiving {
                        self.early.push(Early { id, sent: None });
                    }
                    self.enter(id, entry);
                    self.whole(id, RouteId::UNMATCHED, plain(431, "header fields too large\n", now), now);
                }
                Event::PongReceived { payload } => self.pong(payload, common, now),
                Event::PingReceived { payload } => self.link.tell(|| SessionEvent::Ping { payload }),
                Event::AltSvcReceived { id: stream, origin, value } => {
                    self.link.tell(|| SessionEvent::AltSvc { stream, origin, value });
                }
                Event::OriginReceived { origins } => self.origins(origins),
                Event::SettingsReceived { settings } => {
                    self.charging.touch_all();
                    self.link.push_allowed.set(self.conn.remote_settings().enable_push);
                    self.told_settings(settings);
                    self.client_settings();
                }
                Event::SettingsAcknowledged => {
                    let after = self.desk.settings_acknowledged(&self.conn, &self.link.board, now);
                    let settings = || self.conn.local_settings().clone();
                    self.link.tell(|| SessionEvent::LocalSettings { settings: settings(), after });
                }
                Event::GoAwayReceived { code, last, debug } => {
                    self.told_goaway(GoAway { code, last, opaque: debug });
                    if self.client.is_some() {
                        self.dismissed(code);
                        continue;
                    }
                    let reason = match code {
                        ErrorCode::NO_ERROR => CloseReason::ClientGoaway,
                        _ => CloseReason::PeerError,
                    };
                    self.order.get_or_insert_with(|| CloseSession::new(reason).with_detail(code.name()));
                }
                // Of a client's life, or of no consequence here.
                event => self.client_event(event, common, now),
            }
        }
    }

    fn enter(&mut self, id: StreamId, entry: Entry) {
        self.charging.touch(id);
        self.charging.tick.begin(entry.opened);
        self.streams.insert(id, entry);
        self.watch.busy();
    }

    fn open(&mut self, id: StreamId, head: RequestHead, end_stream: bool, common: &mut Common, now: Instant) {
        if id.get() >= LAST_IDS {
            // Its client had better go on elsewhere in good order (RFC 9113 §5.1.1).
            self.order.get_or_insert_with(|| CloseSession::new(CloseReason::Limit));
        }
        common.stream_opened(self.protocol);
        let open = self.streams.len() as u32 + 1;
        common.life.streams_peak = common.life.streams_peak.max(open);
        self.link.tell(|| SessionEvent::StreamOpened { id, head: Arc::new(head.clone()) });
        let method = Method::from_token(head.method_octets());
        let mut entry = Entry::new(now, method);
        entry.note(&self.link, id, &head);
        if end_stream {
            return self.ask(id, entry, (head, RequestBody::nothing()), common, now);
        }
        let inbound = Rc::new(Inbound::new(Rc::clone(&self.link), id));
        entry.receiving = true;
        entry.discards = false;
        let parts = entry.parts();
        parts.declared = head.content_length().is_some();
        parts.inbound = Some(Rc::clone(&inbound));
        // What came with it in one read is there when its handler looks.
        let body = RequestBody::http2(inbound, head.content_length());
        self.enter(id, entry);
        self.charging.arrived.push(Arrived { id, head, body });
    }

    /// Starts a stream that was put by, unless it is gone again.
    fn start(&mut self, arrived: Arrived, common: &mut Common, now: Instant) {
        let Arrived { id, head, body } = arrived;
        let Some(entry) = self.streams.remove(&id) else { return };
        self.ask(id, entry, (head, body), common, now);
    }

    fn ask(
        &mut self,
        id: StreamId,
        mut entry: Entry,
        (head, body): (RequestHead, RequestBody),
        common: &mut Common,
        now: Instant,
    ) {
        entry.alive = true;
        self.charging.target.clear();
        if common.host.config.observed {
            let target = head.path_octets();
            self.charging.target.extend_from_slice(target.get(..KEPT_PATH).unwrap_or(target));
        }
        let method = entry.method;
        self.hatch(id, entry, method, Start::Request(head, body), common, now);
    }

    /// Starts the actor of a stream, and gives it its first poll.
    #[inline(always)]
    pub(super) fn hatch(
        &mut self,
        id: StreamId,
        mut entry: Entry,
        method: Method,
        start: Start,
        common: &mut Common,
        now: Instant,
    ) {
        let actors = &common.host.actors()[ActorKind::Stream];
        actors.started.inc();
        hand_over(Identity::new(id, Rc::clone(&self.link), method, entry.span()), start);
        match self.brood.hatch(id) {
            Hatched::Over(Exit { panic: None, .. }) => {
                // Most streams are over in their first poll and have said all in one message.
                entry.alive = false;
                let mut first = self.link.take();
                if let Some(ToSession::Consumed { octets, .. }) = first {
                    // It read what was there before it answered.
                    self.conn.consume(id, octets);
                    self.stirred = true;
                    first = self.link.take();
                }
                match first {
                    Some(ToSession::SendWhole { id: whole, route, head, body }) if whole == id => {
                        let read = take_read();
                        if read > 0 {
                            entry.parts().file_read = read;
                        }
                        self.answered_at_once(id, entry, route, (head, body), common, now);
                    }
                    message => self.told_more(id, entry, message, common, now),
                }
            }
            Hatched::Over(exit) => {
                actors.alive.inc();
                self.enter(id, entry);
                self.replies(now);
                self.child_ended(exit, common, now);
            }
            Hatched::Living(place) => {
                actors.alive.inc();
                let parts = entry.parts();
                parts.place = Some(place);
                parts.file_read += take_read();
                entry.keep_path(&self.charging.target, common.host.config.show_query);
                self.enter(id, entry);
                self.replies(now);
                self.stirred |= !self.brood.is_attended();
            }
        }
    }

    #[inline(always)]
    fn answered_at_once(
        &mut self,
        id: StreamId,
        mut entry: Entry,
        route: RouteId,
        (head, body): (ResponseHead, Bytes),
        common: &mut Common,
        now: Instant,
    ) {
        entry.answer(route, head.status, body.len(), now);
        if entry.receiving {
            self.early.push(Early { id, sent: None });
        }
        match self.give_whole(id, &head, body) {
            // Over before anyone could ask for it: it never enters the table, and its StreamClosed finds none.
            Ok(()) if !self.conn.is_open(id) => {
                self.link.tell(|| SessionEvent::StreamAnswered { id, status: head.status });
                self.ended(id, Ended::of(&mut entry, Outcome::Complete), common, now);
                self.link.closed(id, || entry.closed_as(Outcome::Complete, ErrorCode::NO_ERROR));
                self.left(now);
            }
            Ok(()) => {
                self.link.tell(|| SessionEvent::StreamAnswered { id, status: head.status });
                entry.keep_path(&self.charging.target, common.host.config.show_query);
                self.enter(id, entry);
            }
            Err(error) => {
                self.enter(id, entry);
                self.misused(id, &error, now);
            }
        }
    }

    /// A stream ended in its first poll and said more than one message, or less.
    #[cold]
    fn told_more(
        &mut self,
        id: StreamId,
        mut entry: Entry,
        message: Option<ToSession>,
        common: &mut Common,
        now: Instant,
    ) {
        common.host.actors()[ActorKind::Stream].alive.inc();
        entry.alive = true;
        self.enter(id, entry);
        if let Some(message) = message {
            self.reply(message, now);
        }
        self.replies(now);
        self.child_ended(Exit { key: id, panic: None }, common, now);
    }

    fn data(&mut self, id: StreamId, data: Bytes, end_stream: bool, now: Instant) {
        let octets = data.len();
        let Some(entry) = self.streams.get_mut(&id) else { return self.conn.consume(id, octets) };
        self.charging.touch(id);
        entry.bytes_in += octets as u64;
        entry.receiving &= !end_stream;
        if let Some(parts) = entry.parts.as_mut().filter(|_| octets > 0) {
            parts.first_in.get_or_insert(now);
        }
        match entry.inbound() {
            Some(inbound) if !entry.discards => {
                let woken = inbound.push(data, end_stream);
                self.stirred |= woken;
            }
            _ => self.conn.consume(id, octets),
        }
    }

    fn trailers(&mut self, id: StreamId, fields: Fields) {
        self.charging.touch(id);
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.receiving = false;
        if let Some(call) = entry.call() {
            call.trailers(fields.clone());
        }
        if let Some(inbound) = entry.inbound() {
            let woken = inbound.finish(fields);
            self.stirred |= woken;
        }
    }

    /// Tells a stream how much the machine takes of it now.
    pub(super) fn grant(&mut self, id: StreamId) {
        let Some(flow) = self.streams.get(&id).and_then(Entry::flow) else { return };
        let woken = flow.grant(self.conn.capacity(id));
        self.stirred |= woken;
    }

    /// The machine is done with a stream.
    pub(super) fn closed(&mut self, id: StreamId, cause: Cause, common: &mut Common, now: Instant) {
        let Some(mut entry) = self.streams.remove(&id) else { return };
        if entry.closed {
            self.streams.insert(id, entry);
            return;
        }
        let (outcome, code) = match cause {
            Cause::EndStream => (Outcome::Complete, ErrorCode::NO_ERROR),
            Cause::Reset { by: Origin::Remote, code } => (Outcome::ResetByPeer, code),
            Cause::Reset { by: Origin::Local, code } => (Outcome::ResetByUs, code),
            Cause::Unprocessed => (Outcome::Refused, ErrorCode::REFUSED_STREAM),
            Cause::ConnectionClosed => (Outcome::SessionClosed, ErrorCode::CANCEL),
        };
        self.link.closed(id, || entry.closed_as(outcome, code));
        if self.client.is_some() {
            self.call_closed(id, &mut entry, cause);
        }
        if entry.parts.is_some() {
            self.tell(id, &mut entry, cause, code);
        }
        self.ended(id, Ended::of(&mut entry, outcome), common, now);
        if entry.alive {
            // Its place counts until the handler has really stopped.
            entry.closed = true;
            self.streams.insert(id, entry);
            return;
        }
        if cause != Cause::EndStream {
            self.conn.release_stream(id);
        }
        self.left(now);
    }

    /// Tells its actor, and whoever took body or tunnel out of it.
    fn tell(&mut self, id: StreamId, entry: &mut Entry, cause: Cause, code: ErrorCode) {
        // A tunnel that both sides ended well may hold octets on their way to somebody else: its task reads the end and
        // ends by itself, or with the session.
        let goes_on = cause == Cause::EndStream && entry.is_tunnel();
        let Some(parts) = &mut entry.parts else { return };
        if let Some(flow) = &parts.flow {
            flow.shut();
        }
        if let Some(inbound) = &parts.inbound {
            inbound.fail(match cause {
                Cause::ConnectionClosed => BodyError::SessionClosed,
                Cause::Reset { by: Origin::Local, .. } => BodyError::Broken(code.name().to_owned()),
                Cause::EndStream | Cause::Unprocessed | Cause::Reset { .. } => BodyError::Reset(code),
            });
        }
        if let Some(place) = parts.place.filter(|_| !goes_on) {
            self.brood.tell(place, CloseStream { id, code });
            self.stirred = true;
        }
    }

    /// A stream is gone from the table.
    fn left(&mut self, now: Instant) {
        if self.streams.is_empty() {
            self.watch.idle(now);
            self.charging.tick.rest();
        }
    }

    /// A stream's actor is gone.
    pub(super) fn child_ended(&mut self, exit: Exit<StreamId>, common: &mut Common, now: Instant) {
        let id = exit.key;
        let actors = &common.host.actors()[ActorKind::Stream];
        actors.alive.dec();
        if let Some(words) = &exit.panic {
            actors.panics.inc();
            tracing::error!(parent: &common.span, stream = id.get(), panic = words, "a handler panicked");
            let place = match self.streams.get(&id) {
                _ if self.client.is_some() => PanicPlace::Upload,
                Some(entry) if entry.answered.is_some() => PanicPlace::Body,
                _ => PanicPlace::Handler,
            };
            common.caught(Some(id), place, words);
            // Where streams are cut off already, that is not why.
            if self.leaving.is_none()
                && let Err(error) = self.conn.handler_panicked()
            {
                self.order.get_or_insert_with(|| (&error).into());
            }
        }
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.alive = false;
        if entry.closed {
            self.streams.remove(&id);
            self.conn.release_stream(id);
            return self.left(now);
        }
        if let Some(parts) = &mut entry.parts {
            parts.place = None;
        }
        if self.client.is_some() {
            return self.uploaded(id, exit.panic.is_some());
        }
        if !entry.ended {
            // It went without an answer, or in the middle of one.
            let outcome = if exit.panic.is_some() { Outcome::Panic } else { Outcome::ResetByUs };
            entry.outcome.get_or_insert(outcome);
            if entry.answered.is_none() {
                let route = entry.route;
                self.whole(id, route, plain(500, "internal server error\n", now), now);
            } else {
                self.reset(id, ErrorCode::INTERNAL_ERROR);
            }
        } else if exit.panic.is_some() {
            entry.outcome = Some(Outcome::Panic);
        }
        if self.streams.get(&id).is_some_and(|entry| entry.receiving && entry.ended) {
            self.early.push(Early { id, sent: None });
        }
    }
}

/// A short answer of our own.
fn plain(status: u16, text: &'static str, now: Instant) -> (ResponseHead, Bytes) {
    let mut response = crate::service::Response::text(text);
    response.status = status;
    match crate::stream::answer(response, Method::Get, now) {
        crate::stream::Answer::Whole(head, body) => (head, body),
        crate::stream::Answer::Trailed(head, ..) | crate::stream::Answer::Streaming(head, _) => {
            (head, Bytes::new())
        }
        crate::stream::Answer::Tunnel(_) => {
            (ResponseHead::new(status, stagedoor_protocol::Fields::new()), Bytes::new())
        }
    }
}
