//! The Listener actor: accepts connections, holds the limits, hands sockets to the worker with the fewest
//! sessions. Speaks no protocol: the session does TLS and everything after it.
//!
//! Supervised (`Supervisor`): an accept loop that failed for good, or panicked, ends its Listener, and a new
//! one goes on with the same bound sockets and the same ledger.

mod errors;
mod ledger;
mod socket;
mod supervisor;

use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, ListenerCells, ListenerId, Metrics, SessionId, Shard,
};
use tokio::net::TcpListener;
use tokio::time::Sleep;

use crate::worker::{Conn, Worker};
use errors::{LONGEST_PAUSE, PAUSE, Verdict, sort};

pub(crate) use ledger::{Ledger, Loads};
pub(crate) use socket::bind;
pub(crate) use supervisor::{StopAccepting, Supervisor};

/// Connections taken in one poll; then others on the arbiter have their turn.
const ACCEPTS: usize = 64;

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
    pub(crate) sockets: Vec<std::net::TcpListener>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) workers: Arc<[Addr<Worker>]>,
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
        let Some(worker) = self.post.ledger.admit(peer.ip()) else {
            self.cells.connections[ConnectionResult::RefusedLimit].inc();
            tracing::debug!(listener = self.post.name, %peer, "connection refused: limit reached");
            return;
        };
        // Small answers should not wait for acknowledgements of earlier ones.
        stream.set_nodelay(true).ok();
        let sent = match self.post.workers.get(worker) {
            Some(addr) if addr.connected() => {
                // One message a connection, and connections are bounded by the ledger.
                #[allow(clippy::disallowed_methods)]
                addr.do_send(Conn { stream, peer, listener: self.post.id });
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
        for socket in &self.post.sockets {
            match socket.try_clone().and_then(TcpListener::from_std) {
                Ok(socket) => drop(ctx.spawn(Accept { socket, pause: None, next: PAUSE })),
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

/// The accept loop of one bound socket.
struct Accept {
    socket: TcpListener,
    pause: Option<Pin<Box<Sleep>>>,
    next: Duration,
}

impl ActorFuture<Listener> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        listener: &mut Listener,
        ctx: &mut Context<Listener>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ACCEPTS {
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
            }
            let accepted = match this.socket.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(accepted) => accepted,
            };
            let accepted = match &listener.post.fault {
                Some(fault) => accepted.and_then(|accepted| fault().map(|()| accepted)),
                None => accepted,
            };
            let error = match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => {
                    this.next = PAUSE;
                    listener.arrived(stream, peer);
                    continue;
                }
                Err(error) => error,
            };
            listener.cells.connections[ConnectionResult::Error].inc();
            match sort(&error) {
                Verdict::Retry => {}
                Verdict::BackOff => {
                    if this.next == PAUSE {
                        tracing::warn!(listener = listener.post.name, %error, "accepting pauses");
                    }
                    this.pause = Some(Box::pin(tokio::time::sleep(this.next)));
                    this.next = (this.next * 2).min(LONGEST_PAUSE);
                }
                Verdict::Fatal => {
                    tracing::error!(listener = listener.post.name, %error, "accepting failed");
                    ctx.stop();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
