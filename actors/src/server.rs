//! Starting it all, workers on their arbiters and listeners under their supervisors, and the handle that reaches it.

mod changing;
mod draining;
mod looking;
mod posts;

use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use stagedoor_metrics::{CloseReason, Metrics, SessionId, Shard};
use stagedoor_protocol::{Settings, UserError};
use tokio::sync::{OnceCell, watch};

use crate::close::CloseSession;
use crate::config::{ConfigError, ListenerConfig, Timeouts};
use crate::envelope::{Watched, Whose};
use crate::events::{EVENTS, Events, Hub};
use crate::listener::{Address, Bind, Bound, Loads, PostId, Resume, StopAccepting};
use crate::overload::{self, Kept, Overload, OverloadLimits, Probe};
use crate::postmortem::PostMortems;
use crate::service::ServiceFactory;
use crate::session::{ObserverFactory, ResetStream};
use crate::worker::{CloseAll, CloseIdle, CloseOne, ResetOne, Undrain, Worker};
use posts::{Handle, New};

pub use changing::{Changes, Prepared, Reload};
pub use draining::DrainProgress;
pub use looking::NoTap;

/// Builds a server: workers, listeners, and the service each listener speaks for.
///
/// ```no_run
/// use stagedoor_actors::{ListenerConfig, ServerBuilder, facade};
/// use stagedoor_metrics::Metrics;
///
/// # async fn start() -> Result<(), stagedoor_actors::StartError> {
/// let config = ListenerConfig::new("plain", ([127, 0, 0, 1], 8080).into());
/// let hello = facade::handler(async |_: facade::HttpRequest| "hello");
/// let server = ServerBuilder::new(Metrics::new("example"), 4).listen(config, hello, false).start().await?;
/// server.stopped().await;
/// # Ok(())
/// # }
/// ```
pub struct ServerBuilder {
    metrics: Metrics,
    workers: usize,
    /// Workers run on these, and not on threads of their own.
    shared: Vec<ArbiterHandle>,
    listeners: Vec<(ListenerConfig, ServiceFactory, bool)>,
    observer: Option<ObserverFactory>,
    hub: Hub,
    fault: Option<Fault>,
    overload: OverloadLimits,
    probe: Option<Probe>,
}

type Fault = Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// A listener could not start.
///
/// ```
/// use stagedoor_actors::{BindError, StartError};
///
/// fn is_taken(error: &StartError) -> bool {
///     let in_use = std::io::ErrorKind::AddrInUse;
///     matches!(error, StartError::Bind(BindError { source, .. }) if source.kind() == in_use)
/// }
/// # let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into();
/// # let source = std::io::ErrorKind::AddrInUse.into();
/// # assert!(is_taken(&BindError { listener: "web".into(), address, source }.into()));
/// ```
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
///
/// ```
/// use stagedoor_actors::{ListenerConfig, ServerBuilder, StartError, facade};
/// use stagedoor_metrics::Metrics;
///
/// # actix_rt::System::new().block_on(async {
/// let mut config = ListenerConfig::new("plain", ([127, 0, 0, 1], 0).into());
/// config.bind.clear();
/// let hello = facade::handler(async |_: facade::HttpRequest| "hello");
/// match ServerBuilder::new(Metrics::new("example"), 1).listen(config, hello, false).start().await.err() {
///     Some(StartError::Config(error)) => assert_eq!(error.option, "bind"),
///     other => panic!("{other:?}"),
/// }
/// # });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener was told what cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// What sessions are told could not be changed.
///
/// ```
/// use stagedoor_actors::{ReconfigureError, ServerHandle};
///
/// /// Removes a listener, if there is one.
/// async fn without(server: &ServerHandle, name: &str) -> Result<(), ReconfigureError> {
///     match server.remove_listener(name, std::time::Duration::ZERO).await {
///         Ok(_) | Err(ReconfigureError::NoListener(_)) => Ok(()),
///         Err(error) => Err(error),
///     }
/// }
/// ```
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

impl ServerBuilder {
    /// A server that counts in `metrics` and has `workers` arbiters (at least one).
    pub fn new(metrics: Metrics, workers: usize) -> Self {
        Self {
            metrics,
            workers: workers.clamp(1, usize::from(u16::MAX) - 1),
            shared: Vec::new(),
            listeners: Vec::new(),
            observer: None,
            hub: Hub::default(),
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

    /// See [`crate::actor::on_arbiters`].
    pub(crate) fn shared(mut self, arbiters: Vec<ArbiterHandle>) -> Self {
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

    /// The events of the server, from its very first session on; see [`ServerHandle::events`]. They end where it does not
    /// start.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_with(EVENTS)
    }

    /// The same with room for `capacity` events that wait, as [`ServerHandle::events_with`] has it.
    #[must_use]
    pub fn events_with(&self, capacity: usize) -> Events {
        self.hub.subscribe(capacity)
    }

    /// Tells its events there, in place of a hub of its own. For one server: it is closed when that has stopped.
    #[must_use]
    pub fn hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
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
                let hub = self.hub.clone();
                let whose = Whose::Shard(metrics.shard(number as u16));
                let addr = Worker::start_in_arbiter(arbiter, move |_| {
                    Worker::new(metrics, number as u16, post_mortems, hub)
                });
                Watched::new(addr, whose)
            })
            .collect();
        let overload = Overload::new(self.overload, self.metrics.clone(), self.probe, self.hub.clone());
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
            hub: self.hub,
            fault: self.fault,
            posts: Mutex::default(),
            next: AtomicU32::new(0),
            changing: Arc::default(),
            kept,
            overload,
            arbiters: Mutex::new(own),
            theirs,
            stopping: OnceCell::new(),
            stopped: watch::Sender::new(false),
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
    hub: Hub,
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
    /// The one stop; who comes while it goes on waits for it.
    stopping: OnceCell<()>,
    stopped: watch::Sender<bool>,
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
///
/// ```no_run
/// use stagedoor_actors::{CloseSession, ServerHandle};
///
/// async fn watch(server: ServerHandle) {
///     println!("it listens on {:?}", server.addresses());
///     for session in server.sessions().await {
///         if session.age_seconds > 3600.0 {
///             server.close_session(&session.id, CloseSession::graceful("an hour is enough")).await;
///         }
///     }
///     server.stop().await;
/// }
/// ```
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

    /// What happens in the server from now on, readable on any thread; sessions that live already are heard, too. As many as
    /// 1024 events wait for who reads slowly. They end when the server has stopped, the last sessions' ends included unless
    /// a handler holds its arbiter up.
    ///
    /// To hear of the very first session, ask [`ServerBuilder::events`]. While nobody listens no event is made.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_with(EVENTS)
    }

    /// The same with room for `capacity` events that wait: rounded up to a power of two, at least 1 and at most 2^20. The
    /// room is taken at once, some 300 octets an event.
    #[must_use]
    pub fn events_with(&self, capacity: usize) -> Events {
        self.0.hub.subscribe(capacity)
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

    fn find(&self, id: &str) -> Option<(&Watched<Worker>, u64)> {
        let id: SessionId = id.parse().ok()?;
        Some((self.0.workers.get(usize::from(id.worker))?, id.number))
    }
}
