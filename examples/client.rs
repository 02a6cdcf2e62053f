//! Our client and a server of ours in one program: `cargo run --example client`. It says what it asks and hears, and ends.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use stagedoor::client::{self, Options, RequestOptions, RequestParts};
use stagedoor::{Fields, Params, Server, ServerStream, on_stream};

/// Says everything louder as it comes, and at the end how much it was.
async fn louder(mut stream: ServerStream, _: Params) {
    let mut octets = 0;
    while let Some(chunk) = stream.body().chunk().await {
        // A body that breaks, or a client that has gone: the stream is over, and so is its handler.
        let Ok(chunk) = chunk else { return };
        octets += chunk.len();
        if stream.write(chunk.to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
    stream.trailers(Fields::from_iter([("x-octets", octets.to_string())])).ok();
}

/// A session of ours is actors, too: it wants an actix `System`.
fn main() -> Result<(), Box<dyn Error>> {
    actix_rt::System::new().block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
        let server = Server::new().listen(address).route("/louder", on_stream(louder)).start().await?;
        let site = format!("http://{}", server.addresses()[0].1);
        println!("{site}/");
        let session = client::connect(&site, Options::default())?;

        // A request of the `http` crate: its body is known whole.
        let mut answer = session.send(http::Request::post("/louder").body("a whole body")?).await?;
        println!("{} {:?}", answer.status(), answer.body_mut().collect_up_to(1000).await?);

        // A stream: what is sent next may depend on what was heard.
        let mut stream = session.request(RequestParts::post("/louder"), RequestOptions::default())?;
        for word in ["piece", "by", "piece"] {
            stream.send_data(Bytes::from_static(word.as_bytes())).await?;
            if let Some(heard) = stream.chunk().await {
                println!("{word} -> {:?}", heard?);
            }
        }
        stream.finish().await?;
        while let Some(rest) = stream.chunk().await {
            println!("and {:?}", rest?);
        }
        println!("trailers {:?}", stream.trailers());

        println!("{}", session.close().await);
        server.drain(Duration::from_secs(10)).await;
        server.stop().await;
        Ok(())
    })
}
