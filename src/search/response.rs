use std::time::Duration;

use super::plan::SearchPlan;
use crate::filter::DateFormat;
use crate::sync::Arc;

/// The answer to a search. Its aggregations are walked by their names, or printed as Elasticsearch's JSON
/// ([`to_json`](Self::to_json)).
#[derive(Debug, Clone)]
pub struct SearchResponse {
    pub(super) took: Duration,
    pub(super) total: Option<u64>,
    pub(super) results: Results,
    pub(super) plan: SearchPlan,
}

/// The answers to some aggregations, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    /// Of all buckets of one aggregation they are the same.
    pub(super) names: Arc<[Arc<str>]>,
    /// For each name.
    pub(super) found: Vec<Found>,
}

/// The answer to one aggregation.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Buckets(Buckets),
    /// The one bucket of a filter.
    Single(Box<Bucket>),
    Metric(MetricFound),
}

/// The buckets of one aggregation, and how they are printed.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    pub(super) style: BucketStyle,
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Debug, Clone)]
pub(super) enum BucketStyle {
    DateHistogram {
        format: Arc<DateFormat>,
        keyed: bool,
    },
    Histogram {
        keyed: bool,
    },
    Terms {
        /// How many documents are in buckets that are not returned.
        other: u64,
        /// As typed keys have it.
        kind: &'static str,
    },
    Filters {
        keyed: bool,
    },
    Range {
        keyed: bool,
    },
    DateRange {
        format: Arc<DateFormat>,
        keyed: bool,
    },
}

/// What a metric has found.
#[derive(Debug, Clone, Copy)]
pub(super) enum MetricFound {
    /// By the name of its kind.
    Single(&'static str, Option<f64>),
    Stats(Stats),
}

/// Some of a search's documents.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(super) key: BucketKey,
    pub(super) doc_count: u64,
    pub(super) results: Results,
}

/// What the documents of a bucket have in common.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BucketKey {
    /// A stretch of time that begins then, in milliseconds since 1970.
    Date(i64),
    /// A range of numbers that begins there, or a floating-point term.
    Number(f64),
    /// A term that is a whole number.
    Integer(i64),
    /// A term that is a whole number beyond the signed 64-bit range.
    Unsigned(u64),
    /// A term that is a text.
    Text(Arc<str>),
    /// A filter, by its name.
    Name(Arc<str>),
    /// A filter without a name, by its place.
    Place(usize),
    /// A range of numbers, by its name and its ends.
    Range(Arc<str>, Option<f64>, Option<f64>),
    /// A stretch of time, by its name and its ends, in milliseconds since 1970.
    DateRange(Arc<str>, Option<i64>, Option<i64>),
}

/// What is known of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// How many there are.
    pub count: u64,
    /// The smallest, if there are any.
    pub min: Option<f64>,
    /// The largest, if there are any.
    pub max: Option<f64>,
    /// Their average, if there are any.
    pub avg: Option<f64>,
    /// Their sum, 0 of none.
    pub sum: f64,
}

/// An answer was looked for by a name that no aggregation has, or one of another kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {wanted} [{name}] here: there are [{there}]")]
pub struct NoSuchResult {
    name: String,
    wanted: &'static str,
    there: String,
}

impl Results {
    fn find(&self, name: &str) -> Option<&Found> {
        self.found.get(self.names.iter().position(|known| **known == *name)?)
    }

    fn missing(&self, name: &str, wanted: &'static str) -> NoSuchResult {
        let there: Vec<_> = self.names.iter().map(|name| &**name).collect();
        NoSuchResult { name: name.to_owned(), wanted, there: there.join(", ") }
    }
}

/// How answers are walked, of a response and of each bucket.
macro_rules! walked {
    ($type:ident) => {
        impl $type {
            /// The buckets of an aggregation, in their order.
            ///
            /// # Errors
            /// [`NoSuchResult`] if there is no aggregation with buckets of this name right here.
            pub fn buckets(&self, name: &str) -> Result<&[Bucket], NoSuchResult> {
                match self.results.find(name) {
                    Some(Found::Buckets(found)) => Ok(&found.buckets),
                    _ => Err(self.results.missing(name, "aggregation with buckets")),
                }
            }

            /// The one bucket of a filter.
            ///
            /// # Errors
            /// [`NoSuchResult`] if there is no filter of this name right here.
            pub fn bucket(&self, name: &str) -> Result<&Bucket, NoSuchResult> {
                match self.results.find(name) {
                    Some(Found::Single(bucket)) => Ok(bucket),
                    _ => Err(self.results.missing(name, "filter")),
                }
            }

            /// The value of a metric; `None` where it is that of no values.
            ///
            /// # Errors
            /// [`NoSuchResult`] if there is no metric of one value of this name right here.
            pub fn value(&self, name: &str) -> Result<Option<f64>, NoSuchResult> {
                match self.results.find(name) {
                    Some(Found::Metric(MetricFound::Single(_, value))) => Ok(*value),
                    _ => Err(self.results.missing(name, "metric of one value")),
                }
            }

            /// The statistics of a field.
            ///
            /// # Errors
            /// [`NoSuchResult`] if there are no statistics of this name right here.
            pub fn stats(&self, name: &str) -> Result<Stats, NoSuchResult> {
                match self.results.find(name) {
                    Some(Found::Metric(MetricFound::Stats(stats))) => Ok(*stats),
                    _ => Err(self.results.missing(name, "statistics")),
                }
            }
        }
    };
}

walked!(SearchResponse);
walked!(Bucket);

impl SearchResponse {
    pub(crate) fn new(took: Duration, (total, results, plan): (Option<u64>, Results, SearchPlan)) -> Self {
        Self { took, total, results, plan }
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// How many documents the search is about: those that its filter means and that have a date. `None` where nobody
    /// knows, since they were rolled up and some had several values.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Of which parts the answer is made, and why.
    #[must_use]
    pub fn plan(&self) -> &SearchPlan {
        &self.plan
    }
}

impl Bucket {
    /// What its documents have in common.
    #[must_use]
    pub fn key(&self) -> &BucketKey {
        &self.key
    }

    /// How many documents are in it.
    #[must_use]
    pub fn doc_count(&self) -> u64 {
        self.doc_count
    }

    /// Where it begins, in milliseconds since 1970, if it is a stretch of time.
    #[must_use]
    pub fn date(&self) -> Option<i64> {
        match self.key {
            BucketKey::Date(start) => Some(start),
            BucketKey::DateRange(_, from, _) => from,
            _ => None,
        }
    }

    /// Its term if that is a text, or its name.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.key {
            BucketKey::Text(text)
            | BucketKey::Name(text)
            | BucketKey::Range(text, ..)
            | BucketKey::DateRange(text, ..) => Some(text),
            BucketKey::Date(_)
            | BucketKey::Number(_)
            | BucketKey::Integer(_)
            | BucketKey::Unsigned(_)
            | BucketKey::Place(_) => None,
        }
    }

    /// Its term or the beginning of its range, if that is a number; whole numbers beyond 2^53 are rounded.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "said so")]
    pub fn number(&self) -> Option<f64> {
        match self.key {
            BucketKey::Number(number) => Some(number),
            BucketKey::Integer(number) => Some(number as f64),
            BucketKey::Unsigned(number) => Some(number as f64),
            BucketKey::Range(_, from, _) => from,
            _ => None,
        }
    }
}
