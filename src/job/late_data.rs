use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice_by::NoticeBy;
use super::problem::ConfigProblemKind::Setting;
use super::problem::Problems;
use super::time_value::TimeValue;

const A_DAY: Duration = Duration::from_hours(24);

/// What a job does about documents that come, change or go after they were rolled up. All of it may be changed at any
/// time.
///
/// ```
/// use rollup_jobs::{LateData, RepairWhen};
///
/// let nightly = LateData::new().repair(RepairWhen::AfterRun).docs_per_second(50_000);
/// let json = serde_json::json!({ "repair": "after_run", "docs_per_second": 50_000 });
/// assert_eq!(serde_json::from_value::<LateData>(json)?, nightly);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct LateData {
    #[serde(default, skip_serializing_if = "RepairWhen::is_default")]
    repair: RepairWhen,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buckets_per_run: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    docs_per_second: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    trust_deletes: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warn_after: Option<TimeValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice_by: Option<NoticeBy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify_one_in: Option<u32>,
}

/// When what has changed is rolled up again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairWhen {
    /// As soon as the manager is told: it has the job run, and a run begins with it. The default.
    #[default]
    AtOnce,
    /// When a run has rolled up what is new.
    AfterRun,
    /// Only where somebody [asks for it](crate::RollupJobManager::refresh). Until then searches read it raw.
    WhenAsked,
}

impl RepairWhen {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl LateData {
    /// The defaults: what has changed is rolled up again at once, as fast as it can be.
    pub fn new() -> Self {
        Self::default()
    }

    /// When what has changed is rolled up again. Default: at once.
    pub fn repair(mut self, when: RepairWhen) -> Self {
        self.repair = when;
        self
    }

    /// So many date buckets a run rolls up again at most; the next one goes on. Default: all of them.
    pub fn buckets_per_run(mut self, buckets: u32) -> Self {
        self.buckets_per_run = Some(buckets);
        self
    }

    /// So many source documents a second are rolled up again at most, on the average. Default: as fast as it can be.
    pub fn docs_per_second(mut self, documents: u32) -> Self {
        self.docs_per_second = Some(documents);
        self
    }

    /// Whether documents that are gone, without a word from their host, are gone for a reason: what they were rolled up
    /// into is rolled up again without them. Default: no; hosts remove raw documents to save space.
    pub fn trust_deletes(mut self, trust: bool) -> Self {
        self.trust_deletes = trust;
        self
    }

    /// For how long documents may have changed, and not be rolled up again, before the job's [health](crate::Health) is
    /// yellow. Default: a day.
    pub fn warn_after(mut self, after: TimeValue) -> Self {
        self.warn_after = Some(after);
        self
    }

    /// By what a cluster is asked what has changed. Default: it is not asked. Embedded engines refuse it: they notice
    /// by themselves, or not at all.
    pub fn notice_by(mut self, by: NoticeBy) -> Self {
        self.notice_by = Some(by);
        self
    }

    /// Has each run [verify](crate::RollupJobManager::verify) one part in so many of the time that is rolled up, the
    /// next run the next part, and roll up again what is not right: `100` holds everything against raw documents once
    /// in a hundred runs. Default: none.
    pub fn verify_one_in(mut self, parts: u32) -> Self {
        self.verify_one_in = Some(parts);
        self
    }

    /// When what has changed is rolled up again.
    #[must_use]
    pub fn repair_when(&self) -> RepairWhen {
        self.repair
    }

    /// How many date buckets a run rolls up again at most.
    #[must_use]
    pub fn max_buckets_per_run(&self) -> Option<u32> {
        self.buckets_per_run
    }

    /// How many source documents a second are rolled up again at most.
    #[must_use]
    pub fn max_docs_per_second(&self) -> Option<u32> {
        self.docs_per_second
    }

    /// Whether documents that are gone are gone for a reason.
    #[must_use]
    pub fn trusts_deletes(&self) -> bool {
        self.trust_deletes
    }

    /// For how long documents may have changed before that is told of.
    #[must_use]
    pub fn warns_after(&self) -> Duration {
        self.warn_after.and_then(TimeValue::to_duration).unwrap_or(A_DAY)
    }

    /// By what a cluster is asked what has changed.
    #[must_use]
    pub fn notices_by(&self) -> Option<&NoticeBy> {
        self.notice_by.as_ref()
    }

    /// One part in how many of what is rolled up each run verifies.
    #[must_use]
    pub fn verifies_one_in(&self) -> Option<u32> {
        self.verify_one_in
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(self, problems: &mut Problems) -> Option<Self> {
        let limits = [("buckets_per_run", self.buckets_per_run), ("docs_per_second", self.docs_per_second)];
        let zeros: Vec<_> = limits.into_iter().filter(|(_, limit)| *limit == Some(0)).collect();
        for (name, _) in &zeros {
            let text = format!("[{name}] has to be at least 1: nothing would ever be rolled up again");
            problems.add(Setting, format!("late_data.{name}"), text);
        }
        let has_no_part = self.verify_one_in == Some(0);
        if has_no_part {
            let text = "[verify_one_in] has to be at least 1, which is everything; leave it out to verify nothing";
            problems.add(Setting, "late_data.verify_one_in", text);
        }
        let is_never = self.warn_after.is_some_and(|after| after.to_duration().is_none());
        if is_never {
            let text = "[warn_after] has to be zero or more: without it the job warns after a day";
            problems.add(Setting, "late_data.warn_after", text);
        }
        let is_clear = self.notice_by.as_ref().is_none_or(|by| by.check(problems));
        (zeros.is_empty() && !has_no_part && !is_never && is_clear).then_some(self)
    }
}
