//! Stop: the most trustworthy answer that a job system can give.

use std::fmt;
use std::time::Duration;

use super::RollupJobManager;
use super::completion::{Pending, StopCompletion};
use super::stop_error::{StopError, refused};
use crate::clock::Deadline;
use crate::guard::discard;
use crate::indexer::{Job, Run};
use crate::job::JobRecord;
use crate::lifecycle::{StopDecision, Ticket};
use crate::store::StoreError;
use crate::sync::Arc;

/// How many jobs are asked, and their records saved, at once.
const ASKED_TOGETHER: usize = 1_000;

/// How a job is stopped.
#[derive(Debug, Clone)]
#[must_use]
pub struct StopOptions {
    pub(super) wait_for_completion: bool,
    pub(super) timeout: Duration,
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
    job_id: Arc<str>,
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

    /// A handle on this very stop, to wait for later or to `.await`. What happens to the job afterwards does not confuse it.
    pub fn completion(&self) -> StopCompletion {
        self.completion.clone()
    }

    fn at_rest(job: &Job, run: u64) -> Self {
        let job_id = Arc::clone(job.shared_id());
        Self { job_id, run, completion: StopCompletion::completed(), at_rest: true }
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("job_id", &self.job_id())
            .field("run", &self.run)
            .field("at_rest", &self.at_rest)
            .finish_non_exhaustive()
    }
}

/// A stop that was asked for, as far as that goes without waiting.
pub(super) enum Requested {
    /// There is nothing to wait for.
    Answered(Result<Stopped, StopError>),
    /// Somebody else finishes it; the store may have refused to save the request.
    Pending { ticket: Ticket, refused: Option<StoreError> },
}

/// For how long an answer is waited for.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    timeout: Duration,
    deadline: Deadline,
}

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
    /// [`StopError`]. After `Timeout` the job still reaches `stopped`. After `Store` the run ends all the same, but the job is
    /// `stopping` until its end is saved, which the manager goes on trying. After `LostOwnership` the run has ended
    /// or is ending here, and what becomes of the job is for its owner to say. After `ShutDown` it is `stopping` or
    /// as it was. After any other the state is as it was.
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
    ///     Err(StopError::Timeout { job, .. }) => println!("still {} for {:?}", job.phase(), job.in_phase_for()),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self, job_id: &str, options: StopOptions) -> Result<Stopped, StopError> {
        let wait = self.wait(&options);
        let job = self.find(job_id).map_err(|refusal| refusal.of(job_id))?;
        self.stop_job(&job, wait)
    }

    /// What [`stop`](Self::stop) answers without waiting, if that takes no more than a lock: the job is stopped already, its
    /// stop is under way and durable, or there is no such job. `None` if the stop has something to do, which reaches the store:
    /// call `stop` for that, where a call may block. For async hosts, which thus hand only real work to another thread.
    ///
    /// # Errors
    /// [`StopError`], inside the `Some`; the state is as it was.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// use rollup_jobs::{RollupJobManager, StopError, StopOptions};
    ///
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// let answer = manager.stop_at_hand("sensor").unwrap_or_else(|| manager.stop("sensor", StopOptions::new()));
    /// assert!(matches!(answer, Err(StopError::NotFound { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a stop that is not at hand is not asked for"]
    pub fn stop_at_hand(&self, job_id: &str) -> Option<Result<Stopped, StopError>> {
        let job = match self.find(job_id) {
            Ok(job) => job,
            Err(refusal) => return Some(Err(refusal.of(job_id))),
        };
        if let Err(refusal) = self.is_owner() {
            return Some(Err(refusal.of(job_id)));
        }
        if self.indexer.owner.has_lapsed() {
            // Only the store knows whether what is known here still counts.
            return None;
        }
        let (begun, _nothing_to_save) = Begun::new(&job, job.lifecycle.stop_at_hand()?);
        Some(self.answer(&job, begun.end(&job, Ok(()), self.indexer.clock.monotonic()), None))
    }

    /// What the options mean from now on; `None` is not to wait. Only a call that waits needs the time of its entry.
    pub(super) fn wait(&self, options: &StopOptions) -> Option<Wait> {
        let timeout = options.timeout;
        options.wait_for_completion.then(|| Wait { timeout, deadline: Deadline::after(&*self.indexer.clock, timeout) })
    }

    pub(super) fn stop_job(&self, job: &Arc<Job>, wait: Option<Wait>) -> Result<Stopped, StopError> {
        // Even of a job that was stopped here: nobody here knows what its owner has made of it since.
        self.is_owner().map_err(|refusal| refusal.of(job.id()))?;
        if let Some(run) = job.lifecycle.run_if_at_rest() {
            job.confirm().map_err(|source| refused(job.id(), source))?;
            return Ok(Stopped::at_rest(job, run));
        }
        let requested = {
            let call = self.calls.begin();
            let _call = call.ok_or_else(|| StopError::ShutDown { job_id: job.id().to_owned() })?;
            self.request_stop(job, job.lifecycle.stop(self.indexer.clock.monotonic(), &self.indexer.revisions))
        };
        self.answer(job, requested, wait)
    }

    /// Does what was decided about a job, as far as that goes without waiting.
    pub(super) fn request_stop(&self, job: &Job, decision: StopDecision<Box<Run>>) -> Requested {
        let (begun, record) = Begun::new(job, decision);
        let saved = record.map_or(Ok(()), |record| self.indexer.save_one(&record));
        begun.end(job, saved, self.indexer.clock.monotonic())
    }

    /// The same for many: one answer each, in their order.
    pub(super) fn request_stops(&self, jobs: &[Arc<Job>]) -> Vec<Requested> {
        jobs.chunks(ASKED_TOGETHER).flat_map(|jobs| self.request_together(jobs)).collect()
    }

    /// What has to be saved is saved in one call.
    fn request_together(&self, jobs: &[Arc<Job>]) -> Vec<Requested> {
        let indexer = &self.indexer;
        if let Some(lost) = indexer.owner.lost() {
            return jobs.iter().map(|job| Requested::Answered(Err(refused(job.id(), lost.clone())))).collect();
        }
        let (call, is_in_doubt) = (self.calls.begin(), indexer.owner.has_lapsed());
        let now = indexer.clock.monotonic();
        let mut records = Vec::with_capacity(jobs.len());
        let mut ask = |job: &Arc<Job>| {
            let (begun, record) = match job.lifecycle.run_if_at_rest() {
                Some(run) if is_in_doubt => {
                    (Begun::AtRest(run), Some(job.record(job.lifecycle.as_it_is(&indexer.revisions))))
                }
                Some(run) => (Begun::AtRest(run), None),
                None if call.is_none() => {
                    (Begun::Answered(Err(StopError::ShutDown { job_id: job.id().to_owned() })), None)
                }
                None => Begun::new(job, job.lifecycle.stop(now, &indexer.revisions)),
            };
            let is_saved = record.is_some();
            records.extend(record);
            (begun, is_saved)
        };
        let begun: Vec<_> = jobs.iter().map(&mut ask).collect();
        let mut answers = indexer.save(&records).into_iter();
        let end = |(job, (begun, is_saved)): (&Arc<Job>, (Begun, bool))| {
            let saved = answers.by_ref().take(usize::from(is_saved)).collect();
            begun.end(job, saved, indexer.clock.monotonic())
        };
        jobs.iter().zip(begun).map(end).collect()
    }

    /// Waits, if that is wanted and possible, and says how the stop went.
    pub(super) fn answer(&self, job: &Job, requested: Requested, wait: Option<Wait>) -> Result<Stopped, StopError> {
        let (ticket, unsaved) = match requested {
            Requested::Answered(answer) => return answer,
            Requested::Pending { ticket, refused } => (ticket, refused),
        };
        let unsaved = || unsaved.clone().map_or(Ok(()), |source| Err(refused(job.id(), source)));
        let pending = Pending {
            job_id: Arc::clone(job.shared_id()),
            lifecycle: Arc::clone(&job.lifecycle),
            clock: Arc::clone(&self.indexer.clock),
            own_threads: self.indexer.own_threads.clone(),
            ticket,
        };
        if let Some(Wait { timeout, deadline }) = wait
            && !pending.own_threads.has_current()
        {
            match pending.wait(timeout, deadline) {
                // The run's end may yet be saved where the request was not; but nobody can promise it.
                Err(error @ (StopError::Timeout { .. } | StopError::ShutDown { .. })) => {
                    return unsaved().and(Err(error));
                }
                other => other?,
            }
        }
        let at_rest = pending.lifecycle.is_completed(ticket);
        if !at_rest {
            unsaved()?;
        }
        let job_id = Arc::clone(job.shared_id());
        Ok(Stopped { job_id, run: ticket.run, completion: StopCompletion::new(pending), at_rest })
    }
}

/// A stop on its way, before anything is saved.
enum Begun {
    Finish(Ticket),
    Join(Ticket),
    /// Nothing was to be done; where the ownership is in doubt, the store says so too.
    AtRest(u64),
    Answered(Result<Stopped, StopError>),
}

impl Begun {
    /// Does the caller's part of it, and says what has to be saved.
    fn new(job: &Job, decision: StopDecision<Box<Run>>) -> (Self, Option<JobRecord>) {
        let id = || job.id().to_owned();
        let answer = match decision {
            StopDecision::Finish { ticket, snapshot, parked, signal } => {
                signal.raise();
                // A stream that panics as it is dropped must not keep the stop from being finished.
                discard(parked);
                return (Self::Finish(ticket), Some(job.record(snapshot)));
            }
            StopDecision::Join { ticket, save, signal } => {
                signal.raise();
                return (Self::Join(ticket), save.map(|snapshot| job.record(snapshot)));
            }
            StopDecision::AtRest { run } => Ok(Stopped::at_rest(job, run)),
            StopDecision::Aborting => Err(StopError::Aborting { job_id: id() }),
            StopDecision::Gone => Err(StopError::NotFound { job_id: id() }),
            StopDecision::ShutDown => Err(StopError::ShutDown { job_id: id() }),
        };
        (Self::Answered(answer), None)
    }

    /// Publishes how the save went; where there was nothing to save, well.
    fn end(self, job: &Job, saved: Result<(), StoreError>, now: Duration) -> Requested {
        let requested = match self {
            Self::Answered(answer) => return Requested::Answered(answer),
            Self::AtRest(run) => {
                let stopped = saved.map(|()| Stopped::at_rest(job, run));
                return Requested::Answered(stopped.map_err(|source| refused(job.id(), source)));
            }
            Self::Finish(ticket) => {
                job.lifecycle.stop_saved(&saved, now);
                job.save_stop_later();
                let stopped = saved.map(|()| Stopped::at_rest(job, ticket.run));
                Requested::Answered(stopped.map_err(|source| refused(job.id(), source)))
            }
            Self::Join(ticket) => {
                if saved.is_ok() {
                    job.lifecycle.stop_request_saved(ticket);
                }
                Requested::Pending { ticket, refused: saved.err() }
            }
        };
        job.deliver_later();
        requested
    }
}
