//! What a connection is told when it starts. Defaults are those of `docs/architecture.md`, §Defaults.

use std::time::Duration;

use crate::budget::Budgets;
use crate::frame::HEADER_LEN;

/// A receive window that starts at one size and grows with consumption (octets).
///
/// ```
/// use stagedoor_protocol::{Config, Window};
///
/// let stream_window = Window { start: 64 << 10, max: 1 << 20 };
/// let config = Config { stream_window, ..Config::default() };
/// assert_eq!(config.stream_window.max, 1 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Octets at the start; 1 to 2^31-1.
    pub start: u32,
    /// Octets it may grow to; at least `start`.
    pub max: u32,
}

/// So many at once, then so many a second.
///
/// ```
/// use stagedoor_protocol::{Budgets, Rate};
///
/// let pings = Rate { burst: 100, per_second: 10 };
/// let budgets = Budgets { pings, ..Budgets::default() };
/// assert_eq!(budgets.pings.burst, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, and the most that time gives back.
    pub burst: u32,
    /// Given back each second.
    pub per_second: u32,
}

/// How HEADERS and DATA are padded (RFC 9113 §6.1, §10.7), as far as frame size and windows allow. Padding of DATA
/// counts against the windows.
///
/// ```
/// use stagedoor_protocol::{Config, Padding};
///
/// assert_eq!(Config::default().padding, Padding::None);
/// let hidden = Config { padding: Padding::Aligned, ..Config::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// To a multiple of 8 octets, the frame header included.
    Aligned,
    /// As much as a frame can have: 256 octets.
    Max,
}

impl Padding {
    /// Octets to add to a payload of `length` octets, the one that tells how many included: 0 to 256. `window` is what
    /// windows leave beside the payload, `frame` the largest payload the peer takes.
    #[inline]
    pub(crate) fn extra(self, length: usize, window: i64, frame: u32) -> usize {
        let wanted = match self {
            Self::None => return 0,
            Self::Aligned => (8 - (HEADER_LEN + length) % 8) % 8,
            Self::Max => 256,
        };
        let room = (frame as usize).saturating_sub(length);
        wanted.min(room).min(window.max(0) as usize)
    }
}

/// Settings, windows, limits and deadlines of one connection.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::{Config, Connection, Role};
///
/// let config = Config { max_concurrent_streams: 16, max_header_fields: 32, ..Config::default() };
/// let server = Connection::new(Role::Server, config, Instant::now());
/// assert!(!server.is_closed());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Streams the peer may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub max_concurrent_streams: u32,
    /// Receive window of each stream.
    pub stream_window: Window,
    /// Receive window of the connection.
    pub connection_window: Window,
    /// Octets the connection may hold: unread and queued bodies, output, tables, blocks in flight, large heads. A
    /// sixteenth stays free of receive windows; over it new streams are refused.
    pub session_memory: usize,
    /// Largest frame payload we take; 16 384 to 16 777 215.
    pub max_frame_size: u32,
    /// Largest header list we take: name + value + 32 octets a field.
    pub max_header_list_size: u32,
    /// Most fields in a header section; cookie crumbs count one by one.
    pub max_header_fields: usize,
    /// Octets of our decoder's dynamic table.
    pub header_table_size: u32,
    /// Octets our encoder's dynamic table never exceeds, whatever the peer allows (RFC 7541 §4.2).
    pub encoder_table_size: u32,
    /// Server: offer extended CONNECT (RFC 8441).
    pub enable_connect_protocol: bool,
    /// Client: let the server push.
    pub enable_push: bool,
    /// Settings this crate gives no meaning to, sent in the first SETTINGS; the first 10 count.
    pub custom_settings: Vec<(u16, u32)>,
    /// Settings this crate gives no meaning to that are told when the peer sends them; the first 10 count.
    pub remote_custom_settings: Vec<u16>,
    /// Streams we take the peer to allow until its first SETTINGS has come.
    pub peer_max_concurrent_streams: u32,
    /// Client: promised streams whose response has not begun; further promises are refused.
    pub max_reserved_streams: u32,
    /// Client: informational heads (1xx) before the final head of a response.
    pub max_informational: u32,
    /// PINGs of [`crate::Connection::ping`] that may wait for their answer at once.
    pub max_outstanding_pings: usize,
    /// SETTINGS of ours that may wait for their acknowledgement at once, the first one included.
    pub max_outstanding_settings: usize,
    /// What the peer may do that costs us and brings nothing.
    pub budgets: Budgets,
    /// Refuse to send a field twice that a message has once. A gateway that passes on what it was given says false.
    pub strict_single_value_fields: bool,
    /// Octets a header block we send may take, before compression: name, value and 16 octets a field.
    pub max_send_header_block: usize,
    /// Octets that hide how long HEADERS and DATA are.
    pub padding: Padding,
    /// Unsent body octets a stream may queue before [`crate::Connection::capacity`] is zero.
    pub send_buffer: usize,
    /// The last frames are kept for whoever asks ([`crate::Recorder`]).
    pub record: bool,
    /// Encoded octets kept ready for the socket; bodies are not pulled past it.
    pub output_high_water: usize,
    /// The peer's preface and first SETTINGS must be complete after this long.
    pub preface_timeout: Duration,
    /// A header block must be complete this long after its first frame.
    pub header_timeout: Duration,
    /// Our SETTINGS must be acknowledged after this long.
    pub settings_timeout: Duration,
    /// How long a graceful close waits for the PING between its two GOAWAY frames.
    pub drain_ping_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            stream_window: Window { start: 256 << 10, max: 4 << 20 },
            connection_window: Window { start: 1 << 20, max: 16 << 20 },
            session_memory: 20 << 20,
            max_frame_size: 16_384,
            max_header_list_size: 32 << 10,
            max_header_fields: 128,
            header_table_size: 4096,
            encoder_table_size: 4096,
            enable_connect_protocol: true,
            enable_push: false,
            custom_settings: Vec::new(),
            remote_custom_settings: Vec::new(),
            peer_max_concurrent_streams: 100,
            max_reserved_streams: 200,
            max_informational: 100,
            max_outstanding_pings: 10,
            max_outstanding_settings: 10,
            budgets: Budgets::default(),
            strict_single_value_fields: true,
            max_send_header_block: 64 << 10,
            padding: Padding::None,
            send_buffer: 64 << 10,
            record: true,
            output_high_water: 512 << 10,
            preface_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            settings_timeout: Duration::from_secs(10),
            drain_ping_timeout: Duration::from_secs(1),
        }
    }
}
