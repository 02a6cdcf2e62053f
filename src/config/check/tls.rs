//! Certificates, keys and authorities: they parse, they fit, they hold. Makes no configuration of TLS of them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use stagedoor_actors::crypto;

use super::super::at::At;
use super::super::diagnostic::{Code, Severity};
use super::super::file;
use super::super::model::{Certificate, ClientAuth, Tls, TlsMin};
use super::super::problem::Problem;
use super::super::word::FilePath;
use super::Check;

impl Check<'_> {
    /// TLS of the listener with this number.
    pub(super) fn listener_tls(&mut self, index: usize, whose: &str, tls: &At<file::Tls>) -> Tls {
        let mut seen = BTreeSet::new();
        let mut certificates = Vec::new();
        for certificate in &tls.certificate {
            for name in &certificate.names {
                if !seen.insert(name.0.clone()) {
                    let problem = Problem::new(Code::DuplicateName, "", "named above already");
                    self.error(&name.span, format!("{whose} has two certificates for {:?}", name.0), problem);
                }
            }
            let whose = format!("{whose}: a certificate");
            for (key, there) in [("cert", certificate.cert.is_some()), ("key", certificate.key.is_some())] {
                if !there {
                    let help = "a certificate is two files: cert = \"chain.pem\", key = \"key.pem\"";
                    self.missing("listener", index, &certificate.span, &whose, key, help);
                }
            }
            if let (Some(cert), Some(key)) = (&certificate.cert, &certificate.key) {
                self.pair(&whose, cert, key);
                let names = certificate.names.iter().map(|name| name.0.clone()).collect();
                certificates.push(Certificate { names, cert: self.path(cert), key: self.path(key) });
            }
        }
        if tls.certificate.is_empty() && self.is_whole("listener", index) {
            let problem = Problem::new(Code::DevelopmentCertificate, "", "no certificate")
                .help("clients trust it that trust the authority of this machine's development certificates");
            let message = format!("{whose} shows the development certificate, which is for localhost alone");
            self.find(Severity::Notice, &tls.span, message, problem);
        }
        Tls {
            min_version: match tls.min_version {
                file::MinVersion::V12 => TlsMin::Tls12,
                file::MinVersion::V13 => TlsMin::Tls13,
            },
            client_auth: self.client_auth(index, whose, tls),
            certificates,
        }
    }

    fn client_auth(&mut self, index: usize, whose: &str, tls: &file::Tls) -> ClientAuth {
        let ca = tls.client_ca.as_ref().map(|ca| {
            self.authorities(&format!("{whose}: tls.client_ca"), ca);
            self.path(ca)
        });
        match (tls.client_auth.value, ca) {
            (file::ClientAuth::None, _) => ClientAuth::None,
            (file::ClientAuth::Optional, Some(ca)) => ClientAuth::Optional { ca },
            (file::ClientAuth::Required, Some(ca)) => ClientAuth::Required { ca },
            (file::ClientAuth::Optional | file::ClientAuth::Required, None) => {
                if self.is_whole("listener", index) {
                    let problem = Problem::new(Code::NoClientCa, "", "valid by whom?")
                        .help("name the authorities of clients: client_ca = \"clients.pem\"");
                    let message = format!("{whose} asks clients for certificates and has no client_ca");
                    self.error(&tls.client_auth.span, message, problem);
                }
                ClientAuth::None
            }
        }
    }

    /// A chain and its key.
    pub(super) fn pair(&mut self, whose: &str, cert: &At<FilePath>, key: &At<FilePath>) {
        let chain = self.read_file(whose, cert).and_then(|octets| self.certificates(whose, cert, &octets));
        let private =
            self.read_file(whose, key).and_then(|octets| match PrivateKeyDer::from_pem_slice(&octets) {
                Ok(private) => Some(private),
                Err(_) => {
                    let problem = Problem::new(Code::BadFile, "", "no private key in it")
                        .help("a key begins with -----BEGIN PRIVATE KEY-----, and has no passphrase");
                    self.error(&key.span, format!("{whose} has a key that is none"), problem);
                    None
                }
            });
        let (Some(chain), Some(private)) = (chain, private) else { return };
        self.expiry(whose, cert, chain.first());
        let certified = crypto::provider()
            .map_err(rustls::Error::from)
            .and_then(|provider| CertifiedKey::from_der(chain, private, &provider));
        match certified {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let problem = Problem::new(Code::KeyMismatch, "", format!("not the key of {}", cert.0))
                    .help("the first certificate of the chain is the one whose key is wanted");
                self.error(&key.span, format!("{whose} and its key do not belong together"), problem);
            }
            Err(error) => {
                let problem = Problem::new(Code::BadFile, "", error.to_string());
                self.error(&key.span, format!("{whose} has a key that cannot be used"), problem);
            }
        }
    }

    /// A file of authorities.
    pub(super) fn authorities(&mut self, whose: &str, path: &At<FilePath>) {
        if let Some(octets) = self.read_file(whose, path)
            && let Some(chain) = self.certificates(whose, path, &octets)
        {
            let mut roots = rustls::RootCertStore::empty();
            let (added, _) = roots.add_parsable_certificates(chain);
            if added == 0 {
                let problem = Problem::new(Code::BadFile, "", "no authority in it");
                self.error(&path.span, format!("{whose} names a file without a usable certificate"), problem);
            }
        }
    }

    fn certificates(
        &mut self,
        whose: &str,
        path: &At<FilePath>,
        octets: &[u8],
    ) -> Option<Vec<CertificateDer<'static>>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(octets).collect();
        let label = match chain {
            Ok(chain) if !chain.is_empty() => return Some(chain),
            Ok(_) => "no certificate in it".to_owned(),
            Err(error) => format!("not PEM: {error}"),
        };
        let problem = Problem::new(Code::BadFile, "", label)
            .help("a certificate begins with -----BEGIN CERTIFICATE-----");
        self.error(&path.span, format!("{whose} names a file without a certificate"), problem);
        None
    }

    fn expiry(&mut self, whose: &str, path: &At<FilePath>, first: Option<&CertificateDer<'_>>) {
        let Some((_, parsed)) = first.and_then(|first| x509_parser::parse_x509_certificate(first).ok())
        else {
            return;
        };
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        if end < self.now {
            let label = format!("its last day was {}", date(end));
            let problem = Problem::new(Code::CertificateExpired, "", label);
            self.warning(&path.span, format!("{whose} has expired"), problem);
        }
    }
}

fn date(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
