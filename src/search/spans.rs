//! Stretches of time.

use std::ops::Range;

use crate::ranges::{both, merged};
use crate::scan::Times;

/// Instants in milliseconds since 1970, as ranges in order, none touching another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spans(Vec<Range<i64>>);

/// The first instant of all, and the first after all.
const EVER: Range<i64> = i64::MIN..i64::MAX;

impl FromIterator<Range<i64>> for Spans {
    fn from_iter<I: IntoIterator<Item = Range<i64>>>(ranges: I) -> Self {
        Self(merged(ranges))
    }
}

impl Spans {
    /// All instants.
    pub(super) fn always() -> Self {
        Self::one(EVER)
    }

    /// Those in one range.
    pub(super) fn one(range: Range<i64>) -> Self {
        std::iter::once(range).collect()
    }

    /// An end of a range, if there is anything beyond it.
    pub(super) fn end_of_time(instant: i64) -> Option<i64> {
        (instant != EVER.start && instant != EVER.end).then_some(instant)
    }

    /// As engines are asked for them.
    pub(super) fn as_times(&self) -> Times {
        Times::instants(self.0.iter().cloned())
    }

    pub(super) fn ranges(&self) -> &[Range<i64>] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contain(&self, instant: i64) -> bool {
        let at = self.0.partition_point(|range| range.end <= instant);
        self.0.get(at).is_some_and(|range| range.start <= instant)
    }

    /// One range that has all of them.
    pub(super) fn hull(&self) -> Range<i64> {
        match self.0.as_slice() {
            [] => 0..0,
            [first, ..] => first.start..self.0[self.0.len() - 1].end,
        }
    }

    /// What is in these or in others.
    pub(super) fn or(&self, others: &Self) -> Self {
        self.0.iter().chain(&others.0).cloned().collect()
    }

    /// What is in these and in others.
    pub(super) fn and(&self, others: &Self) -> Self {
        Self(both(&self.0, &others.0))
    }

    /// All instants that are not in these.
    pub(super) fn others(&self) -> Self {
        let starts = std::iter::once(EVER.start).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain([EVER.end]);
        Self(starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans<const N: usize>(ranges: [Range<i64>; N]) -> Spans {
        ranges.into_iter().collect()
    }

    #[test]
    fn sets_of_instants() {
        assert_eq!(spans([5..7, 0..3, 3..4, 9..9]).ranges(), [0..4, 5..7]);
        assert_eq!(spans([0..10, 20..30]).and(&spans([5..25, 28..40])).ranges(), [5..10, 20..25, 28..30]);
        assert_eq!(spans([i64::MIN..3, 5..7]).others().ranges(), [3..5, 7..i64::MAX]);
        assert!(Spans::always().others().is_empty() && Spans::default().others() == Spans::always());
        assert_eq!(spans([2..4, 8..9]).hull(), 2..9);
        let found: Vec<i64> = (0..10).filter(|instant| spans([2..4, 8..9]).contain(*instant)).collect();
        assert_eq!(found, [2, 3, 8]);
    }
}
