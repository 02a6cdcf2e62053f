//! A thread that meddles with files while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A thread that does something over and over for as long as this lives.
pub(crate) struct Meddler {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Meddler {
    pub(crate) fn new(mut meddle: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while !stopped.load(Ordering::Relaxed) {
                meddle();
                times += 1;
            }
            times
        });
        Self { stop, thread: Some(thread) }
    }

    /// How often it was done.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
