//! Exchanges of an HTTP/1.1 connection as streams: born, answered, counted.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use stagedoor_metrics::{AbuseKind, ActorKind, CloseReason, Method, Outcome, RouteId, WaitOn};
use stagedoor_protocol::{ErrorCode, Limit, StreamId};

use super::{Http1, Slot};
use crate::brood::Hatched;
use crate::close::CloseSession;
use crate::convert;
use crate::events::PanicPlace;
use crate::files::take_read;
use crate::link::{Exchange, Start, ToSession, hand_over};
use crate::service::Response;
use crate::session::common::Common;
use crate::session::ended::Ended;
use crate::session::events::SessionEvent;
use crate::session::handle::Command;
use crate::session::http2::Entry;
use crate::session::turning::Turning;
use crate::session::upgraded::Switch;
use crate::stream::{Answer, CloseStream, Closed, Identity, answer};
use crate::supervise::Exit;

impl Http1 {
    /// Takes every message that waits.
    pub(super) fn replies(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) {
        while let Some(message) = self.link.take() {
            if let ToSession::SendWhole { id, head, .. }
            | ToSession::SendHead { id, head, .. }
            | ToSession::SendTunnel { id, head, .. } = &message
            {
                common.record(Turning::Answer(*id, head.status), now);
            }
            match message {
                ToSession::Exchange(_) if self.told => {}
                ToSession::Exchange(exchange) => self.open(*exchange, common, cx, now),
                ToSession::SendWhole { id, route, head, body } => {
                    let Some(slot) = self.answered(id, route, head.status, now) else { continue };
                    self.sent(id, body.len(), true);
                    slot.whole(head, body);
                }
                ToSession::SendHead { id, route, head, flow } => {
                    let Some(slot) = self.answered(id, route, head.status, now) else { continue };
                    slot.head(head, flow);
                }
                ToSession::Note { id, note } => {
                    if let Some(entry) = self.streams.get_mut(&id) {
                        entry.take(note);
                    }
                }
                ToSession::Watch { id } => {
                    if self.streams.get(&id).is_none_or(|entry| entry.closed) {
                        self.link.closed(id, || Closed::UNKNOWN);
                    }
                }
                ToSession::Deadlines { id, own } => self.deadlines(id, *own, now),
                ToSession::SendTunnel { id, route, head, flow, inbound } => {
                    let Some(slot) = self.answered(id, route, head.status, now) else { continue };
                    slot.whole(head, Bytes::new());
                    self.switching = inbound.map(|inbound| Switch { id, flow, inbound, ended: false });
                }
                ToSession::SendData { id, end, .. } if self.switches(id) => {
                    // It was given no room yet: this can only be the end.
                    if let Some(switch) = &mut self.switching {
                        switch.ended |= end;
                    }
                }
                ToSession::SendData { id, data, end } => {
                    self.sent(id, data.len(), end);
                    if let Some(slot) = self.slot(id) {
                        slot.data(data, end);
                    }
                }
                ToSession::SendTrailers { id, fields } => {
                    self.sent(id, 0, true);
                    if let Some(slot) = self.slot(id) {
                        slot.trailers(convert::to_headers(&fields));
                    }
                }
                ToSession::Reset { id, outcome, .. } => {
                    // The source of the body failed.
                    self.cut(id, outcome, CloseReason::IoError);
                }
                ToSession::Command(command) => {
                    // A handle asks nothing else of HTTP/1.1.
                    if let Command::Close(order) = *command {
                        CloseSession::join(&mut self.order, order);
                    }
                }
                ToSession::Written { id, whole } => self.written(id, whole, common, now),
                // A handle says NotHttp2 before these are sent.
                ToSession::Inform { .. } | ToSession::Push(_) => {}
                ToSession::Consumed { .. } | ToSession::BodyDropped { .. } => {}
            }
            self.stirred = true;
        }
    }

    fn open(&mut self, exchange: Exchange, common: &mut Common, cx: &mut Context<'_>, now: Instant) {
        let Exchange { head, body, slot } = exchange;
        let id = StreamId::from_wire(self.next);
        self.next = self.next.wrapping_add(2);
        slot.set_id(id);
        self.slots.push((id, Rc::clone(&slot)));
        self.idle_since = None;
        self.head_since = None;
        common.stream_opened(self.protocol());
        common.life.streams_peak = 1;
        let method = head.as_ref().map_or(Method::Other, |head| Method::from_token(head.method().as_bytes()));
        common.record(Turning::Request(id, method), now);
        let mut entry = Entry::new(now, method);
        entry.receiving = !body.is_empty();
        let head = match head {
            Ok(head) => head,
            Err((status, text)) => {
                self.streams.insert(id, entry);
                self.broken.get_or_insert(CloseReason::ProtocolError);
                return self.refuse(id, status, text, now);
            }
        };
        entry.alive = true;
        entry.note(&self.link, id, &head);
        entry.keep_path(head.path_octets(), common.host.config.show_query);
        let identity = Identity::new(id, Rc::clone(&self.link), method, entry.span());
        self.streams.insert(id, entry);
        self.link.tell(|| SessionEvent::StreamOpened { id, head: Arc::new(head.clone()) });
        let actors = &common.host.actors()[ActorKind::Stream];
        actors.started.inc();
        actors.alive.inc();
        hand_over(identity, Start::Request(head, body));
        let hatched = self.brood.hatch(id);
        let read = take_read();
        if let Some(entry) = self.streams.get_mut(&id).filter(|_| read > 0) {
            entry.parts().file_read += read;
        }
        match hatched {
            Hatched::Over(exit) => {
                self.replies(common, cx, now);
                self.child_ended(exit, common, now);
            }
            Hatched::Living(place) => {
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.parts().place = Some(place);
                }
                self.stirred |= !self.brood.is_attended();
            }
        }
    }

    /// Runs the streams that were woken.
    pub(super) fn children(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) {
        while let Poll::Ready(exit) = self.brood.poll_exit(cx) {
            self.replies(common, cx, now);
            self.child_ended(exit, common, now);
        }
        self.replies(common, cx, now);
    }

    fn answered(&mut self, id: StreamId, route: RouteId, status: u16, now: Instant) -> Option<Rc<Slot>> {
        let entry = self.streams.get_mut(&id).filter(|entry| !entry.closed)?;
        entry.route = route;
        entry.status = status;
        entry.answered = Some(now);
        self.link.tell(|| SessionEvent::StreamAnswered { id, status });
        self.slot(id).cloned()
    }

    fn sent(&mut self, id: StreamId, octets: usize, end: bool) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.bytes_out += octets as u64;
            entry.ended |= end;
            if let Some(parts) = entry.parts.as_mut().filter(|_| octets > 0) {
                parts.first_out.get_or_insert_with(|| self.link.now());
            }
        }
    }

    fn refuse(&mut self, id: StreamId, status: u16, text: &'static str, now: Instant) {
        let mut response = Response::text(text).with_field("connection", "close");
        response.status = status;
        let route = self.streams.get(&id).map_or(RouteId::UNMATCHED, |entry| entry.route);
        let Some(slot) = self.answered(id, route, status, now) else { return };
        self.sent(id, text.len(), true);
        match answer(response, Method::Get, now) {
            Answer::Whole(head, body) => slot.whole(head, body),
            Answer::Trailed(head, ..) | Answer::Streaming(head, _) => slot.whole(head, Bytes::new()),
            Answer::Tunnel(_) => slot.fail(),
        }
        self.stirred = true;
    }

    /// A response that cannot be finished: the connection is cut.
    fn cut(&mut self, id: StreamId, outcome: Outcome, reason: CloseReason) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.outcome.get_or_insert(outcome);
            entry.ended = true;
        }
        if let Some(slot) = self.slot(id) {
            slot.fail();
        }
        self.broken.get_or_insert(reason);
        self.stirred = true;
    }

    /// The end of a turn: what does the exchange wait for from here on?
    pub(super) fn charge(&mut self, common: &mut Common, now: Instant) {
        if !common.host.config.observed || self.streams.is_empty() {
            return self.tick.rest();
        }
        self.tick.begin(now);
        let (due, blocked) = (self.tick.is_due(now), self.meter.blocked().is_some());
        for (id, entry) in self.streams.iter_mut().filter(|(_, entry)| !entry.closed) {
            let slot = self.slots.iter().find(|(known, _)| known == id).map(|(_, slot)| slot);
            let reads = slot.is_some_and(|slot| slot.is_read());
            let on = match (blocked, entry.receiving && (reads || entry.ended)) {
                (true, _) => WaitOn::Socket,
                (false, true) => WaitOn::RequestBody,
                (false, false) => entry.awaited(),
            };
            entry.charge(on, now);
            entry.bytes_in = slot.map_or(entry.bytes_in, |slot| slot.received());
            if let Some(listed) = due.then(|| entry.publish(*id, common, now)).flatten() {
                let queued = slot.map_or(0, |slot| slot.queued());
                listed.write_queue_bytes.set(i64::try_from(queued).unwrap_or(i64::MAX));
            }
        }
    }

    /// hyper is done with the response of an exchange.
    fn written(&mut self, id: StreamId, whole: bool, common: &mut Common, now: Instant) {
        if self.switches(id) {
            // Its head is written; the exchange goes on as a tunnel.
        } else if whole {
            self.written.push(id);
        } else {
            self.closed(id, Outcome::ResetByPeer, common, now);
        }
    }

    pub(super) fn closed(&mut self, id: StreamId, outcome: Outcome, common: &mut Common, now: Instant) {
        let received = self.slot(id).map_or(0, |slot| slot.received());
        self.slots.retain(|(known, _)| *known != id);
        let Some(mut entry) = self.remove(id) else { return };
        if !entry.closed {
            entry.bytes_in = received;
            common.stream_ended(id, Ended::of(&mut entry, outcome), now);
            let whole = entry.outcome.unwrap_or(outcome) == Outcome::Complete;
            let code = if whole { ErrorCode::NO_ERROR } else { ErrorCode::CANCEL };
            self.link.closed(id, || entry.closed_as(outcome, code));
        }
        if entry.alive {
            entry.closed = true;
            if let Some(place) = entry.parts.as_ref().and_then(|parts| parts.place) {
                self.brood.tell(place, CloseStream { id, code: ErrorCode::CANCEL });
            }
            self.streams.insert(id, entry);
            self.stirred = true;
        }
        self.left(now);
    }

    fn left(&mut self, now: Instant) {
        if self.streams.is_empty() {
            self.at_rest = self.meter.received();
            self.idle_since = Some(now);
        }
    }

    fn child_ended(&mut self, exit: Exit<StreamId>, common: &mut Common, now: Instant) {
        let id = exit.key;
        let actors = &common.host.actors()[ActorKind::Stream];
        actors.alive.dec();
        if let Some(words) = &exit.panic {
            actors.panics.inc();
            tracing::error!(parent: &common.span, stream = id.get(), panic = words, "a handler panicked");
            let answered = self.streams.get(&id).is_some_and(|entry| entry.answered.is_some());
            let place = if answered { PanicPlace::Body } else { PanicPlace::Handler };
            common.caught(Some(id), place, words);
            self.panics += 1;
            // Where it ends anyway, that is not why.
            if self.panics == common.host.protocol.budgets.panics && !common.is_ending() {
                common.host.cells.abuse[AbuseKind::Panics].inc();
                common.host.outlet.limit_hit(common.stats.id(), Limit::Panics, 1);
                self.order.get_or_insert_with(|| CloseSession::new(CloseReason::PanicBudget));
            }
        }
        let switches = self.switches(id);
        let Some(entry) = self.streams.get_mut(&id) else { return };
        entry.alive = false;
        if entry.closed {
            self.streams.remove(&id);
            return self.left(now);
        }
        if let Some(parts) = &mut entry.parts {
            parts.place = None;
        }
        if switches && exit.panic.is_none() {
            return;
        }
        if entry.ended {
            if exit.panic.is_some() {
                entry.outcome = Some(Outcome::Panic);
            }
            return;
        }
        let outcome = if exit.panic.is_some() { Outcome::Panic } else { Outcome::ResetByUs };
        entry.outcome.get_or_insert(outcome);
        if switches {
            // Its task is gone before its head was written.
            if let Some(switch) = self.switching.take() {
                switch.give_up();
            }
        }
        if entry.answered.is_none() {
            self.refuse(id, 500, "internal server error\n", now);
        } else {
            let reason = if exit.panic.is_some() { CloseReason::PanicBudget } else { CloseReason::Other };
            self.cut(id, outcome, reason);
        }
    }
}
