//! Caps: what can be asked of what is rolled up.

use super::RollupJobManager;
use crate::search::{JobCaps, NoSuchRollupIndex, SearchCaps};

impl RollupJobManager {
    /// What can be asked of the jobs that read these source indices: a name, a pattern, or `_all`. Nothing is no error.
    ///
    /// A job is found by its own pattern, by the name of an index that its pattern means, and by a wildcard that means
    /// its pattern; Elasticsearch finds it by its own pattern only. A job that was deleted is not listed, as it is
    /// there.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{FieldType, MemoryEngine};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.map("sensor-1", "timestamp", FieldType::Date);
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10);
    /// # manager.put(config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let caps = manager.caps("sensor-1");
    /// let (pattern, jobs) = caps.iter().next().unwrap();
    /// assert_eq!((pattern, jobs[0].job_id.as_str()), ("sensor-*", "sensor"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn caps(&self, pattern: &str) -> SearchCaps {
        SearchCaps::reading(pattern, self.all_caps())
    }

    /// What can be asked of these rollup indices: names, wildcards, or `_all`.
    ///
    /// # Errors
    /// [`NoSuchRollupIndex`] for the first name that is of none. A wildcard may mean nothing.
    pub fn index_caps(&self, indices: &str) -> Result<SearchCaps, NoSuchRollupIndex> {
        SearchCaps::writing(indices, self.all_caps())
    }

    fn all_caps(&self) -> Vec<JobCaps> {
        self.jobs().into_iter().map(|job| JobCaps::of(job.context().config())).collect()
    }
}
