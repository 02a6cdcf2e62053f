//! The admin service: metrics, health, and who is connected.
//!
//! Changes nothing yet: every path is read. Answers only to requests that name this machine (see
//! `host.rs`), because a page of another site can make a browser send requests here. Errors are problem
//! documents (RFC 9457).

mod host;
mod problem;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::{Body, Reply, Request, Response, Service, ServiceFactory};
use stagedoor_metrics::{Metrics, RouteId};
use stagedoor_protocol::RequestHead;

use crate::lifecycle::{Lifecycle, ServerSlot, Stage};
use crate::seen::SessionSeen;
use problem::Problem;

const INDEX: &str = include_str!("index.html");

/// What the admin paths tell about.
#[derive(Clone)]
pub struct Admin {
    /// The figures.
    pub metrics: Metrics,
    /// Readiness.
    pub lifecycle: Lifecycle,
    /// The server, once it runs.
    pub server: ServerSlot,
    /// The address the listener is bound to: the one host, next to localhost, that requests may name.
    pub bound: IpAddr,
}

impl Admin {
    /// A factory for `ServerBuilder::listen`, to be kept while draining.
    pub fn factory(self) -> ServiceFactory {
        Arc::new(move || Rc::new(self.clone()))
    }
}

impl Service for Admin {
    fn route(&self, _: &RequestHead) -> RouteId {
        RouteId::ADMIN
    }

    fn call(&self, request: Request) -> Reply {
        let head = &request.head;
        if !host::names_us(head.authority(), self.bound) {
            return Problem::foreign_host(self.bound).into();
        }
        let target = head.path().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !matches!(path, "/" | "/metrics" | "/livez" | "/readyz" | "/api/sessions") {
            return Problem::not_found(path).into();
        }
        match head.method() {
            // Of an answer to HEAD the engine sends the head alone.
            "GET" | "HEAD" => self.read(path, query),
            "OPTIONS" => Response::new(204).with_field("allow", problem::READ_METHODS).into(),
            method => Problem::not_allowed(method).into(),
        }
    }
}

impl Admin {
    fn read(&self, path: &str, query: &str) -> Reply {
        match path {
            "/" => page().into(),
            "/metrics" => self.metrics(),
            "/livez" => health(200, "alive\n").into(),
            "/readyz" => self.ready().into(),
            "/api/sessions" if query.is_empty() => self.sessions(),
            "/api/sessions" => Problem::no_filter_yet().into(),
            _ => Problem::not_found(path).into(),
        }
    }

    fn ready(&self) -> Response {
        match self.lifecycle.stage() {
            Stage::Starting => health(503, "starting\n"),
            Stage::Ready => health(200, "ready\n"),
            Stage::Draining => health(503, "draining\n"),
        }
    }

    /// Rendering takes milliseconds, so it runs beside the arbiters.
    fn metrics(&self) -> Reply {
        let metrics = self.metrics.clone();
        Reply::later(async move {
            match tokio::task::spawn_blocking(move || metrics.render_text()).await {
                Ok(text) => fresh(200, Metrics::TEXT_CONTENT_TYPE).with_body(Body::Full(text.into())),
                Err(error) => Problem::internal(&error).into_response(),
            }
        })
    }

    fn sessions(&self) -> Reply {
        let server = Arc::clone(&self.server);
        Reply::later(async move {
            let sessions = match server.get() {
                Some(server) => server.sessions().await,
                None => Vec::new(),
            };
            let seen: Vec<_> = sessions.iter().map(SessionSeen::from).collect();
            match serde_json::to_vec(&seen) {
                Ok(document) => fresh(200, "application/json").with_body(Body::Full(document.into())),
                Err(error) => Problem::internal(&error).into_response(),
            }
        })
    }
}

fn page() -> Response {
    fresh(200, "text/html; charset=utf-8")
        .with_field("content-security-policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
        .with_body(Body::Full(INDEX.as_bytes().into()))
}

fn health(status: u16, word: &'static str) -> Response {
    fresh(status, "text/plain; charset=utf-8").with_body(Body::Full(word.as_bytes().into()))
}

/// A response that is true now and not later.
fn fresh(status: u16, content_type: &str) -> Response {
    Response::new(status)
        .with_field("content-type", content_type)
        .with_field("x-content-type-options", "nosniff")
        .with_field("cache-control", "no-store")
}
