//! Deadlines of exchanges, looked at ten times a second: a request registers and goes without touching the timers of the
//! runtime.
//!
//! Belongs to one thread. Invariant: a deadline is told within a tick of being over, never before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How often it is looked.
const TICK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Default)]
pub(crate) struct Deadlines {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
    held: Cell<usize>,
    ticking: Cell<bool>,
}

struct Entry {
    /// `None` is off.
    due: Option<Instant>,
    waker: Option<Waker>,
    over: bool,
}

/// A deadline; gone when it is dropped.
pub(crate) struct Deadline {
    of: Rc<Deadlines>,
    at: usize,
}

impl Deadlines {
    /// A deadline that is off.
    pub(crate) fn register(self: &Rc<Self>) -> Deadline {
        let mut entries = self.entries.borrow_mut();
        let entry = Entry { due: None, waker: None, over: false };
        let at = match self.free.borrow_mut().pop() {
            Some(at) => {
                entries[at] = entry;
                at
            }
            None => {
                entries.push(entry);
                entries.len() - 1
            }
        };
        self.held.set(self.held.get() + 1);
        if !self.ticking.replace(true) {
            actix_rt::spawn(Rc::clone(self).tick());
        }
        Deadline { of: Rc::clone(self), at }
    }

    /// Looks until nobody has a deadline any more.
    async fn tick(self: Rc<Self>) {
        let mut idle = 0;
        loop {
            tokio::time::sleep(TICK).await;
            if self.held.get() > 0 {
                idle = 0;
                self.look(tokio::time::Instant::now().into_std());
                continue;
            }
            idle += 1;
            if idle == 20 {
                // Not one request in two seconds: the room they took is given back, and the next one starts another.
                self.ticking.set(false);
                self.free.take();
                self.entries.take();
                return;
            }
        }
    }

    fn look(&self, now: Instant) {
        let mut woken = Vec::new();
        for entry in &mut *self.entries.borrow_mut() {
            if !entry.over && entry.due.is_some_and(|due| due <= now) {
                entry.over = true;
                woken.extend(entry.waker.take());
            }
        }
        for waker in woken {
            waker.wake();
        }
    }
}

impl Deadline {
    /// True once `due` is over; wakes `cx` then. A later `due` puts it off.
    pub(crate) fn is_over(&self, due: Instant, cx: &Context<'_>) -> bool {
        let mut entries = self.of.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.at) else { return false };
        if entry.over && entry.due == Some(due) {
            return true;
        }
        entry.over = false;
        entry.due = Some(due);
        if !entry.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        false
    }

    /// Off until it is asked again.
    pub(crate) fn rest(&self) {
        if let Some(entry) = self.of.entries.borrow_mut().get_mut(self.at) {
            entry.due = None;
            entry.waker = None;
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(entry) = self.of.entries.borrow_mut().get_mut(self.at) {
            *entry = Entry { due: None, waker: None, over: false };
        }
        self.of.free.borrow_mut().push(self.at);
        self.of.held.set(self.of.held.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn a_deadline_is_told_when_it_is_over_and_can_be_put_off() {
        actix_rt::System::new().block_on(async {
            tokio::time::pause();
            let deadlines = Rc::new(Deadlines::default());
            let deadline = deadlines.register();
            let begin = now();
            let late = Cell::new(begin + Duration::from_secs(1));
            let putting_off = async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                late.set(begin + Duration::from_secs(3));
            };
            let waiting =
                poll_fn(
                    |cx| if deadline.is_over(late.get(), cx) { Poll::Ready(now()) } else { Poll::Pending },
                );
            let (told, ()) = futures_util::future::join(waiting, putting_off).await;
            let waited = told - begin;
            assert!((Duration::from_secs(3)..Duration::from_millis(3200)).contains(&waited), "{waited:?}");
        });
    }

    #[test]
    fn nothing_is_kept_when_nobody_waits() {
        actix_rt::System::new().block_on(async {
            tokio::time::pause();
            let deadlines = Rc::new(Deadlines::default());
            let many: Vec<_> = (0..100).map(|_| deadlines.register()).collect();
            drop(many);
            let one = deadlines.register();
            assert!(deadlines.entries.borrow().len() <= 100, "places are used again");
            drop(one);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(!deadlines.ticking.get() && deadlines.entries.borrow().is_empty());
        });
    }
}
