//! What metrics are of the values that were found.

use super::aggregation::SearchMetric;
use super::response::{MetricFound, Stats};
use crate::measure::MetricValues;

/// A metric of one value; `None` where it is that of no values. That of statistics is their average.
pub(super) fn value_of(metric: SearchMetric, values: &MetricValues) -> Option<f64> {
    match metric {
        SearchMetric::Min => Some(values.min()).filter(|min| min.is_finite()),
        SearchMetric::Max => Some(values.max()).filter(|max| max.is_finite()),
        SearchMetric::Sum => Some(values.sum()),
        SearchMetric::Avg | SearchMetric::Stats => average(values),
        SearchMetric::ValueCount => Some(count(values)),
    }
}

/// The answer to a metric.
pub(super) fn found(metric: SearchMetric, values: &MetricValues) -> MetricFound {
    match metric {
        SearchMetric::Stats => MetricFound::Stats(Stats {
            count: values.count(),
            min: value_of(SearchMetric::Min, values),
            max: value_of(SearchMetric::Max, values),
            avg: average(values),
            sum: values.sum(),
        }),
        metric => MetricFound::Single(metric.as_str(), value_of(metric, values)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 values")]
fn count(values: &MetricValues) -> f64 {
    values.count() as f64
}

fn average(values: &MetricValues) -> Option<f64> {
    (!values.is_empty()).then(|| values.sum() / count(values))
}
