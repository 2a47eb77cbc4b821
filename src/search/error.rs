use super::request::{SearchRequest, SearchRequestError};
use super::why_not::WhyNot;
use crate::engine::{EngineError, EngineErrorKind};
use crate::scan::ScanRequestError;
use crate::store::StoreError;

/// A search has no answer. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The request cannot be meant so.
    #[error("could not search [{indices}]: {source}")]
    Request {
        /// What was searched.
        indices: String,
        /// What is wrong, and where.
        source: SearchRequestError,
    },
    /// No job reads what was asked for, or writes there.
    #[error(
        "could not search [{indices}]: no rollup job reads it, and none has it as its rollup index{}",
        others(.known)
    )]
    NoJob {
        /// What was searched.
        indices: String,
        /// What jobs read that the caller may know of, with commas between.
        known: String,
    },
    /// The caller may not read an index that was named.
    #[error("could not search [{indices}]: the caller may not read [{index}]")]
    Forbidden {
        /// What was searched.
        indices: String,
        /// The index.
        index: String,
    },
    /// What is rolled up does not answer it, and raw documents are not asked for or not there.
    #[error("could not search [{indices}]: what is rolled up does not answer it, and {}", reason(.why_not, .raw))]
    NotServed {
        /// What was searched.
        indices: String,
        /// Why raw documents do not answer it either.
        raw: String,
        /// Why what jobs have rolled up does not.
        why_not: Vec<WhyNot>,
    },
    /// The answer has more buckets than it may have.
    #[error(
        "could not search [{indices}]: the answer has more than [{max_buckets}] buckets: ask for fewer, or allow more"
    )]
    TooManyBuckets {
        /// What was searched.
        indices: String,
        /// How many it may have.
        max_buckets: usize,
    },
    /// A sum is beyond all numbers.
    #[error("could not search [{indices}]: the sum of [{place}] is infinite in the bucket {bucket}")]
    Infinite {
        /// What was searched.
        indices: String,
        /// Which metric.
        place: String,
        /// In which bucket.
        bucket: String,
    },
    /// The time was up.
    #[error(
        "could not search [{indices}]: it took longer than it may: allow more ([timeout] over HTTP), or ask for fewer \
         documents"
    )]
    Timeout {
        /// What was searched.
        indices: String,
    },
    /// It was cancelled.
    #[error("could not search [{indices}]: it was cancelled")]
    Cancelled {
        /// What was searched.
        indices: String,
    },
    /// What it reads was changed, removed or noted as changed in each of several tries: trying again helps.
    #[error("could not search [{indices}]: what it reads was changed all the while; try again")]
    Moved {
        /// What was searched.
        indices: String,
    },
    /// An engine could not read.
    #[error("could not search [{indices}]: engine call failed")]
    Engine {
        /// What was searched.
        indices: String,
        /// Why.
        source: EngineError,
    },
    /// What was said of source indices could not be read.
    #[error("could not search [{indices}]: job store call failed")]
    Store {
        /// What was searched.
        indices: String,
        /// Why.
        source: StoreError,
    },
}

fn others(known: &str) -> String {
    if known.is_empty() { String::new() } else { format!("; jobs read [{known}]") }
}

fn reason(why_not: &[WhyNot], raw: &str) -> String {
    let reasons: Vec<String> = why_not.iter().map(ToString::to_string).collect();
    if reasons.is_empty() { raw.to_owned() } else { format!("{raw} ({})", reasons.join("; ")) }
}

/// Why a search ends early, before it is known what was searched.
#[derive(Debug)]
pub(crate) enum SearchFault {
    Request(SearchRequestError),
    NoJob { known: String },
    Forbidden { index: String },
    NotServed { raw: String, why_not: Vec<WhyNot> },
    TooManyBuckets,
    Moved,
    Infinite { place: String, bucket: String },
    Engine(EngineError),
    Store(StoreError),
}

impl SearchFault {
    /// Whether a search that begins anew may have an answer at once.
    pub(crate) fn is_moved(&self) -> bool {
        match self {
            Self::Moved => true,
            Self::Engine(error) => error.kind() == EngineErrorKind::Moved,
            _ => false,
        }
    }

    /// What the search that had it ends with.
    pub(crate) fn of(self, request: &SearchRequest) -> SearchError {
        let (indices, max_buckets) = (request.indices.as_str().to_owned(), request.max_buckets);
        match self {
            Self::Request(source) => SearchError::Request { indices, source },
            Self::NoJob { known } => SearchError::NoJob { indices, known },
            Self::Forbidden { index } => SearchError::Forbidden { indices, index },
            Self::NotServed { raw, why_not } => SearchError::NotServed { indices, raw, why_not },
            Self::TooManyBuckets => SearchError::TooManyBuckets { indices, max_buckets },
            Self::Moved => SearchError::Moved { indices },
            Self::Engine(source) if source.kind() == EngineErrorKind::Moved => SearchError::Moved { indices },
            Self::Infinite { place, bucket } => SearchError::Infinite { indices, place, bucket },
            Self::Engine(source) => SearchError::Engine { indices, source },
            Self::Store(source) => SearchError::Store { indices, source },
        }
    }
}

impl From<SearchRequestError> for SearchFault {
    fn from(error: SearchRequestError) -> Self {
        Self::Request(error)
    }
}

impl From<ScanRequestError> for SearchFault {
    fn from(error: ScanRequestError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<EngineError> for SearchFault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<StoreError> for SearchFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
