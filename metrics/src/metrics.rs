//! `Metrics`, the one handle of the process: lists listeners, routes and shards, and renders them.
//! Counts nothing itself (`shard.rs`) and adds nothing up (`collect.rs`).
//!
//! Invariant: what is listed stays listed. A shard is never removed, so a counter never goes back while
//! the process lives; a name is listed once, so no series appears twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;

use crate::cell::SharedCell;
use crate::collect;
use crate::exposition::{Anchor, Format, GatewayCollector, OpenMetrics, Scrapes, Text};
use crate::labels::ReloadResult;
use crate::live::LiveSessions;
use crate::per::Per;
use crate::shard::{ListenerId, RouteId, Shard, unpoisoned};
use crate::tables::{TableOptions, Tables};
use crate::upstream::{EndpointCells, Endpoints, UpstreamId};

/// The metrics of a process; a clone is the same metrics.
///
/// ```
/// use stagedoor_metrics::{Format, Metrics, Protocol};
///
/// let metrics = Metrics::new("app");
/// let listener = metrics.add_listener("http", "127.0.0.1:8080");
/// metrics.shard(0).listener(listener).session_opened(Protocol::H2c);
/// let page = String::from_utf8(metrics.render(Format::Text)).unwrap();
/// assert!(page.contains("app_sessions_opened_total{listener=\"http\",protocol=\"h2c\"} 1"), "{page}");
/// ```
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: String,
    pub(crate) listeners: Mutex<Vec<Arc<Listener>>>,
    pub(crate) routes: Mutex<Vec<Route>>,
    pub(crate) upstreams: Mutex<Vec<Arc<str>>>,
    pub(crate) endpoints: Endpoints,
    pub(crate) shards: Mutex<BTreeMap<u16, Arc<Shard>>>,
    pub(crate) ready: AtomicBool,
    pub(crate) draining: AtomicBool,
    pub(crate) overloaded: AtomicBool,
    pub(crate) build: Mutex<Option<Build>>,
    pub(crate) live: LiveSessions,
    /// Listeners whose sessions have no rows.
    pub(crate) hidden: Mutex<BTreeSet<Arc<str>>>,
    pub(crate) tables: Mutex<Tables>,
    /// When each certificate expires.
    pub(crate) certificates: Mutex<BTreeMap<String, SystemTime>>,
    pub(crate) certificate_reloads: Per<ReloadResult, SharedCell>,
    pub(crate) config: Mutex<Config>,
    pub(crate) config_reloads: Per<ReloadResult, SharedCell>,
    pub(crate) access_log_dropped: SharedCell,
    anchor: Anchor,
    scrapes: Scrapes,
    /// Octets of the latest render, so that the next one need not grow.
    size: AtomicUsize,
}

/// How the latest load of the configuration went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) last: ReloadResult,
    pub(crate) last_good: SystemTime,
}

/// A listening socket as `listener_info` shows it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) address: Mutex<String>,
    pub(crate) accepting: AtomicBool,
    /// No socket listens: it is the name of sessions that we open.
    pub(crate) of_client: AtomicBool,
}

/// A route, and what is counted of it outside of any shard.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) rate_limited: Arc<SharedCell>,
}

impl Route {
    fn new(name: &str) -> Self {
        Self { name: name.into(), rate_limited: Arc::default() }
    }
}

/// What runs, as `build_info` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) version: String,
    pub(crate) revision: String,
}

impl Metrics {
    /// The `Content-Type` of [`Self::render_text`].
    pub const TEXT_CONTENT_TYPE: &str = Format::Text.content_type();

    /// Metrics with nothing listed. `namespace` takes the place of `stagedoor` in the catalogue's names.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let anchor = Anchor::now();
        Self(Arc::new(Inner {
            namespace: namespace.to_owned(),
            listeners: Mutex::default(),
            // In the order of `RouteId::UNMATCHED` and `RouteId::ADMIN`.
            routes: Mutex::new(vec![Route::new("_unmatched"), Route::new("_admin")]),
            upstreams: Mutex::default(),
            endpoints: Endpoints::default(),
            shards: Mutex::default(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            build: Mutex::default(),
            live: LiveSessions::default(),
            hidden: Mutex::new(BTreeSet::from(["admin".into()])),
            tables: Mutex::default(),
            certificates: Mutex::default(),
            certificate_reloads: Per::default(),
            // What started has loaded what it runs on.
            config: Mutex::new(Config { last: ReloadResult::Ok, last_good: anchor.time() }),
            config_reloads: Per::default(),
            access_log_dropped: SharedCell::default(),
            anchor,
            scrapes: Scrapes::default(),
            size: AtomicUsize::new(0),
        }))
    }

    /// Lists a listener; a name already listed keeps its id and takes the new address.
    ///
    /// # Panics
    /// Past 65 535 listeners.
    pub fn add_listener(&self, name: &str, address: &str) -> ListenerId {
        let mut listeners = unpoisoned(&self.0.listeners);
        let place = match listeners.iter().position(|known| &*known.name == name) {
            Some(place) => {
                address.clone_into(&mut unpoisoned(&listeners[place].address));
                place
            }
            None => {
                listeners.push(Arc::new(Listener {
                    name: name.into(),
                    address: Mutex::new(address.to_owned()),
                    accepting: AtomicBool::new(false),
                    of_client: AtomicBool::new(false),
                }));
                listeners.len() - 1
            }
        };
        ListenerId(u16::try_from(place).expect("fewer than 65 536 listeners"))
    }

    /// Lists the name of sessions that we open ourselves: it has the families of sessions and streams as a listener has,
    /// and none of sockets, handshakes, routes and [`Self::totals`], where what is passed on would be counted twice.
    ///
    /// # Panics
    /// Past 65 535 listeners.
    pub fn add_client(&self, name: &str) -> ListenerId {
        let id = self.add_listener(name, "-");
        if let Some(listener) = unpoisoned(&self.0.listeners).get(usize::from(id.get())) {
            listener.of_client.store(true, Ordering::Relaxed);
        }
        id
    }

    /// Lists a route; a name already listed keeps its id.
    ///
    /// # Panics
    /// Past 65 535 routes.
    pub fn add_route(&self, name: &str) -> RouteId {
        let mut routes = unpoisoned(&self.0.routes);
        let place = routes.iter().position(|known| &*known.name == name).unwrap_or_else(|| {
            routes.push(Route::new(name));
            routes.len() - 1
        });
        RouteId(u16::try_from(place).expect("fewer than 65 536 routes"))
    }

    /// The interned name of a listener, for [`SessionStats`](crate::SessionStats).
    #[must_use]
    pub fn listener_name(&self, id: ListenerId) -> Option<Arc<str>> {
        unpoisoned(&self.0.listeners).get(usize::from(id.get())).map(|listener| Arc::clone(&listener.name))
    }

    /// The interned name of a route.
    #[must_use]
    pub fn route_name(&self, id: RouteId) -> Option<Arc<str>> {
        unpoisoned(&self.0.routes).get(usize::from(id.get())).map(|route| Arc::clone(&route.name))
    }

    /// The requests of a route that a limiter answered 429; any thread adds to it. Takes a lock: ask once and keep the
    /// handle. Of a route that is not listed the count is seen by nobody.
    #[must_use]
    pub fn rate_limited(&self, id: RouteId) -> Arc<SharedCell> {
        let routes = unpoisoned(&self.0.routes);
        routes.get(usize::from(id.get())).map(|route| Arc::clone(&route.rate_limited)).unwrap_or_default()
    }

    /// Lists an upstream; a name already listed keeps its id.
    ///
    /// # Panics
    /// Past 65 535 upstreams.
    pub fn add_upstream(&self, name: &str) -> UpstreamId {
        let mut upstreams = unpoisoned(&self.0.upstreams);
        let place = upstreams.iter().position(|known| &**known == name).unwrap_or_else(|| {
            upstreams.push(name.into());
            upstreams.len() - 1
        });
        UpstreamId(u16::try_from(place).expect("fewer than 65 536 upstreams"))
    }

    /// The cells of an endpoint, the same for everyone who asks while somebody holds them; its row is labelled
    /// `upstream/address`, and vanishes with the last handle. Takes a lock: ask once and keep the handle.
    #[must_use]
    pub fn endpoint(&self, upstream: UpstreamId, address: &str) -> Arc<EndpointCells> {
        let name = unpoisoned(&self.0.upstreams).get(usize::from(upstream.get())).cloned();
        self.0.endpoints.get(format!("{}/{address}", name.as_deref().unwrap_or("")))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The shard of arbiter `worker`, made on first use and the same ever after: a worker started anew on
    /// its arbiter goes on where it was. Only that arbiter's thread may count in it, so the thread that
    /// runs the listeners takes a number of its own.
    #[must_use]
    pub fn shard(&self, worker: u16) -> Arc<Shard> {
        Arc::clone(unpoisoned(&self.0.shards).entry(worker).or_default())
    }

    /// Whether both are handles of one registry.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Every open session.
    #[must_use]
    pub fn live(&self) -> &LiveSessions {
        &self.0.live
    }

    /// Whether the process takes traffic.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether the process drains.
    pub fn set_draining(&self, draining: bool) {
        self.0.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether the process takes no new sessions, or sheds idle ones.
    pub fn set_overloaded(&self, overloaded: bool) {
        self.0.overloaded.store(overloaded, Ordering::Relaxed);
    }

    /// Whether it was said to be overloaded last.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.0.overloaded.load(Ordering::Relaxed)
    }

    /// What runs; `build_info` is shown once this is known.
    pub fn set_build(&self, version: &str, revision: &str) {
        *unpoisoned(&self.0.build) = Some(Build { version: version.into(), revision: revision.into() });
    }

    /// Whether a listener accepts connections; false until said otherwise.
    pub fn set_accepting(&self, id: ListenerId, accepting: bool) {
        if let Some(listener) = unpoisoned(&self.0.listeners).get(usize::from(id.get())) {
            listener.accepting.store(accepting, Ordering::Relaxed);
        }
    }

    /// Keeps the sessions of a listener out of the live tables, those it will have too; `admin` is kept
    /// out from the start.
    pub fn hide_listener(&self, name: &str) {
        unpoisoned(&self.0.hidden).insert(name.into());
    }

    /// What the live tables may show, from the next scrape on. Rows that are shown stay, whatever the new
    /// caps; turned off, they are gone at once.
    pub fn set_tables(&self, options: TableOptions) {
        unpoisoned(&self.0.tables).set_options(options);
    }

    /// When a certificate that is in use expires.
    pub fn set_certificate(&self, name: &str, not_after: SystemTime) {
        unpoisoned(&self.0.certificates).insert(name.to_owned(), not_after);
    }

    /// A certificate is no longer in use; its series vanishes.
    pub fn forget_certificate(&self, name: &str) {
        unpoisoned(&self.0.certificates).remove(name);
    }

    /// The certificates in use by name, and when each expires.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, SystemTime)> {
        unpoisoned(&self.0.certificates).iter().map(|(name, end)| (name.clone(), *end)).collect()
    }

    /// Counts a load of a certificate; any thread.
    pub fn certificate_reloaded(&self, result: ReloadResult) {
        self.0.certificate_reloads[result].inc();
    }

    /// Counts a load of the configuration that ended at `at`; any thread.
    pub fn config_reloaded(&self, result: ReloadResult, at: SystemTime) {
        self.0.config_reloads[result].inc();
        let mut config = unpoisoned(&self.0.config);
        config.last = result;
        if result == ReloadResult::Ok {
            config.last_good = at;
        }
    }

    /// Counts lines of the access log that were dropped; any thread.
    #[must_use]
    pub fn access_log_dropped(&self) -> &SharedCell {
        &self.0.access_log_dropped
    }

    /// A collector for a foreign [`prometheus::Registry`]. Leaves `process_*` out, which such a registry
    /// has from elsewhere. It shares the live tables and their budget with [`Self::render`].
    ///
    /// ```
    /// use stagedoor_metrics::{Metrics, prometheus};
    ///
    /// let registry = prometheus::Registry::new();
    /// registry.register(Box::new(Metrics::new("app").collector()))?;
    /// assert!(registry.gather().iter().any(|family| family.name().starts_with("app_")));
    /// # Ok::<(), prometheus::Error>(())
    /// ```
    #[must_use]
    pub fn collector(&self) -> impl Collector + 'static {
        GatewayCollector::new(Arc::clone(&self.0))
    }

    /// Everything as Prometheus text 0.0.4, `process_*` included. Takes milliseconds: call it on a
    /// blocking thread, not on an arbiter.
    #[must_use]
    pub fn render_text(&self) -> Vec<u8> {
        self.render(Format::Text)
    }

    /// As [`Self::render_text`], in the format that [`negotiate`](crate::negotiate) chose.
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        self.render_at(format, Instant::now())
    }

    /// As [`Self::render`], with the live tables as of `now`.
    #[must_use]
    pub fn render_at(&self, format: Format, now: Instant) -> Vec<u8> {
        let Inner { size, anchor, .. } = &*self.0;
        let room = size.load(Ordering::Relaxed) + 4 * 1024;
        let rendered = match format {
            Format::Text => {
                let mut text = Text::new(room);
                collect::all(&self.0, now, &mut text);
                text.finish()
            }
            Format::OpenMetrics => {
                let mut text = OpenMetrics::new(room, *anchor);
                collect::all(&self.0, now, &mut text);
                text.finish()
            }
        };
        size.store(rendered.len(), Ordering::Relaxed);
        rendered
    }

    /// What to answer a scraper with: one render at a time, and shared by whoever asks within 250 ms of it.
    /// `gzip` when the scraper accepts that coding. Blocks, so call it on a blocking thread.
    #[must_use]
    pub fn scrape(&self, format: Format, gzip: bool) -> Arc<[u8]> {
        self.0.scrapes.share(format, gzip, Instant::now, |now| self.render_at(format, now))
    }
}

/// A time as Unix time in seconds, to the millisecond; what is before 1970 is 0.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}
