//! The Session actor: one connection, from its first octet to the closed socket, whatever it speaks.
//!
//! It owns the socket and drives an engine: TLS, then the look at the first octets, then HTTP/2 or
//! HTTP/1.1, then the parting (half-close, linger). One future does all I/O; actix polls the mailbox before
//! it, so an order is heard before the next octet.
//!
//! Invariants: a session ends by [`CloseSession`] and by nothing else: timeouts, peer errors, EOF, drain,
//! orders and panics all come through `begin_close` and end in `Common::finish`, which runs once,
//! from a drop guard if need be.

pub(crate) mod board;
mod common;
mod connecting;
mod ended;
pub(crate) mod events;
pub(crate) mod handle;
mod handshake;
pub(crate) mod http1;
mod http2;
mod opening;
mod pace;
mod parting;
mod proxied;
pub(crate) mod spans;
mod timer;
mod turning;
mod upgraded;
mod waits;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Instant;

use actix::prelude::*;
use stagedoor_metrics::{
    ActorKind, CloseReason, MessageKind, Protocol, SessionId, SessionState, SessionStats, Shard,
    TimeoutAction, TimeoutKind,
};
use tokio::sync::oneshot;

use crate::client::desk::Keeper;
use crate::clock;
use crate::close::{CloseSession, timer_of};
use crate::envelope::{Busy, Counting, counted};
use crate::events::PanicPlace;
use crate::host::{Arena, Host};
use crate::supervise::words;
use crate::tap::TapSink;
use crate::transport::Raw;
use crate::view::SessionView;

pub(crate) use common::Facts;
pub(crate) use connecting::Established;
pub use events::{EventStream, Observer, ObserverFactory, SessionEvent, SessionStatistics, StreamTimes};
pub use handle::{
    Acknowledged, Answer, Certificate, GoAway, MAX_OPAQUE, Pong, SessionError, SessionHandle, SessionInfo,
    SessionSnapshot, TlsFacts,
};
pub use handshake::{Handshaking, ServerHandshake, perform_server_handshake};
pub(crate) use http2::Entry;
pub(crate) use opening::facts_of;
pub use waits::WaitTimes;

use board::Phase;
use common::{Common, Ends};
use connecting::{Connecting, Establishing};
use http1::Http1;
use http2::Http2;
use opening::Opening;
use parting::Parting;
use timer::{Due, Timer};
use turning::Turning;
use upgraded::Upgraded;

/// One connection.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # use stagedoor_actors::{CloseSession, Host, ListenerConfig};
/// # let metrics = stagedoor_metrics::Metrics::new("stagedoor");
/// # let config = ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
/// # let host = Host::new(&metrics, 0, config, local_handler(async |_: HttpRequest| "hello"));
/// # let (ours, mut theirs) = tokio::io::duplex(4096);
/// use tokio::io::AsyncReadExt as _;
///
/// let session: actix::Addr<stagedoor_actors::Session> = host.spawn_session(ours, None);
/// session.send(CloseSession::graceful("nobody came").now()).await?;
/// theirs.read_to_end(&mut Vec::new()).await?;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Session {
    common: Common,
    engine: Engine,
    timer: Timer,
}

/// How a connection comes in.
pub(crate) struct Entrance {
    pub(crate) io: Raw,
    pub(crate) peer: Option<SocketAddr>,
    /// The listener counted the address of the peer.
    pub(crate) booked: bool,
    /// TLS first, as the host has it.
    pub(crate) tls: bool,
    /// Who waits to know what it speaks.
    pub(crate) opened: Option<oneshot::Sender<Result<SessionHandle, SessionError>>>,
}

/// What a session does now.
enum Engine {
    /// A session of ours whose connection is not up yet.
    Connecting(Box<Connecting>),
    /// Nobody knows what it speaks.
    Opening(Box<Opening>),
    Http2(Box<Http2>),
    Http1(Box<Http1>),
    /// HTTP/1.1 has become a tunnel.
    Upgraded(Box<Upgraded>),
    /// The last octets, the half-close, the linger.
    Parting(Box<Parting>),
    /// The socket is closed.
    Gone,
}

/// What an engine wants of its session after a turn.
enum Step {
    /// Nothing until it is woken.
    Wait,
    /// The session is to end.
    Close(CloseSession),
    /// Another engine goes on.
    Become(Engine),
    /// Nothing more to say; the socket parts.
    Part,
    /// Over; the socket may be dropped.
    Gone,
}

impl Session {
    pub(crate) fn new(host: Rc<Host>, id: SessionId, entrance: Entrance) -> Self {
        let now = clock::now();
        let Entrance { io, peer, booked, tls, opened } = entrance;
        let ends = Ends { peer, booked, unix: io.is_unix() };
        let mut common = Common::new(host, id, ends, now);
        common.await_opening(opened);
        let engine = Engine::Opening(Box::new(Opening::new(io, tls, &common, now)));
        Self { common, engine, timer: Timer::default() }
    }

    /// A session of ours; `establish` connects it.
    pub(crate) fn client(
        host: Rc<Host>,
        id: SessionId,
        desk: Keeper,
        protocol: Protocol,
        establish: Establishing,
    ) -> Self {
        let common = Common::of_client(host, id, &desk.target.authority, protocol, clock::now());
        let connecting = Connecting::new(establish, desk);
        Self { common, engine: Engine::Connecting(Box::new(connecting)), timer: Timer::default() }
    }

    /// Where the sessions of its arbiter are kept.
    pub(crate) fn arena(&self) -> Rc<Arena> {
        Rc::clone(&self.common.host.arena)
    }

    /// Its figures.
    pub(crate) fn stats(&self) -> Arc<SessionStats> {
        Arc::clone(&self.common.stats)
    }

    fn turn(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let now = clock::now();
        if !self.common.host.config.observed {
            return self.work(cx, now);
        }
        if let Some(stirred) = self.common.take_stirred() {
            let waited = u64::try_from(now.saturating_duration_since(stirred).as_nanos()).unwrap_or(u64::MAX);
            self.common.host.actors()[ActorKind::Session].mailbox_wait.observe_nanos(waited);
        }
        let shard = Arc::clone(&self.common.host.shard);
        let _busy = Busy::new(&shard, MessageKind::SessionTurn, now);
        self.work(cx, now)
    }

    fn work(&mut self, cx: &mut task::Context<'_>, now: Instant) -> Poll<()> {
        if let Some(due) = self.timer.fired(now) {
            self.on_timer(due, now);
        }
        loop {
            let step = match &mut self.engine {
                Engine::Connecting(connecting) => connecting.turn(&mut self.common, cx, now),
                Engine::Opening(opening) => opening.turn(&mut self.common, cx, now),
                Engine::Http2(http2) => http2.turn(&mut self.common, cx, now),
                Engine::Http1(http1) => http1.turn(&mut self.common, cx, now),
                Engine::Upgraded(tunnel) => tunnel.turn(&mut self.common, cx, now),
                Engine::Parting(parting) => parting.turn(&mut self.common, cx, now),
                Engine::Gone => Step::Gone,
            };
            match step {
                Step::Wait => break,
                Step::Close(order) => self.begin_close(order, now),
                Step::Become(engine) => {
                    self.engine = engine;
                    self.resume_close(now);
                }
                Step::Part => self.part(now),
                Step::Gone => {
                    self.engine = Engine::Gone;
                    self.common.finish(now);
                    return Poll::Ready(());
                }
            }
        }
        self.rearm(cx);
        Poll::Pending
    }

    /// The one way down. The first order's reason stays; a later order may only shorten the drain.
    fn begin_close(&mut self, order: CloseSession, now: Instant) {
        let news = self.common.note_close(&order, now);
        if news.first {
            if let Some(kind) = timer_of(order.reason) {
                self.common.timed(kind, TimeoutAction::Closed, None);
            }
            tracing::debug!(parent: &self.common.span, reason = %order.reason, detail = %order.detail,
                hard = order.hard, "session closes");
        }
        if news.cut_off {
            self.record(Turning::Closing(order.reason), now);
        } else if news.first {
            self.record(Turning::Draining(order.reason), now);
        }
        self.common.tell_close(&order, news.cut_off);
        if news.cut_off {
            self.common.stats.set_state(SessionState::Closing);
            self.engine = match std::mem::replace(&mut self.engine, Engine::Gone) {
                Engine::Connecting(connecting) => connecting.abort(&mut self.common, &order),
                Engine::Opening(opening) => opening.abort(&self.common, now),
                Engine::Http2(mut http2) => {
                    http2.abort(&mut self.common, &order, now);
                    Engine::Http2(http2)
                }
                Engine::Http1(http1) => http1.abort(&mut self.common, &order, now),
                Engine::Upgraded(tunnel) => tunnel.abort(&mut self.common, &order, now),
                other @ (Engine::Parting(_) | Engine::Gone) => other,
            };
        } else if news.first {
            self.common.stats.set_state(SessionState::Draining);
            self.drain_engine(now);
        }
    }

    /// Keeps a turning point in the flight recorder.
    fn record(&mut self, turning: Turning, now: Instant) {
        match &mut self.engine {
            Engine::Http2(http2) => http2.record(turning, now),
            _ => self.common.record(turning, now),
        }
    }

    /// What is said is said: the half-close follows.
    fn part(&mut self, now: Instant) {
        self.common.advance(Phase::Closing);
        self.common.stats.set_state(SessionState::Closing);
        self.engine = match std::mem::replace(&mut self.engine, Engine::Gone) {
            Engine::Http2(http2) => Engine::Parting(Box::new(http2.part(&mut self.common, now))),
            other => other,
        };
    }

    fn drain_engine(&mut self, now: Instant) {
        match &mut self.engine {
            Engine::Http2(http2) => http2.drain(&self.common, now),
            Engine::Http1(http1) => http1.drain(now),
            Engine::Opening(opening) => opening.hurry(now),
            Engine::Connecting(connecting) => connecting.give_up(),
            // A tunnel has the time of the drain.
            Engine::Upgraded(_) | Engine::Parting(_) | Engine::Gone => {}
        }
    }

    /// A new engine learns of a drain that began before it.
    fn resume_close(&mut self, now: Instant) {
        if self.common.is_ending() {
            self.drain_engine(now);
        }
    }

    fn on_timer(&mut self, due: Due, now: Instant) {
        if self.common.drain_is_over(now) {
            self.common.timed(TimeoutKind::Drain, TimeoutAction::Closed, None);
            let order = self.common.cut_off_order();
            return self.begin_close(order, now);
        }
        if self.common.is_too_old(now) {
            let grace = self.common.max_age_grace();
            return self.begin_close(CloseSession::new(CloseReason::MaxAge).with_grace(grace), now);
        }
        let order = match &mut self.engine {
            Engine::Opening(opening) => opening.on_timer(&mut self.common, now),
            Engine::Http2(http2) => http2.on_timer(&mut self.common, now),
            Engine::Http1(http1) => http1.on_timer(&mut self.common, now),
            Engine::Upgraded(tunnel) => tunnel.on_timer(&self.common, now),
            Engine::Parting(parting) => {
                parting.on_timer(&self.common, now);
                None
            }
            Engine::Connecting(_) | Engine::Gone => None,
        };
        match order {
            Some(order) => self.begin_close(order, now),
            None => {
                // It was armed for a moment that has moved on since: octets moved.
                let next = self.deadline();
                if let (Some(kind), Some((at, next))) = (due.kind(), next)
                    && next == due
                    && at > now
                {
                    self.common.timed(kind, TimeoutAction::Extended, None);
                }
            }
        }
    }

    fn deadline(&self) -> Option<(Instant, Due)> {
        let engine = match &self.engine {
            Engine::Opening(opening) => opening.deadline(),
            Engine::Http2(http2) => http2.deadline(&self.common),
            Engine::Http1(http1) => http1.deadline(&self.common),
            Engine::Upgraded(tunnel) => tunnel.deadline(&self.common),
            Engine::Parting(parting) => parting.deadline(),
            // Its deadline is inside.
            Engine::Connecting(_) | Engine::Gone => None,
        };
        timer::sooner(engine, self.common.deadline())
    }

    fn rearm(&mut self, cx: &mut task::Context<'_>) {
        if let Some((at, due)) = self.deadline() {
            self.timer.arm(at, due, cx);
        }
    }

    fn view(&self, recorder: bool) -> SessionView {
        let now = clock::now();
        let mut view = self.common.view(now);
        if recorder {
            view.recorder = match &self.engine {
                Engine::Http2(http2) => turning::recorded(http2.recorded()),
                _ => self.common.recorded(),
            };
        }
        match &self.engine {
            Engine::Http2(http2) => http2.view(&mut view, now),
            Engine::Http1(http1) => http1.view(&mut view, now),
            Engine::Upgraded(tunnel) => tunnel.view(&mut view, now),
            Engine::Connecting(_) | Engine::Opening(_) | Engine::Parting(_) | Engine::Gone => {}
        }
        view
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let counts = &self.common.host.actors()[ActorKind::Session];
        counts.started.inc();
        counts.alive.inc();
        ctx.spawn(Pump);
    }
}

/// The I/O future of a session.
struct Pump;

impl ActorFuture<Session> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let turned = catch_unwind(AssertUnwindSafe(|| {
            let span = session.common.span.clone();
            let _entered = span.enter();
            session.turn(cx)
        }));
        match turned {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(payload) => {
                let words = words(&*payload);
                tracing::error!(parent: &session.common.span, panic = words, "the session panicked");
                session.common.caught(None, PanicPlace::Session, &words);
                session.common.host.actors()[ActorKind::Session].panics.inc();
                session.fall(CloseReason::Panic);
            }
        }
        ctx.stop();
        Poll::Ready(())
    }
}

impl Session {
    /// Ends without ceremony: the machine cannot be trusted any more, or the arbiter goes.
    fn fall(&mut self, reason: CloseReason) {
        if self.common.is_finished() {
            return;
        }
        let now = clock::now();
        let order = CloseSession::new(reason).now();
        self.common.note_close(&order, now);
        self.common.tell_close(&order, true);
        let engine = std::mem::replace(&mut self.engine, Engine::Gone);
        let streams = catch_unwind(AssertUnwindSafe(|| match engine {
            Engine::Http2(http2) => http2.forsake(&mut self.common, now),
            Engine::Http1(http1) => http1.forsake(&mut self.common, now),
            Engine::Upgraded(tunnel) => tunnel.forsake(&mut self.common, now),
            Engine::Connecting(connecting) => drop(connecting.abort(&mut self.common, &order)),
            other @ (Engine::Opening(_) | Engine::Parting(_) | Engine::Gone) => drop(other),
        }));
        if let Err(payload) = streams {
            let words = words(&*payload);
            tracing::error!(parent: &self.common.span, panic = words, "the session panicked while it ended");
            self.common.caught(None, PanicPlace::Session, &words);
        }
        self.common.finish(now);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { CloseReason::Panic } else { CloseReason::Shutdown };
        self.fall(reason);
        self.common.host.actors()[ActorKind::Session].alive.dec();
    }
}

impl Counting for Session {
    fn shard(&self) -> Arc<Shard> {
        Arc::clone(&self.common.host.shard)
    }
}

counted!(Session, Session:
    CloseSession = SessionClose,
    Inspect = SessionInspect,
    ResetStream = SessionResetStream,
    Tap = SessionTap,
);

impl Handler<CloseSession> for Session {
    type Result = ();

    fn handle(&mut self, order: CloseSession, _: &mut Self::Context) {
        // The pump runs next in this very poll and puts GOAWAY on the wire.
        self.begin_close(order, clock::now());
    }
}

/// Question: what does the session look like now?
pub(crate) struct Inspect {
    /// With its flight recorder, which takes longest to tell.
    pub(crate) recorder: bool,
}

impl Message for Inspect {
    type Result = Option<SessionView>;
}

impl Handler<Inspect> for Session {
    type Result = Option<SessionView>;

    fn handle(&mut self, inspect: Inspect, _: &mut Self::Context) -> Self::Result {
        // The application names its routes.
        let view = catch_unwind(AssertUnwindSafe(|| self.view(inspect.recorder))).unwrap_or_else(|payload| {
            let words = words(&*payload);
            tracing::error!(parent: &self.common.span, panic = words, "the name of a route panicked");
            self.common.caught(None, PanicPlace::RouteName, &words);
            self.common.view(clock::now())
        });
        Some(view)
    }
}

/// Order: let somebody watch the frames. Answers whether there are any: HTTP/1.1 has none.
pub(crate) struct Tap(pub(crate) TapSink);

impl Message for Tap {
    type Result = bool;
}

impl Handler<Tap> for Session {
    type Result = bool;

    fn handle(&mut self, Tap(sink): Tap, _: &mut Self::Context) -> bool {
        let Engine::Http2(http2) = &mut self.engine else { return false };
        self.common.watch(sink);
        http2.begin_tap();
        true
    }
}

/// Order: reset one stream of the session (CANCEL where no code is given).
///
/// ```
/// use stagedoor_actors::{ResetStream, ServerHandle};
/// use stagedoor_protocol::ErrorCode;
///
/// /// Ends the first stream of a session; false where there is none.
/// async fn reset_first(server: &ServerHandle, session: &str) -> bool {
///     let order = ResetStream { id: 1.into(), code: ErrorCode::CANCEL };
///     server.reset_stream(session, order).await
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResetStream {
    /// The stream.
    pub id: stagedoor_protocol::StreamId,
    /// What RST_STREAM says.
    pub code: stagedoor_protocol::ErrorCode,
}

impl Message for ResetStream {
    type Result = bool;
}

impl Handler<ResetStream> for Session {
    type Result = bool;

    fn handle(&mut self, order: ResetStream, _: &mut Self::Context) -> bool {
        match &mut self.engine {
            Engine::Http2(http2) => http2.cancel(order.id, order.code),
            Engine::Http1(_) | Engine::Upgraded(_) | Engine::Opening(_) => false,
            Engine::Connecting(_) | Engine::Parting(_) | Engine::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // With what the runtime adds to a task, aligned to 128 octets.
        let context = size_of::<actix::dev::ContextFut<Session, Context<Session>>>();
        assert!(context <= 640, "{context}");
        // The allocator's next larger size would be 2 560 octets.
        assert!(size_of::<Http2>() <= 2048, "{}", size_of::<Http2>());
    }
}
