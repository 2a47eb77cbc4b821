//! What may it do next? A job's one mutex and condition variable, and the events that pass through it.
//!
//! Nothing but assignments happens under the lock: no engine, store, observer or waker is called. Whatever was taken
//! out under it (a parked run, a signal to raise, wakers) is dealt with outside.

mod cell;
mod outbox;
mod repaired;
mod revisions;
mod stop;
mod transition;
mod troubles;
mod turn;
mod wakers;

use std::ops::Range;
use std::time::Duration;

use cell::{Cell, Token};
use transition::Event as Transition;

pub(crate) use cell::Snapshot;
pub(crate) use repaired::Repaired;
pub(crate) use revisions::Revisions;
pub(crate) use stop::{Stop, Ticket, WaitOutcome};
pub(crate) use turn::{EndOfTurn, Published};
pub(crate) use wakers::WakerKey;

use crate::guard::discard;
use crate::job::{JobError, JobState, LastVerification, LateDocuments, Notice, Phase, Progress, StoredState};
use crate::observer::{Event, RunOutcome};
use crate::stop_signal::StopSignal;
use crate::store::StoreError;
use crate::sync::{Arc, Monitor, MonitorGuard};

/// A handle on the state machine of one job. `R` is a run between its turns.
pub(crate) struct Lifecycle<R> {
    cell: Arc<Monitor<Cell<R>>>,
}

impl<R> Clone for Lifecycle<R> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell) }
    }
}

/// Why an operation does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such job any more.
    Gone,
    /// The manager is going.
    ShutDown,
    /// A job in this state does not do it.
    State(JobState),
}

/// A start to save; how that goes is said with its number.
pub(crate) struct Start {
    pub(crate) snapshot: Snapshot,
    pub(crate) number: u64,
}

/// The run that a trigger has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Triggered {
    pub(crate) run: u64,
    /// It begins with this trigger; otherwise one is under way.
    pub(crate) is_new: bool,
    /// The job has to be put into the queue.
    pub(crate) push: bool,
}

/// What can be seen of a job from outside.
pub(crate) struct View {
    pub(crate) state: JobState,
    pub(crate) phase: Phase,
    pub(crate) phase_since: Duration,
    pub(crate) run: u64,
    /// Whether a run is under way, or its end.
    pub(crate) has_run: bool,
    pub(crate) progress: Arc<Progress>,
    pub(crate) errors: Vec<JobError>,
    pub(crate) notice: Option<Notice>,
    pub(crate) reduced_page_size: Option<usize>,
    pub(crate) has_no_source: bool,
    pub(crate) failed_runs: u32,
    pub(crate) retrying: bool,
    pub(crate) unsaved: Option<StoreError>,
    /// Late documents that were counted since the last run.
    pub(crate) late: Option<Box<LateDocuments>>,
    /// Since when something rolled up has changed, and where the oldest of it begins.
    pub(crate) changed: Option<(Duration, i64)>,
    pub(crate) last_verification: Option<LastVerification>,
}

/// What shutting down leaves to do for one job.
pub(crate) struct ShutDown<R> {
    pub(crate) parked: Option<R>,
    pub(crate) signal: StopSignal,
    /// A run whose progress no thread will save any more.
    pub(crate) save: Option<Snapshot>,
}

impl<R: Send + 'static> Lifecycle<R> {
    /// A job in `state`, stopped or started. Events are kept only if it is `observed`.
    pub(crate) fn new(state: JobState, progress: Arc<Progress>, run: u64, now: Duration, observed: bool) -> Self {
        let cell = Cell::new(state, progress, run, now, observed);
        Self { cell: Arc::new(Monitor::new(cell)) }
    }

    /// Somebody starts the job; `None` if it is started already.
    pub(crate) fn start(&self, revisions: &Revisions) -> Result<Option<Start>, Refused> {
        let mut cell = self.cell.lock();
        cell.is_usable()?;
        if cell.deletes_waiting > 0 {
            return Err(Refused::State(JobState::Aborting));
        }
        let before = cell.state;
        cell.go(Transition::Start).ok_or(Refused::State(before))?;
        if before != JobState::Stopped && cell.start_is_durable {
            return Ok(None);
        }
        let snapshot = cell.snapshot(StoredState::Started, revisions);
        if before == JobState::Stopped {
            (cell.start_is_durable, cell.started_by, cell.starters) = (false, snapshot.revision, 0);
        }
        cell.starters += 1;
        Ok(Some(Start { snapshot, number: cell.started_by }))
    }

    /// The start of this number is saved.
    pub(crate) fn start_saved(&self, start: u64) {
        let mut cell = self.cell.lock();
        if start == cell.started_by {
            // Whoever else saves it, and is refused, undoes nothing any more.
            cell.start_is_durable = true;
        }
    }

    /// A trigger at this moment. `make` builds the run of the given number.
    pub(crate) fn trigger(&self, now: Duration, make: impl FnOnce(u64, StopSignal) -> R) -> Result<Triggered, Refused> {
        let mut cell = self.cell.lock();
        cell.is_usable()?;
        if cell.go(Transition::Trigger).is_none() {
            return match cell.state {
                JobState::Indexing => Ok(Triggered { run: cell.run, is_new: false, push: false }),
                state => Err(Refused::State(state)),
            };
        }
        cell.run += 1;
        Arc::make_mut(&mut cell.progress).stats.trigger_count += 1;
        cell.signal = StopSignal::new();
        let run = make(cell.run, cell.signal.clone());
        let push = cell.queue(run, now);
        Ok(Triggered { run: cell.run, is_new: true, push })
    }

    /// Another run is to follow the one under way. `false` if there is none, so that it would never come.
    pub(crate) fn follow(&self) -> bool {
        let mut cell = self.cell.lock();
        cell.is_followed = cell.state == JobState::Indexing && !cell.shutting_down;
        cell.is_followed
    }

    /// Whether another run is to follow the one that is over.
    pub(crate) fn is_followed(&self) -> bool {
        self.cell.lock().is_followed
    }

    /// It is under way now, or does not come.
    pub(crate) fn end_following(&self) {
        let mut cell = self.cell.lock();
        cell.is_followed = false;
        self.announce(cell);
    }

    /// Accepts a delete if the job is stopped.
    pub(crate) fn delete(&self, now: Duration) -> Result<(), Refused> {
        let mut cell = self.cell.lock();
        cell.is_usable()?;
        let before = cell.state;
        cell.go(Transition::Delete).ok_or(Refused::State(before))?;
        cell.enter(Phase::Saving, now);
        Ok(())
    }

    /// From now on nobody starts the job, until the delete that this announces has come, or was withdrawn.
    pub(crate) fn announce_delete(&self) {
        self.cell.lock().deletes_waiting += 1;
    }

    pub(crate) fn withdraw_delete(&self) {
        self.cell.lock().deletes_waiting -= 1;
    }

    /// The record of the job as it is.
    pub(crate) fn as_it_is(&self, revisions: &Revisions) -> Snapshot {
        let mut cell = self.cell.lock();
        let state = cell.stored_state();
        cell.snapshot(state, revisions)
    }

    /// The same of a job whose settings have changed.
    pub(crate) fn update(&self, revisions: &Revisions) -> Result<Snapshot, Refused> {
        let mut cell = self.cell.lock();
        if cell.gone {
            return Err(Refused::Gone);
        }
        if cell.state == JobState::Aborting {
            return Err(Refused::State(cell.state));
        }
        let state = cell.stored_state();
        Ok(cell.snapshot(state, revisions))
    }

    /// The record without a position, of a job whose documents are gone or about to go. Nothing changes before it is
    /// saved, and [`forget_position`](Self::forget_position) says so.
    pub(crate) fn without_position(&self, revisions: &Revisions) -> Snapshot {
        let snapshot = self.as_it_is(revisions);
        Snapshot { progress: Arc::new(snapshot.progress.without_position()), ..snapshot }
    }

    /// What [`without_position`](Self::without_position) has said is saved.
    pub(crate) fn forget_position(&self) {
        let mut cell = self.cell.lock();
        cell.progress = Arc::new(cell.progress.without_position());
    }

    /// The record is removed.
    pub(crate) fn deleted(&self) {
        let mut cell = self.cell.lock();
        cell.gone = true;
        self.announce(cell);
    }

    /// The record could not be removed: the job is stopped again.
    pub(crate) fn delete_failed(&self, now: Duration) {
        let mut cell = self.cell.lock();
        cell.go(Transition::DeleteFailed);
        cell.enter(Phase::Idle, now);
    }

    /// No more turns, starts and triggers. What is persisted does not change.
    pub(crate) fn shut_down(&self, revisions: &Revisions, now: Duration) -> ShutDown<R> {
        let mut cell = self.cell.lock();
        (cell.shutting_down, cell.is_followed) = (true, false);
        let parked = cell.token.take_parked();
        if parked.is_some() {
            cell.end_run(RunOutcome::Interrupted);
            cell.enter(Phase::Idle, now);
        }
        let save = parked.is_some().then(|| cell.snapshot(StoredState::Indexing, revisions));
        ShutDown { parked, signal: cell.signal.clone(), save }
    }

    /// Whether the manager is going, so that nothing can be put off any more.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.cell.lock().shutting_down
    }

    /// The manager's threads are gone, or given up: nobody will complete a stop any more.
    pub(crate) fn close(&self) {
        let mut cell = self.cell.lock();
        cell.closed = true;
        self.announce(cell);
    }

    /// Lets go of the lock, and wakes whoever waits: first the threads, then the tasks of futures.
    fn announce(&self, mut cell: MonitorGuard<'_, Cell<R>>) {
        let (wakers, refuse) = (cell.wakers.take(), cell.troubles.take_refuse());
        drop(cell);
        self.cell.notify_all();
        wakers::wake(wakers);
        refuse.into_iter().for_each(discard);
    }

    pub(crate) fn view(&self) -> View {
        let cell = self.cell.lock();
        let troubles = cell.troubles.known();
        View {
            state: cell.state,
            phase: cell.phase,
            phase_since: cell.phase_since,
            run: cell.run,
            has_run: !matches!(cell.token, Token::None),
            progress: Arc::clone(&cell.progress),
            errors: troubles.errors.clone(),
            notice: troubles.notice.clone(),
            reduced_page_size: troubles.reduced_page_size,
            has_no_source: cell.has_no_source,
            failed_runs: troubles.failed_runs,
            retrying: cell.retrying,
            unsaved: troubles.unsaved.clone(),
            late: troubles.late.clone(),
            changed: troubles.changed,
            last_verification: troubles.last_verification.clone(),
        }
    }

    /// What the engine is told of a stop by, in the current run.
    pub(crate) fn signal(&self) -> StopSignal {
        self.cell.lock().signal.clone()
    }

    pub(crate) fn enter(&self, phase: Phase, now: Duration) {
        self.cell.lock().enter(phase, now);
    }

    pub(crate) fn note_error(&self, error: JobError) {
        self.cell.lock().note_error(error);
    }

    pub(crate) fn note(&self, notice: Notice) {
        let former = self.cell.lock().troubles.note(notice);
        drop(former);
    }

    pub(crate) fn note_no_source(&self, has_none: bool) {
        self.cell.lock().has_no_source = has_none;
    }

    /// Documents came late: observers hear of it now, the next run counts them.
    pub(crate) fn note_late(&self, late: LateDocuments) {
        let mut cell = self.cell.lock();
        cell.troubles.note_late(&late);
        cell.tell(Event::Late(Box::new(late)));
    }

    /// The late documents that no run has counted yet: this one does.
    pub(crate) fn take_late(&self) -> Option<Box<LateDocuments>> {
        self.cell.lock().troubles.take_late()
    }

    /// Something rolled up has changed, the oldest of it from here on, or nothing any more.
    pub(crate) fn note_changed(&self, oldest: Option<i64>, now: Duration) {
        self.cell.lock().troubles.note_changed(oldest, now);
    }

    /// What a verification has found, and where what another system has rolled up is as it should be.
    pub(crate) fn note_verified(&self, verification: LastVerification, inherited: &[Range<i64>]) {
        self.cell.lock().troubles.note_verified(verification, inherited);
    }

    pub(crate) fn take_verified(&self) -> Option<Vec<Range<i64>>> {
        self.cell.lock().troubles.take_verified()
    }

    /// Where another system has rolled up it was counted, by what was said up to this number: there is less.
    pub(crate) fn note_counted(&self, less: Vec<Range<i64>>, said: u64) {
        self.cell.lock().troubles.note_counted(less, said);
    }

    pub(crate) fn has_counted(&self, ranges: &[Range<i64>], said: u64) -> bool {
        self.cell.lock().troubles.has_counted(ranges, said)
    }

    pub(crate) fn note_page_size(&self, reduced: Option<usize>) {
        self.cell.lock().troubles.note_page_size(reduced);
    }

    /// Whether somebody has to be found who tells the observers what they were not told yet. It is asked for once.
    pub(crate) fn wants_delivery(&self) -> bool {
        self.cell.lock().outbox.as_mut().is_some_and(|outbox| outbox.wants_delivery())
    }

    /// Takes what observers were not told yet, unless somebody else is telling them. An empty answer ends the telling.
    pub(crate) fn next_events(&self, continuing: bool) -> Vec<Event> {
        self.cell.lock().outbox.as_mut().map(|outbox| outbox.take(continuing)).unwrap_or_default()
    }
}

impl<R> Cell<R> {
    /// Whether the job is there, and the manager stays.
    fn is_usable(&self) -> Result<(), Refused> {
        match (self.gone, self.shutting_down) {
            (true, _) => Err(Refused::Gone),
            (_, true) => Err(Refused::ShutDown),
            _ => Ok(()),
        }
    }

    /// Lets a run wait for a thread. Says whether the job has to be put into the queue.
    fn queue(&mut self, run: R, now: Duration) -> bool {
        self.token = Token::Queued(run);
        self.enter(Phase::Queued, now);
        !std::mem::replace(&mut self.in_queue, true)
    }
}

#[cfg(test)]
mod tests;
