//! Tunnels through the gateway: WebSocket and whatever else an upgrade or an extended CONNECT (RFC 8441) asks for, and
//! plain CONNECT where a route lets it through.
//!
//! Both ends may speak either version of HTTP: `sec-websocket-key` and `-accept` belong to HTTP/1.1 and are made or
//! checked here where only one end has them. Octets inside are copied and not looked at; there is no deadline on them.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use stagedoor_actors::client::{RequestError, RequestOptions, RequestParts};
use stagedoor_actors::{Body, Request, Response, TunnelTo, convert};
use stagedoor_metrics::UpstreamFailure;
use stagedoor_protocol::{Fields, RequestHead};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Proxy;
use super::count::Ticket;
use super::failure::{Failure, Reach, of_http1};
use super::hops;
use super::http1::Live;
use super::pool::{Grant, Pool};
use crate::fault::Fault;
use crate::upstream::{Upstream, dial, millis};

const KEY: &str = "sec-websocket-key";
const ACCEPT: &str = "sec-websocket-accept";

/// What a client asked for.
#[derive(Clone, Debug)]
enum Wanted {
    Authority(String),
    Protocol(String),
}

impl Wanted {
    fn is_websocket(&self) -> bool {
        matches!(self, Self::Protocol(protocol) if protocol.eq_ignore_ascii_case("websocket"))
    }
}

/// A tunnel that is open, or an answer in its place.
enum Opened {
    Tunnel(Fields, Box<dyn Stream>),
    Refused(Response),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Opens a tunnel to an endpoint and joins it with the client's.
pub(super) async fn exchange(
    proxy: &Rc<Proxy>,
    request: Request,
    to: &Arc<Upstream>,
    key: Option<u64>,
) -> Result<Response, Fault> {
    let wanted = match request.tunnel() {
        Some(TunnelTo::Authority(authority)) => Wanted::Authority(authority.to_owned()),
        Some(TunnelTo::Protocol(protocol)) => Wanted::Protocol(protocol.to_owned()),
        None => return Err(Fault::new(400, "http_request_error", "the request asks for no tunnel")),
    };
    let counts = proxy.counts(to);
    let mut ticket = Ticket::new(&counts, &request.session, (request.stream, request.route));
    let mut tried = Vec::new();
    to.requested(millis(request.session.now()));
    let opened = loop {
        let now = millis(request.session.now());
        let Some(endpoint) = to.pick(key, &tried, now) else {
            counts.cells.failures[UpstreamFailure::DestinationUnavailable].inc();
            return Err(unavailable().fault());
        };
        let pool = proxy.pool(to, &endpoint, &counts);
        let http2 = endpoint.speaks_http2(to.protocol());
        let opened = match http2 {
            true => open_http2(&pool, &request.head, &wanted, request.session.info().number).await,
            false => open_http1(&pool, &request.head, &wanted).await,
        };
        match opened {
            Ok(opened) => {
                endpoint.succeeded();
                break opened;
            }
            Err(failure) => {
                counts.cells.failures[failure.cause].inc();
                if let Some(reason) = failure.counts_against() {
                    proxy.blame(to, &endpoint, &counts, reason, now);
                }
                tried.push(endpoint.id);
                let learnt = http2 && pool.has_learnt(&endpoint);
                let again = failure.reach == Reach::Connect && (learnt || to.config.retry.on.connect);
                let left = tried.len() as u32 <= to.config.retry.attempts.max(u32::from(learnt));
                if !(again && left && proxy.may_retry(to, &counts, now)) {
                    let (upstream, cause, error) =
                        (&*to.config.name, failure.cause.label(), &*failure.detail);
                    tracing::debug!(upstream, endpoint = endpoint.url, cause, error, "no tunnel");
                    return Err(failure.fault());
                }
            }
        }
    };
    match opened {
        Opened::Refused(response) => {
            ticket.answered(response.status);
            Ok(response)
        }
        Opened::Tunnel(mut fields, mut theirs) => {
            ticket.answered(if request.session.info().is_http2() { 200 } else { 101 });
            agree(&mut fields, &request, &wanted);
            let joined = request.tunnel_response(fields, move |mut ours| async move {
                let _ticket = ticket;
                if let Err(error) = copy_bidirectional(&mut ours, &mut theirs).await {
                    tracing::debug!(%error, "a tunnel broke");
                }
            });
            joined.map_err(|error| Fault::new(502, "http_upgrade_failed", error.to_string()))
        }
    }
}

fn unavailable() -> Failure {
    Failure::new(UpstreamFailure::DestinationUnavailable, Reach::Final, "the upstream has no endpoint")
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(UpstreamFailure::HttpUpgradeFailed, Reach::Final, what)
}

/// What the client's version of HTTP wants to hear.
fn agree(fields: &mut Fields, request: &Request, wanted: &Wanted) {
    hops::strip_response(fields);
    fields.remove("content-length");
    if !wanted.is_websocket() {
        return;
    }
    if request.session.info().is_http2() {
        fields.remove(ACCEPT);
    } else if let Some(key) = request.head.fields().get(KEY)
        && !fields.contains(ACCEPT)
    {
        fields.push(ACCEPT, derive_accept_key(key));
    }
}

/// The fields of the client's request without those of its hop.
fn passed_on(head: &RequestHead) -> Fields {
    let mut fields = head.fields().clone();
    hops::strip_request(&mut fields);
    fields.remove("host");
    fields.remove("content-length");
    fields
}

async fn open_http2(
    pool: &Rc<Pool>,
    head: &RequestHead,
    wanted: &Wanted,
    client: u64,
) -> Result<Opened, Failure> {
    let lease = pool.lease(client)?;
    let session = &lease.shared.session;
    let mut fields = passed_on(head);
    fields.remove(KEY);
    let mut parts = match wanted {
        Wanted::Authority(authority) => RequestParts::connect(&**authority),
        Wanted::Protocol(protocol) => {
            let offered = async { session.offers_connect_protocol().await.map_err(RequestError::Closed) };
            let offered = async { offered.await.map_err(Failure::from) };
            if !within(pool.upstream.config.timeouts.response, offered).await? {
                return Err(refused("the server does not offer extended CONNECT"));
            }
            RequestParts {
                method: "CONNECT".to_owned(),
                protocol: Some(protocol.clone()),
                path: head.path().map(str::to_owned),
                scheme: Some(if pool.endpoint.tls { "https" } else { "http" }.to_owned()),
                authority: head.authority().map(str::to_owned),
                ..RequestParts::default()
            }
        }
    };
    parts.fields = fields;
    let mut stream = session.request(parts, RequestOptions::default())?;
    let limit = pool.upstream.config.timeouts.response;
    let answered = async { stream.response().await.map_err(Failure::from) };
    let head = within(limit, answered).await?;
    if !(200..300).contains(&head.status) {
        let mut response = Response::new(head.status);
        response.fields = head.fields;
        hops::strip_response(&mut response.fields);
        response.body = Body::stream(stream.into_body());
        return Ok(Opened::Refused(response));
    }
    let fields = head.fields.clone();
    let tunnel = stream.into_tunnel(head);
    Ok(Opened::Tunnel(fields, Box::new(Held { stream: tunnel, _lease: lease })))
}

/// A stream, and what it stands on.
struct Held<S, L> {
    stream: S,
    _lease: L,
}

impl<S: AsyncRead + Unpin, L: Unpin> AsyncRead for Held<S, L> {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, L: Unpin> AsyncWrite for Held<S, L> {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        octets: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

async fn open_http1(pool: &Rc<Pool>, head: &RequestHead, wanted: &Wanted) -> Result<Opened, Failure> {
    let timeouts = pool.upstream.config.timeouts;
    // A connection of its own: it does not come back. Where there may be no more of them one that is idle makes room.
    let slot = match pool.reserve().or_else(|| pool.take_idle().map(Live::into_slot)) {
        Some(slot) => slot,
        None => match pool.ask()? {
            Ok(slot) => slot,
            Err(waiting) => {
                let _pending = super::watch::Pending::new(pool);
                let granted = async { waiting.await.map_err(|_| unavailable()) };
                match within(timeouts.response, granted).await? {
                    Grant::Slot(slot) => slot,
                    // Its place is what is wanted.
                    Grant::Live(live) => live.into_slot(),
                }
            }
        },
    };
    let io = match timeouts.connect.is_zero() {
        true => dial(&pool.upstream, &pool.endpoint).await?,
        false => {
            let late =
                || Failure::new(UpstreamFailure::ConnectionTimeout, Reach::Connect, "no connection in time");
            let dialled = tokio::time::timeout(timeouts.connect, dial(&pool.upstream, &pool.endpoint)).await;
            dialled.map_err(|_| late())??
        }
    };
    let key = wanted.is_websocket().then(|| key_of(head));
    let request = request(head, wanted, key.as_deref())?;
    let shaken = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(io)).await;
    let (mut sender, connection) = shaken.map_err(|error| of_http1(&error, true))?;
    actix_rt::spawn(async move {
        let _slot = slot;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection for a tunnel broke");
        }
    });
    let sent = async { sender.send_request(request).await.map_err(|error| of_http1(&error, true)) };
    let mut answer = within(timeouts.response, sent).await?;
    let mut fields = convert::to_fields(answer.headers());
    let status = answer.status().as_u16();
    let opened = match wanted {
        Wanted::Protocol(_) => status == 101,
        Wanted::Authority(_) => (200..300).contains(&status),
    };
    if !opened {
        let mut response = Response::new(status);
        hops::strip_response(&mut fields);
        response.fields = fields;
        response.body = Body::stream(answer.into_body());
        return Ok(Opened::Refused(response));
    }
    if let Some(key) = key
        && fields.get(ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(refused("the server did not accept the key of the WebSocket"));
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|error| refused(error.to_string()))?;
    Ok(Opened::Tunnel(fields, Box::new(TokioIo::new(upgraded))))
}

/// The client's own key where it speaks HTTP/1.1, else one of ours.
fn key_of(head: &RequestHead) -> String {
    head.fields().get_str(KEY).map_or_else(generate_key, str::to_owned)
}

fn request(
    head: &RequestHead,
    wanted: &Wanted,
    key: Option<&str>,
) -> Result<http::Request<Empty<Bytes>>, Failure> {
    let wrong =
        |_| Failure::new(UpstreamFailure::HttpRequestError, Reach::Client, "the request cannot be sent on");
    let value = |octets: &[u8]| HeaderValue::from_bytes(octets).map_err(|_| wrong(()));
    let mut request = http::Request::new(Empty::new());
    let headers = request.headers_mut();
    if let Some(authority) = head.authority() {
        headers.insert(http::header::HOST, value(authority.as_bytes())?);
    }
    for field in passed_on(head).iter() {
        let name = HeaderName::from_bytes(field.name).map_err(|_| wrong(()))?;
        headers.append(name, value(field.value)?);
    }
    let target = match wanted {
        Wanted::Protocol(protocol) => {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(http::header::UPGRADE, value(protocol.as_bytes())?);
            if let Some(key) = key {
                headers.insert(KEY, value(key.as_bytes())?);
            }
            head.path_octets()
        }
        Wanted::Authority(authority) => {
            *request.method_mut() = http::Method::CONNECT;
            authority.as_bytes()
        }
    };
    *request.uri_mut() = Uri::try_from(target).map_err(|_| wrong(()))?;
    Ok(request)
}

async fn within<T>(
    limit: std::time::Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if limit.is_zero() {
        return answer.await;
    }
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::timed_out("no head of an answer in time")),
    }
}
