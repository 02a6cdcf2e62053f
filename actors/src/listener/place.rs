//! Where a listener listens: what it is told to bind ([`Bind`]) and what came of it ([`Address`]). Binds nothing itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::{SocketType, sockopt};
use socket2::SockRef;

/// One socket of a listener: made by us, or handed over to us.
///
/// ```
/// use std::net::SocketAddr;
///
/// use stagedoor_actors::Bind;
///
/// let tcp = Bind::from(SocketAddr::from(([127, 0, 0, 1], 80)));
/// assert_eq!(tcp.to_string(), "127.0.0.1:80");
/// assert_eq!(Bind::Unix("/run/app.sock".into()).to_string(), "unix:/run/app.sock");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address; port 0 takes a free one. `[::]` takes IPv4 too, unless the listener binds that port for IPv4 as well.
    Tcp(SocketAddr),
    /// A Unix socket at this path, mode 0660. A socket file that nobody answers on is replaced; ours is removed when the
    /// listener stops.
    Unix(PathBuf),
    /// A socket that listens already.
    Inherited(Inherited),
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => fmt::Display::fmt(address, f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(socket) => write!(f, "fd:{}", socket.name),
        }
    }
}

/// A listening socket, TCP or Unix, that somebody else made: systemd, or the process before this one. It stays open as
/// long as a copy of this lives, so that a listener may stop and begin again; what waits in its queue is lost only when
/// the last process that holds it closes it.
///
/// ```
/// use stagedoor_actors::Inherited;
///
/// // A pipe does not listen.
/// let (reader, _writer) = std::io::pipe()?;
/// assert!(Inherited::new("web", reader.into()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inherited {
    name: Arc<str>,
    socket: Arc<OwnedFd>,
}

impl Inherited {
    /// Takes a socket over under a name, which is shown and told apart by people alone.
    /// # Errors
    /// It is no socket, or no stream socket that listens.
    pub fn new(name: &str, socket: OwnedFd) -> io::Result<Self> {
        let unfit = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if sockopt::socket_type(&socket)? != SocketType::STREAM {
            return unfit("not a stream socket");
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return unfit("the socket does not listen");
        }
        let taken = Self { name: name.into(), socket: Arc::new(socket) };
        match taken.address() {
            Ok(_) => Ok(taken),
            Err(_) => unfit("neither a TCP nor a Unix socket"),
        }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<Address> {
        let address = SockRef::from(&self.socket).local_addr()?;
        if let Some(address) = address.as_socket() {
            return Ok(Address::Tcp(address));
        }
        if address.is_unix() {
            return Ok(Address::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default()));
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A descriptor of its own for the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }
}

/// The same socket under the same name.
impl PartialEq for Inherited {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.socket.as_raw_fd() == other.socket.as_raw_fd()
    }
}

impl Eq for Inherited {}

/// Where a listener is reached.
///
/// ```
/// use stagedoor_actors::Address;
///
/// let inside = Address::Unix("/run/app.sock".into());
/// assert_eq!((inside.to_string(), inside.tcp()), ("unix:/run/app.sock".to_owned(), None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket; the path is empty where it has none.
    Unix(PathBuf),
}

impl Address {
    /// The address of TCP.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// `127.0.0.1:80` or `unix:/path`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => fmt::Display::fmt(address, f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_as_they_are_written() {
        let tcp: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Bind::from(tcp).to_string(), "[::1]:80");
        assert_eq!(Bind::Unix("/run/a.sock".into()).to_string(), "unix:/run/a.sock");
        assert_eq!(Address::Tcp(tcp).to_string(), "[::1]:80");
        assert_eq!(Address::Unix("/run/a.sock".into()).to_string(), "unix:/run/a.sock");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let inherited = Inherited::new("web", socket.into()).unwrap();
        assert_eq!(inherited.address().unwrap().tcp(), Some(address));
        assert_eq!(Bind::Inherited(inherited).to_string(), "fd:web");
    }

    #[test]
    fn only_stream_sockets_that_listen_are_taken_over() {
        let refused = |socket: OwnedFd| Inherited::new("x", socket).unwrap_err().to_string();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(refused(udp.into()), "not a stream socket");
        let (pipe, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(refused(pipe.into()), "the socket does not listen");
        assert!(Inherited::new("x", std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
