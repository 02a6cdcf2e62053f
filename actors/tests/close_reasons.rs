//! Every reason goes the same way down: streams told once, the right GOAWAY, the socket closed, the registry
//! empty, metrics observed once, the listener told once.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::*;
use stagedoor_actors::{CloseSession, ListenerConfig, MaxAge, Response};
use stagedoor_metrics::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Outcome, TimeoutAction, TimeoutKind,
};
use stagedoor_protocol::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Opens a stream whose handler never answers, does `drive`, reads to the end, and looks at what is left.
fn closes<F>(config: ListenerConfig, reason: CloseReason, goaways: &[ErrorCode], drive: F)
where
    F: AsyncFnOnce(&mut Raw, &actix::Addr<stagedoor_actors::Session>),
{
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::with(config, service);
        let (session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        settle().await;
        assert_eq!(stage.cells.streams_active[stagedoor_metrics::Protocol::H2c].get(), 1);
        drive(&mut client, &session).await;
        let codes = client.goaways().await;
        let expected: Vec<u32> = goaways.iter().map(|code| code.0).collect();
        assert_eq!(codes, expected, "GOAWAY codes for {reason}");
        drop(client);
        stage.ends_once(reason).await;
        assert_eq!(dropped.get(), 1, "the handler was dropped once");
        assert_eq!(stage.outcome(Outcome::SessionClosed), 1, "{reason}");
        assert!(!session.connected());
    });
}

const NONE: ErrorCode = ErrorCode::NO_ERROR;

#[test]
fn how_many_resets_are_a_flood_is_for_the_listener_to_say() {
    run_paused(async {
        let mut config = config();
        config.options.budgets.resets_received = stagedoor_actors::Rate { burst: 6, per_second: 1 };
        let stage = Stage::with(config, forever().0);
        let (session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        let reset = |id| [get(id), frame(3, 0, id, &[0, 0, 0, 8])].concat();
        for id in [1, 3, 5] {
            client.send(&reset(id)).await;
        }
        settle().await;
        assert!(session.connected(), "three before their answers, which count double, are allowed");
        client.send(&reset(7)).await;
        assert_eq!(client.goaways().await, [ErrorCode::ENHANCE_YOUR_CALM.0]);
        drop(client);
        stage.ends_once(CloseReason::Abuse).await;
        assert_eq!(stage.cells.abuse[AbuseKind::RapidReset].get(), 1);
    });
}

/// The orders of others.
#[test]
fn orders_end_it_with_their_code() {
    use CloseReason as R;
    for (reason, code) in [
        (R::Shutdown, NONE),
        (R::Overload, ErrorCode::ENHANCE_YOUR_CALM),
        (R::Memory, ErrorCode::ENHANCE_YOUR_CALM),
        (R::Other, ErrorCode::INTERNAL_ERROR),
        (R::Upgraded, NONE),
    ] {
        closes(config(), reason, &[code], async |_, session| {
            session.send(CloseSession::new(reason)).await.unwrap();
        });
    }
}

/// Graceful orders: GOAWAY(2^31-1), GOAWAY(last), and at the deadline the cut.
#[test]
fn graceful_orders_drain_and_are_cut_at_the_deadline() {
    for reason in [CloseReason::Drain, CloseReason::Admin, CloseReason::Limit] {
        closes(config(), reason, &[NONE, NONE, NONE], async |_, session| {
            let order = CloseSession::new(reason).with_grace(Duration::from_secs(5));
            session.send(order).await.unwrap();
        });
    }
}

#[test]
fn max_age_drains() {
    let mut config = config();
    let (after, grace) = (Duration::from_secs(20), Duration::from_secs(3));
    config.limits.session_max_age = Some(MaxAge { after, jitter: 0.1, grace });
    closes(config, CloseReason::MaxAge, &[NONE, NONE, NONE], async |_, _| {});
}

#[test]
fn a_later_order_shortens_the_drain_and_does_not_change_the_reason() {
    closes(config(), CloseReason::Drain, &[NONE, ErrorCode::CANCEL], async |client, session| {
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        // The first GOAWAY is before this PING.
        client.until(|frame| frame.kind == 6 && frame.flags == 0).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let started = tokio::time::Instant::now();
        for _ in 0..3 {
            let order = CloseSession::new(CloseReason::Admin).now().with_code(ErrorCode::CANCEL);
            session.send(order).await.ok();
        }
        assert!(started.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn the_client_closes() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        settle().await;
        drop(client);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!((dropped.get(), stage.outcome(Outcome::SessionClosed)), (1, 1));
    });
}

#[test]
fn the_client_says_goaway_and_its_streams_may_finish() {
    run_paused(async {
        let stage = Stage::new(service(|_| {
            stagedoor_actors::Reply::later(async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Response::text("late")
            })
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.send(&frame(7, 0, 0, &[0; 8])).await;
        let body = client.until(|frame| frame.kind == 0).await;
        assert_eq!((body.payload.as_slice(), body.flags), (&b"late"[..], 1));
        client.goaways().await;
        drop(client);
        stage.ends_once(CloseReason::ClientGoaway).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn the_client_says_goaway_with_an_error() {
    closes(config(), CloseReason::PeerError, &[NONE], async |client, _| {
        client.send(&frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])).await;
    });
}

#[test]
fn the_peer_breaks_the_protocol() {
    closes(config(), CloseReason::ProtocolError, &[ErrorCode::PROTOCOL_ERROR], async |client, _| {
        client.send(&frame(0, 0, 9, b"on an idle stream")).await;
    });
    closes(config(), CloseReason::ProtocolError, &[ErrorCode::COMPRESSION_ERROR], async |client, _| {
        client.send(&frame(1, 5, 3, &[0x80])).await;
    });
    closes(config(), CloseReason::ProtocolError, &[ErrorCode::FRAME_SIZE_ERROR], async |client, _| {
        client.send(&frame(6, 0, 0, &[1, 2, 3])).await;
    });
}

#[test]
fn a_flood_is_abuse() {
    closes(config(), CloseReason::Abuse, &[ErrorCode::ENHANCE_YOUR_CALM], async |client, _| {
        let ping = frame(6, 0, 0, b"01234567");
        // The pipe breaks when the session had enough.
        client.io.write_all(&ping.repeat(1000)).await.ok();
    });
}

#[test]
fn deadlines_of_the_machine() {
    closes(config(), CloseReason::HeaderTimeout, &[ErrorCode::ENHANCE_YOUR_CALM], async |client, _| {
        client.send(&frame(1, 1, 3, &[0x82])).await;
    });
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&hello_octets()).await;
        client.send(&get(1)).await;
        assert_eq!(client.goaways().await, [ErrorCode::SETTINGS_TIMEOUT.0]);
        stage.ends_once(CloseReason::SettingsTimeout).await;
        assert_eq!(dropped.get(), 1);
        assert_eq!(stage.cells.timeouts[TimeoutKind::Settings][TimeoutAction::Closed].get(), 1);
    });
}

#[test]
fn a_preface_that_does_not_come() {
    for octets in [&b""[..], b"PRI * HT", PREFACE] {
        run_paused(async {
            let stage = Stage::new(hello());
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.send(octets).await;
            client.goaways().await;
            stage.ends_once(CloseReason::PrefaceTimeout).await;
            assert_eq!(stage.cells.timeouts[TimeoutKind::Preface][TimeoutAction::Closed].get(), 1);
        });
    }
}

#[test]
fn idle_runs_without_streams_and_is_not_renewed_by_control_frames() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 0).await;
        let started = tokio::time::Instant::now();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.send(&frame(6, 0, 0, b"01234567")).await;
            client.until(|frame| frame.kind == 6).await;
        }
        assert_eq!(client.goaways().await, [0, 0]);
        let took = started.elapsed();
        assert!((119..123).contains(&took.as_secs()), "{took:?}");
        drop(client);
        stage.ends_once(CloseReason::IdleTimeout).await;
        assert_eq!(stage.cells.timeouts[TimeoutKind::Idle][TimeoutAction::Closed].get(), 1);
    });
}

#[test]
fn a_peer_that_takes_nothing() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (_session, io) = stage.connect_buffered(16 << 10);
        let mut client = Raw::new(io);
        client.shake().await;
        // Windows are wide open, the pipe is not read.
        client.send(&frame(8, 0, 0, &(1u32 << 30).to_be_bytes())).await;
        client.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
        client.send(&get(1)).await;
        stage.ends_once(CloseReason::WriteStall).await;
        assert_eq!(stage.cells.timeouts[TimeoutKind::WriteStall][TimeoutAction::Closed].get(), 1);
        drop(client);
    });
}

#[test]
fn a_peer_that_does_not_answer_pings() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        let started = tokio::time::Instant::now();
        client.until(|frame| frame.kind == 6).await;
        assert_eq!(started.elapsed().as_secs(), 60);
        assert_eq!(client.goaways().await, [0]);
        assert_eq!(started.elapsed().as_secs(), 80);
        drop(client);
        stage.ends_once(CloseReason::KeepaliveTimeout).await;
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn handlers_that_panic_spend_the_budget() {
    run_paused(async {
        let mut config = config();
        config.options.budgets.panics = 3;
        let stage = Stage::with(config, service(|_| panic!("on purpose")));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        for stream in [1, 3, 5] {
            client.send(&get(stream)).await;
        }
        let mut heads = 0;
        let mut code = None;
        while let Some(frame) = client.next().await {
            heads += usize::from(frame.kind == 1);
            if frame.kind == 7 {
                code = Some(frame.payload[7]);
            }
        }
        assert_eq!((heads, code), (3, Some(2)), "each was answered");
        drop(client);
        stage.ends_once(CloseReason::PanicBudget).await;
        assert_eq!(stage.outcome(Outcome::Panic), 3);
        assert_eq!(stage.shard.actors()[ActorKind::Stream].panics.get(), 3);
    });
}

/// A pipe that fails, or panics, when it is asked for more.
struct Bad<T> {
    inner: T,
    fault: fn() -> io::Error,
    armed: Rc<std::cell::Cell<bool>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Bad<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.armed.get() {
            return Poll::Ready(Err((self.fault)()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bad<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, octets)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn fails(reason: CloseReason, fault: fn() -> io::Error) {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let armed = Rc::new(std::cell::Cell::new(false));
        let _session = stage.host.spawn_session(Bad { inner: ours, fault, armed: armed.clone() }, None);
        let mut client = Raw::new(theirs);
        client.shake().await;
        client.send(&get(1)).await;
        settle().await;
        armed.set(true);
        client.send(&frame(6, 0, 0, b"01234567")).await;
        client.goaways().await;
        stage.ends_once(reason).await;
        assert_eq!((dropped.get(), stage.outcome(Outcome::SessionClosed)), (1, 1));
    });
}

#[test]
fn the_socket_fails() {
    fails(CloseReason::IoError, || io::Error::other("cable cut"));
}

#[test]
fn a_panic_of_the_session_itself_goes_the_same_way() {
    fails(CloseReason::Panic, || panic!("a bug"));
}

fn tls_config() -> ListenerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    ListenerConfig { tls: Some(std::sync::Arc::new(tls)), ..config() }
}

#[test]
fn tls_that_fails_and_tls_that_does_not_come() {
    run_paused(async {
        let stage = Stage::with(tls_config(), hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.goaways().await;
        stage.ends_once(CloseReason::TlsError).await;
        assert_eq!(stage.cells.connections[ConnectionResult::TlsError].get(), 1);
    });
    run_paused(async {
        let stage = Stage::with(tls_config(), hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&[22, 3, 1]).await;
        let started = tokio::time::Instant::now();
        client.goaways().await;
        assert_eq!(started.elapsed().as_secs(), 10);
        stage.ends_once(CloseReason::HandshakeTimeout).await;
        assert_eq!(stage.cells.connections[ConnectionResult::Timeout].get(), 1);
        assert_eq!(stage.cells.timeouts[TimeoutKind::Handshake][TimeoutAction::Closed].get(), 1);
    });
}

#[test]
fn the_arbiter_stops_under_its_sessions() {
    let dropped = {
        let (service, dropped) = forever();
        let metrics = std::cell::RefCell::new(None);
        run(async {
            let stage = Stage::new(service);
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.shake().await;
            client.send(&get(1)).await;
            settle().await;
            *metrics.borrow_mut() = Some((stage.metrics.clone(), stage.cells.clone()));
        });
        let (metrics, cells) = metrics.into_inner().unwrap();
        assert!(metrics.live().is_empty());
        let closed = &cells.sessions_closed[stagedoor_metrics::Protocol::H2c];
        assert_eq!(closed[CloseReason::Shutdown].get() + closed[CloseReason::ClientClosed].get(), 1);
        dropped
    };
    assert_eq!(dropped.get(), 1);
}

/// Every reason is driven above, or is an order like those above.
#[test]
fn no_reason_is_forgotten() {
    assert_eq!(CloseReason::COUNT, 25);
}
