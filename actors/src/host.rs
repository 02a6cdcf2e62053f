//! What the sessions of one listener on one arbiter share: configuration, service, cells to count in, and
//! where their ends are told. Owns no session.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use actix::prelude::*;
use stagedoor_metrics::{
    ActorCells, CloseReason, ListenerCells, ListenerId, LiveSessions, Metrics, Moment, RouteHandles,
    SessionId, Shard,
};
use stagedoor_protocol::{ErrorCode, StreamId};
use tokio_rustls::TlsAcceptor;

use crate::client;
use crate::clock;
use crate::close::CloseSession;
use crate::config::ListenerConfig;
use crate::envelope::{Watched, Whose};
use crate::events::{EVENTS, Event, Events, Hub, LimitKind, Outlet, PanicPlace};
use crate::listener::{Ledger, PostId, SessionEnded, Supervisor};
use crate::postmortem::PostMortems;
use crate::service::{Reply, Request, Response, Service};
use crate::session::{Entrance, Observer, Session};
use crate::tap::TapSink;
use crate::transport::{Io, Raw};
use crate::turns;

/// The name of the listener through which the process is looked at.
pub const ADMIN: &str = "admin";

/// The listener of sessions that came through none.
const NOWHERE: PostId = PostId(u32::MAX);

/// Sessions of one arbiter, over all listeners.
#[derive(Default)]
pub(crate) struct Arena {
    pub(crate) worker: u16,
    next: Cell<u64>,
    pub(crate) sessions: RefCell<HashMap<u64, Entry>>,
    pub(crate) post_mortems: Arc<PostMortems>,
    /// Where its server's events go.
    pub(crate) hub: Hub,
    /// Who watches the frames of every session, those to come too.
    watchers: RefCell<Vec<TapSink>>,
}

/// A session as its arbiter keeps it.
pub(crate) struct Entry {
    pub(crate) addr: Watched<Session>,
    pub(crate) post: PostId,
}

/// Who hears that a session ended.
#[derive(Clone)]
pub(crate) enum Ends {
    /// The listener it came through.
    Ours(Watched<Supervisor>),
    /// Whom the embedder named.
    Theirs(Recipient<SessionEnded>),
}

impl Ends {
    /// Tells it. One message a session, and sessions are bounded.
    pub(crate) fn tell(&self, ended: SessionEnded) {
        match self {
            Self::Ours(supervisor) => supervisor.tell(ended),
            #[allow(clippy::disallowed_methods)]
            Self::Theirs(recipient) => recipient.do_send(ended),
        }
    }
}

thread_local! {
    /// The arena of this arbiter, and where its sessions are counted: sessions of clients belong to it too.
    static HERE: RefCell<Option<(Metrics, Rc<Arena>)>> = const { RefCell::new(None) };
}

/// Worker numbers of threads that run clients and no Worker: out of the way of those that do.
static CLIENT_WORKERS: AtomicU16 = AtomicU16::new(0x8000);

/// Where the calling arbiter counts: the metrics of its sessions, and the shard that this thread alone writes. For services
/// that count something of their own, asked once and kept. `None` on a thread that runs no sessions.
///
/// ```
/// assert!(stagedoor_actors::counting_here().is_none(), "no sessions run on this thread");
/// ```
#[must_use]
pub fn counting_here() -> Option<(Metrics, Arc<Shard>)> {
    HERE.with_borrow(|here| {
        here.as_ref().map(|(metrics, arena)| (metrics.clone(), metrics.shard(arena.worker)))
    })
}

/// A panic was caught on the calling arbiter, by who knows no session.
pub(crate) fn caught_here(place: PanicPlace, words: &str) {
    // The thread may be on its way out.
    let _ = HERE.try_with(|here| {
        if let Ok(here) = here.try_borrow()
            && let Some((_, arena)) = &*here
        {
            arena.caught(None, None, place, words);
        }
    });
}

impl Arena {
    pub(crate) fn new(metrics: &Metrics, worker: u16) -> Rc<Self> {
        Self::with(metrics, worker, Arc::default(), Hub::default())
    }

    /// The same, with post-mortems that others keep too, and events that others tell too.
    pub(crate) fn with(metrics: &Metrics, worker: u16, post_mortems: Arc<PostMortems>, hub: Hub) -> Rc<Self> {
        let arena = Rc::new(Self { worker, post_mortems, hub, ..Self::default() });
        HERE.set(Some((metrics.clone(), Rc::clone(&arena))));
        arena
    }

    /// The arena of the calling thread; a new one where there is none, or none that counts in `metrics`.
    fn here(metrics: Option<&Metrics>, prefix: &str) -> (Metrics, Rc<Self>) {
        let known =
            HERE.with_borrow(|here| here.as_ref().map(|(known, arena)| (known.clone(), Rc::clone(arena))));
        match (known, metrics) {
            (Some((known, arena)), None) => (known, arena),
            (Some((known, arena)), Some(wanted)) if known.is_same(wanted) => (known, arena),
            (_, wanted) => {
                let metrics = wanted.map_or_else(|| Metrics::new(prefix), Metrics::clone);
                let worker = CLIENT_WORKERS.fetch_add(1, Ordering::Relaxed);
                let arena = Self::new(&metrics, worker);
                (metrics, arena)
            }
        }
    }

    /// A panic was caught on this arbiter.
    pub(crate) fn caught(
        &self,
        session: Option<SessionId>,
        stream: Option<StreamId>,
        place: PanicPlace,
        words: &str,
    ) {
        self.hub.tell(|| Event::Panicked { session, stream, place, words: words.to_owned() });
    }

    /// Somebody watches the frames of every session that opens from now on.
    pub(crate) fn watch(&self, sink: TapSink) {
        self.watchers.borrow_mut().push(sink);
    }

    /// Who does.
    pub(crate) fn watchers(&self) -> Vec<TapSink> {
        let mut watchers = self.watchers.borrow_mut();
        watchers.retain(|sink| !sink.is_gone());
        watchers.clone()
    }

    fn next_id(&self) -> SessionId {
        let number = self.next.get();
        self.next.set(number + 1);
        SessionId { worker: self.worker, number }
    }
}

/// Sessions of which nobody knows yet what they speak, oldest first: TLS handshakes, and cleartext that has said nothing.
/// Invariant: no more than the limit; who comes when it is reached takes the place of the one that has waited longest,
/// so that connections which say nothing cannot keep others out.
pub(crate) struct Openings {
    most: Cell<usize>,
    waiting: RefCell<BTreeMap<u64, Addr<Session>>>,
}

impl Openings {
    fn new(most: usize) -> Self {
        Self { most: Cell::new(most), waiting: RefCell::default() }
    }

    pub(crate) fn limit(&self, most: usize) {
        self.most.set(most);
    }

    /// Takes one in; says who has to go for it.
    fn enter(&self, number: u64, session: &Addr<Session>) -> Option<(u64, Addr<Session>)> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.insert(number, session.clone());
        if waiting.len() <= self.most.get() {
            return None;
        }
        waiting.pop_first()
    }

    /// It is known what the session speaks, or it is over.
    pub(crate) fn leave(&self, number: u64) {
        self.waiting.borrow_mut().remove(&number);
    }
}

/// Runs sessions: everything they share. One per listener and arbiter; embedders make one with [`Host::new`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use std::rc::Rc;
///
/// use stagedoor_actors::facade::{HttpRequest, local_handler};
/// use stagedoor_actors::{Host, ListenerConfig};
/// use stagedoor_metrics::Metrics;
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
///
/// let config = ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
/// let hello = local_handler(async |_: HttpRequest| "hello");
/// let host = Host::new(&Metrics::new("example"), 0, config, hello);
/// let (ours, mut theirs) = tokio::io::duplex(4096);
/// host.spawn_session(ours, None);
/// theirs.write_all(b"GET / HTTP/1.1\r\nhost: memory\r\nconnection: close\r\n\r\n").await?;
/// let mut answer = String::new();
/// theirs.read_to_string(&mut answer).await?;
/// assert!(answer.ends_with("hello"));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Host {
    pub(crate) config: Arc<ListenerConfig>,
    pub(crate) protocol: Arc<stagedoor_protocol::Config>,
    pub(crate) service: Rc<dyn Service>,
    pub(crate) observer: RefCell<Option<Rc<dyn Observer>>>,
    /// Where the events of its sessions go.
    pub(crate) outlet: Rc<Outlet>,
    pub(crate) listener: ListenerId,
    pub(crate) post: PostId,
    pub(crate) name: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) shard: Arc<Shard>,
    pub(crate) cells: Arc<ListenerCells>,
    pub(crate) routes: RefCell<RouteHandles>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) arena: Rc<Arena>,
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) on_end: RefCell<Option<Ends>>,
    pub(crate) openings: Rc<Openings>,
    /// Seconds are counted from here.
    pub(crate) since: Instant,
    moment: Cell<Option<Moment>>,
}

impl Host {
    /// A host for sessions that come from no listener of ours. Counts in the shard of arbiter `worker`, which
    /// must be the calling thread's own.
    pub fn new(metrics: &Metrics, worker: u16, config: ListenerConfig, service: Rc<dyn Service>) -> Rc<Self> {
        let address = config.bind.first().map_or_else(String::new, ToString::to_string);
        let id = metrics.add_listener(&config.name, &address);
        Self::of_listener(
            metrics,
            (id, NOWHERE),
            Arc::new(config),
            (service, None),
            Arena::new(metrics, worker),
            None,
        )
    }

    /// A host for a session of a client on the calling thread.
    pub(crate) fn of_client(options: &client::Options) -> Rc<Self> {
        let config = options.host_config();
        let (metrics, arena) = Arena::here(options.metrics.as_ref(), "stagedoor");
        let id = metrics.add_client(&config.name);
        let service: (Rc<dyn Service>, _) = (Rc::new(Nothing), None);
        let host = Self::of_listener(&metrics, (id, NOWHERE), config, service, arena, None);
        // Not shared yet: the machine of a client is told a little more.
        match Rc::try_unwrap(host) {
            Ok(mut host) => {
                let protocol = Arc::make_mut(&mut host.protocol);
                protocol.enable_push = options.accept_push;
                protocol.max_reserved_streams = options.max_pushed_streams;
                protocol.peer_max_concurrent_streams = options.initial_max_streams;
                // A server tells of the sessions that come to it.
                host.outlet = Rc::new(Outlet::new(Hub::default(), Arc::clone(&host.name)));
                Rc::new(host)
            }
            Err(host) => host,
        }
    }

    pub(crate) fn of_listener(
        metrics: &Metrics,
        (listener, post): (ListenerId, PostId),
        config: Arc<ListenerConfig>,
        (service, observer): (Rc<dyn Service>, Option<Rc<dyn Observer>>),
        arena: Rc<Arena>,
        ledger: Option<Arc<Ledger>>,
    ) -> Rc<Self> {
        let shard = metrics.shard(arena.worker);
        let name = metrics.listener_name(listener).unwrap_or_else(|| config.name.as_str().into());
        Rc::new(Self {
            openings: Rc::new(Openings::new(config.limits.handshakes)),
            since: clock::now(),
            moment: Cell::new(None),
            protocol: Arc::new(config.protocol()),
            tls: config.tls_with_alpn().map(TlsAcceptor::from),
            cells: shard.listener(listener),
            routes: RefCell::new(RouteHandles::new(Arc::clone(&shard), listener)),
            metrics: metrics.clone(),
            outlet: Rc::new(Outlet::new(arena.hub.clone(), Arc::clone(&name))),
            on_end: RefCell::new(None),
            config,
            service,
            observer: RefCell::new(observer),
            listener,
            post,
            name,
            shard,
            arena,
            ledger,
        })
    }

    /// Whom to tell when a session of this host ended.
    pub fn tell_ends_to(&self, recipient: Recipient<SessionEnded>) {
        *self.on_end.borrow_mut() = Some(Ends::Theirs(recipient));
    }

    /// Lets `observer` hear what happens on each session that begins from now on, on the session's arbiter.
    /// Replaces the one there was; a session keeps the observer it began with.
    pub fn observe(&self, observer: impl Observer) {
        *self.observer.borrow_mut() = Some(Rc::new(observer));
    }

    /// The events of its sessions from now on, as [`ServerHandle::events`](crate::ServerHandle::events) has those of a
    /// server, with room for 1024. Nothing stops a host, so they end with its thread at the latest.
    #[must_use]
    pub fn events(&self) -> Events {
        self.arena.hub.subscribe(EVENTS)
    }

    /// Runs a session over `io` on the calling thread: TLS first where the configuration has it, then the
    /// protocol the first octets tell.
    pub fn spawn_session(self: &Rc<Self>, io: impl Io, peer: Option<SocketAddr>) -> Addr<Session> {
        self.spawn(Raw::Other(Box::new(io)), peer, false)
    }

    /// The same for any stream; `booked`: its ledger counted the address of the peer.
    pub(crate) fn spawn(self: &Rc<Self>, io: Raw, peer: Option<SocketAddr>, booked: bool) -> Addr<Session> {
        let tls = self.tls.is_some();
        self.enter(Entrance { io, peer, booked, tls, opened: None })
    }

    pub(crate) fn enter(self: &Rc<Self>, entrance: Entrance) -> Addr<Session> {
        let id = self.arena.next_id();
        let session = Session::new(Rc::clone(self), id, entrance);
        let whose = Whose::Session(session.stats());
        let addr = turns::start(session);
        let entry = Entry { addr: Watched::new(addr.clone(), whose), post: self.post };
        self.arena.sessions.borrow_mut().insert(id.number, entry);
        if let Some((number, oldest)) = self.openings.enter(id.number, &addr) {
            self.outlet.tell(|listener| Event::LimitHit {
                session: Some(SessionId { worker: id.worker, number }),
                listener: Some(listener),
                limit: LimitKind::Handshakes,
                times: 1,
            });
            // One message a session, from which nothing else will come.
            #[allow(clippy::disallowed_methods)]
            oldest.do_send(CloseSession::new(CloseReason::Overload).with_code(ErrorCode::NO_ERROR));
        }
        addr
    }

    /// The same host for sessions that begin from now on, with another service.
    pub(crate) fn with_service(&self, service: Rc<dyn Service>) -> Rc<Self> {
        self.with(Arc::clone(&self.config), service)
    }

    /// The same host for sessions that begin from now on, with other words to tell them.
    pub(crate) fn with_config(&self, config: Arc<ListenerConfig>) -> Rc<Self> {
        self.with(config, Rc::clone(&self.service))
    }

    fn with(&self, config: Arc<ListenerConfig>, service: Rc<dyn Service>) -> Rc<Self> {
        let speaks = |config: &ListenerConfig| (config.http2, config.http1);
        let same_tls = match (&self.config.tls, &config.tls) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) && speaks(&self.config) == speaks(&config),
            (None, None) => true,
            _ => false,
        };
        let tls = match same_tls {
            true => self.tls.clone(),
            false => config.tls_with_alpn().map(TlsAcceptor::from),
        };
        Rc::new(Self {
            protocol: Arc::new(config.protocol()),
            config,
            service,
            observer: RefCell::new(self.observer.borrow().clone()),
            outlet: Rc::clone(&self.outlet),
            listener: self.listener,
            post: self.post,
            name: Arc::clone(&self.name),
            metrics: self.metrics.clone(),
            shard: Arc::clone(&self.shard),
            cells: Arc::clone(&self.cells),
            routes: RefCell::new(RouteHandles::new(Arc::clone(&self.shard), self.listener)),
            tls,
            arena: Rc::clone(&self.arena),
            ledger: self.ledger.clone(),
            on_end: RefCell::new(self.on_end.borrow().clone()),
            openings: Rc::clone(&self.openings),
            since: self.since,
            moment: Cell::new(None),
        })
    }

    /// Starts a session of a client.
    pub(crate) fn spawn_client(&self, session: impl FnOnce(SessionId) -> Session) -> Addr<Session> {
        let id = self.arena.next_id();
        let session = session(id);
        let whose = Whose::Session(session.stats());
        let addr = turns::start(session);
        let entry = Entry { addr: Watched::new(addr.clone(), whose), post: self.post };
        self.arena.sessions.borrow_mut().insert(id.number, entry);
        addr
    }

    /// Its sessions are clients' and not those of whoever runs the process.
    pub(crate) fn is_public(&self) -> bool {
        &*self.name != ADMIN
    }

    /// The clock of a turn, its seconds counted once.
    #[inline]
    pub(crate) fn moment(&self, now: Instant) -> Moment {
        match self.moment.get() {
            Some(known) if known.exact == now => known,
            _ => {
                let moment = Moment::new(now, self.since);
                self.moment.set(Some(moment));
                moment
            }
        }
    }

    pub(crate) fn live(&self) -> &LiveSessions {
        self.metrics.live()
    }

    pub(crate) fn actors(&self) -> &ActorCells {
        self.shard.actors()
    }
}

/// What a client's host serves: a session of ours is never asked.
struct Nothing;

impl Service for Nothing {
    fn call(&self, _: Request) -> Reply {
        Response::new(404).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_where_its_sessions_do() {
        let thread = std::thread::spawn(|| {
            assert!(counting_here().is_none());
            let metrics = Metrics::new("stagedoor");
            let _arena = Arena::new(&metrics, 3);
            let (known, shard) = counting_here().expect("an arena");
            assert!(known.is_same(&metrics) && Arc::ptr_eq(&shard, &metrics.shard(3)));
        });
        thread.join().expect("no panic");
    }
}
