//! Rolled up: the documents that a job has written, as typed rows.

use super::RollupJobManager;
use crate::engine::{self, EngineError, JobContext, PageStream, StopSignal};
use crate::rollup::{Page, RolledUpRow};
use crate::scan::ScanRequest;
use crate::sync::Arc;

/// What a job has rolled up could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolledUpError {
    /// There is no such job.
    #[error("could not read what rollup job [{job_id}] has rolled up: there is no such job")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The job's record cannot be read.
    #[error("could not read what rollup job [{job_id}] has rolled up: its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The engine could not read it.
    #[error("could not read what rollup job [{job_id}] has rolled up: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
}

/// The rows of a job in key order, as of one commit, read page by page: [`RollupJobManager::rolled_up`].
///
/// An error ends it.
pub struct RolledUpRows {
    job: JobContext,
    stream: Option<Box<dyn PageStream>>,
    page: Page,
    next: usize,
}

impl RollupJobManager {
    /// What a job has rolled up so far, on whichever engine: a row for each group, in key order. It is read in the
    /// caller's thread, and the job may go on meanwhile.
    ///
    /// # Errors
    /// [`RolledUpError`]; while rows are read an [`EngineError`] comes in place of one.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager, RunEnded};
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # for value in [20.0, 21.0] {
    /// #     engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", value));
    /// # }
    /// # struct Done(std::sync::mpsc::SyncSender<()>);
    /// # impl rollup_jobs::Observer for Done {
    /// #     fn run_ended(&self, _: &str, _: &RunEnded) { let _ = self.0.try_send(()); }
    /// # }
    /// # let (sender, done) = std::sync::mpsc::sync_channel(1);
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).observer(Arc::new(Done(sender))).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10).terms(["node"]).metric("temperature", [Metric::Avg]);
    /// # manager.put(config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// # manager.start("sensor")?;
    /// # manager.trigger("sensor")?;
    /// # done.recv()?;
    /// for row in manager.rolled_up("sensor")? {
    ///     let row = row?;
    ///     println!("{} {:?}: {:?}", row.date(), row.text("node"), row.average("temperature"));
    /// #   assert_eq!((row.text("node"), row.average("temperature")), (Some("a"), Some(20.5)));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rolled_up(&self, job_id: &str) -> Result<RolledUpRows, RolledUpError> {
        let id = || job_id.to_owned();
        let job = self.find_to_read(job_id).map_err(|unreadable| match unreadable {
            Some(reason) => RolledUpError::Unreadable { job_id: id(), reason },
            None => RolledUpError::NotFound { job_id: id() },
        })?;
        let job = job.context();
        let opened = self.runtime.engine_call(|runtime| {
            let request = ScanRequest::new(Arc::clone(job.layout().grouping()));
            runtime.rollup_index.scan_rolled_up(&job, request, &StopSignal::never())
        });
        let stream = opened.map_err(|source| RolledUpError::Engine { job_id: id(), source })?;
        Ok(RolledUpRows { job, stream: Some(stream), page: Page::default(), next: 0 })
    }
}

impl RolledUpRows {
    fn next_page(&mut self) -> Option<Result<Page, EngineError>> {
        let stream = self.stream.as_mut()?;
        let page = engine::call(|| stream.next_page(&StopSignal::never()));
        if !matches!(&page, Ok(page) if !page.is_empty()) {
            self.stream = None;
        }
        Some(page)
    }
}

impl Iterator for RolledUpRows {
    type Item = Result<RolledUpRow, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.page.len() {
            match self.next_page()? {
                Ok(page) => (self.page, self.next) = (page, 0),
                Err(error) => return Some(Err(error)),
            }
        }
        let row = RolledUpRow::new(self.job.layout(), self.page.get(self.next)?);
        self.next += 1;
        Some(Ok(row))
    }
}

impl std::fmt::Debug for RolledUpRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RolledUpRows").field("job", &self.job).finish_non_exhaustive()
    }
}
