//! Trigger: run now instead of at the next scheduled time.

use super::RollupJobManager;
use super::operation::{Operation, Refusal, operation_error};
use crate::job::JobState;
use crate::lifecycle;
use crate::store::StoreError;

/// A job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggered {
    run: u64,
    is_new: bool,
}

impl Triggered {
    /// The number of the run.
    #[must_use]
    pub fn run(self) -> u64 {
        self.run
    }

    /// Whether this call began it; a run that was under way already goes on up to its own boundary.
    #[must_use]
    pub fn is_new(self) -> bool {
        self.is_new
    }
}

/// A job could not be triggered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// There is no such job.
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// Only a started job can be triggered.
    #[error("cannot trigger rollup job [{job_id}] because it is {state}: it must be started before")]
    NotStarted {
        /// The job.
        job_id: String,
        /// Its state.
        state: JobState,
    },
    /// The job's stored record cannot be read; the job can only be deleted.
    #[error("cannot trigger rollup job [{job_id}] because its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not trigger rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// Whether the jobs are still this manager's is in doubt: their ownership has run out, and the job store does not
    /// answer.
    #[error("could not trigger rollup job [{job_id}]: the ownership of the rollup jobs is in doubt")]
    Store {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not trigger rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Begins a run of a started job, as of now, unless one is under way. It does not wait for it.
    ///
    /// Only buckets that are complete now (and past the job's delay) are rolled up.
    ///
    /// # Errors
    /// [`TriggerError`]; nothing has changed then.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// use rollup_jobs::{RollupJobManager, TriggerError};
    ///
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// assert!(matches!(manager.trigger("nobody"), Err(TriggerError::NotFound { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trigger(&self, job_id: &str) -> Result<Triggered, TriggerError> {
        let Operation { job, .. } = &self.begin(job_id).map_err(|refusal| refusal.of(job_id))?;
        job.confirm().map_err(|source| Refusal::from(source).of(job_id))?;
        let triggered = job.trigger(self.runtime.clock.now());
        let lifecycle::Triggered { run, is_new, .. } =
            triggered.map_err(|refused| Refusal::from(refused).of(job_id))?;
        Ok(Triggered { run, is_new })
    }
}

operation_error!(TriggerError, |job_id, state| TriggerError::NotStarted { job_id, state });
