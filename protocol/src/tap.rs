//! Frames as somebody watches them: each with what it says, in words a person reads.
//!
//! Costs nothing until it is switched on. Takes nothing of body octets. Invariant: no more than a fixed count of frames
//! waits for whoever watches; what comes beyond that is counted as lost.

use std::time::Instant;

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::event::Origin;
use crate::fields::Fields;
use crate::frame::{FrameHeader, flag, kind, leading_u32};
use crate::ids::StreamId;

/// Frames that wait at most.
const WAITING: usize = 512;

/// A frame that was watched.
///
/// ```
/// use stagedoor_protocol::{Tapped, frame};
///
/// fn line(frame: &Tapped) -> String {
///     let flags: Vec<_> = frame::flag_names(frame.kind, frame.flags).collect();
///     format!("{} {} {flags:?}", frame.id, frame::name(frame.kind))
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tapped {
    /// The owner's clock at that time.
    pub at: Instant,
    /// Who sent it.
    pub by: Origin,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub id: StreamId,
    /// Octets of its payload.
    pub length: u32,
    /// What it says.
    pub detail: Detail,
}

/// What a frame says.
///
/// ```
/// use stagedoor_protocol::{Detail, ErrorCode};
///
/// fn line(detail: &Detail) -> String {
///     match detail {
///         Detail::Code(code) => code.to_string(),
///         Detail::Increment(octets) => format!("+{octets}"),
///         other => format!("{other:?}"),
///     }
/// }
/// assert_eq!(line(&Detail::Code(ErrorCode::CANCEL)), "CANCEL");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing that is shown.
    None,
    /// A field section, pseudo-header fields first; on the frame that completes it.
    Fields(Fields),
    /// SETTINGS: identifiers and values.
    Settings(Vec<(u16, u32)>),
    /// WINDOW_UPDATE: octets.
    Increment(u32),
    /// RST_STREAM.
    Code(ErrorCode),
    /// GOAWAY.
    GoAway {
        /// The last stream that was looked at.
        last: StreamId,
        /// Why.
        code: ErrorCode,
        /// Opaque data.
        debug: Bytes,
    },
    /// PING.
    Ping([u8; 8]),
    /// PRIORITY_UPDATE: stream and value.
    Priority(StreamId, Bytes),
    /// PUSH_PROMISE: the promised stream.
    Promise(StreamId),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    waiting: Vec<Tapped>,
    lost: u64,
}

impl Tap {
    pub(crate) fn frame(&mut self, at: Instant, by: Origin, header: FrameHeader, payload: &[u8]) {
        if self.waiting.len() >= WAITING {
            self.lost += 1;
            return;
        }
        let FrameHeader { length, kind, flags, id } = header;
        self.waiting.push(Tapped { at, by, kind, flags, id, length, detail: detail(header, payload) });
    }

    /// The field section that the last frame of headers on `id` completed.
    pub(crate) fn fields(&mut self, by: Origin, id: StreamId, fields: Fields) {
        let found = self.waiting.iter_mut().rev().find(|tapped| {
            tapped.by == by
                && tapped.id == id
                && matches!(tapped.kind, kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION)
        });
        if let Some(tapped) = found {
            tapped.detail = Detail::Fields(fields);
        }
    }

    pub(crate) fn take(&mut self) -> (Vec<Tapped>, u64) {
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.lost))
    }
}

/// What the octets of a payload say; whether they may say it is judged elsewhere.
fn detail(header: FrameHeader, payload: &[u8]) -> Detail {
    let number = || leading_u32(payload).unwrap_or_default();
    match header.kind {
        kind::SETTINGS if !header.has(flag::ACK) => Detail::Settings(
            payload
                .chunks_exact(6)
                .map(|setting| {
                    let (id, value) = setting.split_at(2);
                    (u16::from_be_bytes([id[0], id[1]]), leading_u32(value).unwrap_or_default())
                })
                .take(64)
                .collect(),
        ),
        kind::WINDOW_UPDATE => Detail::Increment(number() & 0x7fff_ffff),
        kind::RST_STREAM => Detail::Code(ErrorCode(number())),
        kind::GOAWAY => Detail::GoAway {
            last: StreamId::from_wire(number()),
            code: ErrorCode(payload.get(4..).and_then(leading_u32).unwrap_or_default()),
            debug: Bytes::copy_from_slice(
                payload
                    .get(8..)
                    .unwrap_or_default()
                    .get(..256)
                    .unwrap_or_else(|| payload.get(8..).unwrap_or_default()),
            ),
        },
        kind::PING => payload.first_chunk().map_or(Detail::None, |octets| Detail::Ping(*octets)),
        kind::PRIORITY_UPDATE => Detail::Priority(
            StreamId::from_wire(number()),
            Bytes::copy_from_slice(
                payload
                    .get(4..)
                    .unwrap_or_default()
                    .get(..64)
                    .unwrap_or_else(|| payload.get(4..).unwrap_or_default()),
            ),
        ),
        kind::PUSH_PROMISE => Detail::Promise(StreamId::from_wire(number())),
        _ => Detail::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: u8, payload: &[u8]) -> Detail {
        let id = StreamId::CONNECTION;
        detail(FrameHeader { length: payload.len() as u32, kind, flags: 0, id }, payload)
    }

    #[test]
    fn payloads_are_read_as_far_as_they_go() {
        assert_eq!(told(kind::WINDOW_UPDATE, &[0x80, 0, 1, 0]), Detail::Increment(256));
        assert_eq!(told(kind::SETTINGS, &[0, 4, 0, 1, 0, 0, 9]), Detail::Settings(vec![(4, 65_536)]));
        assert_eq!(told(kind::PING, &[1; 7]), Detail::None);
        let Detail::GoAway { last, code, debug } = told(kind::GOAWAY, &[0, 0, 0, 3, 0, 0, 0, 2, b'x']) else {
            panic!("GOAWAY")
        };
        assert_eq!((last.get(), code, &debug[..]), (3, ErrorCode::INTERNAL_ERROR, &b"x"[..]));
        assert_eq!(told(kind::GOAWAY, &[]), told(kind::GOAWAY, &[0; 8]));
    }

    #[test]
    fn what_nobody_fetches_is_lost_and_counted() {
        let mut tap = Tap::default();
        let header = FrameHeader { length: 0, kind: kind::DATA, flags: 0, id: StreamId::CONNECTION };
        for _ in 0..WAITING + 3 {
            tap.frame(Instant::now(), Origin::Remote, header, &[]);
        }
        let (frames, lost) = tap.take();
        assert_eq!((frames.len(), lost), (WAITING, 3));
        assert_eq!(tap.take().1, 0);
    }
}
