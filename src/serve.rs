//! `serve`: certificate, listeners, banner, and then the wait for a signal and the drain.
//!
//! Order on the way down: readiness fails, the sessions drain, then admin and metrics stop, last of all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor::admin::Admin;
use stagedoor::demo::Demo;
use stagedoor::devca::{self, DevCertificate};
use stagedoor::{
    DrainProgress, Lifecycle, Limits, ListenerConfig, Metrics, ServerBuilder, ServerHandle, ServerSlot, Stage,
};

use crate::banner::{Banner, Colour};
use crate::cli::ServeArgs;
use crate::failure::{Exit, Failure};
use crate::listen::{self, Plan};
use crate::resources;
use crate::say::say;
use crate::signals::StopSignals;

/// How long the streams of a drain may go on.
const DRAIN: Duration = Duration::from_secs(30);

/// How long an immediate stop may take.
const STOP: Duration = Duration::from_secs(5);

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from serving.
pub(crate) fn run(args: &ServeArgs, colour: Colour, started: Instant) -> Result<(), Failure> {
    let sessions = resources::raise_and_count_sessions();
    let certificate = devca::state_dir().and_then(|dir| devca::load_or_make(&dir)).map_err(no_certificate)?;
    let workers = match args.workers {
        Some(workers) => workers.into(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let metrics = Metrics::new("stagedoor");
    metrics.set_build(env!("CARGO_PKG_VERSION"), option_env!("STAGEDOOR_REVISION").unwrap_or("unknown"));
    let gateway = Gateway {
        lifecycle: Lifecycle::new(metrics.clone()),
        server: ServerSlot::default(),
        metrics,
        workers,
        sessions,
        certificate,
    };
    actix_rt::System::new().block_on(gateway.run(args, colour, started))
}

fn no_certificate(error: devca::Error) -> Failure {
    match error {
        devca::Error::NoPlace | devca::Error::Io { .. } => Failure::new(Exit::Input, error.to_string())
            .with_way_out("set STAGEDOOR_STATE_DIR to a directory that may be written"),
        _ => Failure::new(Exit::Bug, error.to_string()),
    }
}

struct Gateway {
    lifecycle: Lifecycle,
    server: ServerSlot,
    metrics: Metrics,
    workers: usize,
    sessions: usize,
    certificate: DevCertificate,
}

impl Gateway {
    async fn run(self, args: &ServeArgs, colour: Colour, started: Instant) -> Result<(), Failure> {
        // Before anything is up, so that no signal is lost.
        let mut signals = StopSignals::take()
            .map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")))?;
        let mut plans = listen::plans(args);
        let server = self.start(&mut plans).await?;
        // Only this function fills the slot.
        let _ = self.server.set(server.clone());
        self.lifecycle.advance(Stage::Ready);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let banner = self.banner(&server, &plans, started.elapsed());
        say(banner.text(colour, home.as_deref()));

        let signal = signals.next().await;
        tracing::info!(signal, "draining");
        self.lifecycle.advance(Stage::Draining);
        let began = Instant::now();
        tokio::select! {
            () = server.drain(Duration::ZERO, DRAIN, teller()) => {
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
        Ok(())
    }

    /// Binds every plan; one whose port is taken moves on where it may.
    async fn start(&self, plans: &mut [Plan]) -> Result<ServerHandle, Failure> {
        loop {
            let mut builder = ServerBuilder::new(self.metrics.clone(), self.workers);
            for plan in plans.iter() {
                builder = self.add(builder, plan)?;
            }
            let error = match builder.start().await {
                Ok(server) => return Ok(server),
                Err(error) => error,
            };
            match plans.iter_mut().find(|plan| plan.name == error.listener) {
                Some(plan) => plan.move_on(&error)?,
                None => return Err(Failure::new(Exit::Reach, error.to_string())),
            }
        }
    }

    fn add(&self, builder: ServerBuilder, plan: &Plan) -> Result<ServerBuilder, Failure> {
        let mut config = ListenerConfig::new(plan.name, plan.addresses()[0]);
        config.bind = plan.addresses();
        config.limits = Limits { sessions: self.sessions, sessions_per_address: None, ..Limits::default() };
        if plan.name == "admin" {
            let admin = Admin {
                metrics: self.metrics.clone(),
                lifecycle: self.lifecycle.clone(),
                server: Arc::clone(&self.server),
                bound: plan.host(),
            };
            return Ok(builder.listen(config, admin.factory(), true));
        }
        if plan.name == "public" {
            config.tls =
                Some(self.certificate.server_config().map_err(|error| no_certificate(error.into()))?);
        }
        Ok(builder.listen(config, Demo::factory(&self.metrics, Arc::clone(&self.server)), false))
    }

    fn banner(&self, server: &ServerHandle, plans: &[Plan], ready_in: Duration) -> Banner {
        let bound = server.addresses();
        let of = |name: &str| {
            let addresses: Vec<_> =
                bound.iter().filter(|(listener, _)| listener == name).map(|(_, address)| *address).collect();
            plans.iter().find(|plan| plan.name == name).map(|plan| plan.bound(&addresses))
        };
        Banner {
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

/// Tells on stderr what a drain waits for, as often as people read; nothing while nothing is left.
fn teller() -> impl FnMut(DrainProgress) {
    const PACE: Duration = Duration::from_millis(500);
    let mut told: Option<Instant> = None;
    move |progress| {
        if progress.sessions > 0 && told.is_none_or(|told| told.elapsed() >= PACE) {
            told = Some(Instant::now());
            say(left(&progress));
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
