//! A search, checked: what engines are asked for, and how it is put together.

use std::collections::BTreeMap;

use super::aggregation::SearchMetric;
use super::response::{BucketKey, BucketStyle};
use crate::filter::{Filter, FilterValue};
use crate::job::Rounding;
use crate::measure::{Measure, Measures};
use crate::sync::Arc;

/// A search, checked.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) filter: Filter,
    pub(super) root: Level,
    /// The field that its date histograms and date ranges are of, if it has such.
    pub(super) date_field: Option<String>,
    pub(super) now: i64,
}

/// What is asked of a bucket's documents, or of all.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) metrics: Vec<MetricNode>,
    /// The fields of which something is found out, each once.
    pub(super) measured: Vec<(String, Measures)>,
    pub(super) branches: Vec<Branch>,
    /// The names of metrics and branches, in the order of the request.
    pub(super) names: Arc<[Arc<str>]>,
    /// For each name its metric, by its place among these; the others are the branches, in their order.
    pub(super) metric_places: Vec<Option<usize>>,
}

#[derive(Debug)]
pub(super) struct MetricNode {
    pub(super) name: Arc<str>,
    pub(super) place: String,
    pub(super) metric: SearchMetric,
    /// Its field, by its place among the measured ones.
    pub(super) measured: usize,
}

/// An aggregation of buckets.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) place: String,
    pub(super) kind: BranchKind,
    pub(super) level: Level,
}

#[derive(Debug)]
pub(super) enum BranchKind {
    Date(DateBranch),
    Histogram(HistogramBranch),
    Terms(TermsBranch),
    /// A bucket for each of some filters.
    Conditions {
        conditions: Vec<(BucketKey, Filter)>,
        /// `None` for the one bucket of a filter, which has no key.
        style: Option<BucketStyle>,
    },
}

/// What buckets that follow one another have.
#[derive(Debug)]
pub(super) struct Sequence<T> {
    pub(super) min_doc_count: u64,
    pub(super) extended: (Option<T>, Option<T>),
    pub(super) hard: (Option<T>, Option<T>),
    pub(super) order: Vec<Sort>,
    pub(super) style: BucketStyle,
}

#[derive(Debug)]
pub(super) struct DateBranch {
    pub(super) grid: Rounding,
    pub(super) sequence: Sequence<i64>,
}

#[derive(Debug)]
pub(super) struct HistogramBranch {
    pub(super) field: String,
    pub(super) interval: f64,
    pub(super) sequence: Sequence<f64>,
}

#[derive(Debug)]
pub(super) struct TermsBranch {
    pub(super) field: String,
    pub(super) size: usize,
    pub(super) min_doc_count: u64,
    pub(super) order: Vec<Sort>,
    pub(super) include: Option<Vec<FilterValue>>,
    pub(super) exclude: Vec<FilterValue>,
    pub(super) missing: Option<FilterValue>,
}

/// One of several ways to sort, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sort {
    pub(super) by: SortBy,
    pub(super) is_descending: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum SortBy {
    Count,
    Key,
    /// A metric of one value, of the field at this place among the measured ones.
    Metric(SearchMetric, usize),
}

impl Tree {
    /// The grids of its date histograms, each with its place.
    pub(super) fn grids(&self) -> Vec<(&Rounding, &str)> {
        let mut grids = Vec::new();
        self.root.each_branch(&mut |branch| {
            if let BranchKind::Date(date) = &branch.kind {
                grids.push((&date.grid, branch.place.as_str()));
            }
        });
        grids.dedup_by(|next, last| next.0 == last.0);
        grids
    }

    /// All filters in it, that of the search first.
    pub(super) fn filters(&self) -> Vec<&Filter> {
        let mut filters = vec![&self.filter];
        self.root.each_branch(&mut |branch| {
            if let BranchKind::Conditions { conditions, .. } = &branch.kind {
                filters.extend(conditions.iter().map(|(_, filter)| filter));
            }
        });
        filters
    }

    /// The fields that are grouped by their values, each with the first place where it is.
    pub(super) fn terms_fields(&self) -> BTreeMap<&str, &str> {
        let mut fields = BTreeMap::new();
        self.root.each_branch(&mut |branch| {
            if let BranchKind::Terms(terms) = &branch.kind {
                fields.entry(terms.field.as_str()).or_insert(branch.place.as_str());
            }
        });
        fields
    }

    /// The fields that have to hold numbers, each with the first place where it has to.
    pub(super) fn numeric_fields(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let mut add = |field: &String, place: &String| {
            fields.entry(field.clone()).or_insert_with(|| place.clone());
        };
        self.root.each_metric(&mut add);
        self.root.each_branch(&mut |branch| {
            if let BranchKind::Histogram(ranges) = &branch.kind {
                add(&ranges.field, &branch.place);
            }
            branch.level.each_metric(&mut add);
        });
        fields
    }
}

impl Level {
    /// Each metric's field and place.
    fn each_metric(&self, see: &mut impl FnMut(&String, &String)) {
        for MetricNode { place, measured, .. } in &self.metrics {
            see(&self.measured[*measured].0, place);
        }
    }

    /// Each branch, before those inside of it.
    fn each_branch<'a>(&'a self, see: &mut impl FnMut(&'a Branch)) {
        for branch in &self.branches {
            see(branch);
            branch.level.each_branch(see);
        }
    }
}

impl SearchMetric {
    /// What has to be found out of the field's values for it.
    pub(super) fn measures(self) -> Measures {
        match self {
            Self::Min => Measure::Min.into(),
            Self::Max => Measure::Max.into(),
            Self::Sum => Measure::Sum.into(),
            Self::Avg => Measure::Sum | Measure::Count,
            Self::ValueCount => Measure::Count.into(),
            Self::Stats => Measures::ALL,
        }
    }
}
