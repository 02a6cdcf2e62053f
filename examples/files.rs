//! Files, a directory and a single one: `cargo run --example files`, then `curl -r 0-99 http://127.0.0.1:7777/static/files.rs`.

use std::time::Duration;

use stagedoor::files::{Directory, FileResponse};
use stagedoor::{Endpoint, Request, Response, RouteId, Server, get};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// Ranges, `etag` and conditional requests come with it; what cannot be sent is 404, 403 or 500 by itself.
async fn readme(request: Request) -> Response {
    FileResponse::path(README)
        .field("content-type", "text/markdown; charset=utf-8")
        .response(&request.head)
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let directory = Directory::open(DIRECTORY)?.mount("/static").listing(true);
    let server = Server::new()
        .listen(address)
        .route("/readme", get(readme))
        .mount("/static", Endpoint::service(directory.factory(RouteId::UNMATCHED, "static")))
        .start()
        .await?;
    println!("http://{}/static/", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
