//! Stop many: all are asked first, then all are waited for.

use super::operation::Refusal;
use super::selector::{JobSelector, Selected};
use super::stop::{StopOptions, Stopped};
use super::stop_error::StopError;
use super::{Entry, RollupJobManager};
use crate::sync::Arc;

/// What became of the jobs that were to be stopped: one outcome each, sorted by id.
#[derive(Debug, Clone, Default)]
#[must_use = "some jobs may not have stopped"]
pub struct StopReport {
    outcomes: Vec<(Arc<str>, Result<Stopped, StopError>)>,
}

impl StopReport {
    /// Each job with what [`stop`](RollupJobManager::stop) would have answered.
    #[must_use]
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = (&str, &Result<Stopped, StopError>)> {
        self.outcomes.iter().map(|(id, outcome)| (&**id, outcome))
    }

    /// The jobs that were not stopped, or not in time.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &StopError)> {
        self.outcomes().filter_map(|(id, outcome)| outcome.as_ref().err().map(|error| (id, error)))
    }

    /// Whether every job was at rest when the call returned. True of none at all.
    #[must_use]
    pub fn all_at_rest(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| outcome.as_ref().is_ok_and(Stopped::is_at_rest))
    }

    /// How many jobs the selector meant.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether the selector meant no job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }
}

/// A selector was refused. No job was stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopManyError {
    /// A part of the selector matches no job, and [`allow_no_match`](JobSelector::allow_no_match) is `false`.
    #[error("no rollup job matches [{}]", parts.join(","))]
    NoMatch {
        /// The parts that match nothing.
        parts: Vec<String>,
    },
    /// The selector says nothing.
    #[error("the selector of rollup jobs is empty: name ids, wildcards, or [_all]")]
    EmptySelector,
}

impl RollupJobManager {
    /// Stops all jobs that `selector` means, such as `"sensor-*, gateway"` or `"_all"`: requests first, then waits,
    /// with one deadline for all of them. What has to be saved goes to the store together, a thousand jobs a call;
    /// the call may overrun its timeout by these.
    ///
    /// Each job ends as with [`stop`](Self::stop), and no job's failure keeps the others from being stopped.
    ///
    /// # Errors
    /// [`StopManyError`]; no job was stopped then. What a job itself answered is in the report.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// use rollup_jobs::StopOptions;
    ///
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// let wait = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
    /// let report = manager.stop_many("sensor-*", wait)?;
    /// for (job_id, error) in report.failures() {
    ///     println!("{job_id}: {error}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_many(
        &self,
        selector: impl Into<JobSelector>,
        options: StopOptions,
    ) -> Result<StopReport, StopManyError> {
        let deadline = self.deadline(&options);
        let selector = selector.into();
        if selector.is_empty() {
            return Err(StopManyError::EmptySelector);
        }
        let Selected { entries, unmatched } = self.select(&selector);
        if !selector.allows_no_match() && !unmatched.is_empty() {
            return Err(StopManyError::NoMatch { parts: unmatched });
        }
        let jobs: Vec<_> = entries
            .iter()
            .filter_map(|(_, entry)| match entry {
                Some(Entry::Job(job)) => Some(&**job),
                _ => None,
            })
            .collect();
        let mut asked = self.ask_all_to_stop(&jobs).into_iter();
        let outcomes = entries.into_iter().map(|(id, entry)| {
            let outcome = match entry {
                Some(Entry::Job(job)) => match asked.next() {
                    Some(asked) => asked.and_then(|asked| self.answer(&job, asked, deadline)),
                    None => Err(Refusal::NotFound.of(&id)),
                },
                Some(Entry::Broken(broken)) => Err(Refusal::Unreadable(broken.reason.clone()).of(&id)),
                Some(Entry::Reserved) | None => Err(Refusal::NotFound.of(&id)),
            };
            (id, outcome)
        });
        Ok(StopReport { outcomes: outcomes.collect() })
    }
}
