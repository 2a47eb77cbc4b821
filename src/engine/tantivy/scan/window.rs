//! The stretches of time that a scan is of.

use std::ops::Range;

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::grid::Grid;
use super::timeline::raw;
use crate::scan::Times;

/// Ranges of words, in order, none touching another. An end of `u64::MAX` is open.
struct Spans(Vec<Range<u64>>);

/// The first of such ranges that does not end before a word.
fn first_from(ranges: &[Range<u64>], word: u64) -> usize {
    ranges.partition_point(|range| range.end <= word && range.end != u64::MAX)
}

impl Spans {
    /// The range that a word is in, or the gap, and whether it is a range.
    fn around(&self, word: u64) -> (Range<u64>, bool) {
        let at = first_from(&self.0, word);
        let before = at.checked_sub(1).map_or(0, |before| self.0[before].end);
        match self.0.get(at) {
            Some(range) if range.start <= word => (range.clone(), true),
            Some(range) => (before..range.start, false),
            None => (before..u64::MAX, false),
        }
    }
}

/// The stretches of time that a scan is of.
pub(super) struct Window {
    /// In the words of buckets or of instants.
    spans: Spans,
    is_of_buckets: bool,
    /// Instants as a date column holds them: none outside of these is wanted.
    hulls: Vec<Range<u64>>,
    /// The words of the first bucket that may be wanted, and of the first behind all that may be.
    pub(super) buckets: Range<u64>,
    /// An instant in milliseconds behind which none is wanted, but in the bucket of one before it.
    pub(super) last: i64,
}

impl Window {
    pub(super) fn of(times: &Times, grid: &Grid) -> Self {
        // Where nothing is grouped by date, an instant is its own bucket.
        let is_of_buckets = times.are_of_buckets() && matches!(grid, Grid::Buckets(_));
        let in_raw = |range: &Range<i64>| raw(range.start)..raw(range.end);
        let (spans, hulls): (Vec<_>, Vec<_>) = if is_of_buckets {
            let words = times.ranges().iter().map(|range| range.start.to_u64()..range.end.to_u64());
            (words.collect(), times.ranges().iter().map(|range| in_raw(&grid.instants_of(range))).collect())
        } else {
            let ranges: Vec<_> = times.ranges().iter().map(in_raw).collect();
            (ranges.clone(), ranges)
        };
        let (first, last) = (times.ranges().first(), times.ranges().last());
        let all = first.zip(last).map_or(i64::MIN..i64::MIN, |(first, last)| first.start..last.end);
        let buckets = if all.is_empty() { 0..0 } else { Self::buckets(grid, is_of_buckets, &all) };
        let last = all.end.saturating_sub(1);
        Self { spans: Spans(spans), is_of_buckets, hulls, buckets, last }
    }

    fn buckets(grid: &Grid, is_of_buckets: bool, range: &Range<i64>) -> Range<u64> {
        if is_of_buckets {
            return range.start.to_u64()..range.end.to_u64();
        }
        // The greatest bucket need not be that of the last instant.
        let (first, last) = grid.around(range.start, range.end.saturating_sub(1));
        grid.round_down(first).to_u64()..grid.round_down(last).to_u64().saturating_add(1)
    }

    /// Whether instants from one to another may be wanted.
    pub(super) fn meets(&self, first: u64, last: u64) -> bool {
        self.next_from(first).is_some_and(|next| next <= last)
    }

    /// Whether all instants from one to another are wanted, if their bucket is.
    pub(super) fn has_all(&self, first: u64, last: u64) -> bool {
        let has_all = || {
            let (around, is_in) = self.spans.around(first);
            is_in && (last < around.end || around.end == u64::MAX)
        };
        self.is_of_buckets || has_all()
    }

    /// The stretches that a stretch of time, a date bucket, falls into: where each ends, and whether it is wanted.
    pub(super) fn cut(&self, bucket: &Range<u64>, word: u64) -> Vec<(u64, bool)> {
        if self.is_of_buckets {
            return vec![(bucket.end, self.spans.around(word).1)];
        }
        let (mut stretches, mut from) = (Vec::new(), bucket.start);
        while from < bucket.end {
            let (around, is_in) = self.spans.around(from);
            from = around.end.min(bucket.end);
            stretches.push((from, is_in));
        }
        stretches
    }

    /// The first instant from one on, in raw form, that may be wanted.
    pub(super) fn next_from(&self, instant: u64) -> Option<u64> {
        self.hulls.get(first_from(&self.hulls, instant)).map(|range| range.start.max(instant))
    }

    pub(super) fn spotter(&self) -> Spotter<'_> {
        Spotter { window: self, around: 0..0, is_in: false }
    }
}

/// Says which of many instants, mostly in order, are wanted.
#[derive(Clone)]
pub(super) struct Spotter<'a> {
    window: &'a Window,
    /// What was found last.
    around: Range<u64>,
    is_in: bool,
}

impl Spotter<'_> {
    /// Whether an instant, as a date column holds it, in this bucket, is wanted.
    #[inline]
    pub(super) fn wants(&mut self, raw: u64, bucket: u64) -> bool {
        let word = if self.window.is_of_buckets { bucket } else { raw };
        if !self.around.contains(&word) {
            (self.around, self.is_in) = self.window.spans.around(word);
        }
        self.is_in
    }

    /// Whether a bucket is wanted of which all instants that there are are.
    pub(super) fn wants_bucket(&mut self, bucket: u64) -> bool {
        !self.window.is_of_buckets || self.wants(0, bucket)
    }
}
