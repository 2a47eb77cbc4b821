use super::NamedAggregations;
use crate::filter::{Filter, FilterValue};

/// One bucket: what a filter means.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FilterAggregation {
    /// The filter.
    pub filter: Filter,
    /// What is inside of the bucket.
    pub aggregations: NamedAggregations,
}

impl FilterAggregation {
    /// What this filter means.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, aggregations: Vec::new() }
    }
}

/// A bucket for each of some filters.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FiltersAggregation {
    /// The filters, by the names of their buckets; without names they are printed as an array.
    pub filters: Vec<(Option<String>, Filter)>,
    /// One more bucket, by this name, for what none of them means. Default: none.
    pub other: Option<String>,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl FiltersAggregation {
    /// A bucket for each of these, by its name.
    pub fn named<N: Into<String>>(filters: impl IntoIterator<Item = (N, Filter)>) -> Self {
        let filters = filters.into_iter().map(|(name, filter)| (Some(name.into()), filter)).collect();
        Self { filters, other: None, aggregations: Vec::new() }
    }

    /// A bucket for each of these, in their order.
    pub fn anonymous(filters: impl IntoIterator<Item = Filter>) -> Self {
        let filters = filters.into_iter().map(|filter| (None, filter)).collect();
        Self { filters, other: None, aggregations: Vec::new() }
    }

    /// One more bucket for what none of them means.
    #[must_use]
    pub fn other(mut self, name: impl Into<String>) -> Self {
        self.other = Some(name.into());
        self
    }
}

/// One range of a [`RangeAggregation`]: its lower end is in it, its upper end is not.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct NumberRange {
    /// Its name. Default: made of its ends, such as `10.0-20.0`.
    pub key: Option<String>,
    /// Where it begins.
    pub from: Option<f64>,
    /// Where it ends.
    pub to: Option<f64>,
}

/// A bucket for each of some ranges of a number.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RangeAggregation {
    /// The numeric field.
    pub field: String,
    /// The ranges, which may overlap. Their buckets come in the order of where they begin, then of where they end.
    pub ranges: Vec<NumberRange>,
    /// Whether buckets are printed as members of an object. Default: no.
    pub keyed: bool,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl RangeAggregation {
    /// No range so far.
    #[must_use]
    pub fn new(field: impl Into<String>) -> Self {
        Self { field: field.into(), ranges: Vec::new(), keyed: false, aggregations: Vec::new() }
    }

    /// Also from one number up to, but not with, another; `None` leaves an end open.
    #[must_use]
    pub fn range(mut self, from: impl Into<Option<f64>>, to: impl Into<Option<f64>>) -> Self {
        self.ranges.push(NumberRange { key: None, from: from.into(), to: to.into() });
        self
    }
}

/// One stretch of time of a [`DateRangeAggregation`]: its beginning is in it, its end is not.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DateStretch {
    /// Its name. Default: made of its ends.
    pub key: Option<String>,
    /// Where it begins, such as `now-7d/d`.
    pub from: Option<FilterValue>,
    /// Where it ends.
    pub to: Option<FilterValue>,
}

/// A bucket for each of some stretches of time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DateRangeAggregation {
    /// The date field.
    pub field: String,
    /// The stretches, which may overlap. Their buckets come in the order of where they begin, then of where they end.
    pub ranges: Vec<DateStretch>,
    /// How dates are written and printed. Default: `strict_date_optional_time`.
    pub format: Option<String>,
    /// The zone of dates that do not say theirs, and in which they are rounded. Default: UTC.
    pub time_zone: Option<String>,
    /// Whether buckets are printed as members of an object. Default: no.
    pub keyed: bool,
    /// What is inside of each bucket.
    pub aggregations: NamedAggregations,
}

impl DateRangeAggregation {
    /// No stretch so far.
    #[must_use]
    pub fn new(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            ranges: Vec::new(),
            format: None,
            time_zone: None,
            keyed: false,
            aggregations: Vec::new(),
        }
    }

    /// Also from one moment up to, but not with, another; `None` leaves an end open.
    #[must_use]
    pub fn range<F: Into<FilterValue>, T: Into<FilterValue>>(mut self, from: Option<F>, to: Option<T>) -> Self {
        self.ranges.push(DateStretch { key: None, from: from.map(Into::into), to: to.map(Into::into) });
        self
    }

    /// Dates that do not say their time zone are in this one.
    #[must_use]
    pub fn time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = Some(time_zone.into());
        self
    }

    /// Dates are written and printed so.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }
}
