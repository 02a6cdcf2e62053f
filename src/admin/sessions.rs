//! Sessions: listed, shown, closed.
//!
//! Lists are made from the live registry, away from the arbiters; sessions are asked one by one only for what a page
//! shows of them. Invariant: nothing here waits for an actor longer than [`ServerHandle`] does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use stagedoor_actors::session::ResetStream;
use stagedoor_actors::view::SessionView;
use stagedoor_actors::{ADMIN, CloseSession, Reply, Response, ServerHandle};
use stagedoor_metrics::{CloseReason, Metrics, SessionId};
use stagedoor_protocol::{ErrorCode, StreamId};

use super::filter::{Filter, Order};
use super::problem::Problem;
use super::query::Query;
use super::{Admin, json};
use crate::seen::SessionSeen;

/// Sessions in one answer where no limit is given, and at most.
pub(super) const MOST: usize = 10_000;
/// Octets of the words of a close order.
const MOST_WORDS: usize = 256;

/// What part of the sessions is wanted, in which order.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) order: Order,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// The parameters of [`Wanted`].
pub(super) const WANTED: [&str; 4] = ["filter", "sort", "limit", "offset"];

impl Wanted {
    /// Reads it from a query.
    /// # Errors
    /// 400 with the place.
    pub(super) fn read(query: &Query, limit: usize) -> Result<Self, Problem> {
        let filter = Filter::parse(query.get("filter").unwrap_or_default());
        let filter = filter.map_err(|bad| Problem::bad(format!("filter, {bad}")))?;
        let order = query.get("sort").map_or(Ok(Order::default()), Order::parse);
        let order = order.map_err(|bad| Problem::bad(format!("sort, {bad}")))?;
        let limit = query.number("limit", limit, 0, MOST).map_err(Problem::bad)?;
        let offset = query.number("offset", 0, 0, usize::MAX).map_err(Problem::bad)?;
        Ok(Self { filter, order, offset, limit })
    }
}

/// A part of the sessions, without what only they themselves can tell.
pub(super) struct Page {
    /// How many pass the filter.
    pub(super) total: usize,
    pub(super) rows: Vec<SessionView>,
    /// The sessions themselves were asked, and told all but their flight recorders.
    pub(super) asked: bool,
}

/// The sessions that are wanted.
pub(super) async fn page(metrics: &Metrics, server: Option<&ServerHandle>, wanted: Wanted) -> Page {
    let asked = match server.filter(|_| wanted.filter.needs_streams()) {
        Some(server) => Some(server.sessions().await),
        None => None,
    };
    let (metrics, were_asked) = (metrics.clone(), asked.is_some());
    let cut = move || {
        let mut sessions = asked.unwrap_or_else(|| seen(&metrics));
        sessions.retain(|session| wanted.filter.passes(session));
        wanted.order.sort(&mut sessions);
        let total = sessions.len();
        let rows = sessions.into_iter().skip(wanted.offset).take(wanted.limit).collect();
        Page { total, rows, asked: were_asked }
    };
    // Thousands of sessions are some milliseconds of work.
    tokio::task::spawn_blocking(cut).await.unwrap_or(Page { total: 0, rows: Vec::new(), asked: were_asked })
}

/// Every session as its live numbers show it, in the order of their ids.
fn seen(metrics: &Metrics) -> Vec<SessionView> {
    let now = Instant::now();
    let mut live = metrics.live().snapshot();
    live.sort_unstable_by_key(|stats| stats.id());
    live.iter().map(|stats| SessionView::of_stats(stats, now)).collect()
}

/// A session that was told to close.
#[derive(Serialize)]
struct Told<'a> {
    session: &'a str,
    state: &'static str,
}

/// A stream that was reset.
#[derive(Serialize)]
struct Reset<'a> {
    session: &'a str,
    stream: u32,
}

/// Sessions that were told to close.
#[derive(Serialize)]
struct Closed {
    closed: usize,
}

impl Admin {
    /// `GET /api/sessions`.
    pub(super) fn list(&self, query: &Query) -> Reply {
        if let Some(name) = query.stranger(&WANTED) {
            return Problem::unknown_parameter(name, &WANTED).into();
        }
        let wanted = match Wanted::read(query, MOST) {
            Ok(wanted) => wanted,
            Err(problem) => return problem.into(),
        };
        let admin = self.clone();
        Reply::later(async move {
            let Page { total, rows, asked } = page(&admin.metrics, admin.server.get(), wanted).await;
            let sessions = match admin.server.get().filter(|_| !asked) {
                Some(server) => {
                    let ids: Vec<SessionId> = rows.iter().filter_map(|row| row.id.parse().ok()).collect();
                    server.sessions_of(&ids).await
                }
                None => rows,
            };
            json(200, &sessions.iter().map(SessionSeen::from).collect::<Vec<_>>())
                .with_field("x-total-count", total.to_string())
        })
    }

    /// `GET /api/sessions/{id}`.
    pub(super) fn show(&self, id: &str) -> Reply {
        let (admin, id) = (self.clone(), id.to_owned());
        Reply::later(async move {
            let view = match admin.server.get() {
                Some(server) => server.session(&id).await,
                None => None,
            };
            match view {
                Some(view) => json(200, &SessionSeen::whole(&view)),
                None => Problem::no_session(&id).into_response(),
            }
        })
    }

    /// `DELETE /api/sessions/{id}`.
    pub(super) fn close(&self, id: &str, query: &Query) -> Reply {
        let known = ["code", "reason", "now"];
        if let Some(name) = query.stranger(&known) {
            return Problem::unknown_parameter(name, &known).into();
        }
        let order = match order(query) {
            Ok(order) => order,
            Err(problem) => return problem.into(),
        };
        let (admin, id) = (self.clone(), id.to_owned());
        Reply::later(async move {
            let state = if order.hard { "closing" } else { "draining" };
            let told = match admin.server.get() {
                Some(server) => server.close_session(&id, order).await,
                None => false,
            };
            if !told {
                return Problem::no_session(&id).into_response();
            }
            tracing::info!(session = id, state, "a session was closed by order");
            json(200, &Told { session: &id, state })
        })
    }

    /// `DELETE /api/sessions?filter=`.
    pub(super) fn close_matching(&self, query: &Query) -> Reply {
        let known = ["filter", "code", "reason", "now"];
        if let Some(name) = query.stranger(&known) {
            return Problem::unknown_parameter(name, &known).into();
        }
        let (wanted, order) = match Wanted::read(query, MOST).and_then(|wanted| Ok((wanted, order(query)?))) {
            Ok(both) => both,
            Err(problem) => return problem.into(),
        };
        if wanted.filter.is_empty() {
            return Problem::bad("an empty filter would close every session; POST /api/drain does that")
                .into();
        }
        let admin = self.clone();
        Reply::later(async move {
            let Some(server) = admin.server.get() else { return json(200, &Closed { closed: 0 }) };
            let limit = usize::MAX;
            let Page { rows, .. } = page(&admin.metrics, Some(server), Wanted { limit, ..wanted }).await;
            // Whoever asks had better hear the answer. All are told at once: a stuck arbiter keeps its own sessions only.
            let theirs = rows.iter().filter(|row| row.listener != ADMIN);
            let told = join_all(theirs.map(|row| server.close_session(&row.id, order.clone()))).await;
            let closed = told.into_iter().filter(|told| *told).count();
            tracing::info!(closed, "sessions were closed by order");
            json(200, &Closed { closed })
        })
    }

    /// `DELETE /api/sessions/{id}/streams/{n}`.
    pub(super) fn reset(&self, id: &str, stream: &str, query: &Query) -> Reply {
        if let Some(name) = query.stranger(&["code"]) {
            return Problem::unknown_parameter(name, &["code"]).into();
        }
        let code = match code(query, ErrorCode::CANCEL) {
            Ok(code) => code,
            Err(problem) => return problem.into(),
        };
        let Some(number) = stream.parse().ok().filter(|number| (1..=StreamId::MAX.get()).contains(number))
        else {
            return Problem::bad(format!("{stream:?} is no stream; one is a number from 1 to 2^31-1")).into();
        };
        let (admin, id) = (self.clone(), id.to_owned());
        Reply::later(async move {
            let Some(server) = admin.server.get() else { return Problem::no_session(&id).into_response() };
            let reset = ResetStream { id: StreamId::from_wire(number), code };
            if server.reset_stream(&id, reset).await {
                tracing::info!(
                    session = id,
                    stream = number,
                    code = code.name(),
                    "a stream was reset by order"
                );
                return json(200, &Reset { session: &id, stream: number });
            }
            match server.session(&id).await {
                None => Problem::no_session(&id).into_response(),
                Some(session) if session.protocol == "http/1.1" => Problem::no_reset(&id).into_response(),
                Some(_) => Problem::no_stream(&id, number).into_response(),
            }
        })
    }
}

/// The order a query asks for.
fn order(query: &Query) -> Result<CloseSession, Problem> {
    let mut order = CloseSession::new(CloseReason::Admin).with_code(code(query, ErrorCode::NO_ERROR)?);
    if let Some(words) = query.get("reason").filter(|words| !words.is_empty()) {
        if words.len() > MOST_WORDS || words.chars().any(char::is_control) {
            let what = format!("reason has at most {MOST_WORDS} octets and no control characters");
            return Err(Problem::bad(what));
        }
        order = order.with_detail(words.to_owned());
    }
    if query.switch("now").map_err(Problem::bad)? {
        order = order.now();
    }
    Ok(order)
}

/// The error code of a query: a number, or a name of RFC 9113 §7.
fn code(query: &Query, default: ErrorCode) -> Result<ErrorCode, Problem> {
    let Some(text) = query.get("code") else { return Ok(default) };
    let by_number = || text.parse().ok().map(ErrorCode);
    ErrorCode::from_name(&text.to_ascii_uppercase()).or_else(by_number).ok_or_else(|| {
        Problem::bad(format!("code is a number or a name such as CANCEL (RFC 9113 §7), not {text:?}"))
    })
}

/// How long streams may go on; as the configuration has durations.
pub(super) fn duration(query: &Query, name: &str, default: Duration) -> Result<Duration, Problem> {
    const MOST: Duration = Duration::from_secs(24 * 3600);
    let Some(text) = query.get(name) else { return Ok(default) };
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MOST => Ok(duration),
        Ok(_) => Err(Problem::bad(format!("{name} is at most a day"))),
        Err(_) => Err(Problem::bad(format!("{name} is a duration such as 30s or 5m, not {text:?}"))),
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}
