//! What a caller gets to see of a job: its status, and how it is.

use std::time::Duration;

use super::job::Job;
use super::turn::early;
use crate::guard::texts_of;
use crate::human;
use crate::job::{Health, JobState, JobStatus, Phase, StatusParts};
use crate::lifecycle::View;
use crate::ownership::OwnerState;
use crate::schedule::Scheduled as _;
use crate::sync::Arc;

/// How many failed runs in a row need a person.
const FAILED_RUNS_TO_RED: u32 = 3;

impl Job {
    pub(crate) fn status(&self) -> JobStatus {
        let view = self.lifecycle.view();
        let now = self.indexer.clock.monotonic();
        let runs = matches!(view.state, JobState::Started | JobState::Indexing);
        let owner = self.indexer.owner.state(now);
        let (phase, phase_since) = match &owner {
            OwnerState::Lost { since, .. } => (Phase::LostOwnership, *since),
            _ => (view.phase, view.phase_since),
        };
        let is_owned = phase != Phase::LostOwnership;
        let next_run = (runs && is_owned).then(|| self.indexer.timer.armed_for(self.key)).flatten();
        // Most jobs that are looked at are armed, and to look for a time takes longer than all the rest.
        let never_fires = next_run.is_none() && self.next_after(self.indexer.clock.now()).is_none();
        JobStatus::new(StatusParts {
            id: self.id().to_owned(),
            config: Some(Arc::clone(self.context().config())),
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
        })
    }

    fn health(&self, view: &View, owner: &OwnerState, now: Duration, never_fires: bool) -> Health {
        let last = || view.errors.last().map_or_else(String::new, |error| format!(": {error}"));
        let in_phase = view.in_phase_for(now);
        if let OwnerState::Lost { error, .. } = owner {
            return Health::red(format!("somebody else owns the rollup jobs: {}", texts_of(error).join(": ")));
        }
        if let Some(error) = &view.unsaved {
            return Health::red(format!("the state could not be saved: {}", texts_of(error).join(": ")));
        }
        if view.phase.is_engine_call() && in_phase >= self.indexer.settings.wedged_after {
            return Health::red(format!(
                "an engine call has not returned: {} for {}",
                view.phase,
                human::duration(in_phase)
            ));
        }
        if self.indexer.is_paused() && matches!(view.state, JobState::Started | JobState::Indexing) {
            return Health::yellow("the manager was opened paused: nothing runs until it is resumed");
        }
        if let OwnerState::Lapsed { since, failure } = owner {
            let failure =
                failure.as_ref().map_or_else(String::new, |error| format!(": {}", texts_of(error).join(": ")));
            let paused = human::duration(now.saturating_sub(*since));
            return Health::yellow(format!(
                "paused for {paused}, since the ownership of the job store could not be renewed{failure}"
            ));
        }
        if view.failed_runs >= FAILED_RUNS_TO_RED {
            return Health::red(format!("{} runs in a row failed{}", view.failed_runs, last()));
        }
        if view.retrying {
            return Health::yellow(format!("retrying{}", last()));
        }
        if view.failed_runs > 0 {
            return Health::yellow(format!("the last run failed{}", last()));
        }
        if view.has_no_source {
            let context = self.context();
            let pattern = context.config().index_pattern();
            return Health::yellow(format!(
                "the index pattern [{pattern}] means no index any more: nothing can be rolled up"
            ));
        }
        if never_fires {
            return Health::yellow(self.never_fires());
        }
        let (context, position) = (self.context(), view.progress.position.as_ref());
        if let Some(end) =
            position.and_then(|position| context.config().early_until(position, self.indexer.clock.now()))
        {
            return Health::yellow(early(end));
        }
        Health::GREEN
    }

    /// For people: the schedule has no time to come.
    pub(crate) fn never_fires(&self) -> String {
        format!(
            "the schedule [{}] has no time to come: only a trigger runs the job",
            self.context().config().schedule()
        )
    }

    /// Says so in a notice, if its cron expression has other times in Elasticsearch.
    pub(crate) fn note_other_times_elsewhere(&self) {
        let context = self.context();
        let schedule = context.config().schedule();
        if let Some(ignored) = schedule.ignored_by_elasticsearch() {
            self.note(
                self.lifecycle.view().run,
                format!(
                    "[{schedule}] runs at other times than in Elasticsearch, which does not heed all of [{ignored}]"
                ),
            );
        }
    }

    /// Says so in a notice, if it never fires.
    pub(crate) fn note_if_it_never_fires(&self) {
        if self.next_after(self.indexer.clock.now()).is_none() {
            self.note(self.lifecycle.view().run, self.never_fires());
        }
    }
}
