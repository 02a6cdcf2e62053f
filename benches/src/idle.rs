//! What an idle session costs: many of them over h2c, each after one request, held open while the server's memory is read.
//!
//! The client is written out by hand (RFC 9113 §3.4, §4, §6.5), so that it neither hides what it sends nor needs much itself.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::config::{BODY, PATH};
use crate::server::Server;

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
    let block = request_block(port);
    let mut first = PREFACE.to_vec();
    first.extend_from_slice(&frame(SETTINGS, 0, 0, &[]));
    first.extend_from_slice(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
    socket.write_all(&first)?;

    let mut octets = 0;
    let mut acknowledged = false;
    loop {
        let (kind, flags, stream, payload) = read_frame(&mut socket)?;
        match kind {
            SETTINGS if flags & ACK == 0 => {
                socket.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
                acknowledged = true;
            }
            HEADERS => ensure!(says_200(&payload), "status is not 200: {payload:02x?}"),
            DATA => octets += payload.len(),
            RST_STREAM | GOAWAY => bail!("frame type {kind} on stream {stream}: {payload:02x?}"),
            _ => {}
        }
        if stream == 1 && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            break;
        }
    }
    ensure!(octets == BODY.len(), "{octets} octets");
    ensure!(acknowledged, "no SETTINGS before the answer");
    Ok(socket)
}

/// GET by indexed and literal fields without Huffman and without indexing (RFC 7541 §6.1, §6.2.2).
fn request_block(port: u16) -> Vec<u8> {
    let authority = format!("localhost:{port}");
    let mut block = vec![0x82, 0x86]; // :method GET, :scheme http
    for (name_index, value) in [(0x04, PATH), (0x01, authority.as_str())] {
        block.extend_from_slice(&[name_index, value.len() as u8]); // both are shorter than 127
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// `:status: 200` is entry 8 of the static table; table size updates may stand before it (RFC 7541 §4.2, §6.3).
fn says_200(mut block: &[u8]) -> bool {
    while let [first @ 0x20..=0x3f, rest @ ..] = block {
        // A size that does not fit the five bits goes on until an octet without the high bit (§5.1).
        let more =
            if *first == 0x3f { rest.iter().take_while(|octet| **octet & 0x80 != 0).count() + 1 } else { 0 };
        block = rest.get(more..).unwrap_or_default();
    }
    block.first() == Some(&0x88)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32; // far below 2^24
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Type, flags, stream and payload.
fn read_frame(socket: &mut TcpStream) -> Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head)?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    socket.read_exact(&mut payload)?;
    Ok((kind, flags, u32::from_be_bytes(stream) & 0x7fff_ffff, payload))
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

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// Allocators give memory back late; readings wait this long.
const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_behind_size_updates() {
        assert!(says_200(&[0x88, 0x5f]));
        assert!(says_200(&[0x20, 0x3f, 0xe1, 0x1f, 0x88]));
        assert!(!says_200(&[0x8d]));
        assert!(!says_200(&[0x3f]));
    }

    #[test]
    fn a_frame_has_its_length_in_front() {
        assert_eq!(frame(HEADERS, END_HEADERS, 1, b"ab"), [0, 0, 2, 1, 4, 0, 0, 0, 1, b'a', b'b']);
    }
}
