//! Encoding of header blocks (RFC 7541 §6), response heads above all.
//!
//! Does not frame, split or order anything. Invariant: every octet written decodes, at a peer that saw
//! all blocks in order, to the fields given; the table never exceeds min(our cap, the peer's limit).

use std::collections::VecDeque;

use super::table::{ENTRY_OVERHEAD, Table};
use super::{MAX_TABLE_DEFAULT, huffman, integer, static_table, token};

const INDEXED: u8 = 0x80;
const WITH_INDEXING: u8 = 0x40;
const WITHOUT_INDEXING: u8 = 0x00;
const NEVER_INDEXED: u8 = 0x10;

/// Encodes header blocks against the table that the peer's decoder keeps.
///
/// ```
/// use stagedoor_protocol::hpack::{Encoder, token};
///
/// let (mut encoder, mut first, mut again) = (Encoder::new(), Vec::new(), Vec::new());
/// for block in [&mut first, &mut again] {
///     encoder.begin(block);
///     encoder.status(200, block);
///     encoder.token_field(token::CONTENT_TYPE, b"text/plain", false, block);
///     encoder.field(b"x-own", b"value", false, block);
/// }
/// assert_eq!(again.len(), 3, "each is an index by now");
/// assert!(first.len() > again.len());
/// ```
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// A key for each entry of `table`, oldest first: upper half from the name, lower from the value.
    keys: VecDeque<u32>,
    /// Entries that were evicted since the table was new (modulo 2^16): with it an entry has a number that stays.
    evicted: u16,
    /// The number of the entry after the one found last. Heads of a kind have their fields in one order, in which their
    /// entries came: it is looked at first.
    next: u16,
    /// The number of the entry that the last block began with.
    first: u16,
    /// No entry was found for this block yet.
    begins: bool,
    /// Changes of the peer's limit since the last block.
    pending: Option<Resize>,
    /// Octets the table never exceeds, whatever the peer allows.
    cap: u32,
}

#[derive(Clone, Copy, Debug)]
struct Resize {
    /// The smallest limit in between, which must be told (§4.2).
    lowest: u32,
    last: u32,
}

impl Encoder {
    /// An encoder with the initial table of 4 096 octets. Owns no heap before the first field is indexed.
    pub fn new() -> Self {
        let (table, cap) = (Table::new(MAX_TABLE_DEFAULT), MAX_TABLE_DEFAULT);
        Self { table, keys: VecDeque::new(), evicted: 0, next: 0, first: 0, begins: true, pending: None, cap }
    }

    /// An encoder whose table never exceeds `cap` octets. Entries are looked for one by one: a table much larger
    /// than the usual 4 096 octets costs more than it saves.
    pub fn with_cap(cap: u32) -> Self {
        let mut encoder = Self { cap, ..Self::new() };
        encoder.set_peer_limit(MAX_TABLE_DEFAULT);
        encoder
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE; our table is min(our cap, limit), told in the next block.
    pub fn set_peer_limit(&mut self, limit: u32) {
        let last = limit.min(self.cap);
        let lowest = self.pending.map_or(last, |resize| resize.lowest.min(last));
        let in_use = self.table.max_size() as u32;
        self.pending = (lowest != in_use || last != in_use).then_some(Resize { lowest, last });
    }

    /// Starts a block: writes pending size updates.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(resize) = self.pending.take() {
            self.resize(resize, out);
        }
        self.next = self.first;
        self.begins = true;
    }

    /// Appends one field. A sensitive one is never indexed, nor are credentials and short cookies.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
        match static_table::name_token(name) {
            0 => self.unknown_name(name, value, sensitive, out),
            token => self.static_name(token, value, sensitive, out),
        }
    }

    /// Appends one field whose name is that of a [`token`]; cheaper than [`Encoder::field`].
    /// A token that does not exist (0 or above 61) writes nothing.
    #[inline]
    pub fn token_field(&mut self, token: u8, value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
        debug_assert!((1..=61).contains(&token), "no such token: {token}");
        if let Some(&first) = static_table::TOKEN_OF_INDEX.get(usize::from(token).wrapping_sub(1)) {
            self.static_name(first, value, sensitive, out);
        }
    }

    /// Appends `:status`.
    #[inline]
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => return self.other_status(status, out),
        };
        out.push(INDEXED | index);
    }

    /// Octets the dynamic table holds now.
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Octets of heap this encoder owns.
    pub fn heap_size(&self) -> usize {
        self.table.heap() + self.keys.capacity() * size_of::<u32>()
    }

    /// Gives back what an idle connection does not need; the table's contents stay.
    pub fn shrink(&mut self) {
        self.table.shrink();
        self.keys.shrink_to_fit();
    }

    #[cold]
    fn resize(&mut self, Resize { lowest, last }: Resize, out: &mut Vec<u8>) {
        if lowest < last {
            self.resize_to(lowest, out);
        }
        self.resize_to(last, out);
    }

    fn resize_to(&mut self, size: u32, out: &mut Vec<u8>) {
        integer::write(out, 0x20, 5, size);
        self.table.set_max_size(size);
        self.forget_evicted();
        self.keys.shrink_to_fit();
    }

    fn other_status(&mut self, status: u16, out: &mut Vec<u8>) {
        let digit = |unit: u16| b'0' + (status / unit % 10) as u8;
        self.static_name(token::STATUS, &[digit(100), digit(10), digit(1)], false, out);
    }

    #[inline]
    fn static_name(&mut self, token: u8, value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
        if sensitive {
            return literal(NEVER_INDEXED, 4, token.into(), value, out);
        }
        if let Some(index) = static_table::exact_index(token, value) {
            return out.push(INDEXED | index);
        }
        if (NOT_INDEXED | SECRETS) & 1 << token != 0 {
            if NOT_INDEXED & 1 << token != 0 {
                return literal(WITHOUT_INDEXING, 4, token.into(), value, out);
            }
            if token != token::COOKIE || value.len() < SHORT_COOKIE {
                return literal(NEVER_INDEXED, 4, token.into(), value, out);
            }
        }
        let key = u32::from(token) << 16 | mix(value);
        let name = static_table::name_of(token);
        match self.find(key, name, value) {
            Some(index) => integer::write(out, INDEXED, 7, index),
            None => self.literal_and_insert(name, token.into(), token, value, key, out),
        }
    }

    /// [`Encoder::field`] for a name that is known to have no token.
    pub(crate) fn unknown_name(&mut self, name: &[u8], value: &[u8], sensitive: bool, out: &mut Vec<u8>) {
        let name_key = (0x8000 | mix(name)) << 16; // never that of a token
        let key = name_key | mix(value);
        if is_named_anew(name) {
            // Its name is worth a place in the table, its values would push out what others can use.
            if !sensitive && let Some(index) = self.find_name(name_key, name) {
                integer::write(out, WITHOUT_INDEXING, 4, index);
                return plain(value, out);
            }
        } else if !sensitive && let Some(index) = self.find(key, name, value) {
            return integer::write(out, INDEXED, 7, index);
        }
        let name_index = self.find_name(name_key, name).unwrap_or(0);
        if sensitive {
            literal_name(NEVER_INDEXED, 4, name_index, name, out);
            string(value, out);
        } else {
            self.literal_and_insert(name, name_index, 0, value, key, out);
        }
    }

    /// A literal that enters the table, unless it would push out half of it.
    fn literal_and_insert(
        &mut self,
        name: &[u8],
        name_index: u32,
        token: u8,
        value: &[u8],
        key: u32,
        out: &mut Vec<u8>,
    ) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        let keep = size <= self.table.max_size() / 2;
        let (pattern, prefix_bits) = if keep { (WITH_INDEXING, 6) } else { (WITHOUT_INDEXING, 4) };
        literal_name(pattern, prefix_bits, name_index, name, out);
        string(value, out);
        if keep && self.table.insert(name, value, token) {
            self.keys.push_back(key);
            self.forget_evicted();
        }
    }

    fn forget_evicted(&mut self) {
        while self.keys.len() > self.table.len() {
            self.keys.pop_front();
            self.evicted = self.evicted.wrapping_add(1);
        }
    }

    /// Index (62 and up) of the entry with this name and value.
    #[inline]
    fn find(&mut self, key: u32, name: &[u8], value: &[u8]) -> Option<u32> {
        self.search(
            |candidate| candidate == key,
            |found_name, found_value| found_value == value && found_name == name,
        )
    }

    /// Index (62 and up) of an entry with this name.
    fn find_name(&mut self, name_key: u32, name: &[u8]) -> Option<u32> {
        self.search(|candidate| candidate & 0xffff_0000 == name_key, |found_name, _| found_name == name)
    }

    /// The one that is likely, then newest first; at most 128 keys, eight of them at a time, and compares octets only
    /// where a key matches.
    #[inline]
    fn search(
        &mut self,
        is_candidate: impl Fn(u32) -> bool,
        is_it: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Option<u32> {
        let likely = usize::from(self.next.wrapping_sub(self.evicted));
        let is_likely = |key: &&u32| {
            let found = self.table.get(self.keys.len() - 1 - likely);
            is_candidate(**key) && found.is_some_and(|found| is_it(found.name, found.value))
        };
        let place = match self.keys.get(likely).filter(is_likely) {
            Some(_) => likely,
            None => {
                let age = self.scan(is_candidate, is_it)?;
                self.keys.len() - 1 - age
            }
        };
        let number = self.evicted.wrapping_add(place as u16);
        self.next = number.wrapping_add(1);
        if std::mem::take(&mut self.begins) {
            self.first = number;
        }
        Some(static_table::LEN + (self.keys.len() - place) as u32)
    }

    /// The age of the newest that is it.
    fn scan(
        &self,
        is_candidate: impl Fn(u32) -> bool,
        is_it: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Option<usize> {
        let (front, back) = self.keys.as_slices();
        let mut younger = 0;
        for part in [back, front] {
            let (rest, eights) = part.as_rchunks::<8>();
            for eight in eights.iter().rev() {
                // All are looked at, so that the machine does it at once.
                if eight.iter().fold(false, |any, &key| any | is_candidate(key))
                    && let Some(age) = self.newest(eight, younger, &is_candidate, &is_it)
                {
                    return Some(age);
                }
                younger += 8;
            }
            if let Some(age) = self.newest(rest, younger, &is_candidate, &is_it) {
                return Some(age);
            }
            younger += rest.len();
        }
        None
    }

    /// Age of the newest entry among `keys`, to which `younger` entries are.
    #[inline]
    fn newest(
        &self,
        keys: &[u32],
        younger: usize,
        is_candidate: &impl Fn(u32) -> bool,
        is_it: &impl Fn(&[u8], &[u8]) -> bool,
    ) -> Option<usize> {
        for (age, &key) in (younger..).zip(keys.iter().rev()) {
            if is_candidate(key)
                && let Some(found) = self.table.get(age)
                && is_it(found.name, found.value)
            {
                return Some(age);
            }
        }
        None
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Names whose values rarely come twice on a connection, as bits by token. `date` is not among them: one
/// second's responses share it.
const NOT_INDEXED: u64 = 1 << token::PATH
    | 1 << token::AGE
    | 1 << token::CONTENT_LENGTH
    | 1 << token::ETAG
    | 1 << token::IF_MATCH
    | 1 << token::IF_MODIFIED_SINCE
    | 1 << token::IF_NONE_MATCH
    | 1 << token::IF_RANGE
    | 1 << token::IF_UNMODIFIED_SINCE
    | 1 << token::LOCATION
    | 1 << token::SET_COOKIE;

/// Names beyond the static table whose values name one message: no two are the same.
#[inline]
fn is_named_anew(name: &[u8]) -> bool {
    match name.len() {
        11 => name == b"traceparent",
        12 => name == b"x-request-id",
        _ => false,
    }
}

/// Names whose values are secrets that could be guessed one try at a time, were they indexed anywhere on their way
/// (RFC 7541 §7.1.3), as bits by token.
const SECRETS: u64 = 1 << token::AUTHORIZATION | 1 << token::PROXY_AUTHORIZATION | 1 << token::COOKIE;
/// A cookie of so many octets is too long to be guessed; indexing it saves much.
const SHORT_COOKIE: usize = 20;

/// 15 bits from the length and both ends of a string. Weak on purpose: a hit is compared octet by
/// octet, and a table full of collisions costs one comparison of 4 096 octets in all.
#[inline]
fn mix(octets: &[u8]) -> u32 {
    let (first, last) = if let (Some(first), Some(last)) = (octets.first_chunk(), octets.last_chunk()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else {
        (octets.iter().fold(0, |word, &octet| word << 8 | u64::from(octet)), 0)
    };
    let word = (first ^ last.rotate_left(29) ^ octets.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> 49) as u32
}

/// A literal with the name at `name_index` of the tables (§6.2).
#[inline]
fn literal(pattern: u8, prefix_bits: u32, name_index: u32, value: &[u8], out: &mut Vec<u8>) {
    integer::write(out, pattern, prefix_bits, name_index);
    string(value, out);
}

/// First octet and name of a literal; `name` is written when `name_index` is 0.
#[inline]
fn literal_name(pattern: u8, prefix_bits: u32, name_index: u32, name: &[u8], out: &mut Vec<u8>) {
    integer::write(out, pattern, prefix_bits, name_index);
    if name_index == 0 {
        string(name, out);
    }
}

/// A string as it is: ids are made of digits and hexadecimals of which Huffman's code saves a fifth, and both ends pay
/// more for that than for the octets.
#[inline]
fn plain(text: &[u8], out: &mut Vec<u8>) {
    integer::write(out, 0, 7, text.len() as u32);
    out.extend_from_slice(text);
}

/// A string, Huffman coded where that is shorter (§5.2).
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    // A string above 2^32-1 octets cannot be framed; the length would be cut here.
    if coded < text.len() {
        integer::write(out, 0x80, 7, coded as u32);
        huffman::encode(text, out);
    } else {
        plain(text, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), false, &mut out);
        }
        out
    }

    #[test]
    fn the_second_head_of_a_kind_takes_an_octet_per_indexed_field() {
        let head = [
            (":status", "200"),
            ("content-type", "text/html; charset=utf-8"),
            ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
            ("x-own", "value"),
        ];
        let mut encoder = Encoder::new();
        assert!(block(&mut encoder, &head).len() > 40);
        assert_eq!(block(&mut encoder, &head), [0x88, 0xc0, 0xbf, 0xbe]);
    }

    #[test]
    fn entries_are_found_wherever_they_stand_in_the_table() {
        let mut encoder = Encoder::new();
        // More than fit, so that the keys lie in two pieces: 4 096 / (32 + 5 + 1) = 107 stay.
        for field in 0..300 {
            block(&mut encoder, &[(&format!("n-{field:03}"), "v")]);
            let held = (field + 1).min(107);
            for age in 0..held {
                let name = format!("n-{:03}", field - age);
                let mut expected = Vec::new();
                integer::write(&mut expected, INDEXED, 7, 62 + age);
                assert_eq!(block(&mut encoder, &[(&name, "v")]), expected, "{name} after {field}");
            }
        }
    }

    #[test]
    fn dates_of_neighbouring_seconds_have_different_keys() {
        assert_ne!(mix(b"Tue, 15 Nov 1994 08:12:31 GMT"), mix(b"Tue, 15 Nov 1994 08:12:32 GMT"));
    }

    #[test]
    fn every_status_is_three_digits() {
        for status in 100..=999 {
            let mut out = Vec::new();
            Encoder::new().status(status, &mut out);
            let mut same = Vec::new();
            Encoder::new().field(b":status", status.to_string().as_bytes(), false, &mut same);
            assert_eq!(out, same);
        }
    }

    #[test]
    fn sensitive_fields_never_enter_the_table() {
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        encoder.field(b"authorization", b"secret", true, &mut out);
        encoder.field(b"x-secret", b"secret", true, &mut out);
        encoder.field(b":method", b"GET", true, &mut out);
        assert_eq!(out[..2], [0x1f, 23 - 15]);
        assert_eq!(encoder.table_size(), 0);
        encoder.field(b"x-secret", b"open", false, &mut out);
        out.clear();
        encoder.field(b"x-secret", b"secret", true, &mut out);
        assert_eq!(out[..2], [0x1f, 62 - 15]); // the name is public
    }

    #[test]
    fn credentials_and_short_cookies_are_never_indexed_unasked() {
        let mut encoder = Encoder::new();
        for (name, index) in [("authorization", 23), ("proxy-authorization", 49), ("cookie", 32)] {
            let out = block(&mut encoder, &[(name, "nineteen octets ---")]);
            assert_eq!(out[..2], [0x1f, index - 15], "{name}");
        }
        assert_eq!(encoder.table_size(), 0);
        assert_eq!(block(&mut encoder, &[("cookie", "nineteen octets, one")])[0], 0x60);
        assert_eq!(encoder.table_size(), 6 + 20 + 32);
    }

    #[test]
    fn of_what_names_one_message_the_table_keeps_the_name_alone() {
        let mut encoder = Encoder::new();
        block(&mut encoder, &[("x-request-id", "first")]);
        let kept = encoder.table_size();
        for value in ["second", "third", "first"] {
            // Literal without indexing, named by entry 62 (RFC 7541 §6.2.2).
            assert_eq!(block(&mut encoder, &[("x-request-id", value)])[..2], [0x0f, 62 - 15], "{value}");
            assert_eq!(encoder.table_size(), kept);
        }
        assert_eq!(block(&mut encoder, &[("x-request-ix", "a")])[0], 0x40, "others are indexed");
    }

    #[test]
    fn values_that_rarely_repeat_stay_out_of_the_table() {
        let mut encoder = Encoder::new();
        for bit in (1..62).filter(|bit| NOT_INDEXED & 1 << bit != 0) {
            encoder.token_field(bit, b"some value", false, &mut Vec::new());
        }
        assert_eq!((encoder.table_size(), encoder.heap_size()), (0, 0));
        assert_eq!(block(&mut encoder, &[(":path", "/"), (":path", "/index.html")]), [0x84, 0x85]);
    }

    #[test]
    fn half_of_the_table_is_indexed_and_one_octet_more_is_not() {
        let mut encoder = Encoder::new();
        let value = "v".repeat(2048 - 32 - 1);
        assert_eq!(block(&mut encoder, &[("n", &value)])[0], 0x40);
        assert_eq!(encoder.table_size(), 2048);
        assert_eq!(block(&mut encoder, &[("m", &format!("{value}v"))])[0], 0);
        assert_eq!(encoder.table_size(), 2048);
    }

    #[test] // §4.2
    fn the_table_never_exceeds_our_cap_whatever_the_peer_allows() {
        let mut none = Encoder::with_cap(0);
        assert_eq!(block(&mut none, &[("n", "v")])[0], 0x20, "told in the first block");
        none.set_peer_limit(1 << 20);
        block(&mut none, &[("n", "v")]);
        assert_eq!(none.table_size(), 0);
        let mut large = Encoder::with_cap(8192);
        let value = "v".repeat(3000);
        block(&mut large, &[("n", &value)]);
        assert_eq!(large.table_size(), 0, "the peer allows 4 096 until it says more");
        large.set_peer_limit(1 << 20);
        block(&mut large, &[("n", &value)]);
        assert_eq!(large.table_size(), 3033);
    }

    #[test] // §4.2
    fn changes_of_the_limit_are_told_once_smallest_first() {
        let mut encoder = Encoder::new();
        encoder.set_peer_limit(8192);
        assert_eq!(block(&mut encoder, &[]), []); // capped at what it is
        encoder.set_peer_limit(100);
        encoder.set_peer_limit(0);
        encoder.set_peer_limit(65_536);
        assert_eq!(block(&mut encoder, &[]), [0x20, 0x3f, 0xe1, 0x1f]);
        assert_eq!(block(&mut encoder, &[]), []);
        encoder.set_peer_limit(30);
        assert_eq!(block(&mut encoder, &[]), [0x3e]);
        encoder.set_peer_limit(30);
        assert_eq!(block(&mut encoder, &[]), []);
    }

    #[test]
    fn memory_of_a_connection_with_one_response_stays_small() {
        let mut encoder = Encoder::new();
        assert_eq!(encoder.heap_size(), 0);
        let head = [
            (":status", "200"),
            ("server", "stagedoor"),
            ("content-type", "text/plain"),
            ("content-length", "13"),
            ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ];
        block(&mut encoder, &head);
        assert!(encoder.heap_size() < 1024, "{}", encoder.heap_size());
    }
}
