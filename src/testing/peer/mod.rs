//! A scripted HTTP/2 peer: says and hears frames, does nothing by itself.
//!
//! Neither role has an engine here: a peer keeps no windows, no stream states, acknowledges nothing once it has shaken
//! hands, and may say what RFC 9113 forbids. It keeps in step with header compression, both ways.
//! `send.rs` says, `expect.rs` hears.
//!
//! Invariants: nothing is waited for longer than the deadline, and what fails is told with where it was asked and
//! what came before; frames that an expectation passes over are kept, in order, for the next ones.

mod expect;
mod send;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use stagedoor_actors::client::Connector;
use stagedoor_protocol::frame::{FrameHeader, HEADER_LEN, PREFACE, flag, kind};
use stagedoor_protocol::hpack::{Decoder, Encoder};
use stagedoor_protocol::{Role, Settings};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::time::timeout;

use super::frame::Frame;
use super::run::patience;

/// Octets the pipe of [`Peer::serve`] holds each way.
const PIPE: usize = 64 << 10;
/// Octets of the decoder's table where the settings say nothing (RFC 9113 §6.5.2).
const TABLE: u32 = 4096;
/// Frames a failure shows.
const SHOWN: usize = 16;

/// Where a test asked.
type At = &'static Location<'static>;

/// A scripted peer, in the role of a client ([`Server::peer`](super::Server::peer)) or of a server ([`Peer::serve`]).
/// Dropping it closes the connection.
///
/// A server role, and a client of ours that hears GOAWAY:
///
/// ```
/// use stagedoor::testing::{Client, ErrorCode, Peer, Settings, run};
///
/// run(async {
///     let (mut peer, connector) = Peer::serve();
///     let client = Client::over(connector);
///     let mut stream = client.stream("/slow");
///     peer.shake(Settings::default()).await;
///     let request = peer.expect_headers(1).await;
///     assert_eq!(request.get(":path"), Some("/slow"));
///     peer.goaway(0, ErrorCode::NO_ERROR, "come back later").await;
///     let error = stream.response().await.unwrap_err();
///     assert!(error.is_retry_safe(), "{error}");
/// });
/// ```
pub struct Peer {
    io: DuplexStream,
    role: Role,
    inbound: BytesMut,
    encoder: Encoder,
    decoder: Decoder,
    /// Frames that were read and not asked for.
    kept: VecDeque<Frame>,
    /// The last frames that were read, for failures.
    seen: VecDeque<Frame>,
    deadline: Duration,
    /// The stream that the next request opens.
    next_stream: u32,
    remote: Settings,
}

impl Peer {
    /// A client over a connection of [`Server::connect_buffered`](super::Server::connect_buffered); says nothing before
    /// [`Self::shake`].
    pub fn over(io: DuplexStream) -> Self {
        Self::new(io, Role::Client)
    }

    /// A server, and how a client reaches it: `Client::over(connector)`, or the connector of
    /// [`crate::client::Options`]. It says nothing before [`Self::shake`].
    pub fn serve() -> (Self, Connector) {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        (Self::new(ours, Role::Server), Connector::over(theirs))
    }

    fn new(io: DuplexStream, role: Role) -> Self {
        Self {
            io,
            role,
            inbound: BytesMut::new(),
            encoder: Encoder::new(),
            decoder: Decoder::new(TABLE),
            kept: VecDeque::new(),
            seen: VecDeque::new(),
            deadline: patience(),
            next_stream: 1,
            remote: Settings::default(),
        }
    }

    /// How long it waits for one frame, or to be read: ten seconds, and a day on a paused clock.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Says hello and waits until the SETTINGS of both sides are in force; what came on the way is not kept.
    /// # Panics
    /// When the other side does not begin as RFC 9113 §3.4 wants it.
    #[track_caller]
    pub fn shake(&mut self, settings: Settings) -> impl Future<Output = ()> {
        let at = Location::caller();
        self.shake_at(settings, at)
    }

    pub(super) async fn shake_at(&mut self, settings: Settings, at: At) {
        match self.role {
            Role::Client => self.write(PREFACE, at).await,
            Role::Server => {
                while self.inbound.len() < PREFACE.len() && self.fill(at).await {}
                let right = self.inbound.starts_with(PREFACE);
                assert!(right, "the client does not begin with the preface, asked at {at}");
                self.inbound.advance(PREFACE.len());
            }
        }
        if let Some(limit) = settings.header_table_size {
            self.decoder.set_limit(limit);
        }
        self.say_settings(&settings, at).await;
        match self.read(at).await {
            Some(Frame::Settings(remote)) => self.remote = remote,
            other => panic!("the first frame is not SETTINGS but {other:?}, asked at {at}"),
        }
        self.encoder.set_peer_limit(self.remote.header_table_size.unwrap_or(TABLE));
        self.say(kind::SETTINGS, flag::ACK, 0.into(), &[], at).await;
        loop {
            match self.read(at).await {
                Some(Frame::SettingsAck) => break,
                Some(Frame::GoAway(goaway)) => panic!("refused: {goaway:?}, asked at {at}"),
                Some(frame @ (Frame::Headers(_) | Frame::Data(_))) => self.kept.push_back(frame),
                Some(_) => {}
                None => panic!("the connection ends before SETTINGS are acknowledged, asked at {at}"),
            }
        }
    }

    /// What the other side's first SETTINGS said, once hands are shaken.
    pub fn remote_settings(&self) -> &Settings {
        &self.remote
    }

    /// The connection as it is, with what was read of it and not taken yet.
    pub fn into_inner(self) -> (DuplexStream, Bytes) {
        (self.io, self.inbound.freeze())
    }

    /// The next frame of the wire; `None` at the end of the connection. Loses nothing where it is dropped.
    async fn read(&mut self, at: At) -> Option<Frame> {
        let (header, payload) = loop {
            match self.take_whole(at) {
                Some(whole) => break whole,
                None if self.fill(at).await => {}
                None => return None,
            }
        };
        match Frame::read(header, payload, &mut self.decoder) {
            Ok(frame) => {
                if self.seen.len() == SHOWN {
                    self.seen.pop_front();
                }
                self.seen.push_back(frame.clone());
                Some(frame)
            }
            Err(what) => panic!("the other side sent {what}, read at {at}; {}", self.story()),
        }
    }

    /// The first frame that was read, with all that continues it; `None` where it is not whole, and stays.
    fn take_whole(&mut self, at: At) -> Option<(FrameHeader, Bytes)> {
        let first = FrameHeader::parse(self.inbound.first_chunk()?);
        let payload = HEADER_LEN..HEADER_LEN + first.length as usize;
        let mut pieces = Vec::from([payload]);
        let section = matches!(first.kind, kind::HEADERS | kind::PUSH_PROMISE);
        let mut open = section && !first.has(flag::END_HEADERS);
        loop {
            let end = pieces.last().map_or(0, |piece| piece.end);
            let rest = self.inbound.get(end..)?;
            if !open {
                let octets = self.inbound.split_to(end).freeze();
                let payload = match &pieces[..] {
                    [only] => octets.slice(only.clone()),
                    several => several.iter().flat_map(|piece| &octets[piece.clone()]).copied().collect(),
                };
                return Some((first, payload));
            }
            let more = FrameHeader::parse(rest.first_chunk()?);
            let continues = more.kind == kind::CONTINUATION && more.id == first.id;
            assert!(continues, "a header section goes on with {more:?}, read at {at}");
            pieces.push(end + HEADER_LEN..end + HEADER_LEN + more.length as usize);
            open = !more.has(flag::END_HEADERS);
        }
    }

    /// Reads on; false at the end of the connection.
    async fn fill(&mut self, at: At) -> bool {
        match timeout(self.deadline, self.io.read_buf(&mut self.inbound)).await {
            Ok(read) => read.is_ok_and(|octets| octets > 0),
            Err(_) => panic!("nothing came for {:?}, asked for at {at}; {}", self.deadline, self.story()),
        }
    }

    /// The last frames, for people.
    fn story(&self) -> String {
        let frames: Vec<String> = self.seen.iter().map(|frame| format!("  {frame:?}")).collect();
        match frames.is_empty() {
            true => "no frame had come".to_owned(),
            false => format!("the last frames were\n{}", frames.join("\n")),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("role", &self.role)
            .field("kept", &self.kept)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
