//! An axum `Router` on stagedoor, unchanged: `cargo run --example axum`, then `curl http://127.0.0.1:7777/users/7`.

use std::time::Duration;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use stagedoor::{Server, tower};

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let router = Router::new()
        .route("/", get(async || "hello from axum\n"))
        .route("/users/{id}", get(async |Path(id): Path<u64>| Json([("user", id)])));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let server = Server::new().listen(address).fallback(tower(router)).start().await?;
    println!("http://{}/", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
