//! One client for the three ways to speak to the gateway, over hyper (HTTP/1.1 by itself, HTTP/2 by `h2`).

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Gateway;

/// A request body of any kind.
pub(crate) type Upload = UnsyncBoxBody<Bytes, Infallible>;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2 over TLS, by ALPN.
    H2,
    /// HTTP/2 in cleartext, by preface.
    H2c,
    /// HTTP/1.1 in cleartext.
    Http1,
    /// HTTP/1.1 over TLS, by ALPN.
    Http1Tls,
}

impl Speaks {
    pub(crate) const ALL: [Self; 4] = [Self::H2, Self::H2c, Self::Http1, Self::Http1Tls];

    /// Several exchanges at once on one connection.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::H2 | Self::H2c)
    }

    /// Whether it is over TLS, and where.
    fn door(self, gateway: &Gateway) -> (bool, SocketAddr) {
        match self {
            Self::H2 | Self::Http1Tls => (true, gateway.public),
            Self::H2c | Self::Http1 => (false, gateway.plain),
        }
    }

    /// What the gateway calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::H2c => "h2c",
            Self::Http1 | Self::Http1Tls => "http/1.1",
        }
    }
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// A field's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// What went wrong on the way.
#[derive(Debug)]
pub(crate) struct Failed(pub hyper::Error);

impl Failed {
    /// The HTTP/2 error code behind it.
    pub(crate) fn code(&self) -> Option<h2::Reason> {
        let mut cause: Option<&dyn std::error::Error> = Some(&self.0);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return error.reason();
            }
            cause = error.source();
        }
        None
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

enum Sender {
    One(http1::SendRequest<Upload>),
    Two(http2::SendRequest<Upload>),
}

/// One connection.
pub(crate) struct Client {
    sender: Sender,
    authority: String,
    scheme: &'static str,
}

/// Any stream of octets.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Client {
    /// Connects with windows of 1 MiB.
    pub(crate) async fn connect(gateway: &Gateway, speaks: Speaks) -> Self {
        Self::connect_with(gateway, speaks, 1 << 20).await
    }

    /// Connects; each stream may have `window` octets on their way to us.
    pub(crate) async fn connect_with(gateway: &Gateway, speaks: Speaks, window: u32) -> Self {
        let (tls, address) = speaks.door(gateway);
        let io = Self::socket(gateway, speaks).await;
        let sender = start(io, speaks.is_http2(), window).await;
        Self { sender, authority: address.to_string(), scheme: if tls { "https" } else { "http" } }
    }

    /// A connection on which nothing was said yet, behind TLS where it has TLS.
    pub(crate) async fn socket(gateway: &Gateway, speaks: Speaks) -> Box<dyn Io> {
        let (tls, address) = speaks.door(gateway);
        let tcp = TcpStream::connect(address).await.expect("it listens");
        tcp.set_nodelay(true).unwrap();
        if !tls {
            return Box::new(tcp);
        }
        let alpn: &[u8] = if speaks.is_http2() { b"h2" } else { b"http/1.1" };
        Box::new(handshake(gateway, tcp, &[alpn]).await.expect("a handshake"))
    }

    /// HTTP/1.1 to the admin listener.
    pub(crate) async fn admin(gateway: &Gateway) -> Self {
        Self::admin_speaking(gateway, false).await
    }

    /// HTTP/1.1 or h2c to the admin listener.
    pub(crate) async fn admin_speaking(gateway: &Gateway, http2: bool) -> Self {
        Self::plain(gateway.admin, http2).await
    }

    /// HTTP/1.1 or h2c to an address.
    pub(crate) async fn plain(address: SocketAddr, http2: bool) -> Self {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        let sender = start(Box::new(tcp), http2, 1 << 20).await;
        Self { sender, authority: address.to_string(), scheme: "http" }
    }

    /// Over a connection that is there already.
    pub(crate) async fn over(io: Box<dyn Io>, http2: bool, authority: &str) -> Self {
        let sender = start(io, http2, 1 << 20).await;
        Self { sender, authority: authority.to_owned(), scheme: "http" }
    }

    /// TLS to an address by a configuration that says what is offered, spoken as it was agreed.
    pub(crate) async fn tls(
        config: Arc<ClientConfig>,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let tls = TlsConnector::from(config).connect(server, tcp).await?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let sender = try_start(Box::new(tls), http2, 1 << 20).await.map_err(std::io::Error::other)?;
        Ok(Self { sender, authority: format!("{name}:{}", address.port()), scheme: "https" })
    }

    /// Another host in the requests from here on.
    pub(crate) fn naming(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// A request for `target` of this connection's host.
    pub(crate) fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let builder = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
        match self.sender {
            Sender::One(_) => builder.uri(target).header("host", &self.authority),
            Sender::Two(_) => builder.uri(format!("{}://{}{target}", self.scheme, self.authority)),
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Failed> {
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(Failed)?;
                sender.send_request(request).await.map_err(Failed)
            }
            Sender::Two(sender) => {
                sender.ready().await.map_err(Failed)?;
                sender.send_request(request).await.map_err(Failed)
            }
        }
    }

    /// Sends a request and reads its answer whole.
    pub(crate) async fn whole(&mut self, request: Request<Upload>) -> Result<Answer, Failed> {
        collect(self.send(request).await?).await
    }

    /// A request without a body.
    pub(crate) async fn bare(&mut self, method: &str, target: &str) -> Answer {
        let mut request = self.request(method, target);
        if target == "/metrics" {
            // What was rendered a moment ago does not do.
            request = request.header("cache-control", "no-cache");
        }
        let request = request.body(nothing()).unwrap();
        self.whole(request).await.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.bare("GET", target).await
    }

    pub(crate) async fn post(&mut self, target: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request("POST", target).body(full(body)).unwrap();
        self.whole(request).await.unwrap_or_else(|error| panic!("POST {target}: {error}"))
    }

    /// One more of the same connection.
    ///
    /// # Panics
    /// On HTTP/1.1, which has one exchange at a time.
    pub(crate) fn share(&self) -> Self {
        let Sender::Two(sender) = &self.sender else { panic!("HTTP/1.1 is not shared") };
        Self { sender: Sender::Two(sender.clone()), authority: self.authority.clone(), scheme: self.scheme }
    }
}

async fn start(io: Box<dyn Io>, http2: bool, window: u32) -> Sender {
    try_start(io, http2, window).await.expect("a connection")
}

async fn try_start(io: Box<dyn Io>, http2: bool, window: u32) -> Result<Sender, hyper::Error> {
    let io = TokioIo::new(io);
    Ok(if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.max(65_535))
            .handshake(io)
            .await?;
        tokio::spawn(connection);
        Sender::Two(sender)
    } else {
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection.with_upgrades());
        Sender::One(sender)
    })
}

/// A TLS handshake as `localhost`, offering `alpn`.
pub(crate) async fn handshake(
    gateway: &Gateway,
    tcp: TcpStream,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = client_config(gateway);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    connect_tls(Arc::new(config), tcp).await
}

/// The same with a configuration.
pub(crate) async fn connect_tls(
    config: Arc<ClientConfig>,
    tcp: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

/// A client that trusts the development authority and nobody else.
pub(crate) fn client_config(gateway: &Gateway) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(gateway.authority()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Reads a response to its end.
pub(crate) async fn collect(response: Response<Incoming>) -> Result<Answer, Failed> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Failed)?;
    let trailers = body.trailers().cloned();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers })
}

/// No body.
pub(crate) fn nothing() -> Upload {
    http_body_util::Empty::new().boxed_unsync()
}

/// A body of known length.
pub(crate) fn full(octets: impl Into<Bytes>) -> Upload {
    Full::new(octets.into()).boxed_unsync()
}

/// A body that is fed by hand; it ends when the sender is dropped.
pub(crate) fn fed() -> (tokio::sync::mpsc::UnboundedSender<Frame<Bytes>>, Upload) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (sender, Fed(receiver).boxed_unsync())
}

struct Fed(tokio::sync::mpsc::UnboundedReceiver<Frame<Bytes>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// The next octets of a response body; none at its end.
pub(crate) async fn next_octets(body: &mut Incoming) -> Option<Result<Bytes, Failed>> {
    loop {
        match body.frame().await? {
            Ok(frame) => match frame.into_data() {
                // END_STREAM may come on a DATA frame of its own.
                Ok(octets) if octets.is_empty() => {}
                Ok(octets) => return Some(Ok(octets)),
                Err(_) if body.is_end_stream() => return None,
                Err(_) => {}
            },
            Err(error) => return Some(Err(Failed(error))),
        }
    }
}
