//! Tasks that wait for something to change. Several may: the reader of a response, its sender, its watcher.

use std::cell::RefCell;
use std::task::{Context, Waker};

/// See the module.
#[derive(Default)]
pub(super) struct Waiters(RefCell<Waiting>);

/// Mostly there is one.
#[derive(Default)]
struct Waiting {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiters {
    /// Wakes `cx` at the next change.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.0.borrow_mut();
        match &waiting.first {
            None => waiting.first = Some(cx.waker().clone()),
            Some(first) if first.will_wake(cx.waker()) => {}
            Some(_) if waiting.others.iter().any(|waker| waker.will_wake(cx.waker())) => {}
            Some(_) => waiting.others.push(cx.waker().clone()),
        }
    }

    /// Something changed.
    pub(super) fn wake(&self) {
        let waiting = self.0.take();
        for waker in waiting.first.into_iter().chain(waiting.others) {
            waker.wake();
        }
    }
}
