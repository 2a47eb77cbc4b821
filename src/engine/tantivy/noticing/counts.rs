//! How many documents a segment has in each stretch of time.

use std::borrow::Cow;
use std::collections::HashMap;

use ::tantivy::TantivyError;
use ::tantivy::columnar::ColumnIndex;

use crate::engine::StopSignal;
use crate::engine::stretches::{MINUTE, WIDTHS, wider_than};
use crate::engine::tantivy::scan::{millis, raw};
use crate::engine::tantivy::segments::KnownSegment;

/// A segment has no more stretches than this: with more, they are longer.
const MAX_STRETCHES: usize = 1 << 12;
/// The same of those below a minute. What was added last is told by the second: jobs whose buckets are as short have
/// rolled up a part of a minute.
const MAX_SHORT_STRETCHES: usize = 1 << 9;
/// How many documents are read between two looks at the stop signal.
const BLOCK: usize = 4_096;

/// By the beginning of each stretch, in milliseconds since 1970, in order. Each value of a document counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) width: i64,
    pub(super) stretches: Vec<(i64, u64)>,
}

impl Counts {
    /// Those of a segment's documents that are alive. `None` if a stop came.
    pub(super) fn of(segment: &KnownSegment, field: &str, stop: &StopSignal) -> Result<Option<Self>, TantivyError> {
        let dates = segment.dates(field)?;
        let mut counter = Counter::new();
        let (Some(column), Some((least, greatest))) = (&dates.column, dates.bounds) else {
            return Ok(Some(counter.finish()));
        };
        let (alive, documents) = (segment.reader.alive_bitset(), segment.documents());
        if alive.is_none() && matches!(column.index, ColumnIndex::Full) {
            if counter.is_one(least, greatest) {
                counter.add_many(least, u64::from(documents));
                return Ok(Some(counter.finish()));
            }
            let mut block = vec![0; BLOCK];
            for start in (0..documents).step_by(BLOCK) {
                if stop.is_stopped() {
                    return Ok(None);
                }
                let block = &mut block[..BLOCK.min((documents - start) as usize)];
                column.values.get_range(u64::from(start), block);
                for date in &*block {
                    counter.add(*date);
                }
            }
            return Ok(Some(counter.finish()));
        }
        for document in 0..documents {
            if document % 4_096 == 0 && stop.is_stopped() {
                return Ok(None);
            }
            if alive.is_none_or(|alive| alive.is_alive(document)) {
                column.values_for_doc(document).for_each(|date| counter.add(date));
            }
        }
        Ok(Some(counter.finish()))
    }

    /// The same in longer stretches.
    pub(super) fn widened(&self, width: i64) -> Cow<'_, Self> {
        if width == self.width {
            return Cow::Borrowed(self);
        }
        let mut widened = Self { width, stretches: Vec::new() };
        for (start, count) in &self.stretches {
            let start = start.div_euclid(width) * width;
            match widened.stretches.last_mut() {
                Some((last, counted)) if *last == start => *counted += count,
                _ => widened.stretches.push((start, *count)),
            }
        }
        Cow::Owned(widened)
    }
}

/// Counts, and remembers the last stretch: dates mostly come in order.
struct Counter {
    width: i64,
    counts: HashMap<i64, u64>,
    /// The dates of the last stretch, as the column holds them, and how many there were in a row.
    from: u64,
    length: u64,
    start: i64,
    run: u64,
}

impl Counter {
    fn new() -> Self {
        Self { width: WIDTHS[0], counts: HashMap::new(), from: 0, length: 0, start: 0, run: 0 }
    }

    fn start_of(&self, date: u64) -> i64 {
        millis(date).div_euclid(self.width) * self.width
    }

    fn is_one(&self, least: u64, greatest: u64) -> bool {
        self.start_of(least) == self.start_of(greatest)
    }

    #[inline]
    fn add(&mut self, date: u64) {
        if date.wrapping_sub(self.from) >= self.length {
            self.turn_to(date);
        }
        self.run += 1;
    }

    fn add_many(&mut self, date: u64, count: u64) {
        self.turn_to(date);
        self.run = count;
    }

    fn turn_to(&mut self, date: u64) {
        self.flush();
        self.start = self.start_of(date);
        self.from = raw(self.start);
        self.length = raw(self.start.saturating_add(self.width)).saturating_sub(self.from);
    }

    fn flush(&mut self) {
        if self.run > 0 {
            *self.counts.entry(self.start).or_default() += std::mem::take(&mut self.run);
            if self.counts.len() > if self.width < MINUTE { MAX_SHORT_STRETCHES } else { MAX_STRETCHES } {
                self.widen();
            }
        }
    }

    #[cold]
    fn widen(&mut self) {
        let Some(width) = wider_than(self.width) else { return };
        self.width = width;
        for (start, count) in std::mem::take(&mut self.counts) {
            *self.counts.entry(start.div_euclid(width) * width).or_default() += count;
        }
    }

    fn finish(mut self) -> Counts {
        self.flush();
        let mut stretches: Vec<(i64, u64)> = self.counts.into_iter().collect();
        stretches.sort_unstable();
        Counts { width: self.width, stretches }
    }
}
