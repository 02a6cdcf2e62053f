//! A certificate with its key: where it comes from, what it covers, and what may be shown of it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use x509_parser::extensions::GeneralName;

use super::{TlsError, identity, names, pem, provider};
use crate::config;
use crate::devca::{self, DevCertificate};

/// What may be known of a certificate that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Names it is shown for, by SNI; at least one. The first is its label in metrics.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: SystemTime,
    /// The PEM file it was read from.
    pub path: PathBuf,
    /// Its serial number, octets in hex with colons between them.
    pub serial: String,
    /// Who issued it (RFC 4514).
    pub issuer: String,
    /// SHA-256 of it, in lower case hex.
    pub fingerprint: String,
}

/// SHA-256 of what files hold.
pub(super) type Content = [u8; 32];

/// Where a pair comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Files of the operator's.
    Files(config::Certificate),
    /// The development certificate, kept in this directory.
    Development(PathBuf),
}

/// What a source holds at a time, unchecked.
pub(super) enum Material {
    Files { cert: Vec<u8>, key: Vec<u8> },
    Development(Box<DevCertificate>),
}

impl Source {
    /// Reads it from disk.
    pub(super) fn read(&self) -> Result<Material, TlsError> {
        match self {
            Self::Files(files) => {
                Ok(Material::Files { cert: pem::read(&files.cert)?, key: pem::read(&files.key)? })
            }
            Self::Development(state_dir) => {
                Ok(Material::Development(Box::new(devca::load_or_make(state_dir)?)))
            }
        }
    }

    /// Reads it and makes a pair of it.
    pub(super) fn load(&self) -> Result<Pair, TlsError> {
        match Pair::new(self, &self.read()?) {
            // A swap between the two reads; the next ones are both of the new pair, or the fault is real.
            Err(TlsError::KeyMismatch { .. }) => Pair::new(self, &self.read()?),
            loaded => loaded,
        }
    }
}

impl Material {
    pub(super) fn content(&self) -> Content {
        let mut digest = Sha256::new();
        match self {
            Self::Files { cert, key } => {
                // Fixed width, so that no octet of one can pass for one of the other.
                digest.update(Sha256::digest(cert));
                digest.update(Sha256::digest(key));
            }
            Self::Development(certificate) => {
                certificate.chain().iter().for_each(|certificate| digest.update(certificate));
            }
        }
        digest.finalize().into()
    }
}

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) source: Source,
    pub(super) content: Content,
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) seen: CertificateSeen,
    /// Names, configured and in the certificate.
    covered: Vec<Box<str>>,
    /// Addresses in the certificate.
    addresses: Vec<IpAddr>,
}

impl Pair {
    /// Checks that key and certificate belong together and that there is a name. Says in the log what is odd of a
    /// pair that can be used.
    pub(super) fn new(source: &Source, material: &Material) -> Result<Self, TlsError> {
        let (path, key_path, configured) = match source {
            Source::Files(files) => (files.cert.clone(), files.key.clone(), &files.names[..]),
            Source::Development(state_dir) => (devca::leaf_in(state_dir), devca::leaf_in(state_dir), &[][..]),
        };
        let (chain, key) = match material {
            Material::Files { cert, key } => (pem::certificates(cert, &path)?, pem::key(key, &key_path)?),
            Material::Development(certificate) => (certificate.chain().to_vec(), certificate.key()),
        };
        let certified = certified(chain, key, &path, &key_path)?;
        let leaf = certified.end_entity_cert()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|error| TlsError::BadCertificate { path: path.clone(), reason: error.to_string() })?;
        let (mut found, mut addresses) = (Vec::new(), Vec::new());
        for name in identity::general_names(&parsed) {
            match name {
                GeneralName::DNSName(name) => found.push(names::normal(name)),
                GeneralName::IPAddress(octets) => addresses.extend(identity::address(octets)),
                _ => {}
            }
        }
        let configured: Vec<_> = configured.iter().map(|name| names::normal(name)).collect();
        for name in configured.iter().filter(|name| !found.iter().any(|found| names::matches(found, name))) {
            warn!(cert = %path.display(), %name, "a certificate has not the name it is configured for");
        }
        let own = || found.iter().map(|name| name.to_string());
        let named = || addresses.iter().map(IpAddr::to_string);
        let names: Vec<_> = match configured.is_empty() {
            true => own().chain(named()).collect(),
            false => configured.iter().map(|name| name.to_string()).collect(),
        };
        if names.is_empty() {
            return Err(TlsError::NoName { path });
        }
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let seen = CertificateSeen {
            names,
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.min(LAST_SECOND)),
            path,
            serial: parsed.raw_serial_as_string(),
            issuer: identity::name_text(parsed.issuer()),
            fingerprint: identity::fingerprint(leaf),
        };
        if seen.not_after <= SystemTime::now() {
            warn!(cert = %seen.path.display(), "a certificate has expired");
        }
        found.extend(configured);
        let (source, content) = (source.clone(), material.content());
        Ok(Self { source, content, certified: Arc::new(certified), seen, covered: found, addresses })
    }

    /// Its label in metrics.
    pub(super) fn label(&self) -> &str {
        self.seen.names.first().map_or("", String::as_str)
    }

    /// Whether `host`, a name or an address without brackets, is one it is for. Allocates nothing.
    pub(super) fn covers(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.covered.iter().any(|name| names::matches(name, host)),
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("source", &self.source).field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// The last second of the year 9999, the latest a certificate can say (RFC 5280 §4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

/// A chain and the key to its first certificate, read from these files.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    cert_path: &Path,
    key_path: &Path,
) -> Result<CertifiedKey, TlsError> {
    let key = provider()?.key_provider.load_private_key(key);
    let key = key.map_err(|_| TlsError::BadKey { path: key_path.to_owned() })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(TlsError::KeyMismatch { cert: cert_path.to_owned(), key: key_path.to_owned() })
        }
        Err(error) => Err(TlsError::BadCertificate { path: cert_path.to_owned(), reason: error.to_string() }),
    }
}
