//! The columns of a segment, read in blocks.

use std::ops::Range;

use ::tantivy::columnar::column_index::Set;
use ::tantivy::columnar::{Column, ColumnIndex, ColumnType, MonotonicallyMappableToU64, StrColumn};
use ::tantivy::fastfield::AliveBitSet;
use ::tantivy::{DocId, SegmentReader, TantivyError};

use super::block_dates::BlockDates;
use super::keys::{NULL, PartKind};
use super::terms;
use crate::engine::JobContext;
use crate::exact::exact;
use crate::job::{KeyPart, Rounding};
use crate::sync::Arc;

/// Documents per block, which is also how often a scan looks at its stop signal.
pub(super) const BLOCK: usize = 512;
const BLOCK_IDS: DocId = 512;

/// The columns of one segment that a job needs.
pub(super) struct Segment {
    pub(super) documents: DocId,
    pub(super) alive: Option<AliveBitSet>,
    pub(super) date: Option<Column<u64>>,
    /// For each part of the key after the date.
    pub(super) keys: Vec<Option<KeyColumn>>,
    pub(super) metrics: Vec<Option<NumberColumn>>,
    /// The least and the greatest date bucket.
    pub(super) bounds: Option<(u64, u64)>,
    /// The same of each block, once there was a survey.
    pub(super) dates: BlockDates,
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
pub(super) fn millis(raw: u64) -> i64 {
    i64::from_u64(raw).div_euclid(1_000_000)
}

/// Instants in milliseconds around a stretch of dates, whose buckets are the least and the greatest in it. Where a
/// day goes on after the next one has begun, those at the ends need not be.
pub(super) fn around(rounding: &Rounding, first: u64, last: u64) -> (i64, i64) {
    const DAY: i64 = 86_400_000;
    let (first, last) = (millis(first), millis(last));
    if rounding.is_monotone(first, last) { (first, last) } else { (first - DAY, last + DAY) }
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

    /// Whether a document has at most one value, which is a double that can be added up without a look at it.
    pub(super) fn is_plain(&self) -> bool {
        let has_several = matches!(self.column.index, ColumnIndex::Multivalued(_));
        self.is_small && self.number == Number::Double && !has_several
    }
}

/// A column whose values become words of the key.
pub(super) struct KeyColumn {
    pub(super) column: Column<u64>,
    coder: Coder,
}

pub(super) enum Coder {
    Histogram { interval: f64, number: Number },
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
            Coder::Histogram { interval, number } => match KeyPart::histogram(number.to_double(raw), *interval) {
                KeyPart::Histogram { number, .. } => number.to_u64(),
                _ => NULL,
            },
            Coder::Double => match KeyPart::double(f64::from_u64(raw)) {
                KeyPart::Double(value) => value.to_u64(),
                _ => NULL,
            },
        };
        [first, NULL]
    }
}

impl Segment {
    /// Opens the columns. The keyword columns come back for a numbering of their terms; they are completed by
    /// [`number_terms`](Self::number_terms).
    pub(super) fn open(
        reader: &SegmentReader,
        job: &JobContext,
        parts: &[(PartKind, usize)],
    ) -> Result<(Self, Vec<Option<StrColumn>>), TantivyError> {
        let (groups, fast) = (job.config().groups(), reader.fast_fields());
        // A field that the segment's schema does not have has no column.
        let column = |field: &str| match reader.schema().get_field(field) {
            Ok(_) => fast.u64_lenient(field),
            Err(_) => Ok(None),
        };
        let date = column(groups.date_histogram().field())?.filter(|(_, kind)| *kind == ColumnType::DateTime);
        let (mut keys, mut keywords) = (Vec::new(), Vec::new());
        let fields = groups.histogram_fields().iter().chain(groups.terms_fields());
        for (field, (kind, _)) in fields.zip(&parts[1..]) {
            let (mut keyword, mut opened) = (None, None);
            if *kind == PartKind::Keyword {
                if reader.schema().get_field(field).is_ok() {
                    keyword = fast.str(field)?;
                }
                opened =
                    keyword.as_ref().map(|text| KeyColumn { column: text.ords().clone(), coder: Coder::Keyword(None) });
            } else if let Some((column, column_type)) = column(field)? {
                opened = coder(*kind, column_type).map(|coder| KeyColumn { column, coder });
            }
            keys.push(opened);
            keywords.push(keyword);
        }
        let mut metrics = Vec::new();
        for metric in job.config().metrics() {
            let found = column(metric.field())?;
            metrics.push(found.and_then(|(column, kind)| Some(NumberColumn::new(column, Number::of(kind)?))));
        }
        let documents = reader.max_doc();
        let date = date.map(|(column, _)| column);
        let rounding = job.config().rounding();
        let bucket = |millis: i64| rounding.round_down(millis).to_u64();
        let bounds = date.as_ref().filter(|date| date.values.num_vals() > 0);
        let bounds = bounds.map(|date| around(rounding, date.min_value(), date.max_value()));
        let bounds = bounds.map(|(first, last)| (bucket(first), bucket(last)));
        let (alive, dates) = (reader.alive_bitset().cloned(), BlockDates::default());
        let segment = Self { documents, alive, date, keys, metrics, bounds, dates };
        Ok((segment, keywords))
    }

    /// A sum may have values of all segments: it is small where all are.
    pub(super) fn agree(segments: &mut [Self]) {
        for metric in 0..segments.first().map_or(0, |segment| segment.metrics.len()) {
            let columns = || segments.iter().filter_map(|segment| segment.metrics[metric].as_ref());
            let is_small = columns().all(|column| column.is_small);
            for column in segments.iter_mut().filter_map(|segment| segment.metrics[metric].as_mut()) {
                column.is_small = is_small;
            }
        }
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
        self.documents.div_ceil(BLOCK_IDS)
    }

    /// The documents of a block.
    pub(super) fn block(&self, number: u32) -> Range<DocId> {
        number * BLOCK_IDS..((number + 1) * BLOCK_IDS).min(self.documents)
    }

    /// The date bucket that all documents of a block are in, if it is known to be one.
    pub(super) fn common_bucket(&self, number: u32) -> Option<u64> {
        let is_full = self.date.as_ref().is_some_and(|date| matches!(date.index, ColumnIndex::Full));
        let (first, last) = self.dates.of_block(number);
        (is_full && first == last).then_some(first)
    }
}

/// The document at a place in a block.
pub(super) fn document(block: &Range<DocId>, at: usize) -> DocId {
    block.start + exact::<DocId, _>(at)
}

fn coder(kind: PartKind, column: ColumnType) -> Option<Coder> {
    let number = Number::of(column)?;
    match (kind, number) {
        (PartKind::Histogram { interval }, _) => Some(Coder::Histogram { interval, number }),
        (PartKind::Integer, Number::Signed) => Some(Coder::Integer),
        (PartKind::Unsigned, Number::Unsigned) => Some(Coder::Unsigned),
        (PartKind::Double, Number::Double) => Some(Coder::Double),
        _ => None,
    }
}

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

/// Reads a block of a column, by the cheapest way that its cardinality allows: `see` gets each place in the block and
/// what is there.
#[inline]
pub(super) fn read_block(
    column: &Column<u64>,
    block: &Range<DocId>,
    lane: &mut Lane,
    mut see: impl FnMut(usize, Found),
) {
    if lane.read(column, block) {
        for (at, raw) in lane.raw[..block.len()].iter().enumerate() {
            see(at, Found::One(*raw));
        }
        return;
    }
    for (at, (raw, values)) in lane.raw.iter().zip(&lane.values).take(block.len()).enumerate() {
        let found = match values {
            Values::One => Found::One(*raw),
            Values::None => Found::Nothing,
            Values::Several => Found::Several,
        };
        see(at, found);
    }
}

/// If fewer than one document of a block in so many matters, they are read one by one.
const FEW: usize = 8;

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

    /// A block of a column in which every document has one value.
    pub(super) fn full(&mut self, column: &Column<u64>, block: &Range<DocId>) -> &[u64] {
        let raw = &mut self.raw[..block.len()];
        column.values.get_range(u64::from(block.start), raw);
        raw
    }

    /// Reads a block. Says whether every document has one value there; otherwise `values` tells.
    pub(super) fn read(&mut self, column: &Column<u64>, block: &Range<DocId>) -> bool {
        let Self { raw, values, dense, .. } = self;
        let (raw, values) = (&mut raw[..block.len()], &mut values[..block.len()]);
        match &column.index {
            ColumnIndex::Full => {
                column.values.get_range(u64::from(block.start), raw);
                return true;
            }
            ColumnIndex::Empty { .. } => values.fill(Values::None),
            ColumnIndex::Optional(index) => {
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
            ColumnIndex::Multivalued(_) => {
                for ((raw, values), id) in raw.iter_mut().zip(values).zip(block.clone()) {
                    (*raw, *values) = only_value(column, id);
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
fn only_value(column: &Column<u64>, id: DocId) -> (u64, Values) {
    let mut found = column.values_for_doc(id);
    match (found.next(), found.next()) {
        (None, _) => (0, Values::None),
        (Some(one), None) => (one, Values::One),
        (Some(_), Some(_)) => (0, Values::Several),
    }
}
