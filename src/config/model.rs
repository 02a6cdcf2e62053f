//! A configuration that was checked: what the rest of the gateway is built from. Names resolve, numbers are in range,
//! patterns parse; how it was written down, and where, is `file.rs`'s business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use stagedoor_actors::{Limits, Timeouts, Windows};
use stagedoor_metrics::TableOptions;
use stagedoor_protocol::Fields;

/// Everything one run of the gateway is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[log]`.
    pub log: Log,
    /// `[metrics]`.
    pub tables: TableOptions,
    /// `[[listener]]`, names unique.
    pub listeners: Vec<Listener>,
    /// `[[upstream]]`, names unique.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]` in the order of the file, names unique.
    pub routes: Vec<Route>,
}

/// What concerns the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Arbiters; `None` is one a core.
    pub workers: Option<u16>,
    /// How it goes down.
    pub drain: Drain,
    /// Whose `Forwarded`, `X-Forwarded-*` and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Asked for TTL and SRV; empty is the system's.
    pub dns_servers: Vec<SocketAddr>,
}

/// The way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long connections are still accepted after readiness failed.
    pub min_accept: Duration,
    /// How long streams may go on then.
    pub timeout: Duration,
}

/// Where the process is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// `None` is no admin listener.
    pub bind: Option<Bind>,
    /// Its content is the token that requests must carry.
    pub token_file: Option<PathBuf>,
}

/// Where a socket is bound, or whence it comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// `"[::]:8443"`.
    Tcp(SocketAddr),
    /// `"unix:/run/stagedoor/admin.sock"`.
    Unix(PathBuf),
    /// `"fd:NAME"`: sockets handed over under this name (`LISTEN_FDNAMES`), or `"fd:3"` by number.
    Inherited(String),
}

/// What is written down, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// `None` is off.
    pub access: Option<AccessLog>,
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How lines look.
    pub format: AccessFormat,
    /// `None` is standard output (`"-"`).
    pub path: Option<PathBuf>,
    /// Fields whose values are never shown, in logs, taps, recorder and API.
    pub redact: Vec<String>,
    /// Queries of paths are shown.
    pub show_query: bool,
}

/// How lines of the access log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One object a line.
    Json,
    /// Common Log Format.
    Common,
    /// Combined Log Format.
    Combined,
}

/// One name under which connections are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Label and name in the API.
    pub name: String,
    /// At least one.
    pub bind: Vec<Bind>,
    /// Speaks HTTP/2.
    pub http2: bool,
    /// Speaks HTTP/1.1.
    pub http1: bool,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: ProxyProtocol,
    /// SO_REUSEPORT: another process may listen beside us.
    pub reuse_port: bool,
    /// `None` is cleartext.
    pub tls: Option<Tls>,
    /// Ceilings.
    pub limits: Limits,
    /// Receive windows.
    pub windows: Windows,
    /// Deadlines.
    pub timeouts: Timeouts,
}

/// Which PROXY headers a listener takes. They come from `trusted_proxies` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None; octets that look like one are taken for what they are.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The oldest version that is spoken.
    pub min_version: TlsMin,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// By SNI; the first is shown where no name matches. Empty is the development certificate.
    pub certificates: Vec<Certificate>,
}

/// The oldest version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMin {
    /// 1.2.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

/// Certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; whoever shows one shows a valid one.
    Optional {
        /// PEM file of the authorities.
        ca: PathBuf,
    },
    /// No handshake without one.
    Required {
        /// PEM file of the authorities.
        ca: PathBuf,
    },
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Exact (`example.org`) or wildcard (`*.example.org`), lower case; empty takes the names in the certificate.
    pub names: Vec<String>,
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// Servers that requests are sent on to.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Label and name in the API.
    pub name: String,
    /// Where they are.
    pub endpoints: Endpoints,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// Who is asked next.
    pub balance: Balance,
    /// Active checks.
    pub health: Option<Health>,
    /// Passive ejection.
    pub eject: Option<Eject>,
    /// Asking again.
    pub retry: Retry,
    /// Deadlines.
    pub timeouts: UpstreamTimeouts,
    /// Connections that are kept.
    pub keepalive: Keepalive,
    /// How TLS endpoints are trusted.
    pub tls: UpstreamTls,
    /// Ceilings of each endpoint.
    pub limits: UpstreamLimits,
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoints {
    /// Written down, at least one.
    Listed(Vec<Endpoint>),
    /// Every address of a name, looked up again as its TTL says.
    Dns {
        /// `https` endpoints.
        tls: bool,
        /// The name.
        host: String,
        /// The port of each.
        port: u16,
    },
    /// Targets, ports and weights of a service (RFC 2782).
    Srv {
        /// `https` endpoints.
        tls: bool,
        /// Such as `_api._tcp.internal`.
        name: String,
    },
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// Name or address, or a path for `unix:`.
    pub address: EndpointAddress,
    /// Share of the requests, 1 to 1000.
    pub weight: u16,
}

/// How an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// Over TCP; a host may be a name, an IPv4 or an IPv6 address (no brackets).
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket (`unix:/path`).
    Unix(PathBuf),
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `https`: what ALPN picks of both; `http`: HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 in cleartext, by prior knowledge.
    H2c,
}

/// Who is asked next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The less busy of two taken at random.
    #[default]
    P2c,
    /// The least busy.
    Least,
    /// The same endpoint for the same key.
    Hash(HashKey),
}

/// What a hash is made of. Where it is absent the request is balanced as by [`Balance::P2c`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The address of the client.
    Client,
    /// A field of the request, lower case.
    Header(String),
    /// A cookie of the request.
    Cookie(String),
    /// The path without its query.
    Path,
}

/// Active checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Asked by GET; any 2xx or 3xx is good.
    pub path: String,
    /// `host` of the check; the endpoint's own where `None`.
    pub host: Option<String>,
    /// From the end of one to the beginning of the next.
    pub every: Duration,
    /// Of one check.
    pub timeout: Duration,
    /// Good checks in a row that bring an endpoint back.
    pub rise: u32,
    /// Bad ones that take it out.
    pub fall: u32,
}

/// Passive ejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Eject {
    /// 5xx answers or failures in a row.
    pub consecutive_failures: u32,
    /// How long it stays out; doubled each time in a row, up to ten times.
    pub time: Duration,
    /// Share of the endpoints that may be out at once, 0 to 1; at least one stays in.
    pub max_share: f64,
}

/// Asking again, where that does nothing twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries beyond the first.
    pub attempts: u32,
    /// What is tried again.
    pub on: RetryOn,
    /// Retries as a share of requests over ten seconds, 0 to 1; three a second are always allowed.
    pub budget: f64,
    /// Of one try, to its head; off where `None`.
    pub per_try: Option<Duration>,
}

/// What is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection came up.
    pub connect: bool,
    /// REFUSED_STREAM.
    pub refused: bool,
    /// Unprocessed after GOAWAY.
    pub unprocessed: bool,
    /// The connection ended, or the stream was reset, before a head; idempotent requests alone.
    pub reset: bool,
    /// These answers to idempotent requests.
    pub statuses: Vec<u16>,
}

/// Deadlines of an exchange with an upstream. Zero is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// TCP and TLS.
    pub connect: Duration,
    /// From the last octet of the request, or the beginning where it goes on, to the head of the response. Extended while
    /// octets of the request move.
    pub response: Duration,
    /// As a listener's `stall`; never on gRPC and tunnels.
    pub stall: Duration,
}

/// Connections that are kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// PING after this long without a sign of life (HTTP/2). Zero is off.
    pub ping: Duration,
    /// The PING must be answered in this time.
    pub timeout: Duration,
    /// A connection without a request is closed after this long.
    pub idle: Duration,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the authorities; the system's where `None`.
    pub ca: Option<PathBuf>,
    /// The name in SNI and certificate; the endpoint's host where `None`.
    pub server_name: Option<String>,
    /// What we show, where we are asked: PEM files of chain and key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Ceilings of one endpoint, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections at once.
    pub connections: usize,
    /// Requests that may wait for a connection or a stream; more are answered 503.
    pub pending: usize,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Label.
    pub name: String,
    /// Which requests.
    pub matches: Match,
    /// Taken off the beginning of the path.
    pub strip_prefix: Option<String>,
    /// A new path, with `{name}` for parameters of the pattern.
    pub rewrite: Option<String>,
    /// Edits of what is sent on.
    pub request_headers: HeaderEdits,
    /// Edits of what is answered.
    pub response_headers: HeaderEdits,
    /// 429 beyond it.
    pub rate_limit: Option<RateLimit>,
    /// Octets of a request body; 413 beyond it.
    pub max_body: Option<u64>,
    /// Of the whole exchange.
    pub timeout: Option<Duration>,
    /// Who may ask; 403 for others.
    pub access: Access,
    /// Codings of answers.
    pub compress: Option<Compress>,
    /// Bodies of errors that the gateway itself answers with, by status.
    pub errors: BTreeMap<u16, ErrorBody>,
    /// Plain CONNECT is sent on (`proxy` alone).
    pub connect: bool,
    /// What is done.
    pub action: Action,
}

/// Which requests a route takes. What is empty matches all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Exact (`example.org`) or wildcard (`*.example.org`, one label or more), lower case, without port.
    pub hosts: Vec<String>,
    /// A pattern: `/api/{*rest}`, `/users/{id}`.
    pub path: Option<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Fields: all of them.
    pub headers: Vec<HeaderMatch>,
    /// Names of listeners.
    pub listeners: Vec<String>,
}

/// A field a request must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// `None`: it is there, whatever it says.
    pub value: Option<String>,
}

/// Edits of a header section: `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// In place of what was there.
    pub set: Fields,
    /// Beside what was there.
    pub add: Fields,
    /// Lower case.
    pub remove: Vec<String>,
}

/// So many requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Whose requests are counted together.
    pub per: RatePer,
    /// Requests a second.
    pub rate: f64,
    /// At once, after a pause.
    pub burst: u32,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RatePer {
    /// A client's: its address, of IPv6 its /64.
    Client,
    /// Those with the same value of a field; those without it together.
    Header(String),
}

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// These alone.
    Allow(Vec<IpNet>),
    /// Everybody but these.
    Deny(Vec<IpNet>),
}

/// Codings of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// In order of preference where the client has none.
    pub encodings: Vec<Coding>,
    /// Octets below which it is not worth it.
    pub min_bytes: u64,
    /// Media types; `text/*` matches all of its kind.
    pub types: Vec<String>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
    /// `gzip`.
    Gzip,
}

/// What an error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// Its `content-type`.
    pub content_type: String,
    /// The octets, read when the configuration was.
    pub body: bytes::Bytes,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends the request on.
    Proxy(ProxyTo),
    /// Answers with files.
    Files(FilesFrom),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Says what is written here.
    Respond(Respond),
    /// The demo site.
    Demo,
}

/// Where requests are sent on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTo {
    /// Index in [`Config::upstreams`].
    pub upstream: usize,
    /// The authority that the upstream sees; the client's where `None`.
    pub host: Option<String>,
}

/// Files of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesFrom {
    /// The directory.
    pub root: PathBuf,
    /// Answers for a directory, tried in turn.
    pub index: Vec<String>,
    /// Codings looked for beside a file, in this order.
    pub precompressed: Vec<Coding>,
    /// Lists directories without an index.
    pub listing: bool,
    /// `cache-control` of every file.
    pub cache_control: Option<String>,
}

/// Elsewhere. What is `None` stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// With port where it has one; where `scheme` changes and this is `None` the port is dropped.
    pub host: Option<String>,
    /// With `{name}` for parameters of the pattern; the query is kept.
    pub path: Option<String>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub body: bytes::Bytes,
    /// Its fields.
    pub headers: Fields,
}
