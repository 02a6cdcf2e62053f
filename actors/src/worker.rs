//! The Worker actor: one per arbiter. Takes sockets from Listeners and starts their sessions; passes orders
//! and questions on to the sessions of its arbiter. A session never leaves it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, ListenerId, Metrics, SessionId, SessionState, Shard,
};
use tokio::net::{TcpStream, UnixStream};

use crate::close::CloseSession;
use crate::config::ListenerConfig;
use crate::envelope::{Counting, Watched, counted};
use crate::events::Hub;
use crate::host::{Arena, Ends, Host};
use crate::listener::{Arrival, Ledger, PostId, Supervisor};
use crate::postmortem::PostMortems;
use crate::server::ReconfigureError;
use crate::service::ServiceFactory;
use crate::session::{Inspect, ObserverFactory, Session, Tap};
use crate::tap::TapSink;
use crate::transport::Raw;
use crate::view::SessionView;

/// How long a session may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a worker looks how late it is.
const TICK: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Worker {
    metrics: Metrics,
    shard: Arc<Shard>,
    arena: Rc<Arena>,
    hosts: HashMap<PostId, Rc<Host>>,
    /// Listeners whose sessions are drained as soon as they start.
    draining: HashSet<PostId>,
}

impl Worker {
    pub(crate) fn new(metrics: Metrics, number: u16, post_mortems: Arc<PostMortems>, hub: Hub) -> Self {
        let shard = metrics.shard(number);
        let arena = Arena::with(&metrics, number, post_mortems, hub);
        Self { metrics, shard, arena, hosts: HashMap::new(), draining: HashSet::new() }
    }

    /// Addresses are cloned first: a session may strike itself out while it is told.
    fn sessions(&self, matches: impl Fn(PostId) -> bool) -> Vec<Watched<Session>> {
        let sessions = self.arena.sessions.borrow();
        sessions.values().filter(|entry| matches(entry.post)).map(|entry| entry.addr.clone()).collect()
    }
}

impl Counting for Worker {
    fn shard(&self) -> Arc<Shard> {
        Arc::clone(&self.shard)
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let counts = &self.shard.actors()[ActorKind::Worker];
        counts.started.inc();
        counts.alive.inc();
        ctx.spawn(tick(Arc::clone(&self.shard)).into_actor(self));
    }
}

/// Measures how late this arbiter comes to what is due.
async fn tick(shard: Arc<Shard>) {
    let mut due = crate::clock::now() + TICK;
    loop {
        tokio::time::sleep_until(due.into()).await;
        let now = crate::clock::now();
        let late = now.saturating_duration_since(due);
        shard.loop_lag.observe_nanos(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        // What was missed is one late tick, not many.
        due = now + TICK;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shard.actors()[ActorKind::Worker].alive.dec();
    }
}

counted!(Worker, Worker:
    Serve = WorkerServe,
    Forget = WorkerServe,
    Conn = WorkerConnection,
    CloseAll = WorkerClose,
    CloseIdle = WorkerClose,
    CloseOne = WorkerClose,
    Reconfigure = WorkerReconfigure,
    Replace = WorkerReconfigure,
    Quit = WorkerClose,
    Undrain = WorkerReconfigure,
    ResetOne = WorkerResetStream,
    Sessions = WorkerInspect,
    TapSessions = WorkerTap,
);

/// Order: serve a listener's sessions from now on.
pub(crate) struct Serve {
    pub(crate) post: PostId,
    pub(crate) listener: ListenerId,
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) factory: ServiceFactory,
    pub(crate) observer: Option<ObserverFactory>,
    pub(crate) ledger: Arc<Ledger>,
    /// Connections of which nobody knows yet what they speak, this arbiter's share.
    pub(crate) handshakes: usize,
    pub(crate) on_end: Watched<Supervisor>,
}

impl Message for Serve {
    type Result = ();
}

impl Handler<Serve> for Worker {
    type Result = ();

    fn handle(&mut self, order: Serve, _: &mut Self::Context) {
        let service = ((order.factory)(), order.observer.map(|observer| observer()));
        let (arena, ledger) = (Rc::clone(&self.arena), Some(order.ledger));
        let ids = (order.listener, order.post);
        let host = Host::of_listener(&self.metrics, ids, order.config, service, arena, ledger);
        host.openings.limit(order.handshakes);
        *host.on_end.borrow_mut() = Some(Ends::Ours(order.on_end));
        self.hosts.insert(order.post, host);
    }
}

/// Order: a listener is gone, and so are its sessions.
pub(crate) struct Forget(pub(crate) PostId);

impl Message for Forget {
    type Result = ();
}

impl Handler<Forget> for Worker {
    type Result = ();

    fn handle(&mut self, Forget(post): Forget, _: &mut Self::Context) {
        self.hosts.remove(&post);
        self.draining.remove(&post);
    }
}

/// A connection to run a session on.
pub(crate) struct Conn {
    pub(crate) arrival: Arrival,
    pub(crate) peer: Option<SocketAddr>,
    /// The address of the peer was counted.
    pub(crate) booked: bool,
    pub(crate) post: PostId,
}

impl Message for Conn {
    type Result = ();
}

impl Handler<Conn> for Worker {
    type Result = ();

    fn handle(&mut self, conn: Conn, _: &mut Self::Context) {
        let Some(host) = self.hosts.get(&conn.post) else { return };
        let stream = match conn.arrival {
            Arrival::Tcp(stream, _) => TcpStream::from_std(stream).map(Raw::Tcp),
            Arrival::Unix(stream) => UnixStream::from_std(stream).map(Raw::Unix),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be served");
                host.cells.connections[ConnectionResult::Error].inc();
                if let Some(ledger) = &host.ledger {
                    let booked = conn.peer.filter(|_| conn.booked);
                    ledger.release(booked.map(|peer| peer.ip()), self.arena.worker);
                }
                return;
            }
        };
        let session = host.spawn(stream, conn.peer, conn.booked);
        if self.draining.contains(&conn.post) {
            // One message a session, from its own thread.
            #[allow(clippy::disallowed_methods)]
            session.do_send(CloseSession::new(CloseReason::Drain));
        }
    }
}

/// Order: close every session of these listeners.
#[derive(Clone)]
pub(crate) struct CloseAll {
    pub(crate) posts: Vec<PostId>,
    pub(crate) order: CloseSession,
}

impl Message for CloseAll {
    type Result = ();
}

impl Handler<CloseAll> for Worker {
    type Result = ();

    fn handle(&mut self, close: CloseAll, _: &mut Self::Context) {
        self.draining.extend(&close.posts);
        for session in self.sessions(|post| close.posts.contains(&post)) {
            session.tell(close.order.clone());
        }
    }
}

/// Order: sessions of these listeners are not drained any more as they start.
pub(crate) struct Undrain {
    pub(crate) posts: Vec<PostId>,
}

impl Message for Undrain {
    type Result = ();
}

impl Handler<Undrain> for Worker {
    type Result = ();

    fn handle(&mut self, order: Undrain, _: &mut Self::Context) {
        self.draining.retain(|post| !order.posts.contains(post));
    }
}

/// Order: close the sessions without streams.
pub(crate) struct CloseIdle;

impl Message for CloseIdle {
    type Result = usize;
}

impl Handler<CloseIdle> for Worker {
    type Result = usize;

    fn handle(&mut self, _: CloseIdle, _: &mut Self::Context) -> usize {
        let worker = self.arena.worker;
        let sessions = self.arena.sessions.borrow();
        let idle: Vec<Watched<Session>> = sessions
            .iter()
            .filter(|(number, _)| {
                let stats = self.metrics.live().get(SessionId { worker, number: **number });
                stats
                    .is_some_and(|stats| stats.state() == SessionState::Open && stats.streams_open.get() == 0)
            })
            .map(|(_, entry)| entry.addr.clone())
            .collect();
        drop(sessions);
        for session in &idle {
            session.tell(CloseSession::new(CloseReason::Admin));
        }
        idle.len()
    }
}

/// What is told otherwise.
pub(crate) type Change = Arc<dyn Fn(&mut ListenerConfig) -> Result<(), ReconfigureError> + Send + Sync>;

/// Order: tell the sessions of a listener that begin from now on something else.
pub(crate) struct Reconfigure {
    pub(crate) post: PostId,
    pub(crate) change: Change,
    /// As of [`Serve`]; `None` leaves it.
    pub(crate) handshakes: Option<usize>,
}

impl Message for Reconfigure {
    type Result = Result<(), ReconfigureError>;
}

impl Handler<Reconfigure> for Worker {
    type Result = Result<(), ReconfigureError>;

    fn handle(&mut self, order: Reconfigure, _: &mut Self::Context) -> Self::Result {
        let Some(host) = self.hosts.get_mut(&order.post) else { return Ok(()) };
        let mut config = ListenerConfig::clone(&host.config);
        (order.change)(&mut config)?;
        config.check()?;
        *host = host.with_config(Arc::new(config));
        if let Some(handshakes) = order.handshakes {
            host.openings.limit(handshakes);
        }
        Ok(())
    }
}

/// Order: answer with another service in sessions that begin from now on.
pub(crate) struct Replace {
    pub(crate) post: PostId,
    pub(crate) service: ServiceFactory,
}

impl Message for Replace {
    type Result = ();
}

impl Handler<Replace> for Worker {
    type Result = ();

    fn handle(&mut self, order: Replace, _: &mut Self::Context) {
        if let Some(host) = self.hosts.get_mut(&order.post) {
            *host = host.with_service((order.service)());
        }
    }
}

/// Order: stop; its arbiter lives on, for it is somebody else's.
pub(crate) struct Quit;

impl Message for Quit {
    type Result = ();
}

impl Handler<Quit> for Worker {
    type Result = ();

    fn handle(&mut self, _: Quit, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Order: close one session. Answers whether it is there.
pub(crate) struct CloseOne {
    pub(crate) number: u64,
    pub(crate) order: CloseSession,
}

impl Message for CloseOne {
    type Result = bool;
}

impl Handler<CloseOne> for Worker {
    type Result = bool;

    fn handle(&mut self, close: CloseOne, _: &mut Self::Context) -> bool {
        let sessions = self.arena.sessions.borrow();
        let Some(entry) = sessions.get(&close.number) else { return false };
        entry.addr.tell(close.order);
        true
    }
}

/// Order: reset one stream of one session. Answers whether it was there.
pub(crate) struct ResetOne {
    pub(crate) number: u64,
    pub(crate) reset: crate::session::ResetStream,
}

impl Message for ResetOne {
    type Result = bool;
}

impl Handler<ResetOne> for Worker {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, order: ResetOne, _: &mut Self::Context) -> Self::Result {
        let addr = self.arena.sessions.borrow().get(&order.number).map(|entry| entry.addr.clone());
        Box::pin(async move {
            let Some(addr) = addr else { return false };
            let answer = tokio::time::timeout(PATIENCE, addr.send(order.reset)).await;
            matches!(answer, Ok(Ok(true)))
        })
    }
}

/// Order: let somebody watch the frames of one session, or of all, those to come too. Answers of how many.
pub(crate) struct TapSessions {
    pub(crate) number: Option<u64>,
    pub(crate) sink: TapSink,
}

impl Message for TapSessions {
    type Result = usize;
}

impl Handler<TapSessions> for Worker {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, order: TapSessions, _: &mut Self::Context) -> Self::Result {
        let TapSessions { number, sink } = order;
        let hosts = &self.hosts;
        let sessions = self.arena.sessions.borrow();
        let wanted: Vec<Watched<Session>> = sessions
            .iter()
            .filter(|(known, entry)| match number {
                Some(number) => number == **known,
                None => hosts.get(&entry.post).is_some_and(|host| host.is_public()),
            })
            .map(|(_, entry)| entry.addr.clone())
            .collect();
        drop(sessions);
        if number.is_none() {
            self.arena.watch(sink.clone());
        }
        Box::pin(async move {
            let told = wanted.iter().map(|session| session.send(Tap(sink.clone())));
            let told = tokio::time::timeout(PATIENCE, join_all(told)).await.unwrap_or_default();
            told.into_iter().filter(|answer| matches!(answer, Ok(true))).count()
        })
    }
}

/// Question: how do the sessions stand? All, or these.
pub(crate) struct Sessions {
    pub(crate) numbers: Option<Vec<u64>>,
    /// With their flight recorders.
    pub(crate) recorder: bool,
}

impl Message for Sessions {
    type Result = Vec<SessionView>;
}

impl Handler<Sessions> for Worker {
    type Result = ResponseFuture<Vec<SessionView>>;

    fn handle(&mut self, question: Sessions, _: &mut Self::Context) -> Self::Result {
        let sessions = self.arena.sessions.borrow();
        let wanted: Vec<(u64, Watched<Session>)> = match question.numbers {
            None => sessions.iter().map(|(number, entry)| (*number, entry.addr.clone())).collect(),
            Some(numbers) => numbers
                .into_iter()
                .filter_map(|number| Some((number, sessions.get(&number)?.addr.clone())))
                .collect(),
        };
        drop(sessions);
        let (metrics, worker) = (self.metrics.clone(), self.arena.worker);
        let recorder = question.recorder;
        Box::pin(async move {
            let asked = wanted.into_iter().map(|(number, addr)| {
                let metrics = metrics.clone();
                async move {
                    match tokio::time::timeout(PATIENCE, addr.send(Inspect { recorder })).await {
                        Ok(Ok(Some(view))) => Some(view),
                        // It did not answer: its numbers still do.
                        Ok(Ok(None) | Err(_)) | Err(_) => {
                            let stats = metrics.live().get(SessionId { worker, number })?;
                            Some(SessionView::of_stats(&stats, crate::clock::now()))
                        }
                    }
                }
            });
            join_all(asked).await.into_iter().flatten().collect()
        })
    }
}
