use std::ops::Bound;

use super::FilterValue;

/// A range of values, open or closed at either end.
///
/// ```
/// use rollup_jobs::filter::{Filter, FilterRange};
///
/// let january = FilterRange::new().at_least("2026-01").at_most("2026-01").time_zone("Europe/Berlin");
/// let filter = Filter::range("timestamp", january);
/// # assert_eq!(filter.fields(), ["timestamp"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FilterRange {
    /// Where it begins.
    pub from: Bound<FilterValue>,
    /// Where it ends.
    pub to: Bound<FilterValue>,
    /// How dates are written, such as `epoch_second`. Default: `strict_date_optional_time||epoch_millis`.
    pub format: Option<String>,
    /// The time zone of dates that do not say theirs, and in which they are rounded. Default: UTC.
    pub time_zone: Option<String>,
}

impl Default for FilterRange {
    fn default() -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded, format: None, time_zone: None }
    }
}

impl FilterRange {
    /// Every value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From this value on (`gte`).
    #[must_use]
    pub fn at_least(mut self, value: impl Into<FilterValue>) -> Self {
        self.from = Bound::Included(value.into());
        self
    }

    /// What is greater than this value (`gt`).
    #[must_use]
    pub fn above(mut self, value: impl Into<FilterValue>) -> Self {
        self.from = Bound::Excluded(value.into());
        self
    }

    /// Up to this value (`lte`).
    #[must_use]
    pub fn at_most(mut self, value: impl Into<FilterValue>) -> Self {
        self.to = Bound::Included(value.into());
        self
    }

    /// What is less than this value (`lt`).
    #[must_use]
    pub fn below(mut self, value: impl Into<FilterValue>) -> Self {
        self.to = Bound::Excluded(value.into());
        self
    }

    /// Dates are written so (`format`).
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Dates that do not say their time zone are in this one (`time_zone`).
    #[must_use]
    pub fn time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = Some(time_zone.into());
        self
    }
}
