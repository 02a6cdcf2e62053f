//! A thread that meddles with files while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A thread that does something over and over for as long as this lives.
pub(crate) struct Meddler {
    stop: Arc<AtomicBool>,
    times: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Meddler {
    pub(crate) fn new(mut meddle: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let times = Arc::<AtomicU64>::default();
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&times));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                meddle();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, times, thread: Some(thread) }
    }

    /// How often it was done so far.
    pub(crate) fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }

    /// How often it was done.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.times()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
