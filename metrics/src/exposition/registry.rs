//! The families as prometheus' own types, for a foreign registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily};

use crate::catalogue::{self, Family, Kind, LabelSpec};
use crate::collect;
use crate::histogram::Merged;
use crate::metrics::Inner;
use crate::series::{Families, Sink};

/// Every family but `process_*`, for a foreign registry.
pub(crate) struct GatewayCollector {
    inner: Arc<Inner>,
    descriptions: Vec<Desc>,
}

impl GatewayCollector {
    /// # Panics
    /// If the namespace is not a valid start of a metric name.
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let descriptions = catalogue::families()
            .filter(|family| !family.is_of_process())
            .map(|family| {
                let labels = family.labels.iter().map(|label| label.name.to_owned()).collect();
                let name = family.name_in(&inner.namespace).into_owned();
                Desc::new(name, family.help.to_owned(), labels, HashMap::new())
                    .expect("the catalogue's names are valid")
            })
            .collect();
        Self { inner, descriptions }
    }
}

impl fmt::Debug for GatewayCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCollector").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Collector for GatewayCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut protos = Protos::default();
        collect::gateway(&self.inner, Instant::now(), &mut Families::new(&self.inner.namespace, &mut protos));
        protos.families
    }
}

#[derive(Default)]
struct Protos {
    families: Vec<MetricFamily>,
    kind: Option<Kind>,
    labels: &'static [LabelSpec],
}

impl Protos {
    fn push(&mut self, labels: &[&str], fill: impl FnOnce(&mut Metric)) {
        let pairs = self.labels.iter().zip(labels).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        fill(&mut metric);
        if let Some(family) = self.families.last_mut() {
            family.mut_metric().push(metric);
        }
    }
}

impl Sink for Protos {
    fn family(&mut self, family: &'static Family, name: &str) {
        let mut proto = MetricFamily::default();
        proto.set_name(name.to_owned());
        proto.set_help(family.help.to_owned());
        proto.set_field_type(family.kind.proto());
        self.families.push(proto);
        self.kind = Some(family.kind);
        self.labels = family.labels;
    }

    fn value(&mut self, labels: &[&str], value: f64) {
        let counts = self.kind == Some(Kind::Counter);
        self.push(labels, |metric| {
            if counts {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        });
    }

    fn histogram(&mut self, labels: &[&str], merged: &Merged) {
        let mut histogram = Histogram::default();
        let buckets = merged.cumulative().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(merged.count());
        histogram.set_sample_sum(merged.sum());
        self.push(labels, |metric| metric.set_histogram(histogram));
    }
}
