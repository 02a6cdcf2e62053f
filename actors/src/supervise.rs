//! Supervision: an actor's context owned and polled by its supervisor instead of by the arbiter.
//!
//! actix restarts actors that stop, not ones that panic, and tells nobody (docs/architecture.md). Here the
//! supervisor builds the mailbox and the context itself, polls the child inside its own future, and learns of
//! its end or panic as a definite [`Exit`]; teardown is a drop. This module and `brood.rs`, for children of whom there are
//! many, alone know the lightly documented parts of actix this stands on (`actix::dev::channel`, `Context::into_future`,
//! `ContextFut::restart`), hence the pin to `=0.13.5`.
//!
//! Invariants: no unwind leaves this module, be it from polling or from dropping a child; a child that ended
//! is dropped before its `Exit` is told.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};

use actix::dev::{ContextFut, channel};
use actix::prelude::*;

use crate::events::PanicPlace;
use crate::host::caught_here;

/// Messages `send` and `try_send` may queue at a child before it reads them.
pub(crate) const MAILBOX: usize = 16;

/// A child is gone.
#[derive(Debug)]
pub(crate) struct Exit<K> {
    /// The name its supervisor gave it.
    pub(crate) key: K,
    /// What it said, if it went by a panic.
    pub(crate) panic: Option<String>,
}

/// A child that has its mailbox and context and was not polled yet, or is running.
pub(crate) struct Child<A: Actor<Context = Context<A>>, K> {
    key: K,
    /// Boxed once: a context is some 700 octets, and a child is moved into its supervisor.
    context: Option<Box<ContextFut<A, Context<A>>>>,
}

/// Builds the mailbox and the context of `actor`. The child lives as long as it has a future or the address.
pub(crate) fn hatch<A, K>(actor: A, key: K) -> (Addr<A>, Child<A, K>)
where
    A: Actor<Context = Context<A>>,
    K: Copy + Unpin,
{
    let (sender, receiver) = channel::channel(MAILBOX);
    let context = Context::with_receiver(receiver).into_future(actor);
    (Addr::new(sender), Child { key, context: Some(Box::new(context)) })
}

impl<A, K> Future for Child<A, K>
where
    A: Actor<Context = Context<A>>,
    K: Copy + Unpin,
{
    type Output = Exit<K>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Exit<K>> {
        let key = self.key;
        let Some(context) = &mut self.context else { return Poll::Ready(Exit { key, panic: None }) };
        let panic = match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut **context).poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => None,
            Err(payload) => Some(words(&*payload)),
        };
        let dropped = self.discard();
        Poll::Ready(Exit { key, panic: panic.or(dropped) })
    }
}

impl<A: Actor<Context = Context<A>>, K> Child<A, K> {
    /// Drops the context; says what a destructor panicked with.
    fn discard(&mut self) -> Option<String> {
        let context = self.context.take()?;
        catch_unwind(AssertUnwindSafe(|| drop(context))).err().map(|payload| words(&*payload))
    }
}

impl<A: Actor<Context = Context<A>>, K> Drop for Child<A, K> {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Something of the application's that waits outside of any actor. Where it is dropped there, a panic of its destructor
/// is a line in the log and not the end of whoever dropped it.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// What is inside; there is always something.
    pub(crate) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            let words = words(&*payload);
            tracing::error!(panic = words, "what was never begun panicked as it was dropped");
            caught_here(PanicPlace::Dropped, &words);
        }
    }
}

/// The text of a panic.
pub(crate) fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Chick {
        fate: &'static str,
        dropped: Rc<Cell<bool>>,
    }

    impl Actor for Chick {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            match self.fate {
                "panic" => panic!("cannot start"),
                "stop" => ctx.stop(),
                "panic late" => drop(ctx.spawn(async { panic!("later") }.into_actor(self))),
                _ => {}
            }
        }
    }

    impl Drop for Chick {
        fn drop(&mut self) {
            self.dropped.set(true);
            assert!(self.fate != "panic in drop", "dropped");
        }
    }

    struct Die;
    impl Message for Die {
        type Result = ();
    }
    impl Handler<Die> for Chick {
        type Result = ();
        fn handle(&mut self, _: Die, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }

    fn ends(fate: &'static str) -> Exit<u32> {
        let dropped = Rc::new(Cell::new(false));
        let (addr, child) = hatch(Chick { fate, dropped: dropped.clone() }, 7);
        let exit = actix::System::new().block_on(async {
            addr.try_send(Die).ok();
            child.await
        });
        assert!(dropped.get(), "dropped before its exit is told");
        exit
    }

    #[test]
    fn every_end_is_told_with_its_panic() {
        assert_eq!(ends("stop").panic, None);
        assert_eq!(ends("live").panic, None);
        assert_eq!(ends("panic").panic.as_deref(), Some("cannot start"));
        assert_eq!(ends("panic in drop").panic.as_deref(), Some("dropped"));
        assert_eq!(ends("live").key, 7);
    }

    #[test]
    fn what_is_contained_is_dropped_without_a_panic_or_taken_out() {
        let chick = |dropped: &Rc<Cell<bool>>| Chick { fate: "panic in drop", dropped: Rc::clone(dropped) };
        let dropped = Rc::new(Cell::new(false));
        drop(Contained::new(chick(&dropped)));
        assert!(dropped.replace(false));
        let mut taken = Contained::new(chick(&dropped)).take().unwrap();
        taken.fate = "live";
        drop(taken);
        assert!(dropped.get());
    }

    #[test]
    fn a_panic_in_a_future_of_the_child_is_its_end() {
        let dropped = Rc::new(Cell::new(false));
        let (_addr, child) = hatch(Chick { fate: "panic late", dropped }, 1);
        let exit = actix::System::new().block_on(child);
        assert_eq!(exit.panic.as_deref(), Some("later"));
    }
}
