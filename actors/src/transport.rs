//! What a session reads from and writes to: a TCP socket, TLS over it, or any stream of octets (embedding,
//! tests). Decides nothing; counts nothing.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::client::wire::Watched;

/// Any stream of octets a session can run on.
///
/// ```
/// use stagedoor_actors::transport::Io;
///
/// fn boxed(io: impl Io) -> Box<dyn Io> {
///     Box::new(io)
/// }
/// let (one, _other) = tokio::io::duplex(64);
/// let io = boxed(one);
/// ```
pub trait Io: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Io for T {}

/// The stream below TLS.
pub(crate) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
    Other(Box<dyn Io>),
}

impl Raw {
    /// Our end, where it is a socket of ours.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) | Self::Other(_) => None,
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

/// A stream of which the first octets were read before.
pub(crate) struct Replay {
    seen: Bytes,
    io: Box<dyn Io>,
}

impl Replay {
    pub(crate) fn new(seen: Bytes, io: Box<dyn Io>) -> Self {
        Self { seen, io }
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The stream a session speaks over.
pub(crate) enum Transport {
    Plain(Raw),
    Tls(Box<TlsStream<Below>>),
    /// A session of ours.
    ClientTls(Box<tokio_rustls::client::TlsStream<Below>>),
    /// A session of ours whose octets somebody hears.
    Watched(Box<Watched>),
}

impl Transport {
    /// Octets may stay inside after a write until `poll_flush`.
    pub(crate) fn buffers(&self) -> bool {
        !matches!(self, Self::Plain(Raw::Tcp(_) | Raw::Unix(_)))
    }

    /// Octets that went out below TLS, which takes more than it has sent; `None` without TLS.
    pub(crate) fn below(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls.get_ref().0.sent),
            Self::ClientTls(tls) => Some(tls.get_ref().0.sent),
            Self::Watched(watched) => match watched.io() {
                Self::ClientTls(tls) => Some(tls.get_ref().0.sent),
                // Only sessions of ours are watched, and once.
                Self::Plain(_) | Self::Tls(_) | Self::Watched(_) => None,
            },
        }
    }
}

/// A stream below TLS, its outgoing octets counted.
pub(crate) struct Below {
    io: Raw,
    sent: u64,
    /// Octets that were read before TLS began.
    ahead: Bytes,
}

impl Below {
    pub(crate) fn new(io: Raw) -> Self {
        Self::with_ahead(io, Bytes::new())
    }

    /// The same, of which these octets were read already.
    pub(crate) fn with_ahead(io: Raw, ahead: Bytes) -> Self {
        Self { io, sent: 0, ahead }
    }

    /// See [`Raw::is_unix`].
    pub(crate) fn is_unix(&self) -> bool {
        self.io.is_unix()
    }

    /// See [`Raw::local`].
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.io.local()
    }

    fn count(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &result {
            self.sent += *count as u64;
        }
        result
    }
}

impl AsyncRead for Below {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Below {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, octets);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

macro_rules! each {
    ($self:expr, $enum:ident { $($variant:ident),+ }, $io:ident => $call:expr) => {
        match $self.get_mut() { $($enum::$variant($io) => $call,)+ }
    };
}

macro_rules! delegate {
    ($enum:ident { $($variant:ident),+ }) => {
        impl AsyncRead for $enum {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                each!(self, $enum { $($variant),+ }, io => Pin::new(io).poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $enum {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
                each!(self, $enum { $($variant),+ }, io => Pin::new(io).poll_write(cx, octets))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                each!(self, $enum { $($variant),+ }, io => Pin::new(io).poll_write_vectored(cx, slices))
            }

            fn is_write_vectored(&self) -> bool {
                match self { $(Self::$variant(io) => io.is_write_vectored(),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, $enum { $($variant),+ }, io => Pin::new(io).poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, $enum { $($variant),+ }, io => Pin::new(io).poll_shutdown(cx))
            }
        }
    };
}

delegate!(Raw { Tcp, Unix, Other });
delegate!(Transport { Plain, Tls, ClientTls, Watched });
