//! A client of HTTP/2 that keeps account of what it sent and what came, and finds fault with nothing but lies.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use stagedoor_protocol::{Config, ErrorCode, Event, Fields, RequestHead, StreamId, Window};
use tokio::io::DuplexStream;

use crate::accounts::{Accounts, check, pattern};
use crate::common::peer::{Peer, about, get_head, post_head};

/// How long it waits for a session that says nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What came on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    pub octets: usize,
    pub informational: usize,
    pub trailers: bool,
    /// END_STREAM came.
    pub ended: bool,
    pub closed: bool,
}

/// What was sent on a stream, or at least given to the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    octets: usize,
    ended: bool,
}

/// See the module.
pub struct Visitor {
    pub peer: Peer,
    pub got: BTreeMap<u32, Got>,
    sent: BTreeMap<u32, Sent>,
    settings: bool,
    pub pongs: usize,
    /// Nothing more comes.
    pub over: bool,
}

impl Visitor {
    /// One with small windows: what it is sent takes turns with what it says.
    pub fn new(io: DuplexStream) -> Self {
        let config = Config {
            enable_push: true,
            stream_window: Window { start: 20_000, max: 20_000 },
            connection_window: Window { start: 65_535, max: 65_535 },
            ..Config::default()
        };
        Self {
            peer: Peer::with(io, config),
            got: BTreeMap::new(),
            sent: BTreeMap::new(),
            settings: false,
            pongs: 0,
            over: false,
        }
    }

    pub fn of(&self, id: StreamId) -> Got {
        self.got.get(&id.get()).copied().unwrap_or_default()
    }

    /// Everything that was begun is over.
    pub fn is_served(&self) -> bool {
        self.sent.keys().all(|id| self.got.get(id).is_some_and(|got| got.closed))
            && self.got.values().all(|got| got.closed)
    }

    /// Streams it has begun.
    pub fn begun(&self) -> Vec<u32> {
        self.sent.keys().copied().collect()
    }

    /// Lets go of the connection.
    pub fn hang_up(&mut self) {
        self.peer = Peer::new(tokio::io::duplex(1).0);
    }

    /// Begins a request; none where no stream can be opened any more.
    pub fn ask(&mut self, head: &RequestHead, end: bool) -> Option<StreamId> {
        let id = self.peer.conn.send_request(head, end).ok()?;
        self.sent.insert(id.get(), Sent { octets: 0, ended: end });
        Some(id)
    }

    pub fn get(&mut self, path: &str) -> Option<StreamId> {
        self.ask(&get_head(path), true)
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Option<StreamId> {
        self.ask(&post_head(path, fields), false)
    }

    pub fn give(&mut self, id: StreamId, octets: usize, end: bool) {
        let sent = self.sent.entry(id.get()).or_default();
        let body = Bytes::from(pattern(id.get(), sent.octets, octets));
        if !sent.ended && self.peer.conn.send_data(id, body, end).is_ok() {
            sent.octets += octets;
            sent.ended = end;
        }
    }

    pub fn end_with_trailers(&mut self, id: StreamId, fields: Fields) {
        let sent = self.sent.entry(id.get()).or_default();
        if !sent.ended && self.peer.conn.send_trailers(id, fields).is_ok() {
            sent.ended = true;
        }
    }

    pub fn reset(&mut self, id: StreamId) {
        // Over already: all the better.
        self.peer.conn.reset_stream(id, ErrorCode::CANCEL).ok();
    }

    /// Takes what comes until it is as wanted; false where nothing more comes, or not in time.
    pub async fn until(&mut self, wanted: impl Fn(&Self) -> bool) -> bool {
        while !wanted(self) {
            if self.over || !self.takes_one(PATIENCE).await {
                self.over = true;
                return false;
            }
        }
        true
    }

    pub async fn until_greeted(&mut self) -> bool {
        self.until(|visitor| visitor.settings).await
    }

    /// Takes one event; false where none came.
    pub async fn takes_one(&mut self, time: Duration) -> bool {
        match tokio::time::timeout(time, self.peer.next()).await {
            Ok(Some(event)) => {
                self.note(event);
                true
            }
            Ok(None) => {
                self.over = true;
                false
            }
            Err(_) => false,
        }
    }

    fn note(&mut self, event: Event) {
        match &event {
            Event::SettingsReceived { .. } => self.settings = true,
            Event::PongReceived { .. } => self.pongs += 1,
            Event::ConnectionFailed { error } => panic!("the session broke the protocol: {error}"),
            Event::PushPromised { promised, .. } => drop(self.got.entry(promised.get()).or_default()),
            _ => {}
        }
        let Some(id) = about(&event) else { return };
        let got = self.got.entry(id.get()).or_default();
        match event {
            Event::InformationalReceived { .. } => got.informational += 1,
            Event::ResponseReceived { head, end_stream, .. } => {
                got.status = head.status;
                got.ended = end_stream;
            }
            Event::DataReceived { data, end_stream, .. } => {
                if got.status == 200 {
                    check(id.get(), got.octets, &data);
                }
                got.octets += data.len();
                got.ended = end_stream;
            }
            Event::TrailersReceived { .. } => (got.trailers, got.ended) = (true, true),
            Event::StreamClosed { .. } => got.closed = true,
            _ => {}
        }
    }

    /// What came is what handlers said, and what they read is what was sent: never more, and all of it where the end
    /// came.
    pub fn agrees_with(&self, accounts: &Accounts) {
        for (id, got) in &self.got {
            // Other answers are the session's own.
            if got.status != 200 {
                continue;
            }
            let account = accounts.of(*id);
            assert!(got.octets <= account.wrote, "stream {id} got octets nobody sent: {got:?} {account:?}");
            if got.ended {
                assert!(account.ended, "stream {id} ended and its handler did not: {got:?} {account:?}");
                assert_eq!(got.octets, account.wrote, "stream {id} ended and is not whole");
            }
        }
        for (id, account) in &*accounts.streams.borrow() {
            let sent = self.sent.get(id).copied().unwrap_or_default();
            assert!(account.read <= sent.octets, "stream {id} read octets nobody sent: {account:?} {sent:?}");
            if account.read_all {
                assert!(sent.ended, "stream {id} was read to an end that is none: {account:?} {sent:?}");
                assert_eq!(account.read, sent.octets, "stream {id} was read to its end and not whole");
            }
        }
    }
}
