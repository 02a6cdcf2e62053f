//! What was asked for, and whether it held: each criterion with its figure.
//!
//! Judges the medians of the rounds for times, because one round is noise, and the worst round for what must never be.

use std::time::Duration;

use super::Measured;
use crate::flood::Flood;
use crate::server::Peer;
use crate::stats::middle;

/// All rounds of one server under one flood.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// Who.
    pub peer: Peer,
    /// With what.
    pub flood: Flood,
    /// In the order they were made.
    pub rounds: Vec<Measured>,
}

impl Rounds {
    /// The figure of the round in the middle.
    pub fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        middle(self.rounds.iter().map(of))
    }

    /// The smallest figure.
    pub fn best(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    /// The largest figure.
    pub fn worst(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The longest that a flooding session lasted in any round.
    pub fn longest(&self) -> Duration {
        self.rounds.iter().map(Measured::longest).max().unwrap_or_default()
    }
}

/// One criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is asked.
    pub criterion: &'static str,
    /// What was seen.
    pub seen: String,
    /// Whether that is enough.
    pub held: bool,
}

/// Judges `ours` beside the peers under the same flood.
pub fn judge(ours: &Rounds, peers: &[&Rounds]) -> Vec<Verdict> {
    let tail = |rounds: &Rounds| rounds.median(|round| round.attacked.at(0.99) as f64);
    let (ratio, our_tail) = (ours.median(Measured::ratio), tail(ours));
    let best_peer = peers.iter().map(|peer| tail(peer)).fold(f64::INFINITY, f64::min);
    let failed: u64 = ours.rounds.iter().map(|round| round.quiet.failed + round.attacked.failed).sum();
    let (growth, longest) = (ours.worst(Measured::growth_mib), ours.longest());
    let beside = if peers.is_empty() { String::new() } else { format!("; best peer {best_peer:.0} us") };
    vec![
        Verdict {
            criterion: "99th percentile within 3x of quiet, or no worse than the better peer",
            seen: format!("{ratio:.2}x, {our_tail:.0} us{beside}"),
            held: ratio <= MOST_RATIO || !peers.is_empty() && our_tail <= best_peer,
        },
        Verdict {
            criterion: "every request of the neighbour answered",
            seen: format!("{failed} failed"),
            held: failed == 0,
        },
        Verdict {
            criterion: "resident memory grows less than 16 MiB",
            seen: format!("{growth:.1} MiB"),
            held: growth < MOST_GROWTH_MIB,
        },
        Verdict {
            criterion: "a flooding session is ended within a second",
            seen: format!("{:.3} s at most", longest.as_secs_f64()),
            held: longest <= MOST_TIME,
        },
    ]
}

const MOST_RATIO: f64 = 3.0;
const MOST_GROWTH_MIB: f64 = 16.0;
const MOST_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::attack::Report;
    use crate::hostile::neighbour::Latencies;

    /// One round: quiet and attacked microseconds, growth, longest session.
    fn rounds(peer: Peer, quiet: u64, attacked: u64, growth_mib: u64, longest: Duration) -> Rounds {
        let report = Report { slowest: longest, ..Report::default() };
        let measured = Measured {
            quiet: Latencies::of(&[quiet]),
            attacked: Latencies::of(&[attacked]),
            before_kib: 1024,
            peak_kib: 1024 + 1024 * growth_mib,
            after_kib: 1024,
            cpu: 0.5,
            seconds: 5.0,
            report,
        };
        Rounds { peer, flood: Flood::Ping, rounds: vec![measured] }
    }

    fn held(ours: &Rounds, peers: &[&Rounds]) -> Vec<bool> {
        judge(ours, peers).iter().map(|verdict| verdict.held).collect()
    }

    #[test]
    fn three_times_is_enough_and_more_only_beside_a_worse_peer() {
        let second = Duration::from_secs(1);
        let ours = |attacked| rounds(Peer::Stagedoor, 100, attacked, 0, second);
        let peer = rounds(Peer::Hyper, 100, 400, 0, second);
        assert!(held(&ours(300), &[])[0]);
        assert!(!held(&ours(301), &[])[0]);
        assert!(held(&ours(400), &[&peer])[0]);
        assert!(!held(&ours(401), &[&peer])[0]);
    }

    #[test]
    fn memory_and_time_have_their_bounds() {
        let (second, more) = (Duration::from_secs(1), Duration::from_millis(1001));
        assert_eq!(held(&rounds(Peer::Stagedoor, 1, 1, 15, second), &[]), [true; 4]);
        assert_eq!(held(&rounds(Peer::Stagedoor, 1, 1, 16, more), &[]), [true, true, false, false]);
    }
}
