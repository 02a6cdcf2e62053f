//! Active checks of health: GET to each endpoint on a connection of its own, `rise` good ones in a row bring it back,
//! `fall` bad ones take it out.
//!
//! Keyed by the endpoint of this upstream, not by its address. Invariant: one check of an endpoint at a time.

use std::collections::HashMap;
use std::sync::Weak;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use stagedoor_actors::client::{self, RequestParts};
use stagedoor_metrics::HealthResult;

use super::{Check, Endpoint, Upstream, dial, millis, options, origin};
use crate::config::Health;

/// Good or bad ones in a row.
#[derive(Default)]
struct Row {
    good: u32,
    bad: u32,
}

/// Checks the endpoints of an upstream until it is gone.
pub(super) async fn run(upstream: Weak<Upstream>) {
    let mut rows: HashMap<u64, Row> = HashMap::new();
    loop {
        let every = {
            let Some(upstream) = upstream.upgrade() else { return };
            let Some(health) = upstream.config.health.clone() else { return };
            let endpoints = upstream.endpoints();
            rows.retain(|id, _| endpoints.iter().any(|endpoint| endpoint.id == *id));
            let checks = endpoints.iter().map(|endpoint| check(&upstream, endpoint, &health));
            for (endpoint, outcome) in endpoints.iter().zip(join_all(checks).await) {
                let row = rows.entry(endpoint.id).or_default();
                settle(&upstream, endpoint, &health, row, outcome);
            }
            health.every
        };
        tokio::time::sleep(every).await;
    }
}

/// What a check found.
enum Found {
    Status(u16),
    Timeout,
    Failed(String),
}

fn settle(upstream: &Upstream, endpoint: &Endpoint, health: &Health, row: &mut Row, found: Found) {
    let (ok, result, detail) = match found {
        Found::Status(status) if (200..400).contains(&status) => {
            (true, HealthResult::Ok, format!("status {status}"))
        }
        Found::Status(status) => (false, HealthResult::Failed, format!("status {status}")),
        Found::Timeout => (false, HealthResult::Timeout, format!("no answer within {:?}", health.timeout)),
        Found::Failed(error) => (false, HealthResult::Failed, error),
    };
    endpoint.cells.checks[result].inc();
    if ok {
        (row.good, row.bad) = (row.good.saturating_add(1), 0);
    } else {
        (row.good, row.bad) = (0, row.bad.saturating_add(1));
    }
    let healthy = match endpoint.is_healthy() {
        true => row.bad < health.fall,
        false => row.good >= health.rise,
    };
    let check = Check { ok, detail: detail.clone(), at: std::time::Instant::now() };
    if endpoint.checked(check, healthy) {
        let (upstream, endpoint) = (&upstream.config.name, &endpoint.url);
        if healthy {
            tracing::info!(upstream, endpoint, detail, "healthy again");
        } else {
            tracing::warn!(upstream, endpoint, detail, "unhealthy");
        }
    }
    endpoint.show(millis(std::time::Instant::now()));
}

async fn check(upstream: &Upstream, endpoint: &Endpoint, health: &Health) -> Found {
    let asked = async {
        if endpoint.speaks_http2(upstream.protocol()) {
            ask_http2(upstream, endpoint, health).await
        } else {
            ask_http1(upstream, endpoint, health).await
        }
    };
    match tokio::time::timeout(health.timeout, asked).await {
        Ok(Ok(status)) => Found::Status(status),
        Ok(Err(error)) => Found::Failed(error),
        Err(_) => Found::Timeout,
    }
}

async fn ask_http2(upstream: &Upstream, endpoint: &Endpoint, health: &Health) -> Result<u16, String> {
    let options = options(upstream, endpoint, health.timeout);
    let session = client::connect(&origin(endpoint), options).map_err(|error| error.to_string())?;
    if let Err(error) = session.ready().await {
        if matches!(error, client::SessionEnd::Connect(client::ConnectError::NoHttp2 { .. })) {
            endpoint.learn_http1();
        }
        return Err(error.to_string());
    }
    let mut parts = RequestParts::get(&*health.path).with_field("user-agent", "stagedoor-health");
    parts.authority = Some(host(endpoint, health).to_owned());
    let mut stream =
        session.request(parts, client::RequestOptions::default()).map_err(|error| error.to_string())?;
    let head = stream.response().await.map_err(|error| error.to_string())?;
    Ok(head.status)
}

async fn ask_http1(upstream: &Upstream, endpoint: &Endpoint, health: &Health) -> Result<u16, String> {
    let io = dial(upstream, endpoint).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    let request = http::Request::get(&*health.path)
        .header("host", host(endpoint, health))
        .header("user-agent", "stagedoor-health")
        .header("connection", "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string()),
        ended = &mut connection => match ended {
            Ok(()) => answer.await.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn host<'a>(endpoint: &'a Endpoint, health: &'a Health) -> &'a str {
    health.host.as_deref().unwrap_or(&endpoint.authority)
}
