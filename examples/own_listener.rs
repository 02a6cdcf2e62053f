//! Sessions over streams that you accept yourself, without a listener of ours: `cargo run --example own_listener`, then
//! `curl http://127.0.0.1:7777/`. The same goes for SSH channels, pipes, or a TLS library of your own.

use std::error::Error;
use std::time::Duration;

use actix::Addr;
use stagedoor::actor::{Host, Session};
use stagedoor::{App, Close, Event, ListenerConfig, Metrics, get};
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    actix_rt::System::new().block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
        let listener = TcpListener::bind(&address).await?;
        // What sessions share: limits and deadlines, what answers, where they count. The address is for the metrics alone.
        let metrics = Metrics::new("own");
        let app = App::new().route("/", get(async || "hello from a socket of yours\n"));
        let config = ListenerConfig::new("mine", listener.local_addr()?);
        let host = Host::new(&metrics, 0, config, app.factory(&metrics)?());
        let mut events = host.events();
        println!("http://{}/", listener.local_addr()?);

        let mut sessions: Vec<Addr<Session>> = Vec::new();
        let mut open = 0usize;
        let mut ctrl_c = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (socket, peer) = accepted?;
                    sessions.retain(Addr::connected);
                    sessions.push(host.spawn_session(socket, Some(peer)));
                    open += 1;
                }
                event = events.next() => open -= usize::from(matches!(event, Some(Event::SessionClosed { .. }))),
                _ = &mut ctrl_c => break,
            }
        }

        // One way down: each session hears the same order and finishes its streams.
        for session in sessions {
            session.send(Close::graceful("the server goes")).await.ok();
        }
        let ends = async {
            while open > 0 {
                if let Some(Event::SessionClosed { .. }) = events.next().await {
                    open -= 1;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ends).await?;
        Ok(())
    })
}
