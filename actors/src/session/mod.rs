//! The Session actor.
use std::net::SocketAddr;

/// What a session is, for its streams and for people who look. Never changes.
#[derive(Debug)]
pub struct SessionInfo {
    /// `w-n`.
    pub id: String,
    /// Listener it came in by.
    pub listener: String,
    /// `h2`, `h2c` or `http/1.1`.
    pub protocol: &'static str,
    /// The other end, where it is known.
    pub peer: Option<SocketAddr>,
    /// SNI of the TLS handshake.
    pub server_name: Option<String>,
}
