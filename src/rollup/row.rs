use super::layout::DocumentLayout;
use super::page::Bucket;
use crate::job::{GroupKey, KeyPart};
use crate::measure::{Measure, MetricValues};
use crate::sync::Arc;

/// What a job has rolled up of one group: a rolled-up document as typed values, with its fields by the names that they
/// have in the source.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledUpRow {
    layout: Arc<DocumentLayout>,
    key: GroupKey,
    doc_count: u64,
    metrics: Vec<MetricValues>,
}

impl RolledUpRow {
    /// A bucket that fits the layout.
    pub(crate) fn new(layout: &Arc<DocumentLayout>, bucket: Bucket<'_>) -> Self {
        let (key, metrics) = (bucket.key.to_vec(), bucket.metrics.to_vec());
        Self { layout: Arc::clone(layout), key, doc_count: bucket.doc_count, metrics }
    }

    /// Where its date bucket begins, in milliseconds since 1970.
    #[must_use]
    pub fn date(&self) -> i64 {
        match self.key.first() {
            Some(KeyPart::Date(start)) => *start,
            other => unreachable!("keys begin with a date, and not with {other:?}"),
        }
    }

    /// Its key: the date, the histogram parts and the terms parts, in configured order.
    #[must_use]
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// The part of its key for a field; `None` if the job does not group by it.
    #[must_use]
    pub fn part(&self, field: &str) -> Option<&KeyPart> {
        self.key.get(self.layout.grouping().fields().position(|name| name == field)?)
    }

    /// The term of a keyword field; `None` in the null group, and if the job does not group by such a field.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        match self.part(field)? {
            KeyPart::Text(text) => Some(text),
            KeyPart::Null
            | KeyPart::Date(_)
            | KeyPart::Histogram { .. }
            | KeyPart::Integer(_)
            | KeyPart::Unsigned(_)
            | KeyPart::Double(_) => None,
        }
    }

    /// How many source documents it stands for.
    #[must_use]
    pub fn doc_count(&self) -> u64 {
        self.doc_count
    }

    /// The smallest value of a field; `None` if there is no value, or the job does not keep it.
    #[must_use]
    pub fn min(&self, field: &str) -> Option<f64> {
        self.kept(field, Measure::Min).map(MetricValues::min).filter(|value| value.is_finite())
    }

    /// The largest value of a field; `None` if there is no value, or the job does not keep it.
    #[must_use]
    pub fn max(&self, field: &str) -> Option<f64> {
        self.kept(field, Measure::Max).map(MetricValues::max).filter(|value| value.is_finite())
    }

    /// The sum of a field's values, 0 of none; `None` if the job does not keep it.
    #[must_use]
    pub fn sum(&self, field: &str) -> Option<f64> {
        self.kept(field, Measure::Sum).map(MetricValues::sum)
    }

    /// How many values of a field there are; `None` if the job does not keep it.
    #[must_use]
    pub fn value_count(&self, field: &str) -> Option<u64> {
        self.kept(field, Measure::Count).map(MetricValues::count)
    }

    /// The average of a field's values, of whichever metrics the job keeps it; `None` if there is no value, or the job
    /// does not keep it.
    #[must_use]
    pub fn average(&self, field: &str) -> Option<f64> {
        let (sum, count) = (self.kept(field, Measure::Sum)?.sum(), self.kept(field, Measure::Count)?.count());
        #[expect(clippy::cast_precision_loss, reason = "no bucket has 2^53 values")]
        (count > 0).then(|| sum / count as f64)
    }

    fn kept(&self, field: &str, measure: Measure) -> Option<&MetricValues> {
        let mut measured = self.layout.grouping().measured().iter();
        let at = measured.position(|kept| kept.field == field && kept.measures.has(measure))?;
        self.metrics.get(at)
    }
}
