//! Deadlines that understand progress, on HTTP/2: what moves is extended, what does not is closed, each stream by
//! itself; silence alone is no stall. The clock stands still, and the pipe drips or stops.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::throttle::{DRIP, Pass, Throttle, Valve};
use common::*;
use http_body::Frame;
use stagedoor_actors::{Body, ListenerConfig, Reply, Request, Response, StreamTimeouts};
use stagedoor_metrics::{CloseReason, Outcome, TimeoutAction, TimeoutKind};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

const CANCEL: u8 = 8;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A session behind a valve, and a client that has said hello and opened its windows.
async fn behind_a_valve(stage: &Stage) -> (Raw, Rc<Valve>) {
    let (ours, theirs, valve) = Throttle::pair();
    stage.host.spawn_session(ours, None);
    let mut client = Raw::new(theirs);
    client.shake().await;
    client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
    client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
    client.until(|frame| frame.kind == 4 && frame.flags == 1).await;
    (client, valve)
}

fn timed(stage: &Stage, kind: TimeoutKind, action: TimeoutAction) -> u64 {
    stage.cells.timeouts[kind][action].get()
}

/// A body that is what a channel says.
struct Says(UnboundedReceiver<Bytes>);

impl http_body::Body for Says {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Gives back what it gets.
fn echo(request: Request) -> Reply {
    let (say, says) = unbounded_channel();
    let mut body = request.body;
    actix_rt::spawn(async move {
        while let Some(Ok(chunk)) = body.chunk().await {
            say.send(chunk).ok();
        }
    });
    Response::new(200).with_body(Body::stream(Says(says))).into()
}

/// Reads the whole body, then answers.
fn sink(request: Request) -> Reply {
    Reply::later(async move {
        let mut body = request.body;
        while let Some(Ok(_)) = body.chunk().await {}
        Response::text("read")
    })
}

/// Reads for so long, answering PING; says what else came.
async fn listen(client: &mut Raw, time: Duration) -> Vec<RawFrame> {
    let until = Instant::now() + time;
    let mut frames = Vec::new();
    while let Ok(frame) = tokio::time::timeout_at(until, client.next()).await {
        let Some(frame) = frame else { break };
        if frame.kind == 6 && frame.flags == 0 {
            client.send(&common::frame(6, 1, 0, &frame.payload)).await;
        } else {
            frames.push(frame);
        }
    }
    frames
}

fn resets(frames: &[RawFrame]) -> Vec<(u32, u8)> {
    frames.iter().filter(|frame| frame.kind == 3).map(|frame| (frame.stream, frame.payload[3])).collect()
}

/// HEADERS of `POST /` with a declared length of three digits.
fn post_of(stream: u32, length: &[u8; 3]) -> Vec<u8> {
    frame(1, 0x4, stream, &[&[0x83, 0x86, 0x84, 0x41, 1, b'a', 0x0f, 0x0d, 3], &length[..]].concat())
}

#[test]
fn a_reader_of_one_octet_a_second_is_extended_and_one_that_stops_is_closed() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (mut client, valve) = behind_a_valve(&stage).await;
        valve.writes.set(DRIP);
        client.send(&get(1)).await;
        sleep(seconds(600)).await;
        assert_eq!(stage.metrics.live().len(), 1, "lives");
        let extended = timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Extended);
        assert!((9..=10).contains(&extended), "{extended}");
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 0);
        valve.writes.set(Pass::Nothing);
        let stopped = Instant::now();
        stage.ends_once(CloseReason::WriteStall).await;
        let took = stopped.elapsed();
        assert!((seconds(59)..seconds(63)).contains(&took), "{took:?}");
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 1);
        drop(client);
    });
}

#[test]
fn an_upload_of_one_octet_a_second_is_extended_and_one_that_stops_is_reset() {
    run_paused(async {
        let stage = Stage::new(service(sink));
        let (mut client, valve) = behind_a_valve(&stage).await;
        client.send(&post_of(1, b"900")).await;
        settle().await;
        valve.reads.set(DRIP);
        let mut body = Vec::new();
        for _ in 0..90 {
            body.extend(frame(0, 0, 1, b"x"));
        }
        client.send(&body).await;
        // Ten octets of a frame bring one of the body.
        assert_eq!(resets(&listen(&mut client, seconds(600)).await), []);
        assert!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Extended) >= 8);
        valve.reads.set(Pass::Nothing);
        let stopped = Instant::now();
        let reset = client.until(|frame| frame.kind == 3).await;
        let took = stopped.elapsed();
        assert_eq!((reset.stream, reset.payload[3]), (1, CANCEL));
        assert!((seconds(50)..seconds(66)).contains(&took), "{took:?}");
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 1);
    });
}

#[test]
fn both_directions_may_drip_at_once() {
    run_paused(async {
        let stage = Stage::new(service(|request| match request.head.method() {
            "GET" => Response::text(vec![7; 1 << 20]).into(),
            _ => sink(request),
        }));
        let (mut client, valve) = behind_a_valve(&stage).await;
        valve.writes.set(DRIP);
        client.send(&post_of(1, b"900")).await;
        client.send(&get(3)).await;
        settle().await;
        valve.reads.set(DRIP);
        client.send(&frame(0, 0, 1, b"x").repeat(90)).await;
        sleep(seconds(600)).await;
        assert_eq!(stage.metrics.live().len(), 1, "lives");
        assert_eq!(stage.outcome(Outcome::Timeout), 0);
    });
}

#[test]
fn window_updates_and_pings_are_no_progress() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (mut client, valve) = behind_a_valve(&stage).await;
        valve.writes.set(Pass::Nothing);
        client.send(&get(1)).await;
        let started = Instant::now();
        let chatter = [
            frame(8, 0, 0, &1u32.to_be_bytes()),
            frame(8, 0, 1, &1u32.to_be_bytes()),
            frame(6, 0, 0, b"01234567"),
        ]
        .concat();
        let chat = async {
            // Few enough that no budget of ours is spent by them.
            for _ in 0..12 {
                tokio::io::AsyncWriteExt::write_all(&mut client.io, &chatter).await.ok();
                sleep(seconds(5)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = chat => {}
            () = stage.ends_once(CloseReason::WriteStall) => {}
        }
        let took = started.elapsed();
        assert!((seconds(60)..seconds(63)).contains(&took), "{took:?}");
    });
}

/// Window updates for a stream that give it nothing to send with are no progress of it either.
#[test]
fn a_stalled_stream_is_found_beside_a_busy_one() {
    run_paused(async {
        let stage = Stage::new(service(|request| match request.head.method() {
            "GET" => Response::text(vec![7; 100_000]).into(),
            _ => echo(request),
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
        client.send(&get(1)).await;
        client.send(&post(3)).await;
        let started = Instant::now();
        let mut reset = None;
        let mut echoed = 0;
        for second in 0..300u64 {
            client.send(&frame(0, 0, 3, b"busy")).await;
            let frames = listen(&mut client, seconds(1)).await;
            echoed += frames.iter().filter(|frame| frame.kind == 0 && frame.stream == 3).count();
            for (stream, code) in resets(&frames) {
                assert_eq!((stream, code, reset), (1, CANCEL, None));
                reset = Some(second);
            }
        }
        assert_eq!((started.elapsed().as_secs(), echoed), (300, 300));
        let reset = reset.expect("found");
        assert!((59..67).contains(&reset), "{reset}");
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
        assert_eq!(timed(&stage, TimeoutKind::WriteStall, TimeoutAction::Closed), 1);
        assert_eq!(stage.metrics.live().len(), 1);
    });
}

/// Opens a stream that is silent for ten times `stall` and then works.
fn silent(headers: &[u8]) {
    run_paused(async {
        let stage = Stage::new(service(echo));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&frame(1, 0x4, 1, headers)).await;
        client.send(&frame(0, 0, 1, b"before")).await;
        client.until(|frame| frame.kind == 0 && frame.payload == b"before").await;
        let frames = listen(&mut client, seconds(600)).await;
        assert_eq!(frames, [], "nobody says anything");
        client.send(&frame(0, 0, 1, b"after")).await;
        client.until(|frame| frame.kind == 0 && frame.payload == b"after").await;
        for kind in TimeoutKind::ALL {
            assert_eq!(timed(&stage, *kind, TimeoutAction::Closed), 0, "{kind}");
        }
    });
}

#[test]
fn a_silent_bidirectional_stream_is_no_stall() {
    silent(&[0x83, 0x86, 0x84, 0x41, 1, b'a']);
}

#[test]
fn a_silent_connect_tunnel_is_no_stall() {
    silent(&[&b"\x02\x07CONNECT"[..], &[0x41, 1, b'a']].concat());
}

#[test]
fn a_silent_extended_connect_tunnel_is_no_stall() {
    let head = [&b"\x02\x07CONNECT"[..], b"\x00\x09:protocol\x09websocket", &[0x86, 0x84, 0x41, 1, b'a']];
    silent(&head.concat());
}

#[test]
fn a_silent_event_stream_is_no_stall() {
    run_paused(async {
        let stage = Stage::new(service(|_| {
            let (say, says) = unbounded_channel();
            actix_rt::spawn(async move {
                for event in ["first", "second"] {
                    say.send(Bytes::from(event)).ok();
                    sleep(seconds(600)).await;
                }
            });
            Response::new(200).with_body(Body::stream(Says(says))).into()
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        let frames = listen(&mut client, seconds(601)).await;
        let events: Vec<_> = frames.iter().filter(|f| f.kind == 0).map(|f| f.payload.clone()).collect();
        assert_eq!(events, [b"first".to_vec(), b"second".to_vec()]);
    });
}

fn with(change: impl FnOnce(&mut stagedoor_actors::Timeouts)) -> ListenerConfig {
    let mut config = config();
    change(&mut config.timeouts);
    config
}

#[test]
fn a_stream_on_which_nothing_moves_is_reset_where_idle_is_on_for_streams() {
    run_paused(async {
        let stage = Stage::with(with(|timeouts| timeouts.stream_idle = seconds(30)), service(echo));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post(1)).await;
        client.send(&post(3)).await;
        let mut reset = None;
        for second in (0..120).step_by(5) {
            client.send(&frame(0, 0, 3, b"x")).await;
            for (stream, code) in resets(&listen(&mut client, seconds(5)).await) {
                assert_eq!((stream, code, reset), (1, CANCEL, None));
                reset = Some(second + 5);
            }
        }
        assert_eq!(reset, Some(35), "30 s and at most a tenth of it");
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
        assert_eq!(timed(&stage, TimeoutKind::Idle, TimeoutAction::Closed), 1);
        assert!(timed(&stage, TimeoutKind::Idle, TimeoutAction::Extended) >= 3);
    });
}

#[test]
fn a_hard_cap_ends_a_stream_whatever_it_does() {
    run_paused(async {
        let stage = Stage::with(with(|timeouts| timeouts.hard = seconds(100)), service(echo));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post(1)).await;
        for second in 0..100u64 {
            client.send(&frame(0, 0, 1, b"x")).await;
            let resets = resets(&listen(&mut client, Duration::from_millis(1000)).await);
            assert_eq!(resets.is_empty(), second < 99, "{second}");
        }
        assert_eq!(timed(&stage, TimeoutKind::Hard, TimeoutAction::Closed), 1);
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn an_upload_below_the_least_rate_is_reset_and_one_above_is_not() {
    for (octets, lives) in [(101, true), (99, false)] {
        run_paused(async {
            let stage = Stage::with(with(|timeouts| timeouts.min_rate = 100), service(sink));
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.shake().await;
            client.send(&frame(1, 0x4, 1, b"\x83\x86\x84\x41\x01a\x0f\x0d\x06900000")).await;
            let mut frames = Vec::new();
            for _ in 0..30 {
                client.send(&frame(0, 0, 1, &vec![b'x'; octets])).await;
                frames.extend(listen(&mut client, seconds(1)).await);
                if !resets(&frames).is_empty() {
                    break;
                }
            }
            assert_eq!(resets(&frames).is_empty(), lives, "{octets} octets a second");
            let closed = timed(&stage, TimeoutKind::MinRate, TimeoutAction::Closed);
            assert_eq!((closed, stage.outcome(Outcome::Timeout)), if lives { (0, 0) } else { (1, 1) });
        });
    }
}

#[test]
fn a_reader_below_the_least_rate_is_reset_and_one_above_is_not() {
    for (octets, lives) in [(12_000u32, true), (8_000, false)] {
        run_paused(async {
            let config = with(|timeouts| timeouts.min_rate = 10_000);
            let stage = Stage::with(config, service(|_| Response::text(vec![7; 2 << 20]).into()));
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.shake().await;
            client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
            client.send(&get(1)).await;
            let mut frames = Vec::new();
            for _ in 0..60 {
                frames.extend(listen(&mut client, seconds(1)).await);
                if !resets(&frames).is_empty() {
                    break;
                }
                client.send(&frame(8, 0, 1, &octets.to_be_bytes())).await;
            }
            assert_eq!(resets(&frames).is_empty(), lives, "{octets} octets a second");
            let closed = timed(&stage, TimeoutKind::MinRate, TimeoutAction::Closed);
            assert_eq!(closed, u64::from(!lives));
        });
    }
}

#[test]
fn a_handler_gives_its_stream_deadlines_of_its_own() {
    run_paused(async {
        // Stream 1 asks for five seconds, 3 for no cap at all, 5 takes what the listener says.
        let stage = Stage::with(
            with(|timeouts| timeouts.hard = seconds(100)),
            service(|request| {
                let hard = match request.stream.get() {
                    1 => Some(seconds(5)),
                    3 => Some(Duration::ZERO),
                    _ => None,
                };
                let own = StreamTimeouts { hard, ..StreamTimeouts::default() };
                request.handle().set_timeouts(own).unwrap();
                echo(request)
            }),
        );
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        for stream in [1, 3, 5] {
            client.send(&post(stream)).await;
        }
        assert_eq!(resets(&listen(&mut client, Duration::from_millis(4_990)).await), []);
        assert_eq!(resets(&listen(&mut client, Duration::from_millis(20)).await), [(1, CANCEL)]);
        assert_eq!(resets(&listen(&mut client, seconds(600)).await), [(5, CANCEL)]);
        assert_eq!(timed(&stage, TimeoutKind::Hard, TimeoutAction::Closed), 2);
    });
}

#[test]
fn a_stream_may_stall_longer_than_others_when_its_handler_says_so() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            if request.stream.get() == 3 {
                let own = StreamTimeouts { stall: Some(Duration::ZERO), ..StreamTimeouts::default() };
                request.handle().set_timeouts(own).unwrap();
            }
            Response::text(vec![7; 100_000]).into()
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
        client.send(&get(1)).await;
        client.send(&get(3)).await;
        assert_eq!(resets(&listen(&mut client, seconds(600)).await), [(1, CANCEL)]);
        client.send(&frame(8, 0, 3, &(1u32 << 20).to_be_bytes())).await;
        client.until(|frame| frame.kind == 0 && frame.flags == 1 && frame.stream == 3).await;
    });
}

#[test]
fn a_handler_that_begins_to_read_late_has_the_whole_time() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            Reply::later(async move {
                sleep(seconds(300)).await;
                let mut body = request.body;
                while let Some(Ok(_)) = body.chunk().await {}
                Response::text("read")
            })
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post_of(1, b"100")).await;
        assert_eq!(resets(&listen(&mut client, seconds(359)).await), []);
        assert_eq!(resets(&listen(&mut client, seconds(2)).await), [(1, CANCEL)], "exactly 60 s of silence");
    });
}

#[test]
fn empty_data_is_no_progress() {
    run_paused(async {
        let stage = Stage::new(service(sink));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post_of(1, b"100")).await;
        let mut found = Vec::new();
        for _ in 0..14 {
            client.send(&frame(0, 0, 1, b"")).await;
            found.extend(resets(&listen(&mut client, seconds(5)).await));
            if !found.is_empty() {
                break;
            }
        }
        assert_eq!(found, [(1, CANCEL)]);
    });
}

#[test]
fn keepalive_may_run_without_streams_and_records_the_round_trip() {
    run_paused(async {
        let change = |timeouts: &mut stagedoor_actors::Timeouts| {
            timeouts.keepalive_without_streams = true;
            timeouts.keepalive_ping = seconds(10);
            timeouts.idle = Duration::ZERO;
        };
        let stage = Stage::with(with(change), hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        let ping = client.until(|frame| frame.kind == 6).await;
        sleep(seconds(2)).await;
        client.send(&frame(6, 1, 0, &ping.payload)).await;
        settle().await;
        assert_eq!(stage.cells.h2_ping_rtt.count(), 1);
        let answered = Instant::now();
        client.until(|frame| frame.kind == 6).await;
        assert_eq!(answered.elapsed().as_secs(), 10);
        assert_eq!(client.goaways().await, [0]);
        assert_eq!(answered.elapsed().as_secs(), 30);
        drop(client);
        stage.ends_once(CloseReason::KeepaliveTimeout).await;
    });
}

/// What the peer said while nobody read is not late when it is read.
#[test]
fn deadlines_of_the_peer_do_not_run_while_we_do_not_read() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (ours, theirs, valve) = Throttle::pair();
        stage.host.spawn_session(ours, None);
        let mut client = Raw::new(theirs);
        client.send(&hello_octets()).await;
        client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
        client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
        client.until(|frame| frame.kind == 4 && frame.flags == 0).await;
        // So much is asked for that the session stops listening until its answers are taken.
        valve.writes.set(Pass::OneEach(Duration::from_millis(100)));
        for stream in 0..20 {
            client.send(&get(2 * stream + 1)).await;
        }
        client.send(&frame(6, 0, 0, b"01234567").repeat(300)).await;
        sleep(seconds(9)).await;
        client.send(&settings_ack()).await;
        sleep(seconds(30)).await;
        assert_eq!(stage.metrics.live().len(), 1, "our SETTINGS are answered, but nobody read it");
        valve.writes.set(Pass::All);
        let answers = async {
            let mut ends = 0;
            while ends < 20 {
                let frame = client.next().await.expect("lives");
                ends += usize::from(frame.kind == 0 && frame.flags == 1);
            }
        };
        answers.await;
        sleep(seconds(30)).await;
        assert_eq!(stage.metrics.live().len(), 1, "the answer was heard");
    });
}

/// A session that was kept from running hears the peer out before it judges.
#[test]
fn what_lies_in_the_socket_is_read_before_a_deadline_is_judged() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&hello_octets()).await;
        client.until(|frame| frame.kind == 4 && frame.flags == 0).await;
        settle().await;
        client.send(&settings_ack()).await;
        client.send(&get(1)).await;
        // Nobody runs between the writes above and this.
        tokio::time::advance(seconds(11)).await;
        client.until(|frame| frame.kind == 0 && frame.flags == 1).await;
        assert_eq!(timed(&stage, TimeoutKind::Settings, TimeoutAction::Closed), 0);
    });
}

/// A session over TLS behind a valve, which sits below TLS, and a client above it.
async fn tls_behind_a_valve() -> (Stage, Raw, Rc<Valve>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let config = ListenerConfig { tls: Some(std::sync::Arc::new(server)), ..config() };
    let stage = Stage::with(config, service(|_| Response::text(vec![7; 1 << 20]).into()));
    let (ours, theirs, valve) = Throttle::pair();
    stage.host.spawn_session(ours, None);
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let mut tls = connector.connect(name, theirs).await.unwrap();
    let (mut inner, outer) = tokio::io::duplex(1 << 20);
    actix_rt::spawn(async move { tokio::io::copy_bidirectional(&mut tls, &mut inner).await.ok() });
    let mut client = Raw::new(outer);
    client.shake().await;
    client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
    client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
    client.until(|frame| frame.kind == 4 && frame.flags == 1).await;
    (stage, client, valve)
}

/// PING every five seconds until the session ends; says how long that took.
async fn pings_until_it_ends(stage: &Stage, client: &mut Raw, reason: CloseReason) -> Duration {
    let started = Instant::now();
    let ping = frame(6, 0, 0, b"01234567");
    let chat = async {
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut client.io, &ping).await.ok();
            sleep(seconds(5)).await;
        }
    };
    tokio::select! {
        () = chat => {}
        ended = stage.ended() => assert_eq!(ended.reason, reason),
    }
    started.elapsed()
}

#[test]
fn under_tls_too_only_octets_that_leave_are_progress() {
    run_paused(async {
        let (stage, mut client, valve) = tls_behind_a_valve().await;
        valve.writes.set(DRIP);
        client.send(&get(1)).await;
        sleep(seconds(600)).await;
        assert_eq!(stage.metrics.live().len(), 1, "lives");
        valve.writes.set(Pass::Nothing);
        let took = pings_until_it_ends(&stage, &mut client, CloseReason::WriteStall).await;
        assert!((seconds(59)..seconds(63)).contains(&took), "{took:?}");
    });
}

/// A short answer fits into what TLS holds: nothing waits in the session, all of it for the socket.
#[test]
fn octets_that_only_tls_holds_are_a_backlog() {
    run_paused(async {
        let (stage, mut client, valve) = tls_behind_a_valve().await;
        valve.writes.set(Pass::Nothing);
        let took = pings_until_it_ends(&stage, &mut client, CloseReason::WriteStall).await;
        assert!((seconds(59)..seconds(63)).contains(&took), "{took:?}");
    });
}
