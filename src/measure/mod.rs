//! What is kept of a field's values? One file per metric: its name, the fields that it has in a rolled-up document, and
//! how their values come out of a bucket's and go back into them.
//!
//! A new metric is a file here, its `mod`, and a line in [`metrics!`]. What it needs beyond the [`Measure`]s that there
//! are is one more of them and a field of [`MetricValues`], which each engine has to find out too.

use std::fmt;

mod avg;
mod max;
mod measures;
mod min;
mod sum;
mod value_count;
mod values;

pub use measures::{Measure, Measures};
pub use values::MetricValues;
#[cfg(any(feature = "tantivy", feature = "elasticsearch"))]
pub(crate) use values::whole_count;

/// What is to be known of a metric.
struct Definition {
    /// The name on the wire.
    name: &'static str,
    /// Whether it may be taken of a date field (of Elasticsearch's metrics: whether Elasticsearch allows it).
    fits_dates: bool,
    /// What a rolled-up document has of it.
    parts: &'static [Part],
}

/// One field that a rolled-up document has of a metric.
struct Part {
    /// What its name ends with.
    suffix: &'static str,
    /// What has to be found out of the field's values for it.
    measure: Measure,
    /// The value that is stored; not finite if there is none.
    store: fn(&MetricValues) -> f64,
    /// Puts a stored value back to where it came from, for whoever reads rolled-up documents. The parts of all metrics
    /// that a job has are put back into the same values, in any order: none may change what another has put there. A
    /// value that does not follow from the others (such as one computed of several) needs a field of its own, which
    /// [`merge`](MetricValues::merge) takes along.
    restore: fn(&mut MetricValues, f64),
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $metric:ident => $file:ident),* $(,)?) => {
        /// What is computed of a field in every bucket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Metric {
            $($(#[$doc])* $metric),*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$metric),*];

            const fn definition(self) -> &'static Definition {
                match self {
                    $(Self::$metric => &$file::DEFINITION),*
                }
            }
        }
    };
}

metrics! {
    /// The smallest value.
    Min => min,
    /// Sum and count of the values, from which a reader derives the average of any range.
    Avg => avg,
    /// The largest value.
    Max => max,
    /// The sum of the values, compensated as Elasticsearch does.
    Sum => sum,
    /// How many values there are.
    ValueCount => value_count,
}

impl Metric {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// The metric with this name on the wire.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|metric| metric.as_str() == name)
    }

    /// Whether Elasticsearch allows it on a date field.
    pub(crate) const fn fits_dates(self) -> bool {
        self.definition().fits_dates
    }

    /// What has to be found out of the field's values for it.
    #[must_use]
    pub fn measures(self) -> Measures {
        self.definition().parts.iter().map(|part| part.measure).collect()
    }

    /// The fields that a rolled-up document has of it.
    #[must_use]
    pub fn parts(self) -> impl ExactSizeIterator<Item = MetricPart> {
        self.definition().parts.iter().map(move |part| MetricPart { metric: self, part })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one field of a rolled-up document holds of a metric.
#[derive(Clone, Copy)]
pub struct MetricPart {
    metric: Metric,
    part: &'static Part,
}

impl MetricPart {
    /// The metric.
    #[must_use]
    pub fn metric(self) -> Metric {
        self.metric
    }

    /// What of the field's values it holds.
    #[must_use]
    pub fn measure(self) -> Measure {
        self.part.measure
    }

    /// What the field's name has behind the source field: such as `min.value`, or `avg._count`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}.{}", self.metric, self.part.suffix)
    }

    /// The value to store, as a double whatever it is, as in Elasticsearch. `None` if the field is left out: the
    /// smallest and the largest of nothing, the average of nothing, a sum beyond the doubles.
    #[inline]
    #[must_use]
    pub fn store(self, values: &MetricValues) -> Option<f64> {
        Some((self.part.store)(values)).filter(|value| value.is_finite())
    }

    /// Puts a value that was [stored](Self::store) back: a document's values are what all its fields have put back.
    pub fn restore(self, stored: f64, values: &mut MetricValues) {
        (self.part.restore)(values, stored);
    }
}

/// By metric and field.
impl PartialEq for MetricPart {
    fn eq(&self, other: &Self) -> bool {
        (self.metric, self.part.suffix) == (other.metric, other.part.suffix)
    }
}

impl Eq for MetricPart {}

impl fmt::Debug for MetricPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[f64]) -> MetricValues {
        let mut all = MetricValues::default();
        for value in values {
            all.add(*value);
        }
        all
    }

    fn stored_and_restored(values: &MetricValues) -> MetricValues {
        let mut back = MetricValues::default();
        for part in Metric::ALL.iter().flat_map(|metric| metric.parts()) {
            part.store(values).into_iter().for_each(|stored| part.restore(stored, &mut back));
        }
        back
    }

    #[test]
    fn what_is_stored_comes_back() {
        for values in [values(&[]), values(&[-0.0]), values(&[0.1; 10]), values(&[3.0, -7.5, 1e300])] {
            let back = stored_and_restored(&values);
            assert_eq!((back.count(), back.sum()), (values.count(), values.sum()));
            assert_eq!((back.min().to_bits(), back.max().to_bits()), (values.min().to_bits(), values.max().to_bits()));
        }
    }

    #[test]
    fn each_metric_comes_back_alone() {
        let all = values(&[3.0, -7.5, 12.0]);
        for metric in Metric::ALL {
            let mut back = MetricValues::default();
            for part in metric.parts() {
                part.restore(part.store(&all).unwrap(), &mut back);
            }
            for part in metric.parts() {
                assert_eq!(part.store(&back), part.store(&all), "{part:?}");
            }
        }
    }

    #[test]
    fn what_there_is_none_of_is_left_out() {
        let stored: Vec<_> = Metric::ALL
            .iter()
            .flat_map(|metric| metric.parts())
            .filter(|part| part.store(&MetricValues::default()).is_some())
            .map(MetricPart::name)
            .collect();
        assert_eq!(stored, ["sum.value", "value_count.value"]);
        let beyond = values(&[f64::MAX, f64::MAX]);
        assert!(Metric::Sum.parts().all(|part| part.store(&beyond).is_none()));
    }

    #[test]
    fn names_are_elasticsearchs() {
        let names: Vec<_> = Metric::ALL.iter().flat_map(|metric| metric.parts()).map(MetricPart::name).collect();
        assert_eq!(names, ["min.value", "avg.value", "avg._count", "max.value", "sum.value", "value_count.value"]);
        for metric in Metric::ALL {
            assert_eq!(Metric::parse(metric.as_str()), Some(*metric));
        }
        assert_eq!(Metric::parse("median"), None);
    }
}
