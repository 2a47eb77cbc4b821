use std::fmt;

use crate::job::{Histogram, RollupJobConfig, Rounding, TermsType};
use crate::measure::Measures;

/// What rows are grouped by, and what is found out of each group.
///
/// A key has the date bucket first, if there is a grid, and then a part for each other key, in their order. The
/// configuration of a job is one way to come by a grouping ([`Grouping::of`]).
///
/// ```
/// use rollup_jobs::TermsType;
/// use rollup_jobs::rollup::{Grouping, Measure};
///
/// // The highest and the average temperature of each node, over all time.
/// let grouping = Grouping::new("timestamp")
///     .terms("node", TermsType::Keyword)
///     .measure("temperature", Measure::Max | Measure::Sum | Measure::Count);
/// assert_eq!(grouping.key_parts(), 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    date_field: String,
    grid: Option<Rounding>,
    keys: Vec<GroupingKey>,
    measured: Vec<MeasuredField>,
}

/// A part of keys behind the date.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GroupingKey {
    /// The field.
    pub field: String,
    /// How its values become parts.
    pub kind: KeyKind,
}

/// How the values of a field become parts of keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// By ranges of one width.
    Histogram {
        /// The width, which is finite and above zero.
        interval: f64,
    },
    /// As they are.
    Terms(TermsType),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Histogram { interval } => write!(f, "ranges [{interval}] wide"),
            Self::Terms(kind) => write!(f, "{kind} terms"),
        }
    }
}

/// A field of whose values something is found out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MeasuredField {
    /// The field.
    pub field: String,
    /// What.
    pub measures: Measures,
}

impl Grouping {
    /// All rows that have a date in one group, whose key has no part.
    #[must_use]
    pub fn new(date_field: impl Into<String>) -> Self {
        Self { date_field: date_field.into(), grid: None, keys: Vec::new(), measured: Vec::new() }
    }

    /// What a job groups by and finds out, given the types of its terms fields, in configured order.
    #[must_use]
    pub fn of(config: &RollupJobConfig, terms_types: &[TermsType]) -> Self {
        let groups = config.groups();
        let mut grouping = Self::new(groups.date_histogram().field()).date(config.rounding().clone());
        let interval = groups.histogram().map_or(1.0, Histogram::interval);
        for field in groups.histogram_fields() {
            grouping = grouping.histogram(field, interval);
        }
        for (field, kind) in groups.terms_fields().iter().zip(terms_types) {
            grouping = grouping.terms(field, *kind);
        }
        for metric in config.metrics() {
            let measures = metric.metrics().iter().fold(Measures::NONE, |all, metric| all | metric.measures());
            grouping = grouping.measure(metric.field(), measures);
        }
        grouping
    }

    /// Also by date: keys begin with the date bucket on this grid.
    #[must_use]
    pub fn date(mut self, grid: Rounding) -> Self {
        self.grid = Some(grid);
        self
    }

    /// Also by ranges of a number's values, each as wide as `interval`.
    #[must_use]
    pub fn histogram(self, field: impl Into<String>, interval: f64) -> Self {
        self.key(field, KeyKind::Histogram { interval })
    }

    /// Also by a field's values, which are of this type.
    #[must_use]
    pub fn terms(self, field: impl Into<String>, kind: TermsType) -> Self {
        self.key(field, KeyKind::Terms(kind))
    }

    /// Also by a field's values.
    #[must_use]
    pub fn key(mut self, field: impl Into<String>, kind: KeyKind) -> Self {
        self.keys.push(GroupingKey { field: field.into(), kind });
        self
    }

    /// Finds these out of a field's values in each group.
    #[must_use]
    pub fn measure(mut self, field: impl Into<String>, measures: impl Into<Measures>) -> Self {
        self.measured.push(MeasuredField { field: field.into(), measures: measures.into() });
        self
    }

    /// The same groups, of which nothing is found out but how many rows they have.
    #[must_use]
    pub fn keys_only(&self) -> Self {
        Self { measured: Vec::new(), ..self.clone() }
    }

    /// The field that says when a row was. A row without a value there is in no group.
    #[must_use]
    pub fn date_field(&self) -> &str {
        &self.date_field
    }

    /// The date buckets that keys begin with, if they do.
    #[must_use]
    pub fn grid(&self) -> Option<&Rounding> {
        self.grid.as_ref()
    }

    /// The parts of keys behind the date.
    #[must_use]
    pub fn keys(&self) -> &[GroupingKey] {
        &self.keys
    }

    /// The fields that are grouped by, the one that has the date first.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.date_field()).chain(self.keys.iter().map(|key| key.field.as_str()))
    }

    /// The fields of whose values something is found out.
    #[must_use]
    pub fn measured(&self) -> &[MeasuredField] {
        &self.measured
    }

    /// How many parts a key has.
    #[must_use]
    pub fn key_parts(&self) -> usize {
        usize::from(self.grid.is_some()) + self.keys.len()
    }
}
