//! An axum `Router` on stagedoor, unchanged: `cargo run --example axum`, then `curl http://127.0.0.1:7777/users/7`.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use stagedoor::{Server, tower};

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let router = Router::new()
        .route("/", get(async || "hello from axum\n"))
        .route("/users/{id}", get(async |Path(id): Path<u64>| Json([("user", id)])));
    let server = Server::new().listen("127.0.0.1:7777").fallback(tower(router)).start().await?;
    println!("http://{}/", server.addresses()[0].1);
    server.stopped().await;
    Ok(())
}
