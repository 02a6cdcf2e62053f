//! One timer a session, armed lazily: it is set anew only for an earlier deadline. A later one is looked at
//! when the timer fires, so that a busy session does not touch the timer wheel at all.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use stagedoor_metrics::TimeoutKind;
use tokio::time::Sleep;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// TLS, first octets, preface, SETTINGS, header block: absolute, never extended.
    Absolute,
    /// No stream open.
    Idle,
    /// PING, or its answer.
    Keepalive,
    /// Greatest age.
    MaxAge,
    /// End of a drain or of a linger.
    Drain,
    /// Spare heap of an idle session.
    Shrink,
    /// The streams are looked at, or a backlog: what they find they count themselves.
    Look,
}

impl Due {
    /// The timer people know it by; `None` where moving on is no news.
    pub(crate) fn kind(self) -> Option<TimeoutKind> {
        match self {
            Self::Idle => Some(TimeoutKind::Idle),
            Self::Keepalive => Some(TimeoutKind::Keepalive),
            Self::Absolute | Self::MaxAge | Self::Drain | Self::Shrink | Self::Look => None,
        }
    }
}

/// The earlier of two deadlines.
pub(crate) fn sooner(a: Option<(Instant, Due)>, b: Option<(Instant, Due)>) -> Option<(Instant, Due)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (one, None) | (None, one) => one,
    }
}

/// The timer of a session.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<(Instant, Due)>,
}

impl Timer {
    /// What it was armed for, once that has passed.
    #[inline]
    pub(crate) fn fired(&mut self, now: Instant) -> Option<Due> {
        let (at, due) = self.armed?;
        if now < at && !self.sleep.as_ref().is_some_and(|sleep| sleep.is_elapsed()) {
            return None;
        }
        self.armed = None;
        Some(due)
    }

    /// Wakes `cx` at `at`, or earlier when it is armed for that.
    #[inline]
    pub(crate) fn arm(&mut self, at: Instant, due: Due, cx: &mut Context<'_>) {
        if self.armed.is_none_or(|(armed, _)| at < armed) {
            self.arm_now(at, due, cx);
        }
    }

    fn arm_now(&mut self, at: Instant, due: Due, cx: &mut Context<'_>) {
        self.armed = Some((at, due));
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at.into());
                sleep
            }
            None => self.sleep.insert(Box::pin(tokio::time::sleep_until(at.into()))),
        };
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
