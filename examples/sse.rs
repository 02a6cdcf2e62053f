//! Server-sent events: `cargo run --example sse`, then open http://127.0.0.1:7777/ or `curl -N http://127.0.0.1:7777/ticks`.

use std::time::Duration;

use futures_util::{Stream, stream};
use http::HeaderMap;
use stagedoor::{Html, Server, Sse, SseEvent, get};
use tokio::time::{Interval, interval};

const PAGE: &str = "<!doctype html><title>ticks</title><pre id=p></pre><script>
new EventSource('/ticks').addEventListener('tick', event => p.textContent += event.data + '\\n')
</script>";

/// A tick a second, counted on from the last one that a client which comes back has heard. Nothing ticks for one that has gone:
/// the stream of events is dropped with its HTTP stream.
async fn ticks(fields: HeaderMap) -> Sse<impl Stream<Item = SseEvent>> {
    let heard = fields.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    Sse(stream::unfold((heard.unwrap_or(0), interval(Duration::from_secs(1))), tick))
}

async fn tick((count, mut clock): (u64, Interval)) -> Option<(SseEvent, (u64, Interval))> {
    clock.tick().await;
    let count = count + 1;
    let event = SseEvent::data(format!("tick {count}")).event("tick").id(count.to_string());
    Some((event, (count, clock)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let page = get(async || Html(PAGE));
    let server = Server::new().listen(address).route("/", page).route("/ticks", get(ticks)).start().await?;
    println!("http://{}/", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    // An event stream has no end of its own: its client is given a second.
    server.run_until(ctrl_c, Duration::from_secs(1)).await;
    Ok(())
}
