//! What came back and what did not: one row for each thing that was looked at.

use std::collections::BTreeSet;

use super::mix::Seen;
use super::scrape::{Look, RESIDENT, returns};
use crate::table::Table;

/// One thing, before, under load and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// A series, or words.
    pub what: String,
    /// Before the first client.
    pub fresh: f64,
    /// After the warm-up.
    pub warm: f64,
    /// The highest value seen under load.
    pub peak: f64,
    /// In the end.
    pub after: f64,
    /// It came back.
    pub held: bool,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// In order of their names.
    pub rows: Vec<Row>,
    /// Clients that were there.
    pub visits: u64,
    seen: [Vec<(String, u64)>; 2],
}

impl Report {
    pub(super) fn new(fresh: &Look, warm: &Look, after: &Look, seen: Seen, allowance: u64) -> Self {
        let looks = [fresh, warm, after];
        let all: BTreeSet<&String> = looks.iter().flat_map(|look| look.gauges.0.keys()).collect();
        let mut rows: Vec<Row> = Vec::new();
        for series in all {
            let [fresh, warm, after] = looks.map(|look| look.gauges.value(series));
            let held = match returns(series) {
                true => fresh == warm && fresh == after,
                false => series != RESIDENT || after <= warm + allowance as f64,
            };
            rows.push(Row { what: series.clone(), fresh, warm, peak: seen.peak.value(series), after, held });
        }
        // A counter has no peak: the end is the highest.
        let mut count = |what: &str, of: &dyn Fn(&Look) -> f64, held: bool| {
            let [fresh, warm, after] = looks.map(of);
            rows.push(Row { what: what.to_owned(), fresh, warm, peak: after, after, held });
        };
        for actor in ["listener", "worker", "session"] {
            let panics =
                |look: &Look| look.sum("stagedoor_actor_panics_total", &format!("actor=\"{actor}\""));
            count(&format!("panics of a {actor}"), &panics, panics(after) == 0.0);
        }
        for what in ["sessions", "streams"] {
            // As many as there are: opened, less closed, less active.
            let unaccounted = |look: &Look| {
                let active = format!("stagedoor_{what}_active");
                let active =
                    look.gauges.0.iter().filter(|(series, _)| series.split('{').next() == Some(&active));
                look.sum(&format!("stagedoor_{what}_opened_total"), "")
                    - look.sum(&format!("stagedoor_{what}_closed_total"), "")
                    - active.map(|(_, value)| value).sum::<f64>()
            };
            count(
                &format!("{what} opened, less closed, less active"),
                &unaccounted,
                unaccounted(after) == 0.0,
            );
        }
        let seen_by = [seen.kinds, seen.ends].map(|counts| counts.into_iter().collect());
        Self { rows, visits: seen.visits, seen: seen_by }
    }

    /// What did not come back, a line each.
    pub fn failures(&self) -> Vec<String> {
        let lost = self.rows.iter().filter(|row| !row.held);
        lost.map(|row| format!("{}: {} fresh, {} warm, {} after", row.what, row.fresh, row.warm, row.after))
            .collect()
    }

    /// The rows in which something happened, or should not have. The others are counted in the last one.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["what", "fresh", "warm", "peak under load", "after", "verdict"]);
        let mut still = 0;
        for row in &self.rows {
            let values = [row.fresh, row.warm, row.peak, row.after];
            if row.held && row.what.contains('{') && values.iter().all(|value| *value == row.fresh) {
                still += 1;
                continue;
            }
            let [fresh, warm, peak, after] = values.map(|value| match row.what.as_str() {
                RESIDENT => format!("{:.1} MiB", value / f64::from(1 << 20)),
                _ => format!("{value}"),
            });
            let verdict = if row.held { "back" } else { "LOST" };
            table.row([row.what.clone(), fresh, warm, peak, after, verdict.to_owned()]);
        }
        let none = || "".to_owned();
        table.row([
            format!("{still} other gauges"),
            none(),
            none(),
            none(),
            none(),
            "never moved".to_owned(),
        ]);
        table
    }

    /// Who was there.
    pub fn visitors(&self) -> Table {
        Self::counts("client", &self.seen[0])
    }

    /// How floods ended.
    pub fn ends(&self) -> Table {
        Self::counts("flood and its end", &self.seen[1])
    }

    fn counts(head: &str, counts: &[(String, u64)]) -> Table {
        let mut table = Table::new([head, "times"]);
        for (what, times) in counts {
            table.row([what.clone(), times.to_string()]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::scrape::{Gauges, LISTED};

    /// A look with these gauges and counters.
    fn look(gauges: &[(&str, f64)], counters: &[(&str, f64)]) -> Look {
        let of = |all: &[(&str, f64)]| all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Look { gauges: Gauges(of(gauges)), counters: of(counters) }
    }

    fn report(after: &Look) -> Report {
        let fresh = look(&[("process_open_fds", 20.0), (RESIDENT, 1e6), (LISTED, 1.0)], &[]);
        let warm = look(&[("process_open_fds", 20.0), (RESIDENT, 5e6), (LISTED, 1.0)], &[]);
        Report::new(&fresh, &warm, after, Seen::default(), 1_000_000)
    }

    #[test]
    fn all_back_is_no_failure() {
        let after = look(
            &[
                ("process_open_fds", 20.0),
                (RESIDENT, 6e6),
                (LISTED, 1.0),
                ("stagedoor_sessions_active{}", 1.0),
            ],
            &[
                ("stagedoor_sessions_opened_total{}", 9.0),
                ("stagedoor_sessions_closed_total{reason=\"x\"}", 8.0),
            ],
        );
        let failures = report(&after).failures();
        // The active session was not there before.
        assert_eq!(failures, ["stagedoor_sessions_active{}: 0 fresh, 0 warm, 1 after"]);
    }

    #[test]
    fn each_thing_that_stays_away_is_named() {
        let after = look(
            &[("process_open_fds", 21.0), (RESIDENT, 6_000_001.0), (LISTED, 2.0)],
            &[
                ("stagedoor_actor_panics_total{actor=\"session\"}", 1.0),
                ("stagedoor_actor_panics_total{actor=\"stream\"}", 7.0),
                ("stagedoor_sessions_opened_total{}", 9.0),
                ("stagedoor_sessions_closed_total{}", 8.0),
            ],
        );
        let failures = report(&after).failures().join("\n");
        for what in ["process_open_fds", RESIDENT, LISTED, "panics of a session", "sessions opened"] {
            assert!(failures.contains(what), "no {what} in {failures}");
        }
        assert_eq!(failures.lines().count(), 5, "{failures}");
    }
}
