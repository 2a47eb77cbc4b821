//! Verify: is what a job has rolled up what its raw documents come to?

use super::RollupJobManager;
use crate::engine::EngineError;
use crate::runtime::{LookError, VerifyFault, Verifying};
use crate::search::Limits;
use crate::store::StoreError;
use crate::verify::{Verification, VerifyOptions};

/// How often it begins anew because something has changed below it.
const MAX_TRIES: usize = 10;

/// What a job has rolled up could not be verified. Nothing has changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no such job.
    #[error("could not verify rollup job [{job_id}]: there is no such job")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The job's record cannot be read.
    #[error("could not verify rollup job [{job_id}]: its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// An engine could not read raw documents, or rolled-up ones.
    #[error("could not verify rollup job [{job_id}]: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
    /// The job store could not be read; or what is not right could not be noted, or not all of it.
    #[error("could not verify rollup job [{job_id}]: store call failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Documents have changed all the while.
    #[error("could not verify rollup job [{job_id}]: documents that are rolled up have changed all the while")]
    Moved {
        /// The job.
        job_id: String,
    },
    /// Its time is over.
    #[error("could not verify rollup job [{job_id}] in the time that was given")]
    Timeout {
        /// The job.
        job_id: String,
    },
    /// It was cancelled.
    #[error("could not verify rollup job [{job_id}]: it was cancelled")]
    Cancelled {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Recounts what a job has rolled up from its raw documents, and compares the two group by group, in bounded
    /// memory, in the caller's thread. The job may run meanwhile, and no stop waits for it. What is known to have changed is
    /// left out, and so is what has no raw documents any more.
    ///
    /// Counts, least and greatest values have to be the same; sums within the error of adding them up in another order.
    ///
    /// # Errors
    /// [`VerifyError`].
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::VerifyOptions;
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let found = manager.verify("sensor", &VerifyOptions::new().repair(true))?;
    /// assert!(found.is_right(), "{found}: {:?}", found.first_different);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, job_id: &str, options: &VerifyOptions) -> Result<Verification, VerifyError> {
        let id = || job_id.to_owned();
        let job = self.find_to_read(job_id).map_err(|unreadable| match unreadable {
            Some(reason) => VerifyError::Unreadable { job_id: id(), reason },
            None => VerifyError::NotFound { job_id: id() },
        })?;
        let limits = Limits::new(options.timeout, options.cancel.clone(), &self.runtime.clock);
        let stop = limits.stop();
        let verifying = Verifying { runtime: &self.runtime, job: &job, context: &job.context(), stop: &stop };
        let asked = options.range.as_ref().map_or(i64::MIN..i64::MAX, super::change::milliseconds);
        let mut tries = 1;
        let verified = loop {
            match verifying.verify(&asked, options.repair) {
                Err(VerifyFault::Moved) if tries < MAX_TRIES => tries += 1,
                other => break other,
            }
        };
        if verified.as_ref().is_ok_and(|verified| verified.has_to_run) {
            // A job that is stopped does it when it is started.
            let _refused = job.run_soon();
        }
        verified.map(|verified| verified.found).map_err(|fault| match fault {
            _ if limits.is_cancelled() => VerifyError::Cancelled { job_id: id() },
            _ if limits.is_over() => VerifyError::Timeout { job_id: id() },
            VerifyFault::Moved => VerifyError::Moved { job_id: id() },
            VerifyFault::Look(LookError::Engine(source)) => VerifyError::Engine { job_id: id(), source },
            VerifyFault::Look(LookError::Store(source)) => VerifyError::Store { job_id: id(), source },
        })
    }
}
