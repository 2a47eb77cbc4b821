use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, LedgerNote};
use crate::ranges::{all_without, merged, without};

/// Which notes of the [ledgers](Ledger) of source indices are taken up in what a job has rolled up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cured(BTreeMap<String, TakenUp>);

/// Which notes of one index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TakenUp {
    /// All up to this number.
    until: u64,
    /// In which ranges all up to a higher one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<LedgerNote>,
}

impl Cured {
    /// Whether nothing was ever noted that is taken up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was noted of an index in this range up to `number` is taken up.
    pub(crate) fn cure(&mut self, index: &str, range: &Range<i64>, number: u64) {
        let known = self.0.entry(index.to_owned()).or_default();
        if number <= known.until {
            return;
        }
        let mut cured = Vec::with_capacity(known.ranges.len() + 1);
        let mut rest = vec![range.clone()];
        for piece in known.ranges.drain(..) {
            if piece.number > number {
                rest = all_without(rest, std::slice::from_ref(&piece.range));
                cured.push(piece);
            } else {
                let left = without(&piece.range, range);
                cured.extend(left.map(|range| LedgerNote::new(piece.number, range)));
            }
        }
        cured.extend(rest.into_iter().map(|range| LedgerNote::new(number, range)));
        known.ranges = cured;
    }

    /// Where notes of an index say something about a job that is not taken up.
    pub(crate) fn open(&self, index: &str, ledger: &Ledger, job_id: &str) -> Vec<Range<i64>> {
        self.open_among(&ledger.notes, index, ledger, job_id)
    }

    /// Where an index has lost documents, and a job has not taken that up.
    pub(crate) fn shrunk(&self, index: &str, ledger: &Ledger, job_id: &str) -> Vec<Range<i64>> {
        self.open_among(&ledger.shrunk, index, ledger, job_id)
    }

    fn open_among(&self, notes: &[LedgerNote], index: &str, ledger: &Ledger, job_id: &str) -> Vec<Range<i64>> {
        let about_job = notes.iter().filter(|note| note.is_about(job_id));
        merged(about_job.flat_map(|note| self.open_of(index, ledger, note)))
    }

    /// What of a note is not taken up. A ledger that has not given a number out yet is not the one that it is of.
    pub(crate) fn open_of(&self, index: &str, ledger: &Ledger, note: &LedgerNote) -> Vec<Range<i64>> {
        self.open_within(index, &note.range, note.number..=ledger.last_number)
    }

    /// What of a range is not taken up: by a number that is one of these.
    pub(crate) fn open_within(&self, index: &str, range: &Range<i64>, by: RangeInclusive<u64>) -> Vec<Range<i64>> {
        let Some(known) = self.0.get(index) else { return vec![range.clone()] };
        if by.contains(&known.until) {
            return Vec::new();
        }
        let taken_up = known.ranges.iter().filter(|piece| by.contains(&piece.number));
        let taken_up: Vec<Range<i64>> = taken_up.map(|piece| piece.range.clone()).collect();
        all_without(vec![range.clone()], &taken_up)
    }

    /// Says the same in fewer words, now that a ledger is this one.
    pub(crate) fn settle(&mut self, index: &str, ledger: &Ledger, job_id: &str) {
        let said = ledger.notes.iter().chain(&ledger.shrunk).filter(|note| note.is_about(job_id));
        let open = said.filter(|note| !self.open_of(index, ledger, note).is_empty());
        let until = open.map(|note| note.number - 1).min().unwrap_or(ledger.last_number);
        if let Some(known) = self.0.get_mut(index) {
            known.until = until;
            known.ranges.retain(|piece| (until + 1..=ledger.last_number).contains(&piece.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By instant, a table of numbers says the same.
    #[test]
    fn what_is_taken_up_where() {
        let (mut cured, mut table) = (Cured::default(), BTreeMap::<i64, u64>::new());
        let mut ledger = Ledger { last_number: 60, ..Ledger::default() };
        let mut random = 7_u32;
        for _ in 0..200 {
            let mut next = |below: u32| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 8) % below
            };
            let (start, length) = (i64::from(next(30)), i64::from(1 + next(10)));
            let (range, number) = (start..start + length, u64::from(1 + next(50)));
            cured.cure("index", &range, number);
            for instant in range.clone() {
                let known = table.entry(instant).or_default();
                *known = number.max(*known);
            }
            let note = LedgerNote::new(u64::from(1 + next(50)), range);
            let open = merged(cured.open_of("index", &ledger, &note));
            for instant in note.range.clone() {
                let is_open = open.iter().any(|range| range.contains(&instant));
                assert_eq!(is_open, table[&instant] < note.number, "{instant} {note:?} {cured:?}");
            }
        }
        // Fewer words, the same meaning.
        ledger.notes = (1..40).map(|number| LedgerNote::new(number, 0..40)).collect();
        let open = cured.open("index", &ledger, "job");
        cured.settle("index", &ledger, "job");
        assert_eq!(cured.open("index", &ledger, "job"), open);
        ledger.notes.clear();
        cured.settle("index", &ledger, "job");
        assert!(cured.0["index"].ranges.is_empty());
        assert_eq!(cured.open_within("index", &(0..40), 60..=u64::MAX), vec![], "what was forgotten is taken up");
        assert_eq!(cured.open_within("index", &(0..40), 61..=u64::MAX), vec![0..40]);
    }

    #[test]
    fn a_ledger_from_before_is_another_one() {
        let mut cured = Cured::default();
        cured.cure("index", &(0..10), 5);
        let mut ledger = Ledger::default();
        ledger.note(2..3);
        assert_eq!(cured.open("index", &ledger, "job"), vec![2..3]);
        cured.settle("index", &ledger, "job");
        assert_eq!(cured.open("index", &ledger, "job"), vec![2..3]);
        ledger.last_number = 7;
        assert_eq!(cured.open("index", &ledger, "job"), vec![2..3], "whatever numbers it gives out later");
    }
}
