//! One value on its way from one task to another of the same thread: the answer to an order that waits in a
//! session's queue.
//!
//! Invariant: a [`Promise`] that is dropped unkept tells its [`Kept`] so; nobody waits for ever.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

enum State<T> {
    Waiting(Option<Waker>),
    Kept(T),
    /// The promise was dropped, or its value taken.
    Gone,
}

/// The end that owes the value.
pub(crate) struct Promise<T>(Rc<RefCell<State<T>>>);

/// The end that waits for it: a future of the value, or `None` where it will never come.
pub(crate) struct Kept<T>(Rc<RefCell<State<T>>>);

/// A promise and its future.
pub(crate) fn promise<T>() -> (Promise<T>, Kept<T>) {
    let state = Rc::new(RefCell::new(State::Waiting(None)));
    (Promise(Rc::clone(&state)), Kept(state))
}

impl<T> Promise<T> {
    /// Gives the value.
    pub(crate) fn keep(self, value: T) {
        self.settle(State::Kept(value));
    }

    fn settle(&self, state: State<T>) {
        let mut known = self.0.borrow_mut();
        if let State::Waiting(waker) = &mut *known {
            let waker = waker.take();
            *known = state;
            drop(known);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.settle(State::Gone);
    }
}

impl<T> Future for Kept<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.borrow_mut();
        if let State::Waiting(waker) = &mut *state {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Gone) {
            State::Kept(value) => Poll::Ready(Some(value)),
            State::Gone | State::Waiting(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_kept_promise_gives_its_value() {
        let (promise, mut kept) = promise();
        assert_eq!((&mut kept).now_or_never(), None);
        promise.keep(7);
        assert_eq!(kept.now_or_never(), Some(Some(7)));
    }

    #[test]
    fn a_dropped_promise_is_told() {
        let (promise, kept) = promise::<u8>();
        drop(promise);
        assert_eq!(kept.now_or_never(), Some(None));
    }
}
