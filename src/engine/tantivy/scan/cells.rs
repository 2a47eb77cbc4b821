//! What a dense group keeps: a cell of words.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::{NumberColumn, Segment};
use crate::measure::{Measure, Measures, MetricValues, whole_count};

/// What a group's cell holds: the count of rows, and the measures of each field that it is asked for.
#[derive(Clone, Default)]
pub(super) struct CellShape {
    pub(super) fields: Vec<FieldCells>,
    pub(super) words: usize,
}

/// Where in a cell the measures of a field are.
#[derive(Clone, Copy, Default)]
pub(super) struct FieldCells {
    /// Sum, least and greatest side by side, in the first words of a cell: these are found out together.
    pub(super) sums: Option<usize>,
    /// The words of what is found out by itself: the sum and what it is too large by (Kahan), both as bits, and the
    /// least and the greatest value as a column of doubles holds them, mapped to integers, which compare faster.
    sum: Option<usize>,
    min: Option<usize>,
    max: Option<usize>,
    /// The word that counts values: that of the rows where each has exactly one.
    count: Option<usize>,
}

/// The word that counts rows.
pub(super) const ROWS: usize = 0;

pub(super) type Sums = [u64; 4];

/// Infinity as a column of doubles would hold it, which no value is: where there is none, it says so by itself.
const NO_LEAST: u64 = 0xFFF0 << 48;
/// The same of negative infinity.
const NO_GREATEST: u64 = !(0xFFF0 << 48);
const NO_VALUES: Sums = [0, 0, NO_LEAST, NO_GREATEST];

impl FieldCells {
    /// The word of a measure, if the field is asked for it.
    #[inline]
    pub(super) fn word(&self, measure: Measure) -> Option<usize> {
        match measure {
            Measure::Count => self.count,
            Measure::Sum => self.sum,
            Measure::Min => self.min,
            Measure::Max => self.max,
        }
    }
}

impl CellShape {
    pub(super) fn of(segments: &[Segment], measures: &[Measures]) -> Self {
        let is_full =
            |field: usize| segments.iter().all(|segment| segment.values(field).is_some_and(NumberColumn::is_full));
        let together = Measure::Sum | Measure::Min | Measure::Max;
        let has_all = |measures: Measures| together.iter().all(|measure| measures.has(measure));
        let mut shape = Self { fields: vec![FieldCells::default(); measures.len()], words: 1 };
        for (sums, field) in (0..measures.len()).filter(|field| has_all(measures[*field])).enumerate() {
            let first = shape.more(NO_VALUES.len());
            let (sum, min, max) = (Some(first), Some(first + 2), Some(first + 3));
            shape.fields[field] = FieldCells { sums: Some(sums), sum, min, max, count: None };
        }
        for (field, measures) in measures.iter().enumerate() {
            let mut cells = shape.fields[field];
            for measure in measures.iter() {
                match measure {
                    Measure::Count if is_full(field) => cells.count = Some(ROWS),
                    Measure::Count => cells.count = Some(shape.more(1)),
                    Measure::Sum => cells.sum = cells.sum.or_else(|| Some(shape.more(2))),
                    Measure::Min => cells.min = cells.min.or_else(|| Some(shape.more(1))),
                    Measure::Max => cells.max = cells.max.or_else(|| Some(shape.more(1))),
                }
            }
            shape.fields[field] = cells;
        }
        shape
    }

    fn more(&mut self, words: usize) -> usize {
        self.words += words;
        self.words - words
    }

    /// What a group takes, besides its place in the table.
    pub(super) fn bytes(&self) -> usize {
        self.words * size_of::<u64>()
    }

    /// The cell of a group without rows.
    pub(super) fn empty(&self) -> Vec<u64> {
        let mut cell = vec![0; self.words];
        for FieldCells { min, max, .. } in &self.fields {
            if let Some(word) = min {
                cell[*word] = NO_LEAST;
            }
            if let Some(word) = max {
                cell[*word] = NO_GREATEST;
            }
        }
        cell
    }
}

impl FieldCells {
    #[inline]
    pub(super) fn values(&self, cell: &[u64]) -> MetricValues {
        let Self { sums, sum, min, max, count } = *self;
        let count = count.map_or(0, |word| cell[word]);
        // The most usual kind, with one look at how long the cell is.
        if let Some([sum, compensation, min, max]) = sums.map(|place| cell[1..].as_chunks().0[place]) {
            let [sum, compensation] = [sum, compensation].map(f64::from_bits);
            return MetricValues { count, sum, compensation, min: f64::from_u64(min), max: f64::from_u64(max) };
        }
        let nothing = MetricValues::default();
        MetricValues {
            count,
            sum: sum.map_or(nothing.sum, |word| f64::from_bits(cell[word])),
            compensation: sum.map_or(nothing.compensation, |word| f64::from_bits(cell[word + 1])),
            min: min.map_or(nothing.min, |word| f64::from_u64(cell[word])),
            max: max.map_or(nothing.max, |word| f64::from_u64(cell[word])),
        }
    }
}

/// Takes a finite value whose sums do not overflow.
#[inline]
pub(super) fn add_small([sum, compensation, min, max]: &mut Sums, raw: u64) {
    *min = raw.min(*min);
    *max = raw.max(*max);
    add_to_sum(sum, compensation, f64::from_u64(raw));
}

#[inline]
fn add_to_sum(sum: &mut u64, compensation: &mut u64, value: f64) {
    let before = f64::from_bits(*sum);
    let corrected = value - f64::from_bits(*compensation);
    let after = before + corrected;
    *compensation = ((after - before) - corrected).to_bits();
    *sum = after.to_bits();
}

/// Where the measures of a field go.
pub(super) struct MeasureCells<'a> {
    pub(super) words: &'a mut [u64],
    pub(super) width: usize,
    pub(super) cells: FieldCells,
}

impl MeasureCells<'_> {
    #[inline]
    fn cell(&mut self, slot: u32) -> &mut [u64] {
        &mut self.words[slot as usize * self.width..][..self.width]
    }

    /// Takes any value.
    #[inline]
    pub(super) fn add(&mut self, slot: u32, value: f64) {
        if !value.is_finite() {
            return;
        }
        let (FieldCells { sum, min, max, count, .. }, raw) = (self.cells, value.to_u64());
        let cell = self.cell(slot);
        if let Some(word) = sum {
            let (sum, compensation) = sum_at(cell, word);
            add_to_any_sum(sum, compensation, value);
        }
        if let Some(word) = min {
            cell[word] = cell[word].min(raw);
        }
        if let Some(word) = max {
            cell[word] = cell[word].max(raw);
        }
        if let Some(word) = count.filter(|word| *word != ROWS) {
            cell[word] += 1;
        }
    }

    /// Takes one as [`add_small`] does, where its measures are found out together.
    #[inline]
    pub(super) fn add_small(&mut self, slot: u32, raw: u64) {
        let FieldCells { sums, count, .. } = self.cells;
        let cell = self.cell(slot);
        add_small(&mut cell[1..].as_chunks_mut().0[sums.unwrap_or(0)], raw);
        if let Some(word) = count.filter(|word| *word != ROWS) {
            cell[word] += 1;
        }
    }

    /// Takes a measure of other values, as a column of doubles holds it.
    #[inline]
    pub(super) fn merge(&mut self, slot: u32, measure: Measure, raw: u64) {
        let word = self.cells.word(measure);
        let cell = self.cell(slot);
        if let Some(word) = word {
            merge(cell, word, measure, raw);
        }
    }
}

/// Adds sum, least and greatest of other values.
#[inline]
pub(super) fn merge_sums([sum, compensation, least, greatest]: &mut Sums, [added, min, max]: [u64; 3]) {
    *least = min.min(*least);
    *greatest = max.max(*greatest);
    add_to_any_sum(sum, compensation, f64::from_u64(added));
}

/// Adds a measure of other values to that in a cell, as a column of doubles holds it.
#[inline]
pub(super) fn merge(cell: &mut [u64], word: usize, measure: Measure, raw: u64) {
    match measure {
        Measure::Count => cell[word] += whole_count(f64::from_u64(raw)),
        Measure::Sum => {
            let (sum, compensation) = sum_at(cell, word);
            add_to_any_sum(sum, compensation, f64::from_u64(raw));
        }
        Measure::Min => cell[word] = cell[word].min(raw),
        Measure::Max => cell[word] = cell[word].max(raw),
    }
}

/// Adds a value to a measure in a cell, as a column of finite doubles whose sums do not overflow holds it.
#[inline]
pub(super) fn add(cell: &mut [u64], word: usize, measure: Measure, raw: u64) {
    match measure {
        Measure::Count => cell[word] += 1,
        Measure::Sum => {
            let (sum, compensation) = sum_at(cell, word);
            add_to_sum(sum, compensation, f64::from_u64(raw));
        }
        Measure::Min => cell[word] = cell[word].min(raw),
        Measure::Max => cell[word] = cell[word].max(raw),
    }
}

/// The two words of a sum.
#[inline]
fn sum_at(cell: &mut [u64], word: usize) -> (&mut u64, &mut u64) {
    let [sum, compensation] = &mut cell[word..word + 2] else { unreachable!("a sum is two words") };
    (sum, compensation)
}

/// A sum that may overflow.
#[inline]
fn add_to_any_sum(sum: &mut u64, compensation: &mut u64, value: f64) {
    add_to_sum(sum, compensation, value);
    // Once it has overflowed there is nothing to compensate any more.
    if !f64::from_bits(*sum).is_finite() {
        *compensation = 0;
    }
}
