//! OpenMetrics 1.0.0: the same numbers as in text 0.0.4, with units and exemplars.
//!
//! Invariants: a counter's family goes without `_total`, its samples with it; a UNIT line is written only
//! where the name ends in the unit; `# EOF` ends it; no sample carries a timestamp (an exemplar does).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::write::{canonical, escaped, format, raw, sample as write_sample};
use crate::catalogue::{Family, Kind, LabelSpec};
use crate::examples::Example;
use crate::histogram::Merged;
use crate::series::Sink;
use crate::shard::Exemplar;

/// One moment on both clocks. Kept for the life of the process, so that an example has one time in every
/// scrape and a scraper knows it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    instant: Instant,
    time: SystemTime,
}

impl Anchor {
    /// This moment.
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// When the process had this moment.
    pub(crate) fn time(&self) -> SystemTime {
        self.time
    }

    /// A moment as Unix time in seconds.
    fn unix(&self, at: Instant) -> f64 {
        let anchor = self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let since = at.saturating_duration_since(self.instant).as_secs_f64();
        anchor + since - self.instant.saturating_duration_since(at).as_secs_f64()
    }
}

/// An exposition in the making.
pub(crate) struct OpenMetrics {
    out: Vec<u8>,
    anchor: Anchor,
    name: String,
    suffix: &'static str,
    labels: &'static [LabelSpec],
}

impl OpenMetrics {
    /// An empty one, with room for `octets`.
    pub(crate) fn new(octets: usize, anchor: Anchor) -> Self {
        Self { out: Vec::with_capacity(octets), anchor, name: String::new(), suffix: "", labels: &[] }
    }

    /// The whole text, closed.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        raw(&mut self.out, "# EOF\n");
        self.out
    }

    /// A sample without the end of its line.
    fn sample(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: f64) {
        write_sample(&mut self.out, (&self.name, suffix), (self.labels, labels, bound), value);
    }

    fn bucket(
        &mut self,
        labels: &[&str],
        bound: &str,
        count: u64,
        example: Option<&Example>,
        merged: &Merged,
    ) {
        self.sample("_bucket", labels, Some(bound), count as f64);
        if let Some(Example { who: Exemplar { session, stream, trace }, value, at }) = example {
            format(&mut self.out, format_args!(" # {{session=\"{session}\",stream=\"{stream}\""));
            if *trace != 0 {
                format(&mut self.out, format_args!(",trace_id=\"{trace:032x}\""));
            }
            let value = canonical(merged.buckets().unit.to_base(*value as f64));
            format(&mut self.out, format_args!("}} {value} {:.3}", self.anchor.unix(*at)));
        }
        self.out.push(b'\n');
    }
}

impl Sink for OpenMetrics {
    fn family(&mut self, family: &'static Family, name: &str) {
        self.suffix = if family.kind == Kind::Counter { "_total" } else { "" };
        let name = name.strip_suffix(self.suffix).unwrap_or(name);
        name.clone_into(&mut self.name);
        self.labels = family.labels;
        format(&mut self.out, format_args!("# TYPE {name} {}\n", family.kind.label()));
        if let Some(unit) = family.unit() {
            format(&mut self.out, format_args!("# UNIT {name} {unit}\n"));
        }
        format(&mut self.out, format_args!("# HELP {name} "));
        escaped(&mut self.out, family.help, true);
        self.out.push(b'\n');
    }

    fn value(&mut self, labels: &[&str], value: f64) {
        self.sample(self.suffix, labels, None, value);
        self.out.push(b'\n');
    }

    fn histogram(&mut self, labels: &[&str], merged: &Merged) {
        let mut buckets = 0;
        for (bound, count) in merged.cumulative() {
            self.bucket(labels, &canonical(bound), count, merged.example(buckets), merged);
            buckets += 1;
        }
        let count = merged.count();
        self.bucket(labels, "+Inf", count, merged.example(buckets), merged);
        self.sample("_sum", labels, None, merged.sum());
        self.out.push(b'\n');
        self.sample("_count", labels, None, count as f64);
        self.out.push(b'\n');
    }
}
