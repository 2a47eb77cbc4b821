use tracing::{debug, info, warn};

use super::{Observer, RunEnded, RunOutcome, StateChange, TurnEnded};
use crate::human;
use crate::job::{JobError, LateDocuments};

/// Reports every event through `tracing`: states and runs at info, turns at debug, errors at warn. Give it to
/// [`RollupJobManagerBuilder::observer`](crate::RollupJobManagerBuilder::observer).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TracingObserver;

impl TracingObserver {
    /// The observer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Observer for TracingObserver {
    fn state_changed(&self, job_id: &str, change: &StateChange) {
        info!(job = job_id, from = %change.from, to = %change.to, "rollup job changed its state");
    }

    fn turn_ended(&self, job_id: &str, turn: &TurnEnded) {
        let position = turn.position.as_ref().map(ToString::to_string);
        let rollups = turn.stats.rollups_indexed();
        debug!(job = job_id, run = turn.run, turn = turn.turn, position, rollups, "rollup job ended a turn");
    }

    fn run_ended(&self, job_id: &str, run: &RunEnded) {
        match run.outcome {
            RunOutcome::Failed => warn!(job = job_id, run = run.run, "run of rollup job failed"),
            outcome => info!(job = job_id, run = run.run, ?outcome, "run of rollup job ended"),
        }
    }

    fn late_documents(&self, job_id: &str, late: &LateDocuments) {
        let (documents, refused) = (late.noticed, late.refused);
        let latest = late.lateness.max().map(|latest| human::duration(latest).to_string());
        info!(job = job_id, documents, refused, latest, "documents came late for rollup job");
    }

    fn lagged(&self, job_id: &str, missed: u64) {
        warn!(job = job_id, missed, "events of rollup job were lost: the observers are too slow");
    }

    fn error(&self, job_id: &str, error: &JobError) {
        warn!(job = job_id, run = error.run(), phase = %error.phase(), transient = error.is_transient(), %error, "rollup job met an error");
    }
}
