//! What the gateway shows of itself at its admin address: every gauge and counter, and how many sessions are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Target;
use super::http1::Http1;

/// Gauges by series, as in `stagedoor_actors{actor="session"}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gauges(pub(super) BTreeMap<String, f64>);

impl Gauges {
    /// The value of a series; zero where it is not shown.
    pub(super) fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// Keeps the higher value of each series.
    pub(super) fn raise(&mut self, others: &Self) {
        for (series, value) in &others.0 {
            let ours = self.0.entry(series.clone()).or_insert(*value);
            *ours = ours.max(*value);
        }
    }
}

/// The gateway at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) gauges: Gauges,
    /// Counters by series.
    pub(super) counters: BTreeMap<String, f64>,
}

impl Look {
    /// Reads Prometheus text and the list of sessions, whose number becomes a gauge by the name [`LISTED`].
    fn parse(text: &str, sessions: &str) -> Result<Self> {
        let mut look = Self::default();
        let mut kinds: [BTreeSet<&str>; 2] = Default::default();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                match family.rsplit_once(' ') {
                    Some((family, "gauge")) => kinds[0].insert(family),
                    Some((family, "counter")) => kinds[1].insert(family),
                    _ => false,
                };
                continue;
            }
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let value = value.parse().with_context(|| line.to_owned())?;
            let family = series.split('{').next().unwrap_or(series);
            if kinds[0].contains(family) {
                look.gauges.0.insert(series.to_owned(), value);
            } else if kinds[1].contains(family) {
                look.counters.insert(series.to_owned(), value);
            }
        }
        let list: Vec<serde_json::Value> = serde_json::from_str(sessions).context("the list of sessions")?;
        look.gauges.0.insert(LISTED.to_owned(), list.len() as f64);
        Ok(look)
    }

    /// The sum of the counters of a family whose labels contain `label`.
    pub(super) fn sum(&self, family: &str, label: &str) -> f64 {
        let of_it = |series: &&String| series.split('{').next() == Some(family) && series.contains(label);
        self.counters.keys().filter(of_it).map(|series| self.counters[series]).sum()
    }

    /// Gauges that should be as they were and are not.
    pub(super) fn moved_since(&self, before: &Self, descriptors: Descriptors) -> Vec<String> {
        let all: BTreeSet<&String> = self.gauges.0.keys().chain(before.gauges.0.keys()).collect();
        let moved = all.into_iter().filter(|series| {
            let (now, then) = (self.gauges.value(series), before.gauges.value(series));
            let may_rise = descriptors == Descriptors::MayRise && *series == DESCRIPTORS;
            returns(series) && now != then && !(may_rise && now > then)
        });
        moved.cloned().collect()
    }
}

/// What is asked of open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptors {
    /// As many as before.
    Return,
    /// More, as long as nobody has been there.
    MayRise,
}

/// Whether a gauge has to come back to where it was. Memory has an allowance of its own, time goes on, and rows of the
/// live tables stay for half a minute after their sessions, on purpose.
pub(super) fn returns(series: &str) -> bool {
    let row = series.contains("{session=") || series.starts_with("stagedoor_metrics_tracked{");
    !row && series != RESIDENT && series != "process_start_time_seconds"
}

/// The gateway now, as one connection to its admin address sees it, itself included.
pub(super) async fn look(target: &Target) -> Result<Look> {
    let mut admin = Admin::connect(target).await?;
    let look = admin.look().await;
    admin.leave().await;
    look
}

/// The gateway as soon as everything is as it was `before`, or in the end as it is.
pub(super) async fn settled(target: &Target, before: &Look, descriptors: Descriptors) -> Result<Look> {
    let mut admin = Admin::connect(target).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let look = admin.look().await?;
        if look.moved_since(before, descriptors).is_empty() || Instant::now() >= deadline {
            admin.leave().await;
            return Ok(look);
        }
        sleep(GLANCE).await;
    }
}

/// A connection to the admin address. It is part of what it sees, each time the same part.
pub(super) struct Admin(Http1);

impl Admin {
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let tcp = TcpStream::connect(target.admin).await.context("connecting to the admin address")?;
        Ok(Self(Http1::new(Box::new(tcp), target.admin.to_string())))
    }

    /// Now. Between two looks it may not idle: the gateway would close it.
    pub(super) async fn look(&mut self) -> Result<Look> {
        let sessions = self.0.get("/api/sessions").await?;
        let text = self.0.get("/metrics").await?;
        Look::parse(&String::from_utf8_lossy(&text), &String::from_utf8_lossy(&sessions))
    }

    pub(super) async fn leave(mut self) {
        self.0.finish().await;
    }
}

/// Resident memory.
pub(super) const RESIDENT: &str = "process_resident_memory_bytes";
/// Open descriptors.
const DESCRIPTORS: &str = "process_open_fds";
/// The number of sessions in `/api/sessions`.
pub(super) const LISTED: &str = "sessions in /api/sessions";
/// More than any deadline that ends what a client left behind.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a Open.
# TYPE a gauge
a{b=\"c\"} 2
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1000
# TYPE d_total counter
d_total{e=\"1\",f=\"x\"} 3
d_total{e=\"2\",f=\"x\"} 4
# TYPE g histogram
g_count 1
";

    #[test]
    fn gauges_and_counters_are_told_apart() {
        let look = Look::parse(TEXT, "[{\"id\":\"0-1\"}]").unwrap();
        assert_eq!(look.gauges.value("a{b=\"c\"}"), 2.0);
        assert_eq!(look.gauges.value(LISTED), 1.0);
        assert_eq!((look.sum("d_total", ""), look.sum("d_total", "e=\"2\"")), (7.0, 4.0));
        assert_eq!(look.counters.len(), 2);
        assert!(Look::parse("a b", "[]").is_err());
    }

    #[test]
    fn what_moved_is_named_and_memory_is_not() {
        let before = Look::parse(TEXT, "[]").unwrap();
        let after = Look::parse(&TEXT.replace("} 2", "} 1").replace("1000", "2000"), "[]").unwrap();
        assert_eq!(after.moved_since(&before, Descriptors::Return), ["a{b=\"c\"}"]);
        let gone = Look::parse("# TYPE a gauge\n", "[]").unwrap();
        assert_eq!(gone.moved_since(&before, Descriptors::Return), ["a{b=\"c\"}"]);
    }

    #[test]
    fn descriptors_may_rise_before_the_first_client_alone() {
        let with = |count: u32| {
            let text = format!("# TYPE {DESCRIPTORS} gauge\n{DESCRIPTORS} {count}\n");
            Look::parse(&text, "[]").unwrap()
        };
        assert!(with(21).moved_since(&with(20), Descriptors::MayRise).is_empty());
        assert_eq!(with(21).moved_since(&with(20), Descriptors::Return), [DESCRIPTORS]);
        assert_eq!(with(19).moved_since(&with(20), Descriptors::MayRise), [DESCRIPTORS]);
    }

    #[test]
    fn the_higher_value_is_kept() {
        let mut peak = Gauges::default();
        for value in [1.0, 3.0, 2.0] {
            peak.raise(&Gauges(BTreeMap::from([("a".to_owned(), value)])));
        }
        assert_eq!(peak.value("a"), 3.0);
    }
}
