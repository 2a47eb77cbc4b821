use super::grouping::Grouping;
use super::value::FieldValue;
use crate::job::{RollupJobConfig, TermsType};
use crate::measure::{Measure, MetricPart};
use crate::sync::Arc;

/// The type of a field of a rolled-up document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
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

/// One field of a job's rolled-up documents.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
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
    grouping: Arc<Grouping>,
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
            for part in metric.metrics().iter().flat_map(|metric| metric.parts()) {
                let name = format!("{}.{}", metric.field(), part.name());
                add(name, ValueKind::Double, FieldSource::Metric(at, part));
            }
        }
        add("_rollup.version".to_owned(), ValueKind::Integer, FieldSource::Constant(FieldValue::Integer(2)));
        add("_rollup.id".to_owned(), ValueKind::Keyword, text(config.id()));
        let names = config.key_names();
        let mut key_order: Vec<usize> = (0..names.len()).collect();
        key_order.sort_by(|a, b| names[*a].cmp(&names[*b]));
        let key_kind = |field: &LayoutField| matches!(field.source, FieldSource::Key(_)).then_some(field.kind);
        let key_kinds = fields.iter().filter_map(key_kind).collect();
        let grouping = Arc::new(Grouping::of(config, terms_types));
        Self { fields, job_id: config.id().to_owned(), key_order, key_kinds, grouping }
    }

    /// All fields, in the order in which a document is printed.
    #[must_use]
    pub fn fields(&self) -> &[LayoutField] {
        &self.fields
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&LayoutField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// How many parts a key has.
    #[must_use]
    pub fn key_parts(&self) -> usize {
        self.key_kinds.len()
    }

    /// How many metric fields there are.
    #[must_use]
    pub fn metric_fields(&self) -> usize {
        self.grouping.measured().len()
    }

    /// What the job groups by and finds out.
    #[must_use]
    pub fn grouping(&self) -> &Arc<Grouping> {
        &self.grouping
    }

    /// The field that has the part of a key at this place, of which the first is the date.
    ///
    /// # Panics
    /// If keys do not have so many parts.
    #[must_use]
    pub fn key_field(&self, at: usize) -> &LayoutField {
        let field = self.fields.iter().find(|field| field.source == FieldSource::Key(at));
        field.unwrap_or_else(|| panic!("keys have {} parts, and no part {at}", self.key_parts()))
    }

    /// A field that has this measure of the metric field at a place, if one has.
    #[must_use]
    pub fn measure_field(&self, at: usize, measure: Measure) -> Option<&LayoutField> {
        let has = |field: &&LayoutField| match &field.source {
            FieldSource::Metric(metric, part) => *metric == at && part.measure() == measure,
            FieldSource::Constant(_) | FieldSource::Key(_) | FieldSource::DocCount => false,
        };
        self.fields.iter().find(has)
    }

    /// A field that says how many source documents a rolled-up document stands for.
    #[must_use]
    pub fn count_field(&self) -> &LayoutField {
        let field = self.fields.iter().find(|field| field.source == FieldSource::DocCount);
        field.unwrap_or_else(|| unreachable!("the date has a count"))
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
