//! The whole crate over loopback sockets: listeners, workers, TLS and ALPN, limits, supervision, drain.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use stagedoor_actors::{
    Body, CloseSession, ListenerConfig, Reply, Response, ServerBuilder, ServerHandle, Service, ServiceFactory,
};
use stagedoor_metrics::{ActorKind, CloseReason, ConnectionResult, Metrics, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn factory(make: fn() -> Rc<dyn Service>) -> ServiceFactory {
    Arc::new(make)
}

fn site() -> Rc<dyn Service> {
    service(|request| match request.head.path() {
        Some("/forever") => Reply::later(std::future::pending()),
        Some("/slow") => Reply::later(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Response::text("slow")
        }),
        Some("/session") => Response::text(format!("{:?}", request.session)).into(),
        _ => Response::text("hello").into(),
    })
}

async fn start(config: ListenerConfig) -> (ServerHandle, Metrics, SocketAddr) {
    let metrics = Metrics::new("stagedoor");
    let server =
        ServerBuilder::new(metrics.clone(), 2).listen(config, factory(site), false).start().await.unwrap();
    let address = server.addresses()[0].1.tcp().unwrap();
    (server, metrics, address)
}

async fn h2_on<T>(io: T) -> h2::client::SendRequest<Bytes>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (send, connection) = h2::client::handshake(io).await.unwrap();
    actix_rt::spawn(async move { connection.await.ok() });
    send
}

async fn h2_get(send: &mut h2::client::SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let request = http::Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = send.send_request(request, true)?;
    let mut body = response.await?.into_body();
    let mut text = Vec::new();
    while let Some(chunk) = body.data().await {
        text.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(text).unwrap())
}

async fn h1_get(address: SocketAddr, path: &str) -> String {
    let mut io = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    io.read_to_string(&mut text).await.ok();
    text
}

/// Waits until `holds`, looking often.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[test]
fn both_protocols_on_one_port_over_two_workers() {
    run(async {
        let (server, metrics, address) = start(config()).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut send = h2_on(TcpStream::connect(address).await.unwrap()).await;
            assert_eq!(h2_get(&mut send, "/").await.unwrap(), "hello");
            clients.push(send);
        }
        assert!(h1_get(address, "/").await.ends_with("hello"));
        // The HTTP/1.1 session may still wait for the end of its client.
        let mut views = server.sessions().await;
        views.retain(|view| view.protocol == "h2c");
        let ids: Vec<&str> = views.iter().map(|view| view.id.as_str()).collect();
        assert_eq!(ids.len(), 4, "{ids:?}");
        assert_eq!(ids.iter().filter(|id| id.starts_with("0-")).count(), 2, "{ids:?}");
        assert!(views.iter().all(|view| view.listener == "test" && view.peer.is_some()));
        assert_eq!(server.session(ids[0]).await.unwrap().protocol, "h2c");
        assert!(server.session("9-zz").await.is_none());
        server.stop().await;
        assert!(metrics.live().is_empty());
    });
}

#[test]
fn a_session_is_seen_with_its_streams_and_closed_by_its_id() {
    run(async {
        let (server, metrics, address) = start(config()).await;
        let mut send = h2_on(TcpStream::connect(address).await.unwrap()).await;
        let request = http::Request::get("http://a/forever").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        eventually("the stream is open", async || {
            server.sessions().await.first().is_some_and(|view| view.streams.len() == 1)
        })
        .await;
        let view = server.sessions().await.remove(0);
        assert_eq!((view.streams[0].id, view.streams[0].method.as_str()), (1, "GET"));
        assert_eq!((view.state, view.streams_open), ("open", 1));
        assert!(view.recorder.is_empty(), "only who asks for one session hears what it kept");
        assert!(!server.session(&view.id).await.unwrap().recorder.is_empty());
        assert!(server.close_session(&view.id, CloseSession::new(CloseReason::Admin).now()).await);
        assert!(response.await.is_err());
        drop(send);
        eventually("gone", async || metrics.live().is_empty()).await;
        assert!(!server.close_session(&view.id, CloseSession::new(CloseReason::Admin)).await);
        server.stop().await;
    });
}

#[test]
fn limits_refuse_at_once() {
    run(async {
        let mut config = config();
        config.limits.sessions_per_address = Some(2);
        let (server, metrics, address) = start(config).await;
        let _a = h2_on(TcpStream::connect(address).await.unwrap()).await;
        let b = h2_on(TcpStream::connect(address).await.unwrap()).await;
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert_eq!(refused.read(&mut [0; 10]).await.unwrap_or(0), 0);
        let cells = metrics.shard(u16::MAX).listener(metrics.add_listener("test", ""));
        assert_eq!(cells.connections[ConnectionResult::RefusedAddress].get(), 1);
        drop(b);
        eventually("a place is free again", async || {
            let mut io = TcpStream::connect(address).await.unwrap();
            io.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok();
            let mut text = String::new();
            io.read_to_string(&mut text).await.ok();
            text.ends_with("hello")
        })
        .await;
        server.stop().await;
    });
}

#[test]
fn a_taken_port_is_named() {
    run(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config();
        config.bind = vec![taken.local_addr().unwrap().into()];
        let metrics = Metrics::new("stagedoor");
        let error =
            ServerBuilder::new(metrics, 1).listen(config, factory(site), false).start().await.err().unwrap();
        let stagedoor_actors::StartError::Bind(error) = error else { panic!("{error}") };
        assert_eq!(error.address, taken.local_addr().unwrap().into());
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
    });
}

fn supervised(fault: fn(usize) -> std::io::Result<()>, panics: u64) {
    run(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let metrics = Metrics::new("stagedoor");
        let server = ServerBuilder::new(metrics.clone(), 1)
            .accept_fault(move || fault(counted.fetch_add(1, Ordering::SeqCst)))
            .listen(config(), factory(site), false)
            .start()
            .await
            .unwrap();
        let address = server.addresses()[0].1.tcp().unwrap();
        // The first connection is lost with the listener that accepted it, the next are served by another.
        h1_get(address, "/").await;
        eventually("the listener is back", async || h1_get(address, "/").await.ends_with("hello")).await;
        let shard = metrics.shard(u16::MAX);
        let counts = &shard.actors()[ActorKind::Listener];
        assert_eq!((counts.restarts.get(), counts.panics.get(), counts.alive.get()), (1, panics, 1));
        server.stop().await;
        assert_eq!(counts.alive.get(), 0);
    });
}

#[test]
fn a_listener_whose_accept_loop_failed_is_restarted() {
    supervised(
        |call| match call {
            0 => Err(std::io::Error::from_raw_os_error(9)), // EBADF
            _ => Ok(()),
        },
        0,
    );
}

#[test]
fn a_listener_that_panicked_is_restarted() {
    supervised(
        |call| {
            assert!(call > 0, "in the accept loop");
            Ok(())
        },
        1,
    );
}

#[test]
fn errors_of_one_connection_or_of_the_system_do_not_end_the_listener() {
    run(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let metrics = Metrics::new("stagedoor");
        let server = ServerBuilder::new(metrics.clone(), 1)
            .accept_fault(move || match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Err(std::io::Error::from_raw_os_error(103)), // ECONNABORTED
                1 => Err(std::io::Error::from_raw_os_error(24)),  // EMFILE
                _ => Ok(()),
            })
            .listen(config(), factory(site), false)
            .start()
            .await
            .unwrap();
        let address = server.addresses()[0].1.tcp().unwrap();
        for _ in 0..2 {
            h1_get(address, "/").await;
        }
        let started = std::time::Instant::now();
        assert!(h1_get(address, "/").await.ends_with("hello"));
        assert!(started.elapsed() > Duration::from_millis(50), "it paused");
        assert_eq!(metrics.shard(u16::MAX).actors()[ActorKind::Listener].restarts.get(), 0);
        server.stop().await;
    });
}

#[test]
fn a_drain_serves_what_is_open_and_keeps_the_admin_listener() {
    run(async {
        let metrics = Metrics::new("stagedoor");
        let admin = ListenerConfig::new("admin", ([127, 0, 0, 1], 0).into());
        let server = ServerBuilder::new(metrics.clone(), 2)
            .listen(config(), factory(site), false)
            .listen(admin, factory(site), true)
            .start()
            .await
            .unwrap();
        let [public, admin] = ["test", "admin"].map(|name| server.address(name).unwrap());
        let mut send = h2_on(TcpStream::connect(public).await.unwrap()).await;
        let mut idle = h2_on(TcpStream::connect(public).await.unwrap()).await;
        h2_get(&mut idle, "/").await.unwrap();
        let slow = actix_rt::spawn(async move { h2_get(&mut send, "/slow").await });
        let h1_slow = actix_rt::spawn(h1_get(public, "/slow"));
        eventually("both are open", async || {
            server.sessions().await.iter().map(|view| view.streams_open).sum::<u64>() == 2
        })
        .await;
        let told = std::cell::RefCell::new(Vec::new());
        let drain = Duration::from_secs(10);
        server
            .drain_with(Duration::from_millis(20), drain, |progress| told.borrow_mut().push(progress))
            .await;
        assert_eq!(slow.await.unwrap().unwrap(), "slow");
        assert!(h1_slow.await.unwrap().ends_with("slow"));
        assert!(TcpStream::connect(public).await.is_err(), "the port is closed");
        assert!(h1_get(admin, "/").await.ends_with("hello"));
        let told = told.into_inner();
        assert!(told[0].sessions == 3 && told[0].streams == 2, "{told:?}");
        assert!(told.windows(2).all(|pair| pair[1].left <= pair[0].left), "{told:?}");
        server.stop().await;
        assert!(metrics.live().is_empty());
        assert!(TcpStream::connect(admin).await.is_err());
    });
}

#[test]
fn a_drain_ends_at_its_deadline() {
    run(async {
        let (server, metrics, address) = start(config()).await;
        let mut send = h2_on(TcpStream::connect(address).await.unwrap()).await;
        let held = actix_rt::spawn(async move { h2_get(&mut send, "/forever").await });
        eventually("open", async || {
            server.sessions().await.first().is_some_and(|view| view.streams_open == 1)
        })
        .await;
        let started = std::time::Instant::now();
        server.drain(Duration::from_millis(1300)).await;
        assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
        assert!(held.await.unwrap().is_err());
        assert!(metrics.live().is_empty());
        let id = metrics.add_listener("test", "");
        let closed: u64 =
            (0..2).map(|w| metrics.shard(w).listener(id).streams_closed[Outcome::SessionClosed].get()).sum();
        assert_eq!(closed, 1);
        server.stop().await;
    });
}

mod tls {
    use super::*;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::TlsConnector;

    fn pair() -> (ListenerConfig, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate = made.cert.der().clone();
        let tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        (ListenerConfig { tls: Some(Arc::new(tls)), ..config() }, certificate)
    }

    fn provider() -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    async fn connect(
        address: SocketAddr,
        certificate: &CertificateDer<'static>,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let io = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from("localhost").unwrap(), io).await
    }

    async fn ask(mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> String {
        io.write_all(b"GET /session HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        io.read_to_end(&mut text).await.ok();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn alpn_decides() {
        run(async {
            let (config, certificate) = pair();
            let (server, metrics, address) = start(config).await;
            let io = connect(address, &certificate, &[b"h2", b"http/1.1"]).await.unwrap();
            assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut send = h2_on(io).await;
            let seen = h2_get(&mut send, "/session").await.unwrap();
            assert!(seen.contains("\"h2\"") && seen.contains("Some(\"localhost\")"), "{seen}");
            let io = connect(address, &certificate, &[b"http/1.1"]).await.unwrap();
            assert!(ask(io).await.contains("\"http/1.1\""));
            let io = connect(address, &certificate, &[]).await.unwrap();
            assert!(ask(io).await.starts_with("HTTP/1.1 200 "), "no ALPN is HTTP/1.1");
            let error = connect(address, &certificate, &[b"spdy/3"]).await.unwrap_err();
            assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
            server.stop().await;
            let id = metrics.add_listener("test", "");
            let failed: u64 = (0..2)
                .map(|w| metrics.shard(w).listener(id).connections[ConnectionResult::TlsError].get())
                .sum();
            assert_eq!(failed, 1);
        });
    }

    #[test]
    fn without_http1_no_alpn_is_refused_in_words() {
        run(async {
            let (mut config, certificate) = pair();
            config.http1 = false;
            let (server, _, address) = start(config).await;
            let io = connect(address, &certificate, &[]).await.unwrap();
            assert!(ask(io).await.starts_with("HTTP/1.0 403 Forbidden\r\n"));
            assert!(connect(address, &certificate, &[b"http/1.1"]).await.is_err());
            server.stop().await;
        });
    }

    #[test]
    fn a_refused_client_that_stays_is_left_after_a_while() {
        run(async {
            let (mut config, certificate) = pair();
            config.http1 = false;
            config.timeouts.unknown_protocol = Duration::from_millis(50);
            let (server, metrics, address) = start(config).await;
            let mut io = connect(address, &certificate, &[]).await.unwrap();
            let mut words = Vec::new();
            io.read_to_end(&mut words).await.ok();
            assert!(words.starts_with(b"HTTP/1.0 403 Forbidden\r\n"));
            // The client neither says nor closes anything.
            eventually("the socket is given up", async || metrics.live().is_empty()).await;
            server.stop().await;
        });
    }

    #[test]
    fn origins_of_the_options_are_said_right_after_settings() {
        run(async {
            let (mut config, certificate) = pair();
            config.options.origins = vec!["https://a.example".to_owned()];
            let (server, _, address) = start(config).await;
            let mut io = connect(address, &certificate, &[b"h2"]).await.unwrap();
            io.write_all(&hello_octets()).await.unwrap();
            let mut kinds = Vec::new();
            loop {
                let mut head = [0; 9];
                io.read_exact(&mut head).await.unwrap();
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                io.read_exact(&mut payload).await.unwrap();
                kinds.push(head[3]);
                if head[3] == 0xc {
                    assert_eq!(payload, b"\0\x11https://a.example");
                    break;
                }
            }
            // Behind SETTINGS and the window of the connection, before anything that answers the client.
            assert_eq!(kinds, [4, 8, 0xc]);
            server.stop().await;
        });
    }

    #[test]
    fn large_bodies_are_whole() {
        fn large() -> Rc<dyn Service> {
            service(|request| Response::new(200).with_body(Body::stream(request.body)).into())
        }
        run(async {
            let (config, certificate) = pair();
            let metrics = Metrics::new("stagedoor");
            let server =
                ServerBuilder::new(metrics, 1).listen(config, factory(large), false).start().await.unwrap();
            let io = connect(server.addresses()[0].1.tcp().unwrap(), &certificate, &[b"h2"]).await.unwrap();
            let mut send = h2_on(io).await;
            let request = http::Request::post("https://localhost/").body(()).unwrap();
            let (response, mut up) = send.send_request(request, false).unwrap();
            let body: Vec<u8> = (0..5_000_000u32).map(|n| (n % 253) as u8).collect();
            let mut rest = Bytes::from(body.clone());
            actix_rt::spawn(async move {
                while !rest.is_empty() {
                    up.reserve_capacity(rest.len());
                    let room = std::future::poll_fn(|cx| up.poll_capacity(cx)).await.unwrap().unwrap();
                    let take = room.min(rest.len());
                    let end = take == rest.len();
                    up.send_data(rest.split_to(take), end).unwrap();
                }
            });
            let mut back = Vec::new();
            let mut down = response.await.unwrap().into_body();
            while let Some(chunk) = down.data().await {
                let chunk = chunk.unwrap();
                down.flow_control().release_capacity(chunk.len()).unwrap();
                back.extend_from_slice(&chunk);
            }
            assert!(back == body);
            server.stop().await;
        });
    }
}
