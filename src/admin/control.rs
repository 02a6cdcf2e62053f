//! What changes how the process goes on: draining and resuming, the log filter; and post-mortems, which only tell how it
//! went.

use std::time::Duration;

use serde::Serialize;
use stagedoor_actors::{ReconfigureError, Reply, Request, RequestBody};

use super::problem::Problem;
use super::query::Query;
use super::sessions::duration;
use super::{Admin, json};
use crate::filter::BadFilter;
use crate::lifecycle::Stage;
use crate::seen::PostMortemSeen;

/// How long streams may go on where nothing else is said.
const DRAIN: Duration = Duration::from_secs(30);
/// Octets of a filter.
const MOST_FILTER: usize = 4096;

#[derive(Serialize)]
struct Draining {
    draining: bool,
    sessions: usize,
}

#[derive(Serialize)]
struct Resumed {
    draining: bool,
}

#[derive(Serialize)]
struct Filtered {
    filter: String,
}

impl Admin {
    /// `POST /api/drain`.
    pub(super) fn drain(&self, query: &Query) -> Reply {
        let known = ["listener", "timeout"];
        if let Some(name) = query.stranger(&known) {
            return Problem::unknown_parameter(name, &known).into();
        }
        let grace = match duration(query, "timeout", DRAIN) {
            Ok(grace) => grace,
            Err(problem) => return problem.into(),
        };
        let (admin, listener) = (self.clone(), query.get("listener").map(str::to_owned));
        Reply::later(async move {
            let Some(server) = admin.server.get() else {
                return Problem::conflict("the server does not run yet").into_response();
            };
            if listener.is_none() {
                admin.lifecycle.pause(true);
            }
            match server.pause(listener.as_deref(), grace).await {
                Ok(sessions) => {
                    tracing::info!(listener, sessions, grace_s = grace.as_secs(), "draining by order");
                    json(202, &Draining { draining: true, sessions })
                }
                Err(error) => refused(&error).into_response(),
            }
        })
    }

    /// `POST /api/resume`.
    pub(super) fn resume(&self, query: &Query) -> Reply {
        if let Some(name) = query.stranger(&["listener"]) {
            return Problem::unknown_parameter(name, &["listener"]).into();
        }
        let (admin, listener) = (self.clone(), query.get("listener").map(str::to_owned));
        Reply::later(async move {
            if admin.lifecycle.stage() == Stage::Draining {
                let what = "the process drains because it was told to end; that is not taken back";
                return Problem::conflict(what).into_response();
            }
            let Some(server) = admin.server.get() else {
                return Problem::conflict("the server does not run yet").into_response();
            };
            if let Err(error) = server.resume(listener.as_deref()).await {
                return refused(&error).into_response();
            }
            if listener.is_none() {
                admin.lifecycle.pause(false);
            }
            tracing::info!(listener, "resumed by order");
            json(200, &Resumed { draining: false })
        })
    }

    /// `GET /api/log`.
    pub(super) fn log_filter(&self) -> Reply {
        match &self.log {
            Some(log) => json(200, &Filtered { filter: log.filter() }).into(),
            None => Problem::conflict("this process does not let its log be changed").into(),
        }
    }

    /// `PUT /api/log`.
    pub(super) fn set_log_filter(&self, request: Request) -> Reply {
        let Some(log) = self.log.clone() else {
            return Problem::conflict("this process does not let its log be changed").into();
        };
        Reply::later(async move {
            let text = match text(request.body).await {
                Ok(text) => text,
                Err(problem) => return problem.into_response(),
            };
            match log.set(&text) {
                Ok(()) => {
                    tracing::info!(filter = log.filter(), "another log filter by order");
                    json(200, &Filtered { filter: log.filter() })
                }
                Err(bad) => Problem::bad(format!("{bad}; {}", BadFilter::WAY_OUT)).into_response(),
            }
        })
    }

    /// `GET /api/closed`.
    pub(super) fn closed(&self) -> Reply {
        let newest = self.server.get().map(|server| server.post_mortems()).unwrap_or_default();
        json(200, &newest.iter().map(|ended| PostMortemSeen::from(&**ended)).collect::<Vec<_>>()).into()
    }
}

fn refused(error: &ReconfigureError) -> Problem {
    match error {
        ReconfigureError::NoListener(_) => Problem::missing(error.to_string()),
        _ => Problem::conflict(error.to_string()),
    }
}

/// A body that is a short text.
async fn text(mut body: RequestBody) -> Result<String, Problem> {
    let mut octets = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| Problem::bad(error.to_string()))?;
        if octets.len() + chunk.len() > MOST_FILTER {
            return Err(Problem::too_large(MOST_FILTER));
        }
        octets.extend_from_slice(&chunk);
    }
    String::from_utf8(octets).map_err(|_| Problem::bad("a filter is UTF-8 text"))
}
