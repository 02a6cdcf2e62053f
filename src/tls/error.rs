//! Why a certificate, a key or an authority cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::devca;

/// See the module. The text names the file and the fault, never what a key file holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any certificate or key.
    #[error("{} is larger than {limit} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest that is read.
        limit: u64,
    },
    /// A file begins as PEM and does not go on so.
    #[error("{} is broken PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("there is no private key in {}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key is encrypted.
    #[error("the private key in {} is encrypted, which is not supported", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A key is of no kind that TLS can sign with.
    #[error("the private key in {} cannot be used", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are not of one pair.
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// File of the certificate.
        cert: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// A certificate does not parse, or no chain can be built on it.
    #[error("the certificate in {} cannot be used: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate holds no name, and none is configured.
    #[error("the certificate in {} has no name that a client could ask for", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// What would replace a certificate that holds has expired.
    #[error("the new certificate in {} has expired", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
    },
    /// The system trusts nobody.
    #[error("the system has no certificates to trust")]
    NoSystemRoots,
    /// There is no cryptography.
    #[error(transparent)]
    NoProvider(#[from] stagedoor_actors::crypto::NoProvider),
    /// No development certificate could be had.
    #[error(transparent)]
    Development(#[from] devca::Error),
    /// A configuration that TLS refuses: a bug of ours or of a library.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    /// What to do about it, for people.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name a file that exists"
            }
            Self::Unreadable { .. } => "give the user that runs stagedoor the right to read it",
            Self::TooLarge { .. } => "name a file with a certificate chain or a key alone",
            Self::NotPem { .. } => "write the file anew: each part stands between its BEGIN and END lines",
            Self::NoCertificate { .. } => {
                "name a PEM file with a `BEGIN CERTIFICATE` part; DER is turned into PEM by `openssl x509 -inform der`"
            }
            Self::NoKey { .. } => "name a PEM file with a `BEGIN PRIVATE KEY` part",
            Self::EncryptedKey { .. } => {
                "take the passphrase off with `openssl pkey -in KEY -out NEW`, and let nobody else read the new file"
            }
            Self::BadKey { .. } => {
                "use a key of RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519"
            }
            Self::KeyMismatch { .. } => {
                "the certificate of the key comes first in its file, those of its issuers after it"
            }
            Self::BadCertificate { .. } => "ask its issuer for a new one, of X.509 version 3",
            Self::NoName { .. } => "set `names`, or use a certificate with a subject alternative name",
            Self::Expired { .. } => "renew it; the one before is still in use",
            Self::NoSystemRoots => "install the package `ca-certificates`, or set `tls.ca`",
            Self::NoProvider(_) | Self::Development(devca::Error::NoProvider(_) | devca::Error::NotMade) => {
                "build stagedoor with the feature `aws-lc-rs` or `ring`"
            }
            Self::Development(_) => "set STAGEDOOR_STATE_DIR to a directory that can be written",
            Self::Setup(_) => "please report this",
        }
    }
}
