use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::versioned::{self, RecordError};

/// The version of the stored form. A ledger with a higher one was written by a newer crate and is left alone.
const FORMAT: u32 = 1;

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
}

impl LedgerNote {
    /// Whether it is about all of this range.
    #[must_use]
    pub fn covers(&self, range: &Range<i64>) -> bool {
        self.range.start <= range.start && range.end <= self.range.end
    }
}

impl Ledger {
    /// Notes that documents in this range have changed. Says the number of the note, which takes up those that it
    /// touches: what they say has not been looked at either.
    pub fn note(&mut self, range: Range<i64>) -> u64 {
        self.last_number += 1;
        let mut note = LedgerNote { number: self.last_number, range };
        // Those that are left do not touch each other, so that one look is enough.
        self.notes.retain(|other| {
            let touches = other.range.start <= note.range.end && note.range.start <= other.range.end;
            if touches {
                note.range = note.range.start.min(other.range.start)..note.range.end.max(other.range.end);
            }
            !touches
        });
        self.notes.push(note);
        self.last_number
    }

    /// Notes that documents in this range are being changed. Says the number of the change.
    pub fn begin_change(&mut self, range: Range<i64>) -> u64 {
        self.last_number += 1;
        self.open_changes.push(LedgerNote { number: self.last_number, range });
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
