//! A [`Site`]: the routes of one configuration, made ready, shared by all workers and never changed.
//!
//! A reload makes another and puts it in its place; streams that began keep theirs. What outlives it are the counts of
//! rate limits that stayed the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use stagedoor_actors::files::Directory;
use stagedoor_actors::{ServiceFactory, SessionInfo};
use stagedoor_metrics::{Metrics, RouteId};
use stagedoor_protocol::Fields;

use super::client::Trust;
use super::compress::{self, Compression};
use super::edits::Edits;
use super::limit::Limiter;
use super::path;
use super::pattern::{BadPattern, Pattern};
use super::redirect::Elsewhere;
use super::router::{Conditions, Entry, Router};
use super::template::{BadTemplate, Template};
use crate::config::{self, Access, Action, ClientAuth, Config, ErrorBody, RatePer, UpstreamProtocol};
use crate::demo::Demo;
use crate::lifecycle::ServerSlot;
use crate::upstream::{Upstream, Upstreams};

/// Whether a listener (its name) may answer for a host over a connection with this SNI: the certificate that was shown
/// covers the host.
pub type Covers = Arc<dyn Fn(&str, &str, &str) -> bool + Send + Sync>;

/// Adds what an upstream is told of a session's client certificate (`x-client-cert-subject` and the like).
pub type TellCertificate = Arc<dyn Fn(&SessionInfo, &mut Fields) + Send + Sync>;

/// Hears of each request that a rate limit turned away.
pub type Limited = Arc<dyn Fn(RouteId) + Send + Sync>;

/// What others know or want to hear. Each may be absent.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Asked where SNI and host differ; without it they may.
    pub covers: Option<Covers>,
    /// Called for requests that are sent on, over TLS.
    pub certificate: Option<TellCertificate>,
    /// See [`Limited`].
    pub limited: Option<Limited>,
}

/// What a site is made of beside its configuration.
pub struct Needs<'a> {
    /// Counts the routes.
    pub metrics: &'a Metrics,
    /// For the demo site.
    pub server: ServerSlot,
    /// In the order of the configuration.
    pub upstreams: &'a Upstreams,
    /// The files of the demo site.
    pub demo_files: Option<Directory>,
    /// See [`Hooks`].
    pub hooks: Hooks,
    /// What is replaced.
    pub previous: Option<&'a Site>,
}

/// Why a configuration makes no site.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// A pattern that is none.
    #[error("the path of route {route}: {why}")]
    Pattern {
        /// The route.
        route: String,
        /// What is wrong.
        why: BadPattern,
    },
    /// A text with parameters that cannot be filled in.
    #[error("route {route} cannot fill in {text}: {why}")]
    Template {
        /// The route.
        route: String,
        /// The text.
        text: String,
        /// What is wrong.
        why: BadTemplate,
    },
    /// A directory that cannot be opened.
    #[error("route {route} cannot open {root}: {why}")]
    Files {
        /// The route.
        route: String,
        /// The directory.
        root: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A route to an upstream that there is none of.
    #[error("route {0} sends to an upstream that does not exist")]
    Upstream(String),
    /// The host a request names cannot be edited like a field: `proxy.host` changes it.
    #[error("route {0} edits the field host; proxy.host sets the host that the upstream sees")]
    HostEdit(String),
    /// More than 65 000.
    #[error("{0} routes are too many")]
    TooMany(usize),
}

/// The routes of one configuration, made ready: shared by all workers, never changed, replaced whole by a reload. Only
/// the counts of rate limits that stayed as they were go on in the next one.
pub struct Site {
    pub(super) routes: Vec<Route>,
    /// Places in `doors` by the names of listeners.
    listeners: HashMap<String, usize>,
    /// The first is that of listeners which the configuration does not know.
    doors: Vec<Door>,
    pub(super) trust: Trust,
    pub(super) hooks: Hooks,
}

/// What is particular to a listener.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) router: Router,
    /// SNI and host have to be the same: clients show certificates, which were checked for the one.
    pub(super) strict: bool,
}

/// A route, made ready.
pub(super) struct Route {
    pub(super) id: RouteId,
    pub(super) name: &'static str,
    pub(super) access: Access,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) max_body: Option<u64>,
    pub(super) timeout: Option<Duration>,
    pub(super) strip_prefix: Option<Box<[u8]>>,
    pub(super) rewrite: Option<Template>,
    pub(super) request_edits: Edits,
    pub(super) response_edits: Edits,
    pub(super) compression: Option<Compression>,
    pub(super) errors: BTreeMap<u16, ErrorBody>,
    pub(super) action: Do,
}

/// What a route does.
pub(super) enum Do {
    Proxy(To),
    Files(Directory),
    Redirect(Elsewhere),
    Respond { status: u16, fields: Fields, body: Bytes },
    Demo(ServiceFactory),
}

/// Where requests are sent on to.
pub(super) struct To {
    pub(super) upstream: Arc<Upstream>,
    /// The host it sees.
    pub(super) host: Option<String>,
    /// `via` of its answers.
    pub(super) via: &'static str,
}

impl Site {
    /// The site of a configuration. Opens directories and so may block.
    /// # Errors
    /// What cannot be made.
    pub fn new(config: &Config, needs: &Needs<'_>) -> Result<Self, SiteError> {
        if config.routes.len() > 65_000 {
            return Err(SiteError::TooMany(config.routes.len()));
        }
        let mut made = Vec::with_capacity(config.routes.len());
        let mut routes = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let bad = |why| SiteError::Pattern { route: route.name.clone(), why };
            let pattern = route.matches.path.as_deref().map(Pattern::parse).transpose().map_err(bad)?;
            let connect = route.connect && matches!(route.action, Action::Proxy(_));
            made.push((route, pattern, Conditions::new(&route.matches, connect)));
        }
        for (route, pattern, _) in &made {
            let names = pattern.as_ref().map_or(&[][..], |pattern| &pattern.names);
            routes.push(Route::new(route, names, needs)?);
        }
        let router = |listener: Option<&str>| {
            let here = |route: &config::Route| {
                let named = &route.matches.listeners;
                named.is_empty() || listener.is_some_and(|name| named.iter().any(|known| known == name))
            };
            Router::new(made.iter().enumerate().filter(|(_, (route, ..))| here(route)).map(
                |(at, (route, pattern, conditions))| Entry {
                    // There are no more than 65 000.
                    route: at as u16,
                    hosts: &route.matches.hosts,
                    pattern: pattern.as_ref(),
                    conditions,
                },
            ))
        };
        let mut doors = vec![Door { router: router(None), strict: false }];
        let mut listeners = HashMap::new();
        for listener in &config.listeners {
            let strict = listener.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::None);
            listeners.insert(listener.name.clone(), doors.len());
            doors.push(Door { router: router(Some(&listener.name)), strict });
        }
        Ok(Self {
            listeners,
            doors,
            trust: Trust(config.server.trusted_proxies.clone()),
            hooks: needs.hooks.clone(),
            routes,
        })
    }

    /// The place of the door of the listener of this name.
    pub(super) fn place_of(&self, listener: &str) -> usize {
        self.listeners.get(listener).copied().unwrap_or_default()
    }

    /// The door at a place.
    pub(super) fn door(&self, place: usize) -> Option<&Door> {
        self.doors.get(place)
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

impl Route {
    fn new(route: &config::Route, names: &[String], needs: &Needs<'_>) -> Result<Self, SiteError> {
        let template = |text: &str| {
            Template::parse(text, names).map_err(|why| SiteError::Template {
                route: route.name.clone(),
                text: text.to_owned(),
                why,
            })
        };
        let edits = &route.request_headers;
        if edits.set.contains("host")
            || edits.add.contains("host")
            || edits.remove.iter().any(|name| name == "host")
        {
            return Err(SiteError::HostEdit(route.name.clone()));
        }
        let strip_prefix = route.strip_prefix.as_deref().map(|prefix| prefix.trim_end_matches('/'));
        let strip_prefix = strip_prefix.filter(|prefix| !prefix.is_empty());
        let action = match &route.action {
            Action::Proxy(to) => {
                let upstream = needs.upstreams.0.get(to.upstream);
                let upstream = upstream.ok_or_else(|| SiteError::Upstream(route.name.clone()))?;
                Do::Proxy(To { upstream: Arc::clone(upstream), host: to.host.clone(), via: via(upstream) })
            }
            Action::Files(from) => {
                // What is rewritten has no prefix any more.
                let mount = strip_prefix.filter(|_| route.rewrite.is_none());
                Do::Files(directory(&route.name, from, mount)?)
            }
            Action::Redirect(to) => {
                let path = to.path.as_deref().map(template).transpose()?;
                Do::Redirect(Elsewhere::new(to, path))
            }
            Action::Respond(say) => {
                Do::Respond { status: say.status, fields: say.headers.clone(), body: say.body.clone() }
            }
            Action::Demo => {
                Do::Demo(Demo::factory(needs.metrics, Arc::clone(&needs.server), needs.demo_files.clone()))
            }
        };
        Ok(Self {
            id: needs.metrics.add_route(&route.name),
            name: interned(&route.name),
            access: route.access.clone(),
            limiter: route.rate_limit.as_ref().map(|limit| limiter(&route.name, limit, needs.previous)),
            max_body: route.max_body,
            timeout: route.timeout.filter(|timeout| !timeout.is_zero()),
            strip_prefix: strip_prefix.map(|prefix| path::canonical(prefix.as_bytes()).into()),
            rewrite: route.rewrite.as_deref().map(template).transpose()?,
            request_edits: Edits::new(edits),
            response_edits: Edits::new(&route.response_headers),
            compression: route.compress.as_ref().map(Compression::new),
            errors: route.errors.clone(),
            action,
        })
    }

    /// Whether a client may ask at all. An address that is not known is on no list.
    pub(super) fn allows(&self, address: Option<IpAddr>) -> bool {
        let among =
            |nets: &[IpNet]| address.is_some_and(|address| nets.iter().any(|net| net.contains(&address)));
        match &self.access {
            Access::Open => true,
            Access::Allow(nets) => among(nets),
            Access::Deny(nets) => !among(nets),
        }
    }

    /// The key under which a rate limit counts a request.
    pub(super) fn key(limiter: &Limiter, address: Option<IpAddr>, fields: &Fields) -> super::limit::Key {
        match &limiter.of.per {
            RatePer::Client => Limiter::address(address),
            RatePer::Header(name) => limiter.value(fields.get(name)),
        }
    }
}

/// A limit that stayed the same goes on counting.
fn limiter(name: &str, limit: &config::RateLimit, previous: Option<&Site>) -> Arc<Limiter> {
    let known = previous.and_then(|site| site.routes.iter().find(|route| route.name == name));
    let same = known.and_then(|route| route.limiter.as_ref()).filter(|limiter| limiter.of == *limit);
    same.map_or_else(|| Arc::new(Limiter::new(limit.clone())), Arc::clone)
}

/// A prefix that is stripped is where the directory is mounted, so that it sends clients to places they can ask for.
fn directory(route: &str, from: &config::FilesFrom, mount: Option<&str>) -> Result<Directory, SiteError> {
    let failed = |why| SiteError::Files { route: route.to_owned(), root: from.root.clone(), why };
    let directory = Directory::open(from.root.clone()).map_err(failed)?;
    let directory = directory
        .index(from.index.iter().cloned())
        .listing(from.listing)
        .precompressed(from.precompressed.iter().copied().map(compress::encoding))
        .mount(mount.unwrap_or_default());
    Ok(match &from.cache_control {
        Some(value) => directory.cache_control(value.clone()),
        None => directory,
    })
}

/// RFC 9110 §7.6.3: the version an answer was received in, as far as it is known beforehand.
fn via(upstream: &Upstream) -> &'static str {
    match upstream.config.protocol {
        UpstreamProtocol::H2 | UpstreamProtocol::H2c => "2 stagedoor",
        UpstreamProtocol::Http1 | UpstreamProtocol::Auto => "1.1 stagedoor",
    }
}

/// The name for as long as the process lives, as metrics keep it too: there are as many as routes were ever called.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}
