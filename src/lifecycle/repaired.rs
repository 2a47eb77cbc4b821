//! Waiting until what a job has rolled up has what it should.

use std::task::Waker;

use super::cell::{Cell, Token};
use super::{Lifecycle, WakerKey};
use crate::clock::{Clock, Deadline, wait_until};
use crate::job::{JobError, JobState, Progress};

/// What became of something that the runs of a job are to do.
#[derive(Debug)]
pub(crate) enum Repaired {
    Done,
    /// No run is under way that would do it. In which state the job is, and the last error of its last run.
    NotDone(JobState, Option<JobError>),
    Gone,
    ShutDown,
    TimedOut,
}

impl<R: Send + 'static> Lifecycle<R> {
    /// Waits until a progress is one that `is_done` calls done, or no run is under way any more.
    pub(crate) fn wait_until_repaired(
        &self,
        is_done: impl Fn(&Progress) -> bool,
        clock: &dyn Clock,
        deadline: Deadline,
    ) -> Repaired {
        let outcome = |cell: &Cell<R>| cell.repaired(&is_done);
        wait_until(clock, &self.cell, deadline, outcome).unwrap_or(Repaired::TimedOut)
    }

    /// The same for a future; if there is nothing to say yet, `waker` is woken when there is something new to know.
    pub(crate) fn poll_repaired(
        &self,
        is_done: impl Fn(&Progress) -> bool,
        key: &mut Option<WakerKey>,
        waker: Waker,
    ) -> Option<Repaired> {
        self.poll(|cell| cell.repaired(&is_done), key, waker)
    }
}

impl<R> Cell<R> {
    fn repaired(&self, is_done: &impl Fn(&Progress) -> bool) -> Option<Repaired> {
        if is_done(&self.progress) {
            return Some(Repaired::Done);
        }
        if self.gone {
            return Some(Repaired::Gone);
        }
        if self.closed || self.shutting_down {
            return Some(Repaired::ShutDown);
        }
        let is_over = matches!(self.token, Token::None) && !self.is_followed;
        let error = self.troubles.known().errors.last().filter(|error| error.run == self.run);
        is_over.then(|| Repaired::NotDone(self.state, error.cloned()))
    }
}
