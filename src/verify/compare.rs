//! Holding a group of raw documents against what is rolled up of it.

use std::ops::Range;

use super::Pair;
use super::report::{Mismatch, Verification};
use crate::job::{KeyPart, Rounding};
use crate::measure::{Measure, Measures, MetricValues};
use crate::ranges::merged;
use crate::rollup::{Bucket, DocumentLayout, Grouping, RolledUpRow};
use crate::sync::Arc;

/// So many examples of each kind are told.
const EXAMPLES: usize = 10;
/// Date buckets that are not right are told in no more ranges than this: with more, what lies between goes with them.
const MAX_RANGES: usize = 1_000;
/// The error of a sum is not larger than this part of what is added up, whatever the order: see `DESIGN.md`.
const SUM_ERROR: f64 = 4.0 / 9_007_199_254_740_992.0;

/// A 32-bit float is not further from what it stands for than this part of it.
const FLOAT_ERROR: f64 = 1.0 / 16_777_216.0;

/// The grouping by which raw documents are recounted: that of a job, with all measures, since it takes the others to
/// say by how much a sum may differ.
pub(crate) fn recount_grouping(layout: &DocumentLayout) -> Grouping {
    let kept = layout.grouping();
    let measured = kept.measured().iter();
    measured.fold(kept.keys_only(), |grouping, measured| grouping.measure(measured.field.clone(), Measures::ALL))
}

/// What was found so far.
pub(crate) struct Tally<'a> {
    layout: &'a Arc<DocumentLayout>,
    grid: &'a Rounding,
    /// Where another system has rolled up, which may keep numbers as 32-bit floats.
    inherited: &'a [Range<i64>],
    pub(crate) found: Verification,
    /// The date buckets with groups that are not right: those that raw documents have more of, and less of.
    pub(crate) more: Vec<Range<i64>>,
    pub(crate) less: Vec<Range<i64>>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(layout: &'a Arc<DocumentLayout>, grid: &'a Rounding) -> Self {
        Self { layout, grid, inherited: &[], found: Verification::default(), more: Vec::new(), less: Vec::new() }
    }

    /// Another system has rolled up here.
    pub(crate) fn inherited(self, inherited: &'a [Range<i64>]) -> Self {
        Self { inherited, ..self }
    }

    /// Takes one more pair. With `counts_only` nothing but the number of documents is compared.
    pub(crate) fn add(&mut self, pair: Pair<'_>, counts_only: bool) {
        let documents = |bucket: Option<Bucket<'_>>| bucket.map_or(0, |bucket| bucket.doc_count);
        let (raw, rolled_up) = (documents(pair.raw), documents(pair.rolled_up));
        let key = pair.raw.or(pair.rolled_up).and_then(|bucket| bucket.key.first());
        let is_within = |start: &i64| self.inherited.iter().any(|range| range.contains(start));
        let as_floats = matches!(key, Some(KeyPart::Date(start)) if is_within(start));
        let found = &mut self.found;
        let (number, examples) = match pair {
            Pair { raw: Some(_), rolled_up: None } => (&mut found.missing, &mut found.first_missing),
            Pair { raw: None, .. } => (&mut found.too_many, &mut found.first_too_many),
            Pair { raw: Some(one), rolled_up: Some(other) } => {
                if raw == rolled_up && (counts_only || self.layout.is_same(&one, &other, as_floats)) {
                    found.right += 1;
                    return;
                }
                (&mut found.different, &mut found.first_different)
            }
        };
        *number += 1;
        if examples.len() < EXAMPLES && !counts_only {
            let row = |bucket: Option<Bucket<'_>>| bucket.map(|bucket| RolledUpRow::new(self.layout, bucket));
            examples.push(Mismatch { raw: row(pair.raw), rolled_up: row(pair.rolled_up) });
        }
        if let Some(KeyPart::Date(start)) = key {
            let bucket = *start..self.grid.bucket(*start).end;
            add(if raw < rolled_up { &mut self.less } else { &mut self.more }, bucket);
        }
    }
}

/// Date buckets come in order.
fn add(ranges: &mut Vec<Range<i64>>, bucket: Range<i64>) {
    match ranges.last_mut() {
        Some(last) if bucket.start <= last.end => last.end = last.end.max(bucket.end),
        _ => ranges.push(bucket),
    }
    if ranges.len() > MAX_RANGES {
        let pairs = ranges.chunks(2).map(|pair| pair[0].start..pair[pair.len() - 1].end);
        *ranges = merged(pairs.collect::<Vec<_>>());
    }
}

impl DocumentLayout {
    /// Whether what is kept of a group is what its raw documents come to.
    fn is_same(&self, raw: &Bucket<'_>, rolled_up: &Bucket<'_>, as_floats: bool) -> bool {
        let mut kept = self.grouping().measured().iter().zip(raw.metrics.iter().zip(rolled_up.metrics));
        kept.all(|(kept, (raw, rolled_up))| {
            kept.measures.iter().all(|measure| is_same(measure, raw, rolled_up, as_floats))
        })
    }
}

fn is_same(measure: Measure, raw: &MetricValues, rolled_up: &MetricValues, as_floats: bool) -> bool {
    #[expect(clippy::float_cmp, reason = "it is the very value, or another one")]
    let is_equal = |one: f64, other: f64| {
        let nearly = as_floats && (one - other).abs() <= FLOAT_ERROR * one.abs();
        nearly || one == other || one.total_cmp(&other).is_eq()
    };
    match measure {
        Measure::Count => raw.count() == rolled_up.count(),
        Measure::Min => is_equal(raw.min(), rolled_up.min()),
        Measure::Max => is_equal(raw.max(), rolled_up.max()),
        Measure::Sum => {
            #[expect(clippy::cast_precision_loss, reason = "no bucket has 2^53 documents")]
            let bound = SUM_ERROR * raw.count() as f64 * raw.min().abs().max(raw.max().abs());
            is_equal(raw.sum(), rolled_up.sum()) || (raw.sum() - rolled_up.sum()).abs() <= bound
        }
    }
}
