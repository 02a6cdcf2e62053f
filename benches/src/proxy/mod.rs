//! Gateways beside one another: an h2 client, a gateway on the core of servers, an upstream on the core of the client.
//!
//! Chooses jobs, checks answers and counts what each gateway spends. Invariant: all gateways of a job send on to the same
//! process, and one answer that is not that process's fails the run.

pub mod config;
mod start;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::answer::{self, Answer};
use crate::bulk::{Costs, count_line};
use crate::config::{BODY, PATH};
use crate::load::{self, Shape, Task};
use crate::server::{Peer, Server, Stage, Transport};

/// Octets of a large body, 100 MiB.
const LARGE: u64 = 100 << 20;
/// Octets in a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// What a gateway speaks with its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Link {
    /// HTTP/2 in cleartext
    H2c,
    /// HTTP/1.1, connections kept
    #[value(name = "http/1.1")]
    Http1,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H2c => "h2c",
            Self::Http1 => "HTTP/1.1",
        })
    }
}

impl Link {
    /// Who can send on over it.
    pub fn peers(self) -> &'static [Peer] {
        match self {
            Self::H2c => &[Peer::Stagedoor, Peer::Haproxy, Peer::Nghttpx],
            Self::Http1 => &[Peer::Stagedoor, Peer::Haproxy, Peer::Nghttpx, Peer::Nginx],
        }
    }
}

/// What is sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// Small answers, 50 sessions x 100 streams
    Many,
    /// Small answers, one session x 100 streams
    One,
    /// Answers of 100 MiB
    Download,
    /// Requests of 100 MiB, counted by the upstream
    Upload,
}

impl Job {
    /// One line for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Many => "13 octets, 50 sessions x 100 streams",
            Self::One => "13 octets, 1 session x 100 streams",
            Self::Download => "100 MiB down, 4 sessions x 1 stream",
            Self::Upload => "100 MiB up, 4 sessions x 1 stream",
        }
    }

    /// What the time of a gateway is divided by.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Many | Self::One => "us CPU/request",
            Self::Download | Self::Upload => "s CPU/GiB",
        }
    }

    /// What is asked of stagedoor: at most so many times the CPU of the best of these peers.
    pub fn target(self, link: Link) -> (f64, &'static [Peer]) {
        match (self, link) {
            (Self::Many | Self::One, Link::H2c) => (0.8, &[Peer::Haproxy, Peer::Nghttpx]),
            (Self::Many | Self::One, Link::Http1) => (1.0, &[Peer::Haproxy, Peer::Nghttpx, Peer::Nginx]),
            (Self::Download | Self::Upload, _) => (1.0, &[Peer::Haproxy]),
        }
    }

    /// `quick`: as little as shows that it runs.
    fn shape(self, quick: bool) -> Shape {
        let less = if quick { 10 } else { 1 };
        match self {
            Self::Many => Shape { sessions: 50, streams: 100, requests: 200_000 / less },
            Self::One => Shape { sessions: 1, streams: 100, requests: 100_000 / less },
            Self::Download | Self::Upload => {
                Shape { sessions: 4, streams: 1, requests: if quick { 4 } else { 16 } }
            }
        }
    }

    fn task(self, stage: &Stage) -> Result<Task> {
        Ok(match self {
            Self::Many | Self::One => {
                Task { path: PATH.to_owned(), octets: BODY.len() as u64, upload: None, fields: Vec::new() }
            }
            Self::Download => {
                let path = format!("/files/{LARGE}.bin");
                stage.file(&path, LARGE)?;
                Task { path, octets: LARGE, upload: None, fields: Vec::new() }
            }
            Self::Upload => Task {
                path: "/count".to_owned(),
                octets: count_line(LARGE).len() as u64,
                upload: Some(stage.upload(LARGE)?),
                fields: Vec::new(),
            },
        })
    }

    /// Microseconds a request in the job's unit.
    fn in_unit(self, micros: f64) -> f64 {
        match self {
            Self::Many | Self::One => micros,
            Self::Download | Self::Upload => micros / 1e6 * GIB / LARGE as f64,
        }
    }
}

/// How a comparison goes.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Between client and gateway.
    pub transport: Transport,
    /// Between gateway and upstream.
    pub link: Link,
    /// Rounds, in turn.
    pub rounds: usize,
    /// Does it run at all.
    pub quick: bool,
}

/// What a comparison showed.
#[derive(Debug)]
pub struct Outcome {
    /// What each gateway answered before it was measured; nothing where the job is not about small answers.
    pub answers: Vec<(Peer, Answer)>,
    /// What each needed, in the unit of the job.
    pub costs: Vec<Costs>,
}

/// Lets each of `peers` carry `job` between the same client and the same upstream, in turn.
///
/// # Errors
/// When something does not start, an answer is not the upstream's, or a request fails.
pub fn run(stage: &Stage, peers: &[Peer], job: Job, course: Course) -> Result<Outcome> {
    let Course { transport, link, rounds, quick } = course;
    let (task, shape) = (job.task(stage)?, job.shape(quick));
    let upstream = start::upstream(stage, job, link)?;
    let gateways = peers
        .iter()
        .map(|&peer| start::gateway(stage, peer, transport, link, upstream.port))
        .collect::<Result<Vec<Server>>>()?;
    let mut answers = Vec::new();
    for gateway in &gateways {
        check(stage, gateway, transport, job, &task)?;
        if matches!(job, Job::Many | Job::One) {
            answers.push((gateway.peer, answer::ask(gateway, transport)?));
        }
    }
    let mut costs: Vec<Costs> =
        peers.iter().map(|&peer| Costs { peer, spent: Vec::new(), peak_kib: 0 }).collect();
    for round in 1..=rounds {
        for (gateway, costs) in gateways.iter().zip(&mut costs) {
            let run = load::run(gateway, transport, shape, &task)?;
            let spent = job.in_unit(run.cpu_micros);
            costs.spent.push(spent);
            costs.peak_kib = costs.peak_kib.max(run.peak_kib);
            eprintln!(
                "{transport} -> {link} {job:?} round {round}: {:<9} {spent:>7.3} {}, {:>7.0} req/s, {:.1} MiB",
                gateway.peer,
                job.unit(),
                run.rate,
                run.peak_kib as f64 / 1024.0
            );
        }
    }
    Ok(Outcome { answers, costs })
}

/// Once, before anything is measured: the octets are the upstream's, and it got all that was sent.
fn check(stage: &Stage, gateway: &Server, transport: Transport, job: Job, task: &Task) -> Result<()> {
    let passed = match job {
        Job::Many | Job::One => answer::body(gateway, transport, PATH, None)? == BODY.as_bytes(),
        Job::Download => {
            let file = stage.file(&task.path, task.octets)?;
            answer::body(gateway, transport, &task.path, None)? == fs::read(&file).context("our own file")?
        }
        Job::Upload => {
            let upload = stage.upload(1_000_000)?;
            answer::body(gateway, transport, &task.path, Some(&upload))? == count_line(1_000_000).as_bytes()
        }
    };
    ensure!(passed, "{} does not pass {} on as it is", gateway.peer, task.path);
    Ok(())
}

/// How what was asked of stagedoor turned out, by medians; `None` without it or without somebody to beat.
pub fn verdict(job: Job, link: Link, costs: &[Costs]) -> Option<String> {
    let (most, rivals) = job.target(link);
    let ours = costs.iter().find(|costs| costs.peer == Peer::Stagedoor)?;
    let best = costs
        .iter()
        .filter(|costs| rivals.contains(&costs.peer))
        .min_by(|one, other| one.median().total_cmp(&other.median()))?;
    let ratio = ours.median() / best.median();
    let word = if ratio <= most { "PASS" } else { "MISS" };
    Some(format!("{word}: {ratio:.2} of {}'s CPU, at most {most:.2} wanted (medians)", best.peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(peer: Peer, spent: f64) -> Costs {
        Costs { peer, spent: vec![spent], peak_kib: 0 }
    }

    #[test]
    fn a_verdict_is_against_the_best_of_those_that_count() {
        let all = [costs(Peer::Stagedoor, 4.0), costs(Peer::Haproxy, 6.0), costs(Peer::Nghttpx, 5.0)];
        let said = verdict(Job::Many, Link::H2c, &all).unwrap();
        assert!(said.starts_with("PASS: 0.80 of nghttpx's"), "{said}");
        let said = verdict(Job::Download, Link::H2c, &all).unwrap();
        assert!(said.starts_with("PASS: 0.67 of haproxy's"), "{said}");
        let all = [costs(Peer::Stagedoor, 4.1), costs(Peer::Nghttpx, 5.0)];
        assert!(verdict(Job::Many, Link::H2c, &all).unwrap().starts_with("MISS: 0.82"));
        assert_eq!(verdict(Job::Upload, Link::H2c, &all), None);
        assert_eq!(verdict(Job::Many, Link::H2c, &all[1..]), None);
    }

    #[test]
    fn bodies_are_counted_in_gib() {
        assert!((Job::Download.in_unit(100_000.0) - 1.024).abs() < 1e-9);
        assert!((Job::Many.in_unit(4.5) - 4.5).abs() < 1e-9);
    }
}
