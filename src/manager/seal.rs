//! Sealing: raw documents are about to be dropped, or were, and what was rolled up of them stays as it is.

use std::ops::Range;

use jiff::Timestamp;

use super::RollupJobManager;
use super::change::is_name;
use super::safe_to_drop::SafeToDrop;
use crate::engine::{EngineError, StopSignal};
use crate::job::Ledger;
use crate::ranges::{merged, without};
use crate::runtime::{Job, LookError};
use crate::store::{StoreError, change_ledger, change_ledger_unless};
use crate::sync::Arc;
use crate::verify::VerifyOptions;

/// Raw documents are not sealed: they must not be dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is of one index, by its own name.
    #[error("cannot seal [{index}]: name one index, without wildcards")]
    Index {
        /// What was named.
        index: String,
    },
    /// Some of them are needed.
    #[error(
        "cannot seal [{index}] before [{before}]: {}: {}",
        safe.before.map_or_else(|| "none may go".to_owned(), |safe| format!("safe is what is before [{safe}]")),
        safe.needed_by
    )]
    NotSafe {
        /// The index.
        index: String,
        /// Before when it was to be sealed.
        before: Timestamp,
        /// What may go.
        safe: SafeToDrop,
    },
    /// Raw documents and what is rolled up of them are not the same.
    #[error("cannot seal [{index}] before [{before}]: what rollup job [{job_id}] has rolled up is not right: {found}")]
    NotRight {
        /// The index.
        index: String,
        /// Before when it was to be sealed.
        before: Timestamp,
        /// The job.
        job_id: String,
        /// What [`verify`](RollupJobManager::verify) has found, or why it has not.
        found: String,
    },
    /// The engine could not be asked for what has changed.
    #[error("could not seal [{index}]: engine call failed")]
    Engine {
        /// The index.
        index: String,
        /// Why.
        source: EngineError,
    },
    /// The job store did not take it. After an error that is transient it may be sealed all the same.
    #[error("could not seal [{index}]: store call failed")]
    Store {
        /// The index.
        index: String,
        /// Why.
        source: StoreError,
    },
}

impl RollupJobManager {
    /// Says that raw documents of a source index with an earlier date are about to be dropped. Call it before they are:
    /// if something has come, or is not rolled up, it is refused, and nothing is lost.
    ///
    /// From then on no run and no search reads them. What was rolled up of them stays as it is, and
    /// [`begin_change`](Self::begin_change) there is refused. A seal belongs to the index, and outlives jobs.
    ///
    /// # Errors
    /// [`SealError`]; nothing is sealed, but see [`Store`](SealError::Store).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// let safe = manager.safe_to_drop_before("sensor-1")?;
    /// if let Some(before) = safe.before {
    ///     manager.seal_before("sensor-1", before)?;
    ///     // Now they may go.
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seal_before(&self, index: &str, before: Timestamp) -> Result<(), SealError> {
        check_name(index)?;
        let range = i64::MIN..before.as_millisecond();
        let readers: Vec<Arc<Job>> = self.jobs().into_iter().filter(|job| job.may_read(index)).collect();
        self.look_for(index, &readers)?;
        self.check_safe(index, before, &self.ledger_of(index)?)?;
        // What no engine notices by itself is counted.
        for job in readers.iter().filter(|job| !self.runtime.is_noticed(index, &job.context())) {
            self.check_right(index, before, job)?;
        }
        let seal = |ledger: &mut Ledger| {
            self.check_safe(index, before, ledger)?;
            let former = ledger.seals.clone();
            ledger.seals = merged(former.iter().cloned().chain([range.clone()]));
            Ok(former)
        };
        let sealed = self.runtime.store_call(|store| change_ledger_unless(store, index, seal));
        let (_, former) = sealed.map_err(|source| failed(index, source))??;
        // What has come since is not there without a word.
        let looked = self.look_for(index, &readers).and_then(|()| {
            let ledger = Ledger { seals: former.clone(), ..self.ledger_of(index)? };
            self.check_safe(index, before, &ledger)
        });
        if let Err(error) = looked {
            let withdraw = |ledger: &mut Ledger| {
                let kept = ledger.seals.iter().flat_map(|seal| without(seal, &range));
                ledger.seals = merged(kept.chain(former.iter().cloned()));
            };
            let withdrawn = self.runtime.store_call(|store| change_ledger(store, index, withdraw));
            withdrawn.map_err(|source| failed(index, source))?;
            return Err(error);
        }
        Ok(())
    }

    /// Says that a source index was dropped, with all its documents: where it had documents that were rolled up nothing
    /// is read raw, or rolled up again, any more.
    ///
    /// # Errors
    /// [`SealError::Index`], [`SealError::Store`]. After an error that is transient it may be sealed all the same.
    pub fn raw_dropped(&self, index: &str) -> Result<(), SealError> {
        check_name(index)?;
        let extents: Vec<Range<i64>> =
            self.jobs().iter().filter_map(|job| job.progress().known_source_dates().get(index).cloned()).collect();
        let seal = |ledger: &mut Ledger| {
            ledger.seals = merged(ledger.seals.iter().cloned().chain(extents.iter().cloned()));
            // What was being changed is gone as well.
            ledger
                .open_changes
                .retain(|change| ledger.seals.iter().all(|seal| without(&change.range, seal).count() > 0));
        };
        let sealed = self.runtime.store_call(|store| change_ledger(store, index, seal));
        sealed.map(drop).map_err(|source| failed(index, source))
    }

    fn ledger_of(&self, index: &str) -> Result<Ledger, SealError> {
        self.runtime.store_call(|store| store.ledger(index)).map_err(|source| failed(index, source))
    }

    fn look_for(&self, index: &str, readers: &[Arc<Job>]) -> Result<(), SealError> {
        for job in readers {
            let context = job.context();
            let looked = self.runtime.notice(&context, context.config().index_pattern(), &StopSignal::never());
            match looked {
                Err(LookError::Engine(source)) => return Err(SealError::Engine { index: index.to_owned(), source }),
                Err(LookError::Store(source)) => return Err(failed(index, source)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn check_safe(&self, index: &str, before: Timestamp, ledger: &Ledger) -> Result<(), SealError> {
        let safe = self.safe_by(index, ledger).map_err(|source| failed(index, source))?;
        if safe.before.is_some_and(|safe| safe >= before) {
            return Ok(());
        }
        Err(SealError::NotSafe { index: index.to_owned(), before, safe })
    }

    fn check_right(&self, index: &str, before: Timestamp, job: &Arc<Job>) -> Result<(), SealError> {
        let verified = self.verify(job.id(), &VerifyOptions::new().range(Timestamp::MIN..before));
        let found = match verified {
            Ok(found) if found.is_right() => return Ok(()),
            Ok(found) => found.to_string(),
            Err(error) => error.to_string(),
        };
        Err(SealError::NotRight { index: index.to_owned(), before, job_id: job.id().to_owned(), found })
    }
}

fn failed(index: &str, source: StoreError) -> SealError {
    SealError::Store { index: index.to_owned(), source }
}

fn check_name(index: &str) -> Result<(), SealError> {
    if is_name(index) { Ok(()) } else { Err(SealError::Index { index: index.to_owned() }) }
}
