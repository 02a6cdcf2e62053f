//! A certificate for localhost, the same for all peers: P-256, signed by itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Both in one file, as haproxy likes it.
    pub both: PathBuf,
}

/// Makes a certificate and writes it into `dir`.
///
/// # Errors
/// When a file cannot be written or the key not be made.
pub fn write(dir: &Path) -> Result<Files> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let files = Files {
        certificate: dir.join("certificate.pem"),
        key: dir.join("key.pem"),
        both: dir.join("both.pem"),
    };
    fs::write(&files.certificate, &certificate)?;
    fs::write(&files.key, &key)?;
    fs::write(&files.both, format!("{certificate}{key}"))?;
    Ok(files)
}
