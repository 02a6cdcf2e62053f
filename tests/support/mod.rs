//! The compiled gateway as a child process, and clients for it.
//!
//! Every gateway has ports of its own, a state directory of its own, and dies with its [`Gateway`]. Waits are
//! for events (a line on stderr, the end of the process) with a deadline, never for time to pass.

#![allow(dead_code, reason = "each test file uses the part it needs")]

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod configured;
pub(crate) mod embedded;
pub(crate) mod exposition;
pub(crate) mod nobody;
pub(crate) mod observed;
pub(crate) mod peers;
pub(crate) mod played;
pub(crate) mod prometheus;
pub(crate) mod python;
pub(crate) mod raw;
pub(crate) mod typed;
pub(crate) mod websocket;
pub(crate) mod written;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use written::Written;

/// How long anything may take. Reaching it is a failure, so it is generous.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test's future, with a deadline, on this thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

/// The digest of `octets` in hex.
pub(crate) fn sha256(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A `stagedoor` process, which may or may not come up.
pub(crate) struct Process {
    child: Child,
    written: Arc<Written>,
    state: TempDir,
}

impl Process {
    /// Starts the binary with `args`, and nothing of this environment that could change what it does.
    pub(crate) fn spawn(args: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        Self::spawn_in(state, args)
    }

    /// The same with a state directory that is given.
    pub(crate) fn spawn_in(state: TempDir, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
        command.args(args);
        Self::of_command(state, command)
    }

    /// The same by a command that becomes it.
    pub(crate) fn of_command(state: TempDir, command: Command) -> Self {
        Self::of_command_with(state, command, Stdio::null())
    }

    /// The same with something for its descriptor 0.
    pub(crate) fn of_command_with(state: TempDir, mut command: Command, stdin: Stdio) -> Self {
        let mut child = command
            .env("STAGEDOOR_STATE_DIR", state.path())
            .env("RUST_BACKTRACE", "0")
            .env_remove("RUST_LOG")
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let written = Arc::new(Written::default());
        written.follow(child.stderr.take().unwrap());
        Self { child, written, state }
    }

    /// Waits for a line that `fits`.
    pub(crate) fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.written.line(fits).unwrap_or_else(|| panic!("no such line in:\n{}", self.stderr()))
    }

    /// Everything on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.written.text()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process: its exit status and all it said.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        // Its stderr ends with it.
        assert!(self.written.ended(), "still runs; it said:\n{}", self.stderr());
        (self.child.wait().unwrap(), self.stderr())
    }

    /// The development authority's certificate.
    pub(crate) fn ca_pem(&self) -> PathBuf {
        self.state.path().join("dev/ca.pem")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stderr of the gateway ---\n{}\n---", self.stderr());
        }
    }
}

/// A gateway that serves, on free ports of 127.0.0.1.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) public: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Gateway {
    /// Starts one with two workers and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let mut args = vec!["serve", "--public", "127.0.0.1:0", "--plain", "127.0.0.1:0"];
        if !flags.contains(&"--no-observe") {
            args.extend(["--admin", "127.0.0.1:0"]);
        }
        if !flags.contains(&"--workers") {
            args.extend(["--workers", "2"]);
        }
        args.extend(flags);
        Self::of(Process::spawn(&args))
    }

    /// Waits until `process` is ready and reads its addresses off the banner.
    pub(crate) fn of(process: Process) -> Self {
        process.line(|line| line.starts_with("ready in "));
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = |name| address_of(&process.stderr(), name);
        Self {
            public: address("public").expect("a public address"),
            plain: address("plain").expect("a plain address"),
            admin: address("admin").unwrap_or(none),
            process,
        }
    }

    /// What TLS clients trust.
    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.process.ca_pem()).unwrap()
    }

    /// Sends TERM.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }
}

/// The address in the row `name` of a banner.
pub(crate) fn address_of(banner: &str, name: &str) -> Option<SocketAddr> {
    let url = banner.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next())?
    })?;
    let authority = url.split("://").nth(1)?.split('/').next()?;
    authority.replace("localhost", "127.0.0.1").parse().ok()
}
