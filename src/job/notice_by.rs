//! By what a cluster is asked what has changed.

use serde::{Deserialize, Serialize};

use super::problem::ConfigProblemKind::Setting;
use super::problem::Problems;
use super::time_value::TimeValue;

/// By what an engine is asked what has changed in source indices, where it does not notice that by itself: a cluster.
///
/// A job without it takes what its host [notes](crate::RollupJobManager::note_change) for all that changes.
///
/// ```
/// use rollup_jobs::{LateData, NoticeBy, TimeValue};
///
/// let ingested = LateData::new().notice_by(NoticeBy::ingest_time("event.ingested"));
/// let json = serde_json::json!({ "notice_by": { "ingest_time": { "field": "event.ingested", "delay": "60s" } } });
/// assert_eq!(serde_json::to_value(&ingested)?, json);
///
/// let counted = LateData::new().notice_by(NoticeBy::look_back(TimeValue::parse("7d", "look_back")?));
/// let json = serde_json::json!({ "notice_by": { "look_back": "7d" } });
/// assert_eq!(serde_json::to_value(&counted)?, json);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NoticeBy {
    /// By the time at which each document was indexed, in a field that an ingest pipeline sets. It costs one search for
    /// what was indexed since the last look.
    ///
    /// It sees documents that are added, at whatever time they are of, and documents that are indexed again. It does
    /// not see the bucket that a document has moved out of, what is deleted (but for what was indexed within the last
    /// `delay`), and documents without the field. Set it in the last step of the last pipeline (`final_pipeline`):
    /// what comes between the field and the index counts against the `delay`.
    IngestTime {
        /// The field, of type `date` or `date_nanos`.
        field: String,
        /// How long after its ingest time a document may become visible: as long as it is on its way, until the index
        /// is refreshed, and by how much the clocks of nodes and this process differ. Default: 60 s. It is what
        /// `sync.time.delay` is to an Elasticsearch transform.
        #[serde(default = "a_minute")]
        delay: TimeValue,
    },
    /// By counting the documents of the last so and so long before what is rolled up now ends: it costs one search over
    /// that time at each look.
    ///
    /// It sees what is added and deleted there. It does not see an update that leaves a document in its minute, nor
    /// anything that is older.
    LookBack(TimeValue),
}

fn a_minute() -> TimeValue {
    TimeValue::from_secs(60)
}

impl NoticeBy {
    /// By this field, within 60 seconds.
    #[must_use]
    pub fn ingest_time(field: impl Into<String>) -> Self {
        Self::IngestTime { field: field.into(), delay: a_minute() }
    }

    /// By counting so far back.
    #[must_use]
    pub fn look_back(time: TimeValue) -> Self {
        Self::LookBack(time)
    }

    /// Under which name it is remembered what was seen: by the same way of looking, it is the same.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::IngestTime { field, .. } => format!("ingest_time/{field}"),
            Self::LookBack(_) => "look_back".to_owned(),
        }
    }

    /// The field that has to be there.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::IngestTime { field, .. } => Some(field),
            Self::LookBack(_) => None,
        }
    }

    /// Whether it makes sense.
    pub(super) fn check(&self, problems: &mut Problems) -> bool {
        let mut refuse = |member: &str, text: &str| {
            problems.add(Setting, format!("late_data.notice_by.{member}"), text);
            false
        };
        match self {
            Self::IngestTime { field, .. } if field.is_empty() => {
                refuse("ingest_time.field", "[field] has to name the field that holds the ingest time")
            }
            Self::IngestTime { delay, .. } if delay.to_duration().is_none() => {
                refuse("ingest_time.delay", "[delay] has to be zero or more: without it, it is 60s")
            }
            Self::LookBack(time) if time.to_duration().is_none_or(|time| time.is_zero()) => {
                refuse("look_back", "[look_back] has to be more than zero; leave [notice_by] out to not look at all")
            }
            Self::IngestTime { .. } | Self::LookBack(_) => true,
        }
    }
}
