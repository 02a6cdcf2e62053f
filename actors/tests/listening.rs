//! Where connections come in: Unix sockets, sockets that were handed over, several addresses under one name, SO_REUSEPORT;
//! and what becomes of those who wait in a queue when accepting stops.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use common::sockets::{Served, ask, ask_unix, body, eventually, get, site, talk};
use common::{config, run};
use stagedoor_actors::client::{self, Connector, Options};
use stagedoor_actors::{Bind, Inherited, ServerBuilder, StartError};
use stagedoor_metrics::Metrics;
use tokio::net::TcpStream;

fn inherited(name: &str, socket: &impl std::os::fd::AsFd) -> Bind {
    Bind::Inherited(Inherited::new(name, socket.as_fd().try_clone_to_owned().unwrap()).unwrap())
}

#[test]
fn one_name_has_many_addresses() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut config = config();
        config.bind.push(Bind::Unix(path.clone()));
        config.bind.push(Bind::Tcp(([127, 0, 0, 2], 0).into()));
        let served = Served::start([config]).await;
        let shown: Vec<_> = served.handle.addresses().into_iter().map(|(_, at)| at.to_string()).collect();
        assert!(shown[0].starts_with("127.0.0.1:") && shown[2].starts_with("127.0.0.2:"), "{shown:?}");
        assert_eq!(shown[1], format!("unix:{}", path.display()));
        let other = served.handle.addresses()[2].1.tcp().unwrap();
        assert_eq!(ask(served.tcp("test"), "/").await, "hello");
        assert!(ask(other, "/peer").await.ends_with(" unix=false"));
        assert_eq!(ask_unix(&path, "/peer").await, "None unix=true");
        assert_eq!(served.row("stagedoor_listener_accepting{listener=\"test\"}"), 1.0);
        served.handle.stop().await;
        assert!(!path.exists(), "the file goes with the socket");
    });
}

#[test]
fn http2_runs_over_a_unix_socket() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut config = config();
        config.bind = vec![Bind::Unix(path.clone())];
        // There is no address whose sessions could be counted.
        config.limits.sessions_per_address = Some(1);
        let served = Served::start([config]).await;
        for _ in 0..2 {
            let options = Options::with_connector(Connector::unix(&path));
            let session = client::connect("http://localhost", options).unwrap();
            session.ready().await.unwrap();
            // It lives on while the next one comes.
            std::mem::forget(session);
        }
        eventually("both are seen", async || {
            let views = served.handle.sessions().await;
            views.iter().filter(|view| view.protocol == "h2c" && view.peer.is_none()).count() == 2
        })
        .await;
        served.handle.stop().await;
    });
}

#[test]
fn a_socket_somebody_answers_on_is_not_taken() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let theirs = UnixListener::bind(&path).unwrap();
        let mut config = config();
        config.bind = vec![Bind::Unix(path.clone())];
        let builder = ServerBuilder::new(Metrics::new("stagedoor"), 1).listen(config.clone(), site(), false);
        let Err(StartError::Bind(error)) = builder.start().await else { panic!("it is taken") };
        assert!(error.to_string().contains(&format!("unix:{}", path.display())), "{error}");
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
        drop(theirs);
        let served = Served::start([config]).await;
        assert_eq!(ask_unix(&path, "/").await, "hello", "a stale file is replaced");
        served.handle.stop().await;
    });
}

#[test]
fn sockets_are_handed_over_and_come_back_after_a_pause() {
    run(async {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let mut config = config();
        config.bind = vec![inherited("web", &tcp), inherited("web", &unix)];
        // Nobody else holds them.
        drop((tcp, unix));
        let served = Served::start([config]).await;
        assert_eq!(served.tcp("test"), address);
        assert_eq!(ask(address, "/").await, "hello");
        assert_eq!(ask_unix(&path, "/").await, "hello");
        served.handle.pause(None, Duration::from_secs(1)).await.unwrap();
        assert_eq!(served.row("stagedoor_listener_accepting{listener=\"test\"}"), 0.0);
        // The kernel keeps who comes meanwhile.
        let waiting = TcpStream::connect(address).await.unwrap();
        served.handle.resume(None).await.unwrap();
        assert_eq!(body(&talk(waiting, &get("/")).await), "hello");
        assert_eq!(ask_unix(&path, "/").await, "hello");
        served.handle.stop().await;
        assert!(path.exists(), "the file is not ours");
    });
}

#[test]
fn a_socket_that_others_hold_goes_on_without_us() {
    run(async {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let start = async || {
            let mut config = config();
            config.bind = vec![inherited("web", &tcp)];
            Served::start([config]).await
        };
        let old = start().await;
        let new = start().await;
        assert_eq!(ask(address, "/").await, "hello");
        old.handle.drain(Duration::from_secs(5)).await;
        let waiting = TcpStream::connect(address).await.unwrap();
        old.handle.stop().await;
        assert_eq!(body(&talk(waiting, &get("/")).await), "hello");
        for _ in 0..20 {
            assert_eq!(ask(address, "/").await, "hello");
        }
        new.handle.stop().await;
    });
}

/// Connections that the kernel has taken and the listener has not: its thread, which is this one, stands still meanwhile.
fn queued(served: &Served, count: usize) -> Vec<std::net::TcpStream> {
    let address = served.tcp("test");
    (0..count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect()
}

#[test]
fn who_waits_in_the_queue_is_served_when_accepting_stops() {
    for reuse_port in [false, true] {
        run(async {
            let mut config = config();
            config.reuse_port = reuse_port;
            let served = Served::start([config]).await;
            let waiting = queued(&served, 50);
            let drained = served.handle.drain(Duration::from_secs(10));
            let asked = async {
                let mut answers = Vec::new();
                for io in waiting {
                    io.set_nonblocking(true).unwrap();
                    answers.push(talk(TcpStream::from_std(io).unwrap(), &get("/")).await);
                }
                answers
            };
            let ((), answers) = futures_util::join!(drained, asked);
            assert!(answers.iter().all(|answer| body(answer) == "hello"), "{answers:?}");
            served.handle.stop().await;
        });
    }
}

#[test]
fn two_servers_share_a_port_where_both_want_it() {
    run(async {
        let mut config = config();
        config.reuse_port = true;
        let old = Served::start([config.clone()]).await;
        let address = old.tcp("test");
        config.bind = vec![address.into()];
        let new = Served::start([config.clone()]).await;
        old.handle.drain(Duration::from_secs(5)).await;
        for _ in 0..20 {
            assert_eq!(ask(address, "/").await, "hello");
        }
        config.reuse_port = false;
        let builder = ServerBuilder::new(Metrics::new("stagedoor"), 1).listen(config, site(), false);
        assert!(matches!(builder.start().await, Err(StartError::Bind(_))));
        eventually("the new one served them", async || {
            new.connections("test", stagedoor_metrics::ConnectionResult::Accepted) == 20
        })
        .await;
        old.handle.stop().await;
        new.handle.stop().await;
    });
}
