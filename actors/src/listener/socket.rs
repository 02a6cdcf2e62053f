//! Binding.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for us before they are accepted.
const BACKLOG: i32 = 2048;

/// Binds `address` and listens. `[::]` takes IPv4 too, unless an address of `all` wants that port for itself.
pub(crate) fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of its predecessor in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        let v4_beside =
            all.iter().any(|other| other.is_ipv4() && other.port() == address.port() && address.port() != 0);
        socket.set_only_v6(v4_beside || !address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
