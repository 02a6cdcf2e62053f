//! [`SessionHandle`]: what an application may ask of a session and order it to do, from a handler or from
//! anywhere else on the session's arbiter.
//!
//! A handle owns nothing of the session. Orders are messages over the [`Link`], heard in the session's next
//! turn (from a handler: in this one); answers come as futures that also fail when the session ends first.
//! What can be wrong with an order is told by the call itself.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_metrics::{CloseReason, Protocol, Role, RouteId, SessionId};
use stagedoor_protocol::settings::InForce;
use stagedoor_protocol::{
    AltSvcTarget, Connection, ConnectionState, ErrorCode, Settings, StreamId, UserError,
};
use tokio::sync::oneshot;

use super::board::Phase;
use super::events::{Ear, EventStream};
use crate::close::CloseSession;
use crate::link::{Link, ToSession};

/// Events an [`EventStream`] holds for a slow reader.
const EVENTS: usize = 256;
/// Opaque data GOAWAY carries at most, in octets: more is nobody's debug text.
pub const MAX_OPAQUE: usize = 1024;

/// What a session is, for its streams and for people who look. Never changes.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// session.ready().await?;
/// let info = session.handle().ok_or("it is up")?.shared_info();
/// assert_eq!((info.protocol, info.is_http2(), info.is_encrypted()), ("h2c", true, false));
/// assert_eq!(info.session_id().to_string(), info.id);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// `w-n`.
    pub id: String,
    /// The worker it runs on: the first half of the id.
    pub worker: u16,
    /// The how-manieth session of its worker it is: the second half of the id.
    pub number: u64,
    /// Listener it came in by (server), or the authority it goes to (client).
    pub listener: String,
    /// Which end we are.
    pub role: Role,
    /// `h2`, `h2c` or `http/1.1`.
    pub protocol: &'static str,
    /// The other end, where it is known.
    pub peer: Option<SocketAddr>,
    /// Our end, where it is a TCP socket of ours.
    pub local: Option<SocketAddr>,
    /// It runs over a Unix socket.
    pub unix: bool,
    /// SNI of the TLS handshake.
    pub server_name: Option<String>,
    /// What TLS agreed on; `None` on cleartext.
    pub tls: Option<TlsFacts>,
}

impl SessionInfo {
    /// Its id, as events and metrics have it.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        SessionId { worker: self.worker, number: self.number }
    }

    /// The session speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.protocol != Protocol::Http1.label()
    }

    /// The octets are encrypted by us.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }
}

/// What a TLS handshake agreed on.
///
/// ```
/// use stagedoor_actors::SessionInfo;
///
/// fn line(info: &SessionInfo) -> String {
///     match &info.tls {
///         Some(tls) => format!("{} with {}", tls.version, tls.cipher),
///         None => "in the clear".to_owned(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Name of the cipher suite, as IANA writes it.
    pub cipher: String,
    /// The protocol ALPN agreed on (RFC 7301), if the client offered any.
    pub alpn: Option<String>,
    /// What the client of a session showed, where it was asked for it and has one.
    pub client_certificate: Option<Certificate>,
}

/// A certificate in DER (X.509, RFC 5280). Clones share it; nothing prints it.
///
/// ```
/// use stagedoor_actors::{SessionInfo, TlsFacts};
///
/// /// What a client showed, for who reads X.509.
/// fn shown(info: &SessionInfo) -> Option<&[u8]> {
///     let TlsFacts { client_certificate, .. } = info.tls.as_ref()?;
///     client_certificate.as_ref().map(|certificate| certificate.der())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<[u8]>);

impl Certificate {
    pub(crate) fn new(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// Its octets.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} octets)", self.0.len())
    }
}

/// The peer's GOAWAY (RFC 9113 §6.8), the latest.
///
/// ```
/// use stagedoor_actors::{GoAway, SessionHandle};
///
/// fn line(session: &SessionHandle) -> Option<String> {
///     let GoAway { code, last, opaque } = session.goaway_received()?;
///     Some(format!("{code} behind stream {last}: {}", String::from_utf8_lossy(&opaque)))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Why.
    pub code: ErrorCode,
    /// Highest stream it looked at or may look at.
    pub last: StreamId,
    /// Its opaque data.
    pub opaque: Bytes,
}

/// Why an order to a session was not carried out, or a question not answered.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::SessionError;
///
/// session.ready().await?;
/// let handle = session.handle().ok_or("it is up")?;
/// session.close().await;
/// match handle.ping(None) {
///     Err(SessionError::Gone { reason }) => println!("it is over: {reason}"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// HTTP/1.1 has no such thing.
    #[error("the session speaks {protocol}, not HTTP/2")]
    NotHttp2 {
        /// What it speaks.
        protocol: &'static str,
    },
    /// The session is over, or so far on its way down that it hears nothing more.
    #[error("the session is over: {reason}")]
    Gone {
        /// Why it ended.
        reason: CloseReason,
    },
    /// As many PINGs as are allowed wait for their answers.
    #[error("{limit} PINGs are unanswered already, no more are allowed")]
    TooManyPings {
        /// PINGs that may be outstanding.
        limit: u32,
    },
    /// As many SETTINGS as are allowed wait for their acknowledgement.
    #[error("{limit} SETTINGS are unacknowledged already, no more are allowed")]
    TooManySettings {
        /// SETTINGS that may be outstanding.
        limit: u32,
    },
    /// A setting with a value it cannot have (RFC 9113 §6.5.2).
    #[error("setting {id:#06x} cannot be {value}")]
    InvalidSetting {
        /// Identifier of the setting.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// The connection window is 65 535 to 2^31-1 octets (RFC 9113 §6.9.1, §6.9.2).
    #[error("a connection window of {0} octets is outside 65535 to 2147483647")]
    InvalidWindow(u32),
    /// GOAWAY carries at most [`MAX_OPAQUE`] octets here.
    #[error("opaque data of {0} octets, at most 1024 are sent")]
    OpaqueTooLong(usize),
    /// Only servers send ALTSVC and ORIGIN (RFC 7838 §4, RFC 8336 §2).
    #[error("only servers send {0}")]
    NotServer(&'static str),
    /// TLS was asked for where the host has none configured.
    #[error("the host has no TLS configuration")]
    NoTls,
    /// What else the protocol does not allow.
    #[error(transparent)]
    Refused(UserError),
}

impl From<UserError> for SessionError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::InvalidSetting { id, value } => Self::InvalidSetting { id, value },
            other => Self::Refused(other),
        }
    }
}

/// SETTINGS of ours are in force.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_protocol::Settings;
///
/// session.ready().await?;
/// let handle = session.handle().ok_or("it is up")?;
/// let larger = Settings { max_frame_size: Some(32 << 10), ..Settings::default() };
/// let acknowledged = handle.settings(larger)?.await?;
/// println!("in force after {:?}", acknowledged.after);
/// assert_eq!(handle.local_settings()?.max_frame_size, 32 << 10);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// From the frame to its acknowledgement.
    pub after: Duration,
}

/// A PING was answered.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// session.ready().await?;
/// let pong = session.handle().ok_or("it is up")?.ping(Some(*b"are you?"))?.await?;
/// assert_eq!(pong.payload, *b"are you?");
/// println!("a round trip takes {:?}", pong.rtt);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// From the frame to its answer.
    pub rtt: Duration,
    /// What both carried.
    pub payload: [u8; 8],
}

/// A session as it stands.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// session.send(http::Request::get("/").body(())?).await?;
/// let snapshot = session.handle().ok_or("it is up")?.state()?.await?;
/// assert_eq!(snapshot.remote_settings.max_concurrent_streams, 128);
/// assert_eq!(snapshot.local_settings.max_frame_size, 16_384);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Windows, queues, tables, streams and questions, in numbers.
    pub connection: ConnectionState,
    /// Our settings in force.
    pub local_settings: InForce,
    /// The peer's settings in force.
    pub remote_settings: InForce,
}

/// An order or a question, on its way to the session.
pub(crate) enum Command {
    Settings(Settings, Answerer<Acknowledged>),
    Ping([u8; 8], Answerer<Pong>),
    Window(u32),
    /// The idle time on the board is another.
    Idle,
    AltSvc {
        stream: StreamId,
        origin: String,
        value: String,
    },
    Origin(Vec<String>),
    State(Answerer<SessionSnapshot>),
    Close(CloseSession),
}

/// Where the answer goes; dropped without one, the question has failed.
pub(crate) type Answerer<T> = oneshot::Sender<Result<T, SessionError>>;

/// The answer to a question, later. Fails with [`SessionError::Gone`] when the session ends before it is
/// answered; dropping it does not take the question back.
///
/// ```
/// use stagedoor_actors::{SessionError, SessionHandle};
///
/// async fn round_trip(session: &SessionHandle) -> Result<(), SessionError> {
///     let asked = session.ping(None)?; // it is on its way
///     println!("{:?}", asked.await?.rtt);
///     Ok(())
/// }
/// ```
#[must_use = "the order is given; drop this explicitly when its outcome does not matter"]
pub struct Answer<T> {
    receiver: oneshot::Receiver<Result<T, SessionError>>,
    link: Rc<Link>,
}

impl<T> Future for Answer<T> {
    type Output = Result<T, SessionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|answer| match answer {
            Ok(answer) => answer,
            Err(_) => Err(gone(&self.link)),
        })
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("session", &self.link.info.id).finish_non_exhaustive()
    }
}

fn gone(link: &Link) -> SessionError {
    SessionError::Gone { reason: link.board.reason().unwrap_or(CloseReason::Other) }
}

/// A session, for those who use it: cheap to clone, stays on the session's arbiter, keeps nothing alive but
/// what is known of the session. Reads as its [`SessionInfo`].
///
/// A [`Service`](crate::Service) that stores handles in itself should drop them on
/// [`SessionEvent::Closed`](super::SessionEvent::Closed): a handle holds the service it belongs to.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::CloseSession;
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
///
/// let service = local_handler(async |request: HttpRequest| {
///     let session = request.body().session();
///     // This exchange is finished, and no other begins.
///     session.close_with(CloseSession::graceful("one is enough")).map(|()| session.protocol)
/// });
/// # let (_host, session) = in_memory(service)?;
/// let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(answer.body_mut().collect_up_to(100).await?, "h2c");
/// assert!(!session.takes_requests());
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct SessionHandle(Rc<Link>);

impl Deref for SessionHandle {
    type Target = SessionInfo;

    fn deref(&self) -> &SessionInfo {
        &self.0.info
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionHandle").field(&self.0.info).finish()
    }
}

impl SessionHandle {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        Self(link)
    }

    /// A handle of one of its streams, whose requests count under `route`: for those who gave the
    /// [`Request`](crate::Request) itself away.
    pub fn stream(&self, id: StreamId, route: RouteId) -> crate::stream::StreamHandle {
        crate::stream::StreamHandle::new(&self.0, id, route)
    }

    /// The time of the session's turn: the clock is read once for all that happens in it.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.0
    }

    /// What the session is.
    pub fn info(&self) -> &SessionInfo {
        &self.0.info
    }

    /// The same to keep, and to take to other threads.
    pub fn shared_info(&self) -> Arc<SessionInfo> {
        Arc::clone(&self.0.info)
    }

    /// The name of a route, as the session's [`Service`](crate::Service) gives it.
    pub fn route_name(&self, route: RouteId) -> Cow<'static, str> {
        self.0.service.route_name(route)
    }

    /// Changes our settings (SETTINGS, RFC 9113 §6.5); they are in force when the answer has come. The order is
    /// given by this call, whether the answer is awaited or dropped.
    /// # Errors
    /// [`SessionError::InvalidSetting`], [`SessionError::Refused`] for more than 10 custom settings,
    /// [`SessionError::TooManySettings`] (`max_outstanding_settings` of the listener),
    /// [`SessionError::NotHttp2`], [`SessionError::Gone`]. The answer fails with `Gone` when the session ends
    /// unacknowledged, and at once with what the state of the connection forbids: extended CONNECT taken back
    /// (RFC 8441 §3), an initial window that lifts one of a stream past 2^31-1 (RFC 9113 §6.9.2).
    pub fn settings(&self, settings: Settings) -> Result<Answer<Acknowledged>, SessionError> {
        let board = &self.open()?.board;
        let settings = settings.checked(self.role == Role::Server)?;
        let limit = board.limits.settings;
        if board.settings.get() >= limit {
            return Err(SessionError::TooManySettings { limit });
        }
        board.settings.set(board.settings.get() + 1);
        Ok(self.ask(|answer| Command::Settings(settings, answer)))
    }

    /// Our settings in force: those the peer has acknowledged.
    /// # Errors
    /// [`SessionError::NotHttp2`].
    pub fn local_settings(&self) -> Result<InForce, SessionError> {
        self.http2().map(|link| link.board.agreed.borrow().local.clone())
    }

    /// The peer's settings in force; the defaults of RFC 9113 §6.5.2 until its first SETTINGS has come.
    /// # Errors
    /// [`SessionError::NotHttp2`].
    pub fn remote_settings(&self) -> Result<InForce, SessionError> {
        self.http2().map(|link| link.board.agreed.borrow().remote.clone())
    }

    /// SETTINGS of ours the peer has not acknowledged, those the session began with included.
    pub fn pending_settings(&self) -> u32 {
        self.0.board.settings.get()
    }

    /// Asks the peer for a sign of life (PING, RFC 9113 §6.7) and measures its round trip. Without a payload
    /// one is chosen that no other PING of this session has.
    /// # Errors
    /// [`SessionError::TooManyPings`] (`max_outstanding_pings` of the listener), [`SessionError::NotHttp2`],
    /// [`SessionError::Gone`]. The answer fails with `Gone` when the session ends unanswered.
    pub fn ping(&self, payload: Option<[u8; 8]>) -> Result<Answer<Pong>, SessionError> {
        let board = &self.open()?.board;
        let limit = board.limits.pings;
        if board.pings.get() >= limit {
            return Err(SessionError::TooManyPings { limit });
        }
        board.pings.set(board.pings.get() + 1);
        let payload = payload.unwrap_or_else(|| board.next_payload());
        Ok(self.ask(|answer| Command::Ping(payload, answer)))
    }

    /// Says GOAWAY (RFC 9113 §6.8) with up to [`MAX_OPAQUE`] octets of opaque data. NO_ERROR begins the
    /// graceful end: no new streams, those that are open go on for at most the `drain` time of the listener,
    /// then the session closes. Any other code ends the session and its streams now.
    ///
    /// When it ends already, the first order's words stay; a code other than NO_ERROR still cuts it short.
    /// # Errors
    /// [`SessionError::OpaqueTooLong`], [`SessionError::NotHttp2`], [`SessionError::Gone`].
    pub fn goaway(&self, code: ErrorCode, opaque: impl Into<Bytes>) -> Result<(), SessionError> {
        self.open()?;
        let opaque = opaque.into();
        if opaque.len() > MAX_OPAQUE {
            return Err(SessionError::OpaqueTooLong(opaque.len()));
        }
        let order = CloseSession::new(CloseReason::Admin).with_code(code).with_opaque(opaque);
        self.close_with(if code == ErrorCode::NO_ERROR { order } else { order.now() })
    }

    /// Raises the receive window of the connection to `octets`, within the memory a session may use; a smaller
    /// value stops it growing back.
    /// # Errors
    /// [`SessionError::InvalidWindow`] outside 65 535 to 2^31-1, [`SessionError::NotHttp2`],
    /// [`SessionError::Gone`].
    pub fn set_connection_window(&self, octets: u32) -> Result<(), SessionError> {
        self.open()?;
        if !(65_535..=0x7fff_ffff).contains(&octets) {
            return Err(SessionError::InvalidWindow(octets));
        }
        self.order(Command::Window(octets));
        Ok(())
    }

    /// How long the session may be without a stream from now on, in place of the `idle` of its listener or
    /// [`Options`](crate::client::Options); counted from the end of its last stream. Zero is for ever.
    /// # Errors
    /// [`SessionError::Gone`].
    pub fn set_idle(&self, idle: Duration) -> Result<(), SessionError> {
        self.living()?.board.idle.set(idle);
        // Its timer is set anew at the end of a turn.
        self.order(Command::Idle);
        Ok(())
    }

    /// Ends the session gracefully: no new streams; those that are open go on for at most the `drain` time of
    /// the listener.
    /// # Errors
    /// [`SessionError::Gone`].
    pub fn close(&self) -> Result<(), SessionError> {
        self.close_with(CloseSession::new(CloseReason::Admin))
    }

    /// Ends the session as `order` says. The first order's reason is reported; a later one may only shorten
    /// the drain.
    /// # Errors
    /// [`SessionError::Gone`].
    pub fn close_with(&self, order: CloseSession) -> Result<(), SessionError> {
        self.living()?;
        self.order(Command::Close(order));
        Ok(())
    }

    /// Server: offers an alternative service (ALTSVC, RFC 7838 §4) for an origin, or for the origin of the
    /// request on a stream. `value` is that of an Alt-Svc field: `h3=":443"; ma=3600`. A stream that is gone when
    /// the order is heard is told as [`SessionEvent::FrameError`](super::SessionEvent::FrameError).
    /// # Errors
    /// [`SessionError::NotServer`]; [`SessionError::Refused`] for what is no `http(s)` origin, a value with
    /// characters that cannot be sent, or more than 16 382 octets of both; [`SessionError::NotHttp2`],
    /// [`SessionError::Gone`].
    pub fn altsvc(&self, target: AltSvcTarget<'_>, value: &str) -> Result<(), SessionError> {
        self.server("ALTSVC")?;
        Connection::check_altsvc(target, value)?;
        let (stream, origin) = match target {
            AltSvcTarget::Origin(origin) => (StreamId::CONNECTION, origin.to_owned()),
            AltSvcTarget::Stream(id) => (id, String::new()),
        };
        self.order(Command::AltSvc { stream, origin, value: value.to_owned() });
        Ok(())
    }

    /// Server: tells which origins this session answers for (ORIGIN, RFC 8336); none at all is a statement too.
    /// # Errors
    /// [`SessionError::NotServer`]; [`SessionError::Refused`] for what is no `http(s)` origin, or more than
    /// 16 384 octets, two a name included; [`SessionError::NotHttp2`], [`SessionError::Gone`].
    pub fn origin<S: AsRef<str>>(&self, origins: &[S]) -> Result<(), SessionError> {
        self.server("ORIGIN")?;
        Connection::check_origins(origins)?;
        self.order(Command::Origin(origins.iter().map(|origin| origin.as_ref().to_owned()).collect()));
        Ok(())
    }

    /// Client: the origins the server named in ORIGIN frames, the first 1 024 of them.
    pub fn origins(&self) -> Vec<String> {
        self.0.board.origins.borrow().clone()
    }

    /// The session as it stands in its next turn.
    /// # Errors
    /// [`SessionError::NotHttp2`], [`SessionError::Gone`], from the call and from the answer.
    pub fn state(&self) -> Result<Answer<SessionSnapshot>, SessionError> {
        self.open()?;
        Ok(self.ask(Command::State))
    }

    /// The session ends or has ended: it takes no new streams and closes when those it has are done.
    pub fn is_closed(&self) -> bool {
        self.0.board.phase() > Phase::Open
    }

    /// The socket is closed; nothing of the session is left.
    pub fn is_gone(&self) -> bool {
        self.0.board.phase() == Phase::Closed
    }

    /// Why it ends, once that is decided.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.board.reason()
    }

    /// The peer's GOAWAY, the latest.
    pub fn goaway_received(&self) -> Option<GoAway> {
        self.0.board.goaway.borrow().as_deref().cloned()
    }

    /// What happens on the session from now on. Of a session that is gone: nothing.
    pub fn events(&self) -> EventStream {
        self.events_bounded(EVENTS)
    }

    /// The same with room for `limit` events (at least 1) while nobody reads.
    pub fn events_bounded(&self, limit: usize) -> EventStream {
        let ear = Ear::new(limit);
        self.0.board.subscribe(&ear);
        EventStream(ear)
    }

    fn http2(&self) -> Result<&Rc<Link>, SessionError> {
        match self.is_http2() {
            true => Ok(&self.0),
            false => Err(SessionError::NotHttp2 { protocol: self.protocol }),
        }
    }

    fn living(&self) -> Result<&Rc<Link>, SessionError> {
        match self.0.board.phase() {
            Phase::Open | Phase::Draining => Ok(&self.0),
            Phase::Closing | Phase::Closed => Err(gone(&self.0)),
        }
    }

    fn open(&self) -> Result<&Rc<Link>, SessionError> {
        self.http2()?;
        self.living()
    }

    fn server(&self, frame: &'static str) -> Result<(), SessionError> {
        self.open()?;
        match self.role {
            Role::Server => Ok(()),
            Role::Client => Err(SessionError::NotServer(frame)),
        }
    }

    fn order(&self, command: Command) {
        self.0.send(ToSession::Command(Box::new(command)));
    }

    fn ask<T>(&self, command: impl FnOnce(Answerer<T>) -> Command) -> Answer<T> {
        let (sender, receiver) = oneshot::channel();
        self.order(command(sender));
        Answer { receiver, link: Rc::clone(&self.0) }
    }
}
