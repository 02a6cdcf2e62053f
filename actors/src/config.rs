//! What a listener and its sessions are told: plain structs whose defaults are those of the configuration file.

mod check;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use stagedoor_protocol::{Budgets, Padding, Window};

use crate::listener::Bind;
use crate::session::board::Outstanding;

pub use check::{ConfigError, Problem};

/// One listening socket (or several under one name).
///
/// ```
/// use stagedoor_actors::ListenerConfig;
///
/// let mut config = ListenerConfig::new("public", ([127, 0, 0, 1], 8080).into());
/// config.http1 = false;
/// config.limits.streams_per_session = 64;
/// assert_eq!(config.check(), Ok(()));
/// ```
#[derive(Clone)]
pub struct ListenerConfig {
    /// Metric label and name in the API.
    pub name: String,
    /// Sockets to bind, or that were handed over; at least one.
    pub bind: Vec<Bind>,
    /// Another process may bind the same TCP addresses beside us (SO_REUSEPORT, both have to want it). Sockets that are bound
    /// already stay as they are.
    pub reuse_port: bool,
    /// Whether a header of the PROXY protocol comes first, before TLS. Who is trusted must send one, others must not:
    /// either is closed else.
    pub proxy_protocol: ProxyProtocol,
    /// Whose PROXY headers are believed. Whoever may connect to a Unix socket is trusted, too.
    pub trusted_proxies: Vec<IpNet>,
    /// TLS, with ALPN set from `http2` and `http1` by the listener; `None` is cleartext.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Speak HTTP/2 (ALPN `h2`, or the preface on cleartext).
    pub http2: bool,
    /// Speak HTTP/1.1 as a fallback.
    pub http1: bool,
    /// Ceilings.
    pub limits: Limits,
    /// Receive windows.
    pub windows: Windows,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What HTTP/2 sessions say and allow beside that.
    pub options: Http2Options,
    /// Streams are counted, their waiting causes charged and the last frames of sessions kept. Without it sessions are
    /// still listed and do all they do otherwise.
    pub observed: bool,
    /// Paths of live streams are shown with their queries, which may hold anybody's secrets.
    pub show_query: bool,
}

impl ListenerConfig {
    /// A cleartext listener with every default.
    pub fn new(name: impl Into<String>, bind: SocketAddr) -> Self {
        Self {
            name: name.into(),
            bind: vec![bind.into()],
            reuse_port: false,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            tls: None,
            http2: true,
            http1: true,
            limits: Limits::default(),
            windows: Windows::default(),
            timeouts: Timeouts::default(),
            options: Http2Options::default(),
            observed: true,
            show_query: false,
        }
    }
}

impl ListenerConfig {
    /// Whether this end of a connection speaks for others by a PROXY header; `None` is that of a Unix socket.
    pub(crate) fn is_proxy(&self, peer: Option<IpAddr>) -> bool {
        let trusts = |peer| self.trusted_proxies.iter().any(|block| block.contains(&peer));
        self.proxy_protocol != ProxyProtocol::Off && peer.is_none_or(trusts)
    }

    /// What the protocol machine of each session is told.
    pub(crate) fn protocol(&self) -> stagedoor_protocol::Config {
        stagedoor_protocol::Config {
            max_concurrent_streams: self.limits.streams_per_session,
            record: self.observed,
            stream_window: self.windows.stream,
            connection_window: self.windows.connection,
            session_memory: self.limits.session_memory,
            max_header_list_size: self.limits.header_bytes,
            max_header_fields: self.limits.header_fields,
            max_frame_size: self.options.max_frame_size,
            header_table_size: self.options.header_table_size,
            encoder_table_size: self.options.encoder_table_size,
            padding: self.options.padding,
            budgets: self.options.budgets.clone(),
            strict_single_value_fields: self.options.strict_single_value_fields,
            max_send_header_block: self.options.max_send_header_block,
            enable_connect_protocol: self.options.enable_connect_protocol,
            custom_settings: self.options.custom_settings.clone(),
            remote_custom_settings: self.options.remote_custom_settings.clone(),
            max_outstanding_pings: self.options.max_outstanding_pings as usize,
            max_outstanding_settings: self.options.max_outstanding_settings as usize,
            preface_timeout: self.timeouts.preface,
            header_timeout: self.timeouts.header,
            settings_timeout: self.timeouts.settings,
            ..stagedoor_protocol::Config::default()
        }
    }

    /// How many PINGs and SETTINGS of handles may wait for the peer.
    pub(crate) fn outstanding(&self) -> Outstanding {
        Outstanding {
            pings: self.options.max_outstanding_pings,
            settings: self.options.max_outstanding_settings,
        }
    }

    /// The TLS configuration with ALPN (RFC 7301) as `http2` and `http1` say: a client that offers something
    /// else alone gets the alert no_application_protocol.
    pub(crate) fn tls_with_alpn(&self) -> Option<Arc<rustls::ServerConfig>> {
        let mut tls = rustls::ServerConfig::clone(self.tls.as_deref()?);
        tls.alpn_protocols.clear();
        if self.http2 {
            tls.alpn_protocols.push(b"h2".to_vec());
        }
        if self.http1 {
            tls.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Some(Arc::new(tls))
    }
}

/// Which headers of the PROXY protocol a listener takes (haproxy.org, `proxy-protocol.txt`).
///
/// ```
/// use stagedoor_actors::{ListenerConfig, ProxyProtocol};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ListenerConfig::new("behind", ([0, 0, 0, 0], 8080).into());
/// config.proxy_protocol = ProxyProtocol::V2;
/// config.trusted_proxies = vec!["10.0.0.0/8".parse()?];
/// config.check()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// None; octets that look like one are taken for what they are.
    #[default]
    Off,
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
    /// Either.
    Any,
}

/// Ceilings of a listener and of each of its sessions.
///
/// ```
/// use stagedoor_actors::Limits;
///
/// let limits = Limits { streams_per_session: 256, sessions_per_address: None, ..Limits::default() };
/// assert_eq!((limits.sessions, limits.header_bytes), (20_000, 32 << 10));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Sessions of this listener at once. The binary lowers it to 0.9 x RLIMIT_NOFILE.
    pub sessions: usize,
    /// Connections at once of which it is not known yet what they speak: TLS handshakes, and cleartext that has said nothing.
    /// One more takes the place of the one that has waited longest. Divided among the workers.
    pub handshakes: usize,
    /// Sessions from one address at once, of an IPv6 address those of its /64; `None` is off.
    pub sessions_per_address: Option<usize>,
    /// Streams a session may have open at once.
    pub streams_per_session: u32,
    /// Octets a session may hold in memory.
    pub session_memory: usize,
    /// Octets of a header list, 32 a field included.
    pub header_bytes: u32,
    /// Fields of a header section.
    pub header_fields: usize,
    /// A session older than this is drained.
    pub session_max_age: Option<MaxAge>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            handshakes: 256,
            sessions_per_address: Some(256),
            streams_per_session: 128,
            session_memory: 20 << 20,
            header_bytes: 32 << 10,
            header_fields: 128,
            session_max_age: None,
        }
    }
}

/// When a session has lived long enough.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::{Limits, MaxAge};
///
/// // After 54 to 66 minutes a session is drained.
/// let (after, grace) = (Duration::from_secs(3600), Duration::from_secs(30));
/// let limits = Limits { session_max_age: Some(MaxAge { after, jitter: 0.1, grace }), ..Limits::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MaxAge {
    /// Age at which its drain begins.
    pub after: Duration,
    /// Share of `after` by which it varies, 0 to 1.
    pub jitter: f64,
    /// How long its streams may go on then.
    pub grace: Duration,
}

/// What the HTTP/2 sessions of a listener say and allow, beside [`Limits`] and [`Windows`]. The budget of panics is that of
/// HTTP/1.1, too.
///
/// ```
/// use stagedoor_actors::{Budgets, Http2Options, Padding, Rate};
///
/// let pings = Rate { burst: 100, per_second: 10 };
/// let options = Http2Options {
///     padding: Padding::Aligned,
///     budgets: Budgets { pings, ..Budgets::default() },
///     ..Http2Options::default()
/// };
/// assert_eq!(options.max_frame_size, 16_384);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Options {
    /// Octets of the dynamic table the peer may use for its header blocks (RFC 7541 §4.2).
    pub header_table_size: u32,
    /// Octets our own dynamic table never exceeds, whatever the peer allows; up to 65 536.
    pub encoder_table_size: u32,
    /// Octets that hide how long HEADERS and DATA of ours are (RFC 9113 §10.7).
    pub padding: Padding,
    /// What a client may do that costs us and brings nothing, before its session ends with ENHANCE_YOUR_CALM
    /// (docs/security.md). Who serves clients that close many streams at once for good reasons gives them more.
    pub budgets: Budgets,
    /// Refuse to send a field twice that a message has once. A gateway that passes on what it was given says
    /// false.
    pub strict_single_value_fields: bool,
    /// Octets a header block we send may take before compression: name, value and 16 octets a field.
    pub max_send_header_block: usize,
    /// Largest frame payload the peer may send, 16 384 to 16 777 215 octets.
    pub max_frame_size: u32,
    /// Offer extended CONNECT (RFC 8441).
    pub enable_connect_protocol: bool,
    /// Settings without a meaning here that the first SETTINGS carries, at most 10.
    pub custom_settings: Vec<(u16, u32)>,
    /// Settings without a meaning here that are told when the peer sends them, at most 10.
    pub remote_custom_settings: Vec<u16>,
    /// PINGs of handles that may wait for their answer at once, at least 1.
    pub max_outstanding_pings: u32,
    /// SETTINGS that may wait for their acknowledgement at once, those a session begins with included; at
    /// least 1.
    pub max_outstanding_settings: u32,
    /// Origins that each session over TLS says it answers for, right after its SETTINGS (ORIGIN, RFC 8336).
    pub origins: Vec<String>,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            encoder_table_size: 4096,
            padding: Padding::None,
            budgets: Budgets::default(),
            strict_single_value_fields: true,
            max_send_header_block: 64 << 10,
            max_frame_size: 16_384,
            enable_connect_protocol: true,
            custom_settings: Vec::new(),
            remote_custom_settings: Vec::new(),
            max_outstanding_pings: 10,
            max_outstanding_settings: 10,
            origins: Vec::new(),
        }
    }
}

/// Receive windows of each session.
///
/// ```
/// use stagedoor_actors::Windows;
/// use stagedoor_protocol::Window;
///
/// let windows = Windows { stream: Window { start: 1 << 20, max: 8 << 20 }, ..Windows::default() };
/// assert_eq!(windows.connection, Window { start: 1 << 20, max: 16 << 20 });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Of each stream.
    pub stream: Window,
    /// Of the connection.
    pub connection: Window,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            stream: Window { start: 256 << 10, max: 4 << 20 },
            connection: Window { start: 1 << 20, max: 16 << 20 },
        }
    }
}

/// Deadlines. Zero switches `idle`, `stall`, `stream_idle`, `hard`, `min_rate` and `keepalive_ping` off.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::Timeouts;
///
/// let idle = Duration::from_secs(30);
/// let timeouts = Timeouts { idle, hard: 10 * idle, ..Timeouts::default() };
/// assert_eq!(timeouts.stall, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// TLS handshake, absolute.
    pub handshake: Duration,
    /// HTTP/2 preface and first SETTINGS, absolute.
    pub preface: Duration,
    /// A request head (HTTP/1.1) or header block (HTTP/2), absolute from its first octet.
    pub header: Duration,
    /// SETTINGS acknowledgement, absolute.
    pub settings: Duration,
    /// How long a refused protocol may take to go away.
    pub unknown_protocol: Duration,
    /// A session without streams ends after this long; control frames do not renew it.
    pub idle: Duration,
    /// Queued octets that have not moved, or an unfinished body of declared length that is silent, for this long.
    /// Judged for the session (its socket) and for each stream (its windows).
    pub stall: Duration,
    /// A stream on which nothing moves in either direction, whoever could, is reset after this long. Off.
    pub stream_idle: Duration,
    /// A stream is reset at this age, whatever it does. Off.
    pub hard: Duration,
    /// Octets a second that a body must make while it waits for the peer: an average over 10 s, or, where we
    /// send, over the time of 32 KiB if that is longer. Off.
    pub min_rate: u64,
    /// PING after this long without a sign of life while streams are open.
    pub keepalive_ping: Duration,
    /// The same while no stream is open. It does not renew `idle`. Off.
    pub keepalive_without_streams: bool,
    /// The PING must be answered in this time.
    pub keepalive_timeout: Duration,
    /// How long a session's streams may go on after `CloseSession` with a graceful reason.
    pub drain: Duration,
    /// After the last octet was sent: how long the socket lingers for the peer's end.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            preface: Duration::from_secs(10),
            header: Duration::from_secs(10),
            settings: Duration::from_secs(10),
            unknown_protocol: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            stall: Duration::from_secs(60),
            stream_idle: Duration::ZERO,
            hard: Duration::ZERO,
            min_rate: 0,
            keepalive_without_streams: false,
            keepalive_ping: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(30),
            linger: Duration::from_secs(1),
        }
    }
}

/// Deadlines a stream has of its own. `None` leaves the listener's in force, zero switches one off.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use std::time::Duration;
///
/// use stagedoor_actors::StreamTimeouts;
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| {
///     // This one may take its time; the listener's other deadlines hold.
///     let own = StreamTimeouts { hard: Some(Duration::ZERO), ..StreamTimeouts::default() };
///     request.body().handle().set_timeouts(own)
/// });
/// # let (_host, session) = in_memory(service)?;
/// assert_eq!(session.send(http::Request::get("/").body(())?).await?.status(), 204);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamTimeouts {
    /// As [`Timeouts::stream_idle`].
    pub idle: Option<Duration>,
    /// As [`Timeouts::stall`].
    pub stall: Option<Duration>,
    /// As [`Timeouts::hard`]: counted from the opening of the stream.
    pub hard: Option<Duration>,
    /// As [`Timeouts::min_rate`], octets a second.
    pub min_rate: Option<u64>,
}
