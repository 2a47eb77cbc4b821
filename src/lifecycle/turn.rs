//! Turns: how a run passes between the queue, a thread and the timer, and how it ends.

use std::time::Duration;

use super::Lifecycle;
use super::cell::{Snapshot, Token};
use super::revisions::Revisions;
use super::transition::Event as Transition;
use crate::job::{JobState, Phase, Progress, StoredState};
use crate::observer::{Event, RunEnded, RunOutcome, TurnEnded};
use crate::store::StoreError;
use crate::sync::Arc;

/// What a run wants to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfTurn {
    /// Go on at the back of the queue.
    Continue,
    /// Try again after a while.
    BackOff,
    /// Go on after a while: it is to take its time.
    Pause,
    /// It is over.
    Over(RunOutcome),
}

/// What became of a turn.
pub(crate) enum Published<R> {
    /// A stop came while the end was being saved: the end has to be saved again, as a stop.
    Again(R),
    /// The run is in the queue; `push` says whether the job has to be put there.
    Queued { push: bool },
    /// The run waits for its next try, which somebody has to arrange.
    BackingOff,
    /// The run is over, or parked by the shutdown; what is left of it has to be dropped.
    Over(R),
}

impl<R: Send + 'static> Lifecycle<R> {
    /// Gives the run to the indexer thread that took the job out of the queue; none if it is no longer for it to run.
    pub(crate) fn take_turn(&self, now: Duration) -> Option<R> {
        let mut cell = self.cell.lock();
        cell.in_queue = false;
        match std::mem::replace(&mut cell.token, Token::None) {
            Token::Queued(run) => {
                cell.token = Token::OnThread;
                cell.enter(Phase::Searching, now);
                Some(run)
            }
            other => {
                cell.token = other;
                None
            }
        }
    }

    /// The back-off of `run` is over. Says whether the job has to be put into the queue.
    pub(crate) fn end_back_off(&self, run: u64, now: Duration) -> bool {
        let mut cell = self.cell.lock();
        match std::mem::replace(&mut cell.token, Token::None) {
            Token::BackingOff(parked) if cell.run == run => cell.queue(parked, now),
            other => {
                cell.token = other;
                false
            }
        }
    }

    /// What is to be saved at the end of a turn: how far the job has come, as a stop if one was asked for; nothing if
    /// there is no progress (`None`), and the store knows the rest. The flag says whether it is a stop.
    pub(crate) fn end_of_turn(
        &self,
        end: EndOfTurn,
        progress: Option<&Progress>,
        now: Duration,
        revisions: &Revisions,
    ) -> (Option<Snapshot>, bool) {
        let (progress, has_progress) = (progress.cloned(), progress.is_some());
        let mut cell = self.cell.lock();
        if let Some(mut progress) = progress {
            // Triggers are counted in the cell.
            progress.stats.trigger_count = cell.progress.stats.trigger_count;
            cell.progress = Arc::new(progress);
        }
        cell.enter(Phase::Saving, now);
        let is_stop = cell.state == JobState::Stopping;
        let state = match end {
            _ if is_stop => StoredState::Stopped,
            EndOfTurn::Over(RunOutcome::Finished | RunOutcome::Failed | RunOutcome::Stopped) => StoredState::Started,
            _ => StoredState::Indexing,
        };
        // Whoever asked for a stop may still be saving it, or be refused.
        let is_known = !has_progress && !is_stop && cell.is_recorded(state);
        let snapshot = (!is_known).then(|| cell.snapshot(state, revisions));
        (snapshot, is_stop)
    }

    /// The end of a turn was saved (as a stop, if `was_stop`), or not. Publishes it and wakes waiters.
    pub(crate) fn publish(
        &self,
        run: R,
        end: EndOfTurn,
        was_stop: bool,
        saved: &Result<(), StoreError>,
        now: Duration,
    ) -> Published<R> {
        let mut cell = self.cell.lock();
        if !was_stop && cell.state == JobState::Stopping {
            return Published::Again(run);
        }
        let published = match (saved, end) {
            _ if was_stop => {
                let has_failed = saved.is_ok() && end == EndOfTurn::Over(RunOutcome::Failed);
                cell.end_run(if has_failed { RunOutcome::Failed } else { RunOutcome::Stopped });
                cell.end_stop(saved, now);
                Published::Over(run)
            }
            (_, EndOfTurn::BackOff | EndOfTurn::Pause) if !cell.shutting_down => {
                cell.troubles.note_unsaved(None);
                cell.retrying = end == EndOfTurn::BackOff;
                cell.token = Token::BackingOff(run);
                cell.enter(Phase::BackingOff, now);
                Published::BackingOff
            }
            (Err(error), _) => {
                cell.troubles.note_unsaved(Some(error));
                cell.end_run(RunOutcome::Failed);
                cell.go(Transition::RunEnded);
                cell.token = Token::None;
                cell.enter(Phase::Idle, now);
                Published::Over(run)
            }
            (Ok(()), EndOfTurn::Over(outcome)) => {
                cell.troubles.note_unsaved(None);
                cell.end_run(outcome);
                if outcome != RunOutcome::Interrupted {
                    cell.go(Transition::RunEnded);
                }
                cell.token = Token::None;
                cell.enter(Phase::Idle, now);
                Published::Over(run)
            }
            // The run stays `indexing`, on disk too, and goes on after the next open.
            (Ok(()), _) if cell.shutting_down => {
                cell.end_run(RunOutcome::Interrupted);
                cell.token = Token::None;
                cell.enter(Phase::Idle, now);
                Published::Over(run)
            }
            (Ok(()), _) => {
                cell.troubles.note_unsaved(None);
                cell.retrying = false;
                Published::Queued { push: cell.queue(run, now) }
            }
        };
        self.announce(cell);
        published
    }

    /// A turn has unwound before it published its end, by a bug of ours: nobody must wait for it for ever.
    pub(crate) fn turn_was_lost(&self, now: Duration) {
        let lost = StoreError::rejected("the end of a turn was lost by a bug in this crate: please report it");
        let mut cell = self.cell.lock();
        cell.end_run(RunOutcome::Failed);
        if cell.state == JobState::Stopping {
            cell.end_stop(&Err(lost), now);
        } else {
            cell.go(Transition::RunEnded);
            cell.token = Token::None;
            cell.troubles.note_unsaved(Some(&lost));
            cell.enter(Phase::Idle, now);
        }
        self.announce(cell);
    }

    /// A turn delivered something that is durable now.
    pub(crate) fn note_turn(&self, turn: TurnEnded) {
        self.cell.lock().tell(Event::Turn(Box::new(turn)));
    }
}

impl<R> super::cell::Cell<R> {
    pub(super) fn end_run(&mut self, outcome: RunOutcome) {
        self.retrying = false;
        match outcome {
            RunOutcome::Finished => self.troubles.note_run(false),
            RunOutcome::Failed => self.troubles.note_run(true),
            RunOutcome::Stopped | RunOutcome::Interrupted => {}
        }
        let ended = RunEnded { run: self.run, outcome };
        self.tell(Event::Run(ended));
    }
}
