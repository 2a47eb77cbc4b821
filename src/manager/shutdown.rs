//! Shutdown: not a stop. Runs end, what is persisted stays, and the threads are joined, once.

use std::time::Duration;

use super::RollupJobManager;
use super::busy::BusyJob;
use crate::clock::{Deadline, wait_until};
use crate::guard::discard;
use crate::human;
use crate::job::{JobState, Phase};
use crate::lifecycle::View;
use crate::runtime::{Job, Runtime};
use crate::store::StoreError;
use crate::sync::Arc;

/// A shutdown did not get everything to end in time. The threads that are left are given up: they end by themselves
/// if the engine calls that they are in return, and nobody waits for them again, not even `Drop`. The ownership of
/// the store is handed over when the last of them has ended, or runs out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The time ran out.
    #[error("timed out after {} while shutting down: {}", human::duration(*waited), list(left))]
    Timeout {
        /// How long was waited: the `timeout` of the call, or less, if another shutdown was waited for and gave up
        /// earlier.
        waited: Duration,
        /// The jobs that a thread was still at, or whose stop could not be saved, sorted by id.
        left: Vec<BusyJob>,
    },
    /// All has ended, but the job store still refuses to save that these jobs are stopped: the next manager has them
    /// as they were saved last, started perhaps. Stop them there.
    #[error("could not save the stop of what is left while shutting down: {}", list(left))]
    Store {
        /// The jobs, sorted by id.
        left: Vec<BusyJob>,
        /// Why the first of them could not be saved.
        source: StoreError,
    },
}

/// What a shutdown has left behind.
struct Left {
    jobs: Vec<BusyJob>,
    /// Everything has ended, and this is why the first of the jobs could not be saved.
    unsaved: Option<StoreError>,
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
    /// It is not a stop: a started job stays `started` in the store, an indexing one `indexing` with its last
    /// position, and both go on when a manager opens the store again. Stops that callers asked for before are
    /// completed; one that could not be saved until now is saved once more. Calls that other threads are in, a put,
    /// say, are waited for. Afterwards `get` and `list` still answer, and stopping a stopped job is still a success;
    /// nothing else can be done.
    ///
    /// Shutting down again does nothing and succeeds; while another shutdown is under way, its end is waited for, and
    /// it fails as that one does. On one of the manager's own threads that thread is not waited for, nor another
    /// shutdown, which waits for it.
    ///
    /// # Errors
    /// [`ShutdownError::Timeout`], which names what is left. Nothing more of it is waited for, ever.
    /// [`ShutdownError::Store`] if all has ended, and a stop is not saved.
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
        let clock = &*self.runtime.clock;
        let began = clock.monotonic();
        match self.shut_down(Deadline::since(began, timeout)) {
            None => Ok(()),
            Some(Left { jobs: left, unsaved: Some(source) }) => Err(ShutdownError::Store { left, source }),
            Some(Left { jobs: left, unsaved: None }) => {
                Err(ShutdownError::Timeout { waited: timeout.min(clock.monotonic().saturating_sub(began)), left })
            }
        }
    }

    fn shut_down(&self, deadline: Deadline) -> Option<Left> {
        let runtime = &self.runtime;
        if std::mem::replace(&mut self.registry.write().is_closed, true) {
            return self.shut_down_by_another(deadline);
        }
        let jobs = self.jobs();
        runtime.timer.close();
        let mut interrupted = Vec::new();
        for job in &jobs {
            let shut_down = job.lifecycle.shut_down(&runtime.revisions, runtime.clock.monotonic());
            shut_down.signal.raise();
            discard(shut_down.parked);
            interrupted.extend(shut_down.save.map(|snapshot| job.record(snapshot)));
        }
        // Were it refused, the jobs would come back as they were saved last: started, and a little behind.
        discard(runtime.save(&interrupted));
        // As long as a run is ending it can be stopped. What callers' threads are saving counts.
        let drained = runtime.pool.drain(deadline);
        let called = self.calls.close(&*runtime.clock, deadline);
        for job in &jobs {
            if job.lifecycle.has_unsaved_stop() {
                job.save_stop_soon();
            }
            job.deliver_later();
        }
        runtime.pool.close();
        // The ownership is renewed until nobody needs it any more.
        let joined = runtime.pool.join(deadline) & runtime.timer.join(deadline) & runtime.owner.join(deadline);
        let ended = drained & called & joined;
        let left = if ended { self.unsaved_jobs() } else { Some(Left { jobs: self.left_jobs(), unsaved: None }) };
        for job in &jobs {
            job.lifecycle.close();
        }
        if ended {
            runtime.store_marks(true);
            runtime.owner.release();
        }
        *self.shut_down.lock() = Some(ended);
        self.shut_down.notify_all();
        left
    }

    /// Somebody else does it: its end is waited for all the same, or the answer would be false. But it waits for the
    /// manager's own threads, which must not wait for it.
    fn shut_down_by_another(&self, deadline: Deadline) -> Option<Left> {
        let Runtime { clock, own_threads, .. } = &*self.runtime;
        if self.shut_down.lock().is_some() || own_threads.has_current() {
            return None;
        }
        match wait_until(&**clock, &self.shut_down, deadline, |over| *over) {
            Some(true) => self.unsaved_jobs(),
            Some(false) | None => Some(Left { jobs: self.left_jobs(), unsaved: None }),
        }
    }

    /// The jobs whose stop could not be saved, now that all has ended.
    fn unsaved_jobs(&self) -> Option<Left> {
        if self.runtime.owner.lost().is_some() {
            // It is for the new owner to say what becomes of them.
            return None;
        }
        let mut unsaved: Vec<_> = self.jobs().into_iter().map(|job| (job.lifecycle.view(), job)).collect();
        unsaved.retain(|(view, _)| view.state == JobState::Stopping);
        unsaved.sort_by(|(_, a), (_, b)| a.id().cmp(b.id()));
        let source = unsaved.first().and_then(|(view, _)| view.unsaved.clone())?;
        let now = self.runtime.clock.monotonic();
        let jobs = unsaved.into_iter().map(|(view, job)| BusyJob::new(job.id(), view, now)).collect();
        Some(Left { jobs, unsaved: Some(source) })
    }

    /// The jobs that a thread is at, be it one of the pool's or one that finishes a stop.
    fn left_jobs(&self) -> Vec<BusyJob> {
        let now = self.runtime.clock.monotonic();
        let at_work = self.runtime.pool.jobs();
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
