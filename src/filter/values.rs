//! The values of a field that meet a condition: ranges, in order, none touching another.

use std::cmp::Ordering;
use std::ops::{Bound, RangeInclusive};

use crate::sync::Arc;

/// A range of texts, by their UTF-8 bytes.
pub type TextRange = (Bound<Arc<[u8]>>, Bound<Arc<[u8]>>);

/// The values of a field that meet a condition: ranges in ascending order that do not overlap.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueSet {
    /// Of whole numbers, of dates in milliseconds since 1970, and of booleans, which are 0 and 1.
    Integers(Vec<RangeInclusive<i128>>),
    /// Of finite floating-point numbers. Both ends are in it; infinite ones are open.
    Doubles(Vec<RangeInclusive<f64>>),
    /// Of texts.
    Texts(Vec<TextRange>),
}

impl ValueSet {
    /// Whether no value meets it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Integers(ranges) => ranges.is_empty(),
            Self::Doubles(ranges) => ranges.is_empty(),
            Self::Texts(ranges) => ranges.is_empty(),
        }
    }

    /// Whether a whole number is in it.
    #[must_use]
    pub fn has_integer(&self, value: i128) -> bool {
        let Self::Integers(ranges) = self else { return false };
        find(ranges, |range| place(&value, range))
    }

    /// Whether a floating-point number is in it; NaN and the infinities never are.
    #[must_use]
    pub fn has_double(&self, value: f64) -> bool {
        // 0.0 and -0.0 are the same.
        let value = value + 0.0;
        let Self::Doubles(ranges) = self else { return false };
        value.is_finite() && find(ranges, |range| place(&value, range))
    }

    /// Whether a text is in it.
    #[must_use]
    pub fn has_text(&self, text: &str) -> bool {
        let Self::Texts(ranges) = self else { return false };
        find(ranges, |(from, to)| {
            if is_below(text.as_bytes(), from) {
                Ordering::Greater
            } else if is_above(text.as_bytes(), to) {
                Ordering::Less
            } else {
                Ordering::Equal
            }
        })
    }

    /// Whole numbers in any of these ranges.
    pub(super) fn integers(ranges: Vec<RangeInclusive<i128>>) -> Self {
        // What no field can have is left out.
        let (lowest, highest) = (i128::from(i64::MIN), i128::from(u64::MAX));
        let ranges = ranges.into_iter().map(|range| lowest.max(*range.start())..=highest.min(*range.end()));
        Self::Integers(merged(ranges, |end, start| start <= end + 1))
    }

    /// Numbers in any of these ranges.
    pub(super) fn doubles(ranges: Vec<RangeInclusive<f64>>) -> Self {
        // 0.0 stands for both zeros.
        let ranges = ranges.into_iter().map(|range| range.start() + 0.0..=range.end() + 0.0);
        Self::Doubles(merged(ranges, |end, start| start <= end))
    }

    /// These texts.
    pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts: Vec<Arc<[u8]>> = texts.into_iter().map(|text| Arc::from(text.as_bytes())).collect();
        texts.sort_unstable();
        texts.dedup();
        Self::Texts(texts.into_iter().map(|text| (Bound::Included(Arc::clone(&text)), Bound::Included(text))).collect())
    }

    /// Texts in this range.
    pub(super) fn text_range(from: Bound<&str>, to: Bound<&str>) -> Self {
        let bytes = |bound: Bound<&str>| bound.map(|text| Arc::from(text.as_bytes()));
        let is_empty = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        Self::Texts(if is_empty { Vec::new() } else { vec![(bytes(from), bytes(to))] })
    }

    /// Texts that begin so.
    pub(super) fn prefix(prefix: &str) -> Self {
        // The first bytes that are behind all of them: no text's last byte of all is 0xFF, UTF-8 does not have it.
        let mut end = prefix.as_bytes().to_vec();
        let to = match end.last_mut() {
            None => Bound::Unbounded,
            Some(last) => {
                *last += 1;
                Bound::Excluded(end.into())
            }
        };
        Self::Texts(vec![(Bound::Included(prefix.as_bytes().into()), to)])
    }
}

/// The same ranges, of which none is NaN, in order, and one of those that `touch`: the end of one and the start of the
/// next.
fn merged<T: Copy + PartialOrd>(
    ranges: impl Iterator<Item = RangeInclusive<T>>,
    touch: impl Fn(T, T) -> bool,
) -> Vec<RangeInclusive<T>> {
    let mut ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    ranges.sort_by(|a, b| a.start().partial_cmp(b.start()).unwrap_or(Ordering::Equal));
    let mut merged: Vec<RangeInclusive<T>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if touch(*last.end(), *range.start()) => {
                let end = if range.end() > last.end() { range.end() } else { last.end() };
                *last = *last.start()..=*end;
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Whether one of these ranges, which are in order, has what it is asked for.
fn find<T>(ranges: &[T], place: impl Fn(&T) -> Ordering) -> bool {
    ranges.binary_search_by(place).is_ok()
}

/// Where a range is, seen from a value.
fn place<T: PartialOrd>(value: &T, range: &RangeInclusive<T>) -> Ordering {
    if value < range.start() {
        Ordering::Greater
    } else if value > range.end() {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

fn is_below(text: &[u8], from: &Bound<Arc<[u8]>>) -> bool {
    match from {
        Bound::Included(from) => text < &**from,
        Bound::Excluded(from) => text <= &**from,
        Bound::Unbounded => false,
    }
}

fn is_above(text: &[u8], to: &Bound<Arc<[u8]>>) -> bool {
    match to {
        Bound::Included(to) => text > &**to,
        Bound::Excluded(to) => text >= &**to,
        Bound::Unbounded => false,
    }
}
