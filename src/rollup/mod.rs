//! What is a rolled-up document? From buckets to documents, the same for every engine: their fields, pages of them,
//! ids.

mod document;
mod grouping;
mod id;
mod layout;
mod page;
mod row;
mod value;

pub use document::{RolledUpDocument, RolledUpDocuments, RolledUpPage};
pub use grouping::{Grouping, GroupingKey, KeyKind, MeasuredField};
pub use layout::{DocumentLayout, FieldSource, LayoutField, ValueKind};
pub use page::{Bucket, Page};
pub use row::RolledUpRow;
pub use value::FieldValue;

pub use crate::measure::{Measure, Measures, MetricPart, MetricValues};

use crate::stop_signal::StopSignal;
use crate::sync::Arc;
use id::Ids;

/// A page does not fit the layout of its job: the engine that delivered it has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the engine delivered a page whose buckets do not have {key_parts} key parts and {metric_fields} metric fields each"
)]
pub struct MisfitPage {
    key_parts: usize,
    metric_fields: usize,
}

/// The rolled-up documents of a page: what a run writes, for hosts that preview and for tests of engines.
///
/// # Errors
/// [`MisfitPage`] if keys or metrics do not fit the layout.
pub fn roll_up(buckets: Page, layout: &Arc<DocumentLayout>) -> Result<RolledUpPage, MisfitPage> {
    roll_up_until(buckets, layout, &StopSignal::never())
}

/// How many documents are made between two looks at the stop signal.
pub(crate) const BLOCK: usize = 256;

/// The same for as many buckets, from the first on, as can be had before a stop.
pub(crate) fn roll_up_until(
    buckets: Page,
    layout: &Arc<DocumentLayout>,
    stop: &StopSignal,
) -> Result<RolledUpPage, MisfitPage> {
    let (key_parts, metric_fields) = (layout.key_parts(), layout.metric_fields());
    if !buckets.is_empty() && buckets.width() != Some((key_parts, metric_fields)) {
        return Err(MisfitPage { key_parts, metric_fields });
    }
    let (mut hashes, mut ids) = (Vec::with_capacity(buckets.len()), Ids::of(layout));
    for (at, bucket) in buckets.iter().enumerate() {
        if at.is_multiple_of(BLOCK) && stop.is_stopped() {
            break;
        }
        hashes.push(ids.hash(bucket.key));
    }
    Ok(RolledUpPage::new(Arc::clone(layout), buckets, hashes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{DateHistogram, Histogram, KeyPart, RollupJobConfig, RollupJobConfigBuilder, TermsType};
    use crate::measure::Metric;

    fn layout(config: RollupJobConfigBuilder) -> Arc<DocumentLayout> {
        Arc::new(DocumentLayout::new(&config.build().unwrap(), &[TermsType::Keyword]))
    }

    fn config(id: &str) -> RollupJobConfigBuilder {
        RollupJobConfig::builder(id).index_pattern("in").rollup_index("out").cron("0 0 * * * ?").page_size(10)
    }

    fn document_id(key: impl IntoIterator<Item = KeyPart>, layout: &Arc<DocumentLayout>) -> String {
        let mut page = Page::new(layout);
        page.push(key, 1, []);
        roll_up(page, layout).unwrap().documents().ids().next().unwrap()
    }

    #[test]
    fn ids_are_elasticsearchs_bit_for_bit() {
        let one = layout(config("foo").date_histogram(DateHistogram::fixed_interval("timestamp", "1h")));
        assert_eq!(document_id([KeyPart::Date(0)], &one), "foo$VxMkzTqILshClbtbFi4-rQ");

        let three = config("foo")
            .date_histogram(DateHistogram::fixed_interval("foo", "1ms"))
            .histogram(Histogram::new(1.9, ["abc"]))
            .terms(["bar"]);
        let three = layout(three);
        let key = |term: &str| [KeyPart::Date(123), KeyPart::histogram(1.9, 1.9), KeyPart::Text(term.into())];
        assert_eq!(document_id(key("baz"), &three), "foo$c9LcrFqeFW92uN_Z7sv1hA");
        assert_eq!(document_id(key(&"a".repeat(32_766)), &three), "foo$VAFKZpyaEqYRPLyic57_qw");
    }

    #[test]
    fn a_document_has_elasticsearchs_members() {
        let config = config("sensor")
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
            .histogram(Histogram::new(5.0, ["load"]))
            .terms(["node"])
            .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::Avg, Metric::ValueCount])
            .metric("voltage", [Metric::Min, Metric::Sum, Metric::Avg, Metric::ValueCount]);
        let layout = layout(config);
        let mut temperature = MetricValues::default();
        for value in [198.0, 200.0, 202.0] {
            temperature.add(value);
        }
        let mut page = Page::new(&layout);
        let key = [KeyPart::Date(1_516_640_400_000), KeyPart::histogram(7.0, 5.0), KeyPart::Null];
        page.push(key, 3, [temperature, MetricValues::default()]);
        let page = roll_up(page, &layout).unwrap();
        let document = page.documents().iter().next().unwrap();
        let expected = serde_json::json!({
            "timestamp.date_histogram.timestamp": 1_516_640_400_000_i64,
            "timestamp.date_histogram.interval": "1h",
            "timestamp.date_histogram.time_zone": "UTC",
            "timestamp.date_histogram._count": 3,
            "load.histogram.value": 5.0, "load.histogram.interval": 5, "load.histogram._count": 3,
            "node.terms.value": null, "node.terms._count": 3,
            "temperature.min.value": 198.0, "temperature.max.value": 202.0, "temperature.sum.value": 600.0,
            "temperature.avg.value": 600.0, "temperature.avg._count": 3.0,
            "temperature.value_count.value": 3.0,
            "voltage.sum.value": 0.0, "voltage.value_count.value": 0.0,
            "_rollup.version": 2, "_rollup.id": "sensor"
        });
        assert_eq!(document.to_json(), expected);
    }

    #[test]
    fn a_page_that_does_not_fit_is_refused() {
        let layout =
            layout(config("a").date_histogram(DateHistogram::fixed_interval("t", "1h")).metric("m", [Metric::Min]));
        let page = |keys: &[KeyPart], metrics: &[MetricValues]| {
            let mut page = Page::new(&layout);
            page.push(keys.to_vec(), 1, metrics.to_vec());
            roll_up(page, &layout)
        };
        assert!(page(&[], &[MetricValues::default()]).is_err());
        assert!(page(&[KeyPart::Date(0)], &[]).is_err());
        assert!(page(&[KeyPart::Date(0)], &[MetricValues::default()]).is_ok());
    }
}
