//! Clients that take their time: they wait, read little, read nothing, or send little. Nothing of it is forbidden.

use std::time::Duration;

use anyhow::{Result, ensure};
use stagedoor_protocol::frame::{flag, kind};
use tokio::time::sleep;

use super::Target;
use super::dice::Dice;
use super::good::{open_http1, wait_for};
use super::link::{Carrier, Leaving, Link};
use crate::wire::{self, MAX_WINDOW};

/// One request, then silence for a while.
pub(super) async fn idle(target: &Target, carrier: Carrier, dice: &mut Dice, hold: Duration) -> Result<()> {
    if dice.coin() {
        let mut client = open_http1(target, carrier).await?;
        client.get("/bytes/13").await?;
        sleep(dice.time(hold)).await;
        client.finish().await;
        return Ok(());
    }
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    link.served(13).await?;
    sleep(dice.time(hold)).await;
    link.served(13).await?;
    link.finish().await;
    link.ended().await
}

/// A window of a thousand octets, given back bit by bit; all of it comes in the end.
pub(super) async fn tiny_window(
    target: &Target,
    carrier: Carrier,
    dice: &mut Dice,
    hold: Duration,
) -> Result<()> {
    const WINDOW: u32 = 1000;
    const STEPS: u32 = 20;
    let pause = dice.time(hold) / STEPS;
    let mut link = Link::open(target, carrier, WINDOW, Leaving::Quietly).await?;
    let stream = link.ask("GET", &format!("/bytes/{}", WINDOW * STEPS), true).await?;
    let (mut octets, mut given) = (0, WINDOW);
    loop {
        let frame = wait_for(&mut link, stream, kind::DATA).await?;
        octets += frame.payload.len() as u32; // a frame has less than 2^24
        ensure!(octets <= given, "{octets} octets where {given} were allowed");
        if frame.ends_stream() {
            break;
        }
        if octets == given && given < WINDOW * STEPS {
            sleep(pause).await;
            link.send(&wire::window_update(stream, WINDOW)).await?;
            given += WINDOW;
        }
        if octets == WINDOW * STEPS {
            break;
        }
    }
    ensure!(octets == WINDOW * STEPS, "{octets} octets");
    Ok(())
}

/// Asks for much and reads nothing; then it is gone.
pub(super) async fn stuck(target: &Target, carrier: Carrier, dice: &mut Dice, hold: Duration) -> Result<()> {
    let leaving = if dice.coin() { Leaving::Abruptly } else { Leaving::Quietly };
    let mut link = Link::open(target, carrier, MAX_WINDOW, leaving).await?;
    for _ in 0..dice.between(1, 4) {
        link.ask("GET", "/bytes/1000000000", true).await?;
    }
    sleep(dice.time(hold)).await;
    Ok(())
}

/// An upload octet by octet.
pub(super) async fn slow_upload(
    target: &Target,
    carrier: Carrier,
    dice: &mut Dice,
    hold: Duration,
) -> Result<()> {
    let octets = dice.between(1, 30) as u32;
    let pause = dice.time(hold) / octets;
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let stream = link.ask("POST", "/count", false).await?;
    for octet in 1..=octets {
        sleep(pause).await;
        let flags = if octet == octets { flag::END_STREAM } else { 0 };
        link.send(&wire::frame(kind::DATA, flags, stream, b".")).await?;
    }
    let answer = link.answer(stream).await?;
    ensure!(answer.good && answer.body == format!("{octets}\n").as_bytes(), "{octets} octets: {answer:?}");
    Ok(())
}
