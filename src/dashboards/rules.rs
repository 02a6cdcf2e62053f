//! Recording and alerting rules as data, and their text in the YAML of Prometheus.
//!
//! What the gateway did for its own operator (the admin listener, scrapes among it) is left out of error ratios: a
//! scrape that goes well is no served request. Invariant: each alert has a section of the same name in
//! docs/runbook.md and a firing test in grafana/tests/.

use std::fmt::Write as _;

use stagedoor_metrics::catalogue::{self as c, Family};

/// The name of the job in grafana/prometheus.yml.
pub(super) const JOB: &str = "stagedoor";

/// The share of requests that may fail.
const BUDGET: &str = "0.001";

/// Requests a second below which the budget is not judged: at 360 an hour a fast burn takes five failures, a slow one
/// thirteen, so no single failure of a quiet site wakes anybody.
const LEAST_TRAFFIC: &str = "0.1";

/// A series computed ahead.
pub(super) struct Recording {
    /// `level:metric:operation`.
    pub(super) name: String,
    pub(super) expr: String,
}

/// A condition that somebody should know of.
pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expr: String,
    /// How long it must hold; empty: at once.
    pub(super) held_for: &'static str,
    pub(super) severity: Severity,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
}

/// What an alert asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Somebody now.
    Critical,
    /// Somebody today.
    Warning,
    /// A look when there is time.
    Info,
}

impl Severity {
    const fn label(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Alert {
    /// Its heading in docs/runbook.md, as links name it.
    pub(super) fn anchor(&self) -> String {
        self.name.to_lowercase()
    }
}

/// The windows of the two burn alerts.
const WINDOWS: [&str; 4] = ["5m", "30m", "1h", "6h"];

/// Served requests a second over `window`.
fn served(by: &str, window: &str) -> String {
    format!(r#"sum by ({by}) (rate({}{{route!="_admin"}}[{window}]))"#, c::REQUESTS.name)
}

/// Share of them that failed; zero, not nothing, where none did.
fn failed(by: &str, window: &str) -> String {
    let errors =
        format!(r#"sum by ({by}) (rate({}{{route!="_admin",code=~"5.."}}[{window}]))"#, c::REQUESTS.name);
    let served = served(by, window);
    format!("(\n  {errors}\n  or\n  {served} * 0\n)\n/\n{served}")
}

fn rate_name(window: &str) -> String {
    format!("job:stagedoor_requests:rate{window}")
}

fn ratio_name(window: &str) -> String {
    format!("job:stagedoor_requests_errors:ratio_rate{window}")
}

/// The recording rules, in the order of evaluation.
pub(super) fn recordings() -> Vec<Recording> {
    let mut rules = vec![
        Recording {
            name: "job_route:stagedoor_requests:rate5m".to_owned(),
            expr: served("job, route", "5m"),
        },
        Recording {
            name: "job_route:stagedoor_requests_errors:ratio_rate5m".to_owned(),
            expr: failed("job, route", "5m"),
        },
        Recording {
            name: "job_on:stagedoor_stream_wait_seconds:rate5m".to_owned(),
            expr: format!("sum by (job, on) (rate({}[5m]))", c::STREAM_WAIT_SECONDS.name),
        },
    ];
    for window in WINDOWS {
        rules.push(Recording { name: rate_name(window), expr: served("job", window) });
        rules.push(Recording { name: ratio_name(window), expr: failed("job", window) });
    }
    rules
}

/// Both windows burn `factor` times faster than the budget allows, and there is traffic to judge by.
fn burns(factor: &str, short: &str, long: &str) -> String {
    format!(
        "{} > {factor} * {BUDGET}\nand\n{} > {factor} * {BUDGET}\nand\n{} > {LEAST_TRAFFIC}",
        ratio_name(short),
        ratio_name(long),
        rate_name(long)
    )
}

/// The sum of a family over all of an instance.
fn by_instance(family: &Family) -> String {
    format!("sum by (job, instance) ({})", family.name)
}

/// The alerts.
pub(super) fn alerts() -> Vec<Alert> {
    let streams = by_instance(&c::STREAMS_ACTIVE);
    vec![
        Alert {
            name: "StagedoorTargetMissing",
            expr: format!(r#"absent(up{{job="{JOB}"}}) or up{{job="{JOB}"}} == 0"#),
            held_for: "2m",
            severity: Severity::Critical,
            summary: "Prometheus cannot scrape stagedoor",
            description: "No scrape of {{ $labels.instance }} went well for two minutes.",
        },
        Alert {
            name: "StagedoorErrorBudgetFastBurn",
            expr: burns("14.4", "5m", "1h"),
            held_for: "2m",
            severity: Severity::Critical,
            summary: "Failed requests use up a month's budget in two days",
            description: "{{ $value | humanizePercentage }} of the requests of the last five minutes were \
             answered 5xx; 0.1 % may be.",
        },
        Alert {
            name: "StagedoorErrorBudgetSlowBurn",
            expr: burns("6", "30m", "6h"),
            held_for: "15m",
            severity: Severity::Warning,
            summary: "Failed requests use up a month's budget in five days",
            description: "{{ $value | humanizePercentage }} of the requests of the last half hour were \
             answered 5xx; 0.1 % may be.",
        },
        Alert {
            name: "StagedoorCertificateExpiresSoon",
            expr: format!("{} - time() < 7 * 86400", c::TLS_CERTIFICATE_NOT_AFTER.name),
            held_for: "1h",
            severity: Severity::Warning,
            summary: "Certificate {{ $labels.cert }} expires within a week",
            description: "{{ $value | humanizeDuration }} are left on {{ $labels.instance }}.",
        },
        Alert {
            name: "StagedoorConfigReloadFailed",
            expr: format!("{} == 0", c::CONFIG_LAST_RELOAD_SUCCESSFUL.name),
            held_for: "5m",
            severity: Severity::Warning,
            summary: "The last configuration load failed",
            description: "{{ $labels.instance }} goes on with the configuration it had.",
        },
        Alert {
            name: "StagedoorMailboxBacklog",
            expr: format!(
                "histogram_quantile(0.99, sum by (job, instance, actor, le) (rate({}_bucket[5m]))) > 0.1",
                c::ACTOR_MAILBOX_WAIT.name
            ),
            held_for: "10m",
            severity: Severity::Warning,
            summary: "Messages to {{ $labels.actor }} actors wait too long",
            description: "One of a hundred waits {{ $value | humanizeDuration }} or more on {{ \
             $labels.instance }}.",
        },
        Alert {
            name: "StagedoorActorPanics",
            expr: format!("increase({}[10m]) > 0", c::ACTOR_PANICS.name),
            held_for: "",
            severity: Severity::Warning,
            summary: "An actor of kind {{ $labels.actor }} panicked",
            description: "{{ $value | humanize }} in ten minutes on {{ $labels.instance }}; the log names the \
             place.",
        },
        Alert {
            name: "StagedoorFlowControlStalled",
            expr: format!(
                "sum by (job, instance, scope) (rate({}[5m]))\n/ on (job, instance) group_left ()\n{streams} > 0.5\nand on (job, instance)\n{streams} > 10",
                c::H2_FLOW_STALLED_SECONDS.name
            ),
            held_for: "15m",
            severity: Severity::Info,
            summary: "More than half of the open streams wait for a window",
            description: "Clients of {{ $labels.instance }} read slower than it could send ({{ $labels.scope \
             }} windows).",
        },
        Alert {
            name: "StagedoorAbuse",
            expr: format!("sum by (job, instance, kind) (rate({}[5m])) > 1", c::ABUSE.name),
            held_for: "5m",
            severity: Severity::Warning,
            summary: "The limit {{ $labels.kind }} trips again and again",
            description: "{{ $value | humanize }} times a second on {{ $labels.instance }}.",
        },
        Alert {
            name: "StagedoorUpstreamDown",
            expr: format!("{} == 0", c::UPSTREAM_ENDPOINT_UP.name),
            held_for: "2m",
            severity: Severity::Warning,
            summary: "Endpoint {{ $labels.endpoint }} takes no traffic",
            description: "It fails its checks or was ejected by {{ $labels.instance }}.",
        },
        Alert {
            name: "StagedoorFileDescriptorsLow",
            expr: format!(
                r#"{}{{job="{JOB}"}} / {}{{job="{JOB}"}} > 0.85"#,
                c::PROCESS_OPEN_FDS.name,
                c::PROCESS_MAX_FDS.name
            ),
            held_for: "10m",
            severity: Severity::Warning,
            summary: "Descriptors run out",
            description: "{{ $value | humanizePercentage }} of those {{ $labels.instance }} may open are in \
             use.",
        },
        Alert {
            name: "StagedoorDrainStuck",
            expr: format!(
                "{} > 0\nand on (job, instance)\n{} == 1",
                by_instance(&c::SESSIONS_ACTIVE),
                c::DRAINING.name
            ),
            held_for: "10m",
            severity: Severity::Warning,
            summary: "A drain has not ended for ten minutes",
            description: "{{ $value }} sessions of {{ $labels.instance }} are left; `stagedoor top` lists \
             them.",
        },
    ]
}

/// grafana/rules/stagedoor.rules.yml
pub(super) fn recordings_yaml() -> String {
    let mut text = head("Recording rules", "stagedoor.recording");
    for Recording { name, expr } in recordings() {
        line(&mut text, format_args!("      - record: {name}"));
        block(&mut text, &expr);
    }
    text
}

/// grafana/alerts/stagedoor.alerts.yml
pub(super) fn alerts_yaml() -> String {
    let mut text = head("Alerts", "stagedoor.alerts");
    for alert in alerts() {
        line(&mut text, format_args!("      - alert: {}", alert.name));
        block(&mut text, &alert.expr);
        if !alert.held_for.is_empty() {
            line(&mut text, format_args!("        for: {}", alert.held_for));
        }
        line(&mut text, format_args!("        labels:\n          severity: {}", alert.severity.label()));
        line(&mut text, format_args!("        annotations:"));
        let runbook = format!("docs/runbook.md#{}", alert.anchor());
        for (key, value) in
            [("summary", alert.summary), ("description", alert.description), ("runbook_url", &runbook)]
        {
            line(&mut text, format_args!("          {key}: {}", quoted(value)));
        }
    }
    text
}

fn head(title: &str, group: &str) -> String {
    format!(
        "# {title}, printed by `stagedoor dashboards` from src/dashboards/rules.rs.\ngroups:\n  - name: {group}\n    rules:\n"
    )
}

/// An expression, its lines kept.
fn block(text: &mut String, expr: &str) {
    line(text, format_args!("        expr: |-"));
    for one in expr.lines() {
        line(text, format_args!("          {one}"));
    }
}

/// A string of YAML: one in double quotes escapes as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}
