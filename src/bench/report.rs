//! What came of a load, for people and for scripts.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::BinaryBytes;
use serde_json::{Map, Value, json};

use super::Plan;
use super::tally::Tally;

/// Shown quantiles.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// See the module.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a Tally,
    /// From the start to the end of the last request.
    pub(super) elapsed: Duration,
}

impl Report<'_> {
    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Classes of statuses that came, by name.
    fn statuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
        names.into_iter().zip(self.tally.statuses).filter(|(_, count)| *count > 0)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (plan, tally) = (self.plan, self.tally);
        let mut text = format!(
            "{}{}   {}   {} x {}, {}\n\n",
            plan.url.origin,
            plan.url.path,
            plan.url.protocol(),
            counted(plan.connections as u64, "connection"),
            counted(plan.streams as u64, "stream"),
            counted(plan.threads as u64, "thread"),
        );
        let mut row = |name: &str, what: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{name:<12}{what}");
        };
        let answered = tally.answered();
        let (seconds, rate) = (self.elapsed.as_secs_f64(), self.per_second(answered));
        row("requests", format_args!("{answered} answered in {seconds:.2} s, {rate:.1} a second"));
        row("", format_args!("{} failed, {} unfinished", tally.failed(), tally.unfinished));
        let statuses: Vec<_> = self.statuses().map(|(name, count)| format!("{name} {count}")).collect();
        if !statuses.is_empty() {
            row("status", format_args!("{}", statuses.join("   ")));
        }
        let rate = BinaryBytes(self.per_second(tally.octets) as u64);
        row("bodies", format_args!("{}, {rate} a second", BinaryBytes(tally.octets)));
        if answered > 0 {
            let mut latency = String::new();
            for (name, quantile) in QUANTILES {
                let _ = write!(latency, "{name} {}   ", millis(tally.quantile(quantile)));
            }
            row("latency", format_args!("{latency}max {}", millis(tally.slowest())));
        }
        let goaways = match tally.goaways {
            0 => String::new(),
            goaways => format!(", {goaways} replaced after GOAWAY"),
        };
        let moved = match tally.moved {
            0 => String::new(),
            moved => format!(", {} made again", counted(moved, "unprocessed request")),
        };
        row("connections", format_args!("{} made{goaways}{moved}", tally.connections));
        for (kind, failed) in &tally.errors {
            row("error", format_args!("{} x {kind}: {}", failed.count, failed.words));
        }
        if tally.connections > 0
            && let Some(words) = &tally.unreachable
        {
            row("given up", format_args!("{words}"));
        }
        text
    }

    /// For scripts: one object, times in seconds, sizes in octets.
    pub(super) fn json(&self) -> String {
        let (plan, tally) = (self.plan, self.tally);
        let seconds = |duration: Duration| json!(duration.as_secs_f64());
        let mut latency = Map::new();
        for (name, quantile) in QUANTILES {
            latency.insert(name.to_owned(), seconds(tally.quantile(quantile)));
        }
        latency.insert("max".to_owned(), seconds(tally.slowest()));
        latency.insert("mean".to_owned(), seconds(tally.mean()));
        let statuses: Map<String, Value> =
            self.statuses().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let errors: Vec<_> = tally
            .errors
            .iter()
            .map(|(kind, failed)| json!({ "kind": kind, "count": failed.count, "first": failed.words }))
            .collect();
        let report = json!({
            "url": format!("{}{}", plan.url.origin, plan.url.path),
            "protocol": plan.url.protocol(),
            "connections": { "wanted": plan.connections, "made": tally.connections, "goaway": tally.goaways },
            "streams": plan.streams,
            "threads": plan.threads,
            "seconds": self.elapsed.as_secs_f64(),
            "requests": {
                "answered": tally.answered(),
                "failed": tally.failed(),
                "unfinished": tally.unfinished,
                "made_again": tally.moved,
            },
            "requests_per_second": self.per_second(tally.answered()),
            "status": statuses,
            "body_bytes": tally.octets,
            "latency_seconds": latency,
            "errors": errors,
            "unreachable": tally.unreachable,
        });
        format!("{report:#}\n")
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::bench::End;
    use crate::reach::{self, Url};

    #[test]
    fn people_and_scripts_read_the_same_figures() {
        let plan = Plan {
            url: Url::parse("http://localhost:1/x", false).unwrap(),
            fields: reach::fields(&[]).unwrap(),
            connections: 1,
            streams: 2,
            end: End::Requests(3),
            threads: 1,
        };
        let mut tally = Tally::new();
        let began = Instant::now();
        tally.answer(200, 2048, began, began + Duration::from_millis(3));
        tally.answer(503, 0, began, began + Duration::from_millis(4));
        tally.fail("reset", "the peer reset the stream with CANCEL".to_owned(), began);
        (tally.connections, tally.goaways, tally.moved) = (2, 1, 7);
        let report = Report { plan: &plan, tally: &tally, elapsed: Duration::from_millis(500) };
        let text = report.text();
        for words in [
            "http://localhost:1/x   h2c   1 connection x 2 streams, 1 thread",
            "requests    2 answered in 0.50 s, 4.0 a second",
            "1 failed, 0 unfinished",
            "status      2xx 1   5xx 1",
            "bodies      2.00 KiB, 4.00 KiB a second",
            "p50 3.00 ms",
            "max 4.00 ms",
            "2 made, 1 replaced after GOAWAY, 7 unprocessed requests made again",
            "error       1 x reset: the peer reset the stream with CANCEL",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["requests"], json!({ "answered": 2, "failed": 1, "unfinished": 0, "made_again": 7 }));
        assert_eq!(json["status"], json!({ "2xx": 1, "5xx": 1 }));
        assert_eq!(json["connections"], json!({ "wanted": 1, "made": 2, "goaway": 1 }));
        assert_eq!((&json["requests_per_second"], &json["body_bytes"]), (&json!(4.0), &json!(2048)));
        assert!((json["latency_seconds"]["max"].as_f64().unwrap() - 0.004).abs() < 0.000_01);
        assert_eq!(json["errors"][0]["kind"], "reset");
    }
}
