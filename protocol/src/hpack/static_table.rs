//! The static table (RFC 7541 Appendix A) and the way from a name to its index.
//!
//! Holds no state. Invariant: [`TOKEN_OF_INDEX`], [`name_token`] and [`super::token`] agree, because the
//! first two are computed from [`TABLE`] and the third is checked against it when the crate is built.

/// Entries of the static table; dynamic indices start one above (§2.3.3).
pub(super) const LEN: u32 = 61;

/// Appendix A; index 1 of the RFC is element 0.
pub(super) static TABLE: [(&[u8], &[u8]); LEN as usize] = ENTRIES;

/// Token (index of the first entry with the same name) of each element of [`TABLE`].
pub(super) static TOKEN_OF_INDEX: [u8; LEN as usize] = tokens();

/// Slot of [`NAME_SLOTS`] for a name: a perfect hash of its length, first, middle and last octet.
const HASH_FACTOR: u32 = 0x3682_76e7;
static NAME_SLOTS: [u8; 256] = name_slots();

/// Token of `name`, 0 where the static table does not have it. One multiplication and one comparison.
#[inline]
pub(super) fn name_token(name: &[u8]) -> u8 {
    let Some(slot) = name_slot(name) else { return 0 };
    let token = NAME_SLOTS[slot];
    if token != 0 && name_of(token) == name { token } else { 0 }
}

/// Name of a token; empty for 0, which is no token.
#[inline]
pub(super) fn name_of(token: u8) -> &'static [u8] {
    match TABLE.get(usize::from(token).wrapping_sub(1)) {
        Some((name, _)) => name,
        None => b"",
    }
}

/// Index of the entry that has both the name of `token` and `value`.
#[inline]
pub(super) fn exact_index(token: u8, value: &[u8]) -> Option<u8> {
    use super::token;
    let index = match (token, value) {
        (token::METHOD, b"GET") | (token::PATH, b"/") | (token::SCHEME, b"http") => token,
        (token::STATUS, b"200") | (token::ACCEPT_ENCODING, b"gzip, deflate") => token,
        (token::METHOD, b"POST") | (token::PATH, b"/index.html") | (token::SCHEME, b"https") => token + 1,
        (token::STATUS, b"204") => 9,
        (token::STATUS, b"206") => 10,
        (token::STATUS, b"304") => 11,
        (token::STATUS, b"400") => 12,
        (token::STATUS, b"404") => 13,
        (token::STATUS, b"500") => 14,
        (token::METHOD | token::PATH | token::SCHEME | token::STATUS | token::ACCEPT_ENCODING, _) => {
            return None;
        }
        (1..=61, b"") => token,
        _ => return None,
    };
    Some(index)
}

#[inline]
const fn name_slot(name: &[u8]) -> Option<usize> {
    let len = name.len();
    // No static name is longer than 27 octets ("access-control-allow-origin").
    if len == 0 || len > 27 {
        return None;
    }
    let key =
        len as u32 | (name[len / 2] as u32) << 8 | (name[len - 1] as u32) << 16 | (name[0] as u32) << 24;
    Some((key.wrapping_mul(HASH_FACTOR) >> 24) as usize)
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn tokens() -> [u8; LEN as usize] {
    let mut tokens = [0; LEN as usize];
    let mut i = 0;
    while i < ENTRIES.len() {
        let repeated = i > 0 && same(ENTRIES[i].0, ENTRIES[i - 1].0); // equal names stand together
        tokens[i] = if repeated { tokens[i - 1] } else { i as u8 + 1 };
        i += 1;
    }
    tokens
}

const fn name_slots() -> [u8; 256] {
    let tokens = tokens();
    let mut slots = [0; 256];
    let mut i = 0;
    while i < ENTRIES.len() {
        if tokens[i] as usize == i + 1 {
            let Some(slot) = name_slot(ENTRIES[i].0) else {
                panic!("a static name has a length out of range")
            };
            assert!(slots[slot] == 0, "the name hash is not perfect");
            slots[slot] = tokens[i];
        }
        i += 1;
    }
    slots
}

const ENTRIES: [(&[u8], &[u8]); LEN as usize] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::token;

    #[test]
    fn every_name_is_found_and_its_near_misses_are_not() {
        for (index, (name, _)) in (1u8..).zip(TABLE) {
            let token = name_token(name);
            assert_eq!(TABLE[usize::from(token) - 1].0, name);
            assert!(token <= index);
            assert_eq!(TOKEN_OF_INDEX[usize::from(index) - 1], token);
            assert_eq!(name_of(token), name);
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 0x20;
                assert_eq!(name_token(&other), 0);
            }
            assert_eq!(name_token(&[name, b"x"].concat()), 0);
            assert_eq!(name_token(&name[1..]), 0);
        }
        assert_eq!(name_token(b""), 0);
        assert_eq!(name_token(&[b'a'; 300]), 0);
        assert_eq!(name_of(0), b"");
        assert_eq!(name_of(62), b"");
    }

    #[test]
    fn every_entry_is_its_own_exact_match() {
        for (index, (name, value)) in (1u8..).zip(TABLE) {
            assert_eq!(exact_index(name_token(name), value), Some(index), "{name:?} {value:?}");
            assert_eq!(exact_index(name_token(name), b"no such value"), None);
        }
        for name in [token::METHOD, token::PATH, token::SCHEME, token::STATUS, token::ACCEPT_ENCODING, 0, 62]
        {
            assert_eq!(exact_index(name, b""), None);
        }
    }

    #[test]
    fn exported_tokens_name_what_they_say() {
        for (token, name) in token::ALL {
            assert_eq!(name_token(name.as_bytes()), *token, "{name}");
        }
        let distinct = TOKEN_OF_INDEX.iter().zip(1u8..).filter(|(token, index)| **token == *index).count();
        assert_eq!(token::ALL.len(), distinct);
    }
}
