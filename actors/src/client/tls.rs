//! TLS of clients: which roots are trusted, ALPN `h2` and nothing else (RFC 9113 §3.2), SNI.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::ConnectError;
use super::target::Target;
use crate::crypto::provider;
use crate::transport::{Below, Raw};

/// Whom a client trusts.
///
/// ```
/// use stagedoor_actors::client::{Options, Tls};
///
/// let tls = Tls::only_ca_file("ca.pem").with_server_name("inside.example.org");
/// let options = Options { tls, ..Options::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tls {
    trust: Trust,
    server_name: Option<String>,
}

#[derive(Clone, Debug, Default)]
enum Trust {
    /// The certificates of the system.
    #[default]
    Native,
    /// Those, and the ones in a PEM file.
    NativeAnd(PathBuf),
    /// The ones in a PEM file.
    Only(PathBuf),
    Config(Arc<ClientConfig>),
}

impl Tls {
    /// The certificates of the system.
    pub fn native() -> Self {
        Self::default()
    }

    /// The certificates of the system and those in a PEM file.
    pub fn with_ca_file(path: impl AsRef<Path>) -> Self {
        Self { trust: Trust::NativeAnd(path.as_ref().to_owned()), server_name: None }
    }

    /// The certificates in a PEM file alone.
    pub fn only_ca_file(path: impl AsRef<Path>) -> Self {
        Self { trust: Trust::Only(path.as_ref().to_owned()), server_name: None }
    }

    /// A configuration of the caller's. Its list of protocols is replaced by `h2`.
    pub fn config(config: Arc<ClientConfig>) -> Self {
        Self { trust: Trust::Config(config), server_name: None }
    }

    /// The name to verify, and to send as SNI where it is no address; the target's host otherwise.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The handshake; what comes back speaks `h2`.
    pub(super) async fn shake(self, io: Raw, target: &Target) -> Result<TlsStream<Below>, ConnectError> {
        let failed =
            |error| ConnectError::Tls { authority: target.authority.clone(), error: Arc::new(error) };
        let host = self.server_name.as_deref().unwrap_or(&target.host).to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let mut config = match self.trust {
            Trust::Config(config) => ClientConfig::clone(&config),
            trust => {
                // Certificates are read from disk: not on an arbiter.
                let read = tokio::task::spawn_blocking(move || trusted(&trust)).await;
                read.map_err(io::Error::other).and_then(|config| config).map_err(failed)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let no_http2 = |picked| ConnectError::NoHttp2 { authority: target.authority.clone(), picked };
        let stream = match TlsConnector::from(Arc::new(config)).connect(name, Below::new(io)).await {
            Ok(stream) => stream,
            Err(error) if is_no_protocol(&error) => return Err(no_http2(None)),
            Err(error) => return Err(failed(error)),
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Ok(stream),
            picked => Err(no_http2(picked.map(|name| String::from_utf8_lossy(name).into_owned()))),
        }
    }
}

/// The alert no_application_protocol.
fn is_no_protocol(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
                | rustls::Error::NoApplicationProtocol
        )
    )
}

fn trusted(trust: &Trust) -> io::Result<ClientConfig> {
    let mut roots = match trust {
        Trust::Only(_) | Trust::Config(_) => RootCertStore::empty(),
        Trust::Native | Trust::NativeAnd(_) => system_roots(),
    };
    if let Trust::Only(path) | Trust::NativeAnd(path) = trust {
        let named = |error| io::Error::other(format!("{}: {error}", path.display()));
        let mut found = false;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(error.to_string()))? {
            let certificate = certificate.map_err(|error| named(error.to_string()))?;
            roots.add(certificate).map_err(|error| named(error.to_string()))?;
            found = true;
        }
        if !found {
            return Err(named("there is no certificate in this file".to_owned()));
        }
    }
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the system has no certificates to trust"));
    }
    let config = ClientConfig::builder_with_provider(provider().map_err(io::Error::other)?)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates the system trusts, read once from disk: the first call blocks. Empty where it has none.
///
/// ```
/// let roots = stagedoor_actors::client::system_roots();
/// println!("the system trusts {} authorities", roots.len());
/// ```
pub fn system_roots() -> RootCertStore {
    static NATIVE: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        roots
    };
    NATIVE.get_or_init(read).clone()
}
