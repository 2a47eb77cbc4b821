//! A block of documents becomes dense groups: its dates are rows, all else of its keys is codes, and both name a group.

use std::hint::select_unpredictable;
use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::{Column, ColumnIndex, MonotonicallyMappableToU64};

use super::codes::Codes;
use super::columns::{BLOCK, Measured, MeasuredColumns, NumberColumn, Segment, document};
use super::dense::{DenseGroups, DensePages, Left, Plan, ValueBlock};
use super::finished::Finished;
use super::lane::{Chosen, Documents, FEW, Found, Lane, read_block};
use super::mask::Mask;
use super::one_group::only_slot;
use super::open::Opened;
use super::pass::{self, Block, Unfinished, Work};
use super::timeline::{NONE, Timeline};
use crate::engine::StopSignal;
use crate::measure::Measure;

pub(super) struct DensePass<'a> {
    segments: &'a [Segment],
    timeline: &'a Timeline,
    codes: &'a Codes,
    groups: DenseGroups,
    lane: Lane,
    /// Where each document's group is in the table.
    places: Vec<u32>,
    slots: Vec<u32>,
    /// A block of each of a few measured fields.
    lanes: [Lane; 4],
    means: Vec<bool>,
    /// Whether the block's documents are in several date buckets.
    is_scattered: bool,
    /// Room for those of them that are in one, by their place.
    chosen: Vec<u16>,
    /// Documents of the block with several values in a part of the key.
    several: Vec<usize>,
    few: Few,
}

/// Documents of blocks of which a filter means few: they are read together.
#[derive(Default)]
struct Few {
    segment: usize,
    documents: Vec<DocId>,
    /// The date bucket that all are in, if that is known.
    common: Option<u64>,
}

impl<'a> DensePass<'a> {
    pub(super) fn new(segments: &'a [Segment], timeline: &'a Timeline, codes: &'a Codes, groups: DenseGroups) -> Self {
        let block = || vec![NONE; BLOCK];
        let (places, slots) = (block(), block());
        let lanes = std::array::from_fn(|_| Lane::new());
        Self {
            segments,
            timeline,
            codes,
            groups,
            lane: Lane::new(),
            places,
            slots,
            lanes,
            means: vec![false; BLOCK],
            is_scattered: true,
            chosen: vec![0; BLOCK],
            several: Vec::new(),
            few: Few::default(),
        }
    }

    pub(super) fn into_groups(mut self) -> DenseGroups {
        self.read_few();
        self.groups
    }

    /// Finds the place where the row of each document begins. `common` is the date bucket of all, if that is known.
    fn dates<D: Documents + ?Sized>(&mut self, segment: &Segment, documents: &D, common: Option<u64>) {
        let Self { timeline, codes, groups, lane, places, several, is_scattered, .. } = self;
        *is_scattered = true;
        let places = &mut places[..documents.size()];
        places.fill(NONE);
        let Some(column) = &segment.date else { return };
        let mut finder = timeline.finder(groups.rows());
        let begin = |row: u32| if row == NONE { NONE } else { codes.place(row, 0) };
        // Dates mostly come in order: more often than not a whole block is in one bucket.
        if let Some(bucket) = common {
            *is_scattered = false;
            places.fill(begin(timeline.row_of(bucket, groups.rows())));
        } else if matches!(column.index, ColumnIndex::Full) {
            // By itself, since it is a twentieth of a scan of documents in no order faster than in `read_block`.
            for (place, raw) in places.iter_mut().zip(lane.full(column, documents)) {
                *place = begin(finder.find(*raw));
            }
        } else {
            read_block(column, documents, lane, |at, found| match found {
                Found::One(raw) => places[at] = begin(finder.find(raw)),
                Found::Several => several.push(at),
                Found::Nothing => {}
            });
        }
        if let Some(alive) = &segment.alive {
            let is_alive = |at: usize| alive.is_alive(documents.id(at));
            several.retain(|at| is_alive(*at));
            for (at, place) in places.iter_mut().enumerate() {
                *place = select_unpredictable(is_alive(at), *place, NONE);
            }
        }
    }

    /// Finds the group of each document.
    fn group<D: Documents + ?Sized>(&mut self, segment: &Segment, block: &D) {
        let Self { codes, groups, lane, places, slots, several, is_scattered, .. } = self;
        let (places, slots) = (&mut places[..block.size()], &mut slots[..block.size()]);
        for (part, column) in segment.keys.iter().enumerate() {
            let Some(column) = column else { continue };
            // A document with several values is dealt with apart, once.
            codes.share(part, column).add(&column.column, block, lane, places, |at| several.push(at));
        }
        groups.find(places, slots);
        if *is_scattered {
            groups.fetch(slots.iter().copied().filter(|slot| *slot != NONE));
        }
    }

    /// Finds out which documents the filter means, and says how many.
    fn filter(&mut self, segment: &Segment, block: &Range<DocId>) -> usize {
        let means = &mut self.means[..block.len()];
        segment.mask.read(block, &mut self.lane, means);
        means.iter().filter(|means| **means).count()
    }

    /// Leaves those that the filter means.
    fn leave_filtered(&mut self, documents: usize) {
        let Self { means, places, several, .. } = self;
        for (place, means) in places.iter_mut().zip(&means[..documents]) {
            *place = if *means { *place } else { NONE };
        }
        several.retain(|at| means[*at]);
    }

    /// Puts the documents of a block that the filter means by.
    fn put_by(&mut self, segment: usize, block: &Range<DocId>, common: Option<u64>) {
        const AT_ONCE: usize = 16;
        let Few { documents, common: of_all, .. } = &mut self.few;
        *of_all = common.filter(|_| documents.is_empty() || *of_all == common);
        let chunks = self.means[..block.len()].chunks(AT_ONCE).enumerate();
        // Most have none.
        for (chunk, means) in chunks.filter(|(_, means)| means.iter().fold(false, |any, one| any | one)) {
            for (at, _) in means.iter().enumerate().filter(|(_, is_meant)| **is_meant) {
                documents.push(document(block, chunk * AT_ONCE + at));
            }
        }
        self.few.segment = segment;
    }

    /// Groups what was put by.
    fn read_few(&mut self) {
        let mut few = std::mem::take(&mut self.few);
        if !few.documents.is_empty() {
            self.take(&self.segments[few.segment], few.documents.as_slice(), few.common, false);
        }
        few.documents.clear();
        self.few = few;
    }

    /// Groups documents. `common` is the date bucket of all of them, if that is known.
    fn take<D: Documents + ?Sized>(
        &mut self,
        segment: &Segment,
        documents: &D,
        common: Option<u64>,
        is_filtered: bool,
    ) {
        self.dates(segment, documents, common);
        if is_filtered {
            self.leave_filtered(documents.size());
        }
        self.take_several(segment, documents);
        let mut chosen = std::mem::take(&mut self.chosen);
        let places = &mut self.places[..documents.size()];
        match documents.block().filter(|_| places.contains(&NONE)) {
            None => self.take_together(segment, documents),
            Some(block) => match choose(places, &mut chosen) {
                [] => {}
                few if few.len() * FEW < places.len() => self.take_together(segment, documents),
                many => {
                    for (at, place) in many.iter().enumerate() {
                        places[at] = places[usize::from(*place)];
                    }
                    self.take_together(segment, &Chosen { block, places: many });
                }
            },
        }
        self.chosen = chosen;
        self.groups.shed();
    }

    /// Groups documents of which most are in a date bucket.
    fn take_together<D: Documents + ?Sized>(&mut self, segment: &Segment, documents: &D) {
        self.group(segment, documents);
        self.measure(segment, documents);
        self.take_several(segment, documents);
    }

    /// Groups those of the documents that have several values.
    fn take_several<D: Documents + ?Sized>(&mut self, segment: &Segment, documents: &D) {
        let mut several = std::mem::take(&mut self.several);
        for at in several.drain(..) {
            self.group_several(segment, documents.id(at));
        }
        self.several = several;
    }

    fn measure<D: Documents + ?Sized>(&mut self, segment: &Segment, block: &D) {
        let wanted = self.slots[..block.size()].iter().filter(|slot| **slot != NONE).count();
        if wanted * FEW < block.size() {
            self.measure_few(segment, block);
            return;
        }
        let Self { slots, groups, lane, lanes, .. } = self;
        let slots = &slots[..block.size()];
        let rows = u64::from(segment.count.is_none());
        let mut stored_rows = segment.count.as_ref();
        let mut together = Vec::with_capacity(segment.measured.len());
        for (field, measured) in segment.measured.iter().enumerate() {
            match measured {
                MeasuredColumns::Nothing => {}
                MeasuredColumns::Values(column) if column.is_plain() && groups.has_sums(field) => {
                    together.push((field, &column.column));
                }
                MeasuredColumns::Values(column) if column.is_plain() => {
                    groups.add_block(slots, value_block(field, &column.column, block, lane));
                }
                MeasuredColumns::Values(values) if values.has_small_doubles() && groups.has_sums(field) => {
                    let mut cells = groups.cells(field);
                    each_value(slots, &values.column, block, lane, |slot, raw| cells.add_small(slot, raw));
                }
                MeasuredColumns::Values(NumberColumn { column, number, .. }) => {
                    let mut cells = groups.cells(field);
                    each_value(slots, column, block, lane, |slot, raw| cells.add(slot, number.to_double(raw)));
                }
                MeasuredColumns::Stored(stored) => {
                    let averages = |rows| merge_average(groups, slots, field, stored, rows, block, lanes);
                    if stored_rows.is_some_and(averages) {
                        stored_rows = None;
                        continue;
                    }
                    let rest = merge_together(groups, slots, field, stored, block, lanes);
                    for (measure, column) in rest {
                        groups.merge_block(slots, *measure, value_block(field, column, block, lane));
                    }
                }
            }
        }
        if let Some(column) = stored_rows {
            groups.count_stored(slots, value_block(0, column, block, lane));
        }
        self.measure_together(&together, rows, block);
    }

    /// Fields of which sum, least and greatest are found out; and counts so many rows for each document.
    fn measure_together<D: Documents + ?Sized>(&mut self, fields: &[(usize, &Column<u64>)], mut rows: u64, block: &D) {
        let Self { slots, groups, lanes, .. } = self;
        let slots = &slots[..block.size()];
        for some in fields.chunks(lanes.len()) {
            let mut read = some
                .iter()
                .zip(lanes.iter_mut())
                .map(|((field, column), lane)| value_block(*field, column, block, lane));
            // As many at once as there are: a loop over a number that the compiler knows.
            match (read.next(), read.next(), read.next(), read.next()) {
                (Some(a), Some(b), Some(c), Some(d)) => groups.add_blocks(slots, rows, [a, b, c, d]),
                (Some(a), Some(b), Some(c), None) => groups.add_blocks(slots, rows, [a, b, c]),
                (Some(a), Some(b), None, _) => groups.add_blocks(slots, rows, [a, b]),
                (Some(a), None, _, _) => groups.add_blocks(slots, rows, [a]),
                (None, ..) => {}
            }
            rows = 0;
        }
        if rows > 0 {
            groups.count_rows(slots);
        }
    }

    /// Where a filter leaves few documents of a block, they are looked at one by one.
    fn measure_few<D: Documents + ?Sized>(&mut self, segment: &Segment, block: &D) {
        let Self { slots, groups, .. } = self;
        for (at, slot) in slots[..block.size()].iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            measure_document(segment, block.id(at), *slot, groups);
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls
    /// into.
    fn group_several(&mut self, segment: &Segment, id: DocId) {
        let dates = segment.date.iter().flat_map(|column| column.values_for_doc(id));
        let mut finder = self.timeline.finder(self.groups.rows());
        let mut groups: Vec<(u32, u32)> =
            dates.map(|raw| (finder.find(raw), 0)).filter(|(row, _)| *row != NONE).collect();
        for (part, column) in segment.keys.iter().enumerate() {
            let Some(column) = column else { continue };
            let share = self.codes.share(part, column);
            let mut shares: Vec<u32> = column.column.values_for_doc(id).map(|raw| share.of(raw)).collect();
            shares.sort_unstable();
            shares.dedup();
            if !shares.is_empty() {
                groups = groups
                    .iter()
                    .flat_map(|(row, code)| shares.iter().map(move |share| (*row, code + share)))
                    .collect();
            }
        }
        groups.sort_unstable();
        groups.dedup();
        for (row, code) in groups {
            let slot = self.groups.slot(self.codes.place(row, code));
            measure_document(segment, id, slot, &mut self.groups);
        }
    }
}

/// Which documents are in a date bucket.
fn choose<'a>(places: &[u32], chosen: &'a mut [u16]) -> &'a [u16] {
    let mut wanted = 0;
    for (at, place) in (0..).zip(places) {
        chosen[wanted] = at;
        wanted += usize::from(*place != NONE);
    }
    &chosen[..wanted]
}

/// Counts a document in a group, with all that it adds to it.
fn measure_document(segment: &Segment, id: DocId, slot: u32, groups: &mut DenseGroups) {
    groups.count_several(slot, segment.count_of(id));
    segment.measure(id, |field, found| match found {
        Measured::Value(value) => groups.cells(field).add(slot, value),
        Measured::Stored(measure, stored) => groups.cells(field).merge(slot, measure, stored.to_u64()),
    });
}

/// Of all measures of a field those that can be merged together, if every document has them. Says which are left.
fn merge_together<'a, D: Documents + ?Sized>(
    groups: &mut DenseGroups,
    slots: &[u32],
    field: usize,
    stored: &'a [(Measure, Column<u64>)],
    block: &D,
    lanes: &mut [Lane; 4],
) -> &'a [(Measure, Column<u64>)] {
    let of = |wanted: Measure| stored.iter().find(|(measure, _)| *measure == wanted).map(|(_, column)| column);
    let (Some(sum), Some(min), Some(max)) = (of(Measure::Sum), of(Measure::Min), of(Measure::Max)) else {
        return stored;
    };
    let count = of(Measure::Count);
    let mut columns = [Some(sum), Some(min), Some(max), count].into_iter().flatten();
    if !groups.has_sums(field) || !columns.all(|column| matches!(column.index, ColumnIndex::Full)) {
        return stored;
    }
    let [sums, least, greatest, counts] = lanes;
    let (sums, least, greatest) = (sums.full(sum, block), least.full(min, block), greatest.full(max, block));
    let counts = count.map(|count| counts.full(count, block));
    groups.merge_together(slots, field, [sums, least, greatest], counts);
    &[]
}

/// The same of sum and count, if that is all, with the rows that each document stands for. Says whether it has.
fn merge_average<D: Documents + ?Sized>(
    groups: &mut DenseGroups,
    slots: &[u32],
    field: usize,
    stored: &[(Measure, Column<u64>)],
    rows: &Column<u64>,
    block: &D,
    lanes: &mut [Lane; 4],
) -> bool {
    let [(one, first), (other, second)] = stored else { return false };
    let (sum, count) = match (one, other) {
        (Measure::Sum, Measure::Count) => (first, second),
        (Measure::Count, Measure::Sum) => (second, first),
        _ => return false,
    };
    // A block of one group is added up side by side.
    let is_full = [sum, count, rows].iter().all(|column| matches!(column.index, ColumnIndex::Full));
    if !is_full || only_slot(slots).is_some() {
        return false;
    }
    let [sums, counts, stand_for, _] = lanes;
    groups.merge_average(slots, field, [sums.full(sum, block), counts.full(count, block), stand_for.full(rows, block)]);
    true
}

/// All values of a block of a column, each with its document's slot.
#[inline]
fn each_value<D: Documents + ?Sized>(
    slots: &[u32],
    column: &Column<u64>,
    block: &D,
    lane: &mut Lane,
    mut see: impl FnMut(u32, u64),
) {
    lane.read(column, block);
    for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
        lane.each(column, block, at, |raw| see(*slot, raw));
    }
}

/// A block of a column of which a document has one value at most.
fn value_block<'a, D: Documents + ?Sized>(
    field: usize,
    column: &Column<u64>,
    block: &D,
    lane: &'a mut Lane,
) -> ValueBlock<'a> {
    let is_full = lane.read(column, block);
    ValueBlock { field, raw: &lane.raw, values: (!is_full).then_some(&*lane.values) }
}

impl Work for DensePass<'_> {
    fn block(&mut self, Block { segment: at, number }: Block) {
        let segment = &self.segments[at];
        let (block, common) = (&segment.block(number), segment.common_bucket(number));
        let is_filtered = !matches!(segment.mask, Mask::All);
        if is_filtered {
            let wanted = self.filter(segment, block);
            if wanted == 0 {
                return;
            }
            if wanted * FEW < block.len() {
                if self.few.segment != at || self.few.documents.len() + wanted > BLOCK {
                    self.read_few();
                }
                self.put_by(at, block, common);
                return;
            }
        }
        self.take(segment, block, common, is_filtered);
    }
}

impl Opened {
    /// Groups by place.
    pub(super) fn dense_pass(
        &self,
        plan: &Plan,
        mut left: Left,
        threads: usize,
        bytes: usize,
        stop: &StopSignal,
    ) -> Result<Finished, Unfinished> {
        let Plan { codes, timeline, .. } = plan;
        // The budget has counted them as given back.
        left.groups.truncate(threads);
        let mut groups = || DenseGroups::new(timeline.len(), codes.len(), self.cells.clone(), bytes, left.groups.pop());
        let mut passes: Vec<_> =
            (0..threads).map(|_| DensePass::new(&self.segments, timeline, codes, groups())).collect();
        let (from, to) = (timeline.start(0).to_u64(), timeline.start(timeline.len()).to_u64());
        let blocks = pass::blocks(&self.segments, |first, last| last >= from && first < to);
        let read = pass::read(&blocks, &mut passes, stop);
        let groups: Vec<_> = passes.into_iter().map(DensePass::into_groups).collect();
        if read.is_none() {
            return Err(Unfinished::cancelled(groups));
        }
        Ok(Finished::Dense(DensePages::new(plan, groups, left, blocks.len() * BLOCK)))
    }
}
