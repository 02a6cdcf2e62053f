//! The frames of one session, both ways, as `get -v` shows them on stderr.
//!
//! Reads the octets that cross and decodes header blocks with tables of its own; changes nothing. Invariant: values of
//! `authorization`, `proxy-authorization`, `cookie` and `set-cookie` are not shown, and nothing a peer sends reaches the
//! terminal as a control character. Memory: one payload, at most [`KEPT`] octets, and one header block of as many.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::time::Instant;

use stagedoor::StreamId;
use stagedoor::client::WireObserver;
use stagedoor_actors::Redact;
use stagedoor_protocol::ErrorCode;
use stagedoor_protocol::frame::{
    FrameHeader, HEADER_LEN, PREFACE, flag, flag_names, kind, name, unknown_flags,
};
use stagedoor_protocol::hpack::{Decoder, FieldRef};
use stagedoor_protocol::settings;

/// Octets of a payload that are looked at, and of a header block that are decoded.
const KEPT: usize = 1 << 20;

/// Any table a session of ours allows or uses.
const TABLE: u32 = 65_536;

/// Fields whose values are credentials.
static SECRET: LazyLock<Redact> = LazyLock::new(Redact::default);

/// See the module.
pub(super) struct FrameLog {
    started: Instant,
    sent: RefCell<Reader>,
    received: RefCell<Reader>,
}

impl FrameLog {
    /// A log of a session that has not begun.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            sent: RefCell::new(Reader::new('>', true)),
            received: RefCell::new(Reader::new('<', false)),
        }
    }

    fn show(&self, reader: &RefCell<Reader>, octets: &[u8]) {
        let mut text = String::new();
        reader.borrow_mut().read(octets, self.started.elapsed().as_secs_f64(), &mut text);
        if !text.is_empty() {
            // Whoever closed stderr does not want to see more.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl WireObserver for FrameLog {
    fn sent(&self, octets: &[u8]) {
        self.show(&self.sent, octets);
    }

    fn received(&self, octets: &[u8]) {
        self.show(&self.received, octets);
    }
}

/// One direction.
struct Reader {
    arrow: char,
    at: At,
    decoder: Decoder,
    /// Header blocks can be read; after an error none can.
    in_step: bool,
    /// A header block that goes on in CONTINUATION.
    block: Vec<u8>,
}

enum At {
    /// So many octets of the preface are still to come.
    Preface(usize),
    Header(Vec<u8>),
    Payload {
        header: FrameHeader,
        kept: Vec<u8>,
        left: usize,
    },
}

impl Reader {
    fn new(arrow: char, preface: bool) -> Self {
        let at = if preface { At::Preface(PREFACE.len()) } else { At::Header(Vec::new()) };
        Self { arrow, at, decoder: Decoder::new(TABLE), in_step: true, block: Vec::new() }
    }

    /// Appends what `octets` say to `text`.
    fn read(&mut self, mut octets: &[u8], seconds: f64, text: &mut String) {
        loop {
            match &mut self.at {
                At::Preface(left) => {
                    take(&mut octets, left);
                    if *left > 0 {
                        return;
                    }
                    let _ = writeln!(text, "[{seconds:>8.3}] {} PREFACE", self.arrow);
                    self.at = At::Header(Vec::with_capacity(HEADER_LEN));
                }
                At::Header(head) => {
                    let mut missing = HEADER_LEN - head.len();
                    head.extend_from_slice(take(&mut octets, &mut missing));
                    let Ok(whole) = <&[u8; HEADER_LEN]>::try_from(head.as_slice()) else { return };
                    let header = FrameHeader::parse(whole);
                    self.announce(header, seconds, text);
                    self.at = At::Payload { header, kept: Vec::new(), left: header.length as usize };
                }
                At::Payload { header, kept, left } => {
                    let piece = take(&mut octets, left);
                    if header.kind != kind::DATA {
                        let room = KEPT - kept.len();
                        kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
                    }
                    if *left > 0 {
                        return;
                    }
                    let (header, kept) = (*header, std::mem::take(kept));
                    self.at = At::Header(Vec::with_capacity(HEADER_LEN));
                    self.explain(header, &kept, text);
                }
            }
        }
    }

    fn announce(&self, header: FrameHeader, seconds: f64, text: &mut String) {
        let _ = write!(text, "[{seconds:>8.3}] {} ", self.arrow);
        match name(header.kind) {
            "unknown" => {
                let _ = write!(text, "frame type 0x{:02x}", header.kind);
            }
            name => text.push_str(name),
        }
        let _ = write!(text, " stream={} length={}", header.id.get(), header.length);
        let flags = flags(header);
        if !flags.is_empty() {
            let _ = write!(text, " flags={flags}");
        }
        text.push('\n');
    }

    /// What the payload says, a line each.
    fn explain(&mut self, header: FrameHeader, payload: &[u8], text: &mut String) {
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE => {
                let Some(mut fragment) = unpadded(header, payload) else { return };
                if header.kind == kind::PUSH_PROMISE {
                    let Some((promised, rest)) = number(fragment) else { return };
                    line(text, format_args!("promises stream {}", StreamId::from_wire(promised)));
                    fragment = rest;
                } else if header.has(flag::PRIORITY) {
                    fragment = fragment.get(5..).unwrap_or_default();
                }
                self.block.clear();
                self.fragment(header, fragment, text);
            }
            kind::CONTINUATION => self.fragment(header, payload, text),
            kind::SETTINGS => {
                for entry in payload.chunks_exact(6) {
                    let [a, b, value @ ..] = entry else { continue };
                    let (id, value) =
                        (u16::from_be_bytes([*a, *b]), number(value).map_or(0, |(value, _)| value));
                    match settings::name(id) {
                        Some(name) => line(text, format_args!("{name}={value}")),
                        None => line(text, format_args!("0x{id:04x}={value}")),
                    }
                }
            }
            kind::RST_STREAM => {
                if let Some((code, _)) = number(payload) {
                    line(text, format_args!("code={}", ErrorCode(code)));
                }
            }
            kind::GOAWAY => {
                if let Some((last, rest)) = number(payload)
                    && let Some((code, rest)) = number(rest)
                {
                    line(text, format_args!("last={} code={}", StreamId::from_wire(last), ErrorCode(code)));
                    if !rest.is_empty() {
                        line(text, format_args!("{}", shown(rest)));
                    }
                }
            }
            kind::WINDOW_UPDATE => {
                if let Some((increment, _)) = number(payload) {
                    line(text, format_args!("increment={}", increment & 0x7fff_ffff));
                }
            }
            kind::PING => {
                let _ = write!(text, "            ");
                for octet in payload {
                    let _ = write!(text, "{octet:02x}");
                }
                text.push('\n');
            }
            _ => {}
        }
    }

    fn fragment(&mut self, header: FrameHeader, fragment: &[u8], text: &mut String) {
        if self.block.len() + fragment.len() > KEPT {
            self.in_step = false;
        }
        if !self.in_step {
            return line(text, format_args!("(header blocks cannot be read any more)"));
        }
        self.block.extend_from_slice(fragment);
        if !header.has(flag::END_HEADERS) {
            return;
        }
        let block = std::mem::take(&mut self.block);
        let result = self.decoder.decode(&block, KEPT, |field| {
            show_field(field, text);
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            self.in_step = false;
            line(text, format_args!("({error})"));
        }
    }
}

fn show_field(field: FieldRef<'_>, text: &mut String) {
    let name = shown(field.name);
    if SECRET.hides(field.name) {
        line(text, format_args!("{name}: [redacted, {} octets]", field.value.len()));
    } else {
        line(text, format_args!("{name}: {}", shown(field.value)));
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "            {what}");
}

/// Text as a terminal may see it.
fn shown(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for sign in String::from_utf8_lossy(octets).chars() {
        match sign.is_control() {
            true => text.extend(sign.escape_default()),
            false => text.push(sign),
        }
    }
    text
}

/// Takes up to `left` octets off the front.
fn take<'a>(octets: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let (piece, rest) = octets.split_at(octets.len().min(*left));
    *octets = rest;
    *left -= piece.len();
    piece
}

/// Four octets off the front.
fn number(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = octets.split_first_chunk()?;
    Some((u32::from_be_bytes(*first), rest))
}

fn unpadded(header: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    if !header.has(flag::PADDED) {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// Names of the flags that are set and mean something, others as a number.
fn flags(header: FrameHeader) -> String {
    let mut names: Vec<String> = flag_names(header.kind, header.flags).map(str::to_owned).collect();
    let rest = unknown_flags(header.kind, header.flags);
    if rest != 0 {
        names.push(format!("0x{rest:02x}"));
    }
    names.join("|")
}

#[cfg(test)]
mod tests {
    use stagedoor_protocol::hpack::Encoder;

    use super::*;

    fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { length: payload.len() as u32, kind, flags, id: StreamId::from_wire(id) };
        [&header.octets()[..], payload].concat()
    }

    /// What is shown, the times left out.
    fn read(reader: &mut Reader, octets: &[u8], pieces: usize) -> Vec<String> {
        let mut text = String::new();
        for piece in octets.chunks(pieces) {
            reader.read(piece, 0.0, &mut text);
        }
        text.lines().map(|line| line.trim_start_matches("[   0.000]").trim().to_owned()).collect()
    }

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        let (mut encoder, mut block) = (Encoder::new(), Vec::new());
        encoder.begin(&mut block);
        for (name, value) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), false, &mut block);
        }
        block
    }

    #[test]
    fn where_octets_are_cut_does_not_matter() {
        let mut octets = PREFACE.to_vec();
        octets.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0, 0xf0, 1, 0, 0, 0, 7]));
        octets.extend(frame(kind::SETTINGS, flag::ACK, 0, &[]));
        octets.extend(frame(kind::HEADERS, 5, 1, &block(&[(":path", "/x")])));
        octets.extend(frame(kind::DATA, 1, 3, &[b'a'; 100]));
        octets.extend(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]));
        octets.extend(frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8]));
        octets.extend(frame(kind::GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0bye\x1b"));
        octets.extend(frame(0x2a, 0x80, 0, b"?"));
        let expected = [
            "> PREFACE",
            "> SETTINGS stream=0 length=12",
            "INITIAL_WINDOW_SIZE=256",
            "0xf001=7",
            "> SETTINGS stream=0 length=0 flags=ACK",
            "> HEADERS stream=1 length=4 flags=END_STREAM|END_HEADERS",
            ":path: /x",
            "> DATA stream=3 length=100 flags=END_STREAM",
            "> WINDOW_UPDATE stream=0 length=4",
            "increment=256",
            "> RST_STREAM stream=3 length=4",
            "code=CANCEL",
            "> GOAWAY stream=0 length=12",
            "last=3 code=NO_ERROR",
            "bye\\u{1b}",
            "> frame type 0x2a stream=0 length=1 flags=0x80",
        ];
        for pieces in [1, 7, 10_000] {
            let shown = read(&mut Reader::new('>', true), &octets, pieces);
            assert_eq!(shown, expected, "pieces of {pieces}");
        }
    }

    #[test]
    fn credentials_and_control_characters_are_not_shown() {
        let fields = [
            ("authorization", "Bearer secret"),
            ("cookie", "secret=1"),
            ("set-cookie", "secret=2"),
            ("proxy-authorization", "secret"),
            ("x-title", "a\u{1b}[2Jb"),
        ];
        let shown =
            read(&mut Reader::new('<', false), &frame(kind::HEADERS, 4, 1, &block(&fields)), 5).join("\n");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("authorization: [redacted, 13 octets]"), "{shown}");
        assert!(shown.contains("x-title: a\\u{1b}[2Jb"), "{shown}");
    }

    #[test]
    fn a_block_over_several_frames_is_read_whole_and_padding_left_out() {
        let block = block(&[("x-one", "first"), ("x-two", "second")]);
        let (first, second) = block.split_at(6);
        let padded = [&[2][..], first, &[0, 0]].concat();
        let mut octets = frame(kind::HEADERS, flag::PADDED, 1, &padded);
        octets.extend(frame(kind::CONTINUATION, flag::END_HEADERS, 1, second));
        let shown = read(&mut Reader::new('<', false), &octets, 3);
        assert_eq!(shown[2..], ["x-one: first", "x-two: second"], "{shown:?}");
    }

    #[test]
    fn whatever_comes_is_shown_without_control_characters() {
        // A linear congruential generator: the same octets each time.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        for _ in 0..500 {
            let mut reader = Reader::new('<', false);
            let mut text = String::new();
            for _ in 0..20 {
                let payload: Vec<u8> = (0..next() % 64).map(|_| next()).collect();
                let octets = frame(next() % 18, next(), u32::from(next()), &payload);
                reader.read(&octets, 0.0, &mut text);
            }
            assert!(text.chars().all(|sign| sign == '\n' || !sign.is_control()), "{text:?}");
            assert_eq!(text.matches("] < ").count(), 20, "{text}");
        }
    }

    #[test]
    fn blocks_that_cannot_be_read_do_not_end_the_rest() {
        let mut octets = frame(kind::HEADERS, 4, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        octets.extend(frame(kind::HEADERS, 4, 3, &block(&[("x", "y")])));
        octets.extend(frame(kind::PING, 0, 0, &[1; 8]));
        octets.extend(frame(kind::HEADERS, flag::PADDED, 5, &[200, 1]));
        let shown = read(&mut Reader::new('<', false), &octets, 4);
        assert!(shown.contains(&"(header blocks cannot be read any more)".to_owned()), "{shown:?}");
        assert!(shown.contains(&"0101010101010101".to_owned()), "{shown:?}");
    }
}
