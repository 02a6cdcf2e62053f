//! A strict reader of Prometheus text 0.0.4, stricter than Prometheus: what it accepts, every scraper
//! does. Panics with the line that is wrong. Reads no timestamps, because we write none.
//! [`openmetrics`] is the same for OpenMetrics 1.0.0.

#![allow(dead_code, reason = "each test program uses its part of it")]

pub(crate) mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};

/// A family as it was written.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// One line of a family.
#[derive(Debug)]
pub(crate) struct Sample {
    /// With `_bucket`, `_sum` or `_count`.
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    /// What OpenMetrics says behind the value: labels and value.
    pub(crate) exemplar: Option<(Vec<(String, String)>, f64)>,
}

impl Family {
    /// Every series with its value, as another format must have it too: names in full, bounds as numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (String, f64)> {
        self.samples.iter().map(|sample| {
            let labels = sample.labels.iter().map(|(name, value)| match name.as_str() {
                "le" => format!("le={}", number(value)),
                _ => format!("{name}={value:?}"),
            });
            (format!("{}{{{}}}", sample.name, labels.collect::<Vec<_>>().join(",")), sample.value)
        })
    }
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The labels but `le`.
    pub(crate) fn series(&self) -> Vec<(String, String)> {
        self.labels.iter().filter(|(name, _)| name != "le").cloned().collect()
    }
}

/// Reads a whole exposition and checks what the format demands of it.
pub(crate) fn parse(text: &str) -> Vec<Family> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line must end");
    let mut families: Vec<Family> = Vec::new();
    let mut names = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").unwrap_or_else(|| panic!("HELP opens a family: {line}"));
        let (name, help) = help.split_once(' ').expect("a help text");
        let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        let kind = kind.unwrap_or_else(|| panic!("TYPE follows HELP: {line}")).to_owned();
        assert!(is_name(name, true), "{name}");
        assert!(names.insert(name.to_owned()), "{name} is not contiguous");
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.push(sample(line));
        }
        let family = Family { name: name.to_owned(), help: help.to_owned(), kind, samples };
        check(&family);
        families.push(family);
    }
    families
}

fn check(family: &Family) {
    let Family { name, kind, samples, .. } = family;
    assert!(!samples.is_empty(), "{name} is empty");
    let mut seen = BTreeSet::new();
    for sample in samples {
        assert!(seen.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
    }
    match kind.as_str() {
        "counter" => {
            assert!(name.ends_with("_total"), "{name} is a counter");
            assert!(samples.iter().all(|sample| sample.name == *name && sample.value >= 0.0), "{name}");
        }
        "gauge" => {
            assert!(!name.ends_with("_total"), "{name} is a gauge");
            assert!(samples.iter().all(|sample| sample.name == *name), "{name}");
        }
        "histogram" => check_histogram(family),
        _ => panic!("{name} is of no known type: {kind}"),
    }
}

/// Buckets ascend, and `+Inf` is the count.
fn check_histogram(Family { name, samples, .. }: &Family) {
    let mut series: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        series.entry(sample.series()).or_default().push(sample);
    }
    for (labels, lines) in series {
        let [buckets @ .., sum, count] = lines.as_slice() else { panic!("{name}{labels:?} is cut") };
        assert_eq!((&sum.name, &count.name), (&format!("{name}_sum"), &format!("{name}_count")));
        let mut last = (f64::NEG_INFINITY, 0.0);
        for bucket in buckets {
            assert_eq!(bucket.name, format!("{name}_bucket"));
            let bound = number(bucket.label("le").expect("a bound"));
            assert!(
                bound > last.0 && bucket.value >= last.1,
                "{name}{labels:?} is not cumulative at {bound}"
            );
            last = (bound, bucket.value);
        }
        assert_eq!(last, (f64::INFINITY, count.value), "{name}{labels:?}");
    }
}

fn sample(line: &str) -> Sample {
    let (name, labels, value) = series(line);
    Sample { name: name.to_owned(), labels, value: number(value), exemplar: None }
}

/// Name, labels and whatever follows the space behind them.
fn series(line: &str) -> (&str, Vec<(String, String)>, &str) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let (labels, rest) = braced(rest);
    (name, labels, rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}")))
}

/// Labels in braces, if there are any, and what follows.
fn braced(line: &str) -> (Vec<(String, String)>, &str) {
    let mut labels: Vec<(String, String)> = Vec::new();
    let Some(mut rest) = line.strip_prefix('{') else { return (labels, line) };
    loop {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(label, false), "{line}");
        assert!(labels.iter().all(|(known, _)| known != label), "label twice: {line}");
        let (value, after) = quoted(after);
        labels.push((label.to_owned(), value));
        match after.split_at_checked(1) {
            Some((",", after)) => rest = after,
            Some(("}", after)) => return (labels, after),
            _ => panic!("labels do not end: {line}"),
        }
    }
}

/// A label value up to its closing quote, with `\\`, `\"` and `\n` undone, and what follows.
fn quoted(text: &str) -> (String, &str) {
    quoted_until(text, Some('"'))
}

/// The same up to `end`, or to the end of the text.
fn quoted_until(text: &str, end: Option<char>) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' if end == Some('"') => return (value, &text[at + 1..]),
            '"' => panic!("a bare quote: {text}"),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, char @ ('"' | '\\'))) => value.push(char),
                other => panic!("escape {other:?} in {text}"),
            },
            _ => value.push(char),
        }
    }
    assert!(end.is_none(), "no closing quote: {text}");
    (value, "")
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => {
            assert!(!text.contains(' '), "a timestamp: {text}");
            text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
        }
    }
}

fn is_name(name: &str, colon: bool) -> bool {
    let mut chars = name.chars();
    let start = |char: char| char.is_ascii_alphabetic() || char == '_' || (colon && char == ':');
    chars.next().is_some_and(start) && chars.all(|char| start(char) || char.is_ascii_digit())
}
