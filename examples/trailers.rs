//! A stream in the handler's hands, with trailers: `cargo run --example trailers`, then
//! `curl --http2-prior-knowledge -i -d 'some words' http://127.0.0.1:7777/count`.

use std::time::Duration;

use stagedoor::{Fields, Params, Server, ServerStream, on_stream};

/// Sends a body back as it comes. What cannot be known before the end, how much it was, is said at the end.
async fn count(mut stream: ServerStream, _: Params) {
    // HTTP/1.1 sends trailers that are announced, to clients that say `te: trailers`; HTTP/2 sends them anyway.
    let announced = Fields::from_iter([("content-type", "text/plain"), ("trailer", "x-octets, x-words")]);
    if stream.respond(200, announced).is_err() {
        return;
    }
    let (mut octets, mut words, mut in_word) = (0, 0, false);
    while let Some(chunk) = stream.body().chunk().await {
        // A handler that ends in the middle of its answer has its stream reset.
        let Ok(chunk) = chunk else { return };
        octets += chunk.len();
        for octet in &chunk {
            words += usize::from(!in_word && !octet.is_ascii_whitespace());
            in_word = !octet.is_ascii_whitespace();
        }
        // Waits while the client takes nothing, and fails when it has gone.
        if stream.write(chunk).await.is_err() {
            return;
        }
    }
    let counted = [("x-octets", octets.to_string()), ("x-words", words.to_string())];
    stream.trailers(Fields::from_iter(counted)).ok();
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let server = Server::new().listen(address).route("/count", on_stream(count)).start().await?;
    println!("http://{}/count", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
