use std::fmt;

use serde::{Deserialize, Serialize};

use super::object;

/// What is computed of a field in every bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The sum of the values, compensated as Elasticsearch does.
    Sum,
    /// Sum and count of the values, from which a reader derives the average of any range.
    Avg,
    /// How many values there are.
    ValueCount,
}

impl Metric {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::ValueCount => "value_count",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Min, Self::Max, Self::Sum, Self::Avg, Self::ValueCount].into_iter().find(|m| m.as_str() == name)
    }

    /// Whether Elasticsearch allows it on a date field.
    pub(crate) const fn fits_dates(self) -> bool {
        matches!(self, Self::Min | Self::Max | Self::ValueCount)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A numeric (or date) field and the metrics computed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricField {
    field: String,
    metrics: Vec<Metric>,
}

impl MetricField {
    pub(super) fn new(field: String, metrics: Vec<Metric>) -> Self {
        Self { field, metrics }
    }

    /// The name of the source field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The metrics, in the order they were configured.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
}

/// The JSON form: `{"field": "temperature", "metrics": ["min", "max"]}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetricField {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    #[serde(default, deserialize_with = "object::texts", skip_serializing_if = "Option::is_none")]
    pub(super) metrics: Option<Vec<String>>,
}
