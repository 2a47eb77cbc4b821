//! Stop: the most trustworthy answer that a job system can give.

use std::fmt;
use std::time::Duration;

use super::{Missing, RollupJobManager};
use crate::clock::{Clock, Deadline};
use crate::indexer::{OwnThreads, Run, guarded};
use crate::job::{JobState, Phase, Position};
use crate::lifecycle::{Lifecycle, StopDecision, Ticket, WaitOutcome};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::Arc;

/// How a job is stopped.
#[derive(Debug, Clone)]
#[must_use]
pub struct StopOptions {
    wait_for_completion: bool,
    timeout: Duration,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self { wait_for_completion: false, timeout: Duration::from_secs(30) }
    }
}

impl StopOptions {
    /// The defaults, which are Elasticsearch's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to block until the job is at rest. Default: `false`; the stop is in force when the call returns, and goes on
    /// in the background.
    pub fn wait_for_completion(mut self, wait_for_completion: bool) -> Self {
        self.wait_for_completion = wait_for_completion;
        self
    }

    /// How long to block at most. Default: 30 s. [`Duration::MAX`] means for ever, zero to look once. (Elasticsearch takes
    /// -1 to look once as well.)
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A stop is in force, and durable: a crash does not undo it.
#[derive(Clone)]
#[must_use = "a job that is not at rest yet cannot be deleted"]
pub struct Stopped {
    job_id: String,
    run: u64,
    completion: StopCompletion,
    at_rest: bool,
}

impl Stopped {
    /// Whether the job was at rest when the call returned. It always is after waiting, unless the call came from one of the
    /// manager's own threads.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.at_rest
    }

    /// The job.
    #[must_use]
    pub fn job_id(&self) -> &str {
        &self.job_id
    }

    /// The number of the run that was ended or is ending, or of the last one; 0 if there never was one.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// A handle on this very stop, to wait for later. What happens to the job afterwards does not confuse it.
    #[must_use]
    pub fn completion(&self) -> StopCompletion {
        self.completion.clone()
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job_id, run, at_rest, .. } = self;
        f.debug_struct("Stopped")
            .field("job_id", job_id)
            .field("run", run)
            .field("at_rest", at_rest)
            .finish_non_exhaustive()
    }
}

/// One stop of one job, to wait for.
#[derive(Clone)]
pub struct StopCompletion {
    /// None if it was completed from the beginning.
    pending: Option<Pending>,
}

/// Holds neither engine nor store: who keeps an old handle must not keep a store file open.
#[derive(Clone)]
struct Pending {
    job_id: String,
    lifecycle: Arc<Lifecycle<Box<Run>>>,
    clock: Arc<dyn Clock>,
    own_threads: OwnThreads,
    ticket: Ticket,
}

impl StopCompletion {
    /// Whether the stop is completed. Never blocks.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.lifecycle.is_completed(pending.ticket))
    }

    /// Blocks until the stop is completed, for at most `timeout`. From one of the manager's own threads it does not block: it
    /// times out at once unless the stop is completed.
    ///
    /// # Errors
    /// [`StopError::Timeout`], [`StopError::Store`], [`StopError::LostOwnership`], [`StopError::ShutDown`], as
    /// [`RollupJobManager::stop`].
    pub fn wait(&self, timeout: Duration) -> Result<(), StopError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let timeout = if pending.own_threads.has_current() { Duration::ZERO } else { timeout };
        pending.wait(timeout, Deadline::after(&*pending.clock, timeout))
    }
}

impl fmt::Debug for StopCompletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopCompletion").field("completed", &self.is_completed()).finish()
    }
}

/// A stop was not answered with [`Stopped`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// There is no such job (404 in Elasticsearch).
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The time to wait ran out. The stop stays in force: the job still reaches `stopped`, and the call may be repeated.
    #[error(transparent)]
    Timeout(StopTimeout),
    /// The job store refused the save. The run ends all the same. If its end could not be saved either, the job is `stopping`,
    /// with red health, and the next stop tries again; until one gets through, a crash may bring it back as it was saved last.
    #[error("could not save the stop of rollup job [{job_id}]")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Another process owns the jobs now.
    #[error("could not stop rollup job [{job_id}]: another process owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The job is being deleted at this moment.
    #[error("cannot stop rollup job [{job_id}] because it is being deleted")]
    Aborting {
        /// The job.
        job_id: String,
    },
    /// The job's stored record cannot be read. Nothing of it runs, but a stop could not be stored; it can only be deleted.
    #[error("cannot stop rollup job [{job_id}] because its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The manager is shut down. If the stop was asked for before that, it is durable.
    #[error("could not stop rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

/// Where a job was when the time to wait for its stop ran out.
#[derive(Debug, Clone)]
pub struct StopTimeout {
    inner: Box<TimeoutInner>,
}

#[derive(Debug, Clone)]
struct TimeoutInner {
    job_id: String,
    waited: Duration,
    state: JobState,
    phase: Phase,
    in_phase_for: Duration,
    run: u64,
    position: Option<Position>,
}

impl StopTimeout {
    /// The job.
    #[must_use]
    pub fn job_id(&self) -> &str {
        &self.inner.job_id
    }

    /// The time that was waited: the `timeout` of the call.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.inner.waited
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.inner.state
    }

    /// What the job was doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.inner.phase
    }

    /// For how long it had been doing that.
    #[must_use]
    pub fn in_phase_for(&self) -> Duration {
        self.inner.in_phase_for
    }

    /// The run that is being ended.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.inner.run
    }

    /// How far the job is, durably.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.inner.position.as_ref()
    }
}

impl fmt::Display for StopTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeoutInner { job_id, waited, state, phase, in_phase_for, run, position } = &*self.inner;
        // Nobody wants to read nanoseconds.
        let people = |time: Duration| {
            humantime::format_duration(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
        };
        write!(
            f,
            "timed out after {} while waiting for rollup job [{job_id}] to stop: it is {state}, {phase} for {}, in run {run}",
            people(*waited),
            people(*in_phase_for)
        )?;
        if let Some(position) = position {
            write!(f, ", after {position}")?;
        }
        f.write_str("; the stop stays in force")
    }
}

impl std::error::Error for StopTimeout {}

impl RollupJobManager {
    /// Stops a job, whatever it is doing, with the clauses of Elasticsearch's Stop Rollup Job API: a stopped job stays as it
    /// is and that is a success; an unknown one is an error; `wait_for_completion` blocks until the job is at rest, for at
    /// most `timeout`.
    ///
    /// Beyond that: `stopped` means at rest *and* durable; the stop survives a crash from the moment the call returns; a
    /// timeout withdraws nothing. A search in flight is given up, a commit is awaited. A job that is between turns (idle,
    /// queued, backing off) stops in the calling thread. The save takes place there too, so that a store that is slow may
    /// make the call overrun its timeout by one store call.
    ///
    /// It may be called from anywhere. From one of the manager's own threads (an observer, an engine call) it never waits:
    /// the answer then says whether the job [is at rest](Stopped::is_at_rest).
    ///
    /// The core checks no privilege: who holds the manager may stop its jobs. (Elasticsearch wants `manage` or
    /// `manage_rollup`.)
    ///
    /// # Errors
    /// [`StopError`]. After `Timeout` the job still reaches `stopped`. After `Store` and `LostOwnership` the run ends all the
    /// same, but the job is `stopping` until its end, or a later stop, is saved. After `ShutDown` it is `stopping` or as it
    /// was. After any other the state is as it was.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// use rollup_jobs::{RollupJobManager, StopError, StopOptions};
    ///
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
    /// match manager.stop("sensor", options) {
    ///     Ok(stopped) => assert!(stopped.is_at_rest()),
    ///     Err(StopError::NotFound { job_id }) => println!("there is no job {job_id}"),
    ///     Err(StopError::Timeout(timeout)) => println!("still {} for {:?}", timeout.phase(), timeout.in_phase_for()),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self, job_id: &str, options: StopOptions) -> Result<Stopped, StopError> {
        let StopOptions { wait_for_completion, timeout } = options;
        let indexer = &self.indexer;
        // Only a call that waits needs the time of its entry.
        let deadline = if wait_for_completion { Deadline::after(&*indexer.clock, timeout) } else { Deadline::NEVER };
        let job = self.find(job_id).map_err(|missing| match missing {
            Missing::NotFound => StopError::NotFound { job_id: job_id.to_owned() },
            Missing::Unreadable(reason) => StopError::Unreadable { job_id: job_id.to_owned(), reason },
        })?;
        match job.lifecycle.stop(indexer.clock.monotonic(), &indexer.revisions) {
            StopDecision::AtRest { run } => Ok(stopped(job_id, run, None, true)),
            StopDecision::Finish { ticket, snapshot, parked, signal } => {
                signal.raise();
                // A stream that panics as it is dropped must not keep the stop from being finished.
                let _ = guarded(|| drop(parked));
                let saved = job.save(snapshot);
                job.lifecycle.stop_saved(saved.clone(), indexer.clock.monotonic());
                job.deliver_later();
                saved.map_err(|source| refused(job_id, source))?;
                Ok(stopped(job_id, ticket.run, None, true))
            }
            StopDecision::Join { ticket, save, signal } => {
                signal.raise();
                let saved = save.map_or(Ok(()), |snapshot| job.save(snapshot));
                if saved.is_ok() {
                    job.lifecycle.stop_request_saved(ticket);
                }
                job.deliver_later();
                let pending = Pending {
                    job_id: job_id.to_owned(),
                    lifecycle: Arc::clone(&job.lifecycle),
                    clock: Arc::clone(&indexer.clock),
                    own_threads: indexer.own_threads.clone(),
                    ticket,
                };
                if wait_for_completion && !indexer.own_threads.has_current() {
                    match pending.wait(timeout, deadline) {
                        Ok(()) => {}
                        // The run's end may yet be saved where the request was not; but nobody can promise it.
                        Err(StopError::Timeout(timeout)) => {
                            saved.map_err(|source| refused(job_id, source))?;
                            return Err(StopError::Timeout(timeout));
                        }
                        Err(error) => return Err(error),
                    }
                }
                let at_rest = pending.lifecycle.is_completed(ticket);
                if !at_rest {
                    saved.map_err(|source| refused(job_id, source))?;
                }
                Ok(stopped(job_id, ticket.run, Some(pending), at_rest))
            }
            StopDecision::Aborting => Err(StopError::Aborting { job_id: job_id.to_owned() }),
            StopDecision::Gone => Err(StopError::NotFound { job_id: job_id.to_owned() }),
            StopDecision::ShutDown => Err(StopError::ShutDown { job_id: job_id.to_owned() }),
        }
    }
}

fn stopped(job_id: &str, run: u64, pending: Option<Pending>, at_rest: bool) -> Stopped {
    Stopped { job_id: job_id.to_owned(), run, completion: StopCompletion { pending }, at_rest }
}

fn refused(job_id: &str, source: StoreError) -> StopError {
    match source.kind() {
        StoreErrorKind::LostOwnership => StopError::LostOwnership { job_id: job_id.to_owned(), source },
        _ => StopError::Store { job_id: job_id.to_owned(), source },
    }
}

impl Pending {
    fn wait(&self, timeout: Duration, deadline: Deadline) -> Result<(), StopError> {
        let clock = &*self.clock;
        match self.lifecycle.wait_for_stop(self.ticket, clock, deadline) {
            WaitOutcome::Completed => Ok(()),
            WaitOutcome::Refused(source) => Err(refused(&self.job_id, source)),
            WaitOutcome::ShutDown => Err(StopError::ShutDown { job_id: self.job_id.clone() }),
            WaitOutcome::TimedOut => {
                let view = self.lifecycle.view();
                let inner = TimeoutInner {
                    job_id: self.job_id.clone(),
                    waited: timeout,
                    state: view.state,
                    phase: view.phase,
                    in_phase_for: view.in_phase_for(clock.monotonic()),
                    run: self.ticket.run,
                    position: view.checkpoint.position,
                };
                Err(StopError::Timeout(StopTimeout { inner: Box::new(inner) }))
            }
        }
    }
}
