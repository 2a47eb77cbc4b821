//! What a job's lock guards.

use std::time::Duration;

use super::outbox::Outbox;
use super::revisions::Revisions;
use super::transition::{Event as Transition, next};
use super::troubles::Troubles;
use super::wakers::Wakers;
use crate::job::{JobError, JobState, Phase, Progress, StoredState};
use crate::observer::{Event, StateChange};
use crate::stop_signal::StopSignal;
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::Arc;

/// Everything about a job that changes. `R` is a run between its turns.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own sentence")]
pub(super) struct Cell<R> {
    pub(super) state: JobState,
    pub(super) phase: Phase,
    pub(super) phase_since: Duration,
    /// The number of the current run, or of the last one.
    pub(super) run: u64,
    /// Shared with the records that were made of it: it changes far less often than it is handed on.
    pub(super) progress: Arc<Progress>,
    pub(super) token: Token<R>,
    /// An entry for this job sits in the pool's queue. There is never a second one.
    pub(super) in_queue: bool,
    pub(super) signal: StopSignal,
    /// How many stops have been completed. Waiters wait for this count, which only grows, and never for a state.
    pub(super) stops_completed: u64,
    /// Somebody will try the refused save again.
    pub(super) retry_is_planned: bool,
    /// What the last record that was made says of the state.
    recorded: Option<StoredState>,
    /// The stop under way is durable already: a crash would not forget it.
    pub(super) stop_is_durable: bool,
    /// The start under way, or the last one, is durable.
    pub(super) start_is_durable: bool,
    /// The revision of the first record that saves this start, which tells it from others; later ones save it too.
    pub(super) started_by: u64,
    /// How many callers are saving it.
    pub(super) starters: u32,
    pub(super) gone: bool,
    /// How many deletes wait for the job's stop: until they are through, nobody starts it.
    pub(super) deletes_waiting: u32,
    pub(super) shutting_down: bool,
    /// The manager's threads are gone, or given up.
    pub(super) closed: bool,
    pub(super) troubles: Troubles,
    /// The source that the last run has found is no index at all, where one before had some.
    pub(super) has_no_source: bool,
    pub(super) retrying: bool,
    /// Another run is to follow the one under way.
    pub(super) is_followed: bool,
    /// What observers were not told yet; none if there are none.
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) wakers: Wakers,
}

/// Who has the run.
pub(super) enum Token<R> {
    /// There is none, or it is over.
    None,
    /// It waits in the pool's queue.
    Queued(R),
    /// It waits for its next try.
    BackingOff(R),
    /// An indexer thread has it, and will end it.
    OnThread,
    /// A thread that asked for a stop has taken it over and saves its end.
    Finishing,
}

impl<R> Token<R> {
    /// Takes the run out if it is between turns.
    pub(super) fn take_parked(&mut self) -> Option<R> {
        match std::mem::replace(self, Self::None) {
            Self::Queued(run) | Self::BackingOff(run) => Some(run),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// The part of a job record that changes, as it was at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) state: StoredState,
    pub(crate) progress: Arc<Progress>,
    pub(crate) run: u64,
    pub(crate) revision: u64,
}

impl<R> Cell<R> {
    /// A job in `state`, at rest.
    pub(super) fn new(state: JobState, progress: Arc<Progress>, run: u64, now: Duration, observed: bool) -> Self {
        Self {
            state,
            phase: Phase::Idle,
            phase_since: now,
            run,
            progress,
            token: Token::None,
            in_queue: false,
            signal: StopSignal::never(),
            stops_completed: 0,
            retry_is_planned: false,
            recorded: None,
            stop_is_durable: false,
            start_is_durable: true,
            started_by: 0,
            starters: 0,
            gone: false,
            deletes_waiting: 0,
            shutting_down: false,
            closed: false,
            troubles: Troubles::default(),
            has_no_source: false,
            retrying: false,
            is_followed: false,
            outbox: observed.then(Box::default),
            wakers: Wakers::default(),
        }
    }

    pub(super) fn go(&mut self, event: Transition) -> Option<JobState> {
        let to = next(self.state, event)?;
        let from = std::mem::replace(&mut self.state, to);
        if from != to {
            self.tell(Event::State(StateChange { from, to }));
        }
        Some(to)
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Duration) {
        (self.phase, self.phase_since) = (phase, now);
    }

    pub(super) fn tell(&mut self, event: Event) {
        if let Some(outbox) = &mut self.outbox {
            outbox.push(event);
        }
    }

    pub(super) fn note_error(&mut self, error: JobError) {
        self.tell(Event::Error(Box::new(error.clone())));
        self.troubles.note_error(error);
    }

    /// The record as of now. Taking the revision under the job's lock is what lets the store tell old from new.
    pub(super) fn snapshot(&mut self, state: StoredState, revisions: &Revisions) -> Snapshot {
        let revision = revisions.next();
        self.recorded = Some(state);
        Snapshot { state, progress: Arc::clone(&self.progress), run: self.run, revision }
    }

    /// Whether the store has a record of this state, as far as is known.
    pub(super) fn is_recorded(&self, state: StoredState) -> bool {
        self.recorded == Some(state) && self.troubles.known().unsaved.is_none()
    }

    /// What a record says of a job in this state.
    pub(super) fn stored_state(&self) -> StoredState {
        match self.state {
            JobState::Started => StoredState::Started,
            JobState::Indexing => StoredState::Indexing,
            JobState::Stopped | JobState::Stopping | JobState::Aborting => StoredState::Stopped,
        }
    }

    /// The save of a stop's end is over. A record that is gone brings nothing back: such a stop is durable too.
    pub(super) fn end_stop(&mut self, saved: &Result<(), StoreError>, now: Duration) {
        match saved {
            Err(error) if error.kind() != StoreErrorKind::Gone => self.refuse_stop(error, now),
            _ => self.complete_stop(now),
        }
    }

    /// A stop is at rest and durable.
    fn complete_stop(&mut self, now: Duration) {
        self.go(Transition::StopSaved);
        self.token = Token::None;
        self.stops_completed += 1;
        self.troubles.note_stop_saved(None);
        self.enter(Phase::Idle, now);
    }

    /// The store refused the save that would have completed a stop: nobody has the run any more, and the next stop, or
    /// [`Lifecycle::retry_stop`](super::Lifecycle::retry_stop), tries again.
    fn refuse_stop(&mut self, error: &StoreError, now: Duration) {
        self.token = Token::None;
        self.troubles.note_stop_saved(Some(error));
        self.enter(Phase::Saving, now);
    }

    /// Whether a stop waits for somebody to save its end: the store has refused that.
    pub(super) fn has_unsaved_stop(&self) -> bool {
        self.state == JobState::Stopping && matches!(self.token, Token::None)
    }
}
