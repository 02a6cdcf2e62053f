//! One example that runs, and curl to ask it.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::peers::{Running, find, stdout};

/// An example that has said where it listens.
pub(crate) struct Example {
    running: Running,
    /// The line it said.
    pub(crate) line: String,
}

/// Where cargo puts the examples: beside the tests of the same build.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a place");
    let build = test.parent().and_then(|deps| deps.parent()).expect("tests lie in deps/");
    let binary = build.join("examples").join(name);
    assert!(
        binary.exists(),
        "{} is not built; it is by: cargo test, cargo build --examples",
        binary.display()
    );
    binary
}

impl Example {
    /// Starts an example on a free port of 127.0.0.1.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0")
    }

    /// The same somewhere else.
    pub(crate) fn start_at(name: &str, address: &str) -> Self {
        let running = Running::start(&binary(name), &[address]);
        // Whatever it is, it names its address first.
        let line = running.line(|line| line.contains("://") || line.starts_with("unix:"));
        Self { running, line }
    }

    /// The first address that it named.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses().into_iter().next().expect("an address")
    }

    /// Every address that it named.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let urls = self.line.split("://").skip(1);
        let authorities = urls.filter_map(|rest| rest.split(['/', ' ']).next());
        authorities.map(|authority| authority.parse().expect("an address")).collect()
    }

    /// A URL on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Waits for a line that `fits`.
    pub(crate) fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.running.line(fits)
    }

    /// Ctrl-C: it drains and ends with 0. All that it said.
    pub(crate) fn interrupted(self) -> String {
        let pid = i32::try_from(self.running.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::INT).expect("it runs");
        self.running.finish()
    }

    /// Waits until it ends by itself, with 0. All that it said.
    pub(crate) fn ended(self) -> String {
        self.running.finish()
    }
}

/// curl, speaking HTTP/2 or HTTP/1.1.
pub(crate) struct Curl {
    program: PathBuf,
    pub(crate) http2: bool,
}

impl Curl {
    /// One of each; none, loudly, where curl is not installed.
    pub(crate) fn both() -> Option<[Self; 2]> {
        let program = find("curl")?;
        Some([true, false].map(|http2| Self { program: program.clone(), http2 }))
    }

    /// What it prints; it has to end well.
    pub(crate) fn get(&self, args: &[&str]) -> String {
        let speaks = if self.http2 { "--http2-prior-knowledge" } else { "--http1.1" };
        stdout(&self.program, &[&["-sS", "--max-time", "30", "--noproxy", "*", speaks], args].concat())
    }

    /// The status and, after a blank, the body.
    pub(crate) fn answer(&self, args: &[&str]) -> String {
        let output = self.get(&[args, &["-w", "\n%{http_code}"]].concat());
        let (body, status) = output.rsplit_once('\n').expect("a status");
        format!("{status} {}", body.trim_end())
    }
}
