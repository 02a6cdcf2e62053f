//! Octets of fields and pseudo-header fields: what may stand in a name, a value, a scheme, an authority, a path, a
//! number (RFC 9110 §5, RFC 9113 §8.2.1, §8.3.1).
//!
//! Each function judges one string by itself; what a message may hold is [`crate::message`]'s business.

use crate::message::Malformed;

/// Fields that speak of an HTTP/1.1 connection and have no place in HTTP/2 (§8.2.2). `te` is judged by value.
///
/// ```
/// use stagedoor_protocol::message::is_connection_specific;
///
/// assert!(is_connection_specific(b"keep-alive") && !is_connection_specific(b"accept"));
/// ```
pub fn is_connection_specific(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

/// Digits only; the value of a content-length (RFC 9110 §8.6).
pub(crate) fn parse_content_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 19 {
        return Err(Malformed::ContentLength);
    }
    value.iter().try_fold(0u64, |sum, &octet| match octet {
        b'0'..=b'9' => Ok(sum * 10 + u64::from(octet - b'0')),
        _ => Err(Malformed::ContentLength),
    })
}

pub(crate) fn parse_status(value: &[u8]) -> Result<u16, Malformed> {
    match value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => Err(Malformed::Status),
    }
}

/// One octet of a token (RFC 9110 §5.6.2).
pub(crate) const fn is_tchar(octet: u8) -> bool {
    matches!(octet, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~')
}

const NAME_OCTETS: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = is_tchar(octet as u8) && !(octet as u8).is_ascii_uppercase();
        octet += 1;
    }
    table
};

/// A lower-case token (RFC 9113 §8.2.1).
///
/// ```
/// use stagedoor_protocol::message::is_field_name;
///
/// assert!(is_field_name(b"x-key"));
/// assert!(!is_field_name(b"X-Key") && !is_field_name(b"x key") && !is_field_name(b""));
/// ```
#[inline]
pub fn is_field_name(name: &[u8]) -> bool {
    // Nearly every name is letters, digits and hyphens: eight octets at a time, the last eight perhaps twice.
    if let Some(last) = name.last_chunk::<8>() {
        let (words, _) = name.as_chunks::<8>();
        let all = |plain, word: &[u8; 8]| plain & plain_octets(u64::from_le_bytes(*word));
        if words.iter().fold(plain_octets(u64::from_le_bytes(*last)), all) == HIGHS {
            return true;
        }
    }
    !name.is_empty() && name.iter().all(|&octet| NAME_OCTETS[usize::from(octet)])
}

/// The high bit of each of eight octets that is a lower-case letter, a digit or a hyphen.
#[inline]
const fn plain_octets(word: u64) -> u64 {
    // Without their high bits, octets added to less than 0x80 do not carry into each other.
    const fn from(low: u64, octet: u8) -> u64 {
        low + ONES * (0x80 - octet as u64)
    }
    let low = word & !HIGHS;
    let letter = from(low, b'a') & !from(low, b'z' + 1);
    let digit = from(low, b'0') & !from(low, b'9' + 1);
    let hyphen = from(low, b'-') & !from(low, b'-' + 1);
    (letter | digit | hyphen) & !word & HIGHS
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// No NUL, CR, LF, no blank at either edge (RFC 9113 §8.2.1).
///
/// ```
/// use stagedoor_protocol::message::is_field_value;
///
/// assert!(is_field_value(b"two words") && is_field_value(b""));
/// assert!(!is_field_value(b"two\nlines") && !is_field_value(b" blank at an edge"));
/// ```
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    let edge = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    // Eight octets at a time, the last eight perhaps twice: values are short, and every field of every message
    // comes by here.
    let bad = match value.last_chunk::<8>() {
        Some(last) => {
            let (words, _) = value.as_chunks::<8>();
            let all = |bad, word: &[u8; 8]| bad | forbidden(u64::from_le_bytes(*word));
            words.iter().fold(forbidden(u64::from_le_bytes(*last)), all) != 0
        }
        None => value.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')),
    };
    !bad && !edge(value.first()) && !edge(value.last())
}

/// Not zero where one of eight octets is NUL, CR or LF.
#[inline]
const fn forbidden(word: u64) -> u64 {
    const fn has_zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGHS
    }
    // All of them lie below 0x10, where next to nothing does.
    if word.wrapping_sub(ONES * 0x10) & !word & HIGHS == 0 {
        return 0;
    }
    has_zero(word) | has_zero(word ^ (ONES * 0x0d)) | has_zero(word ^ (ONES * 0x0a))
}

pub(crate) fn is_scheme(value: &[u8]) -> bool {
    matches!(value, b"http" | b"https")
        || value.first().is_some_and(u8::is_ascii_alphabetic)
            && value.iter().all(|&octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
}

const AUTHORITY_OCTETS: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = (octet as u8).is_ascii_graphic() && !matches!(octet as u8, b'/' | b'?' | b'#' | b'\\');
        octet += 1;
    }
    table
};

/// Visible ASCII without what would end an authority.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|&octet| AUTHORITY_OCTETS[usize::from(octet)])
}

/// What an octet is to a path: [`BAD`], [`HIGH`], or nothing special.
const PATH_OCTETS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match octet as u8 {
            0..=b' ' | 0x7f | b'#' => BAD,
            0x80.. => HIGH,
            _ => 0,
        };
        octet += 1;
    }
    table
};
const BAD: u8 = 1;
/// Above ASCII.
const HIGH: u8 = 2;

/// No control, no blank, no fragment; octets above ASCII only as UTF-8.
pub(crate) fn is_path(value: &[u8]) -> bool {
    match value.iter().fold(0, |all, &octet| all | PATH_OCTETS[usize::from(octet)]) {
        0 => !value.is_empty(),
        HIGH => std::str::from_utf8(value).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_octet_is_seen_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for octet in 0..=255 {
                    let mut value = vec![b'a'; length];
                    value[at] = octet;
                    let blank_edge = matches!(octet, b' ' | b'\t') && (at == 0 || at + 1 == length);
                    let allowed = !matches!(octet, 0 | b'\r' | b'\n') && !blank_edge;
                    assert_eq!(is_field_value(&value), allowed, "{octet} at {at} of {length}");
                }
            }
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn a_name_is_judged_octet_by_octet_however_long_it_is() {
        for length in 1..40 {
            for at in 0..length {
                for octet in 0..=255u8 {
                    let mut name = vec![b"ay-09z"[length % 6]; length];
                    name[at] = octet;
                    let allowed = is_tchar(octet) && !octet.is_ascii_uppercase();
                    assert_eq!(is_field_name(&name), allowed, "{octet} at {at} of {length}");
                }
            }
        }
        assert!(!is_field_name(b"") && is_field_name(b"x_y.z~!#-long-enough"));
    }

    #[test]
    fn a_path_and_an_authority_are_judged_octet_by_octet() {
        for octet in 0..=255u8 {
            let path = [b'/', octet, b'a'];
            let plain = octet > b' ' && octet < 0x7f && octet != b'#';
            assert_eq!(is_path(&path), plain, "{octet}");
            let allowed = octet.is_ascii_graphic() && !b"/?#\\".contains(&octet);
            assert_eq!(is_authority(&[b'a', octet]), allowed, "{octet}");
        }
        assert!(is_path("/\u{e9}".as_bytes()) && !is_path("/\u{e9} ".as_bytes()) && !is_path(b""));
    }
}
