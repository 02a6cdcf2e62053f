//! The smallest server, for measuring: `cargo run --release -p stagedoor-actors --example bare [WORKERS]`.
//! Answers every request with 13 octets over h2c and HTTP/1.1 and prints where it listens.

use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::{ListenerConfig, Reply, Request, Response, ServerBuilder, Service};
use stagedoor_metrics::Metrics;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Hello;

impl Service for Hello {
    fn call(&self, _: Request) -> Reply {
        Response::text("hello, world\n").into()
    }
}

fn main() {
    let workers = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    actix::System::new().block_on(async move {
        let mut config = ListenerConfig::new("plain", ([127, 0, 0, 1], 0).into());
        config.limits.sessions_per_address = None;
        let builder = ServerBuilder::new(Metrics::new("stagedoor"), workers);
        let builder = builder.listen(config, Arc::new(|| Rc::new(Hello) as Rc<dyn Service>), false);
        match builder.start().await {
            Ok(server) => println!("{}", server.addresses()[0].1),
            Err(error) => return eprintln!("{error}"),
        }
        std::future::pending().await
    });
}
