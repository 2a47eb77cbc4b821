//! `JobUpdate`: what may be changed about a job that is there.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::config::RollupJobConfig;
use super::late_data::LateData;
use super::object::{self, Object};
use super::problem::ConfigProblemKind::{Identity, Syntax};
use super::problem::{ConfigError, ConfigProblem, Problems};
use super::retention::RawRetention;
use super::validation::{check_cron, check_delay, check_page_size};

/// New settings of a job: what is not given stays as it is. They can be changed at any time, since no document depends
/// on them; all else is the job's identity.
///
/// ```
/// use rollup_jobs::JobUpdate;
///
/// let nightly = JobUpdate::new().cron("0 30 2 * * ?").page_size(10_000);
/// assert_eq!(JobUpdate::from_json(r#"{ "cron": "0 30 2 * * ?", "page_size": 10000 }"#)?, nightly);
/// let error = JobUpdate::from_json(r#"{ "rollup_index": "elsewhere" }"#).unwrap_err();
/// assert_eq!(error.problems()[0].field(), "rollup_index");
/// # Ok::<(), rollup_jobs::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct JobUpdate {
    cron: Option<String>,
    page_size: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    delay: Option<Delay>,
    #[serde(default, deserialize_with = "object::optional")]
    late_data: Option<LateData>,
    #[serde(default, deserialize_with = "kept")]
    retention_policy: Option<Kept>,
    /// Nothing uses it; a job that is kept takes over what its host says.
    #[serde(skip)]
    timeout: Option<String>,
}

/// A delay that is given, or taken away.
#[derive(Debug, Clone, PartialEq)]
enum Delay {
    None,
    Of(String),
}

/// Tells a member that is `null` from one that is absent.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Delay>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.map_or(Delay::None, Delay::Of)))
}

/// For how long what is rolled up is kept.
#[derive(Debug, Clone, PartialEq)]
enum Kept {
    ForEver,
    For(RawRetention),
}

/// The same of a policy.
fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Kept>, D::Error> {
    Ok(Some(object::optional(deserializer)?.map_or(Kept::ForEver, Kept::For)))
}

/// The members of a configuration that are its identity.
const OF_IDENTITY: [&str; 5] = ["id", "index_pattern", "rollup_index", "groups", "metrics"];

impl JobUpdate {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the job runs, from now on.
    pub fn cron(mut self, cron: impl Into<String>) -> Self {
        self.cron = Some(cron.into());
        self
    }

    /// The most buckets in a page, from the next run on.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size.into());
        self
    }

    /// How long to wait for late documents, from the next run on. A longer one takes nothing back of what is rolled up.
    pub fn delay(mut self, delay: impl Into<String>) -> Self {
        self.delay = Some(Delay::Of(delay.into()));
        self
    }

    /// Waits for late documents no longer.
    pub fn no_delay(mut self) -> Self {
        self.delay = Some(Delay::None);
        self
    }

    /// What the job does about documents that come, change or go after they were rolled up, from the next run on.
    pub fn late_data(mut self, late_data: LateData) -> Self {
        self.late_data = Some(late_data);
        self
    }

    /// How long the job keeps what it has rolled up, from the next run on.
    pub fn max_age(mut self, max_age: impl Into<String>) -> Self {
        self.retention_policy = Some(Kept::For(RawRetention::of(max_age)));
        self
    }

    /// Keeps what is rolled up for ever. What is removed already stays so.
    pub fn no_max_age(mut self) -> Self {
        self.retention_policy = Some(Kept::ForEver);
        self
    }

    /// Reads `cron`, `page_size`, `late_data`, `retention_policy` and `delay` (the last two may be `null`: none) out of a
    /// JSON object.
    ///
    /// # Errors
    /// [`ConfigError`]: the text is not JSON of this shape, or it would change what the documents depend on. What is
    /// wrong with the values [`update`](crate::RollupJobManager::update) says.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let members: Value = serde_json::from_str(json).map_err(|error| syntax(&error))?;
        let of_identity: Vec<_> = OF_IDENTITY.iter().filter(|name| members.get(**name).is_some()).collect();
        if !of_identity.is_empty() {
            let problems = of_identity.into_iter().map(|name| {
                let message = format!("[{name}] determines the documents of a rollup job and cannot be changed");
                let hint = match *name {
                    "id" => "it is in the path",
                    "groups" => {
                        "put another job, with an id and a rollup index of its own; \
                         a new delay is a member [delay] beside [cron]"
                    }
                    _ => "put another job, with an id and a rollup index of its own",
                };
                ConfigProblem::new(Identity, *name, message).hint_at(Some(hint.to_owned()))
            });
            return Err(ConfigError::new("", problems.collect()));
        }
        serde_json::from_value(members).map(|Object(update)| update).map_err(|error| syntax(&error))
    }

    /// Everything that `config` says of what can be changed.
    pub(crate) fn to_settings_of(config: &RollupJobConfig) -> Self {
        Self {
            cron: Some(config.schedule().as_str().to_owned()),
            page_size: Some(config.page_size().into()),
            delay: Some(
                config.groups().date_histogram().delay_text().map_or(Delay::None, |text| Delay::Of(text.into())),
            ),
            late_data: Some(config.late_data().clone()),
            retention_policy: Some(
                config.max_age().map_or(Kept::ForEver, |age| Kept::For(RawRetention::of(age.to_string()))),
            ),
            timeout: Some(config.timeout().to_string()),
        }
    }
}

fn syntax(error: &serde_json::Error) -> ConfigError {
    let problem = ConfigProblem::new(Syntax, "", error.to_string()).at(error.line(), error.column().max(1));
    ConfigError::new("", vec![problem])
}

impl RollupJobConfig {
    /// The same job with other settings.
    pub(crate) fn updated(&self, update: &JobUpdate) -> Result<Self, ConfigError> {
        let (mut updated, mut problems) = (self.clone(), Problems::default());
        if let Some(cron) = &update.cron {
            updated.schedule = check_cron(cron, &mut problems).unwrap_or(updated.schedule);
        }
        if let Some(size) = &update.page_size {
            updated.page_size = check_page_size(size, &mut problems).unwrap_or(updated.page_size);
        }
        if let Some(delay) = &update.delay {
            let text = match delay {
                Delay::None => None,
                Delay::Of(text) => Some(text.clone()),
            };
            updated.delay = text.as_deref().and_then(|text| check_delay(text, "delay", &mut problems));
            updated.groups.set_delay(text);
        }
        if let Some(late_data) = &update.late_data {
            updated.late_data = late_data.clone().check(&mut problems).unwrap_or(updated.late_data);
        }
        if let Some(policy) = &update.retention_policy {
            let date_field = self.groups.date_histogram().field();
            updated.max_age = match policy {
                Kept::ForEver => None,
                Kept::For(policy) => policy.check(Some(date_field), &mut problems),
            };
        }
        if let Some(timeout) = &update.timeout {
            let timeout = super::time_value::TimeValue::parse(timeout, "timeout");
            let timeout = problems.keep(super::problem::ConfigProblemKind::TimeValue, "timeout", timeout);
            updated.timeout = timeout.unwrap_or(updated.timeout);
        }
        if problems.0.is_empty() { Ok(updated) } else { Err(ConfigError::new(self.id(), problems.0)) }
    }
}
