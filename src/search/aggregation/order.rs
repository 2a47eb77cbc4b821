use crate::filter::FilterValue;

/// By what buckets are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderBy {
    /// How many documents they have.
    Count,
    /// Their keys: numbers by value, texts by their UTF-8 bytes.
    Key,
    /// A metric right inside of them, by its name; one of several values as `name.max`. Buckets in which it is empty
    /// come last, whatever the direction.
    Metric(String),
}

impl OrderBy {
    /// The least first.
    #[must_use]
    pub fn ascending(self) -> BucketOrder {
        BucketOrder { by: self, is_descending: false }
    }

    /// The greatest first.
    #[must_use]
    pub fn descending(self) -> BucketOrder {
        BucketOrder { by: self, is_descending: true }
    }
}

/// An order of buckets. Those that it does not tell apart are sorted by key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketOrder {
    /// By what.
    pub by: OrderBy,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

/// Where buckets begin and end, at the least or at the most; both ends are in it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct BucketBounds {
    /// The least value.
    pub min: Option<FilterValue>,
    /// The greatest value.
    pub max: Option<FilterValue>,
}

impl BucketBounds {
    /// From one value to another.
    pub fn between(min: impl Into<FilterValue>, max: impl Into<FilterValue>) -> Self {
        Self { min: Some(min.into()), max: Some(max.into()) }
    }
}
