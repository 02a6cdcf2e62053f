//! Clients without manners: they vanish at every place where one can, take back what they asked for, or never learned the
//! language. Whatever becomes of them, the soak only asks that nothing of them is left.

use anyhow::{Result, ensure};
use stagedoor_protocol::frame::kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Target;
use super::dice::Dice;
use super::good::wait_for;
use super::link::{Carrier, Leaving, Link};
use crate::wire::{self, CANCEL, MAX_WINDOW};

/// Requests that are taken back, few enough to be forgiven; the session serves on.
pub(super) async fn cancels(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let mut open = Vec::new();
    for _ in 0..dice.between(1, 30) {
        let path = ["/delay/60", "/events", "/drip?bytes=1M&rate=1k"][dice.between(0, 2) as usize];
        let (stream, octets) = link.request("GET", path, true);
        link.send(&octets).await?;
        match dice.coin() {
            true => link.send(&wire::reset(stream, CANCEL)).await?,
            false => open.push(stream),
        }
    }
    link.served(13).await?;
    for stream in open {
        link.send(&wire::reset(stream, CANCEL)).await?;
    }
    link.served(13).await
}

/// Gone in the middle of a download.
pub(super) async fn vanish_down(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, leaving(dice)).await?;
    let path = ["/bytes/100000000", "/drip?bytes=1M&rate=1k", "/events"][dice.between(0, 2) as usize];
    let stream = link.ask("GET", path, true).await?;
    wait_for(&mut link, stream, kind::DATA).await.map(drop)
}

/// Gone in the middle of an upload, sometimes with the other direction still open.
pub(super) async fn vanish_up(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, leaving(dice)).await?;
    let path = ["/echo", "/sha256", "/count"][dice.between(0, 2) as usize];
    let stream = link.ask("POST", path, false).await?;
    let octets = vec![b'.'; dice.between(1, 16_000) as usize];
    link.send(&wire::frame(kind::DATA, 0, stream, &octets)).await?;
    if dice.coin() {
        link.finish().await;
        link.ended().await?;
    }
    Ok(())
}

/// Gone in the middle of a frame: of its head, of a header block, of a body.
pub(super) async fn half_frame(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, leaving(dice)).await?;
    let (stream, head) = link.request("POST", "/echo", false);
    let octets = [head, wire::frame(kind::DATA, 0, stream, &[b'.'; 1000])].concat();
    let cut = dice.between(1, octets.len() as u64 - 1) as usize;
    link.send(&octets[..cut]).await
}

/// Gone before it said a word, or in the middle of its first one.
pub(super) async fn half_hello(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let address = if carrier == Carrier::Tls { target.public } else { target.plain };
    let mut tcp = TcpStream::connect(address).await?;
    if leaving(dice) == Leaving::Abruptly {
        rustix::net::sockopt::set_socket_linger(&tcp, Some(std::time::Duration::ZERO))?;
    }
    // The head of a TLS record with a ClientHello of 512 octets, and how it begins.
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on";
    let word = if carrier == Carrier::Tls { &tls[..] } else { b"PRI * HTTP/2.0\r\n\r\nSM\r\n" };
    let cut = dice.between(0, word.len() as u64) as usize;
    tcp.write_all(&word[..cut]).await?;
    Ok(())
}

/// Another language; it hears something or nothing, and the gateway closes.
pub(super) async fn foreign(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let address = if carrier == Carrier::Tls { target.public } else { target.plain };
    let mut tcp = TcpStream::connect(address).await?;
    let words: [&[u8]; 3] =
        [b"EHLO localhost\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"];
    tcp.write_all(words[dice.between(0, 2) as usize]).await?;
    let mut heard = Vec::new();
    // It may be told by RST.
    let _ = tcp.read_to_end(&mut heard).await;
    ensure!(heard.len() < 10_000, "{} octets for nothing", heard.len());
    Ok(())
}

fn leaving(dice: &mut Dice) -> Leaving {
    if dice.coin() { Leaving::Abruptly } else { Leaving::Quietly }
}
