use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::config::RollupJobConfig;
use super::definition::JobDefinition;
use super::late_documents::LateDocuments;
use super::position::Position;
use super::progress::Progress;
use super::record::JobRecord;
use super::state::JobState;
use super::stats::JobStats;
use crate::sync::Arc;

/// What a job is doing at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing.
    Idle,
    /// A run waits for an indexer thread.
    Queued,
    /// The engine is asked for a page (or, at the beginning of a run, for its progress).
    Searching,
    /// The engine is asked for a page of what has changed since it was rolled up.
    Repairing,
    /// What is rolled up is counted.
    Verifying,
    /// The engine takes rolled-up documents.
    Writing,
    /// The engine makes them durable.
    Committing,
    /// The store takes the job's record.
    Saving,
    /// A run waits before it tries a failed call again.
    BackingOff,
    /// The engine tidies the rollup index up.
    Merging,
    /// Somebody else owns the job store, and runs the job: nothing of it happens here any more, whatever its state.
    LostOwnership,
}

impl Phase {
    /// Whether it lasts as long as one engine call does.
    #[must_use]
    pub const fn is_engine_call(self) -> bool {
        matches!(
            self,
            Self::Searching | Self::Repairing | Self::Verifying | Self::Writing | Self::Committing | Self::Merging
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Searching => "searching",
            Self::Repairing => "repairing",
            Self::Verifying => "verifying",
            Self::Writing => "writing",
            Self::Committing => "committing",
            Self::Saving => "saving",
            Self::BackingOff => "backing off",
            Self::Merging => "merging",
            Self::LostOwnership => "lost to another owner",
        })
    }
}

/// How a job is, at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthColor {
    /// All is well.
    Green,
    /// Retrying, paused, or the last run failed.
    Yellow,
    /// Needs a person: three failed runs in a row, an unreadable record, an unsaved state, a wedged engine call,
    /// another owner.
    Red,
}

impl fmt::Display for HealthColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        })
    }
}

/// A color and, unless it is green, the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    color: HealthColor,
    reason: Option<String>,
}

impl Health {
    pub(crate) const GREEN: Self = Self { color: HealthColor::Green, reason: None };

    pub(crate) fn yellow(reason: impl Into<String>) -> Self {
        Self { color: HealthColor::Yellow, reason: Some(reason.into()) }
    }

    pub(crate) fn red(reason: impl Into<String>) -> Self {
        Self { color: HealthColor::Red, reason: Some(reason.into()) }
    }

    /// The color.
    #[must_use]
    pub fn color(&self) -> HealthColor {
        self.color
    }

    /// Why it is not green.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// Something that went wrong in a run.
#[derive(Debug, Clone)]
pub struct JobError {
    pub(crate) at: Timestamp,
    pub(crate) run: u64,
    pub(crate) phase: Phase,
    pub(crate) transient: bool,
    pub(crate) chain: Vec<String>,
}

impl JobError {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// In which run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Doing what.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the call was, or would have been, tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        self.chain.first().map_or("", String::as_str)
    }

    /// What it was caused by, the nearest cause first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        self.chain.get(1..).unwrap_or_default()
    }
}

/// `while writing in run 7: the disk is full: no space left on device`
impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "while {} in run {}: {}", self.phase, self.run, self.chain.join(": "))
    }
}

/// Something out of the ordinary that is not an error, such as a rollup index that was found empty and is rolled up
/// from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub(crate) at: Timestamp,
    pub(crate) run: u64,
    pub(crate) text: String,
}

impl Notice {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// In which run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// What.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Everything there is to know about a job at one moment: an owned snapshot that never waits for an engine.
#[derive(Debug, Clone)]
pub struct JobStatus {
    parts: StatusParts,
}

#[derive(Debug, Clone)]
pub(crate) struct StatusParts {
    pub(crate) id: String,
    /// None if the record cannot be read.
    pub(crate) definition: Option<Arc<JobDefinition>>,
    pub(crate) state: JobState,
    pub(crate) phase: Phase,
    pub(crate) in_phase_for: Duration,
    pub(crate) run: u64,
    pub(crate) progress: Arc<Progress>,
    pub(crate) next_run: Option<Timestamp>,
    pub(crate) never_fires: bool,
    pub(crate) last_errors: Vec<JobError>,
    pub(crate) notice: Option<Notice>,
    pub(crate) reduced_page_size: Option<usize>,
    pub(crate) health: Health,
    /// Those of them that the progress does not have yet.
    pub(crate) late: Option<Box<LateDocuments>>,
}

impl JobStatus {
    pub(crate) fn new(parts: StatusParts) -> Self {
        Self { parts }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    /// The configuration; none only if the stored record cannot be read (health is red then and says why).
    #[must_use]
    pub fn config(&self) -> Option<&RollupJobConfig> {
        self.parts.definition.as_ref().map(|definition| &definition.config)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.parts.state
    }

    /// What the job is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.parts.phase
    }

    /// For how long it has been doing that.
    #[must_use]
    pub fn in_phase_for(&self) -> Duration {
        self.parts.in_phase_for
    }

    /// The number of the current run, or of the last one; 0 before the first.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.parts.run
    }

    /// The last bucket written, as far as it is durable.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.parts.progress.position.as_ref()
    }

    /// The instant before which every date bucket is rolled up, empty ones too. None before the first; until the job
    /// has come to the end of its data once, or again, it is that of its position.
    #[must_use]
    pub fn rolled_up_until(&self) -> Option<Timestamp> {
        self.parts.progress.rolled_up_until()
    }

    /// The grouped fields of which some document that was rolled up had several values, so that it counts in several
    /// groups; `None` if nobody knows. What was seen once stays.
    #[must_use]
    pub fn several_values(&self) -> Option<&BTreeSet<String>> {
        self.parts.progress.several_values.as_ref()
    }

    /// The statistics that belong to the position.
    #[must_use]
    pub fn stats(&self) -> &JobStats {
        &self.parts.progress.stats
    }

    /// When the schedule triggers it next: the time for which the timer is set. None while the job is not started,
    /// while the jobs belong to somebody else, or if its schedule is over.
    #[must_use]
    pub fn next_run(&self) -> Option<Timestamp> {
        self.parts.next_run
    }

    /// Whether the schedule has no time to come, so that only a trigger runs the job.
    #[must_use]
    pub fn never_fires(&self) -> bool {
        self.parts.never_fires
    }

    /// The last errors, newest last; at most [`KEPT`](Self::ERRORS_KEPT).
    #[must_use]
    pub fn last_errors(&self) -> &[JobError] {
        &self.parts.last_errors
    }

    /// The last remark that is not an error.
    #[must_use]
    pub fn notice(&self) -> Option<&Notice> {
        self.parts.notice.as_ref()
    }

    /// How many buckets its pages have at present, if fewer than configured: so many were too much for the engine at
    /// once. It tries more again by and by. As of the last page that was asked for.
    #[must_use]
    pub fn reduced_page_size(&self) -> Option<usize> {
        self.parts.reduced_page_size
    }

    /// How the job is.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.parts.health
    }

    /// As Elasticsearch's get API prints a job, with what it lacks beside it: `health`, `last_errors`,
    /// `rolled_up_until`, `several_values`, `next_run`.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let json = manager.get("sensor").unwrap().to_json();
    /// assert_eq!((&json["status"]["job_state"], &json["health"]["color"]), (&"stopped".into(), &"green".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> Value {
        super::json(self)
    }

    /// Of a job as it is stored, of which nobody says what it does at this moment.
    pub(crate) fn of_record(record: JobRecord) -> Self {
        Self::new(StatusParts {
            id: record.id().to_owned(),
            state: record.state.restored(),
            phase: Phase::Idle,
            in_phase_for: Duration::ZERO,
            run: record.run,
            progress: record.progress,
            definition: Some(record.definition),
            next_run: None,
            never_fires: false,
            last_errors: Vec::new(),
            notice: None,
            reduced_page_size: None,
            health: Health::GREEN,
            late: None,
        })
    }

    /// Documents that came after their time was rolled up.
    #[must_use]
    pub fn late_documents(&self) -> LateDocuments {
        self.parts.progress.stats.late_documents_with(self.parts.late.as_deref())
    }

    /// How many errors are kept per job.
    pub const ERRORS_KEPT: usize = 16;
}
