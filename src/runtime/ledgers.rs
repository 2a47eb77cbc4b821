//! What becomes of notes: once every job has taken one up, it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Job, Runtime};
use crate::job::{Ledger, LedgerNote, Progress};
use crate::store::{StoreError, change_ledger};

impl Runtime {
    /// What was said up to now of these source indices.
    pub(crate) fn ledgers_of(&self, indices: BTreeSet<String>) -> Result<BTreeMap<String, Ledger>, StoreError> {
        let names: Vec<&str> = indices.iter().map(String::as_str).collect();
        let ledgers = self.store_call(|store| store.ledgers(&names))?;
        Ok(indices.into_iter().zip(ledgers).collect())
    }

    /// Notes that a job has to roll these ranges up again. Says under which number, by index: of each range those that
    /// have documents there.
    pub(crate) fn ask_again(
        &self,
        job_id: &str,
        progress: &Progress,
        ranges: &[Range<i64>],
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let mut by_index: BTreeMap<&str, Vec<&Range<i64>>> = BTreeMap::new();
        for range in ranges {
            for index in progress.indices_within(range) {
                by_index.entry(index).or_default().push(range);
            }
        }
        let noted = by_index.into_iter().map(|(index, ranges)| {
            let note = |ledger: &mut Ledger| {
                for range in &ranges {
                    ledger.note_for_job(job_id, (*range).clone());
                }
            };
            let (ledger, ()) = self.store_call(|store| change_ledger(store, index, note))?;
            Ok((index.to_owned(), ledger.last_number))
        });
        noted.collect()
    }

    /// Changes of these indices that are open were begun by somebody who has gone: nobody knows what of them has taken
    /// place. Those who are still at them say so when they are done.
    pub(crate) fn end_open_changes(&self, indices: BTreeSet<String>) -> Result<(), StoreError> {
        let ledgers = self.ledgers_of(indices)?;
        for (name, _) in ledgers.iter().filter(|(_, ledger)| !ledger.open_changes.is_empty()) {
            self.store_call(|store| {
                change_ledger(store, name, |ledger| {
                    for change in std::mem::take(&mut ledger.open_changes) {
                        ledger.note(change.range);
                    }
                })
            })?;
        }
        Ok(())
    }

    /// Forgets the notes of an index that every job has taken up, durably: `own` is the job whose run
    /// asks, before it reads anything, and what the engine has of it.
    pub(super) fn forget_notes(&self, index: &str, ledger: &Ledger, own: (&Job, &Progress)) -> Result<(), StoreError> {
        if ledger.notes.is_empty() && ledger.shrunk.is_empty() {
            return Ok(());
        }
        let Some(jobs) = self.all_jobs() else { return Ok(()) };
        let is_taken_up = |note: &&LedgerNote| {
            jobs.iter().all(|job| {
                let view = job.lifecycle.view();
                let (is_own, is_saved) = (job.key == own.0.key, view.unsaved.is_none());
                // What a run under way has read may be older than the note.
                let is_known = is_saved && (is_own || !view.has_run);
                let has_taken_up = |progress| job.has_taken_up(index, ledger, note, progress, is_known);
                has_taken_up(&view.progress) && (!is_own || has_taken_up(own.1))
            })
        };
        let over: Vec<LedgerNote> = ledger.notes.iter().chain(&ledger.shrunk).filter(is_taken_up).cloned().collect();
        if over.is_empty() {
            return Ok(());
        }
        self.store_call(|store| {
            let forget = |ledger: &mut Ledger| {
                ledger.notes.retain(|note| !over.contains(note));
                ledger.shrunk.retain(|note| !over.contains(note));
            };
            change_ledger(store, index, forget).map(drop)
        })
    }
}

impl Job {
    /// Whether a note says nothing any more about what the job has rolled up with this progress, if that `is_known`.
    fn has_taken_up(
        &self,
        index: &str,
        ledger: &Ledger,
        note: &LedgerNote,
        progress: &Progress,
        is_known: bool,
    ) -> bool {
        let config = self.context();
        let config = config.config();
        let Some(reached) = progress.reached(config).filter(|_| note.is_about(self.id())) else { return true };
        if !progress.source_indices.is_empty() && !progress.known_source_indices().any(|known| known == index) {
            return !config.index_pattern().may_mean(index);
        }
        let from = progress.covered().start;
        let open = progress.cured.open_of(index, ledger, note);
        is_known && open.iter().all(|range| range.end <= from || reached <= range.start)
    }
}
