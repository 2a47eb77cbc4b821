use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::versioned::{self, RecordError};
use crate::ranges::without;

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
    /// Notes that documents in this range have changed. Says the number of the note.
    pub fn note(&mut self, range: Range<i64>) -> u64 {
        self.note_for(None, range)
    }

    /// Notes that one job has to look at documents in this range again. Says the number of the note.
    pub fn note_for_job(&mut self, job_id: &str, range: Range<i64>) -> u64 {
        self.note_for(Some(job_id.to_owned()), range)
    }

    /// It takes the place of earlier notes where it is about the same.
    fn note_for(&mut self, job_id: Option<String>, range: Range<i64>) -> u64 {
        self.last_number += 1;
        let mut notes = Vec::with_capacity(self.notes.len() + 1);
        for note in self.notes.drain(..) {
            if note.job_id == job_id {
                let rest = without(&note.range, &range);
                notes.extend(rest.map(|range| LedgerNote { range, ..note.clone() }));
            } else {
                notes.push(note);
            }
        }
        notes.push(LedgerNote { number: self.last_number, range, job_id });
        self.notes = notes;
        while self.notes.len() > MAX_NOTES {
            self.join_nearest();
        }
        self.last_number
    }

    /// Makes one note of the two with the smallest gap between them. What is sealed stays outside, unless all is.
    fn join_nearest(&mut self) {
        self.notes.sort_by(|one, other| (&one.job_id, one.range.start).cmp(&(&other.job_id, other.range.start)));
        let gap = |at: usize| {
            let (one, next) = (&self.notes[at], &self.notes[at + 1]);
            let between = one.range.end..next.range.start;
            let crosses = one.job_id != next.job_id;
            (crosses, self.sealed(&between).is_some(), between.end.saturating_sub(between.start))
        };
        let Some(at) = (0..self.notes.len().saturating_sub(1)).min_by_key(|at| gap(*at)) else { return };
        let next = self.notes.remove(at + 1);
        let note = &mut self.notes[at];
        note.range.end = note.range.end.max(next.range.end);
        note.number = note.number.max(next.number);
        if note.job_id != next.job_id {
            note.range.start = note.range.start.min(next.range.start);
            note.job_id = None;
        }
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
        self.seals.iter().find(|seal| seal.start < range.end && range.start < seal.end).cloned()
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
