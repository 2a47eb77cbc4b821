use serde_json::Value;

use super::metric::MetricValues;
use super::page::Bucket;
use crate::job::{KeyPart, Metric, RollupJobConfig, TermsType};
use crate::sync::Arc;

/// The type of a field of a rolled-up document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Milliseconds since 1970.
    Date,
    /// A whole number in the signed 64-bit range.
    Integer,
    /// A whole number in the unsigned 64-bit range.
    Unsigned,
    /// A 64-bit floating-point number.
    Double,
    /// Text that is one term.
    Keyword,
}

/// A value in a rolled-up document.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// The null group.
    Null,
    /// Milliseconds since 1970.
    Date(i64),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond the signed 64-bit range.
    Unsigned(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    Text(Arc<str>),
}

impl FieldValue {
    fn of_key(part: &KeyPart) -> Self {
        match part {
            KeyPart::Null => Self::Null,
            KeyPart::Date(millis) => Self::Date(*millis),
            KeyPart::Histogram { number, interval } => Self::Double(number * interval),
            KeyPart::Integer(value) => Self::Integer(*value),
            KeyPart::Unsigned(value) => Self::Unsigned(*value),
            KeyPart::Double(value) => Self::Double(*value),
            KeyPart::Text(text) => Self::Text(Arc::clone(text)),
        }
    }

    /// The value in Elasticsearch's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Date(value) | Self::Integer(value) => Value::from(*value),
            Self::Unsigned(value) => Value::from(*value),
            Self::Double(value) => Value::from(*value),
            Self::Text(text) => Value::from(&**text),
        }
    }
}

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldSource {
    /// The same in all documents of the job.
    Constant(FieldValue),
    /// The part of the bucket's key at this place.
    Key(usize),
    /// The bucket's document count.
    DocCount,
    /// The metric field at this place.
    Metric(usize, MetricPart),
}

impl FieldSource {
    /// The value that a bucket has for the field; `None` if it is left out.
    pub(crate) fn value(&self, bucket: &Bucket<'_>) -> Option<FieldValue> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Key(at) => bucket.key.get(*at).map(FieldValue::of_key),
            Self::DocCount => Some(FieldValue::Integer(i64::try_from(bucket.doc_count).unwrap_or(i64::MAX))),
            Self::Metric(at, part) => {
                bucket.metrics.get(*at).and_then(|values| part.of(values)).map(FieldValue::Double)
            }
        }
    }
}

/// What of a metric field's values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricPart {
    /// The smallest; left out if there are no values.
    Min,
    /// The largest; left out if there are no values.
    Max,
    /// The sum; 0 if there are no values.
    Sum,
    /// The sum that an average is derived from; left out if there are no values.
    AvgSum,
    /// The count that an average is derived from; left out if there are no values.
    AvgCount,
    /// The count; 0 if there are no values.
    ValueCount,
}

impl MetricPart {
    /// The value, if it is finite: the extremes of nothing and a sum beyond the doubles are left out, as in Elasticsearch.
    #[inline]
    pub(crate) fn of(self, values: &MetricValues) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counts are stored as doubles, as in Elasticsearch")]
        let count = values.count() as f64;
        let value = match self {
            Self::Min => values.min(),
            Self::Max => values.max(),
            Self::Sum => values.sum(),
            Self::ValueCount => count,
            Self::AvgSum | Self::AvgCount if values.count() == 0 => return None,
            Self::AvgSum => values.sum(),
            Self::AvgCount => count,
        };
        value.is_finite().then_some(value)
    }
}

/// One field of a job's rolled-up documents.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutField {
    /// The flat name, such as `temperature.min.value`.
    pub name: String,
    /// Its type.
    pub kind: ValueKind,
    /// Where its value comes from.
    pub source: FieldSource,
}

/// The fields of a job's rolled-up documents, in order: exactly Elasticsearch's.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentLayout {
    fields: Vec<LayoutField>,
    job_id: String,
    key_order: Vec<usize>,
    key_kinds: Vec<ValueKind>,
}

impl DocumentLayout {
    /// The layout of a job whose terms fields have these types, in configured order.
    #[must_use]
    pub fn new(config: &RollupJobConfig, terms_types: &[TermsType]) -> Self {
        let mut fields = Vec::new();
        let mut add = |name: String, kind, source| fields.push(LayoutField { name, kind, source });
        let text = |text: &str| FieldSource::Constant(FieldValue::Text(text.into()));
        let groups = config.groups();
        let date = groups.date_histogram();
        let field = date.field();
        add(format!("{field}.date_histogram.timestamp"), ValueKind::Date, FieldSource::Key(0));
        add(format!("{field}.date_histogram.interval"), ValueKind::Keyword, text(config.interval().text()));
        add(format!("{field}.date_histogram.time_zone"), ValueKind::Keyword, text(date.time_zone_id()));
        add(format!("{field}.date_histogram._count"), ValueKind::Integer, FieldSource::DocCount);
        let mut key = 1;
        for field in groups.histogram_fields() {
            let interval = FieldValue::Double(groups.histogram().map_or(0.0, crate::job::Histogram::interval));
            add(format!("{field}.histogram.value"), ValueKind::Double, FieldSource::Key(key));
            add(format!("{field}.histogram.interval"), ValueKind::Double, FieldSource::Constant(interval));
            add(format!("{field}.histogram._count"), ValueKind::Integer, FieldSource::DocCount);
            key += 1;
        }
        for (at, field) in groups.terms_fields().iter().enumerate() {
            let kind = match terms_types.get(at) {
                Some(TermsType::Integer) => ValueKind::Integer,
                Some(TermsType::Unsigned) => ValueKind::Unsigned,
                Some(TermsType::Floating) => ValueKind::Double,
                Some(TermsType::Keyword) | None => ValueKind::Keyword,
            };
            add(format!("{field}.terms.value"), kind, FieldSource::Key(key));
            add(format!("{field}.terms._count"), ValueKind::Integer, FieldSource::DocCount);
            key += 1;
        }
        for (at, metric) in config.metrics().iter().enumerate() {
            let field = metric.field();
            for metric in metric.metrics() {
                let mut part = |suffix: &str, part| {
                    add(format!("{field}.{metric}.{suffix}"), ValueKind::Double, FieldSource::Metric(at, part));
                };
                match metric {
                    Metric::Min => part("value", MetricPart::Min),
                    Metric::Max => part("value", MetricPart::Max),
                    Metric::Sum => part("value", MetricPart::Sum),
                    Metric::ValueCount => part("value", MetricPart::ValueCount),
                    Metric::Avg => {
                        part("value", MetricPart::AvgSum);
                        part("_count", MetricPart::AvgCount);
                    }
                }
            }
        }
        add("_rollup.version".to_owned(), ValueKind::Integer, FieldSource::Constant(FieldValue::Integer(2)));
        add("_rollup.id".to_owned(), ValueKind::Keyword, text(config.id()));
        let names = config.key_names();
        let mut key_order: Vec<usize> = (0..names.len()).collect();
        key_order.sort_by(|a, b| names[*a].cmp(&names[*b]));
        let key_kind = |field: &LayoutField| matches!(field.source, FieldSource::Key(_)).then_some(field.kind);
        let key_kinds = fields.iter().filter_map(key_kind).collect();
        Self { fields, job_id: config.id().to_owned(), key_order, key_kinds }
    }

    /// All fields, in the order in which a document is printed.
    #[must_use]
    pub fn fields(&self) -> &[LayoutField] {
        &self.fields
    }

    /// The id of the job.
    #[must_use]
    pub fn job_id(&self) -> &str {
        &self.job_id
    }

    /// What the part of a key at this place is stored as.
    pub(crate) fn key_kind(&self, at: usize) -> ValueKind {
        self.key_kinds[at]
    }

    /// The parts of a key in the order of their names, in which ids are made.
    pub(crate) fn key_order(&self) -> &[usize] {
        &self.key_order
    }
}
