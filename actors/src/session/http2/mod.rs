//! HTTP/2 on one connection: the pump between socket, protocol machine and Stream actors.
//!
//! One turn, one order: messages of streams -> read (shared buffer) -> for each frame: machine, events out to
//! streams -> streams run -> their messages -> output, one flush -> next deadline. No handler code runs inside frame
//! parsing; the clock is read once. What frames mean is the machine's business (RFC 9113), what a request
//! means the handler's.
//!
//! Invariants: an entry of `streams` lives from `StreamOpened` until the machine has closed the stream *and*
//! its actor is gone; `release_stream` is called then, so that a peer which resets streams cannot make more
//! handlers run than it may have streams (CVE-2023-44487).

mod charging;
mod client;
mod commands;
mod entry;
mod events;
mod push;
mod replies;
mod tally;
mod watch;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_metrics::{CloseReason, Outcome, Protocol};
use stagedoor_protocol::{Connection, ErrorCode, Recorder, RequestHead, Role, StreamId};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Step;
use super::common::Common;
use super::ended::Ended;
use super::parting::Parting;
use super::turning::Turning;
use crate::body::RequestBody;
use crate::brood::Brood;
use crate::close::CloseSession;
use crate::link::Link;
use crate::scratch;
use crate::stream::Stream;
use crate::transport::Transport;
use crate::view::{SessionView, StreamView};

use charging::Charging;
use client::Client;
use commands::Desk;
pub(crate) use entry::{Entry, Parts, Streams};
use tally::Tally;
use watch::Watch;

/// Reads of one turn; then others on the arbiter have theirs.
const READS: usize = 8;
/// Frames of one turn after which no more is read in it, however few octets they were.
const FRAMES: u64 = 256;
/// Times streams and socket take turns within one turn of the session.
const ROUNDS: usize = 16;
/// How long a request may go on after its whole answer was sent, before it is told to stop. A short body is over
/// by then, and some clients take even RST_STREAM(NO_ERROR) for a failure (curl 7.88 does).
const EARLY_GRACE: Duration = Duration::from_millis(100);
/// Segments given to one `writev`.
const SLICES: usize = 64;

/// A stream that was answered to the end while its request goes on.
struct Early {
    id: StreamId,
    /// Since when the answer is with the peer, as far as windows tell.
    sent: Option<Instant>,
}

/// A stream whose handler has not been asked: what came behind its head in the same read is put in place first.
struct Arrived {
    id: StreamId,
    head: RequestHead,
    body: RequestBody,
}

/// See the module.
pub(crate) struct Http2 {
    io: Transport,
    conn: Connection,
    link: Rc<Link>,
    streams: Streams,
    brood: Brood<Stream, StreamId>,
    watch: Watch,
    desk: Desk,
    tally: Box<Tally>,
    charging: Box<Charging>,
    protocol: Protocol,
    /// Streams answered to the end while the peer still sends.
    early: Vec<Early>,
    /// Promises whose streams do not run yet.
    promised: Vec<push::Promised>,
    /// A session of ours: who makes its requests.
    client: Option<Box<Client>>,
    /// The order this session gives itself at the end of the turn.
    order: Option<CloseSession>,
    /// GOAWAY with its code is in the output: flush it by then, and go.
    leaving: Option<Instant>,
    /// A stream was woken, or an event waits: another round.
    stirred: bool,
    eof: bool,
    /// A write has failed. What it took is not known (TLS may have sent some of it), so nothing may follow.
    torn: bool,
}

impl Http2 {
    pub(crate) fn new(io: Transport, common: &Common, link: Rc<Link>, now: Instant) -> Self {
        let mut session = Self::in_role(Role::Server, io, common, link, now);
        let origins = &common.host.config.options.origins;
        if !origins.is_empty() && matches!(session.io, Transport::Tls(_)) {
            // `ListenerConfig::check` has seen them; a host made without it says nothing wrong.
            session.conn.send_origin(origins).ok();
        }
        session
    }

    /// Either end.
    fn in_role(role: Role, io: Transport, common: &Common, link: Rc<Link>, now: Instant) -> Self {
        let mut conn = Connection::new(role, Arc::clone(&common.host.protocol), now);
        conn.tap(common.taps.is_some());
        conn.recorder().precede(&common.recorded_before(now));
        Self {
            io,
            conn,
            desk: Desk::new(&link.board),
            link,
            streams: Streams::default(),
            brood: Brood::default(),
            watch: Watch::new(&common.host.config.timeouts, now),
            tally: Box::default(),
            charging: Box::default(),
            protocol: common.protocol,
            early: Vec::new(),
            promised: Vec::new(),
            client: None,
            order: None,
            leaving: None,
            stirred: true,
            eof: false,
            torn: false,
        }
    }

    /// Octets that were read to learn that this is HTTP/2.
    pub(crate) fn preload(&mut self, octets: &[u8], now: Instant) {
        if let Err(error) = self.conn.handle_input(octets, now) {
            self.fail(&error);
        }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.link.begin_turn(cx.waker(), now);
        let step = match self.leaving {
            None => self.work(common, cx, now),
            Some(until) => self.leave(cx, now, until),
        };
        self.link.end_turn();
        self.charge(common, now);
        self.publish(common, now);
        if common.taps.is_some() {
            self.show_frames(common, now);
        }
        step
    }

    fn work(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        self.replies(now);
        if self.client.is_some() {
            self.attend(cx);
        }
        match self.read(common, cx, now) {
            Ok(dry) => self.judge(common, dry, now),
            Err(error) => return Step::Close(io_failed(&error)),
        }
        let mut round = 0;
        loop {
            self.stirred = false;
            let waiting = self.conn.output_len();
            self.children(common, cx, now);
            self.events(common, now);
            if !self.charging.arrived.is_empty() {
                self.begin_arrived(common, now);
            }
            if self.client.is_some() {
                self.requests(common, now);
            }
            if self.fill(waiting, common, now) && round < ROUNDS {
                round += 1;
                continue;
            }
            if let Err(error) = self.flush(cx, now) {
                self.torn = true;
                return Step::Close(io_failed(&error));
            }
            // Framing made room, or ended streams.
            self.events(common, now);
            self.end_early(now);
            if !self.stirred {
                break;
            }
            round += 1;
            if round >= ROUNDS {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if let Some(order) = self.order.take() {
            return Step::Close(order);
        }
        if self.eof {
            return Step::Close(CloseSession::new(CloseReason::ClientClosed));
        }
        let out = self.conn.queued() == 0 && !self.watch.unflushed;
        if common.is_ending() && self.conn.is_drained() && out {
            return Step::Part;
        }
        if self.watch.starved.is_some() && self.conn.wants_input() {
            cx.waker().wake_by_ref();
        }
        self.look_around(common, cx, now);
        Step::Wait
    }

    /// Reads what is there; true when that is all of it for now.
    fn read(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let frames = self.conn.frames_in();
        for _ in 0..READS {
            if self.eof || self.order.is_some() {
                return Ok(true);
            }
            if !self.conn.wants_input() {
                self.watch.starved.get_or_insert(now);
                return Ok(false);
            }
            if let Some(since) = self.watch.starved.take() {
                self.conn.postpone_deadlines(now.saturating_duration_since(since));
            }
            let mut room = scratch::take();
            let mut buffer = ReadBuf::new(&mut room);
            let read = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
            let count = buffer.filled().len();
            if count > 0 {
                self.tally.received += count as u64;
                self.watch.last_input = now;
                self.feed(buffer.filled(), common, now);
            }
            scratch::put(room);
            if self.stirred {
                // What was read is used, and its memory free for the next read, while it is still in the cache.
                self.children(common, cx, now);
            }
            match read {
                Poll::Pending => return Ok(true),
                Poll::Ready(Err(error)) if is_abrupt_end(&error) => self.eof = true,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) if count == 0 => self.eof = true,
                Poll::Ready(Ok(())) => {}
            }
            if self.conn.frames_in() - frames >= FRAMES {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Ok(false)
    }

    /// What was read, and then the requests whose bodies may have come with them.
    fn feed(&mut self, octets: &[u8], common: &mut Common, now: Instant) {
        let failed = self.frames(octets, common, now).err();
        if !self.charging.arrived.is_empty() {
            self.begin_arrived(common, now);
        }
        if let Some(error) = failed {
            self.fail(&error);
        }
    }

    /// Frame by frame: what a frame began is done, where it can be, while it is still in the nearest cache.
    fn frames(
        &mut self,
        mut octets: &[u8],
        common: &mut Common,
        now: Instant,
    ) -> Result<(), stagedoor_protocol::ConnectionError> {
        while !octets.is_empty() {
            let taken = self.conn.take_input(octets, now)?;
            octets = octets.get(taken..).unwrap_or_default();
            self.events(common, now);
            if self.order.as_ref().is_some_and(|order| order.hard) {
                // It is over; what follows is not heard.
                break;
            }
        }
        Ok(())
    }

    /// The machine has ended the connection; GOAWAY is in the output.
    fn fail(&mut self, error: &stagedoor_protocol::ConnectionError) {
        self.order.get_or_insert_with(|| error.into());
        self.client_failed(error);
        self.stirred = true;
    }

    /// Frames what streams have given; true when that was something, there is more, and the output has room for
    /// it: what goes to the socket in one large piece costs less than what goes in many (docs/performance.md).
    fn fill(&mut self, waiting: usize, common: &mut Common, now: Instant) -> bool {
        if self.conn.poll_output(now) == waiting || !self.conn.has_room() {
            return false;
        }
        // Framing made room in the queues of streams.
        self.events(common, now);
        self.stirred
    }

    /// Writes what windows and the socket take; true when nothing is left.
    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut wrote = false;
        let taken = loop {
            if self.conn.poll_output(now) == 0 {
                break true;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.conn.output(&mut slices);
            match Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..filled]) {
                Poll::Pending => break false,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.conn.advance_output(count);
                    self.tally.sent += count as u64;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        };
        if taken && self.io.buffers() && (wrote || self.watch.unflushed) {
            self.watch.unflushed = Pin::new(&mut self.io).poll_flush(cx)?.is_pending();
        }
        if taken && !self.watch.unflushed {
            self.watch.backlog = None;
            return Ok(true);
        }
        self.blocked(wrote, now);
        Ok(false)
    }

    /// Runs the streams that were woken.
    fn children(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) {
        while let Poll::Ready(exit) = self.brood.poll_exit(cx) {
            // Its last messages first: an end can be seen before them.
            self.replies(now);
            self.child_ended(exit, common, now);
        }
        self.replies(now);
        if !self.promised.is_empty() {
            self.keep_promises(common, now);
        }
    }

    /// A response that was complete before its request: the rest of the request is not wanted (RFC 9113 §8.1).
    /// It has [`EARLY_GRACE`] to end by itself, in which its octets are dropped.
    fn end_early(&mut self, now: Instant) {
        if self.early.is_empty() {
            return;
        }
        let (streams, conn, stirred) = (&mut self.streams, &mut self.conn, &mut self.stirred);
        self.early.retain_mut(|early| {
            let id = early.id;
            let Some(entry) = streams.get_mut(&id).filter(|entry| entry.receiving && !entry.closed) else {
                return false;
            };
            if !conn.stream(id).is_some_and(|view| view.state == "half_closed_local" && view.queued == 0) {
                return true;
            }
            let over = now >= *early.sent.get_or_insert(now) + EARLY_GRACE;
            if over {
                entry.outcome.get_or_insert(Outcome::Complete);
                conn.reset_stream(id, ErrorCode::NO_ERROR).ok();
                *stirred = true;
            }
            !over
        });
    }

    /// The last octets of a session that was cut off.
    fn leave(&mut self, cx: &mut Context<'_>, now: Instant, until: Instant) -> Step {
        // Nothing that is still said is heard.
        while self.link.take().is_some() {}
        if self.torn {
            return Step::Gone;
        }
        if now >= until {
            return Step::Part;
        }
        match self.flush(cx, now) {
            Ok(false) => Step::Wait,
            Ok(true) | Err(_) => Step::Part,
        }
    }

    /// Cuts the session off: GOAWAY with the code, every stream told once.
    pub(crate) fn abort(&mut self, common: &mut Common, order: &CloseSession, now: Instant) {
        self.desk_closed(common, Some(order));
        if !self.conn.is_closed() {
            self.conn.close(order.code, order.words());
        }
        self.leaving = Some(now + common.host.config.timeouts.linger);
        self.tell_all(common, now);
        self.publish(common, now);
    }

    /// Tells the streams that it is over and drops what is left of them.
    fn tell_all(&mut self, common: &mut Common, now: Instant) {
        self.desk_closed(common, None);
        let mut cx = Context::from_waker(Waker::noop());
        self.link.begin_turn(Waker::noop(), now);
        self.events(common, now);
        let open: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in open {
            self.closed(id, stagedoor_protocol::Cause::ConnectionClosed, common, now);
        }
        self.children(common, &mut cx, now);
        self.brood = Brood::default();
        self.promised.clear();
        self.cut_tails(common, now);
        if common.taps.is_some() {
            self.show_frames(common, now);
        }
        for (id, mut entry) in self.streams.drain() {
            if !entry.closed {
                common.stream_ended(id, Ended::of(&mut entry, Outcome::SessionClosed), now);
            }
            if entry.alive {
                common.host.actors()[stagedoor_metrics::ActorKind::Stream].alive.dec();
            }
        }
        self.link.shut();
        self.desk = Desk::default();
        common.keep_record(self.conn.recorded());
        self.count_frames(common);
        self.order = None;
        self.link.end_turn();
    }

    /// The session panicked or its arbiter stops: streams are told, nothing is written.
    pub(crate) fn forsake(mut self: Box<Self>, common: &mut Common, now: Instant) {
        self.tell_all(common, now);
    }

    /// Frames are watched from now on.
    pub(super) fn begin_tap(&mut self) {
        self.conn.tap(true);
    }

    /// Keeps a turning point.
    pub(super) fn record(&mut self, turning: Turning, now: Instant) {
        let recorder = self.conn.recorder();
        recorder.tick(now);
        turning.write(recorder);
    }

    /// What happened last, to be read.
    pub(super) fn recorded(&self) -> &Recorder {
        self.conn.recorded()
    }

    /// Begins the graceful close.
    pub(crate) fn drain(&mut self, common: &Common, now: Instant) {
        if let Some(client) = &self.client {
            client.desk.closing();
        }
        self.conn.drain_with(now, common.opaque());
        self.stirred = true;
    }

    /// Resets one stream by order.
    pub(crate) fn cancel(&mut self, id: StreamId, code: ErrorCode) -> bool {
        let Some(entry) = self.streams.get_mut(&id).filter(|entry| !entry.closed) else { return false };
        entry.outcome.get_or_insert(Outcome::Cancelled);
        self.conn.reset_stream(id, code).is_ok()
    }

    /// The machine's counters go with it.
    fn count_frames(&self, common: &mut Common) {
        let counters = self.conn.counters();
        common.life.frames_in = counters.frames_in.iter().sum();
        common.life.frames_out = counters.frames_out.iter().sum();
    }

    /// The socket, for the half-close.
    pub(crate) fn part(self, common: &mut Common, now: Instant) -> Parting {
        // What was ordered too late is dropped, and so says that it failed.
        self.link.shut();
        self.count_frames(common);
        common.keep_record(self.conn.recorded());
        self.desk_closed(common, None);
        common.queued(0);
        let until = self.leaving.unwrap_or(now + common.host.config.timeouts.linger);
        Parting::new(self.io, Bytes::new(), until)
    }

    pub(crate) fn view(&self, view: &mut SessionView, now: Instant) {
        let state = self.conn.state();
        view.recv_window = state.recv_window;
        view.http2 = Some(state);
        view.streams.clear();
        for stream in self.conn.streams() {
            let Some(entry) = self.streams.get(&stream.id) else { continue };
            view.add_unpublished(entry, now);
            view.streams.push(StreamView {
                bytes_in: stream.received,
                bytes_out: stream.sent,
                write_queue_bytes: stream.queued as u64,
                send_window: stream.send_window,
                ..StreamView::of_entry(stream.id, entry, &self.link, stream.state, now)
            });
        }
        view.streams.sort_unstable_by_key(|stream| stream.id);
    }
}

pub(crate) fn io_failed(error: &io::Error) -> CloseSession {
    if is_abrupt_end(error) {
        return CloseSession::new(CloseReason::ClientClosed).with_detail(error.to_string());
    }
    CloseSession::new(CloseReason::IoError).with_detail(error.to_string())
}

/// The peer has gone without a word: its process ended, or TLS without close_notify.
pub(crate) fn is_abrupt_end(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted | K::UnexpectedEof | K::NotConnected
    )
}
