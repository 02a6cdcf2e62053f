//! A command on a terminal of its own: what it writes, what is typed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;
use super::command::{Ran, ended, terminal};

/// What a program that paints all of its screen begins with.
const CLEAR: &[u8] = b"\x1b[2J";

/// A process that does not outlive its test.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// See the module.
pub(crate) struct Typed {
    child: Running,
    keys: File,
    terminal: OwnedFd,
    came: Receiver<Vec<u8>>,
    seen: String,
    /// It was asked to paint all, and has not begun to.
    asked: bool,
}

impl Typed {
    /// Starts `command` with the terminal as stdin and stdout, in colour.
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        command.env_remove("NO_COLOR");
        Self::start_keeping(command, columns, rows)
    }

    /// The same with what the command's environment says of colour.
    pub(crate) fn start_keeping(mut command: Command, columns: u16, rows: u16) -> Self {
        let (ours, theirs) = terminal();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(theirs.try_clone().unwrap()))
            .stdout(Stdio::from(theirs.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let (tell, came) = channel();
        let mut output = File::from(ours.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut piece = [0; 65_536];
            // A terminal whose other side has gone is an error, not an end (EIO).
            while let Ok(count @ 1..) = output.read(&mut piece) {
                if tell.send(piece[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child: Running(Some(child)),
            keys: ours.into(),
            terminal: theirs,
            came,
            seen: String::new(),
            asked: false,
        }
    }

    /// Waits until `words` are written after what was waited for before.
    pub(crate) fn until(&mut self, words: &str) {
        self.wait(words, false);
    }

    /// Waits until a program that paints has `words` on its screen. Only what changes is painted, so it is asked to paint all
    /// of it (Ctrl-L) whenever something came.
    pub(crate) fn painted(&mut self, words: &str) {
        self.wait(words, true);
    }

    fn wait(&mut self, words: &str, repaint: bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.seen.find(words) {
                self.seen.drain(..place + words.len());
                return;
            }
            if repaint && !self.asked {
                self.keys("\u{c}");
                self.asked = true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.came.recv_timeout(left) {
                // While it paints there is always something.
                Ok(piece) if !left.is_zero() => {
                    // Asked once more only when it has begun: a program that lags would never come to the keys behind.
                    let before = self.seen.len().saturating_sub(CLEAR.len() - 1);
                    self.seen.push_str(&String::from_utf8_lossy(&piece));
                    let new = &self.seen.as_bytes()[before..];
                    self.asked &= !new.windows(CLEAR.len()).any(|octets| octets == CLEAR);
                }
                _ => panic!("no {words:?} in {:?}", self.seen),
            }
        }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.terminal, size).unwrap();
        // The terminal is nobody's controlling one, so the system tells nobody.
        self.signal(Signal::WINCH);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.0.as_ref().unwrap()), signal).unwrap();
    }

    /// Lines are edited and keys echoed: nobody has the terminal to itself.
    pub(crate) fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Closes the terminal under the command.
    pub(crate) fn abandon(mut self) -> Child {
        self.child.0.take().unwrap()
    }

    /// Waits for the end of the command; what it wrote that was not waited for.
    pub(crate) fn ended(mut self) -> (Ran, String, bool) {
        let ran = ended(self.child.0.take().unwrap());
        let as_before = self.is_as_before();
        // The last to hold the other side lets go, so the reader comes to its end.
        drop(self.terminal);
        let rest: Vec<u8> = self.came.iter().flatten().collect();
        (ran, self.seen.clone() + &String::from_utf8_lossy(&rest), as_before)
    }
}
