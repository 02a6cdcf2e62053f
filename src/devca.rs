//! The development certificate: an authority of this machine's own and a leaf for localhost, made once and
//! kept in the state directory under `dev/`.
//!
//! The authority is constrained to localhost and the loopback addresses (RFC 5280 §4.2.1.10), so its key is
//! worth nothing elsewhere. It lasts 20 years; nothing watches its age. For development only: no revocation.
//! One that is there can be used with any cryptography; only where `aws-lc-rs` or `ring` is compiled in can one be made.
//!
//! Invariants: what is loaded has been verified as a client would, seven days ahead. Files are replaced by
//! rename under a lock, so processes that start together agree on one authority. Keys have mode 0600.

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod make;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::ServerSessionMemoryCache;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use stagedoor_actors::crypto::{self, NoProvider};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A leaf with less than this left is made anew.
const RENEW_DAYS: u32 = 7;

const CA_CERT: &str = "ca.pem";
const LEAF_CERT: &str = "localhost.pem";
const LEAF_KEY: &str = "localhost.key";

/// Names a client may use, each of which the leaf must fit.
///
/// No `*.localhost`: OpenSSL, NSS and webpki match no wildcard above a single label, and under a constrained
/// authority webpki refuses the whole certificate for it.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// No development certificate could be had.
///
/// ```
/// match stagedoor::devca::state_dir() {
///     Ok(dir) => println!("development certificates lie below {}", dir.display()),
///     Err(stagedoor::devca::Error::NoPlace) => println!("HOME is not set"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither `STAGEDOOR_STATE_DIR` nor `XDG_DATA_HOME` nor `HOME` names a directory.
    #[error(
        "no place for the development certificate: STAGEDOOR_STATE_DIR, XDG_DATA_HOME and HOME are unset"
    )]
    NoPlace,
    /// A file could not be read or written.
    #[error("cannot keep the development certificate in {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none yet, and none can be made.
    #[error(
        "there is no development certificate, and without the feature `aws-lc-rs` or `ring` none can be made"
    )]
    NotMade,
    /// There is no cryptography.
    #[error(transparent)]
    NoProvider(#[from] NoProvider),
    /// Making a certificate failed: a bug of ours or of a library.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[error("cannot make a development certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The new certificate does not hold: a bug of ours or of a library.
    #[error("the development certificate does not hold: {0}")]
    Tls(#[from] rustls::Error),
}

/// Whether the leaf is new.
///
/// ```
/// # fn main() -> Result<(), stagedoor::devca::Error> {
/// use stagedoor::devca::{Origin, load_or_make};
///
/// # let dir = tempfile::tempdir().unwrap();
/// assert_eq!(load_or_make(dir.path())?.origin, Origin::Made);
/// assert_eq!(load_or_make(dir.path())?.origin, Origin::Kept);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was made by this start.
    Made,
    /// It was there and still holds.
    Kept,
}

/// A certificate for localhost with its key, and where its authority's certificate lies.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use stagedoor::{Listen, Tls, devca};
///
/// # let dir = tempfile::tempdir()?;
/// let certificate = devca::load_or_make(dir.path())?;
/// let listen = Listen::tls("localhost:8443", Tls::config(certificate.server_config()?));
/// println!("clients trust {}", certificate.ca_pem.display());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DevCertificate {
    /// The authority's certificate, for clients to trust.
    pub ca_pem: PathBuf,
    /// New or kept.
    pub origin: Origin,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// `$STAGEDOOR_STATE_DIR`, else `$XDG_DATA_HOME/stagedoor`, else `~/.local/share/stagedoor`.
///
/// ```
/// # fn main() -> Result<(), stagedoor::devca::Error> {
/// # if std::env::var_os("HOME").is_some() {
/// let dir = stagedoor::devca::state_dir()?;
/// assert!(!dir.as_os_str().is_empty());
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NoPlace`] when none of the variables is set.
pub fn state_dir() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A relative XDG_DATA_HOME is to be ignored (XDG Base Directory Specification).
    let data_home = || set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    set("STAGEDOOR_STATE_DIR")
        .or_else(|| data_home().map(|path| path.join("stagedoor")))
        .or_else(|| set("HOME").map(|path| path.join(".local/share/stagedoor")))
        .ok_or(Error::NoPlace)
}

/// Where the authority's certificate lies under `state_dir`, for clients to trust; `None` where there is none that can
/// be read.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use stagedoor::devca::{authority_in, load_or_make};
///
/// assert_eq!(authority_in(dir.path()), None);
/// let made = load_or_make(dir.path()).unwrap();
/// assert_eq!(authority_in(dir.path()), Some(made.ca_pem));
/// ```
pub fn authority_in(state_dir: &Path) -> Option<PathBuf> {
    let ca_pem = state_dir.join("dev").join(CA_CERT);
    CertificateDer::from_pem_file(&ca_pem).is_ok().then_some(ca_pem)
}

/// Where the leaf lies under `state_dir`.
#[cfg(feature = "gateway")]
pub(crate) fn leaf_in(state_dir: &Path) -> PathBuf {
    state_dir.join("dev").join(LEAF_CERT)
}

/// The certificate under `state_dir`, made where it is missing, broken or about to expire.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use stagedoor::devca::load_or_make;
///
/// let made = load_or_make(dir.path()).unwrap();
/// assert!(made.ca_pem.starts_with(dir.path()));
/// ```
///
/// # Errors
/// [`Error::Io`] when files cannot be written; a certificate that holds is used from a read-only place too.
/// [`Error::NotMade`] where one would have to be made, and neither `aws-lc-rs` nor `ring` is compiled in.
pub fn load_or_make(state_dir: &Path) -> Result<DevCertificate, Error> {
    crypto::provider()?;
    let dir = state_dir.join("dev");
    load(&dir).map_or_else(|| make(&dir), Ok)
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use make::make;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn make(_dir: &Path) -> Result<DevCertificate, Error> {
    Err(Error::NotMade)
}

impl DevCertificate {
    /// TLS 1.2 and 1.3 with this certificate, with resumption by ticket and by session id. ALPN is the
    /// listener's to set.
    ///
    /// # Errors
    /// When key and certificate do not belong together, and [`NoProvider`] within [`rustls::Error::Other`].
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(crypto::provider()?)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        if let Some(tickets) = crypto::ticketer()? {
            config.ticketer = tickets;
        }
        config.session_storage = ServerSessionMemoryCache::new(4096);
        Ok(Arc::new(config))
    }

    /// The leaf, and whatever stands between it and the authority.
    #[cfg(feature = "gateway")]
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The key of the leaf.
    #[cfg(feature = "gateway")]
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// When it expires; `None` should its octets be no certificate.
    #[cfg(feature = "gateway")]
    #[must_use]
    pub fn not_after(&self) -> Option<std::time::SystemTime> {
        let (_, certificate) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Checks that a client that trusts `authority` accepts this now and in seven days, and that the key fits.
    fn verify(&self, authority: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), crypto::provider()?)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let (leaf, rest) = self.chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let now = UnixTime::now().as_secs();
        for seconds in [now, now + (DAY * RENEW_DAYS).as_secs()] {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            for name in NAMES {
                let name = ServerName::try_from(name)
                    .map_err(|_| rustls::Error::General(format!("{name} is no server name")))?;
                verifier.verify_server_cert(leaf, rest, &name, &[], time)?;
            }
        }
        self.server_config().map(drop)
    }
}

/// What lies in `dir`, if it holds.
fn load(dir: &Path) -> Option<DevCertificate> {
    let ca_pem = dir.join(CA_CERT);
    let authority = CertificateDer::from_pem_file(&ca_pem).ok()?;
    let chain = CertificateDer::pem_file_iter(dir.join(LEAF_CERT)).ok()?.collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_file(dir.join(LEAF_KEY)).ok()?;
    let found = DevCertificate { ca_pem, origin: Origin::Kept, chain, key };
    found.verify(&authority).is_ok().then_some(found)
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::make::CA_KEY;
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let state = tempfile::tempdir().unwrap();
        let made = load_or_make(state.path()).unwrap();
        assert_eq!(made.origin, Origin::Made);
        let kept = load_or_make(state.path()).unwrap();
        assert_eq!((kept.origin, &kept.chain), (Origin::Kept, &made.chain));
        let dev = state.path().join("dev");
        assert_eq!([mode(&dev), mode(&dev.join(CA_KEY)), mode(&dev.join(LEAF_KEY))], [0o700, 0o600, 0o600]);
    }

    #[test]
    fn a_broken_leaf_is_made_anew_by_the_same_authority() {
        let state = tempfile::tempdir().unwrap();
        let first = load_or_make(state.path()).unwrap();
        let authority = fs::read(&first.ca_pem).unwrap();
        fs::write(state.path().join("dev").join(LEAF_CERT), "not a certificate").unwrap();
        let second = load_or_make(state.path()).unwrap();
        assert_eq!(second.origin, Origin::Made);
        assert_eq!(fs::read(&second.ca_pem).unwrap(), authority);
    }

    #[test]
    fn a_lost_authority_key_makes_a_new_authority() {
        let state = tempfile::tempdir().unwrap();
        let first = load_or_make(state.path()).unwrap();
        let authority = fs::read(&first.ca_pem).unwrap();
        for name in [CA_KEY, LEAF_KEY] {
            fs::remove_file(state.path().join("dev").join(name)).unwrap();
        }
        let second = load_or_make(state.path()).unwrap();
        assert_eq!(second.origin, Origin::Made);
        assert_ne!(fs::read(&second.ca_pem).unwrap(), authority);
    }

    #[test]
    fn those_who_start_together_agree() {
        let state = tempfile::tempdir().unwrap();
        let chains: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..4).map(|_| scope.spawn(|| load_or_make(state.path()).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap().chain).collect()
        });
        assert!(chains.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "").unwrap();
        let error = load_or_make(&file).unwrap_err();
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    }
}
