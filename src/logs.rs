//! The flags of what is written of requests, and what they ask for: an access log, and spans for a collector.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use stagedoor::access::{AccessFormat, AccessLog};
use stagedoor::{Metrics, Redact, config};

use crate::failure::{Exit, Failure};
use crate::say::say;

/// What writing the last lines may take.
const FLUSH: Duration = Duration::from_secs(2);

/// Flags of `serve` and `files`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LogArgs {
    /// A line for each request: json, common or combined, with :PATH into a file; or off [default: off; PATH: -, stdout]
    #[arg(long, value_name = "FORMAT[:PATH]")]
    pub(crate) access_log: Option<AccessTo>,
    /// Queries are written in the access log and shown in the live view; without this they are cut
    #[arg(long)]
    pub(crate) show_query: bool,
    /// The OpenTelemetry collector that gets the spans of sessions and streams, as in http://127.0.0.1:4318
    /// [default: OTEL_EXPORTER_OTLP_ENDPOINT; without it nobody]
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
}

/// Where requests are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessTo {
    Off,
    Stdout(AccessFormat),
    File(AccessFormat, PathBuf),
}

impl FromStr for AccessTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "an access log looks like json, combined:/var/log/access.log or common:-; \
            formats are json, common and combined";
        let (format, path) = text.split_once(':').unwrap_or((text, "-"));
        if text == "off" {
            return Ok(Self::Off);
        }
        let format = format.parse().map_err(|_| HELP)?;
        match path {
            "" => Err(HELP),
            "-" => Ok(Self::Stdout(format)),
            path => Ok(Self::File(format, path.into())),
        }
    }
}

impl LogArgs {
    /// Opens the access log, where one is asked for.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn access(&self, metrics: &Metrics) -> Result<Option<AccessLog>, Failure> {
        self.access_or(metrics, None, &Redact::default())
    }

    /// The same; what the flags do not say `configured` does.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub(crate) fn access_or(
        &self,
        metrics: &Metrics,
        configured: Option<&config::AccessLog>,
        redact: &Redact,
    ) -> Result<Option<AccessLog>, Failure> {
        let (format, path) = match (&self.access_log, configured) {
            (None, None) | (Some(AccessTo::Off), _) => return Ok(None),
            (Some(AccessTo::Stdout(format)), _) => (*format, None),
            (Some(AccessTo::File(format, path)), _) => (*format, Some(path)),
            (None, Some(told)) => {
                let format = match told.format {
                    config::AccessFormat::Json => AccessFormat::Json,
                    config::AccessFormat::Common => AccessFormat::Common,
                    config::AccessFormat::Combined => AccessFormat::Combined,
                };
                (format, told.path.as_ref())
            }
        };
        let metrics = metrics.clone();
        let options = AccessLog::new(format)
            .show_query(self.show_query || configured.is_some_and(|told| told.show_query))
            .redact(redact.clone())
            .on_drop(move |lines| metrics.access_log_dropped().add(lines));
        let opened = match path {
            None => options.to_stdout(),
            Some(path) => options.to_path(path),
        };
        let log = opened.map_err(|error| {
            let place = path.map_or("stdout".into(), |path| path.display().to_string());
            Failure::new(Exit::Input, format!("cannot write the access log to {place}: {error}"))
                .with_way_out("name a file in a directory that exists and may be written, or - for stdout")
        })?;
        Ok(Some(log))
    }
}

/// Writes what is left of an access log, and says what is missing in it.
pub(crate) fn finish(log: &AccessLog) {
    let whole = log.flush(FLUSH);
    match log.dropped() {
        0 => {}
        1 => say("the access log lacks 1 line: its writer was behind"),
        lines => say(format_args!("the access log lacks {lines} lines: its writer was behind")),
    }
    if !whole {
        say(format_args!("the access log did not take its last lines in {} s", FLUSH.as_secs()));
    }
}

/// Spans on their way to a collector, where there is one.
#[cfg(not(feature = "otlp"))]
#[derive(Default)]
pub(crate) struct Tracing;

/// Spans on their way to a collector, where there is one.
#[cfg(feature = "otlp")]
#[derive(Default)]
pub(crate) struct Tracing(Option<stagedoor::otlp::Exporter>);

#[cfg(feature = "otlp")]
impl Tracing {
    /// Starts the export that the flags or the environment ask for.
    ///
    /// # Errors
    /// A collector that cannot be one.
    pub(crate) fn start(args: Option<&LogArgs>) -> Result<Self, Failure> {
        let Some(args) = args else { return Ok(Self::default()) };
        let exporter = stagedoor::otlp::Exporter::start(args.otlp.as_deref()).map_err(|error| {
            Failure::new(Exit::Input, error.to_string())
                .with_way_out(
                    "a collector looks like http://127.0.0.1:4318; one of TLS is reached through one on this machine",
                )
        })?;
        Ok(Self(exporter))
    }

    /// What hears the spans.
    pub(crate) fn exporter(&self) -> Option<&stagedoor::otlp::Exporter> {
        self.0.as_ref()
    }

    /// Sends what is left.
    pub(crate) fn finish(&self) {
        if let Some(exporter) = &self.0
            && let Err(error) = exporter.finish(FLUSH)
        {
            say(format_args!("not every span reached the collector: {error}"));
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Tracing {
    #[allow(clippy::unnecessary_wraps, reason = "with the feature there is something to fail")]
    pub(crate) fn start(_: Option<&LogArgs>) -> Result<Self, Failure> {
        Ok(Self)
    }

    pub(crate) fn finish(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_log_has_a_format_and_a_place() {
        let read = |text: &str| text.parse::<AccessTo>();
        assert_eq!(read("off"), Ok(AccessTo::Off));
        assert_eq!(read("json"), Ok(AccessTo::Stdout(AccessFormat::Json)));
        assert_eq!(read("common:-"), Ok(AccessTo::Stdout(AccessFormat::Common)));
        let file = AccessTo::File(AccessFormat::Combined, "/a/b:c".into());
        assert_eq!(read("combined:/a/b:c"), Ok(file));
        for bad in ["", "xml", "JSON", "json:", "off:x", ":x"] {
            assert!(read(bad).unwrap_err().contains("an access log looks like"), "{bad}");
        }
    }
}
