//! The shipped gateway with all of its addresses, as a child on free ports.
//!
//! It lives as long as its [`Gateway`], and no longer than this process.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::server::{PATIENCE, banner_port};
use crate::soak::Target;

/// A gateway that serves its demo. Dropped, it is killed.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    state: TempDir,
    /// plain, public, admin
    ports: [u16; 3],
    words: Arc<Mutex<VecDeque<String>>>,
    began_to_end: Mutex<Option<Instant>>,
}

impl Gateway {
    /// Starts `program` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, workers: u16) -> Result<Self> {
        ensure!(program.is_file(), "{} is not built: cargo build --release -p stagedoor", program.display());
        let state = tempfile::Builder::new().prefix("stagedoor-soak-").tempdir()?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args("serve --plain 127.0.0.1:0 --public 127.0.0.1:0 --admin 127.0.0.1:0 --log warn".split(' '))
            .args(["--workers", &workers.to_string()])
            .env("STAGEDOOR_STATE_DIR", state.path())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stderr = child.stderr.take().context("no pipe")?;
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let mut gateway =
            Self { child, state, ports: [0; 3], words: Arc::clone(&words), began_to_end: Mutex::new(None) };
        let (ready, told) = mpsc::channel();
        // A soak makes it say a lot: a line for each handler that panics. The last ones are kept.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let is_ready = line.starts_with("ready in ");
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.push_back(line);
                if words.len() > MOST_WORDS {
                    words.pop_front();
                }
                if is_ready {
                    let banner: Vec<String> = words.iter().cloned().collect();
                    // Nobody waits any more when starting took too long.
                    let _ = ready.send(banner);
                }
            }
        });
        let Ok(banner) = told.recv_timeout(PATIENCE) else {
            bail!("not ready within {PATIENCE:?}: {}", gateway.last_words());
        };
        for (port, name) in gateway.ports.iter_mut().zip(["plain", "public", "admin"]) {
            *port = banner_port(&banner, name).with_context(|| format!("no {name} address: {banner:?}"))?;
        }
        Ok(gateway)
    }

    /// Its addresses and its certificate.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn target(&self) -> Result<Target> {
        let authority = CertificateDer::from_pem_file(self.state.path().join("dev/ca.pem"))?;
        let [plain, public, admin] = self.ports.map(|port| ([127, 0, 0, 1], port).into());
        Target::new(plain, public, admin, authority)
    }

    /// What it said last.
    pub fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        format!("the gateway said last: {:#?}", words.iter().rev().take(10).collect::<Vec<_>>())
    }

    /// Sends TERM.
    pub fn terminate(&self) {
        *self.began_to_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        // It fails when the process has ended by itself, which `ended` then tells.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Waits for its end, which must be a good one; how long it took since TERM.
    ///
    /// # Errors
    /// When it runs on after `patience`, or ended otherwise.
    pub fn ended(mut self, patience: Duration) -> Result<Duration> {
        let began = *self.began_to_end.lock().unwrap_or_else(PoisonError::into_inner);
        let began = began.unwrap_or_else(Instant::now);
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() > patience => {
                    bail!("it still runs after {patience:?}: {}", self.last_words());
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        ensure!(status.code() == Some(0), "it ended with {status}: {}", self.last_words());
        Ok(began.elapsed())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that are kept, more than a banner has.
const MOST_WORDS: usize = 50;
