//! The demo site: a [`Service`] that shows and tests what a server of HTTP can be asked to do.
//!
//! This file finds the path and the method; the answers are in its siblings. A path works the same on
//! HTTP/2 and HTTP/1.1. A parameter that makes no sense is answered 400 with one sentence, never a panic,
//! save where a panic is what was asked for.
//!
//! Invariant: whatever [`Service::route`] calls `demo`, [`Service::call`] answers with something else
//! than 404, save for files that are not there.

mod answer;
mod drip;
mod files;
mod inspect;
mod live;
mod octets;
mod page;
mod query;
mod small;
mod upload;
mod ws;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::files::{Directory, Files};
use stagedoor_actors::{Reply, Request, Response, Service, ServiceFactory};
use stagedoor_metrics::{Metrics, RouteId};
use stagedoor_protocol::RequestHead;

use crate::lifecycle::ServerSlot;
use query::Query;

pub use files::unpack as unpack_files;
pub use octets::{MOST_OCTETS, octet_at};

/// The name of every known path's route.
const ROUTE: &str = "demo";

/// Methods that some path takes.
const EVERY_METHOD: &str = "GET, HEAD, POST, OPTIONS";

/// The demo site of one worker.
pub struct Demo {
    route: RouteId,
    server: ServerSlot,
    files: Option<Files>,
}

impl Demo {
    /// A factory for `ServerBuilder::listen`; `server` is filled once it runs (`/session` asks it), `files` are
    /// those of [`unpack_files`], without which `/files/` says that it has none.
    pub fn factory(metrics: &Metrics, server: ServerSlot, files: Option<Directory>) -> ServiceFactory {
        let route = metrics.add_route(ROUTE);
        Arc::new(move || {
            let files = files.clone().map(Files::new);
            Rc::new(Self { route, server: Arc::clone(&server), files })
        })
    }
}

/// What lives under a path. Those with a parameter carry its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Page,
    Bytes(&'a [u8]),
    Drip,
    Echo,
    Headers,
    /// Its own service looks at the path.
    Files,
    Status(&'a [u8]),
    Delay(&'a [u8]),
    Trailers,
    Reject,
    Sha256,
    Count,
    Session,
    Panic,
    Hints,
    Events,
    Ws,
}

impl<'a> Place<'a> {
    /// What lives under `path` (without its query).
    fn find(path: &'a [u8]) -> Option<Self> {
        Some(match path {
            b"/" => Self::Page,
            b"/drip" => Self::Drip,
            b"/echo" => Self::Echo,
            b"/headers" => Self::Headers,
            b"/trailers" => Self::Trailers,
            b"/reject" => Self::Reject,
            b"/sha256" => Self::Sha256,
            b"/count" => Self::Count,
            b"/session" => Self::Session,
            b"/panic" => Self::Panic,
            b"/hints" => Self::Hints,
            b"/events" => Self::Events,
            b"/ws" => Self::Ws,
            _ => return Self::with_parameter(path),
        })
    }

    /// Prefixes are compared, nothing is searched for: this stands in the way of every request.
    fn with_parameter(path: &'a [u8]) -> Option<Self> {
        let after = |prefix: &str| path.strip_prefix(prefix.as_bytes());
        after("/bytes/")
            .map(Self::Bytes)
            .or_else(|| after("/status/").map(Self::Status))
            .or_else(|| after("/delay/").map(Self::Delay))
            .or_else(|| {
                let below = after(files::MOUNT)?;
                (below.is_empty() || below.starts_with(b"/")).then_some(Self::Files)
            })
    }

    /// The value of `allow`.
    fn methods(self) -> &'static str {
        match self {
            Self::Echo | Self::Reject | Self::Sha256 | Self::Count => "POST, OPTIONS",
            Self::Ws => "GET, CONNECT, OPTIONS",
            Self::Page
            | Self::Hints
            | Self::Events
            | Self::Bytes(_)
            | Self::Drip
            | Self::Headers
            | Self::Files
            | Self::Status(_)
            | Self::Delay(_)
            | Self::Trailers
            | Self::Session
            | Self::Panic => "GET, HEAD, OPTIONS",
        }
    }

    fn allows(self, method: &str) -> bool {
        let takes_body = matches!(self, Self::Echo | Self::Reject | Self::Sha256 | Self::Count);
        match method {
            "HEAD" => !takes_body && !matches!(self, Self::Ws),
            "GET" => !takes_body,
            "POST" => takes_body,
            "OPTIONS" => true,
            // Extended: a path is there (RFC 8441).
            "CONNECT" => matches!(self, Self::Ws),
            _ => false,
        }
    }
}

/// Path and query of a request target. Octets: what stands in the way of every request is compared, not read.
fn split_target(head: &RequestHead) -> (&[u8], &[u8]) {
    let target = head.path_octets();
    match target.iter().position(|octet| *octet == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[]),
    }
}

/// Part of a target as text. All of it was judged when it came in; what were no text would be found nowhere.
fn text(part: &[u8]) -> &str {
    std::str::from_utf8(part).unwrap_or_default()
}

impl Service for Demo {
    fn route(&self, head: &RequestHead) -> RouteId {
        let (path, _) = split_target(head);
        if path == b"*" || Place::find(path).is_some() { self.route } else { RouteId::UNMATCHED }
    }

    fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        Cow::Borrowed(if route == self.route { ROUTE } else { "_unmatched" })
    }

    fn call(&self, request: Request) -> Reply {
        let (path, query) = split_target(&request.head);
        let method = request.head.method();
        match (method, path) {
            ("OPTIONS", b"*") => return Response::new(204).with_field("allow", EVERY_METHOD).into(),
            // A tunnel has no path (RFC 9113 §8.5).
            ("CONNECT", b"") => return answer::no_tunnels(EVERY_METHOD).into(),
            _ => {}
        }
        let Some(place) = Place::find(path) else {
            return answer::not_found(text(path)).into();
        };
        if !place.allows(method) {
            return answer::not_allowed(method, text(path), place.methods()).into();
        }
        match method {
            "OPTIONS" => Response::new(204).with_field("allow", place.methods()).into(),
            _ => match place {
                // These keep the request: its body is read while the answer is sent.
                Place::Echo => upload::echo(request).into(),
                Place::Sha256 => upload::sha256(request),
                Place::Ws => ws::answer(request),
                Place::Count => upload::count(request),
                _ => self.answer(place, Query::new(text(query)), &request),
            },
        }
    }
}

impl Demo {
    fn answer(&self, place: Place<'_>, query: Query<'_>, request: &Request) -> Reply {
        match place {
            Place::Page => page::page().into(),
            Place::Bytes(octets) => octets::answer(text(octets), &request.head).into(),
            Place::Drip => drip::answer(&query).into(),
            Place::Headers => inspect::headers(&request.head).into(),
            Place::Files => match &self.files {
                Some(files) => files.answer(&request.head),
                None => answer::text(503, "the files could not be unpacked; the log says why\n").into(),
            },
            Place::Status(code) => small::status(text(code)).into(),
            Place::Delay(seconds) => small::delay(text(seconds)),
            Place::Trailers => small::trailers(request).into(),
            Place::Session => inspect::session(&self.server, request),
            Place::Panic => small::panic_when_asked(&query).into(),
            Place::Hints => live::hints(request).into(),
            Place::Events => live::events(request).into(),
            Place::Reject | Place::Echo | Place::Sha256 | Place::Count | Place::Ws => small::reject().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_and_near_misses_are_not() {
        assert_eq!(Place::find(b"/"), Some(Place::Page));
        assert_eq!(Place::find(b"/bytes/12"), Some(Place::Bytes(b"12")));
        for path in ["/files", "/files/", "/files/a/b"] {
            assert_eq!(Place::find(path.as_bytes()), Some(Place::Files), "{path}");
        }
        assert_eq!(Place::find(b"/status/"), Some(Place::Status(b"")));
        for path in ["", "/bytes", "/drip/", "//", "/other/1", "*", "bytes/1", "/filesx", "files/"] {
            assert_eq!(Place::find(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn methods_are_compared_whole() {
        assert!(Place::Echo.allows("POST") && !Place::Echo.allows("GET"));
        assert!(Place::Page.allows("HEAD") && !Place::Page.allows("head") && !Place::Page.allows(""));
    }
}
