//! Stream identifiers (RFC 9113 §5.1.1).

/// Stream identifier: 31 bits, odd when the client opened it (RFC 9113 §5.1.1).
///
/// ```
/// use stagedoor_protocol::StreamId;
///
/// let stream = StreamId::from(3);
/// assert!(stream.is_client() && stream > StreamId::from(1));
/// assert_eq!(StreamId::from_wire(0x8000_0003), stream, "the reserved bit does not count");
/// assert!(StreamId::CONNECTION.is_connection());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId(u32);

impl StreamId {
    /// Stream 0 stands for the connection.
    pub const CONNECTION: Self = Self(0);
    /// The highest identifier, 2^31-1.
    pub const MAX: Self = Self(0x7fff_ffff);

    /// Reads four octets off the wire; the reserved bit is ignored on receipt (§4.1).
    pub const fn from_wire(raw: u32) -> Self {
        Self(raw & 0x7fff_ffff)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Stream 0.
    pub const fn is_connection(self) -> bool {
        self.0 == 0
    }

    /// Odd: opened by the client.
    pub const fn is_client(self) -> bool {
        self.0 & 1 == 1
    }
}

impl From<u32> for StreamId {
    fn from(raw: u32) -> Self {
        Self::from_wire(raw)
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
