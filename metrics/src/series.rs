//! Families under construction: from a row of the catalogue and numbers to whatever format is wanted.
//! Reads no shard and writes no text: a [`Sink`] does.
//!
//! Invariants: a family is begun at its first series, so one without any is left out; whether a zero is
//! written is the catalogue's choice.

use crate::catalogue::{Family, Kind, Zeros};
use crate::histogram::Merged;

/// One format. Families come one after another, each whole; label values in the order of its labels.
pub(crate) trait Sink {
    /// A family begins; `name` is under the namespace in use.
    fn family(&mut self, family: &'static Family, name: &str);

    /// One series of a counter or gauge of the family that began last.
    fn value(&mut self, labels: &[&str], value: f64);

    /// One series of a histogram of the family that began last.
    fn histogram(&mut self, labels: &[&str], merged: &Merged);
}

/// Families on their way to a sink.
pub(crate) struct Families<'a> {
    namespace: &'a str,
    sink: &'a mut dyn Sink,
}

impl<'a> Families<'a> {
    /// None yet; `namespace` takes the place of the catalogue's.
    pub(crate) fn new(namespace: &'a str, sink: &'a mut dyn Sink) -> Self {
        Self { namespace, sink }
    }

    /// Adds one family, unless `fill` gives it no series.
    pub(crate) fn family(&mut self, family: &'static Family, fill: impl FnOnce(&mut Series<'_>)) {
        fill(&mut Series { family, namespace: self.namespace, sink: &mut *self.sink, begun: false });
    }
}

/// The series of one family; label values come in the order of the family's labels.
pub(crate) struct Series<'a> {
    family: &'static Family,
    namespace: &'a str,
    sink: &'a mut dyn Sink,
    begun: bool,
}

impl Series<'_> {
    /// One series of a counter or gauge.
    pub(crate) fn value<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        debug_assert_ne!(self.family.kind, Kind::Histogram, "{}", self.family.name);
        if value != 0.0 || self.family.zeros == Zeros::Shown {
            self.sink::<N>().value(&labels, value);
        }
    }

    /// One series of a histogram.
    pub(crate) fn histogram<const N: usize>(&mut self, labels: [&str; N], merged: &Merged) {
        debug_assert_eq!(self.family.buckets, Some(merged.buckets()), "{}", self.family.name);
        if merged.count() != 0 || self.family.zeros == Zeros::Shown {
            self.sink::<N>().histogram(&labels, merged);
        }
    }

    fn sink<const N: usize>(&mut self) -> &mut dyn Sink {
        debug_assert_eq!(N, self.family.labels.len(), "{}", self.family.name);
        if !self.begun {
            self.begun = true;
            self.sink.family(self.family, &self.family.name_in(self.namespace));
        }
        self.sink
    }
}
