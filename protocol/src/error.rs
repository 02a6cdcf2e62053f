//! What can go wrong, told apart by how far it reaches (RFC 9113 §5.4, §7).
//!
//! [`ConnectionError`] ends the connection with GOAWAY, [`StreamError`] ends one stream with RST_STREAM,
//! [`UserError`] is a mistake of the caller and never reaches the wire. [`ErrorCode`] is the one table from
//! violation to wire code.

use crate::hpack;
use crate::ids::StreamId;
use crate::limit::Limit;

/// An error code of RST_STREAM and GOAWAY (RFC 9113 §7). An open set: unknown codes stay printable.
///
/// ```
/// use stagedoor_protocol::ErrorCode;
///
/// assert_eq!(ErrorCode::CANCEL.to_string(), "CANCEL");
/// assert_eq!(ErrorCode::from_name("CANCEL"), Some(ErrorCode(0x8)));
/// assert_eq!(ErrorCode(0xff).to_string(), "unknown(0xff)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name in RFC 9113 §7, or `unknown`.
            pub fn name(self) -> &'static str {
                match self.0 { $($value => stringify!($name),)* _ => "unknown" }
            }

            /// The code with this name, as §7 spells it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Not an error: graceful shutdown, or a stream no longer needed.
    NO_ERROR = 0x0;
    /// The peer broke the protocol in a way no other code names.
    PROTOCOL_ERROR = 0x1;
    /// Our own fault.
    INTERNAL_ERROR = 0x2;
    /// The peer sent more octets than a window allowed.
    FLOW_CONTROL_ERROR = 0x3;
    /// SETTINGS was not acknowledged in time.
    SETTINGS_TIMEOUT = 0x4;
    /// A frame arrived on a half that was closed.
    STREAM_CLOSED = 0x5;
    /// A frame had a size its type does not allow.
    FRAME_SIZE_ERROR = 0x6;
    /// The stream was refused before any work was done; a retry is safe (§8.7).
    REFUSED_STREAM = 0x7;
    /// The stream is no longer wanted.
    CANCEL = 0x8;
    /// Header compression state is lost.
    COMPRESSION_ERROR = 0x9;
    /// The connection behind a CONNECT request failed.
    CONNECT_ERROR = 0xa;
    /// The peer asks for more than is fair.
    ENHANCE_YOUR_CALM = 0xb;
    /// The transport is not good enough.
    INADEQUATE_SECURITY = 0xc;
    /// The request has to be made over HTTP/1.1.
    HTTP_1_1_REQUIRED = 0xd;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            "unknown" => write!(f, "unknown(0x{:x})", self.0),
            name => f.write_str(name),
        }
    }
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Ends the connection; the peer reads the code in GOAWAY (RFC 9113 §5.4.1).
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, ConnectionError, ErrorCode, Role};
///
/// let now = Instant::now();
/// let mut server = Connection::new(Role::Server, Config::default(), now);
/// let error = server.handle_input(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n", now).unwrap_err();
/// assert_eq!((&error, error.code()), (&ConnectionError::BadPreface, ErrorCode::PROTOCOL_ERROR));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The first octets are not the client's preface (§3.4).
    #[error("the connection does not begin with the HTTP/2 preface")]
    BadPreface,
    /// The first frame is not SETTINGS (§3.4).
    #[error("the first frame is {0:#04x}, not SETTINGS")]
    FirstFrameNotSettings(u8),
    /// The preface or the first SETTINGS did not come in time.
    #[error("the preface was not complete in time")]
    PrefaceTimeout,
    /// Our SETTINGS was not acknowledged in time (§6.5.3).
    #[error("SETTINGS was not acknowledged in time")]
    SettingsTimeout,
    /// A header block was not complete in time.
    #[error("a header block was not complete in time")]
    HeaderTimeout,
    /// A frame longer than our SETTINGS_MAX_FRAME_SIZE (§4.2).
    #[error("frame of {length} octets where {limit} are allowed")]
    FrameTooLarge {
        /// Octets of payload the frame header announced.
        length: u32,
        /// Our SETTINGS_MAX_FRAME_SIZE.
        limit: u32,
    },
    /// A frame whose length its type does not allow (§4.2, §6).
    #[error("{frame} frame with a payload of {length} octets")]
    FrameSize {
        /// Name of the frame type.
        frame: &'static str,
        /// Octets of payload.
        length: u32,
    },
    /// A frame on stream 0 that belongs to a stream, or the other way round (§6).
    #[error("{0} frame on the wrong kind of stream")]
    WrongStream(&'static str),
    /// More padding than payload (§6.1).
    #[error("padding is as long as the payload or longer")]
    Padding,
    /// A frame for a stream that nobody opened (§5.1).
    #[error("{frame} on idle stream {id}")]
    IdleStream {
        /// Name of the frame type.
        frame: &'static str,
        /// The stream.
        id: StreamId,
    },
    /// A new stream with an identifier the peer may not open, or lower than one it used (§5.1.1).
    #[error("stream {0} cannot be opened by the peer")]
    InvalidStreamId(StreamId),
    /// A frame on a stream that END_STREAM closed (§5.1).
    #[error("{frame} on closed stream {id}")]
    StreamClosed {
        /// Name of the frame type.
        frame: &'static str,
        /// The stream.
        id: StreamId,
    },
    /// A frame on a promised stream that only its HEADERS may begin (§5.1, reserved).
    #[error("{frame} on reserved stream {id}")]
    ReservedStream {
        /// Name of the frame type.
        frame: &'static str,
        /// The stream.
        id: StreamId,
    },
    /// CONTINUATION expected and something else came, or none expected (§6.10).
    #[error("a header block is not continued as it must be")]
    Continuation,
    /// The peer sent more than the connection window (§6.9.1).
    #[error("the connection window was exceeded by {0} octets")]
    ConnectionWindowExceeded(u32),
    /// A window grew past 2^31-1 (§6.9.1).
    #[error("the connection window was raised past 2^31-1")]
    WindowOverflow,
    /// WINDOW_UPDATE of zero for the connection (§6.9).
    #[error("WINDOW_UPDATE of zero for the connection")]
    ZeroIncrement,
    /// A setting with a value it cannot have (§6.5.2).
    #[error("setting {id:#06x} cannot be {value}")]
    InvalidSetting {
        /// Identifier of the setting.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// SETTINGS_INITIAL_WINDOW_SIZE too large, or a change of it overflowed a stream's window (§6.5.2, §6.9.2).
    #[error("SETTINGS_INITIAL_WINDOW_SIZE of {0} overflows a window")]
    InitialWindow(u32),
    /// SETTINGS ack for which no SETTINGS is outstanding.
    #[error("SETTINGS acknowledged that were never sent")]
    UnexpectedSettingsAck,
    /// PUSH_PROMISE that is not allowed (§6.6, §8.4).
    #[error("PUSH_PROMISE is not allowed here")]
    UnexpectedPush,
    /// PRIORITY_UPDATE that is not allowed (RFC 9218 §7.1).
    #[error("PRIORITY_UPDATE is not allowed here")]
    UnexpectedPriorityUpdate,
    /// GOAWAY that raises the last stream id (§6.8).
    #[error("GOAWAY raised the last stream to {0}")]
    GoAwayRaised(StreamId),
    /// Header compression state is lost (RFC 7541).
    #[error("header block cannot be decoded: {0}")]
    Compression(#[from] hpack::Error),
    /// A protective limit; the debug text names it.
    #[error("limit reached: {0}")]
    Calm(Limit),
    /// The peer's preface was HTTP/1 or garbage and the owner gave up, or the owner asked for this code.
    #[error("closed with {0}")]
    Local(ErrorCode),
}

impl ConnectionError {
    /// The code the peer reads in GOAWAY.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadPreface
            | Self::FirstFrameNotSettings(_)
            | Self::WrongStream(_)
            | Self::Padding
            | Self::IdleStream { .. }
            | Self::ReservedStream { .. }
            | Self::InvalidStreamId(_)
            | Self::Continuation
            | Self::ZeroIncrement
            | Self::InvalidSetting { .. }
            | Self::UnexpectedSettingsAck
            | Self::UnexpectedPush
            | Self::UnexpectedPriorityUpdate
            | Self::GoAwayRaised(_) => ErrorCode::PROTOCOL_ERROR,
            Self::PrefaceTimeout | Self::SettingsTimeout => ErrorCode::SETTINGS_TIMEOUT,
            Self::HeaderTimeout | Self::Calm(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::FrameTooLarge { .. } | Self::FrameSize { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::StreamClosed { .. } => ErrorCode::STREAM_CLOSED,
            Self::ConnectionWindowExceeded(_) | Self::WindowOverflow | Self::InitialWindow(_) => {
                ErrorCode::FLOW_CONTROL_ERROR
            }
            Self::Compression(_) => ErrorCode::COMPRESSION_ERROR,
            Self::Local(code) => *code,
        }
    }
}

/// Ends one stream; the peer reads the code in RST_STREAM (RFC 9113 §5.4.2).
///
/// ```
/// use stagedoor_protocol::{ErrorCode, StreamError};
///
/// match StreamError::WindowExceeded(3) {
///     error @ StreamError::WindowExceeded(octets) => {
///         assert_eq!((octets, error.code()), (3, ErrorCode::FLOW_CONTROL_ERROR));
///     }
///     other => println!("RST_STREAM says {}", other.code()),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The message breaks §8; the text names the rule.
    #[error("malformed message: {0}")]
    Malformed(#[from] crate::message::Malformed),
    /// The peer sent more than the stream's window (§6.9.1).
    #[error("the stream window was exceeded by {0} octets")]
    WindowExceeded(u32),
    /// The stream's send window grew past 2^31-1 (§6.9.1).
    #[error("the stream window was raised past 2^31-1")]
    WindowOverflow,
    /// WINDOW_UPDATE of zero (§6.9).
    #[error("WINDOW_UPDATE of zero")]
    ZeroIncrement,
    /// PRIORITY with a payload other than 5 octets (§6.3).
    #[error("PRIORITY with a payload of {0} octets")]
    PrioritySize(u32),
    /// A frame on a half that the peer had closed (§5.1).
    #[error("{0} after END_STREAM")]
    HalfClosed(&'static str),
    /// More streams than we allow; nothing was done, a retry is safe (§5.1.2, §8.7).
    #[error("more concurrent streams than allowed")]
    TooManyStreams,
    /// The session holds more than its memory; nothing was done, a retry is safe.
    #[error("the session is over its memory")]
    NoMemory,
    /// Informational heads without end before a response.
    #[error("more informational heads than allowed")]
    TooManyInformational,
    /// We are draining; nothing was done, a retry is safe.
    #[error("the connection is draining")]
    Draining,
    /// The header list is larger, or has more fields, than we allow (§10.5.1).
    #[error("the header list is too large")]
    HeaderListTooLarge,
}

impl StreamError {
    /// The code the peer reads in RST_STREAM.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) | Self::ZeroIncrement => ErrorCode::PROTOCOL_ERROR,
            Self::WindowExceeded(_) | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
            Self::PrioritySize(_) => ErrorCode::FRAME_SIZE_ERROR,
            Self::HalfClosed(_) => ErrorCode::STREAM_CLOSED,
            Self::TooManyStreams | Self::NoMemory | Self::Draining => ErrorCode::REFUSED_STREAM,
            Self::HeaderListTooLarge | Self::TooManyInformational => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

/// The caller asked for something that cannot be; nothing was sent.
///
/// ```
/// use stagedoor_protocol::{Fields, ResponseHead, UserError};
///
/// let fields = Fields::from_iter([("x-words", "two\nlines")]);
/// match ResponseHead::new(200, fields).check(true) {
///     Err(UserError::InvalidField(error)) => assert_eq!(error.name, "x-words"),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// No such stream, or it is closed already. Often not a mistake: the peer may have reset it meanwhile.
    #[error("stream {0} is closed")]
    StreamGone(StreamId),
    /// The connection is closed.
    #[error("the connection is closed")]
    ConnectionClosed,
    /// The head was sent already.
    #[error("the head of stream {0} was sent already")]
    HeadSent(StreamId),
    /// A body or trailers before the head.
    #[error("the head of stream {0} was not sent yet")]
    HeadMissing(StreamId),
    /// Something after END_STREAM.
    #[error("stream {0} was ended already")]
    Ended(StreamId),
    /// More octets, or fewer at the end, than the content-length we sent.
    #[error("body of {sent} octets on stream {id}, content-length says {declared}")]
    ContentLength {
        /// The stream.
        id: StreamId,
        /// Octets given so far.
        sent: u64,
        /// What the head said.
        declared: u64,
    },
    /// A field name or value that must not be sent (RFC 9110 §5.5, RFC 9113 §8.2).
    #[error("field cannot be sent: {0}")]
    InvalidField(Box<crate::check::FieldError>),
    /// A field that a message has once, given twice ([`crate::Config::strict_single_value_fields`]).
    #[error("field {0:?} can be sent once only")]
    RepeatedField(String),
    /// A head that may take more octets than [`crate::Config::max_send_header_block`].
    #[error("header section of up to {octets} octets, at most {limit} are sent")]
    HeaderBlockTooLarge {
        /// What it may take at most, before compression.
        octets: usize,
        /// Our bound.
        limit: usize,
    },
    /// A body, or trailers, where there can be none: HEAD, 204, 205, 304 (RFC 9110 §6.4.1).
    #[error("the response on stream {0} has no body")]
    BodyForbidden(StreamId),
    /// Trailers in a tunnel (§8.5).
    #[error("stream {0} is a tunnel, which has no trailers")]
    TrailersOnTunnel(StreamId),
    /// The client takes no pushed responses.
    #[error("the client does not take pushed responses")]
    PushDisabled,
    /// A promise on a stream that is itself promised (§6.6).
    #[error("stream {0} is pushed itself")]
    NestedPush(StreamId),
    /// A promised request that is not safe and cacheable, has a body, or says not where it goes (§8.4).
    #[error("only a GET or HEAD with an authority and without a body can be promised")]
    UnsafePush,
    /// A status outside 200 to 599 for a final head, or not 100, 102 to 199 for an informational one.
    #[error("status {0} cannot be sent here")]
    InvalidStatus(u16),
    /// The peer's concurrency limit is reached; try again when a stream ends.
    #[error("the peer allows no more streams now")]
    TooManyStreams,
    /// The peer said GOAWAY or we are draining; open another connection.
    #[error("the connection takes no more streams")]
    GoingAway,
    /// Stream identifiers are used up (2^31-1).
    #[error("stream identifiers are used up")]
    IdsExhausted,
    /// The call belongs to the other role.
    #[error("this call belongs to the other role")]
    WrongRole,
    /// A setting with a value it cannot have.
    #[error("setting {id:#06x} cannot be {value}")]
    InvalidSetting {
        /// Identifier of the setting.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// More settings without a meaning here than are sent.
    #[error("{0} custom settings, at most 10 are sent")]
    TooManyCustomSettings(usize),
    /// Packed settings whose length is no multiple of six.
    #[error("packed settings of {0} octets, which is no multiple of 6")]
    SettingsLength(usize),
    /// So many SETTINGS of ours wait for their acknowledgement already.
    #[error("{0} SETTINGS are not acknowledged yet")]
    TooManySettings(usize),
    /// The new initial window would lift a window past 2^31-1 at the peer (§6.9.2).
    #[error("SETTINGS_INITIAL_WINDOW_SIZE of {initial} would lift the window of stream {id} past 2^31-1")]
    WindowTooLarge {
        /// A stream whose window has grown.
        id: StreamId,
        /// The value asked for.
        initial: u32,
    },
    /// So many PINGs of ours wait for their answer already.
    #[error("{0} PINGs are not answered yet")]
    TooManyPings(usize),
    /// A GOAWAY that would raise what was announced, disown what was looked at, or name a stream the peer cannot open
    /// (§6.8).
    #[error("GOAWAY cannot name stream {last}, only the peer's from {lowest} to {highest}")]
    GoAwayLast {
        /// The stream asked for.
        last: StreamId,
        /// The highest stream that was looked at.
        lowest: StreamId,
        /// What an earlier GOAWAY named.
        highest: StreamId,
    },
    /// No `http` or `https` origin, or one that is written as `null` (RFC 6454).
    #[error("{0:?} is not an http or https origin")]
    InvalidOrigin(String),
    /// An Alt-Svc value that is empty or has characters no quoted-string has.
    #[error("the Alt-Svc value is empty or has a character that cannot be sent")]
    AltSvcValue,
    /// More octets than the frame can carry.
    #[error("{frame} of {length} octets, at most {limit} can be sent")]
    FrameTooLong {
        /// Name of the frame type.
        frame: &'static str,
        /// Octets asked for.
        length: usize,
        /// Octets it can carry.
        limit: usize,
    },
    /// A stream identifier of the other side, or one that is used already (§5.1.1).
    #[error("stream {0} cannot be opened from here")]
    InvalidStreamId(StreamId),
}

impl UserError {
    /// The head or the trailers given cannot be sent, whatever the stream; others could be in their place.
    pub fn is_about_fields(&self) -> bool {
        matches!(
            self,
            Self::InvalidField(_)
                | Self::RepeatedField(_)
                | Self::HeaderBlockTooLarge { .. }
                | Self::InvalidStatus(_)
        )
    }
}
