//! The gateway beside its peers: requests per second, CPU per request and per GB, memory. Method and commands:
//! docs/performance.md.
//!
//! Prints markdown on standard output and what it is doing on standard error. A request that fails makes the run fail.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use stagedoor_bench::answer::{self, Answer};
use stagedoor_bench::bulk::{self, Costs, Job};
use stagedoor_bench::config::{BODY, PATH};
use stagedoor_bench::embed::{self, App};
use stagedoor_bench::load::{self, Run, Shape, Task};
use stagedoor_bench::server::{Peer, Server, Site, Stage, Transport, find};
use stagedoor_bench::stats::middle;
use stagedoor_bench::table::Table;
use stagedoor_bench::{idle, process, proxy};

/// Compare stagedoor with other servers on this machine; without a command: many small requests
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    requests: RequestArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Bodies in bulk: seconds of CPU a GB, both ways, out of memory and out of files
    Bulk(BulkArguments),
    /// As a gateway between a client and an upstream: CPU a request and a GiB
    Proxy(ProxyArguments),
    /// An application in stagedoor and in the server it would have otherwise: CPU a request
    Embed(EmbedArguments),
}

#[derive(Args)]
struct BulkArguments {
    /// What is moved
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Job::Streams, Job::Download, Job::Upload, Job::SmallFiles, Job::LargeFiles])]
    jobs: Vec<Job>,
    /// Who takes part where it can; default: everybody
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// What carries HTTP/2
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::H2c, Transport::Tls])]
    transports: Vec<Transport>,
    /// Rounds, in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The binary of stagedoor; default: beside this one
    #[arg(long, env = "STAGEDOOR_BIN")]
    stagedoor: Option<PathBuf>,
}

#[derive(Args)]
struct ProxyArguments {
    /// What is sent through
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [proxy::Job::Many, proxy::Job::One, proxy::Job::Download, proxy::Job::Upload])]
    jobs: Vec<proxy::Job>,
    /// What gateways speak with the upstream
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [proxy::Link::H2c, proxy::Link::Http1])]
    links: Vec<proxy::Link>,
    /// Who takes part where it can; default: everybody
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// What carries HTTP/2 between client and gateway
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::H2c])]
    transports: Vec<Transport>,
    /// Rounds, in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the requests, one round: does it run at all
    #[arg(long)]
    quick: bool,
    /// The binary of stagedoor; default: beside this one
    #[arg(long, env = "STAGEDOOR_BIN")]
    stagedoor: Option<PathBuf>,
}

#[derive(Args)]
struct EmbedArguments {
    /// What is served
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [App::Router, App::Grpc])]
    apps: Vec<App>,
    /// What carries HTTP/2
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::H2c, Transport::Tls])]
    transports: Vec<Transport>,
    /// SESSIONSxSTREAMS:REQUESTS
    #[arg(long, value_delimiter = ',', default_value = "50x100:500000,1x100:250000")]
    shapes: Vec<ShapeArgument>,
    /// Rounds, in turn; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A tenth of the requests, one round: does it run at all
    #[arg(long)]
    quick: bool,
    /// The program that serves; default: beside this one
    #[arg(long)]
    program: Option<PathBuf>,
}

#[derive(Args)]
struct RequestArguments {
    /// Who takes part; foreign programs that are not installed are left out
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Peer::Stagedoor, Peer::Hyper, Peer::H2o, Peer::Nghttpd, Peer::Haproxy])]
    peers: Vec<Peer>,
    /// What carries HTTP/2
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::H2c, Transport::Tls])]
    transports: Vec<Transport>,
    /// SESSIONSxSTREAMS:REQUESTS
    #[arg(long, value_delimiter = ',', default_value = "50x100:1000000,1x100:500000")]
    shapes: Vec<ShapeArgument>,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A tenth of the requests, one round: does it run at all
    #[arg(long)]
    quick: bool,
    /// Measure the memory of idle h2c sessions instead
    #[arg(long)]
    idle: bool,
    /// How many idle sessions
    #[arg(long, default_value_t = 5000)]
    sessions: u32,
    /// The binary of stagedoor; default: beside this one
    #[arg(long, env = "STAGEDOOR_BIN")]
    stagedoor: Option<PathBuf>,
}

#[derive(Clone, Copy)]
struct ShapeArgument(Shape);

impl FromStr for ShapeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (sessions, rest) = text.split_once('x')?;
            let (streams, requests) = rest.split_once(':')?;
            let shape = Shape {
                sessions: sessions.parse().ok()?,
                streams: streams.parse().ok()?,
                requests: requests.parse().ok()?,
            };
            (shape.sessions > 0 && shape.streams > 0 && shape.requests >= shape.sessions)
                .then_some(Self(shape))
        };
        parse().ok_or_else(|| format!("{text:?} is not like 50x100:1000000"))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        None => run(&arguments.requests),
        Some(Command::Bulk(arguments)) => bulk(arguments),
        Some(Command::Proxy(arguments)) => gateways(arguments),
        Some(Command::Embed(arguments)) => embedded(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bulk(arguments: &BulkArguments) -> Result<()> {
    find("h2load").context("h2load is not installed (Debian package nghttp2-client)")?;
    let stage = Stage::new(arguments.stagedoor.clone())?;
    for &transport in &arguments.transports {
        for &job in &arguments.jobs {
            let asked = |peer: &Peer| arguments.peers.is_empty() || arguments.peers.contains(peer);
            let wanted: Vec<Peer> = job.peers().iter().copied().filter(asked).collect();
            let mut peers = stage.present(&wanted)?;
            if job.site() == Site::Files && peers.contains(&Peer::Stagedoor) && !stage.serves_files() {
                eprintln!("LEFT OUT: this stagedoor knows no `files`");
                peers.retain(|peer| *peer != Peer::Stagedoor);
            }
            let rounds = arguments.rounds.max(1);
            let costs = bulk::run(&stage, &peers, transport, job, rounds)?;
            println!(
                "### {} over {transport}, {rounds} rounds\n\n{}",
                job.words(),
                cpu_figures(&costs, "s CPU/GB")
            );
        }
    }
    Ok(())
}

fn gateways(arguments: &ProxyArguments) -> Result<()> {
    find("h2load").context("h2load is not installed (Debian package nghttp2-client)")?;
    // A connection to the upstream for each request at once, where gateways cannot share them.
    process::raise_open_files()?;
    let stage = Stage::new(arguments.stagedoor.clone())?;
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    for &transport in &arguments.transports {
        for &link in &arguments.links {
            let asked = |peer: &Peer| arguments.peers.is_empty() || arguments.peers.contains(peer);
            let wanted: Vec<Peer> = link.peers().iter().copied().filter(asked).collect();
            let peers = stage.present(&wanted)?;
            let mut answers_shown = false;
            for &job in &arguments.jobs {
                let course = proxy::Course { transport, link, rounds, quick: arguments.quick };
                let outcome = proxy::run(&stage, &peers, job, course)?;
                if !outcome.answers.is_empty() && !answers_shown {
                    println!("### Answers over {transport} from {link}\n\n{}", fields(&outcome.answers));
                    answers_shown = true;
                }
                let figures = cpu_figures(&outcome.costs, job.unit());
                println!("### {} over {transport} to {link}, {rounds} rounds\n\n{figures}", job.words());
                if let Some(verdict) = proxy::verdict(job, link, &outcome.costs) {
                    println!("{verdict}\n");
                }
            }
        }
    }
    Ok(())
}

fn embedded(arguments: &EmbedArguments) -> Result<()> {
    find("h2load").context("h2load is not installed (Debian package nghttp2-client)")?;
    let stage = Stage::new(None)?;
    let program = arguments.program.clone().map_or_else(embed::program, Ok)?;
    for &app in &arguments.apps {
        let task = app.task(&stage)?;
        for &transport in &arguments.transports {
            let start = |ours| embed::start(&stage, app, ours, transport, &program);
            let servers = [start(true)?, start(false)?];
            let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
            for ShapeArgument(shape) in &arguments.shapes {
                let medians = rounds_of(&servers, transport, *shape, &task, rounds, arguments.quick)?;
                let words = format!(
                    "{app}, {} sessions x {} streams over {transport}",
                    shape.sessions, shape.streams
                );
                println!("### {words}, {rounds} rounds\n\n{}", figures(&medians));
                if let [(_, ours), (_, its)] = &medians[..] {
                    let ratio = ours.cpu_micros / its.cpu_micros;
                    let asked = app.asked();
                    let held = if ratio <= asked { "pass" } else { "MISSED" };
                    println!("asked {asked:.2} of {}, measured {ratio:.2}: {held}\n", app.own());
                }
            }
        }
    }
    Ok(())
}

fn fields(answers: &[(Peer, Answer)]) -> Table {
    let mut table = Table::new(["server", "octets of fields", "fields"]);
    for (peer, answer) in answers {
        table.row([peer.to_string(), answer.octets.to_string(), answer.fields.join(", ")]);
    }
    table
}

fn cpu_figures(costs: &[Costs], unit: &str) -> Table {
    let (best, median) = (format!("best {unit}"), format!("median {unit}"));
    let mut table = Table::new(["server", &best, &median, "peak MiB", "stagedoor / it, best", "median"]);
    let ours = costs.iter().find(|costs| costs.peer == Peer::Stagedoor);
    for its in costs {
        let ratio =
            |of: fn(&Costs) -> f64| ours.map_or("-".to_owned(), |ours| format!("{:.2}", of(ours) / of(its)));
        table.row([
            its.peer.to_string(),
            format!("{:.3}", its.best()),
            format!("{:.3}", its.median()),
            format!("{:.1}", its.peak_kib as f64 / 1024.0),
            ratio(Costs::best),
            ratio(Costs::median),
        ]);
    }
    table
}

fn run(arguments: &RequestArguments) -> Result<()> {
    let open_files = process::raise_open_files()?;
    let stage = Stage::new(arguments.stagedoor.clone())?;
    let peers = stage.present(&arguments.peers)?;
    if arguments.idle {
        let needed = u64::from(arguments.sessions) + 100;
        ensure!(open_files >= needed, "{needed} open files needed, the hard limit is {open_files}");
        return idle_memory(&stage, &peers, arguments.sessions);
    }
    find("h2load").context("h2load is not installed (Debian package nghttp2-client)")?;
    for &transport in &arguments.transports {
        compare(&stage, &peers, transport, arguments)?;
    }
    Ok(())
}

fn compare(stage: &Stage, peers: &[Peer], transport: Transport, arguments: &RequestArguments) -> Result<()> {
    let start = |&peer: &Peer| stage.start(peer, transport, Site::Paths);
    let servers = peers.iter().map(start).collect::<Result<Vec<Server>>>()?;
    let ask = |server: &Server| anyhow::Ok((server.peer, answer::ask(server, transport)?));
    let answers = servers.iter().map(ask).collect::<Result<Vec<_>>>()?;
    println!("### Answers over {transport}\n\n{}", fields(&answers));

    let task = Task { path: PATH.to_owned(), octets: BODY.len() as u64, upload: None, fields: Vec::new() };
    let rounds = if arguments.quick { 1 } else { arguments.rounds.max(1) };
    for &ShapeArgument(shape) in &arguments.shapes {
        let medians = rounds_of(&servers, transport, shape, &task, rounds, arguments.quick)?;
        println!(
            "### {} sessions x {} streams over {transport}, {} requests, {rounds} rounds\n\n{}",
            shape.sessions,
            shape.streams,
            shape.requests,
            figures(&medians)
        );
    }
    Ok(())
}

/// Drives servers in turn, so that a noisy minute of the machine hits everybody; the medians.
fn rounds_of(
    servers: &[Server],
    transport: Transport,
    mut shape: Shape,
    task: &Task,
    rounds: usize,
    quick: bool,
) -> Result<Vec<(Peer, Run)>> {
    if quick {
        shape.requests = (shape.requests / 10).max(shape.sessions);
    }
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); servers.len()];
    for round in 1..=rounds {
        for (server, runs) in servers.iter().zip(&mut runs) {
            let run = load::run(server, transport, shape, task)?;
            eprintln!(
                "{transport} {}x{} round {round}: {:<9} {:>9.0} req/s {:>6.2} us CPU/req",
                shape.sessions, shape.streams, server.peer, run.rate, run.cpu_micros
            );
            runs.push(run);
        }
    }
    Ok(servers.iter().zip(&runs).map(|(server, runs)| (server.peer, median(runs))).collect())
}

/// The figures, and how many times stagedoor's each peer's CPU is: above 1, we need less.
fn figures(medians: &[(Peer, Run)]) -> Table {
    let ours = medians.iter().find(|(peer, _)| *peer == Peer::Stagedoor).map(|(_, run)| run);
    let mut table = Table::new([
        "server",
        "req/s",
        "CPU us/req",
        "peak MiB",
        "header octets/answer",
        "stagedoor CPU / its CPU",
        "stagedoor rate / its rate",
    ]);
    for (peer, run) in medians {
        let ratio = |ratio: fn(&Run, &Run) -> f64| {
            ours.map_or("-".to_owned(), |ours| format!("{:.2}", ratio(ours, run)))
        };
        table.row([
            peer.to_string(),
            format!("{:.0}", run.rate),
            format!("{:.2}", run.cpu_micros),
            format!("{:.1}", run.peak_kib as f64 / 1024.0),
            format!("{:.1}", run.header_octets),
            ratio(|ours, its| ours.cpu_micros / its.cpu_micros),
            ratio(|ours, its| ours.rate / its.rate),
        ]);
    }
    table
}

fn idle_memory(stage: &Stage, peers: &[Peer], sessions: u32) -> Result<()> {
    let mut table = Table::new(["server", "KiB/session"]);
    for &peer in peers {
        let server = stage.start(peer, Transport::H2c, Site::Paths)?;
        let kib = idle::kib_per_session(&server, sessions)?;
        eprintln!("idle: {peer:<9} {kib:>6.2} KiB per session");
        table.row([peer.to_string(), format!("{kib:.2}")]);
    }
    println!("### {sessions} idle h2c sessions after one request each\n\n{table}");
    Ok(())
}

/// Each figure's own median.
fn median(runs: &[Run]) -> Run {
    Run {
        rate: middle(runs.iter().map(|run| run.rate)),
        cpu_micros: middle(runs.iter().map(|run| run.cpu_micros)),
        peak_kib: middle(runs.iter().map(|run| run.peak_kib as f64)) as u64,
        header_octets: middle(runs.iter().map(|run| run.header_octets)),
    }
}
