//! A block of documents becomes dense groups: its dates are rows, all else of its keys is codes, and both name a group.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::ColumnIndex;

use super::codes::{Codes, Share, number_share, place_share, raw_share};
use super::columns::{BLOCK, Buffers, Number, NumberColumn, Segment, read_block};
use super::dense::DenseGroups;
use super::pass::Grouping;
use super::timeline::{NONE, Timeline};

pub(super) struct DensePass<'a> {
    timeline: &'a Timeline,
    codes: &'a Codes,
    groups: DenseGroups,
    buffers: Buffers,
    rows: Vec<u32>,
    code_of: Vec<u32>,
    slots: Vec<u32>,
    /// A block of each of a few metric fields.
    raw: [Vec<u64>; 4],
    /// Whether the block's documents are in several date buckets.
    is_scattered: bool,
    /// Documents of the block with several values in a part of the key.
    several: Vec<usize>,
    /// Documents without a date.
    pub(super) skipped: u64,
}

impl<'a> DensePass<'a> {
    pub(super) fn new(timeline: &'a Timeline, codes: &'a Codes, groups: DenseGroups) -> Self {
        let block = || vec![NONE; BLOCK];
        let (rows, code_of, slots) = (block(), block(), block());
        let raw = std::array::from_fn(|_| vec![0; BLOCK]);
        Self {
            timeline,
            codes,
            groups,
            buffers: Buffers::new(),
            rows,
            code_of,
            slots,
            raw,
            is_scattered: true,
            several: Vec::new(),
            skipped: 0,
        }
    }

    pub(super) fn into_groups(self) -> DenseGroups {
        self.groups
    }

    /// Finds the row of each document. Says the least and the greatest date.
    fn dates(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)> {
        let Self { timeline, groups, buffers, rows, several, skipped, is_scattered, .. } = self;
        *is_scattered = true;
        let alive = |at: usize| {
            let id = block.start + DocId::try_from(at).unwrap_or(0);
            segment.alive.as_ref().is_none_or(|alive| alive.is_alive(id))
        };
        let rows = &mut rows[..block.len()];
        rows.fill(NONE);
        let Some(column) = &segment.date else {
            *skipped += (0..block.len()).filter(|at| alive(*at)).count() as u64;
            return None;
        };
        let mut finder = timeline.finder(groups.rows());
        let (mut first, mut last, mut missing) = (u64::MAX, 0, 0);
        let mut see = |raw: u64| (first, last) = (first.min(raw), last.max(raw));
        if matches!(column.index, ColumnIndex::Full) {
            let raw = buffers.full(column, block);
            // Dates mostly come in order: more often than not a whole block is in one bucket.
            if let Some((row, begin, end)) = finder.common(raw) {
                *is_scattered = false;
                rows.fill(row);
                [begin, end - 1].into_iter().for_each(&mut see);
            } else {
                for (row, raw) in rows.iter_mut().zip(raw) {
                    see(*raw);
                    *row = finder.find(*raw);
                }
            }
        } else {
            let one = |at: usize, raw| {
                see(raw);
                rows[at] = finder.find(raw);
            };
            read_block(column, block, buffers, one, |at| missing += u64::from(alive(at)), |at| several.push(at));
            for at in several.iter() {
                column.values_for_doc(block.start + DocId::try_from(*at).unwrap_or(0)).for_each(&mut see);
            }
        }
        *skipped += missing;
        if segment.alive.is_some() {
            several.retain(|at| alive(*at));
            for at in (0..block.len()).filter(|at| !alive(*at)) {
                rows[at] = NONE;
            }
        }
        (first <= last).then_some((first, last))
    }

    /// Finds the code of each document.
    fn code(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { codes, buffers, code_of, rows, several, .. } = self;
        code_of[..block.len()].fill(0);
        for (part, column) in segment.keys.iter().enumerate() {
            let Some(column) = column else { continue };
            // A document with several values is dealt with apart, once.
            let many = |at: usize| {
                if rows[at] != NONE {
                    rows[at] = NONE;
                    several.push(at);
                }
            };
            let (column, share) = (&column.column, codes.share(part, column));
            match share {
                Share::Raw { first, weight } => {
                    let one = |at: usize, raw| code_of[at] += raw_share(raw, first, weight);
                    read_block(column, block, buffers, one, |_| {}, many);
                }
                Share::Place { places, weight } => {
                    let one = |at: usize, raw| code_of[at] += place_share(raw, places, weight);
                    read_block(column, block, buffers, one, |_| {}, many);
                }
                Share::Number { number, interval, first, weight } => {
                    let one =
                        |at: usize, raw| code_of[at] += number_share(number.to_double(raw), interval, first, weight);
                    read_block(column, block, buffers, one, |_| {}, many);
                }
            }
        }
    }

    fn count(&mut self, len: usize) {
        for ((slot, row), code) in self.slots[..len].iter_mut().zip(&self.rows).zip(&self.code_of) {
            *slot = if *row == NONE { NONE } else { self.groups.count(*row, *code) };
        }
        if self.is_scattered {
            self.groups.fetch(&self.slots[..len]);
        }
    }

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>) {
        let mut plain = Vec::with_capacity(segment.metrics.len());
        for (metric, column) in segment.metrics.iter().enumerate() {
            match column {
                Some(column) if column.is_full() && column.number == Number::Double => {
                    plain.push((metric, &column.column));
                }
                Some(column) => self.measure_one(metric, column, block),
                None => {}
            }
        }
        let Self { slots, groups, raw, .. } = self;
        let slots = &slots[..block.len()];
        for some in plain.chunks(raw.len()) {
            let mut read = some.iter().zip(raw.iter_mut()).map(|((metric, column), raw)| {
                column.values.get_range(u64::from(block.start), &mut raw[..block.len()]);
                (*metric, &raw[..])
            });
            // As many at once as there are: a loop over a number that the compiler knows.
            match (read.next(), read.next(), read.next(), read.next()) {
                (Some(a), Some(b), Some(c), Some(d)) => {
                    groups.add_rows(slots, [a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]);
                }
                (Some(a), Some(b), Some(c), None) => groups.add_rows(slots, [a.0, b.0, c.0], [a.1, b.1, c.1]),
                (Some(a), Some(b), None, _) => groups.add_rows(slots, [a.0, b.0], [a.1, b.1]),
                (Some(a), None, _, _) => groups.add_rows(slots, [a.0], [a.1]),
                (None, ..) => {}
            }
        }
    }

    /// Any kind of column.
    fn measure_one(&mut self, metric: usize, column: &NumberColumn, block: &Range<DocId>) {
        let (slots, buffers, mut cells) = (&self.slots, &mut self.buffers, self.groups.cells(metric));
        let (mut several, number) = (Vec::new(), column.number);
        let many = |at: usize| several.push(at);
        if column.is_small && number == Number::Double {
            let one = |at: usize, raw| {
                if slots[at] != NONE {
                    cells.add_small(slots[at], raw);
                }
            };
            read_block(&column.column, block, buffers, one, |_| {}, many);
        } else {
            let one = |at: usize, raw| {
                if slots[at] != NONE {
                    cells.add(slots[at], number.to_double(raw));
                }
            };
            read_block(&column.column, block, buffers, one, |_| {}, many);
        }
        for at in several.into_iter().filter(|at| slots[*at] != NONE) {
            let values = column.column.values_for_doc(block.start + DocId::try_from(at).unwrap_or(0));
            values.for_each(|raw| cells.add(slots[at], number.to_double(raw)));
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls into.
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
            let slot = self.groups.count(row, code);
            for (metric, column) in segment.metrics.iter().enumerate() {
                let Some(column) = column else { continue };
                let mut cells = self.groups.cells(metric);
                column.column.values_for_doc(id).for_each(|raw| cells.add(slot, column.number.to_double(raw)));
            }
        }
    }
}

impl Grouping for DensePass<'_> {
    fn block(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)> {
        self.several.clear();
        let dates = self.dates(segment, block);
        if self.several.is_empty() && self.rows[..block.len()].iter().all(|row| *row == NONE) {
            return dates;
        }
        self.code(segment, block);
        self.count(block.len());
        self.measure(segment, block);
        for at in std::mem::take(&mut self.several) {
            self.group_several(segment, block.start + DocId::try_from(at).unwrap_or(0));
        }
        self.groups.shed();
        dates
    }
}
