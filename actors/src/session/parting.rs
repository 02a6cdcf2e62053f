//! The last steps of every socket: what is left to say, the half-close, then reading and dropping until the
//! peer closes or the linger is over. Without the linger the kernel answers octets still on their way with
//! RST, and the peer never reads our GOAWAY (docs/architecture.md).
//!
//! A flood that went on being dropped as fast as it comes would cost the neighbours more than what it was ended for. Of a
//! peer that was ended for abuse little is read; it has a moment to read why, then the kernel sends its RST.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use stagedoor_metrics::{CloseReason, TimeoutAction, TimeoutKind};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Step;
use super::common::Common;
use super::timer::Due;
use crate::scratch;
use crate::transport::Transport;

/// Reads that are dropped in one turn.
const READS: usize = 8;
/// Octets that are dropped in all, more than a window lets be on their way: who goes on sending is not waited for.
const DROPS: u64 = 32 << 20;

/// Octets that are dropped of who was ended for abuse, and how long such a socket stays open behind them.
const ABUSE_DROPS: u64 = 64 << 10;
const ABUSE_GRACE: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Parting {
    io: Transport,
    rest: Bytes,
    stage: Stage,
    until: Instant,
    dropped: u64,
    /// Nothing more is read.
    deaf: bool,
    refusing: bool,
    over: bool,
}

enum Stage {
    Rest,
    Shutdown,
    Linger,
}

impl Parting {
    /// `rest` is still to be written; everything is over at `until`.
    pub(crate) fn new(io: Transport, rest: Bytes, until: Instant) -> Self {
        Self { io, rest, stage: Stage::Rest, until, dropped: 0, deaf: false, refusing: false, over: false }
    }

    /// The same for a client whose protocol is not spoken here.
    pub(crate) fn refusing(io: Transport, rest: Bytes, until: Instant) -> Self {
        Self { refusing: true, ..Self::new(io, rest, until) }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        if self.over {
            return Step::Gone;
        }
        loop {
            let done = match self.stage {
                Stage::Rest => self.write(common, cx, now),
                Stage::Shutdown => Pin::new(&mut self.io).poll_shutdown(cx).map(|result| result.is_ok()),
                Stage::Linger => self.drop_input(common, cx, now),
            };
            self.stage = match (done, &self.stage) {
                (Poll::Pending, _) => return Step::Wait,
                (Poll::Ready(false), _) | (Poll::Ready(true), Stage::Linger) => return Step::Gone,
                (Poll::Ready(true), Stage::Rest) => Stage::Shutdown,
                (Poll::Ready(true), Stage::Shutdown) => Stage::Linger,
            };
        }
    }

    fn write(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Poll<bool> {
        while !self.rest.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {
                    common.moved(0, count as u64, now);
                    self.rest.advance(count);
                }
                Poll::Ready(_) => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    }

    /// True at the end of the peer's octets, false after an error.
    fn drop_input(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Poll<bool> {
        if self.deaf {
            return Poll::Pending;
        }
        for _ in 0..READS {
            let mut room = scratch::take();
            let mut buffer = ReadBuf::new(&mut room);
            let read = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
            let count = buffer.filled().len();
            scratch::put(room);
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if count > 0 => {
                    common.moved(count as u64, 0, now);
                    self.dropped += count as u64;
                    if self.dropped > DROPS {
                        return Poll::Ready(false);
                    }
                    if self.dropped >= ABUSE_DROPS && common.reason() == Some(CloseReason::Abuse) {
                        self.deaf = true;
                        self.until = self.until.min(now + ABUSE_GRACE);
                        return Poll::Pending;
                    }
                }
                Poll::Ready(result) => return Poll::Ready(result.is_ok()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn on_timer(&mut self, common: &Common, now: Instant) {
        if now >= self.until {
            self.over = true;
            if self.refusing {
                common.timed(TimeoutKind::UnknownProtocol, TimeoutAction::Closed, None);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<(Instant, Due)> {
        Some((self.until, Due::Drain))
    }
}
