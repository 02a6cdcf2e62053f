//! [`Listen`]: one listener of a [`Server`](super::Server), as it is described before anything is bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use stagedoor_actors::{Bind, Inherited, ListenerConfig};

use super::error::{Error, Result};
use super::tls::Tls;
use crate::app::App;

/// Where a server listens, and how. An address alone is one: `"127.0.0.1:8080"` speaks HTTP/2 (with prior knowledge) and
/// HTTP/1.1 in the clear, and so does a [`SocketAddr`].
///
/// ```
/// use stagedoor::{Listen, Tls};
///
/// let public = Listen::tls("localhost:8443", Tls::dev());
/// let inside = Listen::unix("/run/app.sock").name("inside").configure(|config| config.http1 = false);
/// ```
#[derive(Clone)]
#[must_use = "a listener does nothing before a server has it"]
pub struct Listen {
    name: Option<String>,
    places: Vec<Place>,
    tls: Option<Tls>,
    pub(super) app: Option<App>,
    configure: Vec<Configure>,
}

type Configure = Arc<dyn Fn(&mut ListenerConfig) + Send + Sync>;

#[derive(Clone)]
enum Place {
    Text(String),
    Bind(Bind),
    /// A socket that was handed over and is of no use.
    Unfit(String),
}

impl Listen {
    fn at(place: Place) -> Self {
        Self { name: None, places: vec![place], tls: None, app: None, configure: Vec::new() }
    }

    /// In the clear. The address is `host:port`; `localhost` is 127.0.0.1, port 0 takes a free one.
    pub fn plain(address: impl Into<String>) -> Self {
        Self::at(Place::Text(address.into()))
    }

    /// Over TLS, with ALPN for HTTP/2 and HTTP/1.1.
    pub fn tls(address: impl Into<String>, tls: Tls) -> Self {
        Self::plain(address).with_tls(tls)
    }

    /// On a Unix socket, mode 0660. Its file is removed when the server stops.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::Bind(Bind::Unix(path.into())))
    }

    /// On a socket that listens already: TCP or Unix, made by you, by systemd, or by a process before this one.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use stagedoor::{Listen, Server};
    ///
    /// let socket = std::net::TcpListener::bind("127.0.0.1:8080")?;
    /// let server = Server::new().listen(Listen::inherited("web", socket));
    /// # Ok(())
    /// # }
    /// ```
    pub fn inherited(name: &str, socket: impl Into<OwnedFd>) -> Self {
        let place = match Inherited::new(name, socket.into()) {
            Ok(inherited) => Place::Bind(Bind::Inherited(inherited)),
            Err(error) => Place::Unfit(format!("{name}: {error}")),
        };
        Self::at(place).name(name)
    }

    /// The same over TLS.
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// One more address for the same listener.
    pub fn and(mut self, address: impl Into<String>) -> Self {
        self.places.push(Place::Text(address.into()));
        self
    }

    /// Its name: in metrics, logs and events. By default `http` or `https`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What this listener answers, in place of the server's app.
    pub fn app(mut self, app: App) -> Self {
        self.app = Some(app);
        self
    }

    /// Changes what else there is to a listener. Comes after what the server says of all.
    pub fn configure(mut self, change: impl Fn(&mut ListenerConfig) + Send + Sync + 'static) -> Self {
        self.configure.push(Arc::new(change));
        self
    }

    /// Its name, and whether somebody chose it.
    pub(super) fn known_as(&self) -> (&str, bool) {
        let usual = if self.tls.is_some() { "https" } else { "http" };
        self.name.as_deref().map_or((usual, false), |name| (name, true))
    }

    /// What the engine is told.
    pub(super) fn config(&self, name: String, base: &ListenerConfig) -> Result<ListenerConfig> {
        let mut config = ListenerConfig { name, ..base.clone() };
        config.bind = self.places.iter().map(Place::bind).collect::<Result<_>>()?;
        config.tls = self.tls.as_ref().map(Tls::load).transpose()?;
        for change in &self.configure {
            change(&mut config);
        }
        Ok(config)
    }
}

impl Place {
    fn bind(&self) -> Result<Bind> {
        let text = match self {
            Self::Bind(bind) => return Ok(bind.clone()),
            Self::Unfit(why) => return Err(Error::Address(why.clone())),
            Self::Text(text) => text,
        };
        let local = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
        let address = text.parse().ok().or_else(|| text.strip_prefix("localhost:").and_then(local));
        address.map(Bind::Tcp).ok_or_else(|| Error::Address(text.clone()))
    }
}

impl From<&str> for Listen {
    fn from(address: &str) -> Self {
        Self::plain(address)
    }
}

impl From<String> for Listen {
    fn from(address: String) -> Self {
        Self::plain(address)
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::at(Place::Bind(address.into()))
    }
}

impl From<(&str, Tls)> for Listen {
    fn from((address, tls): (&str, Tls)) -> Self {
        Self::tls(address, tls)
    }
}

impl From<TcpListener> for Listen {
    fn from(socket: TcpListener) -> Self {
        let name = socket.local_addr().map_or_else(|_| "socket".to_owned(), |address| address.to_string());
        Self::inherited(&name, socket)
    }
}

impl std::fmt::Debug for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|place| match place {
                Place::Text(text) | Place::Unfit(text) => text.clone(),
                Place::Bind(bind) => bind.to_string(),
            })
            .collect();
        f.debug_struct("Listen")
            .field("name", &self.known_as().0)
            .field("at", &places)
            .field("tls", &self.tls)
            .finish()
    }
}
