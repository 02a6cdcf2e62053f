//! Whose cryptography TLS is done with, asked of one place: here.
//!
//! Installs nothing for the process, and makes no configuration. Invariant: no builder of rustls is left to choose by
//! itself, because it panics where the features leave it no choice, or two.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

/// There is no cryptography to do TLS with.
///
/// ```
/// use stagedoor_actors::crypto::NoProvider;
///
/// assert!(NoProvider.to_string().contains("aws-lc-rs"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no cryptography for TLS: build with the feature `aws-lc-rs` or `ring`, or install a provider of rustls"
)]
pub struct NoProvider;

impl From<NoProvider> for rustls::Error {
    fn from(error: NoProvider) -> Self {
        Self::Other(rustls::OtherError(Arc::new(error)))
    }
}

/// The provider that the process has installed, else aws-lc-rs, else ring, as far as they are compiled in.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
/// assert!(!stagedoor_actors::crypto::provider()?.cipher_suites.is_empty());
/// # Ok::<(), stagedoor_actors::crypto::NoProvider>(())
/// ```
///
/// # Errors
/// [`NoProvider`] where there is none of the three.
pub fn provider() -> Result<Arc<CryptoProvider>, NoProvider> {
    CryptoProvider::get_default().cloned().or_else(compiled_in).ok_or(NoProvider)
}

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as library;

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(library::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    None
}

/// Makes and reads tickets of sessions (RFC 8446 §4.6.1) with keys of its own, which are new every 6 hours. `None`
/// where neither `aws-lc-rs` nor `ring` is compiled in: a provider that the process has installed brings none.
///
/// ```
/// let tickets = stagedoor_actors::crypto::ticketer()?;
/// # #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
/// assert!(tickets.is_some_and(|tickets| tickets.enabled()));
/// # Ok::<(), rustls::Error>(())
/// ```
///
/// # Errors
/// Where the system gives no random octets for a key.
pub fn ticketer() -> Result<Option<Arc<dyn ProducesTickets>>, rustls::Error> {
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    let tickets = Some(library::Ticketer::new()?);
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    let tickets = None;
    Ok(tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPILED_IN: bool = cfg!(any(feature = "aws-lc-rs", feature = "ring"));

    #[test]
    fn there_is_a_provider_where_one_is_compiled_in() {
        assert_eq!(provider().is_ok(), COMPILED_IN);
        assert_eq!(ticketer().unwrap().is_some_and(|tickets| tickets.enabled()), COMPILED_IN);
    }

    #[test]
    fn that_there_is_none_can_be_told_from_an_error_of_rustls() {
        let rustls::Error::Other(other) = rustls::Error::from(NoProvider) else { panic!("another error") };
        assert_eq!(other.0.downcast_ref(), Some(&NoProvider));
    }
}
