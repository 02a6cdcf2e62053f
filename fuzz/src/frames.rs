//! Sequences of frames, one in thirty wrong, against a server whose owner answers: no panic, promises of the
//! events kept, windows never over-sent, nothing after the end.

use std::time::Duration;

use bytes::Bytes;
use stagedoor_protocol::{
    Config, Connection, ErrorCode, Event, Fields, ResponseHead, Role, StreamId, Window,
};

use super::connection::{Feed, Ledger, PREFACE, Watcher, epoch, split_frame, take_output};

/// One input: an octet of options, then for each frame what it is, its details, and what the owner does.
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
        heard: Vec::new(),
        next: 1,
        over: false,
    };
    server.take(&PREFACE, now);
    server.take(&frame(4, 0, 0, &[]), now);
    server.take(&frame(4, 1, 0, &[]), now);
    while !feed.is_empty() && !server.over {
        let octets = server.next_frames(&mut feed);
        server.take(&octets, now);
        server.act(&mut feed, now);
        now += Duration::from_millis(u64::from(options >> 4));
    }
    // The way down from wherever it is now.
    server.conn.close(ErrorCode::NO_ERROR, b"");
    server.hear(now);
    assert!(server.conn.is_closed());
    // What its owner had not read is charged until it has.
    for id in std::mem::take(&mut server.heard) {
        server.conn.consume(id, 1 << 30);
    }
    server.conn.shrink();
    assert!(server.conn.memory() < 64 << 10, "{}", server.conn.memory());
}

struct Server {
    conn: Connection,
    watcher: Watcher,
    ledger: Ledger,
    tail: Vec<u8>,
    /// Streams the owner was given and that are not closed.
    open: Vec<StreamId>,
    /// Streams the owner was ever given.
    heard: Vec<StreamId>,
    /// The next stream of the client.
    next: u32,
    over: bool,
}

impl Server {
    fn take(&mut self, octets: &[u8], now: std::time::Instant) {
        let mut rest = if octets == PREFACE { &[] } else { octets };
        while let Some((frame, behind)) = split_frame(rest) {
            self.ledger.delivered(frame);
            rest = behind;
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
                Event::StreamOpened { id, .. } | Event::HeadTooLarge { id } => {
                    self.open.push(id);
                    self.heard.push(id);
                }
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
    // The newest entry of the dynamic table; there is one from the first request with an authority on.
    &[0x82, 0x87, 0x84, 0xbe],
    // Trailers.
    &[0x40, 1, b'x', 1, b'y'],
    // Upper case.
    &[0x82, 0x87, 0x84, 0x40, 1, b'X', 1, b'y'],
    // A size update.
    &[0x3f, 0xe1, 0x1f, 0x82, 0x87, 0x84, 0x41, 1, b'b'],
    // CONNECT.
    &[0x42, 7, b'C', b'O', b'N', b'N', b'E', b'C', b'T', 0x41, 1, b'a'],
];

impl Server {
    /// What the client says next: right as far as it can know, or wild.
    fn next_frames(&mut self, feed: &mut Feed<'_>) -> Vec<u8> {
        let (choice, detail) = (feed.octet(), feed.octet());
        if detail >= 0xf8 {
            return self.wild_frame(choice, feed);
        }
        let end = detail & 1;
        let more = choice >> 4;
        let pick = |list: &[u32]| list.get(usize::from(detail >> 1 & 7) % list.len().max(1)).copied();
        let open: Vec<_> = self.open.iter().map(|id| id.get()).collect();
        let receiving: Vec<_> =
            open.iter().copied().filter(|id| self.conn.is_receiving((*id).into())).collect();
        let block = match (more & 7, self.next) {
            (3, 1) => BLOCKS[1],
            (choice, _) => BLOCKS[usize::from(choice)],
        };
        let made = match choice & 15 {
            0..=2 => Some(frame(1, 4 | end, self.opened(), block)),
            3 => {
                let (one, two) = block.split_at(usize::from(detail >> 4).min(block.len()));
                let id = self.opened();
                Some([frame(1, end, id, one), frame(9, 4, id, two)].concat())
            }
            4 => {
                let payload = [&[2, 0, 0, 0, 0, more][..], block, &[0, 0]].concat();
                Some(frame(1, 0x2c | end, self.opened(), &payload))
            }
            5 => pick(&receiving).map(|id| frame(1, 4 | 1, id, BLOCKS[4])),
            6..=8 => pick(&receiving)
                .map(|id| frame(0, end, id, &vec![7; usize::from(more) * usize::from(detail)])),
            9 => pick(&receiving).map(|id| {
                let payload =
                    [&[more][..], &vec![7; usize::from(detail)], &vec![0; usize::from(more)]].concat();
                frame(0, 8 | end, id, &payload)
            }),
            10 if more < 4 => pick(&open).map(|id| frame(3, 0, id, &[0, 0, 0, 8])),
            10 | 11 => {
                let increment = u32::from(feed.octet()) << more | 1;
                let id = if end == 1 { 0 } else { pick(&open).unwrap_or(0) };
                Some(frame(8, 0, id, &increment.to_be_bytes()))
            }
            12 => {
                let values: [(u8, u32); 8] = [
                    (1, u32::from(detail) << 6),
                    (2, u32::from(end)),
                    (4, 0),
                    (4, u32::from(detail)),
                    (4, 65_535),
                    (5, 16_384 + u32::from(detail)),
                    (6, u32::from(detail) << 8),
                    (0x99, 7),
                ];
                let (id, value) = values[usize::from(more & 7)];
                Some(frame(4, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat()))
            }
            13 => Some(frame(6, end, 0, &[choice; 8])),
            14 => {
                let id = pick(&open).filter(|_| end == 0).unwrap_or(self.next + 2 * u32::from(more));
                let value = format!("u={}{}", detail & 7, if end == 0 { ", i" } else { "" });
                Some(frame(16, 0, 0, &[&id.to_be_bytes()[..], value.as_bytes()].concat()))
            }
            _ if end == 0 => Some(frame(2, 0, u32::from(detail) + 1, &[0, 0, 0, 0, more])),
            _ => Some(frame(0x20 | more, detail, u32::from(detail), &vec![1; usize::from(detail)])),
        };
        made.unwrap_or_else(|| frame(6, 0, 0, &[detail; 8]))
    }

    fn opened(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Anything at all.
    fn wild_frame(&mut self, choice: u8, feed: &mut Feed<'_>) -> Vec<u8> {
        let flags = feed.octet();
        // Streams near the newest one, now and then an odd one out.
        let id = match choice >> 4 {
            15 => feed.word(),
            14 => 0,
            13 => self.next + 1,
            back => self.next.saturating_sub(2 * u32::from(back)),
        };
        if choice & 1 == 0 {
            let kind = flags >> 4;
            return frame(kind, flags & 0x0d, id, BLOCKS[usize::from(feed.octet() & 7)]);
        }
        let kind = feed.octet() & 0x1f;
        let length = usize::from(feed.octet() & 31);
        let payload = feed.take(length).to_vec();
        frame(kind, flags, id, &payload)
    }
}
