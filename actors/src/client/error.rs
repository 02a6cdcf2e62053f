//! What can go wrong for a client, and how far it reaches: [`ConnectError`] before there is a connection,
//! [`RequestError`] from the call itself, [`StreamError`] of one request, [`SessionEnd`] of all of them.
//!
//! Invariant: `is_retry_safe` is true only where the peer has certainly not looked at the request (RFC 9113 §8.7).

use std::sync::Arc;

use stagedoor_metrics::CloseReason;
use stagedoor_protocol::{ErrorCode, StreamId, UserError};

/// A connection that did not come up.
///
/// ```
/// use stagedoor_actors::client::{ConnectError, Scheme, Target};
///
/// match Target::parse("ftp://example.org", Scheme::Https) {
///     Err(ConnectError::UnsupportedScheme(scheme)) => assert_eq!(scheme, "ftp"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The authority is not one; the text says what is wrong with it.
    #[error("{authority:?} is no authority to connect to: {why}")]
    InvalidAuthority {
        /// What was given.
        authority: String,
        /// What is wrong with it.
        why: String,
    },
    /// Neither `http` nor `https`.
    #[error("the scheme {0:?} is not supported: http and https are")]
    UnsupportedScheme(String),
    /// No address answers to the name.
    #[error("{host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        error: Arc<std::io::Error>,
    },
    /// No connection to any address, or the connector failed.
    #[error("cannot connect to {authority}: {error}")]
    Io {
        /// Where to.
        authority: String,
        /// The last error.
        error: Arc<std::io::Error>,
    },
    /// TLS failed, before or in its handshake; [`NoProvider`](crate::crypto::NoProvider) is inside where there is no cryptography.
    #[error("TLS with {authority} failed: {error}")]
    Tls {
        /// Whom with.
        authority: String,
        /// What failed.
        error: Arc<std::io::Error>,
    },
    /// The peer did not pick `h2` (RFC 7301): it may speak HTTP/1.1 alone.
    #[error("{authority} does not speak HTTP/2 (ALPN: {})", picked.as_deref().unwrap_or("none"))]
    NoHttp2 {
        /// Who.
        authority: String,
        /// What it picked instead, if anything.
        picked: Option<String>,
    },
    /// Not up in time.
    #[error("{authority} was not connected within {after:?}")]
    Timeout {
        /// Where to.
        authority: String,
        /// [`Options::connect_timeout`](super::Options::connect_timeout).
        after: std::time::Duration,
    },
    /// The session was closed first.
    #[error("the connection was given up")]
    GivenUp,
}

/// Why a session is no more, or will be no more.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::SessionEnd;
/// use stagedoor_protocol::ErrorCode;
///
/// session.ready().await?;
/// match session.close().await {
///     SessionEnd::Closed { code, .. } => assert_eq!(code, ErrorCode::NO_ERROR),
///     other => panic!("{other}"),
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// It never came up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It ended.
    #[error("the session ended: {detail}")]
    Closed {
        /// The reason that is counted. `client_closed` and `client_goaway` speak of the peer here too.
        reason: CloseReason,
        /// The code of GOAWAY, the peer's where it sent one.
        code: ErrorCode,
        /// For people.
        detail: String,
    },
}

impl SessionEnd {
    /// The code of GOAWAY, where there was one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Connect(_) => None,
            Self::Closed { code, .. } => Some(*code),
        }
    }
}

/// A request that was not made: the call itself says so, nothing was sent.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::{RequestError, RequestOptions};
///
/// session.close().await;
/// match session.request("/", RequestOptions::default()) {
///     Err(RequestError::Closing | RequestError::Closed(_)) => println!("another session may take it"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The head breaks a rule of RFC 9113 §8; the error names the field.
    #[error("the request cannot be sent: {0}")]
    Invalid(#[from] UserError),
    /// The body's length and `content-length` differ.
    #[error("the body has {length} octets, content-length says {declared}")]
    ContentLength {
        /// Octets of the body.
        length: u64,
        /// What the head says.
        declared: u64,
    },
    /// `end_stream` was asked for, and there is a body.
    #[error("a request with a body cannot end with its head")]
    EndWithBody,
    /// A tunnel is a body of responses; [`ClientSession::connect_tunnel`](super::ClientSession::connect_tunnel) asks for
    /// one.
    #[error("a tunnel is no body of a request")]
    NotABody,
    /// The server does not offer extended CONNECT (RFC 8441).
    #[error("the server does not offer extended CONNECT")]
    ConnectProtocol,
    /// Only CONNECT has a `:protocol` (RFC 8441 §4).
    #[error("{0} has no :protocol, only CONNECT has")]
    ProtocolWithoutConnect(String),
    /// The session takes no more requests: it is closing, or the peer said GOAWAY. Open another one.
    #[error("the session takes no more requests")]
    Closing,
    /// The session is over.
    #[error("the session is over: {0}")]
    Closed(SessionEnd),
    /// The signal was aborted before the request was made.
    #[error("the request was aborted")]
    Aborted,
    /// So many requests wait already.
    #[error("{0} requests wait for this session already")]
    QueueFull(usize),
    /// The authority of the request is not that of the session, where it must be.
    #[error("the request names no authority")]
    NoAuthority,
}

impl RequestError {
    /// The request may be made again on another session: nothing was sent.
    pub fn is_retry_safe(&self) -> bool {
        matches!(self, Self::Closing | Self::Closed(_) | Self::QueueFull(_))
    }
}

/// A request that was made and did not come to its good end.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::client::{RequestOptions, StreamError};
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
/// use stagedoor_protocol::ErrorCode;
///
/// let cancel = async |request: HttpRequest| request.body().handle().reset(ErrorCode::CANCEL);
/// let service = local_handler(cancel);
/// # let (_host, session) = in_memory(service)?;
/// let mut stream = session.request("/", RequestOptions::default())?;
/// match stream.response().await {
///     Err(error @ StreamError::Reset(ErrorCode::CANCEL)) => assert!(!error.is_retry_safe()),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer reset the stream. NO_ERROR is here too: without END_STREAM the response is cut short.
    #[error("the peer reset the stream with {0}")]
    Reset(ErrorCode),
    /// The peer has not looked at the request: REFUSED_STREAM, or above the last stream of its GOAWAY.
    #[error("the peer did not process the request ({code})")]
    Unprocessed {
        /// REFUSED_STREAM, or the code of GOAWAY.
        code: ErrorCode,
    },
    /// The session ended under the stream; the peer may have processed the request.
    #[error("{0}")]
    SessionClosed(SessionEnd),
    /// The session ended before the request was sent.
    #[error("the request was cancelled before it was sent: {cause}")]
    Cancelled {
        /// What ended the session.
        cause: SessionEnd,
    },
    /// The session was closed before the request was sent.
    #[error("the session takes no more requests")]
    Closing,
    /// Stream identifiers are used up (2^31-1): open another session.
    #[error("stream identifiers are used up")]
    IdsExhausted,
    /// The signal was aborted, or the stream was dropped.
    #[error("the request was aborted")]
    Aborted,
    /// We reset the stream with this code.
    #[error("the stream was reset with {0} by this side")]
    ResetByUs(ErrorCode),
    /// No head of a response in time, or octets that did not move.
    #[error("the request timed out")]
    TimedOut,
    /// The body of the request failed while it was sent.
    #[error("the body of the request failed")]
    BodyFailed,
    /// The response breaks a rule (RFC 9113 §8.1.1), its length for one; we reset the stream with this code.
    #[error("the response is malformed ({0})")]
    Malformed(ErrorCode),
    /// The server does not offer extended CONNECT (RFC 8441).
    #[error("the server does not offer extended CONNECT")]
    ConnectProtocol,
    /// More informational heads than anybody reads.
    #[error("too many informational responses")]
    TooManyInformational,
    /// The machine refused what it was asked for.
    #[error(transparent)]
    Misused(UserError),
    /// A tunnel was refused with this status.
    #[error("the tunnel was refused with status {0}")]
    TunnelRefused(u16),
    /// The session holds this stream no longer; it ended otherwise than by the rules.
    #[error("stream {0} is gone")]
    Gone(StreamId),
}

impl StreamError {
    /// The peer has certainly not looked at the request: making it again does nothing twice (RFC 9113 §8.7).
    pub fn is_retry_safe(&self) -> bool {
        matches!(self, Self::Unprocessed { .. } | Self::Cancelled { .. } | Self::Closing | Self::IdsExhausted)
    }

    /// The code of RST_STREAM or GOAWAY behind it, whoever sent it.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Reset(code) | Self::ResetByUs(code) | Self::Malformed(code) => Some(*code),
            Self::Unprocessed { code } => Some(*code),
            Self::SessionClosed(error) | Self::Cancelled { cause: error } => error.code(),
            Self::Aborted | Self::TimedOut => Some(ErrorCode::CANCEL),
            Self::BodyFailed => Some(ErrorCode::INTERNAL_ERROR),
            Self::TooManyInformational => Some(ErrorCode::ENHANCE_YOUR_CALM),
            Self::Closing
            | Self::IdsExhausted
            | Self::ConnectProtocol
            | Self::Misused(_)
            | Self::TunnelRefused(_)
            | Self::Gone(_) => None,
        }
    }
}

/// Octets or trailers that were not taken.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::{RequestOptions, SendError};
///
/// let mut stream = session.request("/", RequestOptions::default())?;
/// // A GET has ended with its head.
/// assert!(matches!(stream.send_data("more".into()).await, Err(SendError::Ended)));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// This side has ended already, or the body was given with the request.
    #[error("this side of the stream has ended")]
    Ended,
    /// More octets than `content-length`, or fewer at the end.
    #[error("{sent} octets sent, content-length says {declared}")]
    ContentLength {
        /// Octets so far, these included.
        sent: u64,
        /// What the head says.
        declared: u64,
    },
    /// The peer has answered in full and wants no more (RFC 9113 §8.1): no failure of the request.
    #[error("the peer has answered and wants no more")]
    Unwanted,
    /// Trailers that break a rule of RFC 9113 §8.
    #[error("the trailers cannot be sent: {0}")]
    Invalid(#[from] UserError),
    /// The stream is no more.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Either of the two a whole exchange can fail with.
///
/// ```
/// use stagedoor_actors::client::{ClientSession, Error};
///
/// async fn is_there(session: &ClientSession) -> Result<bool, Error> {
///     match session.send(http::Request::new("")).await {
///         Ok(answer) => Ok(answer.status() != 404),
///         Err(Error::Stream(_)) => Ok(false),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was not made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It failed under way.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl Error {
    /// See [`StreamError::is_retry_safe`].
    pub fn is_retry_safe(&self) -> bool {
        match self {
            Self::Request(error) => error.is_retry_safe(),
            Self::Stream(error) => error.is_retry_safe(),
        }
    }
}
