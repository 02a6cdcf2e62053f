//! What a child process writes, line by line, for who waits for one of its lines.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Streams that may still bring lines.
    open: usize,
}

/// The lines of one process. A thread of its own reads each of its streams, so the process never waits for us.
#[derive(Default)]
pub(crate) struct Written {
    state: Mutex<State>,
    changed: Condvar,
}

impl Written {
    /// Reads one more stream to its end.
    pub(crate) fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let sink = Arc::clone(self);
        self.state.lock().unwrap().open += 1;
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.state.lock().unwrap().lines.push(line);
                sink.changed.notify_all();
            }
            sink.state.lock().unwrap().open -= 1;
            sink.changed.notify_all();
        });
    }

    /// Waits for a line that `fits`; none when every stream has ended without one, or in the end.
    pub(crate) fn line(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(line) = state.lines.iter().find(|line| fits(line)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for the end of every stream; false when that takes too long.
    pub(crate) fn ended(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        true
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }
}
