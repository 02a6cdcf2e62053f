//! Two connections in memory under a fake clock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_protocol::{
    Cause, Config, Connection, ErrorCode, Event, RequestHead, ResponseHead, Role, StreamId,
};

use super::{take_events, take_output};

/// One end of a [`Pair`] and what it heard.
pub struct Side {
    pub conn: Connection,
    /// Events since the test last looked.
    pub events: Vec<Event>,
}

impl Side {
    fn new(role: Role, config: Config, now: Instant) -> Self {
        Self { conn: Connection::new(role, config, now), events: Vec::new() }
    }

    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Streams that were reset, by either side.
    pub fn resets(&self) -> Vec<(StreamId, ErrorCode)> {
        let reset = |event: &Event| match event {
            Event::StreamClosed { id, cause: Cause::Reset { code, .. } } => Some((*id, *code)),
            _ => None,
        };
        self.events.iter().filter_map(reset).collect()
    }

    /// How each stream ended.
    pub fn closed(&self) -> Vec<(StreamId, Cause)> {
        let closed = |event: &Event| match event {
            Event::StreamClosed { id, cause } => Some((*id, *cause)),
            _ => None,
        };
        self.events.iter().filter_map(closed).collect()
    }

    /// Body octets of a stream, and whether END_STREAM came (with DATA, head or trailers).
    pub fn body(&self, stream: StreamId) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let mut ended = false;
        for event in &self.events {
            match event {
                Event::DataReceived { id, data, end_stream } if *id == stream => {
                    body.extend_from_slice(data);
                    ended |= end_stream;
                }
                Event::StreamOpened { id, end_stream, .. }
                | Event::ResponseReceived { id, end_stream, .. }
                    if *id == stream =>
                {
                    ended |= end_stream;
                }
                Event::TrailersReceived { id, .. } if *id == stream => ended = true,
                _ => {}
            }
        }
        (body, ended)
    }
}

/// A client and a server.
pub struct Pair {
    pub client: Side,
    pub server: Side,
    pub now: Instant,
    /// Octets handed over at a time.
    pub piece: usize,
    /// Readers take what arrives at once.
    pub consume: bool,
}

impl Pair {
    /// Both sides at their start, nothing exchanged.
    pub fn new(client: Config, server: Config) -> Self {
        let now = Instant::now();
        Self {
            client: Side::new(Role::Client, client, now),
            server: Side::new(Role::Server, server, now),
            now,
            piece: usize::MAX,
            consume: true,
        }
    }

    /// Preface and SETTINGS exchanged both ways.
    pub fn connected_with(client: Config, server: Config) -> Self {
        let mut pair = Self::new(client, server);
        pair.drive();
        pair.client.take();
        pair.server.take();
        pair
    }

    /// Preface and SETTINGS exchanged both ways, defaults all over.
    pub fn connected() -> Self {
        Self::connected_with(Config::default(), Config::default())
    }

    /// Moves octets both ways until nobody has anything to say.
    pub fn drive(&mut self) {
        for _ in 0..100_000 {
            let there = Self::pass(&mut self.client, &mut self.server, self.now, self.piece, self.consume);
            let back = Self::pass(&mut self.server, &mut self.client, self.now, self.piece, self.consume);
            if !there && !back {
                return;
            }
        }
        panic!("the two sides never come to rest");
    }

    fn pass(from: &mut Side, to: &mut Side, now: Instant, piece: usize, consume: bool) -> bool {
        from.events.extend(take_events(&mut from.conn));
        let octets = take_output(&mut from.conn, now);
        for part in octets.chunks(piece) {
            if to.conn.handle_input(part, now).is_err() {
                break;
            }
        }
        for event in take_events(&mut to.conn) {
            if let (Event::DataReceived { id, data, .. }, true) = (&event, consume) {
                to.conn.consume(*id, data.len());
            }
            to.events.push(event);
        }
        !octets.is_empty()
    }

    /// Time goes on: deadlines that have passed act, then everything is driven.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        for side in [&mut self.client, &mut self.server] {
            if side.conn.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                let _ = side.conn.handle_deadline(self.now);
            }
        }
        self.drive();
    }

    /// The client asks; everything is driven.
    pub fn request(&mut self, head: &RequestHead, end_stream: bool) -> StreamId {
        let id = self.client.conn.send_request(head, end_stream).unwrap();
        self.drive();
        id
    }

    /// The server answers; everything is driven.
    pub fn respond(&mut self, id: StreamId, head: &ResponseHead, body: &[u8]) {
        self.server.conn.send_response(id, head, body.is_empty()).unwrap();
        if !body.is_empty() {
            self.server.conn.send_data(id, Bytes::copy_from_slice(body), true).unwrap();
        }
        self.drive();
    }
}
