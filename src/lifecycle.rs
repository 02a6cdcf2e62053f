//! Where the process stands between its start and its end, shared by readiness, metrics and signals.
//! Changes nothing by itself: `serve` moves it along.
//!
//! Invariant: it only goes forward (starting, ready, draining), so a readiness that failed stays failed.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use stagedoor_actors::ServerHandle;
use stagedoor_metrics::Metrics;

/// The handle of the server, known to services once it runs: they are made before it is.
pub type ServerSlot = Arc<OnceLock<ServerHandle>>;

/// A step of a process's life.
///
/// ```
/// use stagedoor::Stage;
///
/// assert!(Stage::Starting < Stage::Ready && Stage::Ready < Stage::Draining);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Not every listener is up.
    Starting = 0,
    /// Takes traffic.
    Ready = 1,
    /// Finishes what it has, takes nothing new.
    Draining = 2,
}

/// The stage of this process; a clone is the same one.
///
/// ```
/// use stagedoor::{Lifecycle, Metrics, Stage};
///
/// let life = Lifecycle::new(Metrics::new("app"));
/// life.advance(Stage::Ready);
/// life.advance(Stage::Draining);
/// life.advance(Stage::Ready);
/// assert_eq!(life.stage(), Stage::Draining, "it only goes forward");
/// ```
#[derive(Clone, Debug)]
pub struct Lifecycle {
    stage: Arc<AtomicU8>,
    /// Taken out of service by an order that may be taken back.
    paused: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Lifecycle {
    /// A process that is starting and shows its stage in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { stage: Arc::new(AtomicU8::new(Stage::Starting as u8)), paused: Arc::default(), metrics }
    }

    /// The stage now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// Moves forward to `stage`; a step back is ignored.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.show();
    }

    /// Takes the process out of service, or back; the stage stays what it is.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.show();
    }

    /// Whether it was taken out of service.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    fn show(&self) {
        let (now, paused) = (self.stage(), self.is_paused());
        self.metrics.set_ready(now == Stage::Ready && !paused);
        self.metrics.set_draining(now == Stage::Draining || paused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_never_taken_back() {
        let life = Lifecycle::new(Metrics::new("stagedoor"));
        assert_eq!(life.stage(), Stage::Starting);
        life.advance(Stage::Draining);
        life.advance(Stage::Ready);
        assert_eq!(life.stage(), Stage::Draining);
    }
}
