//! Whether a pass can group by place, and what then.

use std::cmp::Ordering;

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::columns::{BLOCK, millis};
use super::dense::{Plan, bytes_per_row};
use super::groups::Begin;
use super::open::Opened;
use super::timeline::Timeline;
use crate::engine::{EngineError, StopSignal};
use crate::sync::Arc;

/// A table may have so many places for each document, or so many in any case.
const PLACES_PER_DOCUMENT: u64 = 2;
const FEW_PLACES: u64 = 1 << 16;
/// Which part of a pass's memory the table may have.
const TABLE_PART: usize = 4;
/// Places are numbered by 32 bits.
const MAX_PLACES: usize = 1 << 31;

impl Opened {
    /// How to group by place, if the keys are few enough: a stretch of time that ends with this date bucket at the
    /// latest.
    pub(super) fn plan(
        &self,
        begin: &Begin,
        slice_end: Option<u64>,
        bytes: usize,
        stop: &StopSignal,
    ) -> Result<Option<Plan>, EngineError> {
        let Some(codes) = &self.codes else { return Ok(None) };
        let from = begin.as_ref().map_or(i64::MIN, |(words, _)| i64::from_u64(words[0]));
        let Some((first, last)) = self.dates(from) else { return Ok(None) };
        if !self.has_rows(first, last) || !self.is_worth_a_table(codes.len(), first, last) {
            return Ok(None);
        }
        let rows = (bytes / TABLE_PART / bytes_per_row(codes.len())).min(MAX_PLACES / codes.len());
        let one_row = codes.len() * self.cells.bytes();
        if rows == 0 || one_row > bytes / 2 {
            return Ok(None);
        }
        let slice_last = slice_end.map_or(last, |bucket| last.min(i64::from_u64(bucket)));
        let until = |last| {
            let timeline = Timeline::new(&self.question.grid, &self.question.window, first, last, rows, stop);
            timeline.ok_or_else(EngineError::cancelled)
        };
        let mut timeline = until(slice_last)?;
        if timeline.len() == 0 && slice_last < last {
            timeline = until(last)?;
        }
        let timeline = Arc::new(timeline);
        let is_cut = timeline.len() > 0 && timeline.start(timeline.len()) <= last;
        // The position may be in the middle of the first row, or behind it if dates were rounded otherwise then.
        let first_code = begin.as_ref().map_or(0, |(words, included)| match timeline.start(0).cmp(&from) {
            Ordering::Less => codes.len(),
            Ordering::Equal => codes.first_from(&words[1..], *included),
            Ordering::Greater => 0,
        });
        Ok(Some(Plan { codes: Arc::clone(codes), timeline, first_code, is_cut }))
    }

    /// The least and the greatest instant that there may be from `from` on, in milliseconds.
    fn dates(&self, from: i64) -> Option<(i64, i64)> {
        let (first, last) = self.survey.bounds?;
        let (first, last) = (millis(first).max(from), millis(last).min(self.question.window.last));
        (first <= last).then_some((first, last))
    }

    /// Whether each date bucket can be a row.
    fn has_rows(&self, first: i64, last: i64) -> bool {
        // At the ends of what a column can hold there are buckets whose bounds it cannot.
        let is_exact = |millis: i64| millis.checked_mul(1_000_000).is_some();
        let grid = &self.question.grid;
        let begin = grid.round_down(first);
        // A row is one stretch of time.
        is_exact(begin) && is_exact(grid.bucket(last).end) && grid.is_monotone(begin, last)
    }

    /// Where there are few groups for such a table, the hash is faster.
    fn is_worth_a_table(&self, codes: usize, first: i64, last: i64) -> bool {
        let buckets = u64::try_from(last.saturating_sub(first) / self.question.grid.least_length()).unwrap_or(u64::MAX);
        let places = buckets.saturating_add(1).saturating_mul(codes as u64);
        let documents = (self.survey.blocks * BLOCK) as u64;
        places <= documents.saturating_mul(PLACES_PER_DOCUMENT).max(FEW_PLACES)
    }
}
