//! `Observer`: how a host hears of what its jobs do.

use crate::guard::guarded;
use crate::job::{JobError, JobState, JobStats, LateDocuments, Position};

#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;

/// Hears of every change, after it was published, in the order of the changes of each job.
///
/// The methods run on the manager's own threads, outside all locks. A slow one holds an indexer thread, and so other
/// jobs and a shutdown, but never a stop; one that panics harms nobody. All of the manager may be called from them; a
/// stop that would have to wait does not wait there (see [`RollupJobManager::stop`](crate::RollupJobManager::stop)).
pub trait Observer: Send + Sync {
    /// A job changed its state.
    fn state_changed(&self, job_id: &str, change: &StateChange) {
        let _ = (job_id, change);
    }

    /// A turn of a run ended; what it delivered is durable.
    fn turn_ended(&self, job_id: &str, turn: &TurnEnded) {
        let _ = (job_id, turn);
    }

    /// A run ended.
    fn run_ended(&self, job_id: &str, run: &RunEnded) {
        let _ = (job_id, run);
    }

    /// Something went wrong. It is also in the job's status.
    fn error(&self, job_id: &str, error: &JobError) {
        let _ = (job_id, error);
    }

    /// Documents came after their time was rolled up: those that were noticed now.
    fn late_documents(&self, job_id: &str, late: &LateDocuments) {
        let _ = (job_id, late);
    }

    /// The observers were not told in time: of what happened to the job before the next event `missed` events are
    /// lost, since no more than 1,024 are kept for a job. Its status says how it is.
    fn lagged(&self, job_id: &str, missed: u64) {
        let _ = (job_id, missed);
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The state before.
    pub from: JobState,
    /// The state now.
    pub to: JobState,
}

/// The end of a turn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TurnEnded {
    /// The number of the run.
    pub run: u64,
    /// The number of the turn in its run, from 1.
    pub turn: u64,
    /// How far the job has come.
    pub position: Option<Position>,
    /// What it has done so far.
    pub stats: JobStats,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunEnded {
    /// The number of the run.
    pub run: u64,
    /// How it ended.
    pub outcome: RunOutcome,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunOutcome {
    /// No complete bucket is left.
    Finished,
    /// Somebody stopped the job.
    Stopped,
    /// Something failed for good, or too often; the next trigger tries again.
    Failed,
    /// The manager shut down; the run goes on when it is opened again.
    Interrupted,
}

/// What an observer is told, kept in order until it is told.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    State(StateChange),
    Turn(Box<TurnEnded>),
    Run(RunEnded),
    Error(Box<JobError>),
    Late(Box<LateDocuments>),
    Lagged(u64),
}

impl Event {
    /// Tells one observer, and survives it.
    pub(crate) fn tell(&self, observer: &dyn Observer, job_id: &str) {
        // A panic has been printed by the panic hook already, and there is nobody else to tell.
        let _ = guarded(|| match self {
            Self::State(change) => observer.state_changed(job_id, change),
            Self::Turn(turn) => observer.turn_ended(job_id, turn),
            Self::Run(run) => observer.run_ended(job_id, run),
            Self::Error(error) => observer.error(job_id, error),
            Self::Late(late) => observer.late_documents(job_id, late),
            Self::Lagged(missed) => observer.lagged(job_id, *missed),
        });
    }
}
