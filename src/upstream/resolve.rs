//! Endpoints out of DNS: every address of a name, or the targets of a service (SRV, RFC 2782), asked for again when
//! their TTL is over.
//!
//! An answer that fails leaves the endpoints as they were. Invariant: endpoints whose address comes again keep their state.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::Upstream;
use crate::config::{Endpoint, EndpointAddress, Endpoints};

/// A TTL is taken for at least this long, and for at most [`LONGEST`]: zero would be a flood of questions.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// After a question that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Who is asked; a clone shares its cache.
#[derive(Clone)]
pub struct Dns(Arc<TokioResolver>);

/// No resolver.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask DNS: {0}")]
pub struct DnsError(String);

impl Dns {
    /// Asks `servers`, or those of the system where there are none.
    /// # Errors
    /// The system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| DnsError(error.to_string()))?
        } else {
            let servers = servers.iter().map(|server| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let ways = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                NameServerConfig::new(server.ip(), true, ways)
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        // We ask when the TTL is over: what is kept longer would be old.
        builder.options_mut().negative_max_ttl = Some(SHORTEST);
        let resolver = builder.build().map_err(|error| DnsError(error.to_string()))?;
        Ok(Self(Arc::new(resolver)))
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

/// Keeps the endpoints of an upstream true until it is gone.
pub(super) async fn run(upstream: Weak<Upstream>, dns: Dns) {
    let mut failed = false;
    loop {
        let Some(known) = upstream.upgrade() else { return };
        let asked = ask(&known.config.endpoints, &dns).await;
        let wait = match asked {
            Ok((endpoints, until)) => {
                if std::mem::take(&mut failed) {
                    tracing::info!(upstream = known.config.name, "DNS answers again");
                }
                known.replace(endpoints);
                until.saturating_duration_since(Instant::now()).clamp(SHORTEST, LONGEST)
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(
                        upstream = known.config.name,
                        error,
                        "DNS does not answer; endpoints stay as they are"
                    );
                }
                AGAIN
            }
        };
        drop(known);
        tokio::time::sleep(wait).await;
    }
}

/// The endpoints, and until when the answer holds.
async fn ask(wanted: &Endpoints, dns: &Dns) -> Result<(Vec<Endpoint>, Instant), String> {
    match wanted {
        Endpoints::Listed(listed) => Ok((listed.clone(), Instant::now() + LONGEST)),
        Endpoints::Dns { tls, host, port } => {
            let answer = dns.0.lookup_ip(host.as_str()).await.map_err(|error| error.to_string())?;
            let mut addresses: Vec<_> = answer.iter().collect();
            addresses.sort_unstable();
            addresses.dedup();
            let endpoints = addresses.iter().map(|address| endpoint(*tls, address.to_string(), *port, 1));
            Ok((endpoints.collect(), answer.valid_until()))
        }
        Endpoints::Srv { tls, name } => {
            let answer = dns.0.srv_lookup(name.as_str()).await.map_err(|error| error.to_string())?;
            let records = answer.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            });
            let records: Vec<_> = records.collect();
            // Those of lower priority are for when these are gone from DNS.
            let first = records.iter().map(|srv| srv.priority).min().ok_or("the service has no targets")?;
            let mut until = answer.valid_until();
            let mut endpoints = Vec::new();
            for srv in records.iter().filter(|srv| srv.priority == first) {
                let target = srv.target.to_ascii();
                let addresses =
                    dns.0.lookup_ip(&*target).await.map_err(|error| format!("{target}: {error}"))?;
                until = until.min(addresses.valid_until());
                let weight = srv.weight.clamp(1, 1000);
                endpoints.extend(
                    addresses.iter().map(|address| endpoint(*tls, address.to_string(), srv.port, weight)),
                );
            }
            endpoints.sort_by(|a, b| key(a).cmp(&key(b)));
            Ok((endpoints, until))
        }
    }
}

fn endpoint(tls: bool, host: String, port: u16, weight: u16) -> Endpoint {
    Endpoint { tls, address: EndpointAddress::Tcp { host, port }, weight }
}

fn key(endpoint: &Endpoint) -> (&str, u16) {
    match &endpoint.address {
        EndpointAddress::Tcp { host, port } => (host, *port),
        EndpointAddress::Unix(_) => ("", 0),
    }
}
