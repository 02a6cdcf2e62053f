//! The leak soak: clients of every kind for minutes, then nothing of them may be left. Method and commands:
//! docs/performance.md.
//!
//! Prints markdown on standard output and what it is doing on standard error. Anything that does not come back makes the
//! run fail.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use stagedoor_bench::gateway::Gateway;
use stagedoor_bench::soak::{self, Extent, Plan};

/// Soak the gateway and look at what is left
#[derive(Parser)]
struct Arguments {
    /// How long clients come, the warm-up included: a third of it
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    time: Duration,
    /// What each visit does follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// The longest that an idle or stuck client stays
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// MiB that resident memory may have grown from the end of the warm-up to the end
    #[arg(long, default_value_t = 8)]
    allowance: u64,
    /// Threads of the gateway that serve
    #[arg(long, default_value_t = 2)]
    workers: u16,
    /// The binary of stagedoor; default: beside this one
    #[arg(long, env = "STAGEDOOR_BIN")]
    stagedoor: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let program = match &arguments.stagedoor {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("stagedoor"),
    };
    let gateway = Gateway::start(&program, arguments.workers)?;
    let plan = Plan {
        seed: arguments.seed,
        clients: arguments.clients,
        warm_up: Extent::Time(arguments.time / 3),
        load: Extent::Time(arguments.time * 2 / 3),
        hold: arguments.hold,
        allowance: arguments.allowance << 20,
    };
    eprintln!("soaking for {:?}, seed {}, {} clients at once", arguments.time, plan.seed, plan.clients);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = gateway.target()?;
    let soaked = runtime.block_on(soak::run(&target, &plan));
    let report = soaked.inspect_err(|_| eprintln!("{}", gateway.last_words()))?;
    println!(
        "### Soak of {:?}, seed {}, {} clients at once, {} visits\n\n{}\n{}\n{}",
        arguments.time,
        plan.seed,
        plan.clients,
        report.visits,
        report.table(),
        report.visitors(),
        report.ends()
    );
    runtime.block_on(soak::drain(&target, || gateway.terminate())).context("the drain")?;
    let took = gateway.ended(QUICK)?;
    println!("Drained with clients there, ended with 0 after {:.1} s.", took.as_secs_f64());
    let failures = report.failures();
    ensure!(failures.is_empty(), "not back:\n{}", failures.join("\n"));
    Ok(())
}

/// Within this a drained gateway has ended: nothing in it waits for the deadline of the drain.
const QUICK: Duration = Duration::from_secs(10);
