//! The handle on one stop: to wait for later, or to `.await`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::busy::BusyJob;
use super::stop_error::{StopError, refused};
use crate::clock::{Clock, Deadline};
use crate::lifecycle::{Lifecycle, Ticket, WaitOutcome, WakerKey};
use crate::runtime::Run;
use crate::sync::{Arc, Crew};

/// One stop of one job, to wait for: by a thread, with [`wait`](Self::wait), or by a task, with `.await`.
///
/// As a future it belongs to no runtime: whoever completes the stop wakes the task. Dropping it before that loses
/// nothing, so that it can be put under a timeout or into a `select!`; the stop stays in force. It is ready with what
/// [`wait`](Self::wait) returns, except that it never times out. In a callback on one of the manager's own threads,
/// do not block on it: it would wait for itself.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
/// # use rollup_jobs::store::MemoryStore;
/// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
/// use rollup_jobs::StopOptions;
///
/// # let engine = Arc::new(MemoryEngine::new());
/// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
/// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
/// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?");
/// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
/// # manager.start("sensor")?;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let stopped = manager.stop("sensor", StopOptions::new())?;
/// tokio::time::timeout(Duration::from_secs(10), stopped.completion()).await??;
/// manager.delete("sensor")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a handle does nothing unless it is waited for"]
pub struct StopCompletion {
    /// None if it was completed from the beginning.
    pending: Option<Arc<Pending>>,
    /// The place of its task among those to be woken.
    waker: Option<WakerKey>,
}

/// What the handles on a stop share. It holds neither engine nor store: who keeps an old handle must not keep a store
/// file open.
pub(super) struct Pending {
    pub(super) job_id: Arc<str>,
    pub(super) lifecycle: Lifecycle<Box<Run>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) own_threads: Crew,
    pub(super) ticket: Ticket,
}

impl StopCompletion {
    pub(super) fn completed() -> Self {
        Self { pending: None, waker: None }
    }

    pub(super) fn new(pending: Pending) -> Self {
        Self { pending: Some(Arc::new(pending)), waker: None }
    }

    /// Whether the stop was completed before there was a handle on it.
    pub(super) fn was_completed_at_once(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether the stop is completed. Never blocks.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.lifecycle.is_completed(pending.ticket))
    }

    /// Blocks until the stop is completed, for at most `timeout`. From one of the manager's own threads it does not
    /// block: it times out at once unless the stop is completed.
    ///
    /// # Errors
    /// [`StopError::Timeout`], [`StopError::Store`], [`StopError::LostOwnership`], [`StopError::ShutDown`], as
    /// [`RollupJobManager::stop`](crate::RollupJobManager::stop).
    pub fn wait(&self, timeout: Duration) -> Result<(), StopError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let timeout = if pending.own_threads.has_current() { Duration::ZERO } else { timeout };
        pending.wait(Deadline::after(&*pending.clock, timeout))
    }
}

impl Future for StopCompletion {
    type Output = Result<(), StopError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { pending, waker } = self.get_mut();
        let Some(pending) = pending else { return Poll::Ready(Ok(())) };
        match pending.lifecycle.poll_stop(pending.ticket, waker, context.waker().clone()) {
            Some(outcome) => Poll::Ready(pending.result(outcome, Duration::ZERO)),
            None => Poll::Pending,
        }
    }
}

impl Clone for StopCompletion {
    /// Another handle on the same stop, for another thread or task.
    fn clone(&self) -> Self {
        Self { pending: self.pending.clone(), waker: None }
    }
}

impl Drop for StopCompletion {
    fn drop(&mut self) {
        if let (Some(pending), Some(waker)) = (&self.pending, &self.waker) {
            pending.lifecycle.forget_waker(waker);
        }
    }
}

impl fmt::Debug for StopCompletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopCompletion").field("completed", &self.is_completed()).finish()
    }
}

impl Pending {
    pub(super) fn wait(&self, deadline: Deadline) -> Result<(), StopError> {
        self.result(self.lifecycle.wait_for_stop(self.ticket, &*self.clock, deadline), deadline.timeout())
    }

    fn result(&self, outcome: WaitOutcome, waited: Duration) -> Result<(), StopError> {
        let job_id = &*self.job_id;
        match outcome {
            WaitOutcome::Completed => Ok(()),
            WaitOutcome::Refused(source) => Err(refused(job_id, source)),
            WaitOutcome::ShutDown => Err(StopError::ShutDown { job_id: job_id.to_owned() }),
            WaitOutcome::TimedOut => {
                let job = BusyJob::new(job_id, self.lifecycle.view(), self.clock.monotonic());
                Err(StopError::Timeout { waited, job: Box::new(job) })
            }
        }
    }
}
