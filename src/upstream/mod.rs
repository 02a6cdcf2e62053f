//! Servers that requests are sent on to: who they are, how they fare, who is asked next. Shared by all workers, which
//! keep the connections (`crate::proxy`).
//!
//! Sends no request but checks of health and questions to DNS. Invariants: an upstream whose configuration is the same
//! after a reload is the same object, with its endpoints, their state and their connections; its tasks end with it.

mod balance;
mod budget;
mod check;
mod dial;
mod endpoint;
mod resolve;
mod session;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use stagedoor_metrics::{Metrics, UpstreamId};

use crate::config::{self, Endpoints, UpstreamProtocol};
use crate::tls::{self, TlsError};
use budget::Budget;

pub(crate) use balance::hash;
pub(crate) use dial::{DialError, Io, dial};
pub(crate) use endpoint::millis;
pub use endpoint::{Check, Endpoint, EndpointState};
pub(crate) use session::{options, origin};

/// An upstream as all workers know it.
pub struct Upstream {
    /// Unlike that of any other in the process.
    pub(crate) id: u64,
    /// What it was told.
    pub config: config::Upstream,
    /// In the order of the configuration, or of the resolver.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    pub(crate) metric: UpstreamId,
    metrics: Metrics,
    /// Workers that have asked it for anything: they share an endpoint's connections.
    pub(crate) workers: AtomicUsize,
    turn: AtomicUsize,
    budget: Budget,
    /// TLS with ALPN `h2`, and with `http/1.1`; none where no endpoint has TLS.
    tls: Option<Trust>,
    tasks: Mutex<Vec<tokio::task::AbortHandle>>,
}

/// How TLS endpoints are trusted.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) http2: Arc<ClientConfig>,
    pub(crate) http1: Arc<ClientConfig>,
}

/// The upstreams of one configuration, in its order.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(pub Vec<Arc<Upstream>>);

/// An upstream that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("upstream {name:?}: {source}")]
pub struct UpstreamError {
    /// Which.
    pub name: String,
    /// Why not.
    pub source: TlsError,
}

impl Upstreams {
    /// Sets up what `config` says and takes over from `previous` what is the same. Nothing runs before
    /// [`Self::start`].
    /// # Errors
    /// A file of `tls` that cannot be used.
    pub fn new(
        config: &[config::Upstream],
        metrics: &Metrics,
        previous: Option<&Self>,
    ) -> Result<Self, UpstreamError> {
        let known = |wanted: &config::Upstream| {
            let previous = previous?.0.iter();
            previous.into_iter().find(|known| known.config == *wanted && !known.is_file_bound()).cloned()
        };
        let upstreams = config.iter().map(|wanted| match known(wanted) {
            Some(known) => Ok(known),
            None => Upstream::new(wanted.clone(), metrics)
                .map(Arc::new)
                .map_err(|source| UpstreamError { name: wanted.name.clone(), source }),
        });
        upstreams.collect::<Result<_, _>>().map(Self)
    }

    /// Starts checks and resolvers of those that do not run yet, on the calling thread's runtime.
    /// # Errors
    /// A name has to be resolved, and the system's configuration of DNS cannot be read.
    pub fn start(&self, dns_servers: &[SocketAddr]) -> Result<(), DnsError> {
        let asks = |upstream: &&Arc<Upstream>| !matches!(upstream.config.endpoints, Endpoints::Listed(_));
        let dns = self.0.iter().find(asks).map(|_| Dns::new(dns_servers)).transpose()?;
        for upstream in &self.0 {
            upstream.start(dns.as_ref());
        }
        Ok(())
    }

    /// What of `self` is not in `others` ends: its endpoints take no new requests, its tasks stop.
    pub fn retire_but(&self, others: &Self) {
        for upstream in &self.0 {
            if !others.0.iter().any(|other| other.id == upstream.id) {
                upstream.retire();
            }
        }
    }
}

pub use resolve::{Dns, DnsError};

impl Upstream {
    fn new(config: config::Upstream, metrics: &Metrics) -> Result<Self, TlsError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let metric = metrics.add_upstream(&config.name);
        let listed: Vec<_> = match &config.endpoints {
            Endpoints::Listed(listed) => listed
                .iter()
                .map(|one| Arc::new(endpoint(metrics, metric, &config.name, one.clone())))
                .collect(),
            Endpoints::Dns { .. } | Endpoints::Srv { .. } => Vec::new(),
        };
        let secure = match &config.endpoints {
            Endpoints::Listed(listed) => listed.iter().any(|one| one.tls),
            Endpoints::Dns { tls, .. } | Endpoints::Srv { tls, .. } => *tls,
        };
        let trust = || -> Result<Trust, TlsError> {
            Ok(Trust {
                http2: tls::upstream_client(&config.tls, &["h2"])?,
                http1: tls::upstream_client(&config.tls, &["http/1.1"])?,
            })
        };
        let upstream = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            metric,
            metrics: metrics.clone(),
            workers: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            budget: Budget::new(config.retry.budget),
            tls: if secure { Some(trust()?) } else { None },
            endpoints: ArcSwap::from_pointee(listed),
            tasks: Mutex::default(),
            config,
        };
        Ok(upstream)
    }

    /// Files it was made from may have changed under the same names.
    fn is_file_bound(&self) -> bool {
        self.config.tls.ca.is_some() || self.config.tls.client.is_some()
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// Retries of the last ten seconds, and how many there might have been.
    #[must_use]
    pub fn budget(&self) -> (u64, u64) {
        self.budget.spent(millis(Instant::now()) / 1000)
    }

    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.tls.as_ref()
    }

    /// Every endpoint is HTTP/2, or none, or it is not known yet.
    pub(crate) fn protocol(&self) -> UpstreamProtocol {
        self.config.protocol
    }

    /// Whom to ask, see `balance.rs`.
    #[inline]
    pub(crate) fn pick(&self, key: Option<u64>, tried: &[u64], now: u64) -> Option<Arc<Endpoint>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let balance = &self.config.balance;
        balance::pick(&self.endpoints.load(), &balance::Choice { balance, key, tried, now, turn })
    }

    /// A request is made.
    #[inline]
    pub(crate) fn requested(&self, now: u64) {
        self.budget.request(now / 1000);
    }

    /// A retry is wanted; true where the budget has one.
    pub(crate) fn may_retry(&self, now: u64) -> bool {
        self.budget.retry(now / 1000)
    }

    /// A request to `endpoint` failed, or was answered as if: it may be left alone for a while; true where it is now.
    pub(crate) fn failed(&self, endpoint: &Endpoint, now: u64) -> bool {
        let failures = endpoint.failed();
        let Some(eject) = &self.config.eject else { return false };
        if failures < eject.consecutive_failures || endpoint.is_ejected(now) {
            return false;
        }
        let endpoints = self.endpoints.load();
        let out = endpoints.iter().filter(|other| other.is_ejected(now)).count() + 1;
        let most = (endpoints.len() as f64 * eject.max_share) as usize;
        if out > most.min(endpoints.len().saturating_sub(1)) {
            return false;
        }
        let time = endpoint.eject(eject.time, now);
        endpoint.show(now);
        let (upstream, endpoint) = (&self.config.name, &endpoint.url);
        tracing::warn!(upstream, endpoint, failures, for_s = time.as_secs_f64(), "ejected");
        true
    }

    /// Other endpoints than before: those whose address and weight are the same stay what they are.
    pub(crate) fn replace(&self, wanted: Vec<config::Endpoint>) {
        let before = self.endpoints.load_full();
        let mut left = before.to_vec();
        let after: Vec<Arc<Endpoint>> = wanted
            .into_iter()
            .map(|one| {
                let same = |known: &Arc<Endpoint>| {
                    known.address == one.address && known.tls == one.tls && known.weight == one.weight
                };
                match left.iter().position(same) {
                    Some(place) => left.swap_remove(place),
                    None => Arc::new(endpoint(&self.metrics, self.metric, &self.config.name, one)),
                }
            })
            .collect();
        self.endpoints.store(Arc::new(after));
        for gone in left {
            gone.set_gone();
            tracing::info!(upstream = self.config.name, endpoint = gone.url, "endpoint gone");
        }
    }

    fn start(self: &Arc<Self>, dns: Option<&Dns>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !tasks.is_empty() {
            return;
        }
        if self.config.health.is_some() {
            tasks.push(actix_rt::spawn(check::run(Arc::downgrade(self))).abort_handle());
        }
        if let Some(dns) = dns
            && !matches!(self.config.endpoints, Endpoints::Listed(_))
        {
            tasks.push(actix_rt::spawn(resolve::run(Arc::downgrade(self), dns.clone())).abort_handle());
        }
        if self.config.eject.is_some() {
            tasks.push(actix_rt::spawn(show_returns(Arc::downgrade(self))).abort_handle());
        }
    }

    fn retire(&self) {
        self.stop();
        for endpoint in &**self.endpoints.load() {
            endpoint.set_gone();
        }
    }

    fn stop(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// An ejection ends by itself; the metrics have to be told.
async fn show_returns(upstream: std::sync::Weak<Upstream>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(upstream) = upstream.upgrade() else { return };
        for endpoint in &**upstream.endpoints.load() {
            endpoint.show(millis(Instant::now()));
        }
    }
}

fn endpoint(metrics: &Metrics, upstream: UpstreamId, name: &str, one: config::Endpoint) -> Endpoint {
    Endpoint::new(name, one, |place| metrics.endpoint(upstream, place))
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.config.name)
            .field("endpoints", &self.endpoints.load())
            .finish_non_exhaustive()
    }
}
