//! The running children of one supervisor, and the places they run in.
//!
//! A place has a waker of its own and, once a child has lived in it, that child's mailbox and context: the next child of
//! the supervisor takes them over through actix's own restart (`Supervised::restarting`), so that a session asks the heap
//! for a mailbox as often as it has streams at once, not once a stream. What is woken is polled, and nothing else.
//!
//! Invariants: no unwind leaves this module; what a child held is dropped before its [`Exit`] is told; a context that
//! panicked is never used again; nothing is owned while there are no children, once [`Brood::shrink`] was called.
//!
//! A waker may outlive its child. It then wakes whoever has the place, who is polled once for nothing.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll, Wake, Waker};

use actix::dev::{ContextFut, channel};
use actix::prelude::*;

use crate::supervise::{Exit, MAILBOX, words};

/// Where a child of a brood runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// What became of a child in its first poll.
#[derive(Debug)]
pub(crate) enum Hatched<K> {
    /// It is over already.
    Over(Exit<K>),
    /// It lives on.
    Living(Place),
}

/// An actor that can be begun anew in the context of one that is over: `Default` is nobody, `started` finds what it is
/// to be, `restarting` makes it nobody again.
pub(crate) trait Reborn: Actor<Context = Context<Self>> + Supervised + Default {}

/// See the module.
pub(crate) struct Brood<A: Reborn, K> {
    nest: Option<Box<Nest<A, K>>>,
}

impl<A: Reborn, K> Default for Brood<A, K> {
    fn default() -> Self {
        Self { nest: None }
    }
}

struct Nest<A: Reborn, K> {
    places: Vec<Home<A, K>>,
    /// Places without a child, the one left last on top: what it holds is the nearest.
    free: Vec<u32>,
    /// Places that were woken and are polled now.
    due: Vec<u32>,
    woken: Arc<Woken>,
    /// The supervisor has polled it, and is woken from then on.
    attended: bool,
}

struct Home<A: Reborn, K> {
    bell: Arc<Bell>,
    waker: Waker,
    child: Option<K>,
    den: Option<Box<Den<A>>>,
}

/// An actor's context with the address that keeps its mailbox open.
struct Den<A: Reborn> {
    context: ContextFut<A, Context<A>>,
    addr: Addr<A>,
}

/// What wakers write to, from whatever thread.
#[derive(Default)]
struct Woken(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    places: Vec<u32>,
    /// Whom to wake when there is one.
    supervisor: Option<Waker>,
}

/// The waker of a place.
struct Bell {
    place: u32,
    /// It is in the queue.
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let supervisor = {
            let mut queue = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            queue.places.push(self.place);
            queue.supervisor.take()
        };
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }
}

impl<A: Reborn> Den<A> {
    fn new() -> Box<Self> {
        let (sender, receiver) = channel::channel(MAILBOX);
        let context = Context::with_receiver(receiver).into_future(A::default());
        Box::new(Self { context, addr: Addr::new(sender) })
    }

    /// `None` while the child lives, then what it panicked with.
    fn poll(&mut self, waker: &Waker) -> Option<Option<String>> {
        let mut cx = task::Context::from_waker(waker);
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.context).poll(&mut cx))) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => Some(None),
            Err(payload) => Some(Some(words(&*payload))),
        }
    }

    /// Drops what the child held; says what a destructor panicked with. `None` beside it where no other may live here.
    fn clear(mut self: Box<Self>) -> (Option<Box<Self>>, Option<String>) {
        match catch_unwind(AssertUnwindSafe(|| self.context.restart())) {
            Ok(true) => (Some(self), None),
            Ok(false) => (None, self.discard()),
            Err(payload) => {
                // Whatever is left of it goes as it can; the first words stand.
                self.discard();
                (None, Some(words(&*payload)))
            }
        }
    }

    /// Drops everything; says what a destructor panicked with.
    fn discard(self: Box<Self>) -> Option<String> {
        catch_unwind(AssertUnwindSafe(|| drop(self))).err().map(|payload| words(&*payload))
    }
}

impl<A: Reborn, K> Drop for Home<A, K> {
    fn drop(&mut self) {
        if let Some(den) = self.den.take() {
            den.discard();
        }
    }
}

impl<A: Reborn, K> Default for Nest<A, K> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), due: Vec::new(), woken: Arc::default(), attended: false }
    }
}

impl<A: Reborn, K: Copy> Nest<A, K> {
    /// A place without a child.
    fn vacant(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let place = self.places.len() as u32;
            let bell = Arc::new(Bell { place, rung: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
            let waker = Waker::from(Arc::clone(&bell));
            self.places.push(Home { bell, waker, child: None, den: None });
            place
        })
    }

    /// Polls whoever lives there; how it ended, if it has.
    #[inline]
    fn poll(&mut self, place: u32) -> Option<Exit<K>> {
        let home = self.places.get_mut(place as usize)?;
        let key = home.child?;
        let over = home.den.as_mut()?.poll(&home.waker)?;
        home.child = None;
        self.free.push(place);
        let den = home.den.take()?;
        let (den, panic) = match over {
            Some(panic) => {
                den.discard();
                (None, Some(panic))
            }
            None => den.clear(),
        };
        home.den = den;
        Some(Exit { key, panic })
    }
}

impl<A: Reborn, K: Copy> Brood<A, K> {
    /// Begins a child and polls it once: what it is to be was handed over (see [`Reborn`]). It lives as long as it has a
    /// future, or until it stops itself.
    pub(crate) fn hatch(&mut self, key: K) -> Hatched<K> {
        let nest = self.nest.get_or_insert_default();
        let place = nest.vacant();
        let home = &mut nest.places[place as usize];
        home.child = Some(key);
        home.den.get_or_insert_with(Den::new);
        match nest.poll(place) {
            Some(exit) => Hatched::Over(exit),
            None => Hatched::Living(Place(place)),
        }
    }

    /// Polls the children that were woken; says who ended. Pending while all live, or none is there.
    pub(crate) fn poll_exit(&mut self, cx: &mut task::Context<'_>) -> Poll<Exit<K>> {
        let Some(nest) = &mut self.nest else { return Poll::Pending };
        // Each may be polled once and some a second time, then others of the thread have their turn.
        let mut left = nest.places.len() + 1;
        loop {
            while let Some(place) = nest.due.pop() {
                let Some(home) = nest.places.get(place as usize) else { continue };
                home.bell.rung.store(false, Ordering::Release);
                left -= 1;
                if let Some(exit) = nest.poll(place) {
                    return Poll::Ready(exit);
                }
                if left == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            let mut queue = nest.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.places.is_empty() {
                nest.attended = true;
                if !queue.supervisor.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    queue.supervisor = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            std::mem::swap(&mut queue.places, &mut nest.due);
            drop(queue);
            // In the order they were woken.
            nest.due.reverse();
        }
    }

    /// Sends a message to a child; nothing where it is over.
    pub(crate) fn tell<M>(&self, place: Place, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
    {
        let home = self.nest.as_ref().and_then(|nest| nest.places.get(place.0 as usize));
        if let Some(den) = home.filter(|home| home.child.is_some()).and_then(|home| home.den.as_ref()) {
            // One or two messages a child, and children are bounded.
            #[allow(clippy::disallowed_methods)]
            den.addr.do_send(message);
        }
    }

    /// Whoever is woken is heard of. Before [`Self::poll_exit`] was called for the first time, nobody is.
    pub(crate) fn is_attended(&self) -> bool {
        self.nest.as_ref().is_none_or(|nest| nest.attended)
    }

    /// How many live.
    pub(crate) fn len(&self) -> usize {
        self.nest.as_ref().map_or(0, |nest| nest.places.len() - nest.free.len())
    }

    /// Gives an empty brood back to the heap.
    pub(crate) fn shrink(&mut self) {
        if self.len() == 0 {
            self.nest = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;

    /// What the next one does, and where it counts that it is gone.
    type Fate = (&'static str, Rc<Cell<u32>>);

    thread_local! {
        static NEXT: RefCell<Option<Fate>> = const { RefCell::new(None) };
    }

    /// Counts how often it was somebody and is so no more.
    #[derive(Default)]
    struct Chick {
        fate: &'static str,
        gone: Option<Rc<Cell<u32>>>,
    }

    impl Actor for Chick {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            let Some((fate, gone)) = NEXT.take() else { return ctx.stop() };
            (self.fate, self.gone) = (fate, Some(Rc::clone(&gone)));
            match fate {
                "panic" => panic!("cannot start"),
                "stop" => ctx.stop(),
                "panic late" => {
                    let late = async {
                        tokio::task::yield_now().await;
                        panic!("later")
                    };
                    ctx.spawn(late.into_actor(self));
                }
                "panic in drop" => {
                    let bomb = Bomb;
                    let waits = async move {
                        std::future::pending::<()>().await;
                        drop(bomb);
                    };
                    ctx.spawn(waits.into_actor(self));
                }
                _ => {}
            }
        }
    }

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    impl Supervised for Chick {
        fn restarting(&mut self, _: &mut Self::Context) {
            *self = Self::default();
        }
    }

    impl Reborn for Chick {}

    impl Drop for Chick {
        fn drop(&mut self) {
            if let Some(gone) = &self.gone {
                gone.set(gone.get() + 1);
            }
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

    /// Begins one and sees it through; says how it ended and how many are gone.
    fn ends(brood: &mut Brood<Chick, u32>, fate: &'static str) -> (Option<String>, u32) {
        let gone = Rc::new(Cell::new(0));
        NEXT.set(Some((fate, Rc::clone(&gone))));
        let exit = match brood.hatch(7) {
            Hatched::Over(exit) => exit,
            Hatched::Living(place) => actix::System::new().block_on(async {
                if fate != "panic late" {
                    brood.tell(place, Die);
                }
                std::future::poll_fn(|cx| brood.poll_exit(cx)).await
            }),
        };
        assert_eq!((exit.key, brood.len()), (7, 0));
        (exit.panic, gone.get())
    }

    #[test]
    fn every_end_is_told_with_its_panic_after_what_it_held_is_dropped() {
        let mut brood = Brood::default();
        for _ in 0..3 {
            assert_eq!(ends(&mut brood, "stop"), (None, 1));
            assert_eq!(ends(&mut brood, "live"), (None, 1));
            assert_eq!(ends(&mut brood, "panic"), (Some("cannot start".to_owned()), 1));
            assert_eq!(ends(&mut brood, "panic late"), (Some("later".to_owned()), 1));
            assert_eq!(ends(&mut brood, "panic in drop"), (Some("dropped".to_owned()), 1));
        }
        brood.shrink();
        assert!(brood.nest.is_none());
    }

    #[test]
    fn a_place_is_used_again_and_a_waker_of_before_harms_nobody() {
        let mut brood = Brood::default();
        assert_eq!(ends(&mut brood, "live"), (None, 1));
        let old = brood.nest.as_ref().map(|nest| nest.places[0].waker.clone());
        let gone = Rc::new(Cell::new(0));
        NEXT.set(Some(("live", Rc::clone(&gone))));
        assert!(matches!(brood.hatch(8), Hatched::Living(Place(0))));
        old.into_iter().for_each(Waker::wake);
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(brood.poll_exit(&mut cx).is_pending() && brood.len() == 1);
        brood.shrink();
        assert_eq!((brood.len(), gone.get()), (1, 0), "who lives is not given back");
        drop(brood);
        assert_eq!(gone.get(), 1);
    }

    #[test]
    fn the_supervisor_is_woken_once_for_many() {
        struct Count(std::sync::atomic::AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut brood: Brood<Chick, u32> = Brood::default();
        let mut places = Vec::new();
        for key in 0..3 {
            NEXT.set(Some(("live", Rc::default())));
            match brood.hatch(key) {
                Hatched::Living(place) => places.push(place),
                Hatched::Over(_) => panic!("it lives"),
            }
        }
        let count = Arc::new(Count(0.into()));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = task::Context::from_waker(&waker);
        assert!(brood.poll_exit(&mut cx).is_pending());
        brood.tell(places[2], Die);
        brood.tell(places[0], Die);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let mut order = Vec::new();
        while let Poll::Ready(exit) = brood.poll_exit(&mut cx) {
            order.push(exit.key);
        }
        assert_eq!((order, brood.len()), (vec![2, 0], 1), "in the order they were woken");
    }
}
