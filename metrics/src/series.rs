//! Families under construction: from a row of the catalogue and numbers to prometheus' own types.
//! Reads no shard.
//!
//! Invariants: a family without series is left out, because the encoder refuses it; whether a zero is
//! written is the catalogue's choice.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily};

use crate::catalogue::{Family, Kind, Zeros};
use crate::histogram::Merged;

/// Families under construction.
pub(crate) struct Families<'a> {
    namespace: &'a str,
    families: Vec<MetricFamily>,
}

impl<'a> Families<'a> {
    /// None yet; `namespace` takes the place of the catalogue's.
    pub(crate) fn new(namespace: &'a str) -> Self {
        Self { namespace, families: Vec::new() }
    }

    /// The families, in the order they were added.
    pub(crate) fn finish(self) -> Vec<MetricFamily> {
        self.families
    }

    /// Adds one family, unless `fill` gives it no series (the encoder refuses an empty one).
    pub(crate) fn family(&mut self, family: &'static Family, fill: impl FnOnce(&mut Series)) {
        let mut series = Series { family, metrics: Vec::new() };
        fill(&mut series);
        if series.metrics.is_empty() {
            return;
        }
        let mut proto = MetricFamily::default();
        proto.set_name(family.name_in(self.namespace).into_owned());
        proto.set_help(family.help.to_owned());
        proto.set_field_type(family.kind.proto());
        proto.set_metric(series.metrics);
        self.families.push(proto);
    }
}

/// The series of one family; label values come in the order of the family's labels.
pub(crate) struct Series {
    family: &'static Family,
    metrics: Vec<Metric>,
}

impl Series {
    /// One series of a counter or gauge.
    pub(crate) fn value<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        if value == 0.0 && self.family.zeros == Zeros::Hidden {
            return;
        }
        let mut metric = self.labelled(labels);
        match self.family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Histogram => unreachable!("{} is given whole", self.family.name),
        }
        self.metrics.push(metric);
    }

    /// One series of a histogram.
    pub(crate) fn histogram<const N: usize>(&mut self, labels: [&str; N], merged: &Merged) {
        let count = merged.count();
        if count == 0 && self.family.zeros == Zeros::Hidden {
            return;
        }
        debug_assert_eq!(self.family.buckets, Some(merged.buckets()), "{}", self.family.name);
        let mut histogram = Histogram::default();
        histogram.set_bucket(
            merged
                .cumulative()
                .map(|(bound, count)| {
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(count);
                    bucket
                })
                .collect(),
        );
        histogram.set_sample_count(count);
        histogram.set_sample_sum(merged.sum());
        let mut metric = self.labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn labelled<const N: usize>(&self, values: [&str; N]) -> Metric {
        debug_assert_eq!(N, self.family.labels.len(), "{}", self.family.name);
        let pairs = self.family.labels.iter().zip(values).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        Metric::from_label(pairs.collect())
    }
}
