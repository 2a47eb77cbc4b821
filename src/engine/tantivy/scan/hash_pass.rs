//! A block of documents becomes hashed groups: its keys are put into words, part by part.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::{BLOCK, Found, Lane, NumberColumn, Segment, document, millis, read_block};
use super::groups::Groups;
use super::keys::{KeyShape, NULL};
use super::pass::{Block, Work};
use crate::job::BucketCursor;

/// If fewer than one document in so many is in range, columns are read for them alone.
const FEW: usize = 8;

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
    lane: Lane,
    keys: Vec<u64>,
    fates: Vec<Fate>,
    slots: Vec<Option<u32>>,
}

impl<'a> HashPass<'a> {
    pub(super) fn new(shape: &'a KeyShape, cursor: BucketCursor, before: u64, groups: Groups) -> Self {
        let keys = vec![NULL; BLOCK * shape.stride()];
        let (fates, slots) = (vec![Fate::Out; BLOCK], vec![None; BLOCK]);
        Self { shape, cursor, before, groups, lane: Lane::new(), keys, fates, slots }
    }

    pub(super) fn into_groups(self) -> Groups {
        self.groups
    }

    /// Puts the date bucket of each document into its key.
    fn dates(&mut self, segment: &Segment, number: u32, block: &Range<DocId>) {
        let Self { cursor, before, lane, keys, fates, shape, .. } = self;
        let (stride, before) = (shape.stride(), *before);
        let fates = &mut fates[..block.len()];
        let fate_in = |bucket: u64| if bucket < before { Fate::One } else { Fate::Out };
        match &segment.date {
            None => fates.fill(Fate::Out),
            Some(column) => match segment.common_bucket(number) {
                Some(bucket) => {
                    keys.chunks_exact_mut(stride).take(block.len()).for_each(|key| key[0] = bucket);
                    fates.fill(fate_in(bucket));
                }
                None => read_block(column, block, lane, |at, found| {
                    fates[at] = match found {
                        Found::Nothing => Fate::Out,
                        Found::Several => Fate::Many,
                        Found::One(raw) => {
                            let bucket = cursor.round_down(millis(raw)).to_u64();
                            keys[at * stride] = bucket;
                            fate_in(bucket)
                        }
                    };
                }),
            },
        }
        if segment.alive.is_some() {
            for (fate, _) in fates.iter_mut().zip(block.clone()).filter(|(_, id)| !segment.is_alive(*id)) {
                *fate = Fate::Out;
            }
        }
    }

    /// Puts the other parts of the key into its words.
    fn key_parts(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { lane, keys, fates, shape, .. } = self;
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
            read_block(&column.column, block, lane, |at, found| match found {
                Found::One(raw) => put(keys, at, column.words(raw)),
                Found::Nothing => put(keys, at, [NULL; 2]),
                Found::Several if fates[at] == Fate::One => fates[at] = Fate::Many,
                Found::Several => {}
            });
        }
    }

    fn group(&mut self, segment: &Segment, block: &Range<DocId>) {
        let stride = self.shape.stride();
        for at in 0..block.len() {
            self.slots[at] = match self.fates[at] {
                Fate::One => self.groups.count(&self.keys[at * stride..(at + 1) * stride]),
                Fate::Out => None,
                Fate::Many => {
                    self.group_many(segment, document(block, at));
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
        let Self { slots, lane, groups, .. } = self;
        let slots = &slots[..block.len()];
        let are_few = slots.iter().flatten().count() * FEW < slots.len();
        for (metric, column) in segment.metrics.iter().enumerate() {
            let Some(NumberColumn { column, number, .. }) = column else { continue };
            let mut add = |slot: u32, raw: u64| groups.values(slot, metric).add(number.to_double(raw));
            if are_few {
                for (at, slot) in slots.iter().enumerate().filter_map(|(at, slot)| Some((at, (*slot)?))) {
                    column.values_for_doc(document(block, at)).for_each(|raw| add(slot, raw));
                }
                continue;
            }
            read_block(column, block, lane, |at, found| match (slots[at], found) {
                (None, _) | (_, Found::Nothing) => {}
                (Some(slot), Found::One(raw)) => add(slot, raw),
                (Some(slot), Found::Several) => {
                    column.values_for_doc(document(block, at)).for_each(|raw| add(slot, raw));
                }
            });
        }
    }
}

impl Work for HashPass<'_> {
    fn block(&mut self, block: Block, segment: &Segment) {
        let Block { number, .. } = block;
        let block = &segment.block(number);
        self.dates(segment, number, block);
        if self.fates[..block.len()].iter().any(|fate| *fate != Fate::Out) {
            self.key_parts(segment, block);
            self.group(segment, block);
            self.measure(segment, block);
        }
        self.groups.end_block();
    }
}
