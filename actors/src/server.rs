//! Starting and stopping it all: workers on their arbiters, listeners under their supervisors, and the drain
//! of cli-and-config.md §3.

mod changing;
mod looking;
mod posts;

use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::join_all;
use stagedoor_metrics::{CloseReason, Metrics, Role, SessionId, Shard};
use stagedoor_protocol::{Settings, UserError};

use crate::clock;
use crate::close::CloseSession;
use crate::config::{ConfigError, ListenerConfig, Timeouts};
use crate::envelope::{Watched, Whose};
use crate::listener::{Address, Bind, Bound, Loads, PostId, Resume, StopAccepting};
use crate::overload::{self, Kept, Overload, OverloadLimits, Probe};
use crate::postmortem::PostMortems;
use crate::service::ServiceFactory;
use crate::session::{ObserverFactory, ResetStream};
use crate::worker::{CloseAll, CloseIdle, CloseOne, ResetOne, Undrain, Worker};
use posts::{Handle, New};

pub use changing::{Changes, Prepared};
pub use looking::NoTap;

/// How often a drain says how it goes.
const PROGRESS: Duration = Duration::from_secs(1);
/// What sessions have beyond their linger to be gone after a hard close.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Builds a server: workers, listeners, and the service each listener speaks for.
pub struct ServerBuilder {
    metrics: Metrics,
    workers: usize,
    /// Workers run on these, and not on threads of their own.
    shared: Vec<ArbiterHandle>,
    listeners: Vec<(ListenerConfig, ServiceFactory, bool)>,
    observer: Option<ObserverFactory>,
    fault: Option<Fault>,
    overload: OverloadLimits,
    probe: Option<Probe>,
}

type Fault = Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// A listener could not start.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener:?} cannot bind {address}: {source}")]
pub struct BindError {
    /// Its name.
    pub listener: String,
    /// The address.
    pub address: Bind,
    /// What the system said.
    pub source: std::io::Error,
}

impl BindError {
    pub(crate) fn new(listener: &str, address: &Bind, source: std::io::Error) -> Self {
        Self { listener: listener.to_owned(), address: address.clone(), source }
    }
}

/// A server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener was told what cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// What sessions are told could not be changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// An address could not be bound again.
    #[error(transparent)]
    Bind(Arc<BindError>),
    /// There is no such listener.
    #[error("there is no listener {0:?}")]
    NoListener(String),
    /// There is one of that name already.
    #[error("there is a listener {0:?} already")]
    Exists(String),
    /// The change is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings may not be sent, or not by a server.
    #[error(transparent)]
    Settings(#[from] UserError),
}

/// How a drain is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// Sessions left.
    pub sessions: usize,
    /// Streams left.
    pub streams: usize,
    /// Time to the deadline.
    pub left: Duration,
}

impl ServerBuilder {
    /// A server that counts in `metrics` and has `workers` arbiters (at least one).
    pub fn new(metrics: Metrics, workers: usize) -> Self {
        Self {
            metrics,
            workers: workers.clamp(1, usize::from(u16::MAX) - 1),
            shared: Vec::new(),
            listeners: Vec::new(),
            observer: None,
            fault: None,
            overload: OverloadLimits::default(),
            probe: None,
        }
    }

    /// Adds a listener. `keep_while_draining` is for admin listeners: they answer until [`ServerHandle::stop`].
    #[must_use]
    pub fn listen(
        mut self,
        config: ListenerConfig,
        service: ServiceFactory,
        keep_while_draining: bool,
    ) -> Self {
        self.listeners.push((config, service, keep_while_draining));
        self
    }

    /// One worker on each of these arbiters, in place of threads of its own; none leaves it as it was. They go on when
    /// the server stops. Listeners that are kept while draining still have an arbiter of their own.
    #[must_use]
    pub fn on_arbiters(mut self, arbiters: Vec<ArbiterHandle>) -> Self {
        if !arbiters.is_empty() {
            self.workers = arbiters.len().min(usize::from(u16::MAX) - 1);
            self.shared = arbiters;
        }
        self
    }

    /// Hears what happens on every session of every listener; one observer for each worker and listener, made and
    /// called on the worker's arbiter. Without it no event is made.
    #[must_use]
    pub fn observe(mut self, observer: ObserverFactory) -> Self {
        self.observer = Some(observer);
        self
    }

    /// For tests: called after each accept; an error is taken for one of `accept`, a panic for one of the loop.
    #[doc(hidden)]
    #[must_use]
    pub fn accept_fault(mut self, fault: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        self.fault = Some(Arc::new(fault));
        self
    }

    /// What the server may take of the process. No limit where this is not called.
    #[must_use]
    pub fn overload(mut self, limits: OverloadLimits) -> Self {
        self.overload = limits;
        self
    }

    /// For tests: what the resident memory of the process is said to be.
    #[doc(hidden)]
    #[must_use]
    pub fn resident_probe(mut self, probe: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// Looks at every option, binds every address, then starts the actors. Must run inside an actix `System`.
    /// # Errors
    /// The first option that cannot be ([`ListenerConfig::check`]) or address that could not be bound; nothing
    /// runs then.
    pub async fn start(self) -> Result<ServerHandle, StartError> {
        for (config, ..) in &self.listeners {
            config.check()?;
        }
        let mut bound = Vec::new();
        for (config, factory, keep) in self.listeners {
            let mut sockets = Vec::new();
            for bind in &config.bind {
                let socket = Bound::new(bind, &config.bind, config.reuse_port);
                sockets.push(socket.map_err(|source| BindError::new(&config.name, bind, source))?);
            }
            bound.push(New { config: Arc::new(config), factory, keep, sockets });
        }
        // Those who look must not wait for a handler that is stuck: listeners that are kept have an arbiter of their own.
        let apart = bound.iter().any(|new| new.keep);
        let arbiters = self.workers + usize::from(apart);
        let loads: Loads = (0..arbiters).map(|_| AtomicUsize::new(0)).collect();
        let theirs = self.shared.len().min(self.workers);
        let own: Vec<Arbiter> = (theirs..arbiters).map(|_| Arbiter::new()).collect();
        let arbiters: Vec<ArbiterHandle> =
            self.shared.into_iter().take(theirs).chain(own.iter().map(Arbiter::handle)).collect();
        let post_mortems = Arc::<PostMortems>::default();
        let workers: Arc<[Watched<Worker>]> = arbiters
            .iter()
            .enumerate()
            .map(|(number, arbiter)| {
                let (metrics, post_mortems) = (self.metrics.clone(), Arc::clone(&post_mortems));
                let whose = Whose::Shard(metrics.shard(number as u16));
                let addr = Worker::start_in_arbiter(arbiter, move |_| {
                    Worker::new(metrics, number as u16, post_mortems)
                });
                Watched::new(addr, whose)
            })
            .collect();
        let overload = Overload::new(self.overload, self.metrics.clone(), self.probe);
        let kept = Kept::default();
        actix_rt::spawn(overload::guard(Arc::clone(&overload), Arc::clone(&workers), Arc::clone(&kept)));
        let server = ServerHandle(Arc::new(Inner {
            // The thread that runs the listeners counts in a shard of its own.
            shard: self.metrics.shard(u16::MAX),
            metrics: self.metrics,
            workers,
            serving: self.workers,
            apart,
            loads,
            home: Arbiter::current(),
            observer: self.observer,
            fault: self.fault,
            posts: Mutex::default(),
            next: AtomicU32::new(0),
            changing: Arc::default(),
            kept,
            overload,
            arbiters: Mutex::new(own),
            theirs,
            post_mortems,
        }));
        for new in bound {
            server.0.open(new).await;
        }
        Ok(server)
    }
}

struct Inner {
    metrics: Metrics,
    workers: Arc<[Watched<Worker>]>,
    /// Workers that serve listeners which are not kept.
    serving: usize,
    /// There is one more, for those that are.
    apart: bool,
    loads: Loads,
    /// Where the listeners run.
    home: ArbiterHandle,
    shard: Arc<Shard>,
    observer: Option<ObserverFactory>,
    fault: Option<Fault>,
    posts: Mutex<Vec<Arc<Handle>>>,
    /// The number of the next listener.
    next: AtomicU32,
    /// One set of changes at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
    kept: Kept,
    overload: Arc<Overload>,
    /// Those we have started.
    arbiters: Mutex<Vec<Arbiter>>,
    /// So many of the workers run on arbiters of others.
    theirs: usize,
    post_mortems: Arc<PostMortems>,
}

impl Inner {
    fn posts(&self) -> MutexGuard<'_, Vec<Arc<Handle>>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<String>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listeners, those that are on their way out included; those that are kept where `kept_too`.
    fn all(&self, kept_too: bool) -> Vec<Arc<Handle>> {
        self.posts().iter().filter(|handle| kept_too || !handle.keep).cloned().collect()
    }
}

/// A running server; cheap to clone, may be sent anywhere.
#[derive(Clone)]
pub struct ServerHandle(Arc<Inner>);

impl ServerHandle {
    /// Where it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What it counts, for a registry of yours.
    ///
    /// ```
    /// use stagedoor_metrics::prometheus;
    ///
    /// # fn register(server: &stagedoor_actors::ServerHandle) -> Result<(), prometheus::Error> {
    /// let registry = prometheus::Registry::new();
    /// registry.register(Box::new(server.collector()))
    /// # }
    /// ```
    pub fn collector(&self) -> impl stagedoor_metrics::prometheus::core::Collector + 'static {
        self.0.metrics.collector()
    }

    /// Where each listener is reached, by its name.
    pub fn addresses(&self) -> Vec<(String, Address)> {
        let mut all = Vec::new();
        for handle in self.0.posts().iter().filter(|handle| !handle.is_leaving()) {
            let door = handle.post.door();
            all.extend(door.places.iter().map(|place| (handle.name().to_owned(), place.address.clone())));
        }
        all
    }

    /// The first TCP address of a listener.
    pub fn address(&self, listener: &str) -> Option<std::net::SocketAddr> {
        self.addresses()
            .into_iter()
            .filter(|(name, _)| name == listener)
            .find_map(|(_, address)| address.tcp())
    }

    /// Sends a session the order to close; false when there is none of that id.
    pub async fn close_session(&self, id: &str, order: CloseSession) -> bool {
        let Some((worker, number)) = self.find(id) else { return false };
        worker.send(CloseOne { number, order }).await.unwrap_or(false)
    }

    /// Resets one stream of a session; false when there is none.
    pub async fn reset_stream(&self, id: &str, reset: ResetStream) -> bool {
        let Some((worker, number)) = self.find(id) else { return false };
        worker.send(ResetOne { number, reset }).await.unwrap_or(false)
    }

    /// Changes the settings that sessions of a listener begin with, for sessions that begin from now on. Those
    /// that live are changed one by one, through [`SessionHandle::settings`](crate::SessionHandle::settings).
    /// # Errors
    /// [`ReconfigureError`]; nothing is changed then.
    pub async fn update_settings(&self, listener: &str, settings: Settings) -> Result<(), ReconfigureError> {
        self.adjust(listener, move |config| Ok(config.take_over(&settings)?)).await
    }

    /// Changes the deadlines of sessions of a listener that begin from now on.
    /// # Errors
    /// [`ReconfigureError`]; nothing is changed then.
    pub async fn set_timeouts(&self, listener: &str, timeouts: Timeouts) -> Result<(), ReconfigureError> {
        self.adjust(listener, move |config| {
            config.timeouts.clone_from(&timeouts);
            Ok(())
        })
        .await
    }

    async fn adjust(
        &self,
        listener: &str,
        change: impl Fn(&mut ListenerConfig) -> Result<(), ReconfigureError> + Send + Sync + 'static,
    ) -> Result<(), ReconfigureError> {
        let found = self.0.posts().iter().find(|post| post.name() == listener && !post.is_leaving()).cloned();
        let Some(post) = found else {
            return Err(ReconfigureError::NoListener(listener.to_owned()));
        };
        self.0.tell(post.id(), Arc::new(change), None).await
    }

    /// Closes the open sessions that carry no stream, gracefully: a request that is on its way is still served.
    /// Says how many were told.
    pub async fn close_idle(&self) -> usize {
        let told = self.0.workers.iter().map(|worker| worker.send(CloseIdle));
        join_all(told).await.into_iter().flatten().sum()
    }

    /// Takes one listener, or every one that is not kept, out of service: it stops accepting, its sessions are drained
    /// and cut off after `grace`. Waits for nothing; says how many sessions were told. [`Self::resume`] takes it back.
    /// # Errors
    /// [`ReconfigureError::NoListener`].
    pub async fn pause(&self, listener: Option<&str>, grace: Duration) -> Result<usize, ReconfigureError> {
        let posts = self.posts(listener)?;
        join_all(posts.iter().map(|post| post.supervisor.send(StopAccepting))).await;
        let ids = posts.iter().map(|post| post.id()).collect();
        let close = CloseAll { posts: ids, order: CloseSession::new(CloseReason::Drain).with_grace(grace) };
        let sessions = posts.iter().map(|post| post.sessions()).sum();
        join_all(self.0.workers.iter().map(|worker| worker.send(close.clone()))).await;
        Ok(sessions)
    }

    /// Lets listeners that were paused accept again.
    /// # Errors
    /// [`ReconfigureError::NoListener`]; [`ReconfigureError::Bind`] where an address was taken meanwhile.
    pub async fn resume(&self, listener: Option<&str>) -> Result<(), ReconfigureError> {
        let posts = self.posts(listener)?;
        let ids: Vec<PostId> = posts.iter().map(|post| post.id()).collect();
        let told = self.0.workers.iter().map(|worker| worker.send(Undrain { posts: ids.clone() }));
        join_all(told).await;
        for post in posts {
            if let Ok(Err(error)) = post.supervisor.send(Resume).await {
                return Err(ReconfigureError::Bind(Arc::new(error)));
            }
        }
        Ok(())
    }

    /// The listener of a name, or all that are not kept.
    fn posts(&self, listener: Option<&str>) -> Result<Vec<Arc<Handle>>, ReconfigureError> {
        let mut all = self.0.all(false);
        all.retain(|post| !post.is_leaving());
        let Some(name) = listener else { return Ok(all) };
        all.retain(|post| post.name() == name);
        if all.is_empty() { Err(ReconfigureError::NoListener(name.to_owned())) } else { Ok(all) }
    }

    /// Closes the server gracefully: stops accepting at once, drains every session for as long as its listener's
    /// `drain` allows, and waits for the last. [`Self::drain`] is the same with times of its own and progress;
    /// listeners that are kept while draining go on until [`Self::stop`].
    pub async fn close(&self) {
        let drain = self.0.all(false).iter().map(|post| post.drain()).max();
        self.drain(Duration::ZERO, drain.unwrap_or_default(), |_| {}).await;
    }

    fn find(&self, id: &str) -> Option<(&Watched<Worker>, u64)> {
        let id: SessionId = id.parse().ok()?;
        Some((self.0.workers.get(usize::from(id.worker))?, id.number))
    }

    /// The drain of cli-and-config.md §3 over all listeners that are not kept: keep accepting for `min_accept`, stop accepting, drain
    /// each session, at `deadline` (counted from the end of `min_accept`) close what is left; `progress` is told about once a second and
    /// when the numbers change.
    pub async fn drain(
        &self,
        min_accept: Duration,
        deadline: Duration,
        mut progress: impl FnMut(DrainProgress),
    ) {
        let until = clock::now() + min_accept;
        self.watch(until, until + deadline, false, &mut progress).await;
        let until = clock::now() + deadline;
        self.stop_accepting(false).await;
        self.close_all(false, CloseSession::new(CloseReason::Drain).with_grace(deadline)).await;
        self.watch(until, until, true, &mut progress).await;
        if self.left() > 0 {
            self.close_all(false, CloseSession::new(CloseReason::Drain).now()).await;
            let until = clock::now() + self.last_moments();
            self.watch(until, until, true, &mut progress).await;
        }
    }

    /// Tells `progress` how it goes until `until`, or until no session is left where `to_the_end`.
    async fn watch(
        &self,
        until: Instant,
        deadline: Instant,
        to_the_end: bool,
        progress: &mut impl FnMut(DrainProgress),
    ) {
        let mut told: Option<(usize, usize, Instant)> = None;
        loop {
            let now = clock::now();
            let sessions = self.left();
            if now >= until || (to_the_end && sessions == 0) {
                return;
            }
            let streams = self.streams_left();
            let changed = told.is_none_or(|(a, b, at)| (a, b) != (sessions, streams) || now >= at + PROGRESS);
            if changed {
                progress(DrainProgress { sessions, streams, left: deadline.saturating_duration_since(now) });
                told = Some((sessions, streams, now));
            }
            // Numbers may change without a session's end: look again soon.
            let pause = Duration::from_millis(100).min(until - now);
            let posts = self.0.all(false);
            let ended: Vec<_> = posts.iter().map(|post| Box::pin(post.post.ledger.changed())).collect();
            if ended.is_empty() {
                tokio::time::sleep(pause).await;
            } else {
                tokio::time::timeout(pause, futures_util::future::select_all(ended)).await.ok();
            }
        }
    }

    fn left(&self) -> usize {
        self.0.all(false).iter().map(|post| post.sessions()).sum()
    }

    fn streams_left(&self) -> usize {
        let kept = self.0.kept().clone();
        let live = self.0.metrics.live().snapshot();
        // Of what we ask of others, it is the exchange that waits for it which is counted.
        let counted = live.iter().filter(|stats| {
            stats.role() == Role::Server && !kept.iter().any(|name| **name == **stats.listener())
        });
        counted.map(|stats| usize::try_from(stats.streams_open.get()).unwrap_or(0)).sum()
    }

    fn last_moments(&self) -> Duration {
        let linger = self.0.all(true).iter().map(|post| post.linger()).max().unwrap_or_default();
        linger + LAST_MOMENTS
    }

    async fn stop_accepting(&self, kept_too: bool) {
        let posts = self.0.all(kept_too);
        join_all(posts.iter().map(|post| post.supervisor.send(StopAccepting))).await;
    }

    async fn close_all(&self, kept_too: bool, order: CloseSession) {
        let posts: Vec<PostId> = self.0.all(kept_too).iter().map(|post| post.id()).collect();
        let close = CloseAll { posts, order };
        join_all(self.0.workers.iter().map(|worker| worker.send(close.clone()))).await;
    }

    /// Closes everything now (reason `shutdown`), listeners that were kept included, and waits until it is gone.
    pub async fn stop(&self) {
        self.stop_accepting(true).await;
        self.close_all(true, CloseSession::new(CloseReason::Shutdown)).await;
        let until = clock::now() + self.last_moments();
        while self.0.all(true).iter().any(|post| post.sessions() > 0) && clock::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.overload.stop();
        let arbiters = std::mem::take(&mut *self.0.arbiters.lock().unwrap_or_else(PoisonError::into_inner));
        for arbiter in &arbiters {
            arbiter.stop();
        }
    }
}
