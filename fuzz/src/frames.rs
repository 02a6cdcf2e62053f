//! Sequences of frames, mostly right and a little wrong, against a server whose owner answers: no panic, promises of the
//! events kept, windows never over-sent, nothing after the end.

use std::time::Duration;

use bytes::Bytes;
use stagedoor_protocol::{
    Config, Connection, ErrorCode, Event, Fields, ResponseHead, Role, StreamId, Window,
};

use super::connection::{Feed, Ledger, PREFACE, Watcher, epoch, split_frame, take_output};

/// One input: four to a dozen octets a frame.
pub fn frames(data: &[u8]) {
    let mut feed = Feed(data);
    let options = feed.octet();
    let small = options & 1 != 0;
    let window =
        if small { Window { start: 100, max: 1000 } } else { Window { start: 65_535, max: 1 << 20 } };
    let config = Config {
        stream_window: window,
        max_concurrent_streams: if options & 2 != 0 { 3 } else { 100 },
        max_header_list_size: if options & 4 != 0 { 200 } else { 16_384 },
        session_memory: if options & 8 != 0 { 70_000 } else { 1 << 20 },
        ..Config::default()
    };
    let mut now = epoch();
    let mut server = Server {
        conn: Connection::new(Role::Server, config, now),
        watcher: Watcher::new(Role::Server),
        ledger: Ledger::new(),
        tail: Vec::new(),
        open: Vec::new(),
        over: false,
    };
    server.take(&PREFACE, now);
    let mut next = 1;
    let mut first = true;
    while (first || !feed.is_empty()) && !server.over {
        let octets = if first { frame(4, 0, 0, &[]) } else { next_frame(&mut feed, &mut next) };
        first = false;
        server.take(&octets, now);
        server.act(&mut feed, now);
        now += Duration::from_millis(u64::from(options >> 4));
    }
    // The way down from wherever it is now.
    server.conn.close(ErrorCode::NO_ERROR, b"");
    server.hear(now);
    assert!(server.conn.is_closed());
    server.conn.shrink();
    assert!(server.conn.memory() < 64 << 10, "{}", server.conn.memory());
}

struct Server {
    conn: Connection,
    watcher: Watcher,
    ledger: Ledger,
    tail: Vec<u8>,
    open: Vec<StreamId>,
    over: bool,
}

impl Server {
    fn take(&mut self, octets: &[u8], now: std::time::Instant) {
        if octets != PREFACE
            && let Some((frame, _)) = split_frame(octets)
        {
            self.ledger.delivered(frame);
        }
        self.over |= self.conn.handle_input(octets, now).is_err();
        self.hear(now);
    }

    fn hear(&mut self, now: std::time::Instant) {
        let octets = take_output(&mut self.conn, now);
        self.tail.extend(octets);
        while let Some(event) = self.conn.poll_event() {
            self.watcher.see(&event);
            match event {
                Event::StreamOpened { id, .. } | Event::HeadTooLarge { id } => self.open.push(id),
                Event::StreamClosed { id, .. } => self.open.retain(|other| *other != id),
                _ => {}
            }
        }
        let mut rest = &self.tail[..];
        while let Some((frame, behind)) = split_frame(rest) {
            self.ledger.emitted(frame);
            rest = behind;
        }
        let left = rest.len();
        self.tail.drain(..self.tail.len() - left);
        assert!(self.tail.is_empty(), "output ends inside a frame");
        self.watcher.check(&self.conn);
    }

    /// What the owner does, one small thing for each frame.
    fn act(&mut self, feed: &mut Feed<'_>, now: std::time::Instant) {
        let choice = feed.octet();
        if self.open.is_empty() {
            return;
        }
        let id = self.open[usize::from(choice >> 4) % self.open.len()];
        let conn = &mut self.conn;
        // A call out of order is refused and changes nothing; that too is part of it.
        match choice & 15 {
            0 => drop(conn.send_response(id, &ResponseHead::new(200, Fields::new()), true)),
            1 => drop(conn.send_response(id, &ResponseHead::new(200, Fields::new()), false)),
            2 => drop(conn.send_informational(id, &ResponseHead::new(103, Fields::new()))),
            3 | 4 => drop(conn.send_data(id, Bytes::from(vec![1; usize::from(choice) * 100]), false)),
            5 => drop(conn.send_data(id, Bytes::from_static(b"end"), true)),
            6 => drop(conn.send_trailers(id, [("x", "y")].into_iter().collect())),
            7 => drop(conn.reset_stream(id, ErrorCode::CANCEL)),
            8 | 9 => conn.consume(id, usize::from(choice) * 50),
            10 => conn.release_stream(id),
            11 => drop(conn.capacity(id)),
            12 if choice == 0xfc => conn.drain(now),
            _ => {}
        }
        self.hear(now);
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Blocks that are right, or wrong in the way their place suggests.
const BLOCKS: [&[u8]; 8] = [
    // GET / http by static entries, and with an authority that goes into the table.
    &[0x82, 0x86, 0x84],
    &[0x82, 0x87, 0x84, 0x41, 1, b'a'],
    // POST /, content-length: 3.
    &[0x83, 0x87, 0x84, 0x5c, 1, b'3'],
    // The newest entry of the dynamic table, if there is one.
    &[0x82, 0x87, 0x84, 0xbe],
    // Trailers.
    &[0x40, 1, b'x', 1, b'y'],
    // Upper case.
    &[0x82, 0x87, 0x84, 0x40, 1, b'X', 1, b'y'],
    // A size update.
    &[0x20, 0x82, 0x87, 0x84],
    // CONNECT.
    &[0x42, 7, b'C', b'O', b'N', b'N', b'E', b'C', b'T', 0x41, 1, b'a'],
];

fn next_frame(feed: &mut Feed<'_>, next: &mut u32) -> Vec<u8> {
    let choice = feed.octet();
    let detail = feed.octet();
    let flags = if detail & 0x80 != 0 { feed.octet() } else { detail & 1 };
    // Streams near the newest one, now and then an odd one out.
    let id = match detail >> 4 & 7 {
        7 => feed.word(),
        6 => 0,
        back => next.saturating_sub(2 + 2 * u32::from(back)),
    };
    match choice & 15 {
        0..=3 => {
            // A new stream.
            let id = *next;
            *next = next.saturating_add(2);
            frame(1, flags | 4, id, BLOCKS[usize::from(choice >> 4) % 8])
        }
        4 => frame(1, flags | 4, id, BLOCKS[usize::from(choice >> 4) % 8]),
        5 => frame(1, flags & !4, *next, BLOCKS[usize::from(choice >> 4) % 8]),
        6 => frame(9, flags | (choice >> 2 & 4), id.max(1), &[]),
        7 | 8 => frame(0, flags & 1, id, &vec![7; usize::from(choice) * 4]),
        9 => frame(0, flags | 8, id, &[&[choice >> 4][..], &vec![0; usize::from(detail)]].concat()),
        10 => frame(3, flags, id, &[0, 0, 0, 8]),
        11 => frame(8, flags, id, &feed.word().to_be_bytes()),
        12 => {
            let entry = [0, choice >> 4, feed.octet(), feed.octet(), feed.octet(), feed.octet()];
            frame(4, flags & 1, 0, if flags & 1 != 0 { &[] } else { &entry })
        }
        13 => frame(6, flags & 1, 0, &[choice; 8]),
        14 => {
            let payload = [&id.to_be_bytes()[..], b"u=1, i"].concat();
            frame(16, 0, 0, &payload[..usize::from(detail & 15).min(10)])
        }
        _ => {
            // Anything at all.
            let kind = feed.octet();
            let length = usize::from(feed.octet() & 31);
            let payload = feed.take(length).to_vec();
            frame(kind, flags, id, &payload)
        }
    }
}
