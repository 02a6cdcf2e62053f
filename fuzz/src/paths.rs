//! Octets as the path of a request: whatever they are, a path that is accepted is a name below a directory.
//!
//! Takes the reader of paths as a file of its own: it is no part of what the crate around it shows.

use std::path::{Component, Path};

use self::target::{Refused, Target, encode};

#[allow(dead_code, reason = "its own tests run where it lives")]
#[path = "../../actors/src/files/target.rs"]
mod target;

/// One input: an octet of options, then the path. What is no UTF-8 reaches no reader of paths; here it becomes some.
pub fn paths(data: &[u8]) {
    let Some((options, octets)) = data.split_first() else { return };
    let hidden = options & 1 != 0;
    let text = String::from_utf8_lossy(octets);
    // Half of the inputs are paths, the others are anything.
    let path = if options & 2 != 0 { text.into_owned() } else { format!("/{text}") };
    let read = Target::parse(&path, hidden);
    let expected = model(&path, hidden);
    match (&read, &expected) {
        (Ok(target), Some((names, slash))) => {
            check(target, hidden);
            assert_eq!(target.path.as_os_str().as_encoded_bytes(), names.join(&b'/'), "{path:?}");
            assert_eq!(target.slash, *slash, "{path:?}");
            there_and_back(target);
        }
        (Err(_), None) => {}
        (read, expected) => panic!("{path:?} is read as {read:?}, and should be {expected:?}"),
    }
    // Hidden names differ in being absent, and in nothing else.
    match (read, Target::parse(&path, true)) {
        (Ok(target), shown) => assert_eq!(Ok(target), shown),
        (Err(Refused::Bad(words)), shown) => assert!(hidden || shown.is_err(), "{words} {path:?}"),
        (Err(Refused::Absent), _) => {}
    }
}

/// Nothing of it climbs, starts at a root or could be taken for a separator.
fn check(target: &Target, hidden: bool) {
    let path: &Path = &target.path;
    assert!(path.is_relative());
    let octets = path.as_os_str().as_encoded_bytes();
    assert!(!octets.iter().any(|octet| matches!(octet, 0 | b'\\')));
    let names = octets.split(|octet| *octet == b'/').filter(|name| !name.is_empty());
    assert_eq!(names.clone().count(), path.components().count(), "{path:?}");
    for (component, name) in path.components().zip(names) {
        assert!(matches!(component, Component::Normal(normal) if normal.as_encoded_bytes() == name));
        assert!(hidden || name[0] != b'.' || name == b".well-known", "{path:?}");
    }
    let root = Path::new("/srv/root");
    assert!(root.join(path).starts_with(root) && (target.slash || !octets.is_empty()));
}

/// A name that was read is the same when it is written as a link and read again.
fn there_and_back(target: &Target) {
    let mut link = String::new();
    let octets = target.path.as_os_str().as_encoded_bytes();
    for name in octets.split(|octet| *octet == b'/').filter(|name| !name.is_empty()) {
        link.push('/');
        encode(name, &mut link);
    }
    if target.slash {
        link.push('/');
    }
    assert_eq!(Target::parse(&link, true).as_ref(), Ok(target), "{link}");
}

/// The same by other means: decoded in one go, cut where the slashes of the path are, judged name by name.
fn model(path: &str, hidden: bool) -> Option<(Vec<Vec<u8>>, bool)> {
    let inner = path.strip_prefix('/')?;
    if inner.is_empty() {
        return Some((Vec::new(), true));
    }
    let slash = inner.ends_with('/');
    let segments: Vec<&str> = inner.split('/').collect();
    let segments = &segments[..segments.len() - usize::from(slash)];
    let mut names = Vec::new();
    for segment in segments {
        let mut pieces = segment.split('%');
        let mut name = pieces.next()?.as_bytes().to_vec();
        for piece in pieces {
            let digits = piece.get(..2).filter(|two| two.bytes().all(|octet| octet.is_ascii_hexdigit()))?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            name.extend_from_slice(&piece.as_bytes()[2..]);
        }
        let is_bad = name.is_empty()
            || name == b"."
            || name == b".."
            || name.iter().any(|octet| b"\0\\/".contains(octet))
            || (name[0] == b'.' && !hidden && name != b".well-known");
        if is_bad {
            return None;
        }
        names.push(name);
    }
    Some((names, slash))
}
