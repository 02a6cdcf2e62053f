//! A server on a Unix socket: `cargo run --example unix_socket`, then
//! `curl --http2-prior-knowledge --unix-socket /tmp/stagedoor.sock http://localhost/`.

use std::sync::Arc;
use std::time::Duration;

use stagedoor::{Listen, Server, SessionInfo, get};

async fn hello(session: Arc<SessionInfo>) -> String {
    format!("hello over a Unix socket: {}, by {}\n", session.unix, session.protocol)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/stagedoor.sock".to_owned());
    // Its file has mode 0660, and goes when the server stops.
    let server = Server::new().listen(Listen::unix(path)).route("/", get(hello)).start().await?;
    println!("{}", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
