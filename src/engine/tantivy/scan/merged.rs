//! Rolled-up rows in groups that are found by place: each row stands for many, and brings what is known of their
//! values.

use super::cells::{self, ROWS};
use super::columns::stored_count;
use super::dense::{DenseGroups, ValueBlock};
use super::one_group;
use super::timeline::NONE;
use crate::measure::Measure;

impl DenseGroups {
    /// Adds sum, least and greatest, and the count if there is one, of other values in each document, which has them
    /// all.
    pub(super) fn merge_together(
        &mut self,
        slots: &[u32],
        field: usize,
        [sum, min, max]: [&[u64]; 3],
        count: Option<&[u64]>,
    ) {
        let (words, cells) = (self.shape.words, self.shape.fields[field]);
        let (place, counted) = (cells.sums.unwrap_or(0), cells.word(Measure::Count));
        let (sum, min, max) = (&sum[..slots.len()], &min[..slots.len()], &max[..slots.len()]);
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let cell = &mut self.words[*slot as usize * words..][..words];
            cells::merge_sums(&mut cell[1..].as_chunks_mut().0[place], [sum[at], min[at], max[at]]);
            if let (Some(word), Some(count)) = (counted, count) {
                cells::merge(cell, word, Measure::Count, count[at]);
            }
        }
    }

    /// Adds sum and count of other values in each document, and the rows that it stands for: it has them all.
    pub(super) fn merge_average(&mut self, slots: &[u32], field: usize, [sum, count, rows]: [&[u64]; 3]) {
        let (words, cells) = (self.shape.words, self.shape.fields[field]);
        let (Some(sum_word), Some(count_word)) = (cells.word(Measure::Sum), cells.word(Measure::Count)) else { return };
        let (sum, count, rows) = (&sum[..slots.len()], &count[..slots.len()], &rows[..slots.len()]);
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let cell = &mut self.words[*slot as usize * words..][..words];
            cell[ROWS] += stored_count(rows[at]);
            cells::merge(cell, sum_word, Measure::Sum, sum[at]);
            cells::merge(cell, count_word, Measure::Count, count[at]);
        }
    }

    /// Adds a measure of other values in each document.
    pub(super) fn merge_block(&mut self, slots: &[u32], measure: Measure, block: ValueBlock<'_>) {
        let Some(word) = self.shape.fields[block.field].word(measure) else { return };
        if self.all_in_one(slots, &block, |cell, raw| one_group::merge_all(cell, word, measure, raw)) {
            return;
        }
        // Each with a loop of its own: which measure it is is not looked at for each document.
        match measure {
            Measure::Count => self.each(slots, &block, |cell, raw| cells::merge(cell, word, Measure::Count, raw)),
            Measure::Sum => self.each(slots, &block, |cell, raw| cells::merge(cell, word, Measure::Sum, raw)),
            Measure::Min => self.each(slots, &block, |cell, raw| cells::merge(cell, word, Measure::Min, raw)),
            Measure::Max => self.each(slots, &block, |cell, raw| cells::merge(cell, word, Measure::Max, raw)),
        }
    }

    /// Counts the rows that each document stands for.
    pub(super) fn count_stored(&mut self, slots: &[u32], block: ValueBlock<'_>) {
        let count = |raw: &[u64]| raw.iter().map(|raw| stored_count(*raw)).sum::<u64>();
        if !self.all_in_one(slots, &block, |cell, raw| cell[ROWS] += count(raw)) {
            self.each(slots, &block, |cell, raw| cell[ROWS] += stored_count(raw));
        }
    }
}
