use serde::{Deserialize, Serialize};

use super::object;
use crate::measure::Metric;

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
