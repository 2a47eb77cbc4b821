//! A block of documents becomes hashed groups: its keys are put into words, part by part.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::{BLOCK, Buffers, Segment, millis, read_block};
use super::groups::Groups;
use super::keys::{KeyShape, NULL};
use super::pass::Grouping;
use crate::job::BucketCursor;

/// What becomes of a document of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Deleted, without a date, or out of range.
    Out,
    /// In one group.
    One,
    /// A field has several values: in several groups, perhaps.
    Many,
}

pub(super) struct HashPass<'a> {
    shape: &'a KeyShape,
    cursor: BucketCursor,
    before: u64,
    groups: Groups,
    buffers: Buffers,
    keys: Vec<u64>,
    fates: Vec<Fate>,
    slots: Vec<Option<u32>>,
    /// Documents without a date.
    pub(super) skipped: u64,
}

impl<'a> HashPass<'a> {
    pub(super) fn new(shape: &'a KeyShape, cursor: BucketCursor, before: u64, groups: Groups) -> Self {
        let keys = vec![NULL; BLOCK * shape.stride()];
        let (fates, slots) = (vec![Fate::Out; BLOCK], vec![None; BLOCK]);
        Self { shape, cursor, before, groups, buffers: Buffers::new(), keys, fates, slots, skipped: 0 }
    }

    pub(super) fn into_groups(self) -> Groups {
        self.groups
    }

    /// Puts the date bucket of each document into its key. Says the least and the greatest date.
    fn dates(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)> {
        let Self { cursor, before, buffers, keys, fates, skipped, shape, .. } = self;
        let (stride, before) = (shape.stride(), *before);
        let fates = &mut fates[..block.len()];
        let is_alive = |at: usize| {
            let id = block.start + u32::try_from(at).unwrap_or(0);
            segment.alive.as_ref().is_none_or(|alive| alive.is_alive(id))
        };
        let Some(column) = &segment.date else {
            fates.fill(Fate::Out);
            *skipped += (0..block.len()).filter(|at| is_alive(*at)).count() as u64;
            return None;
        };
        fates.fill(Fate::One);
        let (mut several, mut missing) = (Vec::new(), Vec::new());
        let (mut first, mut last) = (u64::MAX, 0);
        read_block(
            column,
            block,
            buffers,
            |at, raw| {
                (first, last) = (first.min(raw), last.max(raw));
                let bucket = cursor.round_down(millis(raw)).to_u64();
                keys[at * stride] = bucket;
                if bucket >= before {
                    fates[at] = Fate::Out;
                }
            },
            |at| missing.push(at),
            |at| several.push(at),
        );
        for at in several {
            fates[at] = Fate::Many;
            for raw in column.values_for_doc(block.start + u32::try_from(at).unwrap_or(0)) {
                (first, last) = (first.min(raw), last.max(raw));
            }
        }
        for at in missing {
            fates[at] = Fate::Out;
            *skipped += u64::from(is_alive(at));
        }
        if segment.alive.is_some() {
            for at in (0..block.len()).filter(|at| !is_alive(*at)) {
                fates[at] = Fate::Out;
            }
        }
        (first <= last).then_some((first, last))
    }

    /// Puts the other parts of the key into its words.
    fn key_parts(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { buffers, keys, fates, shape, .. } = self;
        let stride = shape.stride();
        for ((kind, word), column) in shape.parts()[1..].iter().zip(&segment.keys) {
            let (word, words) = (*word, kind.words());
            // One word or two, and not a copy of some length: that would be a call for each document.
            let put = |keys: &mut [u64], at: usize, [first, second]: [u64; 2]| {
                let place = at * stride + word;
                keys[place] = first;
                if words == 2 {
                    keys[place + 1] = second;
                }
            };
            let Some(column) = column else {
                (0..block.len()).for_each(|at| put(keys, at, [NULL; 2]));
                continue;
            };
            let mut missing = Vec::new();
            read_block(
                &column.column,
                block,
                buffers,
                |at, raw| put(keys, at, column.words(raw)),
                |at| missing.push(at),
                |at| {
                    if fates[at] == Fate::One {
                        fates[at] = Fate::Many;
                    }
                },
            );
            for at in missing {
                put(keys, at, [NULL; 2]);
            }
        }
    }

    fn group(&mut self, segment: &Segment, block: &Range<DocId>) {
        let stride = self.shape.stride();
        for at in 0..block.len() {
            self.slots[at] = match self.fates[at] {
                Fate::One => self.groups.count(&self.keys[at * stride..(at + 1) * stride]),
                Fate::Out => None,
                Fate::Many => {
                    self.group_many(segment, block.start + u32::try_from(at).unwrap_or(0));
                    None
                }
            };
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls into.
    fn group_many(&mut self, segment: &Segment, id: DocId) {
        let distinct = |mut words: Vec<[u64; 2]>| {
            words.sort_unstable();
            words.dedup();
            words
        };
        let dates = segment.date.iter().flat_map(|column| column.values_for_doc(id));
        let dates = dates.map(|raw| [self.cursor.round_down(millis(raw)).to_u64(), NULL]);
        let dates = distinct(dates.filter(|word| word[0] < self.before).collect());
        let mut keys: Vec<Vec<u64>> = dates.into_iter().map(|word| vec![word[0]]).collect();
        for ((kind, _), column) in self.shape.parts()[1..].iter().zip(&segment.keys) {
            let values = column.iter().flat_map(|column| column.column.values_for_doc(id).map(|raw| column.words(raw)));
            let mut words = distinct(values.filter(|words| words[0] != NULL).collect());
            if words.is_empty() {
                words.push([NULL; 2]);
            }
            keys = keys
                .iter()
                .flat_map(|key| words.iter().map(|words| [key.as_slice(), &words[..kind.words()]].concat()))
                .collect();
        }
        for slot in keys.iter().filter_map(|key| self.groups.count(key)).collect::<Vec<_>>() {
            for (metric, column) in segment.metrics.iter().enumerate() {
                for (column, raw) in
                    column.iter().flat_map(|column| column.column.values_for_doc(id).map(move |raw| (column, raw)))
                {
                    self.groups.values(slot, metric).add(column.number.to_double(raw));
                }
            }
        }
    }

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { slots, buffers, groups, .. } = self;
        for (metric, column) in segment.metrics.iter().enumerate() {
            let Some(column) = column else { continue };
            let mut several = Vec::new();
            read_block(
                &column.column,
                block,
                buffers,
                |at, raw| {
                    if let Some(slot) = slots[at] {
                        groups.values(slot, metric).add(column.number.to_double(raw));
                    }
                },
                |_| {},
                |at| several.push(at),
            );
            for at in several {
                let Some(slot) = slots[at] else { continue };
                for raw in column.column.values_for_doc(block.start + u32::try_from(at).unwrap_or(0)) {
                    groups.values(slot, metric).add(column.number.to_double(raw));
                }
            }
        }
    }
}

impl Grouping for HashPass<'_> {
    fn block(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)> {
        let dates = self.dates(segment, block);
        if self.fates[..block.len()].iter().all(|fate| *fate == Fate::Out) {
            return dates;
        }
        self.key_parts(segment, block);
        self.group(segment, block);
        self.measure(segment, block);
        self.groups.shed();
        dates
    }
}
