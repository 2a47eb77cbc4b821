//! The columns of a segment, read in blocks.

use std::ops::Range;

use ::tantivy::columnar::{Cardinality, Column, ColumnType, MonotonicallyMappableToU64, StrColumn};
use ::tantivy::fastfield::AliveBitSet;
use ::tantivy::{DocId, SegmentReader, TantivyError};

use super::keys::{NULL, PartKind};
use super::terms;
use crate::engine::JobContext;
use crate::job::KeyPart;
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
    /// The least and the greatest date bucket in each chunk that a pass has read.
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

pub(super) struct NumberColumn {
    pub(super) column: Column<u64>,
    pub(super) number: Number,
}

/// A column whose values become words of the key.
pub(super) struct KeyColumn {
    pub(super) column: Column<u64>,
    coder: Coder,
}

enum Coder {
    Histogram { interval: f64, number: Number },
    Keyword(Option<Arc<[u32]>>),
    Integer,
    Unsigned,
    Double,
}

impl KeyColumn {
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
            metrics.push(found.and_then(|(column, kind)| Some(NumberColumn { column, number: Number::of(kind)? })));
        }
        let documents = reader.max_doc();
        let chunks = vec![None; (documents as usize).div_ceil(BLOCK * BLOCKS_PER_CHUNK)];
        let segment = Self {
            documents,
            alive: reader.alive_bitset().cloned(),
            date: date.map(|(column, _)| column),
            keys,
            metrics,
            chunks,
        };
        Ok((segment, keywords))
    }

    /// Gives the ordinals of a keyword column their places among all terms.
    pub(super) fn number_terms(&mut self, part: usize, places: Option<Arc<[u32]>>) {
        if let Some(KeyColumn { coder: Coder::Keyword(numbering), .. }) = &mut self.keys[part] {
            *numbering = places;
        }
    }

    /// The blocks in which a pass over keys whose first words are not missed by `misses` may find something.
    pub(super) fn blocks(&self, misses: impl Fn(u64, u64) -> bool) -> Vec<Range<DocId>> {
        let (size, end) = (u32::try_from(BLOCK).unwrap_or(1), self.documents);
        let blocks = (0..end.div_ceil(size)).filter(|block| {
            let chunk = self.chunks[*block as usize / BLOCKS_PER_CHUNK];
            chunk.is_none_or(|(first, last)| !misses(first, last))
        });
        blocks.map(|block| block * size..(block * size + size).min(end)).collect()
    }

    /// Notes the date buckets in a block. A chunk is known once its last block is.
    pub(super) fn note_dates(
        &mut self,
        block: &Range<DocId>,
        seen: &mut Option<(u64, u64)>,
        dates: Option<(u64, u64)>,
    ) {
        *seen = match (*seen, dates) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        let number = block.start as usize / BLOCK;
        if (number + 1).is_multiple_of(BLOCKS_PER_CHUNK) || block.end == self.documents {
            // A chunk without any date is never of interest.
            self.chunks[number / BLOCKS_PER_CHUNK] = Some(seen.take().unwrap_or((u64::MAX, 0)));
        }
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
    match column.get_cardinality() {
        Cardinality::Full => {
            let raw = &mut buffers.raw[..len];
            column.values.get_range(u64::from(block.start), raw);
            for (at, raw) in raw.iter().enumerate() {
                one(at, *raw);
            }
        }
        Cardinality::Optional => {
            buffers.ids.clear();
            buffers.ids.extend(block.clone());
            let optional = &mut buffers.optional[..len];
            optional.fill(None);
            column.first_vals(&buffers.ids, optional);
            for (at, value) in optional.iter().enumerate() {
                match value {
                    Some(raw) => one(at, *raw),
                    None => none(at),
                }
            }
        }
        Cardinality::Multivalued => {
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
    optional: Vec<Option<u64>>,
    ids: Vec<DocId>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { raw: vec![0; BLOCK], optional: vec![None; BLOCK], ids: Vec::with_capacity(BLOCK) }
    }
}
