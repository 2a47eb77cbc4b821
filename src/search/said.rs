//! What was said of the source indices that a search is about.

use std::collections::{BTreeMap, BTreeSet};

use super::asked::{Asked, Readers, resolve};
use super::error::SearchFault;
use super::run::Systems;
use super::spans::Spans;
use crate::job::Ledger;

/// The ledgers of all indices that are read, or were when documents of them were rolled up.
#[derive(PartialEq)]
pub(super) struct Said(BTreeMap<String, Ledger>);

impl Said {
    pub(super) fn read(systems: &Systems<'_>, asked: &Asked, readers: &Readers<'_>) -> Result<Self, SearchFault> {
        let remembered = readers.same.iter().flat_map(|job| &job.progress.source_indices);
        let mut names: BTreeSet<String> = remembered.cloned().collect();
        if let (Some(raw), Some(job)) = (&asked.raw, readers.same.first()) {
            names.extend(resolve(systems, &job.context, raw)?);
        }
        let read = |name: String| systems.ledgers.ledger(&name).map(|ledger| (name, ledger));
        Ok(Self(names.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Where documents have changed, or are being changed.
    pub(super) fn changed(&self) -> Spans {
        let notes = self.0.values().flat_map(|ledger| ledger.notes.iter().chain(&ledger.open_changes));
        notes.map(|note| note.range.clone()).collect()
    }

    /// Whether any documents of this index are gone for good.
    pub(super) fn is_sealed(&self, index: &str) -> bool {
        self.0.get(index).is_some_and(|ledger| !ledger.seals.is_empty())
    }

    /// Where documents are gone for good.
    pub(super) fn sealed(&self) -> Spans {
        self.0.values().flat_map(|ledger| ledger.seals.iter().cloned()).collect()
    }
}
