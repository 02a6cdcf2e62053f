//! Certificates of listeners and trust towards upstreams.
use crate::config::UpstreamTls;
use rustls::ClientConfig;
use std::sync::Arc;
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct TlsError;
/// x
pub fn upstream_client(_c: &UpstreamTls, _alpn: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    Err(TlsError)
}
