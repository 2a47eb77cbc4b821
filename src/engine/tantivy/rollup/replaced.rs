//! The documents of replaced date buckets: one query, over the segments that were there before.
//!
//! A deletion and what replaces it go into one commit. Whether tantivy applies a deletion to a segment that is added after
//! it depends on what it has flushed; so the query itself says which segments it is about.

use std::collections::HashSet;
use std::ops::Bound;

use ::tantivy::index::SegmentId;
use ::tantivy::query::{BooleanQuery, EmptyScorer, EnableScoring, Explanation, Query, RangeQuery, Scorer, Weight};
use ::tantivy::schema::Field;
use ::tantivy::{DateTime, DocId, Score, SegmentReader, TantivyError, Term};

use crate::scan::Times;
use crate::sync::Arc;

/// Documents in these segments alone.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    documents: Arc<BooleanQuery>,
    segments: Arc<HashSet<SegmentId>>,
}

impl Replaced {
    /// Those whose date, the begin of their bucket, is in `buckets`.
    pub(super) fn new(date: Field, buckets: &Times, segments: HashSet<SegmentId>) -> Self {
        let term =
            |millis: i64| Term::from_field_date(date, DateTime::from_timestamp_nanos(millis.saturating_mul(1_000_000)));
        let bound = |millis: i64, is_open: bool, bound: fn(Term) -> Bound<Term>| {
            if is_open { Bound::Unbounded } else { bound(term(millis)) }
        };
        let ranges = buckets.ranges().iter().map(|range| -> Box<dyn Query> {
            let from = bound(range.start, range.start == i64::MIN, Bound::Included);
            let to = bound(range.end, range.end == i64::MAX, Bound::Excluded);
            match (&from, &to) {
                // A range has to say its field.
                (Bound::Unbounded, Bound::Unbounded) => Box::new(::tantivy::query::AllQuery),
                _ => Box::new(RangeQuery::new(from, to)),
            }
        });
        Self { documents: Arc::new(BooleanQuery::union(ranges.collect())), segments: Arc::new(segments) }
    }
}

impl Query for Replaced {
    fn weight(&self, scoring: EnableScoring<'_>) -> Result<Box<dyn Weight>, TantivyError> {
        let documents = self.documents.weight(scoring)?;
        Ok(Box::new(ReplacedWeight { documents, segments: Arc::clone(&self.segments) }))
    }
}

struct ReplacedWeight {
    documents: Box<dyn Weight>,
    segments: Arc<HashSet<SegmentId>>,
}

impl Weight for ReplacedWeight {
    fn scorer(&self, segment: &SegmentReader, boost: Score) -> Result<Box<dyn Scorer>, TantivyError> {
        if self.segments.contains(&segment.segment_id()) {
            self.documents.scorer(segment, boost)
        } else {
            Ok(Box::new(EmptyScorer))
        }
    }

    fn explain(&self, segment: &SegmentReader, document: DocId) -> Result<Explanation, TantivyError> {
        self.documents.explain(segment, document)
    }
}
