//! Prometheus text 0.0.4.
//! Invariant: no sample carries a timestamp, so a row that vanishes is gone at the next scrape.

use super::write::{escaped, format, sample as write_sample};
use crate::catalogue::{Family, LabelSpec};
use crate::histogram::Merged;
use crate::series::Sink;

/// An exposition in the making.
pub(crate) struct Text {
    out: Vec<u8>,
    name: String,
    labels: &'static [LabelSpec],
}

impl Text {
    /// An empty one, with room for `octets`.
    pub(crate) fn new(octets: usize) -> Self {
        Self { out: Vec::with_capacity(octets), name: String::new(), labels: &[] }
    }

    /// The whole text.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: f64) {
        write_sample(&mut self.out, (&self.name, suffix), (self.labels, labels, bound), value);
        self.out.push(b'\n');
    }
}

impl Sink for Text {
    fn family(&mut self, family: &'static Family, name: &str) {
        name.clone_into(&mut self.name);
        self.labels = family.labels;
        format(&mut self.out, format_args!("# HELP {name} "));
        escaped(&mut self.out, family.help, false);
        format(&mut self.out, format_args!("\n# TYPE {name} {}\n", family.kind.label()));
    }

    fn value(&mut self, labels: &[&str], value: f64) {
        self.sample("", labels, None, value);
    }

    fn histogram(&mut self, labels: &[&str], merged: &Merged) {
        for (bound, count) in merged.cumulative() {
            self.sample("_bucket", labels, Some(&bound.to_string()), count as f64);
        }
        let count = merged.count() as f64;
        self.sample("_bucket", labels, Some("+Inf"), count);
        self.sample("_sum", labels, None, merged.sum());
        self.sample("_count", labels, None, count);
    }
}
