//! Addresses where nobody listens.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// One of them, on this machine. It is taken, by a socket that never listens, for as long as this process lives: a port
/// that was merely free a moment ago is soon another test's.
pub(crate) fn nobody() -> SocketAddr {
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = getsockname(&taken).expect("its address").try_into().expect("of the internet");
    mem::forget(taken);
    address
}
