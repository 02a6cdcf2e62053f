//! Bodies in bulk: seconds of CPU that a server spends on a GB (10^9 octets), and the memory it needs meanwhile.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::answer;
use crate::load::{self, Shape, Task};
use crate::server::{Peer, STREAM_OCTETS, Server, Site, Stage, Transport};
use crate::stats::middle;

/// Octets of the one large body, 1 GiB.
const GIB: u64 = 1 << 30;
/// Octets of a small file, 100 KiB.
const SMALL: u64 = 100 << 10;
/// Octets of a large file, 10 MiB.
const LARGE: u64 = 10 << 20;

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// 100 streams at once of 16 MiB each, on one session
    Streams,
    /// One body of 1 GiB, down
    Download,
    /// One body of 1 GiB, up, to a handler that counts octets
    Upload,
    /// Files of 100 KiB out of a folder
    SmallFiles,
    /// Files of 10 MiB out of a folder
    LargeFiles,
}

impl Job {
    /// One line for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Streams => "100 streams of 16 MiB on one session",
            Self::Download => "1 GiB down on one stream",
            Self::Upload => "1 GiB up on one stream",
            Self::SmallFiles => "files of 100 KiB, 10 sessions x 10 streams",
            Self::LargeFiles => "files of 10 MiB, 10 sessions x 10 streams",
        }
    }

    /// What servers are started for.
    pub fn site(self) -> Site {
        match self {
            Self::Streams | Self::Download | Self::Upload => Site::Paths,
            Self::SmallFiles | Self::LargeFiles => Site::Files,
        }
    }

    /// Who can do it.
    pub fn peers(self) -> &'static [Peer] {
        match self {
            Self::Streams => &[Peer::Stagedoor, Peer::Nghttpd, Peer::H2o, Peer::Hyper, Peer::Node],
            Self::Download | Self::Upload => &[Peer::Stagedoor, Peer::Hyper, Peer::Node],
            Self::SmallFiles | Self::LargeFiles => {
                &[Peer::Stagedoor, Peer::Nghttpd, Peer::H2o, Peer::Hyper, Peer::Node, Peer::Nginx]
            }
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::Streams => Shape { sessions: 1, streams: 100, requests: 100 },
            Self::Download | Self::Upload => Shape { sessions: 1, streams: 1, requests: 1 },
            Self::SmallFiles => Shape { sessions: 10, streams: 10, requests: 15_000 },
            Self::LargeFiles => Shape { sessions: 10, streams: 10, requests: 150 },
        }
    }

    /// Octets of a body.
    fn octets(self) -> u64 {
        match self {
            Self::Streams => STREAM_OCTETS,
            Self::Download | Self::Upload => GIB,
            Self::SmallFiles => SMALL,
            Self::LargeFiles => LARGE,
        }
    }

    fn task(self, stage: &Stage) -> Result<Task> {
        let octets = self.octets();
        match self {
            Self::Streams | Self::Download => {
                let path = format!("/bytes/{octets}");
                if self == Self::Streams {
                    stage.file(&path, octets)?;
                }
                Ok(Task { path, octets, upload: None, fields: Vec::new() })
            }
            Self::Upload => Ok(Task {
                path: "/count".to_owned(),
                octets: count_line(octets).len() as u64,
                upload: Some(stage.upload(octets)?),
                fields: Vec::new(),
            }),
            Self::SmallFiles | Self::LargeFiles => {
                let path = format!("/files/{octets}.bin");
                stage.file(&path, octets)?;
                Ok(Task { path, octets, upload: None, fields: Vec::new() })
            }
        }
    }
}

/// What a server of uploads answers.
pub(crate) fn count_line(octets: u64) -> String {
    format!("{octets}\n")
}

/// What one server needed, each round.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Who.
    pub peer: Peer,
    /// Its CPU round by round: seconds a GB here, the unit of the job in [`crate::proxy`].
    pub spent: Vec<f64>,
    /// Peak of resident memory over all rounds, KiB.
    pub peak_kib: u64,
}

impl Costs {
    /// The best round.
    pub fn best(&self) -> f64 {
        self.spent.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The round in the middle.
    pub fn median(&self) -> f64 {
        middle(self.spent.iter().copied())
    }
}

/// Lets `peers` do `job`, in turn, so many `rounds`.
///
/// # Errors
/// When a server does not start, gives other octets than the others, or a request fails.
pub fn run(
    stage: &Stage,
    peers: &[Peer],
    transport: Transport,
    job: Job,
    rounds: usize,
) -> Result<Vec<Costs>> {
    let (task, shape) = (job.task(stage)?, job.shape());
    let servers = peers
        .iter()
        .map(|&peer| stage.start(peer, transport, job.site()))
        .collect::<Result<Vec<Server>>>()?;
    for server in &servers {
        check(stage, server, transport, job, &task)?;
    }
    let mut costs: Vec<Costs> =
        peers.iter().map(|&peer| Costs { peer, spent: Vec::new(), peak_kib: 0 }).collect();
    let gigabytes = f64::from(shape.requests) * job.octets() as f64 / 1e9;
    for round in 1..=rounds {
        for (server, costs) in servers.iter().zip(&mut costs) {
            let run = load::run(server, transport, shape, &task)?;
            let seconds = run.cpu_micros / 1e6 * f64::from(shape.requests) / gigabytes;
            costs.spent.push(seconds);
            costs.peak_kib = costs.peak_kib.max(run.peak_kib);
            eprintln!(
                "{transport} {job:?} round {round}: {:<9} {seconds:.3} s CPU/GB, {:.1} MiB",
                server.peer,
                run.peak_kib as f64 / 1024.0
            );
        }
    }
    Ok(costs)
}

/// Once, before anything is measured: the octets are the ones everybody has, or the count is right.
fn check(stage: &Stage, server: &Server, transport: Transport, job: Job, task: &Task) -> Result<()> {
    let given = match job {
        Job::Download => return Ok(()),
        Job::Upload => {
            let upload = stage.upload(100_000)?;
            answer::body(server, transport, &task.path, Some(&upload))? == count_line(100_000).as_bytes()
        }
        Job::Streams | Job::SmallFiles | Job::LargeFiles => {
            let file = stage.file(&task.path, task.octets)?;
            answer::body(server, transport, &task.path, None)? == fs::read(&file).context("our own file")?
        }
    };
    ensure!(given, "{} answers {} with something else", server.peer, task.path);
    Ok(())
}
