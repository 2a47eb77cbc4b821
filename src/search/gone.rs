//! Where raw documents cannot be read: what would need them is refused, or asked for as a rounding.

use std::collections::BTreeSet;

use super::asked::{Asked, Readers};
use super::choice::Chosen;
use super::error::SearchFault;
use super::moments::{Side, Timed};
use super::plan::{SearchPlan, Served, Tier, round_up, shown};
use super::request::Edges;
use super::said::Said;
use super::spans::Spans;
use crate::job::Rounding;

/// Where raw documents cannot be read, and why.
pub(super) struct Gone {
    times: Spans,
    reason: String,
    /// They are not even asked for: outside of what is rolled up there is nothing.
    is_all: bool,
}

impl Gone {
    /// `None` if they are there. All that the jobs remember counts, also where none of them serves.
    pub(super) fn of(asked: &Asked, readers: &Readers<'_>, chosen: Option<&Chosen>, said: &Said) -> Option<Self> {
        if asked.raw.is_none() {
            let reason = "raw documents are not asked for: name the source indices as well, or instead".to_owned();
            return Some(Self { times: Spans::always(), reason, is_all: true });
        }
        let mut reasons = Vec::new();
        let mut times = said.sealed();
        if !times.is_empty() {
            reasons.push("raw documents that are sealed are gone".to_owned());
        }
        let mut missing = BTreeSet::new();
        let chosen = chosen.map(|chosen| &chosen.candidate.progress);
        // What the job does not keep any more is not missed.
        let kept_from = chosen.and_then(|progress| progress.kept_from).unwrap_or(i64::MIN);
        for progress in readers.same.iter().map(|job| &*job.progress).chain(chosen) {
            let dropped: Spans = progress.dropped.iter().cloned().collect();
            if !dropped.is_empty() {
                reasons.push("source indices that were rolled up were dropped".to_owned());
            }
            times = times.or(&dropped);
            for (name, dates) in &*progress.known_source_dates() {
                // Where those were is said by their seals, if they were sealed before they went.
                if !said.is_there(name) && !said.is_sealed(name) {
                    times = times.or(&Spans::one(dates.clone()));
                    missing.insert(name.clone());
                }
            }
        }
        if !missing.is_empty() {
            let names = missing.into_iter().collect::<Vec<_>>().join(", ");
            reasons.push(format!("source indices that are rolled up are not there any more: [{names}]"));
        }
        reasons.dedup();
        let times = times.and(&Spans::one(kept_from..i64::MAX));
        let reason = reasons.join("; ");
        (!times.is_empty()).then_some(Self { times, reason, is_all: false })
    }

    /// How bounds in the middle of a job's buckets are rounded, if that is asked for.
    pub(super) fn rounding(&self, edges: Edges, chosen: Option<&Chosen>) -> Option<RoundedBounds> {
        let grid = chosen?.candidate.context.config().rounding().clone();
        (edges != Edges::Exact).then(|| RoundedBounds { times: self.times.clone(), grid, edges })
    }

    /// Whether a search reads none of them.
    ///
    /// # Errors
    /// [`SearchFault::NotServed`] if it would have to.
    pub(super) fn check(
        self,
        filter: &Timed,
        chosen: Option<&Chosen>,
        plan: &mut SearchPlan,
    ) -> Result<(), SearchFault> {
        let nothing = Served::nothing();
        let served = chosen.map_or(&nothing, |chosen| &chosen.served);
        let within = if self.is_all && chosen.is_some() { Spans::one(served.covered.clone()) } else { Spans::always() };
        let needed = filter.times().and(&served.rolled_up.others()).and(&self.times).and(&within);
        if !needed.is_empty() {
            let mut raw = self.reason;
            if let Some(chosen) = chosen {
                let hull = needed.hull();
                let stretch = shown(Spans::end_of_time(hull.start), Spans::end_of_time(hull.end));
                let id = chosen.candidate.context.id();
                raw = format!(
                    "{raw}; those{stretch} are no whole buckets of rollup job [{id}]: where a bound lies inside of \
                     one, [edges] rounds it"
                );
            }
            return Err(SearchFault::NotServed { raw, why_not: plan.why_not.clone() });
        }
        if self.is_all {
            plan.parts.retain(|part| part.tier == Tier::RolledUp);
        }
        Ok(())
    }
}

/// Bounds where raw documents are gone, at the beginnings and ends of rolled-up buckets.
#[derive(Debug)]
pub(super) struct RoundedBounds {
    times: Spans,
    grid: Rounding,
    edges: Edges,
}

impl RoundedBounds {
    pub(super) fn of(&self, filter: &Timed) -> Timed {
        filter.moved(&|bound, side| self.moved(bound, side))
    }

    fn moved(&self, bound: i64, side: Side) -> i64 {
        if !self.times.contain(bound) || !Rounding::can_round(bound) {
            return bound;
        }
        match (self.edges, side) {
            (Edges::Exact, _) => bound,
            (Edges::Outer, Side::Begin) | (Edges::Inner, Side::End) => self.grid.round_down(bound),
            (Edges::Outer, Side::End) | (Edges::Inner, Side::Begin) | (Edges::Start, _) => round_up(&self.grid, bound),
        }
    }
}
