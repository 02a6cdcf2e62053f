//! Any octets into a server and into a client: no panic, what the events promise is kept, and all is the same wherever the
//! input was cut (RFC 9113 §4.1 knows frames, not reads).
//!
//! The other targets share what stands below: [`Feed`], [`Watcher`], [`Ledger`].

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::time::Instant;

use bytes::BytesMut;
use stagedoor_protocol::{Config, Connection, ConnectionError, Event, RequestHead, Role, StreamId};

/// One input: an octet of options, up to 15 lengths of pieces, then what arrives.
pub fn connection(data: &[u8]) {
    let mut feed = Feed(data);
    let options = feed.octet();
    let cuts = feed.take(usize::from(options & 15));
    // Without a handshake before it hardly anything gets past the preface; a few inputs try that.
    let shaken = options & 0x80 == 0;
    for role in [Role::Server, Role::Client] {
        let mut octets = Vec::new();
        if shaken {
            octets.extend_from_slice(if role == Role::Server { &PREFACE[..] } else { &[] });
            octets.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS
            octets.extend_from_slice(&[0, 0, 0, 4, 1, 0, 0, 0, 0]); // its acknowledgement
        }
        octets.extend_from_slice(feed.0);
        same_wherever_cut(role, &octets, cuts);
    }
}

/// Hands `octets` over whole, in pieces of the lengths in `cuts`, and one by one: what is heard must be the same.
///
/// # Panics
/// When it is not.
pub fn same_wherever_cut(role: Role, octets: &[u8], cuts: &[u8]) {
    let whole = hear(role, octets, &[]);
    let single = [1];
    for cuts in [cuts, &single[..]] {
        let pieces = hear(role, octets, cuts);
        assert_eq!(pieces.error, whole.error, "{role:?}");
        assert_eq!(pieces.events, whole.events, "{role:?}");
        assert_eq!(pieces.output, whole.output, "{role:?}");
    }
}

/// The first octets of a client (RFC 9113 §3.4).
pub const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// All that came out of a connection.
struct Heard {
    events: Vec<Event>,
    output: Vec<u8>,
    error: Option<ConnectionError>,
}

/// Lengths of 0 stand for 64 octets; no lengths at all for one piece. A client has asked twice before.
fn hear(role: Role, octets: &[u8], cuts: &[u8]) -> Heard {
    let now = epoch();
    let mut conn = Connection::new(role, Config { enable_push: true, ..Config::default() }, now);
    let mut watcher = Watcher::new(role);
    if role == Role::Client {
        for (method, end) in [("GET", true), ("POST", false), ("HEAD", true)] {
            let head = RequestHead::new(method, "https", "example.com", "/");
            watcher.asked(conn.send_request(&head, end).expect("nothing stands against it"));
        }
    }
    let mut error = None;
    let mut rest = octets;
    let mut lengths = cuts.iter().cycle();
    while !rest.is_empty() && error.is_none() {
        let length = match lengths.next() {
            None => rest.len(),
            Some(0) => 64,
            Some(&length) => usize::from(length),
        };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        error = conn.handle_input(piece, now).err();
        rest = behind;
    }
    let mut events = Vec::new();
    while let Some(event) = conn.poll_event() {
        watcher.see(&event);
        push_merged(&mut events, event);
    }
    let output = take_output(&mut conn, now);
    watcher.check(&conn);
    assert_eq!(error.is_some(), conn.is_closed());
    if error.is_some() {
        assert!(conn.handle_input(&PREFACE, now).is_ok() && conn.poll_event().is_none());
        assert_eq!(conn.poll_output(now), 0);
    }
    Heard { events, output, error }
}

/// Appends an event; adjacent octets of one body become one.
fn push_merged(events: &mut Vec<Event>, event: Event) {
    if let (
        Some(Event::DataReceived { id: before, data: start, end_stream: end }),
        Event::DataReceived { id, data, end_stream },
    ) = (events.last_mut(), &event)
        && before == id
        && !*end
    {
        let mut merged = BytesMut::from(&start[..]);
        merged.extend_from_slice(data);
        (*start, *end) = (merged.freeze(), *end_stream);
        return;
    }
    events.push(event);
}

/// Some moment; the core knows no other clock.
pub fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Takes all that waits for the socket.
pub fn take_output(conn: &mut Connection, now: Instant) -> Vec<u8> {
    let mut taken = Vec::new();
    loop {
        let waits = conn.poll_output(now);
        if waits == 0 {
            return taken;
        }
        let before = taken.len();
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = conn.output(&mut slices);
        for slice in &slices[..filled] {
            taken.extend_from_slice(slice);
        }
        let count = taken.len() - before;
        assert!(count > 0 && count <= waits, "{waits} octets promised, {count} given");
        conn.advance_output(count);
    }
}

/// An input that is read octet by octet and goes on as zeros.
pub struct Feed<'a>(pub &'a [u8]);

impl<'a> Feed<'a> {
    pub fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes([self.octet(), self.octet(), self.octet(), self.octet()])
    }

    /// Up to `count` octets.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One whole frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub id: u32,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    fn word(&self) -> u32 {
        self.payload.first_chunk::<4>().map_or(0, |four| u32::from_be_bytes(*four))
    }
}

/// The frame at the front of `octets` and what follows it.
pub fn split_frame(octets: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let head = octets.first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = octets.get(9..9 + length)?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Some((Frame { kind: head[3], flags: head[4], id, payload }, &octets[9 + length..]))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The head of what the peer says has not come.
    Awaited,
    /// Its head came.
    Speaking,
    /// A head too large: nothing of it is told.
    Muted,
    /// Its end came.
    Ended,
    Closed,
}

/// What the events of one connection promise (`Event`): each stream is told of in order and closed exactly once.
#[derive(Debug)]
pub struct Watcher {
    role: Role,
    streams: BTreeMap<StreamId, Told>,
    failed: bool,
    drained: bool,
}

impl Watcher {
    pub fn new(role: Role) -> Self {
        Self { role, streams: BTreeMap::new(), failed: false, drained: false }
    }

    /// The owner opened a stream.
    pub fn asked(&mut self, id: StreamId) {
        assert!(self.streams.insert(id, Told::Awaited).is_none(), "{id} opened twice");
    }

    /// Streams that are not closed.
    pub fn open(&self) -> usize {
        self.streams.values().filter(|told| **told != Told::Closed).count()
    }

    fn told(&mut self, id: StreamId) -> &mut Told {
        self.streams.get_mut(&id).unwrap_or_else(|| panic!("nobody heard of stream {id} before"))
    }

    fn step(&mut self, id: StreamId, from: &[Told], to: Told) {
        let told = self.told(id);
        assert!(from.contains(told), "stream {id} is {told:?}, then becomes {to:?}");
        *told = to;
    }

    pub fn see(&mut self, event: &Event) {
        use Told::{Awaited, Closed, Ended, Muted, Speaking};
        assert!(!self.failed, "{event:?} after the end");
        let speaking = |end: bool| if end { Ended } else { Speaking };
        let server = self.role == Role::Server;
        match event {
            Event::StreamOpened { id, end_stream, .. } => {
                assert!(server && id.is_client());
                assert!(self.streams.insert(*id, speaking(*end_stream)).is_none(), "{id} opened twice");
            }
            Event::HeadTooLarge { id } => {
                assert!(server && id.is_client());
                assert!(self.streams.insert(*id, Muted).is_none(), "{id} opened twice");
            }
            Event::PushPromised { id, promised, .. } => {
                assert!(!server && !promised.is_client());
                let on = *self.told(*id);
                assert!(matches!(on, Awaited | Speaking), "promised on a stream that is {on:?}");
                assert!(self.streams.insert(*promised, Awaited).is_none(), "{promised} promised twice");
            }
            Event::InformationalReceived { id, head } => {
                assert!((100..200).contains(&head.status) && head.status != 101);
                self.step(*id, &[Awaited], Awaited);
            }
            Event::ResponseReceived { id, head, end_stream } => {
                assert!((200..1000).contains(&head.status));
                self.step(*id, &[Awaited], speaking(*end_stream));
            }
            Event::DataReceived { id, data, end_stream } => {
                assert!(!data.is_empty() || *end_stream, "DATA of nothing");
                self.step(*id, &[Speaking], speaking(*end_stream));
            }
            Event::TrailersReceived { id, .. } => self.step(*id, &[Speaking], Ended),
            Event::StreamClosed { id, .. } => self.step(*id, &[Awaited, Speaking, Muted, Ended], Closed),
            Event::CapacityAvailable { id } | Event::PriorityUpdated { id, .. } => {
                assert_ne!(*self.told(*id), Closed, "{event:?} after its end");
            }
            Event::DrainStarted { .. } => assert!(!std::mem::replace(&mut self.drained, true)),
            Event::ConnectionFailed { .. } => self.failed = true,
            _ => {}
        }
    }

    /// What must hold when all events were seen.
    pub fn check(&self, conn: &Connection) {
        if conn.is_closed() {
            assert_eq!(self.open(), 0, "streams outlive their connection: {:?}", self.streams);
        }
        assert_eq!(conn.open_streams(), self.open(), "{:?}", self.streams);
    }
}

/// The windows of one sender as its peer sees them on the wire (RFC 9113 §5.2, §6.9): it must never go below zero, and
/// nothing may follow its end.
#[derive(Debug)]
pub struct Ledger {
    connection: i64,
    initial: i64,
    frame_size: usize,
    streams: BTreeMap<u32, i64>,
    /// SETTINGS on their way to being acknowledged: initial window, frame size.
    pending: VecDeque<(Option<u32>, Option<u32>)>,
    /// Streams the sender ended or reset.
    silent: std::collections::BTreeSet<u32>,
    /// Inside a field block.
    block: Option<u32>,
    goaway: Option<u32>,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            connection: 65_535,
            initial: 65_535,
            frame_size: 16_384,
            streams: BTreeMap::new(),
            pending: VecDeque::new(),
            silent: std::collections::BTreeSet::new(),
            block: None,
            goaway: None,
        }
    }

    /// A whole frame reached the sender.
    pub fn delivered(&mut self, frame: Frame<'_>) {
        match frame.kind {
            1 if frame.id != 0 => {
                self.streams.entry(frame.id).or_insert(self.initial);
            }
            4 if frame.flags & 1 == 0 => {
                let (mut window, mut size) = (None, None);
                for entry in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
                    match (entry[0], entry[1]) {
                        (0, 4) => window = Some(value),
                        (0, 5) => size = Some(value),
                        _ => {}
                    }
                }
                self.pending.push_back((window, size));
            }
            8 => {
                let increment = i64::from(frame.word() & 0x7fff_ffff);
                if frame.id == 0 {
                    self.connection += increment;
                } else if let Some(window) = self.streams.get_mut(&frame.id) {
                    *window += increment;
                }
            }
            _ => {}
        }
    }

    /// The sender put a whole frame out.
    pub fn emitted(&mut self, frame: Frame<'_>) {
        assert!(frame.payload.len() <= self.frame_size.max(16_384), "{frame:?}");
        if let Some(id) = self.block {
            assert_eq!((frame.kind, frame.id), (9, id), "a field block is not continued (§6.10)");
        }
        let end_headers = frame.flags & 4 != 0;
        match frame.kind {
            0 | 1 => {
                assert_ne!(frame.id, 0);
                assert!(!self.silent.contains(&frame.id), "{frame:?} after END_STREAM or RST_STREAM");
                assert_eq!(frame.flags & 0x20, 0, "priority is not needed from us");
                if frame.flags & 8 != 0 {
                    let padding = usize::from(frame.payload[0]);
                    let zeros = frame
                        .payload
                        .len()
                        .checked_sub(padding)
                        .filter(|&at| at > 0)
                        .expect("room for padding");
                    assert!(
                        frame.payload[zeros..].iter().all(|&octet| octet == 0),
                        "padding is zeros (§6.1)"
                    );
                }
                let window = self.streams.entry(frame.id).or_insert(self.initial);
                if frame.kind == 0 {
                    let octets = frame.payload.len() as i64;
                    *window -= octets;
                    self.connection -= octets;
                    assert!(octets == 0 || *window >= 0, "stream {} over-sent by {}", frame.id, -*window);
                    assert!(
                        octets == 0 || self.connection >= 0,
                        "connection over-sent by {}",
                        -self.connection
                    );
                    assert!(octets > 0 || frame.flags & 1 != 0, "an empty DATA frame that ends nothing");
                } else {
                    self.block = (!end_headers).then_some(frame.id);
                }
                if frame.flags & 1 != 0 {
                    self.silent.insert(frame.id);
                }
            }
            3 => {
                assert_eq!(frame.payload.len(), 4);
                // A stream may be refused that this side never spoke on.
                self.silent.insert(frame.id);
            }
            4 if frame.flags & 1 != 0 => {
                assert!(frame.payload.is_empty());
                let (window, size) = self.pending.pop_front().expect("an acknowledgement of nothing");
                if let Some(window) = window {
                    let delta = i64::from(window) - self.initial;
                    self.initial = i64::from(window);
                    self.streams.values_mut().for_each(|stream| *stream += delta);
                }
                self.frame_size = size.map_or(self.frame_size, |size| size as usize);
            }
            4 => assert_eq!((frame.id, frame.payload.len() % 6), (0, 0)),
            5 => {
                // The peer may give room to a promised stream before it begins (§5.1, reserved).
                self.streams.entry(frame.word() & 0x7fff_ffff).or_insert(self.initial);
                self.block = (!end_headers).then_some(frame.id);
            }
            6 => assert_eq!((frame.id, frame.payload.len()), (0, 8)),
            7 => {
                let last = frame.word();
                assert!(self.goaway.is_none_or(|before| last <= before), "GOAWAY raised (§6.8)");
                self.goaway = Some(last);
            }
            8 => {
                assert_eq!(frame.payload.len(), 4);
                assert_ne!(frame.word(), 0, "WINDOW_UPDATE of zero");
            }
            9 => {
                assert!(self.block.is_some());
                self.block = (!end_headers).then_some(frame.id);
            }
            0xa => assert!(!self.silent.contains(&frame.id), "{frame:?} after END_STREAM or RST_STREAM"),
            0xc => assert_eq!(frame.id, 0),
            _ => panic!("{frame:?} is nothing we say"),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}
