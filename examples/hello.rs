//! A server of one's own in one file: `cargo run --example hello`, then `curl --http2-prior-knowledge http://127.0.0.1:7777/you`.

use std::time::Duration;

use stagedoor::{HttpRequest, ListenerConfig, Metrics, ServerBuilder, handler};

async fn hello(request: HttpRequest) -> String {
    format!("hello {}, this is session {}\n", &request.uri().path()[1..], request.body().session().id)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    actix_rt::System::new().block_on(async {
        let metrics = Metrics::new("stagedoor");
        let config = ListenerConfig::new("hello", "127.0.0.1:7777".parse()?);
        let server = ServerBuilder::new(metrics, 1).listen(config, handler(hello), false).start().await?;
        println!("http://{}/  (Ctrl-C drains)", server.addresses()[0].1);
        tokio::signal::ctrl_c().await?;
        server
            .drain_with(Duration::ZERO, Duration::from_secs(10), |left| {
                println!("{} sessions left", left.sessions)
            })
            .await;
        server.stop().await;
        Ok(())
    })
}
