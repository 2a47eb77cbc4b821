//! The way to some buckets: by which filters and keys documents get there, and how engines are asked for that.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::error::SearchFault;
use super::moments::Timed;
use super::request::SearchRequestError;
use super::terms::term;
use super::tree::{Branch, BranchKind, TermsBranch};
use super::types;
use crate::job::{KeyPart, Rounding, TermsType};
use crate::measure::Measures;
use crate::rollup::{Grouping, KeyKind};
use crate::sync::Arc;

type Faults<T> = Result<T, SearchFault>;

/// What is to be known of the fields that a search is about.
pub(super) struct Fields {
    pub(super) date: String,
    /// What those hold that are grouped by their values.
    pub(super) terms: BTreeMap<String, TermsType>,
}

/// The way to some buckets: what they have in common.
#[derive(Clone)]
pub(super) struct Path<'a> {
    pub(super) filter: Timed,
    /// Whether the filter is more than that of the search.
    pub(super) is_narrowed: bool,
    pub(super) keys: Vec<PathKey<'a>>,
}

#[derive(Clone)]
pub(super) enum PathKey<'a> {
    Date(&'a Rounding),
    Field {
        field: &'a str,
        kind: KeyKind,
        /// What documents without a value count as.
        missing: Option<KeyPart>,
    },
}

/// Where a part of a path is in the keys of a grouping.
pub(super) enum Place<'a> {
    Part(usize, Option<&'a KeyPart>),
    /// The date, in longer buckets.
    Longer(&'a Rounding),
}

impl Place<'_> {
    pub(super) fn of<'k>(&'k self, key: &'k [KeyPart]) -> Cow<'k, KeyPart> {
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
pub(super) struct Parents {
    /// In order, each with its place.
    sorted: Vec<(Vec<KeyPart>, usize)>,
    /// Where the last one was.
    last: usize,
}

impl Parents {
    pub(super) fn new(keys: &[Vec<KeyPart>]) -> Self {
        let mut sorted: Vec<_> = keys.iter().cloned().zip(0..).collect();
        sorted.sort_unstable();
        Self { sorted, last: 0 }
    }

    /// The place of the one that a group belongs to.
    pub(super) fn find(&mut self, key: &[KeyPart], places: &[Place<'_>]) -> Option<usize> {
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

impl<'a> Path<'a> {
    /// The way to all that a filter means.
    pub(super) fn of(filter: &Timed) -> Self {
        Self { filter: filter.clone(), is_narrowed: false, keys: Vec::new() }
    }

    /// The same way and one key more.
    pub(super) fn with(&self, key: PathKey<'a>) -> Self {
        let mut longer = self.clone();
        longer.keys.push(key);
        longer
    }

    /// Whether one key may be found in several groups: documents without a value count as if they had one.
    pub(super) fn is_gathered(&self) -> bool {
        self.keys.iter().any(|key| matches!(key, PathKey::Field { missing: Some(_), .. }))
    }
}

impl Fields {
    fn terms_type(&self, terms: &TermsBranch, place: &str) -> Faults<TermsType> {
        let missing = || {
            let field = &terms.field;
            let problem = if *field == self.date {
                types::is_date(field)
            } else {
                format!("there is no field [{field}] to group by")
            };
            SearchRequestError::new(place, problem)
        };
        Ok(self.terms.get(&terms.field).copied().ok_or_else(missing)?)
    }

    /// The key of a branch that has one.
    pub(super) fn path_key<'b>(&self, branch: &'b Branch) -> Faults<PathKey<'b>> {
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
    pub(super) fn grouping<'p>(
        &self,
        path: &'p Path<'_>,
        measured: &[(String, Measures)],
    ) -> Faults<(Arc<Grouping>, Vec<Place<'p>>)> {
        let mut grouping = Grouping::new(&self.date);
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
