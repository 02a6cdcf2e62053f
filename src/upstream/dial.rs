//! A connection to an endpoint that speaks HTTP/1.1: TCP or a Unix socket, TLS over it where it has TLS. HTTP/2 sessions
//! dial by themselves (`stagedoor_actors::client`).
//!
//! Has no deadline of its own: whoever calls has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Upstream;
use super::endpoint::Endpoint;
use crate::config::EndpointAddress;

/// Octets to and from an endpoint.
pub(crate) enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Below>>),
}

/// What TLS runs over.
pub(crate) enum Below {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("the name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// Nobody answers.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The handshake failed.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
}

/// Connects to `endpoint` for HTTP/1.1.
/// # Errors
/// How far it came.
pub(crate) async fn dial(upstream: &Upstream, endpoint: &Endpoint) -> Result<Io, DialError> {
    let below = match &endpoint.address {
        EndpointAddress::Tcp { host, port } => {
            let addresses =
                tokio::net::lookup_host((host.as_str(), *port)).await.map_err(DialError::Resolve)?;
            let addresses: Vec<_> = addresses.collect();
            let stream = TcpStream::connect(&*addresses).await.map_err(DialError::Connect)?;
            stream.set_nodelay(true).ok();
            Below::Tcp(stream)
        }
        EndpointAddress::Unix(path) => {
            Below::Unix(UnixStream::connect(path).await.map_err(DialError::Connect)?)
        }
    };
    let trust = upstream.trust().filter(|_| endpoint.tls);
    let Some(trust) = trust else {
        return Ok(match below {
            Below::Tcp(stream) => Io::Tcp(stream),
            Below::Unix(stream) => Io::Unix(stream),
        });
    };
    let name = server_name(upstream, endpoint).map_err(DialError::Tls)?;
    let connector = TlsConnector::from(Arc::clone(&trust.http1));
    connector.connect(name, below).await.map(|stream| Io::Tls(Box::new(stream))).map_err(DialError::Tls)
}

/// The name in SNI and certificate.
fn server_name(upstream: &Upstream, endpoint: &Endpoint) -> io::Result<ServerName<'static>> {
    let host = match (&upstream.config.tls.server_name, &endpoint.address) {
        (Some(name), _) => name.clone(),
        (None, EndpointAddress::Tcp { host, .. }) => host.clone(),
        (None, EndpointAddress::Unix(_)) => "localhost".to_owned(),
    };
    ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

macro_rules! each {
    ($self:expr, { $($variant:path),+ }, $io:ident => $call:expr) => {
        match $self.get_mut() { $($variant($io) => $call,)+ }
    };
}

macro_rules! delegate {
    ($type:ty { $($variant:path),+ }) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                each!(self, { $($variant),+ }, io => Pin::new(io).poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
                each!(self, { $($variant),+ }, io => Pin::new(io).poll_write(cx, octets))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                each!(self, { $($variant),+ }, io => Pin::new(io).poll_write_vectored(cx, slices))
            }

            fn is_write_vectored(&self) -> bool {
                match self { $($variant(io) => io.is_write_vectored(),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, { $($variant),+ }, io => Pin::new(io).poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, { $($variant),+ }, io => Pin::new(io).poll_shutdown(cx))
            }
        }
    };
}

delegate!(Below { Below::Tcp, Below::Unix });
delegate!(Io { Io::Tcp, Io::Unix, Io::Tls });
