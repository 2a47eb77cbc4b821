//! Start: a stopped job waits for its time from now on.

use super::RollupJobManager;
use super::operation::{Operation, Refusal, operation_error};
use crate::job::JobState;
use crate::lifecycle::Start;
use crate::store::StoreError;

/// A job could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no such job (404 in Elasticsearch).
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The job is being stopped. Nothing is queued: wait for the stop, then start again.
    #[error("cannot start rollup job [{job_id}] because it is stopping")]
    Stopping {
        /// The job.
        job_id: String,
    },
    /// The job is being deleted.
    #[error("cannot start rollup job [{job_id}] because it is being deleted")]
    Aborting {
        /// The job.
        job_id: String,
    },
    /// The job's stored record cannot be read; the job can only be deleted.
    #[error("cannot start rollup job [{job_id}] because its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The job store refused to save the start. The job is stopped again, unless somebody else has started it at the
    /// same time and that is saved. If the store refuses the stop too the job is `stopping`, with red health, until
    /// that is saved.
    #[error("could not start rollup job [{job_id}]: save failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not start rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not start rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Starts a stopped job: its schedule triggers it from now on. It goes on after its last position. Starting a
    /// started job does nothing and succeeds.
    ///
    /// The start is durable when the call returns, and nobody else's start that fails undoes it. Nothing runs until
    /// the schedule, or [`trigger`](Self::trigger), says so.
    ///
    /// # Errors
    /// [`StartError`]; the state is as it was, or as the variant says. That the schedule has no time to come is no
    /// error: the job's health and notice say so.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// use rollup_jobs::{RollupJobManager, StartError};
    ///
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// let error = manager.start("nobody").unwrap_err();
    /// assert!(matches!(error, StartError::NotFound { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(&self, job_id: &str) -> Result<(), StartError> {
        let Operation { job, .. } = &self.begin(job_id).map_err(|refusal| refusal.of(job_id))?;
        let not_saved = |source| Refusal::from(source).of(job_id);
        let runtime = &self.runtime;
        let start = job.lifecycle.start(&runtime.revisions).map_err(|refused| Refusal::from(refused).of(job_id))?;
        let Some(Start { snapshot, number }) = start else { return job.confirm().map_err(not_saved) };
        match job.save(snapshot) {
            Ok(()) => {
                job.lifecycle.start_saved(number);
                job.arm();
                job.note_if_it_never_fires();
                job.deliver_later();
                Ok(())
            }
            Err(source) => {
                let stop = job.lifecycle.start_refused(number, runtime.clock.monotonic(), &runtime.revisions);
                // The job's state says how that went.
                drop(stop.map(|stop| self.ask_to_stop(job, stop)));
                job.deliver_later();
                Err(not_saved(source))
            }
        }
    }
}

operation_error!(StartError, |job_id, state| match state {
    JobState::Aborting => StartError::Aborting { job_id },
    _ => StartError::Stopping { job_id },
});
