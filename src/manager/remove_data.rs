//! Remove data: what a job that is gone has left in a rollup index.

use super::put::Reservation;
use super::{DeleteError, Entry, RollupJobManager};
use crate::engine::EngineError;
use crate::job::{ConfigError, JobDefinition, RollupJobConfig};
use crate::store::StoreError;
use crate::sync::Arc;

/// What a job has left could not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveDataError {
    /// There is such a job, and its data is in use: [delete it with its data](crate::DeleteOptions::delete_data).
    #[error("could not remove the data of rollup job [{job_id}] from [{rollup_index}]: the job is there")]
    InUse {
        /// The job.
        job_id: String,
        /// The rollup index.
        rollup_index: String,
    },
    /// No index, or no job, can have that name.
    #[error("there can be no data of rollup job [{job_id}] in [{rollup_index}]")]
    Name {
        /// The job.
        job_id: String,
        /// The rollup index.
        rollup_index: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The engine could not remove all documents; some may be gone. The call can be repeated.
    #[error("could not remove the data of rollup job [{job_id}] from [{rollup_index}]: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// The rollup index.
        rollup_index: String,
        /// Why.
        source: EngineError,
    },
    /// Somebody else owns the jobs now, or nobody can say.
    #[error("could not remove the data of rollup job [{job_id}]: the rollup jobs may be somebody else's")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not remove the data of rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Removes what a job that was deleted has left in a rollup index: its documents and its definition, so that the
    /// id can be used again there. Nothing there is no error.
    ///
    /// Elasticsearch, where deleting a job leaves both, has no such operation: one deletes by query, and the id stays
    /// burnt.
    ///
    /// # Errors
    /// [`RemoveDataError`]; a job that is there keeps what it has.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::RemoveDataError;
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// assert!(matches!(manager.remove_data("rolled", "sensor"), Err(RemoveDataError::InUse { .. })));
    /// manager.delete("sensor")?;
    /// manager.remove_data("rolled", "sensor")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_data(&self, rollup_index: &str, job_id: &str) -> Result<(), RemoveDataError> {
        let (id, index) = (|| job_id.to_owned(), || rollup_index.to_owned());
        let config = RollupJobConfig::of_leftovers(job_id, rollup_index);
        let config = config.map_err(|source| RemoveDataError::Name { job_id: id(), rollup_index: index(), source })?;
        let _call = self.calls.begin().ok_or_else(|| RemoveDataError::ShutDown { job_id: id() })?;
        self.owned().map_err(|source| RemoveDataError::LostOwnership { job_id: id(), source })?;
        let _reserved = self.keep_away(job_id, rollup_index)?;
        let definition = JobDefinition { config, terms_types: Vec::new(), run_as: None };
        let context = self.runtime.context(Arc::new(definition));
        let removed = self.runtime.engine_call(|runtime| runtime.rollup_index.remove(&context));
        removed.map_err(|source| RemoveDataError::Engine { job_id: id(), rollup_index: index(), source })
    }

    /// The same wherever there is something of the id.
    pub(super) fn delete_leftovers(&self, job_id: &str) -> Result<(), DeleteError> {
        let id = || job_id.to_owned();
        let found = self.runtime.engine_call(|runtime| runtime.rollup_index.rollup_indices_of(job_id));
        let found = found.map_err(|source| DeleteError::Engine { job_id: id(), source })?;
        if found.is_empty() {
            return Err(DeleteError::NotFound { job_id: id() });
        }
        for rollup_index in found {
            self.remove_data(&rollup_index, job_id).map_err(|error| match error {
                RemoveDataError::Engine { job_id, source, .. } => DeleteError::Engine { job_id, source },
                RemoveDataError::LostOwnership { job_id, source } => DeleteError::LostOwnership { job_id, source },
                RemoveDataError::ShutDown { job_id } => DeleteError::ShutDown { job_id },
                RemoveDataError::InUse { job_id, .. } | RemoveDataError::Name { job_id, .. } => {
                    DeleteError::NotFound { job_id }
                }
            })?;
        }
        Ok(())
    }

    /// Keeps a job of the id from being put meanwhile. There may be one already, with another rollup index.
    fn keep_away(&self, job_id: &str, rollup_index: &str) -> Result<Option<Reservation<'_>>, RemoveDataError> {
        let mut registry = self.registry.write();
        match registry.entries.get(job_id) {
            None => Ok(Some(Reservation::take(self, &mut registry, job_id))),
            Some(Entry::Job(job)) if job.context().config().rollup_index() != rollup_index => Ok(None),
            Some(_) => Err(RemoveDataError::InUse { job_id: job_id.to_owned(), rollup_index: rollup_index.to_owned() }),
        }
    }

    /// There is no record that the store could refuse: whoever may have lost the jobs must not remove what may be
    /// somebody else's.
    fn owned(&self) -> Result<(), StoreError> {
        if let Some(lost) = self.runtime.owner.lost() {
            return Err(lost);
        }
        if self.runtime.owner.has_lapsed() {
            return Err(StoreError::unavailable("the ownership of the job store has run out, and was not renewed yet"));
        }
        Ok(())
    }
}
