//! One server of an upstream, as all workers know it: how it is reached, how it fares, how busy it is.
//!
//! Numbers are atomics that workers add to and anybody reads; who decides (checks, ejection) is `health.rs` and the
//! upstream. Invariant: `active` and `connections` come back to zero when nobody uses it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use stagedoor_metrics::EndpointCells;

use crate::config::{self, EndpointAddress, UpstreamProtocol};

/// Milliseconds since the process first asked.
pub(crate) fn millis(now: Instant) -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    // Half a day ahead: a time taken shortly before the first question is not before the beginning.
    let begin = *BEGIN.get_or_init(|| now);
    now.saturating_duration_since(begin).as_millis() as u64 + 1
}

/// See the module.
pub struct Endpoint {
    /// Unlike that of any other in the process.
    pub(crate) id: u64,
    /// The label of its metrics: `upstream/host:port`.
    pub label: String,
    /// As people write it: `http://host:port`.
    pub url: String,
    /// `https`.
    pub tls: bool,
    /// How it is reached.
    pub address: EndpointAddress,
    /// The authority of requests that have none, and of checks.
    pub authority: String,
    /// Its share, 1 to 1000.
    pub weight: u16,
    /// Requests in flight, over all workers.
    pub active: AtomicUsize,
    /// Requests that wait for a connection or a stream.
    pub pending: AtomicUsize,
    /// Connections.
    pub connections: AtomicUsize,
    /// No longer among the upstream's endpoints.
    gone: AtomicBool,
    /// Active checks say that it is well.
    healthy: AtomicBool,
    /// Out until then, in [`millis`]; 0 is in.
    ejected_until: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
    /// Ejections in a row.
    ejections: AtomicU32,
    /// ALPN has said that it speaks HTTP/1.1 alone.
    http1_only: AtomicBool,
    last_check: Mutex<Option<Check>>,
    pub(crate) cells: Arc<EndpointCells>,
}

/// How an active check went.
#[derive(Clone, Debug)]
pub struct Check {
    /// It passed.
    pub ok: bool,
    /// What was answered, or what went wrong.
    pub detail: String,
    /// When it ended.
    pub at: Instant,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It takes requests.
    Healthy,
    /// Active checks fail.
    Unhealthy,
    /// It failed too often in a row and is left alone for a while.
    Ejected,
    /// It is no longer configured, or no longer an address of its name; requests under way go on.
    Draining,
}

impl EndpointState {
    /// Its name in the API.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
        }
    }
}

impl Endpoint {
    /// An endpoint of `upstream` that nobody has asked yet.
    pub(crate) fn new(
        upstream: &str,
        one: config::Endpoint,
        cells: impl FnOnce(&str) -> Arc<EndpointCells>,
    ) -> Self {
        let config::Endpoint { tls, address, weight } = one;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let scheme = if tls { "https" } else { "http" };
        let (place, authority) = match &address {
            EndpointAddress::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let usual = if tls { 443 } else { 80 };
                let authority = if *port == usual { host.clone() } else { format!("{host}:{port}") };
                (format!("{host}:{port}"), authority)
            }
            EndpointAddress::Unix(path) => (format!("unix:{}", path.display()), "localhost".to_owned()),
        };
        let url = match &address {
            EndpointAddress::Tcp { .. } => format!("{scheme}://{place}"),
            EndpointAddress::Unix(_) => place.clone(),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            label: format!("{upstream}/{place}"),
            url,
            tls,
            address,
            authority,
            weight: weight.max(1),
            active: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            healthy: AtomicBool::new(true),
            ejected_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            http1_only: AtomicBool::new(false),
            last_check: Mutex::new(None),
            cells: cells(&place),
        }
    }

    /// What is spoken with it, as far as is known: `auto` over TLS begins with HTTP/2 and learns.
    pub(crate) fn speaks_http2(&self, protocol: UpstreamProtocol) -> bool {
        match protocol {
            UpstreamProtocol::H2 | UpstreamProtocol::H2c => true,
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Auto => self.tls && !self.http1_only.load(Ordering::Relaxed),
        }
    }

    /// ALPN picked HTTP/1.1, or nothing.
    pub(crate) fn learn_http1(&self) {
        self.http1_only.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Tells the metrics whether it takes requests.
    pub(crate) fn show(&self, now: u64) {
        self.cells.set_up(self.is_up(now));
    }

    /// Whether it is to be asked at `now` ([`millis`]).
    pub(crate) fn is_up(&self, now: u64) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.is_ejected(now) && !self.is_gone()
    }

    pub(crate) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    /// How it stands now.
    #[must_use]
    pub fn state(&self) -> EndpointState {
        let now = millis(Instant::now());
        match (self.is_gone(), self.healthy.load(Ordering::Relaxed), self.is_ejected(now)) {
            (true, ..) => EndpointState::Draining,
            (_, false, _) => EndpointState::Unhealthy,
            (_, _, true) => EndpointState::Ejected,
            _ => EndpointState::Healthy,
        }
    }

    /// What is left of an ejection.
    #[must_use]
    pub fn ejected_for(&self) -> Option<Duration> {
        let left = self.ejected_until.load(Ordering::Relaxed).saturating_sub(millis(Instant::now()));
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Failures in a row.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Its latest active check.
    #[must_use]
    pub fn last_check(&self) -> Option<Check> {
        self.last_check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps how a check went, and what follows of it; true where that changes.
    pub(crate) fn checked(&self, check: Check, healthy: bool) -> bool {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = Some(check);
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// A request went well.
    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 {
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; says how many have in a row.
    pub(crate) fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Out for `time`, twice as long each time in a row, ten times at most.
    pub(crate) fn eject(&self, time: Duration, now: u64) -> Duration {
        let times = self.ejections.fetch_add(1, Ordering::Relaxed);
        let time = time * 2u32.saturating_pow(times).min(10);
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(now + time.as_millis() as u64, Ordering::Relaxed);
        time
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An endpoint of the upstream `api`.
    pub(crate) fn made(tls: bool, address: EndpointAddress, weight: u16) -> Endpoint {
        Endpoint::new("api", config::Endpoint { tls, address, weight }, |_| Arc::default())
    }

    fn tcp(host: &str, port: u16, tls: bool) -> Endpoint {
        made(tls, EndpointAddress::Tcp { host: host.to_owned(), port }, 1)
    }

    #[test]
    fn names_follow_from_the_address() {
        for (endpoint, label, url, authority) in [
            (tcp("10.0.0.7", 80, false), "api/10.0.0.7:80", "http://10.0.0.7:80", "10.0.0.7"),
            (tcp("::1", 8443, true), "api/[::1]:8443", "https://[::1]:8443", "[::1]:8443"),
            (tcp("a.example", 443, false), "api/a.example:443", "http://a.example:443", "a.example:443"),
        ] {
            assert_eq!((&*endpoint.label, &*endpoint.url, &*endpoint.authority), (label, url, authority));
        }
        let unix = made(false, EndpointAddress::Unix("/run/a.sock".into()), 1);
        assert_eq!((&*unix.url, &*unix.authority), ("unix:/run/a.sock", "localhost"));
    }

    #[test]
    fn ejections_in_a_row_last_longer_and_a_success_forgives() {
        let endpoint = tcp("a", 1, false);
        let second = Duration::from_secs(1);
        let times: Vec<u64> = (0..6).map(|_| endpoint.eject(second, 0).as_secs()).collect();
        assert_eq!(times, [1, 2, 4, 8, 10, 10]);
        assert!(endpoint.is_ejected(9_999) && !endpoint.is_ejected(10_000));
        endpoint.succeeded();
        assert_eq!(endpoint.eject(second, 0), second);
    }

    #[test]
    fn auto_begins_with_http2_over_tls_and_learns() {
        let endpoint = tcp("a", 1, true);
        assert!(endpoint.speaks_http2(UpstreamProtocol::Auto));
        endpoint.learn_http1();
        assert!(!endpoint.speaks_http2(UpstreamProtocol::Auto));
        assert!(endpoint.speaks_http2(UpstreamProtocol::H2));
        assert!(!tcp("a", 1, false).speaks_http2(UpstreamProtocol::Auto));
    }
}
