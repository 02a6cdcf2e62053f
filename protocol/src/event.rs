//! What happened: the only way the machine speaks to its owner.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{ConnectionError, ErrorCode};
use crate::fields::Fields;
use crate::ids::StreamId;
use crate::message::{RequestHead, ResponseHead};
use crate::priority::Priority;
use crate::settings::Settings;

/// Who did it.
///
/// ```
/// use stagedoor_protocol::{ErrorCode, ErrorRecord, Origin};
///
/// fn line(error: &ErrorRecord) -> String {
///     match error.by {
///         Origin::Local => format!("we said {}", error.code),
///         Origin::Remote => format!("the peer said {}", error.code),
///     }
/// }
/// let record = ErrorRecord { id: 1.into(), by: Origin::Remote, code: ErrorCode::CANCEL };
/// assert_eq!(line(&record), "the peer said CANCEL");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This side.
    Local,
    /// The peer.
    Remote,
}

/// How a stream came to its end (RFC 9113 §5.1).
///
/// ```
/// use stagedoor_protocol::{Cause, ErrorCode};
///
/// fn is_retry_safe(cause: &Cause) -> bool {
///     match cause {
///         Cause::Reset { code, .. } => *code == ErrorCode::REFUSED_STREAM,
///         Cause::Unprocessed => true,
///         Cause::EndStream | Cause::ConnectionClosed => false,
///     }
/// }
/// assert!(is_retry_safe(&Cause::Unprocessed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Both sides sent END_STREAM.
    EndStream,
    /// RST_STREAM.
    Reset {
        /// Who sent it.
        by: Origin,
        /// Its code.
        code: ErrorCode,
    },
    /// The peer's GOAWAY says it never looked at the stream: a retry is safe (§6.8, §8.7).
    Unprocessed,
    /// The connection ended under it.
    ConnectionClosed,
}

/// Something that happened on the connection, in the order it happened.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, Event, Role, Settings, frame};
///
/// let now = Instant::now();
/// let mut server = Connection::new(Role::Server, Config::default(), now);
/// // The preface, and SETTINGS without an entry.
/// server.handle_input(frame::PREFACE, now)?;
/// server.handle_input(&[0, 0, 0, frame::kind::SETTINGS, 0, 0, 0, 0, 0], now)?;
/// match server.poll_event() {
///     Some(Event::SettingsReceived { settings }) => assert_eq!(settings, Settings::default()),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), stagedoor_protocol::ConnectionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Server: a request began. `end_stream` means it has no body.
    StreamOpened {
        /// The new stream.
        id: StreamId,
        /// Its head.
        head: RequestHead,
        /// No body follows.
        end_stream: bool,
    },
    /// Server: a request whose header list is too large or has too many fields. The stream is open for an
    /// answer (431, RFC 6585 §5); whatever else the peer sends on it is dropped.
    HeadTooLarge {
        /// The new stream.
        id: StreamId,
    },
    /// Client: an informational head (1xx).
    InformationalReceived {
        /// The stream.
        id: StreamId,
        /// Status and fields.
        head: ResponseHead,
    },
    /// Client: the final head of a response.
    ResponseReceived {
        /// The stream.
        id: StreamId,
        /// Status and fields.
        head: ResponseHead,
        /// No body follows.
        end_stream: bool,
    },
    /// Client: the server promised a response (§8.4).
    PushPromised {
        /// The stream the promise came on.
        id: StreamId,
        /// The stream the response will come on.
        promised: StreamId,
        /// The request it answers.
        head: RequestHead,
    },
    /// Octets of a body; consumption is told by [`crate::Connection::consume`].
    DataReceived {
        /// The stream.
        id: StreamId,
        /// Never empty unless `end_stream`.
        data: Bytes,
        /// Nothing follows.
        end_stream: bool,
    },
    /// Trailers; nothing follows.
    TrailersReceived {
        /// The stream.
        id: StreamId,
        /// Their fields.
        fields: Fields,
    },
    /// A stream that had no capacity has some again.
    CapacityAvailable {
        /// The stream.
        id: StreamId,
    },
    /// The peer changed the priority of a response (RFC 9218 §7).
    PriorityUpdated {
        /// The stream.
        id: StreamId,
        /// Its new priority.
        priority: Priority,
    },
    /// The stream is closed; nothing more is said of it. Exactly once for each that was opened.
    StreamClosed {
        /// The stream.
        id: StreamId,
        /// How.
        cause: Cause,
    },
    /// The peer's SETTINGS are in force (and acknowledged).
    SettingsReceived {
        /// What changed.
        settings: Settings,
    },
    /// The peer acknowledged our oldest outstanding SETTINGS.
    SettingsAcknowledged,
    /// The peer answered a PING of [`crate::Connection::ping`].
    PongReceived {
        /// What we sent.
        payload: [u8; 8],
    },
    /// The peer sent a PING (answered already).
    PingReceived {
        /// Its payload.
        payload: [u8; 8],
    },
    /// Client: the server offers an alternative service (RFC 7838 §4). Whether the server may speak for the origin is
    /// the owner's to judge.
    AltSvcReceived {
        /// The stream whose origin is meant, or stream 0.
        id: StreamId,
        /// The origin, `scheme://host[:port]`; empty unless `id` is 0.
        origin: String,
        /// As in an Alt-Svc field; not judged further.
        value: String,
    },
    /// Client: origins the server says this connection answers for (RFC 8336), at most 128 a frame. To be believed over
    /// TLS alone, and as far as the certificate goes; that is the owner's to judge.
    OriginReceived {
        /// As `scheme://host[:port]`; what was no origin is left out.
        origins: Vec<String>,
    },
    /// The peer will take no stream above `last`.
    GoAwayReceived {
        /// Highest stream it looked at or may look at.
        last: StreamId,
        /// Why.
        code: ErrorCode,
        /// Its opaque data.
        debug: Bytes,
    },
    /// Both GOAWAY frames of a graceful close are out: no stream above `last` will be looked at.
    DrainStarted {
        /// Highest stream that will be answered.
        last: StreamId,
    },
    /// The connection is over by an error; GOAWAY is in the output. Always the last event.
    ConnectionFailed {
        /// What the peer did, or the owner asked for.
        error: ConnectionError,
    },
}

/// An error that was put on or read off the wire: RST_STREAM or GOAWAY with its code.
///
/// ```
/// use stagedoor_protocol::{ErrorCode, ErrorRecord, Origin, StreamId};
///
/// let goaway = ErrorRecord { id: StreamId::CONNECTION, by: Origin::Local, code: ErrorCode::NO_ERROR };
/// assert!(goaway.id.is_connection(), "GOAWAY, and not RST_STREAM");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRecord {
    /// The stream, or stream 0 for GOAWAY.
    pub id: StreamId,
    /// Who sent the frame.
    pub by: Origin,
    /// Its code.
    pub code: ErrorCode,
}

/// Frames by type: index 0 to 9 as in RFC 9113 §6, 10 PRIORITY_UPDATE, 11 anything else.
pub type FrameCounts = [u64; 12];

/// Plain counters of one connection since it started; the owner reads and takes differences.
///
/// ```
/// use stagedoor_protocol::Counters;
/// use stagedoor_protocol::frame::kind;
///
/// fn pings(before: &Counters, now: &Counters) -> u64 {
///     now.frames_in[usize::from(kind::PING)] - before.frames_in[usize::from(kind::PING)]
/// }
/// assert_eq!(pings(&Counters::default(), &Counters::default()), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub frames_in: FrameCounts,
    /// Frames sent (put into the output).
    pub frames_out: FrameCounts,
    /// Times a sender had octets and no window: stream, connection.
    pub flow_stalls: [u64; 2],
    /// How long senders had octets and no window, in all: stream, connection. Counted when a stall ends.
    pub flow_stalled: [Duration; 2],
}

/// Whose window a sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Stream,
    Connection,
}

impl Counters {
    /// A stall that began at `since` is over.
    #[inline]
    pub(crate) fn wetted(&mut self, scope: Scope, since: Option<Instant>, now: Instant) {
        if let Some(since) = since {
            self.flow_stalled[scope as usize] += now.saturating_duration_since(since);
        }
    }
}
