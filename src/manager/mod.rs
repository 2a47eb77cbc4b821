//! The facade: [`RollupJobManager`], its registry of jobs, and one file per operation.

mod adopt;
mod builder;
mod busy;
mod calls;
mod caps;
mod change;
mod completion;
mod delete;
mod field_validation;
mod get;
mod hints;
mod late_data;
mod list;
mod operation;
mod put;
mod put_or_keep;
mod reader;
mod refresh;
mod remove_data;
mod resume;
mod rolled_up;
mod safe_to_drop;
mod seal;
mod search;
mod selector;
mod shutdown;
mod start;
mod stop;
mod stop_error;
mod stop_many;
mod trigger;
mod update;
mod verify;

use std::collections::hash_map::Entry as MapEntry;
use std::fmt;

pub use adopt::AdoptError;
pub use builder::{OpenError, RetryOptions, RollupJobManagerBuilder};
pub use busy::BusyJob;
pub use change::{Change, ChangeError};
pub use completion::StopCompletion;
pub use delete::{DeleteError, DeleteOptions};
pub use late_data::{LateDataError, LateDataReport};
pub use put::{PutError, PutOptions};
pub use put_or_keep::{PutOrKeepError, PutOrKeepOptions, PutOutcome};
pub use reader::RollupReader;
pub use refresh::{Refresh, RefreshError};
pub use remove_data::RemoveDataError;
pub use rolled_up::{RolledUpError, RolledUpRows};
pub use safe_to_drop::{Need, SafeToDrop};
pub use seal::SealError;
pub use selector::JobSelector;
pub use shutdown::ShutdownError;
pub use start::StartError;
pub use stop::{StopOptions, Stopped};
pub use stop_error::StopError;
pub use stop_many::{StopManyError, StopReport};
pub use trigger::{TriggerError, Triggered};
pub use update::UpdateError;
pub use verify::VerifyError;

use calls::Calls;

use crate::engine::{Engine, RollupIndex, Source};
use crate::runtime::{Broken, Entry, Job, Registry, Runtime};
use crate::store::JobStore;
use crate::sync::{Arc, Monitor, RwLock};

/// Owns rollup jobs and the threads that run them.
///
/// It is `Send + Sync` and has one owner, who may share it in an `Arc`. Dropping it ends all runs at the next page
/// without changing what is persisted: a started job goes on when a manager opens the same store again.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use rollup_jobs::engine::{MemoryEngine, SourceDocument};
/// use rollup_jobs::store::MemoryStore;
/// use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager, StopOptions};
///
/// let engine = Arc::new(MemoryEngine::new());
/// engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", 20.5));
///
/// let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new())).open()?;
/// manager.put(
///     RollupJobConfig::builder("sensor")
///         .index_pattern("sensor-*")
///         .rollup_index("rolled")
///         .cron("0 0 * * * ?")
///         .page_size(1_000)
///         .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
///         .terms(["node"])
///         .metric("temperature", [Metric::Min, Metric::Max])
///         .build()?,
/// )?;
/// manager.start("sensor")?;
/// manager.trigger("sensor")?;
///
/// let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
/// let stopped = manager.stop("sensor", options)?;
/// assert!(stopped.is_at_rest());
/// manager.delete("sensor")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RollupJobManager {
    runtime: Arc<Runtime>,
    registry: Arc<RwLock<Registry>>,
    calls: Calls,
    /// Once a shutdown is over, whether everything has ended. What it could not wait for is never waited for again.
    shut_down: Arc<Monitor<Option<bool>>>,
}

impl RollupJobManager {
    /// Begins a manager of the jobs in `store`, whose data is in `engine`. The host keeps a handle of its own on the
    /// engine.
    pub fn builder(engine: Arc<dyn Engine>, store: Arc<dyn JobStore>) -> RollupJobManagerBuilder {
        Self::builder_of(engine.clone(), engine, store)
    }

    /// Begins a manager of the jobs in `store` that read in one system and write in another: such as what a cluster
    /// holds, rolled up into an embedded engine.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::RollupJobManager;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// let (source, rollup_index) = (MemoryEngine::new(), MemoryEngine::new());
    /// source.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// let store = Arc::new(MemoryStore::new());
    /// let manager = RollupJobManager::builder_of(Arc::new(source), Arc::new(rollup_index), store).open()?;
    /// # Ok::<(), rollup_jobs::OpenError>(())
    /// ```
    pub fn builder_of(
        source: Arc<dyn Source>,
        rollup_index: Arc<dyn RollupIndex>,
        store: Arc<dyn JobStore>,
    ) -> RollupJobManagerBuilder {
        RollupJobManagerBuilder::new(source, rollup_index, store)
    }

    fn jobs(&self) -> Vec<Arc<Job>> {
        self.registry.read().jobs()
    }

    /// Takes a job out of the registry, unless another one of its id has come in.
    fn forget(&self, job: &Job) {
        let mut registry = self.registry.write();
        if let MapEntry::Occupied(entry) = registry.entries.entry(Arc::clone(job.shared_id()))
            && matches!(entry.get(), Entry::Job(known) if known.key == job.key)
        {
            let removed = entry.remove();
            drop(registry);
            drop(removed);
        }
    }
}

impl fmt::Debug for RollupJobManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollupJobManager").field("jobs", &self.registry.read().entries.len()).finish_non_exhaustive()
    }
}
