//! Runs a test: an actix System on the calling thread, a deadline, and the clock that stands still.
//!
//! Knows nothing of HTTP. Invariant: a test that waits for what never comes fails, in real time and in paused time.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::System;
use tokio::time::{self, Instant};

/// How long a test may take in all, and how long it waits for one thing.
#[derive(Clone, Copy)]
struct Patience {
    whole: Duration,
    one: Duration,
}

const REAL: Patience = Patience { whole: Duration::from_secs(60), one: Duration::from_secs(10) };
/// Of the paused clock: beyond any timer a session has, and still soon come to.
const PAUSED: Patience =
    Patience { whole: Duration::from_secs(30 * 24 * 3600), one: Duration::from_secs(24 * 3600) };

/// Turns of the runtime that [`settle`] gives everybody else: a message from a client to a handler and back takes
/// some five.
const TURNS: usize = 64;

thread_local! {
    static PATIENCE: Cell<Duration> = const { Cell::new(REAL.one) };
}

/// How long to wait for one thing on this thread.
pub(super) fn patience() -> Duration {
    PATIENCE.get()
}

/// Runs a test to its end on the calling thread, so that it can be a plain `#[test] fn`. What it opened is ended when
/// this returns.
///
/// ```
/// let answer = stagedoor::testing::run(async {
///     tokio::task::spawn_local(async { 6 * 7 }).await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
/// As the test does, and after a minute: it hangs. Inside another runtime.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    drive(System::new(), REAL, test)
}

/// [`run`] with a clock that stands still. It moves where [`Clock::advance`] moves it, and by itself whenever nobody
/// can go on without it: it then jumps to the next timer of whoever waits. So every `sleep` and every timeout of the
/// test, the handlers and the sessions costs no real time, and comes in order.
///
/// What that means: to wait for something that never happens is to let all timers of the sessions expire one after
/// the other, until a day of fake time has passed and the test fails. And work on other threads
/// (`spawn_blocking`, files) holds the clock until it is done, while work the runtime does not know of does not: the clock may
/// jump while it is under way.
///
/// ```
/// use std::time::Duration;
/// stagedoor::testing::run_paused(async |clock| {
///     tokio::time::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// });
/// ```
///
/// # Panics
/// As the test does, and after thirty days of fake time. Inside another runtime.
pub fn run_paused<T>(test: impl AsyncFnOnce(Clock) -> T) -> T {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    };
    let test = async { test(Clock { start: Instant::now(), here: PhantomData }).await };
    drive(System::with_tokio_rt(runtime), PAUSED, test)
}

fn drive<T>(system: actix_rt::SystemRunner, patience: Patience, test: impl Future<Output = T>) -> T {
    let before = PATIENCE.replace(patience.one);
    let result = system.block_on(async {
        let result = time::timeout(patience.whole, test).await;
        // What the test held is dropped: its sessions end now.
        settle().await;
        result
    });
    PATIENCE.set(before);
    result.unwrap_or_else(|_| panic!("the test hangs: it is not over after {:?}", patience.whole))
}

/// Lets everything run that can run: sessions that have something to read, handlers that were woken. Takes no time
/// on a paused clock, and does not wait for timers.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// stagedoor::testing::run(async {
///     let told = Rc::new(Cell::new(false));
///     let theirs = Rc::clone(&told);
///     tokio::task::spawn_local(async move { theirs.set(true) });
///     assert!(!told.get());
///     stagedoor::testing::settle().await;
///     assert!(told.get());
/// });
/// ```
pub async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// The clock of [`run_paused`]: sessions, handlers and the test read the same.
///
/// ```
/// use std::time::Duration;
///
/// stagedoor::testing::run_paused(async |clock| {
///     let before = clock.now();
///     clock.advance(Duration::from_secs(60)).await;
///     assert_eq!(clock.now() - before, Duration::from_secs(60));
/// });
/// ```
pub struct Clock {
    start: Instant,
    /// Belongs to the thread whose clock it is.
    here: PhantomData<Rc<()>>,
}

impl Clock {
    /// Moves the time by `by`, a whole number of milliseconds (more is rounded up). Goes from timer to timer, so whatever
    /// becomes due on the way runs at its own time and may set another timer; then lets everything run that became due
    /// at the end.
    pub async fn advance(&self, by: Duration) {
        time::sleep(by).await;
        settle().await;
    }

    /// Fake time since the test began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The fake time now.
    pub fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_on_the_way_are_due_at_their_own_time() {
        run_paused(async |clock| {
            let seen = Rc::new(Cell::new(Duration::ZERO));
            let (theirs, start) = (Rc::clone(&seen), clock.start);
            tokio::task::spawn_local(async move {
                time::sleep(Duration::from_millis(700)).await;
                time::sleep(Duration::from_millis(300)).await;
                theirs.set(start.elapsed());
            });
            settle().await;
            clock.advance(Duration::from_secs(3600)).await;
            assert_eq!(seen.get(), Duration::from_secs(1));
            assert_eq!(clock.elapsed(), Duration::from_secs(3600));
        });
    }

    #[test]
    #[should_panic(expected = "the test hangs")]
    fn a_test_that_waits_for_ever_fails_at_once_on_a_paused_clock() {
        run_paused(async |_| std::future::pending::<()>().await);
    }
}
