//! Refresh: a job rolls a stretch of time up again, whether or not anybody has said that it has changed.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;

use super::RollupJobManager;
use super::late_data::instants;
use super::operation::{Operation, Refusal, operation_error};
use crate::clock::{Clock, Deadline};
use crate::job::{JobState, Progress};
use crate::lifecycle::{Lifecycle, Repaired, WakerKey};
use crate::ranges::merged;
use crate::runtime::Run;
use crate::store::StoreError;
use crate::sync::{Arc, Crew};

/// A stretch of time is not rolled up again, or was not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is no such job.
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// Only a started job rolls up again.
    #[error("cannot refresh rollup job [{job_id}] because it is {state}: it must be started before")]
    NotStarted {
        /// The job.
        job_id: String,
        /// Its state.
        state: JobState,
    },
    /// No instant is in the range.
    #[error(
        "cannot refresh rollup job [{job_id}]: the range ends at [{until}] and does not begin before, but at [{from}]"
    )]
    Empty {
        /// The job.
        job_id: String,
        /// Where it begins.
        from: Timestamp,
        /// Where it ends.
        until: Timestamp,
    },
    /// The job's runs have ended without it: they failed, the job was stopped, or raw documents are not there any
    /// more. As far as it can be done, a later run does it.
    #[error("rollup job [{job_id}] has not rolled everything up again: {reason}")]
    NotDone {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// It is still under way, and goes on.
    #[error(
        "timed out after [{}] while waiting for rollup job [{job_id}] to roll up again",
        crate::human::duration(*waited)
    )]
    Timeout {
        /// The job.
        job_id: String,
        /// For how long somebody has waited.
        waited: Duration,
    },
    /// The job's stored record cannot be read; the job can only be deleted.
    #[error("cannot refresh rollup job [{job_id}] because its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not refresh rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The job store did not take it. A later run may do it, or a part of it, all the same.
    #[error("could not refresh rollup job [{job_id}]")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// The manager is shut down. What was asked for is not forgotten: it is done when the jobs run again.
    #[error("could not refresh rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

operation_error!(RefreshError, |job_id, state| RefreshError::NotStarted { job_id, state });

impl RollupJobManager {
    /// Has a started job roll a stretch of time up again, in whole date buckets, as far as it is rolled up: a run
    /// begins for it, or follows the one under way. It does not wait; the answer is there to wait for.
    ///
    /// Until it is done searches read this stretch raw. What is [sealed](crate::Ledger::seals) stays as it is.
    ///
    /// # Errors
    /// [`RefreshError`]: nothing is rolled up again, but see [`Store`](RefreshError::Store).
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::jiff::Timestamp;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// # manager.start("sensor")?;
    /// let (from, until): (Timestamp, Timestamp) = ("2026-01-01T00:00:00Z".parse()?, "2026-01-02T00:00:00Z".parse()?);
    /// manager.refresh("sensor", from..until)?.wait(Duration::from_secs(30))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh(&self, job_id: &str, range: Range<Timestamp>) -> Result<Refresh, RefreshError> {
        if range.start >= range.end {
            return Err(RefreshError::Empty { job_id: job_id.to_owned(), from: range.start, until: range.end });
        }
        let Operation { job, .. } = &self.begin(job_id).map_err(|refusal| refusal.of(job_id))?;
        let state = job.lifecycle.view().state;
        if !matches!(state, JobState::Started | JobState::Indexing) {
            return Err(Refusal::State(state).of(job_id));
        }
        job.confirm().map_err(|source| Refusal::from(source).of(job_id))?;
        let (progress, context) = (job.progress(), job.context());
        let covered = progress.covered();
        let asked = context.config().rounding().buckets_of(&super::change::milliseconds(&range));
        let asked = asked.start.max(covered.start)..asked.end.min(covered.end);
        let mut notes = Vec::new();
        if !asked.is_empty() {
            let said = self.runtime.ask_again(job_id, &progress, std::slice::from_ref(&asked));
            notes = said.map_err(|source| Refusal::from(source).of(job_id))?;
            if notes.is_empty() {
                let reason = "its engine does not say which source indices it reads".to_owned();
                return Err(RefreshError::NotDone { job_id: job_id.to_owned(), reason });
            }
            job.run_soon().map_err(|refused| Refusal::from(refused).of(job_id))?;
        }
        let asked = Asked {
            job_id: Arc::clone(job.shared_id()),
            lifecycle: job.lifecycle.clone(),
            clock: Arc::clone(&self.runtime.clock),
            own_threads: self.runtime.own_threads.clone(),
            range: asked,
            notes,
        };
        Ok(Refresh { asked: Arc::new(asked), waker: None })
    }
}

/// A stretch of time that a job rolls up again, to wait for: by a thread, with [`wait`](Self::wait), or by a task, with
/// `.await`. Dropping it changes nothing.
#[must_use = "it is done whether or not it is waited for, but how it ends is said here"]
pub struct Refresh {
    asked: Arc<Asked>,
    /// The place of its task among those to be woken.
    waker: Option<WakerKey>,
}

/// It holds neither engine nor store, as the handle on a stop.
struct Asked {
    job_id: Arc<str>,
    lifecycle: Lifecycle<Box<Run>>,
    clock: Arc<dyn Clock>,
    own_threads: Crew,
    range: Range<i64>,
    /// By index, the number under which it was noted.
    notes: Vec<(String, u64)>,
}

impl Refresh {
    /// What is still to be rolled up again, in order.
    #[must_use]
    pub fn left(&self) -> Vec<Range<Timestamp>> {
        instants(&self.asked.left(&self.asked.lifecycle.view().progress))
    }

    /// Whether everything is rolled up again. Never blocks.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.left().is_empty()
    }

    /// Blocks until everything is rolled up again, for at most `timeout`. From one of the manager's own threads it does
    /// not block: it times out at once unless it is done.
    ///
    /// # Errors
    /// [`RefreshError::NotDone`], [`RefreshError::NotFound`], [`RefreshError::ShutDown`], [`RefreshError::Timeout`].
    pub fn wait(&self, timeout: Duration) -> Result<(), RefreshError> {
        let asked = &self.asked;
        let timeout = if asked.own_threads.has_current() { Duration::ZERO } else { timeout };
        let deadline = Deadline::after(&*asked.clock, timeout);
        let is_done = |progress: &Progress| asked.left(progress).is_empty();
        let outcome = asked.lifecycle.wait_until_repaired(is_done, &*asked.clock, deadline);
        asked.result(outcome, timeout)
    }
}

impl Future for Refresh {
    type Output = Result<(), RefreshError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { asked, waker } = self.get_mut();
        let is_done = |progress: &Progress| asked.left(progress).is_empty();
        match asked.lifecycle.poll_repaired(is_done, waker, context.waker().clone()) {
            Some(outcome) => Poll::Ready(asked.result(outcome, Duration::ZERO)),
            None => Poll::Pending,
        }
    }
}

impl Clone for Refresh {
    /// Another handle on the same, for another thread or task.
    fn clone(&self) -> Self {
        Self { asked: Arc::clone(&self.asked), waker: None }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        if let Some(waker) = &self.waker {
            self.asked.lifecycle.forget_waker(waker);
        }
    }
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("job_id", &self.asked.job_id)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

impl Asked {
    fn left(&self, progress: &Progress) -> Vec<Range<i64>> {
        let open = |(index, number): &(String, u64)| progress.cured.open_within(index, &self.range, *number..=u64::MAX);
        // What is not rolled up any more is rolled up from now on.
        let covered = progress.covered();
        let left = self.notes.iter().flat_map(open);
        merged(left.map(|range| range.start.max(covered.start)..range.end.min(covered.end)))
    }

    fn result(&self, outcome: Repaired, waited: Duration) -> Result<(), RefreshError> {
        let job_id = self.job_id.to_string();
        match outcome {
            Repaired::Done => Ok(()),
            Repaired::Gone => Err(RefreshError::NotFound { job_id }),
            Repaired::ShutDown => Err(RefreshError::ShutDown { job_id }),
            Repaired::TimedOut => Err(RefreshError::Timeout { job_id, waited }),
            Repaired::NotDone(JobState::Started, Some(error)) => {
                Err(RefreshError::NotDone { job_id, reason: error.to_string() })
            }
            Repaired::NotDone(JobState::Started, None) => {
                let reason = "raw documents are sealed there, or not there any more".to_owned();
                Err(RefreshError::NotDone { job_id, reason })
            }
            Repaired::NotDone(state, _) => Err(RefreshError::NotDone { job_id, reason: format!("it is {state}") }),
        }
    }
}
