//! The events of a whole server: order and content, who hears them where and when, what the slow ones lose, and the end.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use common::sockets::{let_go, site};
use common::*;
use futures_util::FutureExt as _;
use stagedoor_actors::actor::forward;
use stagedoor_actors::{
    Body, DrainStep, Event, Events, LimitKind, ListenerConfig, OverloadLimits, PanicPlace, Reply, Response,
    ServerBuilder, ServerHandle, Timeouts,
};
use stagedoor_metrics::{CloseReason, Metrics, Outcome, SessionId, TimeoutAction, TimeoutKind};
use stagedoor_protocol::{Limit, StreamId};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::advance;

type Client = h2::client::SendRequest<Bytes>;

/// What an event is called, with what tells it apart.
fn name(event: &Event) -> String {
    match event {
        Event::SessionOpened { protocol, listener, .. } => format!("opened {listener} {protocol}"),
        Event::SessionClosed { reason, listener, .. } => format!("closed {listener} {reason}"),
        Event::StreamOpened { stream, head, .. } => {
            format!("stream {} {} {}", stream.get(), head.method(), head.path().unwrap_or("-"))
        }
        Event::StreamClosed { stream, outcome, status, .. } => {
            format!("stream {} {outcome} {status}", stream.get())
        }
        Event::Timeout { stream, kind, action, .. } => {
            format!("timeout {:?} {kind} {action}", stream.map(StreamId::get))
        }
        Event::LimitHit { listener, limit, times, .. } => {
            format!("limit {} {times} {}", limit.name(), listener.as_deref().unwrap_or("-"))
        }
        Event::Panicked { stream, place, words, .. } => {
            format!("panic {:?} {} {words}", stream.map(StreamId::get), place.label())
        }
        Event::Lagged { missed } => format!("lagged {missed}"),
        other => format!("{other:?}"),
    }
}

/// The next event; a test that hears nothing fails.
async fn next(events: &mut Events) -> Event {
    let heard = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    heard.expect("an event comes").expect("the server lives")
}

/// Everything up to and including the first event that is `wanted`.
async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut heard = vec![next(events).await];
    while !wanted(&heard[heard.len() - 1]) {
        heard.push(next(events).await);
    }
    heard
}

/// What waits to be read now.
fn waiting(events: &mut Events) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        heard.push(name(&event));
    }
    heard
}

async fn rest(events: &mut Events) -> Vec<Event> {
    let mut heard = Vec::new();
    while let Some(event) =
        tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("an end")
    {
        heard.push(event);
    }
    heard
}

fn builder() -> ServerBuilder {
    ServerBuilder::new(Metrics::new("stagedoor"), 2).listen(config(), site(), false)
}

fn address(server: &ServerHandle) -> SocketAddr {
    server.address("test").unwrap()
}

async fn connect(server: &ServerHandle) -> (Client, actix_rt::task::JoinHandle<()>) {
    let io = TcpStream::connect(address(server)).await.unwrap();
    let (send, connection) = h2::client::handshake(io).await.unwrap();
    (send, actix_rt::spawn(async move { connection.await.unwrap_or_default() }))
}

async fn ask(send: &mut Client, path: &str) -> u16 {
    let request = http::Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(octets) = body.data().await {
        drop(octets.unwrap());
    }
    status
}

fn is_closed(event: &Event) -> bool {
    matches!(event, Event::SessionClosed { .. })
}

#[test]
fn a_server_tells_its_sessions_in_order_and_with_all_that_is_known() {
    run(async {
        let builder = builder();
        let mut events = builder.events();
        let server = builder.start().await.unwrap();
        let (mut send, connection) = connect(&server).await;
        let client = actix_rt::spawn(async move { ask(&mut send, "/hold").await });
        let mut heard = until(&mut events, |event| matches!(event, Event::StreamOpened { .. })).await;
        // The turn in which the handler began to wait is over: its life is not zero.
        server.caught_up(Duration::from_secs(60)).await;
        let_go();
        assert_eq!(client.await.unwrap(), 200);
        connection.await.unwrap();
        heard.extend(until(&mut events, is_closed).await);
        let names: Vec<String> = heard.iter().map(name).collect();
        assert_eq!(
            names[..3],
            ["opened test h2c", "stream 1 GET /hold", "stream 1 complete 200"].map(str::to_owned)
        );
        assert_eq!(names.len(), 4, "{names:?}");
        let [
            Event::SessionOpened { session, peer, info, .. },
            _,
            Event::StreamClosed { lasted, waits, octets, times, cause, .. },
            Event::SessionClosed { statistics, peer: left, .. },
        ] = &heard[..]
        else {
            panic!("{names:?}")
        };
        assert!(heard.iter().all(|event| event.session() == Some(*session)));
        assert_eq!(
            (info.id.as_str(), info.peer, info.listener.as_str()),
            (&*session.to_string(), *peer, "test")
        );
        assert!(peer.is_some() && peer == left);
        assert!(!lasted.is_zero() && waits.iter().sum::<Duration>() == *lasted, "{lasted:?} {waits:?}");
        assert_eq!((*octets, *cause), ((0, 4), None));
        assert!(times.head.is_some_and(|head| head <= *lasted));
        assert!(statistics.streams == 1 && statistics.lasted >= *lasted, "{statistics:?}");
        server.stop().await;
        assert!(rest(&mut events).await.is_empty(), "a session is closed once");
    });
}

#[test]
fn another_thread_hears_everything_and_the_end_when_the_server_has_stopped() {
    run(async {
        let builder = builder();
        let mut events = builder.events();
        let (opened, first) = oneshot::channel();
        let reader = std::thread::spawn(move || {
            System::new().block_on(async move {
                let mut heard = vec![name(&next(&mut events).await)];
                opened.send(()).unwrap();
                heard.extend(rest(&mut events).await.iter().map(name));
                heard
            })
        });
        let server = builder.start().await.unwrap();
        let (mut send, connection) = connect(&server).await;
        first.await.unwrap();
        assert_eq!(ask(&mut send, "/").await, 200);
        server.stop().await;
        let heard = actix_rt::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
        assert_eq!(
            heard,
            ["opened test h2c", "stream 1 GET /", "stream 1 complete 200", "closed test shutdown"]
        );
        connection.await.unwrap();
        assert!(server.events().next().await.is_none(), "nothing follows");
    });
}

#[test]
fn who_comes_late_hears_the_sessions_that_live_already() {
    run(async {
        let server = builder().start().await.unwrap();
        let (mut send, connection) = connect(&server).await;
        assert_eq!(ask(&mut send, "/first").await, 200);
        // The stream is counted in the turn after its last octet has left.
        server.caught_up(Duration::from_secs(60)).await;
        let mut events = server.events();
        assert_eq!(ask(&mut send, "/second").await, 200);
        drop(send);
        connection.await.unwrap();
        let heard: Vec<String> = until(&mut events, is_closed).await.iter().map(name).collect();
        let of_second: Vec<&String> = heard.iter().filter(|name| name.starts_with("stream 3")).collect();
        assert_eq!(of_second, ["stream 3 GET /second", "stream 3 complete 200"], "{heard:?}");
        assert!(!heard.iter().any(|name| name.starts_with("opened")), "{heard:?}");
        assert!(heard.last().unwrap().starts_with("closed test "), "{heard:?}");
        server.stop().await;
    });
}

#[test]
fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
    run(async {
        let builder = builder();
        let (mut slow, mut quick) = (builder.events_with(2), builder.events());
        let server = builder.start().await.unwrap();
        let (mut send, connection) = connect(&server).await;
        for _ in 0..3 {
            assert_eq!(ask(&mut send, "/").await, 200);
        }
        drop(send);
        connection.await.unwrap();
        // One opening, three streams with two each, one end.
        let all = until(&mut quick, is_closed).await;
        assert_eq!(all.len(), 8);
        let heard: Vec<String> = until(&mut slow, is_closed).await.iter().map(name).collect();
        let last: Vec<String> = all[6..].iter().map(name).collect();
        assert_eq!(heard[0], "lagged 6");
        assert_eq!(heard[1..], last);
        server.stop().await;
    });
}

#[test]
fn timers_are_told_of_sessions_and_of_connections_that_never_became_one() {
    run_paused(async {
        let stage = Stage::new(hello());
        let mut events = stage.host.events();
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        settle().await;
        advance(Timeouts::default().idle).await;
        client.goaways().await;
        drop(client);
        stage.ended().await;
        let heard = until(&mut events, is_closed).await;
        let timeout = &heard[1];
        let Event::Timeout { session, kind, action, stream, .. } = timeout else { panic!("{timeout:?}") };
        assert_eq!(heard[0].session(), Some(*session));
        assert_eq!((*kind, *action, *stream), (TimeoutKind::Idle, TimeoutAction::Closed, None));
        assert_eq!(name(&heard[2]), "closed test idle_timeout");
        // It says nothing, ever.
        let (_session, io) = stage.connect();
        assert_eq!(stage.ended().await.reason, CloseReason::PrefaceTimeout);
        drop(io);
        settle().await;
        assert_eq!(waiting(&mut events), ["timeout None preface closed", "closed test preface_timeout"]);
    });
}

#[test]
fn a_timer_of_a_stream_names_it() {
    run_paused(async {
        let mut config = config();
        config.timeouts.hard = Duration::from_secs(5);
        let stage = Stage::with(config, forever().0);
        let mut events = stage.host.events();
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 3).await;
        settle().await;
        assert_eq!(
            waiting(&mut events)[1..],
            ["stream 1 GET /", "timeout Some(1) hard closed", "stream 1 timeout 0"].map(str::to_owned)
        );
    });
}

#[test]
fn limits_of_a_session_are_told_with_its_name() {
    run_paused(async {
        let mut config = config();
        config.limits.streams_per_session = 1;
        let stage = Stage::with(config, forever().0);
        let mut events = stage.host.events();
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&[get(1), get(3), get(5)].concat()).await;
        client.until(|frame| frame.kind == 3 && frame.stream == 5).await;
        settle().await;
        let mut heard = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            heard.push(event);
        }
        let first = SessionId { worker: 0, number: 0 };
        let times: u32 = heard
            .iter()
            .map(|event| match event {
                Event::LimitHit {
                    session: Some(session),
                    limit: LimitKind::Protective(Limit::Streams),
                    times,
                    listener: Some(listener),
                    ..
                } if *session == first && &**listener == "test" => *times,
                _ => 0,
            })
            .sum();
        assert_eq!(times, 2, "{heard:?}");
    });
}

#[test]
fn limits_of_listeners_and_of_the_server_are_told() {
    run(async {
        let mut small = config();
        small.limits.sessions = 1;
        let other = ListenerConfig::new("other", ([127, 0, 0, 1], 0).into());
        let builder = ServerBuilder::new(Metrics::new("stagedoor"), 1)
            .listen(small, site(), false)
            .listen(other, site(), false)
            .overload(OverloadLimits { sessions: Some(2), resident: None });
        let mut events = builder.events();
        let server = builder.start().await.unwrap();
        let held = connect(&server).await;
        until(&mut events, |event| matches!(event, Event::SessionOpened { .. })).await;
        let mut refused = TcpStream::connect(address(&server)).await.unwrap();
        let mut octets = Vec::new();
        refused.read_to_end(&mut octets).await.ok();
        assert_eq!(name(&next(&mut events).await), "limit sessions 1 test");
        let second = TcpStream::connect(server.address("other").unwrap()).await.unwrap();
        assert_eq!(name(&next(&mut events).await), "limit server_sessions 1 -");
        drop((held, second));
        server.stop().await;
    });
}

/// A body that panics when it is asked for octets.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        panic!("in the body")
    }
}

#[test]
fn panics_that_were_caught_are_told_with_their_place_and_words() {
    run_paused(async {
        let mut config = config();
        config.options.budgets.panics = 2;
        let stage = Stage::with(
            config,
            service(|request| match request.stream.get() {
                1 => panic!("at once"),
                _ => Response::new(200).with_body(Body::stream(Broken)).into(),
            }),
        );
        let mut events = stage.host.events();
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 1).await;
        client.send(&get(3)).await;
        client.goaways().await;
        drop(client);
        assert_eq!(stage.ended().await.reason, CloseReason::PanicBudget);
        settle().await;
        let heard = waiting(&mut events);
        let place = |wanted: &str| {
            heard.iter().position(|name| name == wanted).unwrap_or_else(|| panic!("no {wanted} in {heard:?}"))
        };
        assert!(place("panic Some(1) handler at once") < place("stream 1 panic 500"), "{heard:?}");
        place("panic Some(3) body in the body");
        place("limit panics 1 test");
        assert_eq!(heard.last().unwrap(), "closed test panic_budget");
    });
}

#[test]
fn a_panic_of_a_listener_is_told() {
    run(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let builder = builder().accept_fault(move || {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "in the accept loop");
            Ok(())
        });
        let mut events = builder.events();
        let server = builder.start().await.unwrap();
        drop(TcpStream::connect(address(&server)).await.unwrap());
        let Event::Panicked { session: None, stream: None, place, words, .. } = next(&mut events).await
        else {
            panic!("something else")
        };
        assert_eq!((place, words.as_str()), (PanicPlace::Listener, "in the accept loop"));
        server.stop().await;
    });
}

#[test]
fn a_drain_tells_its_steps() {
    run(async {
        let server = builder().start().await.unwrap();
        let (mut send, _connection) = connect(&server).await;
        let mut events = server.events();
        let held = actix_rt::spawn(async move {
            let request = http::Request::get("http://a/forever").body(()).unwrap();
            send.send_request(request, true).unwrap().0.await.is_err()
        });
        until(&mut events, |event| matches!(event, Event::StreamOpened { .. })).await;
        let deadline = Duration::from_millis(200);
        server.drain(deadline).await;
        assert!(held.await.unwrap());
        server.stop().await;
        let steps: Vec<DrainStep> = rest(&mut events)
            .await
            .into_iter()
            .filter_map(|event| match event {
                Event::Drain(step) => Some(step),
                _ => None,
            })
            .collect();
        let [
            DrainStep::Began { sessions: 1, min_accept: Duration::ZERO, deadline: said, .. },
            DrainStep::StoppedAccepting,
            DrainStep::Progress(going),
            ..,
            DrainStep::Done,
        ] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert_eq!((*said, going.sessions, going.streams), (deadline, 1, 1));
        let cut = steps.iter().filter(|step| matches!(step, DrainStep::Forced { sessions: 1, .. })).count();
        assert_eq!(cut, 1, "{steps:?}");
    });
}

#[test]
fn a_drain_of_nobody_takes_no_force() {
    run(async {
        let server = builder().start().await.unwrap();
        let mut events = server.events();
        server.drain(Duration::MAX).await;
        server.stop().await;
        let steps: Vec<String> = rest(&mut events).await.iter().map(name).collect();
        assert!(steps[0].contains("Began { sessions: 0"), "{steps:?}");
        assert_eq!(steps[1..], ["Drain(StoppedAccepting)", "Drain(Done)"].map(str::to_owned));
    });
}

#[test]
fn a_server_stops_once_however_many_ask() {
    run(async {
        let server = builder().start().await.unwrap();
        let (_send, connection) = connect(&server).await;
        let waiting = server.clone();
        let waiting = actix_rt::spawn(async move { waiting.stopped().await });
        assert!(server.stopped().now_or_never().is_none(), "it runs");
        tokio::join!(server.stop(), server.stop(), server.stopped());
        waiting.await.unwrap();
        connection.await.unwrap();
        server.stop().await;
        server.stopped().await;
        assert!(TcpStream::connect(address(&server)).await.is_err());
    });
}

#[test]
fn a_stop_that_was_given_up_can_be_ordered_again() {
    run(async {
        let server = builder().start().await.unwrap();
        let mut events = server.events();
        assert!(server.stop().now_or_never().is_none(), "it takes a while");
        server.stop().await;
        assert!(rest(&mut events).await.is_empty());
    });
}

/// An actor that reads nothing of its mailbox before it may.
struct Sleeper {
    may: Option<oneshot::Receiver<()>>,
    heard: mpsc::UnboundedSender<String>,
}

impl Actor for Sleeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4);
        let may = self.may.take();
        ctx.wait(
            async move {
                if let Some(may) = may {
                    may.await.ok();
                }
            }
            .into_actor(self),
        );
    }
}

impl Handler<Event> for Sleeper {
    type Result = ();
    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        self.heard.send(name(&event)).ok();
    }
}

struct Leave;

impl Message for Leave {
    type Result = ();
}

impl Handler<Leave> for Sleeper {
    type Result = ();
    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[test]
fn an_actor_whose_mailbox_is_full_is_told_what_it_lost_and_holds_nobody_up() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (wake, may) = oneshot::channel();
        let (heard, mut mailbox) = mpsc::unbounded_channel();
        let actor = Sleeper { may: Some(may), heard }.start();
        settle().await;
        let forwarding = forward(stage.host.events(), actor.clone().recipient());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        for stream in 0..10 {
            client.send(&get(2 * stream + 1)).await;
            client.until(|frame| frame.kind == 0).await;
            settle().await;
        }
        // One opening, ten streams with two each.
        let all = 21;
        wake.send(()).unwrap();
        settle().await;
        let mut first = Vec::new();
        while let Ok(name) = mailbox.try_recv() {
            first.push(name);
        }
        assert_eq!(first[..2], ["opened test h2c", "stream 1 GET /"].map(str::to_owned));
        assert!(first.len() < all, "{first:?}");
        client.send(&get(21)).await;
        settle().await;
        let lost = all - first.len();
        for wanted in [&*format!("lagged {lost}"), "stream 21 GET /", "stream 21 complete 200"] {
            assert_eq!(mailbox.recv().await.unwrap(), wanted);
        }
        // Who is gone is found to be at the next event.
        actor.send(Leave).await.unwrap();
        client.send(&get(23)).await;
        assert_eq!(forwarding.await.unwrap(), lost as u64);
        settle().await;
    });
}

#[test]
fn an_actor_that_keeps_up_loses_nothing() {
    run(async {
        let builder = builder();
        let (heard, mut mailbox) = mpsc::unbounded_channel();
        let forwarding = forward(builder.events(), Sleeper { may: None, heard }.start().recipient());
        let server = builder.start().await.unwrap();
        let (mut send, connection) = connect(&server).await;
        assert_eq!(ask(&mut send, "/").await, 200);
        drop(send);
        connection.await.unwrap();
        let mut names = Vec::new();
        while names.last().is_none_or(|name: &String| !name.starts_with("closed")) {
            names.push(mailbox.recv().await.unwrap());
        }
        assert_eq!(
            names[..3],
            ["opened test h2c", "stream 1 GET /", "stream 1 complete 200"].map(str::to_owned)
        );
        server.stop().await;
        assert_eq!(forwarding.await.unwrap(), 0);
    });
}

#[test]
fn the_outcome_of_a_stream_that_was_cut_off_is_told_before_the_end() {
    run_paused(async {
        let stage = Stage::new(service(|_| Reply::later(std::future::pending())));
        let mut events = stage.host.events();
        let (session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        settle().await;
        session.send(stagedoor_actors::CloseSession::new(CloseReason::Admin).now()).await.unwrap();
        client.goaways().await;
        drop(client);
        stage.ended().await;
        let heard = until(&mut events, is_closed).await;
        let [.., Event::StreamClosed { outcome: Outcome::SessionClosed, .. }, Event::SessionClosed { .. }] =
            &heard[..]
        else {
            panic!("{heard:?}")
        };
    });
}
