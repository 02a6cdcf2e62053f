//! Makes what `devca` keeps: the authority, the leaf, their files. Judges no certificate that lies there.
//!
//! Invariant: who writes holds the lock of the directory, and files are replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CA_CERT, DAY, DevCertificate, Error, LEAF_CERT, LEAF_KEY, Origin, load};

const AUTHORITY_DAYS: u32 = 20 * 365;
const LEAF_DAYS: u32 = 397;

pub(super) const CA_KEY: &str = "ca.key";

/// Makes what is missing in `dir`, or takes what another process has made meanwhile.
///
/// # Errors
/// See [`load_or_make`](super::load_or_make).
pub(super) fn make(dir: &Path) -> Result<DevCertificate, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
    let lock_path = dir.join(".lock");
    // Held until the file is closed, at the end of this function or of the process.
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
    let lock = lock.map_err(failed(&lock_path))?;
    lock_file(&lock).map_err(failed(&lock_path))?;
    // Another process may have been faster.
    load(dir).map_or_else(|| make_locked(dir), Ok)
}

fn lock_file(lock: &File) -> io::Result<()> {
    loop {
        match rustix::fs::flock(lock, rustix::fs::FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Makes a leaf, with the authority in `dir` if it still can sign one that holds, else with a new one.
/// The caller holds the lock.
fn make_locked(dir: &Path) -> Result<DevCertificate, Error> {
    let ca_pem = dir.join(CA_CERT);
    let kept = CertificateDer::from_pem_file(&ca_pem)
        .ok()
        .zip(fs::read_to_string(dir.join(CA_KEY)).ok().and_then(|pem| KeyPair::from_pem(&pem).ok()));
    if let Some((authority, key)) = kept {
        let (leaf, pem) = new_leaf(&ca_pem, key)?;
        if leaf.verify(&authority).is_ok() {
            return write_leaf(dir, leaf, &pem);
        }
    }
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let authority = authority_params().self_signed(&key)?;
    // A reader between these sees a leaf that does not chain, and waits for the lock.
    write(dir, CA_KEY, key.serialize_pem().as_bytes(), 0o600)?;
    write(dir, CA_CERT, authority.pem().as_bytes(), 0o644)?;
    let (leaf, pem) = new_leaf(&ca_pem, key)?;
    leaf.verify(authority.der())?;
    write_leaf(dir, leaf, &pem)
}

/// The PEM texts of a leaf: certificate and key.
type LeafPem = (String, String);

fn new_leaf(ca_pem: &Path, ca_key: KeyPair) -> Result<(DevCertificate, LeafPem), Error> {
    let issuer = Issuer::new(authority_params(), ca_key);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let leaf = leaf_params()?.signed_by(&key, &issuer)?;
    let made = DevCertificate {
        ca_pem: ca_pem.to_owned(),
        origin: Origin::Made,
        chain: vec![leaf.der().clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    };
    Ok((made, (leaf.pem(), key.serialize_pem())))
}

fn write_leaf(dir: &Path, leaf: DevCertificate, (cert, key): &LeafPem) -> Result<DevCertificate, Error> {
    write(dir, LEAF_KEY, key.as_bytes(), 0o600)?;
    write(dir, LEAF_CERT, cert.as_bytes(), 0o644)?;
    Ok(leaf)
}

/// The authority. The same name and key always, so that a leaf can be issued from the key file alone.
fn authority_params() -> CertificateParams {
    let mut params = valid_for(AUTHORITY_DAYS);
    params.distinguished_name.push(DnType::CommonName, "stagedoor development authority (localhost only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(Ipv4Addr::LOCALHOST.octets(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn leaf_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_for(LEAF_DAYS);
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Valid from a day ago, in case clocks differ.
fn valid_for(days: u32) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * days).into();
    params
}

/// Replaces a file whole: readers see the old octets or the new ones.
fn write(dir: &Path, name: &str, octets: &[u8], mode: u32) -> Result<(), Error> {
    let path = dir.join(name);
    let fresh = dir.join(format!(".{name}.new"));
    let replace = || -> io::Result<()> {
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(octets)?;
        fs::rename(&fresh, &path)
    };
    replace().map_err(|source| Error::Io { path, source })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::RENEW_DAYS;
    use super::*;

    #[test]
    fn a_leaf_about_to_expire_does_not_hold() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let authority = authority_params().self_signed(&key).unwrap();
        let issuer = Issuer::new(authority_params(), key);
        for (days, holds) in [(RENEW_DAYS - 1, false), (RENEW_DAYS + 1, true)] {
            let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = leaf_params().unwrap();
            params.not_after = (SystemTime::now() + DAY * days).into();
            let leaf = params.signed_by(&key, &issuer).unwrap();
            let leaf = DevCertificate {
                ca_pem: PathBuf::new(),
                origin: Origin::Kept,
                chain: vec![leaf.der().clone()],
                key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            };
            assert_eq!(leaf.verify(authority.der()).is_ok(), holds, "{days} days left");
        }
    }
}
