//! Shutdown: not a stop. Runs end, what is persisted stays, and the threads are joined, once.

use std::time::Duration;

use super::RollupJobManager;
use super::busy::{BusyJob, people};
use crate::clock::{Deadline, wait_until};
use crate::foreign::guarded;
use crate::indexer::{Indexer, Job};
use crate::job::Phase;
use crate::lifecycle::View;
use crate::sync::Arc;

/// A shutdown did not get everything to end in time. The threads that are left are given up: they end by themselves if the
/// engine calls that they are in return, and nobody waits for them again, not even `Drop`. The ownership of the store is
/// handed over when the last of them has ended, or runs out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The time ran out.
    #[error("timed out after {} while shutting down: {}", people(*waited), list(left))]
    Timeout {
        /// How long was waited: the `timeout` of the call, or less, if another shutdown was waited for and gave up earlier.
        waited: Duration,
        /// The jobs that a thread was still at, or whose stop could not be saved, sorted by id.
        left: Vec<BusyJob>,
    },
}

fn list(left: &[BusyJob]) -> String {
    match left {
        [] => "not everything has ended".to_owned(),
        left => left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

impl RollupJobManager {
    /// Ends all runs at the next page and joins the threads, for at most `timeout`. It is the bounded, fallible form of
    /// dropping the manager.
    ///
    /// It is not a stop: a started job stays `started` in the store, an indexing one `indexing` with its last position, and
    /// both go on when a manager opens the store again. Stops that callers asked for before are completed. Afterwards `get`
    /// and `list` still answer, and stopping a stopped job is still a success; nothing else can be done.
    ///
    /// Shutting down again does nothing and succeeds; while another shutdown is under way, its end is waited for, and it fails as that one
    /// does. On one of the manager's own threads that thread is not waited for, nor another shutdown, which waits for it.
    ///
    /// # Errors
    /// [`ShutdownError::Timeout`], which names what is left. Nothing more of it is waited for, ever.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use rollup_jobs::engine::MemoryEngine;
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::RollupJobManager;
    /// # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
    /// manager.shutdown(Duration::from_secs(30))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        let clock = &*self.indexer.clock;
        let began = clock.monotonic();
        match self.shut_down(Deadline::since(began, timeout)) {
            None => Ok(()),
            Some(left) => {
                Err(ShutdownError::Timeout { waited: timeout.min(clock.monotonic().saturating_sub(began)), left })
            }
        }
    }

    fn shut_down(&self, deadline: Deadline) -> Option<Vec<BusyJob>> {
        let indexer = &self.indexer;
        if std::mem::replace(&mut self.registry.write().is_closed, true) {
            return self.shut_down_by_another(deadline);
        }
        let jobs = self.jobs();
        indexer.timer.close();
        let mut interrupted = Vec::new();
        for job in &jobs {
            let shut_down = job.lifecycle.shut_down(&indexer.revisions, indexer.clock.monotonic());
            shut_down.signal.raise();
            let _ = guarded(|| drop(shut_down.parked));
            interrupted.extend(shut_down.save.map(|snapshot| job.record(snapshot)));
        }
        // Were it refused, the jobs would come back as they were saved last: started, and a little behind.
        drop(indexer.save(&interrupted));
        indexer.pool.close();
        // The ownership is renewed until nobody needs it any more.
        let ended = indexer.pool.join(deadline) & indexer.timer.join(deadline) & indexer.claim.join(deadline);
        let left = (!ended).then(|| self.left_jobs());
        for job in &jobs {
            job.lifecycle.close();
        }
        if ended {
            indexer.claim.release();
        }
        *self.shut_down.lock() = Some(ended);
        self.shut_down.notify_all();
        left
    }

    /// Somebody else does it: its end is waited for all the same, or the answer would be false. But it waits for the manager's own threads,
    /// which must not wait for it.
    fn shut_down_by_another(&self, deadline: Deadline) -> Option<Vec<BusyJob>> {
        let Indexer { clock, own_threads, .. } = &*self.indexer;
        if self.shut_down.lock().is_some() || own_threads.has_current() {
            return None;
        }
        match wait_until(&**clock, &self.shut_down, deadline, |over| *over) {
            Some(true) => None,
            Some(false) | None => Some(self.left_jobs()),
        }
    }

    /// The jobs that a thread is at, be it one of the pool's or one that finishes a stop.
    fn left_jobs(&self) -> Vec<BusyJob> {
        let now = self.indexer.clock.monotonic();
        let at_work = self.indexer.pool.jobs();
        let is_left = |job: &Arc<Job>, view: &View| {
            view.phase != Phase::Idle || at_work.iter().any(|other| Arc::ptr_eq(job, other))
        };
        let views = self.jobs().into_iter().map(|job| (job.lifecycle.view(), job));
        let left = views.filter(|(view, job)| is_left(job, view));
        let mut left: Vec<_> = left.map(|(view, job)| BusyJob::new(job.id(), view, now)).collect();
        left.sort_by(|a, b| a.job_id().cmp(b.job_id()));
        left
    }
}

impl Drop for RollupJobManager {
    fn drop(&mut self) {
        self.shut_down(Deadline::NEVER);
    }
}
