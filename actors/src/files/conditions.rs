//! Validators of a file and the conditions a request puts on them (RFC 9110 §8.8, §13).
//!
//! The entity tag is made of inode, size and modification time. Within two seconds of a change it is weak: the
//! clock of the file system may not have moved between two writes. An application's own fields win.

use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stagedoor_protocol::{Fields, RequestHead};

/// How long after a change two writes could still share a time.
pub(super) const SETTLED: Duration = Duration::from_secs(2);

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Adds `etag` and `last-modified` of `stat` where `fields` has none.
pub(super) fn add_validators(stat: &Metadata, now: SystemTime, fields: &mut Fields) {
    if !fields.contains("etag") {
        let mut tag = String::with_capacity(48);
        let modified = stat.modified().ok();
        let settled = modified.is_some_and(|time| now.duration_since(time).is_ok_and(|age| age >= SETTLED));
        if !settled {
            tag.push_str("W/");
        }
        let (seconds, nanos) = (stat.mtime(), stat.mtime_nsec());
        let _ = write!(tag, "\"{:x}-{:x}-{seconds:x}.{nanos:x}\"", stat.ino(), stat.len());
        fields.push("etag", tag);
    }
    // A time that lies ahead of our clock would tell a client nothing (§8.8.2.1).
    if !fields.contains("last-modified")
        && let Ok(modified) = stat.modified()
        && modified <= now
        && modified >= UNIX_EPOCH
    {
        fields.push("last-modified", httpdate::fmt_http_date(modified));
    }
}

/// The conditions of `head` against the validators in `fields`, in the order of §13.2.2.
pub(super) fn evaluate(head: &RequestHead, fields: &Fields) -> Outcome {
    let asked = head.fields();
    let tag = fields.get("etag");
    let read_only = matches!(head.method(), "GET" | "HEAD");
    if asked.contains("if-match") {
        if !any_tag(asked, "if-match", tag, strong_match) {
            return Outcome::Failed;
        }
    } else if let Some(since) = date(asked, "if-unmodified-since")
        && modified(fields).is_some_and(|modified| modified > since)
    {
        return Outcome::Failed;
    }
    if asked.contains("if-none-match") {
        if any_tag(asked, "if-none-match", tag, weak_match) {
            return if read_only { Outcome::NotModified } else { Outcome::Failed };
        }
    } else if read_only
        && let Some(since) = date(asked, "if-modified-since")
        && modified(fields).is_some_and(|modified| modified <= since)
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether a `range` of `head` still fits the representation: `if-range` is not there, or holds (§13.1.5).
pub(super) fn range_holds(head: &RequestHead, fields: &Fields) -> bool {
    let mut conditions = head.fields().get_all("if-range");
    let Some(condition) = conditions.next() else { return true };
    if conditions.next().is_some() {
        return false;
    }
    if condition.first() == Some(&b'"') || condition.starts_with(b"W/") {
        return fields.get("etag").is_some_and(|tag| strong_match(condition, tag));
    }
    // A date is compared to the second, so it only holds where the tag says that the file has settled.
    let settled = fields.get("etag").is_some_and(|tag| !tag.starts_with(b"W/"));
    settled && parse_date(condition).is_some_and(|date| modified(fields) == Some(date))
}

fn modified(fields: &Fields) -> Option<SystemTime> {
    fields.get("last-modified").and_then(parse_date)
}

/// A date that is sent once and can be read; all others are as if not sent (§13.1.3, §13.1.4).
fn date(fields: &Fields, name: &str) -> Option<SystemTime> {
    let mut values = fields.get_all(name);
    let value = values.next()?;
    if values.next().is_some() { None } else { parse_date(value) }
}

fn parse_date(value: &[u8]) -> Option<SystemTime> {
    std::str::from_utf8(value).ok().and_then(|text| httpdate::parse_http_date(text).ok())
}

/// Whether a tag listed under `name` matches `tag`. `*` matches whatever exists, and the file does.
fn any_tag(asked: &Fields, name: &str, tag: Option<&[u8]>, matches: fn(&[u8], &[u8]) -> bool) -> bool {
    asked.get_all(name).any(|list| {
        list == b"*" || tag.is_some_and(|tag| Tags { rest: list }.any(|listed| matches(listed, tag)))
    })
}

fn strong_match(one: &[u8], other: &[u8]) -> bool {
    one == other && one.first() == Some(&b'"')
}

fn weak_match(one: &[u8], other: &[u8]) -> bool {
    one.strip_prefix(b"W/").unwrap_or(one) == other.strip_prefix(b"W/").unwrap_or(other)
}

/// The entity tags of a list. Ends at the first thing that is none; a comma inside a tag is part of it.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let blank = |octet: &u8| matches!(octet, b' ' | b'\t' | b',');
        let start = self.rest.iter().position(|octet| !blank(octet))?;
        let rest = &self.rest[start..];
        let prefix = if rest.starts_with(b"W/") { 2 } else { 0 };
        let opaque = rest.get(prefix..).filter(|opaque| opaque.first() == Some(&b'"'))?;
        let end = prefix + 1 + opaque.iter().skip(1).position(|octet| *octet == b'"')? + 1;
        let (tag, rest) = rest.split_at(end);
        self.rest = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn given(tag: &str) -> Fields {
        [("etag", tag), ("last-modified", DATE)].into_iter().collect()
    }

    fn asked(method: &str, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(method, "http", "a", "/");
        for (name, value) in fields {
            head.fields_mut().push(name, value);
        }
        head
    }

    fn get(fields: &[(&str, &str)]) -> Outcome {
        evaluate(&asked("GET", fields), &given("\"a,b\""))
    }

    #[test]
    fn tags_are_compared_as_each_field_says() {
        assert_eq!(get(&[]), Outcome::Proceed);
        assert_eq!(get(&[("if-none-match", "\"x\", W/\"a,b\"")]), Outcome::NotModified);
        assert_eq!(get(&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")]), Outcome::NotModified);
        assert_eq!(get(&[("if-none-match", "*")]), Outcome::NotModified);
        assert_eq!(get(&[("if-none-match", "\"a\", \"b\"")]), Outcome::Proceed);
        assert_eq!(get(&[("if-none-match", "a,b")]), Outcome::Proceed);
        assert_eq!(get(&[("if-match", "\"a,b\"")]), Outcome::Proceed);
        assert_eq!(get(&[("if-match", "W/\"a,b\"")]), Outcome::Failed, "strong comparison");
        assert_eq!(get(&[("if-match", "*")]), Outcome::Proceed);
        assert_eq!(get(&[("if-match", "\"open")]), Outcome::Failed);
        assert_eq!(evaluate(&asked("POST", &[("if-none-match", "*")]), &given("\"t\"")), Outcome::Failed);
    }

    #[test]
    fn dates_are_compared_to_the_second() {
        assert_eq!(get(&[("if-modified-since", DATE)]), Outcome::NotModified);
        assert_eq!(get(&[("if-modified-since", EARLIER)]), Outcome::Proceed);
        assert_eq!(get(&[("if-unmodified-since", DATE)]), Outcome::Proceed);
        assert_eq!(get(&[("if-unmodified-since", EARLIER)]), Outcome::Failed);
        assert_eq!(get(&[("if-modified-since", "yesterday")]), Outcome::Proceed);
        assert_eq!(get(&[("if-modified-since", DATE), ("if-modified-since", DATE)]), Outcome::Proceed);
    }

    #[test]
    fn tags_go_before_dates_and_what_must_match_before_what_must_not() {
        assert_eq!(get(&[("if-none-match", "\"x\""), ("if-modified-since", DATE)]), Outcome::Proceed);
        assert_eq!(get(&[("if-match", "\"a,b\""), ("if-unmodified-since", EARLIER)]), Outcome::Proceed);
        assert_eq!(get(&[("if-match", "\"x\""), ("if-none-match", "\"a,b\"")]), Outcome::Failed);
        assert_eq!(get(&[("if-match", "\"a,b\""), ("if-none-match", "\"a,b\"")]), Outcome::NotModified);
    }

    #[test]
    fn a_range_holds_for_the_very_same_octets() {
        let holds =
            |condition: &str, tag: &str| range_holds(&asked("GET", &[("if-range", condition)]), &given(tag));
        assert!(range_holds(&asked("GET", &[]), &given("\"a\"")));
        assert!(holds("\"a\"", "\"a\""));
        assert!(!holds("\"b\"", "\"a\""));
        assert!(!holds("W/\"a\"", "W/\"a\""), "a weak tag says too little");
        assert!(holds(DATE, "\"a\""));
        assert!(!holds(LATER, "\"a\"") && !holds(EARLIER, "\"a\""));
        assert!(!holds(DATE, "W/\"a\""), "the file changed a moment ago");
        assert!(!holds("nonsense", "\"a\""));
    }

    #[test]
    fn a_tag_is_weak_until_its_file_has_settled() {
        let file = tempfile::tempfile().unwrap();
        let stat = file.metadata().unwrap();
        let tags = |now| {
            let mut fields = Fields::new();
            add_validators(&stat, now, &mut fields);
            (
                String::from_utf8(fields.get("etag").unwrap().to_vec()).unwrap(),
                fields.contains("last-modified"),
            )
        };
        let modified = stat.modified().unwrap();
        let (early, dated) = tags(modified + Duration::from_secs(1));
        assert!(early.starts_with("W/\"") && dated);
        let (late, _) = tags(modified + Duration::from_secs(2));
        assert_eq!(early, format!("W/{late}"));
        let (ahead, dated) = tags(modified - Duration::from_secs(5));
        assert!(ahead.starts_with("W/") && !dated, "no date from the future");
        let mut own: Fields = [("etag", "\"mine\"")].into_iter().collect();
        add_validators(&stat, modified, &mut own);
        assert_eq!(own.get_all("etag").count(), 1);
    }
}
