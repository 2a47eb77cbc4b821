//! The date buckets of a stretch of time, numbered: which one an instant is in takes a look at one or two numbers.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use crate::engine::StopSignal;
use crate::exact::exact;
use crate::job::Rounding;

/// How many buckets are looked up in the calendar between two looks at the stop signal.
const BUCKETS: usize = 1_024;
/// What a bucket takes at most, in both vectors and with what they have room for.
pub(super) const BYTES_PER_BUCKET: usize = 32;

/// Consecutive date buckets.
pub(super) struct Timeline {
    /// Where each begins and the last one ends, as a date column holds instants.
    starts: Vec<u64>,
    /// For each of many equal steps of time, the bucket in which it begins.
    steps: Vec<u32>,
    /// The length of a step as a power of two.
    shift: u32,
}

/// An instant as a date column holds it: in nanoseconds, mapped so that order is kept.
fn raw(millis: i64) -> u64 {
    millis.saturating_mul(1_000_000).to_u64()
}

impl Timeline {
    /// The buckets from that of `first` on, to that of `last`, but `most` at most. `None` if a stop came.
    pub(super) fn new(rounding: &Rounding, first: i64, last: i64, most: usize, stop: &StopSignal) -> Option<Self> {
        let mut bucket = rounding.bucket(first);
        let mut starts = vec![raw(bucket.start)];
        while starts.len() <= most {
            if starts.len().is_multiple_of(BUCKETS) && stop.is_stopped() {
                return None;
            }
            let next = raw(bucket.end);
            // Time has an end, too.
            if next <= starts[starts.len() - 1] {
                break;
            }
            starts.push(next);
            if bucket.end > last {
                break;
            }
            bucket = rounding.bucket(bucket.end);
        }
        let mut timeline = Self { starts, steps: Vec::new(), shift: 0 };
        timeline.fill_steps();
        Some(timeline)
    }

    fn fill_steps(&mut self) {
        let (Some(first), Some(end)) = (self.starts.first(), self.starts.last()) else { return };
        let (span, buckets) = (end - first, self.len() as u64);
        if buckets == 0 {
            return;
        }
        self.shift = (span / (buckets * 2)).max(1).ilog2();
        let mut bucket = 0;
        let mut begin = *first;
        while begin < *end {
            while self.starts[bucket + 1] <= begin {
                bucket += 1;
            }
            self.steps.push(exact::<u32, _>(bucket));
            begin = begin.saturating_add(1 << self.shift);
        }
    }

    /// How many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where a bucket begins, in milliseconds.
    pub(super) fn start(&self, bucket: usize) -> i64 {
        super::columns::millis(self.starts[bucket])
    }

    /// Finds instants in the first `buckets` buckets.
    pub(super) fn finder(&self, buckets: usize) -> Finder<'_> {
        let (from, to) = (self.starts[0], self.starts[buckets]);
        Finder { timeline: self, from, to, bucket: NONE, begin: 0, length: 0 }
    }

    /// The bucket of an instant that is in one, and where that begins and ends.
    #[inline]
    fn find(&self, raw: u64) -> (u32, u64, u64) {
        let step = exact::<usize, _>((raw - self.starts[0]) >> self.shift);
        let mut bucket = self.steps[step] as usize;
        while raw >= self.starts[bucket + 1] {
            bucket += 1;
        }
        (exact::<u32, _>(bucket), self.starts[bucket], self.starts[bucket + 1])
    }
}

/// Stands for no bucket.
pub(super) const NONE: u32 = u32::MAX;

/// Finds buckets, and remembers the last one: instants mostly come in order.
pub(super) struct Finder<'a> {
    timeline: &'a Timeline,
    from: u64,
    to: u64,
    /// What lies in this stretch of time is in this bucket.
    bucket: u32,
    begin: u64,
    length: u64,
}

impl Finder<'_> {
    /// The number of the bucket, or [`NONE`].
    #[inline]
    pub(super) fn find(&mut self, raw: u64) -> u32 {
        if raw.wrapping_sub(self.begin) >= self.length {
            let (bucket, begin, end) = match raw {
                _ if raw < self.from => (NONE, 0, self.from),
                _ if raw >= self.to => (NONE, self.to, u64::MAX),
                _ => self.timeline.find(raw),
            };
            (self.bucket, self.begin, self.length) = (bucket, begin, end - begin);
        }
        self.bucket
    }

    /// The number of the bucket that begins at this instant in milliseconds, as a word.
    pub(super) fn row_of(&mut self, bucket: u64) -> u32 {
        self.find(raw(i64::from_u64(bucket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{DateHistogram, RollupJobConfig};
    use proptest::prelude::*;

    fn rounding(date: DateHistogram) -> Rounding {
        let config = RollupJobConfig::builder("a").index_pattern("in").rollup_index("out").cron("0 0 * * * ?");
        config.page_size(1).date_histogram(date).build().unwrap().rounding().clone()
    }

    proptest! {
        #[test]
        fn an_instant_is_in_the_bucket_that_it_is_rounded_to(
            kind in 0..4,
            first in -4_000_000_000_000_i64..4_000_000_000_000,
            offsets in prop::collection::vec(0_i64..40_000_000_000, 1..50),
        ) {
            let date = match kind {
                0 => DateHistogram::fixed_interval("t", "90m"),
                1 => DateHistogram::calendar_interval("t", "1h").time_zone("Australia/Lord_Howe"),
                2 => DateHistogram::calendar_interval("t", "1d").time_zone("Europe/Berlin"),
                _ => DateHistogram::calendar_interval("t", "month").time_zone("America/St_Johns"),
            };
            let rounding = rounding(date);
            let last = first + offsets.iter().max().unwrap();
            let timeline = Timeline::new(&rounding, first, last, usize::MAX, &StopSignal::never()).unwrap();
            for instant in offsets.iter().map(|offset| first + offset) {
                prop_assert!(timeline.finder(timeline.len()).find(raw(instant)) != NONE);
                let (bucket, begin, end) = timeline.find(raw(instant));
                let expected = rounding.bucket(instant);
                prop_assert_eq!((timeline.start(bucket as usize), begin, end), (expected.start, raw(expected.start), raw(expected.end)));
            }
        }
    }
}
