//! The stagedoor command: reads the command line, runs it, and turns what came of it into an exit code.
//!
//! Holds no gateway of its own: `serve.rs` puts one together from the library. Panics in handlers are
//! contained where they happen; one that reaches this file is our bug and ends the process with 70.

mod allocator;
mod banner;
mod bench;
mod cli;
mod configure;
mod configured;
mod dashboards;
mod failure;
mod files;
mod get;
mod listen;
mod log;
mod logs;
mod manual;
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
use stagedoor::sockets::Sockets;
#[cfg(feature = "top")]
use terminal::args::Look;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    let started = Instant::now();
    // Before there is any thread: it changes the environment.
    let sockets = Sockets::take();
    let cli = Cli::parse();
    match std::panic::catch_unwind(AssertUnwindSafe(|| run(cli.command(), sockets, started))) {
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

fn run(command: Command, sockets: Sockets, started: Instant) -> Result<(), Failure> {
    let colour = Colour::of_stderr();
    log::log_panics();
    // A configuration says how to log, so it is read before anything is logged.
    let blueprint = match &command {
        Command::Serve(args) => {
            let file = args.config.as_ref();
            file.map(|file| configured::loaded(args, file, colour)).transpose()?
        }
        Command::Proxy(args) => Some(configured::proxied(args)?),
        _ => None,
    };
    let told = blueprint.as_ref().map_or("info", |blueprint| &blueprint.config.log.level);
    let log = match &command {
        Command::Serve(args) => args.serving.log.as_deref().unwrap_or(told),
        Command::Proxy(args) => args.log.as_deref().unwrap_or(told),
        Command::Files(args) => args.serving.log.as_deref().unwrap_or("info"),
        // It has the terminal to itself.
        #[cfg(feature = "top")]
        Command::Look(Look::Top(_)) => "off",
        // What goes wrong there is said in words of their own.
        _ => "error",
    };
    let tracing = Tracing::start(match &command {
        Command::Serve(args) => Some(&args.serving.logs),
        Command::Proxy(args) => Some(&args.logs),
        Command::Files(args) => Some(&args.serving.logs),
        _ => None,
    })?;
    let log = log::start(log, colour == Colour::On, &tracing)?;
    let result = match command {
        Command::Serve(_) | Command::Proxy(_) if blueprint.is_some() => match blueprint {
            Some(blueprint) => configured::run(blueprint, sockets, &log, colour, started),
            None => Ok(()),
        },
        Command::Proxy(_) => Ok(()),
        Command::Serve(args) => serve::run(serve::demo(&args), &log, colour, started),
        Command::Files(args) => serve::run(files::site(&args)?, &log, colour, started),
        Command::Get(args) => get::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Look(look) => terminal::run(&look),
        Command::Dashboards(args) => dashboards::run(&args),
        Command::Init(args) => configure::init(&args),
        Command::Check(args) => configure::check(&args, colour),
        Command::Schema => configure::schema(),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::run(&args),
    };
    tracing.finish();
    result
}
