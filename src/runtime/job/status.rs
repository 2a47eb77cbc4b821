//! What a caller gets to see of a job.

use super::Job;
use crate::job::{JobState, JobStatus, Phase, StatusParts};
use crate::ownership::OwnerState;
use crate::schedule::Scheduled as _;
use crate::sync::Arc;

impl Job {
    pub(crate) fn status(&self) -> JobStatus {
        let view = self.lifecycle.view();
        let now = self.runtime.clock.monotonic();
        let runs = matches!(view.state, JobState::Started | JobState::Indexing);
        let owner = self.runtime.owner.state(now);
        let (phase, phase_since) = match &owner {
            OwnerState::Lost { since, .. } => (Phase::LostOwnership, *since),
            _ => (view.phase, view.phase_since),
        };
        let is_owned = phase != Phase::LostOwnership;
        let next_run = (runs && is_owned).then(|| self.runtime.timer.armed_for(self.key)).flatten();
        // Most jobs that are looked at are armed, and to look for a time takes longer than all the rest.
        let never_fires = next_run.is_none() && self.next_after(self.runtime.clock.now()).is_none();
        JobStatus::new(StatusParts {
            id: self.id().to_owned(),
            definition: Some(Arc::clone(self.context().definition())),
            state: view.state,
            phase,
            in_phase_for: now.saturating_sub(phase_since),
            run: view.run,
            next_run,
            never_fires,
            health: self.health(&view, &owner, now, never_fires),
            progress: view.progress,
            last_errors: view.errors,
            notice: view.notice,
            reduced_page_size: view.reduced_page_size,
            late: view.late,
        })
    }
}
