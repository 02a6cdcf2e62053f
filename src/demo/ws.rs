//! `/ws`: a WebSocket echo, over an HTTP/1.1 upgrade (RFC 6455) and over extended CONNECT (RFC 8441) alike.
//!
//! The frames are tungstenite's business; what is said here is who may open one and how it ends.

use futures_util::{SinkExt as _, StreamExt as _};
use stagedoor_actors::{Reply, Request, Response, Tunnel, TunnelTo};
use stagedoor_protocol::Fields;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::answer;

/// The longest message that is echoed, in octets.
const LONGEST: usize = 1 << 20;

/// Answers a request for `/ws`.
pub(super) fn answer(request: Request) -> Reply {
    match request.tunnel() {
        Some(TunnelTo::Protocol(protocol)) if protocol.eq_ignore_ascii_case("websocket") => {}
        // RFC 8441 §4, RFC 9110 §7.8: a protocol nobody speaks here.
        Some(_) => return answer::text(501, "only websocket is spoken here\n").into(),
        None => return no_upgrade(&request).into(),
    }
    let fields = request.head.fields();
    let mut answered = Fields::new();
    if fields.get("sec-websocket-version") != Some(b"13") {
        return answer::text(426, "this is version 13 of the WebSocket protocol\n")
            .with_field("sec-websocket-version", "13")
            .into();
    }
    // The key is HTTP/1.1's way of knowing that the server means it; extended CONNECT needs none (RFC 8441 §5).
    if !request.session.is_http2() {
        let key = fields.get("sec-websocket-key").filter(|key| key.len() == 24);
        let Some(key) = key else {
            return answer::bad("sec-websocket-key is missing or not 16 octets in base64").into();
        };
        answered.push("sec-websocket-accept", derive_accept_key(key));
    }
    match request.accept_tunnel(answered, echo) {
        Ok(reply) => reply,
        Err(error) => answer::bad(error.to_string()).into(),
    }
}

/// A plain request: what to do instead.
fn no_upgrade(request: &Request) -> Response {
    let response = answer::text(426, "open a WebSocket here: ws:// or wss://, over HTTP/1.1 or HTTP/2\n");
    if request.session.is_http2() { response } else { response.with_field("upgrade", "websocket") }
}

async fn echo(tunnel: Tunnel) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
        .max_write_buffer_size(4 * LONGEST);
    let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Server, Some(config)).await;
    while let Some(message) = socket.next().await {
        let sent = match message {
            // Pings are answered and a close is confirmed by the crate.
            Ok(message) if message.is_text() || message.is_binary() => socket.send(message).await,
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                break;
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a WebSocket broke");
            break;
        }
    }
}
