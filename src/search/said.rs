//! What was said of the source indices that a search is about.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::asked::{Asked, Readers, resolve};
use super::error::SearchFault;
use super::run::{Ledgers, Systems};
use super::spans::Spans;
use crate::engine::JobContext;
use crate::job::{Dirty, Ledger, Progress};
use crate::store::StoreError;

/// The ledgers of all indices that are read, or were when documents of them were rolled up.
#[derive(PartialEq)]
pub(super) struct Said {
    ledgers: BTreeMap<String, Ledger>,
    /// The source indices that there are.
    there: BTreeSet<String>,
}

impl Said {
    pub(super) fn read(systems: &Systems<'_>, asked: &Asked, readers: &Readers<'_>) -> Result<Self, SearchFault> {
        let there = match (&asked.raw, readers.same.first()) {
            (Some(raw), Some(job)) => resolve(systems, &job.context, raw)?,
            _ => BTreeSet::new(),
        };
        let remembered = readers.same.iter().flat_map(|job| &job.progress.source_indices);
        let names: BTreeSet<String> = remembered.cloned().chain(there.iter().cloned()).collect();
        let ledgers = systems.ledgers.ledgers(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { ledgers: names.into_iter().zip(ledgers).collect(), there })
    }

    /// Whether anything more has been said of these indices since.
    pub(super) fn has_changed(&self, ledgers: &dyn Ledgers) -> Result<bool, StoreError> {
        let names: Vec<&str> = self.ledgers.keys().map(String::as_str).collect();
        Ok(!ledgers.ledgers(&names)?.iter().eq(self.ledgers.values()))
    }

    /// Whether there is a source index of this name.
    pub(super) fn is_there(&self, index: &str) -> bool {
        self.there.contains(index)
    }

    /// Where documents have changed since they were rolled up, or are being changed, and are read raw; and where some
    /// are missing that were.
    pub(super) fn changed(&self, context: &JobContext, progress: &Progress) -> (Spans, Spans) {
        let ledgers = self.ledgers.iter().map(|(name, ledger)| (name.as_str(), ledger));
        let Dirty { repairable, open, lost, shrunk, .. } = Dirty::of(context.config(), progress, ledgers);
        let instants = |buckets: &Range<i64>| context.config().rounding().instants_of(buckets);
        let changed = repairable.iter().chain(&open).chain(&lost).map(instants);
        (changed.collect(), shrunk.iter().map(instants).collect())
    }

    /// Whether any documents of this index are gone for good.
    pub(super) fn is_sealed(&self, index: &str) -> bool {
        self.ledgers.get(index).is_some_and(|ledger| !ledger.seals.is_empty())
    }

    /// Where documents are gone for good.
    pub(super) fn sealed(&self) -> Spans {
        self.ledgers.values().flat_map(|ledger| ledger.seals.iter().cloned()).collect()
    }
}
