//! A WebSocket asked for the way the protocol has it: by an upgrade on HTTP/1.1, by extended CONNECT on HTTP/2.

use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::client::{Client, Speaks, nothing};

/// Asks for one at `/ws`.
pub(crate) async fn open(client: &mut Client, speaks: Speaks) -> WebSocketStream<TokioIo<Upgraded>> {
    let version = "sec-websocket-version";
    let request = if speaks.is_http2() {
        let mut request = client.request("CONNECT", "/ws").header(version, "13").body(nothing()).unwrap();
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        request
    } else {
        let request =
            client.request("GET", "/ws").header("connection", "Upgrade").header("upgrade", "websocket");
        // The key and the answer to it of RFC 6455 §1.3.
        let request = request.header(version, "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        request.body(nothing()).unwrap()
    };
    let mut response = client.send(request).await.unwrap();
    if speaks.is_http2() {
        assert_eq!(response.status(), StatusCode::OK);
    } else {
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["upgrade"], "websocket");
    }
    let io = hyper::upgrade::on(&mut response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Client, None).await
}
