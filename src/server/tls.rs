//! [`Tls`]: a listener's certificate, from files, from a configuration of rustls, or for development.
//!
//! Reads nothing before the server starts; what is wrong is told then. ALPN is the listener's to set.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ServerSessionMemoryCache;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use stagedoor_actors::crypto;

use super::error::Error;
use crate::devca;

/// Sessions that can be resumed by id (TLS 1.2).
const RESUMABLE: usize = 4096;

/// TLS of a listener: 1.3 and 1.2, with resumption.
///
/// ```
/// use stagedoor::{Listen, Tls};
///
/// let public = Listen::tls("[::]:443", Tls::pem("site.pem", "site.key"));
/// assert!(format!("{public:?}").contains("Tls::pem(site.pem)"));
/// ```
#[derive(Clone)]
pub struct Tls(Kind);

#[derive(Clone)]
enum Kind {
    Dev,
    Pem { certificates: PathBuf, key: PathBuf },
    Config(Arc<ServerConfig>),
}

impl Tls {
    /// A certificate for `localhost`, `127.0.0.1` and `::1`, by an authority of this machine's own that is made once and
    /// kept (see [`devca`]): for development. Needs the feature `aws-lc-rs` or `ring`.
    #[must_use]
    pub fn dev() -> Self {
        Self(Kind::Dev)
    }

    /// The certificate chain and the private key in PEM files, which are read when the server starts, and again by
    /// [`ServerHandle::reload`](crate::ServerHandle::reload).
    pub fn pem(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self(Kind::Pem { certificates: certificates.into(), key: key.into() })
    }

    /// A configuration of your own, with any provider of cryptography. Its list of protocols is replaced.
    #[must_use]
    pub fn config(config: Arc<ServerConfig>) -> Self {
        Self(Kind::Config(config))
    }

    pub(super) fn load(&self) -> Result<Arc<ServerConfig>, Error> {
        match &self.0 {
            Kind::Config(config) => Ok(Arc::clone(config)),
            Kind::Dev => {
                let certificate = devca::state_dir().and_then(|state| devca::load_or_make(&state))?;
                certificate.server_config().map_err(|error| Error::Tls(error.to_string()))
            }
            Kind::Pem { certificates, key } => {
                let wrong = |path: &PathBuf, error: rustls_pki_types::pem::Error| {
                    Error::Tls(format!("{}: {error}", path.display()))
                };
                let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificates)
                    .and_then(Iterator::collect)
                    .map_err(|error| wrong(certificates, error))?;
                if chain.is_empty() {
                    return Err(Error::Tls(format!(
                        "{}: there is no certificate in it",
                        certificates.display()
                    )));
                }
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
                make(chain, secret).map_err(|error| {
                    Error::Tls(format!("{} and {}: {error}", certificates.display(), key.display()))
                })
            }
        }
    }
}

fn make(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(crypto::provider()?)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    if let Some(tickets) = crypto::ticketer()? {
        config.ticketer = tickets;
    }
    config.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
    Ok(Arc::new(config))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Dev => f.write_str("Tls::dev"),
            Kind::Pem { certificates, .. } => write!(f, "Tls::pem({})", certificates.display()),
            Kind::Config(_) => f.write_str("Tls::config"),
        }
    }
}
