//! Names that certificates are chosen by (RFC 6066 §3) and that they cover (RFC 6125 §6.4).
//!
//! Invariant: names kept here are lower case and have no dot at their end.

use std::collections::HashMap;

/// Lower case, without the dot of the root.
pub(super) fn normal(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// Whether `pattern`, a name kept here, is `host` or a wildcard for it: `*.` stands for one label. In any case, with
/// or without the last dot.
pub(super) fn matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && parent.eq_ignore_ascii_case(rest)),
    }
}

/// What each name shows, in the order it was told.
#[derive(Debug)]
pub(super) struct ByName<T> {
    exact: HashMap<Box<str>, Vec<T>>,
    /// By what comes after `*.`.
    wildcard: HashMap<Box<str>, Vec<T>>,
}

impl<T> ByName<T> {
    pub(super) fn new() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }

    /// Adds what `name` shows.
    pub(super) fn insert(&mut self, name: &str, shows: T) {
        let (map, key) = match name.strip_prefix("*.") {
            Some(parent) => (&mut self.wildcard, parent),
            None => (&mut self.exact, name),
        };
        map.entry(key.into()).or_default().push(shows);
    }

    /// What is shown for `name`: by the name itself, else by the wildcard above it. In any case, with or without the
    /// last dot; nothing is allocated.
    pub(super) fn get(&self, name: &str) -> Option<&[T]> {
        let mut lower = [0; LONGEST];
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let name = std::str::from_utf8(lower).ok()?;
        let wildcard = || match name.split_once('.') {
            Some((label, parent)) if !label.is_empty() => self.wildcard.get(parent),
            _ => None,
        };
        self.exact.get(name).or_else(wildcard).map(Vec::as_slice)
    }
}

/// Octets of the longest name (RFC 1035 §2.3.4), generously.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_of_one_label() {
        let mut names = ByName::new();
        names.insert("*.example.org", 1);
        names.insert("www.example.org", 2);
        names.insert("www.example.org", 3);
        let shown = |name: &str| names.get(name).map(<[i32]>::to_vec);
        assert_eq!(shown("www.example.org"), Some(vec![2, 3]));
        assert_eq!(shown("WWW.Example.org."), Some(vec![2, 3]));
        assert_eq!(shown("api.example.org"), Some(vec![1]));
        for unknown in ["example.org", "a.b.example.org", ".example.org", "org", "", ".", &"a".repeat(300)] {
            assert_eq!(shown(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(matches("*.example.org", "API.example.org."));
        assert!(matches("::1", "::1"));
        for other in ["example.org", "a.b.example.org", ".example.org", "*.example.com"] {
            assert!(!matches("*.example.org", other), "{other}");
        }
        assert_eq!(&*normal("WWW.Example.org."), "www.example.org");
    }
}
