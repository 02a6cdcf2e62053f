//! What a server can be asked while it runs: its sessions, their frames, the sessions that ended badly.
//!
//! Changes nothing. Invariant: an arbiter that is stuck in a handler does not hold an answer up for longer than
//! [`PATIENCE`]: its sessions are then told as their live numbers show them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stagedoor_metrics::{SessionId, SessionStats};
use tokio::sync::mpsc::Receiver;

use super::ServerHandle;
use crate::clock;
use crate::tap::{TapItem, tap};
use crate::view::{PostMortem, SessionView};
use crate::worker::{Sessions, TapSessions, Undrain};

/// How long an arbiter may take to answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A session's frames cannot be watched.
///
/// ```
/// use stagedoor_actors::{NoTap, ServerHandle};
///
/// async fn frames(server: &ServerHandle, id: &str) -> Result<(), NoTap> {
///     match server.tap(id).await {
///         Ok(mut frames) => while frames.recv().await.is_some() {},
///         Err(NoTap::Busy) => println!("try again"),
///         Err(error) => return Err(error),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoTap {
    /// There is no such session (any more).
    #[error("there is no such session")]
    Gone,
    /// It speaks HTTP/1.1, or nothing yet.
    #[error("the session does not speak HTTP/2, and so has no frames")]
    NoFrames,
    /// Its arbiter is held up by a handler.
    #[error("the session's arbiter is busy and does not answer; try again")]
    Busy,
}

impl ServerHandle {
    /// Resolves when every arbiter has answered: none is stuck.
    pub async fn answers(&self) {
        join_all(self.0.workers.iter().map(|worker| worker.send(Undrain { posts: Vec::new() }))).await;
    }

    /// Every session of every listener, with its streams, in the order of their ids.
    pub async fn sessions(&self) -> Vec<SessionView> {
        self.views(self.0.metrics.live().snapshot(), false).await
    }

    /// These sessions, with their streams, in the order given; those that are gone are left out.
    pub async fn sessions_of(&self, ids: &[SessionId]) -> Vec<SessionView> {
        let live = self.0.metrics.live();
        let views = self.views(ids.iter().filter_map(|id| live.get(*id)).collect(), false).await;
        let mut by_id: HashMap<String, SessionView> =
            views.into_iter().map(|view| (view.id.clone(), view)).collect();
        ids.iter().filter_map(|id| by_id.remove(&id.to_string())).collect()
    }

    /// One session by id, with its flight recorder.
    pub async fn session(&self, id: &str) -> Option<SessionView> {
        let stats = self.0.metrics.live().get(id.parse().ok()?)?;
        self.views(vec![stats], true).await.pop()
    }

    /// Asks each session, all arbiters at once.
    async fn views(&self, wanted: Vec<Arc<SessionStats>>, recorder: bool) -> Vec<SessionView> {
        let mut by_worker: HashMap<u16, Vec<Arc<SessionStats>>> = HashMap::new();
        for stats in wanted {
            by_worker.entry(stats.id().worker).or_default().push(stats);
        }
        let asked = by_worker.into_iter().map(|(worker, sessions)| self.views_of(worker, sessions, recorder));
        let mut views: Vec<SessionView> = join_all(asked).await.into_iter().flatten().collect();
        views.sort_by_key(|view| view.id.parse::<SessionId>().ok());
        views
    }

    async fn views_of(
        &self,
        worker: u16,
        sessions: Vec<Arc<SessionStats>>,
        recorder: bool,
    ) -> Vec<SessionView> {
        let shown = || sessions.iter().map(|stats| SessionView::of_stats(stats, clock::now())).collect();
        // Sessions of clients on threads that run no Worker are told by their numbers alone.
        let Some(worker) = self.0.workers.get(usize::from(worker)) else { return shown() };
        let numbers = Some(sessions.iter().map(|stats| stats.id().number).collect());
        match tokio::time::timeout(PATIENCE, worker.send(Sessions { numbers, recorder })).await {
            Ok(Ok(views)) => views,
            Ok(Err(_)) | Err(_) => shown(),
        }
    }

    /// Resolves when every arbiter has ended the turn it is in: what was answered before is counted then. An arbiter that
    /// is stuck is not waited for longer than `limit`.
    pub async fn caught_up(&self, limit: Duration) {
        let told = self
            .0
            .workers
            .iter()
            .map(|worker| worker.send(Sessions { numbers: Some(Vec::new()), recorder: false }));
        tokio::time::timeout(limit, join_all(told)).await.ok();
    }

    /// The frames of one session from now on. Dropping the receiver ends it.
    /// # Errors
    /// [`NoTap`].
    pub async fn tap(&self, id: &str) -> Result<Receiver<TapItem>, NoTap> {
        let (worker, number) = self.find(id).ok_or(NoTap::Gone)?;
        let parsed: SessionId = id.parse().map_err(|_| NoTap::Gone)?;
        let (sink, receiver) = tap();
        let told = worker.send(TapSessions { number: Some(number), sink });
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(1..)) => Ok(receiver),
            Ok(Ok(0)) if self.0.metrics.live().get(parsed).is_some() => Err(NoTap::NoFrames),
            Ok(Ok(0) | Err(_)) => Err(NoTap::Gone),
            Err(_) => Err(NoTap::Busy),
        }
    }

    /// The frames of every session from now on, of those to come too, except for the sessions of the admin listener.
    pub async fn tap_all(&self) -> Receiver<TapItem> {
        let (sink, receiver) = tap();
        let told = self.0.workers.iter().map(|worker| {
            let order = TapSessions { number: None, sink: sink.clone() };
            tokio::time::timeout(PATIENCE, worker.send(order))
        });
        join_all(told).await;
        receiver
    }

    /// Sessions that ended as they should not have, the newest first.
    pub fn post_mortems(&self) -> Vec<Arc<PostMortem>> {
        self.0.post_mortems.newest()
    }
}
