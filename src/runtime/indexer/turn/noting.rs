//! Ranges whose rolled-up documents may not be those of one snapshot: the ledgers know of them before the first write
//! there does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Turn, TurnError};
use crate::engine::{self, SourceIndex};
use crate::job::{DateBucket, Dirty, KeyPart, Ledger, Phase, Position, Progress};
use crate::rollup::RolledUpPage;
use crate::runtime::LookError;
use crate::store::{StoreError, change_ledger};

impl Turn<'_> {
    /// The first page of a snapshot may add groups to a date bucket that has some of another.
    pub(super) fn note_bucket_of_two_snapshots(&mut self, page: &RolledUpPage) -> Result<(), TurnError> {
        let goes_on_in = self.progress.position.as_ref().and_then(Position::date);
        let (Some(start), Some(first)) = (goes_on_in, page.buckets().get(0)) else { return Ok(()) };
        if first.key.first() != Some(&KeyPart::Date(start)) {
            return Ok(());
        }
        let DateBucket { start, end } = self.run.context.config().rounding().bucket(start);
        self.note_dirty(&(start..end)).inspect_err(|_| self.run.stream = None)
    }

    /// Notes that this job has to look at documents in this range again. An engine that does not say which indices
    /// there are has nobody to tell.
    pub(super) fn note_dirty(&self, range: &Range<i64>) -> Result<(), TurnError> {
        let id = self.run.context.id();
        // A note that this run has taken up says nothing any more.
        let is_noted = |index: &str, ledger: &Ledger| {
            let open = self.progress.cured.open(index, ledger, id);
            open.iter().any(|open| open.start <= range.start && range.end <= open.end)
        };
        let noted = self.progress.source_indices.iter().try_for_each(|index| {
            self.job.runtime.store_call(|store| {
                if !is_noted(index, &store.ledger(index)?) {
                    change_ledger(store, index, |ledger| ledger.note_for_job(id, range.clone()))?;
                }
                Ok::<_, StoreError>(())
            })
        });
        noted.map_err(|error| TurnError::of_store(&error, Phase::Saving))
    }

    /// Looks for what has changed in the source indices, and at what was said of them, those too that no run has read
    /// yet: this one reads nothing before.
    pub(super) fn look_at_sources(&mut self) -> Result<(), TurnError> {
        let (job, runtime, context) = (self.job, &self.job.runtime, &self.run.context);
        job.find_ceiling(self.progress.reached(context.config()).unwrap_or(i64::MIN));
        runtime.find_ceilings();
        // What it finds, this run takes up.
        let looked = runtime.look(context, context.config().index_pattern(), &self.run.signal);
        looked.map_err(|error| self.failed_look(error))?;
        runtime.store_marks(false);
        // What comes from now on, and is read by this run, is noted for all others.
        job.raise_ceiling(self.run.boundary);
        let there = engine::indices_of(&*runtime.source, context, context.config().index_pattern());
        let mut names = there.map_err(|error| self.failure(&error))?;
        names.extend(self.progress.known_source_indices().map(str::to_owned));
        self.run.ledgers = self.ledgers_of(names)?;
        for (index, ledger) in &self.run.ledgers {
            // That nothing is forgotten is no harm.
            let _ = self.job.runtime.forget_notes(index, ledger, (self.job, &self.progress));
            self.progress.cured.settle(index, ledger, self.run.context.id());
        }
        if let Some(late) = job.lifecycle.take_late() {
            self.progress.stats.add_late(&late);
        }
        if let Some(verified) = job.lifecycle.take_verified() {
            self.own(&verified);
        }
        self.begin_behind_seals();
        self.recount()?;
        self.recount_inherited()?;
        self.verify_a_part()?;
        self.tell_what_has_changed(&self.run.ledgers);
        Ok(())
    }

    /// The run reads these source indices. Those that have come since it has looked, it reads in part only: what they
    /// have is noted before they count as read.
    pub(super) fn look_at_new(&self, found: &[SourceIndex]) -> Result<(), TurnError> {
        let is_known = |index: &SourceIndex| self.progress.known_source_indices().any(|known| known == index.name);
        if found.iter().all(is_known) {
            return Ok(());
        }
        let (runtime, context) = (&self.job.runtime, &self.run.context);
        let noticed = runtime.notice(context, context.config().index_pattern(), &self.run.signal);
        noticed.map_err(|error| self.failed_look(error))
    }

    pub(super) fn failed_look(&self, error: LookError) -> TurnError {
        match error {
            LookError::Engine(error) => self.failure(&error),
            LookError::Store(error) => TurnError::of_store(&error, Phase::Searching),
        }
    }

    /// Nothing is rolled up yet: where raw documents may be gone already it would be a part of what there was.
    fn begin_behind_seals(&mut self) {
        let Progress { position, rolled_up_from, rolled_up_until, .. } = &self.progress;
        if position.is_some() || rolled_up_until.is_some() {
            return;
        }
        let sealed = self.run.ledgers.values().flat_map(|ledger| &ledger.seals).map(|seal| seal.end).max();
        let begin = sealed.map(|end| self.run.context.config().rounding().bucket(end - 1).end);
        self.progress.rolled_up_from = begin.max(*rolled_up_from);
    }

    /// Has the job's health know whether anything rolled up has changed.
    pub(super) fn tell_what_has_changed(&self, ledgers: &BTreeMap<String, Ledger>) {
        let said = ledgers.iter().map(|(index, ledger)| (index.as_str(), ledger));
        let dirty = Dirty::of(self.run.context.config(), &self.progress, said);
        let oldest = [dirty.repairable, dirty.open, dirty.lost, dirty.inherited]
            .iter()
            .filter_map(|ranges| ranges.first())
            .map(|range| range.start)
            .min();
        self.job.lifecycle.note_changed(oldest, self.job.runtime.clock.monotonic());
    }

    /// A stream has been opened over this stretch of time. A date bucket that is rolled up in part is not read whole.
    pub(super) fn take_up_notes(&mut self, stretch: &Range<i64>) {
        let grid = self.run.context.config().rounding();
        let begun = self.progress.position.as_ref().and_then(Position::date);
        let from = begun.filter(|start| *start >= stretch.start).map_or(stretch.start, |start| grid.bucket(start).end);
        self.progress.take_up(&self.run.ledgers, &(from..i64::MAX));
    }

    /// What was said up to now of the source indices that the run has looked at.
    pub(super) fn ledgers(&self) -> Result<BTreeMap<String, Ledger>, TurnError> {
        self.ledgers_of(self.run.ledgers.keys().cloned().collect())
    }

    pub(super) fn ledgers_of(&self, names: BTreeSet<String>) -> Result<BTreeMap<String, Ledger>, TurnError> {
        let ledgers = self.job.runtime.ledgers_of(names);
        ledgers.map_err(|error| TurnError::of_store(&error, Phase::Searching))
    }
}
