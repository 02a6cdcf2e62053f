//! PROXY headers over real sockets: whose they are believed, what they change, what becomes of those that should not come.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::sockets::{Served, body, eventually, get, talk};
use common::{config, run};
use stagedoor_actors::{Bind, ListenerConfig, ProxyProtocol};
use stagedoor_metrics::{CloseReason, ConnectionResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PEER: &str = "Some(192.0.2.7:4711) unix=false";

fn v2() -> Vec<u8> {
    let body = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb, 0x04, 0, 1, 0];
    [SIGNATURE, &[0x21, 0x11, 0, body.len() as u8], &body].concat()
}

/// Trusts 127.0.0.1 and nobody else.
fn behind(speaks: ProxyProtocol) -> ListenerConfig {
    let mut config = config();
    config.proxy_protocol = speaks;
    config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    config
}

/// A connection from an address that nobody trusts.
async fn stranger(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

async fn friend(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[test]
fn the_client_in_the_header_is_the_peer() {
    run(async {
        let served = Served::start([behind(ProxyProtocol::Any)]).await;
        let address = served.tcp("test");
        for header in [V1.to_vec(), v2()] {
            let octets = [&header[..], &get("/peer")].concat();
            assert_eq!(body(&talk(friend(address).await, &octets).await), PEER);
        }
        // And everybody sees it.
        let mut io = friend(address).await;
        io.write_all(&[V1, common::PREFACE, &common::frame(4, 0, 0, &[])].concat()).await.unwrap();
        io.read_exact(&mut [0; 9]).await.unwrap();
        eventually("it is seen", async || {
            let views = served.handle.sessions().await;
            views.iter().any(|view| view.protocol == "h2c" && view.peer.as_deref() == Some("192.0.2.7:4711"))
        })
        .await;
        served.handle.stop().await;
        assert_eq!(served.connections("test", ConnectionResult::Accepted), 3);
    });
}

#[test]
fn a_header_may_come_in_pieces() {
    run(async {
        let served = Served::start([behind(ProxyProtocol::Any)]).await;
        for header in [V1.to_vec(), v2()] {
            for cut in 1..header.len() {
                let mut io = friend(served.tcp("test")).await;
                io.set_nodelay(true).unwrap();
                io.write_all(&header[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                let rest = [&header[cut..], &get("/peer")].concat();
                assert_eq!(body(&talk(io, &rest).await), PEER, "cut at {cut}");
            }
        }
        served.handle.stop().await;
    });
}

#[test]
fn where_no_client_is_named_the_socket_counts() {
    run(async {
        let served = Served::start([behind(ProxyProtocol::Any)]).await;
        let local = [SIGNATURE, &[0x20, 0x00, 0, 0]].concat();
        for header in [&b"PROXY UNKNOWN\r\n"[..], &local] {
            let octets = [header, &get("/peer")].concat();
            let answer = talk(friend(served.tcp("test")).await, &octets).await;
            assert!(body(&answer).starts_with("Some(127.0.0.1:"), "{answer}");
        }
        served.handle.stop().await;
    });
}

#[test]
fn a_trusted_peer_without_a_good_header_is_closed() {
    run(async {
        let mut config = behind(ProxyProtocol::V2);
        config.timeouts.preface = Duration::from_millis(200);
        let served = Served::start([config]).await;
        let address = served.tcp("test");
        let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let odd = [SIGNATURE, &[0x31, 0x11, 0, 12]].concat();
        // The first says nothing and waits, another stops half way.
        for octets in [&b""[..], &v2()[..20], &get("/"), V1, &long, &odd] {
            assert_eq!(talk(friend(address).await, octets).await, "", "{octets:?}");
        }
        // A client hears of its end before it is counted.
        eventually("six are counted, and why they ended", async || {
            let counted = served.connections("test", ConnectionResult::RefusedProxy);
            let late = served.closed("test", CloseReason::PrefaceTimeout);
            (counted, late, served.closed("test", CloseReason::ProtocolError)) == (6, 2, 4)
        })
        .await;
        served.handle.stop().await;
    });
}

#[test]
fn a_stranger_is_served_as_itself_and_speaks_for_nobody() {
    run(async {
        let served = Served::start([behind(ProxyProtocol::V1)]).await;
        let address = served.tcp("test");
        let answer = talk(stranger(address).await, &get("/peer")).await;
        assert!(body(&answer).starts_with("Some(127.0.0.2:"), "{answer}");
        // "PR" may become both, a PROXY line and the preface of HTTP/2.
        let mut io = stranger(address).await;
        io.set_nodelay(true).unwrap();
        io.write_all(b"PR").await.unwrap();
        tokio::task::yield_now().await;
        io.write_all(&[&common::PREFACE[2..], &common::frame(4, 0, 0, &[])].concat()).await.unwrap();
        io.read_exact(&mut [0; 9]).await.unwrap();
        assert_eq!(served.connections("test", ConnectionResult::RefusedProxy), 0);
        for header in [V1.to_vec(), v2()] {
            let octets = [&header[..], &get("/peer")].concat();
            assert_eq!(talk(stranger(address).await, &octets).await, "");
        }
        eventually("two are counted", async || {
            served.connections("test", ConnectionResult::RefusedProxy) == 2
        })
        .await;
        served.handle.stop().await;
    });
}

#[test]
fn switched_off_it_is_what_it_is() {
    run(async {
        let served = Served::start([config()]).await;
        let answer = talk(friend(served.tcp("test")).await, &[V1, &get("/peer")].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        served.handle.stop().await;
    });
}

#[test]
fn the_limit_of_an_address_is_the_clients() {
    run(async {
        let mut config = behind(ProxyProtocol::V1);
        config.limits.sessions_per_address = Some(1);
        let served = Served::start([config]).await;
        let open = async |client: &str| {
            let mut io = friend(served.tcp("test")).await;
            let line = format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n");
            io.write_all(&[line.as_bytes(), common::PREFACE, &common::frame(4, 0, 0, &[])].concat())
                .await
                .unwrap();
            let greeted = io.read_exact(&mut [0; 9]).await.is_ok();
            (io, greeted)
        };
        let (first, greeted) = open("192.0.2.1").await;
        assert!(greeted);
        assert!(open("192.0.2.2").await.1, "the proxy itself has no limit");
        assert!(!open("192.0.2.1").await.1);
        assert_eq!(served.connections("test", ConnectionResult::RefusedAddress), 1);
        drop(first);
        eventually("its place is free again", async || open("192.0.2.1").await.1).await;
        served.handle.stop().await;
    });
}

#[test]
fn whoever_may_open_the_unix_socket_is_trusted() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut config = behind(ProxyProtocol::Any);
        config.bind = vec![Bind::Unix(path.clone())];
        let served = Served::start([config]).await;
        let io = UnixStream::connect(&path).await.unwrap();
        let answer = talk(io, &[V1, &get("/peer")].concat()).await;
        assert_eq!(body(&answer), "Some(192.0.2.7:4711) unix=true");
        let io = UnixStream::connect(&path).await.unwrap();
        assert_eq!(talk(io, &get("/peer")).await, "");
        served.handle.stop().await;
    });
}

#[test]
fn it_comes_before_tls() {
    use std::sync::Arc;

    run(async {
        let (server, client) = common::tls::ends();
        let mut config = behind(ProxyProtocol::Any);
        config.tls = Some(Arc::clone(server));
        let served = Served::start([config]).await;
        let shake = async |io: TcpStream| {
            let mut client = rustls::ClientConfig::clone(client);
            client.alpn_protocols = vec![b"http/1.1".to_vec()];
            let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
            tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, io).await
        };
        let mut io = friend(served.tcp("test")).await;
        io.write_all(&v2()).await.unwrap();
        assert_eq!(body(&talk(shake(io).await.unwrap(), &get("/peer")).await), PEER);
        let io = shake(stranger(served.tcp("test")).await).await.unwrap();
        let answer = talk(io, &get("/peer")).await;
        assert!(body(&answer).starts_with("Some(127.0.0.2:"), "{answer}");
        assert!(shake(friend(served.tcp("test")).await).await.is_err(), "a proxy says for whom it speaks");
        served.handle.stop().await;
    });
}
