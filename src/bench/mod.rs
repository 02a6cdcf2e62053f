//! `stagedoor bench`: a closed load through our own client, and what came of it.
//!
//! This file plans, starts the threads, and knows when to stop; `worker.rs` makes the requests, `tally.rs` counts,
//! `report.rs` tells. Invariants: it ends by itself, by its number, its time, or because nothing moves; every request that
//! was begun is counted as answered, failed or unfinished, once.

mod report;
mod tally;
mod worker;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use indicatif::{ProgressBar, ProgressStyle};
use stagedoor::Fields;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cli::BenchArgs;
use crate::failure::{Exit, Failure};
use crate::reach::{self, Url};
use crate::resources;
use report::Report;
use tally::Tally;

/// How long a load lasts that names neither number nor time.
const DURATION: Duration = Duration::from_secs(10);

/// Requests that are under way when the time is up may go on for so long.
const GRACE: Duration = Duration::from_secs(5);

/// A load of which nothing moves for so long is over.
const STUCK: Duration = Duration::from_secs(30);

/// How often the control looks.
const PACE: Duration = Duration::from_millis(100);

/// What is asked for.
struct Plan {
    url: Url,
    fields: Fields,
    connections: usize,
    streams: usize,
    end: End,
    threads: usize,
}

#[derive(Clone, Copy)]
enum End {
    Requests(u64),
    After(Duration),
}

/// How a load is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// What is under way is cut off.
    Now,
}

/// What the threads share.
struct Shared {
    /// Requests that may still begin.
    left: AtomicU64,
    /// No request begins any more.
    ending: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    octets: AtomicU64,
    /// Some connection came up once.
    connected: AtomicBool,
    stop: watch::Receiver<Stop>,
}

impl Shared {
    /// No request will begin any more.
    fn is_over(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.left.load(Ordering::Relaxed) == 0
    }

    /// Leave to begin a request.
    fn begin(&self) -> bool {
        !self.ending.load(Ordering::Relaxed)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }

    /// Changes while anything moves.
    fn moved(&self) -> u64 {
        let figures = [&self.answered, &self.failed, &self.octets];
        figures.iter().fold(0, |sum, figure| sum.wrapping_add(figure.load(Ordering::Relaxed)))
    }
}

/// Puts the load on and tells what came of it on stdout.
///
/// # Errors
/// Bad arguments, no connection at all, requests that were not answered.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let plan = Arc::new(plan(args)?);
    let (tally, elapsed) = actix_rt::System::new().block_on(load(&plan))?;
    let report = Report { plan: &plan, tally: &tally, elapsed };
    if args.json || tally.connections > 0 {
        let text = if args.json { report.json() } else { report.text() };
        // Whoever closed stdout does not want to know.
        let _ = io::stdout().write_all(text.as_bytes());
    }
    if let Some(error) = &tally.unreachable {
        return Err(Failure::new(Exit::Reach, error.clone()));
    }
    match tally.failed() + tally.unfinished {
        0 => Ok(()),
        lost => {
            let begun = tally.answered() + lost;
            Err(Failure::new(Exit::Input, format!("{lost} of {begun} requests were not answered")))
        }
    }
}

fn plan(args: &BenchArgs) -> Result<Plan, Failure> {
    let url = Url::parse(&args.url, args.h2c)?;
    let fields = reach::fields(&args.fields)?;
    let connections = args.connections as usize;
    let most = resources::raise_and_count_sessions();
    if connections > most {
        let words = format!(
            "{connections} connections need more open files than this process may have; {most} would do"
        );
        return Err(Failure::new(Exit::Input, words).with_way_out("ulimit -n raises the limit"));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, usize::from).min(connections);
    let end = match (args.requests, args.duration) {
        (Some(requests), _) => End::Requests(requests),
        (None, duration) => End::After(duration.unwrap_or(DURATION)),
    };
    Ok(Plan { url, fields, connections, streams: args.streams as usize, end, threads })
}

async fn load(plan: &Arc<Plan>) -> Result<(Tally, Duration), Failure> {
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")))?;
    let (order, stop) = watch::channel(Stop::No);
    let left = match plan.end {
        End::Requests(requests) => requests,
        End::After(_) => u64::MAX,
    };
    let shared = Arc::new(Shared {
        left: AtomicU64::new(left),
        ending: AtomicBool::new(false),
        answered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        octets: AtomicU64::new(0),
        connected: AtomicBool::new(false),
        stop,
    });
    let began = Instant::now();
    let (report, mut tallies) = mpsc::unbounded_channel();
    let arbiters: Vec<Arbiter> = (0..plan.threads).map(|_| Arbiter::new()).collect();
    for (index, arbiter) in arbiters.iter().enumerate() {
        let share = plan.connections / plan.threads + usize::from(index < plan.connections % plan.threads);
        let (plan, shared, report) = (Arc::clone(plan), Arc::clone(&shared), report.clone());
        arbiter.spawn_fn(move || {
            actix_rt::spawn(async move {
                let tally = worker::run(&plan, &shared, share).await;
                // The control waits for it.
                let _ = report.send(tally);
            });
        });
    }
    drop(report);

    let mut whole = Tally::new();
    let mut waiting = plan.threads;
    let line = live_line();
    let mut control = Control::new(plan.end, began);
    while waiting > 0 {
        tokio::select! {
            tally = tallies.recv() => match tally {
                Some(tally) => {
                    whole.add(tally);
                    waiting -= 1;
                }
                None => return Err(Failure::new(Exit::Bug, "a thread of the load is gone")),
            },
            () = control.turn(&mut interrupts, &shared) => {
                line.set_message(message(&shared, began.elapsed()));
                if control.cut() {
                    // The threads hold the other ends.
                    let _ = order.send(Stop::Now);
                }
            }
        }
    }
    line.finish_and_clear();
    // Good-byes of the connections are no part of the load.
    let elapsed = whole.last.map_or_else(|| began.elapsed(), |last| last.duration_since(began));
    for arbiter in arbiters {
        arbiter.stop();
        if arbiter.join().is_err() {
            return Err(Failure::new(Exit::Bug, "a thread of the load panicked"));
        }
    }
    Ok((whole, elapsed))
}

/// When the load ends, and when it is cut off.
struct Control {
    /// No request begins after it.
    until: Option<Instant>,
    /// What is under way is cut off then.
    cut_at: Option<Instant>,
    moved: u64,
    moved_at: Instant,
}

impl Control {
    fn new(end: End, began: Instant) -> Self {
        let until = match end {
            End::Requests(_) => None,
            End::After(duration) => Some(began + duration),
        };
        Self { until, cut_at: None, moved: 0, moved_at: began }
    }

    /// Waits for the next moment something may have to be decided.
    async fn turn(&mut self, interrupts: &mut Signal, shared: &Shared) {
        let wake = [Some(Instant::now() + PACE), self.until, self.cut_at].into_iter().flatten().min();
        let wake = wake.unwrap_or_else(Instant::now);
        let mut interrupted = false;
        tokio::select! {
            _ = interrupts.recv() => interrupted = true,
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        self.decide(Instant::now(), interrupted, shared);
    }

    fn decide(&mut self, now: Instant, interrupted: bool, shared: &Shared) {
        let moved = shared.moved();
        if moved != self.moved {
            (self.moved, self.moved_at) = (moved, now);
        }
        if now >= self.moved_at + STUCK {
            self.cut_at = Some(now);
        }
        if interrupted || self.until.is_some_and(|until| now >= until) {
            self.until = None;
            // The second Ctrl-C does not wait.
            let ending = shared.ending.swap(true, Ordering::Relaxed);
            self.cut_at = Some(if interrupted && ending { now } else { now + GRACE });
        }
    }

    /// The load is to be cut off; said once.
    fn cut(&mut self) -> bool {
        self.cut_at.take_if(|at| Instant::now() >= *at).is_some()
    }
}

/// One line on stderr where that is a terminal.
fn live_line() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let line = ProgressBar::new_spinner();
    // The template is a constant; a broken one would only look plain.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    line.enable_steady_tick(PACE);
    line
}

fn message(shared: &Shared, elapsed: Duration) -> String {
    let answered = shared.answered.load(Ordering::Relaxed);
    let rate = answered as f64 / elapsed.as_secs_f64().max(0.001);
    let failed = match shared.failed.load(Ordering::Relaxed) {
        0 => String::new(),
        failed => format!("   {failed} failed"),
    };
    let seconds = elapsed.as_secs_f64();
    format!("{seconds:.1} s   {answered} answered   {rate:.0} /s{failed}   Ctrl-C ends it with these figures")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> (Shared, watch::Sender<Stop>) {
        let (order, stop) = watch::channel(Stop::No);
        let zero = || AtomicU64::new(0);
        let (ending, connected) = (AtomicBool::new(false), AtomicBool::new(true));
        let shared = Shared {
            left: AtomicU64::new(2),
            ending,
            answered: zero(),
            failed: zero(),
            octets: zero(),
            connected,
            stop,
        };
        (shared, order)
    }

    #[test]
    fn no_more_requests_begin_than_were_asked_for() {
        let (shared, _order) = shared();
        assert_eq!([shared.begin(), shared.begin()], [true, true]);
        assert!(shared.is_over() && !shared.begin());
    }

    #[test]
    fn when_the_time_is_up_nothing_begins_and_the_rest_has_its_grace() {
        let (shared, _order) = shared();
        let began = Instant::now();
        let mut control = Control::new(End::After(Duration::from_secs(1)), began);
        control.decide(began + Duration::from_millis(999), false, &shared);
        assert_eq!((control.cut_at, shared.ending.load(Ordering::Relaxed)), (None, false));
        control.decide(began + Duration::from_secs(1), false, &shared);
        assert_eq!(control.cut_at, Some(began + Duration::from_secs(1) + GRACE));
        assert!(!shared.begin());
    }

    #[test]
    fn the_second_interrupt_does_not_wait() {
        let (shared, _order) = shared();
        let began = Instant::now();
        let mut control = Control::new(End::Requests(10), began);
        control.decide(began, true, &shared);
        assert_eq!(control.cut_at, Some(began + GRACE));
        control.decide(began, true, &shared);
        assert_eq!(control.cut_at, Some(began));
    }

    #[test]
    fn a_load_of_which_nothing_moves_is_cut_off() {
        let (shared, _order) = shared();
        let began = Instant::now();
        let mut control = Control::new(End::Requests(10), began);
        shared.octets.store(1, Ordering::Relaxed);
        control.decide(began + STUCK / 2, false, &shared);
        control.decide(began + STUCK, false, &shared);
        assert_eq!(control.cut_at, None, "octets came meanwhile");
        control.decide(began + STUCK * 3 / 2, false, &shared);
        assert!(control.cut_at.is_some());
    }
}
