//! The Listener actor: accepts connections, holds the limits, hands sockets to the worker with the fewest
//! sessions. Speaks no protocol: the session does PROXY headers, TLS and everything after it.
//!
//! Supervised (`Supervisor`): an accept loop that failed for good, or panicked, ends its Listener, and a new
//! one goes on with the same bound sockets and the same ledger.

mod accept;
mod errors;
mod ledger;
mod place;
mod reserve;
mod socket;
mod supervisor;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, ListenerCells, ListenerId, Metrics, SessionId, Shard,
};

use crate::config::ListenerConfig;
use crate::envelope::Watched;
use crate::events::{Event, Hub};
use crate::overload::Overload;
use crate::worker::{Conn, Worker};
use accept::Accept;

pub(crate) use ledger::{Full, Ledger, Loads};
pub use place::{Address, Bind, Inherited};
pub(crate) use socket::{Arrival, Bound};
pub(crate) use supervisor::{Begin, Rebind, Resume, Retire, StopAccepting, Supervisor};

/// Fact: a session is over. Its Listener hears it, or whom [`crate::Host::tell_ends_to`] named.
///
/// ```
/// use actix::prelude::*;
/// use stagedoor_actors::SessionEnded;
///
/// /// Hears of the sessions of a `Host`, by `Host::tell_ends_to`.
/// struct Doorman;
///
/// impl Actor for Doorman {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<SessionEnded> for Doorman {
///     type Result = ();
///
///     fn handle(&mut self, SessionEnded { id, reason, .. }: SessionEnded, _: &mut Self::Context) {
///         println!("{id} went: {reason}");
///     }
/// }
/// ```
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

/// A listener of this server, told apart from one of the same name that is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PostId(pub(crate) u32);

/// What a Listener and its successors share.
pub(crate) struct Post {
    pub(crate) name: String,
    pub(crate) id: PostId,
    /// Whose cells it counts in; that of a name stays.
    pub(crate) cells: ListenerId,
    pub(crate) metrics: Metrics,
    pub(crate) shard: Arc<Shard>,
    pub(crate) door: Mutex<Door>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) workers: Arc<[Watched<Worker>]>,
    /// The guard of the process; none for a listener that answers whatever happens.
    pub(crate) overload: Option<Arc<Overload>>,
    /// Where the server's events go.
    pub(crate) hub: Hub,
    /// Tests make the accept loop fail with it.
    pub(crate) fault: Option<Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>>,
}

/// Where connections come in.
pub(crate) struct Door {
    pub(crate) config: Arc<ListenerConfig>,
    /// What it binds again, as asked and as bound, and how that is shown.
    pub(crate) places: Vec<Place>,
    /// None while it does not accept.
    pub(crate) sockets: Vec<Bound>,
}

/// A socket that a listener has, or has given up for a while.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) asked: Bind,
    pub(crate) bound: Bind,
    pub(crate) address: Address,
}

impl Door {
    pub(crate) fn new(config: Arc<ListenerConfig>, sockets: Vec<Bound>) -> Self {
        let mut door = Self { config, places: Vec::new(), sockets: Vec::new() };
        door.open(sockets);
        door
    }

    /// Other sockets; gives back those it had.
    fn open(&mut self, sockets: Vec<Bound>) -> Vec<Bound> {
        let place = |socket: &Bound| Place {
            asked: socket.asked.clone(),
            bound: socket.place.clone(),
            address: socket.address.clone(),
        };
        self.places = sockets.iter().map(place).collect();
        std::mem::replace(&mut self.sockets, sockets)
    }

    /// As metrics show it.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<String> = self.places.iter().map(|place| place.address.to_string()).collect();
        shown.join(",")
    }
}

impl Post {
    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cells(&self) -> Arc<ListenerCells> {
        self.shard.listener(self.cells)
    }

    /// A connection came: it is handed to a worker, or closed where a limit is reached.
    fn arrived(&self, cells: &ListenerCells, arrival: Arrival) {
        // An IPv4 client of a `[::]` socket is an IPv4 client.
        let peer = match &arrival {
            Arrival::Tcp(_, peer) => Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Arrival::Unix(_) => None,
        };
        let ip = peer.map(|peer| peer.ip());
        // A proxy has no limit of its own: those for whom it speaks have.
        let proxied = self.door().config.is_proxy(ip);
        let admitted = match self.ledger.admit(ip.filter(|_| !proxied)) {
            Ok(admitted) => admitted,
            Err(full) => {
                cells.connections[full.into()].inc();
                tracing::debug!(listener = self.name, ?peer, ?full, "connection refused: limit reached");
                self.hub.tell(|| Event::LimitHit {
                    session: None,
                    listener: Some(Arc::from(&*self.name)),
                    limit: full.into(),
                    times: 1,
                });
                return;
            }
        };
        if let Arrival::Tcp(stream, _) = &arrival {
            // Small answers should not wait for acknowledgements of earlier ones.
            stream.set_nodelay(true).ok();
        }
        match self.workers.get(admitted.worker) {
            Some(addr) if addr.is_there() => {
                // One message a connection, and connections are bounded by the ledger.
                addr.tell(Conn { arrival, peer, booked: admitted.booked, post: self.id });
            }
            _ => {
                self.ledger.release(ip.filter(|_| admitted.booked), admitted.worker as u16);
                cells.connections[ConnectionResult::Error].inc();
            }
        }
    }
}

/// See the module.
pub struct Listener {
    post: Arc<Post>,
    cells: Arc<ListenerCells>,
}

impl Listener {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        let cells = post.cells();
        Self { post, cells }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let counts = &self.post.shard.actors()[ActorKind::Listener];
        counts.started.inc();
        counts.alive.inc();
        for socket in &self.post.door().sockets {
            match socket.acceptor() {
                Ok(socket) => drop(ctx.spawn(Accept::new(socket))),
                Err(error) => {
                    tracing::error!(listener = self.post.name, %error, "a bound socket cannot be used");
                    ctx.stop();
                }
            }
        }
        self.post.metrics.set_accepting(self.post.cells, true);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.post.metrics.set_accepting(self.post.cells, false);
        self.post.shard.actors()[ActorKind::Listener].alive.dec();
    }
}
