//! Chains, keys and authorities out of PEM files (RFC 7468). Checks no signature and no validity.
//!
//! Invariant: an error names the file and says nothing of its content.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use super::TlsError;
use super::pair::Content;

/// The largest file that is read: a bundle of all public authorities has a quarter of a MiB.
const LARGEST: u64 = 4 << 20;

/// The octets of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Unreadable { path: path.to_owned(), source };
    let mut octets = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut octets).map_err(failed)?;
    match u64::try_from(octets.len()) {
        Ok(length) if length <= LARGEST => Ok(octets),
        _ => Err(TlsError::TooLarge { path: path.to_owned(), limit: LARGEST }),
    }
}

/// What is compared instead of octets.
pub(super) fn content(octets: &[u8]) -> Content {
    Sha256::digest(octets).into()
}

/// The certificates in `octets`, of the file `path`; at least one.
pub(super) fn certificates(octets: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(octets).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| TlsError::NotPem { path: path.to_owned() })?;
    match chain.is_empty() {
        true => Err(TlsError::NoCertificate { path: path.to_owned() }),
        false => Ok(chain),
    }
}

/// The first private key in `octets`, of the file `path`.
pub(super) fn key(octets: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = || path.to_owned();
    // RFC 5958 §3, and the older way of RFC 1421 §4.6.1.1: neither is told from a missing or a broken key otherwise.
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| octets.windows(mark.len()).any(|window| window == *mark)) {
        return Err(TlsError::EncryptedKey { path: path() });
    }
    PrivateKeyDer::from_pem_slice(octets).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey { path: path() },
        _ => TlsError::NotPem { path: path() },
    })
}

/// The authorities in `octets`, of the file `path`; at least one, and each can be a trust anchor.
pub(super) fn authorities(octets: &[u8], path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(octets, path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::BadCertificate { path: path.to_owned(), reason: error.to_string() })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_file_is_told_without_its_content() {
        let path = Path::new("/etc/stagedoor/a.key");
        let cases: [(&[u8], &str); 5] = [
            (b"", "there is no private key in /etc/stagedoor/a.key"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "there is no private key in /etc/stagedoor/a.key",
            ),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "the private key in /etc/stagedoor/a.key is encrypted, which is not supported",
            ),
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\nc2VjcmV0\n",
                "the private key in /etc/stagedoor/a.key is encrypted, which is not supported",
            ),
            (b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", "/etc/stagedoor/a.key is broken PEM"),
        ];
        for (octets, text) in cases {
            let error = key(octets, path).unwrap_err();
            assert_eq!(error.to_string(), text);
            assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
            assert!(!error.help().is_empty());
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_told_from_a_missing_and_a_large_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pem");
        assert!(matches!(read(&path).unwrap_err(), TlsError::Unreadable { .. }));
        std::fs::write(&path, "no PEM at all").unwrap();
        let error = certificates(&read(&path).unwrap(), &path).unwrap_err();
        assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
        for (length, fits) in [(LARGEST, true), (LARGEST + 1, false)] {
            File::create(&path).unwrap().set_len(length).unwrap();
            assert_eq!(read(&path).is_ok(), fits, "{length}");
        }
    }
}
