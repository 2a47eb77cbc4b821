//! Stop: the most trustworthy answer that a job system can give.

use std::fmt;
use std::time::Duration;

use super::RollupJobManager;
use super::completion::{Pending, StopCompletion};
use super::operation::Refusal;
use super::stop_error::{StopError, refused};
use crate::clock::Deadline;
use crate::guard::discard;
use crate::job::JobRecord;
use crate::lifecycle::{Refused, Stop, Ticket};
use crate::runtime::{Job, Run};
use crate::store::StoreError;
use crate::sync::Arc;

/// How many jobs are asked, and their records saved, at once.
const ASKED_TOGETHER: usize = 1_000;

/// How a job is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Whether to block until the job is at rest. Default: `false`; the stop is in force when the call returns, and
    /// goes on in the background.
    pub fn wait_for_completion(mut self, wait_for_completion: bool) -> Self {
        self.wait_for_completion = wait_for_completion;
        self
    }

    /// How long to block at most. Default: 30 s. [`Duration::MAX`] means for ever, zero to look once. (Elasticsearch
    /// takes -1 to look once as well.)
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
}

impl Stopped {
    /// Whether the job was at rest when the call returned. It always is after waiting, unless the call came from one
    /// of the manager's own threads.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.completion.was_completed_at_once()
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

    /// A handle on this very stop, to wait for later or to `.await`. What happens to the job afterwards does not
    /// confuse it.
    pub fn completion(&self) -> StopCompletion {
        self.completion.clone()
    }

    fn at_rest(job: &Job, run: u64) -> Self {
        Self { job_id: Arc::clone(job.shared_id()), run, completion: StopCompletion::completed() }
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("job_id", &self.job_id())
            .field("run", &self.run)
            .field("at_rest", &self.is_at_rest())
            .finish_non_exhaustive()
    }
}

/// A stop that is in force, and how its save went.
pub(super) type Asked = (Ticket, Result<(), StoreError>);

impl RollupJobManager {
    /// Stops a job, whatever it is doing, with the clauses of Elasticsearch's Stop Rollup Job API: a stopped job
    /// stays as it is and that is a success; an unknown one is an error; `wait_for_completion` blocks until the job
    /// is at rest, for at most `timeout`.
    ///
    /// Beyond that: `stopped` means at rest *and* durable; the stop survives a crash from the moment the call
    /// returns; a timeout withdraws nothing. A search in flight is given up, and so may be documents that would take
    /// long to write down, which the next run makes again; a commit is awaited. A job that is between turns (idle,
    /// queued, backing off) stops in the calling thread. The save takes place there too, so that a store that is slow
    /// may make the call overrun its timeout by one store call.
    ///
    /// It may be called from anywhere. From one of the manager's own threads (an observer, an engine call) it never
    /// waits: the answer then says whether the job [is at rest](Stopped::is_at_rest).
    ///
    /// The core checks no privilege: who holds the manager may stop its jobs. (Elasticsearch wants `manage` or
    /// `manage_rollup`.)
    ///
    /// # Errors
    /// [`StopError`]. After `Timeout` the job still reaches `stopped`. After `Store` the run ends all the same, but
    /// the job is `stopping` until its end is saved, which the manager goes on trying. After `LostOwnership` the run
    /// has ended or is ending here, and what becomes of the job is for its owner to say. After `ShutDown` it is
    /// `stopping` or as it was. After any other the state is as it was.
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
        let deadline = self.deadline(&options);
        let job = self.find(job_id).map_err(|refusal| refusal.of(job_id))?;
        self.stop_job(&job, deadline)
    }

    /// What [`stop`](Self::stop) answers without waiting, if that takes no more than a lock: the job is stopped
    /// already, its stop is under way and durable, or there is no such job. `None` if the stop has something to do,
    /// which reaches the store: call `stop` for that, where a call may block. For async hosts, which thus hand only
    /// real work to another thread.
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
        if self.runtime.owner.has_lapsed() {
            // Only the store knows whether what is known here still counts.
            return None;
        }
        let ticket = job.lifecycle.stop_at_hand()?.map_err(|refused| Refusal::from(refused).of(job_id));
        Some(ticket.and_then(|ticket| self.answer(&job, (ticket, Ok(())), None)))
    }

    /// Until when to wait; `None` is not to. Only a call that waits needs the time of its entry.
    pub(super) fn deadline(&self, options: &StopOptions) -> Option<Deadline> {
        options.wait_for_completion.then(|| Deadline::after(&*self.runtime.clock, options.timeout))
    }

    pub(super) fn stop_job(&self, job: &Job, deadline: Option<Deadline>) -> Result<Stopped, StopError> {
        // Even of a job that was stopped here: nobody here knows what its owner has made of it since.
        self.is_owner().map_err(|refusal| refusal.of(job.id()))?;
        if let Some(ticket) = job.lifecycle.stop_at_rest() {
            job.confirm().map_err(|source| refused(job.id(), source))?;
            return Ok(Stopped::at_rest(job, ticket.run));
        }
        let asked = {
            let _call = self.calls.begin().ok_or_else(|| Refusal::ShutDown.of(job.id()))?;
            self.ask_to_stop(job, self.put_to(job, self.runtime.clock.monotonic()))?
        };
        self.answer(job, asked, deadline)
    }

    /// Does what a stop leaves to whoever asks for it, but for the waiting.
    pub(super) fn ask_to_stop(&self, job: &Job, stop: Result<Stop<Box<Run>>, Refused>) -> Result<Asked, StopError> {
        let (ticket, record) = part_of_asker(job, stop)?;
        // Where there is nothing to save, all is as it was.
        Ok(record.map_or((ticket, Ok(())), |record| {
            let saved = self.runtime.save_one(&record);
            settle(job, ticket, saved, self.runtime.clock.monotonic())
        }))
    }

    /// Asks many: one answer each, in their order.
    pub(super) fn ask_all_to_stop(&self, jobs: &[&Job]) -> Vec<Result<Asked, StopError>> {
        jobs.chunks(ASKED_TOGETHER).flat_map(|jobs| self.ask_together(jobs)).collect()
    }

    /// What has to be saved is saved in one call.
    fn ask_together(&self, jobs: &[&Job]) -> Vec<Result<Asked, StopError>> {
        if let Some(lost) = self.runtime.owner.lost() {
            return jobs.iter().map(|job| Err(refused(job.id(), lost.clone()))).collect();
        }
        let (call, is_in_doubt) = (self.calls.begin(), self.runtime.owner.has_lapsed());
        let mut records = Vec::with_capacity(jobs.len());
        let now = self.runtime.clock.monotonic();
        let mut ask = |job: &&Job| {
            let (ticket, record) = match job.lifecycle.stop_at_rest() {
                Some(ticket) => (ticket, is_in_doubt.then(|| job.record_as_it_is())),
                None if call.is_none() => return Err(Refusal::ShutDown.of(job.id())),
                None => part_of_asker(job, self.put_to(job, now))?,
            };
            let is_saved = record.is_some();
            records.extend(record);
            Ok((ticket, is_saved))
        };
        let asked: Vec<_> = jobs.iter().map(&mut ask).collect();
        let mut answers = self.runtime.save(&records).into_iter();
        let now = self.runtime.clock.monotonic();
        let mut settle = |(job, asked): (&&Job, Result<(Ticket, bool), StopError>)| {
            let (ticket, is_saved) = asked?;
            let saved = if is_saved { answers.next() } else { None };
            Ok(saved.map_or((ticket, Ok(())), |saved| settle(job, ticket, saved, now)))
        };
        jobs.iter().zip(asked).map(&mut settle).collect()
    }

    /// Puts a stop to a job.
    fn put_to(&self, job: &Job, now: Duration) -> Result<Stop<Box<Run>>, Refused> {
        job.lifecycle.stop(now, &self.runtime.revisions)
    }

    /// Waits, if that is wanted and possible, and says how the stop went.
    pub(super) fn answer(
        &self,
        job: &Job,
        (ticket, saved): Asked,
        deadline: Option<Deadline>,
    ) -> Result<Stopped, StopError> {
        let saved = saved.map_err(|source| refused(job.id(), source));
        if !ticket.ends_elsewhere {
            return saved.map(|()| Stopped::at_rest(job, ticket.run));
        }
        let pending = Pending {
            job_id: Arc::clone(job.shared_id()),
            lifecycle: job.lifecycle.clone(),
            clock: Arc::clone(&self.runtime.clock),
            own_threads: self.runtime.own_threads.clone(),
            ticket,
        };
        if let Some(deadline) = deadline
            && !pending.own_threads.has_current()
        {
            match pending.wait(deadline) {
                // The run's end may yet be saved where the request was not; but nobody can promise it.
                Err(error @ (StopError::Timeout { .. } | StopError::ShutDown { .. })) => {
                    return saved.and(Err(error));
                }
                other => other?,
            }
        }
        if pending.lifecycle.is_completed(ticket) {
            return Ok(Stopped::at_rest(job, ticket.run));
        }
        saved?;
        let job_id = Arc::clone(job.shared_id());
        Ok(Stopped { job_id, run: ticket.run, completion: StopCompletion::new(pending) })
    }
}

/// Publishes how a stop's save went.
fn settle(job: &Job, ticket: Ticket, saved: Result<(), StoreError>, now: Duration) -> Asked {
    job.lifecycle.stop_saved(ticket, &saved, now);
    if saved.is_err() {
        job.save_stop_later();
    }
    job.deliver_later();
    (ticket, saved)
}

/// Ends what was parked, and says what has to be saved.
fn part_of_asker(job: &Job, stop: Result<Stop<Box<Run>>, Refused>) -> Result<(Ticket, Option<JobRecord>), StopError> {
    let Stop { ticket, signal, parked, save } = stop.map_err(|refused| Refusal::from(refused).of(job.id()))?;
    signal.raise();
    // A stream that panics as it is dropped must not keep the stop from being finished.
    discard(parked);
    Ok((ticket, save.map(|snapshot| job.record(snapshot))))
}
