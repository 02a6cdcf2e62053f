//! Logs: `tracing` events to stderr, filtered, spans to a collector where one is named; and panics, which are
//! events too.

use std::io;
use std::panic::PanicHookInfo;

use stagedoor::filter::{BadFilter, LogHandle};
use tracing_subscriber::prelude::*;

use crate::failure::{Exit, Failure};
use crate::logs::Tracing;
use crate::say::say;

/// Starts logging what passes `filter`. Says how to change that.
///
/// # Errors
/// A filter that is none, with the directive that is wrong.
pub(crate) fn start(filter: &str, colour: bool, tracing: &Tracing) -> Result<LogHandle, Failure> {
    let (handle, passes) = LogHandle::of(filter).map_err(|bad| {
        Failure::new(Exit::Usage, format!("--log {filter}: {bad}")).with_way_out(BadFilter::WAY_OUT)
    })?;
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colour)
        // A stderr that is gone would be told on stderr, and that panics.
        .log_internal_errors(false)
        .with_filter(passes);
    let subscriber = tracing_subscriber::registry().with(stderr);
    #[cfg(feature = "otlp")]
    if let Some(exporter) = tracing.exporter() {
        install(subscriber.with(exporter.layer()))?;
        return Ok(handle);
    }
    #[cfg(not(feature = "otlp"))]
    let _ = tracing;
    install(subscriber)?;
    Ok(handle)
}

fn install(subscriber: impl tracing::Subscriber + Send + Sync) -> Result<(), Failure> {
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::new(Exit::Bug, format!("logging was started twice: {error}")))
}

/// Logs panics where they happen: handlers are contained, so this line is all that is seen of most. Message and
/// place alone: what a handler held is not shown by us.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(location, "panic: {message}");
        } else {
            say(format_args!("stagedoor: panic at {location}: {message}"));
        }
    }));
}
