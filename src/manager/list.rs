//! List: all jobs' statuses.

use super::{Entry, RollupJobManager};
use crate::job::JobStatus;

impl RollupJobManager {
    /// The statuses of all jobs, sorted by id, those with an unreadable record included. Each is a snapshot of its own
    /// moment; nothing is waited for.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// for status in manager.list() {
    ///     println!("{:20} {:10} {}", status.id(), status.state(), status.health().color());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn list(&self) -> Vec<JobStatus> {
        let entries: Vec<Entry> = self.registry.read().entries.values().cloned().collect();
        let mut statuses: Vec<_> = entries.iter().filter_map(Entry::status).collect();
        statuses.sort_by(|a, b| a.id().cmp(b.id()));
        statuses
    }
}
