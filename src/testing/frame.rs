//! Frames as a test sees them (RFC 9113 §6): typed, header sections whole and decoded.
//!
//! Only reads; a script writes through [`Peer`](super::Peer). Judges little: what our own engine sends has to have the
//! layout of its type, and may otherwise be anything. Invariant: HEADERS and the CONTINUATIONs that follow are one frame here.

use std::ops::ControlFlow;

use bytes::Bytes;
use stagedoor_protocol::frame::{FrameHeader, flag, kind, name};
use stagedoor_protocol::hpack::Decoder;
use stagedoor_protocol::{ErrorCode, Fields, Settings, StreamId};

/// Octets of one string of a header section.
const MAX_STRING: usize = 1 << 20;

/// A frame that was received.
///
/// ```
/// use stagedoor::testing::{Frame, Server, run};
/// use stagedoor::{HttpRequest, handler};
///
/// run(async {
///     let server = Server::new(handler(async |_: HttpRequest| "hello"));
///     let mut peer = server.peer().await;
///     peer.ping([7; 8]).await;
///     match peer.expect(|frame| matches!(frame, Frame::Ping { .. })).await {
///         Frame::Ping { payload, ack } => assert_eq!((payload, ack), ([7; 8], true)),
///         other => panic!("{other:?}"),
///     }
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Octets of a body.
    Data(Data),
    /// A header section: a head, or trailers.
    Headers(Headers),
    /// The end of a stream at once.
    RstStream {
        /// Which.
        stream: StreamId,
        /// Why.
        code: ErrorCode,
    },
    /// Settings.
    Settings(Settings),
    /// Settings of ours are in force.
    SettingsAck,
    /// A promise to answer a request that was not made.
    PushPromise {
        /// The stream it belongs to.
        stream: StreamId,
        /// The stream the answer will come on.
        promised: StreamId,
        /// The request.
        fields: Fields,
    },
    /// A PING, or its answer.
    Ping {
        /// Its eight octets.
        payload: [u8; 8],
        /// It is the answer.
        ack: bool,
    },
    /// No further streams.
    GoAway(GoAway),
    /// Window credit.
    WindowUpdate {
        /// Whose window; stream 0 is the connection.
        stream: StreamId,
        /// Octets.
        increment: u32,
    },
    /// Any other frame.
    Other {
        /// Its type, see [`kind`](super::kind).
        kind: u8,
        /// Its flags, see [`flag`](super::flag).
        flags: u8,
        /// Its stream.
        stream: StreamId,
        /// Its payload.
        payload: Bytes,
    },
}

/// DATA, without its padding.
///
/// ```
/// # use stagedoor::testing::{Server, run};
/// # use stagedoor::{HttpRequest, handler};
/// # run(async {
/// # let server = Server::new(handler(async |_: HttpRequest| "hello"));
/// let mut peer = server.peer().await;
/// let stream = peer.get("/").await;
/// peer.expect_headers(stream).await;
/// let body = peer.expect_data(stream).await;
/// assert_eq!(body.data, "hello");
/// assert!(body.end_stream);
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its stream.
    pub stream: StreamId,
    /// Octets of the body.
    pub data: Bytes,
    /// Nothing follows on this side of the stream.
    pub end_stream: bool,
}

/// HEADERS with what continues them, decoded.
///
/// ```
/// # use stagedoor::testing::{Server, run};
/// # use stagedoor::{HttpRequest, handler};
/// # run(async {
/// # let server = Server::new(handler(async |_: HttpRequest| "hello"));
/// let mut peer = server.peer().await;
/// let stream = peer.get("/").await;
/// let head = peer.expect_headers(stream).await;
/// assert_eq!((head.status(), head.end_stream), (Some(200), false));
/// assert_eq!(head.get("content-length"), Some("5"));
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Its stream.
    pub stream: StreamId,
    /// Fields in order, pseudo-header fields (`:status`) first.
    pub fields: Fields,
    /// Nothing follows on this side of the stream.
    pub end_stream: bool,
}

impl Headers {
    /// The first value of a field, if it is text; `:path` and `:status` are fields, too.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get_str(name)
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.get(":status")?.parse().ok()
    }
}

/// GOAWAY.
///
/// ```
/// # use stagedoor::testing::{ErrorCode, Server, kind, run};
/// # use stagedoor::{HttpRequest, handler};
/// # run(async {
/// # let server = Server::new(handler(async |_: HttpRequest| "hello"));
/// let mut peer = server.peer().await;
/// peer.frame(kind::PING, 0, 0, "seven..").await;
/// let goaway = peer.expect_goaway().await;
/// assert_eq!((goaway.last.get(), goaway.code), (0, ErrorCode::FRAME_SIZE_ERROR));
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// The last stream that is, or may be, looked at.
    pub last: StreamId,
    /// Why.
    pub code: ErrorCode,
    /// Opaque data; from stagedoor words for people.
    pub debug: Bytes,
}

impl Frame {
    /// The stream it is about; 0 is the connection.
    pub fn stream(&self) -> StreamId {
        match self {
            Self::Data(Data { stream, .. })
            | Self::Headers(Headers { stream, .. })
            | Self::RstStream { stream, .. }
            | Self::PushPromise { stream, .. }
            | Self::WindowUpdate { stream, .. }
            | Self::Other { stream, .. } => *stream,
            Self::Settings(_) | Self::SettingsAck | Self::Ping { .. } | Self::GoAway(_) => {
                StreamId::CONNECTION
            }
        }
    }

    /// The last one on its side of its stream.
    pub fn ends_stream(&self) -> bool {
        match self {
            Self::Data(Data { end_stream, .. }) | Self::Headers(Headers { end_stream, .. }) => *end_stream,
            Self::RstStream { .. } => true,
            _ => false,
        }
    }

    /// Reads a frame whose header section, if it has one, is whole.
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(header: FrameHeader, payload: Bytes, decoder: &mut Decoder) -> Result<Self, String> {
        let stream = header.id;
        let short = || format!("a {} of {} octets", name(header.kind), payload.len());
        Ok(match header.kind {
            kind::DATA => {
                let data = unpadded(header, payload)?;
                Self::Data(Data { stream, data, end_stream: header.has(flag::END_STREAM) })
            }
            kind::HEADERS => {
                let mut block = unpadded(header, payload)?;
                if header.has(flag::PRIORITY) {
                    if block.len() < 5 {
                        return Err("a HEADERS without room for its priority".to_owned());
                    }
                    block = block.slice(5..);
                }
                let fields = decode(decoder, &block)?;
                Self::Headers(Headers { stream, fields, end_stream: header.has(flag::END_STREAM) })
            }
            kind::RST_STREAM => {
                Self::RstStream { stream, code: ErrorCode(number(&payload, 0).ok_or_else(short)?) }
            }
            kind::SETTINGS if header.has(flag::ACK) => Self::SettingsAck,
            kind::SETTINGS => Self::Settings(Settings::unpack(&payload).map_err(|error| error.to_string())?),
            kind::PUSH_PROMISE => {
                let payload = unpadded(header, payload)?;
                let promised = number(&payload, 0).ok_or("a PUSH_PROMISE that promises nothing")?;
                let fields = decode(decoder, &payload[4..])?;
                Self::PushPromise { stream, promised: promised.into(), fields }
            }
            kind::PING => {
                let octets = payload[..].try_into().map_err(|_| short())?;
                Self::Ping { payload: octets, ack: header.has(flag::ACK) }
            }
            kind::GOAWAY => Self::GoAway(GoAway {
                last: number(&payload, 0).ok_or_else(short)?.into(),
                code: ErrorCode(number(&payload, 4).ok_or_else(short)?),
                debug: payload.slice(8..),
            }),
            kind::WINDOW_UPDATE => {
                Self::WindowUpdate { stream, increment: number(&payload, 0).ok_or_else(short)? }
            }
            kind => Self::Other { kind, flags: header.flags, stream, payload },
        })
    }
}

/// The 32-bit number at `place`.
fn number(payload: &[u8], place: usize) -> Option<u32> {
    payload.get(place..)?.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
}

/// A payload without its padding (RFC 9113 §6.1).
fn unpadded(header: FrameHeader, payload: Bytes) -> Result<Bytes, String> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let padding = usize::from(*payload.first().ok_or("padding of no length")?);
    let end = payload.len().checked_sub(padding).filter(|end| *end > 0);
    Ok(payload.slice(1..end.ok_or("padding that is longer than its frame")?))
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, String> {
    let mut fields = Fields::new();
    let keep = |field: stagedoor_protocol::hpack::FieldRef<'_>| {
        match field.sensitive {
            true => fields.push_sensitive(field.name, field.value),
            false => fields.push(field.name, field.value),
        }
        ControlFlow::Continue(())
    };
    decoder.decode(block, MAX_STRING, keep).map_err(|error| error.to_string())?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, flags: u8, payload: &'static [u8]) -> Result<Frame, String> {
        let header = FrameHeader { length: payload.len() as u32, kind, flags, id: StreamId::from(1) };
        Frame::read(header, Bytes::from_static(payload), &mut Decoder::new(4096))
    }

    #[test]
    fn padding_and_priority_are_taken_off_a_header_block() {
        let flags = flag::PADDED | flag::PRIORITY | flag::END_STREAM;
        let frame = read(kind::HEADERS, flags, &[2, 0, 0, 0, 0, 16, 0x88, 0, 0]).unwrap();
        let Frame::Headers(headers) = &frame else { panic!("{frame:?}") };
        assert_eq!(headers.status(), Some(200));
        assert!(frame.ends_stream());
        let nothing = Data { stream: StreamId::from(1), data: Bytes::new(), end_stream: false };
        assert_eq!(read(kind::DATA, flag::PADDED, &[1, 0]), Ok(Frame::Data(nothing)));
    }

    #[test]
    fn a_frame_of_the_wrong_length_is_told_in_words() {
        assert_eq!(read(kind::PING, 0, b"seven..").unwrap_err(), "a PING of 7 octets");
        assert_eq!(read(kind::GOAWAY, 0, &[0; 7]).unwrap_err(), "a GOAWAY of 7 octets");
        assert!(
            read(kind::DATA, flag::PADDED, &[2, 0]).is_err(),
            "padding fills at most what follows its length"
        );
        assert!(read(kind::DATA, flag::PADDED, &[]).is_err());
    }
}
