//! docs/metrics.md, printed from the table.

use std::fmt::Write as _;

use super::{Deployment, Family, SECTIONS, Section, Source, Values, Zeros, families, most_series};
use crate::histogram::{Buckets, Unit};

impl Values {
    /// The values in words.
    fn describe(&self) -> String {
        match self {
            Self::Closed(labels) => {
                labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ")
            }
            Self::StatusCode => "status codes registered with IANA, else `other`".to_owned(),
            Self::StatusCodeOrZero => "the same status codes, and `0` without a response".to_owned(),
            Self::Configured(source) => source.describe().to_owned(),
        }
    }
}

impl Source {
    const fn describe(self) -> &'static str {
        match self {
            Self::Listener => "name of a configured listener",
            Self::Address => "address a listener is bound to",
            Self::Route => "name of a configured route, `_unmatched` or `_admin`",
            Self::Version => "version of the running binary",
            Self::Revision => "commit of the running binary",
            Self::Certificate => "name of a configured certificate",
            Self::Upstream => "name of a configured upstream",
            Self::Endpoint => "upstream and address of a configured endpoint",
            Self::Worker => "number of an arbiter",
            Self::SessionRow => "id or slot of a row of the table of live sessions",
            Self::SessionOfStreamRow => "id of the session of the stream beside it, `-` in slot mode",
            Self::StreamRow => "id or slot of a row of the table of live streams",
        }
    }
}

impl Buckets {
    /// The upper bounds in words.
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
    page.push_str(TABLES);
    let all = most_series(&Deployment::REFERENCE);
    let tables = all - most_series(&Deployment { session_rows: 0, stream_rows: 0, ..Deployment::REFERENCE });
    line(
        &mut page,
        format_args!(
            "At 2 listeners, 20 routes, 4 workers, 5 upstreams of 4 endpoints and both tables full a scrape has at most\n\
             {all} series, with every label at all its values at once ({tables} of them tables).\n\
             `stagedoor_metrics::catalogue::most_series` computes it for other sizes."
        ),
    );
    page.push_str(FORMATS);
    page
}

const HEAD: &str = "\
<!-- Printed from metrics/src/catalogue by STAGEDOOR_BLESS=1 cargo test -p stagedoor-metrics. -->
# Metrics

Every family stagedoor exposes. Labels take values only from the configuration and from enums in the
code (below): no peer address and no path. Ids of sessions and streams appear in the two live tables
only, which are capped, and in exemplars. All counters start at zero with the process and no sample
carries a timestamp. \"At zero\" says whether a series is shown before anything was counted in it; a
hidden one appears with its first event.

A session that goes on as another protocol closes as `upgraded` and opens anew under the new one.
Starting counts as a good configuration load, so `stagedoor_config_last_reload_successful` is 1 from the
first scrape on; `stagedoor_config_reloads_total` counts the loads after that.
";

const TABLES: &str = "
## Live tables

The families of live sessions and live streams show single sessions and streams while they live, to
follow the oldest ones over time. They are a choice, never all: do not sum them, totals come from the
aggregate families. Sessions of the listener `admin` are never in them. What bounds them:

1. Rows are made at a scrape from those that live; a closed session cannot stay behind.
2. Each table has at most 256 rows. A row once shown stays until what it shows closes. Who waits for a place
   gets it by age, the oldest first.
3. A session has a row once it is 10 s old, a stream once it is 5 s old. What is shorter than a scrape is
   described by the histograms and their exemplars.
4. At most 30 new rows in any 60 s for each table (a window that slides, so there is no burst at a turn of the
   minute). After a start a table of 256 fills in nine minutes.
5. The last values of a closed row stay for 30 s, so that a scrape reads how it ended, then vanish. They take
   a place meanwhile. Ages, idle and stalled times stand still at the scrape that found it closed.

`label_mode` says what names a row: `id` (as in the admin API: session `0-1a`, stream `5`), `slot` (a small number
that is free again once its row has lingered, so there are never more names than rows; the `session` of a
stream is then `-`), or `off`.

`stagedoor_metrics_tracked` is how many rows a table has. `stagedoor_metrics_untracked_total` counts each session
or stream that ended without ever having had a row, once, by what kept it out when a scrape last saw it:

- `cap`: the table was full;
- `churn`: the 30 new rows of the minute were used up;
- `too_short`: it was too young when last seen, or came and went between two scrapes. The latter are known by
  arithmetic: those that ever began, by the aggregate counters, less those that any scrape found. So the figure
  depends on the pace of scrapes, and stands still while nobody scrapes.

Whoever is open and has no row yet is in neither figure; compare `stagedoor_metrics_tracked` with
`stagedoor_sessions_active`.

";

const FORMATS: &str = "
## Formats

`/metrics` speaks two formats and chooses by `Accept`, weights included (RFC 9110 §12.5.1). The same numbers are
in both.

| format | `Content-Type` | when |
| --- | --- | --- |
| Prometheus text 0.0.4 | `text/plain; version=0.0.4; charset=utf-8` | as preferred, at a tie, for `*/*`, without `Accept`, and when nothing offered is acceptable |
| OpenMetrics 1.0.0 | `application/openmetrics-text; version=1.0.0; charset=utf-8` | when its weight is higher; Prometheus 2.42 and 3 ask for it |

OpenMetrics names a counter's family without `_total`, adds `# UNIT` where the name ends in it, writes bounds as
`1.0` and `1e+06` where text has `1` and `1000000`, and carries exemplars.

An exemplar stands on buckets of `stagedoor_request_duration_seconds` and `stagedoor_response_start_seconds`: the
newest stream that fell in that bucket, renewed at most once a second, with `session`, `stream` and, if it is
traced, `trace_id`. These make no series. Samples carry no timestamp, exemplars do.

One scrape is rendered at a time; whoever asks within 250 ms of a render gets it too.
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
