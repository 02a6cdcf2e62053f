//! Paths as routes read them, and as an upstream might read them otherwise.
//!
//! A path is matched as it came, save that octets which need no encoding are the same encoded (RFC 3986 §6.2.2.2), and
//! so are the digits of an encoding in either case. What is sent on is never changed for it.
//!
//! Servers behind a gateway normalise more: they remove dot segments, join slashes, decode `%2f`, take a backslash for
//! a slash, cut `;parameters` off. Where such a reading could reach another path than the one a route was chosen for,
//! the rules of that other path were slipped past. So for requests that are sent on: dot segments in any dress, NUL and
//! encodings that are none are refused; every other path that can be read in another way is good only where that
//! reading takes the same route ([`reading`]). Double encodings are not looked through: no reading decodes twice.

use std::borrow::Cow;

/// The path of a target, without its query.
pub(super) fn without_query(target: &[u8]) -> &[u8] {
    match target.iter().position(|octet| *octet == b'?') {
        Some(at) => target.get(..at).unwrap_or_default(),
        None => target,
    }
}

/// The query of a target with its question mark; empty where there is none.
pub(super) fn query_of(target: &str) -> &str {
    target.find('?').and_then(|at| target.get(at..)).unwrap_or_default()
}

/// `path` with its needless encodings decoded and the digits of others in upper case.
pub(super) fn canonical(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b'%') {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((octet, taken)) = next(rest) {
        match octet {
            One::Plain(octet) => out.push(octet),
            One::Encoded(octet) if is_unreserved(octet) => out.push(octet),
            One::Encoded(_) => out.extend(rest.iter().take(taken).map(u8::to_ascii_uppercase)),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// How many octets of `path` the canonical `prefix` takes, where the path begins with it and a segment ends there.
pub(super) fn prefix(path: &[u8], prefix: &[u8]) -> Option<usize> {
    let (mut rest, mut wanted, mut taken) = (path, prefix, 0);
    while !wanted.is_empty() {
        let (octet, octets) = next(rest)?;
        wanted = match octet {
            One::Plain(octet) => wanted.strip_prefix(&[octet])?,
            One::Encoded(octet) if is_unreserved(octet) => wanted.strip_prefix(&[octet])?,
            One::Encoded(_) => {
                let same = wanted.get(..octets)?.eq_ignore_ascii_case(rest.get(..octets)?);
                wanted.get(octets..).filter(|_| same)?
            }
        };
        rest = rest.get(octets..)?;
        taken += octets;
    }
    matches!(rest.first(), None | Some(b'/' | b'?')).then_some(taken)
}

/// How an upstream might read a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As we do.
    Same,
    /// As this one, canonical.
    Other(Vec<u8>),
    /// As something nobody should ask for; why.
    Refused(&'static str),
}

/// The reading of a server that decodes and normalises all it can.
pub(super) fn reading(path: &[u8]) -> Reading {
    // Slashes in a row and dots behind one are seen in pairs, the rest alone: nearly every path goes by here.
    let odd = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.'] | [b'%' | b'\\' | b';', _]);
    if !path.windows(2).any(odd) && !matches!(path.last(), Some(b'%' | b'\\' | b';')) {
        return Reading::Same;
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path;
    let mut in_parameters = false;
    while let Some((octet, taken)) = next(rest) {
        rest = rest.get(taken..).unwrap_or_default();
        let (octet, encoded) = match octet {
            One::Plain(b'%') => return Reading::Refused("a percent sign in the path encodes nothing"),
            One::Plain(octet) => (octet, false),
            One::Encoded(0) => return Reading::Refused("the path holds an encoded NUL"),
            One::Encoded(octet) => (octet, true),
        };
        match octet {
            b'/' | b'\\' => {
                in_parameters = false;
                if is_dots(&out) {
                    return Reading::Refused(DOTS);
                }
                if out.last() != Some(&b'/') {
                    out.push(b'/');
                }
            }
            b';' if !encoded => in_parameters = true,
            _ if in_parameters => {}
            octet if encoded && !is_unreserved(octet) => out.extend(format!("%{octet:02X}").bytes()),
            octet => out.push(octet),
        }
    }
    if is_dots(&out) {
        return Reading::Refused(DOTS);
    }
    if out == *canonical(path) { Reading::Same } else { Reading::Other(out) }
}

const DOTS: &str = "the path holds dot segments";

/// The last segment is `.` or `..`.
fn is_dots(path: &[u8]) -> bool {
    path.ends_with(b"/.") || path.ends_with(b"/..")
}

/// One octet of a path, and how it was written.
enum One {
    Plain(u8),
    Encoded(u8),
}

/// The first octet of `path` and how many it takes.
fn next(path: &[u8]) -> Option<(One, usize)> {
    match path {
        [b'%', high, low, ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Some((One::Encoded(high << 4 | low), 3)),
            _ => Some((One::Plain(b'%'), 1)),
        },
        [octet, ..] => Some((One::Plain(*octet), 1)),
        [] => None,
    }
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986 §2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canon(path: &str) -> String {
        String::from_utf8(canonical(path.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn needless_encodings_are_seen_through_and_others_kept() {
        assert_eq!(canon("/%61dmin/%7Euser"), "/admin/~user");
        assert_eq!(canon("/a%2fb%2Fc"), "/a%2Fb%2Fc");
        assert_eq!(canon("/100%/%zz/%4"), "/100%/%zz/%4");
        assert!(matches!(canonical(b"/plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        assert_eq!(prefix(b"/api/x", b"/api"), Some(4));
        assert_eq!(prefix(b"/api", b"/api"), Some(4));
        assert_eq!(prefix(b"/api?x", b"/api"), Some(4));
        assert_eq!(prefix(b"/%61pi/x", b"/api"), Some(6));
        assert_eq!(prefix(b"/a%2fb/x", b"/a%2Fb"), Some(6));
        for path in ["/apix", "/ap", "/API/x", "", "/a%70"] {
            assert_eq!(prefix(path.as_bytes(), b"/api"), None, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_in_every_dress() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a/..;x=1/b",
            "/a/..;/b",
            "/a\\..\\b",
            "/a%5c..%5Cb",
            "/a/%2e",
            "/a//..//b",
            "/a/..%2f",
        ] {
            assert_eq!(reading(path.as_bytes()), Reading::Refused(DOTS), "{path}");
        }
        for path in ["/.well-known/x", "/a/..b", "/a/...", "/a/b..", "/a.b/c", "/a/.b"] {
            assert_eq!(reading(path.as_bytes()), Reading::Same, "{path}");
        }
    }

    #[test]
    fn what_encodes_nothing_is_refused() {
        for path in ["/%00", "/a%00b", "/100%", "/%zz", "/%4", "/%u002e%u002e/"] {
            assert!(matches!(reading(path.as_bytes()), Reading::Refused(_)), "{path}");
        }
    }

    #[test]
    fn other_readings_are_told() {
        for (path, read) in [
            ("//admin", "/admin"),
            ("/a//b", "/a/b"),
            ("/a%2Fb", "/a/b"),
            ("/a%5cb", "/a/b"),
            ("/admin;x/y", "/admin/y"),
            ("/a;b=1;c", "/a"),
            ("/https://x", "/https:/x"),
            ("/%61%2f%3f", "/a/%3F"),
        ] {
            assert_eq!(reading(path.as_bytes()), Reading::Other(read.into()), "{path}");
        }
        for path in ["/", "/a/b", "/a/", "/%7Euser", "/%E4%bd%a0", "/a%3bb", "/a%25"] {
            assert_eq!(reading(path.as_bytes()), Reading::Same, "{path}");
        }
    }

    #[test]
    fn a_query_is_no_path() {
        assert_eq!((without_query(b"/a?b?c"), query_of("/a?b?c")), (&b"/a"[..], "?b?c"));
        assert_eq!((without_query(b"/a"), query_of("/a")), (&b"/a"[..], ""));
    }
}
