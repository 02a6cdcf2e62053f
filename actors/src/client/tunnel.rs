//! Tunnels of ours: CONNECT (RFC 9113 §8.5) and extended CONNECT (RFC 8441) as a stream of octets both ways.
//!
//! Knows nothing of what runs inside. Invariants: a tunnel exists only after a 2xx; the end of one direction leaves the
//! other open; one that is dropped before both have ended is reset with CANCEL.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use stagedoor_protocol::{ResponseHead, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::{Error, RequestError, SendError, StreamError};
use super::options::RequestOptions;
use super::request::RequestParts;
use super::session::ClientSession;
use super::stream::ClientStream;

impl ClientSession {
    /// Asks for a tunnel: [`RequestParts::connect`] to an authority, or [`RequestParts::extended_connect`] for a
    /// protocol, which waits for the server's SETTINGS.
    /// # Errors
    /// [`RequestError::ConnectProtocol`] where the server does not offer extended CONNECT,
    /// [`StreamError::TunnelRefused`] for an answer other than 2xx; else as [`ClientSession::send`].
    pub async fn connect_tunnel(&self, parts: impl Into<RequestParts>) -> Result<Tunnel, Error> {
        let mut parts = parts.into();
        parts.method = "CONNECT".to_owned();
        if parts.protocol.is_some() {
            match self.offers_connect_protocol().await {
                Ok(true) => {}
                Ok(false) => return Err(RequestError::ConnectProtocol.into()),
                Err(error) => return Err(RequestError::Closed(error).into()),
            }
        }
        let mut stream = self.request(parts, RequestOptions::default())?;
        let head = stream.response().await?;
        if !(200..300).contains(&head.status) {
            return Err(StreamError::TunnelRefused(head.status).into());
        }
        Ok(stream.into_tunnel(head))
    }
}

impl ClientStream {
    /// The stream of a CONNECT that was answered 2xx, as octets both ways.
    pub fn into_tunnel(self, head: ResponseHead) -> Tunnel {
        Tunnel { stream: self, head, held: Bytes::new(), read_out: false, ended: false }
    }
}

/// See the module. Writing to one whose peer has gone is `BrokenPipe`, reading `ConnectionReset`; the inner error is a
/// [`StreamError`] or a [`SendError`].
///
/// ```no_run
/// use stagedoor_actors::client::{ClientSession, RequestParts};
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
///
/// async fn ask(proxy: &ClientSession) -> Result<String, Box<dyn std::error::Error>> {
///     let mut tunnel = proxy.connect_tunnel(RequestParts::connect("example.org:79")).await?;
///     tunnel.write_all(b"who\r\n").await?;
///     tunnel.shutdown().await?;
///     let mut answer = String::new();
///     tunnel.read_to_string(&mut answer).await?;
///     Ok(answer)
/// }
/// ```
pub struct Tunnel {
    stream: ClientStream,
    head: ResponseHead,
    /// Octets that came and were not asked for yet.
    held: Bytes,
    /// The peer has ended its side, and that was read.
    read_out: bool,
    ended: bool,
}

impl Tunnel {
    /// The head that opened it.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// The stream it runs on.
    pub fn id(&self) -> Option<StreamId> {
        self.stream.id()
    }

    /// The next octets as they came, without a copy; `None` when the peer has ended its side.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, StreamError>> {
        if !self.held.is_empty() {
            return Some(Ok(std::mem::take(&mut self.held)));
        }
        self.stream.chunk().await
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.held.is_empty() {
            if this.read_out {
                return Poll::Ready(Ok(()));
            }
            match ready!(this.stream.poll_chunk(cx)) {
                None => this.read_out = true,
                Some(Ok(chunk)) => this.held = chunk,
                Some(Err(error)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
            }
        }
        let count = this.held.len().min(buffer.remaining());
        buffer.put_slice(&this.held[..count]);
        this.held.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if octets.is_empty() && !this.ended {
            return Poll::Ready(Ok(0));
        }
        this.stream.poll_send(cx, octets).map_err(broken)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The session flushes each turn; nothing is kept here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.ended, true) {
            this.stream.end();
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: SendError) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("id", &self.id()).field("ended", &self.ended).finish_non_exhaustive()
    }
}
