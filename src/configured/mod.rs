//! `serve -c FILE` and `proxy`: the gateway as a configuration describes it. Puts together what the library has (listeners,
//! certificates, routes, upstreams), starts it and sees it out.
//!
//! What changes while it runs is `reload.rs`'s business, what people are told of it `seen.rs`'s.

mod engine;
mod flags;
mod reload;
mod seen;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor::admin::{Admin, Token};
use stagedoor::config::{self, Config, Loaded};
use stagedoor::filter::LogHandle;
use stagedoor::sockets::Sockets;
use stagedoor::{
    Lifecycle, Limits, ListenerConfig, Metrics, OverloadLimits, Redact, ServerBuilder, ServerHandle, Stage,
    StartError, notify,
};

use crate::banner::{Colour, Front, Row};
use crate::failure::{Exit, Failure};
use crate::logs::{self, LogArgs};
use crate::resources;
use crate::say::say;
use crate::serve::{ADMIN_SESSIONS, see_out};
use crate::signals::Signals;
use engine::{Engine, Order};
use tokio::sync::mpsc;

pub(crate) use flags::{Flags, loaded, proxied};

/// What is to run.
pub(crate) struct Blueprint {
    pub(crate) config: Config,
    /// The file, and what is known beside it; `None` where the command line said it all.
    pub(crate) file: Option<(PathBuf, Box<Loaded>)>,
    pub(crate) flags: Flags,
    pub(crate) logs: LogArgs,
    pub(crate) sessions: usize,
    pub(crate) observed: bool,
    /// The file is watched.
    pub(crate) watch: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from serving.
pub(crate) fn run(
    blueprint: Blueprint,
    sockets: Sockets,
    log: &LogHandle,
    colour: Colour,
    started: Instant,
) -> Result<(), Failure> {
    let token = token(&blueprint.config)?;
    let metrics = Metrics::new("stagedoor");
    metrics.set_build(env!("CARGO_PKG_VERSION"), option_env!("STAGEDOOR_REVISION").unwrap_or("unknown"));
    metrics.set_tables(blueprint.config.tables.clone());
    let redact = blueprint.redact();
    let show_query = blueprint.show_query();
    let access = blueprint.logs.access_or(&metrics, blueprint.config.log.access.as_ref(), &redact)?;
    let (sessions, observed, watch) = (blueprint.sessions, blueprint.observed, blueprint.watch);
    let (engine, ordered) = Engine::new(blueprint, sockets, metrics.clone(), log.clone(), show_query, token)?;
    let process = Process { engine, metrics, redact, show_query, sessions, observed, watch };
    let running = process.run(access.as_ref(), log, ordered, colour, started);
    let result = actix_rt::System::new().block_on(running);
    if let Some(access) = &access {
        logs::finish(access);
    }
    result
}

impl Blueprint {
    fn redact(&self) -> Redact {
        match &self.config.log.access {
            Some(access) => Redact::these(&access.redact),
            None => Redact::default(),
        }
    }

    fn show_query(&self) -> bool {
        self.logs.show_query || self.config.log.access.as_ref().is_some_and(|access| access.show_query)
    }
}

/// The token of the admin address.
fn token(config: &Config) -> Result<Option<Token>, Failure> {
    match (&config.admin.token_file, &config.admin.bind) {
        (Some(file), _) => crate::serve::read_token(file).map(Some),
        (None, Some(config::Bind::Tcp(address))) if !address.ip().is_loopback() => {
            Err(crate::serve::no_token("the admin address", *address))
        }
        (None, _) => Ok(None),
    }
}

struct Process {
    engine: Arc<Engine>,
    metrics: Metrics,
    redact: Redact,
    show_query: bool,
    sessions: usize,
    observed: bool,
    watch: bool,
}

impl Process {
    async fn run(
        self,
        access: Option<&stagedoor::access::AccessLog>,
        log: &LogHandle,
        mut ordered: mpsc::Receiver<Order>,
        colour: Colour,
        started: Instant,
    ) -> Result<(), Failure> {
        // Before anything is up, so that no signal is lost.
        let mut signals = Signals::take()
            .map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")))?;
        let lifecycle = Lifecycle::new(self.metrics.clone());
        let server = self.start(access, log, &lifecycle).await?;
        self.engine.started(&server)?;
        lifecycle.advance(Stage::Ready);
        say(self.front(&server, started.elapsed()).text(colour));
        notify::ready(&format!("serving {}", self.engine.source()));
        actix_rt::spawn(watch::certificates_and(Arc::clone(&self.engine), self.watch));
        if let Some(every) = notify::watchdog() {
            let asked = server.clone();
            actix_rt::spawn(notify::watch(every, move || {
                let server = asked.clone();
                async move { server.answers().await }
            }));
        }
        let stop = loop {
            tokio::select! {
                stop = signals.next() => break stop,
                () = signals.reload() => {
                    tracing::info!("HUP: reading the configuration again");
                    // What is wrong with it was said.
                    self.engine.reload().await.ok();
                }
                Some(told) = ordered.recv() => {
                    told.send(self.engine.reload().await).ok();
                }
            }
        };
        // Whoever asks for a reload from here on, or waits for one, hears that there is none.
        drop(ordered);
        let drain = self.engine.config().server.drain;
        see_out(&server, &lifecycle, &mut signals, stop, (drain.min_accept, drain.timeout)).await;
        Ok(())
    }

    async fn start(
        &self,
        access: Option<&stagedoor::access::AccessLog>,
        log: &LogHandle,
        lifecycle: &Lifecycle,
    ) -> Result<ServerHandle, Failure> {
        let limits = OverloadLimits { sessions: Some(self.sessions), resident: resources::resident_limit() };
        let config = self.engine.config();
        let workers = match config.server.workers {
            Some(workers) => workers.into(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut builder = ServerBuilder::new(self.metrics.clone(), workers).overload(limits);
        if let Some(access) = access {
            builder = builder.observe(access.observer());
        }
        for (listener, factory) in self.engine.listeners(self.observed)? {
            builder = builder.listen(listener, factory, false);
        }
        if let Some(bind) = config.admin.bind.as_ref().filter(|_| self.observed) {
            builder = self.admin(builder, bind, log, lifecycle)?;
        }
        builder.start().await.map_err(|error| match error {
            StartError::Bind(error) => Failure::new(Exit::Reach, error.to_string())
                .with_way_out("choose another address for it, or stop who has this one"),
            error => Failure::new(Exit::Input, error.to_string()),
        })
    }

    fn admin(
        &self,
        builder: ServerBuilder,
        bind: &config::Bind,
        log: &LogHandle,
        lifecycle: &Lifecycle,
    ) -> Result<ServerBuilder, Failure> {
        let binds = self.engine.binds(bind)?;
        let mut admin = ListenerConfig::new("admin", (std::net::Ipv4Addr::LOCALHOST, 0).into());
        admin.bind = binds;
        admin.limits = Limits {
            // It answers when nothing else does, and so has little.
            sessions: ADMIN_SESSIONS.min(self.sessions),
            sessions_per_address: None,
            ..Limits::default()
        };
        let host = match bind {
            config::Bind::Tcp(address) => address.ip(),
            config::Bind::Unix(_) | config::Bind::Inherited(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let operations = Arc::new(seen::Desk(Arc::clone(&self.engine)));
        let service = Admin::new(self.metrics.clone(), lifecycle.clone(), self.engine.slot(), host)
            .with_token(self.engine.token.clone())
            .with_log(log.clone())
            .with_shown(self.redact.clone(), self.show_query)
            .with_source(&self.engine.source())
            .with_operations(operations);
        Ok(builder.listen(admin, service.factory(), true))
    }

    fn front(&self, server: &ServerHandle, ready_in: Duration) -> Front {
        let config = self.engine.config();
        let mut rows = Vec::new();
        let bound = server.addresses();
        for listener in &config.listeners {
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            let h2 = if listener.tls.is_some() { "h2" } else { "h2c" };
            let spoken = [(listener.http2, h2), (listener.http1, "http/1.1")];
            let spoken: Vec<_> = spoken.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
            for (_, address) in bound.iter().filter(|(name, _)| *name == listener.name) {
                rows.push(Row::new(&listener.name, scheme, address, &spoken.join(", ")));
            }
        }
        for (_, address) in bound.iter().filter(|(name, _)| name == "admin") {
            rows.push(Row::new("admin", "http", address, "live sessions, streams, actors, upstreams"));
        }
        Front {
            workers: config
                .server
                .workers
                .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from),
            source: format!("config: {}", self.engine.source()),
            rows,
            ready_in,
        }
    }
}
