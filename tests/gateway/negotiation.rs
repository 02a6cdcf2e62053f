//! Which protocol a connection speaks: ALPN on TLS, the preface without.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::{Client, Speaks, client_config, connect_tls, handshake};
use crate::support::{Gateway, PATIENCE, run};

async fn tcp(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(gateway.public).await.unwrap()
}

#[test]
fn h2_is_preferred_and_http1_taken() {
    let gateway = Gateway::start();
    run(async {
        let alpn: [(&[&[u8]], &[u8]); 4] = [
            (&[b"h2"], b"h2"),
            (&[b"http/1.1"], b"http/1.1"),
            (&[b"http/1.1", b"h2"], b"h2"),
            (&[b"odd", b"http/1.1"], b"http/1.1"),
        ];
        for (offered, chosen) in alpn {
            let tls = handshake(&gateway, tcp(&gateway).await, offered).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(chosen));
        }
    });
}

#[test]
fn no_alpn_is_http1() {
    let gateway = Gateway::start();
    run(async {
        let mut tls = handshake(&gateway, tcp(&gateway).await, &[]).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), None);
        tls.write_all(b"GET /bytes/3 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nABC"), "{answer}");
    });
}

#[test]
fn a_foreign_alpn_gets_an_alert() {
    let gateway = Gateway::start();
    run(async {
        let error = handshake(&gateway, tcp(&gateway).await, &[b"smtp", b"h3"]).await.unwrap_err();
        let error = error.into_inner().expect("a TLS error");
        let alert = error.downcast_ref::<rustls::Error>().expect("a TLS error");
        assert_eq!(*alert, rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol));
        // And the next one is served.
        assert_eq!(Client::connect(&gateway, Speaks::H2).await.get("/").await.status, 200);
    });
}

#[test]
fn both_versions_of_tls_are_spoken_and_resumed() {
    let gateway = Gateway::start();
    run(async {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let whole = client_config(&gateway);
            let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(whole.crypto_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates({
                    let mut roots = rustls::RootCertStore::empty();
                    roots.add(gateway.authority()).unwrap();
                    roots
                })
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let config = Arc::new(config);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let mut tls = connect_tls(Arc::clone(&config), tcp(&gateway).await).await.unwrap();
                // Tickets of TLS 1.3 follow the handshake: read an answer, and them with it.
                let request = b"GET /bytes/3 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                tls.write_all(request).await.unwrap();
                tls.read_to_end(&mut Vec::new()).await.unwrap();
                let session = tls.get_ref().1;
                let spoken = session.protocol_version().unwrap();
                let asked = if version.version == ProtocolVersion::TLSv1_2 { "TLSv1_2" } else { "TLSv1_3" };
                assert_eq!(format!("{spoken:?}"), asked);
                kinds.push(session.handshake_kind());
            }
            assert_eq!(kinds[0], Some(HandshakeKind::Full));
            assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{:?}", version.version);
        }
    });
}

fn plain(gateway: &Gateway, sent: &[u8]) -> String {
    let mut socket = std::net::TcpStream::connect(gateway.plain).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(sent).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn cleartext_is_told_apart_by_its_first_octets() {
    let gateway = Gateway::start();
    run(async {
        assert_eq!(
            Client::connect(&gateway, Speaks::H2c).await.get("/session").await.json()["session"]["protocol"],
            "h2c"
        );
        let answer = Client::connect(&gateway, Speaks::Http1).await.get("/session").await;
        assert_eq!(answer.json()["session"]["protocol"], "http/1.1");
    });
    // A method that begins as the preface does.
    let answer = plain(&gateway, b"PRINT / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = plain(&gateway, b"GET /bytes/2 HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 ") && answer.ends_with("AB"), "{answer}");
}

#[test]
fn garbage_is_refused_and_hurts_nobody() {
    let gateway = Gateway::start();
    let answer = plain(&gateway, b"\x16\x03\x01 this is not http at all \r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // A preface with garbage behind it: GOAWAY, or just the end.
    plain(&gateway, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    run(async {
        for speaks in Speaks::ALL {
            assert_eq!(Client::connect(&gateway, speaks).await.get("/bytes/1").await.status, 200);
        }
    });
    let stderr = gateway.process.stderr();
    assert!(!stderr.contains("panic") && !stderr.contains(" ERROR "), "{stderr}");
    assert!(stderr.contains("session ended abnormally"), "the operator is told: {stderr}");
}
