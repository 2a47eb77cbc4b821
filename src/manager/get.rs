//! Get: one job's status.

use super::{Broken, Entry, RollupJobManager};
use crate::job::{Health, JobState, JobStatus, Phase, StatusParts};
use crate::sync::Arc;

impl RollupJobManager {
    /// The status of a job: an owned snapshot, taken without waiting for engine or store. `None` if there is no such
    /// job.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// assert!(manager.get("nobody").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get(&self, job_id: &str) -> Option<JobStatus> {
        let entry = self.registry.read().entries.get(job_id).cloned()?;
        entry.status()
    }
}

impl Entry {
    pub(super) fn status(&self) -> Option<JobStatus> {
        match self {
            Self::Job(job) => Some(job.status()),
            Self::Broken(broken) => Some(broken.status()),
            Self::Reserved => None,
        }
    }
}

impl Broken {
    fn status(&self) -> JobStatus {
        JobStatus::new(StatusParts {
            late: None,
            id: self.id.clone(),
            definition: None,
            state: JobState::Stopped,
            phase: Phase::Idle,
            in_phase_for: std::time::Duration::ZERO,
            run: 0,
            progress: Arc::default(),
            next_run: None,
            never_fires: false,
            last_errors: Vec::new(),
            notice: None,
            reduced_page_size: None,
            health: Health::red(format!("the record cannot be read: {}", self.reason)),
        })
    }
}
