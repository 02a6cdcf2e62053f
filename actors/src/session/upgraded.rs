//! A connection that HTTP/1.1 has left: the octets of one tunnel both ways (RFC 9110 §7.8), for the Stream actor
//! that serves it.
//!
//! Reads only while the actor has taken what was read before, gives it room only as the socket takes octets. Knows
//! nothing of what runs inside. Neither *idle* nor *stall* of a silent tunnel ends it; octets of ours that the
//! socket does not take for `stall` do.
//!
//! Invariant: the tunnel's stream is counted once, when its actor is gone or the session ends.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome, WaitOn};
use stagedoor_protocol::{ErrorCode, StreamId};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::common::Common;
use super::ended::Ended;
use super::handle::Command;
use super::http2::{Entry, io_failed};
use super::pace::on;
use super::parting::Parting;
use super::timer::Due;
use super::waits::Tick;
use super::{Engine, Step};
use crate::body::{BodyError, Inbound};
use crate::brood::Brood;
use crate::close::CloseSession;
use crate::config::StreamTimeouts;
use crate::events::PanicPlace;
use crate::link::{Flow, Link, ToSession};
use crate::scratch;
use crate::stream::{CloseStream, Closed, Stream};
use crate::supervise::Exit;
use crate::transport::Transport;
use crate::view::{SessionView, StreamView};

/// Octets read and not yet taken by the actor, and octets of ours not yet taken by the socket, each.
const BUFFER: usize = 64 << 10;
/// Turns of socket and actor within one turn of the session.
const ROUNDS: usize = 16;
/// Segments given to one `writev`.
const SLICES: usize = 16;

/// The stream that becomes a tunnel.
pub(crate) struct Switch {
    pub(crate) id: StreamId,
    pub(crate) flow: Rc<Flow>,
    pub(crate) inbound: Rc<Inbound>,
    /// Its actor has ended its side already.
    pub(crate) ended: bool,
}

impl Switch {
    /// There will be no tunnel, or no more of it: whoever holds it is told.
    pub(crate) fn give_up(&self) {
        self.inbound.fail(BodyError::SessionClosed);
        self.flow.shut();
    }
}

/// See the module.
pub(crate) struct Upgraded {
    io: Transport,
    link: Rc<Link>,
    switch: Switch,
    entry: Entry,
    brood: Brood<Stream, StreamId>,
    out: VecDeque<Bytes>,
    queued: usize,
    /// The write side is shut.
    shut: bool,
    peer_ended: bool,
    blocked: Option<Instant>,
    /// When octets last moved.
    moved: Instant,
    /// Deadlines the handler set.
    own: StreamTimeouts,
    /// The order a handle gave.
    order: Option<CloseSession>,
    tick: Tick,
}

impl Upgraded {
    /// `seen` was read before and not used.
    pub(crate) fn new(
        io: Transport,
        seen: Bytes,
        link: Rc<Link>,
        switch: Switch,
        entry: Entry,
        brood: Brood<Stream, StreamId>,
    ) -> Self {
        if !seen.is_empty() {
            switch.inbound.push(seen, false);
        }
        switch.flow.grant(BUFFER);
        Self {
            io,
            link,
            switch,
            brood,
            out: VecDeque::new(),
            queued: 0,
            shut: false,
            peer_ended: false,
            blocked: None,
            moved: entry.opened,
            own: entry.parts.as_ref().and_then(|parts| parts.pace.as_ref()?.own()).unwrap_or_default(),
            entry,
            order: None,
            tick: Tick::default(),
        }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.link.begin_turn(cx.waker(), now);
        let step = self.work(common, cx, now);
        self.link.end_turn();
        common.queued(self.queued);
        self.charge(common, now);
        step
    }

    /// The end of a turn: what does the tunnel wait for from here on?
    fn charge(&mut self, common: &Common, now: Instant) {
        if !common.host.config.observed || self.entry.closed {
            return self.tick.rest();
        }
        self.tick.begin(now);
        let reads = self.switch.inbound.waits_since().is_some();
        self.entry.charge(
            match (self.blocked.is_some(), reads) {
                (true, _) => WaitOn::Socket,
                (false, true) => WaitOn::RequestBody,
                (false, false) => WaitOn::Handler,
            },
            now,
        );
        let queued = i64::try_from(self.queued).unwrap_or(i64::MAX);
        if self.tick.is_due(now)
            && let Some(listed) = self.entry.publish(self.switch.id, common, now)
        {
            listed.write_queue_bytes.set(queued);
        }
    }

    fn work(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        for _ in 0..ROUNDS {
            let exit = self.brood.poll_exit(cx);
            let reset = self.replies();
            if let Some(order) = self.order.take() {
                return Step::Close(order);
            }
            if let Some(code) = reset {
                return self.over(Outcome::ResetByUs, code, common, now);
            }
            if let Poll::Ready(exit) = exit {
                common.host.actors()[ActorKind::Stream].alive.dec();
                self.entry.alive = false;
                if let Some(words) = exit.panic {
                    self.note_panic(&words, common);
                    return self.over(Outcome::Panic, ErrorCode::INTERNAL_ERROR, common, now);
                }
            }
            if !self.entry.alive {
                return self.finish(common, cx, now);
            }
            let moved = match self.transfer(common, cx, now) {
                Ok(moved) => moved,
                Err(error) => return Step::Close(io_failed(&error)),
            };
            if !moved {
                return Step::Wait;
            }
            self.moved = now;
        }
        cx.waker().wake_by_ref();
        Step::Wait
    }

    /// Reads and writes once; true when the actor may have something to do.
    fn transfer(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut moved = false;
        if !self.peer_ended && self.switch.inbound.unread() < BUFFER {
            let mut room = scratch::take();
            let most = room.len().min(BUFFER);
            let mut buffer = ReadBuf::new(&mut room[..most]);
            let read = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
            let octets = Bytes::copy_from_slice(buffer.filled());
            scratch::put(room);
            let count = octets.len();
            match read {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    self.peer_ended = count == 0;
                    self.entry.bytes_in += count as u64;
                    if count > 0 {
                        self.entry.parts().first_in.get_or_insert(now);
                    }
                    common.moved(count as u64, 0, now);
                    self.switch.inbound.push(octets, self.peer_ended);
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        moved |= self.write(common, cx, now)?;
        Ok(moved)
    }

    fn write(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut moved = false;
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.out.len().min(SLICES);
            for (slice, octets) in slices.iter_mut().zip(&self.out) {
                *slice = IoSlice::new(octets);
            }
            let mut count = match Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..filled]) {
                Poll::Pending => {
                    self.blocked.get_or_insert(now);
                    return Ok(moved);
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => count?,
            };
            self.blocked = None;
            moved = true;
            common.moved(0, count as u64, now);
            self.queued -= count;
            while let Some(first) = self.out.front_mut() {
                if count < first.len() {
                    first.advance(count);
                    break;
                }
                count -= first.len();
                self.out.pop_front();
            }
            self.switch.flow.grant(BUFFER.saturating_sub(self.queued));
        }
        if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
            self.blocked.get_or_insert(now);
        } else {
            self.blocked = None;
        }
        if self.switch.ended && !self.shut && self.blocked.is_none() {
            self.shut = Pin::new(&mut self.io).poll_shutdown(cx)?.is_ready();
        }
        Ok(moved)
    }

    /// Takes what the actor says; the code of a reset.
    fn replies(&mut self) -> Option<ErrorCode> {
        while let Some(message) = self.link.take() {
            match message {
                ToSession::SendData { data, end, .. } => {
                    self.entry.bytes_out += data.len() as u64;
                    if !data.is_empty() {
                        self.entry.parts().first_out.get_or_insert_with(|| self.link.now());
                    }
                    self.queued += data.len();
                    self.out.extend((!data.is_empty()).then_some(data));
                    self.switch.ended |= end;
                    self.switch.flow.grant(BUFFER.saturating_sub(self.queued));
                }
                ToSession::Reset { code, outcome, .. } => {
                    self.entry.outcome.get_or_insert(outcome);
                    return Some(code);
                }
                ToSession::Watch { id } if id != self.switch.id || self.entry.closed => {
                    self.link.closed(id, || Closed::UNKNOWN);
                }
                ToSession::Deadlines { own, .. } => self.own = *own,
                ToSession::Command(command) => {
                    // A handle asks nothing else of HTTP/1.1.
                    if let Command::Close(order) = *command {
                        CloseSession::join(&mut self.order, order);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The actor is gone: what it left is written, then the connection ends.
    fn finish(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.switch.ended = true;
        match self.write(common, cx, now) {
            Ok(moved) if !self.out.is_empty() || self.blocked.is_some() => {
                if moved {
                    self.moved = now;
                }
                Step::Wait
            }
            Ok(_) => self.over(Outcome::Complete, ErrorCode::NO_ERROR, common, now),
            Err(error) => Step::Close(io_failed(&error)),
        }
    }

    fn note_panic(&self, words: &str, common: &Common) {
        common.host.actors()[ActorKind::Stream].panics.inc();
        let id = self.switch.id;
        tracing::error!(parent: &common.span, stream = id.get(), panic = words, "a tunnel panicked");
        common.caught(Some(id), PanicPlace::Tunnel, words);
    }

    fn over(&mut self, outcome: Outcome, code: ErrorCode, common: &mut Common, now: Instant) -> Step {
        self.count(outcome, code, common, now);
        Step::Close(CloseSession::new(CloseReason::Upgraded).with_detail("the tunnel ended"))
    }

    fn count(&mut self, outcome: Outcome, code: ErrorCode, common: &mut Common, now: Instant) {
        if self.entry.closed {
            return;
        }
        self.entry.closed = true;
        common.stream_ended(self.switch.id, Ended::of(&mut self.entry, outcome), now);
        self.link.closed(self.switch.id, || self.entry.closed_as(outcome, code));
        common.stats.streams_open.set(0);
    }

    /// Ends the tunnel; what is queued still goes out while the session lingers.
    pub(super) fn abort(
        mut self: Box<Self>,
        common: &mut Common,
        order: &CloseSession,
        now: Instant,
    ) -> Engine {
        let linger = now + common.host.config.timeouts.linger;
        let graceful = self.entry.closed && order.reason == CloseReason::Upgraded;
        self.tell(common, now);
        let mut rest = Vec::new();
        if graceful {
            self.out.iter().for_each(|octets| rest.extend_from_slice(octets));
        }
        common.queued(0);
        Engine::Parting(Box::new(Parting::new(self.io, rest.into(), linger)))
    }

    /// The session panicked or its arbiter stops.
    pub(super) fn forsake(mut self: Box<Self>, common: &mut Common, now: Instant) {
        self.tell(common, now);
    }

    fn tell(&mut self, common: &mut Common, now: Instant) {
        self.switch.give_up();
        self.count(Outcome::SessionClosed, ErrorCode::CANCEL, common, now);
        if let Some(place) = self.entry.parts.as_ref().and_then(|parts| parts.place) {
            self.brood.tell(place, CloseStream { id: self.switch.id, code: ErrorCode::CANCEL });
        }
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Exit { panic: Some(words), .. }) = self.brood.poll_exit(&mut cx) {
            self.note_panic(&words, common);
        }
        self.brood = Brood::default();
        if std::mem::take(&mut self.entry.alive) {
            common.host.actors()[ActorKind::Stream].alive.dec();
        }
        self.link.shut();
    }

    /// The next moment something of the tunnel is due, and why it would end then.
    fn due(&self, common: &Common) -> Option<(Instant, CloseReason)> {
        let (timeouts, own) = (&common.host.config.timeouts, &self.own);
        let after = |since: Instant, time: Duration| on(time).map(|time| since + time);
        let stall = self.blocked.and_then(|since| after(since, own.stall.unwrap_or(timeouts.stall)));
        let idle = after(self.moved, own.idle.unwrap_or(timeouts.stream_idle));
        let hard = after(self.entry.opened, own.hard.unwrap_or(timeouts.hard));
        let stall = stall.map(|at| (at, CloseReason::WriteStall));
        let rest = idle.into_iter().chain(hard).min().map(|at| (at, CloseReason::IdleTimeout));
        stall.into_iter().chain(rest).min_by_key(|(at, _)| *at)
    }

    pub(super) fn deadline(&self, common: &Common) -> Option<(Instant, Due)> {
        let due = self.due(common).map(|(at, _)| at);
        [due, self.tick.next()].into_iter().flatten().min().map(|at| (at, Due::Look))
    }

    pub(super) fn on_timer(&mut self, common: &Common, now: Instant) -> Option<CloseSession> {
        let (at, reason) = self.due(common)?;
        (now >= at).then(|| {
            self.entry.outcome.get_or_insert(Outcome::Timeout);
            CloseSession::new(reason).now()
        })
    }

    pub(super) fn view(&self, view: &mut SessionView, now: Instant) {
        let state = if self.peer_ended { "half_closed_remote" } else { "open" };
        view.streams.clear();
        view.add_unpublished(&self.entry, now);
        view.streams.push(StreamView {
            write_queue_bytes: self.queued as u64,
            ..StreamView::of_entry(self.switch.id, &self.entry, &self.link, state, now)
        });
    }
}
