//! Certificates of listeners, trust in clients, and trust towards upstreams.
//!
//! [`Store`] holds what one listener shows and whom it believes, and changes both under a running listener;
//! [`server_config`] makes a listener's configuration of it, [`upstream_client`] that of a client.
//! [`ClientIdentity`] says who a client is. Revocation (CRL, OCSP) and early data are not offered.
//!
//! Invariant: no key material in a log, an error or a `Debug`.

mod clients;
mod error;
mod identity;
mod names;
mod pair;
mod pem;
mod resumption;
mod store;
#[cfg(test)]
mod testing;
mod upstream;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use stagedoor_actors::crypto::provider;

use crate::config;

pub use error::TlsError;
pub use identity::{ClientIdentity, client_subject};
pub use pair::CertificateSeen;
pub use store::{Prepared, Reloaded, Store};
pub use upstream::upstream_client;

/// What a listener speaks: the oldest version is `config`'s, all else is the store's and follows it when it changes.
/// Sessions are resumed by ticket and by id, but on a listener that asks clients for certificates none is: each of its
/// connections shows its certificate anew. ALPN is the listener's to set.
///
/// # Errors
/// [`TlsError::NoProvider`], or [`TlsError::Setup`]: a bug of ours or of a library.
pub fn server_config(config: &config::Tls, store: &Arc<Store>) -> Result<ServerConfig, TlsError> {
    let versions = match config.min_version {
        config::TlsMin::Tls12 => &[&TLS13, &TLS12][..],
        config::TlsMin::Tls13 => &[&TLS13],
    };
    let clients = Arc::clone(store.clients());
    let resumption = Arc::new(resumption::Resumption::new(Arc::clone(&clients))?);
    let mut server = ServerConfig::builder_with_provider(provider()?)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::clone(store) as _);
    server.ticketer = Arc::clone(&resumption) as _;
    server.session_storage = resumption;
    Ok(server)
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod handshake_tests;
