//! Frames of live sessions for whoever watches: a session hands them out at the end of each turn.
//!
//! Redacts nothing and formats nothing; whoever shows them does. Invariants: a watcher that does not keep up loses
//! frames and is told how many, the session never waits; without watchers the machine keeps no frame.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use stagedoor_metrics::{CloseReason, RouteId, SessionId};
use stagedoor_protocol::{StreamId, Tapped};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Frames that wait for a watcher.
const WAITING: usize = 1024;

/// What a watcher sees.
///
/// ```
/// use stagedoor_actors::tap::TapItem;
///
/// fn line(item: &TapItem) -> Option<String> {
///     match item {
///         TapItem::Frame(frame) => Some(format!("{} {:#04x}", frame.session, frame.frame.kind)),
///         TapItem::Lost(frames) => Some(format!("{frames} frames are lost")),
///         TapItem::End(session, reason) => Some(format!("{session} is over: {reason}")),
///         _ => None,
///     }
/// }
/// assert_eq!(line(&TapItem::Lost(3)).as_deref(), Some("3 frames are lost"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TapItem {
    /// A frame.
    Frame(Box<TapFrame>),
    /// So many frames before the next were lost.
    Lost(u64),
    /// The session is over; nothing of it follows.
    End(SessionId, CloseReason),
}

/// A frame of a session.
///
/// ```
/// use stagedoor_actors::tap::TapFrame;
/// use stagedoor_protocol::{Origin, frame};
///
/// fn line(TapFrame { session, frame: tapped, .. }: &TapFrame) -> String {
///     let way = if tapped.by == Origin::Local { '>' } else { '<' };
///     format!("{session} {way} {} on stream {}", frame::name(tapped.kind), tapped.id)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TapFrame {
    /// Whose.
    pub session: SessionId,
    /// When.
    pub at: SystemTime,
    /// The route of its stream, as far as that is known.
    pub route: Option<RouteId>,
    /// The frame.
    pub frame: Tapped,
}

/// Where a session leaves what a watcher sees.
#[derive(Clone, Debug)]
pub(crate) struct TapSink(Sender<TapItem>);

/// A sink and its other end.
pub(crate) fn tap() -> (TapSink, Receiver<TapItem>) {
    let (sender, receiver) = channel(WAITING);
    (TapSink(sender), receiver)
}

impl TapSink {
    /// Nobody watches any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

struct Watcher {
    sink: TapSink,
    lost: u64,
}

/// The watchers of one session.
#[derive(Default)]
pub(crate) struct Taps {
    watchers: Vec<Watcher>,
    /// Routes of streams that ended in this turn.
    routes: HashMap<StreamId, RouteId>,
}

impl Taps {
    pub(crate) fn add(&mut self, sink: TapSink) {
        self.watchers.push(Watcher { sink, lost: 0 });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// A stream is gone from its session's table; its frames of this turn are still to be told.
    pub(crate) fn remember(&mut self, id: StreamId, route: RouteId) {
        self.routes.insert(id, route);
    }

    /// Tells what was watched since the last call.
    pub(crate) fn tell(
        &mut self,
        session: SessionId,
        (frames, lost): (Vec<Tapped>, u64),
        now: Instant,
        route: impl Fn(StreamId) -> Option<RouteId>,
    ) {
        let wall = SystemTime::now();
        for watcher in &mut self.watchers {
            watcher.lost += lost;
        }
        for frame in frames {
            let at = wall.checked_sub(now.saturating_duration_since(frame.at)).unwrap_or(wall);
            let route = route(frame.id).or_else(|| self.routes.get(&frame.id).copied());
            let item = TapItem::Frame(Box::new(TapFrame { session, at, route, frame }));
            self.watchers.retain_mut(|watcher| watcher.give(item.clone()));
        }
        self.watchers.retain(|watcher| !watcher.sink.is_gone());
        self.routes.clear();
    }

    /// The session is over.
    pub(crate) fn end(&mut self, session: SessionId, reason: CloseReason) {
        for mut watcher in self.watchers.drain(..) {
            watcher.give(TapItem::End(session, reason));
        }
    }
}

impl Watcher {
    /// False when nobody watches any more.
    fn give(&mut self, item: TapItem) -> bool {
        if self.lost > 0 {
            match self.sink.0.try_send(TapItem::Lost(self.lost)) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(_)) => {}
            }
        }
        match self.sink.0.try_send(item) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stagedoor_protocol::{Detail, Origin};

    use super::*;

    fn frame(now: Instant) -> Tapped {
        let id = StreamId::from_wire(1);
        Tapped { at: now, by: Origin::Remote, kind: 0, flags: 0, id, length: 0, detail: Detail::None }
    }

    #[test]
    fn who_is_too_slow_loses_frames_and_hears_how_many() {
        let (sink, mut receiver) = tap();
        let mut taps = Taps::default();
        taps.add(sink);
        let (session, now) = (SessionId { worker: 0, number: 1 }, Instant::now());
        taps.tell(session, (vec![frame(now); WAITING + 5], 0), now, |_| None);
        for _ in 0..WAITING {
            assert!(matches!(receiver.try_recv(), Ok(TapItem::Frame(_))));
        }
        assert!(receiver.try_recv().is_err());
        taps.end(session, CloseReason::Drain);
        assert!(matches!(receiver.try_recv(), Ok(TapItem::Lost(5))));
        assert!(matches!(receiver.try_recv(), Ok(TapItem::End(_, CloseReason::Drain))));
    }

    #[test]
    fn who_left_is_forgotten() {
        let (sink, receiver) = tap();
        let mut taps = Taps::default();
        taps.add(sink);
        drop(receiver);
        let now = Instant::now();
        taps.tell(SessionId { worker: 0, number: 1 }, (vec![frame(now)], 0), now, |_| None);
        assert!(taps.is_empty());
    }
}
