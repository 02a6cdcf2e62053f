//! The chat: who came by HTTP/1.1 and who came by HTTP/2 hear each other.

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::program::Example;
use crate::support::client::{Client, nothing};
use crate::support::{PATIENCE, run};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Opens a WebSocket the way the protocol has it.
async fn open(client: &mut Client, http2: bool, path: &str) -> Socket {
    let version = "sec-websocket-version";
    let request = if http2 {
        let mut request = client.request("CONNECT", path).header(version, "13").body(nothing()).unwrap();
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        request
    } else {
        let request = client.request("GET", path).header("connection", "Upgrade");
        // The key and the answer to it of RFC 6455 §1.3.
        let request = request.header("upgrade", "websocket").header(version, "13");
        request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(nothing()).unwrap()
    };
    let mut response = client.send(request).await.unwrap();
    if http2 {
        assert_eq!(response.status(), StatusCode::OK);
    } else {
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
    let io = hyper::upgrade::on(&mut response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Client, None).await
}

async fn hears(socket: &mut Socket, line: &str) {
    let heard = tokio::time::timeout(PATIENCE / 4, socket.next()).await;
    let heard = heard.unwrap_or_else(|_| panic!("never heard {line:?}"));
    assert_eq!(heard.unwrap().unwrap(), Message::text(line));
}

#[test]
fn two_members_hear_each_other_over_two_protocols() {
    let example = Example::start("chat");
    let address = example.address();
    run(async {
        let (mut http1, mut http2) =
            (Client::plain(address, false).await, Client::plain(address, true).await);
        let mut ann = open(&mut http1, false, "/chat/ann").await;
        hears(&mut ann, "ann is here").await;
        let mut bob = open(&mut http2, true, "/chat/bob").await;
        hears(&mut bob, "bob is here").await;
        hears(&mut ann, "bob is here").await;
        for line in ["hello bob", "are you there?"] {
            ann.send(Message::text(line)).await.unwrap();
            for socket in [&mut ann, &mut bob] {
                hears(socket, &format!("ann: {line}")).await;
            }
        }
        bob.send(Message::text("I am")).await.unwrap();
        hears(&mut ann, "bob: I am").await;
        hears(&mut bob, "bob: I am").await;
        // A member that leaves in good order, and one whose socket is gone.
        bob.close(None).await.unwrap();
        assert!(bob.next().await.is_none_or(|end| end.is_ok_and(|frame| frame.is_close())));
        hears(&mut ann, "bob is gone").await;
        let mut eve = open(&mut http2, true, "/chat/eve").await;
        hears(&mut eve, "eve is here").await;
        drop((ann, http1));
        hears(&mut eve, "ann is gone").await;
        let plain = http2.get("/chat/sam").await;
        assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED, "{}", plain.text());
        eve.close(None).await.unwrap();
    });
    example.interrupted();
}
