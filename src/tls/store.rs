//! What one listener shows and whom it believes: certificates by SNI (RFC 6066 §3), swapped under handshakes.
//!
//! Watches nothing: whoever knows that a file changed calls [`Store::reload`], whoever has a new configuration
//! [`Store::put`]. Sessions that are up keep what they were shown.
//!
//! Invariants: there is always a certificate to show. A pair that cannot be used replaces nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use stagedoor_metrics::{Metrics, ReloadResult};
use tracing::{info, warn};

use super::clients::{Clients, Policy};
use super::names::{self, ByName};
use super::pair::{CertificateSeen, Content, Pair, Source};
use super::{TlsError, pem};
use crate::config::{self, ClientAuth};
use crate::devca;

/// The certificates of a listener and the authorities of its clients. Give it to [`server_config`](super::server_config).
pub struct Store {
    shown: ArcSwap<Shown>,
    clients: Arc<Clients>,
    /// Held while something is replaced, by one caller at a time.
    held: Mutex<Held>,
    metrics: Metrics,
    /// Its certificates are out of the metrics, whenever the last handshake lets go of it.
    retired: AtomicBool,
}

/// What handshakes look at.
#[derive(Debug)]
struct Shown {
    /// At least one; the first is shown where no name matches.
    pairs: Vec<Arc<Pair>>,
    by_name: ByName<Arc<Pair>>,
}

/// What was read last, so that nothing is loaded twice and no fault told twice.
#[derive(Debug)]
struct Held {
    auth: ClientAuth,
    authorities: Option<Content>,
    /// Of the pairs that failed, in their order.
    failed: Vec<Option<Content>>,
    authorities_failed: Option<Content>,
}

/// Certificates and authorities that were read and checked, and are in use nowhere yet: a configuration is taken whole
/// or not at all.
#[derive(Debug)]
pub struct Prepared {
    pairs: Vec<Arc<Pair>>,
    auth: ClientAuth,
    policy: Policy,
    authorities: Option<Content>,
}

/// What a reload did.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Labels of the pairs that were swapped.
    pub certificates: Vec<String>,
    /// The authorities of clients were swapped.
    pub authorities: bool,
    /// What kept others from being swapped; they are in use as before.
    pub errors: Vec<TlsError>,
}

impl Prepared {
    /// Reads what `config` names; it blocks. Where no certificate is listed the development certificate takes its
    /// place, from `state_dir` or else from [`devca::state_dir`].
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn read(config: &config::Tls, state_dir: Option<PathBuf>) -> Result<Self, Vec<TlsError>> {
        let sources: Vec<_> = match config.certificates.is_empty() {
            false => config.certificates.iter().cloned().map(Source::Files).collect(),
            true => {
                let state_dir = state_dir.map_or_else(devca::state_dir, Ok);
                vec![Source::Development(state_dir.map_err(|error| vec![error.into()])?)]
            }
        };
        let (mut pairs, mut errors) = (Vec::new(), Vec::new());
        for source in &sources {
            match source.load() {
                Ok(pair) => pairs.push(Arc::new(pair)),
                Err(error) => errors.push(error),
            }
        }
        match Policy::load(&config.client_auth) {
            Ok((policy, authorities)) if errors.is_empty() => {
                Ok(Self { pairs, auth: config.client_auth.clone(), policy, authorities })
            }
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(error);
                Err(errors)
            }
        }
    }
}

impl Store {
    /// The store of one listener. Its certificates are in the metrics from now on.
    #[must_use]
    pub fn new(prepared: Prepared, metrics: &Metrics) -> Arc<Self> {
        let Prepared { pairs, auth, policy, authorities } = prepared;
        let held = Held { auth, authorities, failed: vec![None; pairs.len()], authorities_failed: None };
        let store = Self {
            shown: ArcSwap::from_pointee(Shown::new(pairs)),
            clients: Arc::new(Clients::new(policy)),
            held: Mutex::new(held),
            metrics: metrics.clone(),
            retired: AtomicBool::new(false),
        };
        store.announce();
        Arc::new(store)
    }

    /// [`Prepared::read`], then [`Store::new`].
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn open(
        config: &config::Tls,
        state_dir: Option<PathBuf>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, Vec<TlsError>> {
        Prepared::read(config, state_dir).map(|prepared| Self::new(prepared, metrics))
    }

    /// Takes the place of everything, for handshakes from now on: certificates, names, authorities, and whether clients
    /// are asked. What [`server_config`](super::server_config) made of this store follows; the oldest version it speaks
    /// does not.
    pub fn put(&self, prepared: Prepared) {
        let Prepared { pairs, auth, policy, authorities } = prepared;
        let mut held = self.held();
        let labels = self.labels();
        let same = (&held.auth, held.authorities) == (&auth, authorities);
        *held = Held { auth, authorities, failed: vec![None; pairs.len()], authorities_failed: None };
        self.shown.store(Arc::new(Shown::new(pairs)));
        if !same {
            self.clients.change(policy);
        }
        self.forget(&labels);
        self.announce();
    }

    /// Reads the files again and swaps what changed and can be used; the rest stays in use, and the log says why, once for
    /// each content that was refused. A pair that has expired does not replace one that has not. It blocks.
    pub fn reload(&self) -> Reloaded {
        let mut held = self.held();
        let shown = self.shown.load_full();
        let mut pairs = shown.pairs.clone();
        let mut done = Reloaded::default();
        for (pair, failed) in pairs.iter_mut().zip(&mut held.failed) {
            match again(pair, failed) {
                Ok(None) => {}
                Ok(Some(fresh)) => {
                    let (cert, path) = (fresh.label(), fresh.seen.path.display());
                    info!(cert, %path, fingerprint = %fresh.seen.fingerprint, "a certificate was replaced");
                    self.metrics.certificate_reloaded(ReloadResult::Ok);
                    done.certificates.push(cert.to_owned());
                    *pair = Arc::new(fresh);
                }
                Err(error) => self.kept(error, &mut done),
            }
        }
        if !done.certificates.is_empty() {
            let labels = self.labels();
            self.shown.store(Arc::new(Shown::new(pairs)));
            self.forget(&labels);
            self.announce();
        }
        match held.authorities_again() {
            Ok(None) => {}
            Ok(Some(policy)) => {
                info!("the authorities of clients were replaced");
                self.metrics.certificate_reloaded(ReloadResult::Ok);
                self.clients.change(policy);
                done.authorities = true;
            }
            Err(error) => self.kept(error, &mut done),
        }
        done
    }

    /// The files it was read from, to be watched; none of the development certificate.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for pair in &self.shown.load().pairs {
            match &pair.source {
                Source::Files(of) => files.extend([of.cert.clone(), of.key.clone()]),
                Source::Development(_) => {}
            }
        }
        match &self.held().auth {
            ClientAuth::None => {}
            ClientAuth::Optional { ca } | ClientAuth::Required { ca } => files.push(ca.clone()),
        }
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The certificates in use, the default first.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateSeen> {
        self.shown.load().pairs.iter().map(|pair| pair.seen.clone()).collect()
    }

    /// Whether a request for `authority_host` may come over a connection whose client asked for `sni` (empty where it
    /// asked for none): the certificate it was shown covers that host, or it is the very name it asked for, where another
    /// connection would be no better. Without SNI any address will do: SNI carries none (RFC 6066 §3). Otherwise the
    /// request is misdirected (RFC 9110 §15.5.20).
    ///
    /// `authority_host` has no port; case and brackets do not matter. Allocates nothing.
    #[must_use]
    pub fn serves(&self, sni: &str, authority_host: &str) -> bool {
        let host = authority_host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = host.unwrap_or(authority_host);
        if sni.is_empty() {
            if host.parse::<IpAddr>().is_ok() {
                return true;
            }
        } else if names::matches(sni.strip_suffix('.').unwrap_or(sni), host) {
            return true;
        }
        self.shown.load().candidates(Some(sni)).iter().any(|pair| pair.covers(host))
    }

    /// Writes the expiry of each certificate to the metrics. Stores do so by themselves; once more is needed only where
    /// another listener's store, or its end, took away a name that both had.
    pub fn announce(&self) {
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        let mut first = BTreeMap::<&str, SystemTime>::new();
        let shown = self.shown.load();
        for pair in &shown.pairs {
            let not_after = pair.seen.not_after;
            // An RSA and an ECDSA certificate of one name: the one that ends first is the one to worry about.
            first.entry(pair.label()).and_modify(|known| *known = not_after.min(*known)).or_insert(not_after);
        }
        for (label, not_after) in first {
            self.metrics.set_certificate(label, not_after);
        }
    }

    /// Whom it asks for certificates.
    pub(super) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    fn kept(&self, error: TlsError, done: &mut Reloaded) {
        warn!(%error, help = error.help(), "a certificate was not replaced; the one before is still in use");
        self.metrics.certificate_reloaded(ReloadResult::Error);
        done.errors.push(error);
    }

    /// Takes its certificates out of the metrics, once. Its end does so too, but that comes whenever the last session of a
    /// listener that is gone lets go of it; who retires it first can have the stores that stay announce what they share
    /// with it.
    pub fn retire(&self) {
        if !self.retired.swap(true, Ordering::Relaxed) {
            self.labels().iter().for_each(|label| self.metrics.forget_certificate(label));
        }
    }

    /// Takes those of `labels` out of the metrics that are not in use any more.
    fn forget(&self, labels: &[String]) {
        let now = self.labels();
        labels
            .iter()
            .filter(|label| !now.contains(label))
            .for_each(|label| self.metrics.forget_certificate(label));
    }

    fn labels(&self) -> Vec<String> {
        self.shown.load().pairs.iter().map(|pair| pair.label().to_owned()).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.retire();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("pairs", &self.shown.load().pairs).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.load();
        let candidates = shown.candidates(hello.server_name());
        let schemes = hello.signature_schemes();
        let fits = candidates.iter().find(|pair| pair.certified.key.choose_scheme(schemes).is_some());
        fits.or(candidates.first()).map(|pair| Arc::clone(&pair.certified))
    }
}

impl Shown {
    fn new(pairs: Vec<Arc<Pair>>) -> Self {
        let mut by_name = ByName::new();
        for pair in &pairs {
            for name in &pair.seen.names {
                by_name.insert(name, Arc::clone(pair));
            }
        }
        Self { pairs, by_name }
    }

    /// What may be shown for `sni`: at least one, by what the client can verify.
    fn candidates(&self, sni: Option<&str>) -> &[Arc<Pair>] {
        match sni.and_then(|sni| self.by_name.get(sni)) {
            Some(named) => named,
            None => self.pairs.get(..1).unwrap_or_default(),
        }
    }
}

impl Held {
    /// The policy anew where its file changed and can be used.
    fn authorities_again(&mut self) -> Result<Option<Policy>, TlsError> {
        let ca = match &self.auth {
            ClientAuth::None => return Ok(None),
            ClientAuth::Optional { ca } | ClientAuth::Required { ca } => ca,
        };
        let content = Some(pem::content(&pem::read(ca)?));
        if content == self.authorities {
            self.authorities_failed = None;
            return Ok(None);
        }
        if content == self.authorities_failed {
            return Ok(None);
        }
        match Policy::load(&self.auth) {
            Ok((policy, read)) => {
                (self.authorities, self.authorities_failed) = (read, None);
                Ok(Some(policy))
            }
            Err(error) => {
                self.authorities_failed = content;
                Err(error)
            }
        }
    }
}

/// The pair anew where its content changed and can be used. `failed` is the content that was refused last.
fn again(pair: &Pair, failed: &mut Option<Content>) -> Result<Option<Pair>, TlsError> {
    let content = pair.source.read()?.content();
    if content == pair.content {
        *failed = None;
        return Ok(None);
    }
    if *failed == Some(content) {
        return Ok(None);
    }
    let fresh = pair.source.load().and_then(|fresh| {
        let now = SystemTime::now();
        match fresh.seen.not_after <= now && now < pair.seen.not_after {
            true => Err(TlsError::Expired { path: fresh.seen.path }),
            false => Ok(fresh),
        }
    });
    *failed = fresh.is_err().then_some(content);
    fresh.map(Some)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
