//! The other commands of the binary, run to their end.

use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    /// It ended with `code` and said `words` on stderr.
    pub(crate) fn failed_with(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "no {words:?} in {}", self.err);
    }

    /// Its stdout, after a good end without a word on stderr.
    pub(crate) fn quietly(self) -> Vec<u8> {
        assert_eq!((self.code, &*self.err), (Some(0), ""), "{}", String::from_utf8_lossy(&self.out));
        self.out
    }
}

/// `stagedoor ARGS` with the state directory `state`, and nothing of this environment that could change what it does.
pub(crate) fn command(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.args(args).env("STAGEDOOR_STATE_DIR", state).env("RUST_BACKTRACE", "0").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it.
pub(crate) fn stagedoor(state: &Path, args: &[&str]) -> Ran {
    ended(command(state, args).spawn().unwrap())
}

/// Runs it with something to read.
pub(crate) fn stagedoor_reading(state: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut child = command(state, args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    ended(child)
}

/// Waits for the end of a child and reads what it wrote where that is a pipe.
pub(crate) fn ended(mut child: Child) -> Ran {
    fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut octets = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut octets).unwrap();
            }
            octets
        })
    }
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = wait(child);
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    Ran { code: status.code(), out, err: String::from_utf8(err).unwrap() }
}

/// Waits with a deadline.
fn wait(mut child: Child) -> ExitStatus {
    let (tell, told) = std::sync::mpsc::channel();
    let pid = Pid::from_child(&child);
    let waiter = std::thread::spawn(move || {
        let status = child.wait().unwrap();
        let _ = tell.send(());
        status
    });
    let began = Instant::now();
    if told.recv_timeout(PATIENCE).is_err() {
        let _ = kill_process(pid, Signal::KILL);
        panic!("it still ran after {:?}", began.elapsed());
    }
    waiter.join().unwrap()
}

/// A terminal: what is typed and seen, and what a program has as its stderr.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    // Not for the child: a terminal goes away when the last holder of our side does.
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let mut open = std::fs::OpenOptions::new();
    open.read(true).write(true).custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32);
    let theirs = open.open(name.to_str().unwrap()).unwrap();
    (ours, theirs.into())
}

/// What was written to a terminal until the last program let go of it.
pub(crate) fn seen_on(ours: OwnedFd) -> String {
    let mut seen = Vec::new();
    // A terminal whose other side has gone is an error, not an end (EIO).
    let _ = std::fs::File::from(ours).read_to_end(&mut seen);
    String::from_utf8(seen).unwrap()
}
