//! A job as a get API prints it: Elasticsearch's own, or this crate's.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::RollupJobConfig;
use super::definition::TermsType;
use super::position::{KeyPart, Position};
use super::problem::ConfigError;
use super::state::JobState;
use super::stats::JobStats;
use super::status::JobStatus;

/// A rollup job somewhere else: what `GET _rollup/job/_all` of an Elasticsearch cluster says of it, or the status of
/// a job of another manager. It is for [`RollupJobManager::adopt`](crate::RollupJobManager::adopt), which says what
/// is wrong with it.
///
/// ```
/// use rollup_jobs::ForeignJob;
///
/// let answer = r#"{ "jobs": [{
///     "config": { "id": "sensor", "index_pattern": "sensor-*", "rollup_index": "rolled", "cron": "0 0 * * * ?", "page_size": 1000,
///                 "groups": { "date_histogram": { "field": "timestamp", "fixed_interval": "1h" } } },
///     "status": { "job_state": "stopped", "current_position": { "timestamp.date_histogram": 1517590800000 } },
///     "stats": { "rollups_indexed": 7 }
/// }] }"#;
/// let jobs = ForeignJob::all_from_json(answer)?;
/// assert_eq!(jobs[0].id(), Some("sensor"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
pub struct ForeignJob {
    config: Value,
    status: ForeignStatus,
    #[serde(default)]
    stats: Value,
}

#[derive(Debug, Clone, Deserialize)]
struct ForeignStatus {
    job_state: String,
    #[serde(default)]
    current_position: Option<Map<String, Value>>,
    /// Whether its documents have the ids that they have since 7.0. Only 7.x says.
    #[serde(default)]
    upgraded_doc_id: Option<bool>,
}

impl ForeignJob {
    /// All jobs in the answer to `GET _rollup/job/_all`, or to one about a single job.
    ///
    /// # Errors
    /// The text is not JSON of that shape.
    pub fn all_from_json(answer: &str) -> Result<Vec<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Answer {
            jobs: Vec<ForeignJob>,
        }
        serde_json::from_str::<Answer>(answer).map(|answer| answer.jobs)
    }

    /// A member of that answer's `jobs`.
    ///
    /// # Errors
    /// The text is not JSON of that shape.
    pub fn from_json(job: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(job)
    }

    /// Its id, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.config["id"].as_str()
    }

    /// Its state there, in Elasticsearch's words.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.status.job_state
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state() == JobState::Stopped.as_str()
    }

    /// Whether it would go on with other ids than its last documents have.
    pub(crate) fn has_old_ids(&self) -> bool {
        self.status.upgraded_doc_id == Some(false) && self.status.current_position.is_some()
    }

    pub(crate) fn config(&self) -> Result<RollupJobConfig, ConfigError> {
        RollupJobConfig::from_json(&self.config.to_string())
    }

    pub(crate) fn stats(&self) -> JobStats {
        JobStats::from_json(&self.stats)
    }

    /// How far it has come, told exactly, or why it cannot be.
    pub(crate) fn position(&self, config: &RollupJobConfig, terms: &[TermsType]) -> Result<Option<Position>, String> {
        let Some(parts) = &self.status.current_position else { return Ok(None) };
        let known = |name: &String| config.key_names().iter().any(|known| **known == **name);
        if let Some(unknown) = parts.keys().find(|name| !known(name)) {
            return Err(format!("it has [{unknown}], which the job does not group by"));
        }
        let kinds = kinds(config, terms);
        let part = |(name, kind): (&crate::sync::Arc<str>, Kind<'_>)| match parts.get(&**name) {
            None => Err(format!("it has no [{name}]")),
            Some(value) => kind.part(value).map_err(|reason| format!("[{name}] is {value}: {reason}")),
        };
        let key = config.key_names().iter().zip(kinds).map(part).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Position::of(config, &key)))
    }
}

/// A job of another manager, such as one with another engine.
impl From<&JobStatus> for ForeignJob {
    fn from(status: &JobStatus) -> Self {
        let position = status.position().map(Position::to_json);
        Self {
            config: status.config().map_or(Value::Null, RollupJobConfig::to_json),
            status: ForeignStatus {
                job_state: status.state().as_str().to_owned(),
                current_position: position.and_then(|position| position.as_object().cloned()),
                upgraded_doc_id: None,
            },
            stats: status.stats().to_json(),
        }
    }
}

/// What a part of a job's keys is.
enum Kind<'a> {
    Date(&'a super::rounding::Rounding),
    Histogram(f64),
    Terms(TermsType),
}

/// In the order of the key's parts.
fn kinds<'a>(config: &'a RollupJobConfig, terms: &[TermsType]) -> Vec<Kind<'a>> {
    let groups = config.groups();
    let mut kinds = vec![Kind::Date(config.rounding())];
    if let Some(histogram) = groups.histogram() {
        kinds.extend(histogram.fields().iter().map(|_| Kind::Histogram(histogram.interval())));
    }
    kinds.extend(terms.iter().map(|terms| Kind::Terms(*terms)));
    kinds
}

impl Kind<'_> {
    /// The part that is printed as `value`, and as nothing else.
    fn part(&self, value: &Value) -> Result<KeyPart, &'static str> {
        let number = || value.as_f64().ok_or("it is no number");
        let part = match self {
            Self::Date(rounding) => {
                let start = value.as_i64().ok_or("it is no time in milliseconds")?;
                if rounding.round_down(start) != start {
                    return Err("no bucket begins then, as intervals and zones are here");
                }
                return Ok(KeyPart::Date(start));
            }
            Self::Histogram(_) | Self::Terms(_) if value.is_null() => return Ok(KeyPart::Null),
            Self::Histogram(interval) => {
                KeyPart::Histogram { number: (number()? / interval).round() + 0.0, interval: *interval }
            }
            Self::Terms(TermsType::Keyword) => KeyPart::Text(value.as_str().ok_or("it is no text")?.into()),
            Self::Terms(TermsType::Integer | TermsType::Unsigned) => {
                let unsigned = || value.as_u64().map(KeyPart::unsigned);
                value.as_i64().map(KeyPart::Integer).or_else(unsigned).ok_or("it is no whole number")?
            }
            Self::Terms(TermsType::Floating) => KeyPart::double(number()?),
        };
        // -0.0 is one of two zeros there, and the other one may not have come yet.
        let bits = |value: &Value| value.as_f64().map(f64::to_bits);
        let is_the_same = match &part {
            KeyPart::Histogram { .. } | KeyPart::Double(_) => bits(&part.to_json()) == bits(value),
            KeyPart::Null | KeyPart::Date(_) | KeyPart::Integer(_) | KeyPart::Unsigned(_) | KeyPart::Text(_) => true,
        };
        if is_the_same { Ok(part) } else { Err("no bucket has this key here") }
    }
}
