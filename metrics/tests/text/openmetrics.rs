//! A strict reader of OpenMetrics 1.0.0, for what we write of it: counters, gauges, histograms, exemplars.

use std::collections::BTreeSet;

use super::{Family, Sample, braced, check_histogram, is_name, number, series};

/// A family and its unit.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) family: Family,
    pub(crate) unit: Option<String>,
}

/// Reads a whole exposition and checks what the format demands of it. Families are named as 0.0.4 names
/// them: a counter with its `_total`.
pub(crate) fn parse(text: &str) -> Vec<Described> {
    let body = text.strip_suffix("# EOF\n").expect("EOF ends it");
    assert!(body.is_empty() || body.ends_with('\n'), "the last line must end");
    let mut families: Vec<Described> = Vec::new();
    let mut names = BTreeSet::new();
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        let described = line.strip_prefix("# TYPE ").unwrap_or_else(|| panic!("TYPE opens a family: {line}"));
        let (name, kind) = described.split_once(' ').expect("a type");
        assert!(is_name(name, true), "{name}");
        let unit = lines.next_if(|line| line.starts_with("# UNIT ")).map(|line| {
            let unit = line.strip_prefix(&format!("# UNIT {name} ")).expect("of this family");
            assert!(name.ends_with(&format!("_{unit}")), "{name} does not end in {unit}");
            unit.to_owned()
        });
        let help = lines.next().and_then(|line| line.strip_prefix(&format!("# HELP {name} ")));
        let help = help.unwrap_or_else(|| panic!("HELP follows: {name}"));
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.push(sample(line));
        }
        // What this family's samples may be called, no other family or sample is called.
        for suffix in suffixes(kind) {
            assert!(names.insert(format!("{name}{suffix}")), "{name}{suffix} is not contiguous, or clashes");
        }
        let named = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let family = Family { name: named, help: unescaped(help), kind: kind.to_owned(), samples };
        check(name, &family);
        families.push(Described { family, unit });
    }
    families
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["", "_total", "_created"],
        "gauge" => &[""],
        "histogram" => &["", "_bucket", "_sum", "_count", "_created"],
        _ => panic!("no type we write: {kind}"),
    }
}

fn check(name: &str, family: &Family) {
    assert!(!family.samples.is_empty(), "{name} is empty");
    assert!(!name.ends_with("_total"), "{name}");
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        assert!(seen.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
        assert!(sample.exemplar.is_none() || sample.name == format!("{name}_bucket"), "{sample:?}");
        assert!(!sample.value.is_nan(), "{sample:?}");
    }
    match family.kind.as_str() {
        "counter" => {
            let total = format!("{name}_total");
            assert!(
                family.samples.iter().all(|sample| sample.name == total && sample.value >= 0.0),
                "{name}"
            );
        }
        "gauge" => assert!(family.samples.iter().all(|sample| sample.name == name), "{name}"),
        _ => {
            check_histogram(family);
            check_examples(family);
        }
    }
}

/// Bounds are floats in canonical form, and an example lies in its bucket.
fn check_examples(Family { samples, .. }: &Family) {
    let mut below = f64::NEG_INFINITY;
    for sample in samples {
        let Some(text) = sample.label("le") else {
            below = f64::NEG_INFINITY;
            continue;
        };
        let bound = number(text);
        assert!(text == "+Inf" || text.contains(['.', 'e']), "{text} is no float");
        if let Some((labels, value)) = &sample.exemplar {
            assert!(*value <= bound && *value > below, "{sample:?} lies elsewhere, after {below}");
            assert!(sample.value > 0.0, "{sample:?}");
            let runes: usize =
                labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
            assert!(runes <= 128, "{runes} runes: {sample:?}");
        }
        below = bound;
    }
}

fn sample(line: &str) -> Sample {
    let (name, labels, rest) = series(line);
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) => {
            let (labels, rest) = braced(exemplar);
            let rest = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let (observed, time) = rest.split_once(' ').unwrap_or((rest, "0"));
            assert!(number(time) >= 0.0, "{line}");
            (value, Some((labels, number(observed))))
        }
    };
    Sample { name: name.to_owned(), labels, value: number(value), exemplar }
}

/// A HELP text with its escapes undone; a bare quote is not allowed.
fn unescaped(help: &str) -> String {
    let (value, rest) = super::quoted_until(help, None);
    assert!(rest.is_empty());
    value
}
