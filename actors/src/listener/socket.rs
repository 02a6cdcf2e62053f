//! Sockets that listen: bound by us or handed over, TCP or Unix, and the connections that come out of them.
//!
//! Invariant: a socket file is removed when the last [`Bound`] of its socket goes, and only if it is still the one we made.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{self, Poll};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::place::{Address, Bind};

/// Connections the kernel keeps for us before they are accepted.
pub(super) const BACKLOG: i32 = 2048;
/// Who may connect to a Unix socket of ours: its user and group.
const MODE: u32 = 0o660;

/// A socket of a listener. Clones are the same socket.
#[derive(Clone)]
pub(crate) struct Bound {
    /// What was asked for.
    pub(crate) asked: Bind,
    /// Where it is bound again: the port that port 0 became.
    pub(crate) place: Bind,
    pub(crate) address: Address,
    socket: Arc<Listening>,
}

/// The socket itself.
enum Listening {
    Tcp(TcpListener),
    Unix {
        socket: UnixListener,
        /// Removed with the socket, where it is ours.
        _file: Option<SocketFile>,
    },
}

/// A socket as the accept loop uses it.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A connection, nonblocking, and its other end where that has an address.
pub(crate) enum Arrival {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Bound {
    /// Binds `bind`, of a listener that binds `all`, and listens; takes over what listens already.
    pub(crate) fn new(bind: &Bind, all: &[Bind], reuse_port: bool) -> io::Result<Self> {
        let (address, socket) = match bind {
            Bind::Tcp(address) => {
                let socket = tcp(*address, all, reuse_port)?;
                (Address::Tcp(socket.local_addr()?), Listening::Tcp(socket))
            }
            Bind::Unix(path) => {
                let (socket, file) = unix(path)?;
                (Address::Unix(path.clone()), Listening::Unix { socket, _file: Some(file) })
            }
            Bind::Inherited(inherited) => {
                let (address, socket) = (inherited.address()?, inherited.duplicate()?);
                let socket = match &address {
                    Address::Tcp(_) => Listening::Tcp(nonblocking(socket)?.into()),
                    Address::Unix(_) => Listening::Unix { socket: nonblocking(socket)?.into(), _file: None },
                };
                (address, socket)
            }
        };
        let place = match (bind, &address) {
            (Bind::Tcp(_), Address::Tcp(bound)) => Bind::Tcp(*bound),
            (bind, _) => bind.clone(),
        };
        Ok(Self { asked: bind.clone(), place, address, socket: Arc::new(socket) })
    }

    /// The same socket, asked for as `bind`.
    pub(crate) fn asked_as(&self, bind: &Bind) -> Self {
        Self { asked: bind.clone(), ..self.clone() }
    }

    /// It is the socket that `bind` would make.
    pub(crate) fn is(&self, bind: &Bind) -> bool {
        self.asked == *bind || self.place == *bind
    }

    /// The socket for an accept loop, by a descriptor of its own.
    pub(super) fn acceptor(&self) -> io::Result<Acceptor> {
        Ok(match &*self.socket {
            Listening::Tcp(socket) => Acceptor::Tcp(tokio::net::TcpListener::from_std(socket.try_clone()?)?),
            Listening::Unix { socket, .. } => {
                Acceptor::Unix(tokio::net::UnixListener::from_std(socket.try_clone()?)?)
            }
        })
    }

    /// What waits in its queue would be lost with it: it is ours, and no other listener goes on with it.
    pub(super) fn is_last(&self) -> bool {
        !matches!(self.place, Bind::Inherited(_)) && Arc::strong_count(&self.socket) == 1
    }

    /// A connection that waits in its queue; `None` when there is none.
    pub(super) fn take_waiting(&self) -> io::Result<Option<Arrival>> {
        let taken = match &*self.socket {
            Listening::Tcp(socket) => socket.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok(Arrival::Tcp(stream, peer))
            }),
            Listening::Unix { socket, .. } => socket.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                Ok(Arrival::Unix(stream))
            }),
        };
        match taken {
            Ok(arrival) => Ok(Some(arrival)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Acceptor {
    pub(super) fn poll_accept(&self, cx: &mut task::Context<'_>) -> Poll<io::Result<Arrival>> {
        match self {
            Self::Tcp(socket) => socket.poll_accept(cx).map(|taken| {
                let (stream, peer) = taken?;
                Ok(Arrival::Tcp(stream.into_std()?, peer))
            }),
            Self::Unix(socket) => socket.poll_accept(cx).map(|taken| {
                let (stream, _) = taken?;
                Ok(Arrival::Unix(stream.into_std()?))
            }),
        }
    }
}

fn nonblocking(socket: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// `[::]` takes IPv4 too, unless an address of `all` wants that port for itself.
fn tcp(address: SocketAddr, all: &[Bind], reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of its predecessor in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        let v4_beside = all.iter().any(
            |other| matches!(other, Bind::Tcp(other) if other.is_ipv4() && other.port() == address.port()),
        );
        socket.set_only_v6((v4_beside && address.port() != 0) || !address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path, &address)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    let file = SocketFile::of(path)?;
    // Before it listens: until then nobody gets in, whatever the mask of the process left open.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// A socket file that nobody listens on any more. What is no socket is not ours to remove.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    // A full queue is somebody's, too: this must not wait for a place in it.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    Ok(matches!(probe.connect(address), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The file of a Unix socket of ours.
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { identity: identity(path)?, path: path.to_owned() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(path: &Path) -> io::Result<Bound> {
        Bound::new(&Bind::Unix(path.to_owned()), &[], false)
    }

    #[test]
    fn a_socket_file_is_for_its_user_and_group_and_goes_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = bound(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let second = first.asked_as(&first.asked);
        assert!(!first.is_last());
        drop(first);
        assert!(path.exists() && second.is_last());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let taken = |path: &Path| bound(path).err().unwrap().kind() == io::ErrorKind::AddrInUse;
        let lives = UnixListener::bind(&path).unwrap();
        assert!(taken(&path), "somebody answers");
        drop(lives);
        assert!(path.exists(), "std leaves it behind");
        let ours = bound(&path).unwrap();
        // Somebody took the place over: the file is theirs.
        fs::remove_file(&path).unwrap();
        let theirs = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
        drop(theirs);
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(taken(&file));
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn reuse_port_shares_an_address() {
        let first = Bound::new(&Bind::Tcp(([127, 0, 0, 1], 0).into()), &[], true).unwrap();
        assert!(Bound::new(&first.place, &[], true).is_ok());
        assert!(Bound::new(&first.place, &[], false).is_err());
    }
}
