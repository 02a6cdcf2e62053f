//! One render for several scrapers: two Prometheus servers of a pair ask at the same moment.
//!
//! Invariants: one render or compression at a time, since all of it happens behind one lock; what is
//! handed out is at most [`FRESH`] old when it is asked for.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::{Compression, GzBuilder};

use super::Format;
use crate::shard::unpoisoned;

/// How long a render is shared.
const FRESH: Duration = Duration::from_millis(250);

/// The latest renders, by format.
#[derive(Debug, Default)]
pub(crate) struct Scrapes(Mutex<[Option<Latest>; Format::ALL.len()]>);

#[derive(Debug)]
struct Latest {
    made: Instant,
    plain: Arc<[u8]>,
    gzip: Option<Arc<[u8]>>,
}

impl Scrapes {
    /// The latest render of a format, or a new one. Blocks while another scraper's is being made.
    pub(crate) fn share(
        &self,
        format: Format,
        gzip: bool,
        clock: impl Fn() -> Instant,
        render: impl FnOnce(Instant) -> Vec<u8>,
    ) -> Arc<[u8]> {
        let mut latest = unpoisoned(&self.0);
        let latest = &mut latest[format as usize];
        // Read behind the lock: whoever waited for it takes what was made meanwhile.
        let now = clock();
        let stale = |latest: &Latest| now.saturating_duration_since(latest.made) > FRESH;
        if latest.as_ref().is_some_and(stale) {
            *latest = None;
        }
        let latest = latest.get_or_insert_with(|| {
            let plain = render(now).into();
            Latest { made: clock(), plain, gzip: None }
        });
        if gzip {
            Arc::clone(latest.gzip.get_or_insert_with(|| compress(&latest.plain).into()))
        } else {
            Arc::clone(&latest.plain)
        }
    }
}

/// gzip (RFC 1952) at the fastest level.
fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::with_capacity(plain.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Read as _;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_render_is_shared_for_250_ms_by_format() {
        let scrapes = Scrapes::default();
        let now = Cell::new(Instant::now());
        let renders = Cell::new(0);
        let share = |format, gzip| {
            scrapes.share(
                format,
                gzip,
                || now.get(),
                |_| {
                    renders.set(renders.get() + 1);
                    format!("{} {format:?}", renders.get()).into_bytes()
                },
            )
        };
        assert_eq!(&*share(Format::Text, false), b"1 Text");
        now.set(now.get() + FRESH);
        assert_eq!(&*share(Format::Text, false), b"1 Text");
        assert_eq!(&*share(Format::OpenMetrics, false), b"2 OpenMetrics");
        let packed = share(Format::Text, true);
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&*packed).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, "1 Text");
        assert!(Arc::ptr_eq(&packed, &share(Format::Text, true)), "packed once");
        now.set(now.get() + Duration::from_millis(1));
        assert_eq!(&*share(Format::Text, false), b"3 Text");
    }

    #[test]
    fn who_comes_during_a_render_waits_and_takes_its_result() {
        let scrapes = Scrapes::default();
        let renders = AtomicUsize::new(0);
        let (now, start) = (Instant::now(), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let made = scrapes.share(
                        Format::Text,
                        false,
                        || now,
                        |_| {
                            renders.fetch_add(1, Ordering::Relaxed);
                            vec![b'x']
                        },
                    );
                    assert_eq!(&*made, b"x");
                });
            }
        });
        assert_eq!(renders.load(Ordering::Relaxed), 1);
    }
}
