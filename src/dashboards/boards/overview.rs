//! Is it well, how much does it serve, how fast, and what does that cost?

use stagedoor_metrics::catalogue as c;

use crate::dashboards::board::{Board, Panel, Row, Shape, Thresholds, Unit};
use crate::dashboards::query::{all, quantile, rate, rate_of, sum};

/// A day, in seconds.
const DAY: f64 = 86_400.0;

pub(super) fn board() -> Board {
    Board {
        uid: "stagedoor-overview",
        title: "Stagedoor / Overview",
        description: "Whether the gateway is well, what it serves, how fast, and what that costs.",
        rows: vec![
            Row::new("Now", now()),
            Row::new("Requests", requests()),
            Row::new("At the door", door()),
            Row::new("Process", process()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Name,
            "Version",
            Unit::Count,
            "Version and commit of what runs. Several at once: a rollout is under way.",
        )
        .query("{{version}} {{revision}}", sum("version, revision", &all(&c::BUILD_INFO))),
        Panel::stat(
            "Ready instances",
            Unit::Count,
            "Instances that take traffic. One that drains is not ready.",
        )
        .query("ready", sum("", &all(&c::READY)))
        .judged(Thresholds::Least(1.0)),
        Panel::stat(
            "Sessions",
            Unit::Count,
            "Open connections of every protocol, the one of Prometheus included.",
        )
        .query("sessions", sum("", &all(&c::SESSIONS_ACTIVE))),
        Panel::stat("Streams", Unit::Count, "Open streams; an HTTP/1.1 exchange counts as one.")
            .query("streams", sum("", &all(&c::STREAMS_ACTIVE))),
        Panel::stat(
            "Overloaded instances",
            Unit::Count,
            "Instances that refuse new sessions or shed idle ones for lack of memory or descriptors.",
        )
        .query("overloaded", sum("", &all(&c::OVERLOADED)))
        .judged(Thresholds::Below(1.0)),
        Panel::stat(
            "Soonest certificate expiry",
            Unit::Seconds,
            "Time until the first of the loaded certificates expires.",
        )
        .query("left", format!("min({}) - time()", all(&c::TLS_CERTIFICATE_NOT_AFTER)))
        .judged(Thresholds::Falling(7.0 * DAY, 21.0 * DAY)),
    ]
}

fn requests() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Parts,
            "Requests by code",
            Unit::Requests,
            "Answered requests a second, by status code.",
        )
        .query("{{code}}", sum("code", &rate(&c::REQUESTS))),
        Panel::lines(
            "5xx ratio by route",
            Unit::Share,
            "Share of answers with a status of 500 or above. A route without traffic has no line; \
             one without such answers lies at zero.",
        )
        .query("{{route}}", error_ratio()),
        Panel::lines(
            "Request duration",
            Unit::Seconds,
            "From the head of the request to the last octet of the answer given to the socket. A \
             dot is one request; it carries the ids of its trace, session and stream.",
        )
        .query_with_exemplars("p50", quantile("0.5", &c::REQUEST_DURATION, ""))
        .query_with_exemplars("p95", quantile("0.95", &c::REQUEST_DURATION, ""))
        .query_with_exemplars("p99", quantile("0.99", &c::REQUEST_DURATION, "")),
        Panel::lines(
            "Time to the head of the answer, p99",
            Unit::Seconds,
            "The slowest one of a hundred, by route. Far below the duration: the time goes into \
             the body; see where on the board of sessions.",
        )
        .query_with_exemplars("{{route}}", quantile("0.99", &c::RESPONSE_START, "route")),
        Panel::lines("Response body p95", Unit::Bytes, "Size of the larger answers, by route.")
            .query("{{route}}", quantile("0.95", &c::RESPONSE_BODY_BYTES, "route")),
        Panel::lines(
            "Octets read from files",
            Unit::BytesPerSecond,
            "What answers took from the disk or its cache, by route.",
        )
        .query("{{route}}", sum("route", &rate(&c::FILE_READ_BYTES))),
        Panel::lines("Answered 429", Unit::Requests, "Requests a limiter turned away, by route.")
            .query("{{route}}", sum("route", &rate(&c::RATE_LIMITED))),
        Panel::lines("Requests by method", Unit::Requests, "Answered requests a second, by method.")
            .query("{{method}}", sum("method", &rate(&c::REQUESTS))),
    ]
}

/// Zero where a route answered and nothing failed: without it a good route and a silent one look alike.
fn error_ratio() -> String {
    let requests = sum("route", &rate(&c::REQUESTS));
    let errors = sum("route", &rate_of(&c::REQUESTS, r#"code=~"5..""#));
    format!("({errors} or {requests} * 0) / {requests}")
}

fn door() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Connections offered",
            Unit::Events,
            "Connections a second by what became of them. Anything but accepted is a limit, an \
             overload or a failed handshake.",
        )
        .query("{{result}}", sum("result", &rate(&c::LISTENER_CONNECTIONS))),
        Panel::lines(
            "Network",
            Unit::BytesPerSecond,
            "Octets a second read from sockets (rx) and written to them (tx), after TLS.",
        )
        .query("{{direction}}", sum("direction", &rate(&c::NETWORK_BYTES))),
        Panel::lines("TLS handshakes", Unit::Events, "Handshakes a second by result and version.")
            .query("{{result}} {{version}}", sum("result, version", &rate(&c::TLS_HANDSHAKES))),
        Panel::lines("TLS handshake p95", Unit::Seconds, "From accept to the end of the handshake.")
            .query("{{listener}}", quantile("0.95", &c::TLS_HANDSHAKE_DURATION, "listener")),
        Panel::new(Shape::States, "Listener accepts", Unit::State, "No: it is paused or drains.")
            .query("{{instance}} {{listener}}", all(&c::LISTENER_ACCEPTING)),
    ]
}

fn process() -> Vec<Panel> {
    let descriptors = format!("{} / {}", all(&c::PROCESS_OPEN_FDS), all(&c::PROCESS_MAX_FDS));
    vec![
        Panel::lines("CPU", Unit::Count, "Cores in use, user and system time.")
            .query("{{instance}}", rate(&c::PROCESS_CPU_SECONDS)),
        Panel::lines(
            "Memory",
            Unit::Bytes,
            "Resident memory of the process, and the part of it that sessions are charged with.",
        )
        .query("{{instance}} resident", all(&c::PROCESS_RESIDENT_MEMORY_BYTES))
        .query("{{instance}} sessions", sum("instance", &all(&c::SESSION_MEMORY))),
        Panel::lines(
            "Descriptors",
            Unit::Share,
            "Share of the descriptor limit in use. New connections are refused before it is full.",
        )
        .query("{{instance}}", descriptors)
        .judged(Thresholds::Rising(0.7, 0.85)),
        Panel::lines(
            "Configuration loads",
            Unit::Events,
            "Attempts to load the configuration, by result. After a failed one the old \
             configuration goes on.",
        )
        .query("{{result}}", sum("result", &rate(&c::CONFIG_RELOADS))),
        Panel::lines("Configuration in force", Unit::Seconds, "Age of the configuration that is in force.")
            .query("{{instance}}", format!("time() - {}", all(&c::CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP))),
        Panel::lines("Certificate reloads", Unit::Events, "Attempts to load certificates anew, by result.")
            .query("{{result}}", sum("result", &rate(&c::TLS_CERTIFICATE_RELOADS))),
        Panel::lines(
            "Access log lines dropped",
            Unit::Events,
            "Lines that were not written because the writer was behind. The requests themselves \
             are counted all the same.",
        )
        .query("{{instance}}", rate(&c::ACCESS_LOG_DROPPED)),
        Panel::new(
            Shape::States,
            "Last configuration load",
            Unit::State,
            "No: it failed, and the configuration before it is still in force.",
        )
        .query("{{instance}}", all(&c::CONFIG_LAST_RELOAD_SUCCESSFUL)),
    ]
}
