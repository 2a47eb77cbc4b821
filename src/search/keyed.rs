//! The buckets of an aggregation that has a key for each: found, and those that are returned put together.

use std::collections::BTreeSet;

use super::answer::{Answering, results};
use super::draft::{Draft, Drafts, Taking};
use super::error::SearchFault;
use super::moments::Timed;
use super::paths::{Parents, Path};
use super::response::{Bucket, BucketKey, BucketStyle, Buckets, Found};
use super::terms::{Wanted, filter_value};
use super::tree::{Branch, BranchKind, TermsBranch};
use crate::filter::{Filter, FilterValue};
use crate::job::{KeyPart, TermsType};
use crate::measure::{Measures, MetricValues};
use crate::rollup::Grouping;

type Faults<T> = Result<T, SearchFault>;

/// Up to so many terms are told to engines, so that they leave the documents of others out.
const MAX_TOLD: usize = 1_024;

/// What was found inside of some buckets with these, of the branch at this place.
pub(super) struct Ready {
    pub(super) at: usize,
    pub(super) drafts: Vec<Drafts>,
}

impl Answering<'_> {
    /// A bucket for each key.
    pub(super) fn keyed(&mut self, branch: &Branch, path: &Path<'_>, parents: &[Vec<KeyPart>]) -> Faults<Vec<Found>> {
        let longer = path.with(self.fields.path_key(branch)?);
        if let Some(at) = found_with(branch, &longer)
            && let Some(drafts) = self.together(branch, &branch.level.branches[at], &longer, parents)?
        {
            return self.finish(branch, &longer, parents, drafts, Some(at));
        }
        let drafts = self.apart(branch, &longer, parents)?;
        self.finish(branch, &longer, parents, drafts, None)
    }

    /// The buckets of a branch, by themselves.
    fn apart(&mut self, branch: &Branch, path: &Path<'_>, parents: &[Vec<KeyPart>]) -> Faults<Vec<Drafts>> {
        let (grouping, places) = self.fields.grouping(path, &branch.level.measured)?;
        let Some((own, on_the_way)) = places.split_last() else { unreachable!("the path has a key") };
        let (wanted, taking) = (Wanted::of(branch, &self.fields.terms)?, Taking::of(branch));
        let is_gathered = path.is_gathered();
        let mut drafts = vec![Drafts::default(); parents.len()];
        let (mut known, mut total) = (Parents::new(parents), 0);
        let (mut found, most) = (0, self.most_kept(branch));
        let groups = self.rows.groups(&grouping, &path.filter.moments())?;
        let several_values = groups.for_each(&mut |group, doc_count, values| {
            total += doc_count;
            let part = own.of(group);
            if *part == KeyPart::Null || !wanted.has(&part) {
                return Ok(());
            }
            if let Some(parent) = known.find(group, on_the_way) {
                found += 1;
                if found > most {
                    return Err(SearchFault::TooManyBuckets);
                }
                drafts[parent].take(part.into_owned(), doc_count, values, is_gathered, taking);
            }
            Ok(())
        })?;
        self.see_total(path, &grouping, several_values.as_ref(), total);
        Ok(drafts)
    }

    /// The buckets of a branch and of one inside of it, by the groups of the latter: what they have together is that of
    /// the former, unless some document is in several of them. `None` if one may be.
    fn together(
        &mut self,
        branch: &Branch,
        inner: &Branch,
        path: &Path<'_>,
        parents: &[Vec<KeyPart>],
    ) -> Faults<Option<Vec<Drafts>>> {
        let longer = path.with(self.fields.path_key(inner)?);
        let (measured, of_inner) = union(&branch.level.measured, &inner.level.measured);
        let own_metrics = branch.level.measured.len();
        let (grouping, places) = self.fields.grouping(&longer, &measured)?;
        let [on_the_way @ .., own, inside] = places.as_slice() else { unreachable!("the path has two keys") };
        let (wanted, taking) = (Wanted::of(inner, &self.fields.terms)?, Taking::of(inner));
        let mut drafts = vec![Drafts::default(); parents.len()];
        let (mut known, mut total) = (Parents::new(parents), 0);
        let (mut found, most) = (0, self.most_kept(inner));
        let mut metrics = vec![MetricValues::default(); of_inner.len()];
        let groups = self.rows.groups(&grouping, &longer.filter.moments())?;
        let several_values = groups.for_each(&mut |group, doc_count, values| {
            total += doc_count;
            let part = own.of(group);
            let (false, Some(parent)) = (*part == KeyPart::Null, known.find(group, on_the_way)) else { return Ok(()) };
            let drafts = drafts[parent].take_part(&part, doc_count, &values[..own_metrics]);
            let part = inside.of(group);
            if *part != KeyPart::Null && wanted.has(&part) {
                found += 1;
                if found > most {
                    return Err(SearchFault::TooManyBuckets);
                }
                metrics.iter_mut().zip(&of_inner).for_each(|(metric, at)| *metric = values[*at]);
                drafts.take(part.into_owned(), doc_count, &metrics, false, taking);
            }
            Ok(())
        })?;
        let inner_field = match &inner.kind {
            BranchKind::Histogram(ranges) => &ranges.field,
            BranchKind::Terms(terms) => &terms.field,
            BranchKind::Date(_) | BranchKind::Conditions { .. } => unreachable!("only fields are found so"),
        };
        if several_values.as_ref().is_none_or(|fields| fields.contains(inner_field)) {
            return Ok(None);
        }
        self.see_total(path, &grouping, several_values.as_ref(), total);
        Ok(Some(drafts))
    }

    /// Each document counts once in the groups of fields that have one value each.
    fn see_total(&mut self, path: &Path<'_>, grouping: &Grouping, several: Option<&BTreeSet<String>>, total: u64) {
        let is_of_all = path.keys.len() == 1 && !path.is_narrowed;
        let is_once = |fields: &BTreeSet<String>| !grouping.fields().any(|field| fields.contains(field));
        if is_of_all && self.wants_total && self.total.is_none() && several.is_some_and(is_once) {
            self.total = Some(total);
        }
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

    /// The buckets that are returned, with what is inside of them: some of that may have been `found` with them.
    pub(super) fn finish(
        &mut self,
        branch: &Branch,
        path: &Path<'_>,
        parents: &[Vec<KeyPart>],
        drafts: Vec<Drafts>,
        found: Option<usize>,
    ) -> Faults<Vec<Found>> {
        let (mut kept, mut styles) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
        for drafts in drafts {
            let (metrics, most) = (branch.level.measured.len(), self.max_buckets - self.buckets);
            let (returned, style) = match &branch.kind {
                BranchKind::Date(date) => (drafts.dates(date, metrics, most), date.sequence.style.clone()),
                BranchKind::Histogram(ranges) => (drafts.ranges(ranges, metrics, most), ranges.sequence.style.clone()),
                BranchKind::Terms(terms) => {
                    let (returned, other) = drafts.terms(terms);
                    let kind = match self.fields.terms.get(&terms.field) {
                        Some(TermsType::Keyword) | None => "sterms",
                        Some(TermsType::Integer | TermsType::Unsigned) => "lterms",
                        Some(TermsType::Floating) => "dterms",
                    };
                    (Ok(returned), BucketStyle::Terms { other, kind })
                }
                BranchKind::Conditions { .. } => unreachable!("conditions have no keys"),
            };
            let returned = returned?;
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
            let taken = |draft: &mut Draft| draft.inside.take().map_or_else(Drafts::default, |drafts| *drafts);
            let ready = found.map(|at| Ready { at, drafts: kept.iter_mut().flatten().map(taken).collect() });
            self.inside(&branch.level, &self.narrowed(branch, path, &kept), &keys, ready)?
        };
        let mut inside = inside.into_iter();
        let found = kept.into_iter().zip(styles).map(|(kept, style)| {
            let buckets = kept.into_iter().map(|Draft { part, doc_count, metrics, .. }| {
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
        let told = Timed::of(&terms, &self.fields.date, self.now).map(|terms| path.filter.and(&terms));
        let filter = told.unwrap_or_else(|_| path.filter.clone());
        Path { filter, is_narrowed: true, keys: path.keys.clone() }
    }
}

/// The branch inside of one whose groups tell what that has, too: date buckets come one after the other, and so do
/// ranges if no date comes before them.
fn found_with(branch: &Branch, path: &Path<'_>) -> Option<usize> {
    let is_in_order = matches!(branch.kind, BranchKind::Date(_) | BranchKind::Histogram(_)) && !path.is_gathered();
    let is_field = |inner: &Branch| match &inner.kind {
        BranchKind::Histogram(_) => true,
        BranchKind::Terms(terms) => terms.missing.is_none(),
        BranchKind::Date(_) | BranchKind::Conditions { .. } => false,
    };
    branch.level.branches.iter().position(is_field).filter(|_| is_in_order)
}

/// The fields of both, those of the first in their order and first of all; and where those of the second are.
fn union(some: &[(String, Measures)], others: &[(String, Measures)]) -> (Vec<(String, Measures)>, Vec<usize>) {
    let mut all = some.to_vec();
    let mut places = Vec::with_capacity(others.len());
    for (field, measures) in others {
        let at = all.iter().position(|(known, _)| known == field).unwrap_or_else(|| {
            all.push((field.clone(), Measures::NONE));
            all.len() - 1
        });
        all[at].1 = all[at].1 | *measures;
        places.push(at);
    }
    (all, places)
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
