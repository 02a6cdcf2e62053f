//! Where the events of a server go to those who read them: one ring each, of tokio's `sync::broadcast`.
//!
//! A ring a reader and not one for all, because each says how much it may hold; the ring counts what a slow reader loses.
//! Whoever tells looks at one flag first. No lock is held while a reader is woken. Invariant: the flag is up while there is
//! a reader, and down when the last one has gone or the server has stopped.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

use super::Event;

/// Events that wait for a reader who did not say how many.
pub(crate) const EVENTS: usize = 1024;
/// As many as a reader may ask for: the ring is made at once, some 300 octets a place.
const MOST: usize = 1 << 20;

/// Where the events of one server come together. Clones are the same one. Who describes a server before it is built makes
/// one, reads from it, and gives it to [`ServerBuilder::hub`](crate::ServerBuilder::hub).
///
/// ```
/// use stagedoor_actors::ServerBuilder;
/// use stagedoor_actors::events::Hub;
/// use stagedoor_metrics::Metrics;
///
/// let hub = Hub::default();
/// let events = hub.subscribe(64);
/// let builder = ServerBuilder::new(Metrics::new("example"), 1).hub(hub);
/// ```
#[derive(Clone, Default)]
pub struct Hub(Arc<Inner>);

#[derive(Default)]
struct Inner {
    heard: AtomicBool,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    rings: Arc<[Sender<Event>]>,
    /// The server has stopped.
    over: bool,
}

impl Inner {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who have gone are forgotten.
    fn sweep(&self) {
        let mut desk = self.desk();
        desk.rings = desk.rings.iter().filter(|ring| ring.receiver_count() > 0).cloned().collect();
        self.heard.store(!desk.rings.is_empty(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("heard", &self.is_heard()).finish()
    }
}

impl Hub {
    /// Somebody reads.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed)
    }

    /// Tells those who read; nothing is made where nobody does.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_heard() {
            self.publish(event());
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn publish(&self, event: Event) {
        let rings = Arc::clone(&self.0.desk().rings);
        let Some((last, others)) = rings.split_last() else { return };
        for ring in others {
            // Who has gone meanwhile does not hear it.
            ring.send(event.clone()).ok();
        }
        last.send(event).ok();
    }

    /// Another reader, for whom at least `capacity` events may wait: rounded up to a power of two, at least 1 and at most
    /// 2^20. The room is taken at once, some 300 octets an event.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Events {
        let (ring, receiver) = broadcast::channel(capacity.clamp(1, MOST));
        let mut desk = self.0.desk();
        if !desk.over {
            desk.rings = desk.rings.iter().cloned().chain([ring]).collect();
            self.0.heard.store(true, Ordering::Relaxed);
        }
        drop(desk);
        Events { events: read(receiver), _seat: Seat(Arc::downgrade(&self.0)) }
    }

    /// The server has stopped: whoever reads comes to the end of what waits, and nothing follows.
    pub(crate) fn close(&self) {
        let mut desk = self.0.desk();
        desk.over = true;
        self.0.heard.store(false, Ordering::Relaxed);
        let rings = std::mem::take(&mut desk.rings);
        drop(desk);
        drop(rings);
    }
}

/// What waits in a ring, and how much was lost before it.
fn read(receiver: Receiver<Event>) -> BoxStream<'static, Event> {
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => Event::Lagged { missed },
            Err(RecvError::Closed) => return None,
        };
        Some((event, receiver))
    });
    events.fuse().boxed()
}

/// The events of a server from the moment they were asked for on; may be read on any thread. Sessions that live already
/// are heard from then on, too. Ends when the server has stopped ([`ServerHandle::stop`](crate::ServerHandle::stop)) or
/// nothing of it is left; dropping it ends the subscription.
///
/// Bounded: who reads too slowly loses the oldest and hears [`Event::Lagged`] first.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::events::{DrainStep, Event};
/// use stagedoor_actors::{ListenerConfig, ServerBuilder, facade};
/// use stagedoor_metrics::Metrics;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// actix_rt::System::new().block_on(async {
///     let config = ListenerConfig::new("plain", "127.0.0.1:0".parse()?);
///     let service = facade::handler(|_: facade::HttpRequest| async { "hello" });
///     let builder = ServerBuilder::new(Metrics::new("example"), 1).listen(config, service, false);
///     // Asked for before the start: the very first session is heard.
///     let mut events = builder.events();
///     let server = builder.start().await?;
///     let reader = std::thread::spawn(move || {
///         actix_rt::System::new().block_on(async move {
///             let mut steps = Vec::new();
///             while let Some(event) = events.next().await {
///                 if let Event::Drain(step) = event {
///                     steps.push(step);
///                 }
///             }
///             steps
///         })
///     });
///     server.drain(Duration::from_secs(10)).await;
///     server.stop().await;
///     let steps = reader.join().map_err(|_| "the reader panicked")?;
///     assert_eq!(steps.last(), Some(&DrainStep::Done));
///     Ok(())
/// })
/// # }
/// ```
pub struct Events {
    events: BoxStream<'static, Event>,
    /// Left last: the ring has no reader by then.
    _seat: Seat,
}

impl Events {
    /// The next event; `None` after the last. Nothing is lost where the future is dropped before it resolves.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A reader's place. Holds nothing alive: a reader does not keep the end from coming.
struct Seat(Weak<Inner>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.sweep();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::events::DrainStep;

    fn lagged(missed: u64) -> Event {
        Event::Lagged { missed }
    }

    fn numbers(events: &mut Events) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            let Event::Lagged { missed } = event else { panic!("{event:?}") };
            all.push(missed);
        }
        all
    }

    #[test]
    fn nothing_is_made_while_nobody_reads() {
        let never = || unreachable!("nobody reads: no event is made");
        let hub = Hub::default();
        hub.tell(never);
        let (first, second) = (hub.subscribe(4), hub.subscribe(4));
        drop(first);
        assert!(hub.is_heard());
        hub.tell(|| lagged(1));
        drop(second);
        hub.tell(never);
        let late = hub.subscribe(4);
        hub.close();
        hub.tell(never);
        drop(late);
    }

    #[test]
    fn each_reader_holds_what_it_asked_for_and_is_told_what_it_lost() {
        let hub = Hub::default();
        let (mut large, mut small, mut least) = (hub.subscribe(8), hub.subscribe(2), hub.subscribe(0));
        (11..=15).for_each(|number| hub.publish(lagged(number)));
        assert_eq!(numbers(&mut large), [11, 12, 13, 14, 15]);
        assert_eq!(numbers(&mut small), [3, 14, 15], "three are lost, then the youngest");
        assert_eq!(numbers(&mut least), [4, 15]);
    }

    #[test]
    fn the_end_comes_behind_what_waits_and_stays() {
        let hub = Hub::default();
        let mut events = hub.subscribe(4);
        hub.publish(Event::Drain(DrainStep::Done));
        hub.close();
        assert!(matches!(events.next().now_or_never(), Some(Some(Event::Drain(DrainStep::Done)))));
        assert!(matches!(events.next().now_or_never(), Some(None)));
        assert!(matches!(events.next().now_or_never(), Some(None)));
        assert!(matches!(hub.subscribe(4).next().now_or_never(), Some(None)), "nothing follows a stop");
    }

    #[test]
    fn a_server_that_nothing_is_left_of_has_ended() {
        let hub = Hub::default();
        let mut events = hub.subscribe(4);
        drop(hub);
        assert!(matches!(events.next().now_or_never(), Some(None)));
    }

    #[test]
    fn events_may_be_read_anywhere() {
        fn anywhere<T: Send + 'static>() {}
        anywhere::<Events>();
        anywhere::<Event>();
    }
}
