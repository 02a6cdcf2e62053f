//! What an idle session costs: many of them over h2c, each after one request, held open while the server's memory is read.
//!
//! The client is written out by hand, frame by frame ([`wire`]).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stagedoor_protocol::frame::{PREFACE, flag, kind};

use crate::config::{BODY, PATH};
use crate::server::Server;
use crate::wire::{self, Frame, Frames, frame};

/// Opens `sessions` sessions, one request on each, and returns KiB of resident memory per session.
///
/// # Errors
/// When a session cannot be opened, a request is not answered by 200 and the right number of octets, or the server is gone.
pub fn kib_per_session(server: &Server, sessions: u32) -> Result<f64> {
    let process = server.observed();
    // The first request makes what all share: pools, caches, clocks.
    drop(open(server.port).context("the first session")?);
    thread::sleep(SETTLE);
    let before = process.resident_kib()?;
    let mut held = Vec::new();
    for number in 0..sessions {
        held.push(open(server.port).with_context(|| format!("{}: session {number}", server.peer))?);
    }
    thread::sleep(SETTLE);
    let after = process.resident_kib()?;
    for (number, session) in held.iter().enumerate() {
        still_open(session).with_context(|| format!("{}: session {number} while idle", server.peer))?;
    }
    Ok(after.saturating_sub(before) as f64 / f64::from(sessions))
}

/// A session after its one request.
fn open(port: u16) -> Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let block = wire::request("GET", "http", &format!("localhost:{port}"), PATH);
    let mut first = PREFACE.to_vec();
    first.extend(frame(kind::SETTINGS, 0, 0, &[]));
    first.extend(wire::headers(1, &block, true));
    socket.write_all(&first)?;

    let mut octets = 0;
    let mut acknowledged = false;
    let mut frames = Frames::default();
    loop {
        let frame = next(&mut frames, &mut socket)?;
        match frame.kind {
            kind::SETTINGS if frame.is_settings() => {
                socket.write_all(&wire::frame(kind::SETTINGS, flag::ACK, 0, &[]))?;
                acknowledged = true;
            }
            kind::HEADERS => ensure!(wire::says_200(&frame.payload), "status is not 200: {frame:02x?}"),
            kind::DATA => octets += frame.payload.len(),
            kind::RST_STREAM | kind::GOAWAY => bail!("{frame:02x?}"),
            _ => {}
        }
        if frame.stream == 1 && frame.ends_stream() {
            break;
        }
    }
    ensure!(octets == BODY.len(), "{octets} octets");
    ensure!(acknowledged, "no SETTINGS before the answer");
    Ok(socket)
}

/// The next frame from `socket`.
fn next(frames: &mut Frames, socket: &mut TcpStream) -> Result<Frame> {
    let mut octets = [0; 4096];
    loop {
        if let Some(frame) = frames.next() {
            return Ok(frame);
        }
        let count = socket.read(&mut octets)?;
        ensure!(count > 0, "closed by the server");
        frames.push(&octets[..count]);
    }
}

/// Whatever the server sent since, it has not closed.
fn still_open(mut socket: &TcpStream) -> Result<()> {
    socket.set_nonblocking(true)?;
    let mut scratch = [0; 4096];
    loop {
        match socket.read(&mut scratch) {
            Ok(0) => bail!("closed by the server"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Allocators give memory back late; readings wait this long.
const SETTLE: Duration = Duration::from_secs(1);
