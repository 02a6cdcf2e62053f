//! Whose certificates a listener asks for and believes, changeable while it runs.
//!
//! Revocation is not looked at: neither CRL nor OCSP. A client that must be kept out before its certificate expires
//! is kept out by another authority.
//!
//! Invariants: a handshake is judged by the policy of the moment it is judged in. What came before a change stays in
//! memory, some KiB each, since a handshake may still borrow from it; operators change authorities, the network cannot.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::pair::Content;
use super::{TlsError, pem, provider};
use crate::config::ClientAuth;

/// Whether and whom.
#[derive(Debug)]
pub(super) enum Policy {
    /// Clients are not asked.
    Open,
    /// Clients are asked, and judged so.
    Asked(Arc<dyn ClientCertVerifier>),
}

impl Policy {
    /// What `auth` says, and what its file holds.
    pub(super) fn load(auth: &ClientAuth) -> Result<(Self, Option<Content>), TlsError> {
        let (ca, optional) = match auth {
            ClientAuth::None => return Ok((Self::Open, None)),
            ClientAuth::Optional { ca } => (ca, true),
            ClientAuth::Required { ca } => (ca, false),
        };
        let octets = pem::read(ca)?;
        let roots = Arc::new(pem::authorities(&octets, ca)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider()?);
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        let verifier = builder.build().map_err(|error| Error::General(error.to_string()))?;
        Ok((Self::Asked(verifier), Some(pem::content(&octets))))
    }
}

/// The policy of a listener, and those before it.
#[derive(Debug)]
pub(super) struct Clients {
    algorithms: WebPkiSupportedAlgorithms,
    first: Link,
}

#[derive(Debug)]
struct Link {
    policy: Policy,
    next: OnceLock<Box<Link>>,
}

impl Clients {
    pub(super) fn new(policy: Policy) -> Self {
        // A listener's key was loaded by a provider, so there is one; without it no signature would pass.
        let none = WebPkiSupportedAlgorithms { all: &[], mapping: &[] };
        let algorithms = provider().map_or(none, |provider| provider.signature_verification_algorithms);
        Self { algorithms, first: Link { policy, next: OnceLock::new() } }
    }

    /// Judges handshakes by `policy` from now on.
    pub(super) fn change(&self, policy: Policy) {
        let mut link = Box::new(Link { policy, next: OnceLock::new() });
        let mut last = self.links().last().unwrap_or(&self.first);
        // Another thread may have been faster; then its link is the last but one.
        while let Err(refused) = last.next.set(link) {
            link = refused;
            last = last.links().last().unwrap_or(last);
        }
    }

    /// Whether clients are asked for certificates.
    pub(super) fn asks(&self) -> bool {
        self.offer_client_auth()
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.first.links()
    }

    fn current(&self) -> &Policy {
        self.links().last().map_or(&self.first.policy, |link| &link.policy)
    }
}

impl Link {
    fn links(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |link| link.next.get().map(Box::as_ref))
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        matches!(self.current(), Policy::Asked(_))
    }

    fn client_auth_mandatory(&self) -> bool {
        match self.current() {
            Policy::Open => false,
            Policy::Asked(verifier) => verifier.client_auth_mandatory(),
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match self.current() {
            Policy::Open => &[],
            Policy::Asked(verifier) => verifier.root_hint_subjects(),
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A client that was asked may answer when clients are no longer asked: whoever was asked last judges it.
        let asked = self.links().filter_map(|link| match &link.policy {
            Policy::Open => None,
            Policy::Asked(verifier) => Some(verifier),
        });
        let verifier = asked.last().ok_or_else(|| Error::General("nobody was asked".to_owned()))?;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
