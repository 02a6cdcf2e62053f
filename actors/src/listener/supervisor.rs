//! Keeps a Listener alive: owns its context (`supervise.rs`), and starts another when it ended without being
//! told to. Its address is stable; the Listener's is not.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use futures_util::task::AtomicWaker;
use stagedoor_metrics::{ActorKind, Shard};
use tokio::time::Sleep;

use super::{Listener, Post, SessionEnded, bind};
use crate::envelope::{Counting, counted};
use crate::server::BindError;
use crate::supervise::{Brood, hatch};

/// The first wait before a restart; a failure that lasts is met with longer ones.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Supervisor {
    post: Arc<Post>,
    /// It was not told to stop accepting.
    accepts: bool,
    brood: Brood<Listener, ()>,
    child: Option<Addr<Listener>>,
    wait: Duration,
    restart: Option<Pin<Box<Sleep>>>,
    /// Wakes the watch for a child that was started by an order.
    roused: AtomicWaker,
}

impl Supervisor {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self {
            post,
            accepts: true,
            brood: Brood::default(),
            child: None,
            wait: FIRST_WAIT,
            restart: None,
            roused: AtomicWaker::new(),
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<std::net::TcpListener>> {
        self.post.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_child(&mut self) {
        if !self.accepts {
            return;
        }
        let (addr, child) = hatch(Listener::new(Arc::clone(&self.post)), ());
        self.child = Some(addr);
        self.brood.adopt(child);
    }

    fn poll_child(&mut self, cx: &mut task::Context<'_>) {
        loop {
            if let Some(restart) = &mut self.restart {
                if restart.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.restart = None;
                self.start_child();
            }
            let Poll::Ready(exit) = self.brood.poll_exit(cx) else { return };
            let post = &self.post;
            let counts = &post.shard.actors()[ActorKind::Listener];
            if let Some(words) = exit.panic {
                counts.panics.inc();
                tracing::error!(listener = post.name, panic = words, "the listener panicked");
            }
            counts.restarts.inc();
            tracing::warn!(listener = post.name, wait = ?self.wait, "the listener is restarted");
            self.restart = Some(Box::pin(tokio::time::sleep(self.wait)));
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.start_child();
        ctx.spawn(Watch);
    }
}

counted!(Supervisor, Listener:
    StopAccepting = ListenerStop,
    Resume = ListenerResume,
    SessionEnded = ListenerSessionEnded,
);

/// Polls the Listener as long as its supervisor lives.
struct Watch;

impl ActorFuture<Supervisor> for Watch {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        supervisor: &mut Supervisor,
        _: &mut Context<Supervisor>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        supervisor.roused.register(cx.waker());
        supervisor.poll_child(cx);
        Poll::Pending
    }
}

/// Order: accept no more; the sockets are closed when this is answered.
pub(crate) struct StopAccepting;

impl Message for StopAccepting {
    type Result = ();
}

impl Counting for Supervisor {
    fn shard(&self) -> Arc<Shard> {
        Arc::clone(&self.post.shard)
    }
}

impl Handler<StopAccepting> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopAccepting, _: &mut Self::Context) {
        self.accepts = false;
        self.child = None;
        self.restart = None;
        self.brood = Brood::default();
        self.sockets().clear();
    }
}

/// Order: accept again, on the same addresses.
pub(crate) struct Resume;

impl Message for Resume {
    type Result = Result<(), BindError>;
}

impl Handler<Resume> for Supervisor {
    type Result = Result<(), BindError>;

    fn handle(&mut self, _: Resume, _: &mut Self::Context) -> Self::Result {
        if self.accepts {
            return Ok(());
        }
        let (mut sockets, addresses) = (Vec::new(), &self.post.addresses);
        for address in addresses {
            let (listener, address) = (self.post.name.clone(), *address);
            let socket =
                bind(address, addresses).map_err(|source| BindError { listener, address, source })?;
            sockets.push(socket);
        }
        *self.sockets() = sockets;
        self.accepts = true;
        self.start_child();
        self.roused.wake();
        Ok(())
    }
}

impl Handler<SessionEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Self::Context) {
        // A session that ended shows that accepting works: the next failure is a new one.
        self.wait = FIRST_WAIT;
        if let Some(child) = &self.child {
            child.try_send(ended).ok();
        }
    }
}

impl Handler<SessionEnded> for Listener {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Self::Context) {
        let left = self.post.ledger.sessions();
        tracing::trace!(listener = self.post.name, id = %ended.id, reason = %ended.reason, left, "session ended");
    }
}
