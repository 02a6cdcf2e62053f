//! Tunnels: WebSocket between both versions of HTTP on both sides, CONNECT, refusals, and ends that reach the other side.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::join;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::frames::{ENABLE_CONNECT_PROTOCOL, Frames, INITIAL_WINDOW_SIZE};
use crate::front::{Front, h2c, http1, listener};
use crate::support::nobody::nobody;
use crate::support::raw::DATA;
use crate::support::run;
use crate::text::{Text, ok, value};

/// An echo of WebSocket messages by others, over HTTP/1.1; it ends when the client closes.
async fn echo(listener: &TcpListener) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            break;
        }
        socket.send(message).await.unwrap();
    }
    // The answer to the close goes out.
    while socket.next().await.is_some() {}
}

/// Frames of an extended CONNECT, as HTTP/2 carries them, to `front` or from an upstream.
const SETTINGS: [(u16, u32); 2] = [(ENABLE_CONNECT_PROTOCOL, 1), (INITIAL_WINDOW_SIZE, 1 << 30)];

async fn websocket(stream: TcpStream) -> (WebSocketStream<TcpStream>, http::Response<Option<Vec<u8>>>) {
    tokio_tungstenite::client_async("ws://front.test/chat?x=1", stream).await.unwrap()
}

async fn connect_by_http2(front: &Front) -> Frames {
    let mut client = Frames::connect(front.address).await;
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "front.test"),
        (":path", "/chat?x=1"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "talk"),
    ];
    client.head(1, &fields, false).await;
    client
}

#[test]
fn websocket_from_http1_to_http1() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let client = async {
            let (mut socket, _) = websocket(TcpStream::connect(front.address).await.unwrap()).await;
            let big = "x".repeat(300_000);
            for text in ["hello", &big] {
                socket.send(Message::text(text)).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
            }
            assert_eq!(front.counted("requests_active", &[]), 1.0);
            socket.close(None).await.unwrap();
            while socket.next().await.is_some() {}
        };
        join!(client, echo(&listener));
        front.at_rest().await;
        front.until("requests_total", &[("code", "101")], 1.0).await;
    });
}

#[test]
fn websocket_from_http2_to_http1_makes_a_key_and_keeps_it() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = connect_by_http2(&front).await;
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            let head = upstream.head().await;
            assert!(head.starts_with("GET /chat?x=1 HTTP/1.1\r\n"), "{head}");
            assert_eq!(value(&head, "upgrade"), Some("websocket"));
            assert_eq!(value(&head, "connection"), Some("upgrade"));
            assert_eq!(value(&head, "host"), Some("front.test"));
            assert_eq!(value(&head, "sec-websocket-version"), Some("13"));
            let key = value(&head, "sec-websocket-key").unwrap();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\nsec-websocket-protocol: talk\r\n\r\nfirst"
            );
            upstream.say(&answer).await;
            assert_eq!(upstream.octets(4).await, "ping");
            upstream
        };
        let talking = async {
            let head = client.section().await;
            assert_eq!((head.status(), head.ends), ("200", false));
            assert_eq!(head.get("sec-websocket-protocol"), Some("talk"));
            for gone in ["sec-websocket-accept", "upgrade", "connection"] {
                assert_eq!(head.get(gone), None);
            }
            assert_eq!(client.next_of(DATA).await.payload, b"first");
            client.data(1, "ping", false).await;
            client
        };
        let (upstream, mut client) = join!(upstream, talking);
        // One side ends, the other hears it.
        client.data(1, "", true).await;
        assert_eq!(upstream.rest().await, "");
        assert!(client.next_of(DATA).await.ends_stream());
        front.at_rest().await;
    });
}

#[test]
fn websocket_from_http1_to_http2_is_answered_with_the_clients_key() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let upstream = async {
            let mut upstream = Frames::accept_with(&listener, &SETTINGS).await;
            let head = upstream.section().await;
            assert_eq!((head.get(":method"), head.get(":protocol")), (Some("CONNECT"), Some("websocket")));
            assert_eq!((head.get(":path"), head.get(":scheme")), (Some("/chat?x=1"), Some("http")));
            assert_eq!(head.get(":authority"), Some("front.test"));
            for gone in ["sec-websocket-key", "upgrade", "connection", "host"] {
                assert_eq!(head.get(gone), None, "{head:?}");
            }
            upstream.head(head.stream, &[(":status", "200")], false).await;
            // A text frame of one octet comes masked and goes back as it is not.
            let frame = upstream.next_of(DATA).await.payload;
            assert_eq!((frame[0], frame[1]), (0x81, 0x81));
            let text = frame[6] ^ frame[2];
            upstream.send(DATA, 0, head.stream, &[0x81, 1, text]).await;
            upstream.data(head.stream, "", true).await;
            upstream
        };
        let client = async {
            // The client of others checks `sec-websocket-accept`.
            let (mut socket, answer) = websocket(TcpStream::connect(front.address).await.unwrap()).await;
            assert_eq!(answer.status(), 101);
            socket.send(Message::text("y")).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("y"));
            assert!(
                socket.next().await.is_none_or(|end| end.is_err()),
                "the end of the stream is that of the socket"
            );
        };
        let (upstream, ()) = join!(upstream, client);
        drop(upstream);
        front.at_rest().await;
    });
}

#[test]
fn websocket_from_http2_to_http2() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = connect_by_http2(&front).await;
        let mut upstream = Frames::accept_with(&listener, &SETTINGS).await;
        let asked = upstream.section().await;
        assert_eq!(
            (asked.get(":protocol"), asked.get("sec-websocket-protocol")),
            (Some("websocket"), Some("talk"))
        );
        upstream.head(asked.stream, &[(":status", "200"), ("sec-websocket-protocol", "talk")], false).await;
        let head = client.section().await;
        assert_eq!((head.status(), head.get("sec-websocket-protocol")), ("200", Some("talk")));
        client.data(1, "ping", false).await;
        assert_eq!(upstream.next_of(DATA).await.payload, b"ping");
        upstream.data(asked.stream, "pong", true).await;
        assert_eq!(client.body(1).await.0, "pong");
        // Half closed: the client may still speak.
        client.data(1, "last", true).await;
        assert_eq!(upstream.body(asked.stream).await.0, "last");
        front.at_rest().await;
    });
}

#[test]
fn a_refusal_passes_as_what_it_is() {
    for http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async {
                let mut upstream = Text::accept(&listener).await;
                upstream.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx-why: no\r\n\r\nno").await;
                upstream
            };
            let client = async {
                if http2 {
                    let mut client = connect_by_http2(&front).await;
                    let head = client.section().await;
                    assert_eq!((head.status(), head.get("x-why")), ("403", Some("no")));
                    assert_eq!(client.body(1).await.0, "no");
                } else {
                    let mut client = Text::connect(front.address).await;
                    client
                        .say(
                            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        )
                        .await;
                    let head = client.head().await;
                    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
                    assert_eq!(client.octets(2).await, "no");
                }
            };
            join!(upstream, client);
            front.at_rest().await;
        });
    }
}

#[test]
fn a_server_that_does_not_know_the_key_opens_nothing() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = connect_by_http2(&front).await;
        let mut upstream = Text::accept(&listener).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: AAAA\r\n\r\n";
        upstream.answer(answer).await;
        let head = client.section().await;
        assert_eq!((head.status(), head.get("x-cause")), ("502", Some("http_upgrade_failed")));
        assert_eq!(upstream.rest().await, "");
        front.until("connections_active", &[], 0.0).await;
    });
}

#[test]
fn a_server_without_extended_connect_opens_nothing() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = connect_by_http2(&front).await;
        let mut upstream = Frames::accept(&listener).await;
        let (head, _) = join!(client.section(), async {
            tokio::time::timeout(Duration::from_millis(100), upstream.next_section()).await
        });
        assert_eq!((head.status(), head.get("x-cause")), ("502", Some("http_upgrade_failed")));
    });
}

#[test]
fn connect_passes_octets_both_ways() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = Text::connect(front.address).await;
        client.say("CONNECT db.test:5432 HTTP/1.1\r\nhost: db.test:5432\r\n\r\n").await;
        let mut upstream = Text::accept(&listener).await;
        let head = upstream.head().await;
        assert!(head.starts_with("CONNECT db.test:5432 HTTP/1.1\r\n"), "{head}");
        assert_eq!(value(&head, "host"), Some("db.test:5432"));
        upstream.say("HTTP/1.1 200 Connected\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        client.say("query").await;
        assert_eq!(upstream.octets(5).await, "query");
        upstream.say("rows").await;
        assert_eq!(client.octets(4).await, "rows");
        // Half closed, then closed.
        client.io.shutdown().await.unwrap();
        let mut octet = [0];
        assert_eq!(upstream.io.read(&mut octet).await.unwrap(), 0);
        upstream.say("end").await;
        drop(upstream);
        assert_eq!(client.rest().await, "end");
        front.at_rest().await;
    });
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = Frames::connect(front.address).await;
        client.head(1, &[(":method", "CONNECT"), (":authority", "db.test:5432")], false).await;
        let mut upstream = Frames::accept(&listener).await;
        let asked = upstream.section().await;
        assert_eq!((asked.get(":method"), asked.get(":authority")), (Some("CONNECT"), Some("db.test:5432")));
        assert_eq!((asked.get(":path"), asked.get(":scheme")), (None, None));
        upstream.head(asked.stream, &[(":status", "200")], false).await;
        assert_eq!(client.section().await.status(), "200");
        client.data(1, "query", true).await;
        assert_eq!(upstream.body(asked.stream).await.0, "query");
        upstream.data(asked.stream, "rows", true).await;
        assert_eq!(client.body(1).await.0, "rows");
        front.at_rest().await;
    });
}

#[test]
fn what_comes_last_arrives_though_the_other_side_had_ended_before() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = Text::connect(front.address).await;
        client.say("CONNECT db.test:1 HTTP/1.1\r\nhost: db.test:1\r\n\r\n").await;
        let mut upstream = Text::accept(&listener).await;
        upstream.answer("HTTP/1.1 200 Connected\r\n\r\n").await;
        client.head().await;
        upstream.io.shutdown().await.unwrap();
        let mut octet = [0];
        assert_eq!(client.io.read(&mut octet).await.unwrap(), 0);
        client.say("last").await;
        drop(client);
        assert_eq!(upstream.rest().await, "last");
        front.at_rest().await;
    });
}

#[test]
fn who_goes_away_takes_the_other_side_along() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        for upstream_first in [false, true] {
            let mut client = Text::connect(front.address).await;
            client.say("CONNECT db.test:1 HTTP/1.1\r\nhost: db.test:1\r\n\r\n").await;
            let mut upstream = Text::accept(&listener).await;
            upstream.answer("HTTP/1.1 200 Connected\r\n\r\n").await;
            client.head().await;
            let (gone, left) = if upstream_first { (upstream, client) } else { (client, upstream) };
            drop(gone);
            assert_eq!(left.rest().await, "");
            front.at_rest().await;
            front.until("connections_active", &[], 0.0).await;
        }
    });
}

#[test]
fn a_tunnel_takes_the_place_of_a_connection_that_is_idle() {
    run(async {
        let (listener, address) = listener().await;
        let mut config = http1(&[address]);
        config.limits.connections = 1;
        let front = Front::start(config);
        let mut client = front.client(true).await;
        let (_, idle) = join!(client.get("/"), async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer(&ok("")).await;
            upstream
        });
        let mut tunnel = connect_by_http2(&front).await;
        assert_eq!(idle.rest().await, "", "there is one connection at most");
        Text::accept(&listener).await.answer("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(tunnel.section().await.status(), "403");
        front.at_rest().await;
    });
}

#[test]
fn a_tunnel_that_finds_nobody_tries_the_next() {
    run(async {
        let (listener, address) = listener().await;
        let mut config = http1(&[nobody(), address]);
        config.retry.on.connect = true;
        let front = Front::start(config);
        let mut client = connect_by_http2(&front).await;
        Text::accept(&listener).await.answer("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(client.section().await.status(), "404");
        assert_eq!(front.counted("retries_total", &[("result", "sent")]), 1.0);
    });
}
