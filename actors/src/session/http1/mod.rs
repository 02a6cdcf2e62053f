//! HTTP/1.1 on one connection: hyper's http1 server below the same Stream actors.
//!
//! hyper parses, frames and keeps alive; this engine gives each exchange a Stream actor, passes its messages
//! into the exchange's [`Slot`], which hyper polls as a response, and watches the deadlines. One exchange is
//! one stream, numbered 1, 3, 5 ...; HTTP/1.1 has one at a time.
//!
//! Invariant: what a handler does wrong before the head is a 500, after it the connection is cut, because
//! HTTP/1.1 has no other way to say that a body is not whole.

mod io;
mod request;
mod slot;
mod streams;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::server::conn::http1::{Builder, Connection};
use stagedoor_metrics::{CloseReason, Outcome, Protocol, TimeoutAction, TimeoutKind};
use stagedoor_protocol::StreamId;

use super::Step;
use super::common::Common;
use super::http2::{Entry, Streams};
use super::opening::HURRY;
use super::pace::{Lookout, Sight, Verdict, on};
use super::parting::Parting;
use super::timer::{Due, sooner};
use super::upgraded::{Switch, Upgraded};
use super::waits::Tick;
use super::{Engine, SessionState};
use crate::brood::Brood;
use crate::close::CloseSession;
use crate::config::StreamTimeouts;
use crate::link::Link;
use crate::stream::Stream;
use crate::transport::Transport;
use crate::view::{SessionView, StreamView};

pub(crate) use request::Incoming;
pub(crate) use slot::Slot;

use io::{Meter, Metered};
use request::Front;

/// What a client hears whose request head did not end in time (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Times handlers and hyper take turns within one turn of the session.
const ROUNDS: usize = 16;
/// hyper's own smallest buffer.
const LEAST_BUFFER: usize = 8192;

/// Number of the first exchange.
const FIRST: u32 = 1;

/// See the module.
pub(crate) struct Http1 {
    conn: Option<Box<Connection<Metered, Front>>>,
    meter: Rc<Meter>,
    link: Rc<Link>,
    streams: Streams,
    slots: Vec<(StreamId, Rc<Slot>)>,
    brood: Brood<Stream, StreamId>,
    next: u32,
    /// A drain began before the first request.
    hurried: bool,
    panics: u32,
    /// Octets of the meter that are counted already: received, sent.
    counted: (u64, u64),
    /// Octets received when no request was in progress.
    at_rest: u64,
    idle_since: Option<Instant>,
    head_since: Option<Instant>,
    lookout: Lookout,
    tick: Tick,
    order: Option<CloseSession>,
    /// Responses hyper has whole; they are complete when the socket has them.
    written: Vec<StreamId>,
    /// A body could not be ended as it was begun.
    broken: Option<CloseReason>,
    /// The exchange that becomes a tunnel when its head is written.
    switching: Option<Switch>,
    stirred: bool,
    /// Its streams were told that it is over: a request that comes now begins no other.
    told: bool,
}

impl Http1 {
    /// `seen` was read to learn that this is not HTTP/2.
    pub(crate) fn new(io: Transport, seen: Bytes, common: &Common, link: Rc<Link>, now: Instant) -> Self {
        let limits = &common.host.config.limits;
        let secure = matches!(io, Transport::Tls(_));
        let front = Front::new(Rc::clone(&link), secure, limits.header_bytes);
        let begun = !seen.is_empty();
        let meter = Rc::new(Meter::new(io, seen, now));
        let conn = Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .max_buf_size((limits.header_bytes as usize).max(LEAST_BUFFER))
            .max_headers(limits.header_fields)
            .auto_date_header(false)
            .serve_connection(Metered::new(Rc::clone(&meter)), front);
        Self {
            conn: Some(Box::new(conn)),
            meter,
            link,
            streams: Streams::default(),
            slots: Vec::new(),
            brood: Brood::default(),
            next: FIRST,
            hurried: false,
            panics: 0,
            counted: (0, 0),
            at_rest: 0,
            idle_since: Some(now),
            head_since: begun.then_some(now),
            lookout: Lookout::new(&common.host.config.timeouts),
            tick: Tick::default(),
            order: None,
            written: Vec::new(),
            broken: None,
            switching: None,
            stirred: false,
            told: false,
        }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.link.begin_turn(cx.waker(), now);
        self.meter.turn(now);
        let step = self.work(common, cx, now);
        self.link.end_turn();
        self.charge(common, now);
        self.publish(common, now);
        step
    }

    fn work(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.replies(common, cx, now);
        let mut round = 0;
        loop {
            self.stirred = false;
            self.children(common, cx, now);
            let begun = self.hurried && self.next != FIRST;
            if self.slots.iter().any(|(_, slot)| slot.take_last()) || begun {
                self.hurried = false;
                self.last();
            }
            let Some(conn) = &mut self.conn else { return Step::Gone };
            let over = conn.poll_without_shutdown(cx);
            self.replies(common, cx, now);
            if self.meter.blocked().is_none() {
                while let Some(id) = self.written.pop() {
                    self.closed(id, Outcome::Complete, common, now);
                }
            }
            match over {
                // It may call itself done with octets in hand that the socket does not take, and asked again it
                // goes on with those.
                Poll::Ready(Ok(())) if self.meter.blocked().is_some() && self.meter.failed().is_none() => {}
                Poll::Ready(Ok(())) if self.meter.failed().is_none() => {
                    return match self.switching.take() {
                        Some(switch) => self.switch(switch),
                        None => Step::Close(self.ended(None, common)),
                    };
                }
                Poll::Ready(result) => return Step::Close(self.ended(result.err().as_ref(), common)),
                Poll::Pending => {}
            }
            if !self.streams.is_empty() {
                let news = self.meter.look_ahead(cx);
                self.stirred |= news;
            }
            if let Some(kind) = self.meter.failed() {
                return Step::Close(super::http2::io_failed(&kind.into()));
            }
            round += 1;
            if self.stirred && round == ROUNDS {
                cx.waker().wake_by_ref();
            }
            if !self.stirred || round == ROUNDS {
                break;
            }
        }
        self.watch_head(now);
        self.look_around(common, now);
        match self.order.take() {
            Some(order) => Step::Close(order),
            None => Step::Wait,
        }
    }

    /// HTTP/1.1 is over on this connection, the tunnel begins.
    fn switch(&mut self, switch: Switch) -> Step {
        let Some(conn) = self.conn.take() else { return Step::Gone };
        let parts = conn.into_parts();
        let seen = [&parts.read_buf[..], &self.meter.take_seen()[..]].concat();
        let (io, entry) = (self.meter.take_back(), self.streams.remove(&switch.id));
        let (Some(io), Some(entry)) = (io, entry) else { return Step::Gone };
        self.slots.clear();
        let brood = std::mem::take(&mut self.brood);
        let link = Rc::clone(&self.link);
        Step::Become(Engine::Upgraded(Box::new(Upgraded::new(io, seen.into(), link, switch, entry, brood))))
    }

    /// An exchange is about to become a tunnel.
    fn switches(&self, id: StreamId) -> bool {
        self.switching.as_ref().is_some_and(|switch| switch.id == id)
    }

    /// hyper is done with the connection: why?
    fn ended(&self, error: Option<&hyper::Error>, common: &Common) -> CloseSession {
        if let Some(kind) = self.meter.failed() {
            // Whatever else went wrong followed from it.
            return super::http2::io_failed(&kind.into()).now();
        }
        let reason = match (error, self.broken) {
            // The client ended in the middle, and so its handler could not go on.
            (_, Some(CloseReason::Other | CloseReason::IoError)) if self.meter.ended().is_some() => {
                CloseReason::ClientClosed
            }
            (_, Some(reason)) => reason,
            _ if common.is_ending() => common.reason().unwrap_or(CloseReason::Other),
            // The last answer said `connection: close`, or the client ended its side between requests.
            (None, None) => CloseReason::ClientClosed,
            (Some(error), None) if error.is_parse() => CloseReason::ProtocolError,
            (Some(error), None) if error.is_user() => CloseReason::Other,
            (Some(_), None) => CloseReason::ClientClosed,
        };
        let order = CloseSession::new(reason).now();
        match error {
            Some(error) => order.with_detail(error.to_string()),
            None => order,
        }
    }

    /// A request head has begun when octets came that hyper made no request of yet.
    fn watch_head(&mut self, now: Instant) {
        if self.streams.is_empty() {
            let begun = self.meter.received() > self.at_rest;
            if begun {
                self.head_since.get_or_insert(now);
            }
        } else {
            self.at_rest = self.meter.received();
            self.head_since = None;
        }
    }

    /// Cuts the connection off.
    pub(super) fn abort(
        mut self: Box<Self>,
        common: &mut Common,
        order: &CloseSession,
        now: Instant,
    ) -> Engine {
        // Its request was too slow, and no answer has begun.
        let unanswered = self.streams.values().all(|entry| entry.answered.is_none());
        let late =
            !self.streams.is_empty() && self.streams.values().all(|e| e.outcome == Some(Outcome::Timeout));
        self.tell_all(common, now);
        let until = now + common.host.config.timeouts.linger;
        drop(self.conn.take());
        let Some(io) = self.meter.take_back() else { return Engine::Gone };
        common.stats.set_state(SessionState::Closing);
        let rest = match order.reason {
            CloseReason::HeaderTimeout if unanswered => Bytes::from_static(TOO_SLOW),
            _ if late && unanswered => Bytes::from_static(TOO_SLOW),
            _ => Bytes::new(),
        };
        Engine::Parting(Box::new(Parting::new(io, rest, until)))
    }

    fn tell_all(&mut self, common: &mut Common, now: Instant) {
        self.told = true;
        let mut cx = Context::from_waker(Waker::noop());
        self.link.begin_turn(Waker::noop(), now);
        let open: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in open {
            self.closed(id, Outcome::SessionClosed, common, now);
        }
        self.children(common, &mut cx, now);
        self.brood = Brood::default();
        for _ in self.streams.drain().filter(|(_, entry)| entry.alive) {
            common.host.actors()[stagedoor_metrics::ActorKind::Stream].alive.dec();
        }
        if let Some(switch) = self.switching.take() {
            switch.give_up();
        }
        self.link.shut();
        self.order = None;
        self.link.end_turn();
        self.publish(common, now);
    }

    /// The session panicked or its arbiter stops.
    pub(crate) fn forsake(mut self: Box<Self>, common: &mut Common, now: Instant) {
        self.tell_all(common, now);
    }

    /// A drain: no request after this one. A client that has asked nothing yet has a moment for its first: it knows of no
    /// drain, and its request may be on its way.
    pub(crate) fn drain(&mut self, now: Instant) {
        if self.next == FIRST {
            self.hurried = true;
            self.head_since.get_or_insert(now);
        } else {
            self.last();
        }
    }

    fn last(&mut self) {
        if let Some(conn) = &mut self.conn {
            Pin::new(conn.as_mut()).graceful_shutdown();
        }
    }

    fn publish(&mut self, common: &mut Common, now: Instant) {
        let (received, sent) = (self.meter.received(), self.meter.sent());
        common.moved(received - self.counted.0, sent - self.counted.1, now);
        self.counted = (received, sent);
        let queued: usize = self.slots.iter().map(|(_, slot)| slot.queued()).sum();
        common.queued(queued);
        common.stats.streams_open.set(self.streams.len() as i64);
    }

    pub(crate) fn deadline(&self, common: &Common) -> Option<(Instant, Due)> {
        let timeouts = &common.host.config.timeouts;
        let head = self.head_since.map(|since| (since + self.head_time(common), Due::Absolute));
        let idle = self.idle_since.filter(|_| !common.is_ending());
        let idle = idle.zip(on(self.link.board.idle.get())).map(|(since, idle)| (since + idle, Due::Idle));
        let gone = self.half_closed().map(|since| (since + timeouts.drain, Due::Drain));
        let look =
            [self.lookout.next(), self.tick.next()].into_iter().flatten().min().map(|at| (at, Due::Look));
        sooner(sooner(gone, head), sooner(idle, look))
    }

    /// How long a request head may take; a drain does not wait for a client that dawdles.
    fn head_time(&self, common: &Common) -> Duration {
        let header = common.host.config.timeouts.header;
        if common.is_ending() { header.min(HURRY) } else { header }
    }

    /// Since when an exchange goes on although the client has ended its side. It may wait for the answer, or be
    /// gone: TCP does not tell, so it has the time of a drain.
    fn half_closed(&self) -> Option<Instant> {
        self.meter.ended().filter(|_| !self.streams.is_empty())
    }

    /// The end of a turn: looks at the exchange if it is time, else sees to it that it is looked at soon.
    fn look_around(&mut self, common: &Common, now: Instant) {
        if self.streams.is_empty() {
            return self.lookout.rest();
        }
        if !self.lookout.is_due(now) {
            return;
        }
        let mut next: Option<Instant> = None;
        for (id, entry) in self.streams.iter_mut().filter(|(_, entry)| !entry.closed) {
            let Some((_, slot)) = self.slots.iter().find(|(known, _)| known == id) else { continue };
            let tunnel = entry.is_tunnel();
            let blocked = self.meter.blocked().filter(|_| !tunnel);
            let sight = Sight {
                opened: entry.opened,
                received: slot.received(),
                sent: self.meter.sent(),
                answered: entry.answered.is_some(),
                queued: blocked.is_some(),
                refused: blocked,
                awaited: slot.waits_since().filter(|_| !tunnel),
            };
            let pace = entry.parts().pace.get_or_insert_default();
            let verdict = pace.look(&sight, self.lookout.limits, now, |kind| {
                common.timed(kind, TimeoutAction::Extended, Some(*id));
            });
            match verdict {
                Verdict::Fine(at) => next = [next, at].into_iter().flatten().min(),
                Verdict::Over(kind) => {
                    entry.outcome.get_or_insert(Outcome::Timeout);
                    let order = match kind {
                        TimeoutKind::Idle => CloseSession::new(CloseReason::IdleTimeout),
                        TimeoutKind::WriteStall => CloseSession::new(CloseReason::WriteStall),
                        kind => {
                            common.timed(kind, TimeoutAction::Closed, Some(*id));
                            CloseSession::new(CloseReason::Limit).with_detail(kind.label())
                        }
                    };
                    self.order.get_or_insert(order.now());
                }
            }
        }
        self.lookout.looked(next);
    }

    /// The exchange asks for deadlines of its own.
    fn deadlines(&mut self, id: StreamId, own: StreamTimeouts, now: Instant) {
        if let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) {
            entry.parts().pace.get_or_insert_default().ask(own);
            self.lookout.heed(&own, now);
        }
    }

    pub(crate) fn on_timer(&mut self, common: &mut Common, now: Instant) -> Option<CloseSession> {
        let timeouts = &common.host.config.timeouts;
        let over = |since: Option<Instant>, time| since.is_some_and(|since| now >= since + time);
        if over(self.head_since, self.head_time(common)) {
            if self.hurried {
                return Some(common.cut_off_order());
            }
            return Some(CloseSession::new(CloseReason::HeaderTimeout));
        }
        if over(self.half_closed(), timeouts.drain) {
            return Some(CloseSession::new(CloseReason::ClientClosed));
        }
        let idle = on(self.link.board.idle.get()).is_some_and(|idle| over(self.idle_since, idle));
        (idle && !common.is_ending()).then(|| CloseSession::new(CloseReason::IdleTimeout))
    }

    pub(crate) fn view(&self, view: &mut SessionView, now: Instant) {
        view.streams.clear();
        for (id, entry) in &self.streams {
            let state = if entry.receiving { "open" } else { "half_closed_remote" };
            view.add_unpublished(entry, now);
            view.streams.push(StreamView {
                bytes_in: self.slot(*id).map_or(entry.bytes_in, |slot| slot.received()),
                write_queue_bytes: self.slot(*id).map_or(0, |slot| slot.queued() as u64),
                ..StreamView::of_entry(*id, entry, &self.link, state, now)
            });
        }
    }

    fn slot(&self, id: StreamId) -> Option<&Rc<Slot>> {
        self.slots.iter().find(|(known, _)| *known == id).map(|(_, slot)| slot)
    }

    fn remove(&mut self, id: StreamId) -> Option<Entry> {
        self.streams.remove(&id)
    }

    fn protocol(&self) -> Protocol {
        Protocol::Http1
    }
}
