//! What a session shows its handles: cells that its turn writes and a handle reads, on one thread.
//!
//! Decides nothing and sends nothing; orders go over the [`Link`](crate::link::Link). Invariants: a phase only
//! moves on; after [`SessionEvent::Closed`] nothing is told; while nobody listens, here or to the whole server, an event is not even made.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use stagedoor_metrics::CloseReason;
use stagedoor_protocol::settings::InForce;

use super::events::{Ear, Observer, SessionEvent};
use super::handle::{GoAway, SessionHandle};
use crate::events::{Event, Outlet, PanicPlace};
use crate::link::Link;
use crate::supervise::words;

/// Origins of the peer that are kept.
const ORIGINS: usize = 1024;

/// How far a session has come, as its handles see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// It takes no new streams; those it has go on.
    Draining,
    /// Streams are cut off, the socket parts: orders are not heard any more.
    Closing,
    /// The socket is gone.
    Closed,
}

/// How many questions of ours may wait for the peer at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outstanding {
    pub(crate) pings: u32,
    pub(crate) settings: u32,
}

/// Settings in force.
#[derive(Default)]
pub(crate) struct Agreed {
    pub(crate) local: InForce,
    pub(crate) remote: InForce,
}

/// See the module.
pub(crate) struct Board {
    phase: Cell<Phase>,
    reason: Cell<Option<CloseReason>>,
    pub(crate) goaway: RefCell<Option<Box<GoAway>>>,
    pub(crate) agreed: RefCell<Agreed>,
    /// What ORIGIN frames of the peer named (RFC 8336).
    pub(crate) origins: RefCell<Vec<String>>,
    /// Unanswered PINGs of handles.
    pub(crate) pings: Cell<u32>,
    /// Unacknowledged SETTINGS, the first ones of the session included.
    pub(crate) settings: Cell<u32>,
    pub(crate) limits: Outstanding,
    /// How long the session may be without a stream; zero is for ever.
    pub(crate) idle: Cell<Duration>,
    payload: Cell<u64>,
    listened: Cell<bool>,
    /// Who listens to the whole server.
    outlet: Rc<Outlet>,
    observer: Option<Rc<dyn Observer>>,
    ears: RefCell<Vec<Rc<Ear>>>,
}

impl Board {
    pub(crate) fn new(
        observer: Option<Rc<dyn Observer>>,
        outlet: Rc<Outlet>,
        limits: Outstanding,
        idle: Duration,
    ) -> Self {
        Self {
            phase: Cell::new(Phase::Open),
            reason: Cell::new(None),
            goaway: RefCell::default(),
            agreed: RefCell::default(),
            origins: RefCell::default(),
            pings: Cell::new(0),
            settings: Cell::new(0),
            limits,
            idle: Cell::new(idle),
            payload: Cell::new(0),
            listened: Cell::new(observer.is_some()),
            outlet,
            observer,
            ears: RefCell::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Moves on; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.set(self.phase.get().max(phase));
    }

    /// Why the session ends, once that is decided.
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        self.reason.get()
    }

    /// The first reason stays.
    pub(crate) fn ends_for(&self, reason: CloseReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
    }

    /// What a PING carries whose asker does not care: no two of a session are the same.
    pub(crate) fn next_payload(&self) -> [u8; 8] {
        let number = self.payload.get();
        self.payload.set(number.wrapping_add(1));
        (number | 1 << 63).to_be_bytes()
    }

    /// The peer answers for these, too. A list that grows for ever is not kept.
    pub(crate) fn learn_origins(&self, origins: &[String]) {
        let mut known = self.origins.borrow_mut();
        for origin in origins {
            if known.len() < ORIGINS && !known.contains(origin) {
                known.push(origin.clone());
            }
        }
    }

    /// Someone wants to hear what happens.
    #[inline]
    pub(crate) fn is_listened(&self) -> bool {
        self.listened.get() || self.outlet.is_heard()
    }

    pub(crate) fn subscribe(&self, ear: &Rc<Ear>) {
        if self.phase() == Phase::Closed {
            return ear.end();
        }
        self.ears.borrow_mut().push(Rc::clone(ear));
        self.listened.set(true);
    }

    /// Tells everybody who listens. What an observer does wrong is its own affair.
    #[cold]
    pub(crate) fn publish(&self, link: &Rc<Link>, event: SessionEvent) {
        if self.phase() == Phase::Closed {
            return;
        }
        let last = matches!(event, SessionEvent::Closed { .. });
        if last {
            self.advance(Phase::Closed);
            self.listened.set(false);
        }
        if let Some(observer) = &self.observer {
            let handle = SessionHandle::new(Rc::clone(link));
            let heard = catch_unwind(AssertUnwindSafe(|| observer.observe(&handle, &event)));
            if let Err(payload) = heard {
                let words = words(&*payload);
                tracing::error!(parent: &link.span, panic = words, "an observer of sessions panicked");
                self.outlet.tell(|_| Event::Panicked {
                    session: Some(link.info.session_id()),
                    stream: None,
                    place: PanicPlace::Observer,
                    words,
                });
            }
        }
        if self.outlet.is_heard() {
            self.outlet.pass_on(&link.info, &event);
        }
        let mut ears = self.ears.take();
        // Only its stream holds an ear beside this list: without it nobody hears.
        ears.retain(|ear| Rc::strong_count(ear) > 1);
        for ear in &ears {
            ear.push(event.clone());
            if last {
                ear.end();
            }
        }
        if !last {
            // An observer may have subscribed meanwhile.
            ears.append(&mut self.ears.borrow_mut());
            self.listened.set(self.observer.is_some() || !ears.is_empty());
            *self.ears.borrow_mut() = ears;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use futures_util::FutureExt as _;
    use stagedoor_metrics::{Role, SessionId};

    use super::*;
    use crate::events::Hub;
    use crate::session::handle::SessionInfo;
    use crate::{Reply, Request, Response, Service};

    struct Silent;

    impl Service for Silent {
        fn call(&self, _: Request) -> Reply {
            Response::new(204).into()
        }
    }

    fn link(observer: Option<Rc<dyn Observer>>) -> Rc<Link> {
        link_of(observer, Hub::default())
    }

    /// A session of a server whose events go to `hub`.
    fn link_of(observer: Option<Rc<dyn Observer>>, hub: Hub) -> Rc<Link> {
        let info = SessionInfo {
            id: "0-0".into(),
            worker: 0,
            number: 0,
            listener: "test".into(),
            role: Role::Server,
            protocol: "h2c",
            peer: None,
            local: None,
            unix: false,
            server_name: None,
            tls: None,
        };
        let outlet = Rc::new(Outlet::new(hub, "test".into()));
        let board = Board::new(observer, outlet, Outstanding { pings: 1, settings: 1 }, Duration::ZERO);
        Rc::new(Link::new(
            Rc::new(Silent),
            std::sync::Arc::new(info),
            board,
            tracing::Span::none(),
            Instant::now(),
        ))
    }

    fn never() -> SessionEvent {
        unreachable!("nobody listens: no event is made")
    }

    #[test]
    fn an_event_is_not_made_while_nobody_listens() {
        let link = link(None);
        link.tell(never);
        let events = SessionHandle::new(Rc::clone(&link)).events();
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            SessionEvent::Opened
        };
        link.tell(make);
        assert_eq!(made.get(), 1);
        // The event after the listener went is the last that is made.
        drop(events);
        link.tell(make);
        link.tell(never);
    }

    #[test]
    fn who_reads_the_events_of_the_server_hears_a_session_that_lives_already() {
        let hub = Hub::default();
        let link = link_of(None, hub.clone());
        link.tell(never);
        let mut events = hub.subscribe(4);
        // Not every event of a session is one of the server.
        link.tell(|| SessionEvent::Ping { payload: [0; 8] });
        link.tell(|| SessionEvent::Opened);
        let heard = events.next().now_or_never().flatten();
        assert!(
            matches!(&heard, Some(Event::SessionOpened { session: SessionId { worker: 0, number: 0 }, listener, .. })
                if &**listener == "test"),
            "{heard:?}"
        );
        drop(events);
        link.tell(never);
        assert!(!link.board.is_listened());
    }

    #[test]
    fn the_server_hears_of_an_observer_that_panics() {
        let hub = Hub::default();
        let mut events = hub.subscribe(4);
        let link = link_of(Some(Rc::new(|_: &SessionHandle, _: &SessionEvent| panic!("deaf"))), hub);
        link.tell(|| SessionEvent::Opened);
        let heard = events.next().now_or_never().flatten();
        let Some(Event::Panicked { place: PanicPlace::Observer, words, .. }) = heard else {
            panic!("{heard:?}")
        };
        assert_eq!(words, "deaf");
        let heard = events.next().now_or_never().flatten();
        assert!(matches!(heard, Some(Event::SessionOpened { .. })), "the session goes on");
    }

    #[test]
    fn nothing_is_told_after_the_end() {
        let told = Rc::new(Cell::new(0));
        let kept = Rc::clone(&told);
        let observer = move |_: &SessionHandle, _: &SessionEvent| kept.set(kept.get() + 1);
        let link = link(Some(Rc::new(observer)));
        let closed = || SessionEvent::Closed { reason: CloseReason::Drain, statistics: Box::default() };
        link.tell(closed);
        assert_eq!(told.get(), 1);
        link.tell(never);
        link.board.publish(&link, closed());
        assert_eq!(told.get(), 1);
        assert!(SessionHandle::new(link).is_gone());
    }
}
