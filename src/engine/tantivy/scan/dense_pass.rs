//! A block of documents becomes dense groups: its dates are rows, all else of its keys is codes, and both name a group.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::{ColumnIndex, MonotonicallyMappableToU64};

use super::codes::Codes;
use super::columns::{BLOCK, Found, Lane, NumberColumn, Segment, document, read_block};
use super::dense::{DenseGroups, DensePages, MetricBlock, Plan};
use super::pass::{self, Block, Work};
use super::timeline::{NONE, Timeline};
use super::{Finished, Scan};
use crate::engine::{EngineError, StopSignal};

pub(super) struct DensePass<'a> {
    timeline: &'a Timeline,
    codes: &'a Codes,
    groups: DenseGroups,
    lane: Lane,
    /// Where each document's group is in the table.
    places: Vec<u32>,
    slots: Vec<u32>,
    /// A block of each of a few metric fields.
    lanes: [Lane; 4],
    /// Whether the block's documents are in several date buckets.
    is_scattered: bool,
    /// Documents of the block with several values in a part of the key.
    several: Vec<usize>,
}

impl<'a> DensePass<'a> {
    pub(super) fn new(timeline: &'a Timeline, codes: &'a Codes, groups: DenseGroups) -> Self {
        let block = || vec![NONE; BLOCK];
        let (places, slots) = (block(), block());
        let lanes = std::array::from_fn(|_| Lane::new());
        Self {
            timeline,
            codes,
            groups,
            lane: Lane::new(),
            places,
            slots,
            lanes,
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
            places.fill(begin(finder.row_of(bucket)));
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

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>) {
        let mut plain = Vec::with_capacity(segment.metrics.len());
        for (metric, column) in segment.metrics.iter().enumerate() {
            match column {
                Some(column) if column.is_plain() => plain.push((metric, &column.column)),
                Some(column) => self.measure_one(metric, column, block),
                None => {}
            }
        }
        let Self { slots, groups, lanes, .. } = self;
        let slots = &slots[..block.len()];
        let mut documents = 1;
        for some in plain.chunks(lanes.len()) {
            let mut read = some.iter().zip(lanes.iter_mut()).map(|((metric, column), lane)| {
                let is_full = lane.read(column, block);
                MetricBlock { metric: *metric, raw: &lane.raw, values: (!is_full).then_some(&*lane.values) }
            });
            // As many at once as there are: a loop over a number that the compiler knows.
            match (read.next(), read.next(), read.next(), read.next()) {
                (Some(a), Some(b), Some(c), Some(d)) => groups.add_blocks(slots, documents, [a, b, c, d]),
                (Some(a), Some(b), Some(c), None) => groups.add_blocks(slots, documents, [a, b, c]),
                (Some(a), Some(b), None, _) => groups.add_blocks(slots, documents, [a, b]),
                (Some(a), None, _, _) => groups.add_blocks(slots, documents, [a]),
                (None, ..) => {}
            }
            documents = 0;
        }
        if plain.is_empty() {
            groups.count_documents(slots);
        }
    }

    /// Any kind of column.
    fn measure_one(&mut self, metric: usize, column: &NumberColumn, block: &Range<DocId>) {
        let (slots, lane, mut cells) = (&self.slots, &mut self.lane, self.groups.cells(metric));
        let NumberColumn { column, number, .. } = column;
        read_block(column, block, lane, |at, found| match (slots[at], found) {
            (NONE, _) | (_, Found::Nothing) => {}
            (slot, Found::One(raw)) => cells.add(slot, number.to_double(raw)),
            (slot, Found::Several) => {
                column.values_for_doc(document(block, at)).for_each(|raw| cells.add(slot, number.to_double(raw)));
            }
        });
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
            self.groups.count_documents(&[slot]);
            for (metric, column) in segment.metrics.iter().enumerate() {
                let Some(column) = column else { continue };
                let mut cells = self.groups.cells(metric);
                column.column.values_for_doc(id).for_each(|raw| cells.add(slot, column.number.to_double(raw)));
            }
        }
    }
}

impl Work for DensePass<'_> {
    fn block(&mut self, block: Block, segment: &Segment) {
        let Block { number, .. } = block;
        let block = &segment.block(number);
        self.several.clear();
        self.dates(segment, number, block);
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
        let mut passes: Vec<_> = (0..threads).map(|_| DensePass::new(timeline, codes, groups())).collect();
        let from = timeline.start(0).to_u64();
        let to = timeline.start(timeline.len()).to_u64();
        let blocks = pass::blocks(&self.segments, |first, last| last >= from && first < to);
        let read = pass::read(&self.segments, &blocks, &mut passes, stop);
        let groups: Vec<_> = passes.into_iter().map(DensePass::into_groups).collect();
        let groups = self.unless_cancelled(read, groups)?;
        Ok(Finished::Dense(DensePages::new(plan, groups, left)))
    }
}
