//! The date buckets of a scan; all of time is one where nothing is grouped by date.

use std::ops::Range;

use ::tantivy::columnar::MonotonicallyMappableToU64;

use crate::job::{BucketCursor, DateBucket, Rounding};

/// How far beyond the end of a bucket it may go on, where a day goes on after the next one has begun.
const DAY: i64 = 86_400_000;
/// The first instant and the last one, in milliseconds, that a date column can hold to the nanosecond.
const FIRST: i64 = i64::MIN / 1_000_000;
const LAST: i64 = i64::MAX / 1_000_000;

#[derive(Clone)]
pub(super) enum Grid {
    Buckets(Rounding),
    /// One bucket.
    AllTime,
}

impl Grid {
    pub(super) fn of(grid: Option<&Rounding>) -> Self {
        grid.map_or(Self::AllTime, |rounding| Self::Buckets(rounding.clone()))
    }

    pub(super) fn bucket(&self, instant: i64) -> DateBucket {
        match self {
            Self::Buckets(rounding) => rounding.bucket(instant),
            Self::AllTime => DateBucket { start: FIRST, end: LAST },
        }
    }

    pub(super) fn round_down(&self, instant: i64) -> i64 {
        match self {
            Self::Buckets(rounding) => rounding.round_down(instant),
            Self::AllTime => FIRST,
        }
    }

    pub(super) fn cursor(&self) -> GridCursor {
        match self {
            Self::Buckets(rounding) => GridCursor::Buckets(rounding.cursor()),
            Self::AllTime => GridCursor::AllTime,
        }
    }

    /// Whether each date bucket from one instant to another is one stretch of time.
    pub(super) fn is_monotone(&self, first: i64, last: i64) -> bool {
        match self {
            Self::Buckets(rounding) => rounding.is_monotone(first, last),
            Self::AllTime => FIRST <= first && last < LAST,
        }
    }

    /// The least length of a bucket.
    pub(super) fn least_length(&self) -> i64 {
        /// A day that begins daylight saving time.
        const MIN_CALENDAR_BUCKET: i64 = 23 * 3_600_000;
        match self {
            Self::Buckets(rounding) => rounding.fixed_millis().unwrap_or(MIN_CALENDAR_BUCKET).max(1),
            Self::AllTime => i64::MAX,
        }
    }

    /// Instants in milliseconds around a stretch of dates, whose buckets are the least and the greatest in it. Where a
    /// day goes on after the next one has begun, those at the ends need not be.
    pub(super) fn around(&self, first: i64, last: i64) -> (i64, i64) {
        // What goes on in the middle changes neither end: a bucket goes on for less than a day.
        let is_certain = |rounding: &Rounding| {
            rounding.is_monotone(first, first.saturating_add(DAY))
                && rounding.is_monotone(last.saturating_sub(DAY), last)
        };
        match self {
            Self::Buckets(rounding) if !is_certain(rounding) => (first.saturating_sub(DAY), last.saturating_add(DAY)),
            Self::Buckets(_) | Self::AllTime => (first, last),
        }
    }

    /// All instants that may have a bucket that begins in this range.
    pub(super) fn instants_of(&self, starts: &Range<i64>) -> Range<i64> {
        match self {
            Self::Buckets(rounding) => rounding.instants_of(starts),
            Self::AllTime => starts.clone(),
        }
    }
}

/// Finds the buckets of instants that mostly come in order.
#[derive(Clone)]
pub(super) enum GridCursor {
    Buckets(BucketCursor),
    AllTime,
}

impl GridCursor {
    /// The word of the bucket that an instant is in.
    #[inline]
    pub(super) fn word(&mut self, instant: i64) -> u64 {
        match self {
            Self::Buckets(cursor) => cursor.round_down(instant).to_u64(),
            Self::AllTime => FIRST.to_u64(),
        }
    }
}
