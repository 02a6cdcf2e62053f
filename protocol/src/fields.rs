//! An ordered list of fields in one arena: what a header block or a trailer section holds (RFC 9110 §5).
//!
//! Order and repetition are kept as sent. Checks nothing: [`crate::message`] does. Each field carries the token of
//! its name (RFC 7541 appendix A), looked up once, so that checks and the encoder compare numbers.

use std::borrow::Cow;

use bytes::Bytes;

use crate::hpack;

/// Octets `start..start + len` of an arena, or nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// No octets, not even none: the pseudo-header field was not there.
    pub(crate) const ABSENT: Self = Self { start: u32::MAX, len: 0 };

    #[inline]
    pub(crate) fn is_absent(self) -> bool {
        self.start == u32::MAX
    }

    /// Its octets in an arena; none where it lies outside, or the pseudo-header field was not there.
    #[inline]
    pub(crate) fn of(self, arena: &[u8]) -> &[u8] {
        let start = self.start as usize;
        arena.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// The same without its first octets, of which it has at least so many.
    pub(crate) fn skip(self, octets: usize) -> Self {
        let octets = (octets as u32).min(self.len);
        Self { start: self.start + octets, len: self.len - octets }
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::ABSENT
    }
}

/// Where a field lies in its arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    start: u32,
    name: u32,
    value: u32,
    token: u8,
    sensitive: bool,
    /// Name and value were found to be well-formed when it was received.
    received: bool,
}

impl Entry {
    #[inline]
    pub(crate) fn field(self, arena: &[u8]) -> Field<'_> {
        let name_end = self.start as usize + self.name as usize;
        let value_end = name_end + self.value as usize;
        Field {
            name: arena.get(self.start as usize..name_end).unwrap_or_default(),
            value: arena.get(name_end..value_end).unwrap_or_default(),
            sensitive: self.sensitive,
            token: self.token,
        }
    }
}

/// One field of a [`Fields`] list.
///
/// ```
/// use stagedoor_protocol::Fields;
///
/// let mut fields = Fields::new();
/// fields.push_sensitive("x-key", "7");
/// let field = fields.iter().next().unwrap();
/// assert_eq!((field.name, field.value, field.sensitive), (&b"x-key"[..], &b"7"[..], true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, lower case on the wire.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Never to be indexed by header compression (RFC 7541 §7.1.3).
    pub sensitive: bool,
    /// The static table's number for the name, 0 where it has none ([`crate::hpack::token`]).
    pub token: u8,
}

/// Octets around name and value of a field in a header block, at most: how it is written, an index, two lengths
/// (RFC 7541 §6.2).
const FIELD_OVERHEAD: usize = 16;
/// Octets of a header block beside its fields: changes of the table's size, lengths of pseudo-header fields, a status.
const BLOCK_OVERHEAD: usize = 128;

/// An ordered list of (name, value) with repeated fields kept.
///
/// ```
/// use stagedoor_protocol::Fields;
///
/// let mut fields = Fields::from_iter([("accept", "text/html"), ("accept", "*/*")]);
/// fields.push("x-key", "7");
/// assert_eq!((fields.get_str("accept"), fields.len()), (Some("text/html"), 3));
/// assert_eq!(fields.joined("accept").as_deref(), Some(&b"text/html, */*"[..]));
/// fields.set("accept", "text/plain");
/// assert!(fields.remove("x-key") && !fields.contains("x-key"));
/// assert_eq!(fields.get_all("accept").count(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    arena: Vec<u8>,
    index: Vec<Entry>,
}

impl Fields {
    /// An empty list; allocates nothing.
    pub const fn new() -> Self {
        Self { arena: Vec::new(), index: Vec::new() }
    }

    /// Room for `fields` fields of `octets` octets together.
    pub fn with_capacity(fields: usize, octets: usize) -> Self {
        Self { arena: Vec::with_capacity(octets), index: Vec::with_capacity(fields) }
    }

    /// Appends a field.
    #[inline]
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.push_entry(name, value.as_ref(), false, hpack::token::of(name));
    }

    /// Appends a field that header compression never puts in a table.
    pub fn push_sensitive(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.push_entry(name, value.as_ref(), true, hpack::token::of(name));
    }

    #[inline]
    pub(crate) fn push_entry(&mut self, name: &[u8], value: &[u8], sensitive: bool, token: u8) {
        self.push_as(name, value, sensitive, token, false);
    }

    /// Appends a field that was received: name and value are well-formed, which nobody needs to find out again.
    #[inline]
    pub(crate) fn push_received(&mut self, name: &[u8], value: &[u8], sensitive: bool, token: u8) {
        self.push_as(name, value, sensitive, token, true);
    }

    #[inline]
    fn push_as(&mut self, name: &[u8], value: &[u8], sensitive: bool, token: u8, received: bool) {
        let start = self.arena.len() as u32;
        if self.index.capacity() == 0 {
            // Room for a usual response at once.
            self.index.reserve(8);
            self.arena.reserve(192);
        }
        self.arena.reserve(name.len() + value.len());
        self.arena.extend_from_slice(name);
        self.arena.extend_from_slice(value);
        let (name, value) = (name.len() as u32, value.len() as u32);
        self.index.push(Entry { start, name, value, token, sensitive, received });
    }

    /// Appends all fields of another list.
    pub(crate) fn extend_from(&mut self, other: &Self) {
        for field in other.iter() {
            self.push_entry(field.name, field.value, field.sensitive, field.token);
        }
    }

    /// Stores octets that belong to no field of the list (pseudo-header values share the arena).
    #[inline]
    pub(crate) fn push_span(&mut self, octets: &[u8]) -> Span {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(octets);
        Span { start, len: octets.len() as u32 }
    }

    #[inline]
    pub(crate) fn span(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// Fields in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + Clone {
        self.index.iter().map(|entry| self.field(entry))
    }

    /// Fields in order, each with whether it was received as it is.
    #[inline]
    pub(crate) fn iter_received(&self) -> impl Iterator<Item = (Field<'_>, bool)> {
        self.index.iter().map(|entry| (self.field(entry), entry.received))
    }

    /// Fields in order, each with its value to keep: one block holds them all as long as one of them is kept.
    pub fn shared(&self) -> impl Iterator<Item = (Field<'_>, Bytes)> {
        let whole = Bytes::copy_from_slice(&self.arena);
        self.index.iter().map(move |entry| {
            let start = entry.start as usize + entry.name as usize;
            (self.field(entry), whole.slice(start..start + entry.value as usize))
        })
    }

    /// The octets, and where each field lies in them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<Entry>) {
        (self.arena, self.index)
    }

    #[inline]
    fn field(&self, entry: &Entry) -> Field<'_> {
        entry.field(&self.arena)
    }

    /// The first value under `name` (lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|field| field.name == name.as_bytes()).map(|field| field.value)
    }

    /// Every value under `name` (lower case), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.iter().filter(move |field| field.name == name.as_bytes()).map(|field| field.value)
    }

    /// The first value under `name` (lower case), if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value under `name` (lower case) as one: `cookie` joined by `; ` (RFC 9113 §8.2.3), others by `, `
    /// (RFC 9110 §5.3). Allocates where there are several. `set-cookie` cannot be joined; take [`Self::get_all`].
    pub fn joined<'a>(&'a self, name: &'a str) -> Option<Cow<'a, [u8]>> {
        let mut values = self.get_all(name);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let between: &[u8] = if name == "cookie" { b"; " } else { b", " };
        let mut whole = [first, between, second].concat();
        for value in values {
            whole.extend_from_slice(between);
            whole.extend_from_slice(value);
        }
        Some(Cow::Owned(whole))
    }

    /// The `cookie` field with its crumbs joined (RFC 9113 §8.2.3); [`Self::iter`] shows them as they came.
    pub fn cookie(&self) -> Option<Cow<'_, [u8]>> {
        self.joined("cookie")
    }

    /// Whether a field has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Drops every field with this name; true if there was one. The octets stay in the arena.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.index.len();
        let arena = &self.arena;
        self.index.retain(|entry| {
            let start = entry.start as usize;
            arena.get(start..start + entry.name as usize) != Some(name.as_bytes())
        });
        self.index.len() != before
    }

    /// Keeps the fields of which `keep` says so, in order. The octets of the others stay in the arena.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let mut index = std::mem::take(&mut self.index);
        index.retain(|entry| keep(self.field(entry)));
        self.index = index;
    }

    /// Replaces every field with this name by one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No field at all.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Octets these can take in a header block at most, pseudo-header fields that share the arena included; cheap, and
    /// too high where fields were removed.
    #[inline]
    pub(crate) fn encoded_bound(&self) -> usize {
        self.arena.len() + BLOCK_OVERHEAD + self.index.len() * FIELD_OVERHEAD
    }

    /// As [`Self::encoded_bound`], from the fields that are there.
    pub(crate) fn encoded_bound_exactly(&self) -> usize {
        let field = |field: Field<'_>| field.name.len() + field.value.len() + FIELD_OVERHEAD;
        BLOCK_OVERHEAD + self.iter().map(field).sum::<usize>()
    }

    /// Octets as SETTINGS_MAX_HEADER_LIST_SIZE counts them: name + value + 32 each (RFC 9113 §6.5.2).
    pub fn list_size(&self) -> usize {
        self.iter().map(|field| field.name.len() + field.value.len() + 32).sum()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl std::fmt::Debug for Fields {
    /// Names only for sensitive fields, so that a debug print gives no secret away.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for field in self.iter() {
            let value =
                if field.sensitive { "(sensitive)".into() } else { String::from_utf8_lossy(field.value) };
            map.entry(&String::from_utf8_lossy(field.name), &value);
        }
        map.finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for Fields {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, iter: I) {
        for (name, value) in iter {
            self.push(name, value);
        }
    }
}

impl<'a> Extend<Field<'a>> for Fields {
    /// Sensitive fields stay sensitive.
    fn extend<I: IntoIterator<Item = Field<'a>>>(&mut self, iter: I) {
        for field in iter {
            self.push_entry(field.name, field.value, field.sensitive, hpack::token::of(field.name));
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(iter: I) -> Self {
        let mut fields = Self::new();
        fields.extend(iter);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_are_kept_and_removed_by_name() {
        let mut fields: Fields = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
        assert_eq!(fields.get_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(fields.list_size(), 3 * 34);
        assert!(fields.remove("a"));
        assert!(!fields.remove("a"));
        fields.set("b", "4");
        assert_eq!(fields.iter().map(|f| (f.name, f.value)).collect::<Vec<_>>(), [(&b"b"[..], &b"4"[..])]);
    }

    #[test]
    fn fields_are_kept_by_what_is_said_of_them() {
        let mut fields: Fields = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "")].into_iter().collect();
        fields.retain(|field| field.name != b"a" || field.value == b"3");
        fields.push("d", "4");
        let left: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
        assert_eq!(left, [(&b"b"[..], &b"2"[..]), (b"a", b"3"), (b"c", b""), (b"d", b"4")]);
    }

    #[test]
    fn crumbs_and_lists_are_joined_and_stay_as_they_came() {
        let fields: Fields =
            [("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("x", "2"), ("cookie", "c=3")]
                .into_iter()
                .collect();
        assert_eq!(fields.cookie().as_deref(), Some(&b"a=1; b=2; c=3"[..]));
        assert_eq!(fields.joined("x").as_deref(), Some(&b"1, 2"[..]));
        assert_eq!((fields.joined("y"), fields.len()), (None, 5));
        let one: Fields = [("cookie", "a=1")].into_iter().collect();
        assert!(matches!(one.cookie(), Some(Cow::Borrowed(b"a=1"))));
        assert_eq!((one.get_str("cookie"), one.get_str("x")), (Some("a=1"), None));
    }

    #[test]
    fn what_is_added_to_a_list_keeps_its_flag() {
        let mut secret = Fields::new();
        secret.push_sensitive("authorization", "x");
        secret.push("a", "1");
        let mut fields: Fields = [("b", "2")].into_iter().collect();
        fields.extend(secret.iter());
        fields.extend([("c", "3")]);
        let flags: Vec<_> = fields.iter().map(|field| (field.name, field.sensitive)).collect();
        assert_eq!(flags, [(&b"b"[..], false), (b"authorization", true), (b"a", false), (b"c", false)]);
    }

    #[test]
    fn debug_shows_no_sensitive_value() {
        let mut fields = Fields::new();
        fields.push_sensitive("authorization", "Basic c2VjcmV0");
        assert!(!format!("{fields:?}").contains("c2VjcmV0"));
    }
}
