//! Whose turn is next on an arbiter: a session that another one wakes in its turn runs right after it, while what they
//! share is still in the nearest cache, and not behind everybody else who waits.
//!
//! A gateway is two sessions for each request, a client's and an upstream's, and each hands the other a burst at a time.
//! In the runtime's queue, which is first in first out, every other session's burst would come between the two.
//!
//! Knows nothing of what sessions do, and orders nothing but those of its thread. Invariants: whoever is woken has a turn,
//! be it here or by the runtime; a session that wakes itself goes to the end of the runtime's queue; one turn by the
//! runtime brings at most [`MOST`] others, so that nobody waits for long.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use actix::prelude::*;
use futures_util::task::AtomicWaker;
use stagedoor_metrics::SessionId;

use crate::events::PanicPlace;
use crate::host::Arena;
use crate::session::Session;
use crate::supervise::{Child, hatch};

/// Turns of others that follow one turn by the runtime.
const MOST: usize = 16;

thread_local! {
    static TURNS: Turns = Turns::default();
}

/// Names sessions across all threads.
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// The sessions of a thread.
#[derive(Default)]
struct Turns {
    known: RefCell<HashMap<u64, Weak<dyn Turn>>>,
    /// Whose turn it is.
    running: Cell<Option<u64>>,
    /// Who comes next.
    next: RefCell<VecDeque<u64>>,
    /// How many have come since the runtime gave a turn.
    spent: Cell<usize>,
}

/// What has turns.
trait Turn {
    /// Has one; true when it is over.
    fn turn(&self) -> bool;
    /// Lets the runtime wake it.
    fn wake(&self);
}

/// A session and how it is woken.
struct Runner<F> {
    session: RefCell<Option<F>>,
    bell: Arc<Bell>,
    /// That of `bell`.
    waker: Waker,
}

/// The waker of a session, from whatever thread.
struct Bell {
    key: u64,
    /// It comes next on its thread.
    next: AtomicBool,
    runtime: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let comes_next = TURNS.try_with(|turns| turns.comes_next(self)).unwrap_or(false);
        if !comes_next {
            self.runtime.wake();
        }
    }
}

impl Turns {
    /// Lets a session come next, where another one is at its turn and there is room; false where the runtime is to wake it.
    fn comes_next(&self, bell: &Bell) -> bool {
        if self.running.get().is_none_or(|running| running == bell.key) {
            return false;
        }
        if bell.next.load(Ordering::Relaxed) {
            return true;
        }
        let mut next = self.next.borrow_mut();
        if self.spent.get() + next.len() >= MOST || !self.known.borrow().contains_key(&bell.key) {
            return false;
        }
        bell.next.store(true, Ordering::Relaxed);
        next.push_back(bell.key);
        true
    }

    /// Gives those their turns who were woken.
    fn run_next(&self) {
        loop {
            let Some(key) = self.next.borrow_mut().pop_front() else { break };
            self.spent.set(self.spent.get() + 1);
            let runner = self.known.borrow().get(&key).and_then(Weak::upgrade);
            if let Some(runner) = runner
                && runner.turn()
            {
                // Its task ends with it.
                runner.wake();
            }
        }
        self.spent.set(0);
    }
}

impl<F: Future<Output = ()> + Unpin> Turn for Runner<F> {
    fn turn(&self) -> bool {
        self.bell.next.store(false, Ordering::Relaxed);
        let Ok(mut session) = self.session.try_borrow_mut() else {
            self.wake();
            return false;
        };
        let Some(future) = &mut *session else { return true };
        let polled = {
            let _running = Running::begin(self.bell.key);
            Pin::new(future).poll(&mut Context::from_waker(&self.waker))
        };
        if polled.is_ready() {
            *session = None;
        }
        polled.is_ready()
    }

    fn wake(&self) {
        self.bell.runtime.wake();
    }
}

/// Whose turn it is, for as long as it lasts: a panic ends it too.
struct Running {
    before: Option<u64>,
}

impl Running {
    fn begin(key: u64) -> Self {
        Self { before: Self::set(Some(key)) }
    }

    fn set(key: Option<u64>) -> Option<u64> {
        TURNS.try_with(|turns| turns.running.replace(key)).ok().flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        Self::set(self.before);
    }
}

impl<F> Drop for Runner<F> {
    fn drop(&mut self) {
        let _ = TURNS.try_with(|turns| turns.known.borrow_mut().remove(&self.bell.key));
    }
}

/// A session as the runtime has it.
struct Task<F>(Rc<Runner<F>>);

impl<F: Future<Output = ()> + Unpin> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let runner = &self.0;
        runner.bell.runtime.register(cx.waker());
        let over = runner.turn();
        TURNS.with(Turns::run_next);
        if over { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Starts a session on the calling thread.
pub(crate) fn start(session: Session) -> Addr<Session> {
    let (arena, id) = (session.arena(), session.stats().id());
    let (addr, child) = hatch(session, ());
    spawn(Lived { child, arena, id });
    addr
}

/// A session to its end, however that comes.
struct Lived {
    child: Child<Session, ()>,
    arena: Rc<Arena>,
    id: SessionId,
}

impl Future for Lived {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.child).poll(cx).map(|exit| {
            if let Some(panic) = exit.panic {
                tracing::error!(panic, "a session panicked outside of its turn");
                self.arena.caught(Some(self.id), None, PanicPlace::Session, &panic);
            }
        })
    }
}

fn spawn(session: impl Future<Output = ()> + Unpin + 'static) {
    let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
    let bell = Arc::new(Bell { key, next: AtomicBool::new(false), runtime: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&bell));
    let runner = Rc::new(Runner { session: RefCell::new(Some(session)), bell, waker });
    let known = Rc::downgrade(&runner) as Weak<dyn Turn>;
    TURNS.with(|turns| turns.known.borrow_mut().insert(key, known));
    actix_rt::spawn(Task(runner));
}

#[cfg(test)]
mod tests {
    use super::*;

    type Log = Rc<RefCell<Vec<&'static str>>>;
    type Wakers = Rc<RefCell<HashMap<&'static str, Waker>>>;

    /// Writes its name at each turn and wakes others, until it has had `left` turns.
    struct Player {
        name: &'static str,
        wakes: &'static [&'static str],
        left: usize,
        log: Log,
        wakers: Wakers,
    }

    impl Future for Player {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if self.wakers.borrow_mut().insert(self.name, cx.waker().clone()).is_none() {
                // Its first turn is for all to learn whom they can wake.
                return Poll::Pending;
            }
            self.log.borrow_mut().push(self.name);
            for name in self.wakes {
                if let Some(waker) = self.wakers.borrow().get(name) {
                    waker.wake_by_ref();
                }
            }
            self.left -= 1;
            if self.left == 0 { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    /// Lets them play until nobody has a turn left that somebody wakes; who had turns, in order.
    fn played(
        players: &[(&'static str, &'static [&'static str], usize)],
        first: &[&str],
    ) -> Vec<&'static str> {
        let (log, wakers) = (Log::default(), Wakers::default());
        actix_rt::System::new().block_on(async {
            for &(name, wakes, turns) in players {
                let (log, wakers) = (Rc::clone(&log), Rc::clone(&wakers));
                spawn(Player { name, wakes, left: turns, log, wakers });
            }
            while wakers.borrow().len() < players.len() {
                tokio::task::yield_now().await;
            }
            for name in first {
                let waker = wakers.borrow().get(name).cloned();
                waker.into_iter().for_each(Waker::wake);
            }
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        });
        log.take()
    }

    #[test]
    fn who_is_woken_in_a_turn_comes_right_after_it() {
        let order =
            played(&[("c", &[], 9), ("b", &["d"], 1), ("a", &["c", "c"], 1), ("d", &[], 9)], &["a", "b"]);
        assert_eq!(order, ["a", "c", "b", "d"]);
    }

    #[test]
    fn who_wakes_itself_goes_to_the_end() {
        let order = played(&[("b", &[], 1), ("a", &["a"], 2)], &["a", "b"]);
        assert_eq!(order, ["a", "b", "a"]);
    }

    #[test]
    fn two_that_wake_each_other_keep_nobody_from_a_turn() {
        let order = played(&[("b", &["a"], 50), ("a", &["b"], 50), ("c", &[], 1)], &["a", "c"]);
        let turn = order.iter().position(|name| *name == "c");
        assert_eq!(turn, Some(1 + MOST), "{order:?}");
        assert_eq!(order.len(), 101, "nobody is forgotten: {order:?}");
    }

    #[test]
    fn a_waker_works_from_another_thread_and_after_the_end() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let wakers = Wakers::default();
        let (log, known) = (Rc::clone(&order), Rc::clone(&wakers));
        actix_rt::System::new().block_on(async move {
            spawn(Player { name: "a", wakes: &[], left: 1, log: Rc::clone(&log), wakers: Rc::clone(&known) });
            while known.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
            let waker = known.borrow().get("a").cloned().expect("it had a turn");
            let again = waker.clone();
            std::thread::spawn(move || waker.wake()).join().expect("no panic");
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(*log.borrow(), ["a"]);
            TURNS.with(|turns| assert!(turns.known.borrow().is_empty(), "it is over"));
            again.wake();
        });
        assert_eq!(order.borrow().len(), 1);
    }
}
