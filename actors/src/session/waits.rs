//! Where the time of a stream went (docs/observability.md): at any instant of its life exactly one cause is charged.
//!
//! Engines say at the end of a turn what each stream waits for from then on; the clock is the turn's, nothing is read
//! for it. A stream that is over in the turn it came in has no [`Waits`] at all: all its parts are zero, and so is its life.
//! Invariant: the parts add up to the time from the stream's opening to the last [`Waits::charge`] or
//! [`Waits::settle`], to the nanosecond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor_metrics::{Method, RouteCells, SessionStats, StreamStats, WaitOn};
use stagedoor_protocol::StreamId;

/// A stream that is older than this is listed for whoever looks.
const LISTED_AFTER: Duration = Duration::from_secs(1);

/// How much went to each cause, in the order of [`WaitOn::ALL`].
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::SessionView;
/// use stagedoor_metrics::WaitOn;
///
/// /// What a session's streams have waited for their handlers.
/// fn for_handlers(session: &SessionView) -> Duration {
///     session.waits[WaitOn::Handler as usize]
/// }
/// ```
pub type WaitTimes = [Duration; WaitOn::COUNT];

/// See the module.
pub(crate) struct Waits {
    on: WaitOn,
    since: Instant,
    /// Nanoseconds, without what has passed since `since`.
    spent: [u64; WaitOn::COUNT],
    /// What of that is in the cells of route and session.
    published: [u64; WaitOn::COUNT],
    /// What others see of the stream, once it has lived for a while.
    listed: Option<Arc<StreamStats>>,
}

impl Waits {
    /// A stream that began at `opened`; its handler had it at once.
    pub(crate) fn new(opened: Instant) -> Self {
        Self {
            on: WaitOn::Handler,
            since: opened,
            spent: [0; WaitOn::COUNT],
            published: [0; WaitOn::COUNT],
            listed: None,
        }
    }

    /// From `now` on it waits for `on`.
    #[inline]
    pub(crate) fn charge(&mut self, on: WaitOn, now: Instant) {
        if on != self.on {
            self.settle(now);
            self.on = on;
            if let Some(listed) = &self.listed {
                listed.set_on(on, now);
            }
        }
    }

    /// Charges what has passed until `now`.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.spent[self.on as usize] += nanos(self.since, now);
        self.since = now;
    }

    /// What it waits for.
    pub(crate) fn on(&self) -> WaitOn {
        self.on
    }

    /// The parts as of `now`.
    pub(crate) fn times(&self, now: Instant) -> WaitTimes {
        let mut spent = self.spent;
        spent[self.on as usize] += nanos(self.since, now);
        spent.map(Duration::from_nanos)
    }

    /// What of [`Self::times`] the session's own figures do not have yet.
    pub(crate) fn unpublished(&self, now: Instant) -> WaitTimes {
        let mut times = self.times(now);
        for (time, published) in times.iter_mut().zip(self.published) {
            *time = time.saturating_sub(Duration::from_nanos(published));
        }
        times
    }

    /// Brings route and session up to date.
    pub(crate) fn publish(&mut self, route: &RouteCells, session: &SessionStats, now: Instant) {
        self.settle(now);
        for ((on, spent), published) in WaitOn::ALL.iter().zip(self.spent).zip(&mut self.published) {
            let news = spent - *published;
            if news > 0 {
                *published = spent;
                route.stream_wait_nanos[*on].add(news);
                session.add_wait(*on, news);
            }
        }
        if let Some(listed) = &self.listed {
            for (on, spent) in WaitOn::ALL.iter().zip(self.spent) {
                listed.waits[*on].add(spent - listed.waits[*on].get());
            }
            listed.set_on(self.on, now);
        }
    }

    /// What others see of the stream; it is listed when it is old enough.
    pub(crate) fn listed(
        &mut self,
        session: &SessionStats,
        id: StreamId,
        method: Method,
        opened: Instant,
        now: Instant,
    ) -> Option<&StreamStats> {
        if self.listed.is_none() && now.saturating_duration_since(opened) >= LISTED_AFTER {
            let stats = Arc::new(StreamStats::new(session.id(), id.get(), method, opened));
            stats.set_on(self.on, self.since);
            session.list_stream(Arc::clone(&stats));
            self.listed = Some(stats);
        }
        self.listed.as_deref()
    }

    /// What others see of the stream already.
    #[inline]
    pub(crate) fn shown(&self) -> Option<&StreamStats> {
        self.listed.as_deref()
    }

    /// The stream is over: nobody sees it any more.
    pub(crate) fn strike(&mut self, session: &SessionStats) {
        if let Some(listed) = self.listed.take() {
            session.strike_stream(listed.id());
        }
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// When the streams of a session are looked at for others to see.
#[derive(Default)]
pub(crate) struct Tick {
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Tick {
    /// Least time between two looks.
    const PACE: Duration = Duration::from_secs(1);
    /// Most time between two looks, so that `rate()` sees long streams.
    const MOST: Duration = Duration::from_secs(10);

    /// A stream lives on after its first turn.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.next.is_none() {
            self.last = Some(now);
            self.next = Some(now + LISTED_AFTER);
        }
    }

    /// No stream lives.
    #[inline]
    pub(crate) fn rest(&mut self) {
        self.next = None;
    }

    /// Whether it is time; if so, it begins anew.
    #[inline]
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let (Some(last), Some(next)) = (self.last, self.next) else { return false };
        if now < next && now < last + Self::PACE {
            return false;
        }
        self.last = Some(now);
        self.next = Some(now + Self::MOST);
        true
    }

    /// The moment a session wants to be woken for it.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_life() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut waits = Waits::new(start);
        for (ms, on) in [
            (3, WaitOn::RequestBody),
            (3, WaitOn::Handler),
            (10, WaitOn::PeerStreamWindow),
            (11, WaitOn::PeerStreamWindow),
            (40, WaitOn::Socket),
        ] {
            waits.charge(on, at(ms));
        }
        let times = waits.times(at(100));
        assert_eq!(times.iter().sum::<Duration>(), Duration::from_millis(100));
        assert_eq!(times[WaitOn::Handler as usize], Duration::from_millis(10));
        assert_eq!(times[WaitOn::RequestBody as usize], Duration::ZERO);
        assert_eq!(times[WaitOn::PeerStreamWindow as usize], Duration::from_millis(30));
        assert_eq!(times[WaitOn::Socket as usize], Duration::from_millis(60));
    }

    #[test]
    fn a_look_comes_after_a_second_and_then_at_most_ten_apart() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tick = Tick::default();
        assert!(!tick.is_due(at(5_000)) && tick.next().is_none());
        tick.begin(at(0));
        assert!(!tick.is_due(at(999)));
        assert!(tick.is_due(at(1_000)));
        assert_eq!(tick.next(), Some(at(11_000)));
        assert!(!tick.is_due(at(1_500)) && tick.is_due(at(2_000)), "earlier where a turn comes by anyway");
        tick.rest();
        assert!(tick.next().is_none());
    }
}
