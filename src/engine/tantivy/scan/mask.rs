//! Which documents of a block a filter means.

use std::ops::{Bound, Range, RangeInclusive};

use ::tantivy::columnar::{Column, ColumnIndex, ColumnType, MonotonicallyMappableToU64, StrColumn};
use ::tantivy::{DocId, TantivyError};

use super::columns::document;
use super::lane::{Found, Lane, read_block};
use crate::engine::tantivy::segments::KnownSegment;
use crate::filter::{Selection, TextRange, ValueSet};

/// A filter, read for the columns of one segment.
pub(super) enum Mask {
    All,
    None,
    /// Documents that have a value in one of these ranges of what the column holds, which are in order.
    Values(Column<u64>, Vec<RangeInclusive<u64>>),
    Not(Box<Mask>),
    AllOf(Vec<Mask>),
    AtLeast(usize, Vec<Mask>),
}

impl Mask {
    /// `column` says which column has a field's values.
    pub(super) fn of<'a>(
        selection: &'a Selection,
        segment: &KnownSegment,
        column: &dyn Fn(&'a str) -> &'a str,
    ) -> Result<Self, TantivyError> {
        let several = |all: &'a [Selection]| -> Result<Vec<Self>, TantivyError> {
            all.iter().map(|one| Self::of(one, segment, column)).collect()
        };
        Ok(match selection {
            Selection::All => Self::All,
            Selection::None => Self::None,
            Selection::Values { field, values } => Self::values(segment, column(field), values)?,
            Selection::Not(other) => match Self::of(other, segment, column)? {
                Self::All => Self::None,
                Self::None => Self::All,
                other => Self::Not(Box::new(other)),
            },
            Selection::AllOf(all) => Self::all_of(several(all)?),
            Selection::AtLeast(least, some) => Self::at_least(*least, several(some)?),
        })
    }

    fn all_of(mut all: Vec<Self>) -> Self {
        if all.iter().any(|one| matches!(one, Self::None)) {
            return Self::None;
        }
        all.retain(|one| !matches!(one, Self::All));
        match all.len() {
            0 => Self::All,
            1 => all.remove(0),
            _ => Self::AllOf(all),
        }
    }

    fn at_least(least: usize, mut some: Vec<Self>) -> Self {
        let certain = some.iter().filter(|one| matches!(one, Self::All)).count();
        some.retain(|one| !matches!(one, Self::All | Self::None));
        match least.saturating_sub(certain) {
            0 => Self::All,
            least if least > some.len() => Self::None,
            least => Self::AtLeast(least, some),
        }
    }

    fn values(segment: &KnownSegment, name: &str, values: &ValueSet) -> Result<Self, TantivyError> {
        if let ValueSet::Texts(texts) = values {
            let column = match segment.schema().get_field(name) {
                Ok(_) => segment.reader.fast_fields().str(name)?,
                Err(_) => None,
            };
            let Some(column) = column else { return Ok(Self::None) };
            let ranges = ordinals(&column, texts)?;
            return Ok(Self::of_ranges(column.ords().clone(), ranges));
        }
        let Some((column, kind)) = segment.column(name)? else { return Ok(Self::None) };
        let ranges = match values {
            ValueSet::Integers(ranges) => ranges.iter().filter_map(|range| integers(kind, range)).collect(),
            ValueSet::Doubles(ranges) if kind == ColumnType::F64 => ranges.iter().map(doubles).collect(),
            ValueSet::Doubles(_) | ValueSet::Texts(_) => Vec::new(),
        };
        Ok(Self::of_ranges(column, ranges))
    }

    fn of_ranges(column: Column<u64>, mut ranges: Vec<RangeInclusive<u64>>) -> Self {
        let (least, greatest) = (column.min_value(), column.max_value());
        ranges.retain(|range| !range.is_empty() && *range.start() <= greatest && *range.end() >= least);
        let has_all = |range: &RangeInclusive<u64>| range.contains(&least) && range.contains(&greatest);
        match ranges.as_slice() {
            _ if column.values.num_vals() == 0 => Self::None,
            [] => Self::None,
            [only] if has_all(only) && matches!(column.index, ColumnIndex::Full) => Self::All,
            _ => Self::Values(column, ranges),
        }
    }

    /// Says of each document of a block whether it is meant.
    pub(super) fn read(&self, block: &Range<DocId>, lane: &mut Lane, means: &mut [bool]) {
        match self {
            Self::All => means.fill(true),
            Self::None => means.fill(false),
            Self::Values(column, ranges) => values(column, ranges, block, lane, means),
            Self::Not(other) => {
                other.read(block, lane, means);
                for means in means {
                    *means = !*means;
                }
            }
            Self::AllOf(all) => {
                means.fill(true);
                let mut one = vec![false; means.len()];
                for mask in all {
                    mask.read(block, lane, &mut one);
                    means.iter_mut().zip(&one).for_each(|(means, one)| *means &= one);
                }
            }
            Self::AtLeast(least, some) => {
                let (mut one, mut counts) = (vec![false; means.len()], vec![0; means.len()]);
                for mask in some {
                    mask.read(block, lane, &mut one);
                    counts.iter_mut().zip(&one).for_each(|(count, one)| *count += usize::from(*one));
                }
                means.iter_mut().zip(&counts).for_each(|(means, count)| *means = count >= least);
            }
        }
    }
}

fn values(
    column: &Column<u64>,
    ranges: &[RangeInclusive<u64>],
    block: &Range<DocId>,
    lane: &mut Lane,
    means: &mut [bool],
) {
    let is_in = |raw: u64| {
        let at = ranges.partition_point(|range| *range.end() < raw);
        ranges.get(at).is_some_and(|range| *range.start() <= raw)
    };
    if let ([only], ColumnIndex::Full) = (ranges, &column.index) {
        // The most usual kind, without a branch.
        let (start, length) = (*only.start(), only.end() - only.start());
        let raw = lane.full(column, block);
        means.iter_mut().zip(raw).for_each(|(means, raw)| *means = raw.wrapping_sub(start) <= length);
        return;
    }
    read_block(column, block, lane, |at, found| {
        means[at] = match found {
            Found::Nothing => false,
            Found::One(raw) => is_in(raw),
            Found::Several => column.values_for_doc(document(block, at)).any(is_in),
        };
    });
}

/// What a column of this kind holds for whole numbers, dates in milliseconds, or booleans.
fn integers(kind: ColumnType, range: &RangeInclusive<i128>) -> Option<RangeInclusive<u64>> {
    const NANOS: i128 = 1_000_000;
    let clamped = |range: RangeInclusive<i128>, least: i128, greatest: i128| {
        let range = least.max(*range.start())..=greatest.min(*range.end());
        (!range.is_empty()).then_some(range)
    };
    let signed = |value: i128| i64::try_from(value).map(MonotonicallyMappableToU64::to_u64).ok();
    let all_signed = (i128::from(i64::MIN), i128::from(i64::MAX));
    match kind {
        ColumnType::I64 => {
            let range = clamped(range.clone(), all_signed.0, all_signed.1)?;
            Some(signed(*range.start())?..=signed(*range.end())?)
        }
        ColumnType::DateTime => {
            let nanos = range.start() * NANOS..=range.end() * NANOS + NANOS - 1;
            let range = clamped(nanos, all_signed.0, all_signed.1)?;
            Some(signed(*range.start())?..=signed(*range.end())?)
        }
        ColumnType::U64 | ColumnType::Bool => {
            let range = clamped(range.clone(), 0, i128::from(u64::MAX))?;
            Some(u64::try_from(*range.start()).ok()?..=u64::try_from(*range.end()).ok()?)
        }
        ColumnType::F64 | ColumnType::Bytes | ColumnType::Str | ColumnType::IpAddr => None,
    }
}

fn doubles(range: &RangeInclusive<f64>) -> RangeInclusive<u64> {
    // -0.0 is the same as 0.0, and lies before it in a column.
    let start = if *range.start() == 0.0 { -0.0 } else { range.start().max(f64::MIN) };
    start.to_u64()..=range.end().min(f64::MAX).to_u64()
}

/// The ordinals of the terms in these ranges.
fn ordinals(column: &StrColumn, texts: &[TextRange]) -> Result<Vec<RangeInclusive<u64>>, TantivyError> {
    let terms = column.num_terms() as u64;
    // Of the first term that is not below a text, or is above it.
    let first_from = |text: &[u8], is_included: bool| -> Result<u64, TantivyError> {
        let range = column.dictionary().range();
        let range = if is_included { range.ge(text) } else { range.gt(text) };
        let mut stream = range.into_stream()?;
        Ok(if stream.advance() { stream.term_ord() } else { terms })
    };
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for (from, to) in texts {
        if let (Bound::Included(text), Bound::Included(to)) = (from, to)
            && text == to
        {
            // Quicker than two looks.
            ranges.extend(column.dictionary().term_ord(&**text)?.map(|ordinal| ordinal..=ordinal));
            continue;
        }
        let begin = match from {
            Bound::Unbounded => 0,
            Bound::Included(text) => first_from(text, true)?,
            Bound::Excluded(text) => first_from(text, false)?,
        };
        let end = match to {
            Bound::Unbounded => terms,
            Bound::Included(text) => first_from(text, false)?,
            Bound::Excluded(text) => first_from(text, true)?,
        };
        ranges.extend((begin < end).then(|| begin..=end - 1));
    }
    Ok(ranges)
}
