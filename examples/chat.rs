//! A WebSocket chat of actors: `cargo run --example chat`, then `websocat ws://127.0.0.1:7777/chat/ann`, twice.
//!
//! The room is an actor, each member the task of a stream. An HTTP/1.1 upgrade and an extended CONNECT are one thing here.

use std::time::Duration;

use actix::prelude::*;
use futures_util::{SinkExt as _, StreamExt as _};
use stagedoor::{Fields, IntoResponse as _, Path, Request, Response, Server, State, StatusCode, Tunnel, get};
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where each member hears what is said.
#[derive(Default)]
struct Room(Vec<Sender<String>>);

enum Order {
    Join(Sender<String>),
    Say(String),
}

impl Message for Order {
    type Result = ();
}

impl Actor for Room {
    type Context = Context<Self>;
}

impl Handler<Order> for Room {
    type Result = ();

    fn handle(&mut self, order: Order, _: &mut Self::Context) {
        match order {
            Order::Join(member) => self.0.push(member),
            // Who has gone is forgotten; who does not read loses lines and holds nobody up.
            Order::Say(line) => {
                self.0.retain(|member| !matches!(member.try_send(line.clone()), Err(TrySendError::Closed(_))))
            }
        }
    }
}

async fn chat(State(room): State<Addr<Room>>, Path(name): Path<String>, request: Request) -> Response {
    let mut fields = Fields::new();
    // HTTP/1.1 has a key to prove that a WebSocket is meant; extended CONNECT says so in its head (RFC 8441 §5).
    if let Some(key) = request.head.fields().get("sec-websocket-key") {
        fields.push("sec-websocket-accept", derive_accept_key(key));
    }
    let opened = request.tunnel_response(fields, |tunnel| member(room, name, tunnel));
    opened.unwrap_or_else(|error| (StatusCode::UPGRADE_REQUIRED, format!("{error}\n")).into_response())
}

/// Tells the room that a member goes, however it goes.
struct Leaving(Addr<Room>, String);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.try_send(Order::Say(format!("{} is gone", self.1))).ok();
    }
}

/// Runs inside of the stream: where that breaks, it is dropped where it waits.
async fn member(room: Addr<Room>, name: String, tunnel: Tunnel) {
    let mut socket = WebSocketStream::from_raw_socket(tunnel, Role::Server, None).await;
    let (tell, mut told) = channel(64);
    let _leaving = Leaving(room.clone(), name.clone());
    room.send(Order::Join(tell)).await.ok();
    room.send(Order::Say(format!("{name} is here"))).await.ok();
    loop {
        tokio::select! {
            line = told.recv() => {
                let Some(line) = line else { break };
                if socket.send(Frame::text(line)).await.is_err() {
                    break;
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    room.send(Order::Say(format!("{name}: {text}"))).await.ok();
                }
                // Pings are answered by the crate.
                Some(Ok(_)) => {}
                None | Some(Err(_)) => break,
            },
        }
    }
}

/// The room lives here, sessions have threads of their own.
fn main() -> stagedoor::Result<()> {
    System::new().block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
        let room = Room::default().start();
        let server =
            Server::new().listen(address).route("/chat/{name}", get(chat)).state(room).start().await?;
        println!("ws://{}/chat/you", server.addresses()[0].1);
        let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
        server.run_until(ctrl_c, Duration::from_secs(1)).await;
        Ok(())
    })
}
