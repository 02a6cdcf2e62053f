//! [`Server`]: the ten lines with which an application serves. Describes; [`running`] brings up what it describes.
//!
//! ```no_run
//! use stagedoor::{Path, Server, get};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> stagedoor::Result<()> {
//!     Server::new()
//!         .listen("127.0.0.1:8080")
//!         .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("hello {name}\n") }))
//!         .run()
//!         .await
//! }
//! ```
//!
//! Installs no allocator, no subscriber and no handler of signals, and ends no process.

mod error;
mod listen;
mod running;
mod tls;

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use stagedoor_actors::actor;
use stagedoor_actors::events::{Events, Hub};
use stagedoor_actors::{
    Changes, Http2Options, Limits, ListenerConfig, Observer, ObserverFactory, OverloadLimits, Reload,
    ServerBuilder, ServerHandle, SessionEvent, SessionHandle, Timeouts, Windows,
};
use stagedoor_metrics::Metrics;

use crate::app::{App, Endpoint};
pub use error::{Error, Result};
pub use listen::Listen;
pub use tls::Tls;

/// A server as it is described: where it listens and what it answers. [`Self::run`] or [`Self::start`] brings it up.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor::{Server, Timeouts, get};
///
/// let server = Server::new()
///     .listen("127.0.0.1:8080")
///     .route("/", get(async || "hello\n"))
///     .timeouts(Timeouts { idle: Duration::from_secs(30), ..Timeouts::default() })
///     .workers(2);
/// let told = format!("{server:?}");
/// assert!(told.contains("127.0.0.1:8080"), "{told}");
/// ```
#[must_use = "a server serves nothing before it is started"]
pub struct Server {
    listeners: Vec<Listen>,
    app: App,
    base: ListenerConfig,
    workers: Option<usize>,
    pub(crate) threads: Threads,
    metrics: Option<Metrics>,
    namespace: String,
    overload: OverloadLimits,
    observer: Option<ObserverFactory>,
    hub: Hub,
}

/// Where workers run.
#[derive(Default)]
pub(crate) enum Threads {
    /// On threads of their own.
    #[default]
    Own,
    /// On these.
    Shared(Vec<actix_rt::ArbiterHandle>),
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server without listeners that answers 404.
    pub fn new() -> Self {
        let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listeners: Vec::new(),
            app: App::new(),
            base: ListenerConfig::new("", nowhere),
            workers: None,
            threads: Threads::Own,
            metrics: None,
            namespace: "stagedoor".to_owned(),
            overload: OverloadLimits::default(),
            observer: None,
            hub: Hub::default(),
        }
    }

    /// Listens there, too: an address in the clear, `("localhost:8443", Tls::dev())`, a socket, or a [`Listen`].
    pub fn listen(mut self, at: impl Into<Listen>) -> Self {
        self.listeners.push(at.into());
        self
    }

    /// What is answered. Replaces what [`Self::route`] and its siblings said before.
    pub fn app(mut self, app: App) -> Self {
        self.app = app;
        self
    }

    /// As [`App::route`].
    pub fn route(mut self, pattern: impl Into<String>, endpoint: Endpoint) -> Self {
        self.app = self.app.route(pattern, endpoint);
        self
    }

    /// As [`App::mount`].
    pub fn mount(mut self, prefix: &str, endpoint: Endpoint) -> Self {
        self.app = self.app.mount(prefix, endpoint);
        self
    }

    /// As [`App::fallback`].
    pub fn fallback(mut self, endpoint: Endpoint) -> Self {
        self.app = self.app.fallback(endpoint);
        self
    }

    /// As [`App::state`].
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.app = self.app.state(state);
        self
    }

    /// Threads that run sessions; one for each core otherwise.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The first word of the names of metrics; `stagedoor` otherwise. [`Self::metrics`] has its own.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Where it counts, for who has or shares one.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Ceilings of each listener and session.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.base.limits = limits;
        self
    }

    /// Deadlines.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.base.timeouts = timeouts;
        self
    }

    /// Receive windows.
    pub fn windows(mut self, windows: Windows) -> Self {
        self.base.windows = windows;
        self
    }

    /// What sessions of HTTP/2 say and allow beside that.
    pub fn http2(mut self, options: Http2Options) -> Self {
        self.base.options = options;
        self
    }

    /// What the server may take of the process; no limit otherwise.
    pub fn overload(mut self, limits: OverloadLimits) -> Self {
        self.overload = limits;
        self
    }

    /// Hears what happens on every session, on the session's own thread and in the middle of its turn;
    /// [`ServerHandle::events`] is for everybody else.
    ///
    /// ```
    /// use stagedoor::{Server, SessionEvent};
    ///
    /// let server = Server::new().listen("127.0.0.1:8080").observe(|session, event| {
    ///     if let SessionEvent::GoAway { code, .. } = event {
    ///         println!("{} says {code}", session.id);
    ///     }
    /// });
    /// ```
    pub fn observe<F>(mut self, observer: F) -> Self
    where
        F: Fn(&SessionHandle, &SessionEvent) + Clone + Send + Sync + 'static,
    {
        self.observer = Some(std::sync::Arc::new(move || {
            let observer: std::rc::Rc<dyn Observer> = std::rc::Rc::new(observer.clone());
            observer
        }));
        self
    }

    /// What will happen in it, from its very first session on; [`ServerHandle::events`] is the same later. Ends where the
    /// server does not start.
    ///
    /// ```no_run
    /// use stagedoor::{Event, Server};
    ///
    /// # async fn watch() -> stagedoor::Result<()> {
    /// let server = Server::new().listen("127.0.0.1:8080");
    /// let mut events = server.events();
    /// let server = server.start().await?;
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::SessionOpened { session, .. } => println!("{session} came"),
    ///         Event::SessionClosed { session, reason, .. } => println!("{session} went: {reason}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> Events {
        self.hub.subscribe(1024)
    }

    /// Brings it up. Within an actix `System` its listeners run there; otherwise, as in a plain `tokio` program, a thread of
    /// its own is the system. The future is `Send`.
    ///
    /// Dropping every handle stops nothing: who wants it to end keeps one.
    ///
    /// ```no_run
    /// # async fn start() -> stagedoor::Result<()> {
    /// let server = stagedoor::Server::new().listen("127.0.0.1:0").start().await?;
    /// println!("it listens on {:?}", server.address("http"));
    /// server.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    /// # Errors
    /// [`Error`]; nothing runs then.
    pub async fn start(self) -> Result<ServerHandle> {
        running::start(self).await
    }

    /// [`Self::start`], and waits until somebody stops it: [`Self::run_until`] is often what is wanted.
    /// # Errors
    /// As [`Self::start`].
    pub async fn run(self) -> Result<()> {
        self.start().await?.stopped().await;
        Ok(())
    }

    /// [`Self::start`], then serves until `end`, then drains: streams may go on for `grace`. Last of all it stops. Who wants
    /// the handle meanwhile takes [`Self::start`] and [`ServerHandle::run_until`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run() -> stagedoor::Result<()> {
    /// let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    /// stagedoor::Server::new().listen("127.0.0.1:8080").run_until(ctrl_c, Duration::from_secs(30)).await
    /// # }
    /// ```
    /// # Errors
    /// As [`Self::start`].
    pub async fn run_until(self, end: impl Future<Output = ()>, grace: Duration) -> Result<()> {
        self.start().await?.run_until(end, grace).await;
        Ok(())
    }

    /// The listeners as the engine is told of them, each with what it answers.
    fn plan(&self, metrics: &Metrics) -> Result<Vec<(ListenerConfig, stagedoor_actors::ServiceFactory)>> {
        if self.listeners.is_empty() {
            return Err(Error::NoListener);
        }
        let (mut names, mut places) = (HashSet::new(), HashSet::new());
        let usual = self.app.factory(metrics)?;
        let mut planned = Vec::with_capacity(self.listeners.len());
        for listen in &self.listeners {
            let name = name(listen, &mut names)?;
            let config = listen.config(name, &self.base)?;
            for bind in &config.bind {
                let free = bind.to_string();
                if !free.ends_with(":0") && !places.insert(free.clone()) {
                    return Err(Error::SameAddress(free));
                }
            }
            let service = match &listen.app {
                Some(app) => app.factory(metrics)?,
                None => std::sync::Arc::clone(&usual),
            };
            planned.push((config, service));
        }
        Ok(planned)
    }

    /// What the engine is told.
    fn builder(self) -> Result<ServerBuilder> {
        let metrics = self.metrics.clone().unwrap_or_else(|| Metrics::new(&self.namespace));
        let planned = self.plan(&metrics)?;
        let workers =
            self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut builder = ServerBuilder::new(metrics, workers).overload(self.overload).hub(self.hub);
        if let Threads::Shared(arbiters) = self.threads {
            builder = actor::on_arbiters(builder, arbiters);
        }
        if let Some(observer) = self.observer {
            builder = builder.observe(observer);
        }
        Ok(planned
            .into_iter()
            .fold(builder, |builder, (config, service)| builder.listen(config, service, false)))
    }
}

/// The name of a listener that no other has: of two that nobody named, the second is `http-2`.
fn name(listen: &Listen, names: &mut HashSet<String>) -> Result<String> {
    let (wanted, chosen) = listen.known_as();
    if names.insert(wanted.to_owned()) {
        return Ok(wanted.to_owned());
    }
    if chosen {
        return Err(Error::SameName(wanted.to_owned()));
    }
    let free = (2..).map(|number| format!("{wanted}-{number}")).find(|name| !names.contains(name));
    let free = free.unwrap_or_default();
    names.insert(free.clone());
    Ok(free)
}

/// A server is told all anew: [`ServerHandle::reload`]. Listeners are known by their names: those that are new are added,
/// those that are gone drain (for as long as they allow) and go, of the others everything is as described, routes included,
/// for sessions that begin from now on. Workers, metrics, observers and [`Server::overload`] stay as they are.
///
/// ```no_run
/// # async fn change(running: stagedoor::ServerHandle) -> stagedoor::Result<()> {
/// use stagedoor::{Server, get};
///
/// running.reload(Server::new().listen("127.0.0.1:8080").route("/new", get(async || "new\n"))).await?;
/// # Ok(())
/// # }
/// ```
impl Reload for Server {
    type Error = Error;

    fn changes(self, running: &ServerHandle) -> Result<Changes> {
        let planned = self.plan(running.metrics())?;
        let known: HashSet<String> = running.addresses().into_iter().map(|(name, _)| name).collect();
        let wanted: HashSet<String> = planned.iter().map(|(config, _)| config.name.clone()).collect();
        let mut changes = Changes::new();
        for (config, service) in planned {
            changes = match known.contains(&config.name) {
                true => changes.reconfigure_with(config, service),
                false => changes.add(config, service, false),
            };
        }
        let grace = self.base.timeouts.drain;
        Ok(known.difference(&wanted).fold(changes, |changes, gone| changes.remove(gone, grace)))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(server: Server) -> Error {
        server.builder().err().expect("it cannot be")
    }

    #[test]
    fn what_cannot_be_is_said_before_anything_is_bound() {
        assert!(matches!(refused(Server::new()), Error::NoListener));
        let twice = Server::new().listen("127.0.0.1:4000").listen("127.0.0.1:4000");
        assert!(matches!(refused(twice), Error::SameAddress(address) if address == "127.0.0.1:4000"));
        let nowhere = Server::new().listen("example.org");
        assert!(matches!(refused(nowhere), Error::Address(text) if text == "example.org"));
        let named = || Listen::plain("127.0.0.1:0").name("web");
        assert!(matches!(refused(Server::new().listen(named()).listen(named())), Error::SameName(_)));
        let route = Server::new().listen("127.0.0.1:0").route("no/slash", crate::get(|| async {}));
        assert!(matches!(refused(route), Error::Route(_)));
    }

    #[test]
    fn listeners_that_nobody_named_have_names_of_their_own() {
        let mut names = HashSet::new();
        let given: Vec<String> =
            (0..3).map(|_| name(&Listen::plain("127.0.0.1:0"), &mut names).unwrap()).collect();
        assert_eq!(given, ["http", "http-2", "http-3"]);
    }
}
