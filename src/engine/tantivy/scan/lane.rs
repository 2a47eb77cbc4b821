//! Block after block of a column, or a few documents of many blocks, by the cheapest way that its cardinality allows.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::column_index::{MultiValueIndex, OptionalIndex, Set};
use ::tantivy::columnar::{Column, ColumnIndex};

use super::columns::{BLOCK, document};

/// What a document has in a column.
#[derive(Clone, Copy)]
pub(super) enum Found {
    Nothing,
    One(u64),
    Several,
}

/// How many values a document has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    None,
    One,
    Several,
}

/// Documents that are read together, at most as many as a block has.
pub(super) trait Documents {
    fn size(&self) -> usize;

    /// The document at a place among them.
    fn id(&self, place: usize) -> DocId;

    /// The block that they are read with, if there is one.
    fn block(&self) -> Option<Range<DocId>>;

    /// Their places in the block, unless they are all of it.
    fn chosen(&self) -> Option<&[u16]>;

    /// Their values in a column in which each has one. `block` has room for those of the block.
    fn values(&self, column: &Column<u64>, raw: &mut [u64], block: &mut [u64]);
}

impl Documents for Range<DocId> {
    #[inline]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn id(&self, place: usize) -> DocId {
        document(self, place)
    }

    #[inline]
    fn block(&self) -> Option<Range<DocId>> {
        Some(self.clone())
    }

    #[inline]
    fn chosen(&self) -> Option<&[u16]> {
        None
    }

    #[inline]
    fn values(&self, column: &Column<u64>, raw: &mut [u64], _: &mut [u64]) {
        column.values.get_range(u64::from(self.start), raw);
    }
}

/// Many documents of a block. A block is read faster than these one by one; and where each document has to be asked
/// whether it is wanted, a processor guesses wrong again and again.
pub(super) struct Chosen<'a> {
    pub(super) block: Range<DocId>,
    /// Their places in it, ascending.
    pub(super) places: &'a [u16],
}

impl Documents for Chosen<'_> {
    #[inline]
    fn size(&self) -> usize {
        self.places.len()
    }

    #[inline]
    fn id(&self, place: usize) -> DocId {
        document(&self.block, usize::from(self.places[place]))
    }

    #[inline]
    fn block(&self) -> Option<Range<DocId>> {
        Some(self.block.clone())
    }

    #[inline]
    fn chosen(&self) -> Option<&[u16]> {
        Some(self.places)
    }

    #[inline]
    fn values(&self, column: &Column<u64>, raw: &mut [u64], block: &mut [u64]) {
        column.values.get_range(u64::from(self.block.start), &mut block[..self.block.len()]);
        for (raw, place) in raw.iter_mut().zip(self.places) {
            *raw = block[usize::from(*place)];
        }
    }
}

/// Wherever they are. None of the values is waited for before the next one is asked for: far apart, they come from
/// memory together.
impl Documents for [DocId] {
    #[inline]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn id(&self, place: usize) -> DocId {
        self[place]
    }

    #[inline]
    fn block(&self) -> Option<Range<DocId>> {
        None
    }

    #[inline]
    fn chosen(&self) -> Option<&[u16]> {
        None
    }

    #[inline]
    fn values(&self, column: &Column<u64>, raw: &mut [u64], _: &mut [u64]) {
        column.values.get_vals(self, raw);
    }
}

/// Reads documents' values in a column, by the cheapest way that its cardinality allows: `see` gets each place among
/// them and what is there.
#[inline]
pub(super) fn read_block<D: Documents + ?Sized>(
    column: &Column<u64>,
    documents: &D,
    lane: &mut Lane,
    mut see: impl FnMut(usize, Found),
) {
    if lane.read(column, documents) {
        for (at, raw) in lane.raw[..documents.size()].iter().enumerate() {
            see(at, Found::One(*raw));
        }
        return;
    }
    for (at, (raw, values)) in lane.raw.iter().zip(&lane.values).take(documents.size()).enumerate() {
        let found = match values {
            Values::One => Found::One(*raw),
            Values::None => Found::Nothing,
            Values::Several => Found::Several,
        };
        see(at, found);
    }
}

/// If fewer than one document of a block in so many matters, they are read one by one.
pub(super) const FEW: usize = 8;

/// A block whose documents have more values is read document by document.
const MOST_VALUES: usize = 16 * BLOCK;

/// Memory that block after block of columns is read into.
pub(super) struct Lane {
    /// The value at each place, where there is one; the first one where there are several.
    pub(super) raw: Vec<u64>,
    pub(super) values: Vec<Values>,
    /// Every place has one value, whatever `values` says.
    is_full: bool,
    /// Values side by side.
    dense: Vec<u64>,
    /// Where in them those of each place are, if they were read so.
    spans: Vec<Range<u32>>,
    has_spans: bool,
    starts: Vec<u32>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            raw: vec![0; BLOCK],
            values: vec![Values::None; BLOCK],
            is_full: false,
            dense: vec![0; BLOCK],
            spans: vec![0..0; BLOCK],
            has_spans: false,
            starts: Vec::new(),
        }
    }

    /// Values of a column in which every document has one.
    pub(super) fn full<D: Documents + ?Sized>(&mut self, column: &Column<u64>, documents: &D) -> &[u64] {
        let raw = &mut self.raw[..documents.size()];
        documents.values(column, raw, &mut self.dense);
        raw
    }

    /// Reads values. Says whether every document has one; otherwise `values` tells.
    pub(super) fn read<D: Documents + ?Sized>(&mut self, column: &Column<u64>, documents: &D) -> bool {
        self.has_spans = false;
        self.is_full = matches!(column.index, ColumnIndex::Full);
        if self.is_full {
            self.full(column, documents);
            return true;
        }
        if let Some(is_full) = documents.block().and_then(|block| self.read_whole(column, block)) {
            self.is_full = is_full;
            for (at, place) in documents.chosen().into_iter().flatten().enumerate() {
                let place = usize::from(*place);
                (self.raw[at], self.values[at]) = (self.raw[place], self.values[place]);
                if self.has_spans {
                    self.spans[at] = self.spans[place].clone();
                }
            }
            return is_full;
        }
        for at in 0..documents.size() {
            (self.raw[at], self.values[at]) = only_value(column, documents.id(at));
        }
        false
    }

    /// Reads a block at once, if that can be done. Says whether every document has one value.
    fn read_whole(&mut self, column: &Column<u64>, block: Range<DocId>) -> Option<bool> {
        match &column.index {
            ColumnIndex::Empty { .. } => {
                self.values[..block.len()].fill(Values::None);
                Some(false)
            }
            ColumnIndex::Full => None,
            ColumnIndex::Optional(index) => Some(self.read_optional(column, index, block)),
            ColumnIndex::Multivalued(index) => {
                self.has_spans = self.read_spans(column, index, block);
                self.has_spans.then_some(false)
            }
        }
    }

    /// Reads a block of which some documents may have no value.
    fn read_optional(&mut self, column: &Column<u64>, index: &OptionalIndex, block: Range<DocId>) -> bool {
        let Self { raw, values, dense, .. } = self;
        let rows = index.rank(block.start)..index.rank(block.end);
        if rows.len() == block.len() {
            column.values.get_range(u64::from(rows.start), &mut raw[..rows.len()]);
            return true;
        }
        let dense = &mut dense[..rows.len()];
        column.values.get_range(u64::from(rows.start), dense);
        // They have their values side by side, in their own order.
        let mut next = 0;
        for ((raw, values), id) in raw.iter_mut().zip(values.iter_mut()).zip(block) {
            let is_there = index.contains(id);
            *raw = dense.get(next).copied().unwrap_or(0);
            *values = if is_there { Values::One } else { Values::None };
            next += usize::from(is_there);
        }
        false
    }

    /// Reads a block with all values of documents that may have several, if these are not too many.
    fn read_spans(&mut self, column: &Column<u64>, index: &MultiValueIndex, block: Range<DocId>) -> bool {
        // Earlier versions of tantivy wrote others.
        let MultiValueIndex::MultiValueIndexV2(index) = index else { return false };
        let Self { raw, values, dense, spans, starts, .. } = self;
        let has_values = &index.optional_index;
        let rows = has_values.rank(block.start)..has_values.rank(block.end);
        starts.resize(rows.len() + 1, 0);
        index.start_index_column.get_range(u64::from(rows.start), starts);
        let all = starts[0]..starts[rows.len()];
        if all.len() > MOST_VALUES {
            return false;
        }
        dense.resize(all.len().max(BLOCK), 0);
        column.values.get_range(u64::from(all.start), &mut dense[..all.len()]);
        let mut next = 0;
        for (at, id) in block.enumerate() {
            let is_there = usize::from(has_values.contains(id));
            let span = starts[next] - all.start..starts[next + is_there] - all.start;
            next += is_there;
            raw[at] = dense.get(span.start as usize).copied().unwrap_or(0);
            values[at] = match span.len() {
                0 => Values::None,
                1 => Values::One,
                _ => Values::Several,
            };
            spans[at] = span;
        }
        true
    }

    /// Reads a block of which only these places matter, which [`found`](Self::found) has then.
    pub(super) fn read_places(&mut self, column: &Column<u64>, block: &Range<DocId>, places: &[usize]) {
        if places.len() * FEW >= block.len() {
            self.read(column, block);
            return;
        }
        self.has_spans = false;
        self.is_full = matches!(column.index, ColumnIndex::Full);
        for &place in places {
            let id = document(block, place);
            if self.is_full {
                self.raw[place] = column.values.get_val(id);
            } else {
                (self.raw[place], self.values[place]) = only_value(column, id);
            }
        }
    }

    /// All values at a place of the documents of this column that were read last.
    #[inline]
    pub(super) fn each<D: Documents + ?Sized>(
        &self,
        column: &Column<u64>,
        documents: &D,
        place: usize,
        mut see: impl FnMut(u64),
    ) {
        match self.found(place) {
            Found::Nothing => {}
            Found::One(raw) => see(raw),
            Found::Several if self.has_spans => {
                let Range { start, end } = self.spans[place];
                self.dense[start as usize..end as usize].iter().for_each(|raw| see(*raw));
            }
            Found::Several => column.values_for_doc(documents.id(place)).for_each(see),
        }
    }

    /// What is at a place.
    #[inline]
    pub(super) fn found(&self, place: usize) -> Found {
        match self.values[place] {
            _ if self.is_full => Found::One(self.raw[place]),
            Values::One => Found::One(self.raw[place]),
            Values::None => Found::Nothing,
            Values::Several => Found::Several,
        }
    }
}

/// The value of a document that has one.
#[inline]
pub(super) fn only_value(column: &Column<u64>, id: DocId) -> (u64, Values) {
    if matches!(column.index, ColumnIndex::Full) {
        return (column.values.get_val(id), Values::One);
    }
    let mut found = column.values_for_doc(id);
    match (found.next(), found.next()) {
        (None, _) => (0, Values::None),
        (Some(one), None) => (one, Values::One),
        (Some(_), Some(_)) => (0, Values::Several),
    }
}
