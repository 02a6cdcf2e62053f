//! Requests without a pause from several clients, while something is done to a server.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;

use futures_util::future::{join, join_all};
use tokio::sync::watch;

use crate::support::Gateway;
use crate::support::client::{Client, Speaks, nothing};

/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// How far a load is, for who waits for it.
pub(super) struct Meter(watch::Receiver<usize>);

impl Meter {
    /// Waits until this many more requests have ended, well or not.
    pub(super) async fn more(&mut self, requests: usize) {
        let wanted = *self.0.borrow() + requests;
        self.0.wait_for(|ended| *ended >= wanted).await.expect("the load goes on");
    }
}

/// GETs of `path` over HTTP/2, at once and again and again, until what is done `meanwhile` is over: how many ended how.
pub(super) async fn under_load<F: Future<Output = ()>>(
    gateway: &Gateway,
    path: &str,
    meanwhile: impl FnOnce(Meter) -> F,
) -> BTreeMap<String, usize> {
    let first = Client::connect(gateway, Speaks::H2c).await;
    let clients: Vec<_> = (0..AT_ONCE).map(|_| first.share()).collect();
    let (count, counted) = watch::channel(0);
    let over = Cell::new(false);
    let asking = clients.into_iter().map(async |mut client| {
        let mut ends = Vec::new();
        while !over.get() {
            let request = client.request("GET", path).body(nothing()).unwrap();
            ends.push(match client.whole(request).await {
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.to_string(),
            });
            count.send_modify(|ended| *ended += 1);
            // A failure may be quick, and whoever does something needs a turn.
            tokio::task::yield_now().await;
        }
        ends
    });
    let done = async {
        meanwhile(Meter(counted)).await;
        over.set(true);
    };
    let (asked, ()) = join(join_all(asking), done).await;
    let mut ends = BTreeMap::new();
    for end in asked.into_iter().flatten() {
        *ends.entry(end).or_default() += 1;
    }
    ends
}
