//! In a session's own code, as far as others have a say in it: its transport, observers, the names of routes.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::{
    CloseSession, ListenerConfig, Reply, Request, Response, ServerBuilder, Service, SessionEvent,
    SessionHandle,
};
use stagedoor_metrics::{ActorKind, CloseReason, Metrics, Outcome, Protocol, RouteId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;

use crate::common::faulty::{Act, Call, Faulty};
use crate::common::peer::get_head;
use crate::common::{Held, Raw, Stage, config, frame, hello, run, run_paused, settle, tls};
use crate::{Scene, get_x, post_x};

/// Handlers that never answer and are counted as they go.
fn held(dropped: &Rc<Cell<usize>>) -> impl Fn(Request) -> Reply + 'static {
    let dropped = Rc::clone(dropped);
    move |request| {
        let held = Held(Rc::clone(&dropped));
        Reply::later(async move {
            let _kept = (held, request);
            std::future::pending().await
        })
    }
}

/// A pipe that panics in calls of a kind once it is armed.
fn armed(call: Call) -> (Faulty, DuplexStream, Rc<Cell<bool>>) {
    let armed = Rc::new(Cell::new(false));
    let now = Rc::clone(&armed);
    let plan = move |made, _| if made == call && now.get() { Act::Panic } else { Act::Pass };
    let (ours, theirs, _) = Faulty::pair(1 << 16, plan);
    (ours, theirs, armed)
}

impl Scene {
    /// One more session has ended by a panic of its own, with so many streams; nothing else has.
    async fn one_panicked(&mut self, streams: u64) {
        assert_eq!(self.stage.ended().await.reason, CloseReason::Panic);
        settle().await;
        assert_eq!((self.panics(ActorKind::Session), self.panics(ActorKind::Stream)), (1, 0));
        assert_eq!(self.stage.outcome(Outcome::SessionClosed), streams);
        for protocol in Protocol::ALL {
            assert_eq!(self.stage.cells.streams_active[*protocol].get(), 0);
        }
        assert_eq!(self.stage.cells.write_queue_bytes.get(), 0);
        assert_eq!(self.stage.metrics.live().len(), 2, "the other sessions");
        self.lives_on().await;
    }
}

/// The session goes without a word, with all that was on it.
#[test]
fn in_a_transport_it_is_the_end_of_the_session() {
    for call in [Call::Read, Call::Write, Call::Flush] {
        run_paused(async move {
            let dropped = Rc::new(Cell::new(0));
            let mut scene = Scene::new(held(&dropped)).await;
            let (ours, theirs, now) = armed(call);
            scene.stage.host.spawn_session(ours, None);
            let mut client = Raw::new(theirs);
            client.shake().await;
            client.send(&[get_x(1), post_x(3)].concat()).await;
            settle().await;
            now.set(true);
            client.send(&frame(6, 0, 0, b"01234567")).await;
            assert_eq!(client.goaways().await, [0; 0], "nothing is said");
            scene.one_panicked(2).await;
            assert_eq!(dropped.get(), 2, "{call:?}");
        });
        run_paused(async move {
            let dropped = Rc::new(Cell::new(0));
            let mut scene = Scene::new(held(&dropped)).await;
            let (ours, mut theirs, now) = armed(call);
            scene.stage.host.spawn_session(ours, None);
            let (first, waits) = if call == Call::Read { ("/x", 1) } else { ("/", 0) };
            if call == Call::Read {
                theirs.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                settle().await;
            }
            now.set(true);
            theirs.write_all(format!("GET {first} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.ok();
            assert!(all.is_empty(), "{call:?}");
            // hyper flushes before it lets us know of a request.
            scene.one_panicked(u64::from(call != Call::Flush)).await;
            assert_eq!(dropped.get(), waits, "{call:?}");
        });
    }
}

/// It has a reason already by then.
#[test]
fn as_its_socket_is_shut_down_it_changes_nothing() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (ours, theirs, now) = armed(Call::Shutdown);
        let session = stage.host.spawn_session(ours, None);
        let mut client = Raw::new(theirs);
        client.shake().await;
        now.set(true);
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        assert_eq!(client.goaways().await, [0, 0]);
        stage.ends_once(CloseReason::Drain).await;
        assert_eq!(stage.shard.actors()[ActorKind::Session].panics.get(), 1);
    });
}

#[test]
fn in_a_handshake_it_is_the_end_of_that_connection() {
    for call in [Call::Read, Call::Write] {
        run_paused(async move {
            let config = ListenerConfig { tls: Some(Arc::clone(&tls::ends().0)), ..config() };
            let stage = Stage::with(config, hello());
            let (ours, theirs, now) = armed(call);
            now.set(true);
            stage.host.spawn_session(ours, None);
            assert!(tls::shake(theirs).await.is_err());
            stage.ends_once(CloseReason::Panic).await;
            let (_, io) = stage.connect();
            assert!(tls::shake(io).await.is_ok(), "another connection");
        });
    }
}

/// Whatever they are told, and as often as they panic.
#[test]
fn in_an_observer_it_is_nothing_to_the_session() {
    run_paused(async {
        let mut scene = Scene::new(|_| Response::text("other").into()).await;
        let told = Rc::new(Cell::new(0));
        let count = Rc::clone(&told);
        scene.stage.host.observe(move |_: &SessionHandle, event: &SessionEvent| {
            count.set(count.get() + 1);
            panic!("told {event:?}, on purpose");
        });
        let (_, io) = scene.stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get_x(1)).await;
        client.until(|frame| frame.kind == 0 && frame.flags == 1).await;
        drop(client);
        assert_eq!(scene.stage.ended().await.reason, CloseReason::ClientClosed);
        settle().await;
        // Opened, settings both ways, stream opened, answered, closed; the end.
        assert_eq!(told.get(), 7);
        assert_eq!((scene.panics(ActorKind::Session), scene.panics(ActorKind::Stream)), (0, 0));
        assert_eq!(scene.ask(&get_head("/x")).await.body, b"other");
        scene.lives_on().await;
    });
}

struct Nameless;

impl Service for Nameless {
    fn route_name(&self, _: RouteId) -> Cow<'static, str> {
        panic!("no name, on purpose")
    }

    fn call(&self, request: Request) -> Reply {
        match request.head.path() {
            Some("/") => Response::text("fine").into(),
            _ => Reply::later(async move {
                let _kept = request;
                std::future::pending().await
            }),
        }
    }
}

/// Who looks at a session, as the admin API does, does not end it.
#[test]
fn in_the_name_of_a_route_it_is_a_view_without_streams() {
    run(async {
        let metrics = Metrics::new("stagedoor");
        let server = ServerBuilder::new(metrics.clone(), 1)
            .listen(config(), Arc::new(|| Rc::new(Nameless)), false)
            .start()
            .await
            .unwrap();
        let mut client = TcpStream::connect(server.addresses()[0].1.tcp().unwrap()).await.unwrap();
        let open = [crate::common::hello_octets(), get_x(1)].concat();
        client.write_all(&open).await.unwrap();
        while metrics.live().snapshot().first().is_none_or(|session| session.streams_open.get() == 0) {
            tokio::task::yield_now().await;
        }
        let views = server.sessions().await;
        assert_eq!(views.len(), 1, "{views:?}");
        assert!(views[0].streams.is_empty(), "{views:?}");
        client.write_all(&crate::common::get(3)).await.unwrap();
        let mut all = Vec::new();
        while !all.windows(4).any(|octets| octets == b"fine") {
            let count = client.read_buf(&mut all).await.unwrap();
            assert!(count > 0, "the session goes on");
        }
        server.stop().await;
    });
}
