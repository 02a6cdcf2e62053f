//! [`CloseSession`], the one message that ends a session, and the table of what each reason means on the wire.
//!
//! Does nothing itself: `session/mod.rs` acts on it. Invariant: every [`CloseReason`] has a row in
//! [`CloseSession::new`], because the match has no wildcard.

use std::borrow::Cow;
use std::time::Duration;

use actix::prelude::Message;
use bytes::Bytes;
use stagedoor_metrics::{AbuseKind, CloseReason, TimeoutKind};
use stagedoor_protocol::{ConnectionError, ErrorCode, Limit};

/// Order: end the session. The first order's reason is the one reported; a later order may only shorten the
/// drain (a hard one after a graceful one, or an earlier deadline).
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::CloseSession;
/// use stagedoor_metrics::CloseReason;
/// use stagedoor_protocol::ErrorCode;
///
/// let gently = CloseSession::graceful("an hour is enough").with_grace(Duration::from_secs(5));
/// assert!(!gently.hard && !gently.is_error());
/// let abuse = CloseSession::new(CloseReason::Abuse);
/// assert!(abuse.hard && abuse.is_error());
/// assert_eq!(abuse.code, ErrorCode::ENHANCE_YOUR_CALM);
/// ```
#[derive(Clone, Debug)]
pub struct CloseSession {
    /// Why.
    pub reason: CloseReason,
    /// Streams are cut off now instead of being finished.
    pub hard: bool,
    /// What GOAWAY says when streams are cut off.
    pub code: ErrorCode,
    /// Debug text of that GOAWAY, and of the log.
    pub detail: Cow<'static, str>,
    /// Opaque data of GOAWAY in place of `detail` (RFC 9113 §6.8); at most 1 024 octets of it are sent.
    pub opaque: Bytes,
    /// Graceful: how long streams may go on; the listener's `drain` where `None`.
    pub grace: Option<Duration>,
}

impl Message for CloseSession {
    type Result = ();
}

impl CloseSession {
    /// The order a reason asks for.
    pub fn new(reason: CloseReason) -> Self {
        use CloseReason as R;
        let (hard, code) = match reason {
            R::ClientGoaway | R::IdleTimeout | R::MaxAge | R::Drain | R::Admin | R::Limit => {
                (false, ErrorCode::NO_ERROR)
            }
            // Nobody reads it, or the peer knows.
            R::ClientClosed | R::PeerError | R::IoError | R::TlsError | R::HandshakeTimeout => {
                (true, ErrorCode::NO_ERROR)
            }
            R::KeepaliveTimeout | R::Upgraded | R::Shutdown => (true, ErrorCode::NO_ERROR),
            R::ProtocolError => (true, ErrorCode::PROTOCOL_ERROR),
            R::PrefaceTimeout | R::SettingsTimeout => (true, ErrorCode::SETTINGS_TIMEOUT),
            R::WriteStall | R::HeaderTimeout | R::Abuse | R::Memory | R::Overload => {
                (true, ErrorCode::ENHANCE_YOUR_CALM)
            }
            R::Panic | R::PanicBudget | R::Other => (true, ErrorCode::INTERNAL_ERROR),
        };
        Self { reason, hard, code, detail: Cow::Borrowed(reason.label()), opaque: Bytes::new(), grace: None }
    }

    /// Somebody wants the session to end: its streams may go on for as long as its listener allows, see [`Self::with_grace`].
    /// `words` go to the log, and to GOAWAY where streams are cut off in the end.
    pub fn graceful(words: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CloseReason::Admin).with_detail(words)
    }

    /// The same, cutting streams off now.
    #[must_use]
    pub fn now(mut self) -> Self {
        self.hard = true;
        self
    }

    /// The same with a time for streams to go on.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// The same with another code in GOAWAY.
    #[must_use]
    pub fn with_code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }

    /// The same with opaque data in GOAWAY.
    #[must_use]
    pub fn with_opaque(mut self, opaque: impl Into<Bytes>) -> Self {
        self.opaque = opaque.into();
        self
    }

    /// Two orders of one turn are one: the reason of the first, the shorter time of both.
    pub(crate) fn join(first: &mut Option<Self>, later: Self) {
        let Some(first) = first else {
            *first = Some(later);
            return;
        };
        if later.hard && !first.hard {
            let reason = first.reason;
            *first = Self { reason, ..later };
        } else if !first.hard
            && let Some(grace) = later.grace
        {
            first.grace = Some(first.grace.map_or(grace, |known| known.min(grace)));
        }
    }

    /// What GOAWAY says when streams are cut off, beside its code.
    pub(crate) fn words(&self) -> &[u8] {
        if self.opaque.is_empty() { self.detail.as_bytes() } else { &self.opaque }
    }

    /// The session ends by an error, its own or the peer's, and not because somebody wanted it to.
    pub fn is_error(&self) -> bool {
        use CloseReason as R;
        let by_reason = matches!(
            self.reason,
            R::PeerError | R::IoError | R::TlsError | R::HandshakeTimeout | R::KeepaliveTimeout
        );
        by_reason || self.code != ErrorCode::NO_ERROR
    }

    /// The same with words for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl From<&ConnectionError> for CloseSession {
    fn from(error: &ConnectionError) -> Self {
        let reason = match error {
            ConnectionError::PrefaceTimeout => CloseReason::PrefaceTimeout,
            ConnectionError::SettingsTimeout => CloseReason::SettingsTimeout,
            ConnectionError::HeaderTimeout => CloseReason::HeaderTimeout,
            ConnectionError::Calm(Limit::Memory) => CloseReason::Memory,
            ConnectionError::Calm(Limit::Panics) => return Self::new(CloseReason::PanicBudget),
            ConnectionError::Calm(_) => CloseReason::Abuse,
            ConnectionError::Local(_) => CloseReason::Other,
            _ => CloseReason::ProtocolError,
        };
        Self::new(reason).with_code(error.code()).with_detail(error.to_string())
    }
}

/// The timer behind a reason, where there is one.
pub(crate) fn timer_of(reason: CloseReason) -> Option<TimeoutKind> {
    Some(match reason {
        CloseReason::IdleTimeout => TimeoutKind::Idle,
        CloseReason::WriteStall => TimeoutKind::WriteStall,
        CloseReason::HeaderTimeout => TimeoutKind::Header,
        CloseReason::MaxAge => TimeoutKind::MaxAge,
        CloseReason::HandshakeTimeout => TimeoutKind::Handshake,
        CloseReason::PrefaceTimeout => TimeoutKind::Preface,
        CloseReason::SettingsTimeout => TimeoutKind::Settings,
        CloseReason::KeepaliveTimeout => TimeoutKind::Keepalive,
        _ => return None,
    })
}

/// The label of a protective limit in `stagedoor_abuse_total`.
///
/// ```
/// use stagedoor_actors::Limit;
/// use stagedoor_actors::close::abuse_of;
/// use stagedoor_metrics::AbuseKind;
///
/// assert_eq!(abuse_of(Limit::ResetsReceived), AbuseKind::RapidReset);
/// ```
pub fn abuse_of(limit: Limit) -> AbuseKind {
    match limit {
        Limit::ResetsReceived => AbuseKind::RapidReset,
        Limit::ResetsProvoked => AbuseKind::ProvokedReset,
        Limit::Pings => AbuseKind::Ping,
        Limit::InvalidFrames => AbuseKind::InvalidFrames,
        Limit::Settings | Limit::SettingsEntries => AbuseKind::Settings,
        Limit::Continuations | Limit::EmptyContinuations => AbuseKind::Continuation,
        Limit::HeaderBlockBytes => AbuseKind::HeaderBytes,
        Limit::HeaderBytes | Limit::HeaderList => AbuseKind::HeaderList,
        Limit::HeaderFields => AbuseKind::HeaderFields,
        Limit::EmptyData => AbuseKind::EmptyData,
        Limit::WindowUpdates => AbuseKind::WindowUpdate,
        Limit::Priorities => AbuseKind::Priority,
        Limit::OutstandingAcks => AbuseKind::OutstandingAcks,
        Limit::ControlQueue => AbuseKind::ControlQueue,
        Limit::Streams => AbuseKind::Streams,
        Limit::NewStreams => AbuseKind::NewStreams,
        Limit::Memory => AbuseKind::Memory,
        Limit::Panics => AbuseKind::Panics,
        Limit::RefusedStreams => AbuseKind::RefusedStreams,
        Limit::SmallData => AbuseKind::SmallData,
        Limit::UnknownFrames => AbuseKind::UnknownFrames,
        _ => AbuseKind::UnknownFrames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drains_says_no_error_and_what_the_peer_broke_names_the_break() {
        for reason in CloseReason::ALL {
            let order = CloseSession::new(*reason);
            assert!(order.hard || order.code == ErrorCode::NO_ERROR, "{reason}");
        }
        let order = CloseSession::from(&ConnectionError::WindowOverflow);
        assert_eq!((order.reason, order.code), (CloseReason::ProtocolError, ErrorCode::FLOW_CONTROL_ERROR));
        let order = CloseSession::from(&ConnectionError::Calm(Limit::Pings));
        assert_eq!((order.reason, order.code), (CloseReason::Abuse, ErrorCode::ENHANCE_YOUR_CALM));
    }
}
