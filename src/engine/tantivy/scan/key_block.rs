//! The keys of a block of documents, in words, part by part.

use std::ops::Range;

use ::tantivy::DocId;

use super::columns::{BLOCK, Segment, document, millis};
use super::grid::GridCursor;
use super::keys::{KeyShape, NULL};
use super::lane::{Found, Lane};
use super::mask::Mask;
use super::window::{Spotter, Window};

/// Which documents of a block have a key, and which one.
pub(super) struct KeyBlock<'a> {
    shape: &'a KeyShape,
    cursor: GridCursor,
    spotter: Spotter<'a>,
    lane: Lane,
    means: Vec<bool>,
    keys: Vec<u64>,
    /// Places in the block of the documents that have one key.
    places: Vec<usize>,
    /// Places of those that may have several, since a field has several values.
    several: Vec<usize>,
}

impl<'a> KeyBlock<'a> {
    pub(super) fn new(shape: &'a KeyShape, cursor: GridCursor, window: &'a Window) -> Self {
        let (keys, means) = (vec![NULL; BLOCK * shape.stride()], vec![false; BLOCK]);
        let (places, several) = (Vec::with_capacity(BLOCK), Vec::new());
        Self { shape, cursor, spotter: window.spotter(), lane: Lane::new(), means, keys, places, several }
    }

    /// Reads a block, of which those documents matter whose places are given.
    pub(super) fn read(&mut self, segment: &Segment, number: u32, places: impl Iterator<Item = usize>) {
        let block = &segment.block(number);
        self.several.clear();
        self.places.clear();
        self.places.extend(places);
        if segment.alive.is_some() {
            self.places.retain(|place| segment.is_alive(document(block, *place)));
        }
        if self.places.is_empty() {
            return;
        }
        self.filter(segment, block);
        if self.places.is_empty() {
            return;
        }
        self.dates(segment, number, block);
        if !self.places.is_empty() {
            self.other_parts(segment, block);
        }
    }

    /// How many words a key has.
    pub(super) fn stride(&self) -> usize {
        self.shape.stride()
    }

    /// The documents that have one key, as places in the block.
    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// The key of the document at a place.
    #[inline]
    pub(super) fn key(&self, place: usize) -> &[u64] {
        let stride = self.shape.stride();
        &self.keys[place * stride..][..stride]
    }

    /// The documents that may have several keys: [`keys_of`](Self::keys_of) says which.
    pub(super) fn several(&self) -> &[usize] {
        &self.several
    }

    /// Puts the date bucket of each document into its key.
    fn dates(&mut self, segment: &Segment, number: u32, block: &Range<DocId>) {
        let Self { cursor, spotter, lane, keys, places, several, shape, .. } = self;
        let stride = shape.stride();
        let Some(column) = &segment.date else {
            places.clear();
            return;
        };
        if let Some(bucket) = segment.common_bucket(number) {
            for place in places.iter() {
                keys[*place * stride] = bucket;
            }
            if !spotter.wants_bucket(bucket) {
                places.clear();
            }
            return;
        }
        lane.read_places(column, block, places);
        places.retain(|place| match lane.found(*place) {
            Found::Nothing => false,
            Found::One(raw) => {
                let bucket = cursor.word(millis(raw));
                keys[*place * stride] = bucket;
                spotter.wants(raw, bucket)
            }
            Found::Several => {
                several.push(*place);
                false
            }
        });
    }

    /// Leaves those that the filter means.
    fn filter(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { lane, means, places, .. } = self;
        if matches!(segment.mask, Mask::All) {
            return;
        }
        segment.mask.read(block, lane, &mut means[..block.len()]);
        places.retain(|place| means[*place]);
    }

    /// Puts the other parts of the key into its words.
    fn other_parts(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { lane, keys, places, several, shape, .. } = self;
        let stride = shape.stride();
        for ((kind, word), column) in shape.parts()[1..].iter().zip(&segment.keys) {
            let (word, words) = (*word, kind.words());
            // One word or two, and not a copy of some length: that would be a call for each document.
            let mut put = |place: usize, [first, second]: [u64; 2]| {
                let at = place * stride + word;
                keys[at] = first;
                if words == 2 {
                    keys[at + 1] = second;
                }
            };
            let Some(column) = column else {
                for place in places.iter() {
                    put(*place, [NULL; 2]);
                }
                continue;
            };
            lane.read_places(&column.column, block, places);
            places.retain(|place| {
                let words = match lane.found(*place) {
                    Found::One(raw) => column.words(raw),
                    Found::Nothing => [NULL; 2],
                    Found::Several => {
                        several.push(*place);
                        return false;
                    }
                };
                put(*place, words);
                true
            });
        }
    }

    /// The keys of a document that has several values in a field: every combination of its values.
    pub(super) fn keys_of(&self, segment: &Segment, id: DocId) -> Vec<Vec<u64>> {
        let distinct = |mut words: Vec<[u64; 2]>| {
            words.sort_unstable();
            words.dedup();
            words
        };
        let (mut cursor, mut spotter) = (self.cursor.clone(), self.spotter.clone());
        let dates = segment.date.iter().flat_map(|column| column.values_for_doc(id));
        let dates = dates.map(|raw| (raw, cursor.word(millis(raw)))).filter(|(raw, word)| spotter.wants(*raw, *word));
        let dates = distinct(dates.map(|(_, word)| [word, NULL]).collect());
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
        keys
    }
}
