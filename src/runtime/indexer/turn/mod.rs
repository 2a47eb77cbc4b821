//! A turn: pages until stop, time up or no data; then commit, save, publish. Every way out publishes.

mod noting;
mod opening;
mod paging;
mod recounting;
mod repairing;
mod retaining;
mod rewinding;
mod sampling;

use std::cell::Cell;
use std::time::Duration;

use crate::engine::{Batch, EngineError, EngineErrorKind, GivenUp, PageStream, RollupWriter};
use crate::guard::{discard, guarded, texts_of};
use crate::job::{Phase, Progress, RepairWhen};
use crate::lifecycle::{EndOfTurn, Published};
use crate::observer::{RunOutcome, TurnEnded};
use crate::rollup::RolledUpPage;
use crate::runtime::back_off::back_off;
use crate::runtime::indexer::run::{AfterMerge, Run, Stage};
use crate::runtime::job::Job;
use crate::runtime::pool::Pulse;
use crate::scan::Times;
use crate::store::StoreError;
use crate::sync::{Arc, yield_now};

/// Takes the job's next turn, if it still wants one.
pub(in crate::runtime) fn take(job: &Arc<Job>, pulse: &Pulse<'_>) {
    let Some(run) = job.lifecycle.take_turn(job.runtime.clock.monotonic()) else { return };
    let ended = Ended { job, is_published: Cell::new(false) };
    let mut turn = Turn::new(job, run, pulse, &ended.is_published);
    let end = match guarded(|| turn.work()) {
        Ok(Ok(end)) => end,
        Ok(Err(failure)) => turn.fail(failure),
        Err(panic) => turn.panicked(&panic),
    };
    let discarded = std::mem::take(&mut turn.discarded);
    turn.finish(end);
    if job.lifecycle.is_shutting_down() {
        // There will be no later.
        job.save_stop();
    } else {
        job.save_stop_later();
    }
    // Before the observers, who may take long: an engine's memory budget may hang on it. Foreign code may panic as it
    // is dropped. And after those whom the turn's end has woken: the kernel may have queued them behind this very
    // thread.
    yield_now();
    discard(discarded);
    job.deliver(pulse);
}

/// Publishes that a turn is over even if it unwinds. What is foreign in it is guarded, so that this is for bugs of
/// ours.
struct Ended<'a> {
    job: &'a Job,
    is_published: Cell<bool>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if !self.is_published.get() {
            self.job.lifecycle.turn_was_lost(self.job.runtime.clock.monotonic());
        }
    }
}

struct Turn<'a> {
    job: &'a Arc<Job>,
    pulse: &'a Pulse<'a>,
    run: Box<Run>,
    /// As of the last document that was accepted.
    progress: Progress,
    writer: Option<Box<dyn RollupWriter>>,
    phase: Phase,
    discarded: Discarded,
    /// Whether the rollup index has taken new settings, which the record says.
    has_redefined: bool,
    /// Whether the turn has found that everything is rolled up, which was known.
    is_idle: bool,
    is_published: &'a Cell<bool>,
}

/// What a turn has no use for any more. Freeing it can take milliseconds, which nobody who waits for a stop should
/// wait for: it is dropped after the turn's end was published.
#[derive(Default)]
struct Discarded {
    page: Option<RolledUpPage>,
    stream: Option<Box<dyn PageStream>>,
    /// What the writer has given up.
    rest: Option<Box<dyn Send>>,
}

/// Why a turn cannot go on.
struct TurnError {
    transient: bool,
    /// How long the engine has asked to be left alone.
    retry_after: Option<Duration>,
    /// What was accepted before is worth a commit.
    keep: bool,
    chain: Vec<String>,
    phase: Phase,
}

impl TurnError {
    /// Of what the store has answered.
    fn of_store(error: &StoreError, phase: Phase) -> Self {
        let (transient, chain) = (error.is_transient(), texts_of(error));
        Self { transient, retry_after: None, keep: false, chain, phase }
    }
}

/// How the pages of a turn ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Exhausted,
    /// The turn's time is up, or somebody asked for a stop.
    Interrupted,
}

impl<'a> Turn<'a> {
    fn new(job: &'a Arc<Job>, mut run: Box<Run>, pulse: &'a Pulse<'a>, is_published: &'a Cell<bool>) -> Self {
        run.turns += 1;
        if run.turns == 1 {
            run.committed = Progress::clone(&job.lifecycle.view().progress);
        }
        let mut progress = run.committed.clone();
        progress.sequence += 1;
        let (phase, discarded) = (Phase::Searching, Discarded::default());
        Self {
            job,
            pulse,
            run,
            progress,
            writer: None,
            phase,
            discarded,
            has_redefined: false,
            is_idle: false,
            is_published,
        }
    }

    fn work(&mut self) -> Result<EndOfTurn, TurnError> {
        if self.job.runtime.owner.lost().is_some() {
            // Which its end finds out too, and publishes.
            return Ok(EndOfTurn::Continue);
        }
        if let Stage::Opening { is_gone } = self.run.stage {
            if let Err(failure) = self.open(is_gone) {
                self.progress.stats.search_failures += 1;
                return Err(failure);
            }
            self.run.is_exhausted = self.repairs_last() && self.knows_everything();
            let begins_with_pages = self.repairs_last() && !self.run.is_exhausted;
            self.run.stage = if begins_with_pages { Stage::Paging } else { Stage::Repairing };
        }
        if let Stage::Merging { next } = self.run.stage {
            self.merge();
            self.run.stage = if next == AfterMerge::Repair { Stage::Repairing } else { Stage::Paging };
            let is_over = next == AfterMerge::End;
            return Ok(if is_over { EndOfTurn::Over(RunOutcome::Finished) } else { EndOfTurn::Continue });
        }
        if self.run.stage == Stage::Repairing {
            if let Some(end) = self.repair()? {
                return Ok(end);
            }
            if std::mem::take(&mut self.run.repair.wants_merge) {
                let next = if self.run.is_exhausted { AfterMerge::End } else { AfterMerge::Page };
                self.run.stage = Stage::Merging { next };
                return Ok(EndOfTurn::Continue);
            }
            self.run.stage = Stage::Paging;
            self.is_idle = self.knows_everything();
            if self.run.is_exhausted || self.is_idle {
                return Ok(EndOfTurn::Over(RunOutcome::Finished));
            }
        }
        let pages = match self.pages() {
            Ok(pages) => pages,
            Err(failure) if failure.keep => {
                if let Err(commit_failure) = self.settle().and_then(|_| self.commit()) {
                    self.note_error(failure);
                    return Err(commit_failure);
                }
                return Err(failure);
            }
            Err(failure) => {
                self.discard();
                return Err(failure);
            }
        };
        // What a stop makes the writer give up is not rolled up.
        let exhausted = self.settle()? && pages == Pages::Exhausted;
        if exhausted && !self.run.has_no_source {
            self.progress.cover(self.run.boundary);
        }
        let wants_merge = self.commit()?;
        self.run.is_exhausted = exhausted;
        let next = match exhausted {
            false => AfterMerge::Page,
            true if self.repairs_last() => AfterMerge::Repair,
            true => AfterMerge::End,
        };
        if wants_merge {
            self.run.stage = Stage::Merging { next };
        } else if next == AfterMerge::Repair {
            self.run.stage = Stage::Repairing;
        } else if next == AfterMerge::End {
            return Ok(EndOfTurn::Over(RunOutcome::Finished));
        }
        Ok(EndOfTurn::Continue)
    }

    /// Whether what is new comes before what has changed.
    fn repairs_last(&self) -> bool {
        self.run.context.config().late_data().repair_when() == RepairWhen::AfterRun
    }

    /// Whether no date bucket has become complete since a run has rolled all of them up, and that is saved.
    fn knows_everything(&self) -> bool {
        let known = &self.job.lifecycle.view().progress;
        let is_known =
            known.position == self.progress.position && known.rolled_up_until == self.progress.rolled_up_until;
        is_known
            && !self.has_redefined
            && known.inherited == self.progress.inherited
            && known.stats.late_documents() == self.progress.stats.late_documents()
            && !self.run.repair.has_replaced
            && self.run.turns == 1
            && self.progress.rolled_up_until >= Some(self.run.boundary)
    }

    fn merge(&mut self) {
        self.enter(Phase::Merging);
        if let Err(error) = self.job.runtime.rollup_index.merge(&self.run.context, &self.run.signal)
            && !error.is_cancelled()
        {
            // The documents are as they were, so the run goes on.
            self.job.note_error(self.run.number, Phase::Merging, error.is_transient(), texts_of(&error));
        }
    }

    /// Has the writer do what takes long of a commit. Says whether everything that was written is still to be
    /// committed.
    fn settle(&mut self) -> Result<bool, TurnError> {
        if self.writer.is_none() {
            return Ok(true);
        }
        self.enter(Phase::Committing);
        match self.writer.as_mut().map_or(Ok(None), |writer| writer.settle(&self.run.signal)) {
            Ok(None) => Ok(true),
            Ok(Some(GivenUp { back_to, rest })) => {
                // The stream is ahead of what is left.
                self.discarded.stream = self.run.stream.take();
                self.discarded.rest = Some(rest);
                if back_to.is_none() {
                    self.writer = None;
                }
                self.go_back_to(&back_to.unwrap_or_else(|| self.run.committed.clone()));
                Ok(false)
            }
            Err(error) => Err(self.failed_commit(&error)),
        }
    }

    fn failed_commit(&mut self, error: &EngineError) -> TurnError {
        self.progress.stats.index_failures += 1;
        let failure = self.reopen(error);
        self.discard();
        failure
    }

    fn go_back_to(&mut self, progress: &Progress) {
        self.progress.stats = self.progress.stats.rolled_back_to(&progress.stats);
        self.progress.go_to(progress);
    }

    /// Makes durable what was written. Says whether the engine wants to merge.
    fn commit(&mut self) -> Result<bool, TurnError> {
        let Some(writer) = self.writer.take() else { return Ok(false) };
        match writer.commit(&self.progress) {
            Ok(report) => {
                // An empty commit is no progress: a page whose first document is rejected again and again has to end
                // the run.
                if self.progress.position != self.run.committed.position {
                    self.run.failures = 0;
                }
                self.has_committed();
                Ok(report.wants_merge)
            }
            Err(error) => Err(self.failed_commit(&error)),
        }
    }

    /// Removes what is rolled up in these date buckets, in a commit of its own: this is the progress then. `false`, and
    /// nothing has changed, if the rollup index does not do that.
    fn remove(&mut self, buckets: Times, progress: Progress) -> Result<bool, TurnError> {
        let (index, context) = (&self.job.runtime.rollup_index, &self.run.context);
        self.job.note_replacement(buckets.ranges());
        let removed =
            index.begin(context, &Batch::Replace(buckets.clone())).and_then(|writer| writer.commit(&progress));
        self.job.note_replacement(buckets.ranges());
        match removed {
            Ok(_) => {}
            Err(error) if error.kind() == EngineErrorKind::Unsupported => return Ok(false),
            Err(error) => return Err(self.reopen(&error)),
        }
        self.progress = progress;
        self.has_committed();
        Ok(true)
    }

    /// What is rolled up by now is in the rollup index.
    fn has_committed(&mut self) {
        self.progress.last_commit = self.progress.sequence;
        self.run.committed = self.progress.clone();
    }

    /// The next try asks the engine how far it is: whether what failed took place is not known.
    fn reopen(&mut self, error: &EngineError) -> TurnError {
        // If the rollup index is gone the next try prepares it again.
        let is_gone = error.kind() == EngineErrorKind::NotFound;
        self.run.stage = Stage::Opening { is_gone };
        let failure = self.failure(error);
        TurnError { transient: failure.transient || is_gone, ..failure }
    }

    /// Goes back to what is durable.
    fn discard(&mut self) {
        let written = self.writer.take().is_some() || self.progress.position != self.run.committed.position;
        self.go_back_to(&self.run.committed.clone());
        if written {
            self.run.stream = None;
        }
    }

    fn fail(&mut self, failure: TurnError) -> EndOfTurn {
        let transient = failure.transient;
        self.run.retry_after = failure.retry_after.unwrap_or_default();
        self.note_error(failure);
        self.run.failures += 1;
        if transient && self.run.failures < self.job.runtime.settings.retry_attempts {
            EndOfTurn::BackOff
        } else {
            EndOfTurn::Over(RunOutcome::Failed)
        }
    }

    fn panicked(&mut self, panic: &str) -> EndOfTurn {
        // What is left of the engine's objects may panic again when it is dropped.
        let (writer, stream, slice) = (self.writer.take(), self.run.stream.take(), self.run.repair.slice.take());
        discard((writer, stream, slice));
        self.discard();
        let chain = vec![format!("the engine panicked: {panic}")];
        self.fail(TurnError { transient: false, retry_after: None, keep: false, chain, phase: self.phase })
    }

    /// Saves and publishes: first on disk, then for everybody to see.
    fn finish(self, end: EndOfTurn) {
        let Self { job, pulse, mut run, progress, is_idle, is_published, .. } = self;
        let (runtime, number) = (&job.runtime, run.number);
        run.committed = progress.clone();
        let turn = TurnEnded {
            run: number,
            turn: run.turns,
            position: progress.position.clone(),
            stats: progress.stats.clone(),
        };
        let (mut turn, progress) = (Some(turn), (!is_idle).then_some(&progress));
        loop {
            let (snapshot, is_stop) =
                job.lifecycle.end_of_turn(end, progress, runtime.clock.monotonic(), &runtime.revisions);
            pulse.beat(runtime.clock.monotonic());
            let saved = snapshot.map_or(Ok(()), |snapshot| job.save(snapshot));
            match &saved {
                Ok(()) => turn.take().into_iter().for_each(|turn| job.lifecycle.note_turn(turn)),
                Err(error) => job.note_error(number, Phase::Saving, error.is_transient(), texts_of(error)),
            }
            let end = run.after_save(&saved, end, &runtime.settings);
            if matches!(end, EndOfTurn::BackOff | EndOfTurn::Pause) || runtime.pool.is_busy() {
                run.park();
            }
            let (failures, retry_after) = (run.failures.max(run.unsaved), run.retry_after);
            let published = job.lifecycle.publish(run, end, is_stop, &saved, runtime.clock.monotonic());
            is_published.set(!matches!(published, Published::Again(_)));
            discard(saved);
            match published {
                Published::Again(again) => run = again,
                Published::Queued { push } => return job.enqueue_if(push),
                Published::BackingOff => {
                    let pause = match end {
                        EndOfTurn::BackOff => back_off(&runtime.settings, failures, (job.id(), number)),
                        _ => Duration::ZERO,
                    };
                    return job.back_off(number, pause.max(retry_after));
                }
                Published::Over(run) => {
                    discard(run);
                    return job.go_on_after(end);
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        let now = self.job.runtime.clock.monotonic();
        self.phase = phase;
        self.job.lifecycle.enter(phase, now);
        self.pulse.beat(now);
    }

    fn failure(&self, error: &EngineError) -> TurnError {
        // An engine that gives a call up though nobody asked it to may well do it the next time.
        let transient = error.is_transient() || error.is_cancelled();
        TurnError {
            transient,
            retry_after: error.retry_after(),
            keep: false,
            chain: texts_of(error),
            phase: self.phase,
        }
    }

    fn note_error(&self, failure: TurnError) {
        self.job.note_error(self.run.number, failure.phase, failure.transient, failure.chain);
    }

    fn note(&self, text: String) {
        self.job.note(self.run.number, text);
    }
}
