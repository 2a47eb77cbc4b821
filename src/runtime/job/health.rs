//! How is it? What a person should know of a job, and whether it needs one.

use std::time::Duration;

use jiff::Timestamp;

use super::Job;
use crate::guard::texts_of;
use crate::human;
use crate::job::{Health, JobState, Position};
use crate::lifecycle::View;
use crate::ownership::OwnerState;
use crate::schedule::Scheduled as _;

/// How many failed runs in a row need a person.
const FAILED_RUNS_TO_RED: u32 = 3;

impl Job {
    pub(super) fn health(&self, view: &View, owner: &OwnerState, now: Duration, never_fires: bool) -> Health {
        let last = || view.errors.last().map_or_else(String::new, |error| format!(": {error}"));
        let in_phase = view.in_phase_for(now);
        if let OwnerState::Lost { error, .. } = owner {
            return Health::red(format!("somebody else owns the rollup jobs: {}", texts_of(error).join(": ")));
        }
        if let Some(error) = &view.unsaved {
            return Health::red(format!("the state could not be saved: {}", texts_of(error).join(": ")));
        }
        if view.phase.is_engine_call() && in_phase >= self.runtime.settings.wedged_after {
            return Health::red(format!(
                "an engine call has not returned: {} for {}",
                view.phase,
                human::duration(in_phase)
            ));
        }
        if self.runtime.is_paused() && matches!(view.state, JobState::Started | JobState::Indexing) {
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
        if let Some(reason) = self.changed_for_long(view, now) {
            return Health::yellow(reason);
        }
        if never_fires {
            return Health::yellow(self.never_fires());
        }
        self.early(view.progress.position.as_ref()).map_or(Health::GREEN, Health::yellow)
    }

    /// For people: what has changed since it was rolled up, if that is known for longer than it should be.
    fn changed_for_long(&self, view: &View, now: Duration) -> Option<String> {
        let (since, oldest) = view.changed?;
        let known_for = now.saturating_sub(since);
        let is_long = known_for >= self.context().config().late_data().warns_after();
        is_long.then(|| {
            let from =
                Timestamp::from_millisecond(oldest).map_or_else(|_| "the beginning".to_owned(), |at| at.to_string());
            let known_for = human::duration(known_for);
            format!("documents from {from} on have changed, and are not rolled up again for {known_for}")
        })
    }

    /// For people: until when a date bucket goes on that was rolled up too early, if the last one was.
    pub(in crate::runtime) fn early(&self, position: Option<&Position>) -> Option<String> {
        let end = self.context().config().early_until(position?, self.runtime.clock.now())?;
        Some(format!(
            "a clock that was ahead has rolled up a date bucket that goes on until {end}: \
             what comes for it until then is left out"
        ))
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
        if self.next_after(self.runtime.clock.now()).is_none() {
            self.note(self.lifecycle.view().run, self.never_fires());
        }
    }
}
