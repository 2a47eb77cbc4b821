use std::collections::BTreeMap;
use std::ops::Range;

use super::config::RollupJobConfig;
use super::ledger::Ledger;
use super::position::Position;
use super::progress::Progress;
use crate::ranges::{all_without, both, merged};

/// Date buckets that are rolled up, and whose source documents may have changed since: ranges of the instants at which
/// they begin, in order. What is sealed does not change any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// They can be rolled up again.
    pub(crate) repairable: Vec<Range<i64>>,
    /// Their documents are being changed at this moment.
    pub(crate) open: Vec<Range<i64>>,
    /// They cannot be rolled up any more: a source index of theirs is gone.
    pub(crate) lost: Vec<Range<i64>>,
    /// They have lost documents, and stay as they are until somebody says that this is meant.
    pub(crate) shrunk: Vec<Range<i64>>,
    /// What another system has rolled up of them may be all that there is: they can be rolled up again once a count has
    /// found as many raw documents.
    pub(crate) inherited: Vec<Range<i64>>,
}

impl Dirty {
    /// Those of a job, by what was said of its source indices.
    pub(crate) fn of<'l>(
        config: &RollupJobConfig,
        progress: &Progress,
        ledgers: impl Iterator<Item = (&'l str, &'l Ledger)> + Clone,
    ) -> Self {
        let covered = progress.covered();
        let buckets = |ranges: Vec<Range<i64>>| buckets_within(config, &covered, ranges);
        let said = ledgers.clone().flat_map(|(index, ledger)| progress.cured.open(index, ledger, config.id()));
        let changes = ledgers.clone().flat_map(|(_, ledger)| &ledger.open_changes).map(|change| change.range.clone());
        let shrunk = ledgers.clone().flat_map(|(index, ledger)| progress.cured.shrunk(index, ledger, config.id()));
        let (mut noted, open, mut shrunk) =
            (buckets(said.collect()), buckets(changes.collect()), buckets(shrunk.collect()));
        if noted.is_empty() && open.is_empty() && shrunk.is_empty() {
            return Self::default();
        }
        if config.late_data().trusts_deletes() {
            noted = merged(noted.into_iter().chain(std::mem::take(&mut shrunk)));
        } else {
            // Whoever asks this very job has seen it.
            let own = ledgers.clone().flat_map(|(index, ledger)| {
                let own = ledger.notes.iter().filter(|note| note.job_id.is_some() && note.is_about(config.id()));
                own.flat_map(move |note| progress.cured.open_of(index, ledger, note))
            });
            shrunk = all_without(shrunk, &buckets(own.collect()));
        }
        let sealed = buckets(ledgers.flat_map(|(_, ledger)| ledger.seals.iter().cloned()).collect());
        let dropped = buckets(progress.dropped.clone());
        let (open, shrunk) = (all_without(open, &sealed), all_without(shrunk, &sealed));
        let noted = all_without(all_without(noted, &sealed), &shrunk);
        let theirs = buckets(progress.inherited().into_owned());
        let inherited = merged([&noted, &open].into_iter().flat_map(|changed| both(changed, &theirs)));
        let (noted, open) = (all_without(noted, &theirs), all_without(open, &theirs));
        let lost = both(&noted, &dropped);
        Self { repairable: all_without(all_without(noted, &dropped), &open), open, lost, shrunk, inherited }
    }
}

/// The date buckets of which it is known that raw documents and what is rolled up of them may differ, or that some raw
/// documents are gone: there is nothing to compare. What is inherited is compared all the same. `missing` says where
/// there are none besides.
pub(crate) fn not_comparable(
    config: &RollupJobConfig,
    progress: &Progress,
    ledgers: &BTreeMap<String, Ledger>,
    missing: impl Iterator<Item = Range<i64>>,
) -> Vec<Range<i64>> {
    let said = ledgers.iter().map(|(name, ledger)| (name.as_str(), ledger));
    let Dirty { repairable, open, lost, shrunk, .. } = Dirty::of(config, progress, said);
    let seals = ledgers.values().flat_map(|ledger| ledger.seals.iter().cloned());
    let gone = seals.chain(progress.dropped.iter().cloned()).chain(missing).filter(|range| !range.is_empty());
    let gone = gone.map(|range| config.rounding().buckets_of(&range));
    merged(repairable.into_iter().chain(open).chain(lost).chain(shrunk).chain(gone))
}

impl Progress {
    /// From where and until when all is rolled up, but for what has changed.
    pub(crate) fn covered(&self) -> Range<i64> {
        let until = self.rolled_up_until.or_else(|| self.position.as_ref().and_then(Position::date));
        self.rolled_up_from.unwrap_or(i64::MIN)..until.unwrap_or(i64::MIN)
    }

    /// The end of the last date bucket of which anything is rolled up.
    pub(crate) fn reached(&self, config: &RollupJobConfig) -> Option<i64> {
        let begun = self.position.as_ref().and_then(Position::date);
        self.rolled_up_until.max(begun.map(|start| config.rounding().bucket(start).end))
    }
}

/// The date buckets of a job that have any instant of these ranges, as far as they begin within `covered`.
fn buckets_within(config: &RollupJobConfig, covered: &Range<i64>, ranges: Vec<Range<i64>>) -> Vec<Range<i64>> {
    let buckets = ranges.into_iter().filter(|range| !range.is_empty()).map(|range| {
        let buckets = config.rounding().buckets_of(&range);
        buckets.start.max(covered.start)..buckets.end.min(covered.end)
    });
    merged(buckets)
}
