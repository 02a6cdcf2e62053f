//! HTTP/2 frame by frame over a cleartext socket, for what clients hide: GOAWAY, RST_STREAM, windows held
//! back, a socket that goes away. Sends literal header fields and decodes none.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The 32-bit number at `place` of the payload.
    pub(crate) fn number(&self, place: usize) -> u32 {
        u32::from_be_bytes(self.payload[place..place + 4].try_into().unwrap())
    }
}

/// A connection that has sent its preface.
pub(crate) struct Raw {
    socket: TcpStream,
    authority: String,
}

impl Raw {
    /// Connects; each stream may have `window` octets on their way to us.
    pub(crate) fn connect(address: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut raw = Self { socket, authority: address.to_string() };
        raw.socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut settings = vec![0, 4]; // SETTINGS_INITIAL_WINDOW_SIZE
        settings.extend(window.to_be_bytes());
        raw.frame(SETTINGS, 0, 0, &settings);
        raw
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        octets.extend([kind, flags]);
        octets.extend(stream.to_be_bytes());
        octets.extend(payload);
        self.socket.write_all(&octets).expect("it reads");
    }

    /// A request; its body follows unless `end`.
    pub(crate) fn request(&mut self, stream: u32, method: &str, path: &str, end: bool) {
        let authority = self.authority.clone();
        let mut block = Vec::new();
        let fields = [(":method", method), (":scheme", "http"), (":authority", &authority), (":path", path)];
        for (name, value) in fields {
            block.push(0); // literal, not indexed, new name (RFC 7541 §6.2.2)
            for text in [name, value] {
                assert!(text.len() < 127);
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        }
        self.frame(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block);
    }

    pub(crate) fn window_update(&mut self, stream: u32, octets: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &octets.to_be_bytes());
    }

    /// The next frame; none once the peer has closed. SETTINGS are acknowledged on the way.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.socket.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return None;
            }
            Err(error) => panic!("reading a frame: {error}"),
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.socket.read_exact(&mut payload).expect("a whole frame");
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.frame(SETTINGS, ACK, 0, &[]);
        }
        Some(frame)
    }

    /// The next frame of a kind; others are dropped.
    pub(crate) fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("closed before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Body octets of a stream until there are `octets` of them or the stream ends.
    pub(crate) fn body(&mut self, stream: u32, octets: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < octets {
            let frame = self.next_of(DATA);
            assert_eq!(frame.stream, stream);
            body.extend(&frame.payload);
            if frame.ends_stream() {
                break;
            }
        }
        body
    }
}
