//! Decoding of header blocks (RFC 7541 §3.2, §6).
//!
//! Takes whole blocks only (the caller joins HEADERS and CONTINUATION), judges no field and keeps no
//! list: the caller counts in the callback and stops there. Invariant: after any block that was decoded
//! without error the table is the one of the peer's encoder, whatever the callback kept.

use std::ops::{ControlFlow, Range};

use super::table::{Found, Table};
use super::{Error, FieldRef, MAX_TABLE_DEFAULT, huffman, integer, static_table};

/// Decodes header blocks and keeps the table that the peer's encoder fills.
///
/// After an error the table may be out of step with the peer: the connection is lost (RFC 9113 §4.3).
///
/// ```
/// use std::ops::ControlFlow;
///
/// use stagedoor_protocol::hpack::Decoder;
///
/// let mut decoder = Decoder::new(4096);
/// let mut fields = Vec::new();
/// // RFC 7541 §C.3.1.
/// decoder.decode(b"\x82\x86\x84\x41\x0fwww.example.com", 1024, |field| {
///     fields.push((String::from_utf8_lossy(field.name).into_owned(), field.value.len()));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(fields[0], (":method".to_owned(), 3));
/// assert_eq!(fields[3], (":authority".to_owned(), 15));
/// assert_eq!(decoder.table_size(), 57);
/// # Ok::<(), stagedoor_protocol::hpack::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest size update the peer may send.
    limit: u32,
    /// The limit went below the size in use: the next block must begin with an update to at most this (§4.2).
    owed: Option<u32>,
    /// Octets of Huffman strings while their field is handed on.
    scratch: Vec<u8>,
}

/// Where the octets of a literal string are.
enum Text {
    Block(Range<usize>),
    Scratch(Range<usize>),
}

impl Decoder {
    /// A decoder whose dynamic table may hold `limit` octets (SETTINGS_HEADER_TABLE_SIZE we announced).
    ///
    /// It begins with min(`limit`, 4 096); for more the peer sends a size update (§4.2). A limit below
    /// 4 096 is taken as known to the peer. Owns no heap before the first field.
    pub fn new(limit: u32) -> Self {
        let table = Table::new(limit.min(MAX_TABLE_DEFAULT));
        Self { table, limit, owed: None, scratch: Vec::new() }
    }

    /// Our SETTINGS_HEADER_TABLE_SIZE was acknowledged: size updates up to `limit` are allowed from now on.
    ///
    /// Below the size in use, entries go at once and the next block must begin with a size update to at
    /// most the smallest limit set since the block before (§4.2).
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        if (limit as usize) < self.table.max_size() {
            self.table.set_max_size(limit);
            self.owed = Some(limit);
        }
    }

    /// Decodes one whole block; `max_string` bounds each decoded string in octets.
    ///
    /// `emit` sees the fields in order. Its slices end with the call.
    ///
    /// # Errors
    /// Any [`Error`]; each is COMPRESSION_ERROR for the connection. [`Error::Stopped`] when `emit` breaks.
    pub fn decode<F>(&mut self, block: &[u8], max_string: usize, mut emit: F) -> Result<(), Error>
    where
        F: FnMut(FieldRef<'_>) -> ControlFlow<()>,
    {
        let mut pos = self.size_updates(block)?;
        while let Some(&first) = block.get(pos) {
            let flow = if first >= 0x80 {
                let index = integer::read(block, &mut pos, 7)?;
                let Found { name, value, token } = lookup(&self.table, index)?;
                emit(FieldRef { name, value, token, sensitive: false })
            } else {
                self.literal(first, block, &mut pos, max_string, &mut emit)?
            };
            if flow.is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    /// Octets the dynamic table holds now (RFC 7541 §4.1: name + value + 32 each).
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Octets of heap this decoder owns.
    pub fn heap_size(&self) -> usize {
        self.table.heap() + self.scratch.capacity()
    }

    /// Gives back what an idle connection does not need; the table's contents stay.
    pub fn shrink(&mut self) {
        self.scratch = Vec::new();
        self.table.shrink();
    }

    /// Size updates at the start of a block (§4.2, §6.3); returns where the first field begins.
    #[inline]
    fn size_updates(&mut self, block: &[u8]) -> Result<usize, Error> {
        let mut pos = 0;
        while let Some(&first) = block.get(pos)
            && is_size_update(first)
        {
            let size = integer::read(block, &mut pos, 5)?;
            if size > self.owed.unwrap_or(self.limit).min(self.limit) {
                return Err(Error::InvalidSizeUpdate(size));
            }
            self.owed = None;
            self.table.set_max_size(size);
        }
        if self.owed.is_some() { Err(Error::MissingSizeUpdate) } else { Ok(pos) }
    }

    /// A field whose value is a literal (§6.2); `first` is the octet at `pos`.
    fn literal<F>(
        &mut self,
        first: u8,
        block: &[u8],
        pos: &mut usize,
        max_string: usize,
        emit: &mut F,
    ) -> Result<ControlFlow<()>, Error>
    where
        F: FnMut(FieldRef<'_>) -> ControlFlow<()>,
    {
        let Self { table, scratch, .. } = self;
        let (indexed, prefix_bits) = match first {
            0x40.. => (true, 6),
            0x20.. => {
                let size = integer::read(block, pos, 5)?;
                return Err(Error::InvalidSizeUpdate(size)); // only at the start of a block
            }
            _ => (false, 4),
        };
        let sensitive = first & 0xf0 == 0x10;
        let index = integer::read(block, pos, prefix_bits)?;
        // A name that is octets in the dynamic table may be evicted by its own field (§4.4): it moves to
        // the scratch if the field is to be inserted. Static names live for ever.
        let mut token = 0;
        let mut used = 0;
        let literal_name = if index == 0 {
            let name = string(block, pos, scratch, 0, max_string)?;
            if let Text::Scratch(range) = &name {
                used = range.end;
            }
            name
        } else {
            let found = lookup(table, index)?;
            token = found.token;
            if token == 0 && indexed {
                used = found.name.len();
                if scratch.len() < used {
                    scratch.resize(used, 0);
                }
                scratch[..used].copy_from_slice(found.name);
            }
            Text::Scratch(0..used)
        };
        let value = string(block, pos, scratch, used, max_string)?;
        let value = octets(&value, block, scratch);
        if index != 0 && token == 0 && !indexed {
            let name = lookup(table, index)?.name;
            return Ok(emit(FieldRef { name, value, token, sensitive }));
        }
        let name =
            if token == 0 { octets(&literal_name, block, scratch) } else { static_table::name_of(token) };
        if index == 0 {
            token = static_table::name_token(name);
        }
        let flow = emit(FieldRef { name, value, token, sensitive });
        if indexed {
            table.insert(name, value, token);
        }
        Ok(flow)
    }
}

#[inline]
fn is_size_update(first: u8) -> bool {
    first & 0xe0 == 0x20
}

/// The entry at `index` of both tables (§2.3.3).
#[inline]
fn lookup(table: &Table, index: u32) -> Result<Found<'_>, Error> {
    let at = index.wrapping_sub(1) as usize; // 0 becomes an index that no table reaches
    if let Some(&(name, value)) = static_table::TABLE.get(at) {
        return Ok(Found { name, value, token: static_table::TOKEN_OF_INDEX[at] });
    }
    table.get(at - static_table::LEN as usize).ok_or(Error::InvalidIndex(index))
}

/// Reads a string (§5.2); Huffman output goes to the scratch from `free` on.
#[inline]
fn string(
    block: &[u8],
    pos: &mut usize,
    scratch: &mut Vec<u8>,
    free: usize,
    max: usize,
) -> Result<Text, Error> {
    let coded = block.get(*pos).is_some_and(|first| first & 0x80 != 0);
    let len = integer::read(block, pos, 7)? as usize;
    if len > block.len() - *pos {
        return Err(Error::Truncated);
    }
    let range = *pos..*pos + len;
    *pos = range.end;
    if coded {
        let written = huffman::decode(&block[range], scratch, free, max)?;
        Ok(Text::Scratch(free..free + written))
    } else if len > max {
        Err(Error::StringTooLong(max))
    } else {
        Ok(Text::Block(range))
    }
}

#[inline]
fn octets<'a>(text: &Text, block: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
    match text {
        Text::Block(range) => &block[range.clone()],
        Text::Scratch(range) => &scratch[range.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::token;

    type Owned = (Vec<u8>, Vec<u8>, u8, bool);

    fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Owned>, Error> {
        let mut all = Vec::new();
        decoder.decode(block, 4096, |f| {
            all.push((f.name.to_vec(), f.value.to_vec(), f.token, f.sensitive));
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    #[test]
    fn tokens_come_with_static_literal_and_dynamic_names() {
        let mut decoder = Decoder::new(4096);
        let mut block = vec![0x82, 0x87, 0x40, 4];
        block.extend_from_slice(b"host\x01a");
        block.extend_from_slice(b"\x7a\x01b"); // user-agent by static index 58
        block.extend_from_slice(b"\x00\x05:path\x02/x");
        block.extend_from_slice(b"\x40\x02te\x08trailers");
        block.extend_from_slice(&[0xbe, 0xbf, 0xc0]); // the three inserted, newest first
        let tokens: Vec<u8> = fields(&mut decoder, &block).unwrap().iter().map(|f| f.2).collect();
        let expected = [token::METHOD, token::SCHEME, token::HOST, token::USER_AGENT, token::PATH, 0];
        assert_eq!(tokens[..6], expected);
        assert_eq!(tokens[6..], [0, token::USER_AGENT, token::HOST]);
    }

    #[test] // §4.4: the name referred to leaves the table while its field enters
    fn a_name_evicted_by_its_own_field_is_kept() {
        let mut decoder = Decoder::new(60);
        assert!(fields(&mut decoder, b"\x40\x03foo\x05value").is_ok());
        let second = fields(&mut decoder, b"\x7e\x0aother_text\xbe").unwrap();
        assert_eq!(second.len(), 2);
        for field in second {
            assert_eq!((&field.0[..], &field.1[..]), (&b"foo"[..], &b"other_text"[..]));
        }
        assert_eq!(decoder.table_size(), 45);
    }

    #[test]
    fn a_stopped_callback_ends_the_block() {
        let mut seen = 0;
        let stopped = Decoder::new(4096).decode(&[0x82, 0x84, 0x86], 10, |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((stopped, seen), (Err(Error::Stopped), 2));
    }

    #[test]
    fn memory_of_a_connection_with_one_request_stays_small() {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoder.heap_size(), 0);
        let mut block = vec![0x82, 0x87];
        block.extend_from_slice(b"\x41\x0bexample.org\x7a\x0bcurl/8.14.1\x53\x03*/*");
        assert_eq!(fields(&mut decoder, &block).unwrap().len(), 5);
        assert!(decoder.heap_size() < 1024, "{}", decoder.heap_size());
    }
}
