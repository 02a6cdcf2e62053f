//! Keeps a Listener alive: owns its context (`supervise.rs`), and starts another when it ended without being
//! told to. Its address is stable; the Listener's is not.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use stagedoor_metrics::ActorKind;
use tokio::time::Sleep;

use super::{Listener, Post, SessionEnded};
use crate::supervise::{Brood, hatch};

/// The first wait before a restart; a failure that lasts is met with longer ones.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Supervisor {
    /// `None` once it was told to stop accepting: the sockets close with it.
    post: Option<Arc<Post>>,
    brood: Brood<Listener, ()>,
    child: Option<Addr<Listener>>,
    wait: Duration,
    restart: Option<Pin<Box<Sleep>>>,
}

impl Supervisor {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self { post: Some(post), brood: Brood::default(), child: None, wait: FIRST_WAIT, restart: None }
    }

    fn start_child(&mut self) {
        let Some(post) = &self.post else { return };
        let (addr, child) = hatch(Listener::new(Arc::clone(post)), ());
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
            let Some(post) = &self.post else { return };
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
        supervisor.poll_child(cx);
        Poll::Pending
    }
}

/// Order: accept no more; the sockets are closed when this is answered.
pub(crate) struct StopAccepting;

impl Message for StopAccepting {
    type Result = ();
}

impl Handler<StopAccepting> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopAccepting, _: &mut Self::Context) {
        self.post = None;
        self.child = None;
        self.restart = None;
        self.brood = Brood::default();
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
