//! Messages between actors with the time they were sent, so that mailboxes can be watched: how many wait, how long
//! they waited, how long they took. actix tells none of it.
//!
//! Says nothing of what is inside. Invariant: what is counted into a mailbox is counted out once, handled or dropped.

use std::sync::Arc;
use std::time::Instant;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use stagedoor_metrics::{ActorKind, MessageKind, SessionStats, Shard};

use crate::clock;

/// See the module.
pub(crate) struct Envelope<M> {
    message: M,
    sent: Instant,
    slip: Slip,
}

impl<M: Message> Message for Envelope<M> {
    type Result = M::Result;
}

impl<M> Envelope<M> {
    /// The message, and that it is out of its mailbox; its wait goes to the cells of `kind`.
    pub(crate) fn open(self, shard: &Shard, kind: ActorKind) -> M {
        let waited = clock::now().saturating_duration_since(self.sent);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        shard.actors()[kind].mailbox_wait.observe_nanos(nanos);
        drop(self.slip);
        self.message
    }
}

/// Counts a message into a mailbox until it is dropped.
struct Slip(Whose);

/// Whose mailbox.
#[derive(Clone)]
pub(crate) enum Whose {
    /// Of the actor that a shard belongs to: a Worker, or the Listeners.
    Shard(Arc<Shard>),
    /// Of a Session.
    Session(Arc<SessionStats>),
}

impl Slip {
    fn new(whose: &Whose) -> Self {
        match whose {
            Whose::Shard(shard) => shard.mailbox.enter(),
            Whose::Session(stats) => stats.mailbox.enter(),
        }
        Self(whose.clone())
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        match &self.0 {
            Whose::Shard(shard) => shard.mailbox.leave(),
            Whose::Session(stats) => stats.mailbox.leave(),
        }
    }
}

/// The address of an actor whose mailbox is watched.
pub(crate) struct Watched<A: Actor> {
    addr: Addr<A>,
    whose: Whose,
}

impl<A: Actor> Clone for Watched<A> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone(), whose: self.whose.clone() }
    }
}

impl<A: Actor> Watched<A> {
    pub(crate) fn new(addr: Addr<A>, whose: Whose) -> Self {
        Self { addr, whose }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.addr.connected()
    }

    fn envelope<M>(&self, message: M) -> Envelope<M> {
        Envelope { message, sent: clock::now(), slip: Slip::new(&self.whose) }
    }

    /// As [`Addr::send`].
    pub(crate) fn send<M>(&self, message: M) -> Request<A, Envelope<M>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<Envelope<M>>,
        A::Context: ToEnvelope<A, Envelope<M>>,
    {
        self.addr.send(self.envelope(message))
    }

    /// As [`Addr::do_send`]: for messages whose number is bounded by what they are about.
    pub(crate) fn tell<M>(&self, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<Envelope<M>>,
        A::Context: ToEnvelope<A, Envelope<M>>,
    {
        #[allow(clippy::disallowed_methods)]
        self.addr.do_send(self.envelope(message));
    }
}

/// Times what is done for one message; counted when it is dropped.
pub(crate) struct Busy<'a> {
    shard: &'a Shard,
    kind: MessageKind,
    since: Instant,
}

impl<'a> Busy<'a> {
    pub(crate) fn new(shard: &'a Shard, kind: MessageKind, since: Instant) -> Self {
        Self { shard, kind, since }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let took = clock::now().saturating_duration_since(self.since);
        let counts = &self.shard.messages()[self.kind];
        counts.handled.inc();
        counts.busy_nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// An actor whose messages are counted.
pub(crate) trait Counting {
    /// In the cells of this shard.
    fn shard(&self) -> Arc<Shard>;
}

/// Lets an actor take envelopes of its messages: `counted!(Worker, Worker: Conn = WorkerConnection, ...)` with the values of
/// the labels `actor` and `message`.
macro_rules! counted {
    ($actor:ty, $label:ident: $($message:ty = $kind:ident),+ $(,)?) => {$(
        impl actix::Handler<$crate::envelope::Envelope<$message>> for $actor {
            type Result = <$actor as actix::Handler<$message>>::Result;

            fn handle(
                &mut self,
                envelope: $crate::envelope::Envelope<$message>,
                ctx: &mut Self::Context,
            ) -> Self::Result {
                let shard = $crate::envelope::Counting::shard(self);
                let message = envelope.open(&shard, stagedoor_metrics::ActorKind::$label);
                let kind = stagedoor_metrics::MessageKind::$kind;
                let _busy = $crate::envelope::Busy::new(&shard, kind, $crate::clock::now());
                actix::Handler::handle(self, message, ctx)
            }
        }
    )+};
}
pub(crate) use counted;
