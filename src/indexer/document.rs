//! From a bucket to its rolled-up document: pure, and the same for every engine.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::engine::{Bucket, DocumentLayout, FieldSource, FieldValue, MetricPart, MetricValues, RolledUpDocument};
use crate::job::KeyPart;
use crate::sync::Arc;

/// Elasticsearch's hash seed for document ids.
const SEED: u32 = 19;

/// What stands for a missing value in the input of the hash: a text, and zeros that an over-allocated buffer in
/// Elasticsearch adds to it.
const NULL: [u8; 90] = {
    let text = b"__NULL_PLACEHOLDER__830f1de2__";
    let mut bytes = [0; 90];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
};

/// A bucket does not fit the layout of its job: the engine that delivered it has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine delivered a bucket with {found} {parts}, expected {expected}")]
pub struct MisfitBucket {
    parts: &'static str,
    found: usize,
    expected: usize,
}

/// The rolled-up document of a bucket: what a run writes, for hosts that preview and for tests of engines.
///
/// # Errors
/// [`MisfitBucket`] if the key or the metrics do not fit the layout.
pub fn roll_up(bucket: &Bucket, layout: &Arc<DocumentLayout>) -> Result<RolledUpDocument, MisfitBucket> {
    let keys = layout.key_order().len();
    if bucket.key.len() != keys {
        return Err(MisfitBucket { parts: "key parts", found: bucket.key.len(), expected: keys });
    }
    let value = |source: &FieldSource| match source {
        FieldSource::Constant(_) => Ok(None),
        FieldSource::Key(at) => Ok(Some(key_value(&bucket.key[*at]))),
        FieldSource::DocCount => Ok(Some(FieldValue::Integer(i64::try_from(bucket.doc_count).unwrap_or(i64::MAX)))),
        FieldSource::Metric(at, part) => match bucket.metrics.get(*at) {
            Some(values) => Ok(metric_value(values, *part)),
            None => Err(MisfitBucket { parts: "metric fields", found: bucket.metrics.len(), expected: at + 1 }),
        },
    };
    let values = layout.fields().iter().map(|field| value(&field.source)).collect::<Result<_, _>>()?;
    Ok(RolledUpDocument::new(document_id(&bucket.key, layout), Arc::clone(layout), values))
}

fn key_value(part: &KeyPart) -> FieldValue {
    match part {
        KeyPart::Null => FieldValue::Null,
        KeyPart::Date(millis) => FieldValue::Date(*millis),
        KeyPart::Histogram { number, interval } => FieldValue::Double(number * interval),
        KeyPart::Integer(value) => FieldValue::Integer(*value),
        KeyPart::Unsigned(value) => FieldValue::Unsigned(*value),
        KeyPart::Double(value) => FieldValue::Double(*value),
        KeyPart::Text(text) => FieldValue::Text(Arc::clone(text)),
    }
}

/// A metric that is infinite (the extremes of nothing, a sum beyond the doubles) is left out, as in Elasticsearch.
fn metric_value(values: &MetricValues, part: MetricPart) -> Option<FieldValue> {
    #[expect(clippy::cast_precision_loss, reason = "counts are stored as doubles, as in Elasticsearch")]
    let count = values.count() as f64;
    let value = match part {
        MetricPart::Min => values.min(),
        MetricPart::Max => values.max(),
        MetricPart::Sum => values.sum(),
        MetricPart::ValueCount => count,
        MetricPart::AvgSum | MetricPart::AvgCount if values.count() == 0 => return None,
        MetricPart::AvgSum => values.sum(),
        MetricPart::AvgCount => count,
    };
    value.is_finite().then_some(FieldValue::Double(value))
}

/// Elasticsearch's id, bit for bit: the parts in the order of their names and the job's id, each followed by `$`, hashed by
/// 128-bit `MurmurHash3`.
fn document_id(key: &[KeyPart], layout: &DocumentLayout) -> String {
    let mut input = Vec::with_capacity(64);
    for at in layout.key_order() {
        match &key[*at] {
            KeyPart::Null => input.extend_from_slice(&NULL),
            KeyPart::Date(value) | KeyPart::Integer(value) => input.extend_from_slice(&value.to_be_bytes()),
            // Beyond Elasticsearch's range; two words, so that it meets no negative number.
            KeyPart::Unsigned(value) => input.extend_from_slice(&u128::from(*value).to_be_bytes()),
            KeyPart::Histogram { number, interval } => input.extend_from_slice(&(number * interval).to_be_bytes()),
            KeyPart::Double(value) => input.extend_from_slice(&value.to_be_bytes()),
            KeyPart::Text(text) => input.extend_from_slice(text.as_bytes()),
        }
        input.push(b'$');
    }
    input.extend_from_slice(layout.job_id().as_bytes());
    input.push(b'$');
    // Reading from memory cannot fail.
    let hash = murmur3::murmur3_x64_128(&mut Cursor::new(&input), SEED).unwrap_or_default();
    // The crate has the first word in the low half.
    let hash = hash.rotate_left(64).to_be_bytes();
    let mut id = String::with_capacity(layout.job_id().len() + 23);
    id.push_str(layout.job_id());
    id.push('$');
    URL_SAFE_NO_PAD.encode_string(hash, &mut id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{DateHistogram, Histogram, Metric, RollupJobConfig, TermsType};

    fn layout(config: &RollupJobConfig) -> Arc<DocumentLayout> {
        Arc::new(DocumentLayout::new(config, &[TermsType::Keyword]))
    }

    fn config(id: &str) -> crate::job::RollupJobConfigBuilder {
        RollupJobConfig::builder(id).index_pattern("in").rollup_index("out").cron("0 0 * * * ?").page_size(10)
    }

    #[test]
    fn ids_are_elasticsearchs_bit_for_bit() {
        let one = config("foo").date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build().unwrap();
        assert_eq!(document_id(&[KeyPart::Date(0)], &layout(&one)), "foo$VxMkzTqILshClbtbFi4-rQ");

        let three = config("foo")
            .date_histogram(DateHistogram::fixed_interval("foo", "1ms"))
            .histogram(Histogram::new(1.9, ["abc"]))
            .terms(["bar"])
            .build()
            .unwrap();
        let key = |term: &str| [KeyPart::Date(123), KeyPart::histogram(1.9, 1.9), KeyPart::Text(term.into())];
        assert_eq!(document_id(&key("baz"), &layout(&three)), "foo$c9LcrFqeFW92uN_Z7sv1hA");
        assert_eq!(document_id(&key(&"a".repeat(32_766)), &layout(&three)), "foo$VAFKZpyaEqYRPLyic57_qw");
    }

    #[test]
    fn a_document_has_elasticsearchs_members() {
        let config = config("sensor")
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
            .histogram(Histogram::new(5.0, ["load"]))
            .terms(["node"])
            .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::Avg, Metric::ValueCount])
            .metric("voltage", [Metric::Min, Metric::Sum, Metric::Avg, Metric::ValueCount])
            .build()
            .unwrap();
        let mut temperature = MetricValues::default();
        for value in [198.0, 200.0, 202.0] {
            temperature.add(value);
        }
        let bucket = Bucket {
            key: vec![KeyPart::Date(1_516_640_400_000), KeyPart::histogram(7.0, 5.0), KeyPart::Null],
            doc_count: 3,
            metrics: vec![temperature, MetricValues::default()],
        };
        let document = roll_up(&bucket, &layout(&config)).unwrap();
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
    fn a_bucket_that_does_not_fit_is_refused() {
        let config = config("a")
            .date_histogram(DateHistogram::fixed_interval("t", "1h"))
            .metric("m", [Metric::Min])
            .build()
            .unwrap();
        let bucket = |key: Vec<KeyPart>, metrics| Bucket { key, doc_count: 1, metrics };
        assert!(roll_up(&bucket(vec![], vec![MetricValues::default()]), &layout(&config)).is_err());
        assert!(roll_up(&bucket(vec![KeyPart::Date(0)], vec![]), &layout(&config)).is_err());
    }
}
