//! Listeners of a running server that are added, removed and told something else, all of a set or none; and sessions that
//! grow too old, whatever they speak.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::sockets::{Served, ask, ask_unix, body, eventually, get, let_go, named, talk};
use common::{PREFACE, config, frame, run, run_paused};
use stagedoor_actors::{Bind, Changes, ListenerConfig, MaxAge, ReconfigureError, Response, ServerBuilder};
use stagedoor_metrics::{CloseReason, ConnectionResult, Metrics};
use stagedoor_protocol::Fields;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_secs(5);

fn listener(name: &str) -> ListenerConfig {
    ListenerConfig::new(name, ([127, 0, 0, 1], 0).into())
}

fn at(name: &str, address: SocketAddr) -> ListenerConfig {
    ListenerConfig::new(name, address)
}

/// An HTTP/2 session that has heard the server's SETTINGS.
async fn session(address: SocketAddr) -> TcpStream {
    let mut io = TcpStream::connect(address).await.unwrap();
    io.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    io.read_exact(&mut [0; 9]).await.unwrap();
    io
}

#[test]
fn a_listener_comes_and_goes() {
    run(async {
        let served = Served::start([listener("first")]).await;
        served.handle.add_listener(listener("second"), named("second"), false).await.unwrap();
        let address = served.tcp("second");
        assert_eq!(ask(address, "/").await, "second");
        let error = served.handle.add_listener(listener("second"), named("x"), false).await.unwrap_err();
        assert!(matches!(error, ReconfigureError::Exists(name) if name == "second"));

        // An exchange under way has its grace; nobody else gets in.
        let busy = actix_rt::spawn(async move { ask(address, "/hold").await });
        eventually("it is under way", async || {
            served.handle.sessions().await.iter().any(|view| !view.streams.is_empty())
        })
        .await;
        assert!(served.handle.remove_listener("second", SHORT).await.unwrap() >= 1);
        assert!(served.handle.address("second").is_none());
        assert!(TcpStream::connect(address).await.is_err());
        let gone = served.handle.remove_listener("second", SHORT).await.unwrap_err();
        assert!(matches!(gone, ReconfigureError::NoListener(name) if name == "second"));
        assert_eq!(served.row("stagedoor_listener_accepting{listener=\"second\"}"), 0.0);

        // The name is free at once, and is not drained with its predecessor.
        served.handle.add_listener(at("second", address), named("again"), false).await.unwrap();
        assert_eq!(ask(address, "/").await, "again");
        let_go();
        assert_eq!(busy.await.unwrap(), "held");
        eventually("what was counted stays", async || {
            served.connections("second", ConnectionResult::Accepted) == 3
        })
        .await;
        assert_eq!(ask(address, "/").await, "again");
        assert_eq!(ask(served.tcp("first"), "/").await, "hello");
        served.handle.stop().await;
        assert!(served.metrics.live().is_empty());
    });
}

#[test]
fn what_is_left_after_the_grace_is_cut_off() {
    run(async {
        let served = Served::start([listener("first"), listener("second")]).await;
        let mut io = session(served.tcp("second")).await;
        let path: &[u8] = b"\x82\x86\x04\x08/forever\x41\x01a";
        io.write_all(&frame(1, 0x5, 1, path)).await.unwrap();
        eventually("it is open", async || {
            served.handle.sessions().await.iter().any(|view| !view.streams.is_empty())
        })
        .await;
        let began = std::time::Instant::now();
        served.handle.remove_listener("second", Duration::from_millis(50)).await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.ok();
        assert!(began.elapsed() >= Duration::from_millis(50), "it has its grace");
        eventually("it is over", async || served.closed("second", CloseReason::Drain) == 1).await;
        served.handle.stop().await;
    });
}

#[test]
fn a_listener_is_told_anew_and_its_sessions_live_on() {
    run(async {
        let served = Served::start([listener("test")]).await;
        let address = served.tcp("test");
        let mut old = session(address).await;
        let mut config = at("test", address);
        config.http2 = false;
        config.limits.sessions = 2;
        served.handle.reconfigure(config.clone()).await.unwrap();
        assert_eq!(served.tcp("test"), address);
        // The old session still speaks HTTP/2; a new one may not.
        old.write_all(&frame(6, 0, 0, b"whatever")).await.unwrap();
        let mut octets = Vec::new();
        while !octets.windows(8).any(|window| window == b"whatever") {
            octets.push(old.read_u8().await.unwrap());
        }
        let refused = talk(TcpStream::connect(address).await.unwrap(), PREFACE).await;
        assert!(refused.starts_with("HTTP/1.0 403"), "{refused}");
        eventually("it is gone", async || served.handle.sessions().await.len() == 1).await;
        let second = TcpStream::connect(address).await.unwrap();
        eventually("it is there", async || served.handle.sessions().await.len() == 2).await;
        assert_eq!(ask(address, "/").await, "");
        assert_eq!(served.connections("test", ConnectionResult::RefusedLimit), 1);
        drop(second);

        let error = served.handle.reconfigure(listener("other")).await.unwrap_err();
        assert!(matches!(error, ReconfigureError::NoListener(_)));
        config.http1 = false;
        assert!(matches!(served.handle.reconfigure(config).await, Err(ReconfigureError::Config(_))));
        served.handle.stop().await;
    });
}

#[test]
fn addresses_change_without_a_gap() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut config = listener("test");
        config.bind.push(Bind::Unix(path.clone()));
        let served = Served::start([config.clone()]).await;
        let address = served.tcp("test");
        // Port 0 asked for again is the port it has.
        config.bind.push(Bind::Tcp(([127, 0, 0, 2], 0).into()));
        served.handle.reconfigure(config.clone()).await.unwrap();
        assert_eq!(served.tcp("test"), address);
        let other = served.handle.addresses()[2].1.tcp().unwrap();
        assert_eq!([ask(address, "/").await, ask(other, "/").await], ["hello", "hello"]);
        let waiting = std::net::TcpStream::connect(address).unwrap();
        config.bind.remove(0);
        served.handle.reconfigure(config).await.unwrap();
        waiting.set_nonblocking(true).unwrap();
        let waiting = talk(TcpStream::from_std(waiting).unwrap(), &get("/")).await;
        assert_eq!(body(&waiting), "hello", "who waited is served");
        assert!(TcpStream::connect(address).await.is_err());
        assert_eq!(ask_unix(&path, "/").await, "hello");
        assert_eq!(ask(other, "/").await, "hello");
        assert_eq!(served.row("stagedoor_listener_accepting{listener=\"test\"}"), 1.0);
        let page = String::from_utf8(served.metrics.render_text()).unwrap();
        let info = format!("address=\"unix:{},{other}\"", path.display());
        assert!(page.contains(&info), "{info}");
        served.handle.stop().await;
    });
}

#[test]
fn a_set_of_changes_is_made_whole_or_not_at_all() {
    run(async {
        let served = Served::start([listener("first"), listener("second")]).await;
        let (first, second) = (served.tcp("first"), served.tcp("second"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let holder = std::net::TcpListener::bind(taken).unwrap();
        let changes = || {
            Changes::new().remove("first", SHORT).reconfigure(listener("second")).add(
                at("third", taken),
                named("third"),
                false,
            )
        };
        let Err(ReconfigureError::Bind(error)) = served.handle.prepare(changes()).await else {
            panic!("the address is taken");
        };
        assert_eq!((&*error.listener, error.address.to_string()), ("third", taken.to_string()));
        assert_eq!([ask(first, "/").await, ask(second, "/").await], ["hello", "hello"]);

        drop(holder);
        let prepared = served.handle.prepare(changes()).await.unwrap();
        assert_eq!(ask(first, "/").await, "hello", "nothing has changed yet");
        prepared.commit().await;
        assert!(TcpStream::connect(first).await.is_err());
        assert_eq!([ask(served.tcp("second"), "/").await, ask(taken, "/").await], ["hello", "third"]);
        // Given up, it leaves nothing behind.
        let unused =
            served.handle.prepare(Changes::new().add(listener("x"), named("x"), false)).await.unwrap();
        drop(unused);
        assert_eq!(served.handle.addresses().len(), 2);
        served.handle.stop().await;
    });
}

#[test]
fn an_address_moves_from_one_listener_to_another_with_its_queue() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut config = listener("old");
        config.bind.push(Bind::Unix(path.clone()));
        let served = Served::start([config]).await;
        let address = served.tcp("old");
        let mut config = at("new", address);
        config.bind.push(Bind::Unix(path.clone()));
        let changes = Changes::new().remove("old", SHORT).add(config, named("new"), false);
        served.handle.prepare(changes).await.unwrap().commit().await;
        assert_eq!(ask(address, "/").await, "new");
        assert_eq!(ask_unix(&path, "/").await, "new");
        served.handle.stop().await;
        assert!(!path.exists());
    });
}

#[test]
fn a_paused_listener_stays_paused_when_it_is_told_anew() {
    run(async {
        let served = Served::start([listener("test")]).await;
        let old = served.tcp("test");
        served.handle.pause(None, SHORT).await.unwrap();
        let mut config = listener("test");
        config.bind = vec![Bind::Tcp(([127, 0, 0, 2], 0).into())];
        served.handle.reconfigure(config).await.unwrap();
        let new = served.tcp("test");
        assert!(TcpStream::connect(new).await.is_err() && TcpStream::connect(old).await.is_err());
        served.handle.resume(None).await.unwrap();
        assert_eq!(ask(new, "/").await, "hello");
        assert!(TcpStream::connect(old).await.is_err());
        served.handle.stop().await;
    });
}

#[test]
fn a_listener_that_is_kept_may_come_late() {
    run(async {
        let served = Served::start([listener("test")]).await;
        served.handle.add_listener(listener("admin"), named("admin"), true).await.unwrap();
        served.handle.drain(SHORT).await;
        assert_eq!(ask(served.tcp("admin"), "/").await, "admin");
        served.handle.stop().await;
    });
}

mod tls {
    use rcgen::{CertificateParams, Issuer, KeyPair};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::TlsConnector;

    use super::*;

    fn provider() -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    /// A certificate for `name` and its key, of the authority `issuer`.
    fn made(name: &str, issuer: &Issuer<'_, KeyPair>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    async fn shake(
        address: SocketAddr,
        roots: &Arc<rustls::RootCertStore>,
        shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(roots));
        let mut client = match shown {
            Some((certificate, key)) => client.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => client.with_no_client_auth(),
        };
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let io = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), io).await
    }

    #[test]
    fn certificates_are_swapped_and_those_of_clients_told() {
        run(async {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let authority = params.self_signed(&key).unwrap();
            let issuer = Issuer::new(params, key);
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
                    .allow_unauthenticated()
                    .build()
                    .unwrap();
            let server = |name: &str| {
                let (certificate, key) = made(name, &issuer);
                let server = rustls::ServerConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_client_cert_verifier(Arc::clone(&verifier))
                    .with_single_cert(vec![certificate.clone()], key)
                    .unwrap();
                (certificate, Arc::new(server))
            };
            let (first, tls) = server("localhost");
            let mut config = listener("test");
            config.tls = Some(tls);
            let served = Served::start([config.clone()]).await;
            let address = served.tcp("test");
            let shown = |io: &tokio_rustls::client::TlsStream<TcpStream>| {
                io.get_ref().1.peer_certificates().unwrap()[0].clone()
            };
            let old = shake(address, &roots, None).await.unwrap();
            assert_eq!(shown(&old), first);
            let (second, tls) = server("localhost");
            config.tls = Some(tls);
            served.handle.reconfigure(config.clone()).await.unwrap();
            assert_eq!(served.tcp("test"), address);
            let client = made("client", &issuer);
            let length = client.0.len();
            let new = shake(address, &roots, Some(client)).await.unwrap();
            assert_eq!(shown(&new), second);
            let answer = talk(new, &get("/tls")).await;
            assert!(answer.contains(&format!("Certificate({length} octets)")), "{answer}");
            // A session goes on with what it began with.
            let answer = talk(old, &get("/tls")).await;
            assert!(answer.contains("client_certificate: None"), "{answer}");
            config.tls = None;
            served.handle.reconfigure(config).await.unwrap();
            assert_eq!(ask(address, "/").await, "hello");
            served.handle.stop().await;
        });
    }
}

/// Three sessions that have lived long enough: one rests, one answers, one is a tunnel.
#[test]
fn sessions_of_http1_and_tunnels_grow_old_too() {
    run_paused(async {
        use common::{Stage, service};

        let stage = |after: u64| {
            let mut config = config();
            let (after, grace) = (Duration::from_secs(after), Duration::from_secs(3));
            config.limits.session_max_age = Some(MaxAge { after, jitter: 0.0, grace });
            config.timeouts.idle = Duration::from_secs(1000);
            Stage::with(
                config,
                service(|request| match request.tunnel() {
                    Some(_) => {
                        let reply = request.accept_tunnel(Fields::new(), |tunnel| async move {
                            let _kept = tunnel;
                            std::future::pending().await
                        });
                        reply.unwrap()
                    }
                    None => Response::text("hello").into(),
                }),
            )
        };
        let resting = stage(20);
        let (_session, mut io) = resting.connect();
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let started = tokio::time::Instant::now();
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.ok();
        assert!(answer.ends_with(b"hello"));
        let age = started.elapsed();
        assert!(age >= Duration::from_secs(20) && age < Duration::from_secs(24), "{age:?}");
        drop(io);
        resting.ends_once(CloseReason::MaxAge).await;

        let tunnelled = stage(20);
        let (_session, mut io) = tunnelled.connect();
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            .await
            .unwrap();
        let started = tokio::time::Instant::now();
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.ok();
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let age = started.elapsed();
        // It has its grace, and not more.
        assert!(age >= Duration::from_secs(23) && age < Duration::from_secs(26), "{age:?}");
        drop(io);
        tunnelled.ends_once(CloseReason::MaxAge).await;
    });
}

/// A server without listeners takes them later.
#[test]
fn a_server_may_begin_with_nothing() {
    run(async {
        let handle = ServerBuilder::new(Metrics::new("stagedoor"), 1).start().await.unwrap();
        assert!(handle.addresses().is_empty());
        handle.add_listener(listener("late"), named("late"), false).await.unwrap();
        assert_eq!(ask(handle.address("late").unwrap(), "/").await, "late");
        handle.stop().await;
    });
}
