//! Why a try did not bring an answer: what it is called (RFC 9209 §2.3), what the client hears, and whether asking again
//! can do anything twice.

use std::io;

use stagedoor_actors::client::{ConnectError, RequestError, SessionEnd, StreamError};
use stagedoor_metrics::{CloseReason, EjectionReason, UpstreamFailure};

use crate::config::RetryOn;
use crate::fault::Fault;
use crate::upstream::DialError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: UpstreamFailure,
    pub(crate) reach: Reach,
    /// For the log; the client hears a sentence without addresses.
    pub(crate) detail: String,
}

/// How far the request may have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No connection.
    Connect,
    /// The server refused the stream: it has not looked at it (RFC 9113 §8.7).
    Refused,
    /// Never sent, or above the last stream of a GOAWAY: not looked at.
    Unprocessed,
    /// A connection that had been idle was gone when it was used: most likely never seen.
    Stale,
    /// It may have been looked at: reset, or cut off, before a head.
    Reset,
    /// In time there was no head.
    Timeout,
    /// One try of several had no head in its time.
    SlowTry,
    /// The answer was no HTTP, or asking again would not help.
    Final,
    /// The client's own body failed; nobody's fault upstream.
    Client,
}

impl Failure {
    pub(crate) fn new(cause: UpstreamFailure, reach: Reach, detail: impl Into<String>) -> Self {
        Self { cause, reach, detail: detail.into() }
    }

    /// No head in time.
    pub(crate) fn timed_out(what: &str) -> Self {
        Self::new(UpstreamFailure::HttpResponseTimeout, Reach::Timeout, what)
    }

    /// No head in the time of one try.
    pub(crate) fn slow_try() -> Self {
        Self::new(
            UpstreamFailure::HttpResponseTimeout,
            Reach::SlowTry,
            "no head of an answer in time for a try",
        )
    }

    /// What it is called where the head had come already; nothing where the client is its cause.
    pub(crate) fn after_head(&self) -> Option<UpstreamFailure> {
        use UpstreamFailure as Cause;
        match (self.reach, self.cause) {
            (Reach::Client, _) => None,
            (_, Cause::Stall) => Some(Cause::Stall),
            (_, Cause::HttpProtocolError) => Some(Cause::HttpProtocolError),
            _ => Some(Cause::HttpResponseIncomplete),
        }
    }

    /// Whether the same request may be made again.
    pub(crate) fn may_be_retried(&self, on: &RetryOn, idempotent: bool) -> bool {
        match self.reach {
            Reach::Connect => on.connect,
            Reach::Refused => on.refused,
            Reach::Unprocessed => on.unprocessed,
            // Nobody chose the connection: another is taken without being asked for it.
            Reach::Stale => idempotent,
            // A try that is given up is reset by us.
            Reach::Reset | Reach::SlowTry => on.reset && idempotent,
            Reach::Timeout | Reach::Final | Reach::Client => false,
        }
    }

    /// Whether the endpoint is to blame.
    pub(crate) fn counts_against(&self) -> Option<EjectionReason> {
        match self.reach {
            Reach::Connect => Some(EjectionReason::ConsecutiveConnectErrors),
            Reach::Reset | Reach::Final | Reach::Refused => Some(EjectionReason::ConsecutiveResets),
            Reach::Timeout | Reach::SlowTry => Some(EjectionReason::Consecutive5xx),
            Reach::Unprocessed | Reach::Stale | Reach::Client => None,
        }
    }

    /// What the client hears.
    pub(crate) fn fault(&self) -> Fault {
        use UpstreamFailure as Cause;
        let (status, sentence) = match self.cause {
            Cause::ConnectionTimeout => {
                (504, "the server behind this gateway did not accept a connection in time")
            }
            Cause::HttpResponseTimeout | Cause::Stall => {
                (504, "the server behind this gateway did not answer in time")
            }
            Cause::DnsTimeout => (504, "the name of the server behind this gateway was not resolved in time"),
            Cause::DnsError => (502, "the server behind this gateway has no address"),
            Cause::ConnectionLimitReached => (503, "the servers behind this gateway are busy"),
            Cause::DestinationUnavailable => (503, "no server behind this gateway takes the request"),
            Cause::ConnectionRefused => (502, "the server behind this gateway refused the connection"),
            Cause::ConnectionTerminated => {
                (502, "the server behind this gateway ended the connection without an answer")
            }
            Cause::TlsProtocolError | Cause::TlsCertificateError => {
                (502, "no trusted connection to the server behind this gateway")
            }
            Cause::HttpRequestError => (400, "the request cannot be sent on"),
            Cause::HttpUpgradeFailed => (502, "the server behind this gateway opened no tunnel"),
            Cause::HttpResponseIncomplete | Cause::HttpProtocolError => {
                (502, "the server behind this gateway gave an answer that is no HTTP")
            }
        };
        Fault::new(status, self.cause.label(), sentence)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let cause = match &error {
            ConnectError::Resolve { .. } | ConnectError::InvalidAuthority { .. } => UpstreamFailure::DnsError,
            ConnectError::Io { error, .. } => of_connect(error),
            ConnectError::Tls { error, .. } => of_tls(error),
            ConnectError::Timeout { .. } => UpstreamFailure::ConnectionTimeout,
            ConnectError::NoHttp2 { .. } => UpstreamFailure::TlsProtocolError,
            _ => UpstreamFailure::ConnectionTerminated,
        };
        Self::new(cause, Reach::Connect, error.to_string())
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let cause = match &error {
            DialError::Resolve(_) => UpstreamFailure::DnsError,
            DialError::Connect(error) => of_connect(error),
            DialError::Tls(error) => of_tls(error),
        };
        Self::new(cause, Reach::Connect, error.to_string())
    }
}

fn of_connect(error: &io::Error) -> UpstreamFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => UpstreamFailure::ConnectionRefused,
        io::ErrorKind::TimedOut => UpstreamFailure::ConnectionTimeout,
        _ => UpstreamFailure::ConnectionTerminated,
    }
}

fn of_tls(error: &io::Error) -> UpstreamFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => UpstreamFailure::TlsCertificateError,
        _ => UpstreamFailure::TlsProtocolError,
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::Closing => {
                Self::new(UpstreamFailure::DestinationUnavailable, Reach::Unprocessed, detail)
            }
            RequestError::Closed(SessionEnd::Connect(error)) => error.into(),
            RequestError::Closed(_) => {
                Self::new(UpstreamFailure::ConnectionTerminated, Reach::Unprocessed, detail)
            }
            RequestError::QueueFull(_) => {
                Self::new(UpstreamFailure::ConnectionLimitReached, Reach::Final, detail)
            }
            _ => Self::new(UpstreamFailure::HttpRequestError, Reach::Client, detail),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        use UpstreamFailure as Cause;
        let detail = error.to_string();
        match error {
            StreamError::Unprocessed { code } if code == stagedoor_protocol::ErrorCode::REFUSED_STREAM => {
                Self::new(Cause::DestinationUnavailable, Reach::Refused, detail)
            }
            StreamError::Unprocessed { .. } | StreamError::Closing | StreamError::IdsExhausted => {
                Self::new(Cause::DestinationUnavailable, Reach::Unprocessed, detail)
            }
            StreamError::Cancelled { cause: SessionEnd::Connect(error) } => error.into(),
            StreamError::Cancelled { .. } => {
                Self::new(Cause::ConnectionTerminated, Reach::Unprocessed, detail)
            }
            StreamError::SessionClosed(end) => {
                let cause = match end {
                    SessionEnd::Closed { reason: CloseReason::ProtocolError, .. } => Cause::HttpProtocolError,
                    _ => Cause::ConnectionTerminated,
                };
                Self::new(cause, Reach::Reset, detail)
            }
            StreamError::Reset(_) => Self::new(Cause::ConnectionTerminated, Reach::Reset, detail),
            StreamError::TimedOut => Self::new(Cause::Stall, Reach::Timeout, detail),
            StreamError::Malformed(_) | StreamError::TooManyInformational => {
                Self::new(Cause::HttpProtocolError, Reach::Final, detail)
            }
            StreamError::Misused(_)
            | StreamError::BodyFailed
            | StreamError::Aborted
            | StreamError::ResetByUs(_) => Self::new(Cause::HttpRequestError, Reach::Client, detail),
            StreamError::ConnectProtocol | StreamError::TunnelRefused(_) => {
                Self::new(Cause::HttpUpgradeFailed, Reach::Final, detail)
            }
            _ => Self::new(Cause::ConnectionTerminated, Reach::Reset, detail),
        }
    }
}

/// A failure of HTTP/1.1; `fresh`: no request was answered on the connection before.
pub(crate) fn of_http1(error: &hyper::Error, fresh: bool) -> Failure {
    use UpstreamFailure as Cause;
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    if error.is_user() {
        // Our side of the exchange: the body of the request failed.
        return Failure::new(Cause::HttpRequestError, Reach::Client, detail);
    }
    if error.is_parse() {
        return Failure::new(Cause::HttpProtocolError, Reach::Final, detail);
    }
    let reach = if fresh { Reach::Reset } else { Reach::Stale };
    Failure::new(Cause::ConnectionTerminated, reach, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagedoor_protocol::ErrorCode;

    fn all() -> RetryOn {
        RetryOn { connect: true, refused: true, unprocessed: true, reset: true, statuses: vec![503] }
    }

    #[test]
    fn only_what_does_nothing_twice_is_tried_again() {
        let refused = Failure::from(StreamError::Unprocessed { code: ErrorCode::REFUSED_STREAM });
        let goaway = Failure::from(StreamError::Unprocessed { code: ErrorCode::NO_ERROR });
        let reset = Failure::from(StreamError::Reset(ErrorCode::INTERNAL_ERROR));
        let malformed = Failure::from(StreamError::Malformed(ErrorCode::PROTOCOL_ERROR));
        for (failure, safe, unsafe_) in
            [(&refused, true, true), (&goaway, true, true), (&reset, true, false), (&malformed, false, false)]
        {
            assert_eq!(failure.may_be_retried(&all(), true), safe, "{failure:?}");
            assert_eq!(failure.may_be_retried(&all(), false), unsafe_, "{failure:?}");
            assert!(!failure.may_be_retried(&RetryOn::default(), true), "{failure:?}");
        }
        assert!(!Failure::timed_out("no head").may_be_retried(&all(), true));
        assert!(Failure::slow_try().may_be_retried(&all(), true), "that is what the time of a try is for");
        assert!(!Failure::slow_try().may_be_retried(&all(), false));
    }

    #[test]
    fn what_breaks_off_after_the_head_is_incomplete_unless_it_is_known_better() {
        let cause = |error: StreamError| Failure::from(error).after_head();
        let reset = StreamError::Reset(ErrorCode::INTERNAL_ERROR);
        assert_eq!(cause(reset), Some(UpstreamFailure::HttpResponseIncomplete));
        assert_eq!(cause(StreamError::TimedOut), Some(UpstreamFailure::Stall));
        let malformed = StreamError::Malformed(ErrorCode::PROTOCOL_ERROR);
        assert_eq!(cause(malformed), Some(UpstreamFailure::HttpProtocolError));
        assert_eq!(cause(StreamError::Aborted), None, "the client gave up");
    }

    #[test]
    fn faults_are_named_and_name_no_address() {
        let io = io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.7:80 refused");
        let fault = Failure::from(DialError::Connect(io)).fault();
        assert_eq!((fault.status, fault.cause), (502, "connection_refused"));
        assert!(!fault.detail.contains("10.0.0.7"));
        for cause in UpstreamFailure::ALL {
            let fault = Failure::new(*cause, Reach::Final, "x").fault();
            assert!((400..600).contains(&fault.status) && !fault.detail.is_empty(), "{cause:?}");
        }
    }
}
