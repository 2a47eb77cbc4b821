//! Trigger: run now instead of at the next scheduled time.

use super::RollupJobManager;
use super::operation::{OperationError, Refusal};
use crate::job::JobState;
use crate::lifecycle::TriggerDecision;
use crate::store::{StoreError, StoreErrorKind};

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
        let id = || job_id.to_owned();
        let job = self.find(job_id).map_err(|refusal| refusal.of(job_id))?;
        // Of a loss the trigger itself says what is known.
        if let Err(source) = job.confirm()
            && source.kind() != StoreErrorKind::LostOwnership
        {
            return Err(TriggerError::Store { job_id: id(), source });
        }
        match job.trigger(self.indexer.clock.now()) {
            TriggerDecision::Queued { run, .. } => Ok(Triggered { run, is_new: true }),
            TriggerDecision::Running(run) => Ok(Triggered { run, is_new: false }),
            TriggerDecision::Refused(state) => Err(TriggerError::NotStarted { job_id: id(), state }),
            TriggerDecision::LostOwnership => Err(TriggerError::LostOwnership { job_id: id() }),
            TriggerDecision::Gone => Err(TriggerError::NotFound { job_id: id() }),
            TriggerDecision::ShutDown => Err(TriggerError::ShutDown { job_id: id() }),
        }
    }
}

impl OperationError for TriggerError {
    fn refused(job_id: String, refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound { job_id },
            Refusal::Unreadable(reason) => Self::Unreadable { job_id, reason },
            Refusal::Store(source) => Self::Store { job_id, source },
            Refusal::LostOwnership(_) => Self::LostOwnership { job_id },
            Refusal::ShutDown => Self::ShutDown { job_id },
        }
    }
}
