//! What begins before it is complete, and what never is: hints, events, WebSockets.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::client::{Client, Speaks, collect, next_octets, nothing};
use crate::support::peers::find;
use crate::support::websocket::open;
use crate::support::{Gateway, run};

/// Runs `test` on one connection of each protocol.
async fn on_every_protocol(gateway: &Gateway, mut test: impl AsyncFnMut(Client, Speaks)) {
    for speaks in Speaks::ALL {
        eprintln!("on {speaks:?}");
        test(Client::connect(gateway, speaks).await, speaks).await;
    }
}

#[test]
fn hints_end_in_a_200_with_the_same_links() {
    let gateway = Gateway::start();
    run(on_every_protocol(&gateway, async |mut client, _| {
        let answer = client.get("/hints").await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("link").contains("rel=preload"), "{:?}", answer.headers);
    }));
}

#[test]
fn curl_sees_103_before_the_200_on_http_2() {
    let Some(curl) = find("curl") else { return };
    let gateway = Gateway::start();
    let url = format!("http://{}/hints", gateway.plain);
    for (flag, hinted) in [("--http2-prior-knowledge", true), ("--http1.1", false)] {
        let output = std::process::Command::new(&curl)
            .args(["--silent", "--dump-header", "-", flag, "--max-time", "30", &url])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let statuses: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("HTTP/")?.split(' ').nth(1)).collect();
        assert_eq!(statuses, if hinted { vec!["103", "200"] } else { vec!["200"] }, "{text}");
    }
}

#[test]
fn events_come_one_by_one_and_count_on() {
    let gateway = Gateway::start();
    run(on_every_protocol(&gateway, async |mut client, _| {
        let request = client.request("GET", "/events").header("last-event-id", "41").body(nothing()).unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        for count in [42, 43] {
            let octets = next_octets(&mut body).await.unwrap().unwrap();
            let event = std::str::from_utf8(&octets).unwrap();
            assert!(
                event.starts_with(&format!("id: {count}\nevent: tick\ndata: {{\"count\":{count},")),
                "{event}"
            );
            assert!(event.ends_with("\n\n"));
        }
    }));
}

#[test]
fn a_websocket_echoes_over_every_protocol_and_closes_in_good_order() {
    let gateway = Gateway::start();
    run(on_every_protocol(&gateway, async |mut client, speaks| {
        let mut socket = open(&mut client, speaks).await;
        let messages =
            [Message::text("hello"), Message::binary(Bytes::from(vec![7; 300_000])), Message::text("")];
        for message in messages {
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message);
        }
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
        let bye = CloseFrame { code: 1000.into(), reason: "bye".into() };
        socket.close(Some(bye.clone())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Close(Some(bye)));
        assert!(socket.next().await.is_none());
    }));
}

#[test]
fn a_websocket_message_that_is_too_long_ends_that_socket_alone() {
    let gateway = Gateway::start();
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2).await;
        let mut socket = open(&mut client, Speaks::H2).await;
        // The send may fail, or the reading after it: the other end has gone.
        let _ = socket.send(Message::binary(vec![0; 2 << 20])).await;
        while let Some(Ok(_)) = socket.next().await {}
        assert_eq!(client.get("/status/204").await.status, 204);
    });
}

#[test]
fn a_request_that_opens_no_websocket_hears_why() {
    let gateway = Gateway::start();
    run(on_every_protocol(&gateway, async |mut client, speaks| {
        assert_eq!(client.get("/ws").await.status, 426);
        let version = |client: &Client, method: &str, version: &str, protocol: &'static str| {
            let request = client.request(method, "/ws").header("sec-websocket-version", version);
            if speaks.is_http2() {
                let mut request = request.body(nothing()).unwrap();
                request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
                request
            } else {
                request.header("connection", "upgrade").header("upgrade", protocol).body(nothing()).unwrap()
            }
        };
        let method = if speaks.is_http2() { "CONNECT" } else { "GET" };
        let old = version(&client, method, "8", "websocket");
        let old = collect(client.send(old).await.unwrap()).await.unwrap();
        assert_eq!((old.status, old.header("sec-websocket-version")), (426, "13"));
        let other = version(&client, method, "13", "gopher");
        let other = collect(client.send(other).await.unwrap()).await.unwrap();
        assert_eq!(other.status, 501);
        if !speaks.is_http2() {
            let keyless = version(&client, method, "13", "websocket");
            let keyless = collect(client.send(keyless).await.unwrap()).await.unwrap();
            assert_eq!(keyless.status, 400);
        }
        assert_eq!(client.get("/status/204").await.status, 204, "the connection goes on");
    }));
}
