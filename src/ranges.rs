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

/// What of a range is not in another.
pub(crate) fn without(range: &Range<i64>, other: &Range<i64>) -> impl Iterator<Item = Range<i64>> + use<> {
    let before = range.start..range.end.min(other.start);
    let behind = range.start.max(other.end)..range.end;
    // An empty one takes nothing away.
    let parts = if other.is_empty() { [range.clone(), 0..0] } else { [before, behind] };
    parts.into_iter().filter(|part| !part.is_empty())
}
