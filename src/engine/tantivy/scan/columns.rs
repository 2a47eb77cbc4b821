//! The columns of a segment, read in blocks.

use std::ops::Range;

use ::tantivy::columnar::{Column, ColumnIndex, ColumnType, MonotonicallyMappableToU64, StrColumn};
use ::tantivy::fastfield::AliveBitSet;
use ::tantivy::{DocId, TantivyError};

use super::block_dates::BlockDates;
use super::keys::{NULL, PartKind};
use super::mask::Mask;
use super::rows::{KeyColumnName, MeasuredColumnNames, RowColumns};
use super::terms;
use crate::engine::tantivy::segments::KnownSegment;
use crate::exact::exact;
use crate::filter::Selection;
use crate::job::KeyPart;
use crate::measure::Measure;
use crate::sync::Arc;

/// Documents per block, which is also how often a scan looks at its stop signal.
pub(super) const BLOCK: usize = 512;
const BLOCK_IDS: DocId = 512;

/// The columns of one segment that a scan reads.
pub(super) struct Segment {
    pub(super) documents: DocId,
    pub(super) alive: Option<AliveBitSet>,
    pub(super) date: Option<Column<u64>>,
    /// How many rows a document stands for, if not one.
    pub(super) count: Option<Column<u64>>,
    /// For each part of the key after the date.
    pub(super) keys: Vec<Option<KeyColumn>>,
    pub(super) measured: Vec<MeasuredColumns>,
    pub(super) mask: Mask,
    /// The least and the greatest date bucket of each block.
    pub(super) dates: BlockDates,
}

/// What a document adds to the measures of a field.
pub(super) enum Measured {
    Value(f64),
    /// What was found out of other values.
    Stored(Measure, f64),
}

/// What the measures of a field are found out from.
pub(super) enum MeasuredColumns {
    /// Nothing: no document has a value.
    Nothing,
    /// The values.
    Values(NumberColumn),
    /// What was found out of them earlier.
    Stored(Vec<(Measure, Column<u64>)>),
}

/// Which type of number a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Signed,
    Unsigned,
    Double,
    /// Nanoseconds, which a metric sees as milliseconds.
    Date,
}

impl Number {
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "metrics and histograms see doubles, as in Elasticsearch")]
    pub(super) fn to_double(self, raw: u64) -> f64 {
        match self {
            Self::Signed => i64::from_u64(raw) as f64,
            Self::Unsigned => raw as f64,
            Self::Double => f64::from_u64(raw),
            Self::Date => millis(raw) as f64,
        }
    }

    fn of(column: ColumnType) -> Option<Self> {
        match column {
            ColumnType::I64 => Some(Self::Signed),
            ColumnType::U64 => Some(Self::Unsigned),
            ColumnType::F64 => Some(Self::Double),
            ColumnType::DateTime => Some(Self::Date),
            _ => None,
        }
    }
}

/// A date column's value in milliseconds since 1970.
#[inline]
pub(in crate::engine::tantivy) fn millis(raw: u64) -> i64 {
    i64::from_u64(raw).div_euclid(1_000_000)
}

pub(super) struct NumberColumn {
    pub(super) column: Column<u64>,
    pub(super) number: Number,
    /// All values are finite, and no sum of any of them overflows.
    pub(super) is_small: bool,
}

impl NumberColumn {
    fn new(column: Column<u64>, number: Number) -> Self {
        let values = [column.min_value(), column.max_value()].map(|raw| number.to_double(raw).abs());
        // All segments together have fewer than 2^64 values.
        let is_small = values.into_iter().all(|value| value < f64::MAX / 2_f64.powi(64));
        Self { column, number, is_small }
    }

    /// Whether every document has exactly one value, which is a number.
    pub(super) fn is_full(&self) -> bool {
        self.is_small && matches!(self.column.index, ColumnIndex::Full)
    }

    /// Whether values are doubles that can be added up without a look at them.
    pub(super) fn has_small_doubles(&self) -> bool {
        self.is_small && self.number == Number::Double
    }

    /// Whether a document has at most one value, and such a one.
    pub(super) fn is_plain(&self) -> bool {
        self.has_small_doubles() && !matches!(self.column.index, ColumnIndex::Multivalued(_))
    }
}

/// A column whose values become words of the key.
pub(super) struct KeyColumn {
    pub(super) column: Column<u64>,
    coder: Coder,
}

pub(super) enum Coder {
    Histogram {
        interval: f64,
        number: Number,
    },
    /// Of values that are the lower ends of just these ranges.
    RoundedHistogram {
        interval: f64,
    },
    Keyword(Option<Arc<[u32]>>),
    Integer,
    Unsigned,
    Double,
}

impl KeyColumn {
    pub(super) fn coder(&self) -> &Coder {
        &self.coder
    }

    /// The words of a value; the second one is not used by all kinds.
    #[inline]
    pub(super) fn words(&self, raw: u64) -> [u64; 2] {
        let first = match &self.coder {
            Coder::Integer | Coder::Unsigned => return [1, raw],
            Coder::Keyword(None) => terms::word(raw),
            Coder::Keyword(Some(places)) => terms::word(u64::from(places[exact::<usize, _>(raw)])),
            Coder::Histogram { interval, number } => number_word(&KeyPart::histogram(number.to_double(raw), *interval)),
            Coder::RoundedHistogram { interval } => {
                let part = KeyPart::of_histogram_key(f64::from_u64(raw), *interval);
                part.as_ref().map_or(NULL, number_word)
            }
            Coder::Double => number_word(&KeyPart::double(f64::from_u64(raw))),
        };
        [first, NULL]
    }
}

/// The word of a double, or of the number of a histogram's bucket.
#[inline]
fn number_word(part: &KeyPart) -> u64 {
    match part {
        KeyPart::Histogram { number, .. } => number.to_u64(),
        KeyPart::Double(value) => value.to_u64(),
        KeyPart::Null | KeyPart::Date(_) | KeyPart::Integer(_) | KeyPart::Unsigned(_) | KeyPart::Text(_) => NULL,
    }
}

impl Segment {
    /// Opens the columns. The keyword columns come back for a numbering of their terms; they are completed by
    /// [`number_terms`](Self::number_terms).
    pub(super) fn open(
        known: &KnownSegment,
        columns: &RowColumns,
        selection: &Selection,
        dates: BlockDates,
    ) -> Result<(Self, Vec<Option<StrColumn>>), TantivyError> {
        let (mut keys, mut keywords) = (Vec::new(), Vec::new());
        for key in &columns.keys {
            let (mut keyword, mut opened) = (None, None);
            if key.kind == PartKind::Keyword {
                if known.schema().get_field(&key.column).is_ok() {
                    keyword = known.reader.fast_fields().str(&key.column)?;
                }
                opened =
                    keyword.as_ref().map(|text| KeyColumn { column: text.ords().clone(), coder: Coder::Keyword(None) });
            } else if let Some((column, column_type)) = known.column(&key.column)? {
                opened = coder(key, column_type).map(|coder| KeyColumn { column, coder });
            }
            keys.push(opened);
            keywords.push(keyword);
        }
        let segment = Self {
            documents: known.documents(),
            alive: known.reader.alive_bitset().cloned(),
            date: known.dates(&columns.date)?.column.clone(),
            count: columns.count.as_ref().map(|name| known.column(name)).transpose()?.flatten().map(|(count, _)| count),
            keys,
            measured: columns.measured.iter().map(|names| measured(known, names)).collect::<Result<_, _>>()?,
            mask: Mask::of(selection, known, &|field| columns.filtered(field))?,
            dates,
        };
        Ok((segment, keywords))
    }

    /// The values of a measured field, if they are numbers of documents of their own.
    pub(super) fn values(&self, field: usize) -> Option<&NumberColumn> {
        match &self.measured[field] {
            MeasuredColumns::Values(column) => Some(column),
            MeasuredColumns::Nothing | MeasuredColumns::Stored(_) => None,
        }
    }

    /// The grouped columns that have several values for a document.
    pub(super) fn several_values<'a>(&self, columns: &'a RowColumns) -> Vec<&'a str> {
        let has_several = |column: &Column<u64>| matches!(column.index, ColumnIndex::Multivalued(_));
        let date = self.date.as_ref().is_some_and(has_several).then_some(columns.date.as_str());
        let keys = self.keys.iter().zip(&columns.keys);
        let keys = keys.filter(move |(key, _)| key.as_ref().is_some_and(|key| has_several(&key.column)));
        date.into_iter().chain(keys.map(|(_, name)| name.column.as_str())).collect()
    }

    /// A sum may have values of all segments: it is small where all are.
    pub(super) fn agree(segments: &mut [Self]) {
        for field in 0..segments.first().map_or(0, |segment| segment.measured.len()) {
            let is_small = segments.iter().filter_map(|segment| segment.values(field)).all(|column| column.is_small);
            for segment in segments.iter_mut() {
                if let MeasuredColumns::Values(column) = &mut segment.measured[field] {
                    column.is_small = is_small;
                }
            }
        }
    }

    /// All that a document adds: `add` gets the field's place.
    pub(super) fn measure(&self, id: DocId, mut add: impl FnMut(usize, Measured)) {
        for (field, measured) in self.measured.iter().enumerate() {
            match measured {
                MeasuredColumns::Nothing => {}
                MeasuredColumns::Values(NumberColumn { column, number, .. }) => {
                    column.values_for_doc(id).for_each(|raw| add(field, Measured::Value(number.to_double(raw))));
                }
                MeasuredColumns::Stored(stored) => {
                    for (measure, column) in stored {
                        let values = column.values_for_doc(id);
                        values.for_each(|raw| add(field, Measured::Stored(*measure, f64::from_u64(raw))));
                    }
                }
            }
        }
    }

    /// How many rows a document stands for.
    #[inline]
    pub(super) fn count_of(&self, id: DocId) -> u64 {
        self.count.as_ref().map_or(1, |count| count.first(id).map_or(0, stored_count))
    }

    /// Gives the ordinals of a keyword column their places among all terms.
    pub(super) fn number_terms(&mut self, part: usize, places: Option<Arc<[u32]>>) {
        if let Some(KeyColumn { coder: Coder::Keyword(numbering), .. }) = &mut self.keys[part] {
            *numbering = places;
        }
    }

    pub(super) fn is_alive(&self, id: DocId) -> bool {
        self.alive.as_ref().is_none_or(|alive| alive.is_alive(id))
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u32 {
        blocks_in(self.documents)
    }

    /// The documents of a block.
    pub(super) fn block(&self, number: u32) -> Range<DocId> {
        block_of(self.documents, number)
    }

    /// The date bucket that all documents of a block are in, if it is known to be one and all that it has is wanted.
    pub(super) fn common_bucket(&self, number: u32) -> Option<u64> {
        let is_full = self.date.as_ref().is_some_and(|date| matches!(date.index, ColumnIndex::Full));
        self.dates.common_bucket(number).filter(|_| is_full)
    }
}

/// How many blocks so many documents are.
pub(super) fn blocks_in(documents: DocId) -> u32 {
    documents.div_ceil(BLOCK_IDS)
}

/// The documents of a block of so many.
pub(super) fn block_of(documents: DocId, number: u32) -> Range<DocId> {
    number * BLOCK_IDS..((number + 1) * BLOCK_IDS).min(documents)
}

/// The document at a place in a block.
pub(super) fn document(block: &Range<DocId>, at: usize) -> DocId {
    block.start + exact::<DocId, _>(at)
}

fn coder(key: &KeyColumnName, column: ColumnType) -> Option<Coder> {
    let number = Number::of(column)?;
    match (key.kind, number) {
        (PartKind::Histogram { interval }, Number::Double) if key.is_rounded => {
            Some(Coder::RoundedHistogram { interval })
        }
        (PartKind::Histogram { interval }, _) => Some(Coder::Histogram { interval, number }),
        (PartKind::Integer, Number::Signed) => Some(Coder::Integer),
        (PartKind::Unsigned, Number::Unsigned) => Some(Coder::Unsigned),
        (PartKind::Double, Number::Double) => Some(Coder::Double),
        _ => None,
    }
}

fn measured(known: &KnownSegment, names: &MeasuredColumnNames) -> Result<MeasuredColumns, TantivyError> {
    match names {
        MeasuredColumnNames::Values(name, measures) => {
            let found = if measures.is_empty() { None } else { known.column(name)? };
            let found = found.and_then(|(column, kind)| Some(NumberColumn::new(column, Number::of(kind)?)));
            Ok(found.map_or(MeasuredColumns::Nothing, MeasuredColumns::Values))
        }
        MeasuredColumnNames::Stored(stored) => {
            let mut columns = Vec::new();
            for (measure, name) in stored {
                let found = known.column(name)?.filter(|(_, kind)| *kind == ColumnType::F64);
                columns.extend(found.map(|(column, _)| (*measure, column)));
            }
            Ok(MeasuredColumns::Stored(columns))
        }
    }
}

/// A count of documents, as a column of signed integers holds it.
#[inline]
pub(super) fn stored_count(raw: u64) -> u64 {
    u64::try_from(i64::from_u64(raw)).unwrap_or(0)
}
