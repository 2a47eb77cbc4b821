//! Where a job was when somebody had no more time to wait for it.

use std::fmt;
use std::time::Duration;

use crate::human;
use crate::job::{JobState, Phase, Position};
use crate::lifecycle::View;

/// A job that was not at rest when the time to wait for it ran out: what it was doing.
#[derive(Debug, Clone, PartialEq)]
pub struct BusyJob {
    job_id: String,
    state: JobState,
    phase: Phase,
    in_phase_for: Duration,
    run: u64,
    position: Option<Position>,
}

impl BusyJob {
    pub(super) fn new(job_id: &str, view: View, now: Duration) -> Self {
        Self {
            job_id: job_id.to_owned(),
            state: view.state,
            phase: view.phase,
            in_phase_for: view.in_phase_for(now),
            run: view.run,
            position: view.progress.position.clone(),
        }
    }

    /// The job.
    #[must_use]
    pub fn job_id(&self) -> &str {
        &self.job_id
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.state
    }

    /// What it was doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// For how long it had been doing that.
    #[must_use]
    pub fn in_phase_for(&self) -> Duration {
        self.in_phase_for
    }

    /// The run that was being ended.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// How far it was: what the engine has committed, though the job store may still have to hear of it.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// All but the name, for a sentence about it.
    pub(super) fn details(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            write!(
                f,
                "{}, {} for {}, in run {}",
                self.state,
                self.phase,
                human::duration(self.in_phase_for),
                self.run
            )?;
            self.position.as_ref().map_or(Ok(()), |position| write!(f, ", after {position}"))
        })
    }
}

impl fmt::Display for BusyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollup job [{}] is {}", self.job_id, self.details())
    }
}
