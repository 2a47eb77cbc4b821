//! The look ahead at the dates of all blocks, from which a scan is cut into slices of time.
//!
//! Documents mostly come in the order of time. A pass over a short slice then reads few blocks, and the groups that
//! it makes stay in the processor's cache until they are handed out.

use std::ops::Range;

use ::tantivy::columnar::{Column, ColumnIndex, MonotonicallyMappableToU64};

use super::block_dates::{BlockDates, NO_DATES};
use super::columns::{BLOCK, Found, Lane, Segment, around, document, read_block};
use super::pass::{self, Block, Work};
use crate::engine::StopSignal;
use crate::job::Rounding;

/// Blocks of a slice, for each thread that reads it.
const SLICE: usize = (1 << 18) / BLOCK;
/// A slice is longer if it would have more than one block in so many read again by the next one.
const READ_AGAIN: usize = 4;
/// How many blocks say whether a segment is in the order of time, and which part of its time those of one that is not
/// span.
const SAMPLE: u32 = 16;
const SCATTERED: u64 = 4;

/// What the dates of the blocks of this segment take.
pub(super) fn bytes(segment: &Segment) -> usize {
    segment.blocks() as usize * size_of::<(u64, u64)>()
}

/// What is known before the first document is grouped.
pub(super) struct Survey {
    /// Documents without a date.
    pub(super) skipped: u64,
    /// The last date bucket of each slice but the last one, ascending.
    ends: Vec<u64>,
}

impl Survey {
    /// Notes the date buckets of the blocks of all segments that may have some in the range. `None` if a stop came.
    pub(super) fn take(
        segments: &mut [Segment],
        rounding: &Rounding,
        range: &Range<u64>,
        threads: usize,
        stop: &StopSignal,
    ) -> Option<Self> {
        let misses = |first: u64, last: u64| last < range.start || first >= range.end;
        let mut surveyed = Vec::new();
        let mut notes: Vec<Vec<(u64, u64)>> = Vec::new();
        for (number, segment) in segments.iter().enumerate() {
            let column = segment.date.as_ref().filter(|date| matches!(date.index, ColumnIndex::Full));
            // Documents without a date have to be counted.
            let is_wanted = column.is_none() || segment.bounds.is_some_and(|(first, last)| !misses(first, last));
            let known = segment.bounds.filter(|(first, last)| {
                is_wanted && column.is_some_and(|column| first == last || is_scattered(segment, column))
            });
            if is_wanted && known.is_none() {
                surveyed.extend((0..segment.blocks()).map(|block| Block { segment: number, number: block }));
            }
            notes.push(vec![known.unwrap_or(NO_DATES); if is_wanted { segment.blocks() as usize } else { 0 }]);
        }
        let mut surveyors: Vec<Surveyor> = (0..threads).map(|_| Surveyor::new()).collect();
        pass::read(segments, &surveyed, &mut surveyors, stop)?;
        drop(surveyed);
        let skipped = surveyors.iter().map(|surveyor| surveyor.skipped).sum();
        let (mut firsts, mut lasts) = (rounding.cursor(), rounding.cursor());
        let dates = surveyors.into_iter().flat_map(|surveyor| surveyor.dates);
        for (number, (block, (first, last))) in dates.enumerate() {
            if number.is_multiple_of(BLOCK) && stop.is_stopped() {
                return None;
            }
            let (first, last) = around(rounding, first, last);
            notes[block.segment][block.number as usize] =
                (firsts.round_down(first).to_u64(), lasts.round_down(last).to_u64());
        }
        let known: Vec<_> = notes.iter().flatten().copied().filter(|(first, last)| !misses(*first, *last)).collect();
        for (segment, notes) in segments.iter_mut().zip(notes) {
            segment.dates = BlockDates::new(notes);
        }
        Some(Self { skipped, ends: slices(&known, SLICE * threads) })
    }

    /// The last date bucket of the slice that `bucket` is in; none if the slice goes on to the end.
    pub(super) fn slice_end(&self, bucket: u64) -> Option<u64> {
        self.ends.get(self.ends.partition_point(|end| *end < bucket)).copied()
    }
}

/// Whether the blocks of a segment span much of its time, so that it is of no use to know which.
fn is_scattered(segment: &Segment, column: &Column<u64>) -> bool {
    let blocks = segment.blocks();
    if blocks < SAMPLE * 4 {
        return false;
    }
    let mut lane = Lane::new();
    let span = column.max_value() - column.min_value();
    let wide = (0..SAMPLE).map(|sample| segment.block(sample * (blocks / SAMPLE))).filter(|block| {
        let (first, last) = extremes(lane.full(column, block));
        last.saturating_sub(first) > span / SCATTERED
    });
    wide.count() > SAMPLE as usize / 2
}

fn extremes(raw: &[u64]) -> (u64, u64) {
    // Several at once: one after the other would be branches, which a processor guesses wrong where dates come nearly
    // in order.
    let (fours, rest) = raw.as_chunks::<4>();
    let (mut least, mut greatest) = ([u64::MAX; 4], [0; 4]);
    for four in fours {
        for ((least, greatest), raw) in least.iter_mut().zip(&mut greatest).zip(four) {
            (*least, *greatest) = ((*least).min(*raw), (*greatest).max(*raw));
        }
    }
    let fold = |(first, last): (u64, u64), (least, greatest)| (first.min(least), last.max(greatest));
    let fours = least.into_iter().zip(greatest);
    fours.chain(rest.iter().map(|raw| (*raw, *raw))).fold((u64::MAX, 0), fold)
}

/// Cuts time so that in each slice about so many blocks end, and not many go on.
fn slices(blocks: &[(u64, u64)], per_slice: usize) -> Vec<u64> {
    let (mut firsts, mut lasts): (Vec<u64>, Vec<u64>) = blocks.iter().copied().unzip();
    firsts.sort_unstable();
    lasts.sort_unstable();
    let (mut ends, mut ended) = (Vec::new(), 0);
    let mut wanted = per_slice;
    while let Some(end) = lasts.get(ended + wanted) {
        let now_ended = lasts.partition_point(|last| last <= end);
        if now_ended == lasts.len() {
            break;
        }
        let begun = firsts.partition_point(|first| first <= end);
        if (begun - now_ended) * READ_AGAIN <= now_ended - ended {
            ends.push(*end);
            (ended, wanted) = (now_ended, per_slice);
        } else {
            wanted *= 2;
        }
    }
    ends
}

/// Finds the least and the greatest date of each block, as the column holds them.
struct Surveyor {
    lane: Lane,
    dates: Vec<(Block, (u64, u64))>,
    skipped: u64,
}

impl Surveyor {
    fn new() -> Self {
        Self { lane: Lane::new(), dates: Vec::new(), skipped: 0 }
    }
}

impl Work for Surveyor {
    fn block(&mut self, block: Block, segment: &Segment) {
        let Self { lane, dates, skipped } = self;
        let documents = &segment.block(block.number);
        let Some(column) = &segment.date else {
            *skipped += documents.clone().filter(|id| segment.is_alive(*id)).count() as u64;
            return;
        };
        let (mut first, mut last) = (u64::MAX, 0);
        if matches!(column.index, ColumnIndex::Full) {
            (first, last) = extremes(lane.full(column, documents));
        } else {
            let mut see = |raw: u64| (first, last) = (first.min(raw), last.max(raw));
            read_block(column, documents, lane, |at, found| match found {
                Found::One(raw) => see(raw),
                Found::Several => column.values_for_doc(document(documents, at)).for_each(&mut see),
                Found::Nothing => *skipped += u64::from(segment.is_alive(document(documents, at))),
            });
        }
        if first <= last {
            dates.push((block, (first, last)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_order_are_cut_after_as_many_as_wanted() {
        let blocks: Vec<(u64, u64)> = (0..100).map(|at| (at * 10, at * 10 + 10)).collect();
        let ends = slices(&blocks, 8);
        assert!(ends.len() >= 8, "{ends:?}");
        assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
    }

    #[test]
    fn blocks_that_are_everywhere_are_not_cut() {
        assert_eq!(slices(&[(0, 1_000); 100], 8), Vec::<u64>::new());
        let mut half: Vec<(u64, u64)> = (0..100).map(|at| (at * 10, at * 10 + 10)).collect();
        half.extend([(0, 1_000); 100]);
        assert_eq!(slices(&half, 8), Vec::<u64>::new());
    }
}
