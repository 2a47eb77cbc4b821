//! Repair: date buckets whose documents have changed are rolled up again, and take the place of the former ones in one
//! commit, with the note that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::{Turn, TurnError};
use crate::engine::{Batch, EngineError, EngineErrorKind, SourceIndex, left_out};
use crate::guard::discard;
use crate::job::{Dirty, LateDocuments, Ledger, LedgerNote, Phase, RepairWhen};
use crate::lifecycle::EndOfTurn;
use crate::ranges::{all_without, touch};
use crate::rollup::RolledUpPage;
use crate::runtime::indexer::repair::Slice;
use crate::scan::Times;

/// How much of a slice is rolled up again.
enum Progressed {
    Whole,
    /// The turn's time is up.
    Part,
    /// It is given up: a stop came, somebody else may own the jobs, or it cannot be repaired.
    GivenUp,
}

impl Turn<'_> {
    /// Replaces slice after slice, the newest first. `None` if nothing is left to replace; else how the turn ends.
    pub(super) fn repair(&mut self) -> Result<Option<EndOfTurn>, TurnError> {
        let clock = &self.job.runtime.clock;
        let turn_time = self.job.runtime.settings.turn_time;
        let time_up = clock.monotonic().saturating_add(turn_time);
        loop {
            let began = clock.monotonic();
            if self.run.repair.slice.is_none() && !self.begin_slice()? {
                return Ok(None);
            }
            match self.roll_up_again(time_up)? {
                Progressed::Whole => {}
                Progressed::Part => {
                    self.run.repair.took += clock.monotonic().saturating_sub(began);
                    // There is nothing to save.
                    self.is_idle = !self.run.repair.has_replaced && self.run.turns > 1;
                    return Ok(Some(EndOfTurn::Continue));
                }
                Progressed::GivenUp => {
                    self.give_up_slice();
                    if self.goes_on() {
                        continue;
                    }
                    return Ok(Some(EndOfTurn::Continue));
                }
            }
            let documents = self.run.repair.slice.as_ref().map_or(0, |slice| slice.documents);
            let Some(wants_merge) = self.put_in_place()? else { return Ok(Some(EndOfTurn::Continue)) };
            let now = clock.monotonic();
            let took = self.run.repair.adapt(now.saturating_sub(began), turn_time);
            // Once all are replaced: what is merged before would be replaced after it.
            self.run.repair.wants_merge |= wants_merge;
            self.run.retry_after = self.too_fast_by(documents, took);
            if !self.run.retry_after.is_zero() {
                return Ok(Some(EndOfTurn::Pause));
            }
            if !self.goes_on() || now >= time_up {
                return Ok(Some(EndOfTurn::Continue));
            }
        }
    }

    /// How much longer so many documents should have taken.
    fn too_fast_by(&self, documents: u64, took: Duration) -> Duration {
        let Some(most) = self.run.context.config().late_data().max_docs_per_second() else { return Duration::ZERO };
        Duration::from_micros(documents.saturating_mul(1_000_000) / u64::from(most)).saturating_sub(took)
    }

    fn goes_on(&self) -> bool {
        !self.run.signal.is_stopped() && !self.job.runtime.owner.has_lapsed()
    }

    /// Nothing of the slice is committed. Its writer goes at once: the next one may be another thread's.
    pub(super) fn give_up_slice(&mut self) {
        if let Some(Slice { stream, writer, .. }) = self.run.repair.slice.take() {
            discard(writer);
            self.discarded.stream = Some(stream);
        }
    }

    /// Begins to replace the newest date buckets that have changed. `false` if there are none.
    fn begin_slice(&mut self) -> Result<bool, TurnError> {
        if self.run.repair.is_over() || !self.goes_on() {
            return Ok(false);
        }
        self.enter(Phase::Repairing);
        // Before the snapshot: what is said later may be about what it does not have.
        let ledgers = self.ledgers()?;
        let repairable = self.repairable(&ledgers);
        if repairable.is_empty() {
            self.tell_what_has_changed(&ledgers);
            return Ok(false);
        }
        let (runtime, context) = (&self.job.runtime, &self.run.context);
        let times = self.run.repair.newest_of(&repairable, context.config().rounding());
        let (pattern, request) = (context.config().index_pattern(), context.scan_request().times(times.clone()));
        let stream = match runtime.source.scan(context, pattern, request, &self.run.signal) {
            Err(error) if error.is_cancelled() && self.run.signal.is_stopped() => return Ok(false),
            Err(error) => return Err(self.failed_to_read_again(&error)),
            Ok(stream) => stream,
        };
        self.job.note_replacement(times.ranges());
        let writer = match runtime.rollup_index.begin(context, &Batch::Replace(times.clone())) {
            Err(error) if error.kind() == EngineErrorKind::Unsupported => {
                self.run.repair.is_unsupported = true;
                return Ok(false);
            }
            Err(error) => return Err(self.failed_to_replace(&error)),
            Ok(writer) => writer,
        };
        self.run.repair.begin(Slice { times, ledgers, stream, writer, written: None, documents: 0, is_checked: false });
        Ok(true)
    }

    /// Where documents have changed that this run can roll up again.
    fn repairable(&self, ledgers: &BTreeMap<String, Ledger>) -> Vec<Range<i64>> {
        let (config, id) = (self.run.context.config(), self.run.context.id());
        let when_asked = config.late_data().repair_when() == RepairWhen::WhenAsked;
        let known = ledgers.iter().filter_map(|(name, ledger)| {
            // What is said while the run goes on is for the next one: this one is to end. What the job itself has said
            // is an end.
            let mut ledger = ledger.clone();
            let last = self.run.ledgers.get(name)?.last_number;
            let is_own = |note: &LedgerNote| note.job_id.as_deref() == Some(id);
            ledger.notes.retain(|note| is_own(note) || note.number <= last && !when_asked);
            Some((name.as_str(), ledger))
        });
        let known: Vec<_> = known.collect();
        let dirty = Dirty::of(config, &self.progress, known.iter().map(|(name, ledger)| (*name, ledger)));
        all_without(dirty.repairable, &self.run.repair.missing)
    }

    fn roll_up_again(&mut self, time_up: Duration) -> Result<Progressed, TurnError> {
        loop {
            if !self.goes_on() {
                return Ok(Progressed::GivenUp);
            }
            self.enter(Phase::Repairing);
            let Some(slice) = &mut self.run.repair.slice else { return Ok(Progressed::GivenUp) };
            slice.stream.lend_threads(1 + self.job.runtime.pool.idle());
            let page = match slice.stream.next_page(&self.run.signal) {
                Err(error) if error.is_cancelled() && self.run.signal.is_stopped() => return Ok(Progressed::GivenUp),
                Err(error) => return Err(self.failed_to_read_again(&error)),
                Ok(page) => page,
            };
            let (times, several) = (slice.times.clone(), slice.stream.several_values());
            let after = slice.written.as_ref().map(|(_, last)| last.clone());
            if !std::mem::replace(&mut slice.is_checked, true)
                && let Some(found) = slice.stream.source_indices()
            {
                self.look_at_new(&found).inspect_err(|_| self.give_up_slice())?;
                if self.lacks_sources(found, &times) {
                    return Ok(Progressed::GivenUp);
                }
            }
            self.progress.see_several_values(several);
            self.progress.stats.search_total += 1;
            if page.is_empty() {
                return Ok(Progressed::Whole);
            }
            let page = self.convert(page, after.as_deref(), &times)?;
            let is_whole = page.documents().len() == page.buckets().len();
            if !is_whole || !self.write_again(&page)? {
                return Ok(Progressed::GivenUp);
            }
            if self.job.runtime.clock.monotonic() >= time_up {
                return Ok(Progressed::Part);
            }
        }
    }

    fn failed_to_read_again(&mut self, error: &EngineError) -> TurnError {
        self.progress.stats.search_failures += 1;
        self.give_up_slice();
        self.failure(error)
    }

    /// Whether an index is not there any more that had documents of these date buckets: without it they would be
    /// replaced by less.
    fn lacks_sources(&mut self, found: Vec<SourceIndex>, times: &Times) -> bool {
        let same = found.iter().filter(|index| self.progress.is_same(index));
        let there: BTreeSet<&str> = same.map(|index| index.name.as_str()).collect();
        let grid = self.run.context.config().rounding();
        let known = self.progress.known_source_dates();
        let gone = known.iter().filter(|(name, _)| !there.contains(name.as_str()));
        let missing: Vec<Range<i64>> = gone.map(|(_, dates)| grid.buckets_of(dates)).collect();
        if missing.iter().any(|missing| times.ranges().iter().any(|range| touch(range, missing))) {
            self.run.repair.missing.extend(missing);
            self.note("what has changed is not rolled up again where source indices are missing".to_owned());
            return true;
        }
        let hull = times.ranges().first().zip(times.ranges().last());
        if let Some(gone) = hull.and_then(|(first, last)| self.see_sources(found, &(first.start..last.end))) {
            self.note(gone);
        }
        false
    }

    /// Writes a page. `false` if a stop made the engine end early.
    fn write_again(&mut self, page: &RolledUpPage) -> Result<bool, TurnError> {
        self.enter(Phase::Writing);
        self.progress.stats.index_total += 1;
        let documents = page.documents();
        let Some(slice) = &mut self.run.repair.slice else { return Ok(false) };
        let report = match slice.writer.write(documents, &self.run.signal) {
            Ok(report) => report,
            Err(error) => return Err(self.failed_to_replace(&error)),
        };
        let mut keys = page.buckets().iter().map(|bucket| bucket.key);
        if let Some(first) = keys.next() {
            let last = keys.last().unwrap_or(first).to_vec();
            let first = slice.written.take().map_or_else(|| first.to_vec(), |(first, _)| first);
            slice.written = Some((first, last));
            slice.documents += page.buckets().iter().map(|bucket| bucket.doc_count).sum::<u64>();
        }
        self.progress.stats.index_failures += report.rejected.len() as u64;
        if let Some(item) = report.rejected.iter().max_by_key(|item| !item.error.is_transient()) {
            let failure = self.failure(&item.error);
            self.give_up_slice();
            return Err(failure);
        }
        if let Some(out) = &report.left_out {
            self.note(left_out(out.documents, &out.reason));
        }
        Ok(report.taken == documents.len())
    }

    /// Commits what takes the place of the former documents. Says whether the engine wants to merge; `None` if a stop
    /// came before.
    fn put_in_place(&mut self) -> Result<Option<bool>, TurnError> {
        self.enter(Phase::Committing);
        let Some(slice) = &mut self.run.repair.slice else { return Ok(None) };
        match slice.writer.settle(&self.run.signal) {
            Ok(None) => {}
            // Half of it would be less than there was.
            Ok(Some(given_up)) => {
                self.discarded.rest = Some(given_up.rest);
                self.give_up_slice();
                return Ok(None);
            }
            Err(error) => return Err(self.failed_to_replace(&error)),
        }
        let Some(Slice { times, ledgers, writer, written, documents, .. }) = self.run.repair.slice.take() else {
            return Ok(None);
        };
        let mut replaced = self.progress.clone();
        for range in times.ranges() {
            replaced.take_up(&ledgers, &self.run.context.config().rounding().instants_of(range));
        }
        if let Some((first, _)) = &written {
            replaced.see_first(first);
        }
        replaced.stats.add_late(&LateDocuments { read_again: documents, ..LateDocuments::default() });
        let committed = writer.commit(&replaced);
        self.job.note_replacement(times.ranges());
        match committed {
            Ok(report) => {
                self.run.failures = 0;
                self.run.repair.count(&times, self.run.context.config().rounding());
                self.progress = replaced;
                self.has_committed();
                Ok(Some(report.wants_merge))
            }
            Err(error) => Err(self.failed_to_replace(&error)),
        }
    }

    fn failed_to_replace(&mut self, error: &EngineError) -> TurnError {
        self.progress.stats.index_failures += 1;
        self.give_up_slice();
        self.reopen(error)
    }
}
