//! The `range` field (RFC 9110 §14): which octets of a representation a client asks for.
//!
//! A single range of octets is honoured. Several of them, other units and what cannot be read are as if not
//! sent (§14.2), so they are answered with the whole.

use std::ops::Range;

use stagedoor_protocol::RequestHead;

/// What a client wants of a representation.
///
/// ```
/// use stagedoor_actors::files::Asked;
///
/// assert_eq!(Asked::parse(b"bytes=0-4", 10), Asked::Part(0..5));
/// assert_eq!(Asked::parse(b"bytes=-3", 10), Asked::Part(7..10));
/// assert_eq!(Asked::parse(b"bytes=10-", 10), Asked::Nothing);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it.
    Whole,
    /// These octets: not empty, and all there.
    Part(Range<u64>),
    /// Octets that do not exist: 416.
    Nothing,
}

impl Asked {
    /// What `head` asks of `total` octets. A range counts on GET alone. The caller has looked at `if-range`.
    pub fn of(head: &RequestHead, total: u64) -> Self {
        let mut ranges = head.fields().get_all("range");
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if head.method() == "GET" => Self::parse(range, total),
            _ => Self::Whole,
        }
    }

    /// Reads a `range` value against `total` octets.
    pub fn parse(value: &[u8], total: u64) -> Self {
        let Some((unit, set)) = std::str::from_utf8(value).ok().and_then(|text| text.split_once('=')) else {
            return Self::Whole;
        };
        let Some((first, last)) = set.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))
        else {
            return Self::Whole;
        };
        let range = match (first, last) {
            ("", last) => match position(last) {
                Some(suffix) => total.saturating_sub(suffix)..total,
                None => return Self::Whole,
            },
            (first, "") => match position(first) {
                Some(first) => first..total,
                None => return Self::Whole,
            },
            (first, last) => match (position(first), position(last)) {
                (Some(first), Some(last)) if first <= last => first..total.min(last.saturating_add(1)),
                _ => return Self::Whole,
            },
        };
        if range.start < range.end { Self::Part(range) } else { Self::Nothing }
    }
}

fn position(text: &str) -> Option<u64> {
    // More digits than fit are still a valid number, only far behind any end.
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Asked {
        Asked::parse(value.as_bytes(), 1000)
    }

    #[test]
    fn ranges_are_cut_at_the_end() {
        assert_eq!(asked("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(asked("bytes=0-999"), Asked::Part(0..1000));
        assert_eq!(asked("bytes=0-1000"), Asked::Part(0..1000));
        assert_eq!(asked("Bytes=990-"), Asked::Part(990..1000));
        assert_eq!(asked("bytes=-1"), Asked::Part(999..1000));
        assert_eq!(asked("bytes=-5000"), Asked::Part(0..1000));
        assert_eq!(asked("bytes=5-99999999999999999999999"), Asked::Part(5..1000));
        assert_eq!(asked("bytes=0-18446744073709551615"), Asked::Part(0..1000));
    }

    #[test]
    fn ranges_behind_the_end_are_not_satisfiable() {
        assert_eq!(asked("bytes=999-"), Asked::Part(999..1000));
        assert_eq!(asked("bytes=1000-"), Asked::Nothing);
        assert_eq!(asked("bytes=99999999999999999999999-"), Asked::Nothing);
        assert_eq!(asked("bytes=-0"), Asked::Nothing);
        assert_eq!(Asked::parse(b"bytes=0-", 0), Asked::Nothing);
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for value in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2"]
        {
            assert_eq!(asked(value), Asked::Whole, "{value}");
        }
    }

    #[test]
    fn ranges_count_on_get_alone_and_only_one() {
        let mut head = RequestHead::new("GET", "http", "localhost", "/");
        head.fields_mut().push("range", "bytes=1-2");
        assert_eq!(Asked::of(&head, 1000), Asked::Part(1..3));
        head.fields_mut().push("range", "bytes=5-6");
        assert_eq!(Asked::of(&head, 1000), Asked::Whole);
        let mut head = RequestHead::new("HEAD", "http", "localhost", "/");
        head.fields_mut().push("range", "bytes=1-2");
        assert_eq!(Asked::of(&head, 1000), Asked::Whole);
    }
}
