//! What a run does about documents that have changed since they were rolled up.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::engine::{PageStream, RollupWriter};
use crate::job::{KeyPart, LateData, Ledger, Rounding};
use crate::ranges::merged;
use crate::scan::Times;

/// So many date buckets are replaced at first; more, once that is known to be fast.
const AT_FIRST: i64 = 256;
/// The next slice has so many times as many at most.
const GROWS_BY: i64 = 16;

/// What is repaired, and what cannot be.
pub(super) struct Repair {
    /// The date buckets that are being replaced.
    pub(super) slice: Option<Slice>,
    /// So many are replaced at once.
    at_once: i64,
    /// So many the run may replace in all.
    left: i64,
    /// Those that this run cannot replace: raw documents of them are missing.
    pub(super) missing: Vec<Range<i64>>,
    /// The rollup index does not replace documents.
    pub(super) is_unsupported: bool,
    /// How much time earlier turns have taken for the slice.
    pub(super) took: Duration,
    /// Whether anything was replaced.
    pub(super) has_replaced: bool,
    /// The engine wants to merge.
    pub(super) wants_merge: bool,
}

/// Date buckets that are being replaced: by one snapshot, in one commit.
pub(super) struct Slice {
    pub(super) times: Times,
    /// What was said of the source indices before the snapshot.
    pub(super) ledgers: BTreeMap<String, Ledger>,
    pub(super) stream: Box<dyn PageStream>,
    pub(super) writer: Box<dyn RollupWriter>,
    /// The first and the last key that were written.
    pub(super) written: Option<(Vec<KeyPart>, Vec<KeyPart>)>,
    /// So many source documents they stand for.
    pub(super) documents: u64,
    /// Whether the indices that there are have been looked at.
    pub(super) is_checked: bool,
}

impl Repair {
    pub(super) fn new(late_data: &LateData) -> Self {
        Self {
            slice: None,
            at_once: AT_FIRST,
            left: late_data.max_buckets_per_run().map_or(i64::MAX, i64::from),
            missing: Vec::new(),
            is_unsupported: false,
            took: Duration::ZERO,
            has_replaced: false,
            wants_merge: false,
        }
    }

    /// Whether nothing is to be replaced any more, whatever has changed.
    pub(super) fn is_over(&self) -> bool {
        self.is_unsupported || self.left <= 0
    }

    pub(super) fn stream(&mut self) -> Option<&mut Box<dyn PageStream>> {
        self.slice.as_mut().map(|slice| &mut slice.stream)
    }

    /// The newest of these date buckets, as many as are replaced at once.
    pub(super) fn newest_of(&self, dirty: &[Range<i64>], grid: &Rounding) -> Times {
        let (mut left, mut newest) = (None, Vec::new());
        for range in dirty.iter().rev() {
            let left = left.get_or_insert_with(|| length_before(range.end, grid).saturating_mul(self.most()));
            let from = range.end.saturating_sub(*left);
            let start = if from <= range.start { range.start } else { grid.round_down(from).max(range.start) };
            newest.push(start..range.end);
            *left = left.saturating_sub(range.end.saturating_sub(start));
            if *left <= 0 {
                break;
            }
        }
        Times::buckets(merged(newest))
    }

    fn most(&self) -> i64 {
        self.at_once.min(self.left)
    }

    /// Begins with a slice.
    pub(super) fn begin(&mut self, slice: Slice) {
        (self.slice, self.took) = (Some(slice), Duration::ZERO);
    }

    /// These date buckets are replaced.
    pub(super) fn count(&mut self, times: &Times, grid: &Rounding) {
        self.has_replaced = true;
        let buckets = |range: &Range<i64>| {
            let length = range.end.saturating_sub(range.start);
            // Months are not of one length: about so many.
            length.saturating_add(length_before(range.end, grid) / 2) / length_before(range.end, grid)
        };
        let replaced = times.ranges().iter().map(|range| buckets(range).max(1)).fold(0, i64::saturating_add);
        self.left = self.left.saturating_sub(replaced);
    }

    /// A slice is replaced: the last turn has taken this time for it, of that which a turn may take. The next ones are
    /// to take about half of that: each is a commit, and what has many segments is merged.
    /// Says how much time all of it took.
    pub(super) fn adapt(&mut self, took: Duration, turn_time: Duration) -> Duration {
        let took = self.took + took;
        let in_half_a_turn = i128::from(self.at_once) * as_nanos(turn_time / 2) / as_nanos(took).max(1);
        let (least, most) = ((self.at_once / 2).max(1), self.at_once.saturating_mul(GROWS_BY));
        self.at_once = i64::try_from(in_half_a_turn).unwrap_or(i64::MAX).clamp(least, most);
        took
    }
}

fn as_nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// How long the date bucket is that ends here.
fn length_before(end: i64, grid: &Rounding) -> i64 {
    let last = grid.bucket(end.saturating_sub(1));
    (last.end - last.start).max(1)
}
