//! Late data, told: what has changed since it was rolled up, what became of it, and how late it was.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use super::RollupJobManager;
use crate::engine::{self, EngineError};
use crate::job::{Dirty, LastVerification, LateDocuments};
use crate::ranges::{both, merged};
use crate::runtime::LookError;
use crate::stop_signal::StopSignal;
use crate::store::StoreError;

/// What is known of a job's late data at a moment: ranges of whole date buckets, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LateDataReport {
    /// Documents have changed there since they were rolled up. They will be rolled up again, at once or when that is
    /// [asked for](RollupJobManager::refresh), as the job's [`late_data`](crate::LateData) says; until then searches
    /// read them raw.
    pub changed: Vec<Range<Timestamp>>,
    /// Documents are [being changed](RollupJobManager::begin_change) there.
    pub being_changed: Vec<Range<Timestamp>>,
    /// Documents have changed there that cannot be rolled up again: a source index with others of the same date buckets
    /// is gone. Sealing ends it: see [`raw_dropped`](RollupJobManager::raw_dropped).
    pub lost: Vec<Range<Timestamp>>,
    /// There are fewer documents there than were rolled up, and nobody has said why. What was rolled up stays, unless
    /// somebody asks for a [refresh](RollupJobManager::refresh) or the job
    /// [trusts deletions](crate::LateData::trust_deletes).
    pub shrunk: Vec<Range<Timestamp>>,
    /// What another system has rolled up, or an earlier version of this crate, and nobody has held against raw
    /// documents since. Whether these are still whole is not known: where documents have changed it is rolled up again
    /// only if a count finds as many as there were. [`verify`](RollupJobManager::verify) ends it where it finds as
    /// many.
    pub inherited: Vec<Range<Timestamp>>,
    /// How many documents came late so far, and how late.
    pub late_documents: LateDocuments,
    /// What the last verification of this manager has found: [`verify`](RollupJobManager::verify), or a run that has
    /// verified a [part](crate::LateData::verify_one_in).
    pub last_verification: Option<LastVerification>,
}

impl LateDataReport {
    /// Where the oldest documents begin that have changed and are not rolled up again.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let all = [&self.changed, &self.being_changed, &self.lost];
        all.into_iter().filter_map(|ranges| ranges.first()).map(|range| range.start).min()
    }

    /// The delay that would have had 99 of 100 of the late documents in time, up to a fifth too long.
    #[must_use]
    pub fn delay_for_99_percent(&self) -> Option<Duration> {
        self.late_documents.lateness.quantile(0.99)
    }
}

/// What is known of late data could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LateDataError {
    /// There is no such job.
    #[error("could not read the late data of rollup job [{job_id}]: there is no such job")]
    NotFound {
        /// What was asked for.
        job_id: String,
    },
    /// Its record cannot be read.
    #[error("could not read the late data of rollup job [{job_id}]: its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The engine could not look, or not say which source indices there are.
    #[error("could not read the late data of rollup job [{job_id}]: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
    /// What was said of source indices could not be read.
    #[error("could not read the late data of rollup job [{job_id}]: job store call failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
}

impl RollupJobManager {
    /// What is known of a job's late data: it looks for what has changed, where the engine notices that, and reads what
    /// was said of the source indices.
    ///
    /// # Errors
    /// [`LateDataError`]; nothing has changed.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let late = manager.late_data("sensor")?;
    /// assert_eq!(late.oldest(), None, "all is rolled up as it is");
    /// if let Some(delay) = late.delay_for_99_percent() {
    ///     println!("a delay of {delay:?} would have been enough for most");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn late_data(&self, job_id: &str) -> Result<LateDataReport, LateDataError> {
        let id = || job_id.to_owned();
        let job = self.find_to_read(job_id).map_err(|unreadable| match unreadable {
            Some(reason) => LateDataError::Unreadable { job_id: id(), reason },
            None => LateDataError::NotFound { job_id: id() },
        })?;
        let engine_failed = |source| LateDataError::Engine { job_id: id(), source };
        let store_failed = |source| LateDataError::Store { job_id: id(), source };
        let (runtime, context) = (&self.runtime, job.context());
        let pattern = context.config().index_pattern();
        runtime.notice(&context, pattern, &StopSignal::never()).map_err(|error| match error {
            LookError::Engine(source) => engine_failed(source),
            LookError::Store(source) => store_failed(source),
        })?;
        let there = runtime.engine_call(|runtime| engine::indices_of(&*runtime.source, &context, pattern));
        let view = job.lifecycle.view();
        let mut names = there.map_err(engine_failed)?;
        names.extend(view.progress.known_source_indices().map(str::to_owned));
        let ledgers = runtime.ledgers_of(names).map_err(store_failed)?;
        let said = ledgers.iter().map(|(index, ledger)| (index.as_str(), ledger));
        let Dirty { repairable, open, lost, shrunk, inherited } = Dirty::of(context.config(), &view.progress, said);
        Ok(LateDataReport {
            changed: instants(&merged(repairable.into_iter().chain(inherited))),
            being_changed: instants(&open),
            lost: instants(&lost),
            shrunk: instants(&shrunk),
            inherited: instants(&both(&view.progress.inherited(), &[view.progress.covered()])),
            late_documents: view.progress.stats.late_documents_with(view.late.as_deref()),
            last_verification: view.last_verification,
        })
    }
}

pub(super) fn instants(ranges: &[Range<i64>]) -> Vec<Range<Timestamp>> {
    ranges.iter().map(|range| instant(range.start)..instant(range.end)).collect()
}

/// The next one that there is.
fn instant(millis: i64) -> Timestamp {
    let end = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(end)
}
