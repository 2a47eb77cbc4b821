use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::RollupJobConfig;
use super::cured::Cured;
use super::ledger::Ledger;
use super::position::{KeyPart, Position};
use super::source_index::SourceIndex;
use super::stats::JobStats;
use crate::ranges::{all_without, merged, touch};

/// How far a job has come and what it did until then. A rollup index that commits documents and progress in one step
/// keeps it with the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The key of the last bucket that was written; none before the first.
    pub position: Option<Position>,
    /// The first instant (milliseconds since 1970) from which on everything is rolled up. `None`: there is no earlier
    /// one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_up_from: Option<i64>,
    /// What was rolled up before this instant (milliseconds since 1970) was removed, since the job keeps nothing that
    /// is as old: it is to be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<i64>,
    /// The instant (milliseconds since 1970) before which every date bucket is rolled up. It is the start of a bucket,
    /// and goes back only behind a clock that was ahead. It is not the position's: that may lie inside a date bucket,
    /// and stays where it is while no documents come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_up_until: Option<i64>,
    /// No date bucket that is rolled up begins before, in milliseconds since 1970. `None`: there is none, or if there
    /// is a position, nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bucket: Option<i64>,
    /// Grows with every turn: of two that have one position, the higher one knows more.
    #[serde(default)]
    pub sequence: u64,
    /// The number that the last commit to the rollup index had. One whose own progress has a lower one was restored
    /// from a copy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_commit: u64,
    /// The statistics that belong to the position.
    pub stats: JobStats,
    /// The source indices that the last run has read, as far as the engine says which; if that was none, those of the
    /// run before.
    #[serde(default, alias = "sources", skip_serializing_if = "Vec::is_empty")]
    pub source_indices: Vec<String>,
    /// For those among them with documents that were rolled up, where these are, in milliseconds since 1970; it may be
    /// more than where they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_dates: BTreeMap<String, Range<i64>>,
    /// What tells each of them from another one that takes its name, as far as the engine says that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_identities: BTreeMap<String, String>,
    /// Where source indices that are gone had documents that were rolled up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Range<i64>>,
    /// The grouped fields of which some document that was rolled up had several values, so that it counts in several
    /// groups. `None`: nobody knows, and it may be any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub several_values: Option<BTreeSet<String>>,
    /// What another system has rolled up, or an earlier version of this crate, and nobody has held against raw
    /// documents since: stretches of time, in milliseconds since 1970. Whether their raw documents are still whole is
    /// not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Range<i64>>,
    /// Which notes of changes are taken up in what is rolled up.
    #[serde(default, skip_serializing_if = "Cured::is_empty")]
    pub cured: Cured,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Progress {
    /// Of a job that has written everything up to this position, and nothing behind it.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { rolled_up_until: position.date(), position: Some(position), ..Self::default() }
    }

    /// Of a job that another system has brought to this position.
    pub(crate) fn inherited_at(position: Position, config: &RollupJobConfig) -> Self {
        let end = position.date().map(|start| config.rounding().bucket(start).end);
        Self { inherited: end.map(|end| i64::MIN..end).into_iter().collect(), ..Self::at(position) }
    }

    /// What another system, or an earlier version of this crate, has rolled up.
    pub(crate) fn inherited(&self) -> Cow<'_, [Range<i64>]> {
        // The first format knew of no coverage, and of no source indices.
        match self.position.as_ref().and_then(Position::date) {
            Some(start) if self.rolled_up_until.is_none() => Cow::Owned(std::iter::once(i64::MIN..start).collect()),
            _ => Cow::Borrowed(&self.inherited),
        }
    }

    /// These date buckets have as many raw documents as they were rolled up from: it can be done again.
    pub(crate) fn own(&mut self, buckets: &[Range<i64>]) {
        self.inherited = all_without(self.inherited().into_owned(), buckets);
    }

    /// The instant before which every date bucket is rolled up, if any is.
    #[must_use]
    pub fn rolled_up_until(&self) -> Option<Timestamp> {
        // Of what the first format stored, the date bucket of the position is not known to be whole.
        let until = self.rolled_up_until.or_else(|| self.position.as_ref()?.date())?;
        Timestamp::from_millisecond(until).ok()
    }

    /// Everything before `until` is rolled up.
    pub(crate) fn cover(&mut self, until: i64) {
        if self.rolled_up_until.is_none() {
            self.inherited = self.inherited().into_owned();
        }
        self.rolled_up_until = self.rolled_up_until.max(Some(until));
    }

    /// Documents whose key is this one, and later ones, are rolled up.
    pub(crate) fn see_first(&mut self, key: &[KeyPart]) {
        if let Some(KeyPart::Date(start)) = key.first()
            && (self.position.is_none() || self.first_bucket.is_some())
        {
            self.first_bucket = Some(self.first_bucket.map_or(*start, |first| first.min(*start)));
        }
    }

    /// These are the first and the last key of documents that are rolled up now.
    pub(crate) fn write(&mut self, first: &[KeyPart], last: &[KeyPart], config: &RollupJobConfig) {
        self.see_first(first);
        let position = Position::of(config, last);
        // Its own date bucket may have more groups.
        position.date().into_iter().for_each(|start| self.cover(start));
        self.position = Some(position);
    }

    /// Of documents that are rolled up now, so much is known of several values. What is not known of some is not known
    /// of all, for good.
    pub(crate) fn see_several_values(&mut self, found: Option<BTreeSet<String>>) {
        let is_first = self.position.is_none() && self.rolled_up_until.is_none();
        let known = if is_first { Some(BTreeSet::new()) } else { self.several_values.take() };
        self.several_values = known.zip(found).map(|(known, found)| known.into_iter().chain(found).collect());
    }

    /// Whether this is the source index of its name that was read before, if one was.
    pub(crate) fn is_same(&self, found: &SourceIndex) -> bool {
        let known = self.source_identities.get(&found.name).zip(found.identity.as_ref());
        known.is_none_or(|(known, found)| known == found)
    }

    /// Of these source indices, which are all that there are, documents in these stretches of time are rolled up next.
    pub(crate) fn see_sources(&mut self, found: Vec<SourceIndex>) {
        let (mut still, mut dropped) = (BTreeMap::new(), std::mem::take(&mut self.dropped));
        let same: BTreeSet<&str> =
            found.iter().filter(|index| self.is_same(index)).map(|index| index.name.as_str()).collect();
        for (name, dates) in self.known_source_dates().into_owned() {
            if same.contains(name.as_str()) {
                still.insert(name, dates);
            } else {
                dropped.push(dates);
            }
        }
        (self.source_dates, self.dropped) = (still, merged(dropped));
        self.source_indices = found.iter().map(|index| index.name.clone()).collect();
        self.source_indices.sort_unstable();
        self.source_identities =
            found.iter().filter_map(|index| Some((index.name.clone(), index.identity.clone()?))).collect();
        for SourceIndex { name, dates, .. } in found.into_iter().filter(|index| !index.dates.is_empty()) {
            let known = self.source_dates.entry(name).or_insert_with(|| dates.clone());
            *known = known.start.min(dates.start)..known.end.max(dates.end);
        }
    }

    /// The source indices that have to do with what is rolled up.
    pub(crate) fn known_source_indices(&self) -> impl Iterator<Item = &str> {
        self.source_indices.iter().chain(self.source_dates.keys()).map(String::as_str)
    }

    /// Those of the source indices that have documents in a range that are rolled up; if none has, all of them.
    pub(crate) fn indices_within(&self, range: &Range<i64>) -> Vec<&str> {
        let within = self.source_dates.iter().filter(|(_, dates)| touch(dates, range)).map(|(name, _)| name.as_str());
        let within: Vec<&str> = within.collect();
        if within.is_empty() { self.source_indices.iter().map(String::as_str).collect() } else { within }
    }

    /// Where each source index has documents that are rolled up. Of what a former version noted, they may be anywhere.
    pub(crate) fn known_source_dates(&self) -> Cow<'_, BTreeMap<String, Range<i64>>> {
        if !self.source_dates.is_empty() {
            return Cow::Borrowed(&self.source_dates);
        }
        let until = self.rolled_up_until.max(self.position.as_ref().and_then(Position::date).map(|start| start + 1));
        let covered = self.rolled_up_from.unwrap_or(i64::MIN)..until.unwrap_or(i64::MIN);
        let all = self.source_indices.iter().map(|name| (name.clone(), covered.clone()));
        Cow::Owned(all.filter(|(_, dates)| !dates.is_empty()).collect())
    }

    /// What the ledgers of source indices say of a range is taken up in what is rolled up.
    pub(crate) fn take_up(&mut self, ledgers: &BTreeMap<String, Ledger>, range: &Range<i64>) {
        for (index, ledger) in ledgers {
            if ledger.notes.iter().chain(&ledger.shrunk).any(|note| touch(&note.range, range)) {
                self.cured.cure(index, range, ledger.last_number);
            }
        }
    }

    /// What `other` knows of the source indices.
    pub(crate) fn take_sources_of(&mut self, other: &Self) {
        self.source_indices.clone_from(&other.source_indices);
        self.source_dates.clone_from(&other.source_dates);
        self.source_identities.clone_from(&other.source_identities);
        self.dropped.clone_from(&other.dropped);
    }

    /// Goes back to `until`, the start of a date bucket: nothing from there on is rolled up.
    pub(crate) fn rewind_to(&mut self, until: i64, config: &RollupJobConfig) {
        self.own(std::slice::from_ref(&(until..i64::MAX)));
        self.rolled_up_until = Some(until);
        if self.position.as_ref().and_then(Position::date).is_some_and(|start| start >= until) {
            // Where the next run goes on is said by what is rolled up. This is behind nothing that is still there.
            let before = KeyPart::Date(config.rounding().round_down(until - 1));
            let rest = config.key_names().iter().skip(1).map(|_| KeyPart::Null);
            self.position = Some(Position::of(config, &std::iter::once(before).chain(rest).collect::<Vec<_>>()));
        }
    }

    /// Whether what a rollup index has committed is older than what was committed to it: it was restored from a copy.
    pub(crate) fn is_behind_itself(&self, committed: &Self) -> bool {
        committed.sequence < self.last_commit
    }

    /// What counts of this and of what was committed with documents: nothing, if there are none. With one position, who
    /// has the higher number knows of empty buckets that the other has not seen.
    pub(crate) fn or_committed(self, committed: Option<Self>) -> Self {
        match committed {
            Some(committed)
                if committed.position != self.position
                    || committed.sequence >= self.sequence
                    || self.is_behind_itself(&committed) =>
            {
                committed
            }
            // That there was nothing to roll up is no commit.
            None if self.position.is_some() => Self::default(),
            _ => self,
        }
    }

    /// Nothing that begins before `from`, the start of a date bucket, is rolled up any more.
    pub(crate) fn forget_before(&mut self, from: i64) {
        self.rolled_up_from = self.rolled_up_from.max(Some(from));
        self.kept_from = self.kept_from.max(Some(from));
        self.first_bucket = self.first_bucket.map(|first| first.max(from));
    }

    /// Whether a job that was at `earlier` can have come here without going back.
    pub(crate) fn goes_on_from(&self, earlier: &Self) -> bool {
        self.rolled_up_until() >= earlier.rolled_up_until() && self.sequence >= earlier.sequence
    }

    /// Goes where `other` is: position, coverage, and what is known of the documents there belong together.
    pub(crate) fn go_to(&mut self, other: &Self) {
        self.position.clone_from(&other.position);
        self.rolled_up_from = other.rolled_up_from;
        self.kept_from = other.kept_from;
        self.rolled_up_until = other.rolled_up_until;
        self.first_bucket = other.first_bucket;
        self.several_values.clone_from(&other.several_values);
        self.inherited.clone_from(&other.inherited);
        self.cured.clone_from(&other.cured);
    }

    /// The same for a job that has to begin from the start.
    pub(crate) fn without_position(&self) -> Self {
        Self {
            position: None,
            rolled_up_from: self.rolled_up_from,
            kept_from: self.kept_from,
            rolled_up_until: None,
            first_bucket: None,
            sequence: self.sequence + 1,
            last_commit: 0,
            stats: self.stats.rolled_back_to(&JobStats::default()),
            source_indices: self.source_indices.clone(),
            source_dates: BTreeMap::new(),
            source_identities: self.source_identities.clone(),
            dropped: Vec::new(),
            several_values: None,
            inherited: Vec::new(),
            cured: Cured::default(),
        }
    }
}
