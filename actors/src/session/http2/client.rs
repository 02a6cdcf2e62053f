//! The client's half of the engine: requests from the desk go out, what comes back goes to their calls.
//!
//! A stream of ours is an entry of the same table as a peer's, with a [`Call`] instead of a handler; a body that the
//! session sends for a request is a Stream actor. Invariants: requests are opened in the order they were made, and
//! never past what the peer allows; each call is closed once, by `call_closed` or at the desk.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use stagedoor_metrics::{ActorKind, CloseReason, Method, Outcome};
use stagedoor_protocol::message::Malformed;
use stagedoor_protocol::{
    Cause, ConnectionError, ErrorCode, Event, Origin, RequestHead, ResponseHead, Role, StreamId, UserError,
};

use super::Http2;
use super::entry::Entry;
use crate::body::{BoxBody, Inbound};
use crate::brood::Hatched;
use crate::client::call::{Call, Sending, Upload, Waiting};
use crate::client::desk::{Keeper, ended};
use crate::client::{PushedStream, StreamError};
use crate::close::CloseSession;
use crate::link::{Flow, Link, Start, hand_over};
use crate::session::common::Common;
use crate::session::events::SessionEvent;
use crate::session::spans;
use crate::stream::Identity;
use crate::supervise::Contained;
use crate::transport::Transport;

/// How long streams may go on after the peer's GOAWAY: as long as it lets them, and they move.
const LINGER_ON: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// See the module.
pub(super) struct Client {
    pub(super) desk: Keeper,
    /// The server's SETTINGS have come.
    settings_seen: bool,
}

impl Http2 {
    /// A session of ours.
    pub(crate) fn client(io: Transport, common: &Common, link: Rc<Link>, desk: Keeper, now: Instant) -> Self {
        let mut session = Self::in_role(Role::Client, io, common, Rc::clone(&link), now);
        desk.opened(link);
        session.client = Some(Box::new(Client { desk, settings_seen: false }));
        session
    }

    /// The turn of the session: whom its handles wake.
    pub(super) fn attend(&mut self, cx: &Context<'_>) {
        if let Some(client) = &self.client {
            client.desk.attend(cx.waker());
        }
    }

    /// Opens streams for the requests that wait, as many as the peer allows.
    pub(super) fn requests(&mut self, common: &mut Common, now: Instant) {
        loop {
            let Some(client) = &self.client else { return };
            let Some(waiting) = client.desk.take() else { break };
            if waiting.call.is_closed() {
                continue;
            }
            // Whether it may be sent is in the server's first SETTINGS (RFC 8441 §3).
            if waiting.head.protocol().is_some() && !client.settings_seen {
                return client.desk.put_back(waiting);
            }
            let end = matches!(waiting.upload, Upload::Nothing);
            match self.conn.send_request(&waiting.head, end) {
                Ok(id) => self.begin_request(id, waiting, common, now),
                // The next SETTINGS, or the end of a stream, lets it go on.
                Err(UserError::TooManyStreams) => return client.desk.put_back(waiting),
                Err(error) => waiting.call.closed(Err(refused(error, client))),
            }
        }
        let Some(client) = &self.client else { return };
        if client.desk.is_orphan() && self.streams.is_empty() && !common.is_ending() {
            let order = CloseSession::new(CloseReason::Drain).with_detail("nobody holds the session");
            self.order.get_or_insert(order);
        }
    }

    fn begin_request(&mut self, id: StreamId, waiting: Waiting, common: &mut Common, now: Instant) {
        let Waiting { call, head, upload, timeouts, in_line } = waiting;
        drop(in_line);
        if head.authority_octets() != call.target().authority.as_bytes() {
            call.goes_to(&head);
        }
        let flow = match &upload {
            Upload::Nothing | Upload::Full(_) => None,
            Upload::Stream(_) | Upload::Handle => Some(Rc::new(Flow::default())),
        };
        self.stirred = true;
        let entry = self.enter_call(id, &head, &call, flow.clone(), common, now);
        entry.ended = matches!(upload, Upload::Nothing);
        match upload {
            Upload::Nothing => {}
            Upload::Full(octets) => {
                entry.bytes_out += octets.len() as u64;
                entry.parts().first_out = Some(now).filter(|_| !octets.is_empty());
                entry.ended = true;
                if let Err(error) = self.conn.send_data(id, octets, true) {
                    self.misused(id, &error, now);
                }
            }
            Upload::Handle => self.grant(id),
            Upload::Stream(body) => {
                self.grant(id);
                if let Some(flow) = flow {
                    self.upload(id, body, flow, common, now);
                }
            }
        }
        if let Some(timeouts) = timeouts {
            self.deadlines(id, *timeouts, now);
        }
    }

    /// A stream of ours, or one that was promised, enters the table.
    fn enter_call(
        &mut self,
        id: StreamId,
        head: &RequestHead,
        call: &Rc<Call>,
        flow: Option<Rc<Flow>>,
        common: &mut Common,
        now: Instant,
    ) -> &mut Entry {
        common.stream_opened(self.protocol);
        let open = self.streams.len() as u32 + 1;
        common.life.streams_peak = common.life.streams_peak.max(open);
        self.link.tell(|| SessionEvent::StreamOpened { id, head: Arc::new(head.clone()) });
        let inbound = Rc::new(Inbound::new(Rc::clone(&self.link), id));
        call.opened(id, Rc::clone(&self.link), Rc::clone(&inbound), flow.clone());
        let mut entry = Entry::new(now, Method::from_token(head.method_octets()));
        entry.receiving = true;
        entry.discards = false;
        let parts = entry.parts();
        parts.inbound = Some(inbound);
        parts.flow = flow;
        parts.call = Some(Rc::clone(call));
        entry.keep_path(head.path_octets(), common.host.config.show_query);
        self.watch.busy();
        self.charging.touch(id);
        self.charging.tick.begin(now);
        self.streams.entry(id).insert_entry(entry).into_mut()
    }

    /// A Stream actor sends the body: a panic in it ends this request alone.
    fn upload(
        &mut self,
        id: StreamId,
        body: Contained<BoxBody>,
        flow: Rc<Flow>,
        common: &mut Common,
        now: Instant,
    ) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.alive = true;
        if let Some(span) = spans::bare(&self.link, id) {
            entry.parts().span = Some(span);
        }
        let identity = Identity::new(id, Rc::clone(&self.link), entry.method, entry.span());
        let actors = &common.host.actors()[ActorKind::Stream];
        actors.started.inc();
        actors.alive.inc();
        hand_over(identity, Start::Upload(body, flow));
        match self.brood.hatch(id) {
            Hatched::Over(exit) => {
                self.replies(now);
                self.child_ended(exit, common, now);
            }
            Hatched::Living(place) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.parts().place = Some(place);
                }
                self.replies(now);
                self.stirred |= !self.brood.is_attended();
            }
        }
    }

    /// The actor that sent a body is gone.
    pub(super) fn uploaded(&mut self, id: StreamId, panicked: bool) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        if panicked {
            entry.outcome = Some(Outcome::Panic);
        }
        if !entry.ended {
            if let Some(call) = entry.call() {
                call.blame(StreamError::BodyFailed);
            }
            self.reset(id, ErrorCode::INTERNAL_ERROR);
        }
    }

    /// The server's SETTINGS have come, the first or others.
    pub(super) fn client_settings(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.settings_seen = true;
        let settings = self.conn.remote_settings();
        client.desk.set_connect_protocol(settings.enable_connect_protocol);
        client.desk.set_stream_limit(settings.max_concurrent_streams);
        // More streams may be allowed now.
        self.stirred = true;
    }

    /// What only clients hear.
    pub(super) fn client_event(&mut self, event: Event, common: &mut Common, now: Instant) {
        if self.client.is_none() {
            return;
        }
        match event {
            Event::InformationalReceived { id, head } => self.informed(id, head),
            Event::ResponseReceived { id, head, end_stream } => self.answered(id, head, end_stream, now),
            Event::PushPromised { id, promised, head } => self.promised(id, promised, head, common, now),
            _ => {}
        }
    }

    /// The server says what else it answers for; only TLS makes that believable (RFC 8336 §2.4).
    pub(super) fn origins(&mut self, origins: Vec<String>) {
        let Some(client) = &self.client else { return };
        match client.desk.add_origins(&origins) {
            Some(true) => {
                self.link.board.learn_origins(&origins);
                self.link.tell(|| SessionEvent::Origin { origins });
            }
            Some(false) => {
                let order = CloseSession::new(CloseReason::Abuse).with_detail("too many origins");
                self.order.get_or_insert(order);
            }
            None => {}
        }
    }

    fn informed(&mut self, id: StreamId, head: ResponseHead) {
        let Some(call) = self.streams.get(&id).and_then(Entry::call) else { return };
        if !call.informational(head) {
            call.blame(StreamError::TooManyInformational);
            self.reset(id, ErrorCode::ENHANCE_YOUR_CALM);
        }
    }

    fn answered(&mut self, id: StreamId, head: ResponseHead, end_stream: bool, now: Instant) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.answered = Some(now);
        entry.status = head.status;
        entry.receiving &= !end_stream;
        let declared = head.fields.contains("content-length");
        entry.parts().declared = declared;
        let status = head.status;
        self.link.tell(|| SessionEvent::StreamAnswered { id, status });
        if let Some(call) = entry.call() {
            if status == 421
                && let Some(client) = &self.client
            {
                // It does not answer for that origin after all (RFC 9110 §15.5.20).
                client.desk.remove_origin(&call.origin());
            }
            call.response(head);
        }
        if end_stream && let Some(inbound) = entry.inbound() {
            inbound.push(bytes::Bytes::new(), true);
        }
    }

    fn promised(
        &mut self,
        parent: StreamId,
        promised: StreamId,
        head: RequestHead,
        common: &mut Common,
        now: Instant,
    ) {
        let parent = self.streams.get(&parent).and_then(Entry::call).cloned();
        let (Some(client), Some(parent)) = (&self.client, parent) else {
            self.conn.reset_stream(promised, ErrorCode::CANCEL).ok();
            return;
        };
        let call = Call::new(Rc::clone(&client.desk), Sending::Nothing);
        let entry = self.enter_call(promised, &head, &call, None, common, now);
        entry.ended = true;
        // What nobody will claim is dropped, and that cancels it.
        drop(parent.pushed(PushedStream::new(head, call)));
    }

    /// The peer's GOAWAY: it looks at no stream above the last it named, and takes no new ones.
    pub(super) fn dismissed(&mut self, code: ErrorCode) {
        let Some(client) = &self.client else { return };
        client.desk.set_goaway(code);
        let order = match code {
            ErrorCode::NO_ERROR => CloseSession::new(CloseReason::ClientGoaway).with_grace(LINGER_ON),
            _ => CloseSession::new(CloseReason::PeerError),
        };
        client.desk.closing();
        self.order.get_or_insert_with(|| order.with_detail(format!("GOAWAY with {}", code.name())));
    }

    /// A stream of ours is over: its handles are told how.
    pub(super) fn call_closed(&mut self, id: StreamId, entry: &mut Entry, cause: Cause) {
        let Some(client) = &self.client else { return };
        let Some(call) = entry.parts.as_mut().and_then(|parts| parts.call.take()) else { return };
        let end = match cause {
            Cause::EndStream => Ok(()),
            // The response is whole; the rest of the request is not wanted (RFC 9113 §8.1).
            Cause::Reset { by: Origin::Remote, code: ErrorCode::NO_ERROR } if !entry.receiving => Ok(()),
            Cause::Reset { by: Origin::Remote, code: ErrorCode::REFUSED_STREAM } if !call.is_answered() => {
                Err(StreamError::Unprocessed { code: ErrorCode::REFUSED_STREAM })
            }
            Cause::Reset { by: Origin::Remote, code } => Err(StreamError::Reset(code)),
            Cause::Reset { by: Origin::Local, code } => Err(match (call.blamed(), entry.outcome) {
                (Some(error), _) => error,
                (None, Some(Outcome::Timeout)) => StreamError::TimedOut,
                (None, Some(Outcome::ResetByUs)) => StreamError::BodyFailed,
                (None, Some(Outcome::Cancelled)) => StreamError::ResetByUs(code),
                (None, _) => StreamError::Malformed(code),
            }),
            Cause::Unprocessed => {
                Err(StreamError::Unprocessed { code: client.desk.goaway().unwrap_or(ErrorCode::NO_ERROR) })
            }
            // What we had given up already ended by that.
            Cause::ConnectionClosed => {
                Err(call.blamed().unwrap_or_else(|| StreamError::SessionClosed(client.desk.error())))
            }
        };
        tracing::trace!(stream = id.get(), ?cause, "a stream of ours is over");
        let code = end.as_ref().err().and_then(StreamError::code).unwrap_or(ErrorCode::NO_ERROR);
        if let Some(inbound) = entry.inbound() {
            inbound.fail(crate::body::BodyError::Reset(code));
        }
        call.closed(end);
        // Another may be opened.
        self.stirred |= client.desk.queued() > 0;
    }

    /// The machine has ended the connection: what its streams are told next is why.
    pub(super) fn client_failed(&self, error: &ConnectionError) {
        let Some(client) = &self.client else { return };
        let order = CloseSession::from(error);
        client.desk.closed(ended(order.reason, Some(order.code), &order.detail));
    }

    /// The session is over: handles that wait are told, and those that come later.
    pub(super) fn desk_closed(&self, common: &Common, order: Option<&CloseSession>) {
        let Some(client) = &self.client else { return };
        let reason = common.reason().or(order.map(|order| order.reason)).unwrap_or(CloseReason::Other);
        let code = client.desk.goaway().or(order.map(|order| order.code));
        let detail = order.map_or("", |order| &*order.detail);
        client.desk.closed(ended(reason, code, detail));
    }
}

/// Why a request that waited cannot be sent.
fn refused(error: UserError, client: &Client) -> StreamError {
    match error {
        UserError::GoingAway | UserError::ConnectionClosed => match client.desk.goaway() {
            Some(code) => StreamError::Unprocessed { code },
            None => StreamError::Closing,
        },
        UserError::IdsExhausted => StreamError::IdsExhausted,
        UserError::InvalidField(field) if field.rule == Malformed::ExtendedConnect => {
            StreamError::ConnectProtocol
        }
        error => StreamError::Misused(error),
    }
}
