//! A server of one's own in one file: `cargo run --example hello`, then `curl --http2-prior-knowledge http://127.0.0.1:7777/you`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stagedoor::{ListenerConfig, Metrics, Reply, Request, Response, ServerBuilder, Service};

struct Hello;

impl Service for Hello {
    fn call(&self, request: Request) -> Reply {
        let path = request.head.path().unwrap_or("/");
        Response::text(format!("hello {}, this is session {}\n", &path[1..], request.session.id)).into()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    actix_rt::System::new().block_on(async {
        let metrics = Metrics::new("stagedoor");
        let config = ListenerConfig::new("hello", "127.0.0.1:7777".parse()?);
        let server =
            ServerBuilder::new(metrics, 1).listen(config, Arc::new(|| Rc::new(Hello)), false).start().await?;
        println!("http://{}/  (Ctrl-C drains)", server.addresses()[0].1);
        tokio::signal::ctrl_c().await?;
        server
            .drain(Duration::ZERO, Duration::from_secs(10), |left| {
                println!("{} sessions left", left.sessions)
            })
            .await;
        server.stop().await;
        Ok(())
    })
}
