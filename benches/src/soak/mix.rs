//! Who visits when, and what they have seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::dice::Dice;
use super::link::Carrier;
use super::scrape::{Admin, Gauges};
use super::{Extent, Plan, Target, floods, good, patient, rude};
use crate::flood::Flood;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their functions say what they do")]
pub enum Kind {
    Downloads,
    Echoes,
    Visits,
    Http1,
    Events,
    WebSocket,
    Upgrade,
    Goodbye,
    Panics,
    Operator,
    Idle,
    TinyWindow,
    Stuck,
    SlowUpload,
    Cancels,
    VanishDown,
    VanishUp,
    HalfFrame,
    HalfHello,
    Foreign,
    Flood(Flood),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Downloads => "downloads",
            Self::Echoes => "uploads that come back",
            Self::Visits => "a few paths",
            Self::Http1 => "HTTP/1.1",
            Self::Events => "events",
            Self::WebSocket => "WebSocket",
            Self::Upgrade => "WebSocket by upgrade",
            Self::Goodbye => "GOAWAY by the client",
            Self::Panics => "handlers that panic",
            Self::Operator => "admin",
            Self::Idle => "idle",
            Self::TinyWindow => "reads slowly",
            Self::Stuck => "reads nothing",
            Self::SlowUpload => "sends slowly",
            Self::Cancels => "resets",
            Self::VanishDown => "vanishes mid download",
            Self::VanishUp => "vanishes mid upload",
            Self::HalfFrame => "vanishes mid frame",
            Self::HalfHello => "vanishes mid handshake",
            Self::Foreign => "another protocol",
            Self::Flood(flood) => return flood.fmt(f),
        })
    }
}

impl Kind {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Downloads,
            Self::Echoes,
            Self::Visits,
            Self::Http1,
            Self::Events,
            Self::WebSocket,
            Self::Upgrade,
            Self::Goodbye,
            Self::Panics,
            Self::Operator,
        ];
        all.extend([Self::Idle, Self::TinyWindow, Self::Stuck, Self::SlowUpload]);
        all.extend([Self::Cancels, Self::VanishDown, Self::VanishUp]);
        all.extend([Self::HalfFrame, Self::HalfHello, Self::Foreign]);
        all.extend(Flood::value_variants().iter().copied().map(Self::Flood));
        all
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Visits that have begun.
    pub(super) visits: u64,
    /// Visits that were made, by kind.
    pub(super) kinds: BTreeMap<String, u64>,
    /// How floods ended.
    pub(super) ends: BTreeMap<String, u64>,
    /// The highest that each gauge was seen at.
    pub(super) peak: Gauges,
}

/// One client after another, so many at once, to the end of `extent`.
pub(super) async fn run(target: &Target, plan: &Plan, extent: Extent, seen: &mut Seen) -> Result<()> {
    let kinds = Kind::all();
    let (until, last) = match extent {
        Extent::Time(time) => (Some(Instant::now() + time), u64::MAX),
        Extent::Turns(turns) => (None, seen.visits + turns * 2 * kinds.len() as u64),
    };
    let next = Arc::new(AtomicU64::new(seen.visits));
    let mut clients = JoinSet::new();
    for _ in 0..plan.clients {
        let (target, plan, kinds, next) = (target.clone(), *plan, kinds.clone(), Arc::clone(&next));
        clients.spawn(async move {
            let mut made = Vec::new();
            while until.is_none_or(|until| Instant::now() < until) {
                let visit = next.fetch_add(1, Ordering::Relaxed);
                if visit >= last {
                    break;
                }
                let (kind, carrier) = of_visit(&kinds, visit);
                let end = timeout(PATIENCE + plan.hold, make(&target, &plan, kind, carrier, visit)).await;
                let end = end.map_err(anyhow::Error::from).and_then(|end| end).with_context(|| {
                    format!("visit {visit} of seed {}: {kind} over {carrier:?}", plan.seed)
                })?;
                made.push((kind, end));
            }
            anyhow::Ok(made)
        });
    }
    let done = AtomicBool::new(false);
    let load = async {
        let mut all = Vec::new();
        // The first that fails ends the others: they are dropped.
        while let Some(made) = clients.join_next().await {
            all.extend(made??);
        }
        done.store(true, Ordering::Relaxed);
        anyhow::Ok(all)
    };
    let (made, peak) = tokio::try_join!(load, watch(target, &done))?;
    for (kind, end) in made {
        *seen.kinds.entry(kind.to_string()).or_default() += 1;
        if let Some(end) = end {
            *seen.ends.entry(format!("{kind}: {end}")).or_default() += 1;
        }
    }
    seen.peak.raise(&peak);
    seen.visits = next.load(Ordering::Relaxed).min(last);
    Ok(())
}

/// Kinds take turns, each over TLS and in cleartext.
fn of_visit(kinds: &[Kind], visit: u64) -> (Kind, Carrier) {
    let count = kinds.len() as u64;
    let carrier = if (visit / count).is_multiple_of(2) { Carrier::Plain } else { Carrier::Tls };
    (kinds[(visit % count) as usize], carrier)
}

/// One visit. A flood says how it ended.
async fn make(
    target: &Target,
    plan: &Plan,
    kind: Kind,
    carrier: Carrier,
    visit: u64,
) -> Result<Option<String>> {
    let (dice, hold) = (&mut Dice::of(plan.seed, visit), plan.hold);
    match kind {
        Kind::Downloads => good::downloads(target, carrier, dice).await?,
        Kind::Echoes => good::echoes(target, carrier, dice).await?,
        Kind::Visits => good::visits(target, carrier, dice).await?,
        Kind::Http1 => good::http1(target, carrier, dice).await?,
        Kind::Events => good::events(target, carrier, dice).await?,
        Kind::WebSocket => good::websocket(target, carrier, dice).await?,
        Kind::Upgrade => good::upgrade(target, carrier, dice).await?,
        Kind::Goodbye => good::goodbye(target, carrier, dice).await?,
        Kind::Panics => good::panics(target, carrier, dice).await?,
        Kind::Operator => good::operator(target).await?,
        Kind::Idle => patient::idle(target, carrier, dice, hold).await?,
        Kind::TinyWindow => patient::tiny_window(target, carrier, dice, hold).await?,
        Kind::Stuck => patient::stuck(target, carrier, dice, hold).await?,
        Kind::SlowUpload => patient::slow_upload(target, carrier, dice, hold).await?,
        Kind::Cancels => rude::cancels(target, carrier, dice).await?,
        Kind::VanishDown => rude::vanish_down(target, carrier, dice).await?,
        Kind::VanishUp => rude::vanish_up(target, carrier, dice).await?,
        Kind::HalfFrame => rude::half_frame(target, carrier, dice).await?,
        Kind::HalfHello => rude::half_hello(target, carrier, dice).await?,
        Kind::Foreign => rude::foreign(target, carrier, dice).await?,
        Kind::Flood(flood) => return floods::flood(target, carrier, flood).await.map(Some),
    }
    Ok(None)
}

/// Looks at the gauges until it is told that the load is over.
async fn watch(target: &Target, done: &AtomicBool) -> Result<Gauges> {
    let mut admin = Admin::connect(target).await?;
    let mut peak = Gauges::default();
    while !done.load(Ordering::Relaxed) {
        peak.raise(&admin.look().await?.gauges);
        sleep(GLANCE).await;
    }
    admin.leave().await;
    Ok(peak)
}

/// What a visit may take beyond its hold: more than any deadline of the gateway that it may have to wait for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks under load.
const GLANCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_every_kind_over_both() {
        let kinds = Kind::all();
        let mut seen: Vec<(Kind, Carrier)> =
            (0..2 * kinds.len() as u64).map(|n| of_visit(&kinds, n)).collect();
        for kind in kinds {
            for carrier in [Carrier::Plain, Carrier::Tls] {
                let place = seen.iter().position(|visit| *visit == (kind, carrier)).expect("its turn");
                seen.remove(place);
            }
        }
        assert!(seen.is_empty());
    }
}
