//! How octets get to the other end: TCP with the addresses of a name tried in turn (RFC 8305), a Unix socket, or
//! anything the caller connects.
//!
//! Knows no TLS and no HTTP. A connector may be used for many sessions, [`Connector::over`] for one.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::error::ConnectError;
use super::target::Target;
use crate::transport::{Io, Raw};

/// The next address is tried when the one before has not answered for so long (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>>>>;

/// See the module.
///
/// ```
/// use stagedoor_actors::client::{Connector, Options};
/// use stagedoor_actors::transport::Io;
///
/// let inside = Options::with_connector(Connector::unix("/run/app.sock"));
/// let proxied = Options::with_connector(Connector::with(async |target| {
///     println!("{} by way of the proxy", target.authority);
///     let io = tokio::net::TcpStream::connect("127.0.0.1:3128").await?;
///     Ok(Box::new(io) as Box<dyn Io>)
/// }));
/// ```
#[derive(Clone)]
pub struct Connector(Way);

#[derive(Clone)]
enum Way {
    Tcp { local: Option<IpAddr> },
    Unix(PathBuf),
    Custom(Rc<dyn Fn(Target) -> Connecting>),
    Once(Rc<Cell<Option<Box<dyn Io>>>>),
}

impl Default for Connector {
    fn default() -> Self {
        Self::tcp()
    }
}

impl Connector {
    /// TCP to the target's host and port.
    pub fn tcp() -> Self {
        Self(Way::Tcp { local: None })
    }

    /// TCP from a local address.
    pub fn tcp_from(local: IpAddr) -> Self {
        Self(Way::Tcp { local: Some(local) })
    }

    /// A Unix socket; the target still names the authority and the scheme.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self(Way::Unix(path.as_ref().to_owned()))
    }

    /// Whatever `connect` makes: a proxy, a tunnel, a pipe.
    pub fn with<F, C>(connect: F) -> Self
    where
        F: Fn(Target) -> C + 'static,
        C: Future<Output = io::Result<Box<dyn Io>>> + 'static,
    {
        Self(Way::Custom(Rc::new(move |target| Box::pin(connect(target)))))
    }

    /// One stream that is connected already: an in-memory duplex, a tunnel inside another stream. A second session of the
    /// same connector fails.
    pub fn over(io: impl Io) -> Self {
        Self(Way::Once(Rc::new(Cell::new(Some(Box::new(io))))))
    }

    pub(super) async fn connect(self, target: &Target) -> Result<(Raw, Option<SocketAddr>), ConnectError> {
        let failed = |error| ConnectError::Io { authority: target.authority.clone(), error: Arc::new(error) };
        match self.0 {
            Way::Tcp { local } => {
                let name = (target.host.as_str(), target.port);
                let addresses: Vec<SocketAddr> = tokio::net::lookup_host(name)
                    .await
                    .map_err(|error| ConnectError::Resolve {
                        host: target.host.clone(),
                        error: Arc::new(error),
                    })?
                    .filter(|address| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4()))
                    .collect();
                let stream = race(in_turn(addresses), local).await.map_err(failed)?;
                stream.set_nodelay(true).ok();
                let peer = stream.peer_addr().ok();
                Ok((Raw::Tcp(stream), peer))
            }
            Way::Unix(path) => {
                let stream = UnixStream::connect(&path).await.map_err(failed)?;
                Ok((Raw::Unix(stream), None))
            }
            Way::Custom(connect) => {
                let io = connect(target.clone()).await.map_err(failed)?;
                Ok((Raw::Other(io), None))
            }
            Way::Once(io) => match io.take() {
                Some(io) => Ok((Raw::Other(io), None)),
                None => {
                    Err(failed(io::Error::new(io::ErrorKind::NotConnected, "this stream was used already")))
                }
            },
        }
    }
}

/// IPv6 and IPv4 alternate, the family of the resolver's first answer first.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0);
        mixed.extend(pair.1);
    }
}

/// The first that connects; the last error where none does.
async fn race(addresses: Vec<SocketAddr>, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last =
        io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address of the right family");
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.push(dial(address, local));
                true
            }
            None => false,
        };
        if attempts.is_empty() {
            return Err(last);
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = tokio::time::sleep(STAGGER), if more => {}
        }
    }
}

async fn dial(address: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(local) = local else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(local, 0))?;
    socket.connect(address).await
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Way::Tcp { local: None } => f.write_str("Connector::tcp"),
            Way::Tcp { local: Some(local) } => write!(f, "Connector::tcp_from({local})"),
            Way::Unix(path) => write!(f, "Connector::unix({})", path.display()),
            Way::Custom(_) => f.write_str("Connector::with"),
            Way::Once(_) => f.write_str("Connector::over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_beginning_with_the_resolvers_choice() {
        let parse = |list: &[&str]| -> Vec<SocketAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        let mixed = in_turn(parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1"]));
        assert_eq!(mixed, parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"]));
        assert_eq!(in_turn(parse(&["1.0.0.1:1", "[::1]:1"])), parse(&["1.0.0.1:1", "[::1]:1"]));
        assert_eq!(in_turn(Vec::new()), []);
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_room_for_the_next_at_once() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap();
        drop(free);
        let stream = race(vec![closed, taken.local_addr().unwrap()], None).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), taken.local_addr().unwrap());
        assert!(race(vec![closed], None).await.is_err());
    }
}
