//! An [`App`](super::App) on its worker: finds the endpoint of a request and hands it over.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use stagedoor_actors::{IntoResponse as _, Reply, Request, Response, Service, ServiceFactory};
use stagedoor_metrics::{Metrics, RouteId};
use stagedoor_protocol::RequestHead;

use super::endpoint::{Answers, Endpoint};
use super::{Call, Params, RouteError, Shared};
use crate::asked::Asked;

/// The label of what no pattern took.
const FALLBACK: &str = "_fallback";

/// What all workers share.
struct Plan {
    patterns: matchit::Router<usize>,
    routes: Vec<Planned>,
    fallback: Option<Planned>,
    shared: Arc<Shared>,
}

struct Planned {
    pattern: Arc<str>,
    route: RouteId,
    endpoint: Endpoint,
}

impl Planned {
    fn new(pattern: &str, endpoint: &Endpoint, metrics: &Metrics) -> Self {
        Self { pattern: pattern.into(), route: metrics.add_route(pattern), endpoint: endpoint.clone() }
    }
}

pub(super) fn factory(
    routes: &[(String, Endpoint)],
    fallback: Option<&Endpoint>,
    shared: Arc<Shared>,
    metrics: &Metrics,
) -> Result<ServiceFactory, RouteError> {
    let mut patterns = matchit::Router::new();
    for (place, (pattern, _)) in routes.iter().enumerate() {
        let wrong = |reason: String| RouteError::Pattern { pattern: pattern.clone(), reason };
        if !pattern.starts_with('/') {
            return Err(wrong("it does not begin with '/'".to_owned()));
        }
        patterns.insert(pattern.as_str(), place).map_err(|error| wrong(error.to_string()))?;
    }
    let routes = routes.iter().map(|(pattern, endpoint)| Planned::new(pattern, endpoint, metrics)).collect();
    let fallback = fallback.map(|endpoint| Planned::new(FALLBACK, endpoint, metrics));
    let plan = Arc::new(Plan { patterns, routes, fallback, shared });
    Ok(Arc::new(move || Rc::new(Site::new(Arc::clone(&plan)))))
}

/// See the module.
struct Site {
    plan: Arc<Plan>,
    /// In the order of the plan's routes.
    routes: Vec<Place>,
    fallback: Option<Place>,
    asked: Asked<Found>,
}

/// What takes a request.
enum Found {
    /// The route at this place, with what its pattern took from the path, unless that is not UTF-8.
    Route(usize, Option<Params>),
    Fallback,
}

/// An endpoint of this worker.
struct Place {
    methods: Vec<(Method, Rc<dyn Answers>)>,
    any: Option<Rc<dyn Answers>>,
}

impl Place {
    fn new(planned: &Planned) -> Self {
        let endpoint = &planned.endpoint;
        let methods = endpoint.methods.iter().map(|(method, make)| (method.clone(), make())).collect();
        Self { methods, any: endpoint.any.as_ref().map(|make| make()) }
    }

    /// What answers a method.
    fn of(&self, head: &RequestHead) -> Option<&Rc<dyn Answers>> {
        if self.methods.is_empty() {
            return self.any.as_ref();
        }
        let method = head.method();
        // RFC 8441 §5: extended CONNECT is what GET with an upgrade is on HTTP/1.1.
        let as_get = method == "HEAD" || head.protocol().is_some();
        let named = |wanted: &str| self.methods.iter().find(|(known, _)| known.as_str() == wanted);
        let found = named(method).or_else(|| if as_get { named("GET") } else { None });
        found.map(|(_, answers)| answers).or(self.any.as_ref())
    }

    /// The value of `allow`.
    fn allowed(&self) -> String {
        let mut all: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if all.contains(&"GET") && !all.contains(&"HEAD") {
            all.push("HEAD");
        }
        all.join(", ")
    }
}

impl Site {
    fn new(plan: Arc<Plan>) -> Self {
        let routes = plan.routes.iter().map(Place::new).collect();
        let fallback = plan.fallback.as_ref().map(Place::new);
        Self { plan, routes, fallback, asked: Asked::new() }
    }

    /// The route that takes a request.
    fn find(&self, head: &RequestHead) -> Found {
        let matched = || {
            if self.routes.is_empty() {
                return None;
            }
            let path = head.path()?;
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            self.plan.patterns.at(path).ok()
        };
        matched().map_or(Found::Fallback, |matched| Found::Route(*matched.value, params(&matched.params)))
    }
}

impl Service for Site {
    fn route(&self, head: &RequestHead) -> RouteId {
        let found = self.find(head);
        let planned = match &found {
            Found::Route(place, _) => self.plan.routes.get(*place),
            Found::Fallback => self.plan.fallback.as_ref(),
        };
        self.asked.keep(head, found);
        planned.map_or(RouteId::UNMATCHED, |planned| planned.route)
    }

    fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        let planned =
            self.plan.routes.iter().chain(&self.plan.fallback).find(|planned| planned.route == route);
        planned.map_or(Cow::Borrowed("_unmatched"), |planned| Cow::Owned(planned.pattern.to_string()))
    }

    fn call(&self, request: Request) -> Reply {
        let found = self.asked.take(&request.head).unwrap_or_else(|| self.find(&request.head));
        let (place, params) = match found {
            Found::Route(place, Some(params)) => (self.routes.get(place), params),
            Found::Route(_, None) => return said(StatusCode::BAD_REQUEST, "the path is not UTF-8\n").into(),
            Found::Fallback => (self.fallback.as_ref(), Params::default()),
        };
        let Some(place) = place else {
            return said(StatusCode::NOT_FOUND, "there is nothing here\n").into();
        };
        let Some(answers) = place.of(&request.head) else {
            return said(StatusCode::METHOD_NOT_ALLOWED, "not with this method\n")
                .with_field("allow", place.allowed())
                .into();
        };
        let connect = request.head.method_octets() == b"CONNECT";
        let reply = answers.answer(Call { request, params, shared: Arc::clone(&self.plan.shared) });
        if connect { reply.map(Response::unless_by_chance) } else { reply }
    }
}

/// Decoded; `None` where a value is not UTF-8 then.
fn params(found: &matchit::Params<'_, '_>) -> Option<Params> {
    let decoded = found.iter().map(|(name, value)| {
        let value = percent_decode_str(value).decode_utf8().ok()?;
        Some((name.to_owned(), value.into_owned()))
    });
    decoded.collect::<Option<Vec<_>>>().map(Params::new)
}

fn said(status: StatusCode, words: &'static str) -> Response {
    (status, words).into_response()
}
