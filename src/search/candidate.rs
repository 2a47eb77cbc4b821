//! A job whose rolled-up documents may serve, and whether they do: each rule in one place, whoever asks.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::spans::Spans;
use super::tree::{Branch, BranchKind, Level, Tree};
use super::why_not::{Obstacle, WhyNot};
use crate::engine::JobContext;
use crate::filter::{BoolFilter, Filter, FilterField, Selection, ValueSet};
use crate::job::Progress;
use crate::rollup::{DocumentLayout, KeyKind};
use crate::scan::is_made_of;

/// Up to here whole numbers are exact as doubles.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A job whose rolled-up documents may serve.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) context: JobContext,
    /// How far what is read has come.
    pub(super) progress: Progress,
    /// Where its first date bucket begins; `None` if it has none.
    pub(super) first: Option<i64>,
    /// Where source documents have changed since they were rolled up.
    pub(super) changed: Spans,
    /// Where source documents are missing that were rolled up.
    pub(super) shrunk: Spans,
}

/// A key on the way to a bucket.
#[derive(Clone, Copy)]
struct PathKey<'a> {
    field: &'a str,
    /// Whether its buckets are just those of the job.
    is_same: bool,
}

impl Candidate {
    /// Whether what the job keeps tells what is asked for, whatever its documents are.
    pub(super) fn check_kept(&self, tree: &Tree) -> Result<(), WhyNot> {
        self.check_with(tree, Several::NotAsked)
    }

    /// The same, for the documents that it has rolled up.
    pub(super) fn check(&self, tree: &Tree) -> Result<(), WhyNot> {
        let several = match &self.progress.several_values {
            Some(known) => Several::Known(known),
            // Of nothing nothing has several.
            None if self.first.is_none() => Several::NotAsked,
            None => Several::Unknown,
        };
        self.check_with(tree, several)
    }

    fn check_with(&self, tree: &Tree, several: Several<'_>) -> Result<(), WhyNot> {
        let layout = self.context.layout();
        let own = layout.grouping().date_field();
        if let Some(field) = &tree.date_field
            && field != own
        {
            return Err(self.why_not("aggs", Obstacle::DateField { field: own.to_owned() }));
        }
        let rules = Rules { candidate: self, layout, tree, several };
        rules.check_filter(&tree.filter, "query")?;
        rules.check_level(&tree.root, "aggs", &[], &[&tree.filter], !tree.root.metrics.is_empty())
    }

    pub(super) fn why_not(&self, place: &str, obstacle: Obstacle) -> WhyNot {
        WhyNot::new(self.context.id(), place, obstacle)
    }

    /// Of several that serve, the one with the fewest documents is taken: it has the longest date buckets, no
    /// histograms or wide ones, and few terms. Of those that are alike, the first by id.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let config = self.context.config();
        let bucket = config.rounding().bucket(self.progress.rolled_up_until().map_or(0, Timestamp::as_millisecond));
        let groups = config.groups();
        let (histograms, width) =
            groups.histogram().map_or((0, 0), |histogram| (histogram.fields().len(), histogram.interval().to_bits()));
        let length = std::cmp::Reverse(bucket.end - bucket.start);
        let terms = groups.terms_fields().len();
        (length, histograms + terms, std::cmp::Reverse(width), config.id().to_owned())
    }
}

/// Which of the grouped fields had several values in some document.
#[derive(Clone, Copy)]
enum Several<'a> {
    NotAsked,
    Known(&'a BTreeSet<String>),
    /// Nobody knows, and it may be any of them.
    Unknown,
}

struct Rules<'a> {
    several: Several<'a>,
    candidate: &'a Candidate,
    layout: &'a DocumentLayout,
    tree: &'a Tree,
}

impl Rules<'_> {
    fn refuse<T>(&self, place: &str, obstacle: Obstacle) -> Result<T, WhyNot> {
        Err(self.candidate.why_not(place, obstacle))
    }

    fn check_level(
        &self,
        level: &Level,
        place: &str,
        path: &[PathKey<'_>],
        filters: &[&Filter],
        is_counted: bool,
    ) -> Result<(), WhyNot> {
        if is_counted {
            self.check_several_values(place, path, filters)?;
        }
        let kept = self.layout.grouping().measured();
        for metric in &level.metrics {
            let (field, _) = &level.measured[metric.measured];
            let at = kept.iter().position(|kept| kept.field == *field);
            for measure in metric.metric.measures().iter() {
                if at.and_then(|at| self.layout.measure_field(at, measure)).is_none() {
                    let obstacle = Obstacle::NotMeasured { field: field.clone(), measure };
                    return self.refuse(&metric.place, obstacle);
                }
            }
        }
        level.branches.iter().try_for_each(|branch| self.check_branch(branch, path, filters))
    }

    fn check_branch(&self, branch: &Branch, path: &[PathKey<'_>], filters: &[&Filter]) -> Result<(), WhyNot> {
        let place = &branch.place;
        let with = |key: PathKey<'_>| -> Result<(), WhyNot> {
            self.check_level(&branch.level, place, &[path, &[key]].concat(), filters, true)
        };
        match &branch.kind {
            BranchKind::Date(date) => {
                let is_same = date.grid == *self.candidate.context.config().rounding();
                with(PathKey { field: self.layout.grouping().date_field(), is_same })
            }
            BranchKind::Histogram(histogram) => {
                let kind = KeyKind::Histogram { interval: histogram.interval };
                let is_same = self.check_key(&histogram.field, kind, place)?;
                with(PathKey { field: &histogram.field, is_same })
            }
            BranchKind::Terms(terms) => {
                let kept = self
                    .layout
                    .grouping()
                    .keys()
                    .iter()
                    .find(|key| key.field == terms.field && matches!(key.kind, KeyKind::Terms(_)));
                if kept.is_none() {
                    return self.refuse(place, Obstacle::NotGrouped { field: terms.field.clone() });
                }
                with(PathKey { field: &terms.field, is_same: true })
            }
            BranchKind::Conditions { conditions, .. } => conditions.iter().try_for_each(|(_, filter)| {
                self.check_filter(filter, place)?;
                self.check_level(&branch.level, place, path, &[filters, &[filter]].concat(), true)
            }),
        }
    }

    /// Whether a key is just the job's own, if it is made of that.
    fn check_key(&self, field: &str, asked: KeyKind, place: &str) -> Result<bool, WhyNot> {
        let named = || self.layout.grouping().keys().iter().filter(|key| key.field == field);
        if let Some(kept) = named().find(|kept| is_made_of(asked, kept.kind)) {
            return Ok(kept.kind == asked);
        }
        let interval = named().find_map(|kept| match kept.kind {
            KeyKind::Histogram { interval } => Some(interval),
            KeyKind::Terms(_) => None,
        });
        let field = field.to_owned();
        self.refuse(
            place,
            interval
                .map_or(Obstacle::NotGrouped { field: field.clone() }, |interval| Obstacle::Ranges { field, interval }),
        )
    }

    /// A document with several values in a field counts in several groups: only where these are kept apart, and none
    /// is left out, each of them has it once.
    fn check_several_values(&self, place: &str, path: &[PathKey<'_>], filters: &[&Filter]) -> Result<(), WhyNot> {
        let grouping = self.layout.grouping();
        let may_have = |field: &str| match self.several {
            Several::NotAsked => false,
            Several::Known(known) => known.contains(field),
            Several::Unknown => true,
        };
        for field in grouping.fields().filter(|field| may_have(field)) {
            // Inside of one of its groups it has no other value any more.
            let mut keys = path.iter().filter(|key| key.field == field);
            let is_kept_apart = keys.next().is_some_and(|key| key.is_same) && keys.next().is_none();
            let is_filtered = filters.iter().any(|filter| filter.fields().contains(&field));
            if !is_kept_apart || is_filtered {
                return self.refuse(place, Obstacle::SeveralValues { field: field.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether a condition can be looked up in what is kept: it is on fields that are grouped by, or on the date.
    fn check_filter(&self, filter: &Filter, place: &str) -> Result<(), WhyNot> {
        let field = match filter {
            Filter::MatchAll | Filter::MatchNone => return Ok(()),
            Filter::Bool(BoolFilter { filter, must_not, should, .. }) => {
                let mut all = filter.iter().chain(must_not).chain(should);
                return all.try_for_each(|filter| self.check_filter(filter, place));
            }
            Filter::Term { field, .. }
            | Filter::Terms { field, .. }
            | Filter::Range { field, .. }
            | Filter::Exists { field }
            | Filter::Prefix { field, .. } => field,
        };
        let grouping = self.layout.grouping();
        if field == grouping.date_field() {
            return Ok(());
        }
        match grouping.keys().iter().find(|key| key.field == *field).map(|key| key.kind) {
            None => self.refuse(place, Obstacle::NotGrouped { field: field.clone() }),
            Some(KeyKind::Terms(_)) => Ok(()),
            Some(KeyKind::Histogram { interval }) => {
                let selected = filter.select(self.tree.now, &|_| Some(FilterField::Double));
                match selected {
                    Ok(Selection::Values { values: ValueSet::Doubles(ranges), .. })
                        if !ranges.iter().all(|range| divides(interval, *range.start(), range.end().next_up())) =>
                    {
                        self.refuse(place, Obstacle::RangeBound { field: field.clone(), interval })
                    }
                    // What cannot be meant at all the scan refuses.
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Whether ranges of one width can begin at both of these numbers.
fn divides(interval: f64, from: f64, below: f64) -> bool {
    let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < MAX_EXACT;
    let is_boundary = |number: f64| !number.is_finite() || is_whole(number) && number % interval == 0.0;
    is_whole(interval) && is_boundary(from) && is_boundary(below)
}
