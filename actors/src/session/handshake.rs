//! [`perform_server_handshake`]: a session on any stream of octets, without a listener.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix::prelude::*;
use bytes::Bytes;
use stagedoor_metrics::CloseReason;
use tokio::sync::oneshot;

use super::handle::{SessionError, SessionHandle};
use super::{Entrance, Session};
use crate::host::Host;
use crate::transport::{Io, Raw, Replay};

/// Serves `duplex` as `host` says: HTTP/2 where it begins with the preface, HTTP/1.1 where it does not and the
/// host speaks it. Nothing happens until the result is started or awaited.
///
/// The octets are taken for cleartext, whatever the host's listener would do, unless
/// [`ServerHandshake::with_tls`] is called: what is handed in here may come out of a TLS or SSH stack, a
/// tunnel, or a test. The handshake owns `duplex`, so that nothing else reads from it or binds it to a second
/// session; it comes back to nobody.
///
/// ```
/// # use std::rc::Rc;
/// # use stagedoor_actors::{Host, ListenerConfig, Reply, Request, Response, Service, perform_server_handshake};
/// # struct Hello;
/// # impl Service for Hello {
/// #     fn call(&self, _: Request) -> Reply { Response::text("hello").into() }
/// # }
/// # actix::System::new().block_on(async {
/// let metrics = stagedoor_metrics::Metrics::new("stagedoor");
/// let config = ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
/// let host = Host::new(&metrics, 0, config, Rc::new(Hello));
/// let (ours, theirs) = tokio::io::duplex(4096);
/// // What was read to learn that this is HTTP/2.
/// let seen = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
/// let session = perform_server_handshake(&host, ours).with_preread(seen).await?;
/// assert_eq!(session.protocol, "h2c");
/// # drop(theirs);
/// # Ok::<(), stagedoor_actors::SessionError>(())
/// # }).unwrap();
/// ```
pub fn perform_server_handshake(host: &Rc<Host>, duplex: impl Io) -> ServerHandshake {
    ServerHandshake {
        host: Rc::clone(host),
        duplex: Box::new(duplex),
        peer: None,
        preread: Bytes::new(),
        tls: false,
    }
}

/// A session that is about to begin; see [`perform_server_handshake`].
///
/// ```
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # use stagedoor_actors::{Host, ListenerConfig, SessionError, perform_server_handshake};
/// # let metrics = stagedoor_metrics::Metrics::new("stagedoor");
/// # let config = ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
/// # let host = Host::new(&metrics, 0, config, local_handler(async |_: HttpRequest| "hello"));
/// # let (ours, _theirs) = tokio::io::duplex(4096);
/// let handshake = perform_server_handshake(&host, ours).with_peer(([192, 0, 2, 7], 4000).into());
/// // This host has no certificate.
/// assert!(matches!(handshake.with_tls(), Err(SessionError::NoTls)));
/// # });
/// ```
#[must_use = "nothing happens until it is started or awaited"]
pub struct ServerHandshake {
    host: Rc<Host>,
    duplex: Box<dyn Io>,
    peer: Option<SocketAddr>,
    preread: Bytes,
    tls: bool,
}

impl ServerHandshake {
    /// The other end, for limits, logs and handlers.
    pub fn with_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Octets that were read from the stream already: the session reads them first.
    pub fn with_preread(mut self, octets: impl Into<Bytes>) -> Self {
        self.preread = octets.into();
        self
    }

    /// TLS first, as the host's configuration has it.
    /// # Errors
    /// [`SessionError::NoTls`] where it has none.
    pub fn with_tls(mut self) -> Result<Self, SessionError> {
        if self.host.tls.is_none() {
            return Err(SessionError::NoTls);
        }
        self.tls = true;
        Ok(self)
    }

    /// Starts the session on the calling arbiter.
    pub fn start(self) -> Handshaking {
        let (sender, opened) = oneshot::channel();
        let io = match self.preread.is_empty() {
            true => Raw::Other(self.duplex),
            false => Raw::Other(Box::new(Replay::new(self.preread, self.duplex))),
        };
        let entrance = Entrance { io, peer: self.peer, booked: false, tls: self.tls, opened: Some(sender) };
        Handshaking { session: self.host.enter(entrance), opened }
    }
}

impl IntoFuture for ServerHandshake {
    type Output = Result<SessionHandle, SessionError>;
    type IntoFuture = Handshaking;

    fn into_future(self) -> Handshaking {
        self.start()
    }
}

/// A session that has begun. As a future: its handle, once it is known what it speaks; fails with
/// [`SessionError::Gone`] when the session ends before. Dropping it leaves the session running.
///
/// ```
/// use stagedoor_actors::{CloseSession, Handshaking};
///
/// /// Gives up what is not known yet.
/// fn give_up(session: Handshaking) {
///     // A mailbox that is closed has no session behind it any more.
///     session.session().try_send(CloseSession::graceful("nobody waits for it").now()).ok();
/// }
/// ```
#[derive(Debug)]
pub struct Handshaking {
    session: Addr<Session>,
    opened: oneshot::Receiver<Result<SessionHandle, SessionError>>,
}

impl Handshaking {
    /// Where [`CloseSession`](crate::CloseSession) goes, handshake or not.
    pub fn session(&self) -> &Addr<Session> {
        &self.session
    }
}

impl Future for Handshaking {
    type Output = Result<SessionHandle, SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = Pin::new(&mut self.opened).poll(cx);
        // Without an answer the arbiter went under it.
        opened.map(|opened| opened.unwrap_or(Err(SessionError::Gone { reason: CloseReason::Shutdown })))
    }
}
