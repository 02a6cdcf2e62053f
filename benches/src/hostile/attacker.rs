//! The attacker as a process of its own: the same program with the hidden command `attack`, on the core of clients and
//! niced below them. It stops when its standard input ends, so it cannot outlive who started it.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

use super::Plan;
use super::attack::{self, Orders, Report};
use crate::flood::Flood;
use crate::load::CLIENT_CORE;
use crate::server::on_core;

/// An attacker at work. Dropped, it is killed.
#[derive(Debug)]
pub struct Attacker {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Attacker {
    /// Starts one, and waits until the first flood has begun.
    ///
    /// # Errors
    /// When it cannot be started, or no session could begin.
    pub fn start(port: u16, flood: Flood, plan: &Plan) -> Result<Self> {
        let mut command = on_core(CLIENT_CORE, "nice");
        command.args(["-n", &plan.nice.to_string()]).arg(env::current_exe()?).arg("attack");
        command.args(["--port", &port.to_string(), "--sessions", &plan.sessions.to_string()]);
        let name = flood.to_possible_value().context("a flood without a name")?;
        command.args(["--flood", name.get_name()]);
        if plan.persistent {
            command.arg("--persistent");
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the attacker")?;
        let lines = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut attacker = Self { child, lines };
        let line = attacker.line()?;
        ensure!(line == BEGUN, "the attacker said {line:?}");
        Ok(attacker)
    }

    /// Stops it and hears what it has to tell.
    ///
    /// # Errors
    /// When it ended before, or failed.
    pub fn finish(mut self) -> Result<Report> {
        drop(self.child.stdin.take());
        let report = self.line()?.parse()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the attacker ended with {status}");
        Ok(report)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the attacker ended early");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: floods until standard input ends.
///
/// # Errors
/// When nobody listens to standard output, or a thread cannot be made.
pub fn serve(orders: Orders) -> Result<()> {
    static STOP: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        // Its end is the sign, however it ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        STOP.store(true, Ordering::Relaxed);
    });
    let begun = || {
        println!("{BEGUN}");
        // Who does not hear it kills us.
        let _ = std::io::stdout().flush();
    };
    println!("{}", attack::run(orders, &STOP, &begun)?);
    Ok(())
}

/// Said when the first octets of a flood are out.
const BEGUN: &str = "flooding";
