//! What the admin API tells of a configured gateway: upstreams, certificates, the configuration and its loads.
//!
//! Looks only; the one order, a reload, goes to `reload.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use stagedoor::admin::operations::{
    Certificate, Check, Document, Endpoint, EndpointState, NotReloaded, Operations, Reloaded, RetryBudget,
    Standing, Told, Upstream,
};
use stagedoor::config::{Balance, HashKey, UpstreamProtocol};
use stagedoor::upstream;

use super::engine::Engine;

/// The engine as the admin service sees it.
pub(super) struct Desk(pub(super) Arc<Engine>);

impl Operations for Desk {
    fn upstreams(&self) -> Told<Vec<Upstream>> {
        let upstreams = self.0.held().upstreams.clone();
        Box::pin(async move { upstreams.0.iter().map(|upstream| seen(upstream)).collect() })
    }

    fn certificates(&self) -> Told<Option<Vec<Certificate>>> {
        let stores = self.0.stores.load_full();
        Box::pin(async move {
            let mut shown: Vec<Certificate> = Vec::new();
            let mut names: Vec<_> = stores.keys().collect();
            names.sort_unstable();
            for listener in names {
                for seen in stores[listener].certificates() {
                    let fingerprint = Some(seen.fingerprint.clone());
                    if let Some(known) = shown.iter_mut().find(|known| known.fingerprint == fingerprint) {
                        known.listeners.push(listener.clone());
                        continue;
                    }
                    shown.push(Certificate {
                        name: seen.names.first().cloned().unwrap_or_default(),
                        names: seen.names,
                        listeners: vec![listener.clone()],
                        not_after: seen.not_after,
                        issuer: Some(seen.issuer),
                        serial: Some(seen.serial),
                        fingerprint,
                        path: Some(seen.path.display().to_string()),
                        error: None,
                    });
                }
            }
            Some(shown)
        })
    }

    fn standing(&self) -> Told<Standing> {
        let (source, current) = (self.0.source(), self.0.held().clone());
        Box::pin(
            async move { Standing { source, loaded_at: current.loaded_at, last_error: current.last_error } },
        )
    }

    fn document(&self) -> Told<Document> {
        let loaded = self.0.held().loaded.clone();
        Box::pin(async move {
            let Some(loaded) = loaded else { return Document::default() };
            let origins = loaded.document.get("origins").and_then(|origins| origins.as_object());
            let origins: BTreeMap<String, String> = origins
                .into_iter()
                .flatten()
                .filter_map(|(path, origin)| Some((path.clone(), origin.as_str()?.to_owned())))
                .collect();
            Document { document: loaded.document.get("config").cloned().unwrap_or_default(), origins }
        })
    }

    fn reload(&self) -> Told<Result<Reloaded, NotReloaded>> {
        // It runs where upstreams and listeners do, whoever asked and whether they still wait.
        let (told, result) = tokio::sync::oneshot::channel();
        let asked = self.0.orders.try_send(told);
        Box::pin(async move {
            let gone =
                || NotReloaded::Refused { count: 1, errors: "the process is on its way down".to_owned() };
            asked.map_err(|_| gone())?;
            result.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

fn seen(upstream: &upstream::Upstream) -> Upstream {
    let (spent, allowed) = upstream.budget();
    let endpoints = upstream.endpoints();
    Upstream {
        name: upstream.config.name.clone(),
        protocol: match upstream.config.protocol {
            UpstreamProtocol::Auto => "auto",
            UpstreamProtocol::Http1 => "http/1.1",
            UpstreamProtocol::H2 => "h2",
            UpstreamProtocol::H2c => "h2c",
        }
        .to_owned(),
        balance: balance(&upstream.config.balance),
        endpoints: endpoints.iter().map(|endpoint| endpoint_seen(endpoint)).collect(),
        retry: RetryBudget { share: upstream.config.retry.budget, available: allowed.saturating_sub(spent) },
    }
}

fn balance(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round_robin".to_owned(),
        Balance::P2c => "p2c".to_owned(),
        Balance::Least => "least".to_owned(),
        Balance::Hash(HashKey::Client) => "hash client".to_owned(),
        Balance::Hash(HashKey::Path) => "hash path".to_owned(),
        Balance::Hash(HashKey::Header(name)) => format!("hash header:{name}"),
        Balance::Hash(HashKey::Cookie(name)) => format!("hash cookie:{name}"),
    }
}

fn endpoint_seen(endpoint: &upstream::Endpoint) -> Endpoint {
    let count = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed) as u64;
    let state = match endpoint.state() {
        upstream::EndpointState::Healthy => EndpointState::Healthy,
        upstream::EndpointState::Unhealthy => EndpointState::Unhealthy,
        upstream::EndpointState::Ejected => EndpointState::Ejected,
        upstream::EndpointState::Draining => EndpointState::Draining,
    };
    Endpoint {
        url: endpoint.url.clone(),
        up: state == EndpointState::Healthy,
        state,
        weight: endpoint.weight,
        active: count(&endpoint.active),
        pending: count(&endpoint.pending),
        connections: count(&endpoint.connections),
        consecutive_failures: endpoint.consecutive_failures(),
        ejected_for: endpoint.ejected_for(),
        last_check: endpoint.last_check().map(|check| Check {
            ok: check.ok,
            detail: check.detail,
            age: Instant::now().saturating_duration_since(check.at),
        }),
    }
}
