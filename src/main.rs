//! The stagedoor command: reads the command line, runs it, and turns what came of it into an exit code.
//!
//! Holds no gateway of its own: `serve.rs` puts one together from the library. Panics in handlers are
//! contained where they happen; one that reaches this file is our bug and ends the process with 70.

mod allocator;
mod banner;
mod bench;
mod cli;
mod configure;
mod dashboards;
mod failure;
mod files;
mod get;
mod listen;
mod log;
mod logs;
mod output;
mod reach;
mod resources;
mod say;
mod serve;
mod signals;
mod terminal;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

use banner::Colour;
use cli::{Cli, Command};
use failure::{Exit, Failure};
use logs::Tracing;
use say::say;
use terminal::args::Look;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    match std::panic::catch_unwind(AssertUnwindSafe(|| run(cli.command(), started))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            say(&failure);
            failure.exit.into()
        }
        Err(_) => {
            say("stagedoor: this is a bug of stagedoor; the panic above says where");
            Exit::Bug.into()
        }
    }
}

fn run(command: Command, started: Instant) -> Result<(), Failure> {
    let colour = Colour::of_stderr();
    log::log_panics();
    let log = match &command {
        Command::Serve(args) => args.serving.log.as_deref().unwrap_or("info"),
        Command::Files(args) => args.serving.log.as_deref().unwrap_or("info"),
        // It has the terminal to itself.
        Command::Look(Look::Top(_)) => "off",
        // What goes wrong there is said in words of their own.
        Command::Get(_) | Command::Bench(_) | Command::Look(_) | Command::Dashboards(_) => "error",
        Command::Init(_) | Command::Check(_) | Command::Schema => "error",
    };
    let tracing = Tracing::start(match &command {
        Command::Serve(args) => Some(&args.serving.logs),
        Command::Files(args) => Some(&args.serving.logs),
        Command::Get(_) | Command::Bench(_) | Command::Look(_) | Command::Dashboards(_) => None,
        Command::Init(_) | Command::Check(_) | Command::Schema => None,
    })?;
    let log = log::start(log, colour == Colour::On, &tracing)?;
    let result = match command {
        Command::Serve(args) => serve::run(serve::demo(&args), &log, colour, started),
        Command::Files(args) => serve::run(files::site(&args)?, &log, colour, started),
        Command::Get(args) => get::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Look(look) => terminal::run(&look),
        Command::Dashboards(args) => dashboards::run(&args),
        Command::Init(args) => configure::init(&args),
        Command::Check(args) => configure::check(&args, colour),
        Command::Schema => configure::schema(),
    };
    tracing.finish();
    result
}
