//! Which tier answers which stretch of time: what a job has rolled up where that is proved to be the same, raw
//! documents elsewhere.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;

use super::candidate::Candidate;
use super::choice::Question;
use super::moments::Timed;
use super::spans::Spans;
use super::why_not::{Obstacle, WhyNot};
use crate::job::Rounding;

/// Of which parts an answer is made, in the order of time: each instant that the search is about is in one of them.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct SearchPlan {
    /// The parts.
    pub parts: Vec<PlanPart>,
    /// The job whose rolled-up documents serve, if one does.
    pub job_id: Option<String>,
    /// Why other jobs do not serve, or none.
    pub why_not: Vec<WhyNot>,
}

/// A stretch of time, and where its documents are read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlanPart {
    /// Where it begins, in milliseconds since 1970. `None`: there is no earlier one.
    pub from: Option<i64>,
    /// Where it ends; that instant is not in it. `None`: there is no later one.
    pub until: Option<i64>,
    /// Where its documents are read.
    pub tier: Tier,
    /// Why there.
    pub reason: PartReason,
}

/// Such as `raw from 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z: not_rolled_up_yet`.
impl fmt::Display for PlanPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.tier.as_str(), shown(self.from, self.until), self.reason)
    }
}

/// A stretch of time: ` from 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z`.
pub(super) fn shown(from: Option<i64>, until: Option<i64>) -> String {
    let at = |instant: i64| Timestamp::from_millisecond(instant).unwrap_or(Timestamp::MAX);
    let end = |word: &str, end: Option<i64>| end.map_or_else(String::new, |end| format!(" {word} {}", at(end)));
    end("from", from) + &end("until", until)
}

/// Where documents are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// In the source indices.
    Raw,
    /// Among what a job has rolled up.
    RolledUp,
}

impl Tier {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RolledUp => "rolled_up",
        }
    }
}

/// Why a stretch of time is read where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartReason {
    /// It is rolled up, and what is asked for is proved to be the same.
    Proved,
    /// It is rolled up, and raw documents are gone since. Nobody has said that this is meant.
    Shrunk,
    /// Another system has rolled it up, or an earlier version of this crate, and nobody has held it against raw
    /// documents since: see [`verify`](crate::RollupJobManager::verify).
    Inherited,
    /// It is not rolled up yet.
    NotYet,
    /// It was sealed before it could be rolled up.
    TooEarly,
    /// A bound of the search lies in the middle of this date bucket.
    Bound,
    /// Documents here were changed, or came late, after they were rolled up.
    Changed,
    /// Clocks were set back over midnight, and a stretch of time belongs to two days.
    ClocksSetBack,
    /// No job serves the search.
    NoJob,
}

impl PartReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Shrunk => "shrunk",
            Self::Inherited => "inherited",
            Self::NotYet => "not_rolled_up_yet",
            Self::TooEarly => "before_what_is_rolled_up",
            Self::Bound => "bound_inside_bucket",
            Self::Changed => "changed",
            Self::ClocksSetBack => "clocks_set_back",
            Self::NoJob => "no_job_serves",
        }
    }
}

impl fmt::Display for PartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What of a job's coverage serves a search.
#[derive(Debug, Clone)]
pub(super) struct Served {
    /// Whole date buckets.
    pub(super) rolled_up: Spans,
    /// What of the coverage is read raw all the same.
    pub(super) holes: Vec<(Range<i64>, PartReason)>,
    /// Those of them that have lost raw documents since.
    pub(super) shrunk: Spans,
    /// Those of them that another system has rolled up.
    pub(super) inherited: Spans,
    /// From where and until when all is rolled up, as far as the search is about it.
    pub(super) covered: Range<i64>,
}

impl Served {
    /// Nothing is rolled up.
    pub(super) fn nothing() -> Self {
        let covered = i64::MIN..i64::MIN;
        let nothing = Spans::default();
        Self { rolled_up: nothing.clone(), holes: Vec::new(), shrunk: nothing.clone(), inherited: nothing, covered }
    }

    /// What of a candidate's rolled-up documents serves a search within a stretch of time.
    pub(super) fn of(candidate: &Candidate, question: &Question<'_>) -> Result<Self, WhyNot> {
        let Question { tree, bounds, within, now } = question;
        let job = candidate.context.config().rounding();
        let Some(until) = candidate.progress.rolled_up_until() else { return Ok(Self::nothing()) };
        // A clock that was ahead has rolled up what is not over yet.
        let until = until.as_millisecond().min(job.round_down(*now));
        let from = candidate.progress.rolled_up_from.map_or(i64::MIN, |from| round_up(job, from));
        let start = if within.start == i64::MIN { from } else { from.max(round_up(job, within.start)) };
        let end = if within.end == i64::MAX { until } else { until.min(job.round_down(within.end)) };
        let whole = from..until;
        if start >= end {
            return Ok(Self { covered: whole, ..Self::nothing() });
        }
        let mut holes = Vec::new();
        // Before the first document there is nothing to prove.
        let first = candidate.first.map_or(end, |first| first.clamp(start, end));
        for (grid, place) in tree.grids() {
            let left_out = job
                .refines(grid, first..end)
                .map_err(|crossing| WhyNot::new(candidate.context.id(), place, Obstacle::Grid(crossing)))?;
            holes.extend(left_out.into_iter().map(|range| (range, PartReason::ClocksSetBack)));
        }
        for bound in bounds.iter().filter(|bound| whole.contains(*bound)).chain([&start, &end]) {
            holes.extend(hole_around(job, *bound).map(|range| (range, PartReason::Bound)));
        }
        let changed =
            candidate.changed.ranges().iter().map(|range| job.round_down(range.start)..round_up(job, range.end));
        holes.extend(changed.map(|range| (range, PartReason::Changed)));
        let gaps: Spans = holes.iter().map(|(range, _)| range.clone()).collect();
        let rolled_up = Spans::one(start..end).and(&gaps.others());
        let shrunk = rolled_up.and(&candidate.shrunk);
        let inherited: Spans = candidate.progress.inherited().iter().cloned().collect();
        let inherited = rolled_up.and(&inherited).and(&shrunk.others());
        Ok(Self { rolled_up, holes, shrunk, inherited, covered: whole })
    }

    /// The parts of a search, whose filter means something at these times.
    pub(super) fn parts(&self, times: &Spans, has_job: bool) -> Vec<PlanPart> {
        let mut parts: Vec<(Range<i64>, Tier, PartReason)> = Vec::new();
        let rolled_up = times.and(&self.rolled_up);
        let [shrunk, inherited] = [&self.shrunk, &self.inherited].map(|spans| rolled_up.and(spans));
        let proved = rolled_up.and(&shrunk.others()).and(&inherited.others());
        let reasons = [(proved, PartReason::Proved), (shrunk, PartReason::Shrunk), (inherited, PartReason::Inherited)];
        for (spans, reason) in reasons {
            parts.extend(spans.ranges().iter().map(|range| (range.clone(), Tier::RolledUp, reason)));
        }
        for range in times.and(&self.rolled_up.others()).ranges() {
            // One stretch of raw documents may have several reasons.
            let mut rest = range.start;
            while rest < range.end {
                let (until, reason) = self.reason_at(rest, has_job);
                let until = until.min(range.end);
                parts.push((rest..until, Tier::Raw, reason));
                rest = until;
            }
        }
        parts.sort_unstable_by_key(|(range, ..)| range.start);
        parts.dedup_by(|next, last| {
            let is_same = (last.1, last.2) == (next.1, next.2) && last.0.end == next.0.start;
            if is_same {
                last.0.end = next.0.end;
            }
            is_same
        });
        let (from, until) =
            (|range: &Range<i64>| Spans::end_of_time(range.start), |range: &Range<i64>| Spans::end_of_time(range.end));
        let part = |(range, tier, reason)| PlanPart { from: from(&range), until: until(&range), tier, reason };
        parts.into_iter().map(part).collect()
    }

    /// Why raw documents are read from an instant on, and until when that is the reason.
    fn reason_at(&self, instant: i64, has_job: bool) -> (i64, PartReason) {
        if !has_job {
            return (i64::MAX, PartReason::NoJob);
        }
        if instant >= self.covered.end {
            return (i64::MAX, PartReason::NotYet);
        }
        if instant < self.covered.start {
            return (self.covered.start, PartReason::TooEarly);
        }
        match self.holes.iter().find(|(range, _)| range.contains(&instant)) {
            Some((range, reason)) => (range.end.min(self.covered.end), *reason),
            None => {
                let next = self.holes.iter().map(|(range, _)| range.start).filter(|start| *start > instant).min();
                (next.unwrap_or(self.covered.end).min(self.covered.end), PartReason::Bound)
            }
        }
    }
}

/// The first boundary that is not before an instant.
pub(super) fn round_up(grid: &Rounding, instant: i64) -> i64 {
    if grid.round_down(instant) == instant { instant } else { grid.bucket(instant).end }
}

/// The date buckets that a bound of time divides.
fn hole_around(grid: &Rounding, bound: i64) -> Option<Range<i64>> {
    const NEAR: i64 = 3 * 86_400_000;
    if !Rounding::can_round(bound) {
        return None;
    }
    let near = bound.saturating_sub(NEAR)..bound.saturating_add(NEAR);
    let twice = grid.not_monotone(&near).find(|range| range.start < bound && bound < range.end);
    twice.or_else(|| {
        let bucket = grid.bucket(bound);
        (bucket.start < bound).then_some(bucket.start..bucket.end)
    })
}

/// All bounds of time anywhere in a search.
pub(super) fn bounds(filters: &[Timed]) -> Vec<i64> {
    let mut bounds: Vec<i64> = filters.iter().flat_map(Timed::bounds).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}
