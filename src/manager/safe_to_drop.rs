//! Which raw documents are not needed any more.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::RollupJobManager;
use crate::engine;
use crate::guard::texts_of;
use crate::job::{Dirty, Ledger, Progress};
use crate::runtime::{Entry, Job};
use crate::store::StoreError;
use crate::sync::Arc;

/// Until when raw documents of a source index are not needed any more, and what needs those from there on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SafeToDrop {
    /// Raw documents with an earlier date are rolled up by every job that reads the index, as they are now. `None`:
    /// none may go.
    pub before: Option<Timestamp>,
    /// What needs those that are not earlier.
    pub needed_by: Need,
}

/// What needs raw documents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// No job reads the index: nothing is known of it.
    NoJob,
    /// Nobody knows how far a job has come, since its record cannot be read.
    Unreadable {
        /// The job.
        job_id: String,
    },
    /// Nobody knows what a job reads, since the engine does not say.
    Unknown {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// A job has not rolled them up yet.
    NotRolledUp {
        /// The job.
        job_id: String,
    },
    /// They have changed, or are being changed, since a job has rolled them up.
    Changed {
        /// The job.
        job_id: String,
    },
}

/// Such as `rollup job [sensor] has not rolled them up yet`.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJob => f.write_str("no rollup job reads the index"),
            Self::Unreadable { job_id } => write!(f, "the record of rollup job [{job_id}] cannot be read"),
            Self::Unknown { job_id, reason } => {
                write!(f, "nobody knows what rollup job [{job_id}] reads, since its engine does not say: {reason}")
            }
            Self::NotRolledUp { job_id } => write!(f, "rollup job [{job_id}] has not rolled them up yet"),
            Self::Changed { job_id } => {
                write!(f, "they have changed since rollup job [{job_id}] has rolled them up, and are not repaired yet")
            }
        }
    }
}

impl RollupJobManager {
    /// Until when raw documents of a source index may be dropped: all jobs of the store that read it have rolled up
    /// what is before, durably, and nothing of that is known to have changed.
    ///
    /// Whoever drops them [seals](Self::seal_before) them before: what comes between the two is not lost then.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is known to be safe.
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
    /// let safe = manager.safe_to_drop_before("sensor-1")?;
    /// assert_eq!(safe.before, None);
    /// assert_eq!(safe.needed_by.to_string(), "rollup job [sensor] has not rolled them up yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn safe_to_drop_before(&self, index: &str) -> Result<SafeToDrop, StoreError> {
        let ledger = self.runtime.store_call(|store| store.ledger(index))?;
        self.safe_by(index, &ledger)
    }

    /// The same by what this ledger says of the index.
    pub(super) fn safe_by(&self, index: &str, ledger: &Ledger) -> Result<SafeToDrop, StoreError> {
        let entries: Vec<Entry> = self.registry.read().entries.values().cloned().collect();
        let (mut least, mut needed_by) = (i64::MAX, Need::NoJob);
        for entry in entries {
            let (until, need) = match entry {
                Entry::Reserved => continue,
                Entry::Broken(broken) => (i64::MIN, Need::Unreadable { job_id: broken.id.clone() }),
                Entry::Job(job) if !job.may_read(index) => continue,
                Entry::Job(job) => self.needs(&job, index, ledger)?,
            };
            if until < least {
                (least, needed_by) = (until, need);
            }
        }
        let before = Timestamp::from_millisecond(least).ok().filter(|_| needed_by != Need::NoJob);
        Ok(SafeToDrop { before, needed_by })
    }

    /// From when on a job needs raw documents of an index. What has changed in others is rolled up again together with
    /// these.
    fn needs(&self, job: &Arc<Job>, index: &str, ledger: &Ledger) -> Result<(i64, Need), StoreError> {
        let job_id = job.id().to_owned();
        let (view, context) = (job.lifecycle.view(), job.context());
        let progress: &Progress = &view.progress;
        // What is not saved may be forgotten.
        let is_known = view.unsaved.is_none() && progress.source_indices.iter().any(|known| known == index);
        let until = if is_known { progress.covered().end } else { i64::MIN };
        let pattern = context.config().index_pattern();
        let there = match self.runtime.engine_call(|runtime| engine::indices_of(&*runtime.source, &context, pattern)) {
            Ok(there) => there,
            Err(error) => return Ok((i64::MIN, Need::Unknown { job_id, reason: texts_of(&error).join(": ") })),
        };
        let others: BTreeSet<&str> = progress.known_source_indices().chain(there.iter().map(String::as_str)).collect();
        let others: Vec<&str> = others.into_iter().filter(|other| *other != index).collect();
        let ledgers = self.runtime.store_call(|store| store.ledgers(&others))?;
        let ledgers = others.iter().copied().zip(&ledgers).chain([(index, ledger)]);
        let Dirty { repairable, open, lost, inherited, .. } = Dirty::of(context.config(), progress, ledgers);
        let changed = repairable.iter().chain(&open).chain(&lost).chain(&inherited).map(|range| range.start).min();
        Ok(match changed.filter(|changed| *changed < until) {
            Some(changed) => (changed, Need::Changed { job_id }),
            None => (until, Need::NotRolledUp { job_id }),
        })
    }
}
