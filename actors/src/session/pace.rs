//! How a stream gets on: which of its deadlines run, and whether one has passed. Engines look at their streams
//! now and then and tell what they see; nothing here runs per frame, and a stream that is over before the first
//! look costs nothing.
//!
//! *Stall* and *least rate* run only while octets wait: ours for the peer, or the handler for those of a body of
//! declared length. *Idle* runs whenever neither direction moves, *hard* always; both are off unless asked for.
//! Invariant: a deadline is never early, and late by at most the time between two looks.

use std::time::{Duration, Instant};

use stagedoor_metrics::TimeoutKind;

use crate::config::{StreamTimeouts, Timeouts};

/// Least rates are averages over this long.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Octets leave in lumps: an average of what we send is taken over at least so many.
const RATE_LUMP: u64 = 32 << 10;
/// Looks in the shortest deadline.
const LOOKS: u32 = 20;
/// Least time between looks.
const LEAST: Duration = Duration::from_millis(1);

/// `None` for zero, which switches a deadline off.
pub(crate) fn on(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Deadlines of a stream in force; `None`, and a rate of 0, are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) idle: Option<Duration>,
    pub(crate) stall: Option<Duration>,
    pub(crate) hard: Option<Duration>,
    pub(crate) min_rate: u64,
}

impl Limits {
    /// Those of the listener.
    pub(crate) fn of(timeouts: &Timeouts) -> Self {
        Self {
            idle: on(timeouts.stream_idle),
            stall: on(timeouts.stall),
            hard: on(timeouts.hard),
            min_rate: timeouts.min_rate,
        }
    }

    /// These, except where the stream has its own.
    pub(crate) fn with(self, own: &StreamTimeouts) -> Self {
        let or = |own: Option<Duration>, given| own.map_or(given, on);
        Self {
            idle: or(own.idle, self.idle),
            stall: or(own.stall, self.stall),
            hard: or(own.hard, self.hard),
            min_rate: own.min_rate.unwrap_or(self.min_rate),
        }
    }

    /// How long after something happened to its streams a session looks at them; `None` when nothing is to be
    /// looked for.
    pub(crate) fn slack(&self) -> Option<Duration> {
        let rate = (self.min_rate > 0).then_some(RATE_WINDOW);
        let shortest = [self.idle, self.stall, self.hard, rate].into_iter().flatten().min()?;
        Some((shortest / LOOKS).max(LEAST))
    }
}

/// When a session looks at its streams: a little after something happened, and when their next deadline ends.
#[derive(Debug)]
pub(crate) struct Lookout {
    /// The listener's.
    pub(crate) limits: Limits,
    next: Option<Instant>,
    /// How long after something happened; `None` when no deadline is on.
    slack: Option<Duration>,
}

impl Lookout {
    pub(crate) fn new(timeouts: &Timeouts) -> Self {
        let limits = Limits::of(timeouts);
        Self { limits, next: None, slack: limits.slack() }
    }

    /// The next look.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// No stream is open.
    pub(crate) fn rest(&mut self) {
        self.next = None;
    }

    /// A stream has deadlines of its own.
    pub(crate) fn heed(&mut self, own: &StreamTimeouts, now: Instant) {
        if let Some(slack) = self.limits.with(own).slack() {
            let slack = self.slack.map_or(slack, |known| known.min(slack));
            self.slack = Some(slack);
            self.next = Some(self.next.map_or(now + slack, |next| next.min(now + slack)));
        }
    }

    /// Something may have happened to the streams; true when it is time for a look.
    #[inline]
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let Some(slack) = self.slack else { return false };
        match self.next {
            Some(at) if now >= at => return true,
            Some(at) if at <= now + slack => {}
            Some(_) | None => self.next = Some(now + slack),
        }
        false
    }

    /// They were looked at.
    pub(crate) fn looked(&mut self, next: Option<Instant>) {
        self.next = next;
    }
}

/// What is seen of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) opened: Instant,
    /// Octets of the peer's body, so far.
    pub(crate) received: u64,
    /// Octets of ours that went on, so far.
    pub(crate) sent: u64,
    /// The head of the answer has passed.
    pub(crate) answered: bool,
    /// Octets of ours wait.
    pub(crate) queued: bool,
    /// Since when they wait for the peer, and for nothing of ours: what went before is out of our hands.
    pub(crate) refused: Option<Instant>,
    /// Since when the handler waits for octets of a body of declared length.
    pub(crate) awaited: Option<Instant>,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well until then.
    Fine(Option<Instant>),
    /// The stream is over by this deadline.
    Over(TimeoutKind),
}

/// One direction that has to move.
#[derive(Clone, Copy, Debug)]
struct Run {
    octets: u64,
    /// When it was first seen not to have moved on from there.
    since: Instant,
    /// When its present term began; a term that ends after a move is an extension.
    term: Instant,
}

impl Run {
    /// Looks at a run that may take `time` for its next octet.
    fn look(
        slot: &mut Option<Self>,
        (octets, began): (u64, Instant),
        time: Duration,
        now: Instant,
        extended: impl FnOnce(),
    ) -> Result<Instant, ()> {
        let run = slot.get_or_insert(Self { octets, since: began, term: began });
        if run.octets != octets {
            (run.octets, run.since) = (octets, began);
        }
        if now >= run.since + time {
            return Err(());
        }
        if now >= run.term + time {
            run.term = run.since;
            extended();
        }
        Ok(run.since + time)
    }
}

/// A window in which a direction has to make its average.
#[derive(Clone, Copy, Debug)]
struct Average {
    octets: u64,
    since: Instant,
}

impl Average {
    fn look(
        slot: &mut Option<Self>,
        (octets, began): (u64, Instant),
        (rate, window): (u64, Duration),
        now: Instant,
    ) -> Result<Instant, ()> {
        let average = slot.get_or_insert(Self { octets, since: began });
        if now >= average.since + window {
            let took = now.saturating_duration_since(average.since);
            let wanted = u128::from(rate) * took.as_millis() / 1000;
            if u128::from(octets.saturating_sub(average.octets)) < wanted {
                return Err(());
            }
            *average = Self { octets, since: now };
        }
        Ok(average.since + window)
    }
}

/// What is kept of a stream between looks.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// What the stream asked for itself.
    own: Option<StreamTimeouts>,
    quiet: Option<Run>,
    sending: Option<Run>,
    reading: Option<Run>,
    sending_rate: Option<Average>,
    reading_rate: Option<Average>,
}

impl Pace {
    /// The stream asks for deadlines of its own, whose terms begin now.
    pub(crate) fn ask(&mut self, own: StreamTimeouts) {
        *self = Self { own: Some(own), ..Self::default() };
    }

    /// What the stream asked for itself.
    pub(crate) fn own(&self) -> Option<StreamTimeouts> {
        self.own
    }

    /// Looks at the stream. `extended` hears of each term that ended after octets had moved.
    pub(crate) fn look(
        &mut self,
        sight: &Sight,
        defaults: Limits,
        now: Instant,
        mut extended: impl FnMut(TimeoutKind),
    ) -> Verdict {
        let limits = self.own.as_ref().map_or(defaults, |own| defaults.with(own));
        let mut next = None;
        let mut also = |at: Instant| next = Some(next.map_or(at, |next: Instant| next.min(at)));
        if let Some(hard) = limits.hard {
            if now >= sight.opened + hard {
                return Verdict::Over(TimeoutKind::Hard);
            }
            also(sight.opened + hard);
        }
        if let Some(stall) = limits.stall {
            let runs = [
                (&mut self.sending, sight.sent, sight.refused),
                (&mut self.reading, sight.received, sight.awaited),
            ];
            for (run, octets, began) in runs {
                let Some(began) = began else {
                    *run = None;
                    continue;
                };
                match Run::look(run, (octets, began), stall, now, || extended(TimeoutKind::WriteStall)) {
                    Ok(at) => also(at),
                    Err(()) => return Verdict::Over(TimeoutKind::WriteStall),
                }
            }
        }
        if limits.min_rate > 0 {
            let rate = limits.min_rate;
            let lump = Duration::from_millis(RATE_LUMP.saturating_mul(1000) / rate);
            let averages = [
                (&mut self.sending_rate, sight.sent, sight.queued.then_some(now), RATE_WINDOW.max(lump)),
                (&mut self.reading_rate, sight.received, sight.awaited.map(|_| now), RATE_WINDOW),
            ];
            for (average, octets, began, window) in averages {
                let Some(began) = began else {
                    *average = None;
                    continue;
                };
                match Average::look(average, (octets, began), (rate, window), now) {
                    Ok(at) => also(at),
                    Err(()) => return Verdict::Over(TimeoutKind::MinRate),
                }
            }
        }
        if let Some(idle) = limits.idle {
            let steps = sight.received.wrapping_add(sight.sent).wrapping_add(u64::from(sight.answered));
            let began = if steps == 0 { sight.opened } else { now };
            match Run::look(&mut self.quiet, (steps, began), idle, now, || extended(TimeoutKind::Idle)) {
                Ok(at) => also(at),
                Err(()) => return Verdict::Over(TimeoutKind::Idle),
            }
        }
        Verdict::Fine(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    fn sight(opened: Instant) -> Sight {
        Sight { opened, received: 0, sent: 0, answered: false, queued: false, refused: None, awaited: None }
    }

    fn look(pace: &mut Pace, sight: &Sight, limits: Limits, now: Instant) -> Verdict {
        pace.look(sight, limits, now, |_| {})
    }

    #[test]
    fn nothing_runs_for_a_stream_that_waits_for_nobody() {
        let start = Instant::now();
        let limits = Limits::of(&Timeouts::default());
        let late = start + 100 * STALL;
        assert_eq!(look(&mut Pace::default(), &sight(start), limits, late), Verdict::Fine(None));
    }

    #[test]
    fn the_next_look_is_the_moment_the_stall_ends() {
        let start = Instant::now();
        let limits = Limits::of(&Timeouts::default());
        let mut pace = Pace::default();
        let waiting = Sight { refused: Some(start), ..sight(start) };
        let end = start + STALL;
        assert_eq!(look(&mut pace, &waiting, limits, start), Verdict::Fine(Some(end)));
        let before = end - Duration::from_nanos(1);
        assert_eq!(look(&mut pace, &waiting, limits, before), Verdict::Fine(Some(end)));
        assert_eq!(look(&mut pace, &waiting, limits, end), Verdict::Over(TimeoutKind::WriteStall));
    }

    #[test]
    fn one_direction_that_moves_does_not_hide_the_other() {
        let start = Instant::now();
        let limits = Limits::of(&Timeouts::default());
        let mut pace = Pace::default();
        let mut verdict = Verdict::Fine(None);
        for second in 0..=60 {
            let now = start + Duration::from_secs(second);
            let (refused, awaited) = (Some(start), Some(now));
            let both = Sight { received: second, refused, awaited, ..sight(start) };
            verdict = look(&mut pace, &both, limits, now);
            assert_eq!(verdict == Verdict::Over(TimeoutKind::WriteStall), second == 60);
        }
        assert_eq!(verdict, Verdict::Over(TimeoutKind::WriteStall));
    }

    #[test]
    fn what_waits_no_more_begins_anew() {
        let start = Instant::now();
        let limits = Limits::of(&Timeouts::default());
        let mut pace = Pace::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waiting = |now| Sight { refused: Some(now), ..sight(start) };
        look(&mut pace, &waiting(at(0)), limits, at(0));
        look(&mut pace, &sight(start), limits, at(50));
        let verdict = look(&mut pace, &waiting(at(59)), limits, at(59));
        assert_eq!(verdict, Verdict::Fine(Some(at(59) + STALL)));
    }

    #[test]
    fn an_own_deadline_wins_and_zero_is_off() {
        let limits = Limits::of(&Timeouts { hard: STALL, ..Timeouts::default() });
        let own = StreamTimeouts {
            hard: Some(Duration::ZERO),
            stall: Some(Duration::from_secs(1)),
            ..StreamTimeouts::default()
        };
        let both = limits.with(&own);
        assert_eq!((both.hard, both.stall), (None, Some(Duration::from_secs(1))));
        assert_eq!(limits.with(&StreamTimeouts::default()), limits);
    }

    #[test]
    fn looks_follow_what_happened_and_stop_when_nothing_does() {
        let start = Instant::now();
        let mut lookout = Lookout::new(&Timeouts::default());
        let slack = STALL / LOOKS;
        assert!(!lookout.is_due(start));
        assert_eq!(lookout.next(), Some(start + slack));
        assert!(!lookout.is_due(start + slack / 2), "planned already");
        assert_eq!(lookout.next(), Some(start + slack));
        assert!(lookout.is_due(start + slack));
        lookout.looked(None);
        assert_eq!(lookout.next(), None, "no polling");
        let off = Timeouts { stall: Duration::ZERO, ..Timeouts::default() };
        let mut lookout = Lookout::new(&off);
        assert!(!lookout.is_due(start));
        assert_eq!(lookout.next(), None, "nothing to look for");
    }
}
