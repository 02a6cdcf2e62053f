//! `/drip`: octets at a steady rate. The rate is kept over the whole answer, so a peer that stalled gets what
//! it is owed at once and a late timer is made up for.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use stagedoor_actors::{Body, Response};
use tokio::time::{Instant, Sleep};

use super::answer;
use super::octets;
use super::query::Query;

/// Faster rates are sent in pieces this far apart.
const TICK: Duration = Duration::from_millis(20);

/// The most octets of one piece.
const PIECE: u64 = 64 << 10;

/// Answers `GET /drip?bytes=N&rate=R`.
pub(super) fn answer(query: &Query<'_>) -> Response {
    let asked = query.quantity("bytes", 1_000).and_then(|total| Ok((total, query.quantity("rate", 100)?)));
    let (total, rate) = match asked {
        Ok((_, 0)) => return answer::bad("rate is at least 1 octet a second"),
        Ok((total, _)) if total > octets::MOST_OCTETS => return answer::bad("bytes is at most 2^40"),
        Ok(asked) => asked,
        Err(sentence) => return answer::bad(sentence),
    };
    Response::new(200)
        .with_field("content-type", "application/octet-stream")
        .with_field("cache-control", "no-store")
        .with_field("content-length", total.to_string())
        .with_body(if total == 0 { Body::Empty } else { Body::stream(Drip::new(total, rate)) })
}

/// A body that owes `rate` octets for every second since its first poll.
struct Drip {
    total: u64,
    sent: u64,
    rate: u64,
    started: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Drip {
    fn new(total: u64, rate: u64) -> Self {
        Self { total, sent: 0, rate, started: None, timer: None }
    }

    /// Octets owed after `elapsed`.
    fn due(&self, elapsed: Duration) -> u64 {
        let due = elapsed.as_nanos().saturating_mul(u128::from(self.rate)) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).min(self.total)
    }

    /// When the next octet is owed, and not sooner than a tick from `elapsed`.
    fn next_at(&self, elapsed: Duration) -> Duration {
        let nanos = (u128::from(self.sent) + 1) * 1_000_000_000 / u128::from(self.rate) + 1;
        let whole = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        whole.max(elapsed + TICK)
    }
}

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent == self.total {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        loop {
            let elapsed = started.elapsed();
            let owed = self.due(elapsed).saturating_sub(self.sent);
            if owed > 0 {
                let piece = octets::slice_at(self.sent..self.sent + owed.min(PIECE));
                self.sent += piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let deadline = started + self.next_at(elapsed);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            timer.as_mut().reset(deadline);
            std::task::ready!(timer.as_mut().poll(cx));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.total
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.total - self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_follows_the_clock() {
        let drip = Drip::new(1_000, 100);
        assert_eq!(drip.due(Duration::ZERO), 0);
        assert_eq!(drip.due(Duration::from_millis(9)), 0);
        assert_eq!(drip.due(Duration::from_millis(10)), 1);
        assert_eq!(drip.due(Duration::from_secs(3_600)), 1_000);
        assert_eq!(Drip::new(u64::MAX, u64::MAX).due(Duration::MAX), u64::MAX);
    }

    #[test]
    fn the_timer_waits_for_a_whole_octet_and_at_least_a_tick() {
        let slow = Drip::new(10, 1);
        let next = slow.next_at(Duration::ZERO);
        assert!(next >= Duration::from_secs(1) && slow.due(next) == 1);
        assert_eq!(Drip::new(u64::MAX, 1_000_000).next_at(Duration::ZERO), TICK);
    }

    #[test]
    fn parameters_are_checked() {
        let status = |query| answer(&Query::new(query)).status;
        assert_eq!(status(""), 200);
        assert_eq!(status("bytes=1k&rate=1M"), 200);
        assert_eq!(status("rate=0"), 400);
        assert_eq!(status("bytes=-1"), 400);
        assert_eq!(status("bytes=2000000M"), 400);
    }
}
