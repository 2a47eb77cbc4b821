//! The columns of a segment, read in blocks.

use std::ops::Range;

use ::tantivy::columnar::{Column, ColumnIndex, ColumnType, MonotonicallyMappableToU64, StrColumn};
use ::tantivy::fastfield::AliveBitSet;
use ::tantivy::{DocId, SegmentReader, TantivyError};

use super::keys::{NULL, PartKind};
use super::terms;
use crate::engine::JobContext;
use crate::job::{KeyPart, Rounding};
use crate::sync::Arc;

/// Documents per block, which is also how often a scan looks at its stop signal.
pub(super) const BLOCK: usize = 1_024;
/// Blocks whose dates are known together from the first pass on, so that later ones can leave them out.
const BLOCKS_PER_CHUNK: usize = 16;

/// The columns of one segment that a job needs.
pub(super) struct Segment {
    pub(super) documents: DocId,
    pub(super) alive: Option<AliveBitSet>,
    pub(super) date: Option<Column<u64>>,
    /// For each part of the key after the date.
    pub(super) keys: Vec<Option<KeyColumn>>,
    pub(super) metrics: Vec<Option<NumberColumn>>,
    /// The least and the greatest date bucket.
    bounds: Option<(u64, u64)>,
    /// The same in each chunk that a pass has read.
    chunks: Vec<Option<(u64, u64)>>,
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

/// Instants in milliseconds around a stretch of dates, whose buckets are the least and the greatest in it. Where a day goes on after
/// the next one has begun, those at the ends need not be.
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
            Coder::Keyword(Some(places)) => terms::word(u64::from(places[usize::try_from(raw).unwrap_or(usize::MAX)])),
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
        let chunks = vec![None; (documents as usize).div_ceil(BLOCK * BLOCKS_PER_CHUNK)];
        let segment = Self { documents, alive: reader.alive_bitset().cloned(), date, keys, metrics, bounds, chunks };
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

    /// The chunks in which a pass over keys whose first words are not missed by `misses` may find something.
    pub(super) fn chunks(&self, misses: impl Fn(u64, u64) -> bool) -> impl Iterator<Item = u32> {
        // Documents without a date have to be counted, once.
        let bounds = self.date.as_ref().filter(|date| matches!(date.index, ColumnIndex::Full)).and(self.bounds);
        let misses_all = bounds.is_some_and(|(first, last)| misses(first, last));
        let wanted = move |(_, chunk): &(u32, &Option<(u64, u64)>)| {
            !misses_all && chunk.is_none_or(|(first, last)| !misses(first, last))
        };
        (0..).zip(&self.chunks).filter(wanted).map(|(chunk, _)| chunk)
    }

    /// The blocks of a chunk.
    pub(super) fn blocks(&self, chunk: u32) -> impl Iterator<Item = Range<DocId>> + use<> {
        let size = DocId::try_from(BLOCK).unwrap_or(1);
        let per_chunk = DocId::try_from(BLOCKS_PER_CHUNK).unwrap_or(1);
        let documents = self.documents;
        let begin = chunk * per_chunk * size;
        (0..per_chunk)
            .map(move |block| (begin + block * size).min(documents)..(begin + (block + 1) * size).min(documents))
    }

    /// The least and the greatest date bucket in a chunk; none if it has no dates, and is never of interest again.
    pub(super) fn note_dates(&mut self, chunk: u32, buckets: Option<(u64, u64)>) {
        self.chunks[chunk as usize] = Some(buckets.unwrap_or((u64::MAX, 0)));
    }
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

/// Reads a block of a column, by the cheapest way that its cardinality allows: `one` gets what has one value, `none` what has
/// none, `many` what has several.
#[inline]
pub(super) fn read_block(
    column: &Column<u64>,
    block: &Range<DocId>,
    buffers: &mut Buffers,
    mut one: impl FnMut(usize, u64),
    mut none: impl FnMut(usize),
    mut many: impl FnMut(usize),
) {
    let len = block.len();
    match &column.index {
        ColumnIndex::Full => {
            for (at, raw) in buffers.full(column, block).iter().enumerate() {
                one(at, *raw);
            }
        }
        ColumnIndex::Empty { .. } => (0..len).for_each(none),
        ColumnIndex::Optional(index) => {
            let Buffers { raw, ids, with_value, rows } = buffers;
            ids.clear();
            with_value.clear();
            rows.clear();
            ids.extend(block.clone());
            index.rank_if_exists_batch(ids, with_value, rows);
            // Those with a value have their rows side by side.
            let raw = &mut raw[..rows.len()];
            if let Some(first) = rows.first() {
                column.values.get_range(u64::from(*first), raw);
            }
            let mut next = 0;
            for (id, raw) in with_value.iter().zip(raw) {
                let at = (id - block.start) as usize;
                (next..at).for_each(&mut none);
                one(at, *raw);
                next = at + 1;
            }
            (next..len).for_each(none);
        }
        ColumnIndex::Multivalued(_) => {
            for (at, id) in block.clone().enumerate() {
                let mut values = column.values_for_doc(id);
                match (values.next(), values.next()) {
                    (Some(raw), None) => one(at, raw),
                    (Some(_), Some(_)) => many(at),
                    (None, _) => none(at),
                }
            }
        }
    }
}

/// Memory that block after block is read into.
pub(super) struct Buffers {
    raw: Vec<u64>,
    ids: Vec<DocId>,
    with_value: Vec<DocId>,
    rows: Vec<DocId>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        let ids = || Vec::with_capacity(BLOCK);
        Self { raw: vec![0; BLOCK], ids: ids(), with_value: ids(), rows: ids() }
    }

    /// A block of a column in which every document has one value.
    pub(super) fn full(&mut self, column: &Column<u64>, block: &Range<DocId>) -> &[u64] {
        let raw = &mut self.raw[..block.len()];
        column.values.get_range(u64::from(block.start), raw);
        raw
    }
}
