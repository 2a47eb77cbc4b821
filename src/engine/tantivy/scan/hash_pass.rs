//! A block of documents becomes hashed groups.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::{BLOCK, Measured, MeasuredColumns, NumberColumn, Segment, document};
use super::finished::Finished;
use super::groups::{Groups, HashedPages, KeyRange, SortedGroups};
use super::key_block::KeyBlock;
use super::keys::NULL;
use super::lane::Lane;
use super::open::Opened;
use super::pass::{self, Block, Task, Unfinished, Work};
use super::sections::{Bounds, Marker, Sections, Stretch};
use crate::engine::{EngineError, StopSignal};

/// Which part of a pass's memory it may take to know the section of each document.
const SECTIONS_PART: usize = 2;

pub(super) struct HashPass<'a> {
    segments: &'a [Segment],
    keys: KeyBlock<'a>,
    /// What it reads, if not everything.
    stretch: Option<Stretch<'a>>,
    groups: Groups,
    lane: Lane,
    /// The documents of the block that are in a group, by their place, and the groups.
    places: Vec<usize>,
    slots: Vec<u32>,
}

impl<'a> HashPass<'a> {
    pub(super) fn new(
        segments: &'a [Segment],
        keys: KeyBlock<'a>,
        stretch: Option<Stretch<'a>>,
        groups: Groups,
    ) -> Self {
        Self { segments, keys, stretch, groups, lane: Lane::new(), places: Vec::new(), slots: Vec::new() }
    }

    pub(super) fn into_groups(self) -> Groups {
        self.groups
    }

    fn group(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { keys, groups, places, slots, .. } = self;
        places.clear();
        slots.clear();
        for place in keys.places() {
            if let Some(slot) = groups.slot(keys.key(*place)) {
                groups.count(slot, segment.count_of(document(block, *place)));
                places.push(*place);
                slots.push(slot);
            }
        }
    }

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { places, slots, lane, groups, .. } = self;
        for (field, measured) in segment.measured.iter().enumerate() {
            match measured {
                MeasuredColumns::Nothing => {}
                MeasuredColumns::Values(NumberColumn { column, number, .. }) => {
                    lane.read_places(column, block, places);
                    for (place, slot) in places.iter().zip(slots.iter()) {
                        let values = groups.values(*slot, field);
                        lane.each(column, block, *place, |raw| values.add(number.to_double(raw)));
                    }
                }
                MeasuredColumns::Stored(stored) => {
                    for (measure, column) in stored {
                        lane.read_places(column, block, places);
                        for (place, slot) in places.iter().zip(slots.iter()) {
                            let values = groups.values(*slot, field);
                            let merge = |raw| values.merge_stored(*measure, f64::from_u64(raw));
                            lane.each(column, block, *place, merge);
                        }
                    }
                }
            }
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls
    /// into.
    fn group_several(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { keys, groups, .. } = self;
        for id in keys.several().iter().map(|place| document(block, *place)) {
            for slot in keys.keys_of(segment, id).iter().filter_map(|key| groups.slot(key)).collect::<Vec<_>>() {
                groups.count(slot, segment.count_of(id));
                segment.measure(id, |field, found| match found {
                    Measured::Value(value) => groups.values(slot, field).add(value),
                    Measured::Stored(measure, stored) => groups.values(slot, field).merge_stored(measure, stored),
                });
            }
        }
    }
}

impl Work for HashPass<'_> {
    fn block(&mut self, block: Block) {
        let segment = &self.segments[block.segment];
        let documents = &segment.block(block.number);
        match self.stretch {
            Some(stretch) => self.keys.read(segment, block.number, stretch.places(block)),
            None => self.keys.read(segment, block.number, 0..documents.len()),
        }
        self.group(segment, documents);
        self.measure(segment, documents);
        self.group_several(segment, documents);
        self.groups.end_block();
    }
}

/// What the hashed pass before has found out about the stretch of time that the next one is in.
#[derive(Default)]
pub(super) enum Crowding {
    /// Its groups fit, as far as is known.
    #[default]
    None,
    /// They do not: the pass has forgotten some again.
    Found,
    /// They do not, and it is known which documents are for which pass.
    Sections(Sections),
}

impl Crowding {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Sections(sections) => sections.bytes(),
            Self::None | Self::Found => 0,
        }
    }
}

impl Opened {
    /// Groups by hash.
    pub(super) fn hash_pass(
        &self,
        task: Task,
        slice_end: Option<u64>,
        threads: usize,
        bytes: usize,
        stop: &StopSignal,
    ) -> Result<Finished, Unfinished> {
        let Task { from, mut crowding, .. } = task;
        let to = slice_end.map(|bucket| {
            let mut words = vec![NULL; self.question.shape.stride()];
            words[0] = bucket + 1;
            words
        });
        let mut range = KeyRange { from, to };
        let end = self.question.window.buckets.end;
        let blocks = pass::blocks(&self.segments, |first, last| first < end && !range.misses(first, last));
        if matches!(crowding, Crowding::Found) && Sections::bytes_for(blocks.len()) <= threads * bytes / SECTIONS_PART {
            crowding = Crowding::Sections(self.sections(&blocks, &range, threads, stop)?);
        }
        let bytes = bytes - crowding.bytes() / threads;
        let (words, metrics) = (self.question.shape.stride(), self.question.measures.len());
        let most = Groups::most(words, metrics, bytes) * threads;
        let stretch = match (&crowding, &range.from) {
            (Crowding::Sections(sections), Some((from, _))) => sections.stretch(from, most - most / 8),
            _ => None,
        };
        let stretch = stretch.map(|(stretch, to)| {
            range.to = to;
            stretch
        });
        let groups = || Groups::new(words, metrics, range.clone(), bytes, blocks.len() / threads);
        let mut passes: Vec<_> =
            (0..threads).map(|_| HashPass::new(&self.segments, self.keys(), stretch, groups())).collect();
        let read = pass::read(&blocks, &mut passes, stop);
        let mut groups: Vec<_> = passes.into_iter().map(HashPass::into_groups).collect();
        let has_sections = stretch.is_some();
        if read.is_none() {
            return Err(Unfinished::cancelled(groups));
        }
        let orders: Option<Vec<_>> = groups.iter_mut().map(|groups| groups.order(stop)).collect();
        let Some(orders) = orders else { return Err(Unfinished::cancelled(groups)) };
        let sorted = groups.into_iter().zip(orders).map(|(groups, order)| SortedGroups::new(groups, order));
        let pages = HashedPages::new(sorted.collect(), blocks.len() * BLOCK);
        let crowding = match crowding {
            sections if has_sections => sections,
            _ if pages.end() != range.to => Crowding::Found,
            _ => Crowding::None,
        };
        Ok(Finished::Hashed(pages, crowding))
    }

    /// Finds out which documents are for which pass.
    fn sections(
        &self,
        blocks: &[Block],
        range: &KeyRange,
        threads: usize,
        stop: &StopSignal,
    ) -> Result<Sections, Unfinished> {
        let bounds = Bounds::sample(&self.segments, blocks, self.keys(), range, stop);
        let bounds = bounds.ok_or_else(EngineError::cancelled)?;
        let mut markers: Vec<_> = (0..threads).map(|_| Marker::new(&self.segments, self.keys(), &bounds)).collect();
        let read = pass::read(blocks, &mut markers, stop);
        let marks: Vec<_> = markers.into_iter().map(Marker::into_marks).collect();
        if read.is_none() {
            return Err(Unfinished::cancelled(marks));
        }
        Ok(Sections::new(&self.segments, bounds, marks))
    }

    fn keys(&self) -> KeyBlock<'_> {
        KeyBlock::new(&self.question.shape, self.question.grid.cursor(), &self.question.window)
    }
}
