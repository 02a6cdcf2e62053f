//! The extensible priority scheme (RFC 9218): the `priority` field and PRIORITY_UPDATE carry the same value.

/// Urgency and increment of a response (RFC 9218 §4).
///
/// ```
/// use stagedoor_protocol::Priority;
///
/// assert_eq!(Priority::parse(b"u=1, i"), Priority { urgency: 1, incremental: true });
/// assert_eq!(Priority::parse(b"u=9"), Priority::default(), "out of range: as if it were not there");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7 (background); 3 when not said.
    pub urgency: u8,
    /// Useful while it arrives: takes turns with others of its urgency instead of waiting for them.
    pub incremental: bool,
}

impl Default for Priority {
    /// RFC 9218 §4: urgency 3, not incremental.
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// What a stream gets whose peer never spoke of priority: urgency 3, in turns with the others.
    pub const UNSAID: Self = Self { urgency: 3, incremental: true };

    /// Reads a `priority` value: a Structured Fields dictionary (RFC 8941 §3.2) with members `u` and `i`.
    /// Unknown members are ignored, members out of range or of another type keep their default, and what is
    /// no dictionary gives the defaults (RFC 9218 §4, §5): priority is a hint, never an error.
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&octet| octet == b',') {
            let member = member.trim_ascii();
            let member = member.split(|&octet| octet == b';').next().unwrap_or_default();
            match member {
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_nonsense_is_ignored() {
        let p = |urgency, incremental| Priority { urgency, incremental };
        assert_eq!(Priority::parse(b""), p(3, false));
        assert_eq!(Priority::parse(b"u=5, i"), p(5, true));
        assert_eq!(Priority::parse(b"i=?0,u=0"), p(0, false));
        assert_eq!(Priority::parse(b"u=8"), p(3, false));
        assert_eq!(Priority::parse(b"u=-1, i=1, x=\"a\""), p(3, false));
        assert_eq!(Priority::parse(b"u=1;foo=bar, i;q"), p(1, true));
        assert_eq!(Priority::parse(b"u=2, u=7"), p(7, false));
    }
}
