//! `serve` and `files`: certificate, listeners, banner, and then the wait for a signal and the drain.
//!
//! Order on the way down: readiness fails, the sessions drain, then admin and metrics stop, last of all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor::access::AccessLog;
use stagedoor::admin::{Admin, Token};
use stagedoor::demo::{self, Demo};
use stagedoor::devca::{self, DevCertificate};
use stagedoor::files::Directory;
use stagedoor::filter::LogHandle;
use stagedoor::{
    DrainProgress, Lifecycle, Limits, ListenerConfig, Metrics, OverloadLimits, Redact, ServerBuilder,
    ServerHandle, ServerSlot, ServiceFactory, Stage, StartError, notify,
};

use crate::banner::{Banner, Colour, Shown};
use crate::cli::ServeArgs;
use crate::failure::{Exit, Failure};
use crate::listen::{self, AdminPlan, Plan, Wanted};
use crate::logs::{self, LogArgs};
use crate::resources;
use crate::say::say;
use crate::signals::Signals;

/// How long the streams of a drain may go on.
const DRAIN: Duration = Duration::from_secs(30);

/// Connections to the admin address at once.
pub(crate) const ADMIN_SESSIONS: usize = 256;

/// How long an immediate stop may take.
const STOP: Duration = Duration::from_secs(5);

/// What a command serves, and where.
pub(crate) struct Site {
    pub(crate) content: Content,
    pub(crate) wanted: Wanted,
    pub(crate) workers: Option<u16>,
    pub(crate) logs: LogArgs,
    /// The file of the admin token.
    pub(crate) token: Option<PathBuf>,
    /// Sessions and streams are counted and recorded.
    pub(crate) observed: bool,
}

/// What the public and the plain listener serve.
pub(crate) enum Content {
    /// The built-in demo.
    Demo,
    /// The files of a directory.
    Files { root: PathBuf, listing: bool, directory: Directory },
}

/// What `serve` serves.
pub(crate) fn demo(args: &ServeArgs) -> Site {
    let admin = match (args.no_observe, args.serving.admin) {
        (true, _) => AdminPlan::None,
        (false, Some(address)) => AdminPlan::At(address),
        (false, None) => AdminPlan::BuiltIn,
    };
    let wanted = Wanted { public: args.public, public_flag: "--public", plain: args.serving.plain, admin };
    Site {
        content: Content::Demo,
        wanted,
        workers: args.serving.workers,
        logs: args.serving.logs.clone(),
        token: args.serving.admin_token.clone(),
        observed: !args.no_observe,
    }
}

impl Content {
    fn factory(&self, metrics: &Metrics, server: &ServerSlot, state: &Path) -> ServiceFactory {
        match self {
            Self::Demo => {
                // Without them the rest of the demo is still worth serving.
                let files = demo::unpack_files(state)
                    .inspect_err(|error| tracing::warn!(%error, "the demo has no /files/"))
                    .ok();
                Demo::factory(metrics, Arc::clone(server), files)
            }
            Self::Files { directory, .. } => {
                const ROUTE: &str = "files";
                directory.clone().factory(metrics.add_route(ROUTE), ROUTE)
            }
        }
    }

    fn shown(&self) -> Shown {
        match self {
            Self::Demo => Shown::Demo,
            Self::Files { root, listing, .. } => Shown::Files { root: root.clone(), listing: *listing },
        }
    }
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from serving.
pub(crate) fn run(site: Site, log: &LogHandle, colour: Colour, started: Instant) -> Result<(), Failure> {
    let token = token(&site)?;
    let sessions = resources::raise_and_count_sessions();
    let state = devca::state_dir().map_err(no_certificate)?;
    let certificate = devca::load_or_make(&state).map_err(no_certificate)?;
    let workers = match site.workers {
        Some(workers) => workers.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let metrics = Metrics::new("stagedoor");
    metrics.set_build(env!("CARGO_PKG_VERSION"), option_env!("STAGEDOOR_REVISION").unwrap_or("unknown"));
    let access = site.logs.access(&metrics)?;
    if let Some(not_after) = certificate.not_after() {
        metrics.set_certificate("dev", not_after);
    }
    let server = ServerSlot::default();
    let gateway = Gateway {
        lifecycle: Lifecycle::new(metrics.clone()),
        factory: site.content.factory(&metrics, &server, &state),
        shown: site.content.shown(),
        server,
        metrics,
        access: access.clone(),
        token,
        log: log.clone(),
        show_query: site.logs.show_query,
        observed: site.observed,
        workers,
        sessions,
        resident: resources::resident_limit(),
        certificate,
    };
    let result = actix_rt::System::new().block_on(gateway.run(&site.wanted, colour, started));
    if let Some(access) = &access {
        logs::finish(access);
    }
    result
}

/// The token of the admin address.
///
/// # Errors
/// A file that cannot be read or holds none, or an address that others reach and no token for it.
fn token(site: &Site) -> Result<Option<Token>, Failure> {
    match (&site.token, site.wanted.admin) {
        (Some(file), _) => read_token(file).map(Some),
        (None, AdminPlan::At(address)) if !address.ip().is_loopback() => Err(no_token("--admin", address)),
        (None, _) => Ok(None),
    }
}

/// Others reach an admin address, and no token keeps them out.
pub(crate) fn no_token(what: &str, address: std::net::SocketAddr) -> Failure {
    let message = format!("{what} {address} can be reached from other machines, and no token keeps them out");
    Failure::new(Exit::Input, message).with_way_out(
        "name a file with a token by --admin-token, or a loopback address such as 127.0.0.1:9901",
    )
}

/// The token in a file.
///
/// # Errors
/// A file that cannot be read or holds none.
pub(crate) fn read_token(file: &Path) -> Result<Token, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Input, format!("cannot read the token in {shown}: {error}")))?;
    Token::read(&text).map_err(|what| {
        Failure::new(Exit::Input, format!("{shown} holds no token: {what}"))
            .with_way_out("write one with: head -c 24 /dev/urandom | base64 > FILE")
    })
}

fn no_certificate(error: devca::Error) -> Failure {
    match error {
        devca::Error::NoPlace | devca::Error::Io { .. } => Failure::new(Exit::Input, error.to_string())
            .with_way_out("set STAGEDOOR_STATE_DIR to a directory that may be written"),
        devca::Error::NoProvider(_) | devca::Error::NotMade => Failure::new(Exit::Input, error.to_string()),
        _ => Failure::new(Exit::Bug, error.to_string()),
    }
}

struct Gateway {
    lifecycle: Lifecycle,
    /// Of what is served.
    factory: ServiceFactory,
    shown: Shown,
    server: ServerSlot,
    metrics: Metrics,
    access: Option<AccessLog>,
    token: Option<Token>,
    log: LogHandle,
    show_query: bool,
    observed: bool,
    workers: usize,
    /// Of all listeners together.
    sessions: usize,
    /// Octets the process may have in memory.
    resident: Option<u64>,
    certificate: DevCertificate,
}

impl Gateway {
    async fn run(self, wanted: &Wanted, colour: Colour, started: Instant) -> Result<(), Failure> {
        // Before anything is up, so that no signal is lost.
        let mut signals = Signals::take()
            .map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")))?;
        let mut plans = listen::plans(wanted);
        let server = self.start(&mut plans).await?;
        // Only this function fills the slot.
        let _ = self.server.set(server.clone());
        self.lifecycle.advance(Stage::Ready);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let banner = self.banner(&server, &plans, started.elapsed());
        say(banner.text(colour, home.as_deref()));

        notify::ready(&format!("serving: {}", self.shown.source()));
        let stop = loop {
            tokio::select! {
                stop = signals.next() => break stop,
                () = signals.reload() => tracing::info!("HUP: there is no configuration file to reload"),
            }
        };
        see_out(&server, &self.lifecycle, &mut signals, stop, (Duration::ZERO, DRAIN)).await;
        Ok(())
    }

    /// Binds every plan; one whose port is taken moves on where it may.
    async fn start(&self, plans: &mut [Plan]) -> Result<ServerHandle, Failure> {
        loop {
            let limits = OverloadLimits { sessions: Some(self.sessions), resident: self.resident };
            let mut builder = ServerBuilder::new(self.metrics.clone(), self.workers).overload(limits);
            if let Some(access) = &self.access {
                builder = builder.observe(access.observer());
            }
            for plan in plans.iter() {
                builder = self.add(builder, plan)?;
            }
            let error = match builder.start().await {
                Ok(server) => return Ok(server),
                Err(StartError::Bind(error)) => error,
                Err(error) => return Err(Failure::new(Exit::Input, error.to_string())),
            };
            match plans.iter_mut().find(|plan| plan.name == error.listener) {
                Some(plan) => plan.move_on(&error)?,
                None => return Err(Failure::new(Exit::Reach, error.to_string())),
            }
        }
    }

    fn add(&self, builder: ServerBuilder, plan: &Plan) -> Result<ServerBuilder, Failure> {
        let mut config = ListenerConfig::new(plan.name, plan.addresses()[0]);
        config.bind = plan.addresses().into_iter().map(Into::into).collect();
        config.observed = self.observed;
        config.show_query = self.show_query;
        config.limits = Limits { sessions: self.sessions, sessions_per_address: None, ..Limits::default() };
        if plan.name == "admin" {
            // It answers when nothing else does, and so has little.
            config.limits.sessions = ADMIN_SESSIONS.min(self.sessions);
            let server = Arc::clone(&self.server);
            let admin = Admin::new(self.metrics.clone(), self.lifecycle.clone(), server, plan.host())
                .with_token(self.token.clone())
                .with_log(self.log.clone())
                .with_shown(Redact::default(), self.show_query)
                .with_source(self.shown.source());
            return Ok(builder.listen(config, admin.factory(), true));
        }
        if plan.name == "public" {
            config.tls =
                Some(self.certificate.server_config().map_err(|error| no_certificate(error.into()))?);
        }
        Ok(builder.listen(config, Arc::clone(&self.factory), false))
    }

    fn banner(&self, server: &ServerHandle, plans: &[Plan], ready_in: Duration) -> Banner {
        let bound = server.addresses();
        let of = |name: &str| {
            let addresses: Vec<_> = bound
                .iter()
                .filter(|(listener, _)| listener == name)
                .filter_map(|(_, address)| address.tcp())
                .collect();
            plans.iter().find(|plan| plan.name == name).map(|plan| plan.bound(&addresses))
        };
        Banner {
            shown: self.shown.clone(),
            workers: self.workers,
            certificate: self.certificate.origin,
            ca_pem: self.certificate.ca_pem.clone(),
            public: of("public").expect("public is always planned"),
            plain: of("plain").expect("plain is always planned"),
            admin: of("admin"),
            ready_in,
        }
    }
}

/// The way down (cli-and-config.md §3): readiness fails, then the drain; a second signal stops at once. `times` are how long
/// connections are still accepted, and how long streams may go on then.
pub(crate) async fn see_out(
    server: &ServerHandle,
    lifecycle: &Lifecycle,
    signals: &mut Signals,
    signal: &'static str,
    (min_accept, timeout): (Duration, Duration),
) {
    tracing::info!(signal, "draining");
    lifecycle.advance(Stage::Draining);
    notify::stopping("draining");
    let began = Instant::now();
    tokio::select! {
        () = server.drain_with(min_accept, timeout, teller()) => {
            say(format_args!("drained in {:.1} s", began.elapsed().as_secs_f64()));
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopping now");
            say("stopped, not drained");
        }
    }
    if tokio::time::timeout(STOP, server.stop()).await.is_err() {
        tracing::error!("not everything stopped in {} s; leaving it behind", STOP.as_secs());
    }
}

/// Tells on stderr what a drain waits for, as often as people read; nothing while nothing is left.
fn teller() -> impl FnMut(DrainProgress) {
    const PACE: Duration = Duration::from_millis(500);
    let mut told: Option<Instant> = None;
    move |progress| {
        if progress.sessions > 0 && told.is_none_or(|told| told.elapsed() >= PACE) {
            told = Some(Instant::now());
            let left = left(&progress);
            notify::status(&format!("draining: {left}"));
            say(left);
        }
    }
}

fn left(progress: &DrainProgress) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {} s left",
        count(progress.sessions, "session"),
        count(progress.streams, "stream"),
        progress.left.as_secs_f64().ceil()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted() {
        let left_of = |sessions, streams, seconds| {
            left(&DrainProgress { sessions, streams, left: Duration::from_millis(seconds) })
        };
        assert_eq!(left_of(3, 7, 12_000), "3 sessions, 7 streams, 12 s left");
        assert_eq!(left_of(1, 1, 400), "1 session, 1 stream, 1 s left");
    }
}
