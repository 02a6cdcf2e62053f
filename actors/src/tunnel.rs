//! A tunnel: octets both ways on a stream after its heads (RFC 9113 §8.5, RFC 8441, RFC 9110 §7.8).
//!
//! CONNECT and extended CONNECT on HTTP/2 and an upgrade on HTTP/1.1 give the same thing: an `AsyncRead` and
//! `AsyncWrite` with the stream's backpressure. It knows no protocol that may run inside.
//! Invariants: the end of one direction leaves the other open; a tunnel that is dropped ends its side in good
//! order unless its task panics; octets are taken only as the peer's windows allow.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use stagedoor_protocol::{Fields, RequestHead, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::{BodyError, Inbound, RequestBody};
use crate::link::{Flow, Link, ToSession};
use crate::stream::{StreamHandle, StreamMisuse, head_of};

/// See the module.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::client::RequestParts;
/// use stagedoor_actors::{Reply, Request, Response, Service, Tunnel};
/// use stagedoor_protocol::Fields;
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
///
/// async fn echo(mut tunnel: Tunnel) {
///     while let Some(Ok(octets)) = tunnel.chunk().await {
///         if tunnel.write_all(&octets).await.is_err() {
///             return;
///         }
///     }
/// }
///
/// struct Echo;
///
/// impl Service for Echo {
///     fn call(&self, request: Request) -> Reply {
///         request.accept_tunnel(Fields::new(), echo).unwrap_or_else(|_| Response::new(400).into())
///     }
/// }
/// # let service = std::rc::Rc::new(Echo);
/// # let (_host, session) = in_memory(service)?;
/// # let mut tunnel = session.connect_tunnel(RequestParts::connect("example.org:7")).await?;
/// # tunnel.write_all(b"back").await?;
/// # let mut back = [0; 4];
/// # tunnel.read_exact(&mut back).await?;
/// # assert_eq!(&back, b"back");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Tunnel {
    link: Rc<Link>,
    id: StreamId,
    body: RequestBody,
    /// Octets read and not yet asked for.
    held: Bytes,
    flow: Rc<Flow>,
    ended: bool,
}

impl Tunnel {
    pub(crate) fn new(link: Rc<Link>, id: StreamId, body: RequestBody, flow: Rc<Flow>) -> Self {
        Self { link, id, body, held: Bytes::new(), flow, ended: false }
    }

    /// The stream it runs on.
    pub fn stream(&self) -> StreamId {
        self.id
    }

    /// The next octets as they came, without a copy; `None` when the peer has ended its side.
    /// # Errors
    /// Why the peer's side broke.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        if !self.held.is_empty() {
            return Some(Ok(std::mem::take(&mut self.held)));
        }
        self.body.chunk().await
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.link.end(self.id);
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held.is_empty() {
            match ready!(self.body.poll_chunk(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(chunk)) => self.held = chunk,
                Some(Err(error)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
            }
        }
        let count = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.held.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.flow.is_shut() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if octets.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(self.flow.poll_capacity(cx)).min(octets.len());
        self.flow.spend(count);
        let data = Bytes::copy_from_slice(&octets[..count]);
        self.link.send(ToSession::SendData { id: self.id, data, end: false });
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The session flushes each turn; nothing is kept here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // A task that panics has its stream reset by the session instead; one that was never sent ends nothing.
        if !std::thread::panicking() && self.flow.has_begun() {
            self.end();
        }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("stream", &self.id).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What a request wants a tunnel for.
///
/// ```
/// use stagedoor_actors::{Request, TunnelTo};
///
/// fn may_pass(request: &Request) -> bool {
///     match request.tunnel() {
///         Some(TunnelTo::Authority(authority)) => authority.ends_with(":443"),
///         Some(TunnelTo::Protocol(protocol)) => protocol == "websocket",
///         None => true,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelTo<'a> {
    /// CONNECT: octets to an authority.
    Authority(&'a str),
    /// Extended CONNECT or an upgrade: a protocol, such as `websocket`.
    Protocol(&'a str),
}

/// The tunnel a request asks for, if it does.
pub(crate) fn wanted(head: &RequestHead) -> Option<TunnelTo<'_>> {
    if let Some(protocol) = head.protocol() {
        return Some(TunnelTo::Protocol(protocol));
    }
    if head.method_octets() == b"CONNECT" {
        return Some(TunnelTo::Authority(head.authority().unwrap_or_default()));
    }
    // HTTP/1.1 alone has these two fields; on HTTP/2 they make a request malformed.
    let protocol = head.fields().get("upgrade").and_then(|value| std::str::from_utf8(value).ok())?;
    let named = head.fields().get_all("connection").any(|value| {
        let mut options = value.split(|&octet| octet == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    // The request has to be whole before its connection speaks something else (RFC 9110 §7.8), and a body may not
    // have come yet: such an upgrade is left aside, as a server may.
    let bodied =
        head.fields().contains("transfer-encoding") || head.content_length().is_some_and(|length| length > 0);
    (named && !bodied).then_some(TunnelTo::Protocol(protocol))
}

/// The head that opens the tunnel a request asks for, and the tunnel.
/// # Errors
/// [`StreamMisuse::NoTunnel`], or what is wrong with the fields.
pub(crate) fn open(
    handle: &StreamHandle,
    request: &RequestHead,
    body: RequestBody,
    fields: Fields,
    dated: bool,
) -> Result<(ToSession, Tunnel), StreamMisuse> {
    let wanted = wanted(request).ok_or(StreamMisuse::NoTunnel)?;
    if fields.contains("content-length") {
        return Err(StreamMisuse::TunnelLength);
    }
    let link = Rc::clone(handle.link());
    let upgrades = !link.info.is_http2() && matches!(wanted, TunnelTo::Protocol(_));
    let status = if upgrades { 101 } else { 200 };
    let mut head = head_of(200, fields, None, dated && !upgrades, link.now());
    head.check(handle.strict())?;
    head.status = status;
    if upgrades && let TunnelTo::Protocol(protocol) = wanted {
        head.fields.push("connection", "upgrade");
        head.fields.push("upgrade", protocol);
    }
    let flow = Rc::new(Flow::default());
    let (id, route) = (handle.id(), handle.route());
    let (body, inbound) = if link.info.is_http2() {
        (body, None)
    } else {
        drop(body);
        let inbound = Rc::new(Inbound::new(Rc::clone(&link), id));
        (RequestBody::http2(Rc::clone(&inbound), None), Some(inbound))
    };
    let tunnel = Tunnel::new(Rc::clone(&link), id, body, Rc::clone(&flow));
    Ok((ToSession::SendTunnel { id, route, head, flow, inbound }, tunnel))
}
