//! Frames on the wire (RFC 9113 §4, §6): the nine-octet header, types, flags, and how padding is taken off.
//!
//! Knows layout only; what a frame means is the connection's business.

use crate::error::ConnectionError;
use crate::ids::StreamId;

/// Octets of a frame header (§4.1).
pub const HEADER_LEN: usize = 9;

/// What a client sends first (§3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (§6; RFC 7838 §4, RFC 8336, RFC 9218 §7.1).
pub mod kind {
    /// Octets of a body (§6.1).
    pub const DATA: u8 = 0x0;
    /// The first part of a header section (§6.2).
    pub const HEADERS: u8 = 0x1;
    /// The deprecated priority scheme; read and ignored (§6.3).
    pub const PRIORITY: u8 = 0x2;
    /// Ends a stream at once (§6.4).
    pub const RST_STREAM: u8 = 0x3;
    /// Settings, or their acknowledgement (§6.5).
    pub const SETTINGS: u8 = 0x4;
    /// A promise to answer a request that was not made (§6.6).
    pub const PUSH_PROMISE: u8 = 0x5;
    /// Round trip measurement and liveness (§6.7).
    pub const PING: u8 = 0x6;
    /// No further streams (§6.8).
    pub const GOAWAY: u8 = 0x7;
    /// Window credit (§6.9).
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// The rest of a header section (§6.10).
    pub const CONTINUATION: u8 = 0x9;
    /// An alternative service (RFC 7838 §4).
    pub const ALTSVC: u8 = 0xa;
    /// Origins the connection answers for (RFC 8336).
    pub const ORIGIN: u8 = 0xc;
    /// Priority of a response (RFC 9218 §7.1).
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags (§6); others are ignored on receipt.
pub mod flag {
    /// DATA, HEADERS: the sender's last frame on the stream.
    pub const END_STREAM: u8 = 0x1;
    /// SETTINGS, PING: the answer to one.
    pub const ACK: u8 = 0x1;
    /// HEADERS, PUSH_PROMISE, CONTINUATION: the header section is complete.
    pub const END_HEADERS: u8 = 0x4;
    /// DATA, HEADERS, PUSH_PROMISE: a padding length leads the payload.
    pub const PADDED: u8 = 0x8;
    /// HEADERS: five octets of deprecated priority lead the fragment.
    pub const PRIORITY: u8 = 0x20;
}

/// Name of a frame type, for messages.
///
/// ```
/// use stagedoor_protocol::frame::{kind, name};
///
/// assert_eq!(name(kind::GOAWAY), "GOAWAY");
/// ```
pub fn name(kind: u8) -> &'static str {
    match kind {
        kind::DATA => "DATA",
        kind::HEADERS => "HEADERS",
        kind::PRIORITY => "PRIORITY",
        kind::RST_STREAM => "RST_STREAM",
        kind::SETTINGS => "SETTINGS",
        kind::PUSH_PROMISE => "PUSH_PROMISE",
        kind::PING => "PING",
        kind::GOAWAY => "GOAWAY",
        kind::WINDOW_UPDATE => "WINDOW_UPDATE",
        kind::CONTINUATION => "CONTINUATION",
        kind::ALTSVC => "ALTSVC",
        kind::ORIGIN => "ORIGIN",
        kind::PRIORITY_UPDATE => "PRIORITY_UPDATE",
        _ => "unknown",
    }
}

/// The flags that mean something on frames of a type, with their names (§6).
fn known_flags(kind: u8) -> &'static [(u8, &'static str)] {
    match kind {
        kind::DATA => &[(flag::END_STREAM, "END_STREAM"), (flag::PADDED, "PADDED")],
        kind::HEADERS => &[
            (flag::END_STREAM, "END_STREAM"),
            (flag::END_HEADERS, "END_HEADERS"),
            (flag::PADDED, "PADDED"),
            (flag::PRIORITY, "PRIORITY"),
        ],
        kind::SETTINGS | kind::PING => &[(flag::ACK, "ACK")],
        kind::PUSH_PROMISE => &[(flag::END_HEADERS, "END_HEADERS"), (flag::PADDED, "PADDED")],
        kind::CONTINUATION => &[(flag::END_HEADERS, "END_HEADERS")],
        _ => &[],
    }
}

/// Names of the flags that are set and mean something on frames of a type (§6), for messages.
///
/// ```
/// use stagedoor_protocol::frame::{flag, flag_names, kind};
///
/// let names: Vec<_> = flag_names(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS).collect();
/// assert_eq!(names, ["END_STREAM", "END_HEADERS"]);
/// ```
pub fn flag_names(kind: u8, flags: u8) -> impl Iterator<Item = &'static str> {
    known_flags(kind).iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| *name)
}

/// The flags that mean nothing on frames of a type.
///
/// ```
/// use stagedoor_protocol::frame::{flag, kind, unknown_flags};
///
/// assert_eq!(unknown_flags(kind::PING, flag::ACK | 0x40), 0x40);
/// ```
pub fn unknown_flags(kind: u8, flags: u8) -> u8 {
    known_flags(kind).iter().fold(flags, |flags, (bit, _)| flags & !bit)
}

/// Index of a frame type in [`crate::event::FrameCounts`].
#[inline]
pub(crate) fn count_index(kind: u8) -> usize {
    match kind {
        0..=9 => usize::from(kind),
        kind::PRIORITY_UPDATE => 10,
        _ => 11,
    }
}

/// A frame header.
///
/// ```
/// use stagedoor_protocol::StreamId;
/// use stagedoor_protocol::frame::{FrameHeader, flag, kind};
///
/// let header = FrameHeader { length: 5, kind: kind::DATA, flags: flag::END_STREAM, id: StreamId::from(1) };
/// assert_eq!(header.octets(), [0, 0, 5, 0, 1, 0, 0, 0, 1]);
/// assert_eq!(FrameHeader::parse(&header.octets()), header);
/// assert!(header.has(flag::END_STREAM));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Octets of payload, 0 to 2^24-1.
    pub length: u32,
    /// Type; see [`kind`].
    pub kind: u8,
    /// Flags; see [`flag`].
    pub flags: u8,
    /// Stream, 0 for the connection.
    pub id: StreamId,
}

impl FrameHeader {
    /// Reads the nine octets.
    #[inline]
    pub fn parse(octets: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, w, x, y, z] = *octets;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            id: StreamId::from_wire(u32::from_be_bytes([w, x, y, z])),
        }
    }

    /// Writes the nine octets.
    #[inline]
    pub fn octets(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [w, x, y, z] = self.id.get().to_be_bytes();
        [a, b, c, self.kind, self.flags, w, x, y, z]
    }

    /// Whether `flag` is set.
    #[inline]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Takes padding off a payload (§6.1): the octets that count, and how many were padding (its length octet included).
/// # Errors
/// [`ConnectionError::Padding`] when padding is not shorter than what follows its length octet;
/// [`ConnectionError::FrameSize`] when even that octet is missing.
#[inline]
pub(crate) fn strip_padding(header: FrameHeader, payload: &[u8]) -> Result<(&[u8], usize), ConnectionError> {
    if !header.has(flag::PADDED) {
        return Ok((payload, 0));
    }
    let Some((&pad, rest)) = payload.split_first() else {
        return Err(ConnectionError::FrameSize { frame: name(header.kind), length: header.length });
    };
    let pad = usize::from(pad);
    match rest.len().checked_sub(pad) {
        Some(keep) => Ok((&rest[..keep], pad + 1)),
        None => Err(ConnectionError::Padding),
    }
}

/// Reads the leading 32 bits of a payload.
#[inline]
pub(crate) fn leading_u32(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_loses_its_reserved_bit() {
        let header =
            FrameHeader { length: 0x01_02_03, kind: 9, flags: 4, id: StreamId::from_wire(0x8000_0007) };
        assert_eq!(header.id.get(), 7);
        assert_eq!(FrameHeader::parse(&header.octets()), header);
    }

    #[test]
    fn padding_may_fill_the_payload_but_not_exceed_it() {
        let header =
            FrameHeader { length: 3, kind: kind::DATA, flags: flag::PADDED, id: StreamId::from_wire(1) };
        assert_eq!(strip_padding(header, &[2, 0, 0]), Ok((&[][..], 3)));
        assert_eq!(strip_padding(header, &[1, 7, 0]), Ok((&[7][..], 2)));
        assert_eq!(strip_padding(header, &[3, 0, 0]), Err(ConnectionError::Padding));
        assert!(strip_padding(header, &[]).is_err());
    }
}
