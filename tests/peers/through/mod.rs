//! Other people's servers behind the compiled gateway, and their clients in front of it: what either would see of the
//! other is seen through it.

mod browser;
mod curl;
mod grpc;
mod haproxy;
mod load;
mod nghttpd;
mod nginx;
mod node;

use crate::support::Gateway;
use crate::support::client::{Client, Speaks};
use crate::support::configured::serving;
use crate::support::exposition::Scrape;

/// A gateway that sends every request to one upstream, `site`, of which the rest of the table is given.
fn before(upstream: &str) -> Gateway {
    serving(&format!(
        "[[upstream]]\nname = \"site\"\n{upstream}\n\
         [[route]]\nname = \"all\"\nproxy = {{ upstream = \"site\" }}"
    ))
}

/// One client of each kind.
async fn clients(gateway: &Gateway) -> Vec<Client> {
    let mut clients = Vec::new();
    for speaks in Speaks::ALL {
        clients.push(Client::connect(gateway, speaks).await);
    }
    clients
}

/// What a scraper sees now.
async fn scrape(gateway: &Gateway) -> Scrape {
    Scrape::read(Client::admin(gateway).await.get("/metrics").await.text())
}
