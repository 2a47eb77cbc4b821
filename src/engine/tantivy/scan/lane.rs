//! Block after block of a column, or a few documents of many blocks, by the cheapest way that its cardinality allows.

use std::ops::Range;

use ::tantivy::DocId;
use ::tantivy::columnar::column_index::Set;
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

    /// Those from the first to the last of them, if there are no others between.
    fn range(&self) -> Option<Range<DocId>>;

    /// Their values in a column in which each has one.
    fn values(&self, column: &Column<u64>, raw: &mut [u64]);
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
    fn range(&self) -> Option<Range<DocId>> {
        Some(self.clone())
    }

    #[inline]
    fn values(&self, column: &Column<u64>, raw: &mut [u64]) {
        column.values.get_range(u64::from(self.start), raw);
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
    fn range(&self) -> Option<Range<DocId>> {
        None
    }

    #[inline]
    fn values(&self, column: &Column<u64>, raw: &mut [u64]) {
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

/// Memory that block after block of columns is read into.
pub(super) struct Lane {
    /// The value at each place, where there is one.
    pub(super) raw: Vec<u64>,
    pub(super) values: Vec<Values>,
    /// Every place has one value, whatever `values` says.
    is_full: bool,
    /// Values side by side.
    dense: Vec<u64>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { raw: vec![0; BLOCK], values: vec![Values::None; BLOCK], is_full: false, dense: vec![0; BLOCK] }
    }

    /// Values of a column in which every document has one.
    pub(super) fn full<D: Documents + ?Sized>(&mut self, column: &Column<u64>, documents: &D) -> &[u64] {
        let raw = &mut self.raw[..documents.size()];
        documents.values(column, raw);
        raw
    }

    /// Reads values. Says whether every document has one; otherwise `values` tells.
    pub(super) fn read<D: Documents + ?Sized>(&mut self, column: &Column<u64>, documents: &D) -> bool {
        let Self { raw, values, dense, .. } = self;
        let (raw, values) = (&mut raw[..documents.size()], &mut values[..documents.size()]);
        match (&column.index, documents.range()) {
            (ColumnIndex::Full, _) => {
                documents.values(column, raw);
                return true;
            }
            (ColumnIndex::Empty { .. }, _) => values.fill(Values::None),
            (ColumnIndex::Optional(index), Some(block)) => {
                let rows = index.rank(block.start)..index.rank(block.end);
                if rows.len() == block.len() {
                    column.values.get_range(u64::from(rows.start), raw);
                    return true;
                }
                let dense = &mut dense[..rows.len()];
                column.values.get_range(u64::from(rows.start), dense);
                // They have their values side by side, in their own order.
                let mut next = 0;
                for ((raw, values), id) in raw.iter_mut().zip(values).zip(block.clone()) {
                    let is_there = index.contains(id);
                    *raw = dense.get(next).copied().unwrap_or(0);
                    *values = if is_there { Values::One } else { Values::None };
                    next += usize::from(is_there);
                }
            }
            (ColumnIndex::Optional(_) | ColumnIndex::Multivalued(_), _) => {
                for (at, (raw, values)) in raw.iter_mut().zip(values).enumerate() {
                    (*raw, *values) = only_value(column, documents.id(at));
                }
            }
        }
        false
    }

    /// Reads a block of which only these places matter, which [`found`](Self::found) has then.
    pub(super) fn read_places(&mut self, column: &Column<u64>, block: &Range<DocId>, places: &[usize]) {
        if places.len() * FEW >= block.len() {
            self.is_full = self.read(column, block);
            return;
        }
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

    /// All values at a place of the block of this column that was read last.
    #[inline]
    pub(super) fn each(&self, column: &Column<u64>, block: &Range<DocId>, place: usize, mut see: impl FnMut(u64)) {
        match self.found(place) {
            Found::Nothing => {}
            Found::One(raw) => see(raw),
            Found::Several => column.values_for_doc(document(block, place)).for_each(see),
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
