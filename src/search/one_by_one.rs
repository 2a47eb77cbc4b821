//! The buckets of one aggregation, one after the other, however many there are.

use std::collections::VecDeque;
use std::fmt;

use super::aggregation::{Aggregation, BucketOrder, OrderBy};
use super::answer::Answering;
use super::compile::inside;
use super::draft::{Draft, Drafts};
use super::error::{SearchError, SearchFault};
use super::limits::Limits;
use super::moments::Timed;
use super::paths::Path;
use super::plan::SearchPlan;
use super::request::{SearchRequest, SearchRequestError};
use super::response::{Bucket, Found};
use super::rows::Groups;
use super::terms::{Wanted, filter_value};
use super::tree::{Branch, BranchKind, Sequence};
use crate::filter::{Filter, FilterRange};
use crate::job::KeyPart;

/// How many keys are answered at first, if there is more inside of each.
const AT_FIRST: usize = 64;

type Faults<T> = Result<T, SearchFault>;

/// The buckets of one aggregation in the order of their keys: what [`search_buckets`] hands out.
///
/// After an error there is nothing more.
///
/// [`search_buckets`]: crate::RollupJobManager::search_buckets
pub struct SearchBuckets<'a> {
    request: SearchRequest,
    limits: Limits,
    plan: SearchPlan,
    /// `None` once all keys are known, or nothing more is to be found.
    rest: Option<Rest<'a>>,
    found: VecDeque<Bucket>,
}

/// What is still to be found.
pub(crate) struct Rest<'a> {
    answering: Answering<'a>,
    branch: Branch,
    filter: Timed,
    wanted: Wanted,
    groups: Groups,
    /// Those that groups have told of, and that are not answered yet.
    pending: Vec<Draft>,
    /// How many are answered at a time.
    at_a_time: usize,
}

impl<'a> SearchBuckets<'a> {
    pub(crate) fn new(request: &SearchRequest, limits: Limits, plan: SearchPlan, rest: Rest<'a>) -> Self {
        Self { request: request.clone(), limits, plan, rest: Some(rest), found: VecDeque::new() }
    }

    /// Of which parts the answer is made, and why.
    #[must_use]
    pub fn plan(&self) -> &SearchPlan {
        &self.plan
    }
}

impl Iterator for SearchBuckets<'_> {
    type Item = Result<Bucket, SearchError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(bucket) = self.found.pop_front() {
                return Some(Ok(bucket));
            }
            match self.rest.as_mut()?.next() {
                Ok(Some(found)) => self.found = found.into(),
                Ok(None) => self.rest = None,
                Err(fault) => {
                    self.rest = None;
                    return Some(Err(self.limits.error(fault, &self.request)));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for SearchBuckets<'_> {}

impl fmt::Debug for SearchBuckets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchBuckets").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Checks that a request is about the buckets of one aggregation that has a key for each, in the order of the keys.
pub(super) fn check(request: &SearchRequest) -> Result<(), SearchRequestError> {
    let [(name, aggregation)] = request.aggregations.as_slice() else {
        let problem = format!("has to be one aggregation here, but there are {}", request.aggregations.len());
        return Err(SearchRequestError::new("aggs", problem));
    };
    let place = format!("aggs.{name}");
    let order = match aggregation {
        Aggregation::DateHistogram(asked) => &asked.order,
        Aggregation::Histogram(asked) => &asked.order,
        Aggregation::Terms(asked) if asked.missing.is_some() => {
            let problem = "is not supported here: terms come in the order in which they are found";
            return Err(SearchRequestError::new(format!("{place}.terms.missing"), problem));
        }
        Aggregation::Terms(asked) => &asked.order,
        _ => {
            let problem = "has to be [date_histogram], [histogram] or [terms] here, which have a bucket for each key";
            return Err(SearchRequestError::new(place, problem));
        }
    };
    let is_by_key = |order: &BucketOrder| order.by == OrderBy::Key && !order.is_descending;
    if !order.iter().all(is_by_key) {
        let (kind, problem) = (inside(aggregation).0, "can only be by _key, ascending, here");
        return Err(SearchRequestError::new(format!("{place}.{kind}.order"), problem));
    }
    Ok(())
}

/// Makes a branch one of all keys that documents have.
fn all_keys(branch: &mut Branch) {
    fn with_documents<T>(sequence: &mut Sequence<T>) {
        sequence.min_doc_count = sequence.min_doc_count.max(1);
        sequence.extended = (None, None);
        sequence.order = Vec::new();
    }
    match &mut branch.kind {
        BranchKind::Date(date) => with_documents(&mut date.sequence),
        BranchKind::Histogram(ranges) => with_documents(&mut ranges.sequence),
        BranchKind::Terms(terms) => (terms.size, terms.order) = (usize::MAX, Vec::new()),
        BranchKind::Conditions { .. } => {}
    }
}

impl<'a> Rest<'a> {
    /// All buckets of a branch at the top.
    pub(super) fn of(answering: Answering<'a>, mut branch: Branch, filter: Timed) -> Faults<Self> {
        all_keys(&mut branch);
        let wanted = Wanted::of(&branch, &answering.fields.terms)?;
        let path = Path::of(&filter).with(answering.fields.path_key(&branch)?);
        let (grouping, _) = answering.fields.grouping(&path, &branch.level.measured)?;
        let groups = answering.rows.groups(&grouping, &filter.moments())?;
        groups.check_uncut()?;
        let at_a_time = if branch.level.branches.is_empty() { answering.max_buckets } else { AT_FIRST };
        Ok(Self { answering, branch, filter, wanted, groups, pending: Vec::new(), at_a_time })
    }

    /// The next buckets, perhaps none of the next keys. `None`: there are no more keys.
    fn next(&mut self) -> Faults<Option<Vec<Bucket>>> {
        let found = self.find_next()?;
        self.answering.rows.check_unmoved()?;
        Ok(found)
    }

    fn find_next(&mut self) -> Faults<Option<Vec<Bucket>>> {
        self.read_keys()?;
        while !self.pending.is_empty() {
            let some = self.at_a_time.min(self.pending.len());
            match self.answer(some) {
                Err(SearchFault::TooManyBuckets) if some > 1 => self.at_a_time = some / 2,
                answered => {
                    let buckets = answered?;
                    self.pending.drain(..some);
                    if self.answering.buckets < self.answering.max_buckets / 4 {
                        self.at_a_time = self.at_a_time.saturating_mul(2).min(self.answering.max_buckets);
                    }
                    return Ok(Some(buckets));
                }
            }
        }
        Ok(None)
    }

    fn read_keys(&mut self) -> Faults<()> {
        let Self { pending, groups, wanted, at_a_time, .. } = self;
        while pending.len() < *at_a_time {
            let more = *at_a_time - pending.len();
            let seen = groups.next(more, &mut |group, doc_count, values| {
                if group[0] != KeyPart::Null && wanted.has(&group[0]) {
                    pending.push(Draft::new(group[0].clone(), doc_count, values));
                }
                Ok(())
            })?;
            if seen < more {
                break;
            }
        }
        Ok(())
    }

    /// The buckets of the first of the pending keys.
    fn answer(&mut self, some: usize) -> Faults<Vec<Bucket>> {
        let Self { answering, branch, pending, .. } = self;
        let (Some(first), Some(last)) = (pending.first(), pending[..some].last()) else { return Ok(Vec::new()) };
        let filter = between(branch, &answering.fields.date, [&first.part, &last.part])
            .and_then(|between| Timed::of(&between, &answering.fields.date, answering.now).ok())
            .map_or_else(|| self.filter.clone(), |between| self.filter.and(&between));
        let path = Path { is_narrowed: true, ..Path::of(&filter) }.with(answering.fields.path_key(branch)?);
        answering.buckets = 0;
        let found = answering.finish(branch, &path, &[Vec::new()], vec![Drafts::of(pending[..some].to_vec())], None)?;
        let buckets = found.into_iter().flat_map(|found| match found {
            Found::Buckets(found) => found.buckets,
            Found::Single(_) | Found::Metric(_) => Vec::new(),
        });
        Ok(buckets.collect())
    }
}

/// What leaves out the documents of other keys, where that can be told.
fn between(branch: &Branch, date_field: &str, [first, last]: [&KeyPart; 2]) -> Option<Filter> {
    match (&branch.kind, first, last) {
        (BranchKind::Date(date), KeyPart::Date(first), KeyPart::Date(last)) => {
            let range = FilterRange::new().at_least(*first).below(date.grid.bucket(*last).end);
            Some(Filter::range(date_field, range))
        }
        (BranchKind::Terms(terms), first, last) => {
            let range = FilterRange::new().at_least(filter_value(first)?).at_most(filter_value(last)?);
            Some(Filter::range(&terms.field, range))
        }
        _ => None,
    }
}
