//! Whether an expression can have an answer: each name is a family of the catalogue, each label one that the family
//! has, counters are read through `rate`, and two sides that are compared have the same labels.
//!
//! Knows nothing of values: that is what `tests/peers/boards.rs` asks a Prometheus. Invariant: rows of the live
//! tables are never folded together, because the tables are capped and a sum over them is no total.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_metrics::catalogue::{Family, Kind};

use super::promql::{self, Expr, Matching};

/// Names of labels.
pub(super) type Labels = BTreeSet<String>;

/// What a Prometheus puts on each series it scrapes.
const TARGET: [&str; 2] = ["job", "instance"];

/// Labels of the live tables; what has one of them is a row.
const ROW: [&str; 2] = ["session", "stream"];

/// What may be asked for.
pub(super) struct Known {
    series: BTreeMap<String, Series>,
}

struct Series {
    labels: Labels,
    counts: bool,
}

impl Known {
    /// The series of these families, and those a Prometheus makes of itself.
    pub(super) fn of<'a>(families: impl Iterator<Item = &'a Family>) -> Self {
        let mut known = Self { series: BTreeMap::new() };
        known.add("up", &[], false);
        known.add("ALERTS", &["alertname", "alertstate", "severity"], false);
        for family in families {
            let labels: Vec<_> = family.labels.iter().map(|label| label.name).collect();
            match family.kind {
                Kind::Counter => known.add(family.name, &labels, true),
                Kind::Gauge => known.add(family.name, &labels, false),
                Kind::Histogram => {
                    for part in ["_sum", "_count"] {
                        known.add(&format!("{}{part}", family.name), &labels, true);
                    }
                    let with_bound = [&*labels, &["le"]].concat();
                    known.add(&format!("{}_bucket", family.name), &with_bound, true);
                }
            }
        }
        known
    }

    fn add(&mut self, name: &str, labels: &[&str], counts: bool) {
        let labels = labels.iter().chain(&TARGET).map(|label| (*label).to_owned()).collect();
        self.series.insert(name.to_owned(), Series { labels, counts });
    }

    /// Adds what a rule records.
    pub(super) fn add_recorded(&mut self, name: &str, labels: Labels) {
        self.series.insert(name.to_owned(), Series { labels, counts: false });
    }

    /// The labels that the answer to `text` has.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn check(&self, text: &str) -> Result<Labels, String> {
        let expr = promql::parse(text).map_err(|error| format!("{error} in {text}"))?;
        self.labels(&expr).map_err(|error| format!("{error} in {text}"))
    }

    fn labels(&self, expr: &Expr) -> Result<Labels, String> {
        match expr {
            Expr::Constant => Ok(Labels::new()),
            Expr::Series { name, matchers, range: None } => {
                self.series(name, matchers).map(|series| series.labels.clone())
            }
            Expr::Series { name, .. } => Err(format!("{name} has a range and no function around it")),
            Expr::Call { function, args } => self.call(function, args),
            Expr::Aggregate { operator, by, args } => self.aggregate(operator, by, args),
            Expr::Pair { left, operator, matching, right } => {
                self.pair(left, operator, matching.as_ref(), right)
            }
        }
    }

    fn series(&self, name: &str, matchers: &[String]) -> Result<&Series, String> {
        let series = self.series.get(name).ok_or_else(|| format!("no such metric: {name}"))?;
        all_in(matchers, &series.labels).map_err(|label| format!("{name} has no label {label}"))?;
        Ok(series)
    }

    fn call(&self, function: &str, args: &[Expr]) -> Result<Labels, String> {
        match (function, args) {
            ("rate" | "increase", [Expr::Series { name, matchers, range: Some(_) }]) => {
                let series = self.series(name, matchers)?;
                if series.counts { Ok(series.labels.clone()) } else { Err(format!("{name} is no counter")) }
            }
            ("changes", [Expr::Series { name, matchers, range: Some(_) }]) => {
                Ok(self.series(name, matchers)?.labels.clone())
            }
            ("histogram_quantile", [Expr::Constant, buckets]) => {
                let mut labels = self.labels(buckets)?;
                if labels.remove("le") { Ok(labels) } else { Err("a quantile needs the label le".to_owned()) }
            }
            ("absent", [Expr::Series { name, matchers, range: None }]) => {
                self.series(name, matchers)?;
                Ok(matchers.iter().cloned().collect())
            }
            ("time", []) => Ok(Labels::new()),
            _ => Err(format!("{function} is not called like this")),
        }
    }

    fn aggregate(&self, operator: &str, by: &[String], args: &[Expr]) -> Result<Labels, String> {
        let picks = matches!(operator, "topk" | "bottomk");
        let inner = match args {
            [inner] if !picks => self.labels(inner)?,
            [Expr::Constant, inner] if picks => self.labels(inner)?,
            _ => return Err(format!("{operator} is not called like this")),
        };
        all_in(by, &inner).map_err(|label| format!("{operator} by {label}, which is not there"))?;
        if picks {
            return Ok(inner);
        }
        let kept: Labels = by.iter().cloned().collect();
        match ROW.iter().find(|label| inner.contains(**label) && !kept.contains(**label)) {
            Some(label) => Err(format!("{operator} folds rows of a live table together: keep {label}")),
            None => Ok(kept),
        }
    }

    fn pair(
        &self,
        left: &Expr,
        operator: &str,
        matching: Option<&Matching>,
        right: &Expr,
    ) -> Result<Labels, String> {
        let (one, other) = (self.labels(left)?, self.labels(right)?);
        if is_number(left) {
            return Ok(other);
        }
        if is_number(right) {
            return Ok(one);
        }
        if operator == "or" {
            return Ok(one.union(&other).cloned().collect());
        }
        match matching {
            None if one == other => Ok(one),
            None => Err(format!("the sides of {operator} have labels of their own: {one:?} and {other:?}")),
            Some(Matching { on, many_to_one }) => {
                all_in(on, &one)
                    .and_then(|()| all_in(on, &other))
                    .map_err(|label| format!("on {label}, which a side has not"))?;
                let keeps_left = *many_to_one || matches!(operator, "and" | "unless");
                Ok(if keeps_left { one } else { on.iter().cloned().collect() })
            }
        }
    }
}

fn all_in<'a>(labels: &'a [String], there: &Labels) -> Result<(), &'a str> {
    labels.iter().find(|label| !there.contains(*label)).map_or(Ok(()), |label| Err(label))
}

/// Whether an expression is one number and not a set of series.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Constant => true,
        Expr::Call { function, .. } => function == "time",
        Expr::Pair { left, right, .. } => is_number(left) && is_number(right),
        Expr::Series { .. } | Expr::Aggregate { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use stagedoor_metrics::catalogue;

    use super::*;

    fn wrong(text: &str) -> String {
        Known::of(catalogue::families()).check(text).unwrap_err()
    }

    #[test]
    fn names_and_labels_are_those_of_the_catalogue() {
        let known = Known::of(catalogue::families());
        let labels =
            known.check(r#"sum by (route) (rate(stagedoor_requests_total{code=~"5.."}[5m]))"#).unwrap();
        assert_eq!(labels, Labels::from(["route".to_owned()]));
        assert!(wrong("stagedoor_request_total").contains("no such metric: stagedoor_request_total"));
        assert!(wrong(r#"stagedoor_ready{listener="a"}"#).contains("stagedoor_ready has no label listener"));
        assert!(wrong("sum by (route) (stagedoor_streams_active)").contains("by route, which is not there"));
        assert!(wrong("stagedoor_request_duration_seconds").contains("no such metric"));
    }

    #[test]
    fn counters_are_read_through_rate() {
        assert!(wrong("rate(stagedoor_sessions_active[5m])").contains("is no counter"));
        assert!(wrong("histogram_quantile(0.5, sum by (route) (rate(stagedoor_request_duration_seconds_bucket[5m])))").contains("le"));
        assert!(wrong("stagedoor_requests_total[5m]").contains("no function around it"));
        assert!(wrong("deriv(stagedoor_requests_total[5m])").contains("not called like this"));
    }

    #[test]
    fn sides_of_an_operator_have_the_same_labels() {
        assert!(wrong("stagedoor_ready / stagedoor_sessions_active").contains("labels of their own"));
        assert!(
            wrong("stagedoor_ready / on (listener) stagedoor_sessions_active").contains("a side has not")
        );
    }

    #[test]
    fn live_tables_are_not_summed() {
        assert!(wrong("sum(stagedoor_session_write_queue_bytes)").contains("keep session"));
        assert!(wrong("max by (session) (stagedoor_stream_age_seconds)").contains("keep stream"));
    }
}
