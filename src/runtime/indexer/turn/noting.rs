//! Ranges whose rolled-up documents may not be those of one snapshot: the ledgers know of them before the first write
//! there does.

use std::ops::Range;

use super::{Turn, TurnError};
use crate::job::{DateBucket, KeyPart, Ledger, Phase, Position};
use crate::rollup::RolledUpPage;
use crate::store::{StoreError, change_ledger};

impl Turn<'_> {
    /// The first page of a snapshot may add groups to a date bucket that has some of another.
    pub(super) fn note_bucket_of_two_snapshots(&mut self, page: &RolledUpPage) -> Result<(), TurnError> {
        let goes_on_in = self.progress.position.as_ref().and_then(Position::date);
        let (Some(start), Some(first)) = (goes_on_in, page.buckets().get(0)) else { return Ok(()) };
        if first.key.first() != Some(&KeyPart::Date(start)) {
            return Ok(());
        }
        let DateBucket { start, end } = self.run.context.config().rounding().bucket(start);
        self.note_dirty(&(start..end)).inspect_err(|_| self.run.stream = None)
    }

    /// Notes, of each source index, that documents in this range have to be looked at again. An engine that does not
    /// say which indices there are has nobody to tell.
    pub(super) fn note_dirty(&self, range: &Range<i64>) -> Result<(), TurnError> {
        let is_noted = |ledger: &Ledger| ledger.notes.iter().any(|note| note.covers(range));
        let noted = self.progress.source_indices.iter().try_for_each(|index| {
            self.job.runtime.store_call(|store| {
                if !is_noted(&store.ledger(index)?) {
                    change_ledger(store, index, |ledger| ledger.note(range.clone()))?;
                }
                Ok::<_, StoreError>(())
            })
        });
        noted.map_err(|error| TurnError::of_store(&error, Phase::Saving))
    }
}
