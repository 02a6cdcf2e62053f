//! Prometheus text 0.0.4, read strictly enough to find what a scraper would refuse.

use std::collections::BTreeMap;

/// A scrape that was read.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// Type by family.
    pub(crate) families: BTreeMap<String, String>,
    /// Value by series, as written (`name{label="value"}`).
    pub(crate) series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads `text`.
    ///
    /// # Panics
    /// With the line that breaks the format.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut scrape = Self { families: BTreeMap::new(), series: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => scrape.comment(comment),
                None => scrape.sample(line),
            }
        }
        scrape
    }

    fn comment(&mut self, comment: &str) {
        let mut words = comment.splitn(3, ' ');
        if words.next() == Some("TYPE") {
            let (family, kind) = (words.next().unwrap(), words.next().unwrap());
            assert!(["counter", "gauge", "histogram"].contains(&kind), "type {kind} of {family}");
            assert!(
                self.families.insert(family.into(), kind.into()).is_none(),
                "{family} is described twice"
            );
        }
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let name = series.split('{').next().unwrap();
        let word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
        assert!(
            name.chars().all(word) && !name.starts_with(|sign: char| sign.is_ascii_digit()),
            "name: {line}"
        );
        let labels = &series[name.len()..];
        assert!(labels.is_empty() || labels.starts_with('{') && labels.ends_with('}'), "labels: {line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let family = name.strip_suffix(end)?;
            (self.families.get(family)? == "histogram").then_some(family)
        });
        assert!(self.families.contains_key(family.unwrap_or(name)), "no TYPE before: {line}");
        assert!(self.series.insert(series.into(), value).is_none(), "twice: {line}");
    }

    /// The value of a series; labels in any order. Zero where it is not shown.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).next().unwrap_or(0.0)
    }

    /// The sum over every series of `name` that has these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
        self.series
            .iter()
            .filter(move |(series, _)| {
                series.split('{').next() == Some(name)
                    && labels.iter().all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
            })
            .map(|(_, value)| *value)
    }
}
