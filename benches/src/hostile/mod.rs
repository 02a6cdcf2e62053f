//! A neighbour beside a flood: what `hostile` is made of. Commands and method: docs/performance.md.
//!
//! The server has one core. On the other, [`neighbour`] asks at a fixed rate and [`attack`], niced below it, floods. One
//! measurement is one fresh server: the neighbour alone, then the neighbour while the flood lasts.

pub mod attack;
pub mod attacker;
pub mod neighbour;
pub mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::flood::Flood;
use crate::server::{Peer, Site, Stage, Transport};
use attack::Report;
use attacker::Attacker;
use neighbour::{Latencies, Pace};

/// How every measurement is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What the neighbour asks.
    pub pace: Pace,
    /// How nice the attacker is; the neighbour is at 0.
    pub nice: u32,
    /// Sessions that flood at once.
    pub sessions: u32,
    /// They go on after GOAWAY until the socket is gone.
    pub persistent: bool,
}

/// One server under one flood, once.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The neighbour alone.
    pub quiet: Latencies,
    /// The neighbour beside the flood.
    pub attacked: Latencies,
    /// Resident before the flood, KiB.
    pub before_kib: u64,
    /// The most resident while it lasted, KiB.
    pub peak_kib: u64,
    /// Resident when it was over, KiB.
    pub after_kib: u64,
    /// Cores of CPU the server used while it lasted.
    pub cpu: f64,
    /// How long that was, seconds.
    pub seconds: f64,
    /// What the attacker has to tell.
    pub report: Report,
}

impl Measured {
    /// How many times the quiet 99th percentile the attacked one is.
    pub fn ratio(&self) -> f64 {
        self.attacked.at(0.99) as f64 / self.quiet.at(0.99).max(1) as f64
    }

    /// MiB of resident memory that came while the flood lasted.
    pub fn growth_mib(&self) -> f64 {
        self.peak_kib.saturating_sub(self.before_kib) as f64 / 1024.0
    }

    /// The longest that a flooding session lasted, whether it was ended or still open at the end of the measurement.
    pub fn longest(&self) -> Duration {
        self.report.slowest.max(self.report.open)
    }
}

/// Starts `peer` and measures.
///
/// # Errors
/// When the server does not start or is gone, or the neighbour or the attacker cannot do their part. Requests of the
/// neighbour that failed are figures, not errors.
pub fn measure(stage: &Stage, peer: Peer, flood: Flood, plan: &Plan) -> Result<Measured> {
    let server = stage.start(peer, Transport::H2c, Site::Paths)?;
    let process = server.observed();
    let about = || format!("{peer} under a {flood}");
    neighbour::ask(&server, Pace { seconds: 1, ..plan.pace }).with_context(about)?;
    let quiet = neighbour::ask(&server, plan.pace).with_context(about)?;

    process.forget_peak()?;
    let before_kib = process.resident_kib()?;
    let attacker = Attacker::start(server.port, flood, plan).with_context(about)?;
    let (began, spent) = (Instant::now(), process.cpu_nanos()?);
    let attacked = neighbour::ask(&server, plan.pace).with_context(about)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = process.cpu_nanos()?.saturating_sub(spent) as f64 / 1e9 / seconds;
    let report = attacker.finish().with_context(about)?;
    let (peak_kib, after_kib) = (process.peak_kib()?, process.resident_kib()?);
    Ok(Measured { quiet, attacked, before_kib, peak_kib, after_kib, cpu, seconds, report })
}
