//! The protocol core alone under a steady load: batches of requests in, whole answers out, no socket.
//!
//! Used by the criterion bench `core` and by the binary `core_loop` that callgrind counts. The requests are
//! encoded once, with warm tables; only the stream identifiers move.

use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use stagedoor_protocol::frame::{FrameHeader, HEADER_LEN, kind};
use stagedoor_protocol::{Config, Connection, Event, Fields, RequestHead, ResponseHead, Role, StreamId};

/// Fields of a request as a browser sends them.
const BROWSER: [(&str, &str); 10] = [
    ("sec-ch-ua", "\"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
];

/// A server core and the octets of one batch.
pub struct CoreLoad {
    server: Connection,
    batch: Vec<u8>,
    streams: u32,
    next: u32,
    now: Instant,
    body: Bytes,
}

fn drain(connection: &mut Connection, now: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.poll_output(now) > 0 {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = connection.output(&mut slices);
        let taken: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        connection.advance_output(taken);
    }
    bytes
}

impl CoreLoad {
    /// Batches of `streams` requests (at most 128), with ten browser fields or none but the pseudo-fields.
    pub fn new(streams: u32, browser: bool) -> Self {
        let now = Instant::now();
        let mut client = Connection::new(Role::Client, Config::default(), now);
        let mut server = Connection::new(Role::Server, Config::default(), now);
        let load = |client: &mut Connection| {
            for _ in 0..streams {
                let mut head = RequestHead::new("GET", "http", "localhost:8080", "/bytes/13");
                if browser {
                    BROWSER.iter().for_each(|(name, value)| head.fields_mut().push(name, value));
                }
                let _ = client.send_request(&head, true);
            }
            drain(client, now)
        };
        let first = load(&mut client);
        let _ = server.handle_input(&first, now);
        let body = Bytes::from_static(b"hello, world\n");
        answer(&mut server, &body);
        let _ = client.handle_input(&drain(&mut server, now), now);
        let _ = server.handle_input(&drain(&mut client, now), now);
        let mut batch = load(&mut client);
        // The client gives back what the answers of a batch take.
        let header = FrameHeader { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, id: StreamId::CONNECTION };
        batch.extend_from_slice(&header.octets());
        batch.extend_from_slice(&(streams * body.len() as u32).to_be_bytes());
        Self { server, batch, streams, next: 1 + 2 * streams, now, body }
    }

    /// One batch through the core; returns octets that would go to the socket.
    pub fn turn(&mut self) -> usize {
        if self.next > 0x7fff_0000 {
            *self = Self::new(self.streams, self.batch.len() > 40 * self.streams as usize);
        }
        let mut at = 0;
        while let Some(octets) = self.batch.get(at..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
            let mut header = FrameHeader::parse(octets);
            if header.kind == kind::HEADERS {
                header.id = StreamId::from_wire(self.next);
                self.next += 2;
                self.batch[at..at + HEADER_LEN].copy_from_slice(&header.octets());
            }
            at += HEADER_LEN + header.length as usize;
        }
        if let Err(error) = self.server.handle_input(&self.batch, self.now) {
            panic!("the core refused the load: {error}");
        }
        answer(&mut self.server, &self.body);
        let mut sent = 0;
        loop {
            let waiting = self.server.poll_output(self.now);
            if waiting == 0 {
                return sent;
            }
            self.server.advance_output(waiting);
            sent += waiting;
        }
    }
}

fn answer(server: &mut Connection, body: &Bytes) {
    while let Some(event) = server.poll_event() {
        if let Event::StreamOpened { id, .. } = event {
            let mut fields = Fields::with_capacity(3, 96);
            fields.push("content-type", "application/octet-stream");
            fields.push("content-length", "13");
            fields.push("date", "Sun, 22 Nov 2026 17:00:00 GMT");
            let head = ResponseHead::new(200, fields);
            let sent = server
                .send_response(id, &head, false)
                .and_then(|()| server.send_data(id, body.clone(), true));
            if let Err(error) = sent {
                panic!("the core refused the answer: {error}");
            }
        }
    }
}
