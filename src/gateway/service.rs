//! [`Gateway`]: the service of one worker and listener, which finds the route of a request and does what it says.
//!
//! [`Service::route`] and [`Service::call`] are asked of the same request one after the other, so what the first has
//! found is kept for the second, with the site it was found in: a reload between them changes nothing.
//!
//! Order of the questions: may this host be asked for here (421), is there a route (404, 405) and is its path safe (400),
//! may the client ask (403), and so often (429), with such a body (413).

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use stagedoor_actors::files::Files;
use stagedoor_actors::{Body, BodyLimit, Reply, Request, Response, Service, ServiceFactory, TunnelTo};
use stagedoor_metrics::RouteId;
use stagedoor_protocol::RequestHead;

use super::answer::{self, Wants};
use super::client::Client;
use super::compress::Choice;
use super::exchange::{self, Exchange, Place};
use super::forward::{self, Origin};
use super::host;
use super::path::{self, Reading};
use super::pattern::Spans;
use super::router::{Found, METHODS};
use super::site::{Do, Door, Route, Site};
use crate::asked::Asked;
use crate::fault::Fault;

/// The service of one worker and listener: finds the route of a request in the [`Site`] that is there when it comes, and
/// does what the route says.
pub struct Gateway {
    site: RefCell<Cache<Arc<ArcSwap<Site>>, Arc<Site>>>,
    listener: Arc<str>,
    local: RefCell<Rc<Local>>,
    /// By the number of their [`RouteId`]: those of all sites there were.
    names: RefCell<Vec<&'static str>>,
    asked: Asked<(Rc<Local>, Verdict)>,
}

/// A site as a worker has it.
pub(super) struct Local {
    pub(super) site: Arc<Site>,
    listener: Arc<str>,
    door: usize,
    /// By the number of the route.
    own: Vec<Own>,
}

/// What a worker has of its own for a route.
enum Own {
    Nothing,
    Files(Files),
    Demo(Rc<dyn Service>),
}

/// What becomes of a request.
enum Verdict {
    Take(u16, Spans),
    /// The route may not be asked for by this path.
    Unsafe(u16, &'static str),
    Not(Found),
}

impl Gateway {
    /// A factory for `ServerBuilder::listen`. Requests are answered by the site that is there when they come.
    pub fn factory(site: Arc<ArcSwap<Site>>, listener: &str) -> ServiceFactory {
        let listener: Arc<str> = listener.into();
        Arc::new(move || Rc::new(Self::new(Arc::clone(&site), Arc::clone(&listener))))
    }

    fn new(site: Arc<ArcSwap<Site>>, listener: Arc<str>) -> Self {
        let mut site = Cache::new(site);
        let local = Rc::new(Local::new(Arc::clone(site.load()), &listener));
        let gateway = Self {
            site: RefCell::new(site),
            listener,
            local: RefCell::new(Rc::clone(&local)),
            names: RefCell::default(),
            asked: Asked::new(),
        };
        gateway.learn(&local.site);
        gateway
    }

    /// The site that is there now.
    fn local(&self) -> Rc<Local> {
        let mut cache = self.site.borrow_mut();
        let site = cache.load();
        let mut local = self.local.borrow_mut();
        if !Arc::ptr_eq(site, &local.site) {
            *local = Rc::new(Local::new(Arc::clone(site), &self.listener));
            self.learn(site);
        }
        Rc::clone(&local)
    }

    fn learn(&self, site: &Site) {
        let mut names = self.names.borrow_mut();
        for route in &site.routes {
            let at = usize::from(route.id.get());
            if names.len() <= at {
                names.resize(at + 1, "");
            }
            names[at] = route.name;
        }
    }

    fn ask(&self, head: &RequestHead) -> (Rc<Local>, Verdict) {
        let local = self.local();
        let verdict = local.judge(head);
        (local, verdict)
    }
}

impl Service for Gateway {
    fn route(&self, head: &RequestHead) -> RouteId {
        let (local, verdict) = self.ask(head);
        let id = local.label(&verdict, head);
        self.asked.keep(head, (local, verdict));
        id
    }

    fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        let names = self.names.borrow();
        match names.get(usize::from(route.get())) {
            Some(name) if !name.is_empty() => Cow::Borrowed(name),
            _ => Cow::Borrowed("_unmatched"),
        }
    }

    fn call(&self, request: Request) -> Reply {
        let known = self.asked.take(&request.head);
        let (local, verdict) = known.unwrap_or_else(|| self.ask(&request.head));
        local.answer(request, verdict)
    }
}

impl Local {
    fn new(site: Arc<Site>, listener: &Arc<str>) -> Self {
        let own = |route: &Route| match &route.action {
            Do::Files(directory) => Own::Files(Files::new(directory.clone())),
            Do::Demo(factory) => Own::Demo(factory()),
            Do::Proxy(_) | Do::Redirect(_) | Do::Respond { .. } => Own::Nothing,
        };
        let own = site.routes.iter().map(own).collect();
        let door = site.place_of(listener);
        Self { site, listener: Arc::clone(listener), door, own }
    }

    pub(super) fn route(&self, at: u16) -> Option<&Route> {
        self.site.routes.get(usize::from(at))
    }

    fn door(&self) -> Option<&Door> {
        self.site.door(self.door)
    }

    fn judge(&self, head: &RequestHead) -> Verdict {
        let Some(door) = self.door() else { return Verdict::Not(Found::Nothing) };
        let (at, spans) = match door.router.find(head) {
            Found::Route(at, spans) => (at, spans),
            other => return Verdict::Not(other),
        };
        if !matches!(self.route(at), Some(Route { action: Do::Proxy(_), .. })) {
            return Verdict::Take(at, spans);
        }
        // Only who is behind us could read the path in another way.
        match path::reading(path::without_query(head.path_octets())) {
            Reading::Same => Verdict::Take(at, spans),
            Reading::Refused(why) => Verdict::Unsafe(at, why),
            Reading::Other(path) => match door.router.find_at(head, &path) {
                Found::Route(other, _) if other == at => Verdict::Take(at, spans),
                _ => {
                    Verdict::Unsafe(at, "the path can be read in two ways, and they lead to different places")
                }
            },
        }
    }

    /// What a request counts under.
    fn label(&self, verdict: &Verdict, head: &RequestHead) -> RouteId {
        let (Verdict::Take(at, _) | Verdict::Unsafe(at, _)) = verdict else { return RouteId::UNMATCHED };
        match (self.route(*at), self.own.get(usize::from(*at))) {
            // What the demo does not have either is nobody's.
            (Some(route), Some(Own::Demo(demo)))
                if route.keeps_path() && demo.route(head) == RouteId::UNMATCHED =>
            {
                RouteId::UNMATCHED
            }
            (Some(route), _) => route.id,
            (None, _) => RouteId::UNMATCHED,
        }
    }

    fn answer(self: &Rc<Self>, request: Request, verdict: Verdict) -> Reply {
        if self.is_misdirected(&request) {
            return say(&MISDIRECTED.into(), &request).into();
        }
        let (at, spans) = match verdict {
            Verdict::Take(at, spans) => (at, spans),
            Verdict::Unsafe(at, why) => {
                let fault = Fault::new(400, "unsafe_path", why);
                return match self.route(at) {
                    Some(route) => route.refuse(&fault, &request).into(),
                    None => say(&fault, &request).into(),
                };
            }
            Verdict::Not(found) => return nobody(found, &request).into(),
        };
        let Some(route) = self.route(at) else { return nobody(Found::Nothing, &request).into() };
        let mut request = request;
        let client = self.site.trust.client(request.session.peer, request.head.fields());
        let limit = match self.admit(route, &client, &mut request) {
            Ok(limit) => limit,
            Err(fault) => return route.refuse(&fault, &request).into(),
        };
        let choice = route.compression.as_ref().map(|compression| compression.choose(&request.head));
        let place = || Place::of(&request);
        match (&route.action, self.own.get(usize::from(at))) {
            (Do::Proxy(_), _) => self.proxy(at, route, request, &spans, &client, choice, limit),
            (Do::Redirect(to), _) => {
                let encrypted = request.session.is_encrypted();
                let mut answer = match to.answer(&request.head, encrypted, &spans) {
                    Some(answer) => answer,
                    None => return route.refuse(&BAD_HOST.into(), &request).into(),
                };
                route.finish(&mut answer, choice);
                answer.into()
            }
            (Do::Respond { status, fields, body }, _) => {
                let mut answer = Response::new(*status).with_body(Body::full(body.clone()));
                answer.fields.clone_from(fields);
                route.finish(&mut answer, choice);
                answer.into()
            }
            (_, Some(Own::Files(files))) => {
                let place = place();
                if let Some(template) = &route.rewrite {
                    rewrite(&mut request.head, template, &spans);
                }
                let reply = files.answer(&request.head);
                exchange::finish(self, at, reply, choice, place)
            }
            (_, Some(Own::Demo(demo))) => {
                let place = place();
                route.change_path(&mut request.head, &spans);
                let reply = demo.call(request);
                exchange::finish(self, at, reply, choice, place)
            }
            (Do::Files(_) | Do::Demo(_), _) => nobody(Found::Nothing, &request).into(),
        }
    }

    /// Whether a connection was made for another host than the one the request names. A tunnel names where it goes, not
    /// whom it asks.
    fn is_misdirected(&self, request: &Request) -> bool {
        let Some(sni) = request.session.server_name.as_deref() else { return false };
        let authority = request.head.authority().unwrap_or_default();
        !matches!(request.tunnel(), Some(TunnelTo::Authority(_))) && self.is_for_another(sni, authority)
    }

    /// Whether what is asked of `authority` may not be answered over a connection with this SNI.
    fn is_for_another(&self, sni: &str, authority: &str) -> bool {
        // Nearly always they are the same, but for a port.
        let same = authority.split_at_checked(sni.len()).is_some_and(|(host, port)| {
            host.eq_ignore_ascii_case(sni) && (port.is_empty() || port.starts_with(':'))
        });
        if same {
            return false;
        }
        let Some(host) = host::of(authority) else { return false };
        if host::named(sni).is_some_and(|sni| sni == host) {
            return false;
        }
        self.door().is_some_and(|door| door.strict)
            || self.site.hooks.covers.as_ref().is_some_and(|covers| !covers(&self.listener, sni, &host))
    }

    /// What a route asks of a client before anything is done for it.
    fn admit(
        &self,
        route: &Route,
        client: &Client,
        request: &mut Request,
    ) -> Result<Option<BodyLimit>, Fault> {
        if !route.allows(client.address) {
            return Err(Fault::new(403, "denied", "this address may not ask for this"));
        }
        if let Some(limiter) = &route.limiter {
            let key = Route::key(limiter, client.address, request.head.fields());
            if let Err(after) = limiter.ask(key) {
                if let Some(limited) = &self.site.hooks.limited {
                    limited(route.id);
                }
                let fault = Fault::new(429, "rate_limited", "too many requests; try again later");
                return Err(Fault { retry_after: Some(after), ..fault });
            }
        }
        let Some(most) = route.max_body else { return Ok(None) };
        match request.body.content_length() {
            Some(length) if length > most => Err(exchange::too_large()),
            Some(_) => Ok(None),
            // A tunnel is no body.
            None if request.body.is_empty() || request.tunnel().is_some() => Ok(None),
            None => Ok(Some(request.body.limit(most))),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what one request needs, taken apart by its only caller")]
    fn proxy(
        self: &Rc<Self>,
        at: u16,
        route: &Route,
        mut request: Request,
        spans: &Spans,
        client: &Client,
        choice: Option<Choice>,
        limit: Option<BodyLimit>,
    ) -> Reply {
        let Do::Proxy(to) = &route.action else { return nobody(Found::Nothing, &request).into() };
        let origin = Origin {
            client: *client,
            trust: &self.site.trust,
            encrypted: request.session.is_encrypted(),
            http2: request.session.is_http2(),
            trace: request.trace(),
        };
        let seen = forward::forward(&mut request.head, &origin);
        if origin.encrypted
            && let Some(tell) = &self.site.hooks.certificate
        {
            tell(&request.session, request.head.fields_mut());
        }
        route.change_path(&mut request.head, spans);
        if let Some(host) = &to.host {
            request.head.set_authority(host);
        }
        route.request_edits.apply(request.head.fields_mut());
        let exchange = Exchange { local: Rc::clone(self), at, seen, choice, limit };
        exchange.run(request, route, &to.upstream)
    }
}

impl Route {
    /// The path goes on as it came.
    fn keeps_path(&self) -> bool {
        self.strip_prefix.is_none() && self.rewrite.is_none()
    }

    fn change_path(&self, head: &mut RequestHead, spans: &Spans) {
        if let Some(template) = &self.rewrite {
            rewrite(head, template, spans);
        } else if let Some(prefix) = &self.strip_prefix
            && let Some(octets) = path::prefix(head.path_octets(), prefix)
        {
            head.strip_path(octets);
        }
    }

    /// What every answer of the route goes through.
    pub(super) fn finish(&self, response: &mut Response, choice: Option<Choice>) {
        self.response_edits.apply(&mut response.fields);
        if let (Some(compression), Some(choice)) = (&self.compression, choice) {
            compression.apply(choice, response);
        }
    }

    /// Whether [`Self::finish`] does anything.
    pub(super) fn is_plain(&self) -> bool {
        self.response_edits.is_empty() && self.compression.is_none() && self.timeout.is_none()
    }

    fn refuse(&self, fault: &Fault, request: &Request) -> Response {
        request.blame(fault.cause);
        let mut response = answer::of(fault, Wants::of(&request.head), &self.errors);
        self.response_edits.apply(&mut response.fields);
        response
    }
}

/// Asks for another path; CONNECT has none.
fn rewrite(head: &mut RequestHead, template: &super::template::Template, spans: &Spans) {
    let Some(target) = head.path() else { return };
    let canonical = path::canonical(path::without_query(target.as_bytes()));
    let path = template.fill(&canonical, spans, path::query_of(target));
    head.set_path(&path);
}

/// A refusal that is always the same.
struct Refusal(u16, &'static str, &'static str);

const MISDIRECTED: Refusal = Refusal(421, "misdirected", "this host is not served over this connection");
const BAD_HOST: Refusal = Refusal(400, "bad_authority", "the request names no host");
const NOBODY: Refusal = Refusal(404, "no_route", "nothing is served under this address");
const METHOD: Refusal = Refusal(405, "method_not_allowed", "this address does not take the method");

impl From<Refusal> for Fault {
    fn from(Refusal(status, cause, detail): Refusal) -> Self {
        Self::new(status, cause, detail)
    }
}

fn say(fault: &Fault, request: &Request) -> Response {
    request.blame(fault.cause);
    answer::of(fault, Wants::of(&request.head), &std::collections::BTreeMap::new())
}

/// The answer where no route takes a request.
fn nobody(found: Found, request: &Request) -> Response {
    match found {
        Found::Server => Response::new(204).with_field("allow", METHODS),
        Found::Method(methods) => say(&METHOD.into(), request).with_field("allow", methods),
        Found::Misdirected => say(&MISDIRECTED.into(), request),
        Found::NoHost => say(&BAD_HOST.into(), request),
        Found::Nothing | Found::Route(..) => say(&NOBODY.into(), request),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
