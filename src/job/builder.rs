//! `RollupJobConfigBuilder`: the parts of a configuration before they are checked, from Rust or from JSON.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::config::RollupJobConfig;
use super::groups::{DateHistogram, Histogram, RawGroups, Terms};
use super::late_data::LateData;
use super::metrics::RawMetricField;
use super::names::check_id;
use super::object::{self, Object};
use super::pattern::IndexPattern;
use super::problem::ConfigProblemKind::{Missing, Required, Syntax, TimeValue as Time};
use super::problem::{ConfigError, ConfigProblem, Problems};
use super::retention::RawRetention;
use super::time_value::TimeValue;
use super::validation::{check_cron, check_groups, check_indices, check_metrics, check_page_size, key_names};
use crate::measure::Metric;

/// Collects the parts of a [`RollupJobConfig`]. Setters never fail, [`build`](Self::build) checks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupJobConfigBuilder {
    pub(super) id: Option<String>,
    pub(super) index_pattern: Option<String>,
    pub(super) rollup_index: Option<String>,
    pub(super) cron: Option<String>,
    pub(super) page_size: Option<Value>,
    pub(super) timeout: Option<String>,
    #[serde(default, deserialize_with = "object::optional")]
    pub(super) late_data: Option<LateData>,
    #[serde(default, deserialize_with = "object::optional")]
    pub(super) retention_policy: Option<RawRetention>,
    #[serde(default, deserialize_with = "object::optional")]
    pub(super) groups: Option<RawGroups>,
    #[serde(default, deserialize_with = "object::list")]
    pub(super) metrics: Option<Vec<RawMetricField>>,
}
impl RollupJobConfigBuilder {
    pub(super) fn from_json(json: &str) -> Result<Self, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer)
            .map(|Object(builder)| builder)
            .map_err(|error| (error.path().to_string(), error.into_inner()))
            .and_then(|builder| deserializer.end().map(|()| builder).map_err(|error| (String::new(), error)))
            .map_err(|(path, error)| {
                let field = if path == "." { String::new() } else { path };
                let message = error.to_string();
                // Serde's words for what Elasticsearch calls `unknown field [name]`.
                let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
                let message = unknown.map_or(message.clone(), |name| format!("unknown field [{name}]"));
                // What is wrong from the start has no column yet.
                let problem = ConfigProblem::new(Syntax, field, message).at(error.line(), error.column().max(1));
                ConfigError::new("", vec![problem])
            })
    }

    /// Reads what was stored, which nobody has written by hand.
    pub(super) fn from_stored(json: Value) -> Result<Self, ConfigError> {
        let read = serde_json::from_value(json).map(|Object(builder)| builder);
        read.map_err(|error| ConfigError::new("", vec![ConfigProblem::new(Syntax, "", error.to_string())]))
    }

    /// The source indices: names and `*` wildcards, separated by commas. Required.
    #[must_use]
    pub fn index_pattern(mut self, index_pattern: impl Into<String>) -> Self {
        self.index_pattern = Some(index_pattern.into());
        self
    }

    /// Where rolled-up documents go. Required.
    #[must_use]
    pub fn rollup_index(mut self, rollup_index: impl Into<String>) -> Self {
        self.rollup_index = Some(rollup_index.into());
        self
    }

    /// When the job runs, in Elasticsearch's dialect ([`CronSchedule`](crate::CronSchedule)). Required.
    #[must_use]
    pub fn cron(mut self, cron: impl Into<String>) -> Self {
        self.cron = Some(cron.into());
        self
    }

    /// The most buckets in a page, 1 to [`MAX_PAGE_SIZE`](crate::MAX_PAGE_SIZE). Required. A larger page is faster, a
    /// smaller one bounds what a stop may have to wait for.
    #[must_use]
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size.into());
        self
    }

    /// Kept for the round trip of Elasticsearch's JSON; nothing uses it. Default: `20s`.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<String>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// What the job does about documents that come, change or go after they were rolled up. Default: it rolls them up
    /// again at once. Elasticsearch has no such setting, and does not notice them.
    #[must_use]
    pub fn late_data(mut self, late_data: LateData) -> Self {
        self.late_data = Some(late_data);
        self
    }

    /// How long the job keeps what it has rolled up, such as `400d`: date buckets that are older are removed by and by.
    /// Default: for ever, as in Elasticsearch, where transforms have such a setting.
    #[must_use]
    pub fn max_age(mut self, max_age: impl Into<String>) -> Self {
        self.retention_policy = Some(RawRetention::of(max_age));
        self
    }

    /// Groups by time. Required.
    #[must_use]
    pub fn date_histogram(mut self, date_histogram: DateHistogram) -> Self {
        self.groups.get_or_insert_default().date_histogram = Some(Some(date_histogram));
        self
    }

    /// Groups by numeric ranges. Default: not.
    #[must_use]
    pub fn histogram(mut self, histogram: Histogram) -> Self {
        self.groups.get_or_insert_default().histogram = Some(histogram);
        self
    }

    /// Groups by the values of fields. Default: not.
    #[must_use]
    pub fn terms<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.groups.get_or_insert_default().terms = Some(Terms::new(fields));
        self
    }

    /// Measures one more field. Default: none.
    #[must_use]
    pub fn metric(mut self, field: impl Into<String>, metrics: impl IntoIterator<Item = Metric>) -> Self {
        let metrics = metrics.into_iter().map(|metric| metric.as_str().to_owned()).collect();
        let field = RawMetricField { field: Some(field.into()), metrics: Some(metrics) };
        self.metrics.get_or_insert_default().push(field);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with all problems that can be seen without asking the engine;
    /// [`put`](crate::RollupJobManager::put) checks the fields against the source indices.
    pub fn build(self) -> Result<RollupJobConfig, ConfigError> {
        let id = self.id.clone().unwrap_or_default();
        let mut problems = Problems::default();
        let config = self.check(&mut problems);
        match config {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(ConfigError { id, problems: problems.0 }),
        }
    }

    /// What was valid when it was stored stays so, whatever rules have come since.
    pub(super) fn build_stored(self) -> Result<RollupJobConfig, ConfigError> {
        let id = self.id.clone().unwrap_or_default();
        let mut problems = Problems::default();
        self.check(&mut problems).ok_or(ConfigError { id, problems: problems.0 })
    }

    fn check(self, problems: &mut Problems) -> Option<RollupJobConfig> {
        let required = [
            ("index_pattern", self.index_pattern.is_none()),
            ("rollup_index", self.rollup_index.is_none()),
            ("cron", self.cron.is_none()),
            ("page_size", self.page_size.is_none()),
        ];
        let missing: Vec<_> = required.iter().filter(|(_, missing)| *missing).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            problems.add(Required, missing[0], format!("Required [{}]", missing.join(", ")));
        }
        let id = self.id.filter(|id| !id.is_empty());
        if id.is_none() {
            problems.add(Missing, "id", "Id must be a non-null, non-empty string");
        }
        if let Some(id) = &id {
            check_id(id, problems);
        }
        check_indices(self.index_pattern.as_deref(), self.rollup_index.as_deref(), problems);
        let schedule = self.cron.as_deref().and_then(|cron| check_cron(cron, problems));
        let page_size = self.page_size.as_ref().and_then(|size| check_page_size(size, problems));
        let timeout =
            problems.keep(Time, "timeout", TimeValue::parse(self.timeout.as_deref().unwrap_or("20s"), "timeout"));
        let date_field = self.groups.as_ref().and_then(|groups| groups.date_field().map(str::to_owned));
        let max_age = self.retention_policy.map(|policy| policy.check(date_field.as_deref(), problems));
        let late_data = self.late_data.unwrap_or_default().check(problems);
        let metrics = check_metrics(self.metrics.clone().unwrap_or_default(), problems);
        let Some(groups) = self.groups else {
            let nothing = self.metrics.is_none_or(|metrics| metrics.is_empty());
            problems.add(
                if nothing { Missing } else { Required },
                "groups",
                if nothing { "At least one grouping or metric must be configured" } else { "Required [groups]" },
            );
            return None;
        };
        let grouped = check_groups(groups, &metrics, problems);
        let (groups, interval, rounding, delay) = grouped?;
        Some(RollupJobConfig {
            id: id?,
            index_pattern: IndexPattern::new(self.index_pattern?),
            rollup_index: self.rollup_index?,
            schedule: schedule?,
            page_size: page_size?,
            timeout: timeout?,
            late_data: late_data?,
            max_age: max_age.flatten(),
            key_names: key_names(&groups),
            groups,
            metrics,
            interval,
            rounding,
            delay,
        })
    }
}

impl RollupJobConfig {
    /// Begins a configuration for the job `id`.
    #[must_use]
    pub fn builder(id: impl Into<String>) -> RollupJobConfigBuilder {
        RollupJobConfigBuilder { id: Some(id.into()), ..RollupJobConfigBuilder::default() }
    }

    /// Of a job that is gone: its id and its rollup index, and nothing else that counts.
    pub(crate) fn of_leftovers(id: &str, rollup_index: &str) -> Result<Self, ConfigError> {
        let nothing = DateHistogram::fixed_interval("timestamp", "1d");
        let builder =
            Self::builder(id).index_pattern("-").rollup_index(rollup_index).cron("0 0 0 1 1 ? 1970").page_size(1);
        builder.date_histogram(nothing).build()
    }

    /// Reads Elasticsearch's JSON form, with the id in it. Unknown members are rejected.
    ///
    /// # Errors
    /// [`ConfigError`]: the text is not JSON of this shape, or the configuration is not valid.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        RollupJobConfigBuilder::from_json(json)?.build()
    }

    /// Like [`from_json`](Self::from_json), where `id` counts if the JSON has none. As in Elasticsearch, an id in the
    /// JSON wins.
    ///
    /// # Errors
    /// [`ConfigError`], as above.
    pub fn from_json_with_id(id: &str, json: &str) -> Result<Self, ConfigError> {
        let mut builder = RollupJobConfigBuilder::from_json(json)?;
        builder.id.get_or_insert_with(|| id.to_owned());
        builder.build()
    }

    /// Reads what was stored by this crate, or by Elasticsearch, under whatever rules.
    pub(crate) fn stored(json: Value) -> Result<Self, ConfigError> {
        RollupJobConfigBuilder::from_stored(json)?.build_stored()
    }
}

/// As [`from_json`](RollupJobConfig::from_json): what is not valid is an error that names all problems.
impl<'de> Deserialize<'de> for RollupJobConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(builder) = Object::<RollupJobConfigBuilder>::deserialize(deserializer)?;
        builder.build().map_err(D::Error::custom)
    }
}
