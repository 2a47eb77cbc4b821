use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::versioned::{self, RecordError};
use crate::ranges::{touch, without};

/// The version of the stored form. A ledger with a higher one was written by a newer crate and is left alone.
const FORMAT: u32 = 1;

/// A ledger has no more notes than this: of more, those with the smallest gap between them become one.
const MAX_NOTES: usize = 500;

/// What was said of a source index: where its documents have changed, and where they are gone for good. Times are in
/// milliseconds since 1970.
///
/// It is kept beside the jobs, not in them: hosts write it through any handle on the store, also one that does not own
/// the jobs, and it outlives them. No end of a turn touches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ledger {
    /// How often it was changed.
    pub revision: u64,
    /// The number that was given out last: to a note, or to a change as it begins.
    pub last_number: u64,
    /// Ranges whose documents have changed.
    pub notes: Vec<LedgerNote>,
    /// Ranges whose documents are being changed.
    pub open_changes: Vec<LedgerNote>,
    /// Ranges that have lost documents, as far as is known, without a word from their host: hosts remove raw documents
    /// to save space, so that what was rolled up of them stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shrunk: Vec<LedgerNote>,
    /// Ranges whose documents are gone, and never come again.
    pub seals: Vec<Range<i64>>,
}

/// A numbered range of a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LedgerNote {
    /// Its number: later ones are higher.
    pub number: u64,
    /// The instants that it is about.
    pub range: Range<i64>,
    /// The one job that it is about; `None`: whoever reads the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

impl LedgerNote {
    /// A note for whoever reads the index.
    #[must_use]
    pub fn new(number: u64, range: Range<i64>) -> Self {
        Self { number, range, job_id: None }
    }

    /// Whether it is about this job.
    #[must_use]
    pub fn is_about(&self, job_id: &str) -> bool {
        self.job_id.as_deref().is_none_or(|id| id == job_id)
    }
}

impl Ledger {
    /// A host says that documents in this range have changed, or are gone for a reason. Says the number of the note.
    pub fn note(&mut self, range: Range<i64>) -> u64 {
        self.shrunk = trimmed(std::mem::take(&mut self.shrunk), |_| true, &range);
        self.add(None, range)
    }

    /// Notes that one job has to look at documents in this range again. Says the number of the note.
    pub fn note_for_job(&mut self, job_id: &str, range: Range<i64>) -> u64 {
        self.add(Some(job_id.to_owned()), range)
    }

    /// Notes what a recount of one job has found: ranges that have more documents than it has rolled up, and others
    /// that have fewer.
    pub fn recounted(&mut self, job_id: &str, more: &[Range<i64>], fewer: &[Range<i64>]) {
        for range in more {
            self.note_for_job(job_id, range.clone());
        }
        for range in fewer {
            self.shrink(Some(job_id), range);
        }
    }

    /// Notes what an engine has noticed: ranges that have changed, and others that have lost documents.
    pub fn notice(&mut self, changed: &[Range<i64>], shrunk: &[Range<i64>]) {
        for range in changed {
            self.add(None, range.clone());
        }
        for range in shrunk {
            self.shrink(None, range);
        }
    }

    /// There are fewer documents in a range: than before, or than one job has rolled up.
    fn shrink(&mut self, job_id: Option<&str>, range: &Range<i64>) {
        self.last_number += 1;
        // What is known for all counts for each.
        let is_replaced = |known: &LedgerNote| job_id.is_none() || known.job_id.as_deref() == job_id;
        self.shrunk = trimmed(std::mem::take(&mut self.shrunk), is_replaced, range);
        let job_id = job_id.map(str::to_owned);
        self.shrunk.push(LedgerNote { number: self.last_number, range: range.clone(), job_id });
        self.shrunk = at_most(MAX_NOTES, std::mem::take(&mut self.shrunk), &self.seals);
    }

    /// It takes the place of earlier notes where it is about the same.
    fn add(&mut self, job_id: Option<String>, range: Range<i64>) -> u64 {
        self.last_number += 1;
        self.notes = trimmed(std::mem::take(&mut self.notes), |note| note.job_id == job_id, &range);
        self.notes.push(LedgerNote { number: self.last_number, range, job_id });
        self.notes = at_most(MAX_NOTES, std::mem::take(&mut self.notes), &self.seals);
        self.last_number
    }

    /// Notes that documents in this range are being changed. Says the number of the change.
    pub fn begin_change(&mut self, range: Range<i64>) -> u64 {
        self.last_number += 1;
        self.open_changes.push(LedgerNote::new(self.last_number, range));
        self.last_number
    }

    /// The change of this number is done: its range is noted, whoever has ended it already. Says the number of the
    /// note.
    pub fn end_change(&mut self, number: u64, range: Range<i64>) -> u64 {
        self.open_changes.retain(|change| change.number != number);
        self.note(range)
    }

    /// The first seal that has to do with a range.
    #[must_use]
    pub fn sealed(&self, range: &Range<i64>) -> Option<Range<i64>> {
        self.seals.iter().find(|seal| touch(seal, range)).cloned()
    }

    /// The form to store.
    #[must_use]
    pub fn to_json(&self) -> Value {
        versioned::write(self, FORMAT)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`RecordError`], which says whether the ledger is damaged or too new.
    pub fn from_json(text: &[u8]) -> Result<Self, RecordError> {
        versioned::read(text, FORMAT)
    }
}

/// What these notes say outside of a range, and those that are not `meant` say everywhere.
fn trimmed(notes: Vec<LedgerNote>, meant: impl Fn(&LedgerNote) -> bool, range: &Range<i64>) -> Vec<LedgerNote> {
    let mut left = Vec::with_capacity(notes.len() + 1);
    for note in notes {
        if meant(&note) {
            left.extend(without(&note.range, range).map(|range| LedgerNote { range, ..note.clone() }));
        } else {
            left.push(note);
        }
    }
    left
}

/// Of notes that are too many, those with the smallest gap between them become one. What is sealed stays outside,
/// unless all is.
fn at_most(most: usize, mut notes: Vec<LedgerNote>, seals: &[Range<i64>]) -> Vec<LedgerNote> {
    if notes.len() <= most {
        return notes;
    }
    notes.sort_by(|one, other| (&one.job_id, one.range.start).cmp(&(&other.job_id, other.range.start)));
    while notes.len() > most {
        let gap = |at: &usize| {
            let (one, next) = (&notes[*at], &notes[*at + 1]);
            let between = one.range.end..next.range.start;
            let is_sealed = seals.iter().any(|seal| touch(seal, &between));
            (one.job_id != next.job_id, is_sealed, between.end.saturating_sub(between.start))
        };
        let Some(at) = (0..notes.len() - 1).min_by_key(gap) else { break };
        let next = notes.remove(at + 1);
        let note = &mut notes[at];
        note.range = note.range.start.min(next.range.start)..note.range.end.max(next.range.end);
        note.number = note.number.max(next.number);
        if note.job_id != next.job_id {
            note.job_id = None;
        }
    }
    notes
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "ledgers have lists of ranges")]
mod tests {
    use super::*;

    #[test]
    fn notes_that_are_too_many_become_one_across_the_smallest_gap_and_no_seal() {
        let mut ledger = Ledger { seals: vec![15..16], ..Ledger::default() };
        let notes = [0..10, 18..20, 22..25, 40..50, 60..70];
        for range in notes {
            ledger.note(range);
        }
        let few = at_most(4, ledger.notes.clone(), &ledger.seals);
        let ranges =
            |notes: &[LedgerNote]| notes.iter().map(|note| (note.number, note.range.clone())).collect::<Vec<_>>();
        assert_eq!(ranges(&few), [(1, 0..10), (3, 18..25), (4, 40..50), (5, 60..70)]);
        let fewer = at_most(2, ledger.notes.clone(), &ledger.seals);
        assert_eq!(ranges(&fewer), [(1, 0..10), (5, 18..70)]);
        for number in 0..2_000 {
            ledger.note(number * 10..number * 10 + 1);
        }
        assert_eq!((ledger.notes.len(), ledger.last_number), (MAX_NOTES, 2_005));
    }

    #[test]
    fn what_a_host_says_counts_more_than_what_an_engine_has_noticed() {
        let mut ledger = Ledger::default();
        ledger.notice(&[0..5], &[10..20]);
        assert_eq!((ledger.notes.len(), ledger.shrunk.len(), ledger.last_number), (1, 1, 2));
        ledger.notice(&[12..13], &[]);
        ledger.note_for_job("sensor", 14..15);
        assert_eq!(
            ledger.shrunk,
            [LedgerNote::new(2, 10..20)],
            "that there are more now does not bring the others back"
        );
        ledger.note(15..30);
        assert_eq!(ledger.shrunk, [LedgerNote::new(2, 10..15)]);
    }
}
