//! A server in memory: what a listener is, without a socket.
//!
//! Answers nothing itself. Invariants: the sessions of a server are its own, and so are the metrics they count in; they
//! end when it is dropped.

use std::cell::OnceCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::client::{Connector, Options, Scheme};
use stagedoor_actors::{CloseSession, Host, ListenerConfig, Service, ServiceFactory};
use stagedoor_metrics::{ActorKind, CloseReason, ListenerCells, Metrics};
use stagedoor_protocol::Settings;
use tokio::io::DuplexStream;
use tokio::time::timeout;

use super::client::Client;
use super::peer::Peer;
use super::pipe::Board;
use super::run::{patience, settle};

/// Octets a connection holds each way until they are read.
const PIPE: usize = 64 << 10;

/// The number of the one worker.
const WORKER: u16 = 0;

/// What a [`Server`] can serve.
///
/// ```
/// use std::rc::Rc;
///
/// use stagedoor::{Reply, Request, Response, Service, testing};
///
/// struct Hello;
///
/// impl Service for Hello {
///     fn call(&self, _: Request) -> Reply {
///         Response::text("hello").into()
///     }
/// }
///
/// testing::run(async {
///     let server = testing::Server::new(Rc::new(Hello));
///     server.client().await.get("/").await.assert_text("hello");
/// });
/// ```
pub trait IntoService {
    /// The service of the thread of the test.
    fn into_service(self) -> Rc<dyn Service>;
}

impl IntoService for ServiceFactory {
    fn into_service(self) -> Rc<dyn Service> {
        self()
    }
}

impl IntoService for Rc<dyn Service> {
    fn into_service(self) -> Rc<dyn Service> {
        self
    }
}

impl<S: Service> IntoService for Rc<S> {
    fn into_service(self) -> Rc<dyn Service> {
        self
    }
}

/// An in-memory server. Dropping it cuts its sessions off.
///
/// ```
/// use stagedoor::testing::{Server, run};
/// use stagedoor::{HttpRequest, handler};
///
/// run(async {
///     let server = Server::new(handler(async |_: HttpRequest| "hello"))
///         .config(|config| config.limits.header_fields = 16);
///     let client = server.client().await;
///     client.get("/").await.assert_text("hello");
///     assert_eq!(server.open_sessions(), 1);
///     drop(client);
///     server.ended().await;
///     assert_eq!(server.open_sessions(), 0);
/// });
/// ```
pub struct Server {
    service: Rc<dyn Service>,
    config: ListenerConfig,
    metrics: Metrics,
    stage: OnceCell<Stage>,
    board: Rc<Board>,
}

/// What exists from the first connection on.
struct Stage {
    host: Rc<Host>,
    cells: Arc<ListenerCells>,
}

impl Server {
    /// A server with the defaults of a cleartext listener, in metrics of its own. [`handler`](crate::handler) makes a
    /// service of a function, [`local_handler`](crate::facade::local_handler) of one that shares with the test.
    ///
    /// Of connections that have not said hello there may be as many as a listener allows (`limits.handshakes`, 256): a test
    /// that opens more in one turn raises it.
    ///
    /// With several servers on one thread, `counting_here` of the actors is that of the one whose session began last.
    pub fn new(service: impl IntoService) -> Self {
        Self {
            service: service.into_service(),
            config: ListenerConfig::new("test", ([127, 0, 0, 1], 0).into()),
            metrics: Metrics::new("stagedoor"),
            stage: OnceCell::new(),
            board: Rc::default(),
        }
    }

    /// Changes the configuration that the connections to come have in common.
    ///
    /// # Panics
    /// On a configuration that no listener would start with, and after the first connection.
    #[track_caller]
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        assert!(self.stage.get().is_none(), "a server is configured before its first connection");
        change(&mut self.config);
        if let Err(error) = self.config.check() {
            panic!("no listener would start with this: {error}");
        }
        self
    }

    fn stage(&self) -> &Stage {
        self.stage.get_or_init(|| {
            let host = Host::new(&self.metrics, WORKER, self.config.clone(), Rc::clone(&self.service));
            let id = self.metrics.add_listener(&self.config.name, "memory");
            Stage { host, cells: self.metrics.shard(WORKER).listener(id) }
        })
    }

    /// A connection: write octets as a client would, read the answer. HTTP/2 with prior knowledge and HTTP/1.1 both
    /// work. Each way holds 64 KiB until they are read.
    ///
    /// ```
    /// use stagedoor::testing::{Server, run};
    /// use stagedoor::{HttpRequest, handler};
    /// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    ///
    /// run(async {
    ///     let server = Server::new(handler(async |_: HttpRequest| "hello"));
    ///     let mut io = server.connect();
    ///     io.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    ///     let mut answer = String::new();
    ///     io.read_to_string(&mut answer).await.unwrap();
    ///     assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    /// });
    /// ```
    pub fn connect(&self) -> DuplexStream {
        self.connect_buffered(PIPE)
    }

    /// [`Self::connect`] over a pipe that holds `octets` each way: a small one is a slow network, and one that nobody
    /// reads from is full soon.
    ///
    /// # Panics
    /// Outside [`run`](super::run()), as every actor.
    pub fn connect_buffered(&self, octets: usize) -> DuplexStream {
        let (pipe, theirs) = self.board.pipe(octets);
        let number = pipe.number();
        let session = self.stage().host.spawn_session(pipe, None);
        self.board.cut_by(number, move || {
            // A mailbox that is full or closed has other orders to end.
            session.try_send(CloseSession::new(CloseReason::Shutdown)).ok();
        });
        theirs
    }

    /// A client on a connection of its own that is up. It sets no deadlines of its own: what ends is ended by the server
    /// or by the test.
    ///
    /// # Panics
    /// When HTTP/2 does not come up.
    #[track_caller]
    pub fn client(&self) -> impl Future<Output = Client> {
        self.client_with(|_| ())
    }

    /// [`Self::client`] with other options.
    ///
    /// # Panics
    /// When HTTP/2 does not come up.
    #[track_caller]
    pub fn client_with(&self, change: impl FnOnce(&mut Options)) -> impl Future<Output = Client> {
        let at = Location::caller();
        let mut options = Client::options(Connector::over(self.connect()));
        options.metrics = Some(self.metrics.clone());
        change(&mut options);
        // The pipe is cleartext.
        options.scheme = Scheme::Http;
        Client::ready(options, at)
    }

    /// A scripted client on a connection of its own that has said hello: both sides' SETTINGS are in force.
    ///
    /// # Panics
    /// When HTTP/2 does not come up.
    #[track_caller]
    pub fn peer(&self) -> impl Future<Output = Peer> {
        self.peer_with(Settings::default())
    }

    /// [`Self::peer`] with settings: `initial_window_size` of one octet, say.
    ///
    /// ```
    /// use stagedoor::testing::{Server, Settings, run};
    /// use stagedoor::{HttpRequest, handler};
    ///
    /// run(async {
    ///     let server = Server::new(handler(async |_: HttpRequest| "hello"));
    ///     let small = Settings { initial_window_size: Some(2), ..Settings::default() };
    ///     let mut peer = server.peer_with(small).await;
    ///     let stream = peer.get("/").await;
    ///     peer.expect_headers(stream).await;
    ///     assert_eq!(peer.expect_data(stream).await.data, "he");
    ///     peer.window_update(stream, 3).await;
    ///     assert_eq!(peer.expect_data(stream).await.data, "llo");
    /// });
    /// ```
    ///
    /// # Panics
    /// When HTTP/2 does not come up.
    #[track_caller]
    pub fn peer_with(&self, settings: Settings) -> impl Future<Output = Peer> {
        let mut peer = Peer::over(self.connect());
        let at = Location::caller();
        async move {
            peer.shake_at(settings, at).await;
            peer
        }
    }

    /// Sessions of this server that are open.
    pub fn open_sessions(&self) -> usize {
        let Some(Stage { cells, .. }) = self.stage.get() else { return 0 };
        let opened: u64 = cells.sessions_opened.iter().map(|(_, cell)| cell.get()).sum();
        let closed: u64 = cells
            .sessions_closed
            .iter()
            .flat_map(|(_, reasons)| reasons.iter())
            .map(|(_, cell)| cell.get())
            .sum();
        let speaking = usize::try_from(opened.saturating_sub(closed)).unwrap_or(usize::MAX);
        // What has not said yet what it speaks holds a connection, and no count.
        speaking.max(self.board.len())
    }

    /// Streams of this server that are open, over all its sessions.
    pub fn open_streams(&self) -> usize {
        let Some(Stage { cells, .. }) = self.stage.get() else { return 0 };
        let open: i64 = cells.streams_active.iter().map(|(_, gauge)| gauge.get()).sum();
        usize::try_from(open).unwrap_or(0)
    }

    /// Actors of one kind that are alive, those of the sessions of its clients included.
    pub fn actors(&self, kind: ActorKind) -> u64 {
        let totals = self.metrics.actor_totals();
        totals.iter().find(|totals| totals.kind == kind).map_or(0, |totals| totals.alive)
    }

    /// What its sessions count in. Its clients count in them, too, under the name `client`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until none of its sessions is open.
    ///
    /// # Panics
    /// When one stays open for longer than a test waits: ten seconds, a day on a paused clock.
    #[track_caller]
    pub fn ended(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            if timeout(patience(), self.board.emptied()).await.is_err() {
                panic!("{} sessions are still open, waited for at {at}", self.open_sessions());
            }
            // Who is told of the end hears of it.
            settle().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.board.cut_all();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("open_sessions", &self.open_sessions())
            .field("open_streams", &self.open_streams())
            .finish_non_exhaustive()
    }
}
