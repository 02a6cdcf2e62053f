//! Tasks that wait for something to change. Several may: the reader of a response, its sender, its watcher.

use std::cell::RefCell;
use std::task::{Context, Waker};

/// See the module.
#[derive(Default)]
pub(super) struct Waiters(RefCell<Vec<Waker>>);

impl Waiters {
    /// Wakes `cx` at the next change.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.0.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// Something changed.
    pub(super) fn wake(&self) {
        let waiting = self.0.take();
        for waker in waiting {
            waker.wake();
        }
    }
}
