//! Update: a job's settings.

use super::RollupJobManager;
use super::field_validation::{validate_engine, validate_notice_by};
use super::operation::{Operation, Refusal, operation_error};
use crate::engine::EngineError;
use crate::job::{ConfigError, JobState, JobUpdate};
use crate::runtime::Job;
use crate::store::StoreError;

/// A job could not be updated. Its settings are as they were, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// There is no such job.
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The new settings are not valid. It holds everything that is wrong.
    #[error(transparent)]
    Invalid(ConfigError),
    /// The job is being deleted.
    #[error("could not update rollup job [{job_id}]: it is being deleted")]
    Aborting {
        /// The job.
        job_id: String,
    },
    /// The job's record cannot be read.
    #[error("could not update rollup job [{job_id}]: its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The engine could not say whether the field is there by which it is to notice what changes.
    #[error("could not update rollup job [{job_id}]")]
    Engine {
        /// The job.
        job_id: String,
        /// What the engine says.
        source: EngineError,
    },
    /// The job store refused the save. Should it have kept the new settings all the same, a crash before the job is
    /// saved again brings the job back with them.
    #[error("could not update rollup job [{job_id}]: save failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not update rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not update rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Changes when a job runs, how large its pages are, or how long it waits for late documents: whether it is
    /// stopped or started, and while it runs. Elasticsearch has no such thing.
    ///
    /// The new settings are durable when the call returns. The schedule follows them at once, a run from the next one
    /// on. A longer delay takes nothing back of what is rolled up. What the documents depend on cannot be changed: put
    /// another job.
    ///
    /// # Errors
    /// [`UpdateError`]; the settings are as they were then, see each variant.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::JobUpdate;
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// manager.update("sensor", JobUpdate::new().cron("0 */5 * * * ?").delay("10m"))?;
    /// assert_eq!(manager.get("sensor").unwrap().config().unwrap().schedule().as_str(), "0 */5 * * * ?");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self, job_id: &str, update: JobUpdate) -> Result<(), UpdateError> {
        let Operation { job, .. } = &self.begin(job_id).map_err(|refusal| refusal.of(job_id))?;
        self.check_notice_by(job, &update)?;
        let not_saved = |source| Refusal::from(source).of(job_id);
        let change = job.change();
        let updated = change.before().updated(&update).map_err(UpdateError::Invalid)?;
        if updated == *change.before() {
            return job.confirm().map_err(not_saved);
        }
        let snapshot = change.to(updated).map_err(|refused| Refusal::from(refused).of(job_id))?;
        let saved = job.save(snapshot);
        if saved.is_err() {
            change.undo();
        }
        if matches!(job.lifecycle.view().state, JobState::Started | JobState::Indexing) {
            job.arm();
            job.note_if_it_never_fires();
        }
        saved.map_err(not_saved)
    }

    /// Whether the engine can notice changes in the way that is new in the update, if any is.
    fn check_notice_by(&self, job: &Job, update: &JobUpdate) -> Result<(), UpdateError> {
        let context = job.context();
        let updated = context.config().updated(update).map_err(UpdateError::Invalid)?;
        let Some(by) = updated.late_data().notices_by() else { return Ok(()) };
        if context.config().late_data().notices_by() == Some(by) {
            return Ok(());
        }
        let mut problems = validate_engine(&updated, &*self.runtime.source);
        if problems.is_empty()
            && let Some(field) = by.field()
        {
            let found = self
                .runtime
                .engine_call(|runtime| runtime.source.field_capabilities(&context, updated.index_pattern(), &[field]));
            let found = found.map_err(|source| UpdateError::Engine { job_id: job.id().to_owned(), source })?;
            problems = validate_notice_by(&updated, &found);
        }
        if problems.is_empty() { Ok(()) } else { Err(UpdateError::Invalid(ConfigError::new(job.id(), problems))) }
    }
}

operation_error!(UpdateError, |job_id, _aborting| UpdateError::Aborting { job_id });
