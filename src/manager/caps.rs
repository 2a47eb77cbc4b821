//! Caps: what can be asked of what is rolled up.

use super::RollupJobManager;
use crate::job::{IndexPattern, RollupJobConfig, wildcard_match};
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
        let is_meant = |config: &RollupJobConfig| {
            is_all(pattern) || {
                let theirs = config.index_pattern();
                let has = |item: &str| theirs.resolve(std::iter::once(item)).is_ok_and(|found| !found.is_empty());
                let mut items = pattern.split(',').map(str::trim);
                theirs.as_str() == pattern || items.any(|item| wildcard_match(item, theirs.as_str()) || has(item))
            }
        };
        SearchCaps::by(|caps| &caps.index_pattern, self.caps_of(is_meant))
    }

    /// What can be asked of these rollup indices: names, wildcards, or `_all`.
    ///
    /// # Errors
    /// [`NoSuchRollupIndex`] for the first name that is of none. A wildcard may mean nothing.
    pub fn index_caps(&self, indices: &str) -> Result<SearchCaps, NoSuchRollupIndex> {
        let all = self.caps_of(|_| true);
        let names: Vec<&str> = all.iter().map(|caps| caps.rollup_index.as_str()).collect();
        let expression = IndexPattern::new(if is_all(indices) { "*" } else { indices });
        let meant: Vec<String> = expression
            .resolve(names.iter().copied())
            .map_err(NoSuchRollupIndex::new)?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let jobs = all.into_iter().filter(|caps| meant.contains(&caps.rollup_index));
        Ok(SearchCaps::by(|caps| &caps.rollup_index, jobs))
    }

    fn caps_of(&self, is_meant: impl Fn(&RollupJobConfig) -> bool) -> Vec<JobCaps> {
        let contexts = self.jobs().into_iter().map(|job| job.context());
        contexts.filter(|context| is_meant(context.config())).map(|context| JobCaps::of(context.config())).collect()
    }
}

fn is_all(pattern: &str) -> bool {
    matches!(pattern, "" | "*" | "_all")
}
