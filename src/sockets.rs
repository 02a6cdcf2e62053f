//! Sockets that were handed to this process (`LISTEN_FDS`, as systemd's socket activation and a process before this one do
//! it), and what a checked configuration of listeners is to the engine that binds them.
//!
//! Binds nothing. Invariant: a socket that was taken stays open for as long as its [`Sockets`] live, whoever listens on it
//! or has ceased to.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use listenfd::ListenFd;
use stagedoor_actors::{Bind, Inherited, ListenerConfig, ProxyProtocol};

use crate::config;

/// Number of the first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: u64 = 3;

/// The sockets of this process that somebody else made.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Vec<Handed>);

/// One of them.
#[derive(Clone, Debug)]
struct Handed {
    number: u64,
    name: String,
    /// What is wrong with it, where it is of no use.
    socket: Result<Inherited, String>,
}

/// A listener names a socket that was not handed over, or is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSocket {
    /// There is none of that name or number.
    #[error("no socket {name:?} was handed over{}", there_are(known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It cannot be listened on.
    #[error("the socket {name:?} that was handed over cannot be used: {why}")]
    Unfit {
        /// What was asked for.
        name: String,
        /// In words.
        why: String,
    },
}

fn there_are(names: &[String]) -> String {
    match names {
        [] => "; LISTEN_FDS names none".to_owned(),
        names => format!("; there are {}", names.join(", ")),
    }
}

impl Sockets {
    /// Takes what `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID` say. Once, first thing in `main`, before any thread: the
    /// variables are taken out of the environment, so that no child believes that they are for it.
    #[must_use]
    pub fn take() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let first = env::var("LISTEN_FDS_FIRST_FD").ok().and_then(|first| first.parse().ok());
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len())
            .map(|place| {
                let socket: OwnedFd = match handed.take_tcp_listener(place) {
                    Ok(Some(socket)) => socket.into(),
                    _ => match handed.take_unix_listener(place) {
                        Ok(Some(socket)) => socket.into(),
                        Ok(None) => return Err("it was taken before".to_owned()),
                        Err(_) => return Err("it is neither a TCP nor a Unix stream socket".to_owned()),
                    },
                };
                Ok(socket)
            })
            .collect();
        Self::named(sockets, &names, first.unwrap_or(FIRST))
    }

    /// `names` are separated by colons, in the order of the sockets; the first has the number `first`.
    fn named(sockets: Vec<Result<OwnedFd, String>>, names: &str, first: u64) -> Self {
        let mut names = names.split(':');
        let numbers = (first..).zip(sockets);
        let handed = numbers.map(|(number, socket)| {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.map_or_else(|| number.to_string(), str::to_owned);
            let socket =
                socket.and_then(|socket| Inherited::new(&name, socket).map_err(|error| error.to_string()));
            Handed { number, name, socket }
        });
        Self(handed.collect())
    }

    /// None was handed over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every socket of a name (systemd gives all of a unit the same), or the one of a number.
    /// # Errors
    /// There is none, or one that cannot be used.
    pub fn of(&self, name: &str) -> Result<Vec<Inherited>, NoSocket> {
        let mut found: Vec<&Handed> = self.0.iter().filter(|handed| handed.name == name).collect();
        if found.is_empty() {
            found.extend(self.0.iter().find(|handed| handed.number.to_string() == name));
        }
        if found.is_empty() {
            let mut known: Vec<String> = self.0.iter().map(|handed| handed.name.clone()).collect();
            known.dedup();
            return Err(NoSocket::Unknown { name: name.to_owned(), known });
        }
        let unfit = |why: &String| NoSocket::Unfit { name: name.to_owned(), why: why.clone() };
        found.into_iter().map(|handed| handed.socket.clone().map_err(|why| unfit(&why))).collect()
    }

    /// What the engine binds for `bind`: one socket, or all that were handed over under its name.
    /// # Errors
    /// As [`Sockets::of`].
    pub fn binds(&self, bind: &config::Bind) -> Result<Vec<Bind>, NoSocket> {
        Ok(match bind {
            config::Bind::Tcp(address) => vec![Bind::Tcp(*address)],
            config::Bind::Unix(path) => vec![Bind::Unix(path.clone())],
            config::Bind::Inherited(name) => self.of(name)?.into_iter().map(Bind::Inherited).collect(),
        })
    }

    /// A listener as the engine is told of it: what the configuration says of it and of whom it trusts, and its TLS.
    /// # Errors
    /// As [`Sockets::of`].
    pub fn listener(
        &self,
        told: &config::Listener,
        server: &config::Server,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<ListenerConfig, NoSocket> {
        let mut config = ListenerConfig::new(&*told.name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let binds: Result<Vec<_>, _> = told.bind.iter().map(|bind| self.binds(bind)).collect();
        config.bind = binds?.concat();
        config.reuse_port = told.reuse_port;
        config.proxy_protocol = match told.proxy_protocol {
            config::ProxyProtocol::Off => ProxyProtocol::Off,
            config::ProxyProtocol::V1 => ProxyProtocol::V1,
            config::ProxyProtocol::V2 => ProxyProtocol::V2,
            config::ProxyProtocol::Any => ProxyProtocol::Any,
        };
        config.trusted_proxies.clone_from(&server.trusted_proxies);
        config.tls = tls;
        (config.http2, config.http1) = (told.http2, told.http1);
        config.limits = told.limits.clone();
        config.windows = told.windows.clone();
        config.timeouts = told.timeouts.clone();
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    fn tcp() -> Result<OwnedFd, String> {
        Ok(TcpListener::bind("127.0.0.1:0").unwrap().into())
    }

    #[test]
    fn sockets_are_found_by_name_and_by_number() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = Sockets::named(vec![tcp(), tcp(), tcp(), Ok(udp.into())], "web:web::dns", 3);
        assert_eq!(sockets.of("web").unwrap().len(), 2);
        assert_eq!(sockets.of("4").unwrap(), sockets.of("web").unwrap()[1..]);
        assert_eq!(sockets.of("5").unwrap()[0].name(), "5");
        assert_eq!(
            sockets.of("dns").unwrap_err().to_string(),
            "the socket \"dns\" that was handed over cannot be used: not a stream socket"
        );
        assert_eq!(
            sockets.of("7").unwrap_err().to_string(),
            "no socket \"7\" was handed over; there are web, 5, dns"
        );
        assert_eq!(
            Sockets::default().of("web").unwrap_err().to_string(),
            "no socket \"web\" was handed over; LISTEN_FDS names none"
        );
        let bind = config::Bind::Inherited("web".into());
        assert_eq!(sockets.binds(&bind).unwrap().len(), 2);
    }

    const CHILD: &str = "STAGEDOOR_TEST_TAKES_SOCKETS";

    /// The other half of the test below, in a process of its own: the environment belongs to the whole process.
    #[test]
    fn what_the_environment_names_is_taken() {
        let Ok(address) = env::var(CHILD) else {
            for (socket, address) in [unix(), inet()] {
                let name = "sockets::tests::what_the_environment_names_is_taken";
                let child = Command::new(env::current_exe().unwrap())
                    .args([name, "--exact"])
                    .env(CHILD, &address)
                    .env("LISTEN_FDS", "1")
                    .env("LISTEN_FDNAMES", "web")
                    .env("LISTEN_FDS_FIRST_FD", "0")
                    .stdin(Stdio::from(socket))
                    .output()
                    .unwrap();
                assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
            }
            return;
        };
        let sockets = Sockets::take();
        let [socket] = &sockets.of("web").unwrap()[..] else { panic!("one socket") };
        assert_eq!(socket.address().unwrap().to_string(), address);
        assert!(env::var_os("LISTEN_FDS").is_none());
        assert!(Sockets::take().is_empty());
    }

    fn inet() -> (OwnedFd, String) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        (socket.into(), address)
    }

    fn unix() -> (OwnedFd, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = UnixListener::bind(&path).unwrap();
        (socket.into(), format!("unix:{}", path.display()))
    }
}
