//! Search: what raw and rolled-up documents have in common, in one answer.

use super::RollupJobManager;
use crate::clock::Clock;
use crate::engine::{RollupIndex, Source, StopSignal};
use crate::job::Ledger;
use crate::search::{
    self, KnownJob, SearchCancel, SearchError, SearchFault, SearchPlan, SearchRequest, SearchResponse, Systems,
};
use crate::store::StoreError;
use crate::sync::Arc;

impl RollupJobManager {
    /// Answers a search, by what is rolled up where that is proved to be the same, and by raw documents elsewhere. It
    /// is answered in the caller's thread, and no job waits for it. Async hosts make the call on a thread that may
    /// block and [cancel](SearchCancel) it when nobody waits any more: `examples/async_search.rs`.
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
        self.asking(|asking| asking.search(request, &self.known_jobs()))
    }

    /// Says of which parts the answer to a search would be made, and why: a dry run that reads no documents.
    ///
    /// # Errors
    /// [`SearchError`], as [`search`](Self::search) would have it.
    pub fn plan(&self, request: &SearchRequest) -> Result<SearchPlan, SearchError> {
        self.asking(|asking| asking.plan(request, &self.known_jobs()))
    }

    fn known_jobs(&self) -> Vec<KnownJob> {
        let known = |job: Arc<crate::runtime::Job>| KnownJob { context: job.context(), progress: job.progress() };
        self.jobs().into_iter().map(known).collect()
    }

    fn asking<T>(&self, ask: impl FnOnce(&Asking<'_>) -> T) -> T {
        let runtime = &self.runtime;
        ask(&Asking {
            source: &*runtime.source,
            rollup_index: &*runtime.rollup_index,
            ledger: &|index| runtime.store_call(|store| store.ledger(index)),
            clock: &runtime.clock,
        })
    }
}

/// Whom searches are asked of, whoever owns the jobs.
pub(super) struct Asking<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) rollup_index: &'a dyn RollupIndex,
    /// What was said of a source index.
    pub(super) ledger: &'a dyn Fn(&str) -> Result<Ledger, StoreError>,
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl Asking<'_> {
    pub(super) fn search(&self, request: &SearchRequest, jobs: &[KnownJob]) -> Result<SearchResponse, SearchError> {
        let begun = self.clock.monotonic();
        let answered = self.ask(request, jobs, search::search)?;
        Ok(SearchResponse::new(self.clock.monotonic().saturating_sub(begun), answered))
    }

    pub(super) fn plan(&self, request: &SearchRequest, jobs: &[KnownJob]) -> Result<SearchPlan, SearchError> {
        self.ask(request, jobs, search::plan)
    }

    fn ask<T>(
        &self,
        request: &SearchRequest,
        jobs: &[KnownJob],
        ask: fn(&Systems<'_>, &SearchRequest, &[KnownJob]) -> Result<T, SearchFault>,
    ) -> Result<T, SearchError> {
        let deadline = request.timeout.map(|timeout| self.clock.monotonic().saturating_add(timeout));
        let (clock, cancel) = (Arc::clone(self.clock), request.cancel.clone());
        let is_over = move || deadline.is_some_and(|deadline| clock.monotonic() >= deadline);
        let is_cancelled = move || cancel.as_ref().is_some_and(SearchCancel::is_cancelled);
        let stop = if deadline.is_none() && request.cancel.is_none() {
            StopSignal::never()
        } else {
            let (is_over, is_cancelled) = (is_over.clone(), is_cancelled.clone());
            StopSignal::raised_when(move || is_cancelled() || is_over())
        };
        let systems = Systems {
            source: self.source,
            rollup_index: self.rollup_index,
            ledger: self.ledger,
            now: self.clock.now().as_millisecond(),
            stop,
        };
        ask(&systems, request, jobs).map_err(|fault| {
            let indices = || request.indices.as_str().to_owned();
            // What else has failed has failed because of it, or does not matter any more.
            if is_cancelled() {
                SearchError::Cancelled { indices: indices() }
            } else if is_over() {
                SearchError::Timeout { indices: indices() }
            } else {
                fault.of(request)
            }
        })
    }
}
