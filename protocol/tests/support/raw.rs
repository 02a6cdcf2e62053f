//! One connection against a scripted peer.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use stagedoor_protocol::hpack::Decoder;
use stagedoor_protocol::{
    Cause, Config, Connection, ConnectionError, ErrorCode, Event, Origin, RequestHead, Role, StreamId,
};

use super::frames::{self, Frame};
use super::{block, take_events, take_output};

/// The connection under test, and everything it said.
pub struct Raw {
    pub conn: Connection,
    pub now: Instant,
    /// Frames since the test last took them.
    pub frames: Vec<Frame>,
    /// Events since the test last took them.
    pub events: Vec<Event>,
    /// All events ever.
    pub log: Vec<Event>,
    /// What the last call said.
    pub result: Result<(), ConnectionError>,
    /// Header sections the connection sent, decoded.
    pub sections: Vec<(u32, Vec<(String, String)>)>,
    decoder: Decoder,
    block: Vec<u8>,
    tail: Vec<u8>,
    pings: u64,
}

impl Raw {
    /// A connection that was told nothing yet; what it says first is in `frames`.
    pub fn bare(role: Role, config: Config) -> Self {
        let now = Instant::now();
        let mut raw = Self {
            conn: Connection::new(role, config, now),
            now,
            frames: Vec::new(),
            events: Vec::new(),
            log: Vec::new(),
            result: Ok(()),
            sections: Vec::new(),
            decoder: Decoder::new(4096),
            block: Vec::new(),
            tail: Vec::new(),
            pings: 0,
        };
        if role == Role::Client {
            let said = take_output(&mut raw.conn, now);
            assert!(said.starts_with(frames::PREFACE), "a client begins with the preface (§3.4)");
            raw.tail.extend_from_slice(&said[frames::PREFACE.len()..]);
        }
        raw.pump();
        raw
    }

    /// A server after the exchange of SETTINGS; the peer has sent `settings`.
    pub fn server_with(config: Config, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::bare(Role::Server, config);
        let mut hello = frames::PREFACE.to_vec();
        hello.extend(frames::settings(settings));
        hello.extend(frames::settings_ack());
        raw.send(hello);
        raw.forget();
        raw
    }

    /// A server with our defaults.
    pub fn server() -> Self {
        Self::server_with(Config::default(), &[])
    }

    /// A client after the exchange of SETTINGS; the peer has sent `settings`.
    pub fn client_with(config: Config, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::bare(Role::Client, config);
        let mut hello = frames::settings(settings);
        hello.extend(frames::settings_ack());
        raw.send(hello);
        raw.forget();
        raw
    }

    /// A client with our defaults.
    pub fn client() -> Self {
        Self::client_with(Config::default(), &[])
    }

    /// Drops what was heard so far.
    pub fn forget(&mut self) {
        assert_eq!(self.result, Ok(()));
        self.frames.clear();
        self.events.clear();
        self.sections.clear();
    }

    /// The peer says `octets`.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.result = self.conn.handle_input(octets.as_ref(), self.now);
        self.pump();
    }

    /// Takes events and output.
    pub fn pump(&mut self) {
        let events = take_events(&mut self.conn);
        self.log.extend_from_slice(&events);
        self.events.extend(events);
        self.tail.extend(take_output(&mut self.conn, self.now));
        for frame in frames::parse(&mut self.tail) {
            self.read_section(&frame);
            self.frames.push(frame);
        }
        let events = take_events(&mut self.conn);
        self.log.extend_from_slice(&events);
        self.events.extend(events);
    }

    /// Takes what one turn of the socket would take: one `poll_output` and all that waits then.
    pub fn pump_once(&mut self) {
        let waits = self.conn.poll_output(self.now);
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let filled = self.conn.output(&mut slices);
        let octets: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        assert_eq!(octets.len(), waits);
        self.conn.advance_output(octets.len());
        self.tail.extend(octets);
        for frame in frames::parse(&mut self.tail) {
            self.read_section(&frame);
            self.frames.push(frame);
        }
    }

    fn read_section(&mut self, frame: &Frame) {
        let fragment = match frame.kind {
            frames::HEADERS => {
                assert!(!frame.has(frames::PADDED | frames::PRIORITY_FLAG), "nobody needs these from us");
                &frame.payload[..]
            }
            frames::CONTINUATION => &frame.payload[..],
            _ => return,
        };
        self.block.extend_from_slice(fragment);
        if frame.has(frames::END_HEADERS) {
            let mut fields = Vec::new();
            let block = std::mem::take(&mut self.block);
            self.decoder
                .decode(&block, 1 << 20, |field| {
                    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                    fields.push((text(field.name), text(field.value)));
                    ControlFlow::Continue(())
                })
                .unwrap();
            self.sections.push((frame.id, fields));
        }
    }

    /// Time goes on; deadlines that have passed act.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        if self.conn.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.result = self.conn.handle_deadline(self.now);
        }
        self.pump();
    }

    /// The owner's calls have to be followed by a pump; this does both.
    pub fn act<T>(&mut self, call: impl FnOnce(&mut Connection) -> T) -> T {
        let result = call(&mut self.conn);
        self.pump();
        result
    }

    // --- the usual scenes ---

    /// Server: a request without body; the stream is half-closed (remote) afterwards.
    pub fn get(&mut self, id: u32) {
        self.send(frames::headers(id, &block::get(), frames::END_STREAM));
        self.expect_opened(id);
    }

    /// Server: a request whose body is still to come; the stream is open afterwards.
    pub fn post(&mut self, id: u32) {
        self.send(frames::headers(id, &block::post(), frames::NONE));
        self.expect_opened(id);
    }

    /// Server: a whole answer without body.
    pub fn answer(&mut self, id: u32) {
        self.act(|conn| conn.send_response(id.into(), &super::status(200), true)).unwrap();
    }

    /// Server: a request and its answer; the stream is closed by END_STREAM of both sides.
    pub fn exchange(&mut self, id: u32) {
        self.get(id);
        self.answer(id);
        assert_eq!(self.closed(id), [Cause::EndStream]);
        self.act(|conn| conn.release_stream(id.into()));
    }

    /// Client: opens a stream.
    pub fn ask(&mut self, head: &RequestHead, end_stream: bool) -> u32 {
        let id = self.act(|conn| conn.send_request(head, end_stream)).unwrap();
        id.get()
    }

    /// Client: a GET whose answer is to come.
    pub fn ask_get(&mut self) -> u32 {
        self.ask(&super::get(), true)
    }

    // --- what was heard ---

    /// How a stream ended, over all time.
    pub fn closed(&self, stream: u32) -> Vec<Cause> {
        let closed = |event: &Event| match event {
            Event::StreamClosed { id, cause } if id.get() == stream => Some(*cause),
            _ => None,
        };
        self.log.iter().filter_map(closed).collect()
    }

    /// Whether the stream was given to the owner, over all time.
    pub fn opened(&self, stream: u32) -> bool {
        self.log.iter().any(|event| match event {
            Event::StreamOpened { id, .. } | Event::HeadTooLarge { id } => id.get() == stream,
            _ => false,
        })
    }

    /// Body octets of a stream, over all time.
    pub fn body(&self, stream: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for event in &self.log {
            if let Event::DataReceived { id, data, .. } = event
                && id.get() == stream
            {
                body.extend_from_slice(data);
            }
        }
        body
    }

    /// Whether END_STREAM of the peer was told to the owner, over all time.
    pub fn ended(&self, stream: u32) -> bool {
        self.log.iter().any(|event| match event {
            Event::StreamOpened { id, end_stream, .. }
            | Event::ResponseReceived { id, end_stream, .. }
            | Event::DataReceived { id, end_stream, .. } => id.get() == stream && *end_stream,
            Event::TrailersReceived { id, .. } => id.get() == stream,
            _ => false,
        })
    }

    /// Debug texts of the GOAWAY frames it sent.
    pub fn goaways(&self) -> Vec<String> {
        let debug = |frame: &&Frame| String::from_utf8_lossy(&frame.payload[8..]).into_owned();
        self.of_kind(frames::GOAWAY).iter().map(debug).collect()
    }

    /// RST_STREAM frames it sent.
    pub fn resets(&self) -> Vec<(u32, ErrorCode)> {
        self.of_kind(frames::RST_STREAM).iter().map(|frame| (frame.id, frame.code())).collect()
    }

    /// Frames of a type since last taken.
    pub fn of_kind(&self, kind: u8) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.kind == kind).collect()
    }

    /// Octets of WINDOW_UPDATE given to a stream (0: the connection) since last taken.
    pub fn credit(&self, id: u32) -> u64 {
        let updates = self.of_kind(frames::WINDOW_UPDATE).into_iter().filter(|frame| frame.id == id);
        updates.map(|frame| u64::from(frame.u32_at(0))).sum()
    }

    /// DATA octets sent on a stream since last taken, without padding.
    pub fn data_sent(&self, id: u32) -> usize {
        let data = self.of_kind(frames::DATA).into_iter().filter(|frame| frame.id == id);
        data.map(|frame| frame.payload.len()).sum()
    }

    fn rst(&self, id: u32) -> Option<ErrorCode> {
        let mut resets = self.frames.iter().filter(|f| f.kind == frames::RST_STREAM && f.id == id);
        let code = resets.next().map(Frame::code);
        assert!(resets.next().is_none(), "two RST_STREAM on stream {id}");
        code
    }

    fn goaway(&self) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.kind == frames::GOAWAY)
    }

    // --- expectations ---

    #[track_caller]
    pub fn expect_opened(&self, id: u32) {
        assert!(self.opened(id), "stream {id} did not open: {:?} {:?}", self.result, self.events);
    }

    /// The connection failed with this code: GOAWAY on the wire and nothing behind it, the error at the owner.
    #[track_caller]
    pub fn expect_goaway(&mut self, code: ErrorCode) {
        let Some(goaway) = self.goaway() else {
            panic!("no GOAWAY: {:?}, events {:?}, frames {:x?}", self.result, self.events, self.frames);
        };
        assert_eq!(goaway.code(), code, "{:?} {:?}", self.result, goaway);
        assert_eq!(self.frames.last().map(|frame| frame.kind), Some(frames::GOAWAY), "frames after GOAWAY");
        let error = self.result.clone().expect_err("the call that broke the connection says so");
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(self.log.last(), Some(&Event::ConnectionFailed { error }));
        assert!(self.conn.is_closed());
        assert_eq!(self.conn.open_streams(), 0);
        // Whatever follows is ignored.
        let (frames, log) = (self.frames.len(), self.log.len());
        let _ = self.conn.handle_input(&frames::ping(*b"too late"), self.now);
        self.pump();
        assert_eq!((self.frames.len(), self.log.len()), (frames, log), "nothing is said after the end");
    }

    /// The stream was reset with this code and the connection lives.
    #[track_caller]
    pub fn expect_reset(&mut self, id: u32, code: ErrorCode) {
        let Some(sent) = self.rst(id) else {
            panic!("no RST_STREAM: {:?}, events {:?}, frames {:x?}", self.result, self.events, self.frames);
        };
        assert_eq!(sent, code);
        if self.opened(id) || self.conn.role() == Role::Client {
            assert_eq!(self.closed(id).len(), 1, "StreamClosed comes once: {:?}", self.log);
        }
        self.expect_alive();
    }

    /// A promise was refused with this code before the owner heard of it.
    #[track_caller]
    pub fn expect_reset_of_a_promise(&mut self, id: u32, code: ErrorCode) {
        assert_eq!(self.rst(id), Some(code));
        assert!(self.closed(id).is_empty());
        self.expect_alive();
    }

    /// The stream was reset with this code and the owner of the open stream was told so.
    #[track_caller]
    pub fn expect_reset_told(&mut self, id: u32, code: ErrorCode) {
        self.expect_reset(id, code);
        assert_eq!(self.closed(id), [Cause::Reset { by: Origin::Local, code }]);
    }

    /// The message turned out malformed with its last frame: RST_STREAM(PROTOCOL_ERROR), also on a stream that this
    /// frame would have closed, and the owner hears of no good end.
    #[track_caller]
    pub fn expect_malformed_at_its_end(&mut self, id: u32) {
        self.expect_reset_told(id, ErrorCode::PROTOCOL_ERROR);
        assert!(!self.ended(id), "a malformed message has no end");
    }

    /// A stream error that may be treated as a connection error (§5.4.1).
    #[track_caller]
    pub fn expect_stream_or_connection_error(&mut self, id: u32, code: ErrorCode) {
        if self.goaway().is_some() { self.expect_goaway(code) } else { self.expect_reset(id, code) }
    }

    /// No GOAWAY so far; where a PING may not be sent.
    #[track_caller]
    pub fn expect_no_goaway(&self) {
        assert_eq!(self.result, Ok(()));
        assert!(self.goaway().is_none() && !self.conn.is_closed());
    }

    /// The connection lives: PING is answered, no GOAWAY was sent.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        assert!(self.goaway().is_none(), "GOAWAY: {:x?}", self.goaway());
        self.expect_alive_after_goaway();
    }

    /// The connection lives, though GOAWAY (of a drain) was sent.
    #[track_caller]
    pub fn expect_alive_after_goaway(&mut self) {
        assert_eq!(self.result, Ok(()));
        self.pings += 1;
        let payload = self.pings.to_be_bytes();
        let seen = self.frames.len();
        self.send(frames::ping(payload));
        let ack = Frame { kind: frames::PING, flags: frames::ACK, id: 0, payload: payload.to_vec() };
        assert_eq!(self.result, Ok(()));
        assert!(self.frames[seen..].contains(&ack), "PING is not answered: {:x?}", &self.frames[seen..]);
        assert!(!self.conn.is_closed());
    }

    /// Nothing was reset and the connection lives.
    #[track_caller]
    pub fn expect_fine(&mut self) {
        let resets = self.of_kind(frames::RST_STREAM);
        assert!(resets.is_empty(), "{resets:x?}");
        self.expect_alive();
    }

    /// The stream is open to its owner still and nothing was reset.
    #[track_caller]
    pub fn expect_open(&mut self, id: u32) {
        self.expect_open_but_for_resets(id);
        self.expect_fine();
    }

    /// The stream is open to its owner still, whatever became of others.
    #[track_caller]
    pub fn expect_open_but_for_resets(&mut self, id: u32) {
        assert!(self.closed(id).is_empty(), "stream {id}: {:?}", self.closed(id));
        assert!(
            self.conn.streams().iter().any(|view| view.id == StreamId::from(id) && view.state != "closed")
        );
        self.expect_alive();
    }
}
