//! Why the gateway itself answers an error: a status, a cause with a name, and a sentence for people.
//!
//! Where an upstream failed the cause is one of RFC 9209 §2.3; others say what the gateway refused.

use std::time::Duration;

/// See the module.
///
/// ```
/// use stagedoor::fault::Fault;
///
/// let fault = Fault::new(504, "http_response_timeout", "the upstream did not answer in time");
/// assert_eq!((fault.status, fault.grpc_status()), (504, 4));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// 400 to 599.
    pub status: u16,
    /// A closed set: label of metrics, field of the access log, `error` of `proxy-status`.
    pub cause: &'static str,
    /// For people; never a secret, a header value or an address of an upstream.
    pub detail: String,
    /// `retry-after`.
    pub retry_after: Option<Duration>,
    /// The request cannot be answered any more: the stream is reset instead.
    pub reset: bool,
}

impl Fault {
    /// A fault with its cause.
    #[must_use]
    pub fn new(status: u16, cause: &'static str, detail: impl Into<String>) -> Self {
        Self { status, cause, detail: detail.into(), retry_after: None, reset: false }
    }

    /// The status of a gRPC call that fails so (`grpc-status`): 4 deadline exceeded, 8 resource exhausted, 14 unavailable.
    #[must_use]
    pub fn grpc_status(&self) -> u8 {
        match self.status {
            504 | 408 => 4,
            429 | 413 => 8,
            401 => 16,
            403 => 7,
            404 | 405 | 421 => 12,
            400 => 13,
            _ => 14,
        }
    }
}
