//! What the admin service is told by whoever runs the gateway: its upstreams, certificates and configuration, and how a
//! configuration is loaded again. Plain shapes as the API shows them, and the trait that gives them.
//!
//! Knows neither pools nor files. Invariant: nothing here holds a secret: keys, tokens and their paths' contents never
//! reach these shapes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::seen::{milliseconds, unix};

/// An answer that is on its way.
pub type Told<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The gateway as the admin service sees it. Called from the arbiters, so nothing here blocks; a question that is not
/// answered within a second is answered 503.
pub trait Operations: Send + Sync {
    /// The upstreams of the configuration in force, in its order.
    fn upstreams(&self) -> Told<Vec<Upstream>>;

    /// The certificates in use. `None`: nobody keeps them, and what the metrics know of them is shown.
    fn certificates(&self) -> Told<Option<Vec<Certificate>>>;

    /// How the latest loads went. Asked every second by whoever watches.
    fn standing(&self) -> Told<Standing>;

    /// The configuration in force.
    fn document(&self) -> Told<Document>;

    /// Loads the configuration again, all or nothing. It is run to its end, also where whoever asked has gone.
    fn reload(&self) -> Told<Result<Reloaded, NotReloaded>>;
}

/// An upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// As it was configured, and as metrics call it.
    pub name: String,
    /// `auto`, `http/1.1`, `h2` or `h2c`.
    pub protocol: String,
    /// As the configuration says it: `p2c`, `hash header:x-user`.
    pub balance: String,
    /// Where it is now; a name may have none yet.
    pub endpoints: Vec<Endpoint>,
    /// What retries may cost.
    pub retry: RetryBudget,
}

/// What retries may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RetryBudget {
    /// Retries as a share of requests, 0 to 1.
    pub share: f64,
    /// Retries that could be sent now.
    pub available: u64,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    /// `http://10.0.0.7:8080`.
    pub url: String,
    /// Takes traffic.
    pub up: bool,
    /// Why, or why not.
    pub state: EndpointState,
    /// Its share of the requests.
    pub weight: u16,
    /// Requests in flight, over all workers.
    pub active: u64,
    /// Requests that wait for a connection or a stream, over all workers.
    pub pending: u64,
    /// Connections open, over all workers.
    pub connections: u64,
    /// Failures in a row that passive ejection counts.
    pub consecutive_failures: u32,
    /// How much longer it stays ejected.
    #[serde(rename = "ejected_until_seconds", serialize_with = "maybe_seconds")]
    pub ejected_for: Option<Duration>,
    /// The latest active check.
    pub last_check: Option<Check>,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It is asked.
    Healthy,
    /// It fails its checks.
    Unhealthy,
    /// It was put aside for how it answered.
    Ejected,
    /// It is no longer configured, or resolved, and finishes what it has.
    Draining,
    /// Its name has no address yet.
    Resolving,
}

/// An active check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// It went as it should.
    pub ok: bool,
    /// The status, or what kept it from coming.
    pub detail: String,
    /// How long ago.
    #[serde(rename = "age_seconds", serialize_with = "seconds")]
    pub age: Duration,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// As metrics call it.
    pub name: String,
    /// What it is shown for, by SNI.
    pub names: Vec<String>,
    /// The listeners that have it.
    pub listeners: Vec<String>,
    /// Unix time of its end.
    #[serde(serialize_with = "time")]
    pub not_after: SystemTime,
    /// Whoever signed it.
    pub issuer: Option<String>,
    /// In hex.
    pub serial: Option<String>,
    /// SHA-256 of the certificate in hex.
    pub fingerprint: Option<String>,
    /// The file it was read from.
    pub path: Option<String>,
    /// Why the pair in its files is not the one in use.
    pub error: Option<String>,
}

/// How the loads of the configuration went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// A path, or `built-in demo`.
    pub source: String,
    /// When what is in force was loaded; Unix time in JSON, as every time here.
    #[serde(serialize_with = "time")]
    pub loaded_at: SystemTime,
    /// The latest load, if it failed.
    pub last_error: Option<LastError>,
}

/// A load that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// When.
    #[serde(serialize_with = "time")]
    pub at: SystemTime,
    /// All its errors, as `stagedoor check` shows them.
    pub errors: String,
}

/// A configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Document {
    /// What is in force, defaults and environment included.
    pub document: serde_json::Value,
    /// Where values came from, by their path: `server.workers` → `stagedoor.toml:3:11`. What is not in it is a default.
    pub origins: BTreeMap<String, String>,
}

/// A load that came into force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// A sentence each: `route "api" is new`. Empty: nothing changed.
    pub changed: Vec<String>,
    /// What the file says and only a new process will do, a sentence each.
    pub needs_restart: Vec<String>,
}

/// Why what was in force still is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// There is no file to read again.
    NoFile,
    /// The configuration has faults, or an address is not to be had.
    Refused {
        /// How many errors.
        count: usize,
        /// All of them, as `stagedoor check` shows them, without colour.
        errors: String,
    },
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(milliseconds(time.as_secs_f64()))
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| milliseconds(time.as_secs_f64())).serialize(serializer)
}

fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(unix(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_told_in_seconds() {
        let endpoint = Endpoint {
            url: "http://10.0.0.7:8080".into(),
            up: false,
            state: EndpointState::Ejected,
            weight: 2,
            active: 1,
            pending: 0,
            connections: 3,
            consecutive_failures: 5,
            ejected_for: Some(Duration::from_micros(12_500_400)),
            last_check: Some(Check { ok: true, detail: "200".into(), age: Duration::from_millis(1_250) }),
        };
        let wanted = serde_json::json!({
            "url": "http://10.0.0.7:8080", "up": false, "state": "ejected", "weight": 2, "active": 1, "pending": 0,
            "connections": 3, "consecutive_failures": 5, "ejected_until_seconds": 12.5,
            "last_check": { "ok": true, "detail": "200", "age_seconds": 1.25 },
        });
        assert_eq!(serde_json::to_value(&endpoint).unwrap(), wanted);
        let never = Endpoint { ejected_for: None, last_check: None, ..endpoint };
        let shown = serde_json::to_value(&never).unwrap();
        assert!(shown["ejected_until_seconds"].is_null() && shown["last_check"].is_null(), "{shown}");
    }
}
