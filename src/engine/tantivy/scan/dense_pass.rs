//! A block of documents becomes dense groups: its dates are rows, all else of its keys is codes, and both name a group.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::{Column, ColumnIndex, MonotonicallyMappableToU64};

use super::codes::Codes;
use super::columns::{BLOCK, Measured, MeasuredColumns, NumberColumn, Segment, document};
use super::dense::{DenseGroups, DensePages, Plan, ValueBlock};
use super::lane::{FEW, Found, Lane, Values, only_value, read_block};
use super::mask::Mask;
use super::pass::{self, Block, Work};
use super::timeline::{NONE, Timeline};
use super::{Finished, Scan};
use crate::engine::{EngineError, StopSignal};
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
    /// Documents of the block with several values in a part of the key.
    several: Vec<usize>,
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
            several: Vec::new(),
        }
    }

    pub(super) fn into_groups(self) -> DenseGroups {
        self.groups
    }

    /// Finds the place where the row of each document begins.
    fn dates(&mut self, segment: &Segment, number: u32, block: &Range<DocId>) {
        let Self { timeline, codes, groups, lane, places, several, is_scattered, .. } = self;
        *is_scattered = true;
        let places = &mut places[..block.len()];
        places.fill(NONE);
        let Some(column) = &segment.date else { return };
        let mut finder = timeline.finder(groups.rows());
        let begin = |row: u32| if row == NONE { NONE } else { codes.place(row, 0) };
        // Dates mostly come in order: more often than not a whole block is in one bucket.
        if let Some(bucket) = segment.common_bucket(number) {
            *is_scattered = false;
            places.fill(begin(timeline.row_of(bucket, groups.rows())));
        } else if matches!(column.index, ColumnIndex::Full) {
            // By itself, since it is a twentieth of a scan of documents in no order faster than in `read_block`.
            for (place, raw) in places.iter_mut().zip(lane.full(column, block)) {
                *place = begin(finder.find(*raw));
            }
        } else {
            read_block(column, block, lane, |at, found| match found {
                Found::One(raw) => places[at] = begin(finder.find(raw)),
                Found::Several => several.push(at),
                Found::Nothing => {}
            });
        }
        if segment.alive.is_some() {
            let is_alive = |at: usize| segment.is_alive(document(block, at));
            several.retain(|at| is_alive(*at));
            for at in (0..block.len()).filter(|at| !is_alive(*at)) {
                places[at] = NONE;
            }
        }
    }

    /// Finds the group of each document.
    fn group(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { codes, groups, lane, places, slots, several, is_scattered, .. } = self;
        let (places, slots) = (&mut places[..block.len()], &mut slots[..block.len()]);
        for (part, column) in segment.keys.iter().enumerate() {
            let Some(column) = column else { continue };
            codes.share(part, column).read(&column.column, block, lane, |at, share| match (share, places[at]) {
                (_, NONE) => {}
                (Some(share), place) => places[at] = place + share,
                // A document with several values is dealt with apart, once.
                (None, _) => {
                    places[at] = NONE;
                    several.push(at);
                }
            });
        }
        for (slot, place) in slots.iter_mut().zip(places) {
            *slot = if *place == NONE { NONE } else { groups.slot(*place) };
        }
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
    fn leave_filtered(&mut self, block: &Range<DocId>) {
        let Self { means, places, several, .. } = self;
        for (place, means) in places.iter_mut().zip(&means[..block.len()]) {
            *place = if *means { *place } else { NONE };
        }
        several.retain(|at| means[*at]);
    }

    /// The few documents of a block that the filter means, one by one: of most columns nothing is read but theirs.
    fn few(&mut self, segment: &Segment, number: u32, block: &Range<DocId>) {
        let common = segment.common_bucket(number).map(|bucket| self.timeline.row_of(bucket, self.groups.rows()));
        for at in 0..block.len() {
            let id = document(block, at);
            if !self.means[at] || !segment.is_alive(id) {
                continue;
            }
            match self.place_of(segment, id, common) {
                Some(NONE) => {}
                Some(place) => {
                    let slot = self.groups.slot(place);
                    measure_document(segment, id, slot, &mut self.groups);
                }
                None => self.group_several(segment, id),
            }
        }
    }

    /// The place of a document that has one value in each column at most; `None` of another.
    fn place_of(&self, segment: &Segment, id: DocId, row: Option<u32>) -> Option<u32> {
        let row = match (row, &segment.date) {
            (Some(row), _) => row,
            (None, Some(date)) => match only_value(date, id) {
                (raw, Values::One) => self.timeline.finder(self.groups.rows()).find(raw),
                (_, Values::None) => NONE,
                (_, Values::Several) => return None,
            },
            (None, None) => NONE,
        };
        if row == NONE {
            return Some(NONE);
        }
        let mut place = self.codes.place(row, 0);
        for (part, column) in segment.keys.iter().enumerate() {
            let Some(column) = column else { continue };
            match only_value(&column.column, id) {
                (raw, Values::One) => place += self.codes.share(part, column).of(raw),
                (_, Values::None) => {}
                (_, Values::Several) => return None,
            }
        }
        Some(place)
    }

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>) {
        let wanted = self.slots[..block.len()].iter().filter(|slot| **slot != NONE).count();
        if wanted * FEW < block.len() {
            self.measure_few(segment, block);
            return;
        }
        let Self { slots, groups, lane, lanes, .. } = self;
        let slots = &slots[..block.len()];
        let mut rows = 1;
        if let Some(column) = &segment.count {
            groups.count_stored(slots, value_block(0, column, block, lane));
            rows = 0;
        }
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
                MeasuredColumns::Values(NumberColumn { column, number, .. }) => {
                    let mut cells = groups.cells(field);
                    read_block(column, block, lane, |at, found| match (slots[at], found) {
                        (NONE, _) | (_, Found::Nothing) => {}
                        (slot, Found::One(raw)) => cells.add(slot, number.to_double(raw)),
                        (slot, Found::Several) => {
                            let values = column.values_for_doc(document(block, at));
                            values.for_each(|raw| cells.add(slot, number.to_double(raw)));
                        }
                    });
                }
                MeasuredColumns::Stored(stored) => {
                    let rest = merge_together(groups, slots, field, stored, block, lanes);
                    for (measure, column) in rest {
                        groups.merge_block(slots, *measure, value_block(field, column, block, lane));
                    }
                }
            }
        }
        self.measure_together(&together, rows, block);
    }

    /// Fields of which sum, least and greatest are found out; and counts so many rows for each document.
    fn measure_together(&mut self, fields: &[(usize, &Column<u64>)], mut rows: u64, block: &Range<DocId>) {
        let Self { slots, groups, lanes, .. } = self;
        let slots = &slots[..block.len()];
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
    fn measure_few(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { slots, groups, .. } = self;
        for (at, slot) in slots[..block.len()].iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            measure_document(segment, document(block, at), *slot, groups);
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

/// Counts a document in a group, with all that it adds to it.
fn measure_document(segment: &Segment, id: DocId, slot: u32, groups: &mut DenseGroups) {
    groups.count_several(slot, segment.count_of(id));
    segment.measure(id, |field, found| match found {
        Measured::Value(value) => groups.cells(field).add(slot, value),
        Measured::Stored(measure, stored) => groups.cells(field).merge(slot, measure, stored.to_u64()),
    });
}

/// Of all measures of a field those that can be merged together, if every document has them. Says which are left.
fn merge_together<'a>(
    groups: &mut DenseGroups,
    slots: &[u32],
    field: usize,
    stored: &'a [(Measure, Column<u64>)],
    block: &Range<DocId>,
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

/// A block of a column of which a document has one value at most.
fn value_block<'a>(field: usize, column: &Column<u64>, block: &Range<DocId>, lane: &'a mut Lane) -> ValueBlock<'a> {
    let is_full = lane.read(column, block);
    ValueBlock { field, raw: &lane.raw, values: (!is_full).then_some(&*lane.values) }
}

impl Work for DensePass<'_> {
    fn block(&mut self, Block { segment, number }: Block) {
        let segment = &self.segments[segment];
        let block = &segment.block(number);
        self.several.clear();
        let is_filtered = !matches!(segment.mask, Mask::All);
        if is_filtered {
            let wanted = self.filter(segment, block);
            if wanted * FEW < block.len() {
                self.few(segment, number, block);
                self.groups.shed();
                return;
            }
        }
        self.dates(segment, number, block);
        if is_filtered {
            self.leave_filtered(block);
        }
        if self.several.is_empty() && self.places[..block.len()].iter().all(|place| *place == NONE) {
            return;
        }
        self.group(segment, block);
        self.measure(segment, block);
        for at in std::mem::take(&mut self.several) {
            self.group_several(segment, document(block, at));
        }
        self.groups.shed();
    }
}

impl Scan {
    /// Groups by place.
    pub(super) fn dense_pass(
        &mut self,
        plan: &Plan,
        threads: usize,
        bytes: usize,
        stop: &StopSignal,
    ) -> Result<Finished, EngineError> {
        let Plan { codes, timeline, .. } = plan;
        let mut left = std::mem::take(&mut self.left);
        // The budget has counted them as given back.
        left.groups.truncate(threads);
        let mut groups = || DenseGroups::new(timeline.len(), codes.len(), self.cells.clone(), bytes, left.groups.pop());
        let mut passes: Vec<_> =
            (0..threads).map(|_| DensePass::new(&self.segments, timeline, codes, groups())).collect();
        let (from, to) = (timeline.start(0).to_u64(), timeline.start(timeline.len()).to_u64());
        let blocks = pass::blocks(&self.segments, |first, last| last >= from && first < to);
        let read = pass::read(&blocks, &mut passes, stop);
        let groups: Vec<_> = passes.into_iter().map(DensePass::into_groups).collect();
        let groups = self.unless_cancelled(read, groups)?;
        Ok(Finished::Dense(DensePages::new(plan, groups, left)))
    }
}
