//! `[[listener]]`: where connections are taken, under which limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::at::{At, Many};
use crate::config::word::{BindTo, FilePath, Host, Int, Label, Share, Size, SizePerSecond, Time};

/// Where connections are taken.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Listener {
    /// A name of its own: label of metrics, name in the API and in variables of the environment. Required.
    pub(in super::super) name: Option<At<Label>>,
    /// Addresses, one or a list: an IP address with a port, unix:/path, or fd:NAME of a socket that was handed over. Required.
    pub(in super::super) bind: Many<BindTo>,
    /// What is spoken. Without "http/1.1" it is refused.
    pub(in super::super) protocols: At<Vec<At<Protocol>>>,
    /// Whether a PROXY header comes first, from server.trusted_proxies alone.
    pub(in super::super) proxy_protocol: At<ProxyHeader>,
    /// Let another process listen beside this one (SO_REUSEPORT).
    pub(in super::super) reuse_port: bool,
    /// TLS; without this table the listener is cleartext.
    pub(in super::super) tls: Option<At<Tls>>,
    /// Ceilings.
    pub(in super::super) limits: Limits,
    /// Receive windows of HTTP/2, which grow with consumption.
    pub(in super::super) windows: Windows,
    /// Deadlines.
    pub(in super::super) timeouts: Timeouts,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: None,
            bind: Many::default(),
            protocols: At::default_of(vec![At::default_of(Protocol::H2), At::default_of(Protocol::Http1)]),
            proxy_protocol: At::default(),
            reuse_port: false,
            tls: None,
            limits: Limits::default(),
            windows: Windows::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in super::super) enum Protocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
}

/// Which PROXY headers are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum ProxyHeader {
    /// None.
    #[default]
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
    /// Either.
    Any,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Tls {
    /// The oldest version of TLS that is spoken.
    pub(in super::super) min_version: MinVersion,
    /// Whether clients show certificates.
    pub(in super::super) client_auth: At<ClientAuth>,
    /// A PEM file of the authorities whose certificates clients may show.
    pub(in super::super) client_ca: Option<At<FilePath>>,
    /// Certificates by name; none is the development certificate.
    pub(in super::super) certificate: Vec<At<Certificate>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in super::super) enum MinVersion {
    /// 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// Certificates of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; one that is shown must be valid.
    Optional,
    /// No handshake without one.
    Required,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Certificate {
    /// Names it is shown for; none is those in the certificate. The first certificate is shown where no name matches.
    pub(in super::super) names: Vec<At<Host>>,
    /// A PEM file of the chain. Required.
    pub(in super::super) cert: Option<At<FilePath>>,
    /// A PEM file of the private key. Required.
    pub(in super::super) key: Option<At<FilePath>>,
}

/// Ceilings.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ListenerLimits")]
pub(in super::super) struct Limits {
    /// Sessions at once; by default 0.9 of the file descriptors the process may have, 20000 at most.
    pub(in super::super) sessions: Option<At<Int<1, { u32::MAX }>>>,
    /// Connections at once that have not said yet what they speak.
    pub(in super::super) handshakes: At<Int<1, { u32::MAX }>>,
    /// Sessions at once from one address (of IPv6: from one /64); 0 is no limit. Not for trusted proxies.
    pub(in super::super) sessions_per_address: At<Int<0, { u32::MAX }>>,
    /// Streams a session may have open at once.
    pub(in super::super) streams_per_session: At<Int<1, 0x7fff_ffff>>,
    /// Octets a session may hold in memory.
    pub(in super::super) session_memory: At<Size>,
    /// Octets of a header section, 32 a field included.
    pub(in super::super) header_bytes: At<Size>,
    /// Fields of a header section.
    pub(in super::super) header_fields: At<Int<4, 65_535>>,
    /// Drain sessions at this age; without this table they live as long as they like.
    pub(in super::super) session_max_age: Option<At<MaxAge>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: None,
            handshakes: At::default_of(Int(256)),
            sessions_per_address: At::default_of(Int(256)),
            streams_per_session: At::default_of(Int(128)),
            session_memory: At::default_of(Size(20 << 20)),
            header_bytes: At::default_of(Size(32 << 10)),
            header_fields: At::default_of(Int(128)),
            session_max_age: None,
        }
    }
}

/// When a session has lived long enough.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct MaxAge {
    /// The age at which its drain begins.
    pub(in super::super) after: At<Time>,
    /// The share of `after` by which it varies, 0 to 1.
    pub(in super::super) jitter: At<Share>,
    /// How long its streams may go on then.
    pub(in super::super) grace: At<Time>,
}

impl Default for MaxAge {
    fn default() -> Self {
        Self {
            after: At::default_of(Time::secs(30 * 60)),
            jitter: At::default_of(Share(0.1)),
            grace: At::default_of(Time::secs(30)),
        }
    }
}

/// Receive windows of HTTP/2.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Windows {
    /// Of each stream.
    pub(in super::super) stream: StreamWindow,
    /// Of the connection.
    pub(in super::super) connection: ConnectionWindow,
}

/// The window of a stream.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct StreamWindow {
    /// Octets at first.
    pub(in super::super) start: At<Size>,
    /// Octets it may grow to.
    pub(in super::super) max: At<Size>,
}

impl Default for StreamWindow {
    fn default() -> Self {
        Self { start: At::default_of(Size(256 << 10)), max: At::default_of(Size(4 << 20)) }
    }
}

/// The window of a connection.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ConnectionWindow {
    /// Octets at first.
    pub(in super::super) start: At<Size>,
    /// Octets it may grow to.
    pub(in super::super) max: At<Size>,
}

impl Default for ConnectionWindow {
    fn default() -> Self {
        Self { start: At::default_of(Size(1 << 20)), max: At::default_of(Size(16 << 20)) }
    }
}

/// Deadlines. 0 switches idle, stall, stream_idle, hard, min_rate and keepalive.ping off.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ListenerTimeouts")]
pub(in super::super) struct Timeouts {
    /// The TLS handshake, absolute.
    pub(in super::super) handshake: At<Time>,
    /// The preface of HTTP/2 and the first SETTINGS, absolute.
    pub(in super::super) preface: At<Time>,
    /// A request head, absolute from its first octet.
    pub(in super::super) header: At<Time>,
    /// The acknowledgement of SETTINGS, absolute.
    pub(in super::super) settings: At<Time>,
    /// How long a client of a protocol that is refused may take to go away.
    pub(in super::super) unknown_protocol: At<Time>,
    /// A session without open streams ends after this long; PING and other control frames do not renew it.
    pub(in super::super) idle: At<Time>,
    /// Queued octets that have not moved, or an unfinished request body of declared length that is silent, for this long.
    pub(in super::super) stall: At<Time>,
    /// A stream on which nothing moves in either direction, whoever could, is reset after this long.
    pub(in super::super) stream_idle: At<Time>,
    /// PING to find dead peers.
    pub(in super::super) keepalive: Keepalive,
    /// Octets a second that a body must keep while it waits for the client.
    pub(in super::super) min_rate: At<SizePerSecond>,
    /// A stream is reset at this age, whatever it does.
    pub(in super::super) hard: At<Time>,
    /// How long a closed socket lingers for the client's end.
    pub(in super::super) linger: At<Time>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let secs = |seconds| At::default_of(Time::secs(seconds));
        Self {
            handshake: secs(10),
            preface: secs(10),
            header: secs(10),
            settings: secs(10),
            unknown_protocol: secs(10),
            idle: secs(120),
            stall: secs(60),
            stream_idle: secs(0),
            keepalive: Keepalive::default(),
            min_rate: At::default_of(SizePerSecond(0)),
            hard: secs(0),
            linger: secs(1),
        }
    }
}

/// PING to find dead peers.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ListenerKeepalive")]
pub(in super::super) struct Keepalive {
    /// PING after this long without a sign of life while streams are open.
    pub(in super::super) ping: At<Time>,
    /// It must be answered in this time.
    pub(in super::super) timeout: At<Time>,
    /// The same while no stream is open; it does not renew `idle`.
    pub(in super::super) without_streams: bool,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            ping: At::default_of(Time::secs(60)),
            timeout: At::default_of(Time::secs(20)),
            without_streams: false,
        }
    }
}
