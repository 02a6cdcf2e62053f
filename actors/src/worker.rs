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
use tokio::net::TcpStream;

use crate::close::CloseSession;
use crate::config::ListenerConfig;
use crate::host::{Arena, Host};
use crate::listener::{Ledger, SessionEnded};
use crate::server::ReconfigureError;
use crate::service::ServiceFactory;
use crate::session::{Inspect, ObserverFactory, Session};
use crate::transport::Raw;
use crate::view::SessionView;

/// How long a session may take to say how it stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Worker {
    metrics: Metrics,
    shard: Arc<Shard>,
    arena: Rc<Arena>,
    hosts: HashMap<ListenerId, Rc<Host>>,
    /// Listeners whose sessions are drained as soon as they start.
    draining: HashSet<ListenerId>,
}

impl Worker {
    pub(crate) fn new(metrics: Metrics, number: u16) -> Self {
        let shard = metrics.shard(number);
        let arena = Arena::new(&metrics, number);
        Self { metrics, shard, arena, hosts: HashMap::new(), draining: HashSet::new() }
    }

    /// Addresses are cloned first: a session may strike itself out while it is told.
    fn sessions(&self, matches: impl Fn(ListenerId) -> bool) -> Vec<Addr<Session>> {
        let sessions = self.arena.sessions.borrow();
        sessions.values().filter(|entry| matches(entry.listener)).map(|entry| entry.addr.clone()).collect()
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let counts = &self.shard.actors()[ActorKind::Worker];
        counts.started.inc();
        counts.alive.inc();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shard.actors()[ActorKind::Worker].alive.dec();
    }
}

/// Order: serve a listener's sessions from now on.
pub(crate) struct Serve {
    pub(crate) listener: ListenerId,
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) factory: ServiceFactory,
    pub(crate) observer: Option<ObserverFactory>,
    pub(crate) ledger: Arc<Ledger>,
    /// Connections of which nobody knows yet what they speak, this arbiter's share.
    pub(crate) handshakes: usize,
    pub(crate) on_end: Recipient<SessionEnded>,
}

impl Message for Serve {
    type Result = ();
}

impl Handler<Serve> for Worker {
    type Result = ();

    fn handle(&mut self, order: Serve, _: &mut Self::Context) {
        let service = ((order.factory)(), order.observer.map(|observer| observer()));
        let (arena, ledger) = (Rc::clone(&self.arena), Some(order.ledger));
        let host = Host::of_listener(&self.metrics, order.listener, order.config, service, arena, ledger);
        host.openings.limit(order.handshakes);
        host.tell_ends_to(order.on_end);
        self.hosts.insert(order.listener, host);
    }
}

/// A connection to run a session on.
pub(crate) struct Conn {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: ListenerId,
}

impl Message for Conn {
    type Result = ();
}

impl Handler<Conn> for Worker {
    type Result = ();

    fn handle(&mut self, conn: Conn, _: &mut Self::Context) {
        let Some(host) = self.hosts.get(&conn.listener) else { return };
        let stream = match TcpStream::from_std(conn.stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be served");
                host.cells.connections[ConnectionResult::Error].inc();
                if let Some(ledger) = &host.ledger {
                    ledger.release(Some(conn.peer.ip()), self.arena.worker);
                }
                return;
            }
        };
        let session = host.spawn(Raw::Tcp(stream), Some(conn.peer));
        if self.draining.contains(&conn.listener) {
            order(&session, CloseSession::new(CloseReason::Drain));
        }
    }
}

/// Sends an order; a session has at most a few of them in its life.
fn order(session: &Addr<Session>, order: CloseSession) {
    #[allow(clippy::disallowed_methods)]
    session.do_send(order);
}

/// Order: close every session of these listeners.
#[derive(Clone)]
pub(crate) struct CloseAll {
    pub(crate) listeners: Vec<ListenerId>,
    pub(crate) order: CloseSession,
}

impl Message for CloseAll {
    type Result = ();
}

impl Handler<CloseAll> for Worker {
    type Result = ();

    fn handle(&mut self, close: CloseAll, _: &mut Self::Context) {
        self.draining.extend(&close.listeners);
        for session in self.sessions(|listener| close.listeners.contains(&listener)) {
            order(&session, close.order.clone());
        }
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
        let idle: Vec<Addr<Session>> = sessions
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
            order(session, CloseSession::new(CloseReason::Admin));
        }
        idle.len()
    }
}

/// What is told otherwise.
pub(crate) type Change = Arc<dyn Fn(&mut ListenerConfig) -> Result<(), ReconfigureError> + Send + Sync>;

/// Order: tell the sessions of a listener that begin from now on something else.
pub(crate) struct Reconfigure {
    pub(crate) listener: ListenerId,
    pub(crate) change: Change,
}

impl Message for Reconfigure {
    type Result = Result<(), ReconfigureError>;
}

impl Handler<Reconfigure> for Worker {
    type Result = Result<(), ReconfigureError>;

    fn handle(&mut self, order: Reconfigure, _: &mut Self::Context) -> Self::Result {
        let Some(host) = self.hosts.get_mut(&order.listener) else { return Ok(()) };
        let mut config = ListenerConfig::clone(&host.config);
        (order.change)(&mut config)?;
        config.check()?;
        *host = host.with_config(Arc::new(config));
        Ok(())
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
        order(&entry.addr, close.order);
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

/// Question: how do the sessions stand? All, or one.
pub(crate) struct Sessions {
    pub(crate) number: Option<u64>,
}

impl Message for Sessions {
    type Result = Vec<SessionView>;
}

impl Handler<Sessions> for Worker {
    type Result = ResponseFuture<Vec<SessionView>>;

    fn handle(&mut self, question: Sessions, _: &mut Self::Context) -> Self::Result {
        let sessions = self.arena.sessions.borrow();
        let wanted: Vec<(u64, Addr<Session>)> = match question.number {
            None => sessions.iter().map(|(number, entry)| (*number, entry.addr.clone())).collect(),
            Some(number) => {
                sessions.get(&number).map(|entry| (number, entry.addr.clone())).into_iter().collect()
            }
        };
        drop(sessions);
        let (metrics, worker) = (self.metrics.clone(), self.arena.worker);
        Box::pin(async move {
            let asked = wanted.into_iter().map(|(number, addr)| {
                let metrics = metrics.clone();
                async move {
                    match tokio::time::timeout(PATIENCE, addr.send(Inspect)).await {
                        Ok(Ok(view)) => Some(*view),
                        // It did not answer: its numbers still do.
                        Ok(Err(_)) | Err(_) => {
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
