//! A gateway that is told to stop while clients are there: what runs is finished, what idles is let go.

use anyhow::{Context as _, Result, ensure};
use stagedoor_protocol::frame::kind;

use super::Target;
use super::good::{open_http1, wait_for};
use super::link::{Carrier, Leaving, Link};
use crate::wire::{self, CANCEL, MAX_WINDOW};

/// Opens sessions that idle, that have an answer on its way, and that hold a stream without an end; calls `begin` and
/// sees each of them through. The gateway's own end is the caller's.
///
/// # Errors
/// When an answer does not come whole, or a session is not closed.
pub async fn drain(target: &Target, begin: impl FnOnce()) -> Result<()> {
    let mut idle = Vec::new();
    let mut running = Vec::new();
    let mut endless = Vec::new();
    let mut http1 = Vec::new();
    for carrier in [Carrier::Plain, Carrier::Tls] {
        let open = async || Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await;
        let mut link = open().await?;
        link.served(13).await?;
        idle.push(link);

        let mut link = open().await?;
        let stream = link.ask("GET", &format!("/drip?bytes={OCTETS}&rate=1k"), true).await?;
        let first = wait_for(&mut link, stream, kind::DATA).await?;
        running.push((link, stream, first.payload.len()));

        let mut link = open().await?;
        let stream = link.ask("GET", "/events", true).await?;
        wait_for(&mut link, stream, kind::DATA).await?;
        endless.push((link, stream));

        let mut client = open_http1(target, carrier).await?;
        client.get("/bytes/13").await?;
        http1.push(client);
    }
    begin();
    for (link, stream) in &mut endless {
        while link.next().await?.context("closed without GOAWAY")?.kind != kind::GOAWAY {}
        // Whoever hears that it is over lets go of what has no end.
        link.send(&wire::reset(*stream, CANCEL)).await?;
    }
    for (link, stream, begun) in &mut running {
        let rest = link.answer(*stream).await.context("an answer on its way")?;
        let octets = *begun + rest.body.len();
        ensure!(octets == OCTETS, "{octets} octets came, not {OCTETS}");
    }
    let links = idle.iter_mut().chain(endless.iter_mut().map(|(link, _)| link));
    for link in links.chain(running.iter_mut().map(|(link, ..)| link)) {
        link.ended().await?;
    }
    for client in &mut http1 {
        ensure!(client.octets(1).await.is_err(), "an idle connection has something to say");
    }
    Ok(())
}

/// Octets of an answer that is on its way.
const OCTETS: usize = 1500;
