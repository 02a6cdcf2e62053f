//! What a client session and its requests are told. Every default is one of the listed constants or of
//! [`ListenerConfig`](crate::ListenerConfig).

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use stagedoor_metrics::Metrics;

use super::abort::AbortSignal;
use super::connector::Connector;
use super::target::Scheme;
use super::tls::Tls;
use super::wire::WireObserver;
use crate::body::Body;
use crate::config::{Http2Options, Limits, ListenerConfig, ProxyProtocol, StreamTimeouts, Timeouts, Windows};

/// A session of a client.
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::client::{Options, Scheme};
///
/// let connect_timeout = Duration::from_secs(2);
/// let options = Options { scheme: Scheme::Http, connect_timeout, accept_push: true, ..Options::default() };
/// assert_eq!(options.initial_max_streams, 100);
/// ```
#[derive(Clone)]
pub struct Options {
    /// Where the authority names no scheme; `https`.
    pub scheme: Scheme,
    /// How the other end is reached; TCP.
    pub connector: Connector,
    /// Whom `https` trusts; the system's certificates.
    pub tls: Tls,
    /// From the call to a connection that can be used, TLS included; 10 s.
    pub connect_timeout: Duration,
    /// Ends the connecting and every request; off.
    pub signal: Option<AbortSignal>,
    /// Take pushed responses (SETTINGS_ENABLE_PUSH); off.
    pub accept_push: bool,
    /// Pushed streams at once; more are refused; 100.
    pub max_pushed_streams: u32,
    /// Requests that may wait for the connection, or for the peer's concurrency limit; 10 000.
    pub max_queued: usize,
    /// Origins a server may say it answers for (RFC 8336), its own included; more end the session; 128.
    pub max_origins: usize,
    /// Streams opened before the server has said how many it takes; 100.
    pub initial_max_streams: u32,
    /// What the session says and allows beside that: frame and table sizes, padding, custom settings, single-value
    /// fields, questions that may be outstanding. What only servers say does not count.
    pub http2: Http2Options,
    /// Receive windows.
    pub windows: Windows,
    /// Ceilings of the session; those of a listener do not count.
    pub limits: Limits,
    /// Deadlines. `handshake` and `preface` of connecting are `connect_timeout`; `idle` is 5 minutes here.
    pub timeouts: Timeouts,
    /// Label `listener` of its metrics and name in the list of sessions; `client`.
    pub name: String,
    /// Where it counts; by default with the sessions that run on this arbiter, else in a registry of its own.
    pub metrics: Option<Metrics>,
    /// Hears every octet of the session, above TLS; nobody.
    pub wire: Option<Rc<dyn WireObserver>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scheme: Scheme::Https,
            connector: Connector::default(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            signal: None,
            accept_push: false,
            max_pushed_streams: 100,
            max_queued: 10_000,
            max_origins: 128,
            initial_max_streams: 100,
            http2: Http2Options::default(),
            windows: Windows::default(),
            limits: Limits::default(),
            timeouts: Timeouts { idle: Duration::from_secs(300), ..Timeouts::default() },
            name: "client".to_owned(),
            metrics: None,
            wire: None,
        }
    }
}

impl Options {
    /// The defaults with a connector.
    pub fn with_connector(connector: Connector) -> Self {
        Self { connector, ..Self::default() }
    }

    pub(super) fn config(&self) -> ListenerConfig {
        ListenerConfig {
            name: self.name.clone(),
            bind: Vec::new(),
            reuse_port: false,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            tls: None,
            http2: true,
            http1: false,
            limits: Limits { streams_per_session: self.max_pushed_streams, ..self.limits.clone() },
            windows: self.windows.clone(),
            timeouts: self.timeouts.clone(),
            options: self.http2.clone(),
            observed: true,
            show_query: false,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("scheme", &self.scheme)
            .field("connector", &self.connector)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A request, beside its head.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use std::time::Duration;
///
/// use stagedoor_actors::Body;
/// use stagedoor_actors::client::{RequestOptions, RequestParts};
///
/// let response_timeout = Some(Duration::from_secs(5));
/// let options = RequestOptions { response_timeout, ..RequestOptions::with_body(Body::from("tea")) };
/// let mut stream = session.request(RequestParts::post("/"), options)?;
/// assert_eq!(stream.response().await?.status, 200);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Default)]
pub struct RequestOptions {
    /// The body, sent by the session; `None` leaves sending to the [`ClientStream`](super::ClientStream), or is
    /// no body where the stream ends with its head.
    pub body: Option<Body>,
    /// END_STREAM on the head. By default for GET, HEAD and DELETE without a body.
    pub end_stream: Option<bool>,
    /// Cancels the request when it is aborted.
    pub signal: Option<AbortSignal>,
    /// Cancels the request when it completes.
    pub abort_when: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// From the call to the final head of the response; off.
    pub response_timeout: Option<Duration>,
    /// Deadlines of its stream, in place of the session's.
    pub timeouts: Option<StreamTimeouts>,
}

impl RequestOptions {
    /// A request with a body.
    pub fn with_body(body: Body) -> Self {
        Self { body: Some(body), ..Self::default() }
    }
}

impl std::fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestOptions")
            .field("end_stream", &self.end_stream)
            .field("signal", &self.signal)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}
