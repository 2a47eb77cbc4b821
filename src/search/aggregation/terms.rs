use super::{BucketOrder, NamedAggregations};
use crate::filter::FilterValue;

/// A bucket for each value of a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TermsAggregation {
    /// The keyword or numeric field.
    pub field: String,
    /// The most buckets. Default: 10.
    pub size: usize,
    /// Default: those with most documents first.
    pub order: Vec<BucketOrder>,
    /// How many documents a bucket has at least. Default: 1, which is the least: a rollup does not know of terms that
    /// no document has.
    pub min_doc_count: u64,
    /// Only these values. Default: all.
    pub include: Option<Vec<FilterValue>>,
    /// Not these values.
    pub exclude: Vec<FilterValue>,
    /// What documents without a value count as. Default: they are left out.
    pub missing: Option<FilterValue>,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl TermsAggregation {
    /// The ten values that most documents have.
    #[must_use]
    pub fn new(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            size: 10,
            order: Vec::new(),
            min_doc_count: 1,
            include: None,
            exclude: Vec::new(),
            missing: None,
            aggregations: Vec::new(),
        }
    }

    /// At most so many buckets.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Only buckets with so many documents at least, and one at least.
    #[must_use]
    pub fn min_doc_count(mut self, min_doc_count: u64) -> Self {
        self.min_doc_count = min_doc_count;
        self
    }

    /// Only these values.
    #[must_use]
    pub fn include<T: Into<FilterValue>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.include = Some(values.into_iter().map(Into::into).collect());
        self
    }

    /// Not these values.
    #[must_use]
    pub fn exclude<T: Into<FilterValue>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.exclude = values.into_iter().map(Into::into).collect();
        self
    }

    /// Documents without a value count as if they had this one.
    #[must_use]
    pub fn missing(mut self, value: impl Into<FilterValue>) -> Self {
        self.missing = Some(value.into());
        self
    }
}
