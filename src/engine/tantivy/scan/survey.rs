//! The look ahead at the dates of all blocks, from which a scan is cut into slices of time.
//!
//! Documents mostly come in the order of time. A pass over a short slice then reads few blocks, and the groups that
//! it makes stay in the processor's cache until they are handed out. What was found out of a segment is kept with it:
//! no later scan looks again.

use std::collections::BTreeSet;

use ::tantivy::DocId;
use ::tantivy::columnar::{Column, ColumnIndex, MonotonicallyMappableToU64};

use super::block_dates::{BlockDates, NO_DATES};
use super::budget::Budget;
use super::columns::{BLOCK, block_of, blocks_in, document, millis};
use super::grid::Grid;
use super::lane::{Found, Lane, read_block};
use super::pass::{self, Block, Work};
use super::timeline::raw;
use super::window::Window;
use crate::engine::StopSignal;
use crate::engine::tantivy::segments::{BlockBounds, KnownDates, KnownSegment};
use crate::sync::Arc;

/// Blocks of a slice, for each thread that reads it.
const SLICE: usize = (1 << 18) / BLOCK;
/// A slice is longer if it would have more than one block in so many read again by the next one.
const READ_AGAIN: usize = 4;
/// How many blocks say whether a segment is in the order of time, and which part of its time those of one that is not
/// span.
const SAMPLE: u32 = 16;
const SCATTERED: u64 = 4;
/// Blocks between two looks at the stop signal.
const LOOK: u32 = 512;

/// What the dates of the blocks of a segment with so many documents take.
pub(super) fn bytes(documents: DocId) -> usize {
    blocks_in(documents) as usize * size_of::<(u64, u64)>()
}

/// What is known before the first document is grouped.
pub(super) struct Survey {
    /// Documents without a date.
    pub(super) skipped: u64,
    /// For each segment the date buckets of its blocks; nothing of those in which nothing is wanted.
    pub(super) dates: Vec<Option<BlockDates>>,
    /// The least and the greatest instant that may be wanted, as a column holds them.
    pub(super) bounds: Option<(u64, u64)>,
    /// The columns that have several values for a document, once they were opened.
    pub(super) several_values: BTreeSet<String>,
    /// How many blocks may have some.
    pub(super) blocks: usize,
    /// The last date bucket of each slice but the last one, ascending.
    ends: Vec<u64>,
}

/// A segment whose dates are looked at.
pub(super) struct Dated {
    pub(super) segment: Arc<KnownSegment>,
    pub(super) dates: Arc<KnownDates>,
}

/// What of a scan its survey depends on.
pub(super) struct Horizon<'a> {
    pub(super) grid: &'a Grid,
    pub(super) window: &'a Window,
    /// The first bucket that is wanted, as a word.
    pub(super) from: u64,
}

/// What is known of the dates of a segment's blocks, as the column holds them.
enum Notes {
    /// The least and the greatest of each.
    Each(BlockBounds),
    /// The same of all.
    Same((u64, u64), DocId),
    Unknown,
}

impl Survey {
    /// Notes the date buckets of the blocks of all segments that may have some that are wanted. `None` if a stop came.
    pub(super) fn take(
        segments: &[&Dated],
        horizon: &Horizon<'_>,
        budget: &Arc<Budget>,
        threads: usize,
        stop: &StopSignal,
    ) -> Option<Self> {
        let mut notes: Vec<Option<Notes>> = segments.iter().map(|segment| segment.known(horizon)).collect();
        let is_read =
            |at: usize| matches!(notes[at], Some(Notes::Unknown)) || segments[at].dates.without.get().is_none();
        let read: Vec<usize> = (0..segments.len()).filter(|at| is_read(*at)).collect();
        for (at, found) in read.iter().zip(Self::read(segments, &read, threads, stop)?) {
            segments[*at].dates.keep(&found, budget);
            if let Some(notes) = &mut notes[*at] {
                *notes = Notes::Each(found);
            }
        }
        let skipped = segments.iter().filter_map(|segment| segment.dates.without.get()).sum();
        let mut survey = Self {
            skipped,
            dates: Vec::new(),
            bounds: None,
            several_values: BTreeSet::new(),
            blocks: 0,
            ends: Vec::new(),
        };
        for notes in notes {
            let dates = notes.map(|notes| survey.see(&notes, horizon, stop).ok_or(())).transpose().ok()?;
            survey.dates.push(dates.filter(|dates| dates.iter().next().is_some()));
        }
        let known: Vec<_> = survey.dates.iter().flatten().flat_map(BlockDates::iter).collect();
        (survey.blocks, survey.ends) = (known.len(), slices(&known, SLICE * threads));
        Some(survey)
    }

    /// Reads the dates of these segments, counts the documents that have none, and says the dates of each's blocks.
    fn read(segments: &[&Dated], read: &[usize], threads: usize, stop: &StopSignal) -> Option<Vec<BlockBounds>> {
        let blocks_of = |at: usize| blocks_in(segments[at].segment.documents());
        let blocks = read.iter().flat_map(|at| (0..blocks_of(*at)).map(|number| Block { segment: *at, number }));
        let blocks: Vec<Block> = blocks.collect();
        let mut surveyors: Vec<_> = (0..threads).map(|_| Surveyor::of(segments)).collect();
        pass::read(&blocks, &mut surveyors, stop)?;
        let mut found: Vec<Vec<(u64, u64)>> = (0..segments.len()).map(|_| Vec::new()).collect();
        for at in read {
            found[*at] = vec![NO_DATES; blocks_of(*at) as usize];
        }
        let mut without = vec![0; segments.len()];
        for surveyor in surveyors {
            for (Block { segment, number }, dates) in surveyor.dates {
                found[segment][number as usize] = dates;
            }
            without.iter_mut().zip(surveyor.without).for_each(|(all, more)| *all += more);
        }
        let kept = read.iter().map(|at| {
            segments[*at].dates.without.get_or_init(|| without[*at]);
            std::mem::take(&mut found[*at]).into()
        });
        Some(kept.collect())
    }

    /// The date buckets of a segment's blocks. `None` if a stop came.
    fn see(&mut self, notes: &Notes, horizon: &Horizon<'_>, stop: &StopSignal) -> Option<BlockDates> {
        let Horizon { grid, window, .. } = horizon;
        let (mut firsts, mut lasts) = (grid.cursor(), grid.cursor());
        let mut bucket_words = |(first, last): (u64, u64)| {
            let (first, last) = grid.around(millis(first), millis(last));
            (firsts.word(first), lasts.word(last))
        };
        let (mut buckets, mut cut) = (Vec::new(), Vec::new());
        match notes {
            Notes::Each(blocks) => {
                for (number, dates) in (0_u32..).zip(blocks.iter().copied()) {
                    if number.is_multiple_of(LOOK) && stop.is_stopped() {
                        return None;
                    }
                    let is_wanted = horizon.wants(dates);
                    buckets.push(if is_wanted { bucket_words(dates) } else { NO_DATES });
                    if is_wanted {
                        self.widen(dates);
                        cut.extend((!window.has_all(dates.0, dates.1)).then_some(number));
                    }
                }
            }
            Notes::Same(dates, documents) => {
                let blocks = blocks_in(*documents);
                buckets.resize(blocks as usize, bucket_words(*dates));
                self.widen(*dates);
                cut.extend((0..blocks).take_while(|_| !window.has_all(dates.0, dates.1)));
            }
            Notes::Unknown => {}
        }
        Some(BlockDates::new(buckets, cut))
    }

    fn widen(&mut self, (first, last): (u64, u64)) {
        let (from, to) = self.bounds.unwrap_or((first, last));
        self.bounds = Some((from.min(first), to.max(last)));
    }

    /// The last date bucket of the slice that `bucket` is in; none if the slice goes on to the end.
    pub(super) fn slice_end(&self, bucket: u64) -> Option<u64> {
        self.ends.get(self.ends.partition_point(|end| *end < bucket)).copied()
    }
}

impl Horizon<'_> {
    /// Whether some of these dates may be wanted.
    fn wants(&self, (first, last): (u64, u64)) -> bool {
        first <= last && last >= raw(i64::from_u64(self.from)) && self.window.meets(first, last)
    }
}

impl Dated {
    /// What is known of the dates of the blocks, if some of them may be wanted.
    fn known(&self, horizon: &Horizon<'_>) -> Option<Notes> {
        let bounds = self.dates.bounds.filter(|bounds| horizon.wants(*bounds))?;
        let documents = self.segment.documents();
        if bounds.0 == bounds.1 || self.is_scattered() {
            return Some(Notes::Same(bounds, documents));
        }
        Some(self.dates.blocks().map_or(Notes::Unknown, Notes::Each))
    }

    /// Whether the blocks of a segment span much of its time, so that it is of no use to know which.
    fn is_scattered(&self) -> bool {
        let Some(column) = self.dates.column.as_ref().filter(|_| self.dates.is_full()) else { return false };
        *self.dates.is_scattered.get_or_init(|| is_scattered(self.segment.documents(), column))
    }
}

fn is_scattered(documents: DocId, column: &Column<u64>) -> bool {
    let blocks = blocks_in(documents);
    if blocks < SAMPLE * 4 {
        return false;
    }
    let mut lane = Lane::new();
    let span = column.max_value() - column.min_value();
    let wide = (0..SAMPLE).map(|sample| block_of(documents, sample * (blocks / SAMPLE))).filter(|block| {
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

/// Finds the least and the greatest date of each block, as the column holds them, and counts documents without one.
struct Surveyor<'a> {
    segments: &'a [&'a Dated],
    lane: Lane,
    dates: Vec<(Block, (u64, u64))>,
    without: Vec<u64>,
}

impl<'a> Surveyor<'a> {
    fn of(segments: &'a [&'a Dated]) -> Self {
        Self { segments, lane: Lane::new(), dates: Vec::new(), without: vec![0; segments.len()] }
    }
}

impl Work for Surveyor<'_> {
    fn block(&mut self, block: Block) {
        let Self { segments, lane, dates, without } = self;
        let Dated { segment, dates: known } = segments[block.segment];
        // What has no column at all is known without a look.
        let Some(column) = &known.column else { return };
        let documents = &block_of(segment.documents(), block.number);
        let alive = segment.reader.alive_bitset();
        let (mut first, mut last) = (u64::MAX, 0);
        if matches!(column.index, ColumnIndex::Full) {
            (first, last) = extremes(lane.full(column, documents));
        } else {
            let without = &mut without[block.segment];
            let mut see = |raw: u64| (first, last) = (first.min(raw), last.max(raw));
            read_block(column, documents, lane, |at, found| match found {
                Found::One(raw) => see(raw),
                Found::Several => column.values_for_doc(document(documents, at)).for_each(&mut see),
                Found::Nothing => {
                    *without += u64::from(alive.is_none_or(|alive| alive.is_alive(document(documents, at))));
                }
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
