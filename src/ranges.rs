//! Sets of whole numbers, as ranges.

use std::ops::Range;

/// The same numbers as ranges in order, none touching another, none empty.
pub(crate) fn merged(ranges: impl IntoIterator<Item = Range<i64>>) -> Vec<Range<i64>> {
    let mut ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<i64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Whether two ranges have a number in common, neither being empty.
pub(crate) fn touch(one: &Range<i64>, other: &Range<i64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The numbers in both of two sets, each in order.
pub(crate) fn both(ranges: &[Range<i64>], others: &[Range<i64>]) -> Vec<Range<i64>> {
    let (mut found, mut at, mut other) = (Vec::new(), 0, 0);
    while let (Some(one), Some(two)) = (ranges.get(at), others.get(other)) {
        let both = one.start.max(two.start)..one.end.min(two.end);
        if !both.is_empty() {
            found.push(both);
        }
        if one.end < two.end { at += 1 } else { other += 1 }
    }
    found
}

/// The numbers in a set that are not in another.
pub(crate) fn all_without(ranges: Vec<Range<i64>>, but: &[Range<i64>]) -> Vec<Range<i64>> {
    but.iter().fold(ranges, |left, but| left.iter().flat_map(|range| without(range, but)).collect())
}

/// What of a range is not in another.
pub(crate) fn without(range: &Range<i64>, other: &Range<i64>) -> impl Iterator<Item = Range<i64>> + use<> {
    let before = range.start..range.end.min(other.start);
    let behind = range.start.max(other.end)..range.end;
    // An empty one takes nothing away.
    let parts = if other.is_empty() { [range.clone(), 0..0] } else { [before, behind] };
    parts.into_iter().filter(|part| !part.is_empty())
}
