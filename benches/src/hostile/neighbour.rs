//! The well-behaved neighbour: h2load at a fixed rate, and how long each of its requests took.
//!
//! A request begins when h2load sends it. So what is measured is the server and the way to it, not how late a busy core
//! let h2load begin.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::config::PATH;
use crate::load::CLIENT_CORE;
use crate::server::{Server, on_core};

/// How often is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Sessions.
    pub sessions: u32,
    /// Requests a second on each of them.
    pub rate: u32,
    /// For so long.
    pub seconds: u32,
}

impl Pace {
    fn requests(self) -> u32 {
        self.sessions * self.rate * self.seconds
    }
}

/// How long requests took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// Microseconds, the shortest first.
    micros: Vec<u64>,
    /// Requests that were not answered by 200.
    pub failed: u64,
}

impl Latencies {
    /// Microseconds that `part` of the requests took at most. A request that failed took longer than any other.
    pub fn at(&self, part: f64) -> u64 {
        let all = self.micros.len() as f64 + self.failed as f64;
        let place = (all * part).ceil() as usize;
        self.micros.get(place.saturating_sub(1)).copied().unwrap_or(u64::MAX)
    }

    /// The longest one that was answered, microseconds.
    pub fn longest(&self) -> u64 {
        self.micros.last().copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn of(micros: &[u64]) -> Self {
        Self { micros: micros.to_vec(), failed: 0 }
    }

    /// Reads what h2load logged of `asked` requests: begin, status, microseconds.
    fn parse(log: &str, asked: u64) -> Result<Self> {
        let mut micros = Vec::new();
        for line in log.lines() {
            let mut words = line.split('\t');
            let (Some(_), Some(status), Some(took)) = (words.next(), words.next(), words.next()) else {
                bail!("unknown words of h2load: {line:?}");
            };
            if status == "200" {
                micros.push(took.parse().with_context(|| line.to_owned())?);
            }
        }
        micros.sort_unstable();
        let failed = asked.saturating_sub(micros.len() as u64);
        Ok(Self { micros, failed })
    }
}

/// Asks `server` over h2c and waits for all answers.
///
/// # Errors
/// When h2load cannot be run. Requests that fail are counted.
pub fn ask(server: &Server, pace: Pace) -> Result<Latencies> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("requests");
    let asked = pace.requests();
    // Whatever the server does, it ends: what has not been answered by then has failed.
    let patience = pace.seconds + PATIENCE;
    let mut command = on_core(CLIENT_CORE, "timeout");
    command
        .args(["--signal=KILL", &patience.to_string(), "h2load"])
        .args(["-c", &pace.sessions.to_string(), "-m", "100", "-n", &asked.to_string()])
        .args(["--rps", &pace.rate.to_string()])
        .arg(arg("--log-file=", &log))
        .arg(format!("--connect-to=127.0.0.1:{}", server.port))
        .arg(format!("http://localhost:{}{PATH}", server.port));
    let output = command.output().context("h2load (Debian package nghttp2-client)")?;
    let log = fs::read_to_string(&log).unwrap_or_default();
    ensure!(!log.is_empty(), "h2load: {}", String::from_utf8_lossy(&output.stderr));
    Latencies::parse(&log, asked.into())
}

fn arg(name: &str, path: &Path) -> OsString {
    let mut arg = OsString::from(name);
    arg.push(path);
    arg
}

/// Seconds beyond its time that h2load may take.
const PATIENCE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_h2load_is_understood() {
        let log = "1700000000000001\t200\t130\n1700000000000002\t200\t110\n1700000000000003\t-1\t5\n1700000000000004\t200\t120\n";
        let seen = Latencies::parse(log, 5).unwrap();
        assert_eq!(seen, Latencies { micros: vec![110, 120, 130], failed: 2 });
        assert_eq!((seen.at(0.5), seen.at(0.2), seen.longest()), (130, 110, 130));
        assert_eq!(seen.at(0.99), u64::MAX, "one that failed has no end");
        assert!(Latencies::parse("what", 1).is_err());
    }

    #[test]
    fn a_part_is_at_its_place() {
        let hundred = Latencies { micros: (1..=100).collect(), failed: 0 };
        assert_eq!((hundred.at(0.5), hundred.at(0.99), hundred.at(1.0)), (50, 99, 100));
    }
}
