//! Certificates made for tests, and handshakes in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use stagedoor_metrics::Metrics;

use super::{Store, provider, server_config};
use crate::config;

/// An authority of a test's own.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
pub(super) struct Leaf {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) der: CertificateDer<'static>,
    pub(super) key_der: Vec<u8>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For `names`, valid for a day yet.
    pub(super) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_of(names, SystemTime::now() + DAY, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn leaf_of(
        &self,
        names: &[&str],
        not_after: SystemTime,
        algorithm: &'static SignatureAlgorithm,
    ) -> Leaf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.not_before = (not_after - 2 * DAY).into();
        params.not_after = not_after.into();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// Writes its certificate to `dir` and says where.
    pub(super) fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, &self.pem).unwrap();
        path
    }
}

impl Leaf {
    /// Writes it to `NAME.pem` and `NAME.key` in `dir`.
    pub(super) fn write(&self, dir: &Path, name: &str) -> config::Certificate {
        let [cert, key] = ["pem", "key"].map(|kind| dir.join(format!("{name}.{kind}")));
        fs::write(&cert, &self.cert).unwrap();
        fs::write(&key, &self.key).unwrap();
        config::Certificate { names: Vec::new(), cert, key }
    }

    /// As a client shows it.
    fn shown(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.der.clone()], PrivateKeyDer::try_from(self.key_der.clone()).unwrap())
    }
}

/// A listener's TLS with these certificates.
pub(super) fn tls(certificates: Vec<config::Certificate>) -> config::Tls {
    config::Tls { min_version: config::TlsMin::Tls12, client_auth: config::ClientAuth::None, certificates }
}

/// The store of a listener and what the listener speaks.
pub(super) fn listener(config: &config::Tls) -> (Arc<Store>, Arc<ServerConfig>) {
    let store = Store::open(config, None, &Metrics::new("stagedoor")).unwrap();
    let server = server_config(config, &store).unwrap();
    (store, Arc::new(server))
}

/// A client that believes anybody, so that tests see what it is shown.
pub(super) fn client(
    versions: &[&'static SupportedProtocolVersion],
    schemes: Option<Vec<SignatureScheme>>,
    shows: Option<&Leaf>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider().unwrap())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(schemes)));
    match shows.map(Leaf::shown) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

pub(super) type Both = (ClientConnection, ServerConnection);

/// A handshake to its end, tickets included. `name` is the SNI, unless it is an address.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<Both, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::clone(client), name)?;
    let mut both = (client, ServerConnection::new(Arc::clone(server))?);
    drive(&mut both)?;
    assert!(!both.0.is_handshaking() && !both.1.is_handshaking());
    Ok(both)
}

/// Carries octets to and fro until there are none.
pub(super) fn drive((client, server): &mut Both) -> Result<(), Error> {
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut octets = &wire[..];
        while !octets.is_empty() {
            server.read_tls(&mut octets).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut octets = &wire[..];
        while !octets.is_empty() {
            client.read_tls(&mut octets).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

/// The certificate that a client of `both` was shown.
pub(super) fn shown(both: &Both) -> CertificateDer<'static> {
    both.0.peer_certificates().unwrap()[0].clone().into_owned()
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Believes any certificate whose key signs by one of these schemes.
#[derive(Debug)]
struct Gullible(Option<Vec<SignatureScheme>>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().unwrap().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().unwrap().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = || provider().unwrap().signature_verification_algorithms.supported_schemes();
        self.0.clone().unwrap_or_else(all)
    }
}
