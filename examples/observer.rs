//! Prints what happens on every session: `cargo run --example observer`, then `curl --http2-prior-knowledge http://127.0.0.1:7777/`.

use std::time::Duration;

use stagedoor::{Server, SessionEvent, SessionHandle, get};

/// Runs on the session's own thread, in the middle of its turn: short, and nothing that waits. Who is not in a hurry reads
/// `Server::events`.
fn observe(session: &SessionHandle, event: &SessionEvent) {
    let id = &session.id;
    match event {
        SessionEvent::Opened => println!("{id} opened: {} from {:?}", session.protocol, session.peer),
        SessionEvent::StreamOpened { id: stream, head } => {
            println!("{id}/{} opened: {} {:?}", stream.get(), head.method(), head.path());
        }
        SessionEvent::StreamClosed { id: stream, outcome, status, octets: (_, sent), lasted, .. } => {
            println!("{id}/{} closed: {outcome}, {status}, {sent} octets in {lasted:?}", stream.get());
        }
        SessionEvent::Error { code, detail, .. } => println!("{id} fails: {code} {detail}"),
        SessionEvent::Closed { reason, .. } => println!("{id} closed: {reason}"),
        _ => {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let home = get(async || "you are seen\n");
    let server = Server::new().listen(address).route("/", home).observe(observe).start().await?;
    println!("http://{}/", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
