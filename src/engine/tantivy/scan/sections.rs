//! Sections: where a stretch of time has more groups than fit into memory, its keys are cut into sections, and for
//! each of its documents it is noted once which one it is in. The passes that follow read the documents of their own
//! sections; without that each would look at the keys of all.

use std::cmp::Ordering;

use super::columns::{BLOCK, Segment};
use super::groups::KeyRange;
use super::key_block::KeyBlock;
use super::pass::{Block, Work};
use crate::engine::StopSignal;

/// How many sections there may be: what remains of a byte.
const MAX: u8 = 254;
/// The section of a document that is in none.
const NONE: u8 = 254;
/// The section of a document that may be in several.
const ANY: u8 = 255;
/// How many blocks say where sections end, and one of how many of their documents.
const SAMPLE_BLOCKS: usize = 1 << 10;
const SAMPLE_STEP: usize = 16;

/// Where sections end.
pub(super) struct Bounds {
    /// Where each begins, one after the other.
    begins: Vec<u64>,
    stride: usize,
    /// Where the last one ends.
    end: Option<Vec<u64>>,
}

impl Bounds {
    /// Cuts a range of keys so that about as many documents are in each section as in another. `None` if a stop came.
    pub(super) fn sample(
        segments: &[Segment],
        blocks: &[Block],
        mut keys: KeyBlock<'_>,
        range: &KeyRange,
        stop: &StopSignal,
    ) -> Option<Self> {
        let mut sample: Vec<Vec<u64>> = Vec::new();
        for block in blocks.iter().step_by(blocks.len().div_ceil(SAMPLE_BLOCKS).max(1)) {
            if stop.is_stopped() {
                return None;
            }
            let segment = &segments[block.segment];
            let documents = 0..segment.block(block.number).len();
            keys.read(segment, block.number, documents.step_by(SAMPLE_STEP));
            let found = keys.places().iter().map(|place| keys.key(*place)).filter(|key| range.contains(key));
            sample.extend(found.map(<[u64]>::to_vec));
        }
        sample.sort_unstable();
        let per_section = sample.len().div_ceil(usize::from(MAX)).max(1);
        let mut begins: Vec<Vec<u64>> = sample.into_iter().step_by(per_section).collect();
        begins.dedup();
        // The first key of the sample is hardly the first one.
        let first = range.from.as_ref().map_or_else(|| vec![0; keys.stride()], |(from, _)| from.clone());
        match begins.first_mut() {
            Some(begin) => *begin = first,
            None => begins.push(first),
        }
        Some(Self { begins: begins.concat(), stride: keys.stride(), end: range.to.clone() })
    }

    fn len(&self) -> usize {
        self.begins.len() / self.stride
    }

    fn begin(&self, section: usize) -> &[u64] {
        &self.begins[section * self.stride..][..self.stride]
    }

    /// The section that a key is in.
    #[inline]
    fn find(&self, key: &[u64]) -> Option<usize> {
        let (mut low, mut len) = (0, self.len());
        while len > 0 {
            let half = len / 2;
            let is_after = compare(self.begin(low + half), key) != Ordering::Greater;
            low += if is_after { half + 1 } else { 0 };
            len = if is_after { len - half - 1 } else { half };
        }
        let is_within = self.end.as_deref().is_none_or(|end| compare(key, end) == Ordering::Less);
        low.checked_sub(1).filter(|_| is_within)
    }
}

/// Words, compared one by one: a comparison of memory would be a call.
#[inline]
fn compare(a: &[u64], b: &[u64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Notes the section of each document.
pub(super) struct Marker<'a> {
    segments: &'a [Segment],
    keys: KeyBlock<'a>,
    bounds: &'a Bounds,
    marks: Marks,
}

/// What one thread has noted.
pub(super) struct Marks {
    blocks: Vec<(Block, Box<[u8]>)>,
    documents: Vec<usize>,
}

impl<'a> Marker<'a> {
    pub(super) fn new(segments: &'a [Segment], keys: KeyBlock<'a>, bounds: &'a Bounds) -> Self {
        Self { segments, keys, bounds, marks: Marks { blocks: Vec::new(), documents: vec![0; bounds.len()] } }
    }

    pub(super) fn into_marks(self) -> Marks {
        self.marks
    }
}

impl Work for Marker<'_> {
    fn block(&mut self, block: Block) {
        let Self { segments, keys, bounds, marks: Marks { blocks, documents } } = self;
        let segment = &segments[block.segment];
        let len = segment.block(block.number).len();
        keys.read(segment, block.number, 0..len);
        let mut marks = [NONE; BLOCK];
        let mut is_wanted = !keys.several().is_empty();
        for place in keys.places() {
            if let Some(section) = bounds.find(keys.key(*place)) {
                documents[section] += 1;
                marks[*place] = u8::try_from(section).unwrap_or(ANY);
                is_wanted = true;
            }
        }
        keys.several().iter().for_each(|place| marks[*place] = ANY);
        if is_wanted {
            blocks.push((block, marks[..len].into()));
        }
    }
}

/// The sections of a stretch of time, and which documents are in which.
pub(super) struct Sections {
    bounds: Bounds,
    /// How many documents are in each.
    documents: Vec<usize>,
    /// For each segment and block, the section of each document; nothing where none is in any.
    marks: Vec<Vec<Option<Box<[u8]>>>>,
    bytes: usize,
}

/// What a pass reads of a stretch: sections that lie side by side.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    sections: &'a Sections,
    first: u8,
    count: u8,
}

impl Sections {
    /// What it takes to note the sections of the documents of so many blocks.
    pub(super) fn bytes_for(blocks: usize) -> usize {
        blocks * (BLOCK + size_of::<(Block, Box<[u8]>)>() + size_of::<Option<Box<[u8]>>>())
    }

    pub(super) fn new(segments: &[Segment], bounds: Bounds, found: Vec<Marks>) -> Self {
        let mut documents = vec![0; bounds.len()];
        let mut marks: Vec<Vec<_>> = segments.iter().map(|segment| vec![None; segment.blocks() as usize]).collect();
        for found in found {
            documents.iter_mut().zip(found.documents).for_each(|(documents, found)| *documents += found);
            for (block, sections) in found.blocks {
                marks[block.segment][block.number as usize] = Some(sections);
            }
        }
        let bytes = Self::bytes_for(marks.iter().flatten().flatten().count());
        Self { bounds, documents, marks, bytes }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// As many sections from this key on as have no more documents than that, but one in any case; and where they end.
    pub(super) fn stretch(&self, from: &[u64], most: usize) -> Option<(Stretch<'_>, Option<Vec<u64>>)> {
        let first = self.bounds.find(from)?;
        let mut documents = 0;
        let fit = self.documents[first..].iter().take_while(|more| {
            documents += **more;
            documents <= most
        });
        let end = first + fit.count().max(1);
        let to = if end < self.bounds.len() { Some(self.bounds.begin(end).to_vec()) } else { self.bounds.end.clone() };
        let byte = |number: usize| u8::try_from(number).unwrap_or(MAX);
        Some((Stretch { sections: self, first: byte(first), count: byte(end - first) }, to))
    }
}

impl<'a> Stretch<'a> {
    /// The places of the documents of a block that are in it, or may be.
    pub(super) fn places(self, block: Block) -> impl Iterator<Item = usize> + use<'a> {
        let marks = self.sections.marks[block.segment][block.number as usize].as_deref().unwrap_or_default();
        let is_in = move |mark: u8| mark.wrapping_sub(self.first) < self.count || mark == ANY;
        marks.iter().enumerate().filter(move |(_, mark)| is_in(**mark)).map(|(place, _)| place)
    }
}
