/// What a metric is of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SearchMetric {
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum, 0 of none.
    Sum,
    /// Their average.
    Avg,
    /// How many there are.
    ValueCount,
    /// All of these.
    Stats,
}

impl SearchMetric {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Min, Self::Max, Self::Sum, Self::Avg, Self::ValueCount, Self::Stats];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::ValueCount => "value_count",
            Self::Stats => "stats",
        }
    }
}

/// Something that is found out of a field's values.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MetricAggregation {
    /// What.
    pub metric: SearchMetric,
    /// The field.
    pub field: String,
}

impl MetricAggregation {
    /// This metric of this field.
    #[must_use]
    pub fn new(metric: SearchMetric, field: impl Into<String>) -> Self {
        Self { metric, field: field.into() }
    }

    /// The smallest value.
    #[must_use]
    pub fn min(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::Min, field)
    }

    /// The largest value.
    #[must_use]
    pub fn max(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::Max, field)
    }

    /// The sum of the values.
    #[must_use]
    pub fn sum(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::Sum, field)
    }

    /// The average of the values.
    #[must_use]
    pub fn avg(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::Avg, field)
    }

    /// How many values there are.
    #[must_use]
    pub fn value_count(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::ValueCount, field)
    }

    /// Count, smallest, largest, average and sum.
    #[must_use]
    pub fn stats(field: impl Into<String>) -> Self {
        Self::new(SearchMetric::Stats, field)
    }
}
