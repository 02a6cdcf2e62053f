//! The Listener actor: accepts connections, holds the limits, hands sockets to the worker with the fewest
//! sessions. Speaks no protocol: the session does TLS and everything after it.
//!
//! Supervised (`Supervisor`): an accept loop that failed for good, or panicked, ends its Listener, and a new
//! one goes on with the same bound sockets and the same ledger.

mod accept;
mod errors;
mod ledger;
mod reserve;
mod socket;
mod supervisor;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, ListenerCells, ListenerId, Metrics, SessionId, Shard,
};
use tokio::net::TcpListener;

use crate::envelope::Watched;
use crate::overload::Overload;
use crate::worker::{Conn, Worker};
use accept::Accept;

pub(crate) use ledger::{Ledger, Loads};
pub(crate) use socket::bind;
pub(crate) use supervisor::{Resume, StopAccepting, Supervisor};

/// Fact: a session is over. Its Listener hears it, or whom [`crate::Host::tell_ends_to`] named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnded {
    /// Which.
    pub id: SessionId,
    /// Its other end.
    pub peer: Option<SocketAddr>,
    /// The reason of the first `CloseSession`.
    pub reason: CloseReason,
}

impl Message for SessionEnded {
    type Result = ();
}

/// What a Listener and its successors share.
pub(crate) struct Post {
    pub(crate) name: String,
    pub(crate) id: ListenerId,
    pub(crate) metrics: Metrics,
    pub(crate) shard: Arc<Shard>,
    /// What the sockets are bound to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// None while it does not accept.
    pub(crate) sockets: Mutex<Vec<std::net::TcpListener>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) workers: Arc<[Watched<Worker>]>,
    /// The guard of the process; none for a listener that answers whatever happens.
    pub(crate) overload: Option<Arc<Overload>>,
    /// Tests make the accept loop fail with it.
    pub(crate) fault: Option<Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>>,
}

/// See the module.
pub struct Listener {
    post: Arc<Post>,
    cells: Arc<ListenerCells>,
}

impl Listener {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        let cells = post.shard.listener(post.id);
        Self { post, cells }
    }

    fn arrived(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        // An IPv4 client of a `[::]` socket is an IPv4 client.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let worker = match self.post.ledger.admit(peer.ip()) {
            Ok(worker) => worker,
            Err(full) => {
                self.cells.connections[full.into()].inc();
                tracing::debug!(listener = self.post.name, %peer, ?full, "connection refused: limit reached");
                return;
            }
        };
        // Small answers should not wait for acknowledgements of earlier ones.
        stream.set_nodelay(true).ok();
        let sent = match self.post.workers.get(worker) {
            Some(addr) if addr.is_there() => {
                // One message a connection, and connections are bounded by the ledger.
                addr.tell(Conn { stream, peer, listener: self.post.id });
                true
            }
            _ => false,
        };
        if !sent {
            self.post.ledger.release(Some(peer.ip()), worker as u16);
            self.cells.connections[ConnectionResult::Error].inc();
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let counts = &self.post.shard.actors()[ActorKind::Listener];
        counts.started.inc();
        counts.alive.inc();
        for socket in &*self.post.sockets.lock().unwrap_or_else(PoisonError::into_inner) {
            match socket.try_clone().and_then(TcpListener::from_std) {
                Ok(socket) => drop(ctx.spawn(Accept::new(socket))),
                Err(error) => {
                    tracing::error!(listener = self.post.name, %error, "a bound socket cannot be used");
                    ctx.stop();
                }
            }
        }
        self.post.metrics.set_accepting(self.post.id, true);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.post.metrics.set_accepting(self.post.id, false);
        self.post.shard.actors()[ActorKind::Listener].alive.dec();
    }
}
