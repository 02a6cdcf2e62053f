//! The listeners of a running server: how one is brought up, told something else, taken down.
//!
//! Invariant: a worker knows what a listener serves before the listener accepts, and until the last of its sessions is over.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use stagedoor_metrics::CloseReason;

use super::{Inner, ReconfigureError, ServerHandle};
use crate::close::CloseSession;
use crate::config::ListenerConfig;
use crate::envelope::{Watched, Whose};
use crate::events::{Event, PanicPlace};
use crate::listener::{Begin, Bound, Door, Ledger, Post, PostId, Rebind, Retire, StopAccepting, Supervisor};
use crate::service::ServiceFactory;
use crate::worker::{Change, CloseAll, Forget, Reconfigure, Replace, Serve};

/// A listener that is bound and does not accept yet.
pub(super) struct New {
    pub(super) config: Arc<ListenerConfig>,
    pub(super) factory: ServiceFactory,
    pub(super) keep: bool,
    pub(super) sockets: Vec<Bound>,
}

/// A listener as the server knows it.
pub(super) struct Handle {
    pub(super) post: Arc<Post>,
    pub(super) keep: bool,
    pub(super) supervisor: Watched<Supervisor>,
    /// It was removed; its sessions are not over yet.
    leaving: AtomicBool,
}

impl Handle {
    pub(super) fn name(&self) -> &str {
        &self.post.name
    }

    pub(super) fn id(&self) -> PostId {
        self.post.id
    }

    pub(super) fn sessions(&self) -> usize {
        self.post.ledger.sessions()
    }

    pub(super) fn linger(&self) -> Duration {
        self.post.door().config.timeouts.linger
    }

    pub(super) fn drain(&self) -> Duration {
        self.post.door().config.timeouts.drain
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// Brings a listener up.
    pub(super) async fn open(&self, new: New) {
        let New { config, factory, keep, sockets } = new;
        let door = Door::new(Arc::clone(&config), sockets);
        let cells = self.metrics.add_listener(&config.name, &door.shown());
        let guarded = (!keep).then(|| Arc::clone(&self.overload));
        let among = if keep && self.apart { self.serving..self.serving + 1 } else { 0..self.serving };
        let limits = &config.limits;
        let (most, per_address) = (limits.sessions, limits.sessions_per_address);
        let ledger = Ledger::new(most, per_address, Arc::clone(&self.loads), among, guarded.clone());
        let post = Arc::new(Post {
            name: config.name.clone(),
            id: PostId(self.next.fetch_add(1, Ordering::Relaxed)),
            cells,
            metrics: self.metrics.clone(),
            shard: Arc::clone(&self.shard),
            door: Mutex::new(door),
            ledger: Arc::clone(&ledger),
            workers: Arc::clone(&self.workers),
            overload: guarded,
            hub: self.hub.clone(),
            fault: self.fault.clone(),
        });
        let taken = Arc::clone(&post);
        // Listeners share a thread that no handler holds up, whoever adds them.
        let supervisor = Supervisor::start_in_arbiter(&self.home, move |_| Supervisor::new(taken));
        let supervisor = Watched::new(supervisor, Whose::Shard(Arc::clone(&self.shard)));
        let told = self.workers.iter().map(|worker| {
            worker.send(Serve {
                post: post.id,
                listener: cells,
                config: Arc::clone(&config),
                factory: Arc::clone(&factory),
                observer: self.observer.clone(),
                ledger: Arc::clone(&ledger),
                handshakes: self.handshakes(&config),
                on_end: supervisor.clone(),
            })
        });
        if join_all(told).await.iter().any(Result::is_err) {
            tracing::error!(listener = post.name, "a worker did not start");
            self.hub.tell(|| Event::Panicked {
                session: None,
                stream: None,
                place: PanicPlace::Worker,
                words: format!("it does not serve {}", post.name),
            });
        }
        if keep {
            self.kept().push(post.name.clone());
        }
        self.posts().push(Arc::new(Handle {
            post,
            keep,
            supervisor: supervisor.clone(),
            leaving: AtomicBool::new(false),
        }));
        supervisor.send(Begin).await.ok();
    }

    /// The share of one worker.
    pub(super) fn handshakes(&self, config: &ListenerConfig) -> usize {
        config.limits.handshakes.div_ceil(self.serving)
    }

    /// Tells the workers something else of a listener. Every worker has the same configuration, and so the same opinion.
    pub(super) async fn tell(
        &self,
        post: PostId,
        change: Change,
        handshakes: Option<usize>,
    ) -> Result<(), ReconfigureError> {
        let told = self.workers.iter().map(|worker| {
            let change = Arc::clone(&change);
            worker.send(Reconfigure { post, change, handshakes })
        });
        join_all(told).await.into_iter().flatten().collect()
    }

    /// Tells a listener all anew; its sockets are bound.
    pub(super) async fn change(
        &self,
        handle: &Handle,
        config: Arc<ListenerConfig>,
        service: Option<ServiceFactory>,
        sockets: Vec<Bound>,
    ) {
        let post = &handle.post;
        post.door().config = Arc::clone(&config);
        post.ledger.limit(config.limits.sessions, config.limits.sessions_per_address);
        let handshakes = Some(self.handshakes(&config));
        let whole = Arc::clone(&config);
        let change: Change = Arc::new(move |known| {
            known.clone_from(&whole);
            Ok(())
        });
        if let Some(service) = service {
            let told = self
                .workers
                .iter()
                .map(|worker| worker.send(Replace { post: post.id, service: Arc::clone(&service) }));
            join_all(told).await;
        }
        if let Err(error) = self.tell(post.id, change, handshakes).await {
            tracing::error!(listener = post.name, %error, "a worker does not take its configuration");
        }
        handle.supervisor.send(Rebind(sockets)).await.ok();
        self.metrics.add_listener(&post.name, &post.door().shown());
    }
}

impl ServerHandle {
    /// Takes a listener down for good; says how many sessions it has left.
    pub(super) async fn retire(&self, handle: Arc<Handle>, grace: Duration) -> usize {
        handle.leaving.store(true, Ordering::Relaxed);
        handle.supervisor.send(StopAccepting).await.ok();
        let order = CloseSession::new(CloseReason::Drain).with_grace(grace);
        let close = CloseAll { posts: vec![handle.id()], order };
        join_all(self.0.workers.iter().map(|worker| worker.send(close.clone()))).await;
        let left = handle.sessions();
        self.0.home.spawn(forget(self.clone(), handle));
        left
    }
}

/// Waits for the last session of a listener, then nothing knows of it but the metrics.
async fn forget(server: ServerHandle, handle: Arc<Handle>) {
    loop {
        let changed = handle.post.ledger.changed();
        if handle.sessions() == 0 {
            break;
        }
        changed.await;
    }
    let told = server.0.workers.iter().map(|worker| worker.send(Forget(handle.id())));
    join_all(told).await;
    server.0.posts().retain(|known| known.id() != handle.id());
    if handle.keep {
        let mut kept = server.0.kept();
        if let Some(place) = kept.iter().position(|name| name == handle.name()) {
            kept.swap_remove(place);
        }
    }
    handle.supervisor.send(Retire).await.ok();
    tracing::info!(listener = handle.name(), "the listener is gone");
}
