//! Search: what raw and rolled-up documents have in common, in one answer.

use std::ops::Range;

use super::RollupJobManager;
use crate::clock::Clock;
use crate::engine::{JobContext, RollupIndex, Source, StopSignal};
use crate::job::{IndexPattern, Ledger};
use crate::runtime::{Job, LookError, Runtime};
use crate::search::{
    self, KnownJob, Ledgers, Limits, SearchBuckets, SearchError, SearchFault, SearchPlan, SearchRequest,
    SearchResponse, Standing, Systems,
};
use crate::store::StoreError;
use crate::sync::Arc;

impl RollupJobManager {
    /// Answers a search, by what is rolled up where that is proved to be the same, and by raw documents elsewhere. It
    /// is answered in the caller's thread, and no job waits for it. Async hosts make the call on a thread that may
    /// block and [cancel](crate::search::SearchCancel) it when nobody waits any more: `examples/async_search.rs`.
    ///
    /// # Errors
    /// [`SearchError`]; nothing has changed.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, SearchRequest};
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # for value in [20.0, 21.0] {
    /// #     let reading = SourceDocument::new().date("timestamp", 0).keyword("node", "a");
    /// #     engine.add("sensor-1", reading.double("temperature", value));
    /// # }
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10).terms(["node"]).metric("temperature", [Metric::Avg]);
    /// # manager.put(config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let per_day = DateHistogramAggregation::calendar("timestamp", "1d")
    ///     .aggregation("average", MetricAggregation::avg("temperature"));
    /// let response = manager.search(&SearchRequest::new("sensor-*").aggregation("per_day", per_day))?;
    /// for day in response.buckets("per_day")? {
    ///     println!("{:?}: {} documents, {:?}", day.date(), day.doc_count(), day.value("average")?);
    /// #   assert_eq!((day.doc_count(), day.value("average")?), (2, Some(20.5)));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, SearchError> {
        self.asking().search(request, &|| Ok(self.known_jobs()))
    }

    /// Answers a search that is about one aggregation, bucket by bucket: more of them than one answer could hold.
    ///
    /// The aggregation is a date histogram, a histogram or `terms`, and has all that an answer could have inside of it.
    /// Its buckets come in the order of their keys; those without documents are left out, and of terms it is all of
    /// them, whatever their `size`. At no time there are more than [`max_buckets`](SearchRequest::max_buckets) buckets
    /// in memory, those inside of others counted.
    ///
    /// All are of the moment at which they were asked for. The time limit of the request counts from now until the last
    /// bucket.
    ///
    /// # Errors
    /// [`SearchError`], here or instead of a bucket, after which there is none any more.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::search::{DateHistogramAggregation, SearchRequest, TermsAggregation};
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # for hour in [0, 1, 30_000_000] {
    /// #     let reading = SourceDocument::new().date("timestamp", hour * 3_600_000).keyword("node", "a");
    /// #     engine.add("sensor-1", reading.double("temperature", 20.0));
    /// # }
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10).terms(["node"]).metric("temperature", [Metric::Avg]);
    /// # manager.put(config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let nodes = TermsAggregation::new("node");
    /// let hours = DateHistogramAggregation::fixed("timestamp", "1h").aggregation("nodes", nodes);
    /// let mut documents = 0;
    /// for hour in manager.search_buckets(&SearchRequest::new("sensor-*").aggregation("hours", hours))? {
    ///     documents += hour?.doc_count();
    /// }
    /// assert_eq!(documents, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn search_buckets(&self, request: &SearchRequest) -> Result<SearchBuckets<'_>, SearchError> {
        self.asking().buckets(request, &|| Ok(self.known_jobs()))
    }

    /// Says of which parts the answer to a search would be made, and why: a dry run that reads no documents.
    ///
    /// # Errors
    /// [`SearchError`], as [`search`](Self::search) would have it.
    pub fn plan(&self, request: &SearchRequest) -> Result<SearchPlan, SearchError> {
        self.asking().plan(request, &|| Ok(self.known_jobs()))
    }

    fn known_jobs(&self) -> Vec<KnownJob> {
        let known = |job: Arc<Job>| {
            let replacements = job.count_of_replacements();
            let (context, progress) = (job.context(), job.progress());
            KnownJob { context, progress, standing: Arc::new(Counted { job, replacements }) }
        };
        self.jobs().into_iter().map(known).collect()
    }

    fn asking(&self) -> Asking<'_> {
        let runtime = &*self.runtime;
        Asking {
            source: &*runtime.source,
            rollup_index: &*runtime.rollup_index,
            ledgers: runtime,
            clock: &runtime.clock,
        }
    }
}

/// Who owns a job counts what it replaces.
struct Counted {
    job: Arc<Job>,
    replacements: u64,
}

impl Standing for Counted {
    fn has_changed(
        &self,
        buckets: &[Range<i64>],
        _has_been_noted: &dyn Fn() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        Ok(self.job.has_replaced(self.replacements, buckets))
    }
}

impl Ledgers for Runtime {
    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        self.store_call(|store| store.ledgers(indices))
    }

    fn look(&self, context: &JobContext, pattern: &IndexPattern, stop: &StopSignal) -> Result<(), SearchFault> {
        self.notice(context, pattern, stop).map_err(|error| match error {
            LookError::Engine(error) => error.into(),
            LookError::Store(error) => error.into(),
        })
    }
}

/// Whom searches are asked of, whoever owns the jobs.
pub(super) struct Asking<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) rollup_index: &'a dyn RollupIndex,
    pub(super) ledgers: &'a dyn Ledgers,
    pub(super) clock: &'a Arc<dyn Clock>,
}

/// The jobs that there are at this moment.
pub(super) type KnownJobs<'k> = dyn Fn() -> Result<Vec<KnownJob>, SearchError> + 'k;

/// How often a search begins anew because what it reads has changed below it, or is not there any more.
const MAX_TRIES: usize = 10;

impl<'a> Asking<'a> {
    pub(super) fn search(&self, request: &SearchRequest, jobs: &KnownJobs<'_>) -> Result<SearchResponse, SearchError> {
        let begun = self.clock.monotonic();
        let (_, answered) = self.ask(request, jobs, search::search)?;
        Ok(SearchResponse::new(self.clock.monotonic().saturating_sub(begun), answered))
    }

    pub(super) fn plan(&self, request: &SearchRequest, jobs: &KnownJobs<'_>) -> Result<SearchPlan, SearchError> {
        Ok(self.ask(request, jobs, search::plan)?.1)
    }

    pub(super) fn buckets(
        &self,
        request: &SearchRequest,
        jobs: &KnownJobs<'_>,
    ) -> Result<SearchBuckets<'a>, SearchError> {
        let (limits, (plan, rest)) = self.ask(request, jobs, search::buckets)?;
        Ok(SearchBuckets::new(request, limits, plan, rest))
    }

    fn ask<T>(
        &self,
        request: &SearchRequest,
        jobs: &KnownJobs<'_>,
        ask: impl Fn(&Systems<'a>, &SearchRequest, &[KnownJob]) -> Result<T, SearchFault>,
    ) -> Result<(Limits, T), SearchError> {
        let limits = Limits::of(request, self.clock);
        let mut tries = 1;
        loop {
            let systems = Systems {
                source: self.source,
                rollup_index: self.rollup_index,
                ledgers: self.ledgers,
                now: self.clock.now().as_millisecond(),
                stop: limits.stop(),
            };
            match ask(&systems, request, &jobs()?) {
                Ok(answer) => return Ok((limits, answer)),
                Err(fault) if fault.is_moved() && tries < MAX_TRIES => tries += 1,
                Err(fault) => return Err(limits.error(fault, request)),
            }
        }
    }
}
