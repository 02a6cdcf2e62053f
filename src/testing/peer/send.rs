//! What a scripted peer says: frames with the layout of their type, and octets that have none.
//!
//! Minds no windows and no stream states. Every call is over when the octets are in the pipe, and panics when
//! nobody reads them in time or the other side is gone.

use std::future::Future;
use std::panic::Location;

use bytes::Bytes;
use stagedoor_protocol::frame::{FrameHeader, flag, kind};
use stagedoor_protocol::{ErrorCode, Settings, StreamId};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::{At, Peer};

/// Octets of payload a frame may have that nobody has allowed more (RFC 9113 §4.2).
const FRAME: usize = 16_384;

/// How a request says where it goes.
const AUTHORITY: &str = "test";

impl Peer {
    /// Sends octets as they are.
    #[track_caller]
    pub fn raw(&mut self, octets: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.write(octets.as_ref(), at).await }
    }

    /// Sends a frame of any type ([`kind`](super::super::kind)) with any flags and payload; its length is right.
    #[track_caller]
    pub fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: impl Into<StreamId>,
        payload: impl AsRef<[u8]>,
    ) -> impl Future<Output = ()> {
        let (at, stream) = (Location::caller(), stream.into());
        async move { self.say(kind, flags, stream, payload.as_ref(), at).await }
    }

    /// Sends a header section in the order given, pseudo-header fields among them; in CONTINUATIONs what does not fit
    /// one frame.
    #[track_caller]
    pub fn headers<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        stream: impl Into<StreamId>,
        fields: impl IntoIterator<Item = (N, V)>,
        end_stream: bool,
    ) -> impl Future<Output = ()> {
        let (at, stream) = (Location::caller(), stream.into());
        let mut block = Vec::new();
        self.encoder.begin(&mut block);
        for (name, value) in fields {
            self.encoder.field(name.as_ref().as_bytes(), value.as_ref().as_bytes(), false, &mut block);
        }
        async move {
            let pieces = block.len().div_ceil(FRAME).max(1);
            for place in 0..pieces {
                let piece = &block[place * FRAME..block.len().min((place + 1) * FRAME)];
                let kind = if place == 0 { kind::HEADERS } else { kind::CONTINUATION };
                let end = if end_stream && place == 0 { flag::END_STREAM } else { 0 };
                let whole = if place + 1 == pieces { flag::END_HEADERS } else { 0 };
                self.say(kind, end | whole, stream, piece, at).await;
            }
        }
    }

    /// Client: `GET path` on a new stream; says which.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> impl Future<Output = StreamId> {
        self.request("GET", path, [("", ""); 0], true)
    }

    /// Client: the head of `POST path` on a new stream, whose body is to follow; says which.
    #[track_caller]
    pub fn post(&mut self, path: &str) -> impl Future<Output = StreamId> {
        self.request("POST", path, [("", ""); 0], false)
    }

    /// Client: the head of a request on a new stream, with these regular fields; says which.
    #[track_caller]
    pub fn request<'a>(
        &mut self,
        method: &'a str,
        path: &'a str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        end_stream: bool,
    ) -> impl Future<Output = StreamId> {
        let stream = StreamId::from(self.next_stream);
        self.next_stream += 2;
        let pseudo = [(":method", method), (":scheme", "http"), (":authority", AUTHORITY), (":path", path)];
        let sent = self.headers(stream, pseudo.into_iter().chain(fields), end_stream);
        async move {
            sent.await;
            stream
        }
    }

    /// Server: the head of a response; below 200 it is informational.
    #[track_caller]
    pub fn respond<'a>(
        &mut self,
        stream: impl Into<StreamId>,
        status: u16,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        end_stream: bool,
    ) -> impl Future<Output = ()> {
        let status = [(":status".to_owned(), status.to_string())];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.headers(stream, status.into_iter().chain(fields), end_stream)
    }

    /// Sends trailers; nothing follows on this side of the stream.
    #[track_caller]
    pub fn trailers<'a>(
        &mut self,
        stream: impl Into<StreamId>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> impl Future<Output = ()> {
        self.headers(stream, fields, true)
    }

    /// Sends octets of a body, in as many frames as they need, whether the windows allow them or not.
    #[track_caller]
    pub fn data(
        &mut self,
        stream: impl Into<StreamId>,
        octets: impl Into<Bytes>,
        end_stream: bool,
    ) -> impl Future<Output = ()> {
        let (at, stream, mut octets) = (Location::caller(), stream.into(), octets.into());
        async move {
            loop {
                let piece = octets.split_to(octets.len().min(FRAME));
                let last = octets.is_empty();
                let end = if end_stream && last { flag::END_STREAM } else { 0 };
                self.say(kind::DATA, end, stream, &piece, at).await;
                if last {
                    return;
                }
            }
        }
    }

    /// Resets a stream.
    #[track_caller]
    pub fn rst_stream(&mut self, stream: impl Into<StreamId>, code: ErrorCode) -> impl Future<Output = ()> {
        self.frame(kind::RST_STREAM, 0, stream, code.0.to_be_bytes())
    }

    /// Sends SETTINGS; their acknowledgement is a frame to expect.
    #[track_caller]
    pub fn settings(&mut self, settings: Settings) -> impl Future<Output = ()> {
        let at = Location::caller();
        if let Some(limit) = settings.header_table_size {
            // The other side may still send blocks made under the old limit; a script that lowers it waits.
            self.decoder.set_limit(limit);
        }
        async move { self.say_settings(&settings, at).await }
    }

    /// Acknowledges SETTINGS.
    #[track_caller]
    pub fn settings_ack(&mut self) -> impl Future<Output = ()> {
        self.frame(kind::SETTINGS, flag::ACK, 0, b"")
    }

    /// Sends a PING; its answer is a frame to expect.
    #[track_caller]
    pub fn ping(&mut self, payload: [u8; 8]) -> impl Future<Output = ()> {
        self.frame(kind::PING, 0, 0, payload)
    }

    /// Answers a PING.
    #[track_caller]
    pub fn ping_ack(&mut self, payload: [u8; 8]) -> impl Future<Output = ()> {
        self.frame(kind::PING, flag::ACK, 0, payload)
    }

    /// Gives window credit, in octets; stream 0 is the connection.
    #[track_caller]
    pub fn window_update(&mut self, stream: impl Into<StreamId>, increment: u32) -> impl Future<Output = ()> {
        self.frame(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// Says that it looks at no stream above `last`.
    #[track_caller]
    pub fn goaway(
        &mut self,
        last: impl Into<StreamId>,
        code: ErrorCode,
        debug: impl AsRef<[u8]>,
    ) -> impl Future<Output = ()> {
        let last: StreamId = last.into();
        let payload = [&last.get().to_be_bytes(), &code.0.to_be_bytes(), debug.as_ref()].concat();
        self.frame(kind::GOAWAY, 0, 0, payload)
    }

    /// Says nothing more, and goes on to hear: the other side reads the end of the octets.
    pub async fn half_close(&mut self) {
        // A pipe whose other end is gone is closed already.
        self.io.shutdown().await.ok();
    }

    pub(super) async fn say_settings(&mut self, settings: &Settings, at: At) {
        match settings.pack() {
            Ok(payload) => self.say(kind::SETTINGS, 0, StreamId::CONNECTION, &payload, at).await,
            Err(error) => panic!("{error}: send it with `frame`, asked at {at}"),
        }
    }

    pub(super) async fn say(&mut self, kind: u8, flags: u8, stream: StreamId, payload: &[u8], at: At) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        assert!(length < 1 << 24, "a frame has no room for {length} octets, asked at {at}");
        let header = FrameHeader { length, kind, flags, id: stream };
        self.write(&[&header.octets(), payload].concat(), at).await;
    }

    pub(super) async fn write(&mut self, octets: &[u8], at: At) {
        match timeout(self.deadline, self.io.write_all(octets)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("the other side is gone, sent at {at}; {}", self.story()),
            Err(_) => panic!("nobody read for {:?}, sent at {at}; {}", self.deadline, self.story()),
        }
    }
}
