//! A server's life in somebody else's program: where it may start, what its handle can do, how it changes and ends.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, System};
use stagedoor::actor::OnArbiters as _;
use stagedoor::prometheus::{Registry, TextEncoder};
use stagedoor::{
    App, Close, CloseReason, DrainStep, Error, Event, Listen, Metrics, ReconfigureError, Server,
    ServerHandle, State, get,
};
use tokio::sync::{Semaphore, oneshot};

use crate::alone::{Held, alone};
use crate::site::{Site, becomes, hello, system, until, within};
use crate::support::client::{Client, Speaks};
use crate::support::exposition::Scrape;
use crate::support::raw::{ACK, GOAWAY, PING, RST_STREAM, Raw};
use crate::support::run;

/// The one TCP address of a server.
fn address(server: &ServerHandle) -> SocketAddr {
    server.addresses()[0].1.tcp().unwrap()
}

async fn says_hello(address: SocketAddr) {
    for http2 in [true, false] {
        assert_eq!(Client::plain(address, http2).await.get("/").await.text(), "hello\n");
    }
}

/// Nobody listens there.
fn is_shut(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

/// A route that answers when it is let go, and what lets it go.
fn held() -> (App, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let wait = |State(gate): State<Arc<Semaphore>>| async move {
        gate.acquire().await.unwrap().forget();
        "let go\n"
    };
    (App::new().route("/hold", get(wait)).state(Arc::clone(&gate)), gate)
}

#[test]
fn a_server_starts_within_an_actix_system_and_shares_it_with_actors() {
    system(async {
        let server = hello().listen("127.0.0.1:0").start().await.unwrap();
        let address = address(&server);
        says_hello(address).await;
        let here = server.clone();
        let sessions = Arbiter::new();
        let (tell, told) = oneshot::channel();
        assert!(sessions.spawn(async move {
            tell.send(here.sessions().await.len()).ok();
        }));
        told.await.expect("a handle works on another arbiter");
        sessions.stop();
        server.stop().await;
        assert!(is_shut(address));
        assert!(System::try_current().is_some(), "the system goes on");
    });
}

#[tokio::test]
async fn a_server_starts_from_a_plain_runtime_of_one_thread() {
    assert!(System::try_current().is_none());
    let server = hello().listen("127.0.0.1:0").start().await.unwrap();
    let address = address(&server);
    says_hello(address).await;
    server.stop().await;
    assert!(is_shut(address));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_on_any_thread_of_a_runtime_and_its_handle_goes_anywhere() {
    fn goes_anywhere<T: Send + 'static>(value: T) -> T {
        value
    }
    fn is_handed_around<T: Clone + Send + 'static>() {}
    is_handed_around::<ServerHandle>();
    let starting = goes_anywhere(hello().listen("127.0.0.1:0").start());
    let server = tokio::spawn(starting).await.unwrap().unwrap();
    let address = address(&server);
    tokio::spawn(says_hello(address)).await.unwrap();
    let (one, two) = (server.clone(), server.clone());
    let stopped = tokio::spawn(async move { one.stopped().await });
    tokio::spawn(async move { two.stop().await }).await.unwrap();
    within(stopped).await.unwrap();
    assert!(is_shut(address));
    within(server.stopped()).await;
}

#[test]
fn a_session_is_looked_at_and_asked_to_go() {
    run(async {
        let server = hello();
        let mut events = server.events();
        let site = Site::start(server).await;
        let mut client = Raw::connect(site.plain(), 65_535);
        client.request(1, "GET", "/", true);
        while !client.next().unwrap().ends_stream() {}
        let sessions = site.handle.sessions().await;
        let [session] = &sessions[..] else { panic!("{sessions:?}") };
        assert_eq!((session.protocol, &*session.listener, session.role), ("h2c", "http", "server"));
        let one = site.handle.session(&session.id).await.unwrap();
        assert_eq!((&one.id, one.streams_total), (&session.id, 1));
        assert!(!one.recorder.is_empty(), "one that is asked after alone tells its last frames");
        assert!(site.handle.session("0-zzzz").await.is_none());
        assert!(!site.handle.close_session("0-zzzz", Close::graceful("nobody")).await);

        assert!(site.handle.close_session(&session.id, Close::graceful("maintenance")).await);
        assert_eq!(client.next_of(GOAWAY).number(4), 0, "a good end is no error");
        while let Some(frame) = client.next() {
            if frame.kind == PING && frame.flags & ACK == 0 {
                client.frame(PING, ACK, 0, &frame.payload);
            }
        }
        let (closed, reason) = until(&mut events, |event| match event {
            Event::SessionClosed { session, reason, .. } => Some((session.to_string(), reason)),
            _ => None,
        })
        .await;
        assert_eq!((closed, reason), (session.id.clone(), CloseReason::Admin));
        site.stop().await;
    });
}

#[test]
fn a_session_that_is_cut_off_hears_why() {
    run(async {
        let (app, _gate) = held();
        let site = Site::of(app).await;
        let mut client = Raw::connect(site.plain(), 65_535);
        client.request(1, "GET", "/hold", true);
        let mut sessions = site.handle.sessions().await;
        while sessions.first().is_none_or(|session| session.streams_open == 0) {
            sessions = site.handle.sessions().await;
        }
        let order = Close::graceful("maintenance").now();
        assert!(site.handle.close_session(&sessions[0].id, order).await);
        assert_eq!(&client.next_of(GOAWAY).payload[8..], b"maintenance");
        site.stop().await;
    });
}

#[test]
fn a_drain_lets_streams_finish_and_tells_its_steps() {
    run(async {
        let (app, gate) = held();
        let server = Server::new().workers(1).app(app);
        let mut events = server.events();
        let site = Site::start(server).await;
        let address = site.plain();
        let mut client = site.client(Speaks::H2c).await;
        let asked = tokio::spawn(async move { client.get("/hold").await });
        until(&mut events, |event| matches!(event, Event::StreamOpened { .. }).then_some(())).await;
        let draining = site.handle.clone();
        let draining = tokio::spawn(async move { draining.drain(Duration::from_secs(60)).await });
        let mut steps = Vec::new();
        while steps.last() != Some(&DrainStep::StoppedAccepting) {
            steps.push(until(&mut events, step).await);
        }
        assert!(matches!(steps[0], DrainStep::Began { sessions: 1, .. }), "{steps:?}");
        assert!(is_shut(address), "nothing more is accepted");
        gate.add_permits(1);
        assert_eq!(asked.await.unwrap().text(), "let go\n");
        within(draining).await.unwrap();
        while steps.last() != Some(&DrainStep::Done) {
            steps.push(until(&mut events, step).await);
        }
        assert!(!steps.iter().any(|step| matches!(step, DrainStep::Forced { .. })), "{steps:?}");
        site.stop().await;
    });
}

fn step(event: Event) -> Option<DrainStep> {
    match event {
        Event::Drain(step) => Some(step),
        _ => None,
    }
}

#[test]
fn a_drain_cuts_off_at_its_deadline_what_does_not_end() {
    run(async {
        let (app, _gate) = held();
        let server = Server::new().workers(1).app(app);
        let mut events = server.events();
        let site = Site::start(server).await;
        let mut client = Raw::connect(site.plain(), 65_535);
        client.request(1, "GET", "/hold", true);
        until(&mut events, |event| matches!(event, Event::StreamOpened { .. }).then_some(())).await;
        within(site.handle.drain(Duration::from_millis(50))).await;
        let forced = until(&mut events, |event| match event {
            Event::Drain(DrainStep::Forced { sessions, .. }) => Some(sessions),
            _ => None,
        });
        assert_eq!(forced.await, 1);
        let mut answered = false;
        while let Some(frame) = client.next() {
            answered |= frame.ends_stream();
            assert!(frame.kind != RST_STREAM || frame.number(0) != 0);
        }
        assert!(!answered, "the stream did not end well");
        site.stop().await;
    });
}

#[test]
fn run_until_serves_drains_and_stops() {
    run(async {
        let (tell, told) = oneshot::channel::<()>();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let ended = async move { told.await.unwrap_or(()) };
        let running = tokio::spawn(hello().listen(socket).run_until(ended, Duration::from_secs(30)));
        says_hello(address).await;
        tell.send(()).unwrap();
        within(running).await.unwrap().unwrap();
        becomes("nobody listens", || is_shut(address)).await;
    });
}

fn page(path: &'static str) -> App {
    App::new().route(path, get(move || async move { path }))
}

fn at_home(app: App) -> Server {
    Server::new().workers(1).listen(Listen::plain("127.0.0.1:0").name("home")).app(app)
}

#[test]
fn a_reload_changes_routes_and_listeners_while_it_serves() {
    run(async {
        let server = at_home(page("/old")).start().await.unwrap();
        let home = address(&server);
        let mut early = Client::plain(home, true).await;
        assert_eq!(early.get("/old").await.text(), "/old");

        let changed = at_home(page("/new")).listen(Listen::plain("127.0.0.1:0").name("inside"));
        assert_eq!(server.reload(changed).await.unwrap(), 0);
        assert_eq!(server.address("home"), Some(home), "a listener that stays keeps its socket");
        let inside = server.address("inside").unwrap();
        for at in [home, inside] {
            let mut client = Client::plain(at, true).await;
            assert_eq!(client.get("/new").await.text(), "/new");
            assert_eq!(client.get("/old").await.status, 404);
        }
        assert_eq!(early.get("/old").await.text(), "/old", "a session keeps what it began with");

        assert_eq!(server.reload(at_home(page("/new"))).await.unwrap(), 0);
        assert_eq!(server.address("inside"), None);
        assert!(is_shut(inside));
        assert_eq!(Client::plain(home, false).await.get("/new").await.text(), "/new");
        server.stop().await;
    });
}

#[test]
fn a_reload_that_cannot_be_changes_nothing() {
    run(async {
        let server = at_home(page("/old")).start().await.unwrap();
        let before = server.addresses();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = (taken.local_addr().unwrap(), taken);
        let with = |listen: Listen| at_home(page("/new")).listen(listen);
        let impossible = [
            at_home(page("no/slash")),
            Server::new().app(page("/new")),
            with(Listen::plain("nowhere").name("other")),
            with(Listen::from(taken.0).name("other")),
            with(Listen::plain("127.0.0.1:0").name("other").configure(|config| config.limits.sessions = 0)),
        ];
        let mut told = Vec::new();
        for changed in impossible {
            told.push(within(server.reload(changed)).await.unwrap_err());
            assert_eq!(server.addresses(), before);
            assert_eq!(Client::plain(address(&server), true).await.get("/old").await.text(), "/old");
        }
        let [route, none, nowhere, bound, option] = &told[..] else { panic!("{told:?}") };
        assert!(matches!(route, Error::Route(_)), "{route}");
        assert!(matches!(none, Error::NoListener), "{none}");
        assert!(matches!(nowhere, Error::Address(text) if text == "nowhere"), "{nowhere}");
        assert!(matches!(bound, Error::Reload(ReconfigureError::Bind(_))), "{bound}");
        assert!(bound.to_string().contains(&taken.0.to_string()), "{bound}");
        assert!(matches!(option, Error::Reload(ReconfigureError::Config(_))), "{option}");
        assert!(option.to_string().contains("limits.sessions"), "{option}");
        server.stop().await;
    });
}

async fn asks(site: &Site, times: usize) {
    let mut client = site.client(Speaks::H2c).await;
    for _ in 0..times {
        assert_eq!(client.get("/").await.status, 200);
    }
}

fn of_registry(registry: &Registry) -> Scrape {
    Scrape::read(&TextEncoder::new().encode_to_string(&registry.gather()).unwrap())
}

#[test]
fn two_servers_of_one_process_count_apart_and_meet_in_a_registry_of_yours() {
    run(async {
        let one = Site::start(hello().namespace("shop")).await;
        let two = Site::start(hello().namespace("kitchen")).await;
        // Of the same names as no other, with what it counts to itself.
        let three = Site::start(hello().namespace("shop")).await;
        asks(&one, 3).await;
        asks(&two, 5).await;
        asks(&three, 7).await;
        let labels = [("route", "/"), ("listener", "http")];
        for (site, name, asked) in [(&one, "shop", 3.0), (&two, "kitchen", 5.0), (&three, "shop", 7.0)] {
            let scrape = site.scrape().await;
            assert_eq!(scrape.sum(&format!("{name}_requests_total"), &labels), asked);
            assert!(
                scrape.families.keys().all(|family| {
                    family.starts_with(&format!("{name}_")) || family.starts_with("process_")
                })
            );
        }
        let (yours, other) = (Registry::new(), Registry::new());
        yours.register(Box::new(one.handle.collector())).unwrap();
        yours.register(Box::new(two.handle.collector())).unwrap();
        other.register(Box::new(three.handle.collector())).unwrap();
        let (yours, other) = (of_registry(&yours), of_registry(&other));
        assert_eq!(yours.sum("shop_requests_total", &labels), 3.0);
        assert_eq!(yours.sum("kitchen_requests_total", &labels), 5.0);
        assert_eq!(other.sum("shop_requests_total", &labels), 7.0);
        assert_eq!(other.sum("kitchen_requests_total", &[]), 0.0);
        for site in [one, two, three] {
            site.stop().await;
        }
    });
}

#[test]
fn a_server_whose_handles_are_dropped_goes_on() {
    run(async {
        let server = hello().listen("127.0.0.1:0");
        let mut events = server.events();
        let address = address(&server.start().await.unwrap());
        says_hello(address).await;
        says_hello(address).await;
        // Of four sessions that came and went, whose server nobody holds.
        for _ in 0..4 {
            until(&mut events, |event| matches!(event, Event::SessionClosed { .. }).then_some(())).await;
        }
        says_hello(address).await;
    });
    system(async {
        let address = address(&hello().listen("127.0.0.1:0").start().await.unwrap());
        says_hello(address).await;
    });
}

/// Starts and stops a server ten times, with sessions open at each stop; nothing of it may be left.
fn restarts(shared: bool) {
    let metrics = Metrics::new("stagedoor");
    system(async {
        let arbiter = shared.then(Arbiter::new);
        let before = Held::now();
        for round in 1..=10 {
            let mut server = hello().listen("127.0.0.1:0").metrics(metrics.clone());
            if let Some(arbiter) = &arbiter {
                server = server.on_arbiters([arbiter.handle()]);
            }
            let server = server.start().await.unwrap();
            let mut clients = Vec::new();
            for http2 in [true, false] {
                let mut client = Client::plain(address(&server), http2).await;
                assert_eq!(client.get("/").await.text(), "hello\n");
                clients.push(client);
            }
            let busy = Held::now();
            // A listener, and two sessions with an end here and one there.
            assert!(busy.descriptors >= before.descriptors + 5, "{before:?} {busy:?}");
            assert_eq!(busy.threads > before.threads, !shared, "{before:?} {busy:?}");
            within(server.stop()).await;
            drop((clients, server));
            becomes(&format!("round {round} is gone"), || Held::now() == before).await;
            becomes("no actor lives", || metrics.actor_totals().iter().all(|kind| kind.alive == 0)).await;
        }
        let started: Vec<u64> = metrics.actor_totals().iter().map(|kind| kind.started).collect();
        assert!(started.iter().all(|started| *started >= 10), "{started:?}");
        if let Some(arbiter) = arbiter {
            arbiter.stop();
            arbiter.join().unwrap();
        }
    });
}

#[test]
fn a_system_that_restarts_its_server_ten_times_holds_what_it_held() {
    alone("facade::a_system_that_restarts_its_server_ten_times_holds_what_it_held", || restarts(false));
}

#[test]
fn so_does_one_whose_servers_share_an_arbiter() {
    alone("facade::so_does_one_whose_servers_share_an_arbiter", || restarts(true));
}
