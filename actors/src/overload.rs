//! The guard of the whole process: at its limit of sessions or of resident memory it stops accepting and sheds sessions
//! that do nothing, and goes on when there is room again. Running out of descriptors sheds, too.
//!
//! Knows no protocol and closes no socket: listeners ask whether they may accept, sessions hear `CloseSession`. Listeners
//! that are kept while draining (admin) are neither stopped nor shed. Invariant: whatever strains is measured
//! again until it is gone, so that an overload never outlives its cause.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stagedoor_metrics::{CloseReason, Metrics, Role, SessionId, SessionStats};
use stagedoor_protocol::ErrorCode;
use tokio::sync::Notify;

use crate::clock;
use crate::close::CloseSession;
use crate::envelope::Watched;
use crate::events::{Event, Hub, LimitKind};
use crate::worker::{CloseOne, Worker};

/// How often it looks while something strains, or while resident memory is limited.
const PACE: Duration = Duration::from_millis(250);
/// A session that has done nothing for so long may be shed.
const RESTED: Duration = Duration::from_secs(1);
/// How long a session that is shed may take: its client may have sent a request meanwhile.
const GRACE: Duration = Duration::from_secs(1);

/// What a server may take of the process, over all of its listeners but those kept while draining. Off where `None`.
///
/// ```
/// use stagedoor_actors::{OverloadLimits, ServerBuilder};
/// use stagedoor_metrics::Metrics;
///
/// let limits = OverloadLimits { sessions: Some(10_000), resident: Some(1 << 30) };
/// let builder = ServerBuilder::new(Metrics::new("example"), 1).overload(limits);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverloadLimits {
    /// Sessions at once. At the limit nothing is accepted, the kernel's backlog holds what comes; it goes on below
    /// fifteen sixteenths.
    pub sessions: Option<usize>,
    /// Resident memory of the process, octets. It goes on below fifteen sixteenths.
    pub resident: Option<u64>,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Strain {
    Sessions = 1,
    Resident = 2,
    /// `accept` found no descriptor left.
    Descriptors = 4,
}

impl From<Strain> for LimitKind {
    fn from(strain: Strain) -> Self {
        match strain {
            Strain::Sessions => Self::ServerSessions,
            Strain::Resident => Self::ResidentMemory,
            Strain::Descriptors => Self::Descriptors,
        }
    }
}

/// Reads the resident memory of the process.
pub(crate) type Probe = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// How things stand; shared by listeners, ledgers and the guard.
pub(crate) struct Overload {
    limits: OverloadLimits,
    metrics: Metrics,
    probe: Probe,
    hub: Hub,
    sessions: AtomicUsize,
    strains: AtomicU8,
    roused: Notify,
    over: AtomicBool,
}

impl Overload {
    pub(crate) fn new(limits: OverloadLimits, metrics: Metrics, probe: Option<Probe>, hub: Hub) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            probe: probe.unwrap_or_else(|| Arc::new(stagedoor_metrics::resident_bytes)),
            hub,
            sessions: AtomicUsize::new(0),
            strains: AtomicU8::new(0),
            roused: Notify::new(),
            over: AtomicBool::new(false),
        })
    }

    /// A session began.
    pub(crate) fn opened(&self) {
        let sessions = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        if self.limits.sessions.is_some_and(|most| sessions >= most) {
            self.set(Strain::Sessions, true);
        }
    }

    /// A session ended.
    pub(crate) fn closed(&self) {
        let sessions = self.sessions.fetch_sub(1, Ordering::Relaxed) - 1;
        if self.limits.sessions.is_some_and(|most| sessions <= resume(most)) {
            self.set(Strain::Sessions, false);
        }
    }

    /// Nothing more is to be accepted for now. A lack of descriptors does not forbid to try.
    pub(crate) fn forbids(&self) -> bool {
        self.strains.load(Ordering::Relaxed) & (Strain::Sessions as u8 | Strain::Resident as u8) != 0
    }

    /// Notes that something is short, or is so no more.
    pub(crate) fn set(&self, strain: Strain, short: bool) {
        let bit = strain as u8;
        if (self.strains.load(Ordering::Relaxed) & bit != 0) == short {
            return;
        }
        let before = match short {
            true => self.strains.fetch_or(bit, Ordering::Relaxed),
            false => self.strains.fetch_and(!bit, Ordering::Relaxed),
        };
        if (before & bit != 0) == short {
            return;
        }
        let sessions = self.sessions.load(Ordering::Relaxed);
        if short {
            tracing::warn!(?strain, sessions, "overloaded: sessions that do nothing are shed");
            self.hub.tell(|| Event::LimitHit {
                session: None,
                listener: None,
                limit: strain.into(),
                times: 1,
            });
            self.roused.notify_one();
        } else {
            tracing::info!(?strain, sessions, "the overload is over");
        }
        self.metrics.set_overloaded(self.strains.load(Ordering::Relaxed) != 0);
    }

    /// The server stops; the guard goes.
    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.roused.notify_one();
    }

    /// How many sessions should go now.
    fn excess(&self) -> usize {
        let (strains, sessions) =
            (self.strains.load(Ordering::Relaxed), self.sessions.load(Ordering::Relaxed));
        let of = |strain: Strain, count: usize| if strains & strain as u8 != 0 { count } else { 0 };
        let over = self.limits.sessions.map_or(0, |most| sessions.saturating_sub(resume(most)));
        of(Strain::Sessions, over)
            .max(of(Strain::Resident, sessions.div_ceil(8)))
            .max(of(Strain::Descriptors, sessions.div_ceil(16).max(32)))
    }

    fn measure(&self) {
        if self.strains.load(Ordering::Relaxed) & Strain::Descriptors as u8 != 0 && has_descriptors() {
            // Nobody may come whose arrival would show it.
            self.set(Strain::Descriptors, false);
        }
        let Some((most, resident)) = self.limits.resident.zip((self.probe)()) else { return };
        if resident >= most {
            self.set(Strain::Resident, true);
        } else if resident <= most - most / 16 {
            self.set(Strain::Resident, false);
        }
    }

    /// Whether there is something to look at again soon.
    fn is_busy(&self) -> bool {
        self.limits.resident.is_some() || self.strains.load(Ordering::Relaxed) != 0
    }
}

/// A few descriptors may be had again.
fn has_descriptors() -> bool {
    let few: Vec<_> = (0..4).map_while(|_| std::fs::File::open("/dev/null").ok()).collect();
    few.len() == 4
}

/// Where accepting goes on.
fn resume(most: usize) -> usize {
    most - (most / 16).clamp(1, most.max(1))
}

/// Names of listeners that answer whatever happens.
pub(crate) type Kept = Arc<Mutex<Vec<String>>>;

/// Watches over a server until it stops. `kept` names the listeners whose sessions are left alone.
pub(crate) async fn guard(overload: Arc<Overload>, workers: Arc<[Watched<Worker>]>, kept: Kept) {
    loop {
        if overload.is_busy() {
            tokio::time::timeout(PACE, overload.roused.notified()).await.ok();
        } else {
            overload.roused.notified().await;
        }
        if overload.over.load(Ordering::Relaxed) {
            return;
        }
        overload.measure();
        let excess = overload.excess();
        if excess > 0 {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            shed(&overload.metrics, &workers, &kept, excess).await;
        }
    }
}

/// Closes up to `most` sessions that do nothing, those that have rested longest first. In good order: they are not to
/// blame, and what a client sends meanwhile is still served.
async fn shed(metrics: &Metrics, workers: &[Watched<Worker>], kept: &[String], most: usize) {
    let now = clock::now();
    let rests = |stats: &Arc<SessionStats>| {
        stats.role() == Role::Server
            && stats.streams_open.get() == 0
            && stats.idle(now) >= RESTED
            && !kept.iter().any(|name| **name == **stats.listener())
    };
    let mut idle: Vec<(Duration, SessionId)> = metrics
        .live()
        .snapshot()
        .iter()
        .filter(|stats| rests(stats))
        .map(|stats| (stats.idle(now), stats.id()))
        .collect();
    idle.sort_unstable_by(|a, b| b.cmp(a));
    for (_, id) in idle.into_iter().take(most) {
        let order = CloseSession { hard: false, ..CloseSession::new(CloseReason::Overload) };
        let order = order.with_code(ErrorCode::NO_ERROR).with_grace(GRACE);
        if let Some(worker) = workers.get(usize::from(id.worker)) {
            worker.send(CloseOne { number: id.number, order }).await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload(limits: OverloadLimits) -> Arc<Overload> {
        Overload::new(limits, Metrics::new("stagedoor"), None, Hub::default())
    }

    #[test]
    fn accepting_stops_at_the_limit_and_goes_on_below_it() {
        for most in [1, 2, 32, 20_000] {
            let overload = overload(OverloadLimits { sessions: Some(most), resident: None });
            for _ in 0..most {
                assert!(!overload.forbids(), "{most}");
                overload.opened();
            }
            assert!(overload.forbids(), "{most}");
            let gone = (most / 16).max(1);
            assert_eq!(overload.excess(), gone);
            (1..gone).for_each(|_| overload.closed());
            assert!(overload.forbids(), "{most}");
            overload.closed();
            assert!(!overload.forbids(), "{most}");
            assert_eq!(overload.excess(), 0);
        }
    }

    #[test]
    fn without_limits_nothing_strains() {
        let overload = overload(OverloadLimits::default());
        for _ in 0..100_000 {
            overload.opened();
        }
        overload.measure();
        assert!(!overload.forbids() && !overload.is_busy());
        assert_eq!(overload.excess(), 0);
    }

    #[test]
    fn a_lack_of_descriptors_sheds_and_does_not_forbid_to_try() {
        let overload = overload(OverloadLimits::default());
        overload.set(Strain::Descriptors, true);
        assert!(!overload.forbids() && overload.is_busy());
        assert_eq!(overload.excess(), 32);
        // This process has some.
        overload.measure();
        assert!(!overload.is_busy());
        assert_eq!(overload.excess(), 0);
    }
}
