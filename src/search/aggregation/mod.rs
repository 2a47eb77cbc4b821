//! What is asked for: the aggregations of a search, as they are built.

mod conditions;
mod histograms;
mod metric;
mod order;
mod terms;

pub use conditions::{
    DateRangeAggregation, DateStretch, FilterAggregation, FiltersAggregation, NumberRange, RangeAggregation,
};
pub use histograms::{DateHistogramAggregation, HistogramAggregation, SearchInterval};
pub use metric::{MetricAggregation, SearchMetric};
pub use order::{BucketBounds, BucketOrder, OrderBy};
pub use terms::TermsAggregation;

/// How a search divides documents into buckets, or what it finds out of them: with Elasticsearch's names.
///
/// Each is made of its own type, which has its options; an aggregation of buckets has further ones inside.
///
/// ```
/// use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, OrderBy, TermsAggregation};
///
/// let hottest = TermsAggregation::new("node")
///     .size(10)
///     .order(OrderBy::Metric("average".into()).descending())
///     .aggregation("average", MetricAggregation::avg("temperature"));
/// let per_day = DateHistogramAggregation::calendar("timestamp", "1d")
///     .time_zone("Europe/Berlin")
///     .aggregation("hottest", hottest);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Aggregation {
    /// A bucket for each stretch of time.
    DateHistogram(DateHistogramAggregation),
    /// A bucket for each range of a number, all of one width.
    Histogram(HistogramAggregation),
    /// A bucket for each value.
    Terms(TermsAggregation),
    /// One bucket: what a filter means.
    Filter(FilterAggregation),
    /// A bucket for each of some filters.
    Filters(FiltersAggregation),
    /// A bucket for each of some ranges of a number.
    Range(RangeAggregation),
    /// A bucket for each of some stretches of time.
    DateRange(DateRangeAggregation),
    /// Something that is found out of a field's values.
    Metric(MetricAggregation),
}

/// Aggregations with their names, in the order in which they were given.
pub type NamedAggregations = Vec<(String, Aggregation)>;

macro_rules! aggregations {
    ($($variant:ident($type:ident)),* $(,)?) => {
        $(impl From<$type> for Aggregation {
            fn from(aggregation: $type) -> Self {
                Self::$variant(aggregation)
            }
        })*
    };
}

aggregations! {
    DateHistogram(DateHistogramAggregation),
    Histogram(HistogramAggregation),
    Terms(TermsAggregation),
    Filter(FilterAggregation),
    Filters(FiltersAggregation),
    Range(RangeAggregation),
    DateRange(DateRangeAggregation),
    Metric(MetricAggregation),
}

/// The method by which an aggregation of buckets gets further ones inside.
macro_rules! holds_aggregations {
    ($($type:ident),*) => {
        $(impl $type {
            /// Also this, inside of each bucket.
            #[must_use]
            pub fn aggregation(mut self, name: impl Into<String>, aggregation: impl Into<Aggregation>) -> Self {
                self.aggregations.push((name.into(), aggregation.into()));
                self
            }
        })*
    };
}

holds_aggregations!(
    DateHistogramAggregation,
    HistogramAggregation,
    TermsAggregation,
    FilterAggregation,
    FiltersAggregation,
    RangeAggregation,
    DateRangeAggregation
);

/// Options that several aggregations have.
macro_rules! have {
    (keyed: $($type:ident),*) => {
        $(impl $type {
            /// Buckets are printed as members of an object.
            #[must_use]
            pub fn keyed(mut self, keyed: bool) -> Self {
                self.keyed = keyed;
                self
            }
        })*
    };
    (order: $($type:ident),*) => {
        $(impl $type {
            /// Sorted so; given again, those that are alike so far.
            #[must_use]
            pub fn order(mut self, order: BucketOrder) -> Self {
                self.order.push(order);
                self
            }
        })*
    };
    (bounds: $($type:ident),*) => {
        $(impl $type {
            /// Only buckets with so many documents at least.
            #[must_use]
            pub fn min_doc_count(mut self, min_doc_count: u64) -> Self {
                self.min_doc_count = min_doc_count;
                self
            }

            /// Empty buckets go at least so far.
            #[must_use]
            pub fn extended_bounds(mut self, bounds: BucketBounds) -> Self {
                self.extended_bounds = Some(bounds);
                self
            }

            /// No bucket is beyond.
            #[must_use]
            pub fn hard_bounds(mut self, bounds: BucketBounds) -> Self {
                self.hard_bounds = Some(bounds);
                self
            }
        })*
    };
}

have!(keyed: DateHistogramAggregation, HistogramAggregation, RangeAggregation, DateRangeAggregation);
have!(order: DateHistogramAggregation, HistogramAggregation, TermsAggregation);
have!(bounds: DateHistogramAggregation, HistogramAggregation);
