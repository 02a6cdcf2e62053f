//! The path of a request as a path below a directory.
//!
//! Percent signs are decoded once, segment by segment, so an encoded slash cannot make a segment. What climbs,
//! or could be read as a separator by something else, is refused; the kernel holds the root anyway (`open.rs`).

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Relative, without `.` and `..`; empty for the root itself.
    pub(super) path: PathBuf,
    /// It ends in a slash: a directory is meant.
    pub(super) slash: bool,
}

/// Why a path names nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It can never be a name: 400 with this sentence.
    Bad(&'static str),
    /// Nothing can live there: 404.
    Absent,
}

impl Target {
    /// Reads `path`, which begins with a slash and has no query. Names that begin with a dot are absent unless
    /// `hidden` says otherwise or they are `.well-known` (RFC 8615).
    pub(super) fn parse(path: &str, hidden: bool) -> Result<Self, Refused> {
        let Some(rest) = path.strip_prefix('/') else { return Err(Refused::Absent) };
        if rest.is_empty() {
            return Ok(Self { path: PathBuf::new(), slash: true });
        }
        let (rest, slash) = match rest.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let mut octets = Vec::with_capacity(rest.len());
        for segment in rest.split('/') {
            if !octets.is_empty() {
                octets.push(b'/');
            }
            let start = octets.len();
            decode(segment, &mut octets)?;
            let name = octets.get(start..).unwrap_or_default();
            match name {
                // `//` names no file, and never another host.
                b"" => return Err(Refused::Absent),
                b"." | b".." => return Err(Refused::Bad("a path here has no . or .. in it\n")),
                b".well-known" => {}
                name if name.first() == Some(&b'.') && !hidden => return Err(Refused::Absent),
                _ => {}
            }
        }
        Ok(Self { path: PathBuf::from(OsString::from_vec(octets)), slash })
    }
}

fn decode(segment: &str, into: &mut Vec<u8>) -> Result<(), Refused> {
    let mut octets = segment.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'%' => {
                let mut digit = || octets.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high << 4 | low) as u8,
                    _ => return Err(Refused::Bad("a percent sign in a path has two hex digits behind it\n")),
                }
            }
            octet => octet,
        };
        match octet {
            0 => return Err(Refused::Bad("no name has a NUL in it\n")),
            b'\\' => return Err(Refused::Bad("no name here has a backslash in it\n")),
            b'/' => return Err(Refused::Bad("no name has a slash in it, encoded or not\n")),
            octet => into.push(octet),
        }
    }
    Ok(())
}

/// Percent-encodes a name as one segment of a path (RFC 3986 §3.3).
pub(super) fn encode(name: &[u8], into: &mut String) {
    for octet in name {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(*octet))
            }
            octet => {
                let _ = write!(into, "%{octet:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<(String, bool), Refused> {
        Target::parse(path, false).map(|target| (target.path.to_str().unwrap().to_owned(), target.slash))
    }

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(parse("/"), Ok((String::new(), true)));
        assert_eq!(parse("/a/b.txt"), Ok(("a/b.txt".into(), false)));
        assert_eq!(parse("/a%20b/"), Ok(("a b".into(), true)));
        assert_eq!(parse("/%C3%A4"), Ok(("ä".into(), false)));
        assert_eq!(parse("/a%2525"), Ok(("a%25".into(), false)), "once");
        assert_eq!(parse("/.well-known/x"), Ok((".well-known/x".into(), false)));
        assert_eq!(Target::parse("/%ff", false).unwrap().path.as_os_str().len(), 1, "names are octets");
    }

    #[test]
    fn what_climbs_or_could_be_misread_is_refused() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E/x",
            "/./a",
            "/a/..",
            "/..%2fx",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/%c0%ae%c0%ae%2f",
        ] {
            assert!(matches!(parse(path), Err(Refused::Bad(_))), "{path}");
        }
        for path in
            ["", "x", "//etc/passwd", "/a//b", "//", "/.git/config", "/a/.hidden", "/%2ehidden", "/..."]
        {
            assert_eq!(parse(path), Err(Refused::Absent), "{path}");
        }
        assert!(Target::parse("/.git/config", true).is_ok());
        assert!(Target::parse("/..", true).is_err());
    }

    #[test]
    fn names_are_encoded_so_that_they_come_back() {
        let name: Vec<u8> = (1..=255).filter(|octet| !b"/\\".contains(octet)).collect();
        let mut path = String::from("/");
        encode(&name, &mut path);
        assert!(path.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>'&".contains(&octet)));
        assert_eq!(Target::parse(&path, false).unwrap().path.as_os_str().as_encoded_bytes(), name);
    }
}
