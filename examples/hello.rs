//! A server in a few lines: `cargo run --example hello`, then `curl --http2-prior-knowledge http://127.0.0.1:7777/hello/you`.

use std::sync::Arc;
use std::time::Duration;

use stagedoor::{Path, Server, SessionInfo, get};

async fn hello(Path(name): Path<String>, session: Arc<SessionInfo>) -> String {
    format!("hello {name}, this is session {} over {}\n", session.id, session.protocol)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let server = Server::new().listen(address).route("/hello/{name}", get(hello)).start().await?;
    println!("http://{}/hello/you", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
