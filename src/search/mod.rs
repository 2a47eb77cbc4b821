//! Ask: buckets and metrics of raw and rolled-up documents, in one exact answer.
//!
//! A [`SearchRequest`] is built, or read from Elasticsearch's search body; its answer is walked
//! ([`SearchResponse::buckets`]), or printed as Elasticsearch's JSON. It is the same request with the same field names
//! whether documents are raw or rolled up.
//!
//! Time is cut, buckets are not: each stretch of time is answered either by raw documents or by what one job has rolled
//! up, and all groups are added up. So a bucket may be made of both, and no document counts twice. What is rolled up
//! serves where that is proved: each bucket that is asked for is made of whole ones of the job, each condition is one
//! on what it groups by, and it keeps what is to be found out. [`SearchPlan`] says which parts there are, and why.
//!
//! An answer has at most [`max_buckets`](SearchRequest::max_buckets) buckets. Of one aggregation there may be more, one
//! after the other: [`SearchBuckets`].
//!
//! Counts, minima and maxima are those of the raw documents to the bit. Sums are added up with compensation, raw and
//! rolled up; each rolled-up document holds its own rounded to 64 bits, though, so a sum or an average of fractions may
//! differ in its last bits from that of raw documents.

mod aggregation;
mod answer;
mod asked;
mod candidate;
mod caps;
mod choice;
mod compile;
mod draft;
mod error;
mod gone;
mod keyed;
mod limits;
mod moments;
mod one_by_one;
mod parse;
mod paths;
mod plan;
mod print;
mod request;
mod response;
mod rows;
mod run;
mod said;
mod spans;
mod strict;
mod terms;
mod tree;
mod types;
mod unmoved;
mod value;
mod why_not;

pub use aggregation::{
    Aggregation, BucketBounds, BucketOrder, DateHistogramAggregation, DateRangeAggregation, DateStretch,
    FilterAggregation, FiltersAggregation, HistogramAggregation, MetricAggregation, NamedAggregations, NumberRange,
    OrderBy, RangeAggregation, SearchInterval, SearchMetric, TermsAggregation,
};
pub use caps::{FieldCaps, JobCaps, NoSuchRollupIndex, SearchCaps};
pub use error::SearchError;
pub(crate) use error::SearchFault;
pub(crate) use limits::Limits;
pub use one_by_one::SearchBuckets;
#[cfg(feature = "rest")]
pub(crate) use parse::NO_HITS;
pub use plan::{PartReason, PlanPart, SearchPlan, Tier};
pub use print::PrintOptions;
#[cfg(feature = "rest")]
pub(crate) use request::MAX_BUCKETS;
pub use request::{Access, Edges, SearchCancel, SearchRequest, SearchRequestError, SearchRights};
pub use response::{Bucket, BucketKey, NoSuchResult, SearchResponse, Stats};
pub(crate) use run::{KnownJob, Ledgers, Systems, buckets, plan, search};
pub(crate) use unmoved::Standing;
pub use why_not::{Obstacle, WhyNot};
