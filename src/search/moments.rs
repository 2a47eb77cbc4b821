//! A filter cut by time: between two bounds of its conditions on the date these hold always or never, and what is left
//! of the filter has none.

use std::ops::Range;

use super::spans::Spans;
use crate::filter::{BoolFilter, Filter, FilterError, FilterField, Selection, ValueSet};

/// What a filter means, at which times. What it never means is left out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    /// Without conditions on the date.
    pub(super) filter: Filter,
    pub(super) times: Spans,
}

/// A filter whose conditions on the date are read.
#[derive(Debug, Clone)]
pub(super) struct Timed(Node);

#[derive(Debug, Clone)]
enum Node {
    Other(Filter),
    Dates(Spans),
    Bool { filter: Vec<Node>, must_not: Vec<Node>, should: Vec<Node>, least: usize },
}

/// Where a bound of time is moved to, from where it is and whether what it bounds lies behind it.
pub(super) type MoveBound<'a> = &'a dyn Fn(i64, Side) -> i64;

/// Which end of a stretch of time a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Begin,
    End,
}

impl Timed {
    /// Reads a filter; `now` is what that means in it.
    pub(super) fn of(filter: &Filter, date_field: &str, now: i64) -> Result<Self, FilterError> {
        node(filter, date_field, now).map(Self)
    }

    /// The bounds of all conditions on the date, in order and each once.
    pub(super) fn bounds(&self) -> Vec<i64> {
        let mut bounds = Vec::new();
        self.0.collect_bounds(&mut bounds);
        bounds.retain(|bound| Spans::end_of_time(*bound).is_some());
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// The same with bounds moved: what is negated is bounded the other way round.
    pub(super) fn moved(&self, to: MoveBound<'_>) -> Self {
        Self(self.0.moved(to, false))
    }

    /// The same filter and another.
    pub(super) fn and(&self, other: &Self) -> Self {
        let filter = vec![self.0.clone(), other.0.clone()];
        Self(Node::Bool { filter, must_not: Vec::new(), should: Vec::new(), least: 0 })
    }

    /// What it means when.
    pub(super) fn moments(&self) -> Vec<Moment> {
        let bounds = self.bounds();
        let ever = Spans::always().hull();
        let starts = std::iter::once(ever.start).chain(bounds.iter().copied());
        let ends = bounds.iter().copied().chain([ever.end]);
        let mut moments: Vec<(Filter, Vec<Range<i64>>)> = Vec::new();
        for (start, end) in starts.zip(ends) {
            let filter = self.0.at(start);
            if filter == Filter::MatchNone {
                continue;
            }
            let at = moments.iter().position(|(known, _)| *known == filter).unwrap_or_else(|| {
                moments.push((filter, Vec::new()));
                moments.len() - 1
            });
            moments[at].1.push(start..end);
        }
        moments.into_iter().map(|(filter, times)| Moment { filter, times: times.into_iter().collect() }).collect()
    }

    /// When it means anything.
    pub(super) fn times(&self) -> Spans {
        self.moments().iter().flat_map(|moment| moment.times.ranges().iter().cloned()).collect()
    }
}

fn node(filter: &Filter, date_field: &str, now: i64) -> Result<Node, FilterError> {
    let field = match filter {
        Filter::MatchAll | Filter::MatchNone => return Ok(Node::Other(filter.clone())),
        Filter::Bool(BoolFilter { filter, must_not, should, minimum_should_match }) => {
            let nodes = |filters: &[Filter]| -> Result<Vec<Node>, FilterError> {
                filters.iter().map(|filter| node(filter, date_field, now)).collect()
            };
            let (filter, must_not, should) = (nodes(filter)?, nodes(must_not)?, nodes(should)?);
            return Ok(Node::Bool { filter, must_not, should, least: *minimum_should_match });
        }
        Filter::Term { field, .. }
        | Filter::Terms { field, .. }
        | Filter::Range { field, .. }
        | Filter::Exists { field }
        | Filter::Prefix { field, .. } => field,
    };
    if field != date_field {
        return Ok(Node::Other(filter.clone()));
    }
    let times = match filter.select(now, &|_| Some(FilterField::Date))? {
        Selection::All => Spans::always(),
        Selection::Values { values: ValueSet::Integers(ranges), .. } => {
            let instant =
                |value: i128| i64::try_from(value.clamp(i64::MIN.into(), i64::MAX.into())).unwrap_or(i64::MAX);
            let ranges = ranges.iter().map(|range| instant(*range.start())..instant(range.end() + 1));
            ranges.collect()
        }
        Selection::Values { .. }
        | Selection::None
        | Selection::Not(_)
        | Selection::AllOf(_)
        | Selection::AtLeast(..) => Spans::default(),
    };
    Ok(Node::Dates(times))
}

impl Node {
    fn collect_bounds(&self, bounds: &mut Vec<i64>) {
        match self {
            Self::Other(_) => {}
            Self::Dates(times) => bounds.extend(times.ranges().iter().flat_map(|range| [range.start, range.end])),
            Self::Bool { filter, must_not, should, .. } => {
                filter.iter().chain(must_not).chain(should).for_each(|node| node.collect_bounds(bounds));
            }
        }
    }

    fn moved(&self, to: MoveBound<'_>, is_negated: bool) -> Self {
        match self {
            Self::Other(filter) => Self::Other(filter.clone()),
            Self::Dates(times) => {
                let sides = if is_negated { [Side::End, Side::Begin] } else { [Side::Begin, Side::End] };
                let moved = times.ranges().iter().map(|range| to(range.start, sides[0])..to(range.end, sides[1]));
                Self::Dates(moved.collect())
            }
            Self::Bool { filter, must_not, should, least } => {
                let all = |nodes: &[Self], is_negated| nodes.iter().map(|node| node.moved(to, is_negated)).collect();
                Self::Bool {
                    filter: all(filter, is_negated),
                    must_not: all(must_not, !is_negated),
                    should: all(should, is_negated),
                    least: *least,
                }
            }
        }
    }

    /// What the filter is at an instant.
    fn at(&self, instant: i64) -> Filter {
        match self {
            Self::Other(filter) => filter.clone(),
            Self::Dates(times) if times.contain(instant) => Filter::MatchAll,
            Self::Dates(_) => Filter::MatchNone,
            Self::Bool { filter, must_not, should, least } => {
                let all = |nodes: &[Self]| nodes.iter().map(|node| node.at(instant)).collect::<Vec<_>>();
                simple(all(filter), all(must_not), all(should), *least)
            }
        }
    }
}

/// Conditions that hold together, without those that always or never do.
fn simple(mut filter: Vec<Filter>, mut must_not: Vec<Filter>, mut should: Vec<Filter>, least: usize) -> Filter {
    if filter.contains(&Filter::MatchNone) || must_not.contains(&Filter::MatchAll) {
        return Filter::MatchNone;
    }
    filter.retain(|filter| *filter != Filter::MatchAll);
    must_not.retain(|filter| *filter != Filter::MatchNone);
    let certain = should.iter().filter(|filter| **filter == Filter::MatchAll).count();
    should.retain(|filter| !matches!(filter, Filter::MatchAll | Filter::MatchNone));
    let least = least.saturating_sub(certain);
    if least > should.len() {
        return Filter::MatchNone;
    }
    if least == 0 {
        should.clear();
    }
    match (filter.len(), must_not.is_empty() && should.is_empty()) {
        (0, true) => Filter::MatchAll,
        (1, true) => filter.remove(0),
        _ => Filter::Bool(BoolFilter { filter, must_not, should, minimum_should_match: least }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterRange;

    fn at(from: i64, to: i64) -> Filter {
        Filter::range("at", FilterRange::new().at_least(from).below(to))
    }

    #[test]
    fn a_filter_is_cut_where_its_dates_begin_and_end() {
        let node = || Filter::term("node", "a");
        let filter = Filter::all_of([at(0, 100), Filter::any_of([at(50, 200), node()])]);
        let timed = Timed::of(&filter, "at", 0).unwrap();
        assert_eq!(timed.bounds(), [0, 50, 100, 200]);
        let moments = timed.moments();
        let found: Vec<_> = moments.iter().map(|moment| (&moment.filter, moment.times.hull())).collect();
        let only_a = Filter::any_of([node()]);
        assert_eq!(found, [(&only_a, 0..50), (&Filter::MatchAll, 50..100)]);
        let not = Timed::of(&Filter::none_of([at(0, 10)]), "at", 0).unwrap();
        assert_eq!(not.times().ranges(), [i64::MIN..0, 10..i64::MAX]);
    }

    #[test]
    fn bounds_are_moved_outwards_whichever_way_they_are_said() {
        let out = |bound: i64, side| match side {
            Side::Begin => bound.div_euclid(10) * 10,
            Side::End => -(-bound).div_euclid(10) * 10,
        };
        let inside = Timed::of(&at(13, 27), "at", 0).unwrap().moved(&out);
        assert_eq!(inside.times(), Spans::one(10..30));
        let outside = Timed::of(&Filter::none_of([at(13, 47)]), "at", 0).unwrap().moved(&out);
        assert_eq!(outside.times().ranges(), [i64::MIN..20, 40..i64::MAX]);
    }
}
