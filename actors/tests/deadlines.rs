//! Every deadline twice: on a clock that stands still, with its default, and over a socket, with a short one. The absolute ones
//! (handshake, preface, header block, SETTINGS) are not moved by octets that drip; idle and keepalive not by control frames.
//!
//! | deadline | fake clock | socket |
//! | --- | --- | --- |
//! | TLS handshake, preface, header block, SETTINGS, unknown protocol, after GOAWAY | here | here |
//! | idle, stall, keepalive, drain | `close_reasons.rs`, `timeouts.rs` | here |
//! | least rate of a body, both directions, set | `timeouts.rs` (`below_the_least_rate`), here with the figures of docs/security.md | - |

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use stagedoor_actors::{
    Body, ListenerConfig, Reply, Response, ServerBuilder, ServerHandle, Service, ServiceFactory, Timeouts,
};
use stagedoor_metrics::{CloseReason, Metrics, Outcome, Protocol, TimeoutAction, TimeoutKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn tls_config() -> ListenerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    ListenerConfig { tls: Some(Arc::new(tls)), ..config() }
}

/// A record of a handshake that says that 500 octets follow.
const HELLO_BEGUN: &[u8] = &[22, 3, 1, 1, 244, 1];

// --- the fake clock ---

/// Octets that drip, one a second, after `first`; the session ends after `after` seconds for `reason`.
fn drips(config: ListenerConfig, first: &'static [u8], drip: u8, after: u64, reason: CloseReason) {
    run_paused(async move {
        let stage = Stage::with(config, hello());
        let (_session, mut io) = stage.connect();
        let started = tokio::time::Instant::now();
        io.write_all(first).await.unwrap();
        let ended = loop {
            tokio::select! {
                ended = stage.ended() => break ended,
                () = tokio::time::sleep(seconds(1)) => drop(io.write_all(&[drip]).await),
            }
        };
        assert_eq!(ended.reason, reason);
        let took = started.elapsed().as_secs();
        // The linger behind it is a second.
        assert!((after..=after + 2).contains(&took), "{reason}: {took} s");
    });
}

#[test]
fn a_handshake_that_drips_ends_all_the_same() {
    drips(tls_config(), HELLO_BEGUN, 7, 10, CloseReason::HandshakeTimeout);
}

#[test]
fn a_preface_that_drips_ends_all_the_same() {
    // Twenty-four octets take longer than ten seconds.
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, mut io) = stage.connect();
        for octet in PREFACE {
            tokio::time::sleep(Duration::from_millis(900)).await;
            if io.write_all(&[*octet]).await.is_err() {
                break;
            }
        }
        stage.ends_once(CloseReason::PrefaceTimeout).await;
        assert_eq!(stage.cells.timeouts[TimeoutKind::Preface][TimeoutAction::Closed].get(), 1);
    });
}

#[test]
fn a_header_block_that_drips_ends_all_the_same() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        let started = tokio::time::Instant::now();
        client.send(&frame(1, 1, 1, &[0x82])).await;
        // CONTINUATION in octets, one in two seconds.
        let next = frame(9, 0, 1, &[0x86]);
        let mut said = 0;
        while client.io.write_all(&next[said..said + 1]).await.is_ok() && said + 1 < next.len() {
            said += 1;
            tokio::time::sleep(seconds(2)).await;
        }
        assert_eq!(client.goaways().await, [0xb]);
        assert!((10..=12).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        drop(client);
        stage.ends_once(CloseReason::HeaderTimeout).await;
    });
}

#[test]
fn settings_that_are_not_acknowledged_end_the_session_whatever_else_is_said() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.send(&hello_octets()).await;
        let started = tokio::time::Instant::now();
        let mut stream = 1;
        while started.elapsed() < seconds(9) {
            // Requests that are answered, and PINGs.
            client.send(&[get(stream), frame(6, 0, 0, b"01234567")].concat()).await;
            client.until(|frame| frame.kind == 6).await;
            stream += 2;
            tokio::time::sleep(seconds(1)).await;
        }
        assert_eq!(client.goaways().await, [4]);
        assert_eq!(started.elapsed().as_secs(), 10);
        drop(client);
        stage.ends_once(CloseReason::SettingsTimeout).await;
    });
}

#[test]
fn a_client_of_a_protocol_that_is_not_spoken_is_left_after_a_while() {
    run_paused(async {
        let config = ListenerConfig { http1: false, ..config() };
        let stage = Stage::with(config, hello());
        let (_session, mut io) = stage.connect();
        let started = tokio::time::Instant::now();
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut words = Vec::new();
        io.read_to_end(&mut words).await.unwrap();
        assert!(words.starts_with(b"HTTP/1.0 403 Forbidden\r\n"));
        // It neither closes nor says anything more.
        stage.ends_once(CloseReason::ProtocolError).await;
        assert_eq!(started.elapsed().as_secs(), 10);
        assert_eq!(stage.cells.timeouts[TimeoutKind::UnknownProtocol][TimeoutAction::Closed].get(), 1);
        drop(io);
    });
}

#[test]
fn after_the_clients_goaway_its_streams_have_the_time_of_a_drain() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        let started = tokio::time::Instant::now();
        client.send(&frame(7, 0, 0, &[0; 8])).await;
        client.goaways().await;
        assert_eq!(started.elapsed().as_secs(), 30);
        drop(client);
        stage.ends_once(CloseReason::ClientGoaway).await;
        assert_eq!(dropped.get(), 1);
        assert_eq!(stage.cells.timeouts[TimeoutKind::Drain][TimeoutAction::Closed].get(), 1);
    });
}

#[test]
fn after_our_goaway_with_an_error_a_peer_that_stays_is_left_after_a_second() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        let started = tokio::time::Instant::now();
        // WINDOW_UPDATE of zero for the connection.
        client.send(&frame(8, 0, 0, &[0; 4])).await;
        client.until(|frame| frame.kind == 7).await;
        // It reads no end and says nothing.
        stage.ends_once(CloseReason::ProtocolError).await;
        assert_eq!(started.elapsed().as_secs(), 1);
        drop(client);
    });
}

/// The two rows of docs/security.md: a body makes at least 1 KiB in 10 s, an answer drains at least 16 KiB in 30 s. That is
/// `min_rate` of 103 and of 546 octets a second.
#[test]
fn body_rates_hold_where_they_are_set() {
    let with = |rate: u64| {
        let mut config = config();
        config.timeouts.min_rate = rate;
        config
    };
    for (rate, a_second, passes) in [(103, 80, false), (103, 140, true)] {
        run_paused(async move {
            let sink = service(|request| {
                Reply::later(async move {
                    let mut body = request.body;
                    while let Some(Ok(_)) = body.chunk().await {}
                    Response::text("read")
                })
            });
            let stage = Stage::with(with(rate), sink);
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.shake().await;
            // `content-length: 900000`.
            let length = [&[0x83, 0x86, 0x84, 0x41, 1, b'a', 0x0f, 0x0d, 6][..], b"900000"].concat();
            client.send(&frame(1, 0x4, 1, &length)).await;
            for _ in 0..40 {
                tokio::time::sleep(seconds(1)).await;
                client.send(&frame(0, 0, 1, &vec![7; a_second])).await;
            }
            settle().await;
            assert_eq!(stage.outcome(Outcome::Timeout), u64::from(!passes), "{a_second} octets a second up");
        });
    }
    for (rate, a_second, passes) in [(546, 400, false), (546, 800, true)] {
        run_paused(async move {
            let large = service(|_| Response::new(200).with_body(Body::full(vec![7; 1 << 20].into())).into());
            let stage = Stage::with(with(rate), large);
            let (_session, io) = stage.connect();
            let mut client = Raw::new(io);
            client.send(&[PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()).await;
            let wide = frame(8, 0, 0, &(1u32 << 30).to_be_bytes());
            client.send(&[settings_ack(), wide, get(1)].concat()).await;
            for _ in 0..200 {
                tokio::time::sleep(seconds(1)).await;
                let credit = frame(8, 0, 1, &(a_second as u32).to_be_bytes());
                if client.io.write_all(&credit).await.is_err() {
                    break;
                }
            }
            settle().await;
            assert_eq!(
                stage.outcome(Outcome::Timeout),
                u64::from(!passes),
                "{a_second} octets a second down"
            );
        });
    }
}

// --- over a socket ---

/// Short enough to wait for, long enough to tell from at once.
const SHORT: Duration = Duration::from_millis(150);

struct Site {
    server: ServerHandle,
    metrics: Metrics,
    address: SocketAddr,
}

fn pages() -> Rc<dyn Service> {
    service(|request| match request.head.path() {
        Some("/forever") => Reply::later(std::future::pending()),
        Some("/large") => Response::new(200).with_body(Body::full(vec![7; 64 << 20].into())).into(),
        _ => Response::text("hello").into(),
    })
}

impl Site {
    async fn start(mut config: ListenerConfig, change: impl FnOnce(&mut Timeouts)) -> Self {
        change(&mut config.timeouts);
        let metrics = Metrics::new("stagedoor");
        let factory: ServiceFactory = Arc::new(pages);
        let builder = ServerBuilder::new(metrics.clone(), 1).listen(config, factory, false);
        let server = builder.start().await.unwrap();
        Self { address: server.addresses()[0].1.tcp().unwrap(), metrics, server }
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        let cells = self.metrics.shard(0).listener(self.metrics.add_listener("test", ""));
        Protocol::ALL.iter().map(|protocol| cells.sessions_closed[*protocol][reason].get()).sum()
    }

    /// Says `octets` and nothing more; the session ends for `reason`, not at once and soon.
    async fn ends(self, octets: &[u8], reason: CloseReason) {
        let mut io = TcpStream::connect(self.address).await.unwrap();
        let started = Instant::now();
        io.write_all(octets).await.unwrap();
        let mut heard = Vec::new();
        io.read_to_end(&mut heard).await.ok();
        assert!(started.elapsed() >= SHORT / 2, "{reason}: after {:?}", started.elapsed());
        drop(io);
        self.ended(reason, started).await;
    }

    async fn ended(self, reason: CloseReason, started: Instant) {
        while self.closed(reason) == 0 {
            assert!(started.elapsed() < seconds(20), "{reason} in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(self.metrics.live().is_empty(), "{reason}");
        self.server.stop().await;
    }
}

/// HEADERS of `GET path` at authority `a`.
fn get_path(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x41, 1, b'a', 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    frame(1, 0x5, stream, &block)
}

fn shaken() -> Vec<u8> {
    [hello_octets(), settings_ack()].concat()
}

#[test]
fn handshake_over_a_socket() {
    run(async {
        let site = Site::start(tls_config(), |timeouts| timeouts.handshake = SHORT).await;
        site.ends(HELLO_BEGUN, CloseReason::HandshakeTimeout).await;
    });
}

#[test]
fn preface_over_a_socket() {
    run(async {
        for octets in [&b""[..], b"PRI * HTTP/2.0\r\n", PREFACE] {
            let site = Site::start(config(), |timeouts| timeouts.preface = SHORT).await;
            site.ends(octets, CloseReason::PrefaceTimeout).await;
        }
    });
}

#[test]
fn header_block_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| timeouts.header = SHORT).await;
        site.ends(&[shaken(), frame(1, 1, 1, &[0x82])].concat(), CloseReason::HeaderTimeout).await;
        // HTTP/1.1: a head that does not end.
        let site = Site::start(config(), |timeouts| timeouts.header = SHORT).await;
        site.ends(b"GET / HTTP/1.1\r\nhost: a\r\n", CloseReason::HeaderTimeout).await;
    });
}

#[test]
fn settings_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| timeouts.settings = SHORT).await;
        site.ends(&hello_octets(), CloseReason::SettingsTimeout).await;
    });
}

#[test]
fn keepalive_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| {
            timeouts.keepalive_ping = SHORT;
            timeouts.keepalive_timeout = SHORT;
        })
        .await;
        // An open stream, and no answer to PING.
        site.ends(&[shaken(), get_path(1, "/forever")].concat(), CloseReason::KeepaliveTimeout).await;
    });
}

#[test]
fn idle_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| timeouts.idle = SHORT).await;
        site.ends(&[shaken(), get_path(1, "/")].concat(), CloseReason::IdleTimeout).await;
        let site = Site::start(config(), |timeouts| timeouts.idle = SHORT).await;
        site.ends(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", CloseReason::IdleTimeout).await;
    });
}

#[test]
fn stall_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| timeouts.stall = SHORT).await;
        let started = Instant::now();
        let mut io = TcpStream::connect(site.address).await.unwrap();
        let wide = [frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x7f, 0xf0, 0, 0])];
        io.write_all(&[hello_octets(), wide.concat(), settings_ack(), get_path(1, "/large")].concat())
            .await
            .unwrap();
        // Nothing is read: the socket fills up.
        site.ended(CloseReason::WriteStall, started).await;
        drop(io);
    });
}

#[test]
fn drain_over_a_socket() {
    run(async {
        let site = Site::start(config(), |_| {}).await;
        let mut io = TcpStream::connect(site.address).await.unwrap();
        io.write_all(&[shaken(), get_path(1, "/forever")].concat()).await.unwrap();
        while site.metrics.live().snapshot().iter().all(|stats| stats.streams_open.get() == 0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let started = Instant::now();
        site.server.drain(SHORT).await;
        assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
        let mut heard = Vec::new();
        io.read_to_end(&mut heard).await.ok();
        drop(io);
        site.ended(CloseReason::Drain, started).await;
    });
}

#[test]
fn unknown_protocol_over_a_socket() {
    run(async {
        let config = ListenerConfig { http1: false, ..config() };
        let site = Site::start(config, |timeouts| timeouts.unknown_protocol = SHORT).await;
        let started = Instant::now();
        let mut io = TcpStream::connect(site.address).await.unwrap();
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        // It stays.
        let mut heard = Vec::new();
        io.read_to_end(&mut heard).await.ok();
        assert!(heard.starts_with(b"HTTP/1.0 403"));
        site.ended(CloseReason::ProtocolError, started).await;
        assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
        drop(io);
    });
}

#[test]
fn goaway_of_the_client_over_a_socket() {
    run(async {
        let site = Site::start(config(), |timeouts| timeouts.drain = SHORT).await;
        let said = [shaken(), get_path(1, "/forever"), frame(7, 0, 0, &[0; 8])].concat();
        site.ends(&said, CloseReason::ClientGoaway).await;
    });
}
