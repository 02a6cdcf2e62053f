//! Header compression (RFC 7541): one codec, both directions.
use std::ops::ControlFlow;

/// One field as it leaves the decoder; the slices live until the callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// Octets of the name, as sent (never lower-cased here).
    pub name: &'a [u8],
    /// Octets of the value, as sent.
    pub value: &'a [u8],
    /// Index (1 to 61) of the first static table entry with this name, 0 where the static table has none
    /// or the name came as a literal that was not looked up.
    pub token: u8,
    /// The peer asked that this field is never indexed (RFC 7541 §6.2.3, §7.1.3).
    pub sensitive: bool,
}

/// Why a block could not be decoded. Every one is a connection error COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The block ends inside an integer, a string or an instruction.
    #[error("header block ends in the middle of an instruction")]
    Truncated,
    /// An integer above 2^32-1 or with needless continuation octets past its bound (§5.1).
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

/// Decodes header blocks and keeps the table that the peer's encoder fills.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder whose dynamic table may hold `limit` octets (SETTINGS_HEADER_TABLE_SIZE we announced).
    pub fn new(_limit: u32) -> Self {
        Self {}
    }
    /// Our SETTINGS_HEADER_TABLE_SIZE was acknowledged: size updates up to `limit` are allowed from now on.
    pub fn set_limit(&mut self, _limit: u32) {}
    /// Decodes one whole block; `max_string` bounds each decoded string in octets.
    pub fn decode<F>(&mut self, _block: &[u8], _max_string: usize, _emit: F) -> Result<(), Error>
    where
        F: FnMut(FieldRef<'_>) -> ControlFlow<()>,
    {
        Ok(())
    }
    /// Octets the dynamic table holds now (RFC 7541 §4.1: name + value + 32 each).
    pub fn table_size(&self) -> usize {
        0
    }
}

/// Encodes header blocks against the table that the peer's decoder keeps.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    /// An encoder with the initial table of 4 096 octets.
    pub fn new() -> Self {
        Self {}
    }
    /// The peer's SETTINGS_HEADER_TABLE_SIZE; our table is min(4 096, limit), told in the next block.
    pub fn set_peer_limit(&mut self, _limit: u32) {}
    /// Starts a block: writes pending size updates.
    pub fn begin(&mut self, _out: &mut Vec<u8>) {}
    /// Appends one field. A sensitive one is never indexed.
    pub fn field(&mut self, _name: &[u8], _value: &[u8], _sensitive: bool, _out: &mut Vec<u8>) {}
    /// Appends `:status`.
    pub fn status(&mut self, _status: u16, _out: &mut Vec<u8>) {}
    /// Octets the dynamic table holds now.
    pub fn table_size(&self) -> usize {
        0
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}
