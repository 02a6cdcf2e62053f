//! The way of lines to a file: a bounded queue and a thread of its own. Who has a line never waits; a line that
//! finds no room is dropped and counted. Formats nothing.
//!
//! Invariant: every line given is either written, counted as dropped, or still on its way; what is written are whole
//! lines, even after a write that failed in the middle of one.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait at most: some megabytes, or a second of a busy server.
const LINES: usize = 4096;
/// Octets that are written at once, about.
const BATCH: usize = 64 << 10;

/// Told how many lines were dropped just now.
pub(super) type OnDrop = Box<dyn Fn(u64) + Send + Sync>;

/// See the module.
pub(super) struct Writer {
    lines: SyncSender<String>,
    shared: Arc<Shared>,
}

struct Shared {
    accepted: AtomicU64,
    /// Lines the thread is done with.
    done: Mutex<u64>,
    changed: Condvar,
    dropped: AtomicU64,
    on_drop: OnDrop,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(out: Box<dyn Write + Send>, on_drop: OnDrop) -> std::io::Result<Self> {
        let (lines, taken) = sync_channel(LINES);
        let shared = Arc::new(Shared {
            accepted: AtomicU64::new(0),
            done: Mutex::new(0),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
            on_drop,
        });
        let kept = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || Out { out, torn: false, failing: false, shared: kept }.run(&taken))?;
        Ok(Self { lines, shared })
    }

    /// Gives a line with its line feed.
    pub(super) fn write(&self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) => {
                self.shared.accepted.fetch_add(1, Ordering::Release);
            }
            Err(_) => self.shared.drop_lines(1),
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line given before is written; false where that takes longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let goal = self.shared.accepted.load(Ordering::Acquire);
        let deadline = Instant::now() + limit;
        let mut done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        while *done < goal {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(done, left);
            done = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        (self.on_drop)(lines);
    }
}

/// The thread's half.
struct Out {
    out: Box<dyn Write + Send>,
    /// The last octet written was none of the end of a line.
    torn: bool,
    /// The last write failed, and that was said.
    failing: bool,
    shared: Arc<Shared>,
}

impl Out {
    fn run(mut self, lines: &Receiver<String>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(line) = lines.recv() {
            batch.clear();
            let mut count = 1;
            batch.extend_from_slice(line.as_bytes());
            while batch.len() < BATCH
                && let Ok(line) = lines.try_recv()
            {
                count += 1;
                batch.extend_from_slice(line.as_bytes());
            }
            self.put(&batch);
            *self.shared.done.lock().unwrap_or_else(PoisonError::into_inner) += count;
            self.shared.changed.notify_all();
        }
    }

    fn put(&mut self, batch: &[u8]) {
        match self.mend().and_then(|()| self.put_all(batch)) {
            Ok(()) => self.failing = false,
            Err((error, rest)) => {
                // The line that was cut counts, too.
                let rest = rest.unwrap_or(batch);
                let lost = rest.iter().filter(|octet| **octet == b'\n').count() as u64;
                self.shared.drop_lines(lost);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the access log cannot be written; its lines are dropped until it can");
                }
            }
        }
    }

    /// Ends a line that was cut.
    fn mend<'a>(&mut self) -> Result<(), (std::io::Error, Option<&'a [u8]>)> {
        if self.torn {
            self.out.write_all(b"\n").map_err(|error| (error, None))?;
            self.torn = false;
        }
        Ok(())
    }

    fn put_all<'a>(&mut self, batch: &'a [u8]) -> Result<(), (std::io::Error, Option<&'a [u8]>)> {
        let mut rest = batch;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err((std::io::ErrorKind::WriteZero.into(), Some(rest))),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, Some(rest))),
            }
        }
        self.out.flush().map_err(|error| (error, Some(rest)))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    type Page = Arc<Mutex<Vec<u8>>>;

    /// Takes writes only when it is told to, a number of octets each; 0 is an error.
    struct Gate(Receiver<usize>, Page);

    impl Write for Gate {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            match self.0.recv() {
                Ok(0) => Err(io::ErrorKind::StorageFull.into()),
                Ok(most) => {
                    let taken = octets.len().min(most);
                    self.1.lock().unwrap().extend_from_slice(&octets[..taken]);
                    Ok(taken)
                }
                Err(_) => Ok(octets.len()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Writer, Sender<usize>, Page, Arc<AtomicU64>) {
        let (open, gate) = channel();
        let written = Page::default();
        let told = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&told);
        let on_drop = Box::new(move |lines| {
            counter.fetch_add(lines, Ordering::Relaxed);
        });
        let writer = Writer::start(Box::new(Gate(gate, Arc::clone(&written))), on_drop).unwrap();
        (writer, open, written, told)
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_no_time() {
        let (writer, open, _written, told) = gated();
        let batch = "x".repeat(BATCH) + "\n";
        writer.write(batch);
        // Whatever the thread has taken already, this is more than there is room for.
        for _ in 0..LINES + 10 {
            writer.write("line\n".into());
        }
        let dropped = writer.dropped();
        assert!((10..=11).contains(&dropped), "{dropped}");
        assert_eq!(told.load(Ordering::Relaxed), dropped);
        assert!(!writer.flush(Duration::from_millis(1)), "nothing can be written");
        drop(open);
        assert!(writer.flush(PATIENCE));
        assert_eq!(writer.dropped(), dropped);
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next() {
        let (writer, open, written, _) = gated();
        for octets in [6, 0, 100, 100, 100] {
            open.send(octets).unwrap();
        }
        writer.write("first line\n".into());
        assert!(writer.flush(PATIENCE));
        assert_eq!(writer.dropped(), 1);
        writer.write("second line\n".into());
        assert!(writer.flush(PATIENCE));
        assert_eq!(*written.lock().unwrap(), b"first \nsecond line\n");
        assert_eq!(writer.dropped(), 1);
    }
}
