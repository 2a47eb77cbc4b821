//! The answer is put together level by level: first the buckets of one aggregation, exactly; then what is inside of
//! those that are returned.

use super::error::SearchFault;
use super::gone::RoundedBounds;
use super::keyed::Ready;
use super::moments::Timed;
use super::paths::{Fields, Parents, Path};
use super::request::{SearchRequest, SearchRequestError};
use super::response::{Bucket, BucketKey, BucketStyle, Buckets, Found, Results};
use super::rows::Rows;
use super::tree::{Branch, BranchKind, Level, MetricNode};
use super::value;
use crate::filter::{Filter, FilterError};
use crate::job::KeyPart;
use crate::measure::{Measure, MetricValues};
use crate::sync::Arc;

/// What an answer is made of.
pub(super) struct Answering<'a> {
    pub(super) rows: Rows<'a>,
    /// What becomes of bounds where raw documents are gone.
    pub(super) rounded: Option<RoundedBounds>,
    pub(super) fields: Fields,
    pub(super) max_buckets: usize,
    pub(super) now: i64,
    /// How many buckets there are so far.
    pub(super) buckets: usize,
    /// Whether it can be known how many documents the search is about; then how many, once that is known.
    pub(super) wants_total: bool,
    pub(super) total: Option<u64>,
}

type Faults<T> = Result<T, SearchFault>;

impl<'a> Answering<'a> {
    /// An answer that begins.
    pub(super) fn new(
        rows: Rows<'a>,
        rounded: Option<RoundedBounds>,
        fields: Fields,
        request: &SearchRequest,
        now: i64,
    ) -> Self {
        let max_buckets = request.max_buckets;
        Self { rows, rounded, fields, max_buckets, now, buckets: 0, wants_total: false, total: None }
    }

    /// The answer to everything.
    pub(super) fn answer(&mut self, root: &Level, filter: &Timed) -> Faults<Results> {
        let path = Path::of(filter);
        let branches = self.inside(root, &path, &[Vec::new()], None)?;
        let mut metrics = vec![MetricValues::default(); root.measured.len()];
        // What groups have told already is not asked for once more.
        if !root.metrics.is_empty() || self.wants_total && self.total.is_none() {
            let (mut total, grouping) = (0, self.fields.grouping(&path, &root.measured)?.0);
            let moments = path.filter.moments();
            self.rows.groups(&grouping, &moments)?.for_each(&mut |_, doc_count, values| {
                total += doc_count;
                MetricValues::merge_each(&mut metrics, values);
                Ok(())
            })?;
            self.total = self.wants_total.then_some(total);
        }
        let branches = branches.into_iter().next().unwrap_or_default();
        results(root, &metrics, branches, &|| "of all documents".to_owned())
    }

    /// For each of some buckets, the answers to the aggregations of buckets inside of it.
    pub(super) fn inside(
        &mut self,
        level: &Level,
        path: &Path<'_>,
        parents: &[Vec<KeyPart>],
        mut ready: Option<Ready>,
    ) -> Faults<Vec<Vec<Found>>> {
        let mut all: Vec<Vec<Found>> = parents.iter().map(|_| Vec::with_capacity(level.branches.len())).collect();
        if parents.is_empty() {
            return Ok(all);
        }
        for (at, branch) in level.branches.iter().enumerate() {
            let found = match &branch.kind {
                _ if ready.as_ref().is_some_and(|ready| ready.at == at) => {
                    let drafts = ready.take().map_or_else(Vec::new, |ready| ready.drafts);
                    self.finish(branch, &path.with(self.fields.path_key(branch)?), parents, drafts, None)?
                }
                BranchKind::Conditions { conditions, style } => {
                    self.conditions(branch, conditions, style.as_ref(), path, parents)?
                }
                BranchKind::Date(_) | BranchKind::Histogram(_) | BranchKind::Terms(_) => {
                    self.keyed(branch, path, parents)?
                }
            };
            all.iter_mut().zip(found).for_each(|(all, found)| all.push(found));
        }
        Ok(all)
    }

    /// A bucket for each of some filters.
    fn conditions(
        &mut self,
        branch: &Branch,
        conditions: &[(BucketKey, Filter)],
        style: Option<&BucketStyle>,
        path: &Path<'_>,
        parents: &[Vec<KeyPart>],
    ) -> Faults<Vec<Found>> {
        self.count(conditions.len().saturating_mul(parents.len()))?;
        let mut buckets: Vec<Vec<Bucket>> = parents.iter().map(|_| Vec::with_capacity(conditions.len())).collect();
        for (key, filter) in conditions {
            let filter =
                Timed::of(filter, &self.fields.date, self.now).map_err(|error| wrong_filter(branch, &error))?;
            let filter = self.rounded.as_ref().map_or_else(|| filter.clone(), |rounded| rounded.of(&filter));
            let path = Path { filter: path.filter.and(&filter), is_narrowed: true, keys: path.keys.clone() };
            let (grouping, places) = self.fields.grouping(&path, &branch.level.measured)?;
            let mut totals = vec![(0, vec![MetricValues::default(); branch.level.measured.len()]); parents.len()];
            let mut known = Parents::new(parents);
            self.rows.groups(&grouping, &path.filter.moments())?.for_each(&mut |group, doc_count, values| {
                if let Some(parent) = known.find(group, &places) {
                    let (documents, metrics) = &mut totals[parent];
                    *documents += doc_count;
                    MetricValues::merge_each(metrics, values);
                }
                Ok(())
            })?;
            let inside = self.inside(&branch.level, &path, parents, None)?;
            for ((buckets, (doc_count, metrics)), inside) in buckets.iter_mut().zip(totals).zip(inside) {
                let results = results(&branch.level, &metrics, inside, &|| format!("{key:?}"))?;
                buckets.push(Bucket { key: key.clone(), doc_count, results });
            }
        }
        let found = buckets.into_iter().map(|mut buckets| match style {
            Some(style) => Found::Buckets(Buckets { style: style.clone(), buckets }),
            None => Found::Single(Box::new(buckets.remove(0))),
        });
        Ok(found.collect())
    }

    pub(super) fn count(&mut self, buckets: usize) -> Faults<()> {
        self.buckets = self.buckets.saturating_add(buckets);
        if self.buckets > self.max_buckets {
            return Err(SearchFault::TooManyBuckets);
        }
        Ok(())
    }
}

/// The answers to all that is asked of a bucket, in the order of the request.
pub(super) fn results(
    level: &Level,
    metrics: &[MetricValues],
    branches: Vec<Found>,
    bucket: &dyn Fn() -> String,
) -> Faults<Results> {
    for metric in &level.metrics {
        let values = &metrics[metric.measured];
        if metric.metric.measures().has(Measure::Sum) && !values.sum().is_finite() {
            return Err(SearchFault::Infinite { place: metric.place.clone(), bucket: bucket() });
        }
    }
    let mut branches = branches.into_iter();
    let mut found = Vec::with_capacity(level.names.len());
    found.extend(level.metric_places.iter().filter_map(|metric| match metric {
        Some(at) => {
            let MetricNode { metric, measured, .. } = &level.metrics[*at];
            Some(Found::Metric(value::found(*metric, &metrics[*measured])))
        }
        None => branches.next(),
    }));
    Ok(Results { names: Arc::clone(&level.names), found })
}

fn wrong_filter(branch: &Branch, error: &FilterError) -> SearchRequestError {
    SearchRequestError::new(&branch.place, error.to_string())
}
