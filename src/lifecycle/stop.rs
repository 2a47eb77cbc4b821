//! Stop: who asked, who finishes it, and who waits for which one.

use std::task::Waker;
use std::time::Duration;

use super::cell::{Cell, Snapshot, Token};
use super::revisions::Revisions;
use super::transition::Event as Transition;
use super::{Lifecycle, Refused, View, WakerKey};
use crate::clock::{Clock, Deadline, wait_until};
use crate::job::{JobState, Phase, StoredState};
use crate::observer::{Event, RunEnded, RunOutcome};
use crate::stop_signal::StopSignal;
use crate::store::StoreError;

/// Which stop somebody has asked for: noted under the lock under which that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) run: u64,
    /// Somebody else finishes it, and it may be waited for. Otherwise it is for the one who has asked: the job is at
    /// rest as soon as the [save](Stop::save) got through.
    pub(crate) ends_elsewhere: bool,
    completes_as: u64,
    refusals_seen: u64,
}

/// A stop that is in force, and what it leaves to the one who has asked.
pub(crate) struct Stop<R> {
    pub(crate) ticket: Ticket,
    /// To raise.
    pub(crate) signal: StopSignal,
    /// To drop: the job was between turns.
    pub(crate) parked: Option<R>,
    /// To save, and then to say with [`Lifecycle::stop_saved`] how that went.
    pub(crate) save: Option<Snapshot>,
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
    pub(crate) fn stop(&self, now: Duration, revisions: &Revisions) -> Result<Stop<R>, Refused> {
        self.cell.lock().stop(now, revisions)
    }

    /// The answer to a stop that has nothing to save and to change; `None` if there is something to do.
    pub(crate) fn stop_at_hand(&self) -> Option<Result<Ticket, Refused>> {
        self.cell.lock().stop_at_hand()
    }

    /// The save of a start was refused: the job is stopped again, unless somebody else has saved it, or is about to,
    /// or another start has come since.
    pub(crate) fn start_refused(
        &self,
        start: u64,
        now: Duration,
        revisions: &Revisions,
    ) -> Option<Result<Stop<R>, Refused>> {
        let mut cell = self.cell.lock();
        if start != cell.started_by {
            return None;
        }
        cell.starters -= 1;
        (!cell.start_is_durable && cell.starters == 0).then(|| cell.stop(now, revisions))
    }

    /// The save of a stop is over: of its end, or of the request where somebody else finishes it.
    pub(crate) fn stop_saved(&self, ticket: Ticket, saved: &Result<(), StoreError>, now: Duration) {
        let mut cell = self.cell.lock();
        if cell.stops_completed >= ticket.completes_as {
            return;
        }
        if ticket.ends_elsewhere {
            cell.stop_is_durable |= saved.is_ok();
            return;
        }
        cell.end_stop(saved, now);
        self.announce(cell);
    }

    /// Whether the save of a stop was refused, and nobody will try it again: then the caller has to. How often in a
    /// row it was.
    pub(crate) fn plan_retry(&self) -> Option<u32> {
        let mut cell = self.cell.lock();
        let is_needed = cell.has_unsaved_stop() && !std::mem::replace(&mut cell.retry_is_planned, true);
        is_needed.then_some(cell.troubles.known().refused_in_a_row)
    }

    /// Whether a stop waits for somebody to save its end.
    pub(crate) fn has_unsaved_stop(&self) -> bool {
        self.cell.lock().has_unsaved_stop()
    }

    /// A stop that could not be saved is saved again, if there is one.
    pub(crate) fn retry_stop(&self, now: Duration, revisions: &Revisions) -> Option<Stop<R>> {
        let mut cell = self.cell.lock();
        cell.retry_is_planned = false;
        // Also after a shutdown that has given up waiting: it is the last who can.
        cell.has_unsaved_stop().then(|| cell.finish_stop(now, revisions))
    }

    /// The stop of a job that is at rest, stopped, durably; `None` if it is not.
    pub(crate) fn stop_at_rest(&self) -> Option<Ticket> {
        let cell = self.cell.lock();
        (cell.state == JobState::Stopped && !cell.gone).then(|| cell.at_rest())
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
        self.poll(|cell| cell.outcome_of(ticket), key, waker)
    }

    /// What `outcome` says; if nothing yet, `waker` is woken when there is something new to know.
    pub(super) fn poll<T>(
        &self,
        outcome: impl FnOnce(&Cell<R>) -> Option<T>,
        key: &mut Option<WakerKey>,
        waker: Waker,
    ) -> Option<T> {
        let mut cell = self.cell.lock();
        let outcome = outcome(&cell);
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
        let troubles = self.troubles.known();
        if troubles.saves_refused > ticket.refusals_seen
            && let Some(error) = &troubles.unsaved
        {
            return Some(WaitOutcome::Refused(error.clone()));
        }
        self.closed.then_some(WaitOutcome::ShutDown)
    }

    fn stop_at_hand(&self) -> Option<Result<Ticket, Refused>> {
        if self.gone {
            return Some(Err(Refused::Gone));
        }
        match self.state {
            JobState::Stopped => Some(Ok(self.at_rest())),
            _ if self.closed => Some(Err(Refused::ShutDown)),
            JobState::Aborting => Some(Err(Refused::State(self.state))),
            JobState::Stopping if self.stop_is_durable && self.ends_elsewhere() => Some(Ok(self.ticket())),
            _ => None,
        }
    }

    fn ends_elsewhere(&self) -> bool {
        matches!(self.token, Token::OnThread | Token::Finishing)
    }

    /// The ticket of the stop under way.
    fn ticket(&self) -> Ticket {
        Ticket {
            run: self.run,
            ends_elsewhere: self.ends_elsewhere(),
            completes_as: self.stops_completed + 1,
            refusals_seen: self.troubles.known().saves_refused,
        }
    }

    /// The ticket of the last one.
    fn at_rest(&self) -> Ticket {
        Ticket { completes_as: self.stops_completed, ..self.ticket() }
    }

    fn stop(&mut self, now: Duration, revisions: &Revisions) -> Result<Stop<R>, Refused> {
        if let Some(answer) = self.stop_at_hand() {
            return answer.map(|ticket| Stop { ticket, signal: self.signal.clone(), parked: None, save: None });
        }
        let before = self.state;
        self.go(Transition::Stop);
        if before != JobState::Stopping {
            (self.stop_is_durable, self.is_followed) = (false, false);
        }
        if self.ends_elsewhere() {
            let save = (!self.stop_is_durable).then(|| self.snapshot(StoredState::Stopped, revisions));
            return Ok(Stop { ticket: self.ticket(), signal: self.signal.clone(), parked: None, save });
        }
        if before == JobState::Indexing {
            let ended = RunEnded { run: self.run, outcome: RunOutcome::Stopped };
            self.tell(Event::Run(ended));
            self.retrying = false;
        }
        Ok(self.finish_stop(now, revisions))
    }

    /// The stop of a job that no thread has: from now on it is whoever asks who finishes it.
    fn finish_stop(&mut self, now: Duration, revisions: &Revisions) -> Stop<R> {
        let (ticket, parked) = (self.ticket(), self.token.take_parked());
        self.token = Token::Finishing;
        self.enter(Phase::Saving, now);
        let save = Some(self.snapshot(StoredState::Stopped, revisions));
        Stop { ticket, signal: self.signal.clone(), parked, save }
    }
}

impl View {
    /// For how long the job has been in its phase.
    pub(crate) fn in_phase_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.phase_since)
    }
}
