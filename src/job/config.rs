//! `RollupJobConfig`: what a job reads, how it groups and measures it, where it writes and when it runs.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::cron::CronSchedule;
use super::groups::Groups;
use super::interval::DateInterval;
use super::late_data::LateData;
use super::metrics::MetricField;
use super::pattern::IndexPattern;
use super::position::{KeyPart, Position};
use super::retention::{self, RawRetention};
use super::rounding::Rounding;
use super::time_value::TimeValue;
use crate::exact::exact;
use crate::sync::Arc;

/// What a job reads, how it groups and measures it, where it writes and when it runs. Checked, and never changed.
///
/// ```
/// use rollup_jobs::{DateHistogram, Metric, RollupJobConfig};
///
/// let config = RollupJobConfig::builder("sensor")
///     .index_pattern("sensor-*")
///     .rollup_index("sensor_rollup")
///     .cron("*/30 * * * * ?")
///     .page_size(1_000)
///     .date_histogram(DateHistogram::fixed_interval("timestamp", "1h").delay("7d"))
///     .terms(["node"])
///     .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum])
///     .build()?;
/// assert_eq!(RollupJobConfig::from_json(&config.to_json().to_string())?, config);
/// # Ok::<(), rollup_jobs::ConfigError>(())
/// ```
///
/// All problems are reported at once:
///
/// ```
/// use rollup_jobs::{DateHistogram, RollupJobConfig};
///
/// let error = RollupJobConfig::builder("sensor")
///     .index_pattern("sensor-*")
///     .rollup_index("sensor-rolled")
///     .cron("0 * * *")
///     .page_size(1_000)
///     .date_histogram(DateHistogram::fixed_interval("timestamp", "1w"))
///     .build()
///     .unwrap_err();
/// let fields: Vec<_> = error.problems().iter().map(|p| p.field()).collect();
/// assert_eq!(fields, ["index_pattern", "cron", "groups.date_histogram.fixed_interval"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RollupJobConfig {
    pub(super) id: String,
    pub(super) index_pattern: IndexPattern,
    pub(super) rollup_index: String,
    pub(super) schedule: CronSchedule,
    pub(super) page_size: u32,
    pub(super) timeout: TimeValue,
    pub(super) late_data: LateData,
    pub(super) max_age: Option<TimeValue>,
    pub(super) groups: Groups,
    pub(super) metrics: Vec<MetricField>,
    pub(super) interval: DateInterval,
    pub(super) rounding: Rounding,
    pub(super) delay: Option<TimeValue>,
    pub(super) key_names: Arc<[Arc<str>]>,
}
impl RollupJobConfig {
    /// Elasticsearch's JSON form, as its get API prints it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        super::json(self)
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source indices.
    #[must_use]
    pub fn index_pattern(&self) -> &IndexPattern {
        &self.index_pattern
    }

    /// Where rolled-up documents go. Several jobs may share one.
    #[must_use]
    pub fn rollup_index(&self) -> &str {
        &self.rollup_index
    }

    /// When the job runs.
    #[must_use]
    pub fn schedule(&self) -> &CronSchedule {
        &self.schedule
    }

    /// The most buckets in a page, 1 to [`MAX_PAGE_SIZE`](crate::MAX_PAGE_SIZE).
    #[must_use]
    pub fn page_size(&self) -> usize {
        exact(self.page_size)
    }

    /// Kept for the round trip of Elasticsearch's JSON; nothing uses it (there it bounds the put call only).
    #[must_use]
    pub fn timeout(&self) -> TimeValue {
        self.timeout
    }

    /// What the job does about documents that come late.
    pub fn late_data(&self) -> &LateData {
        &self.late_data
    }

    /// How long the job keeps what it has rolled up; `None`: for ever.
    #[must_use]
    pub fn max_age(&self) -> Option<TimeValue> {
        self.max_age
    }

    /// What the job groups by.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The fields that are measured, and how.
    #[must_use]
    pub fn metrics(&self) -> &[MetricField] {
        &self.metrics
    }

    /// The date histogram's interval.
    #[must_use]
    pub fn interval(&self) -> &DateInterval {
        &self.interval
    }

    /// The date histogram's grid.
    #[must_use]
    pub fn rounding(&self) -> &Rounding {
        &self.rounding
    }

    /// How long late documents are waited for.
    #[must_use]
    pub fn delay(&self) -> Option<TimeValue> {
        self.delay
    }

    /// The names of the parts of a bucket's key: `timestamp.date_histogram`, `load.histogram`, `node.terms`.
    #[must_use]
    pub fn key_names(&self) -> &[Arc<str>] {
        &self.key_names
    }

    /// Until when the date bucket of a position goes on, if that is in the future: it was rolled up too early.
    pub(crate) fn early_until(&self, position: &Position, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let end = self.rounding.bucket(position.date()?).end;
        (end > now.as_millisecond()).then(|| jiff::Timestamp::from_millisecond(end).unwrap_or(jiff::Timestamp::MAX))
    }

    /// `round_down(now - delay)`: only buckets that end at or before it are complete.
    pub(crate) fn boundary(&self, now: jiff::Timestamp) -> i64 {
        let delay = self.delay.map_or(0, TimeValue::as_millis);
        self.rounding.round_down(now.as_millisecond().saturating_sub(delay))
    }
}

impl Position {
    /// The position of a job whose last bucket has this key.
    #[must_use]
    pub fn of(config: &RollupJobConfig, key: &[KeyPart]) -> Self {
        Self::new(config.key_names().iter().cloned().zip(key.iter().cloned()).collect())
    }
}

/// Elasticsearch's JSON form, with members in its order.
impl Serialize for RollupJobConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            id: &'a str,
            index_pattern: &'a str,
            rollup_index: &'a str,
            cron: &'a str,
            groups: &'a Groups,
            metrics: Vec<Measured<'a>>,
            timeout: TimeValue,
            page_size: u32,
            #[serde(skip_serializing_if = "LateData::is_default")]
            late_data: &'a LateData,
            #[serde(skip_serializing_if = "Option::is_none")]
            retention_policy: Option<retention::Printed>,
        }
        #[derive(Serialize)]
        struct Measured<'a> {
            field: &'a str,
            metrics: Vec<&'a str>,
        }
        impl<'a> Measured<'a> {
            fn of(field: &'a MetricField) -> Self {
                let metrics = field.metrics().iter().map(|metric| metric.as_str()).collect();
                Self { field: field.field(), metrics }
            }
        }
        let json = Json {
            id: &self.id,
            index_pattern: self.index_pattern.as_str(),
            rollup_index: &self.rollup_index,
            cron: self.schedule.as_str(),
            groups: &self.groups,
            metrics: self.metrics.iter().map(Measured::of).collect(),
            timeout: self.timeout,
            page_size: self.page_size,
            late_data: &self.late_data,
            retention_policy: self.max_age.map(RawRetention::printed),
        };
        json.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
