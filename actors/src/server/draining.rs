//! The way down of a whole server: drain, close, stop.
//!
//! Sessions are not ended here: they hear `CloseSession` like from everybody else. Invariants: a server stops once, however
//! many ask and however often; who waits for the stop is told when everything else has been.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use actix::Arbiter;
use futures_util::future::join_all;
use stagedoor_metrics::{CloseReason, Role};

use super::ServerHandle;
use crate::clock;
use crate::close::CloseSession;
use crate::events::{DrainStep, Event};
use crate::listener::{PostId, Retire, StopAccepting};
use crate::worker::{CloseAll, Quit};

/// How often a drain says how it goes.
const PROGRESS: Duration = Duration::from_secs(1);
/// As long as a drain may take: a time that cannot be added to the clock is none.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// What sessions have beyond their linger to be gone after a hard close.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// How a drain is going.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::{DrainProgress, ServerHandle};
///
/// async fn drain(server: &ServerHandle) {
///     let told = |DrainProgress { sessions, streams, left }| {
///         println!("{sessions} sessions and {streams} streams, {left:?} to go");
///     };
///     server.drain_with(Duration::from_secs(5), Duration::from_secs(30), told).await;
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// Sessions left.
    pub sessions: usize,
    /// Streams left.
    pub streams: usize,
    /// Time to the deadline.
    pub left: Duration,
}

impl ServerHandle {
    /// Takes the server out of service in good order: stops accepting at once, tells each session to take no new streams and
    /// end, cuts off at `deadline` what is left, and waits for the last. [`Self::events`] tell each step. Listeners that
    /// are kept while draining go on until [`Self::stop`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use stagedoor_actors::{ListenerConfig, ServerBuilder, facade};
    /// use stagedoor_metrics::Metrics;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// actix_rt::System::new().block_on(async {
    ///     let config = ListenerConfig::new("plain", "127.0.0.1:0".parse()?);
    ///     let service = facade::handler(|_: facade::HttpRequest| async { "hello" });
    ///     let builder = ServerBuilder::new(Metrics::new("example"), 1).listen(config, service, false);
    ///     let server = builder.start().await?;
    ///     // Somewhere else somebody waits for the end:
    ///     let waiting = server.clone();
    ///     let waiting = actix_rt::spawn(async move { waiting.stopped().await });
    ///     server.drain(Duration::from_secs(30)).await;
    ///     server.stop().await;
    ///     waiting.await?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn drain(&self, deadline: Duration) {
        self.drain_with(Duration::ZERO, deadline, |_| {}).await;
    }

    /// As [`Self::drain`], for who stands behind a balancer: goes on accepting for `min_accept` first; `deadline` counts from
    /// the end of it. `progress` is told about once a second and when the numbers change.
    pub async fn drain_with(
        &self,
        min_accept: Duration,
        deadline: Duration,
        mut progress: impl FnMut(DrainProgress),
    ) {
        let (min_accept, deadline) = (min_accept.min(LONGEST), deadline.min(LONGEST));
        self.step(|| DrainStep::Began { sessions: self.left(), min_accept, deadline });
        let until = clock::now() + min_accept;
        self.watch(until, until + deadline, false, &mut progress).await;
        let until = clock::now() + deadline;
        self.stop_accepting(false).await;
        self.step(|| DrainStep::StoppedAccepting);
        self.close_all(false, CloseSession::new(CloseReason::Drain).with_grace(deadline)).await;
        self.watch(until, until, true, &mut progress).await;
        let sessions = self.left();
        if sessions > 0 {
            self.step(|| DrainStep::Forced { sessions });
            self.close_all(false, CloseSession::new(CloseReason::Drain).now()).await;
            let until = clock::now() + self.last_moments();
            self.watch(until, until, true, &mut progress).await;
        }
        self.step(|| DrainStep::Done);
    }

    /// Closes the server gracefully: stops accepting at once, drains every session for as long as its listener's
    /// `drain` allows, and waits for the last. [`Self::drain`] is the same with a time of its own;
    /// listeners that are kept while draining go on until [`Self::stop`].
    pub async fn close(&self) {
        let drain = self.0.all(false).iter().map(|post| post.drain()).max();
        self.drain(drain.unwrap_or_default()).await;
    }

    fn step(&self, step: impl FnOnce() -> DrainStep) {
        self.0.hub.tell(|| Event::Drain(step()));
    }

    /// Tells `progress` how it goes until `until`, or until no session is left where `to_the_end`.
    async fn watch(
        &self,
        until: Instant,
        deadline: Instant,
        to_the_end: bool,
        progress: &mut impl FnMut(DrainProgress),
    ) {
        let mut told: Option<(usize, usize, Instant)> = None;
        loop {
            let now = clock::now();
            let sessions = self.left();
            if now >= until || (to_the_end && sessions == 0) {
                return;
            }
            let streams = self.streams_left();
            let changed = told.is_none_or(|(a, b, at)| (a, b) != (sessions, streams) || now >= at + PROGRESS);
            if changed {
                let left = deadline.saturating_duration_since(now);
                let going = DrainProgress { sessions, streams, left };
                progress(going);
                self.step(|| DrainStep::Progress(going));
                told = Some((sessions, streams, now));
            }
            // Numbers may change without a session's end: look again soon.
            let pause = Duration::from_millis(100).min(until - now);
            let posts = self.0.all(false);
            let ended: Vec<_> = posts.iter().map(|post| Box::pin(post.post.ledger.changed())).collect();
            if ended.is_empty() {
                tokio::time::sleep(pause).await;
            } else {
                tokio::time::timeout(pause, futures_util::future::select_all(ended)).await.ok();
            }
        }
    }

    fn left(&self) -> usize {
        self.0.all(false).iter().map(|post| post.sessions()).sum()
    }

    fn streams_left(&self) -> usize {
        let kept = self.0.kept().clone();
        let live = self.0.metrics.live().snapshot();
        // Of what we ask of others, it is the exchange that waits for it which is counted.
        let counted = live.iter().filter(|stats| {
            stats.role() == Role::Server && !kept.iter().any(|name| **name == **stats.listener())
        });
        counted.map(|stats| usize::try_from(stats.streams_open.get()).unwrap_or(0)).sum()
    }

    fn last_moments(&self) -> Duration {
        let linger = self.0.all(true).iter().map(|post| post.linger()).max().unwrap_or_default();
        linger + LAST_MOMENTS
    }

    async fn stop_accepting(&self, kept_too: bool) {
        let posts = self.0.all(kept_too);
        join_all(posts.iter().map(|post| post.supervisor.send(StopAccepting))).await;
    }

    async fn close_all(&self, kept_too: bool, order: CloseSession) {
        let posts: Vec<PostId> = self.0.all(kept_too).iter().map(|post| post.id()).collect();
        let close = CloseAll { posts, order };
        join_all(self.0.workers.iter().map(|worker| worker.send(close.clone()))).await;
    }

    /// Serves until `end`, then drains: streams may go on for `grace`. Last of all it stops. Sooner where somebody else stops it.
    pub async fn run_until(&self, end: impl Future<Output = ()>, grace: Duration) {
        tokio::select! {
            () = end => self.drain(grace).await,
            () = self.stopped() => {}
        }
        self.stop().await;
    }

    /// Closes everything now (reason `shutdown`), listeners that were kept included, and waits until it is gone. May be
    /// asked as often as one likes, by many at once: all wait for the same stop.
    pub async fn stop(&self) {
        self.0.stopping.get_or_init(|| self.stop_once()).await;
    }

    /// Resolves when the server has stopped, whoever ordered it ([`Self::stop`]); at once where it has already.
    pub async fn stopped(&self) {
        // The sender lives as long as the handle does.
        self.0.stopped.subscribe().wait_for(|stopped| *stopped).await.ok();
    }

    async fn stop_once(&self) {
        self.stop_accepting(true).await;
        self.close_all(true, CloseSession::new(CloseReason::Shutdown)).await;
        let until = clock::now() + self.last_moments();
        while self.0.all(true).iter().any(|post| post.sessions() > 0) && clock::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.overload.stop();
        let told = self.0.all(true);
        join_all(told.iter().map(|post| post.supervisor.send(Retire))).await;
        let theirs = self.0.workers.iter().take(self.0.theirs);
        join_all(theirs.map(|worker| worker.send(Quit))).await;
        let arbiters = std::mem::take(&mut *self.0.arbiters.lock().unwrap_or_else(PoisonError::into_inner));
        end(arbiters).await;
        self.0.hub.close();
        self.0.stopped.send_replace(true);
    }
}

/// Stops arbiters and sees their threads end, but for one that a handler holds up: nobody waits for it for long.
async fn end(arbiters: Vec<Arbiter>) {
    for arbiter in &arbiters {
        arbiter.stop();
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let wait = move || {
        for arbiter in arbiters {
            arbiter.join().ok();
        }
        tell.send(()).ok();
    };
    // Not on the runtime's own threads: it would wait for them when it ends.
    if std::thread::Builder::new().name("stagedoor-stop".to_owned()).spawn(wait).is_ok() {
        tokio::time::timeout(LAST_MOMENTS, told).await.ok();
    }
}
