//! A leak soak: what `soak` and the short form of it in the tests are made of. Commands and method: docs/performance.md.
//!
//! Clients of every kind, good, rude and hostile, visit a gateway over TLS and in cleartext. Then all of them are gone, and
//! whatever the gateway shows of itself at its admin address must be back where it was. Which visit comes when follows from
//! the seed alone; how visits interleave does not. Starts no process: the gateway is the caller's.
//!
//! Invariant: when [`run`] returns, no connection of ours is open.

mod dice;
mod drain;
mod floods;
mod good;
mod http1;
mod link;
mod mix;
mod patient;
mod report;
mod rude;
mod scrape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

pub use drain::drain;
pub use mix::Kind;
pub use report::{Report, Row};
use scrape::Descriptors;

/// A gateway on its demo.
#[derive(Clone, Debug)]
pub struct Target {
    plain: SocketAddr,
    public: SocketAddr,
    admin: SocketAddr,
    /// For HTTP/2 and for HTTP/1.1.
    tls: [Arc<ClientConfig>; 2],
}

impl Target {
    /// One with these addresses, whose certificate `authority` signed.
    ///
    /// # Errors
    /// When the certificate is none.
    pub fn new(
        plain: SocketAddr,
        public: SocketAddr,
        admin: SocketAddr,
        authority: CertificateDer<'static>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let offering = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self { plain, public, admin, tls: [offering(b"h2"), offering(b"http/1.1")] })
    }
}

/// How long something goes on.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// Until so much time is over; visits that have begun end.
    Time(Duration),
    /// So many visits of each kind, in turn over TLS and in cleartext.
    Turns(u64),
}

/// A soak.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What the visits do follows from it.
    pub seed: u64,
    /// Clients at once.
    pub clients: u32,
    /// Visits before resident memory is first looked at: pools, caches and tables grow to what they need.
    pub warm_up: Extent,
    /// Visits after it.
    pub load: Extent,
    /// The longest that an idle or stuck client stays.
    pub hold: Duration,
    /// Octets that resident memory may have grown from the warm-up to the end.
    pub allowance: u64,
}

/// Soaks `target` and looks at what is left.
///
/// # Errors
/// When a good client was not served, a flood not ended, or admin does not answer. What did not come back is in the report.
pub async fn run(target: &Target, plan: &Plan) -> Result<Report> {
    let first = scrape::look(target).await?;
    good::greetings(target).await?;
    let fresh = scrape::settled(target, &first, Descriptors::MayRise).await?;
    let mut seen = mix::Seen::default();
    mix::run(target, plan, plan.warm_up, &mut seen).await?;
    let warm = scrape::settled(target, &fresh, Descriptors::Return).await?;
    mix::run(target, plan, plan.load, &mut seen).await?;
    let after = scrape::settled(target, &fresh, Descriptors::Return).await?;
    Ok(Report::new(&fresh, &warm, &after, seen, plan.allowance))
}
