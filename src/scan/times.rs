use std::ops::Range;

use crate::ranges::merged;

/// Which stretches of time a scan is of: instants in milliseconds since 1970, or date buckets.
///
/// ```
/// use rollup_jobs::scan::Times;
///
/// let morning_and_evening = Times::instants([0..10_000, 50_000..60_000]);
/// assert!(morning_and_evening.contain(9_999, 0) && !morning_and_evening.contain(10_000, 0));
///
/// // Whole buckets, by where they begin: an instant is in it if its bucket is.
/// let first_hours = Times::buckets_before(7_200_000);
/// assert!(first_hours.contain(7_199_999, 3_600_000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// In order, none touching another, none empty.
    ranges: Vec<Range<i64>>,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Instants,
    Buckets,
}

impl Times {
    /// All time.
    #[must_use]
    pub fn all() -> Self {
        // What no date can be is no loss: the last instant is half a million years away.
        Self::between(i64::MIN..i64::MAX)
    }

    /// The instants in one range.
    #[must_use]
    pub fn between(range: Range<i64>) -> Self {
        Self::instants(std::iter::once(range))
    }

    /// The instants in any of these ranges. A date bucket that lies partly in them has what is in them.
    #[must_use]
    pub fn instants(ranges: impl IntoIterator<Item = Range<i64>>) -> Self {
        Self { ranges: merged(ranges), of: Of::Instants }
    }

    /// The date buckets that begin in any of these ranges, each whole. Where nothing is grouped by date it is the same
    /// as [`instants`](Self::instants).
    ///
    /// The two differ where ranges begin or end inside of buckets; and in time zones whose clocks were set back over
    /// midnight, where a day goes on after the next one has begun.
    #[must_use]
    pub fn buckets(ranges: impl IntoIterator<Item = Range<i64>>) -> Self {
        Self { ranges: merged(ranges), of: Of::Buckets }
    }

    /// The date buckets that begin in one range.
    #[must_use]
    pub fn buckets_between(range: Range<i64>) -> Self {
        Self::buckets(std::iter::once(range))
    }

    /// The date buckets that begin before an instant.
    #[must_use]
    pub fn buckets_before(instant: i64) -> Self {
        Self::buckets_between(i64::MIN..instant)
    }

    /// The ranges in order; none touches another.
    #[must_use]
    pub fn ranges(&self) -> &[Range<i64>] {
        &self.ranges
    }

    /// Whether the ranges are of date buckets.
    #[must_use]
    pub fn are_of_buckets(&self) -> bool {
        self.of == Of::Buckets
    }

    /// Whether an instant, in the date bucket that begins there, is in them.
    #[must_use]
    pub fn contain(&self, instant: i64, bucket: i64) -> bool {
        let decides = match self.of {
            Of::Instants => instant,
            Of::Buckets => bucket,
        };
        let at = self.ranges.partition_point(|range| range.end <= decides);
        self.ranges.get(at).is_some_and(|range| range.start <= decides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order_and_none_touches_another() {
        let times = Times::instants([20..30, 0..5, 5..7, 40..40, 25..28, 29..35]);
        assert_eq!(times.ranges(), [0..7, 20..35]);
        let inside: Vec<i64> = (-1..40).filter(|instant| times.contain(*instant, 0)).collect();
        assert_eq!(inside, (0..7).chain(20..35).collect::<Vec<_>>());
        assert!(!Times::instants([]).contain(0, 0));
        assert!(Times::all().contain(i64::MIN, 0) && Times::all().contain(i64::MAX - 1, 0));
    }

    #[test]
    fn a_bucket_is_in_them_whole() {
        let times = Times::buckets_between(10..20);
        assert!(times.contain(25, 19) && !times.contain(15, 9));
    }
}
