//! HTTP/2 octets for clients written out by hand: they hide nothing of what they send, and need little themselves
//! (RFC 9113 §3.4, §4; RFC 7541 §6).
//!
//! No state of a connection is kept here, and nothing is checked beyond the length of a frame.

use std::mem;

use stagedoor_protocol::StreamId;
use stagedoor_protocol::frame::{FrameHeader, HEADER_LEN, PREFACE, flag, kind};

/// A frame's octets. `payload` is shorter than 2^24 octets.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { length: payload.len() as u32, kind, flags, id: StreamId::from_wire(stream) };
    let mut octets = header.octets().to_vec();
    octets.extend_from_slice(payload);
    octets
}

/// The preface and the first SETTINGS: each stream may have `stream_window` octets on their way to us, all of them
/// together a GiB.
pub fn hello(stream_window: u32) -> Vec<u8> {
    let mut settings = vec![0, 0x4]; // SETTINGS_INITIAL_WINDOW_SIZE (§6.5.2)
    settings.extend_from_slice(&stream_window.to_be_bytes());
    let mut octets = PREFACE.to_vec();
    octets.extend(frame(kind::SETTINGS, 0, 0, &settings));
    octets.extend(window_update(0, (1 << 30) - 65_535));
    octets
}

/// WINDOW_UPDATE by `octets` (§6.9).
pub fn window_update(stream: u32, octets: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &octets.to_be_bytes())
}

/// RST_STREAM (§6.4).
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// HEADERS with a whole block, the end of the stream too unless a body follows.
pub fn headers(stream: u32, block: &[u8], end_stream: bool) -> Vec<u8> {
    let end = if end_stream { flag::END_STREAM } else { 0 };
    frame(kind::HEADERS, flag::END_HEADERS | end, stream, block)
}

/// The block of a request: literal fields without Huffman and without indexing (RFC 7541 §6.2.2). No part is longer
/// than 126 octets.
pub fn request(method: &str, scheme: &str, authority: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    // Entries 2, 6, 1 and 4 of the static table have these names.
    for (name_index, value) in [(0x02, method), (0x06, scheme), (0x01, authority), (0x04, path)] {
        block.extend_from_slice(&[name_index, value.len() as u8]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A literal field without indexing, of a new name. Neither part is longer than 126 octets.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for part in [name, value] {
        block.push(part.len() as u8);
        block.extend_from_slice(part.as_bytes());
    }
    block
}

/// `:status: 200` is entry 8 of the static table; table size updates may stand before it (RFC 7541 §4.2, §6.3).
pub fn says_200(mut block: &[u8]) -> bool {
    while let [first @ 0x20..=0x3f, rest @ ..] = block {
        // A size that does not fit the five bits goes on until an octet without the high bit (§5.1).
        let more =
            if *first == 0x3f { rest.iter().take_while(|octet| **octet & 0x80 != 0).count() + 1 } else { 0 };
        block = rest.get(more..).unwrap_or_default();
    }
    block.first() == Some(&0x88)
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream, 0 for the connection.
    pub stream: u32,
    /// Payload, padding and all.
    pub payload: Vec<u8>,
}

impl Frame {
    /// SETTINGS that want an acknowledgement.
    pub fn is_settings(&self) -> bool {
        self.kind == kind::SETTINGS && self.flags & flag::ACK == 0
    }

    /// DATA or HEADERS with the end of their stream.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }

    /// The 32-bit number at `place` of the payload, 0 where there is none.
    pub fn number(&self, place: usize) -> u32 {
        self.payload
            .get(place..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |four| u32::from_be_bytes(*four))
    }
}

/// Frames out of octets, however these are cut.
#[derive(Debug, Default)]
pub struct Frames {
    octets: Vec<u8>,
    at: usize,
}

impl Frames {
    /// More octets.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.drain(..mem::take(&mut self.at));
        self.octets.extend_from_slice(octets);
    }
}

impl Iterator for Frames {
    type Item = Frame;

    /// The next whole frame.
    fn next(&mut self) -> Option<Frame> {
        let rest = self.octets.get(self.at..)?;
        let header = FrameHeader::parse(rest.first_chunk::<HEADER_LEN>()?);
        let end = HEADER_LEN + header.length as usize;
        let payload = rest.get(HEADER_LEN..end)?.to_vec();
        self.at += end;
        Some(Frame { kind: header.kind, flags: header.flags, stream: header.id.get(), payload })
    }
}

/// The largest window (§6.9.1).
pub const MAX_WINDOW: u32 = (1 << 31) - 1;

/// RST_STREAM and GOAWAY code CANCEL (§7).
pub const CANCEL: u32 = 0x8;

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
        let octets = frame(kind::HEADERS, flag::END_HEADERS, 1, b"ab");
        assert_eq!(octets, [0, 0, 2, 1, 4, 0, 0, 0, 1, b'a', b'b']);
    }

    #[test]
    fn frames_are_found_wherever_their_octets_are_cut() {
        let octets = [reset(3, CANCEL), headers(5, b"block", true), window_update(0, 7)].concat();
        for cut in 0..octets.len() {
            let mut frames = Frames::default();
            frames.push(&octets[..cut]);
            let mut seen: Vec<Frame> = frames.by_ref().collect();
            frames.push(&octets[cut..]);
            seen.extend(frames.by_ref());
            let kinds: Vec<u8> = seen.iter().map(|frame| frame.kind).collect();
            assert_eq!(kinds, [kind::RST_STREAM, kind::HEADERS, kind::WINDOW_UPDATE], "cut at {cut}");
            assert_eq!((seen[0].stream, seen[0].number(0)), (3, CANCEL));
            assert!(seen[1].ends_stream() && seen[1].payload == b"block");
        }
    }

    #[test]
    fn a_request_is_what_a_decoder_reads() {
        let mut decoder = hpack::Decoder::new();
        let block = [request("GET", "http", "a:1", "/x"), field("cookie", "b=c")].concat();
        let fields = decoder.decode(&block).unwrap();
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| {
                format!("{} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect();
        assert_eq!(text, [":method GET", ":scheme http", ":authority a:1", ":path /x", "cookie b=c"]);
    }
}
