//! Which content codings a client takes (`accept-encoding`, RFC 9110 §12.5.3): of the precompressed siblings of a file, or
//! of what an answer could be compressed with.

use stagedoor_protocol::Fields;

/// A content coding.
///
/// ```
/// use stagedoor_actors::files::Encoding;
///
/// assert_eq!((Encoding::Brotli.name(), Encoding::Brotli.suffix()), ("br", ".br"));
/// assert_eq!(Encoding::ALL.map(Encoding::name), ["br", "zstd", "gzip"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `.br`
    Brotli,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

impl Encoding {
    /// All of them, the one we like best first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The name in `content-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What is added to the name of the file.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// The codings of `offered` that a client takes and likes at least as much as none, best first. A client that
/// takes not even the plain file gets it all the same.
///
/// ```
/// use stagedoor_actors::files::{Encoding, accepted};
/// use stagedoor_protocol::Fields;
///
/// let fields = Fields::from_iter([("accept-encoding", "gzip;q=0.5, br")]);
/// assert_eq!(accepted(&fields, &Encoding::ALL), [Encoding::Brotli, Encoding::Gzip]);
/// ```
pub fn accepted(fields: &Fields, offered: &[Encoding]) -> Vec<Encoding> {
    if !fields.contains("accept-encoding") {
        return Vec::new();
    }
    let plain = weight(fields, "identity");
    let mut taken: Vec<_> = offered
        .iter()
        .filter_map(|encoding| {
            let weight = weight(fields, encoding.name()).or_else(|| weight_of_rest(fields))?;
            (weight > 0 && plain.is_none_or(|plain| weight >= plain)).then_some((weight, *encoding))
        })
        .collect();
    // Stable: where a client does not care, ours comes first.
    taken.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    taken.into_iter().map(|(_, encoding)| encoding).collect()
}

fn weight_of_rest(fields: &Fields) -> Option<u16> {
    weight(fields, "*")
}

/// The weight of a coding in thousandths, where it is named.
fn weight(fields: &Fields, coding: &str) -> Option<u16> {
    fields
        .get_all("accept-encoding")
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .find_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let alias = coding == "gzip" && name.eq_ignore_ascii_case("x-gzip");
            if !alias && !name.eq_ignore_ascii_case(coding) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(weight.map_or(1000, thousandths))
        })
}

/// A qvalue; one that cannot be read is none at all.
fn thousandths(text: &str) -> u16 {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    let fits = digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    match whole {
        "1" if fits && digits.bytes().all(|digit| digit == b'0') => 1000,
        "0" if fits => format!("{digits:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Vec<&'static str> {
        let fields: Fields = [("accept-encoding", value)].into_iter().collect();
        accepted(&fields, &Encoding::ALL).into_iter().map(Encoding::name).collect()
    }

    #[test]
    fn the_best_comes_first_and_ours_where_the_client_does_not_care() {
        assert_eq!(names("gzip, deflate, br, zstd"), ["br", "zstd", "gzip"]);
        assert_eq!(names("gzip;q=1.0, br;q=0.5"), ["gzip", "br"]);
        assert_eq!(names("x-gzip"), ["gzip"]);
        assert_eq!(names("*"), ["br", "zstd", "gzip"]);
        assert_eq!(names("br;q=0, *;q=0.1"), ["zstd", "gzip"]);
        assert_eq!(names("GZIP ; Q=0.001"), ["gzip"]);
    }

    #[test]
    fn what_is_not_wanted_is_not_given() {
        for value in ["", "identity", "deflate", "br;q=0", "br;q=0.000", "gzip;q=2", "gzip;q=x", "*;q=0"] {
            assert!(names(value).is_empty(), "{value}");
        }
        assert_eq!(names("identity, gzip;q=0.5"), [""; 0], "the plain file is liked better");
        assert_eq!(names("identity;q=0.5, gzip"), ["gzip"]);
        assert!(accepted(&Fields::new(), &Encoding::ALL).is_empty());
    }
}
