//! A block of documents becomes hashed groups.

use super::columns::{Found, Lane, NumberColumn, Segment, document};
use super::dense::Left;
use super::groups::{Groups, HashedPages, KeyRange};
use super::key_block::KeyBlock;
use super::keys::NULL;
use super::pass::{self, Block, Work};
use super::sections::{Bounds, Marker, Sections, Stretch};
use super::{Finished, Scan};
use crate::engine::{EngineError, StopSignal};

/// Which part of a pass's memory it may take to know the section of each document.
const SECTIONS_PART: usize = 2;

pub(super) struct HashPass<'a> {
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
    pub(super) fn new(keys: KeyBlock<'a>, stretch: Option<Stretch<'a>>, groups: Groups) -> Self {
        Self { keys, stretch, groups, lane: Lane::new(), places: Vec::new(), slots: Vec::new() }
    }

    pub(super) fn into_groups(self) -> Groups {
        self.groups
    }

    fn group(&mut self) {
        let Self { keys, groups, places, slots, .. } = self;
        places.clear();
        slots.clear();
        for place in keys.places() {
            if let Some(slot) = groups.count(keys.key(*place)) {
                places.push(*place);
                slots.push(slot);
            }
        }
    }

    fn measure(&mut self, block: Block, segment: &Segment) {
        let Self { places, slots, lane, groups, .. } = self;
        let block = &segment.block(block.number);
        for (metric, column) in segment.metrics.iter().enumerate() {
            let Some(NumberColumn { column, number, .. }) = column else { continue };
            lane.read_places(column, block, places);
            for (place, slot) in places.iter().zip(slots.iter()) {
                match lane.found(*place) {
                    Found::Nothing => {}
                    Found::One(raw) => groups.values(*slot, metric).add(number.to_double(raw)),
                    Found::Several => {
                        let values = groups.values(*slot, metric);
                        let found = column.values_for_doc(document(block, *place));
                        found.for_each(|raw| values.add(number.to_double(raw)));
                    }
                }
            }
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls
    /// into.
    fn group_several(&mut self, block: Block, segment: &Segment) {
        let Self { keys, groups, .. } = self;
        let block = &segment.block(block.number);
        for id in keys.several().iter().map(|place| document(block, *place)) {
            for slot in keys.keys_of(segment, id).iter().filter_map(|key| groups.count(key)).collect::<Vec<_>>() {
                for (metric, column) in segment.metrics.iter().enumerate() {
                    let Some(NumberColumn { column, number, .. }) = column else { continue };
                    let values = groups.values(slot, metric);
                    column.values_for_doc(id).for_each(|raw| values.add(number.to_double(raw)));
                }
            }
        }
    }
}

impl Work for HashPass<'_> {
    fn block(&mut self, block: Block, segment: &Segment) {
        let all = segment.block(block.number).len();
        match self.stretch {
            Some(stretch) => self.keys.read(segment, block.number, stretch.places(block)),
            None => self.keys.read(segment, block.number, 0..all),
        }
        self.group();
        self.measure(block, segment);
        self.group_several(block, segment);
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

impl Scan {
    /// Groups by hash.
    pub(super) fn hash_pass(
        &mut self,
        slice_end: Option<u64>,
        threads: usize,
        bytes: usize,
        stop: &StopSignal,
    ) -> Result<Finished, EngineError> {
        self.left = Left::default();
        let to = slice_end.map(|bucket| {
            let mut words = vec![NULL; self.shape.stride()];
            words[0] = bucket + 1;
            words
        });
        let mut range = KeyRange { to, ..self.rest.clone() };
        let blocks = pass::blocks(&self.segments, |first, last| first < self.before && !range.misses(first, last));
        if matches!(self.crowding, Crowding::Found)
            && Sections::bytes_for(blocks.len()) <= threads * bytes / SECTIONS_PART
        {
            self.crowding = Crowding::Sections(self.sections(&blocks, &range, threads, stop)?);
        }
        let bytes = bytes - self.crowding.bytes() / threads;
        let (words, metrics) = (self.shape.stride(), self.metrics);
        let most = Groups::most(words, metrics, bytes) * threads;
        let stretch = match (&self.crowding, &range.from) {
            (Crowding::Sections(sections), Some((from, _))) => sections.stretch(from, most - most / 8),
            _ => None,
        };
        let stretch = stretch.map(|(stretch, to)| {
            range.to = to;
            stretch
        });
        let groups = || Groups::new(words, metrics, range.clone(), bytes, blocks.len() / threads);
        let mut passes: Vec<_> = (0..threads).map(|_| HashPass::new(self.keys(), stretch, groups())).collect();
        let read = pass::read(&self.segments, &blocks, &mut passes, stop);
        let groups: Vec<_> = passes.into_iter().map(HashPass::into_groups).collect();
        let has_sections = stretch.is_some();
        let groups = self.unless_cancelled(read, groups)?;
        let pages = HashedPages::new(groups.into_iter().map(Groups::finish).collect());
        let crowding = match std::mem::take(&mut self.crowding) {
            sections if has_sections => sections,
            _ if pages.end() != range.to => Crowding::Found,
            _ => Crowding::None,
        };
        Ok(Finished::Hashed(pages, crowding))
    }

    /// Finds out which documents are for which pass.
    fn sections(
        &mut self,
        blocks: &[Block],
        range: &KeyRange,
        threads: usize,
        stop: &StopSignal,
    ) -> Result<Sections, EngineError> {
        let bounds = Bounds::sample(&self.segments, blocks, self.keys(), range, stop);
        let bounds = bounds.ok_or_else(EngineError::cancelled)?;
        let mut markers: Vec<_> = (0..threads).map(|_| Marker::new(self.keys(), &bounds)).collect();
        let read = pass::read(&self.segments, blocks, &mut markers, stop);
        let marks: Vec<_> = markers.into_iter().map(Marker::into_marks).collect();
        let marks = self.unless_cancelled(read, marks)?;
        Ok(Sections::new(&self.segments, bounds, marks))
    }

    fn keys(&self) -> KeyBlock<'_> {
        KeyBlock::new(&self.shape, self.rounding.cursor(), self.before)
    }
}
