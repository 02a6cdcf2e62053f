//! Header compression (RFC 7541): one codec, both directions.
//!
//! Turns header blocks into fields and back. It neither checks that fields make sense (RFC 9113 §8.2) nor
//! counts lists; the callback of [`Decoder::decode`] does and may stop. Invariant: input never panics,
//! costs linear time, and owns no memory beyond the dynamic table (up to twice its limit, plus 16 octets
//! an entry) and one scratch bounded by `max_string`.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod static_table;
mod table;
pub mod token;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// Size of both tables before any SETTINGS (RFC 9113 §6.5.2), and the most our encoder uses.
const MAX_TABLE_DEFAULT: u32 = 4096;

/// One field as it leaves the decoder; the slices live until the callback returns.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use stagedoor_protocol::hpack::{Decoder, Error, FieldRef, token};
///
/// // Stops at the first path, which is the static table's fourth entry.
/// let stop_at_path = |field: FieldRef<'_>| match field.token {
///     token::PATH => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// };
/// assert_eq!(Decoder::new(4096).decode(&[0x82, 0x84, 0x86], 1024, stop_at_path), Err(Error::Stopped));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// Octets of the name, as sent (never lower-cased here).
    pub name: &'a [u8],
    /// Octets of the value, as sent.
    pub value: &'a [u8],
    /// Index (1 to 61) of the first static table entry with this name, 0 where the static table has
    /// none. Set for literal names too, so it can be relied on; [`token`] names the values.
    pub token: u8,
    /// The peer asked that this field is never indexed (RFC 7541 §6.2.3, §7.1.3).
    pub sensitive: bool,
}

/// Why a block could not be decoded. Every one is a connection error COMPRESSION_ERROR (RFC 9113 §4.3).
///
/// ```
/// use std::ops::ControlFlow;
///
/// use stagedoor_protocol::hpack::{Decoder, Error};
///
/// let decode = |block: &[u8]| Decoder::new(4096).decode(block, 1024, |_| ControlFlow::Continue(()));
/// assert_eq!(decode(&[0xbe]), Err(Error::InvalidIndex(62)));
/// assert_eq!(decode(&[0x40, 0x05, b'x']), Err(Error::Truncated));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The block ends inside an integer, a string or an instruction.
    #[error("header block ends in the middle of an instruction")]
    Truncated,
    /// An integer above 2^32-1 or with more than five continuation octets (§5.1).
    #[error("integer in a header block is too large")]
    IntegerOverflow,
    /// Index 0 or past the end of both tables (§2.3.3).
    #[error("header block refers to table entry {0}, which does not exist")]
    InvalidIndex(u32),
    /// EOS inside the string, or padding that is longer than 7 bits or not all ones (§5.2).
    #[error("invalid Huffman code in a header block")]
    InvalidHuffman,
    /// A size update above the limit we announced, or after the first field of a block (§4.2, §6.3).
    #[error("dynamic table size update to {0} is not allowed here")]
    InvalidSizeUpdate(u32),
    /// After we lowered the limit, the next block must begin with a size update (§4.2).
    #[error("the dynamic table was lowered, but the header block does not begin with a size update")]
    MissingSizeUpdate,
    /// A decoded string is longer than the caller's bound.
    #[error("string of a header block is longer than {0} octets")]
    StringTooLong(usize),
    /// The callback asked to stop; the tables are no longer in step with the peer.
    #[error("decoding was stopped")]
    Stopped,
}
