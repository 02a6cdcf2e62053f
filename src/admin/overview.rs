//! What the live page and `top` follow: an event a second with the state of the process and a page of its sessions.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use stagedoor_actors::{ADMIN, Reply};
use stagedoor_metrics::{ActorTotals, MessageTotals, Role, Totals, WorkerTotals};
use tokio::time::{MissedTickBehavior, interval};

use super::problem::Problem;
use super::query::Query;
use super::sessions::{Page, WANTED, Wanted, page};
use super::stream::{self, Events};
use super::{Admin, json};
use crate::lifecycle::Stage;
use crate::seen::{Moved, SessionSeen, microseconds, milliseconds, unix};

/// Time between two events.
const PACE: Duration = Duration::from_secs(1);
/// Sessions of a page where no limit is given.
const ROWS: usize = 50;

#[derive(Serialize)]
struct Overview<'a> {
    at: f64,
    version: &'static str,
    uptime_seconds: f64,
    stage: &'static str,
    sessions: usize,
    streams: u64,
    sessions_opened_total: u64,
    requests_total: u64,
    bytes: Moved,
    overloaded: bool,
    total: usize,
    offset: usize,
    limit: usize,
    rows: Vec<SessionSeen<'a>>,
    actors: ActorsSeen,
}

/// `GET /api/actors`.
#[derive(Serialize)]
struct ActorsSeen {
    actors: Vec<ActorSeen>,
    messages: Vec<MessageSeen>,
    workers: Vec<WorkerSeen>,
}

#[derive(Serialize)]
struct ActorSeen {
    actor: &'static str,
    alive: u64,
    started: u64,
    restarts: u64,
    panics: u64,
    mailbox_messages: u64,
    mailbox_messages_max: u64,
    mailbox_full: u64,
}

#[derive(Serialize)]
struct MessageSeen {
    message: &'static str,
    count: u64,
    busy_seconds: f64,
}

#[derive(Serialize)]
struct WorkerSeen {
    worker: u16,
    sessions: u64,
    streams: u64,
    loop_lag_p99_seconds: f64,
}

#[derive(Serialize)]
struct Gone<'a> {
    id: &'a str,
}

impl From<&ActorTotals> for ActorSeen {
    fn from(totals: &ActorTotals) -> Self {
        Self {
            actor: totals.kind.label(),
            alive: totals.alive,
            started: totals.started,
            restarts: totals.restarts,
            panics: totals.panics,
            mailbox_messages: totals.waiting,
            mailbox_messages_max: totals.waiting_most,
            mailbox_full: totals.mailbox_full,
        }
    }
}

impl From<&MessageTotals> for MessageSeen {
    fn from(totals: &MessageTotals) -> Self {
        let busy_seconds = microseconds(totals.busy.as_secs_f64());
        Self { message: totals.kind.label(), count: totals.handled, busy_seconds }
    }
}

impl From<&WorkerTotals> for WorkerSeen {
    fn from(totals: &WorkerTotals) -> Self {
        Self {
            worker: totals.worker,
            sessions: totals.sessions,
            streams: totals.streams,
            loop_lag_p99_seconds: totals.lag_p99,
        }
    }
}

impl Admin {
    /// `GET /api/actors`.
    pub(super) fn actors(&self) -> Reply {
        json(200, &self.actors_seen()).into()
    }

    fn actors_seen(&self) -> ActorsSeen {
        ActorsSeen {
            actors: self.metrics.actor_totals().iter().map(ActorSeen::from).collect(),
            messages: self.metrics.message_totals().iter().map(MessageSeen::from).collect(),
            workers: self.metrics.worker_totals().iter().map(WorkerSeen::from).collect(),
        }
    }

    /// `GET /api/events`.
    pub(super) fn events(&self, query: &Query) -> Reply {
        let known: Vec<&str> = WANTED.into_iter().chain(["session"]).collect();
        if let Some(name) = query.stranger(&known) {
            return Problem::unknown_parameter(name, &known).into();
        }
        let wanted = match Wanted::read(query, ROWS) {
            Ok(wanted) => wanted,
            Err(problem) => return problem.into(),
        };
        let (admin, session) = (self.clone(), query.get("session").map(str::to_owned));
        stream::respond(move |events| admin.follow(events, wanted, session)).into()
    }

    async fn follow(self, events: Events, wanted: Wanted, session: Option<String>) {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = events.closed() => return,
            }
            if !self.tell_overview(&events, &wanted).await {
                return;
            }
            if let Some(gateway) = self.gateway_seen().await
                && !events.write("gateway", &gateway).await
            {
                return;
            }
            if let Some(id) = &session
                && !self.tell_session(&events, id).await
            {
                return;
            }
        }
    }

    async fn tell_overview(&self, events: &Events, wanted: &Wanted) -> bool {
        let Page { total, rows, .. } = page(&self.metrics, self.server.get(), wanted.clone()).await;
        let Totals { sessions_opened, requests, bytes_in, bytes_out } = self.metrics.totals();
        let live = self.metrics.live().snapshot();
        let public =
            || live.iter().filter(|stats| stats.role() == Role::Server && **stats.listener() != *ADMIN);
        let overview = Overview {
            at: unix(SystemTime::now()),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: milliseconds(self.started.elapsed().as_secs_f64()),
            stage: match (self.lifecycle.stage(), self.lifecycle.is_paused()) {
                (Stage::Starting, _) => "starting",
                (Stage::Ready, false) => "ready",
                (Stage::Ready, true) | (Stage::Draining, _) => "draining",
            },
            sessions: public().count(),
            streams: public().map(|stats| u64::try_from(stats.streams_open.get()).unwrap_or(0)).sum(),
            sessions_opened_total: sessions_opened,
            requests_total: requests,
            bytes: Moved::new(bytes_in, bytes_out),
            overloaded: self.metrics.is_overloaded(),
            total,
            offset: wanted.offset,
            limit: wanted.limit,
            rows: rows.iter().map(SessionSeen::row).collect(),
            actors: self.actors_seen(),
        };
        events.write("overview", &overview).await
    }

    async fn tell_session(&self, events: &Events, id: &str) -> bool {
        let view = match self.server.get() {
            Some(server) => server.session(id).await,
            None => None,
        };
        match view {
            Some(view) => events.write("session", &SessionSeen::whole(&view)).await,
            None => events.write("gone", &Gone { id }).await,
        }
    }
}
