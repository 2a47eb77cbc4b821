use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::RollupJobConfig;
use super::definition::{JobDefinition, RunAs, TermsType};
use super::progress::Progress;
use super::state::JobState;
use super::versioned::{self, RecordError};
use crate::sync::Arc;

/// The version of the stored form. A record with a higher one was written by a newer crate and is left alone.
/// 1 had a `checkpoint` instead of the `progress`, which knew of no coverage.
const FORMAT: u32 = 2;

/// What is stored about a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredState {
    /// A put is under way: the rollup index may not be there yet.
    Preparing,
    /// Comes back stopped.
    Stopped,
    /// Comes back started and waits for its time.
    Started,
    /// Comes back started and is triggered at once.
    Indexing,
    /// Never written here, read as Elasticsearch reads it: comes back stopped.
    Stopping,
    /// Never written here, read as Elasticsearch reads it: comes back stopped.
    Aborting,
}

impl StoredState {
    /// The state that a job with this record comes back in. A [`Preparing`](Self::Preparing) one is not a job yet.
    #[must_use]
    pub const fn restored(self) -> JobState {
        match self {
            Self::Preparing | Self::Stopped | Self::Stopping | Self::Aborting => JobState::Stopped,
            Self::Started | Self::Indexing => JobState::Started,
        }
    }
}

/// Everything that is stored of a job: one snapshot, taken under the job's lock.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    pub(crate) definition: Arc<JobDefinition>,
    /// The rollup index has former settings.
    pub(crate) redefine: bool,
    pub(crate) state: StoredState,
    pub(crate) progress: Arc<Progress>,
    pub(crate) run: u64,
    pub(crate) revision: u64,
    pub(crate) epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredJob {
    config: Value,
    terms_types: Vec<TermsType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_as: Option<RunAs>,
    #[serde(default)]
    redefine: bool,
    state: StoredState,
    #[serde(alias = "checkpoint")]
    progress: Progress,
    run: u64,
    revision: u64,
    epoch: u64,
}

impl JobRecord {
    /// The job's id, the key to store it under.
    #[must_use]
    pub fn id(&self) -> &str {
        self.definition.config.id()
    }

    /// Grows with every record that a store gets, whatever the id: of two records of one job, the higher is newer.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Which ownership of the store it was written under.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The stored state.
    #[must_use]
    pub fn state(&self) -> StoredState {
        self.state
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RollupJobConfig {
        &self.definition.config
    }

    /// The stored progress.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The form to store.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let JobDefinition { config, terms_types, run_as } = &*self.definition;
        let stored = StoredJob {
            config: config.to_json(),
            terms_types: terms_types.clone(),
            run_as: run_as.clone(),
            redefine: self.redefine,
            state: self.state,
            progress: Progress::clone(&self.progress),
            run: self.run,
            revision: self.revision,
            epoch: self.epoch,
        };
        versioned::write(&stored, FORMAT)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`RecordError`], which says whether the record is damaged, too new, or holds a configuration that is not valid.
    pub fn from_json(text: &[u8]) -> Result<Self, RecordError> {
        let stored: StoredJob = versioned::read(text, FORMAT)?;
        let config = RollupJobConfig::stored(stored.config).map_err(RecordError::Config)?;
        let definition = JobDefinition { config, terms_types: stored.terms_types, run_as: stored.run_as };
        Ok(Self {
            definition: Arc::new(definition),
            redefine: stored.redefine,
            state: stored.state,
            progress: Arc::new(stored.progress),
            run: stored.run,
            revision: stored.revision,
            epoch: stored.epoch,
        })
    }
}
