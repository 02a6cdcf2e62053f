//! The one table of families: names, kinds, help, labels and buckets. The collector takes its names from
//! here and docs/metrics.md is printed from here ([`markdown`]); no name is written anywhere else.
//! Holds no numbers.
//!
//! Invariants: a name, once shipped, keeps its meaning, because dashboards and alerts quote it; every
//! label is either a closed set of the code or comes from the configuration.

use std::borrow::Cow;
use std::fmt::Write as _;

use prometheus::proto::MetricType;

use crate::histogram::{Bounds, Buckets, Count, Handshake, Latency, Lifetime, Size, Unit};
use crate::labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, FrameType, H2Code, Method, Origin,
    Outcome, Protocol, Scope, TimeoutAction, TimeoutKind, TlsResult, TlsVersion,
};
use crate::status;

/// The namespace the table is written in.
const NAMESPACE: &str = "stagedoor";

/// A metric family.
#[derive(Debug)]
pub struct Family {
    /// Full name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The HELP line.
    pub help: &'static str,
    /// Labels, in the order they are written.
    pub labels: &'static [LabelSpec],
    /// The bucket table of a histogram.
    pub buckets: Option<Buckets>,
    /// Which series are written before anything was counted.
    pub zeros: Zeros,
}

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by bucket.
    Histogram,
}

/// Whether a series is written before anything was counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Written from the start, so that `rate` sees the first event.
    Shown,
    /// Left out until touched: most cells of a big product never are.
    Hidden,
}

/// A label and where its values come from.
#[derive(Debug)]
pub struct LabelSpec {
    /// Name of the label.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// Where the values of a label come from.
#[derive(Debug)]
pub enum Values {
    /// An enum of `labels.rs`.
    Closed(&'static [&'static str]),
    /// The status codes of `status.rs`.
    StatusCode,
    /// The configuration or the build; in words.
    Configured(&'static str),
}

/// Families that belong together.
#[derive(Debug)]
pub struct Section {
    /// Its heading in docs/metrics.md.
    pub title: &'static str,
    /// Its families, in the order they are written.
    pub families: &'static [&'static Family],
}

const fn closed(name: &'static str, labels: &'static [&'static str]) -> LabelSpec {
    LabelSpec { name, values: Values::Closed(labels) }
}

const fn configured(name: &'static str, whence: &'static str) -> LabelSpec {
    LabelSpec { name, values: Values::Configured(whence) }
}

const LISTENER: LabelSpec = configured("listener", "name of a configured listener");
const ADDRESS: LabelSpec = configured("address", "address a listener is bound to");
const ROUTE: LabelSpec = configured("route", "name of a configured route, `_unmatched` or `_admin`");
const VERSION: LabelSpec = configured("version", "version of the running binary");
const REVISION: LabelSpec = configured("revision", "commit of the running binary");
const CONNECTION_RESULT: LabelSpec = closed("result", ConnectionResult::LABELS);
const TLS_RESULT: LabelSpec = closed("result", TlsResult::LABELS);
const TLS_VERSION: LabelSpec = closed("version", TlsVersion::LABELS);
const PROTOCOL: LabelSpec = closed("protocol", Protocol::LABELS);
const REASON: LabelSpec = closed("reason", CloseReason::LABELS);
const DIRECTION: LabelSpec = closed("direction", Direction::LABELS);
const FRAME_TYPE: LabelSpec = closed("type", FrameType::LABELS);
const SCOPE: LabelSpec = closed("scope", Scope::LABELS);
const ORIGIN: LabelSpec = closed("origin", Origin::LABELS);
const H2_CODE: LabelSpec = closed("code", H2Code::LABELS);
const TIMEOUT_KIND: LabelSpec = closed("kind", TimeoutKind::LABELS);
const TIMEOUT_ACTION: LabelSpec = closed("action", TimeoutAction::LABELS);
const ABUSE_KIND: LabelSpec = closed("kind", AbuseKind::LABELS);
const OUTCOME: LabelSpec = closed("outcome", Outcome::LABELS);
const METHOD: LabelSpec = closed("method", Method::LABELS);
const CODE: LabelSpec = LabelSpec { name: "code", values: Values::StatusCode };
const ACTOR: LabelSpec = closed("actor", ActorKind::LABELS);

macro_rules! families {
    ($($title:literal { $(
        $ident:ident = $kind:ident $zeros:ident $([$bounds:ty])? $name:literal ($($label:ident),*) $help:literal;
    )+ })+) => {
        $($(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub static $ident: Family = Family {
                name: $name,
                kind: Kind::$kind,
                help: $help,
                labels: &[$($label),*],
                buckets: families!(@buckets $($bounds)?),
                zeros: Zeros::$zeros,
            };
        )+)+

        /// Every family, by section, in the order they are written.
        pub static SECTIONS: &[Section] = &[$(
            Section { title: $title, families: &[$(&$ident),+] },
        )+];
    };
    (@buckets) => { None };
    (@buckets $bounds:ty) => { Some(<$bounds as Bounds>::BUCKETS) };
}

families! {
    "Listener" {
        LISTENER_INFO = Gauge Shown "stagedoor_listener_info" (LISTENER, ADDRESS)
            "Constant 1; static facts about a listening socket.";
        LISTENER_ACCEPTING = Gauge Shown "stagedoor_listener_accepting" (LISTENER)
            "1 while the listener accepts connections, 0 while paused or draining.";
        LISTENER_CONNECTIONS = Counter Shown "stagedoor_listener_connections_total"
            (LISTENER, CONNECTION_RESULT)
            "Connections offered to the listener by result.";
        TLS_HANDSHAKES = Counter Hidden "stagedoor_tls_handshakes_total" (LISTENER, TLS_RESULT, TLS_VERSION)
            "TLS handshakes by result and negotiated version.";
        TLS_HANDSHAKE_DURATION = Histogram Hidden [Handshake] "stagedoor_tls_handshake_duration_seconds"
            (LISTENER)
            "Time from accept to finished TLS handshake.";
    }
    "Session (aggregate)" {
        SESSIONS_ACTIVE = Gauge Shown "stagedoor_sessions_active" (LISTENER, PROTOCOL)
            "Open sessions.";
        SESSIONS_OPENED = Counter Shown "stagedoor_sessions_opened_total" (LISTENER, PROTOCOL)
            "Sessions started.";
        SESSIONS_CLOSED = Counter Hidden "stagedoor_sessions_closed_total" (LISTENER, PROTOCOL, REASON)
            "Sessions ended, by the reason carried in closeSession.";
        SESSION_LIFETIME = Histogram Hidden [Lifetime] "stagedoor_session_lifetime_seconds"
            (LISTENER, PROTOCOL)
            "Age of a session when it closed.";
        SESSION_LIFETIME_STREAMS = Histogram Hidden [Count] "stagedoor_session_lifetime_streams" (LISTENER)
            "Streams carried by a session when it closed.";
        NETWORK_BYTES = Counter Shown "stagedoor_network_bytes_total" (LISTENER, DIRECTION)
            "Bytes read from and written to sockets after TLS.";
        WRITE_QUEUE_BYTES = Gauge Shown "stagedoor_write_queue_bytes" (LISTENER)
            "Bytes accepted for sending and not yet written, all sessions.";
        SESSION_MEMORY = Gauge Shown "stagedoor_session_memory_bytes" (LISTENER)
            "Memory charged to sessions.";
        H2_FRAMES = Counter Hidden "stagedoor_h2_frames_total" (LISTENER, DIRECTION, FRAME_TYPE)
            "HTTP/2 frames by direction and type.";
        H2_ERRORS = Counter Hidden "stagedoor_h2_errors_total" (LISTENER, SCOPE, ORIGIN, H2_CODE)
            "RST_STREAM and GOAWAY by scope, origin and HTTP/2 error code.";
        H2_FLOW_STALLS = Counter Shown "stagedoor_h2_flow_stalls_total" (LISTENER, SCOPE)
            "Times a sender ran out of flow-control window with data queued.";
        H2_FLOW_STALLED_SECONDS = Counter Shown "stagedoor_h2_flow_stalled_seconds_total" (LISTENER, SCOPE)
            "Time spent with data queued and no window.";
        H2_PING_RTT = Histogram Hidden [Latency] "stagedoor_h2_ping_rtt_seconds" (LISTENER)
            "Round trip of our own PING frames.";
        TIMEOUTS = Counter Shown "stagedoor_timeouts_total" (LISTENER, TIMEOUT_KIND, TIMEOUT_ACTION)
            "Timers that expired: closed the target, or were extended because bytes had moved.";
        ABUSE = Counter Shown "stagedoor_abuse_total" (LISTENER, ABUSE_KIND)
            "Protective limits that tripped (rapid_reset, continuation, ping, settings, empty_data, ...).";
    }
    "Stream and request (aggregate)" {
        STREAMS_ACTIVE = Gauge Shown "stagedoor_streams_active" (LISTENER, PROTOCOL)
            "Open streams (an HTTP/1.1 exchange counts as one).";
        STREAMS_OPENED = Counter Shown "stagedoor_streams_opened_total" (LISTENER, PROTOCOL)
            "Streams started.";
        STREAMS_CLOSED = Counter Shown "stagedoor_streams_closed_total" (LISTENER, OUTCOME)
            "Streams ended by outcome.";
        REQUESTS = Counter Hidden "stagedoor_requests_total" (LISTENER, ROUTE, METHOD, CODE)
            "Requests answered.";
        REQUEST_DURATION = Histogram Hidden [Latency] "stagedoor_request_duration_seconds" (LISTENER, ROUTE)
            "HEADERS received to last byte written.";
        RESPONSE_START = Histogram Hidden [Latency] "stagedoor_response_start_seconds" (LISTENER, ROUTE)
            "HEADERS received to first response HEADERS written.";
        REQUEST_BODY_BYTES = Histogram Hidden [Size] "stagedoor_request_body_bytes" (ROUTE)
            "Request body size.";
        RESPONSE_BODY_BYTES = Histogram Hidden [Size] "stagedoor_response_body_bytes" (ROUTE)
            "Response body size.";
    }
    "Actors" {
        ACTORS = Gauge Shown "stagedoor_actors" (ACTOR)
            "Live actors.";
        ACTOR_STARTED = Counter Shown "stagedoor_actor_started_total" (ACTOR)
            "Actors started.";
        ACTOR_RESTARTS = Counter Shown "stagedoor_actor_restarts_total" (ACTOR)
            "Supervised restarts.";
        ACTOR_PANICS = Counter Shown "stagedoor_actor_panics_total" (ACTOR)
            "Panics caught at an actor boundary.";
        ACTOR_MAILBOX_FULL = Counter Shown "stagedoor_actor_mailbox_full_total" (ACTOR)
            "Sends refused because a mailbox was full.";
    }
    "Process and gateway" {
        BUILD_INFO = Gauge Shown "stagedoor_build_info" (VERSION, REVISION)
            "Constant 1; what is running.";
        READY = Gauge Shown "stagedoor_ready" ()
            "1 when ready to take traffic.";
        DRAINING = Gauge Shown "stagedoor_draining" ()
            "1 from the start of a drain until exit.";
        OVERLOADED = Gauge Shown "stagedoor_overloaded" ()
            "1 while new sessions are refused or idle ones shed.";
        PROCESS_CPU_SECONDS = Counter Shown "process_cpu_seconds_total" ()
            "User and system CPU time.";
        PROCESS_RESIDENT_MEMORY_BYTES = Gauge Shown "process_resident_memory_bytes" ()
            "Resident memory.";
        PROCESS_OPEN_FDS = Gauge Shown "process_open_fds" ()
            "Open file descriptors.";
        PROCESS_MAX_FDS = Gauge Shown "process_max_fds" ()
            "File descriptor limit.";
        PROCESS_START_TIME_SECONDS = Gauge Shown "process_start_time_seconds" ()
            "Start of the process as Unix time.";
    }
}

/// Every family, in the order they are written.
pub fn families() -> impl Iterator<Item = &'static Family> {
    SECTIONS.iter().flat_map(|section| section.families.iter().copied())
}

impl Family {
    /// The name under another namespace; `process_*` belongs to none and stays.
    #[must_use]
    pub fn name_in(&self, namespace: &str) -> Cow<'static, str> {
        match self.name.strip_prefix(NAMESPACE) {
            Some(rest) if namespace != NAMESPACE => Cow::Owned(format!("{namespace}{rest}")),
            _ => Cow::Borrowed(self.name),
        }
    }

    /// Whether the family is about the process and not about the gateway.
    #[must_use]
    pub fn is_of_process(&self) -> bool {
        self.name.starts_with("process_")
    }
}

impl Kind {
    /// The word of the TYPE line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    pub(crate) const fn proto(self) -> MetricType {
        match self {
            Self::Counter => MetricType::COUNTER,
            Self::Gauge => MetricType::GAUGE,
            Self::Histogram => MetricType::HISTOGRAM,
        }
    }
}

impl Values {
    /// Whether a label may have this value.
    #[must_use]
    pub fn contains(&self, value: &str) -> bool {
        match self {
            Self::Closed(labels) => labels.contains(&value),
            Self::StatusCode => (0..status::SLOTS).any(|slot| status::label(slot) == value),
            Self::Configured(_) => true,
        }
    }

    /// The values in words, for docs/metrics.md.
    fn describe(&self) -> String {
        match self {
            Self::Closed(labels) => {
                labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
            }
            Self::StatusCode => "status codes registered with IANA, else `other`".to_owned(),
            Self::Configured(whence) => (*whence).to_owned(),
        }
    }
}

impl Buckets {
    /// The upper bounds in words, for docs/metrics.md.
    fn describe(&self) -> String {
        let bounds = self.bounds.iter().map(|bound| self.unit.to_base(*bound as f64).to_string());
        bounds.collect::<Vec<_>>().join(" ") + if self.unit == Unit::Nanos { " s" } else { "" }
    }
}

/// docs/metrics.md. `STAGEDOOR_BLESS=1 cargo test -p stagedoor-metrics` writes it.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    for Section { title, families } in SECTIONS {
        line(&mut page, format_args!("\n## {title}\n"));
        line(&mut page, format_args!("| metric | type | labels | at zero | help |"));
        line(&mut page, format_args!("| --- | --- | --- | --- | --- |"));
        for Family { name, kind, help, labels, zeros, .. } in *families {
            let labels: Vec<_> = labels.iter().map(|label| label.name).collect();
            let labels = if labels.is_empty() { "—".to_owned() } else { labels.join(", ") };
            let zeros = if *zeros == Zeros::Shown { "shown" } else { "hidden" };
            line(&mut page, format_args!("| `{name}` | {} | {labels} | {zeros} | {help} |", kind.label()));
        }
    }
    line(&mut page, format_args!("\n## Label values\n\n| label | of | values |\n| --- | --- | --- |"));
    let labelled: Vec<_> = families()
        .flat_map(|family| {
            family.labels.iter().map(move |label| (label.name, label.values.describe(), family))
        })
        .collect();
    for (label, values, users) in grouped(&labelled) {
        line(&mut page, format_args!("| {label} | {users} | {values} |"));
    }
    line(&mut page, format_args!("\n## Buckets\n\n| of | inclusive upper bounds |\n| --- | --- |"));
    let bucketed: Vec<_> = families()
        .filter_map(|family| family.buckets.map(|buckets| ("", buckets.describe(), family)))
        .collect();
    for (_, bounds, users) in grouped(&bucketed) {
        line(&mut page, format_args!("| {users} | {bounds} |"));
    }
    page
}

const HEAD: &str = "\
<!-- Printed from metrics/src/catalogue.rs by STAGEDOOR_BLESS=1 cargo test -p stagedoor-metrics. -->
# Metrics

Every family stagedoor exposes. Labels take values only from the configuration and from enums in the
code (below): no peer address, path, session or stream id. All counters start at zero with the process
and no sample carries a timestamp. \"At zero\" says whether a series is shown before anything was counted
in it; a hidden one appears with its first event.

A session that goes on as another protocol closes as `upgraded` and opens anew under the new one.
";

/// Groups rows by their first two fields, in order of first appearance, joining the families' names.
fn grouped<'a>(rows: &'a [(&'a str, String, &Family)]) -> Vec<(&'a str, &'a str, String)> {
    let mut groups: Vec<(&str, &str, String)> = Vec::new();
    for (label, values, family) in rows {
        let name = format!("`{}`", family.name);
        match groups.iter_mut().find(|group| group.0 == *label && group.1 == values) {
            Some((_, _, users)) => {
                users.push_str(", ");
                users.push_str(&name);
            }
            None => groups.push((label, values, name)),
        }
    }
    groups
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(page, "{text}");
}
