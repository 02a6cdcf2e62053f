//! Where the time of a stream goes: one cause at any instant, all of its life, in scenes that one cause dominates.
//! The clock stands still, so the parts are exact.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::throttle::{Pass, Throttle};
use common::*;
use stagedoor_actors::{Host, Reply, Request, Response, Service, SessionEvent, SessionHandle};
use stagedoor_metrics::{CloseReason, Outcome, RouteId, WaitOn};
use tokio::time::sleep;

/// Lives and parts of the streams that closed.
type Told = Rc<RefCell<Vec<(u32, Outcome, Duration, [Duration; 7])>>>;

fn listened(host: &Host) -> Told {
    let told = Told::default();
    let kept = Rc::clone(&told);
    host.observe(move |_: &SessionHandle, event: &SessionEvent| {
        if let SessionEvent::StreamClosed { id, outcome, lasted, waits, .. } = event {
            kept.borrow_mut().push((id.get(), *outcome, *lasted, *waits));
        }
    });
    told
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The parts of one stream add up to its life, and to `life`; `part` of that went to `on`.
fn is_spent(told: &Told, stream: u32, on: WaitOn, part: Duration, life: Duration) {
    let told = told.borrow();
    let (_, _, lasted, waits) = told.iter().find(|(id, ..)| *id == stream).expect("the stream closed");
    assert_eq!(waits.iter().sum::<Duration>(), *lasted, "{waits:?}");
    let named: Vec<_> = WaitOn::LABELS.iter().zip(waits).filter(|(_, wait)| !wait.is_zero()).collect();
    let (least, most) = (part.saturating_sub(Duration::from_millis(20)), part + Duration::from_millis(20));
    assert!((least..=most).contains(&waits[on as usize]), "{part:?} of {on} in {named:?}");
    let (least, most) = (life.saturating_sub(Duration::from_millis(20)), life + Duration::from_millis(20));
    assert!((least..=most).contains(lasted), "{lasted:?}, not {life:?}");
}

/// What the cells of the route say.
fn counted(stage: &Stage, on: WaitOn) -> Duration {
    let cells = stage.shard.route(stage.listener, RouteId::UNMATCHED);
    Duration::from_nanos(cells.stream_wait_nanos[on].get())
}

async fn shaken(stage: &Stage) -> Raw {
    let (_, io) = stage.connect();
    let mut client = Raw::new(io);
    client.shake().await;
    client
}

fn window(stream: u32, octets: u32) -> Vec<u8> {
    frame(8, 0, stream, &octets.to_be_bytes())
}

async fn end_of(client: &mut Raw, stream: u32) {
    client.until(|frame| frame.stream == stream && frame.kind == 0 && frame.flags & 1 == 1).await;
    settle().await;
}

fn bulk(octets: usize) -> Rc<dyn Service> {
    service(move |_| Response::text(vec![7; octets]).into())
}

/// Reads the whole body, then answers.
fn sink() -> Rc<dyn Service> {
    service(|request: Request| {
        Reply::later(async move {
            let mut body = request.body;
            while let Some(Ok(_)) = body.chunk().await {}
            Response::text("read")
        })
    })
}

#[test]
fn a_slow_client_body_is_waited_for_as_request_body() {
    run_paused(async {
        let stage = Stage::new(sink());
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&post(1)).await;
        for _ in 0..5 {
            sleep(seconds(2)).await;
            client.send(&frame(0, 0, 1, b"more")).await;
        }
        client.send(&frame(0, 1, 1, b"end")).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::RequestBody, seconds(10), seconds(10));
        assert_eq!(counted(&stage, WaitOn::RequestBody).as_secs(), 10);
    });
}

#[test]
fn a_slow_handler_is_handler() {
    run_paused(async {
        let stage = Stage::new(service(|_| {
            Reply::later(async {
                sleep(seconds(7)).await;
                Response::text("at last")
            })
        }));
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&get(1)).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::Handler, seconds(7), seconds(7));
    });
}

#[test]
fn a_slow_upstream_is_upstream_as_long_as_the_handler_says_so() {
    run_paused(async {
        let stage = Stage::new(service(|request: Request| {
            let handle = request.handle();
            Reply::later(async move {
                sleep(seconds(1)).await;
                handle.waits_for_upstream(true);
                sleep(seconds(8)).await;
                handle.waits_for_upstream(false);
                sleep(seconds(1)).await;
                Response::text("passed on")
            })
        }));
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&get(1)).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::Upstream, seconds(8), seconds(10));
        is_spent(&told, 1, WaitOn::Handler, seconds(2), seconds(10));
    });
}

#[test]
fn a_shut_stream_window_is_peer_stream_window() {
    run_paused(async {
        let stage = Stage::new(bulk(100_000));
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&window(0, 1 << 20)).await;
        client.send(&get(1)).await;
        sleep(seconds(30)).await;
        client.send(&window(1, 1 << 20)).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::PeerStreamWindow, seconds(30), seconds(30));
    });
}

#[test]
fn a_shut_connection_window_is_peer_connection_window() {
    run_paused(async {
        let stage = Stage::new(bulk(100_000));
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
        client.send(&get(1)).await;
        sleep(seconds(40)).await;
        client.send(&window(0, 1 << 20)).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::PeerConnectionWindow, seconds(40), seconds(40));
    });
}

/// A session whose socket takes nothing, and a client that has opened every window.
async fn stuffed(stage: &Stage) -> (Raw, Rc<common::throttle::Valve>) {
    let (ours, theirs, valve) = Throttle::pair();
    stage.host.spawn_session(ours, None);
    let mut client = Raw::new(theirs);
    client.shake().await;
    client.send(&window(0, 1 << 30)).await;
    client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
    client.until(|frame| frame.kind == 4 && frame.flags == 1).await;
    valve.writes.set(Pass::Nothing);
    (client, valve)
}

#[test]
fn a_socket_that_takes_nothing_is_socket_for_short_answers_too() {
    run_paused(async {
        let stage = Stage::new(bulk(1000));
        let told = listened(&stage.host);
        let (mut client, valve) = stuffed(&stage).await;
        client.send(&get(1)).await;
        sleep(seconds(20)).await;
        assert!(told.borrow().is_empty(), "its octets have not left");
        assert_eq!(stage.outcome(Outcome::Complete), 0);
        valve.writes.set(Pass::All);
        client.send(&frame(6, 0, 0, &[0; 8])).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::Socket, seconds(20), seconds(20));
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn streams_behind_another_one_wait_for_the_scheduler() {
    run_paused(async {
        // The first fills what is kept ready for the socket; the second is not framed before it is done.
        let stage = Stage::new(bulk(4 << 20));
        let told = listened(&stage.host);
        let (mut client, valve) = stuffed(&stage).await;
        client.send(&get(1)).await;
        settle().await;
        client.send(&get(3)).await;
        sleep(seconds(25)).await;
        valve.writes.set(Pass::All);
        client.send(&frame(6, 0, 0, &[0; 8])).await;
        for stream in [1, 3] {
            end_of(&mut client, stream).await;
        }
        is_spent(&told, 1, WaitOn::Socket, seconds(25), seconds(25));
        is_spent(&told, 3, WaitOn::Scheduler, seconds(25), seconds(25));
    });
}

#[test]
fn what_has_not_left_when_the_session_is_cut_off_is_not_complete() {
    run_paused(async {
        let stage = Stage::new(bulk(1000));
        let told = listened(&stage.host);
        let (mut client, _valve) = stuffed(&stage).await;
        client.send(&get(1)).await;
        sleep(seconds(3)).await;
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
        let told = told.borrow();
        let [(1, outcome, lasted, waits)] = told[..] else { panic!("{told:?}") };
        assert_eq!(outcome, Outcome::SessionClosed);
        assert_eq!(waits.iter().sum::<Duration>(), lasted);
    });
}

#[test]
fn long_streams_are_counted_while_they_live() {
    run_paused(async {
        let stage = Stage::new(service(|_| Reply::later(std::future::pending())));
        let mut client = shaken(&stage).await;
        client.send(&get(1)).await;
        sleep(seconds(35)).await;
        let live = stage.metrics.live().snapshot();
        assert!(counted(&stage, WaitOn::Handler) >= seconds(25), "{:?}", counted(&stage, WaitOn::Handler));
        let listed = live[0].streams();
        assert_eq!((listed.len(), listed[0].id(), listed[0].on()), (1, 1, WaitOn::Handler));
        let spent = Duration::from_nanos(listed[0].waits[WaitOn::Handler].get());
        let now = tokio::time::Instant::now().into_std();
        assert_eq!((spent + listed[0].waited(now)).as_secs(), 35, "live to the moment");
        client.send(&frame(3, 0, 1, &[0, 0, 0, 8])).await;
        settle().await;
        assert!(live[0].streams().is_empty());
        assert_eq!(counted(&stage, WaitOn::Handler).as_secs(), 35);
    });
}

#[test]
fn an_answer_in_its_first_turn_costs_no_time() {
    run_paused(async {
        let stage = Stage::new(hello());
        let told = listened(&stage.host);
        let mut client = shaken(&stage).await;
        client.send(&get(1)).await;
        end_of(&mut client, 1).await;
        is_spent(&told, 1, WaitOn::Handler, Duration::ZERO, Duration::ZERO);
    });
}

/// A connection of HTTP/1.1 that has sent `request`.
async fn http1(stage: &Stage, request: &[u8]) -> tokio::io::DuplexStream {
    use tokio::io::AsyncWriteExt as _;
    let (_, mut io) = stage.connect();
    io.write_all(request).await.unwrap();
    io
}

#[test]
fn http1_has_the_same_causes() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    run_paused(async {
        let stage = Stage::new(sink());
        let told = listened(&stage.host);
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n";
        let mut io = http1(&stage, head).await;
        sleep(seconds(4)).await;
        io.write_all(b"12345678").await.unwrap();
        let mut answer = [0; 12];
        io.read_exact(&mut answer).await.unwrap();
        settle().await;
        is_spent(&told, 1, WaitOn::RequestBody, seconds(4), seconds(4));

        // The pipe is small and the answer is not: it waits for the socket.
        let stage = Stage::new(bulk(300_000));
        let told = listened(&stage.host);
        let (_, mut io) = stage.connect_buffered(4096);
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        sleep(seconds(6)).await;
        let mut answer = vec![0; 300_000];
        io.read_exact(&mut answer).await.unwrap();
        let mut rest = [0; 4096];
        while told.borrow().is_empty() {
            assert!(io.read(&mut rest).await.unwrap() > 0);
            settle().await;
        }
        is_spent(&told, 1, WaitOn::Socket, seconds(6), seconds(6));
    });
}

#[test]
fn who_does_not_observe_charges_and_keeps_nothing() {
    run_paused(async {
        let mut config = config();
        config.observed = false;
        let stage = Stage::with(
            config,
            service(|_| {
                Reply::later(async {
                    sleep(seconds(3)).await;
                    Response::text("late")
                })
            }),
        );
        let mut client = shaken(&stage).await;
        client.send(&get(1)).await;
        end_of(&mut client, 1).await;
        assert_eq!(counted(&stage, WaitOn::Handler), Duration::ZERO);
        assert_eq!(stage.outcome(Outcome::Complete), 0);
        let cells = stage.shard.route(stage.listener, RouteId::UNMATCHED);
        assert_eq!(cells.request_duration.count(), 0);
        assert_eq!(stage.metrics.live().snapshot()[0].streams_total.get(), 1, "who is connected is known");
    });
}
