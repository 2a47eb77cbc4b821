use super::{BucketBounds, BucketOrder, NamedAggregations};

/// The interval of a date histogram, as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchInterval {
    /// Of the calendar: `1d`, `month`.
    Calendar(String),
    /// Of one length: `90m`.
    Fixed(String),
    /// Elasticsearch's old `interval`: of the calendar if it names a unit of it, else of one length.
    Either(String),
}

/// A bucket for each stretch of time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DateHistogramAggregation {
    /// The date field.
    pub field: String,
    /// How long buckets are.
    pub interval: SearchInterval,
    /// The zone whose local time they follow: an IANA id or an offset. Default: UTC.
    pub time_zone: Option<String>,
    /// By how much they begin later, such as `+6h`, or earlier: `-30m`. Default: not at all.
    pub offset: Option<String>,
    /// How keys are printed. Default: `strict_date_optional_time`.
    pub format: Option<String>,
    /// Whether buckets are printed as members of an object, by their printed keys. Default: no.
    pub keyed: bool,
    /// How many documents a bucket has at least. With 0, the default, there are empty ones between others.
    pub min_doc_count: u64,
    /// Empty buckets go at least so far; they need a `min_doc_count` of 0.
    pub extended_bounds: Option<BucketBounds>,
    /// No bucket begins or ends beyond.
    pub hard_bounds: Option<BucketBounds>,
    /// Default: by key.
    pub order: Vec<BucketOrder>,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl DateHistogramAggregation {
    /// Buckets of this interval.
    pub fn new(field: impl Into<String>, interval: SearchInterval) -> Self {
        Self {
            field: field.into(),
            interval,
            time_zone: None,
            offset: None,
            format: None,
            keyed: false,
            min_doc_count: 0,
            extended_bounds: None,
            hard_bounds: None,
            order: Vec::new(),
            aggregations: Vec::new(),
        }
    }

    /// Buckets that follow the calendar: `1d`, `1w`, `month`.
    #[must_use]
    pub fn calendar(field: impl Into<String>, interval: impl Into<String>) -> Self {
        Self::new(field, SearchInterval::Calendar(interval.into()))
    }

    /// Buckets of one length: `90m`, `12h`.
    #[must_use]
    pub fn fixed(field: impl Into<String>, interval: impl Into<String>) -> Self {
        Self::new(field, SearchInterval::Fixed(interval.into()))
    }

    /// In the local time of this zone: an IANA id or an offset.
    #[must_use]
    pub fn time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = Some(time_zone.into());
        self
    }

    /// Each begins so much later: `+6h`.
    #[must_use]
    pub fn offset(mut self, offset: impl Into<String>) -> Self {
        self.offset = Some(offset.into());
        self
    }

    /// Keys are printed so.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }
}

/// A bucket for each range of a number, all of one width.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HistogramAggregation {
    /// The numeric field.
    pub field: String,
    /// The width.
    pub interval: f64,
    /// Whether buckets are printed as members of an object. Default: no.
    pub keyed: bool,
    /// How many documents a bucket has at least. With 0, the default, there are empty ones between others.
    pub min_doc_count: u64,
    /// Empty buckets go at least so far; they need a `min_doc_count` of 0.
    pub extended_bounds: Option<BucketBounds>,
    /// No bucket is beyond.
    pub hard_bounds: Option<BucketBounds>,
    /// Default: by key.
    pub order: Vec<BucketOrder>,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl HistogramAggregation {
    /// Buckets of this width.
    #[must_use]
    pub fn new(field: impl Into<String>, interval: f64) -> Self {
        Self {
            field: field.into(),
            interval,
            keyed: false,
            min_doc_count: 0,
            extended_bounds: None,
            hard_bounds: None,
            order: Vec::new(),
            aggregations: Vec::new(),
        }
    }
}
