//! A well-behaved neighbour beside floods: its latency, the server's memory, how soon a flooding session is ended; ours
//! beside nghttpd and hyper. Method and commands: docs/performance.md.
//!
//! Prints markdown on standard output and what it is doing on standard error. A criterion that does not hold says MISS
//! and fails nothing: times are figures.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};
use stagedoor_bench::flood::Flood;
use stagedoor_bench::hostile::attack::Orders;
use stagedoor_bench::hostile::neighbour::Pace;
use stagedoor_bench::hostile::verdict::{Rounds, judge};
use stagedoor_bench::hostile::{Measured, Plan, attacker, measure};
use stagedoor_bench::server::{Peer, Stage, find};
use stagedoor_bench::table::Table;

/// Flood servers on this machine and ask how a neighbour fares
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: MeasureArguments,
}

#[derive(Subcommand)]
enum Command {
    /// The attacker, until standard input ends
    #[command(hide = true)]
    Attack(AttackArguments),
}

#[derive(Args)]
struct AttackArguments {
    #[arg(long)]
    port: u16,
    #[arg(long, value_enum)]
    flood: Flood,
    #[arg(long)]
    sessions: u32,
    #[arg(long)]
    persistent: bool,
}

#[derive(Args)]
struct MeasureArguments {
    /// Who is flooded; foreign programs that are not installed are left out
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Peer::Stagedoor, Peer::Nghttpd, Peer::Hyper])]
    peers: Vec<Peer>,
    /// With what
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Flood::Reset, Flood::Ping, Flood::Continuation])]
    floods: Vec<Flood>,
    /// Rounds, in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a measurement, once quiet and once flooded
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Requests a second of the neighbour, over four sessions
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(4..))]
    rate: u32,
    /// How nice the attacker is beside the neighbour
    #[arg(long, default_value_t = 10)]
    nice: u32,
    /// Sessions that flood at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    attackers: u32,
    /// The attacker goes on after GOAWAY until its socket is gone
    #[arg(long)]
    persistent: bool,
    /// The binary of stagedoor; default: beside this one
    #[arg(long, env = "STAGEDOOR_BIN")]
    stagedoor: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        None => run(&arguments.measure),
        Some(Command::Attack(AttackArguments { port, flood, sessions, persistent })) => {
            attacker::serve(Orders { port, flood, sessions, persistent })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &MeasureArguments) -> Result<()> {
    find("h2load").context("h2load is not installed (Debian package nghttp2-client)")?;
    ensure!(arguments.rate.is_multiple_of(NEIGHBOURS), "--rate is shared by {NEIGHBOURS} sessions");
    let stage = Stage::new(arguments.stagedoor.clone())?;
    let peers = stage.present(&arguments.peers)?;
    let pace = Pace { sessions: NEIGHBOURS, rate: arguments.rate / NEIGHBOURS, seconds: arguments.seconds };
    let plan =
        Plan { pace, nice: arguments.nice, sessions: arguments.attackers, persistent: arguments.persistent };
    let count = arguments.rounds.max(1);
    for &flood in &arguments.floods {
        let begin = |&peer: &Peer| Rounds { peer, flood, rounds: Vec::new() };
        let mut all: Vec<Rounds> = peers.iter().map(begin).collect();
        // In turn, so that a noisy minute of the machine hits everybody.
        for round in 1..=count {
            for rounds in &mut all {
                let measured = measure(&stage, rounds.peer, flood, &plan)?;
                eprintln!("{flood} round {round}: {}", in_words(rounds.peer, &measured));
                rounds.rounds.push(measured);
            }
        }
        let ask = format!("{} requests/s beside it, {} s, {count} rounds", arguments.rate, arguments.seconds);
        println!("### {flood}, {ask}\n\n{}\n{}", figures(&all), sessions(&all));
        if let Some(ours) = all.iter().find(|rounds| rounds.peer == Peer::Stagedoor) {
            let others: Vec<&Rounds> = all.iter().filter(|rounds| rounds.peer != Peer::Stagedoor).collect();
            println!("{}", verdicts(ours, &others));
        }
    }
    Ok(())
}

fn in_words(peer: Peer, measured: &Measured) -> String {
    let Measured { quiet, attacked, report, .. } = measured;
    format!(
        "{peer:<9} p99 {:>6} -> {:>6} us, {} failed, +{:.1} MiB, {:.2} cores; {} sessions ended ({}), the slowest after {:?}, open {:?}",
        quiet.at(0.99),
        attacked.at(0.99),
        attacked.failed,
        measured.growth_mib(),
        measured.cpu,
        report.ended,
        report.usual_end,
        report.slowest,
        report.open,
    )
}

/// How the neighbour and the server fared.
fn figures(all: &[Rounds]) -> Table {
    let mut table = Table::new([
        "server",
        "p50 us, quiet",
        "p99 us, quiet",
        "p50 us, flooded",
        "p99 us, flooded",
        "p99 flooded / quiet",
        "longest ms",
        "failed",
        "RSS before, MiB",
        "growth, MiB",
        "CPU, cores",
    ]);
    for its in all {
        let both = |of: fn(&Measured) -> f64, digits: usize| {
            format!("{:.digits$} / {:.digits$}", its.best(of), its.median(of))
        };
        let failed: u64 = its.rounds.iter().map(|round| round.quiet.failed + round.attacked.failed).sum();
        table.row([
            its.peer.to_string(),
            both(|round| round.quiet.at(0.5) as f64, 0),
            both(|round| round.quiet.at(0.99) as f64, 0),
            both(|round| round.attacked.at(0.5) as f64, 0),
            both(|round| round.attacked.at(0.99) as f64, 0),
            both(Measured::ratio, 2),
            format!("{:.1}", its.worst(|round| round.attacked.longest() as f64 / 1000.0)),
            failed.to_string(),
            format!("{:.1}", its.median(|round| round.before_kib as f64 / 1024.0)),
            format!("{:.1}", its.worst(Measured::growth_mib)),
            format!("{:.2}", its.median(|round| round.cpu)),
        ]);
    }
    table
}

/// How the flooding sessions fared, over all rounds.
fn sessions(all: &[Rounds]) -> Table {
    let mut table = Table::new([
        "server",
        "sessions ended",
        "median ms",
        "slowest ms",
        "frames/s sent",
        "MB/s sent",
        "sessions refused",
        "how most ended",
    ]);
    for its in all {
        let sum = |of: fn(&Measured) -> u64| its.rounds.iter().map(of).sum::<u64>();
        let ended = sum(|round| round.report.ended);
        let seconds: f64 = its.rounds.iter().map(|round| round.seconds).sum();
        let time = |value: f64| if ended == 0 { "never".to_owned() } else { format!("{value:.1}") };
        let last = its.rounds.iter().rev().find(|round| !round.report.usual_end.is_empty());
        table.row([
            its.peer.to_string(),
            ended.to_string(),
            time(its.median(|round| round.report.median.as_secs_f64() * 1000.0)),
            time(its.longest().as_secs_f64() * 1000.0),
            format!("{:.0}", sum(|round| round.report.frames) as f64 / seconds),
            format!("{:.1}", sum(|round| round.report.octets) as f64 / 1e6 / seconds),
            sum(|round| round.report.refused).to_string(),
            last.map_or("not ended".to_owned(), |round| round.report.usual_end.clone()),
        ]);
    }
    table
}

fn verdicts(ours: &Rounds, others: &[&Rounds]) -> Table {
    let mut table = Table::new(["asked of stagedoor", "seen", "verdict"]);
    for verdict in judge(ours, others) {
        let word = if verdict.held { "PASS" } else { "MISS" };
        table.row([verdict.criterion.to_owned(), verdict.seen, word.to_owned()]);
    }
    table
}

/// Sessions of the neighbour.
const NEIGHBOURS: u32 = 4;
