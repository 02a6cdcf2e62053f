//! What embedders say in types of actix: the mailbox of an actor as a reader of [`Events`], and arbiters that are there
//! already for the sessions of a server.
//!
//! Nothing waits for the actor. Invariant: an event is delivered, or counted and told by [`Event::Lagged`] before the next
//! that is.

use actix::dev::SendError;
use actix::prelude::*;
use tokio::task::JoinHandle;

use crate::events::{Event, Events};
use crate::server::ServerBuilder;

/// One worker of the server on each of these arbiters, in place of threads of its own; none of them leaves it as it was. They go
/// on when the server stops. Listeners that are kept while draining still have an arbiter of their own.
///
/// ```
/// use stagedoor_actors::ServerBuilder;
/// use stagedoor_actors::actor::on_arbiters;
/// use stagedoor_metrics::Metrics;
///
/// # actix_rt::System::new().block_on(async {
/// let arbiters = vec![actix_rt::Arbiter::new().handle(), actix_rt::Arbiter::new().handle()];
/// let builder = on_arbiters(ServerBuilder::new(Metrics::new("example"), 2), arbiters);
/// # });
/// ```
#[must_use]
pub fn on_arbiters(builder: ServerBuilder, arbiters: Vec<ArbiterHandle>) -> ServerBuilder {
    builder.shared(arbiters)
}

/// Sends each event to an actor, from a task on the calling arbiter. While the mailbox is full events are dropped and counted; the
/// next one that fits comes behind [`Event::Lagged`]. Ends with the events, or at the first event after the actor is
/// gone; then says how many the actor lost in all. Dropping what is returned changes nothing, aborting it ends it.
///
/// # Panics
/// Outside of an actix `System`.
///
/// ```
/// use actix::prelude::*;
/// use stagedoor_actors::actor::forward;
/// use stagedoor_actors::events::Event;
/// use stagedoor_actors::{ListenerConfig, ServerBuilder, facade};
/// use stagedoor_metrics::Metrics;
///
/// /// Counts sessions.
/// #[derive(Default)]
/// struct Doorman(usize);
///
/// impl Actor for Doorman {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Event> for Doorman {
///     type Result = ();
///     fn handle(&mut self, event: Event, _: &mut Self::Context) {
///         if let Event::SessionOpened { .. } = event {
///             self.0 += 1;
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// System::new().block_on(async {
///     let config = ListenerConfig::new("plain", "127.0.0.1:0".parse()?);
///     let service = facade::handler(|_: facade::HttpRequest| async { "hello" });
///     let builder = ServerBuilder::new(Metrics::new("example"), 1).listen(config, service, false);
///     let forwarding = forward(builder.events(), Doorman::default().start().recipient());
///     let server = builder.start().await?;
///     // ... until it is time to go:
///     server.stop().await;
///     assert_eq!(forwarding.await?, 0, "nothing was lost");
///     Ok(())
/// })
/// # }
/// ```
pub fn forward(events: Events, to: Recipient<Event>) -> JoinHandle<u64> {
    actix_rt::spawn(carry(events, to))
}

async fn carry(mut events: Events, to: Recipient<Event>) -> u64 {
    let mut post = Post { to, missed: 0, lost: 0 };
    while let Some(event) = events.next().await {
        let going = match event {
            Event::Lagged { missed } => {
                post.miss(missed);
                continue;
            }
            event => post.deliver(event),
        };
        if !going {
            break;
        }
    }
    post.confess().ok();
    post.lost
}

/// The actor is gone.
struct Gone;

struct Post {
    to: Recipient<Event>,
    /// Lost since the actor was last told.
    missed: u64,
    /// Lost in all.
    lost: u64,
}

impl Post {
    fn miss(&mut self, count: u64) {
        self.missed += count;
        self.lost += count;
    }

    /// Whether it was taken.
    fn offer(&self, event: Event) -> Result<bool, Gone> {
        match self.to.try_send(event) {
            Ok(()) => Ok(true),
            Err(SendError::Full(_)) => Ok(false),
            Err(SendError::Closed(_)) => Err(Gone),
        }
    }

    /// Tells what was lost before, then the event; false when the actor is gone.
    fn deliver(&mut self, event: Event) -> bool {
        let taken = match self.confess() {
            Ok(true) => self.offer(event),
            other => other,
        };
        match taken {
            Ok(true) => true,
            Ok(false) => {
                self.miss(1);
                true
            }
            Err(Gone) => false,
        }
    }

    /// Tells how many are lost; whether the actor knows.
    fn confess(&mut self) -> Result<bool, Gone> {
        if self.missed == 0 {
            return Ok(true);
        }
        let told = self.offer(Event::Lagged { missed: self.missed })?;
        if told {
            self.missed = 0;
        }
        Ok(told)
    }
}
