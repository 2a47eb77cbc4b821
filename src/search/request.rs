use std::fmt;
use std::time::Duration;

use super::aggregation::{Aggregation, NamedAggregations};
use crate::filter::Filter;
use crate::job::{IndexPattern, RunAs};
use crate::sync::{Arc, AtomicBool, Ordering};

/// Buckets that an answer has at most, if nobody says how many.
pub(crate) const MAX_BUCKETS: usize = 65_536;

/// A search: documents of some indices, divided into buckets and measured, whether they are raw or rolled up.
///
/// ```
/// use rollup_jobs::filter::{Filter, FilterRange};
/// use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, SearchRequest};
///
/// let per_day = DateHistogramAggregation::calendar("timestamp", "1d")
///     .aggregation("warmest", MetricAggregation::max("temperature"));
/// let request = SearchRequest::new("sensor-*")
///     .filter(Filter::range("timestamp", FilterRange::new().at_least("now-30d/d")))
///     .aggregation("per_day", per_day);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SearchRequest {
    /// What is searched: source indices as a job has them, rollup indices, or both.
    pub indices: IndexPattern,
    /// Which documents count. Default: all.
    pub filter: Filter,
    /// What is asked of them.
    pub aggregations: NamedAggregations,
    /// The most buckets that an answer has, empty ones included. Default: 65,536.
    pub max_buckets: usize,
    /// How long a search takes at most. Default: as long as it takes.
    pub timeout: Option<Duration>,
    /// What becomes of a bound in the middle of a rolled-up bucket whose raw documents are not there.
    pub edges: Edges,
    /// How many threads a search uses, the caller's own among them. Default: one.
    pub threads: usize,
    /// Whether Elasticsearch's rules are kept where they are narrower: of what it refuses nothing is answered. Default:
    /// no.
    pub strict: bool,
    /// As whom raw documents are read. Default: nobody in particular.
    pub run_as: Option<RunAs>,
    /// Ends the search from elsewhere. Default: nothing does.
    pub cancel: Option<SearchCancel>,
    /// What the caller may see. Default: everything, since it is the host itself.
    pub access: Access,
}

/// What somebody who searches may see.
///
/// What a job has rolled up of another's documents may be told by nobody who could not see these: an index that may not
/// be read is not read, and a job that reads or writes such an index is neither used nor named. A job that was put
/// [for somebody](crate::PutOptions::run_as) else serves only who sees all documents of its source indices.
#[derive(Clone, Default)]
pub struct Access(Option<Arc<dyn SearchRights>>);

/// The rights of one caller.
pub trait SearchRights: Send + Sync {
    /// Whether the caller may read an index, or what of it is for the caller to see.
    fn may_read(&self, index: &str) -> bool;

    /// Whether the caller sees all documents of an index, and all their fields.
    fn is_unrestricted(&self, index: &str) -> bool;
}

impl Access {
    /// To everything.
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// As somebody's rights say.
    #[must_use]
    pub fn of(rights: Arc<dyn SearchRights>) -> Self {
        Self(Some(rights))
    }

    pub(super) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn may_read(&self, index: &str) -> bool {
        self.0.as_ref().is_none_or(|rights| rights.may_read(index))
    }

    pub(super) fn is_unrestricted(&self, index: &str) -> bool {
        self.0.as_ref().is_none_or(|rights| rights.is_unrestricted(index))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_all() { "all" } else { "as rights say" })
    }
}

/// By whose rights they are.
impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// What becomes of a bound of time in the middle of a rolled-up date bucket, where there are no raw documents that tell
/// its two sides apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Edges {
    /// The search is refused.
    #[default]
    Exact,
    /// Such a bucket does not count.
    Inner,
    /// It counts as a whole.
    Outer,
    /// It counts as a whole if it begins within the bounds, as in Elasticsearch.
    Start,
}

/// Ends searches from another thread than the one they are answered in. Its clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct SearchCancel(Arc<AtomicBool>);

impl SearchCancel {
    /// Nothing is cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the searches that have it, at the next block of documents, and those that get it later.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether they are one and the same.
impl PartialEq for SearchCancel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl SearchRequest {
    /// All documents of these indices: a name, a pattern, or several, as the jobs that read them have it.
    pub fn new(indices: impl Into<String>) -> Self {
        Self {
            indices: IndexPattern::new(indices),
            filter: Filter::MatchAll,
            aggregations: Vec::new(),
            max_buckets: MAX_BUCKETS,
            timeout: None,
            edges: Edges::Exact,
            threads: 1,
            strict: false,
            run_as: None,
            cancel: None,
            access: Access::all(),
        }
    }

    /// Only these documents.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Also this, by this name.
    #[must_use]
    pub fn aggregation(mut self, name: impl Into<String>, aggregation: impl Into<Aggregation>) -> Self {
        self.aggregations.push((name.into(), aggregation.into()));
        self
    }

    /// At most so many buckets; an answer that would have more is refused.
    #[must_use]
    pub fn max_buckets(mut self, max_buckets: usize) -> Self {
        self.max_buckets = max_buckets;
        self
    }

    /// Not longer than this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What becomes of a bound in the middle of a rolled-up bucket.
    #[must_use]
    pub fn edges(mut self, edges: Edges) -> Self {
        self.edges = edges;
        self
    }

    /// By Elasticsearch's rules, where these are narrower: one rollup index at a time; date histograms in the job's
    /// time zone, calendar intervals of calendar ones and fixed ones of fixed ones; no aggregations and queries but its
    /// own. A search that they refuse is refused in its words.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// With so many threads, the caller's own among them.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Until somebody [cancels](SearchCancel::cancel) it.
    ///
    /// ```
    /// use rollup_jobs::search::{SearchCancel, SearchRequest};
    ///
    /// let cancel = SearchCancel::new();
    /// let request = SearchRequest::new("sensor-*").cancelled_by(&cancel);
    /// cancel.cancel(); // from another thread, while it is answered
    /// # assert!(request.cancel.unwrap().is_cancelled());
    /// ```
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &SearchCancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Only what these rights let the caller see.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Raw documents are read as this user.
    #[must_use]
    pub fn run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = Some(run_as);
        self
    }
}

/// A search was asked for that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{place}] {problem}")]
pub struct SearchRequestError {
    place: String,
    problem: String,
    is_elasticsearchs: bool,
}

impl SearchRequestError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), is_elasticsearchs: false }
    }

    /// In Elasticsearch's own words, which need no place.
    pub(super) fn of_elasticsearch(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { is_elasticsearchs: true, ..Self::new(place, problem) }
    }

    /// Whether the problem is said in Elasticsearch's own words.
    #[must_use]
    pub fn is_elasticsearchs(&self) -> bool {
        self.is_elasticsearchs
    }

    /// Where in the request, such as `aggs.per_day.date_histogram.fixed_interval`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there, and what helps.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}
