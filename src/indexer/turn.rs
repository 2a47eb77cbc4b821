//! A turn: pages until stop, time up or no data; then commit, checkpoint, publish. Every way out publishes.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::document::{BLOCK, roll_up_until};
use super::pool::Pulse;
use super::run::{Run, Stage};
use super::{Job, Settings};
use crate::engine::{
    CommittedCheckpoint, EngineError, EngineErrorKind, Page, PageStream, RolledUpPage, RollupWriter, ScanRequest,
    WriteReport,
};
use crate::foreign::guarded;
use crate::job::{Checkpoint, JobError, KeyPart, Notice, Phase, Position};
use crate::lifecycle::{EndOfTurn, Published};
use crate::observer::{RunOutcome, TurnEnded};
use crate::sync::{Arc, yield_now};

/// Takes the job's next turn, if it still wants one.
pub(super) fn take(job: &Arc<Job>, pulse: &Pulse<'_>) {
    let Some(run) = job.lifecycle.take_turn(job.indexer.clock.monotonic()) else { return };
    let mut turn = Turn::new(job, run, pulse);
    let end = match guarded(|| turn.work()) {
        Ok(Ok(end)) => end,
        Ok(Err(failure)) => turn.fail(failure),
        Err(panic) => turn.panicked(&panic),
    };
    if matches!(end, EndOfTurn::BackOff) || job.indexer.pool.is_busy() {
        turn.park();
    }
    let unneeded = std::mem::take(&mut turn.unneeded);
    turn.finish(end);
    // Before the observers, who may take long: an engine's memory budget may hang on it. Foreign code may panic as it is dropped.
    // And after those whom the turn's end has woken: the kernel may have queued them behind this very thread.
    yield_now();
    let _ = guarded(|| drop(unneeded));
    job.deliver(pulse);
}

struct Turn<'a> {
    job: &'a Arc<Job>,
    pulse: &'a Pulse<'a>,
    run: Box<Run>,
    /// Position and statistics as of the last document that was accepted.
    progress: Checkpoint,
    writer: Option<Box<dyn RollupWriter>>,
    phase: Phase,
    unneeded: Unneeded,
}

/// What a turn has no use for any more. Freeing it can take milliseconds, which nobody who waits for a stop should wait for:
/// it is dropped after the turn's end was published.
#[derive(Default)]
struct Unneeded {
    page: Option<RolledUpPage>,
    stream: Option<Box<dyn PageStream>>,
}

/// Why a turn cannot go on.
struct Failure {
    transient: bool,
    /// How long the engine has asked to be left alone.
    retry_after: Option<Duration>,
    /// What was accepted before is worth a commit.
    keep: bool,
    chain: Vec<String>,
    phase: Phase,
}

/// How the pages of a turn ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Exhausted,
    /// The turn's time is up, or somebody asked for a stop.
    Interrupted,
}

impl<'a> Turn<'a> {
    fn new(job: &'a Arc<Job>, mut run: Box<Run>, pulse: &'a Pulse<'a>) -> Self {
        run.turns += 1;
        if run.turns == 1 {
            run.committed = job.lifecycle.view().checkpoint;
        }
        let progress = run.committed.clone();
        Self { job, pulse, run, progress, writer: None, phase: Phase::Searching, unneeded: Unneeded::default() }
    }

    fn work(&mut self) -> Result<EndOfTurn, Failure> {
        if self.job.indexer.claim.lost().is_some() {
            // Which its end finds out too, and publishes.
            return Ok(EndOfTurn::Continue);
        }
        if let Stage::Opening { anew } = self.run.stage {
            if let Err(failure) = self.open(anew) {
                self.progress.stats.search_failures += 1;
                return Err(failure);
            }
            self.run.stage = Stage::Paging;
        }
        if let Stage::Merging { exhausted } = self.run.stage {
            self.merge();
            self.run.stage = Stage::Paging;
            return Ok(if exhausted { EndOfTurn::Over(RunOutcome::Finished) } else { EndOfTurn::Continue });
        }
        let pages = match self.pages() {
            Ok(pages) => pages,
            Err(failure) if failure.keep => {
                if let Err(commit_failure) = self.commit() {
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
        let wants_merge = self.commit()?;
        let exhausted = pages == Pages::Exhausted;
        if wants_merge {
            self.run.stage = Stage::Merging { exhausted };
            return Ok(EndOfTurn::Continue);
        }
        Ok(if exhausted { EndOfTurn::Over(RunOutcome::Finished) } else { EndOfTurn::Continue })
    }

    /// Settles where to go on: the engine's own checkpoint wins over the store's.
    fn open(&mut self, anew: bool) -> Result<(), Failure> {
        self.enter(Phase::Searching);
        let job = self.job;
        let kept = job.indexer.engine.committed_checkpoint(&job.context);
        match kept.map_err(|error| self.failure(&error))? {
            CommittedCheckpoint::Kept(Some(kept)) => {
                if kept.position != self.progress.position {
                    self.note(format!(
                        "the engine has committed up to {}, the job store up to {}: going on from the engine's",
                        position_text(kept.position.as_ref()),
                        position_text(self.progress.position.as_ref()),
                    ));
                    self.progress.stats = self.progress.stats.rolled_back_to(&kept.stats);
                    self.progress.position = kept.position;
                }
            }
            CommittedCheckpoint::Kept(None) => self.begin_anew()?,
            CommittedCheckpoint::NotKept if anew => self.begin_anew()?,
            CommittedCheckpoint::NotKept => {}
        }
        self.run.committed = self.progress.clone();
        Ok(())
    }

    /// The rollup index has nothing of the job: prepares it (again) and rolls up from the start.
    fn begin_anew(&mut self) -> Result<(), Failure> {
        let prepared = self.job.indexer.engine.prepare(&self.job.context);
        // Not before that: a position that is given up cannot be had again.
        prepared.map_err(|error| self.failure(&error))?;
        if self.progress.position.is_some() {
            (self.run.stream, self.run.has_streamed) = (None, false);
            self.note("the rollup index has nothing of this job (any more): rolling up from the start".to_owned());
            self.progress.position = None;
            self.progress.stats = self.progress.stats.rolled_back_to(&crate::job::JobStats::default());
        }
        Ok(())
    }

    fn merge(&mut self) {
        self.enter(Phase::Merging);
        if let Err(error) = self.job.indexer.engine.merge(&self.job.context, &self.run.signal)
            && !error.is_cancelled()
        {
            // The documents are as they were, so the run goes on.
            self.job.note_error(self.run.number, Phase::Merging, error.is_transient(), JobError::chain_of(&error));
        }
    }

    fn pages(&mut self) -> Result<Pages, Failure> {
        let clock = &self.job.indexer.clock;
        let time_up = clock.monotonic().saturating_add(self.job.indexer.settings.turn_time);
        loop {
            let Some(buckets) = self.search()? else { return Ok(Pages::Interrupted) };
            if buckets.is_empty() {
                return Ok(Pages::Exhausted);
            }
            // Known before the page is written: what is fetched ahead is asked for in this turn, or in one that nobody is before.
            let is_last = clock.monotonic() >= time_up;
            let goes_on = !is_last || !self.job.indexer.pool.is_busy();
            if let Some(stream) = self.run.stream.as_mut().filter(|_| goes_on) {
                stream.fetch_ahead();
            }
            let page = self.convert(buckets)?;
            let is_whole = page.documents().len() == page.buckets().len() && self.write(&page)?;
            if !is_whole || self.run.signal.is_stopped() || is_last {
                if self.run.signal.is_stopped() {
                    self.park();
                }
                self.unneeded.page = Some(page);
                return Ok(Pages::Interrupted);
            }
        }
    }

    /// The next page, or `None` if a stop made it unwanted.
    fn search(&mut self) -> Result<Option<Page>, Failure> {
        self.enter(Phase::Searching);
        let began = self.job.indexer.clock.monotonic();
        let page = self.next_page();
        match page {
            Err(error) if error.is_cancelled() && self.run.signal.is_stopped() => Ok(None),
            Err(error) => {
                self.progress.stats.search_failures += 1;
                self.run.stream = None;
                Err(Failure { keep: true, ..self.failure(&error) })
            }
            Ok(_) if self.run.signal.is_stopped() => Ok(None),
            Ok(_) if self.job.indexer.claim.has_lapsed() => {
                // Somebody else may write now. The stream is ahead of what is written.
                self.run.stream = None;
                Ok(None)
            }
            Ok(buckets) => {
                let stats = &mut self.progress.stats;
                stats.search_time += self.job.indexer.clock.monotonic().saturating_sub(began);
                stats.search_total += 1;
                stats.pages_processed += 1;
                stats.documents_skipped = self.run.stream.as_ref().map_or(0, |stream| stream.documents_skipped());
                Ok(Some(buckets))
            }
        }
    }

    fn next_page(&mut self) -> Result<Page, EngineError> {
        if self.run.stream.as_ref().is_some_and(|stream| !stream.is_whole()) {
            self.run.stream = None;
        }
        let stream = match &mut self.run.stream {
            Some(stream) => stream,
            empty => {
                let after = self.progress.position.as_ref().map(Position::key);
                let request = ScanRequest { after, before: self.run.boundary };
                let stream = self.job.indexer.engine.scan(&self.job.context, request, &self.run.signal)?;
                if std::mem::replace(&mut self.run.has_streamed, true) {
                    note(self.job, self.run.number, "the source was opened again in the middle of the run".to_owned());
                }
                empty.insert(stream)
            }
        };
        stream.lend_threads(1 + self.job.indexer.pool.idle());
        let page = stream.next_page(&self.run.signal);
        self.job.lifecycle.note_page_size(stream.reduced_page_size());
        if let Some(text) = stream.take_notice() {
            note(self.job, self.run.number, text);
        }
        page
    }

    /// The documents of a page: fewer than buckets if a stop made them unwanted.
    fn convert(&mut self, buckets: Page) -> Result<RolledUpPage, Failure> {
        let began = self.job.indexer.clock.monotonic();
        let converted = self.check_order(&buckets).and_then(|()| {
            let converted = roll_up_until(buckets, &self.job.context, &self.run.signal);
            converted.map_err(|error| error.to_string())
        });
        let page = converted.map_err(|text| {
            self.progress.stats.search_failures += 1;
            self.run.stream = None;
            Failure { transient: false, retry_after: None, keep: true, chain: vec![text], phase: Phase::Searching }
        })?;
        let stats = &mut self.progress.stats;
        stats.processing_time += self.job.indexer.clock.monotonic().saturating_sub(began);
        stats.processing_total += 1;
        Ok(page)
    }

    /// An engine that does not keep to the order, or to the range, would lose or repeat buckets.
    fn check_order(&self, buckets: &Page) -> Result<(), String> {
        let position = self.progress.position.as_ref().map(Position::key);
        let mut previous = position.as_deref();
        if buckets.width().is_none() {
            // Whoever converts the page says what does not fit.
            return Ok(());
        }
        for (at, bucket) in buckets.iter().enumerate() {
            if at.is_multiple_of(BLOCK) && self.run.signal.is_stopped() {
                // No document will be made of any.
                return Ok(());
            }
            if previous.is_some_and(|previous| bucket.key <= previous) {
                return Err(format!("the engine delivered a bucket out of order: {:?}", bucket.key));
            }
            if !matches!(bucket.key.first(), Some(KeyPart::Date(start)) if *start < self.run.boundary) {
                return Err(format!("the engine delivered a bucket that is not complete: {:?}", bucket.key));
            }
            previous = Some(bucket.key);
        }
        Ok(())
    }

    /// Writes a page. `false` if a stop made the engine end early.
    fn write(&mut self, page: &RolledUpPage) -> Result<bool, Failure> {
        self.enter(Phase::Writing);
        let (began, documents) = (self.job.indexer.clock.monotonic(), page.documents());
        let report = self.write_page(page).map_err(|error| {
            self.progress.stats.index_failures += 1;
            // The stream is ahead of what was written; and whoever had the writer may have committed meanwhile.
            self.run.stream = None;
            self.reopen(&error)
        })?;
        let taken = report.taken.min(documents.len());
        let accepted = report.rejected.iter().map(|item| item.index).min().unwrap_or(taken).min(taken);
        let stats = &mut self.progress.stats;
        stats.index_time += self.job.indexer.clock.monotonic().saturating_sub(began);
        stats.index_total += 1;
        stats.rollups_indexed += accepted as u64;
        stats.documents_processed += documents.buckets().take(accepted).map(|bucket| bucket.doc_count).sum::<u64>();
        stats.index_failures += report.rejected.len() as u64;
        if let Some(last) = accepted.checked_sub(1).and_then(|last| page.buckets().get(last)) {
            self.progress.position = Some(Position::of(self.job.context.config(), last.key));
        }
        if accepted < documents.len() {
            // The stream is ahead of what was written.
            self.unneeded.stream = self.run.stream.take();
        }
        let worst = report.rejected.iter().max_by_key(|item| !item.error.is_transient());
        match worst {
            Some(item) => Err(Failure { keep: true, ..self.failure(&item.error) }),
            None => Ok(accepted == documents.len()),
        }
    }

    fn write_page(&mut self, page: &RolledUpPage) -> Result<WriteReport, EngineError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(self.job.indexer.engine.begin(&self.job.context)?),
        };
        writer.write(page.documents(), &self.run.signal)
    }

    /// Makes durable what was written. Says whether the engine wants to merge.
    fn commit(&mut self) -> Result<bool, Failure> {
        let Some(writer) = self.writer.take() else { return Ok(false) };
        self.enter(Phase::Committing);
        match writer.commit(&self.progress) {
            Ok(report) => {
                // An empty commit is no progress: a page whose first document is rejected again and again has to end the run.
                if self.progress.position != self.run.committed.position {
                    self.run.failures = 0;
                }
                self.run.committed = self.progress.clone();
                Ok(report.wants_merge)
            }
            Err(error) => {
                self.progress.stats.index_failures += 1;
                let failure = self.reopen(&error);
                self.discard();
                Err(failure)
            }
        }
    }

    /// The next try asks the engine how far it is: whether what failed took place is not known.
    fn reopen(&mut self, error: &EngineError) -> Failure {
        // If the rollup index is gone the next try prepares it again.
        let is_gone = error.kind() == EngineErrorKind::NotFound;
        self.run.stage = Stage::Opening { anew: is_gone };
        let failure = self.failure(error);
        Failure { transient: failure.transient || is_gone, ..failure }
    }

    /// Goes back to what is durable.
    fn discard(&mut self) {
        let written = self.writer.take().is_some() || self.progress.position != self.run.committed.position;
        self.progress.stats = self.progress.stats.rolled_back_to(&self.run.committed.stats);
        self.progress.position.clone_from(&self.run.committed.position);
        if written {
            self.run.stream = None;
        }
    }

    fn fail(&mut self, failure: Failure) -> EndOfTurn {
        let transient = failure.transient;
        self.run.retry_after = failure.retry_after.unwrap_or_default();
        self.note_error(failure);
        self.run.failures += 1;
        if transient && self.run.failures < self.job.indexer.settings.retry_attempts {
            EndOfTurn::BackOff
        } else {
            EndOfTurn::Over(RunOutcome::Failed)
        }
    }

    fn panicked(&mut self, panic: &str) -> EndOfTurn {
        // What is left of the engine's objects may panic again when it is dropped.
        let (writer, stream) = (self.writer.take(), self.run.stream.take());
        let _ = guarded(|| drop((writer, stream)));
        self.discard();
        let chain = vec![format!("the engine panicked: {panic}")];
        self.fail(Failure { transient: false, retry_after: None, keep: false, chain, phase: self.phase })
    }

    /// A run that has to wait, or is over, holds no page.
    fn park(&mut self) {
        if let Some(stream) = &mut self.run.stream {
            // A panic is the engine's own matter here: what it says next counts.
            let _ = guarded(|| stream.park());
        }
    }

    /// Saves and publishes: first on disk, then for everybody to see.
    fn finish(self, end: EndOfTurn) {
        let Self { job, pulse, mut run, progress, .. } = self;
        let (indexer, number) = (&job.indexer, run.number);
        run.committed = progress.clone();
        let turn = TurnEnded {
            run: number,
            turn: run.turns,
            position: progress.position.clone(),
            stats: progress.stats.clone(),
        };
        let mut turn = Some(turn);
        loop {
            let (snapshot, is_stop) =
                job.lifecycle.end_of_turn(end, &progress, indexer.clock.monotonic(), &indexer.revisions);
            pulse.beat(indexer.clock.monotonic());
            let saved = job.save(snapshot);
            match &saved {
                Ok(()) => turn.take().into_iter().for_each(|turn| job.lifecycle.note_turn(turn)),
                Err(error) => job.note_error(number, Phase::Saving, error.is_transient(), JobError::chain_of(error)),
            }
            let end = run.after_save(&saved, end, &indexer.settings);
            let (failures, retry_after) = (run.failures.max(run.unsaved), run.retry_after);
            match job.lifecycle.publish(run, end, is_stop, saved, indexer.clock.monotonic()) {
                Published::Again(again) => run = again,
                Published::Queued { push } => return job.enqueue_if(push),
                Published::BackingOff => {
                    let pause = back_off(&indexer.settings, failures, (job.id(), number));
                    return job.back_off(number, pause.max(retry_after));
                }
                Published::Over(run) => {
                    let _ = guarded(|| drop(run));
                    return;
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        let now = self.job.indexer.clock.monotonic();
        self.phase = phase;
        self.job.lifecycle.enter(phase, now);
        self.pulse.beat(now);
    }

    fn failure(&self, error: &EngineError) -> Failure {
        // An engine that gives a call up though nobody asked it to may well do it the next time.
        let transient = error.is_transient() || error.is_cancelled();
        Failure {
            transient,
            retry_after: error.retry_after(),
            keep: false,
            chain: JobError::chain_of(error as &(dyn Error + 'static)),
            phase: self.phase,
        }
    }

    fn note_error(&self, failure: Failure) {
        self.job.note_error(self.run.number, failure.phase, failure.transient, failure.chain);
    }

    fn note(&self, text: String) {
        note(self.job, self.run.number, text);
    }
}

fn note(job: &Job, run: u64, text: String) {
    job.lifecycle.note(Notice { at: job.indexer.clock.now(), run, text });
}

fn position_text(position: Option<&Position>) -> String {
    position.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

/// Exponential, with a jitter between half and the whole that differs from job to job.
fn back_off(settings: &Settings, failures: u32, salt: impl Hash) -> Duration {
    let doubled = settings.retry_initial.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let mut hasher = DefaultHasher::new();
    (salt, failures).hash(&mut hasher);
    let jitter = 128 + u32::from(hasher.finish().to_le_bytes()[0]) / 2;
    doubled.min(settings.retry_max).saturating_mul(jitter) / 256
}
