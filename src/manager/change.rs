//! Changes: documents that come late, are changed or removed, in time that may be rolled up already.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;

use super::{RollupJobManager, RollupReader};
use crate::job::Ledger;
use crate::runtime::Runtime;
use crate::store::{self, JobStore, StoreError, change_ledger, change_ledger_unless};
use crate::sync::{Arc, Weak};

/// A change could not be begun or noted. Nothing was noted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It is of one index, by its own name.
    #[error("cannot note a change of [{index}]: name one index, without wildcards")]
    Index {
        /// What was named.
        index: String,
    },
    /// No instant is in it.
    #[error(
        "cannot note a change of [{index}]: its range ends at [{until}] and does not begin before, but at [{from}]"
    )]
    Empty {
        /// The index.
        index: String,
        /// Where it begins.
        from: Timestamp,
        /// Where it ends.
        until: Timestamp,
    },
    /// Raw documents are gone there: what was rolled up of them stays as it is.
    #[error("cannot note a change of [{index}]: its documents from [{from}] until [{until}] are sealed")]
    Sealed {
        /// The index.
        index: String,
        /// Where the seal begins.
        from: Timestamp,
        /// Where it ends.
        until: Timestamp,
    },
    /// The job store did not take it. After an error that is transient it may have been noted all the same, which does
    /// no harm.
    #[error("could not note a change of [{index}]")]
    Store {
        /// The index.
        index: String,
        /// Why.
        source: StoreError,
    },
}

/// A change under way: until it is [done](Self::done), and from then on, its range is read raw.
///
/// One that is dropped, or whose process ends, stays open: nobody knows what of it has taken place.
#[must_use = "what is not done stays open, and is read raw for ever"]
pub struct Change {
    store: Arc<dyn JobStore>,
    /// Whose jobs repair what has changed; none where that is done elsewhere.
    runtime: Weak<Runtime>,
    index: String,
    range: Range<i64>,
    number: u64,
}

impl Change {
    /// The documents are there, for whoever reads the index from now on.
    ///
    /// It may be called again, and has to be after an error.
    ///
    /// # Errors
    /// [`ChangeError::Store`]: the change is still open.
    pub fn done(&self) -> Result<(), ChangeError> {
        // Also where somebody has counted it as done: what has looked since may have been too early.
        let end = |ledger: &mut Ledger| ledger.end_change(self.number, self.range.clone());
        let ended = store::call(&*self.store, |store| change_ledger(store, &self.index, end));
        ended.map_err(|source| failed(&self.index, source))?;
        if let Some(runtime) = self.runtime.upgrade() {
            runtime.repair_soon(&self.index, std::slice::from_ref(&self.range));
        }
        Ok(())
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, range, number, .. } = self;
        f.debug_struct("Change").field("index", index).field("range", range).field("number", number).finish()
    }
}

impl RollupJobManager {
    /// Says that documents of a source index with dates in this range are about to come, to change or to go. Call it
    /// before they are committed, and [`done`](Change::done) afterwards: a crash in between loses nothing.
    ///
    /// From now on searches read this range raw, until it is done and the jobs have rolled it up again: see
    /// [`LateData`](crate::LateData). What is not rolled up yet needs no change: a run reads what is there.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was noted, and nothing should be committed.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::jiff::Timestamp;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new())).open()?;
    /// let (from, until): (Timestamp, Timestamp) = ("2026-01-01T00:00:00Z".parse()?, "2026-01-02T00:00:00Z".parse()?);
    /// let change = manager.begin_change("sensor-1", from..until)?;
    /// engine.add("sensor-1", SourceDocument::new().date("timestamp", from.as_millisecond()));
    /// change.done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin_change(&self, index: &str, range: Range<Timestamp>) -> Result<Change, ChangeError> {
        begin(self.runtime.job_store(), Arc::downgrade(&self.runtime), index, range)
    }

    /// Says that documents of a source index with dates in this range have come, changed or gone: in short, for after
    /// they were committed. A crash between the commit and this call loses it; [`begin_change`](Self::begin_change)
    /// does not.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was noted.
    pub fn note_change(&self, index: &str, range: Range<Timestamp>) -> Result<(), ChangeError> {
        let noted = note(&**self.runtime.job_store(), index, range)?;
        self.runtime.repair_soon(index, std::slice::from_ref(&noted));
        Ok(())
    }
}

impl RollupReader {
    /// Says that documents are about to change, as
    /// [`RollupJobManager::begin_change`](super::RollupJobManager::begin_change) does: whoever writes source indices
    /// need not own the jobs.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was noted, and nothing should be committed.
    pub fn begin_change(&self, index: &str, range: Range<Timestamp>) -> Result<Change, ChangeError> {
        begin(self.job_store(), Weak::new(), index, range)
    }

    /// Says that documents have changed, as
    /// [`RollupJobManager::note_change`](super::RollupJobManager::note_change) does.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was noted.
    pub fn note_change(&self, index: &str, range: Range<Timestamp>) -> Result<(), ChangeError> {
        note(&**self.job_store(), index, range).map(drop)
    }
}

fn begin(
    store: &Arc<dyn JobStore>,
    runtime: Weak<Runtime>,
    index: &str,
    range: Range<Timestamp>,
) -> Result<Change, ChangeError> {
    let range = checked(index, range)?;
    let number = changed_unless_sealed(&**store, index, &range, |ledger| ledger.begin_change(range.clone()))?;
    Ok(Change { store: Arc::clone(store), runtime, index: index.to_owned(), range, number })
}

fn note(store: &dyn JobStore, index: &str, range: Range<Timestamp>) -> Result<Range<i64>, ChangeError> {
    let range = checked(index, range)?;
    changed_unless_sealed(store, index, &range, |ledger| ledger.note(range.clone()))?;
    Ok(range)
}

/// Whether it can be the name of one index.
pub(super) fn is_name(index: &str) -> bool {
    !index.is_empty() && !index.starts_with('-') && !index.contains(['*', ','])
}

/// The whole milliseconds that a range of an index touches.
fn checked(index: &str, range: Range<Timestamp>) -> Result<Range<i64>, ChangeError> {
    if !is_name(index) {
        return Err(ChangeError::Index { index: index.to_owned() });
    }
    if range.start >= range.end {
        return Err(ChangeError::Empty { index: index.to_owned(), from: range.start, until: range.end });
    }
    Ok(milliseconds(&range))
}

/// The whole milliseconds that a range touches.
pub(super) fn milliseconds(range: &Range<Timestamp>) -> Range<i64> {
    let milliseconds = |nanoseconds: i128| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    let from = milliseconds(range.start.as_nanosecond().div_euclid(1_000_000));
    let until = milliseconds((range.end.as_nanosecond() - 1).div_euclid(1_000_000) + 1);
    from..until
}

/// Looks for seals in the very ledger that is changed: one that comes at the same time is seen.
fn changed_unless_sealed<T>(
    store: &dyn JobStore,
    index: &str,
    range: &Range<i64>,
    change: impl Fn(&mut Ledger) -> T,
) -> Result<T, ChangeError> {
    let changed = store::call(store, |store| {
        change_ledger_unless(store, index, |ledger| match ledger.sealed(range) {
            Some(seal) => Err(is_sealed(index, &seal)),
            None => Ok(change(ledger)),
        })
    });
    changed.map_err(|source| failed(index, source))?.map(|(_, said)| said)
}

fn failed(index: &str, source: StoreError) -> ChangeError {
    ChangeError::Store { index: index.to_owned(), source }
}

fn is_sealed(index: &str, seal: &Range<i64>) -> ChangeError {
    let at = |millis: i64, end: Timestamp| Timestamp::from_millisecond(millis).unwrap_or(end);
    let (from, until) = (at(seal.start, Timestamp::MIN), at(seal.end, Timestamp::MAX));
    ChangeError::Sealed { index: index.to_owned(), from, until }
}
