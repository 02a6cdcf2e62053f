//! What runs behind the listeners: upstreams, certificates, configuration, and the order to load it again.
//!
//! Asks [`Operations`], where the process has any. Invariants: a question waits for it a second at most; a load, once
//! begun, is run to its end, whoever asked for it or has gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use stagedoor_actors::{Reply, Response};
use stagedoor_metrics::UpstreamTotals;

use super::operations::{Certificate, Document, NotReloaded, Operations, Reloaded, Standing, Told, Upstream};
use super::problem::Problem;
use super::{Admin, json};
use crate::seen::milliseconds;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// An upstream as the API shows it: what the balancer knows, and what was counted.
#[derive(Serialize)]
struct UpstreamSeen {
    #[serde(flatten)]
    upstream: Upstream,
    requests: RequestsSeen,
    connections: u64,
}

/// Tries, since the start or now.
#[derive(Serialize)]
struct RequestsSeen {
    total: u64,
    unanswered: u64,
    failures: u64,
    retries: u64,
    active: u64,
    pending: u64,
}

/// A certificate, and how long it is good for.
#[derive(Serialize)]
struct CertificateSeen {
    #[serde(flatten)]
    certificate: Certificate,
    expires_in_seconds: f64,
}

/// What an event `gateway` says.
#[derive(Serialize)]
pub(super) struct GatewaySeen {
    upstreams: Vec<UpstreamSeen>,
    certificates: Vec<CertificateSeen>,
    config: Standing,
}

/// `GET /api/config`.
#[derive(Serialize)]
struct ConfigSeen {
    #[serde(flatten)]
    standing: Standing,
    #[serde(flatten)]
    document: Document,
}

impl UpstreamSeen {
    fn new(upstream: Upstream, totals: &[UpstreamTotals]) -> Self {
        let of = totals.iter().find(|totals| *totals.name == *upstream.name).cloned().unwrap_or_default();
        let requests = RequestsSeen {
            total: of.requests,
            unanswered: of.unanswered,
            failures: of.failures,
            retries: of.retries,
            active: of.active,
            pending: of.pending,
        };
        Self { upstream, requests, connections: of.connections }
    }
}

impl CertificateSeen {
    fn new(certificate: Certificate, now: SystemTime) -> Self {
        let left = match certificate.not_after.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        Self { certificate, expires_in_seconds: milliseconds(left) }
    }
}

impl Admin {
    /// `GET /api/upstreams`.
    pub(super) fn upstreams(&self) -> Reply {
        let admin = self.clone();
        answered(async move { admin.upstreams_seen().await })
    }

    /// `GET /api/certs`.
    pub(super) fn certificates(&self) -> Reply {
        let admin = self.clone();
        answered(async move { admin.certificates_seen().await })
    }

    /// `GET /api/config`.
    pub(super) fn config(&self) -> Reply {
        let admin = self.clone();
        answered(async move {
            let standing = admin.standing().await?;
            let document = match &admin.operations {
                Some(operations) => patient(operations.document()).await?,
                None => Document { document: serde_json::json!({}), ..Document::default() },
            };
            Ok(ConfigSeen { standing, document })
        })
    }

    /// `POST /api/reload`.
    pub(super) fn reload(&self) -> Reply {
        let Some(operations) = self.operations.clone() else { return no_file().into() };
        Reply::later(async move {
            // A task of its own: it must not stop halfway when this request is gone.
            match tokio::spawn(operations.reload()).await {
                Ok(Ok(reloaded)) => {
                    let Reloaded { changed, needs_restart } = &reloaded;
                    tracing::info!(
                        changed = changed.len(),
                        needs_restart = needs_restart.len(),
                        "reloaded by order"
                    );
                    json(200, &reloaded)
                }
                Ok(Err(NotReloaded::NoFile)) => no_file().into_response(),
                Ok(Err(NotReloaded::Refused { count, errors })) => {
                    tracing::warn!(errors = count, "a reload by order was refused");
                    Problem::refused_configuration(count, errors).into_response()
                }
                Err(error) => Problem::internal(&error).into_response(),
            }
        })
    }

    /// What an event `gateway` says; `None` where nobody answers in time.
    pub(super) async fn gateway_seen(&self) -> Option<GatewaySeen> {
        let (upstreams, certificates, config) =
            tokio::join!(self.upstreams_seen(), self.certificates_seen(), self.standing());
        Some(GatewaySeen {
            upstreams: upstreams.ok()?,
            certificates: certificates.ok()?,
            config: config.ok()?,
        })
    }

    async fn upstreams_seen(&self) -> Result<Vec<UpstreamSeen>, Problem> {
        let Some(operations) = &self.operations else { return Ok(Vec::new()) };
        let upstreams = patient(operations.upstreams()).await?;
        let totals = self.metrics.upstream_totals();
        Ok(upstreams.into_iter().map(|upstream| UpstreamSeen::new(upstream, &totals)).collect())
    }

    async fn certificates_seen(&self) -> Result<Vec<CertificateSeen>, Problem> {
        let kept = match &self.operations {
            Some(operations) => patient(operations.certificates()).await?,
            None => None,
        };
        let counted = || self.metrics.certificates().into_iter().map(counted_certificate).collect();
        let now = SystemTime::now();
        Ok(kept.unwrap_or_else(counted).into_iter().map(|kept| CertificateSeen::new(kept, now)).collect())
    }

    async fn standing(&self) -> Result<Standing, Problem> {
        match &self.operations {
            Some(operations) => patient(operations.standing()).await,
            None => {
                Ok(Standing { source: self.source.to_string(), loaded_at: self.started_at, last_error: None })
            }
        }
    }

    /// The same, telling of upstreams, certificates and the configuration, and loading it again by order.
    #[must_use]
    pub fn with_operations(mut self, operations: Arc<dyn Operations>) -> Self {
        self.operations = Some(operations);
        self
    }
}

/// A certificate of which only the metrics know.
fn counted_certificate((name, not_after): (String, SystemTime)) -> Certificate {
    Certificate {
        names: Vec::new(),
        listeners: Vec::new(),
        not_after,
        issuer: None,
        serial: None,
        fingerprint: None,
        path: None,
        error: None,
        name,
    }
}

fn no_file() -> Problem {
    Problem::conflict("there is no configuration file to read again")
}

/// Waits for an answer, not for ever.
async fn patient<T>(told: Told<T>) -> Result<T, Problem> {
    tokio::time::timeout(PATIENCE, told).await.map_err(|_| Problem::too_busy())
}

fn answered<T: Serialize>(answer: impl Future<Output = Result<T, Problem>> + 'static) -> Reply {
    Reply::later(async move { answer.await.map_or_else(Response::from, |seen| json(200, &seen)) })
}
