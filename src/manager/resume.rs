//! Resume: a manager that was opened paused begins to run its jobs.

use super::RollupJobManager;

impl RollupJobManager {
    /// Lets a manager that was opened [paused](crate::RollupJobManagerBuilder::paused) run its jobs: those that were
    /// triggered meanwhile, be it by their schedule, and those that were indexing when the last manager ended, go on
    /// now. One that is not paused stays as it is.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// let engine = Arc::new(MemoryEngine::new());
    /// let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new())).paused(true).open()?;
    /// engine.add("sensor-1", SourceDocument::new().date("timestamp", 0)); // the host gets its sources ready
    /// manager.resume();
    /// assert!(!manager.is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) {
        self.runtime.resume();
    }

    /// Whether it was opened paused, and was not resumed yet.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.runtime.is_paused()
    }
}
