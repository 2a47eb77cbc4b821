//! A reader: searches, and looks at jobs, without owning them.

use std::fmt;
use std::ops::Range;

use super::RollupJobManagerBuilder;
use super::search::Asking;
use crate::clock::Clock;
use crate::engine::JobContext;
use crate::job::{JobRecord, JobStatus, Ledger, Progress, StoredState};
use crate::runtime::Systems;
use crate::search::{
    JobCaps, KnownJob, Ledgers, NoSuchRollupIndex, SearchBuckets, SearchCaps, SearchError, SearchPlan, SearchRequest,
    SearchResponse, Standing,
};
use crate::store::{self, JobStore, LoadedRecord, StoreError};
use crate::sync::Arc;

/// Searches what jobs have rolled up, and looks at them, without owning them: in another process than the manager's, if
/// engine and store are a cluster's, or beside a manager on the same ones.
///
/// It has no threads, and changes nothing. It reads the records of the jobs in each call, so that what it knows of them
/// is what is stored: what a run has rolled up since it was saved is read raw.
pub struct RollupReader {
    systems: Systems,
    clock: Arc<dyn Clock>,
}

impl RollupJobManagerBuilder {
    /// Opens a reader. Nobody loses the ownership of the jobs, and nobody is waited for.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{FieldType, MemoryEngine};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// # use rollup_jobs::search::SearchRequest;
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.map("sensor-1", "timestamp", FieldType::Date);
    /// # let store = Arc::new(MemoryStore::new());
    /// let manager = RollupJobManager::builder(engine.clone(), store.clone()).open()?;
    /// let reader = RollupJobManager::builder(engine, store).open_reader();
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10);
    /// # let config = config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?;
    /// manager.put(config)?;
    /// assert_eq!(reader.list()?.len(), 1);
    /// assert_eq!(reader.search(&SearchRequest::new("sensor-*"))?.total(), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn open_reader(self) -> RollupReader {
        let (systems, clock) = self.into_systems();
        RollupReader { systems, clock }
    }
}

impl RollupReader {
    /// Answers a search, as [`RollupJobManager::search`](super::RollupJobManager::search) does.
    ///
    /// # Errors
    /// [`SearchError`]; the store may be what could not be read.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, SearchError> {
        self.asking().search(request, &|| self.known_jobs(request))
    }

    /// Answers a search bucket by bucket, as
    /// [`RollupJobManager::search_buckets`](super::RollupJobManager::search_buckets) does.
    ///
    /// # Errors
    /// [`SearchError`]; the store may be what could not be read.
    pub fn search_buckets(&self, request: &SearchRequest) -> Result<SearchBuckets<'_>, SearchError> {
        self.asking().buckets(request, &|| self.known_jobs(request))
    }

    /// Says of which parts the answer would be made, as [`RollupJobManager::plan`](super::RollupJobManager::plan) does.
    ///
    /// # Errors
    /// [`SearchError`]; the store may be what could not be read.
    pub fn plan(&self, request: &SearchRequest) -> Result<SearchPlan, SearchError> {
        self.asking().plan(request, &|| self.known_jobs(request))
    }

    /// What can be asked of the jobs that read these source indices, as
    /// [`RollupJobManager::caps`](super::RollupJobManager::caps) says it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn caps(&self, pattern: &str) -> Result<SearchCaps, StoreError> {
        Ok(SearchCaps::reading(pattern, self.all_caps()?))
    }

    /// What can be asked of these rollup indices, as
    /// [`RollupJobManager::index_caps`](super::RollupJobManager::index_caps) says it.
    ///
    /// # Errors
    /// [`StoreError`]; [`NoSuchRollupIndex`] within.
    pub fn index_caps(&self, indices: &str) -> Result<Result<SearchCaps, NoSuchRollupIndex>, StoreError> {
        Ok(SearchCaps::writing(indices, self.all_caps()?))
    }

    /// The status of a job as it is stored, if there is one: what it does at this moment only its manager knows.
    ///
    /// # Errors
    /// [`StoreError`]; a record that cannot be read is one as well.
    pub fn get(&self, job_id: &str) -> Result<Option<JobStatus>, StoreError> {
        match store::call(&*self.systems.store, |store| store.get(job_id))? {
            Some(LoadedRecord::Unreadable { error, .. }) => Err(error),
            found => Ok(found.and_then(as_put).map(JobStatus::of_record)),
        }
    }

    /// The statuses of all jobs as they are stored, sorted by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<JobStatus>, StoreError> {
        let mut statuses: Vec<_> = self.records()?.into_iter().map(JobStatus::of_record).collect();
        statuses.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(statuses)
    }

    pub(super) fn job_store(&self) -> &Arc<dyn JobStore> {
        &self.systems.store
    }

    /// Those that can be read, and were put to the end.
    fn records(&self) -> Result<Vec<JobRecord>, StoreError> {
        let loaded = store::call(&*self.systems.store, |store| store.load())?;
        Ok(loaded.into_iter().filter_map(as_put).collect())
    }

    fn known_jobs(&self, request: &SearchRequest) -> Result<Vec<KnownJob>, SearchError> {
        let failed = |source| SearchError::Store { indices: request.indices.as_str().to_owned(), source };
        let known = |JobRecord { definition, progress, epoch, .. }| {
            let (id, store) = (definition.config.id().to_owned(), Arc::clone(&self.systems.store));
            let standing = Recorded { store, id, epoch, progress: Arc::clone(&progress) };
            let context = JobContext::of(definition).with_epoch(epoch);
            KnownJob { context, progress, standing: Arc::new(standing) }
        };
        Ok(self.records().map_err(failed)?.into_iter().map(known).collect())
    }

    fn all_caps(&self) -> Result<Vec<JobCaps>, StoreError> {
        Ok(self.records()?.iter().map(|record| JobCaps::of(record.config())).collect())
    }

    fn asking(&self) -> Asking<'_> {
        let Systems { source, rollup_index, .. } = &self.systems;
        Asking { source: &**source, rollup_index: &**rollup_index, ledgers: self, clock: &self.clock }
    }
}

/// Who does not own a job reads its record again: it has lost its position before its documents are removed. What is
/// replaced was noted before.
struct Recorded {
    store: Arc<dyn JobStore>,
    id: String,
    epoch: u64,
    progress: Arc<Progress>,
}

impl Standing for Recorded {
    fn has_changed(
        &self,
        _buckets: &[Range<i64>],
        has_been_noted: &dyn Fn() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let found = store::call(&*self.store, |store| store.get(&self.id))?.and_then(as_put);
        let is_the_same = |now: JobRecord| now.epoch == self.epoch && now.progress.goes_on_from(&self.progress);
        Ok(has_been_noted()? || !found.is_some_and(is_the_same))
    }
}

/// A record that can be read, of a job that was put to the end.
fn as_put(loaded: LoadedRecord) -> Option<JobRecord> {
    match loaded {
        LoadedRecord::Job(record) if record.state() != StoredState::Preparing => Some(*record),
        LoadedRecord::Job(_) | LoadedRecord::Unreadable { .. } => None,
    }
}

impl Ledgers for RollupReader {
    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        store::call(&*self.systems.store, |store| store.ledgers(indices))
    }
}

impl fmt::Debug for RollupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollupReader").field("store", &self.systems.store).finish_non_exhaustive()
    }
}
