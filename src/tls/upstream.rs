//! TLS towards upstreams: whom we believe, and who we say we are. SNI and name checks are the session's, by the name it
//! is given; revocation is not looked at.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use stagedoor_actors::client::system_roots;

use super::pair::certified;
use super::{TlsError, pem, provider};
use crate::config::UpstreamTls;

/// What sessions to an upstream speak: TLS 1.2 and 1.3, and of `alpn` what the server picks. Up to 256 servers'
/// sessions are resumed, by all clones of the result. Reads files: it blocks.
///
/// # Errors
/// A file that cannot be used, or a system that trusts nobody where no authority is configured.
pub fn upstream_client(config: &UpstreamTls, alpn: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &config.ca {
        Some(path) => pem::authorities(&pem::read(path)?, path)?,
        None => system_roots(),
    };
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()?)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier);
    let mut client = match &config.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = pem::certificates(&pem::read(cert)?, cert)?;
            let secret = pem::key(&pem::read(key)?, key)?;
            let pair = certified(chain, secret, cert, key)?;
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)))
        }
    };
    client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(client))
}
