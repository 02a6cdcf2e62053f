//! The admin service: the live page, metrics, health, sessions and what can be ordered of them.
//!
//! This file finds the path and the method; the answers are in its siblings. Answers only to requests that name this
//! machine (`host.rs`), because a page of another site can make a browser send requests here; writes are refused to such
//! a page whatever it names (`guard.rs`). Errors are problem documents (RFC 9457).
//!
//! Invariant: nothing here waits for a handler of the application.

mod control;
mod filter;
mod frames;
mod guard;
mod host;
pub mod operations;
mod overview;
mod page;
mod problem;
mod query;
mod running;
mod scrape;
mod sessions;
mod stream;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use stagedoor_actors::{Body, Redact, Reply, Request, Response, Service, ServiceFactory};
use stagedoor_metrics::{Metrics, RouteId};
use stagedoor_protocol::RequestHead;

use crate::filter::LogHandle;
use crate::lifecycle::{Lifecycle, ServerSlot, Stage};
use frames::Shown;
use problem::Problem;
use query::Query;

pub use guard::Token;
pub use operations::Operations;

/// What the admin paths tell about.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    lifecycle: Lifecycle,
    server: ServerSlot,
    bound: IpAddr,
    token: Option<Token>,
    log: Option<LogHandle>,
    shown: Shown,
    source: Arc<str>,
    started: Instant,
    started_at: SystemTime,
    operations: Option<Arc<dyn Operations>>,
}

impl Admin {
    /// Admin of a process that counts in `metrics`, on a listener bound to `bound`: the one host, next to localhost, that
    /// requests may name. `server` is filled once it runs.
    pub fn new(metrics: Metrics, lifecycle: Lifecycle, server: ServerSlot, bound: IpAddr) -> Self {
        Self {
            metrics,
            lifecycle,
            server,
            bound,
            token: None,
            log: None,
            shown: Shown::default(),
            source: "embedded".into(),
            started: Instant::now(),
            started_at: SystemTime::now(),
            operations: None,
        }
    }

    /// The same, answering only to those who have the token. `/livez` and `/readyz` stay open.
    #[must_use]
    pub fn with_token(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }

    /// The same, letting the log filter be changed.
    #[must_use]
    pub fn with_log(mut self, log: LogHandle) -> Self {
        self.log = Some(log);
        self
    }

    /// The same, showing queries of paths in frames, and hiding the values of other fields.
    #[must_use]
    pub fn with_shown(mut self, redact: Redact, show_query: bool) -> Self {
        self.shown = Shown { redact, query: show_query };
        self
    }

    /// The same, naming what the process is configured by.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// A factory for `ServerBuilder::listen`, to be kept while draining.
    pub fn factory(self) -> ServiceFactory {
        Arc::new(move || Rc::new(self.clone()))
    }
}

/// What lives under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Page,
    Metrics,
    Live,
    Ready,
    Sessions,
    Session(&'a str),
    Frames(&'a str),
    Stream(&'a str, &'a str),
    AllFrames,
    Closed,
    Actors,
    Upstreams,
    Certificates,
    Drain,
    Resume,
    Reload,
    Log,
    Config,
    Events,
}

impl<'a> Place<'a> {
    fn find(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            _ => {
                let parts: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
                match *parts {
                    ["sessions"] => Self::Sessions,
                    ["sessions", id] => Self::Session(id),
                    ["sessions", id, "frames"] => Self::Frames(id),
                    ["sessions", id, "streams", stream] => Self::Stream(id, stream),
                    ["frames"] => Self::AllFrames,
                    ["closed"] => Self::Closed,
                    ["actors"] => Self::Actors,
                    ["upstreams"] => Self::Upstreams,
                    ["certs"] => Self::Certificates,
                    ["drain"] => Self::Drain,
                    ["resume"] => Self::Resume,
                    ["reload"] => Self::Reload,
                    ["log"] => Self::Log,
                    ["config"] => Self::Config,
                    ["events"] => Self::Events,
                    _ => return None,
                }
            }
        })
    }

    /// The value of `allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Sessions | Self::Session(_) => "GET, HEAD, DELETE, OPTIONS",
            Self::Stream(..) => "DELETE, OPTIONS",
            Self::Drain | Self::Resume | Self::Reload => "POST, OPTIONS",
            Self::Log => "GET, HEAD, PUT, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Whoever watches over the process has no token.
    fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }
}

impl Service for Admin {
    fn route(&self, _: &RequestHead) -> RouteId {
        RouteId::ADMIN
    }

    fn call(&self, request: Request) -> Reply {
        let head = &request.head;
        // No page of a browser reaches a Unix socket, and its clients have no name for it.
        if !request.session.unix && !host::names_us(head.authority(), self.bound) {
            return Problem::foreign_host(self.bound).into();
        }
        let target = head.path().unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let Some(place) = Place::find(path) else { return Problem::not_found(path).into() };
        let method = head.method().to_owned();
        if !place.methods().split(", ").any(|known| known == method) {
            return Problem::not_allowed(&method, place.methods()).into();
        }
        if method == "OPTIONS" {
            return Response::new(204).with_field("allow", place.methods()).into();
        }
        let writes = !matches!(&*method, "GET" | "HEAD");
        let may = guard::check_token(self.token.as_ref().filter(|_| !place.is_open()), head)
            .and_then(|()| if writes { guard::check_origin(head) } else { Ok(()) });
        match may {
            Err(problem) => problem.into(),
            Ok(()) if writes => self.write(place, &method, &Query::parse(query), request),
            Ok(()) => self.read(place, &Query::parse(query), head),
        }
    }
}

impl Admin {
    /// Of an answer to HEAD the engine sends the head alone.
    fn read(&self, place: Place<'_>, query: &Query, head: &RequestHead) -> Reply {
        match place {
            Place::Page => page::page().into(),
            Place::Metrics => self.scrape(head),
            Place::Live => health(200, "alive\n").into(),
            Place::Ready => self.ready().into(),
            Place::Sessions => self.list(query),
            Place::Session(id) => self.show(id),
            Place::Frames(id) => self.frames_of(id),
            Place::AllFrames => self.frames(query),
            Place::Closed => self.closed(),
            Place::Actors => self.actors(),
            Place::Upstreams => self.upstreams(),
            Place::Certificates => self.certificates(),
            Place::Log => self.log_filter(),
            Place::Config => self.config(),
            Place::Events => self.events(query),
            Place::Stream(..) | Place::Drain | Place::Resume | Place::Reload => {
                Problem::not_allowed("GET", place.methods()).into()
            }
        }
    }

    fn write(&self, place: Place<'_>, method: &str, query: &Query, request: Request) -> Reply {
        match place {
            Place::Sessions => self.close_matching(query),
            Place::Session(id) => self.close(id, query),
            Place::Stream(id, stream) => self.reset(id, stream, query),
            Place::Drain => self.drain(query),
            Place::Resume => self.resume(query),
            Place::Reload => self.reload(),
            Place::Log => self.set_log_filter(request),
            _ => Problem::not_allowed(method, place.methods()).into(),
        }
    }

    fn ready(&self) -> Response {
        match self.lifecycle.stage() {
            Stage::Starting => health(503, "starting\n"),
            Stage::Ready if self.lifecycle.is_paused() => health(503, "draining\n"),
            Stage::Ready => health(200, "ready\n"),
            Stage::Draining => health(503, "draining\n"),
        }
    }
}

fn health(status: u16, word: &'static str) -> Response {
    fresh(status, "text/plain; charset=utf-8").with_body(Body::Full(word.as_bytes().into()))
}

fn json(status: u16, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(document) => fresh(status, "application/json").with_body(Body::Full(document.into())),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// A response that is true now and not later.
fn fresh(status: u16, content_type: &str) -> Response {
    Response::new(status)
        .with_field("content-type", content_type)
        .with_field("x-content-type-options", "nosniff")
        .with_field("cache-control", "no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_whole() {
        assert_eq!(Place::find("/api/sessions/0-1a/streams/5"), Some(Place::Stream("0-1a", "5")));
        assert_eq!(Place::find("/api/sessions/0-1a/frames"), Some(Place::Frames("0-1a")));
        for path in
            ["", "/api", "/api/", "/api/sessions/", "/api/sessions/a/b", "/metrics/", "//", "/Metrics"]
        {
            assert!(matches!(Place::find(path), None | Some(Place::Session(""))), "{path}");
        }
    }
}
