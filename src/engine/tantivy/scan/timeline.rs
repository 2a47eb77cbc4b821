//! The date buckets of a stretch of time, numbered: which one an instant is in takes a look at one or two numbers.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::millis;
use super::grid::Grid;
use super::window::Window;
use crate::engine::StopSignal;
use crate::exact::exact;
use crate::job::DateBucket;

/// How many buckets are looked up in the calendar between two looks at the stop signal.
const BUCKETS: usize = 1_024;
/// What a bucket takes at most, in all vectors and with what they have room for.
pub(super) const BYTES_PER_BUCKET: usize = 64;

/// Date buckets in order, each a row; those of which nothing is wanted are left out.
pub(super) struct Timeline {
    /// Where stretches of time begin and the last one ends, as a date column holds instants.
    edges: Vec<u64>,
    /// For each stretch the row that its instants are in, or [`NONE`].
    rows: Vec<u32>,
    /// For each row where its bucket begins, in milliseconds.
    starts: Vec<i64>,
    /// For each row its first stretch, and how many stretches there are.
    first_stretches: Vec<u32>,
    /// For each of many equal steps of time, the stretch in which it begins.
    steps: Vec<u32>,
    /// The length of a step as a power of two.
    shift: u32,
    /// Where the last bucket ends, in milliseconds.
    end: i64,
}

/// An instant as a date column holds it: in nanoseconds, mapped so that order is kept.
pub(in crate::engine::tantivy) fn raw(millis: i64) -> u64 {
    millis.saturating_mul(1_000_000).to_u64()
}

impl Timeline {
    /// The buckets of which something is wanted from that of `first` on, to that of `last`, but `most` at most. `None`
    /// if a stop came.
    pub(super) fn new(
        grid: &Grid,
        window: &Window,
        first: i64,
        last: i64,
        most: usize,
        stop: &StopSignal,
    ) -> Option<Self> {
        let mut next = window.next_from(raw(first)).map(|instant| grid.bucket(millis(instant)));
        let begin = next.map_or(first, |bucket| bucket.start);
        let mut timeline = Self {
            edges: vec![raw(begin)],
            rows: Vec::new(),
            starts: Vec::new(),
            first_stretches: Vec::new(),
            steps: Vec::new(),
            shift: 0,
            end: begin,
        };
        while let Some(bucket) = next.filter(|_| timeline.len() < most) {
            if timeline.starts.len().is_multiple_of(BUCKETS) && stop.is_stopped() {
                return None;
            }
            timeline.add(&bucket, window);
            // Time has an end, too.
            let behind = (bucket.end > bucket.start).then(|| window.next_from(raw(bucket.end))).flatten();
            next = behind.map(millis).filter(|instant| *instant <= last).map(|instant| grid.bucket(instant));
        }
        timeline.finish();
        Some(timeline)
    }

    fn add(&mut self, bucket: &DateBucket, window: &Window) {
        let (begin, end) = (raw(bucket.start), raw(bucket.end));
        let stretches = window.cut(&(begin..end), bucket.start.to_u64());
        self.reach(begin);
        if !stretches.iter().any(|(_, is_wanted)| *is_wanted) {
            return;
        }
        let row = exact::<u32, _>(self.starts.len());
        self.starts.push(bucket.start);
        self.first_stretches.push(exact::<u32, _>(self.rows.len()));
        for (end, is_wanted) in stretches {
            self.rows.push(if is_wanted { row } else { NONE });
            self.edges.push(end);
        }
        self.end = bucket.end;
    }

    /// What lies between the last bucket and this instant is in no row.
    fn reach(&mut self, begin: u64) {
        if self.edges.last().is_some_and(|last| *last < begin) {
            self.rows.push(NONE);
            self.edges.push(begin);
        }
    }

    fn finish(&mut self) {
        self.first_stretches.push(exact::<u32, _>(self.rows.len()));
        let (first, end) = (self.edges[0], self.edges[self.rows.len()]);
        let (span, stretches) = (end - first, self.rows.len() as u64);
        if stretches == 0 {
            return;
        }
        self.shift = (span / (stretches * 2)).max(1).ilog2();
        let (mut stretch, mut begin) = (0, first);
        while begin < end {
            while self.edges[stretch + 1] <= begin {
                stretch += 1;
            }
            self.steps.push(exact::<u32, _>(stretch));
            begin = begin.saturating_add(1 << self.shift);
        }
    }

    /// How many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where a bucket begins, in milliseconds; of the one behind the last where that ends.
    pub(super) fn start(&self, bucket: usize) -> i64 {
        self.starts.get(bucket).copied().unwrap_or(self.end)
    }

    /// The row of the bucket of this word, if it is one of the first `buckets`; else [`NONE`].
    pub(super) fn row_of(&self, word: u64, buckets: usize) -> u32 {
        let row = self.starts[..buckets].binary_search(&i64::from_u64(word));
        row.map_or(NONE, exact::<u32, _>)
    }

    /// Finds instants in the first `buckets` buckets.
    pub(super) fn finder(&self, buckets: usize) -> Finder<'_> {
        let (from, to) = (self.edges[0], self.edges[self.first_stretches[buckets] as usize]);
        Finder { timeline: self, from, to, bucket: NONE, begin: 0, length: 0 }
    }

    /// The row of an instant that is in a stretch, and where that begins and ends.
    #[inline]
    fn find(&self, raw: u64) -> (u32, u64, u64) {
        let step = exact::<usize, _>((raw - self.edges[0]) >> self.shift);
        let mut stretch = self.steps[step] as usize;
        while raw >= self.edges[stretch + 1] {
            stretch += 1;
        }
        (self.rows[stretch], self.edges[stretch], self.edges[stretch + 1])
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{DateHistogram, RollupJobConfig, Rounding};
    use crate::scan::Times;
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
            cuts in prop::collection::vec((0_i64..40_000_000_000, 0_i64..10_000_000_000), 0..5),
            are_of_buckets: bool,
        ) {
            let cuts = cuts.into_iter().map(|(from, length)| first + from..first + from + length);
            let times = match cuts.len() {
                0 => Times::all(),
                _ if are_of_buckets => Times::buckets(cuts),
                _ => Times::instants(cuts),
            };
            let date = match kind {
                0 => DateHistogram::fixed_interval("t", "90m"),
                1 => DateHistogram::calendar_interval("t", "1h").time_zone("Australia/Lord_Howe"),
                2 => DateHistogram::calendar_interval("t", "1d").time_zone("Europe/Berlin"),
                _ => DateHistogram::calendar_interval("t", "month").time_zone("America/St_Johns"),
            };
            let rounding = rounding(date);
            let last = first + offsets.iter().max().unwrap();
            let grid = Grid::Buckets(rounding.clone());
            let window = Window::of(&times, &grid);
            let timeline = Timeline::new(&grid, &window, first, last, usize::MAX, &StopSignal::never()).unwrap();
            for instant in offsets.iter().map(|offset| first + offset) {
                let (row, expected) = (timeline.finder(timeline.len()).find(raw(instant)), rounding.bucket(instant));
                prop_assert_eq!(row != NONE, times.contain(instant, expected.start));
                if row != NONE {
                    prop_assert_eq!(timeline.start(row as usize), expected.start);
                }
            }
        }
    }
}
