//! Stop: who asked, who finishes it, and who waits for which one.

use std::task::Waker;
use std::time::Duration;

use super::cell::{Cell, Snapshot, Token};
use super::revisions::Revisions;
use super::transition::Event as Transition;
use super::{Lifecycle, View, WakerKey};
use crate::clock::{Clock, Deadline, wait_until};
use crate::job::{JobState, Phase, StoredState};
use crate::observer::{Event, RunEnded, RunOutcome};
use crate::stop_signal::StopSignal;
use crate::store::StoreError;

/// Which stop a waiter waits for: noted under the lock under which the stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    completes_as: u64,
    refusals_seen: u64,
    pub(crate) run: u64,
}

/// What a stop has to do.
pub(crate) enum StopDecision<R> {
    /// Nothing: the job is stopped.
    AtRest {
        run: u64,
    },
    /// The job is between turns, and it is for the caller to finish the stop: drop `parked`, save `snapshot`, then say how it
    /// went with [`Lifecycle::stop_saved`].
    Finish {
        ticket: Ticket,
        snapshot: Snapshot,
        parked: Option<R>,
        signal: StopSignal,
    },
    /// Somebody else finishes it. `save` makes the request itself durable, unless it is.
    Join {
        ticket: Ticket,
        save: Option<Snapshot>,
        signal: StopSignal,
    },
    /// A delete is under way.
    Aborting,
    Gone,
    ShutDown,
}

/// What became of the stop that a waiter waited for.
pub(crate) enum WaitOutcome {
    Completed,
    Refused(StoreError),
    ShutDown,
    TimedOut,
}

impl<R: Send + 'static> Lifecycle<R> {
    /// Somebody stops the job. Exactly one side finishes a stop, and which one is decided here, under the lock.
    pub(crate) fn stop(&self, now: Duration, revisions: &Revisions) -> StopDecision<R> {
        self.cell.lock().stop(now, revisions)
    }

    /// The answer to a stop that has nothing to save and to change; `None` if there is something to do.
    pub(crate) fn stop_at_hand(&self) -> Option<StopDecision<R>> {
        self.cell.lock().stop_at_hand()
    }

    /// The save of a start was refused: the job is stopped again, unless somebody else has saved it, or is about to,
    /// or another start has come since.
    pub(crate) fn start_refused(&self, start: u64, now: Duration, revisions: &Revisions) -> Option<StopDecision<R>> {
        let mut cell = self.cell.lock();
        if start != cell.started_by {
            return None;
        }
        cell.starters -= 1;
        (!cell.start_is_durable && cell.starters == 0).then(|| cell.stop(now, revisions))
    }

    /// The save of a [`StopDecision::Finish`] is over.
    pub(crate) fn stop_saved(&self, saved: &Result<(), StoreError>, now: Duration) {
        let mut cell = self.cell.lock();
        match saved {
            Ok(()) => cell.complete_stop(now),
            Err(error) => cell.refuse_stop(error, now),
        }
        self.announce(cell);
    }

    /// Whether the save of a stop was refused, and nobody will try it again: then the caller has to. How often in a
    /// row it was.
    pub(crate) fn plan_retry(&self) -> Option<u32> {
        let mut cell = self.cell.lock();
        let is_needed = cell.has_unsaved_stop() && !std::mem::replace(&mut cell.retry_is_planned, true);
        is_needed.then_some(cell.refused_in_a_row)
    }

    /// Whether a stop waits for somebody to save its end.
    pub(crate) fn has_unsaved_stop(&self) -> bool {
        self.cell.lock().has_unsaved_stop()
    }

    /// A stop that could not be saved is saved again, if there is one.
    pub(crate) fn retry_stop(&self, now: Duration, revisions: &Revisions) -> Option<StopDecision<R>> {
        let mut cell = self.cell.lock();
        cell.retry_is_planned = false;
        cell.has_unsaved_stop().then(|| cell.stop(now, revisions))
    }

    /// The request of a [`StopDecision::Join`] is durable.
    pub(crate) fn stop_request_saved(&self, ticket: Ticket) {
        let mut cell = self.cell.lock();
        if cell.stops_completed < ticket.completes_as {
            cell.stop_is_durable = true;
        }
    }

    /// The last run of a job that is at rest, stopped, durably; `None` if it is not.
    pub(crate) fn run_if_at_rest(&self) -> Option<u64> {
        let cell = self.cell.lock();
        (cell.state == JobState::Stopped && !cell.gone).then_some(cell.run)
    }

    /// Whether the stop of `ticket` is completed.
    pub(crate) fn is_completed(&self, ticket: Ticket) -> bool {
        self.cell.lock().stops_completed >= ticket.completes_as
    }

    /// Waits for the stop of `ticket`: not for a state, which may pass, but for the count of completed stops.
    pub(crate) fn wait_for_stop(&self, ticket: Ticket, clock: &dyn Clock, deadline: Deadline) -> WaitOutcome {
        wait_until(clock, &self.cell, deadline, |cell| cell.outcome_of(ticket)).unwrap_or(WaitOutcome::TimedOut)
    }

    /// What became of the stop of `ticket`; if nothing yet, `waker` is woken when there is something new to know.
    pub(crate) fn poll_stop(&self, ticket: Ticket, key: &mut Option<WakerKey>, waker: Waker) -> Option<WaitOutcome> {
        let mut cell = self.cell.lock();
        let outcome = cell.outcome_of(ticket);
        let discarded = match outcome {
            Some(_) => key.take().and_then(|key| cell.wakers.forget(&key)),
            None => cell.wakers.register(key, waker),
        };
        drop(cell);
        drop(discarded);
        outcome
    }

    /// The future of `key` does not wait any more.
    pub(crate) fn forget_waker(&self, key: &WakerKey) {
        let forgotten = self.cell.lock().wakers.forget(key);
        drop(forgotten);
    }
}

impl<R> Cell<R> {
    fn outcome_of(&self, ticket: Ticket) -> Option<WaitOutcome> {
        if self.stops_completed >= ticket.completes_as || self.gone {
            return Some(WaitOutcome::Completed);
        }
        if self.saves_refused > ticket.refusals_seen
            && let Some(error) = self.unsaved()
        {
            return Some(WaitOutcome::Refused(error.clone()));
        }
        self.closed.then_some(WaitOutcome::ShutDown)
    }

    fn stop_at_hand(&self) -> Option<StopDecision<R>> {
        if self.gone {
            return Some(StopDecision::Gone);
        }
        match self.state {
            JobState::Stopped => Some(StopDecision::AtRest { run: self.run }),
            _ if self.closed => Some(StopDecision::ShutDown),
            JobState::Aborting => Some(StopDecision::Aborting),
            JobState::Stopping if self.stop_is_durable && self.is_finished_elsewhere() => {
                Some(StopDecision::Join { ticket: self.ticket(), save: None, signal: self.signal.clone() })
            }
            _ => None,
        }
    }

    fn is_finished_elsewhere(&self) -> bool {
        matches!(self.token, Token::OnThread | Token::Finishing)
    }

    fn ticket(&self) -> Ticket {
        Ticket { completes_as: self.stops_completed + 1, refusals_seen: self.saves_refused, run: self.run }
    }

    fn stop(&mut self, now: Duration, revisions: &Revisions) -> StopDecision<R> {
        if let Some(decision) = self.stop_at_hand() {
            return decision;
        }
        let before = self.state;
        self.go(Transition::Stop);
        if before != JobState::Stopping {
            self.stop_is_durable = false;
        }
        let ticket = self.ticket();
        let signal = self.signal.clone();
        if self.is_finished_elsewhere() {
            let save = (!self.stop_is_durable).then(|| self.snapshot(StoredState::Stopped, revisions));
            return StopDecision::Join { ticket, save, signal };
        }
        let parked = self.token.take_parked();
        if before == JobState::Indexing {
            let ended = RunEnded { run: self.run, outcome: RunOutcome::Stopped };
            self.tell(Event::Run(ended));
            self.retrying = false;
        }
        self.token = Token::Finishing;
        self.enter(Phase::Saving, now);
        StopDecision::Finish { ticket, snapshot: self.snapshot(StoredState::Stopped, revisions), parked, signal }
    }
}

impl View {
    /// For how long the job has been in its phase.
    pub(crate) fn in_phase_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.phase_since)
    }
}
