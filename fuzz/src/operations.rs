//! A client and a server, driven by a list of operations of their owners and of the wire between them (both sides: open,
//! answer, send, end, reset, read, change settings, PING, drain, close; octets move in pieces, time goes on).
//!
//! After every step: windows are never over-sent by a ledger of the wire's own, what one side was told is a prefix of
//! what the other sent, unread octets and the outstanding connection window stay within the session's memory, no stream
//! is forgotten. At the end everything sent has arrived, each stream was closed once, memory is back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stagedoor_protocol::{
    AltSvcTarget, Cause, Config, Connection, ErrorCode, Event, Fields, Padding, RequestHead, ResponseHead,
    Role, Settings, StreamId, UserError, Window,
};

use super::connection::{Feed, Ledger, PREFACE, Watcher, epoch, split_frame, take_output};

/// Operations of one run; the budgets of the core count some of them.
const MOST_OPERATIONS: usize = 600;
const MOST_RESETS: usize = 40;
const MOST_SETTINGS: usize = 15;
const MOST_PINGS: usize = 100;
/// Streams opened behind the last one that was accepted: they may all be refused, and no more than these in a row.
const MOST_REFUSED: usize = 100;

/// One input: four octets of options, then three octets an operation.
pub fn operations(data: &[u8]) {
    let mut feed = Feed(data);
    let mut walk = Walk::new(&mut feed);
    let mut left = MOST_OPERATIONS;
    while !feed.is_empty() && left > 0 && !walk.closed() {
        let (what, which, amount) = (feed.octet(), feed.octet(), feed.octet());
        walk.step(what, which, amount);
        left -= 1;
    }
    walk.finish();
}

/// What one side says on a stream.
#[derive(Debug, Default)]
struct Said {
    octets: u64,
    /// The head is out.
    head: bool,
    /// What content-length says and is not sent yet.
    owed: Option<u64>,
    ended: bool,
}

/// What one side heard on a stream.
#[derive(Debug, Default)]
struct Heard {
    octets: u64,
    unread: usize,
    ended: bool,
    cause: Option<Cause>,
    released: bool,
}

struct Side {
    role: Role,
    conn: Connection,
    watcher: Watcher,
    /// Windows of what this side sends.
    ledger: Ledger,
    said: BTreeMap<StreamId, Said>,
    heard: BTreeMap<StreamId, Heard>,
    /// Asked for capacity and got none.
    starved: BTreeSet<StreamId>,
    /// Output on its way to the other side.
    wire: Vec<u8>,
    /// Octets of `wire` before this belong to a frame that was seen whole.
    seen: usize,
    /// The preface is still to be taken off before frames begin.
    preface: usize,
    /// Input whose frame is not complete.
    partial: Vec<u8>,
    /// What the peer may send on the connection, by the wire.
    granted: i64,
    memory: usize,
    resets: usize,
    settings: usize,
    pings: usize,
    /// Closed, and its last word was heard.
    over: bool,
}

impl Side {
    fn new(role: Role, config: Config, now: Instant) -> Self {
        Self {
            role,
            memory: config.session_memory.max(65_535),
            conn: Connection::new(role, config, now),
            watcher: Watcher::new(role),
            ledger: Ledger::new(),
            said: BTreeMap::new(),
            heard: BTreeMap::new(),
            starved: BTreeSet::new(),
            wire: Vec::new(),
            seen: 0,
            preface: if role == Role::Client { PREFACE.len() } else { 0 },
            partial: Vec::new(),
            granted: 65_535,
            resets: 0,
            settings: 0,
            pings: 0,
            over: false,
        }
    }

    /// Takes what the connection has to say: octets to the wire, events to the books.
    fn hear(&mut self, now: Instant) {
        let octets = take_output(&mut self.conn, now);
        assert!(!self.over || octets.is_empty(), "octets after the end");
        self.wire.extend(octets);
        if self.preface > 0 && self.wire.len() >= self.preface {
            assert_eq!(self.wire[..self.preface], PREFACE);
            self.seen = self.preface;
            self.preface = 0;
        }
        while let Some((frame, behind)) = split_frame(&self.wire[self.seen..]) {
            self.ledger.emitted(frame);
            if frame.kind == 8 && frame.id == 0 {
                self.granted += i64::from(u32::from_be_bytes(frame.payload.try_into().expect("four octets")));
            }
            self.seen = self.wire.len() - behind.len();
        }
        assert_eq!(self.seen, self.wire.len(), "output ends inside a frame");
        while let Some(event) = self.conn.poll_event() {
            self.watcher.see(&event);
            self.note(event);
        }
        self.check();
        self.over = self.conn.is_closed();
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::StreamOpened { id, head, end_stream } => {
                self.heard.insert(id, Heard { ended: end_stream, ..Heard::default() });
                self.said.insert(id, Said::default());
                assert_eq!(head.authority(), Some("example.com"));
            }
            Event::PushPromised { promised, head, .. } => {
                assert_eq!(head.path(), Some("/pushed"));
                self.heard.insert(promised, Heard::default());
                self.said.insert(promised, Said { head: true, ended: true, ..Said::default() });
            }
            Event::HeadTooLarge { id } => panic!("head of {id} too large"),
            Event::ResponseReceived { id, end_stream, .. } => self.heard_of(id).ended |= end_stream,
            Event::DataReceived { id, data, end_stream } => {
                let from = self.other();
                let heard = self.heard_of(id);
                for (at, octet) in data.iter().enumerate() {
                    assert_eq!(*octet, content(from, id, heard.octets + at as u64), "stream {id}");
                }
                heard.octets += data.len() as u64;
                heard.unread += data.len();
                heard.ended |= end_stream;
            }
            Event::TrailersReceived { id, fields } => {
                assert_eq!(fields.get("x-sum"), Some(&b"1"[..]));
                self.heard_of(id).ended = true;
            }
            Event::CapacityAvailable { id } => {
                self.starved.remove(&id);
            }
            Event::StreamClosed { id, cause } => {
                self.starved.remove(&id);
                let heard = self.heard_of(id);
                heard.cause = Some(cause);
                if cause != Cause::EndStream {
                    heard.unread = 0;
                }
                if let Cause::Reset { code, .. } = cause {
                    assert!(
                        matches!(code, ErrorCode::CANCEL | ErrorCode::REFUSED_STREAM),
                        "nobody does wrong here: {code}"
                    );
                }
            }
            Event::ConnectionFailed { error } => panic!("{:?} failed: {error}", self.role),
            _ => {}
        }
    }

    fn heard_of(&mut self, id: StreamId) -> &mut Heard {
        self.heard.get_mut(&id).expect("opened before")
    }

    fn other(&self) -> Role {
        if self.role == Role::Client { Role::Server } else { Role::Client }
    }

    fn check(&self) {
        self.watcher.check(&self.conn);
        if self.conn.is_closed() {
            return;
        }
        let unread: usize = self.heard.values().map(|heard| heard.unread).sum();
        assert_eq!(self.granted, self.conn.recv_window(), "the connection window is what the wire says");
        assert!(
            unread as i64 + self.granted.max(0) <= self.memory as i64,
            "{unread} unread and a window of {} in {}",
            self.granted,
            self.memory
        );
        for view in self.conn.streams() {
            let (said, heard) = (&self.said[&view.id], &self.heard[&view.id]);
            assert_eq!((view.unread, view.received), (heard.unread, heard.octets), "{view:?}");
            assert_eq!(view.sent + view.queued as u64, said.octets, "{view:?}");
        }
        assert!(self.conn.memory() >= unread);
    }

    /// `octets` arrive.
    fn take(&mut self, octets: &[u8], now: Instant) {
        if !self.conn.is_closed() {
            self.partial.extend_from_slice(octets);
            let mut from = 0;
            if self.role == Role::Server && self.partial.starts_with(&PREFACE[..3]) {
                if self.partial.len() < PREFACE.len() {
                    self.hand_over(octets, now);
                    return;
                }
                from = PREFACE.len();
            }
            while let Some((frame, behind)) = split_frame(&self.partial[from..]) {
                self.ledger.delivered(frame);
                if frame.kind == 0 {
                    self.granted -= frame.payload.len() as i64;
                }
                from = self.partial.len() - behind.len();
            }
            self.partial.drain(..from);
        }
        self.hand_over(octets, now);
    }

    fn hand_over(&mut self, octets: &[u8], now: Instant) {
        if let Err(error) = self.conn.handle_input(octets, now) {
            panic!("{:?}: {error}", self.role);
        }
        self.hear(now);
    }

    /// One of the streams this side still speaks on.
    fn pick(&self, which: u8) -> Option<StreamId> {
        let open: Vec<_> = self
            .said
            .iter()
            .filter(|(id, said)| !said.ended && self.heard[id].cause.is_none())
            .map(|(id, _)| *id)
            .collect();
        open.get(usize::from(which) % open.len().max(1)).copied()
    }

    fn send(&mut self, id: StreamId, octets: u64, end: bool) {
        let said = self.said.get_mut(&id).expect("picked");
        let octets = said.owed.map_or(octets, |owed| if end { owed } else { octets.min(owed) });
        let body: Vec<u8> = (0..octets).map(|at| content(self.role, id, said.octets + at)).collect();
        self.conn.send_data(id, Bytes::from(body), end).expect("the books say it may be sent");
        said.octets += octets;
        said.owed = said.owed.map(|owed| owed - octets);
        said.ended = end;
    }

    fn trailers(&mut self, id: StreamId) {
        let said = self.said.get_mut(&id).expect("picked");
        if said.owed.is_some_and(|owed| owed > 0) {
            return;
        }
        self.conn.send_trailers(id, [("x-sum", "1")].into_iter().collect()).expect("the books say so");
        said.ended = true;
    }

    fn read(&mut self, id: StreamId, octets: usize) {
        let heard = self.heard_of(id);
        let taken = octets.min(heard.unread);
        heard.unread -= taken;
        self.conn.consume(id, taken);
    }

    fn read_all(&mut self) {
        for id in self.heard.keys().copied().collect::<Vec<_>>() {
            self.read(id, usize::MAX);
        }
    }

    fn release_closed(&mut self) {
        for (id, heard) in &mut self.heard {
            if heard.cause.is_some() && !heard.released {
                (heard.released, heard.unread) = (true, 0);
                self.conn.release_stream(*id);
            }
        }
    }
}

/// The octet at `at` of what `role` sends on a stream.
fn content(role: Role, id: StreamId, at: u64) -> u8 {
    (u64::from(id.get()) * 31 + at * 7 + at / 251 + u64::from(role == Role::Client)) as u8
}

struct Walk {
    client: Side,
    server: Side,
    now: Instant,
    /// Time since all octets were delivered.
    waiting: Duration,
}

impl Walk {
    fn new(feed: &mut Feed<'_>) -> Self {
        let now = epoch();
        let side = |role, options: u8, more: u8| {
            let start = [1, 100, 16_384, 65_535][usize::from(options & 3)];
            let config = Config {
                stream_window: Window {
                    start,
                    max: start.max([1_000, 300_000][usize::from(options >> 2 & 1)]),
                },
                connection_window: Window {
                    start: 65_535,
                    max: [65_535, 400_000][usize::from(options >> 3 & 1)],
                },
                session_memory: [65_535, 100_000, 300_000, 1 << 20][usize::from(options >> 4 & 3)],
                max_concurrent_streams: [1, 3, 100, 100][usize::from(options >> 6)],
                send_buffer: [1, 1_000, 65_536, 65_536][usize::from(more & 3)],
                output_high_water: [1, 20_000, 65_536, 65_536][usize::from(more >> 2 & 3)],
                max_frame_size: [16_384, 20_000][usize::from(more >> 4 & 1)],
                header_table_size: [0, 100, 4_096, 65_536][usize::from(more >> 5 & 3)],
                enable_push: role == Role::Client && more & 0x80 != 0,
                padding: [Padding::Aligned, Padding::Max, Padding::None, Padding::None, Padding::None]
                    [usize::from(options ^ more) % 5],
                ..Config::default()
            };
            Side::new(role, config, now)
        };
        let client = side(Role::Client, feed.octet(), feed.octet());
        let server = side(Role::Server, feed.octet(), feed.octet());
        Self { client, server, now, waiting: Duration::ZERO }
    }

    fn closed(&self) -> bool {
        self.client.conn.is_closed() || self.server.conn.is_closed()
    }

    /// Moves up to `most` octets one way; whether there were any.
    fn deliver(&mut self, to_server: bool, most: usize) -> bool {
        let (from, to) = match to_server {
            true => (&mut self.client, &mut self.server),
            false => (&mut self.server, &mut self.client),
        };
        from.hear(self.now);
        let count = most.min(from.wire.len());
        let octets: Vec<u8> = from.wire.drain(..count).collect();
        from.seen -= count;
        if !octets.is_empty() {
            to.take(&octets, self.now);
        }
        !octets.is_empty()
    }

    fn drive(&mut self) {
        for _ in 0..200_000 {
            let there = self.deliver(true, usize::MAX);
            let back = self.deliver(false, usize::MAX);
            if !there && !back {
                self.waiting = Duration::ZERO;
                return;
            }
        }
        panic!("the two sides never come to rest");
    }

    fn step(&mut self, what: u8, which: u8, amount: u8) {
        let now = self.now;
        let side = if what & 0x80 == 0 { &mut self.client } else { &mut self.server };
        // Small amounts are the interesting ones.
        let octets = match amount {
            0..=199 => u64::from(amount),
            _ => u64::from(amount - 199) * 3_000,
        };
        match what & 0x1f {
            0..=3 => self.open(which, amount),
            4..=6 => self.answer(which, amount),
            7..=11 => {
                if let Some(id) = side.pick(which).filter(|id| side.said[id].head) {
                    let capacity = side.conn.capacity(id);
                    if capacity == 0 {
                        side.starved.insert(id);
                    } else {
                        side.starved.remove(&id);
                    }
                    // Now and then more than there is room for: that is queued, never refused.
                    let octets = if amount % 8 == 7 { octets } else { octets.min(capacity as u64) };
                    side.send(id, octets, false);
                }
            }
            12 | 13 => {
                if let Some(id) = side.pick(which).filter(|id| side.said[id].head) {
                    side.send(id, octets, true);
                }
            }
            14 => {
                if let Some(id) = side.pick(which).filter(|id| side.said[id].head) {
                    side.trailers(id);
                }
            }
            15 => {
                let open: Vec<_> = side.conn.streams().iter().map(|view| view.id).collect();
                if let Some(id) = open.get(usize::from(which) % open.len().max(1))
                    && side.resets < MOST_RESETS
                    && amount < 100
                {
                    side.resets += 1;
                    side.conn.reset_stream(*id, ErrorCode::CANCEL).expect("it is open");
                }
            }
            16..=18 => {
                let ids: Vec<_> =
                    side.heard.iter().filter(|(_, heard)| heard.unread > 0).map(|(id, _)| *id).collect();
                if let Some(id) = ids.get(usize::from(which) % ids.len().max(1)) {
                    side.read(*id, octets as usize * 4);
                }
            }
            19 => side.read_all(),
            20 => side.release_closed(),
            21 if side.settings < MOST_SETTINGS => {
                side.settings += 1;
                let settings = change(which, amount, side.role);
                match side.conn.update_settings(settings, now) {
                    Ok(()) | Err(UserError::TooManySettings(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            22 if side.pings < MOST_PINGS => {
                side.pings += 1;
                match side.conn.ping([amount; 8]) {
                    Ok(()) | Err(UserError::TooManyPings(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            23..=27 => drop(self.deliver(what & 0x80 == 0, octets as usize + 1)),
            28 => self.drive(),
            29 => self.wait(Duration::from_millis(u64::from(amount))),
            30 if which > 235 => side.conn.drain(now),
            30 if which == 235 => side.conn.close(ErrorCode::NO_ERROR, b"enough"),
            30 => side.conn.shrink(),
            31 => self.push(which),
            _ => {}
        }
        self.client.hear(self.now);
        self.server.hear(self.now);
    }

    fn open(&mut self, which: u8, amount: u8) {
        let accepted = self.server.heard.keys().rfind(|id| id.is_client());
        let behind = self.client.said.keys().filter(|id| id.is_client() && Some(*id) > accepted);
        if behind.count() >= MOST_REFUSED {
            return;
        }
        let side = &mut self.client;
        let method = ["GET", "POST", "DELETE", "PUT"][usize::from(which & 3)];
        let mut head = RequestHead::new(method, "https", "example.com", "/some/path");
        let end = which & 4 != 0;
        let mut owed = None;
        if which & 8 != 0 && !end {
            owed = Some(u64::from(amount) * 10);
            head.fields_mut().push("content-length", (u64::from(amount) * 10).to_string());
        }
        if which & 16 != 0 {
            head.fields_mut()
                .push("priority", format!("u={}{}", amount & 7, if amount & 8 != 0 { ", i" } else { "" }));
        }
        if which & 32 != 0 {
            head.fields_mut().push(format!("x-{}", amount & 15), "v".repeat(usize::from(amount)));
        }
        if which & 64 != 0 {
            head.fields_mut().push_sensitive("authorization", "secret");
        }
        match side.conn.send_request(&head, end) {
            Ok(id) => {
                side.watcher.asked(id);
                side.said.insert(id, Said { head: true, owed, ended: end, ..Said::default() });
                side.heard.insert(id, Heard::default());
            }
            Err(UserError::TooManyStreams | UserError::GoingAway | UserError::ConnectionClosed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The server promises what nobody asked for, or speaks of origins.
    fn push(&mut self, which: u8) {
        let side = &mut self.server;
        let Some(on) = side.pick(which) else { return };
        if which & 3 == 3 {
            side.conn.send_altsvc(AltSvcTarget::Stream(on), "h2=\":1\"").expect("it carries ours");
            side.conn.send_origin(&["https://example.com"]).expect("an origin");
        }
        match side.conn.send_push(on, &RequestHead::new("GET", "https", "example.com", "/pushed")) {
            Ok(id) => {
                side.watcher.asked(id);
                side.said.insert(id, Said::default());
                side.heard.insert(id, Heard { ended: true, ..Heard::default() });
            }
            // Not allowed by the client's settings, or on a stream that is a promise itself.
            Err(
                UserError::PushDisabled
                | UserError::NestedPush(_)
                | UserError::TooManyStreams
                | UserError::GoingAway,
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn answer(&mut self, which: u8, amount: u8) {
        let side = &mut self.server;
        let Some(id) = side.pick(which).filter(|id| !side.said[id].head) else { return };
        if amount & 7 == 7 {
            side.conn
                .send_informational(id, &ResponseHead::new(103, Fields::new()))
                .expect("before the head");
            return;
        }
        let end = amount & 8 != 0;
        let mut fields = Fields::new();
        fields.push("server", "stagedoor");
        if amount & 16 != 0 {
            fields.push("x-long", "w".repeat(usize::from(which) * 80));
        }
        match side.conn.send_response(id, &ResponseHead::new(200, fields), end) {
            Ok(()) => {}
            Err(UserError::TooManyStreams) if !id.is_client() => return,
            Err(error) => panic!("{error}"),
        }
        let said = side.said.get_mut(&id).expect("picked");
        (said.head, said.ended) = (true, end);
    }

    fn wait(&mut self, time: Duration) {
        self.waiting += time;
        if self.waiting > Duration::from_secs(4) {
            self.drive();
        }
        self.now += time;
        for side in [&mut self.client, &mut self.server] {
            if side.conn.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                side.conn.handle_deadline(self.now).expect("nobody is late");
            }
        }
    }

    /// Lets everything come to its end and looks at what is left.
    fn finish(mut self) {
        if self.closed() {
            return self.finish_closed();
        }
        // What was announced is acknowledged; then room for all that waits.
        self.drive();
        for side in [&mut self.client, &mut self.server] {
            let settings = Settings {
                initial_window_size: Some(65_535),
                max_concurrent_streams: Some(100),
                ..Settings::default()
            };
            side.conn.update_settings(settings, self.now).expect("valid");
        }
        self.settle();
        for side in [&mut self.client, &mut self.server] {
            for id in &side.starved {
                assert!(side.said[id].ended, "stream {id} was never told of its capacity");
            }
        }
        while let Some(id) = self.server.pick(0) {
            if !self.server.said[&id].head {
                self.server
                    .conn
                    .send_response(id, &ResponseHead::new(200, Fields::new()), false)
                    .expect("no head");
                self.server.said.get_mut(&id).expect("picked").head = true;
            }
            self.server.send(id, 10, true);
        }
        while let Some(id) = self.client.pick(0) {
            self.client.send(id, 10, true);
        }
        self.settle();
        assert_eq!((self.client.conn.open_streams(), self.server.conn.open_streams()), (0, 0));
        for (id, there) in &self.server.heard {
            let clean = |heard: &Heard| heard.cause == Some(Cause::EndStream);
            assert_ne!(there.cause, None);
            // A promise that the client refused was never told to its owner.
            let (Some(here), Some(asked)) = (self.client.heard.get(id), self.client.said.get(id)) else {
                assert!(!id.is_client(), "stream {id}");
                continue;
            };
            for (said, heard) in [(asked, there), (&self.server.said[id], here)] {
                assert!(heard.octets <= said.octets, "stream {id}");
                if clean(here) && clean(there) {
                    assert!(heard.ended && said.ended, "stream {id}");
                    assert_eq!(heard.octets, said.octets, "stream {id}");
                }
            }
        }
        assert!(self.client.heard.values().all(|heard| heard.cause.is_some()));
        for side in [&mut self.client, &mut self.server] {
            side.release_closed();
            side.hear(self.now);
            assert_eq!(side.conn.queued(), 0);
            side.conn.shrink();
            let memory = side.conn.memory();
            assert!(memory <= (80 << 10), "{:?} keeps {memory} octets", side.role);
        }
        self.server.conn.close(ErrorCode::NO_ERROR, b"");
        self.finish_closed();
    }

    /// All octets arrive and are read, as often as it takes.
    fn settle(&mut self) {
        loop {
            self.drive();
            let read = |side: &Side| side.heard.values().map(|heard| heard.octets).sum::<u64>();
            let before = (read(&self.client), read(&self.server));
            for side in [&mut self.client, &mut self.server] {
                side.read_all();
                side.release_closed();
                side.hear(self.now);
            }
            self.drive();
            let unread = |side: &Side| side.heard.values().any(|heard| heard.unread > 0);
            let after = (read(&self.client), read(&self.server));
            if before == after && !unread(&self.client) && !unread(&self.server) {
                return;
            }
        }
    }

    /// One side is closed; the other hears of it, and then it is over for both.
    fn finish_closed(mut self) {
        self.drive();
        for side in [&mut self.client, &mut self.server] {
            side.conn.close(ErrorCode::NO_ERROR, b"");
            side.hear(self.now);
            side.wire.clear();
            side.seen = 0;
            assert_eq!(side.conn.ping([0; 8]), Err(UserError::ConnectionClosed));
            side.conn.drain(self.now);
            side.hear(self.now);
            assert!(side.wire.is_empty(), "octets after the end");
            assert_eq!(side.watcher.open(), 0);
            assert!(side.heard.values().all(|heard| heard.cause.is_some()), "a stream was forgotten");
        }
    }
}

/// One change of settings.
fn change(which: u8, amount: u8, role: Role) -> Settings {
    let mut settings = Settings::default();
    let choose = usize::from(amount & 7);
    match which & 3 {
        0 | 1 => {
            settings.initial_window_size = Some([0, 1, 100, 16_384, 16_385, 65_535, 65_536, 300_000][choose])
        }
        2 if role == Role::Server && amount & 8 != 0 => {
            settings.max_concurrent_streams = Some([0, 1, 2, 3, 4, 5, 50, 100][choose]);
        }
        2 => {
            settings.max_frame_size =
                Some([16_384, 16_385, 17_000, 20_000, 30_000, 40_000, 65_535, 1 << 20][choose])
        }
        _ => settings.header_table_size = Some([0, 1, 31, 64, 100, 1_000, 4_096, 65_536][choose]),
    }
    settings
}
