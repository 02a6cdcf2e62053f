//! The guard of the process, limits of connections, and errors of `accept`: what is short is shed or waited for, nobody who
//! works is hurt, and all goes on when there is room again.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{hello, run};
use stagedoor_actors::{ListenerConfig, OverloadLimits, ServerBuilder, ServerHandle, Service};
use stagedoor_metrics::{ActorKind, CloseReason, ConnectionResult, Metrics, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Site {
    server: ServerHandle,
    metrics: Metrics,
    address: SocketAddr,
    admin: SocketAddr,
}

fn config(name: &str) -> ListenerConfig {
    ListenerConfig::new(name, ([127, 0, 0, 1], 0).into())
}

impl Site {
    async fn start(config: ListenerConfig, limits: OverloadLimits) -> Self {
        Self::with(config, |builder| builder.overload(limits)).await
    }

    async fn with(config: ListenerConfig, change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let metrics = Metrics::new("stagedoor");
        let factory: stagedoor_actors::ServiceFactory = Arc::new(|| -> Rc<dyn Service> { hello() });
        let builder = ServerBuilder::new(metrics.clone(), 2)
            .listen(config, Arc::clone(&factory), false)
            .listen(self::config("admin"), factory, true);
        let server = change(builder).start().await.unwrap();
        let addresses: Vec<_> =
            server.addresses().iter().map(|(_, address)| address.tcp().unwrap()).collect();
        Self { metrics, address: addresses[0], admin: addresses[1], server }
    }

    fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render_text()).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn connections(&self, result: ConnectionResult) -> u64 {
        let id = self.metrics.add_listener("test", &self.address.to_string());
        let shards = [0, 1, u16::MAX].map(|worker| self.metrics.shard(worker).listener(id));
        shards.iter().map(|cells| cells.connections[result].get()).sum()
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        let id = self.metrics.add_listener("test", &self.address.to_string());
        let shards = [0, 1].map(|worker| self.metrics.shard(worker).listener(id));
        let all = shards.iter().flat_map(|cells| {
            Protocol::ALL.iter().map(|protocol| cells.sessions_closed[*protocol][reason].get())
        });
        all.sum()
    }
}

/// An HTTP/1.1 exchange on a connection that stays open.
async fn ask(io: &mut TcpStream) -> bool {
    if io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    while !answer.ends_with(b"hello, world\n") {
        match io.read(&mut room).await {
            Ok(count) if count > 0 => answer.extend(&room[..count]),
            _ => return false,
        }
    }
    true
}

async fn served(address: SocketAddr) -> TcpStream {
    let mut io = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut io).await);
    io
}

/// Waits, on the real clock, for what another thread brings about.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn at_the_limit_of_sessions_idle_ones_make_room_and_those_that_wait_are_served() {
    run(async {
        let site = Site::start(config("test"), OverloadLimits { sessions: Some(4), resident: None }).await;
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(served(site.address).await);
        }
        assert_eq!(site.metric("stagedoor_overloaded "), 1.0);
        // Nothing is accepted: it waits in the backlog, and is served when the one that rested longest has gone.
        let waiting = served(site.address).await;
        assert!(site.closed(CloseReason::Overload) >= 1, "an idle session made room");
        assert_eq!(site.connections(ConnectionResult::RefusedLimit), 0);
        // Admin answers meanwhile, and is not shed.
        assert!(ask(&mut served(site.admin).await).await);
        drop((held, waiting));
        eventually("it recovers", || site.metric("stagedoor_overloaded ") == 0.0).await;
        eventually("it accepts", || site.metric("stagedoor_listener_accepting{listener=\"test\"}") == 1.0)
            .await;
        served(site.address).await;
        site.server.stop().await;
    });
}

#[test]
fn sessions_with_streams_are_not_shed() {
    run(async {
        let site = Site::start(config("test"), OverloadLimits { sessions: Some(2), resident: None }).await;
        // Requests whose bodies have not come: their streams are open.
        let mut busy = Vec::new();
        for _ in 0..2 {
            let mut io = TcpStream::connect(site.address).await.unwrap();
            io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel").await.unwrap();
            busy.push(io);
        }
        eventually("both are there", || site.metric("stagedoor_overloaded ") == 1.0).await;
        // Longer than a session has to rest, and than the guard waits between two looks.
        tokio::time::sleep(Duration::from_millis(1600)).await;
        assert_eq!(site.closed(CloseReason::Overload), 0);
        for mut io in busy {
            io.write_all(b"lo").await.unwrap();
            let mut head = [0; 12];
            io.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
        }
        site.server.stop().await;
    });
}

#[test]
fn at_the_limit_of_memory_nothing_is_accepted_until_it_falls() {
    run(async {
        let resident = Arc::new(AtomicU64::new(100));
        let said = Arc::clone(&resident);
        let limits = OverloadLimits { sessions: None, resident: Some(1_000) };
        let site = Site::with(config("test"), move |builder| {
            builder.overload(limits).resident_probe(move || Some(said.load(Ordering::Relaxed)))
        })
        .await;
        let mut idle = served(site.address).await;
        resident.store(1_000, Ordering::Relaxed);
        eventually("it is seen", || site.metric("stagedoor_overloaded ") == 1.0).await;
        let mut late = TcpStream::connect(site.address).await.unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        // The idle session goes, in good order.
        assert_eq!(idle.read(&mut [0; 10]).await.unwrap(), 0);
        drop(idle);
        eventually("it is over", || site.closed(CloseReason::Overload) == 1).await;
        // Below the limit is not enough: it must not flutter.
        resident.store(999, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(site.metric("stagedoor_overloaded "), 1.0);
        resident.store(900, Ordering::Relaxed);
        let mut answer = String::new();
        late.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("hello, world\n"), "{answer}");
        assert_eq!(site.metric("stagedoor_overloaded "), 0.0);
        site.server.stop().await;
    });
}

#[test]
fn limits_of_listener_and_address_are_counted_apart() {
    run(async {
        let mut config = config("test");
        config.limits.sessions_per_address = Some(1);
        let site = Site::start(config, OverloadLimits::default()).await;
        let held = served(site.address).await;
        let mut other = TcpStream::connect(site.address).await.unwrap();
        assert_eq!(other.read(&mut [0; 1]).await.unwrap_or(0), 0, "refused at once");
        assert_eq!(site.connections(ConnectionResult::RefusedAddress), 1);
        assert_eq!(site.connections(ConnectionResult::RefusedLimit), 0);
        drop(held);
        site.server.stop().await;

        let mut config = self::config("test");
        config.limits.sessions = 1;
        let site = Site::start(config, OverloadLimits::default()).await;
        let _held = served(site.address).await;
        let mut other = TcpStream::connect(site.address).await.unwrap();
        assert_eq!(other.read(&mut [0; 1]).await.unwrap_or(0), 0, "refused at once");
        assert_eq!(site.connections(ConnectionResult::RefusedLimit), 1);
        site.server.stop().await;
    });
}

#[test]
fn connections_that_say_nothing_give_way_to_those_that_come() {
    run(async {
        let mut config = config("test");
        config.limits.handshakes = 8;
        let site = Site::start(config, OverloadLimits::default()).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(site.address).await.unwrap());
            // Who speaks is served all the while.
            served(site.address).await;
        }
        eventually("the oldest have gone", || site.closed(CloseReason::Overload) >= 30).await;
        assert!(site.connections(ConnectionResult::RefusedOverload) >= 30);
        let mut gone = 0;
        for io in &mut silent {
            gone += usize::from(
                tokio::time::timeout(Duration::from_millis(1), io.read(&mut [0; 1])).await.is_ok(),
            );
        }
        assert!(gone >= 30, "{gone}");
        site.server.stop().await;
    });
}

/// An accept loop that hears `error` until told otherwise.
async fn failing(error: i32) -> (Site, Arc<AtomicI32>, Arc<AtomicUsize>) {
    let (code, calls) = (Arc::new(AtomicI32::new(error)), Arc::new(AtomicUsize::new(0)));
    let (said, counted) = (Arc::clone(&code), Arc::clone(&calls));
    let site = Site::with(config("test"), move |builder| {
        builder.accept_fault(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            match said.load(Ordering::Relaxed) {
                0 => Ok(()),
                code => Err(std::io::Error::from_raw_os_error(code)),
            }
        })
    })
    .await;
    (site, code, calls)
}

#[test]
fn without_descriptors_accepting_pauses_clients_are_told_and_it_goes_on() {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    for error in [EMFILE, ENFILE] {
        run(async move {
            let (site, code, calls) = failing(error).await;
            let mut first = TcpStream::connect(site.address).await.unwrap();
            assert_eq!(first.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed, not left waiting");
            eventually("it pauses", || site.metric("stagedoor_listener_accepting{listener=\"test\"}") == 0.0)
                .await;
            // It does not spin: pauses of 100 to 500 ms.
            let before = calls.load(Ordering::Relaxed);
            let mut others = Vec::new();
            for _ in 0..20 {
                others.push(TcpStream::connect(site.address).await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let spun = calls.load(Ordering::Relaxed) - before;
            assert!(spun < 10, "{spun} calls of accept in half a second");
            eventually("those that waited are turned away", || {
                site.connections(ConnectionResult::RefusedOverload) > 0
            })
            .await;
            code.store(0, Ordering::Relaxed);
            // Those in the backlog that were not turned away are served, and new ones.
            served(site.address).await;
            assert_eq!(site.metric("stagedoor_overloaded "), 0.0);
            assert_eq!(site.metric("stagedoor_listener_accepting{listener=\"test\"}"), 1.0);
            assert!(site.connections(ConnectionResult::Error) >= 1);
            assert_eq!(site.metrics.shard(u16::MAX).actors()[ActorKind::Listener].restarts.get(), 0);
            site.server.stop().await;
        });
    }
}
