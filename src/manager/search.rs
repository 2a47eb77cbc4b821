//! Search: what raw and rolled-up documents have in common, in one answer.

use super::RollupJobManager;
use crate::engine::StopSignal;
use crate::search::{self, KnownJob, SearchError, SearchFault, SearchPlan, SearchRequest, SearchResponse, Systems};
use crate::sync::Arc;

impl RollupJobManager {
    /// Answers a search, by what is rolled up where that is proved to be the same, and by raw documents elsewhere. It
    /// is answered in the caller's thread, and no job waits for it.
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
    /// #     engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", value));
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
        let begun = self.runtime.clock.monotonic();
        let answered = self.ask(request, search::search)?;
        let took = self.runtime.clock.monotonic().saturating_sub(begun);
        Ok(SearchResponse::new(took, answered))
    }

    /// Says of which parts the answer to a search would be made, and why: a dry run that reads no documents.
    ///
    /// # Errors
    /// [`SearchError`], as [`search`](Self::search) would have it.
    pub fn plan(&self, request: &SearchRequest) -> Result<SearchPlan, SearchError> {
        self.ask(request, search::plan)
    }

    fn ask<T>(
        &self,
        request: &SearchRequest,
        ask: fn(&Systems<'_>, &SearchRequest, &[KnownJob]) -> Result<T, SearchFault>,
    ) -> Result<T, SearchError> {
        let runtime = &self.runtime;
        let deadline = request.timeout.map(|timeout| runtime.clock.monotonic().saturating_add(timeout));
        let is_over = {
            let clock = Arc::clone(&runtime.clock);
            move || deadline.is_some_and(|deadline| clock.monotonic() >= deadline)
        };
        let stop = match deadline {
            Some(_) => StopSignal::raised_when(is_over.clone()),
            None => StopSignal::never(),
        };
        let jobs: Vec<KnownJob> =
            self.jobs().into_iter().map(|job| KnownJob { context: job.context(), progress: job.progress() }).collect();
        let systems = Systems {
            source: &*runtime.source,
            rollup_index: &*runtime.rollup_index,
            ledger: &|index| runtime.store_call(|store| store.ledger(index)),
            now: runtime.clock.now().as_millisecond(),
            stop,
        };
        ask(&systems, request, &jobs).map_err(|fault| {
            let indices = request.indices.as_str();
            if is_over() { SearchError::Timeout { indices: indices.to_owned() } } else { fault.of(indices) }
        })
    }
}
