//! Keeps a Listener alive: owns its context (`supervise.rs`), and starts another when it ended without being
//! told to. Its address is stable; the Listener's is not.
//!
//! Invariant: a connection that waits in the queue of a socket of ours is taken before the socket closes.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use futures_util::task::AtomicWaker;
use stagedoor_metrics::{ActorKind, Shard};
use tokio::time::Sleep;

use super::errors::{Verdict, sort};
use super::socket::BACKLOG;
use super::{Bind, Bound, Listener, Post, SessionEnded};
use crate::envelope::{Counting, counted};
use crate::events::{Event, PanicPlace};
use crate::server::BindError;
use crate::supervise::{Child, hatch};

/// The first wait before a restart; a failure that lasts is met with longer ones.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Supervisor {
    post: Arc<Post>,
    /// It was told to begin, and not to stop.
    accepts: bool,
    child: Option<Child<Listener, ()>>,
    addr: Option<Addr<Listener>>,
    wait: Duration,
    restart: Option<Pin<Box<Sleep>>>,
    /// Wakes the watch for a child that was started by an order.
    roused: AtomicWaker,
}

impl Supervisor {
    pub(crate) fn new(post: Arc<Post>) -> Self {
        Self {
            post,
            accepts: false,
            child: None,
            addr: None,
            wait: FIRST_WAIT,
            restart: None,
            roused: AtomicWaker::new(),
        }
    }

    fn stop_child(&mut self) {
        self.addr = None;
        self.restart = None;
        self.child = None;
    }

    /// Closes sockets. Who waits in the queue of one that is ours was told by the kernel that it is connected: it is served.
    fn close(&self, sockets: Vec<Bound>) {
        let cells = self.post.cells();
        for socket in sockets {
            let overloaded = self.post.overload.as_ref().is_some_and(|overload| overload.forbids());
            if overloaded || !socket.is_last() {
                continue;
            }
            for _ in 0..=BACKLOG {
                match socket.take_waiting() {
                    Ok(Some(arrival)) => self.post.arrived(&cells, arrival),
                    Ok(None) => break,
                    Err(error) if sort(&error) == Verdict::Retry => {}
                    Err(error) => {
                        tracing::warn!(listener = self.post.name, %error, "connections that waited are lost");
                        break;
                    }
                }
            }
        }
    }

    fn start_child(&mut self) {
        if !self.accepts {
            return;
        }
        let (addr, child) = hatch(Listener::new(Arc::clone(&self.post)), ());
        self.addr = Some(addr);
        self.child = Some(child);
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
            let Some(child) = &mut self.child else { return };
            let Poll::Ready(exit) = Pin::new(child).poll(cx) else { return };
            (self.child, self.addr) = (None, None);
            let post = &self.post;
            let counts = &post.shard.actors()[ActorKind::Listener];
            if let Some(words) = exit.panic {
                counts.panics.inc();
                tracing::error!(listener = post.name, panic = words, "the listener panicked");
                let place = PanicPlace::Listener;
                post.hub.tell(|| Event::Panicked { session: None, stream: None, place, words });
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
        ctx.spawn(Watch);
    }
}

counted!(Supervisor, Listener:
    Begin = ListenerResume,
    Rebind = ListenerResume,
    StopAccepting = ListenerStop,
    Resume = ListenerResume,
    Retire = ListenerStop,
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

impl Counting for Supervisor {
    fn shard(&self) -> Arc<Shard> {
        Arc::clone(&self.post.shard)
    }
}

/// Order: accept from the sockets of the post; the workers know what to serve.
pub(crate) struct Begin;

impl Message for Begin {
    type Result = ();
}

impl Handler<Begin> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.accepts = true;
        self.start_child();
        self.roused.wake();
    }
}

/// Order: accept no more; the sockets are closed when this is answered. Those that were handed over to us are left to
/// whoever else holds them, and stay ours for later.
pub(crate) struct StopAccepting;

impl Message for StopAccepting {
    type Result = ();
}

impl Handler<StopAccepting> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StopAccepting, _: &mut Self::Context) {
        self.accepts = false;
        self.stop_child();
        let sockets = std::mem::take(&mut self.post.door().sockets);
        self.close(sockets);
    }
}

/// Order: accept from these sockets, which are bound, and no more from the others. Said while it does not accept, they are
/// bound again when it does.
pub(crate) struct Rebind(pub(crate) Vec<Bound>);

impl Message for Rebind {
    type Result = ();
}

impl Handler<Rebind> for Supervisor {
    type Result = ();

    fn handle(&mut self, Rebind(sockets): Rebind, _: &mut Self::Context) {
        self.stop_child();
        let given_up = self.post.door().open(sockets);
        self.close(given_up);
        if self.accepts {
            self.start_child();
            self.roused.wake();
        } else {
            let sockets = std::mem::take(&mut self.post.door().sockets);
            self.close(sockets);
        }
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
        let (places, reuse_port) = {
            let door = self.post.door();
            (door.places.clone(), door.config.reuse_port)
        };
        let all: Vec<Bind> = places.iter().map(|place| place.bound.clone()).collect();
        let mut sockets = Vec::new();
        for place in &places {
            let socket = Bound::new(&place.bound, &all, reuse_port)
                .map_err(|source| BindError::new(&self.post.name, &place.bound, source))?;
            sockets.push(socket.asked_as(&place.asked));
        }
        self.post.door().open(sockets);
        self.accepts = true;
        self.start_child();
        self.roused.wake();
        Ok(())
    }
}

/// Order: the listener is gone, and nobody asks it anything more.
pub(crate) struct Retire;

impl Message for Retire {
    type Result = ();
}

impl Handler<Retire> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<SessionEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Self::Context) {
        // A session that ended shows that accepting works: the next failure is a new one.
        self.wait = FIRST_WAIT;
        if let Some(addr) = &self.addr {
            addr.try_send(ended).ok();
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
