//! HTTP/2 frame by frame, from either end of a connection. Windows are large and never told of; SETTINGS and PING are
//! acknowledged on the way.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use stagedoor_protocol::hpack::Decoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::raw::{ACK, DATA, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_HEADERS: u8 = 4;

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

/// See the module.
pub(crate) struct Frames {
    io: TcpStream,
    decoder: Decoder,
}

/// A header section.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) stream: u32,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) ends: bool,
}

impl Section {
    /// The value of a field, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| &**value);
        assert!(found.next().is_none(), "{name} twice in {self:?}");
        value
    }

    pub(crate) fn status(&self) -> &str {
        self.get(":status").expect("a status")
    }
}

impl Frames {
    /// The next connection of a server.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        Self::accept_with(listener, &[(INITIAL_WINDOW_SIZE, 1 << 30)]).await
    }

    pub(crate) async fn accept_with(listener: &TcpListener, settings: &[(u16, u32)]) -> Self {
        let (io, _) = listener.accept().await.unwrap();
        let mut frames = Self::over(io);
        let mut preface = [0; PREFACE.len()];
        frames.io.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, *PREFACE);
        frames.settings(settings).await;
        frames
    }

    /// A client's connection, its connection window as large as may be.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[(INITIAL_WINDOW_SIZE, 1 << 30)]).await
    }

    pub(crate) async fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::over(TcpStream::connect(address).await.unwrap());
        frames.io.write_all(PREFACE).await.unwrap();
        frames.settings(settings).await;
        frames
    }

    fn over(io: TcpStream) -> Self {
        io.set_nodelay(true).unwrap();
        Self { io, decoder: Decoder::new(4096) }
    }

    async fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &payload).await;
        self.window(0, (1 << 31) - 1 - 65_535).await;
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        octets.extend([kind, flags]);
        octets.extend(stream.to_be_bytes());
        octets.extend(payload);
        self.io.write_all(&octets).await.expect("it reads");
    }

    /// A header section, every field a literal (RFC 7541 §6.2.2).
    pub(crate) async fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let octets: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        self.raw_head(stream, &octets, end).await;
    }

    /// The same with any octets.
    pub(crate) async fn raw_head(&mut self, stream: u32, fields: &[(&[u8], &[u8])], end: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127);
                block.push(text.len() as u8);
                block.extend(*text);
            }
        }
        self.send(HEADERS, END_HEADERS | u8::from(end), stream, &block).await;
    }

    /// A request of a client; more fields follow its own.
    pub(crate) async fn ask(&mut self, stream: u32, method: &str, more: &[(&str, &str)], end: bool) {
        let mut fields =
            vec![(":method", method), (":scheme", "http"), (":authority", "front.test"), (":path", "/")];
        fields.extend(more);
        self.head(stream, &fields, end).await;
    }

    /// An answer of a server: 200 and a body.
    pub(crate) async fn answer(&mut self, stream: u32, body: &str) {
        self.head(stream, &[(":status", "200")], false).await;
        self.data(stream, body, true).await;
    }

    /// One frame: 16 KiB at most.
    pub(crate) async fn data(&mut self, stream: u32, octets: &str, end: bool) {
        self.send(DATA, u8::from(end), stream, octets.as_bytes()).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(crate) async fn goaway(&mut self, last: u32, code: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()).await;
    }

    pub(crate) async fn window(&mut self, stream: u32, octets: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &octets.to_be_bytes()).await;
    }

    /// The next frame; none once the other end has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let echo = if frame.kind == PING { &*frame.payload } else { &[] };
            self.send(frame.kind, ACK, 0, echo).await;
        }
        Some(frame)
    }

    /// The next frame of a kind; others are dropped, but header blocks are decoded for what they do to the table.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("closed before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
            if frame.kind == HEADERS {
                self.decode(&frame);
            }
        }
    }

    fn decode(&mut self, frame: &Frame) -> Section {
        assert_eq!(frame.flags & (END_HEADERS | 8), END_HEADERS, "one frame, no padding");
        let block = if frame.flags & 0x20 == 0 { &frame.payload[..] } else { &frame.payload[5..] };
        let mut fields = Vec::new();
        let text = |octets: &[u8]| octets.escape_ascii().to_string();
        let decoded = self.decoder.decode(block, 64 << 10, |field| {
            fields.push((text(field.name), text(field.value)));
            ControlFlow::Continue(())
        });
        decoded.unwrap();
        Section { stream: frame.stream, fields, ends: frame.ends_stream() }
    }

    /// The status in a frame that was read.
    pub(crate) fn read_status(&mut self, frame: &Frame) -> u16 {
        self.decode(frame).status().parse().unwrap()
    }

    /// The next header section; what comes before it is dropped.
    pub(crate) async fn section(&mut self) -> Section {
        let frame = self.next_of(HEADERS).await;
        self.decode(&frame)
    }

    /// The next header section, if one comes before the end of the connection.
    pub(crate) async fn next_section(&mut self) -> Option<Section> {
        loop {
            let frame = self.next().await?;
            if frame.kind == HEADERS {
                return Some(self.decode(&frame));
            }
        }
    }

    /// What is left of a stream's body, and its trailers.
    pub(crate) async fn body(&mut self, stream: u32) -> (String, Option<Section>) {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("the rest of a body");
            match frame.kind {
                HEADERS => {
                    let trailers = self.decode(&frame);
                    assert!(trailers.ends && trailers.stream == stream, "{trailers:?}");
                    return (String::from_utf8(body).unwrap(), Some(trailers));
                }
                DATA => {
                    assert_eq!(frame.stream, stream);
                    body.extend(&frame.payload);
                    if frame.ends_stream() {
                        return (String::from_utf8(body).unwrap(), None);
                    }
                }
                RST_STREAM | GOAWAY => panic!("a body was expected: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The code a stream is reset with.
    pub(crate) async fn reset_code(&mut self, stream: u32) -> u32 {
        let frame = self.next_of(RST_STREAM).await;
        assert_eq!(frame.stream, stream);
        frame.number(0)
    }

    /// A status and a body.
    pub(crate) async fn whole(&mut self) -> (String, String) {
        let head = self.section().await;
        let body = if head.ends { String::new() } else { self.body(head.stream).await.0 };
        (head.status().to_owned(), body)
    }
}
