//! The answer is put together level by level: first the buckets of one aggregation, exactly; then what is inside of
//! those that are returned.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, Drafts, Taking};
use super::error::SearchFault;
use super::gone::RoundedBounds;
use super::moments::Timed;
use super::request::SearchRequestError;
use super::response::{Bucket, BucketKey, BucketStyle, Buckets, Found, Results};
use super::rows::Rows;
use super::tree::{Branch, BranchKind, Level, TermsBranch};
use super::value;
use crate::filter::{Filter, FilterError, FilterValue};
use crate::job::{KeyPart, Rounding, TermsType};
use crate::measure::{Measure, Measures, MetricValues};
use crate::rollup::{Grouping, KeyKind};
use crate::sync::Arc;

/// Up to so many terms are told to engines, so that they leave the documents of others out.
const MAX_TOLD: usize = 1_024;

/// What an answer is made of.
pub(super) struct Answering<'a> {
    pub(super) rows: Rows<'a>,
    /// What becomes of bounds where raw documents are gone.
    pub(super) rounded: Option<RoundedBounds>,
    pub(super) date_field: String,
    /// What the fields hold that are grouped by their values.
    pub(super) terms_types: BTreeMap<String, TermsType>,
    pub(super) max_buckets: usize,
    pub(super) now: i64,
    /// How many buckets there are so far.
    pub(super) buckets: usize,
    /// Whether it can be known how many documents the search is about; then how many, once that is known.
    pub(super) wants_total: bool,
    pub(super) total: Option<u64>,
}

/// The way to some buckets: what they have in common.
#[derive(Clone)]
struct Path<'a> {
    filter: Timed,
    /// Whether the filter is more than that of the search.
    is_narrowed: bool,
    keys: Vec<PathKey<'a>>,
}

#[derive(Clone)]
enum PathKey<'a> {
    Date(&'a Rounding),
    Field {
        field: &'a str,
        kind: KeyKind,
        /// What documents without a value count as.
        missing: Option<KeyPart>,
    },
}

/// Where a part of a path is in the keys of a grouping.
enum Place<'a> {
    Part(usize, Option<&'a KeyPart>),
    /// The date, in longer buckets.
    Longer(&'a Rounding),
}

impl Place<'_> {
    fn of<'k>(&'k self, key: &'k [KeyPart]) -> Cow<'k, KeyPart> {
        match self {
            Self::Part(at, Some(missing)) if key[*at] == KeyPart::Null => Cow::Borrowed(missing),
            Self::Part(at, _) => Cow::Borrowed(&key[*at]),
            Self::Longer(grid) => match &key[0] {
                KeyPart::Date(start) => Cow::Owned(KeyPart::Date(grid.round_down(*start))),
                other => Cow::Borrowed(other),
            },
        }
    }
}

/// Buckets by the keys on the way to them.
struct Parents {
    /// In order, each with its place.
    sorted: Vec<(Vec<KeyPart>, usize)>,
    /// Where the last one was.
    last: usize,
}

impl Parents {
    fn new(keys: &[Vec<KeyPart>]) -> Self {
        let mut sorted: Vec<_> = keys.iter().cloned().zip(0..).collect();
        sorted.sort_unstable();
        Self { sorted, last: 0 }
    }

    /// The place of the one that a group belongs to.
    fn find(&mut self, key: &[KeyPart], places: &[Place<'_>]) -> Option<usize> {
        let compare = |parent: &[KeyPart]| {
            let parts = parent.iter().zip(places).map(|(part, place)| part.cmp(&place.of(key)));
            parts.into_iter().find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
        };
        // Groups come in order: mostly it is the same once more.
        if !self.sorted.get(self.last).is_some_and(|(parent, _)| compare(parent).is_eq()) {
            self.last = self.sorted.binary_search_by(|(parent, _)| compare(parent)).ok()?;
        }
        Some(self.sorted[self.last].1)
    }
}

type Faults<T> = Result<T, SearchFault>;

impl Answering<'_> {
    /// The answer to everything.
    pub(super) fn answer(&mut self, root: &Level, filter: &Timed) -> Faults<Results> {
        let path = Path { filter: filter.clone(), is_narrowed: false, keys: Vec::new() };
        let branches = self.inside(root, &path, &[Vec::new()])?;
        let mut metrics = vec![MetricValues::default(); root.measured.len()];
        // What groups have told already is not asked for once more.
        if !root.metrics.is_empty() || self.wants_total && self.total.is_none() {
            let (mut total, grouping) = (0, self.grouping(&path, &root.measured)?.0);
            let moments = path.filter.moments();
            self.rows.groups(&grouping, &moments)?.for_each(&mut |_, doc_count, values| {
                total += doc_count;
                metrics.iter_mut().zip(values).for_each(|(all, values)| all.merge(values));
                Ok(())
            })?;
            self.total = self.wants_total.then_some(total);
        }
        let branches = branches.into_iter().next().unwrap_or_default();
        results(root, &metrics, branches, &|| "of all documents".to_owned())
    }

    /// For each of some buckets, the answers to the aggregations of buckets inside of it.
    fn inside(&mut self, level: &Level, path: &Path<'_>, parents: &[Vec<KeyPart>]) -> Faults<Vec<Vec<Found>>> {
        let mut all: Vec<Vec<Found>> = parents.iter().map(|_| Vec::with_capacity(level.branches.len())).collect();
        if parents.is_empty() {
            return Ok(all);
        }
        for branch in &level.branches {
            let found = match &branch.kind {
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
            let filter = Timed::of(filter, &self.date_field, self.now).map_err(|error| wrong_filter(branch, &error))?;
            let filter = self.rounded.as_ref().map_or_else(|| filter.clone(), |rounded| rounded.of(&filter));
            let path = Path { filter: path.filter.and(&filter), is_narrowed: true, keys: path.keys.clone() };
            let (grouping, places) = self.grouping(&path, &branch.level.measured)?;
            let mut totals = vec![(0, vec![MetricValues::default(); branch.level.measured.len()]); parents.len()];
            let mut known = Parents::new(parents);
            self.rows.groups(&grouping, &path.filter.moments())?.for_each(&mut |group, doc_count, values| {
                if let Some(parent) = known.find(group, &places) {
                    let (documents, metrics) = &mut totals[parent];
                    *documents += doc_count;
                    metrics.iter_mut().zip(values).for_each(|(all, values)| all.merge(values));
                }
                Ok(())
            })?;
            let inside = self.inside(&branch.level, &path, parents)?;
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

    /// A bucket for each key.
    fn keyed(&mut self, branch: &Branch, path: &Path<'_>, parents: &[Vec<KeyPart>]) -> Faults<Vec<Found>> {
        let mut longer = path.clone();
        longer.keys.push(self.path_key(branch)?);
        let measured = &branch.level.measured;
        let (grouping, places) = self.grouping(&longer, measured)?;
        let Some((own, on_the_way)) = places.split_last() else { unreachable!("the path has a key") };
        let is_gathered = longer.keys.iter().any(|key| matches!(key, PathKey::Field { missing: Some(_), .. }));
        let wanted = Wanted::of(branch, &self.terms_types)?;
        let taking = match &branch.kind {
            BranchKind::Terms(terms) => Taking::Best(terms),
            _ => Taking::All,
        };
        let mut drafts: Vec<Drafts> = parents.iter().map(|_| Drafts::default()).collect();
        let (mut known, mut total) = (Parents::new(parents), 0);
        let (mut found, most) = (0, self.most_kept(branch));
        let groups = self.rows.groups(&grouping, &longer.filter.moments())?;
        let several_values = groups.for_each(&mut |group, doc_count, values| {
            total += doc_count;
            let part = own.of(group);
            if *part == KeyPart::Null || !wanted.has(&part) {
                return Ok(());
            }
            if let Some(parent) = known.find(group, on_the_way) {
                found += 1;
                if found > most {
                    return Err(SearchFault::TooManyBuckets { max_buckets: self.max_buckets });
                }
                drafts[parent].take(part.into_owned(), doc_count, values, is_gathered, taking);
            }
            Ok(())
        })?;
        if path.keys.is_empty() && !path.is_narrowed && self.wants_total && self.total.is_none() {
            // Each document counts once in the groups of fields that have one value each.
            let is_once = |fields: &BTreeSet<String>| !grouping.fields().any(|field| fields.contains(field));
            self.total = several_values.filter(is_once).map(|_| total);
        }
        self.finish(branch, &longer, parents, drafts)
    }

    /// How many buckets may be found before it is certain that they are too many: those of terms may be dropped again.
    fn most_kept(&self, branch: &Branch) -> usize {
        let is_certain = match &branch.kind {
            BranchKind::Date(date) => date.sequence.min_doc_count <= 1 && date.sequence.hard == (None, None),
            BranchKind::Histogram(ranges) => ranges.sequence.min_doc_count <= 1 && ranges.sequence.hard == (None, None),
            BranchKind::Terms(_) | BranchKind::Conditions { .. } => false,
        };
        if is_certain { self.max_buckets - self.buckets } else { usize::MAX }
    }

    /// The buckets that are returned, with what is inside of them.
    fn finish(
        &mut self,
        branch: &Branch,
        path: &Path<'_>,
        parents: &[Vec<KeyPart>],
        drafts: Vec<Drafts>,
    ) -> Faults<Vec<Found>> {
        let (mut kept, mut styles) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
        for drafts in drafts {
            let (metrics, most) = (branch.level.measured.len(), self.max_buckets - self.buckets);
            let (returned, style) = match &branch.kind {
                BranchKind::Date(date) => (drafts.dates(date, metrics, most), date.sequence.style.clone()),
                BranchKind::Histogram(ranges) => (drafts.ranges(ranges, metrics, most), ranges.sequence.style.clone()),
                BranchKind::Terms(terms) => {
                    let (returned, other) = drafts.terms(terms);
                    let kind = match self.terms_types.get(&terms.field) {
                        Some(TermsType::Keyword) | None => "sterms",
                        Some(TermsType::Integer | TermsType::Unsigned) => "lterms",
                        Some(TermsType::Floating) => "dterms",
                    };
                    (Ok(returned), BucketStyle::Terms { other, kind })
                }
                BranchKind::Conditions { .. } => unreachable!("conditions have no keys"),
            };
            let returned = returned.map_err(|fault| match fault {
                SearchFault::TooManyBuckets { .. } => SearchFault::TooManyBuckets { max_buckets: self.max_buckets },
                other => other,
            })?;
            self.count(returned.len())?;
            kept.push(returned);
            styles.push(style);
        }
        let key_of = |parent: &Vec<KeyPart>, draft: &Draft| [parent, std::slice::from_ref(&draft.part)].concat();
        let keys =
            parents.iter().zip(&kept).flat_map(|(parent, kept)| kept.iter().map(move |draft| key_of(parent, draft)));
        let inside = if branch.level.branches.is_empty() {
            Vec::new()
        } else {
            let keys: Vec<_> = keys.collect();
            self.inside(&branch.level, &self.narrowed(branch, path, &kept), &keys)?
        };
        let mut inside = inside.into_iter();
        let found = kept.into_iter().zip(styles).map(|(kept, style)| {
            let buckets = kept.into_iter().map(|Draft { part, doc_count, metrics }| {
                let inside = inside.next().unwrap_or_default();
                let results = results(&branch.level, &metrics, inside, &|| part.to_json().to_string())?;
                Ok(Bucket { key: bucket_key(part), doc_count, results })
            });
            Ok(Found::Buckets(Buckets { style, buckets: buckets.collect::<Faults<_>>()? }))
        });
        found.collect()
    }

    /// The same path for those terms only that are returned.
    fn narrowed<'p>(&self, branch: &Branch, path: &Path<'p>, kept: &[Vec<Draft>]) -> Path<'p> {
        let BranchKind::Terms(TermsBranch { field, missing: None, .. }) = &branch.kind else { return path.clone() };
        let mut returned: Vec<&KeyPart> = kept.iter().flatten().map(|draft| &draft.part).collect();
        returned.sort_unstable();
        returned.dedup();
        if returned.len() > MAX_TOLD {
            return path.clone();
        }
        let values: Vec<FilterValue> = returned.into_iter().filter_map(filter_value).collect();
        let terms = Filter::Terms { field: field.clone(), values };
        let told = Timed::of(&terms, &self.date_field, self.now).map(|terms| path.filter.and(&terms));
        let filter = told.unwrap_or_else(|_| path.filter.clone());
        Path { filter, is_narrowed: true, keys: path.keys.clone() }
    }

    fn count(&mut self, buckets: usize) -> Faults<()> {
        self.buckets = self.buckets.saturating_add(buckets);
        if self.buckets > self.max_buckets {
            return Err(SearchFault::TooManyBuckets { max_buckets: self.max_buckets });
        }
        Ok(())
    }

    fn terms_type(&self, terms: &TermsBranch, place: &str) -> Faults<TermsType> {
        let missing = || SearchRequestError::new(place, format!("there is no field [{}] to group by", terms.field));
        Ok(self.terms_types.get(&terms.field).copied().ok_or_else(missing)?)
    }

    fn path_key<'b>(&self, branch: &'b Branch) -> Faults<PathKey<'b>> {
        match &branch.kind {
            BranchKind::Date(date) => Ok(PathKey::Date(&date.grid)),
            BranchKind::Histogram(ranges) => {
                let kind = KeyKind::Histogram { interval: ranges.interval };
                Ok(PathKey::Field { field: &ranges.field, kind, missing: None })
            }
            BranchKind::Terms(terms) => {
                let of_type = self.terms_type(terms, &branch.place)?;
                let missing = terms.missing.as_ref().map(|value| term(value, of_type, branch)).transpose()?;
                Ok(PathKey::Field { field: &terms.field, kind: KeyKind::Terms(of_type), missing })
            }
            BranchKind::Conditions { .. } => unreachable!("conditions have no keys"),
        }
    }

    /// What engines are asked for to find the buckets of a path, and where in the keys its parts are.
    fn grouping<'p>(
        &self,
        path: &'p Path<'_>,
        measured: &[(String, Measures)],
    ) -> Faults<(Arc<Grouping>, Vec<Place<'p>>)> {
        let mut grouping = Grouping::new(&self.date_field);
        let grids: Vec<&Rounding> = path
            .keys
            .iter()
            .filter_map(|key| match key {
                PathKey::Date(grid) => Some(*grid),
                PathKey::Field { .. } => None,
            })
            .collect();
        let shortest = shortest(&grids)?;
        let mut at = usize::from(shortest.is_some());
        let mut places = Vec::with_capacity(path.keys.len());
        for key in &path.keys {
            match key {
                PathKey::Date(grid) if Some(*grid) == shortest => places.push(Place::Part(0, None)),
                PathKey::Date(grid) => places.push(Place::Longer(grid)),
                PathKey::Field { field, kind, missing } => {
                    grouping = grouping.key(*field, *kind);
                    places.push(Place::Part(at, missing.as_ref()));
                    at += 1;
                }
            }
        }
        if let Some(grid) = shortest {
            grouping = grouping.date(grid.clone());
        }
        for (field, measures) in measured {
            grouping = grouping.measure(field, *measures);
        }
        Ok((Arc::new(grouping), places))
    }
}

/// The grid that all others are made of.
fn shortest<'a>(grids: &[&'a Rounding]) -> Faults<Option<&'a Rounding>> {
    /// A century before and two after 1970: what bucket of the one begins inside of one of the other does so there.
    const LONG: std::ops::Range<i64> = -3_155_760_000_000..6_311_520_000_000;
    let is_made_of = |longer: &Rounding, shorter: &Rounding| {
        let whole = shorter.round_down(LONG.start)..shorter.round_down(LONG.end);
        shorter.refines(longer, whole).is_ok_and(|left_out| left_out.is_empty())
    };
    let found = grids.iter().find(|grid| grids.iter().all(|longer| is_made_of(longer, grid)));
    if grids.is_empty() || found.is_some() {
        return Ok(found.copied());
    }
    let problem = "of date histograms inside of each other, the buckets of one have to be made of those of the other";
    Err(SearchRequestError::new("aggs", problem).into())
}

/// Which terms may be returned.
struct Wanted {
    include: Option<BTreeSet<KeyPart>>,
    exclude: BTreeSet<KeyPart>,
}

impl Wanted {
    fn of(branch: &Branch, types: &BTreeMap<String, TermsType>) -> Faults<Self> {
        let BranchKind::Terms(terms) = &branch.kind else {
            return Ok(Self { include: None, exclude: BTreeSet::new() });
        };
        let of_type = types.get(&terms.field).copied().unwrap_or(TermsType::Keyword);
        let parts = |values: &[FilterValue]| values.iter().map(|value| term(value, of_type, branch)).collect();
        let include = terms.include.as_deref().map(parts).transpose()?;
        Ok(Self { include, exclude: parts(&terms.exclude)? })
    }

    fn has(&self, part: &KeyPart) -> bool {
        self.include.as_ref().is_none_or(|include| include.contains(part))
            && (self.exclude.is_empty() || !self.exclude.contains(part))
    }
}

/// A value as a term of a field.
fn term(value: &FilterValue, of_type: TermsType, branch: &Branch) -> Faults<KeyPart> {
    let wrong = || SearchRequestError::new(&branch.place, format!("{} is no term of such a field", value.to_json()));
    let text = match value {
        FilterValue::Text(text) => text.to_string(),
        other => other.to_json().to_string(),
    };
    let part = match of_type {
        TermsType::Keyword => Some(KeyPart::Text(text.into())),
        TermsType::Integer => text.parse().ok().map(KeyPart::Integer),
        TermsType::Unsigned => text.parse().ok().map(KeyPart::unsigned),
        TermsType::Floating => text.parse().ok().map(KeyPart::double).filter(|part| *part != KeyPart::Null),
    };
    Ok(part.ok_or_else(wrong)?)
}

fn filter_value(part: &KeyPart) -> Option<FilterValue> {
    match part {
        KeyPart::Integer(value) => Some(FilterValue::Integer(*value)),
        KeyPart::Unsigned(value) => Some(FilterValue::Unsigned(*value)),
        KeyPart::Double(value) => Some(FilterValue::Double(*value)),
        KeyPart::Text(text) => Some(FilterValue::Text(Arc::clone(text))),
        KeyPart::Null | KeyPart::Date(_) | KeyPart::Histogram { .. } => None,
    }
}

fn bucket_key(part: KeyPart) -> BucketKey {
    match part {
        KeyPart::Null => BucketKey::Place(0),
        KeyPart::Date(start) => BucketKey::Date(start),
        KeyPart::Histogram { number, interval } => BucketKey::Number(number * interval),
        KeyPart::Integer(value) => BucketKey::Integer(value),
        KeyPart::Unsigned(value) => BucketKey::Unsigned(value),
        KeyPart::Double(value) => BucketKey::Number(value),
        KeyPart::Text(text) => BucketKey::Text(text),
    }
}

/// The answers to all that is asked of a bucket, in the order of the request.
fn results(
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
    if level.names.is_empty() {
        return Ok(Results::default());
    }
    let of_metrics = level
        .metrics
        .iter()
        .map(|metric| (&metric.name, Found::Metric(value::found(metric.metric, &metrics[metric.measured]))));
    let of_branches = level.branches.iter().map(|branch| &branch.name).zip(branches);
    let mut all: Vec<(&Arc<str>, Found)> = of_metrics.chain(of_branches).collect();
    if !level.metrics.is_empty() && !level.branches.is_empty() {
        all.sort_by_key(|(name, _)| level.names.iter().position(|known| known == *name));
    }
    Ok(Results(all.into_iter().map(|(name, found)| (Arc::clone(name), found)).collect()))
}

fn wrong_filter(branch: &Branch, error: &FilterError) -> SearchRequestError {
    SearchRequestError::new(&branch.place, error.to_string())
}
