//! Delete: only a stopped job, in one step with the check.

use std::slice;

use super::operation::{OperationError, Refusal};
use super::stop::StopOptions;
use super::stop_error::StopError;
use super::{Entry, RollupJobManager};
use crate::engine::{CommittedProgress, EngineError};
use crate::job::JobState;
use crate::runtime::Job;
use crate::store::{StoreError, StoreErrorKind};

/// How a job is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct DeleteOptions {
    stop: Option<StopOptions>,
    delete_data: bool,
}

impl DeleteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the job first, and waits for that, for at most the options' timeout (whatever they say about waiting).
    /// From then on nobody can start the job before it is gone, unless the stop fails. Default: a job that is not
    /// stopped is refused, as in Elasticsearch, where a start may slip in between a stop and a delete.
    pub fn stop(mut self, stop: StopOptions) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Whether the job's rolled-up documents and its definition in the rollup index go too, so that the id can be
    /// used again. What a job that was deleted without them has left goes too, if there is no job of the id any more.
    /// Default: `false`, as in Elasticsearch, which has no such option.
    pub fn delete_data(mut self, delete_data: bool) -> Self {
        self.delete_data = delete_data;
        self
    }
}

/// A job could not be deleted. It is still there, in the state it was in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// There is no such job (404 in Elasticsearch).
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// Only a stopped job can be deleted: stop it, and wait for the completion. It may also be `aborting`: somebody
    /// else deletes it at this moment.
    #[error("could not delete rollup job [{job_id}] because it is {state}: it must be stopped before")]
    NotStopped {
        /// The job.
        job_id: String,
        /// Its state.
        state: JobState,
    },
    /// The job could not be stopped before, or not in time. After [`StopError::Timeout`] the stop stays in force; the
    /// delete does not, and may be repeated.
    #[error("could not delete rollup job [{job_id}], which had to be stopped before")]
    Stop {
        /// The job.
        job_id: String,
        /// What the stop answered.
        source: StopError,
    },
    /// The engine could not remove the job's documents. Some may be gone; the job would roll them up again from the
    /// start.
    #[error("could not delete the rolled-up documents of rollup job [{job_id}]")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
    /// The job store could not remove the record.
    #[error("could not delete the record of rollup job [{job_id}]")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not delete rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not delete rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Deletes a stopped job; its rolled-up documents stay. See [`delete_with`](Self::delete_with).
    ///
    /// # Errors
    /// [`DeleteError`]; the job is still there then.
    pub fn delete(&self, job_id: &str) -> Result<(), DeleteError> {
        self.delete_with(job_id, DeleteOptions::new())
    }

    /// Deletes a stopped job. It is gone, durably, when the call returns; Elasticsearch acknowledges earlier.
    ///
    /// A job whose record cannot be read can be deleted too; its documents then stay, as nobody knows where they are.
    ///
    /// # Errors
    /// [`DeleteError`]; the job is still there then, and stopped, except after [`DeleteError::NotStopped`] and
    /// [`DeleteError::Stop`].
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::{DeleteError, DeleteOptions, StopOptions};
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// manager.start("sensor")?;
    /// assert!(matches!(manager.delete("sensor"), Err(DeleteError::NotStopped { .. })));
    /// // Stop, wait and delete in one step, the rolled-up documents too.
    /// manager.delete_with("sensor", DeleteOptions::new().stop(StopOptions::new()).delete_data(true))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_with(&self, job_id: &str, options: DeleteOptions) -> Result<(), DeleteError> {
        let id = || job_id.to_owned();
        let job = match self.find(job_id) {
            Ok(job) => job,
            Err(Refusal::NotFound) if options.delete_data => return self.delete_leftovers(job_id),
            Err(Refusal::Unreadable(_)) => return self.delete_unreadable(job_id),
            Err(refusal) => return Err(refusal.of(job_id)),
        };
        self.is_owner().map_err(|refusal| refusal.of(job_id))?;
        let now = || self.runtime.clock.monotonic();
        let _announced = match options.stop {
            Some(stop) => {
                let announced = Announced::delete(&job);
                // A job that could not be waited for (on one of our own threads) is refused below, for what it is then.
                let stopped = self.stop_job(&job, self.deadline(&stop.wait_for_completion(true)));
                let _ = stopped.map_err(|source| match source {
                    StopError::NotFound { job_id } => DeleteError::NotFound { job_id },
                    StopError::Aborting { job_id } => DeleteError::NotStopped { job_id, state: JobState::Aborting },
                    StopError::LostOwnership { job_id, source } => DeleteError::LostOwnership { job_id, source },
                    StopError::ShutDown { job_id } => DeleteError::ShutDown { job_id },
                    source => DeleteError::Stop { job_id: id(), source },
                })?;
                Some(announced)
            }
            None => None,
        };
        let _call = self.calls.begin().ok_or_else(|| DeleteError::ShutDown { job_id: id() })?;
        job.lifecycle.delete(now()).map_err(|refused| Refusal::from(refused).of(job_id))?;
        let removed = self.fence(&job, options.delete_data).and_then(|()| {
            if options.delete_data {
                return self.remove_documents(&job);
            }
            self.tidy_up_if_empty(&job);
            Ok(())
        });
        match removed.and_then(|()| self.remove_record(job_id)) {
            Ok(()) => {
                self.runtime.timer.disarm(job.key);
                self.forget(&job);
                job.lifecycle.deleted();
                job.deliver_later();
                Ok(())
            }
            Err(error) => {
                job.lifecycle.delete_failed(now());
                job.deliver_later();
                Err(error)
            }
        }
    }

    /// Saves the job once more, before anything of it goes: who has lost the jobs finds that out now. With its data
    /// its position goes first: should the rest fail, the job would otherwise go on after documents that are gone.
    fn fence(&self, job: &Job, delete_data: bool) -> Result<(), DeleteError> {
        let (lifecycle, revisions) = (&job.lifecycle, &self.runtime.revisions);
        let snapshot = if delete_data { lifecycle.without_position(revisions) } else { lifecycle.as_it_is(revisions) };
        match job.save(snapshot) {
            // Then there is less to delete.
            Err(error) if error.kind() == StoreErrorKind::Gone => {}
            saved => saved.map_err(|source| Refusal::from(source).of(job.id()))?,
        }
        if delete_data {
            lifecycle.forget_position();
        }
        Ok(())
    }

    fn remove_documents(&self, job: &Job) -> Result<(), DeleteError> {
        // A search that knows the job from before may be reading them.
        job.note_replacement(slice::from_ref(&(i64::MIN..i64::MAX)));
        let removed = self.runtime.engine_call(|runtime| runtime.rollup_index.remove(&job.context()));
        removed.map_err(|source| DeleteError::Engine { job_id: job.id().to_owned(), source })
    }

    fn remove_record(&self, job_id: &str) -> Result<(), DeleteError> {
        self.runtime.store_call(|store| store.remove(job_id)).map_err(|source| Refusal::from(source).of(job_id))
    }

    /// The id stays reserved while the record goes: a put of it, or another delete, must not come in between.
    fn delete_unreadable(&self, job_id: &str) -> Result<(), DeleteError> {
        let _call = self.calls.begin().ok_or_else(|| DeleteError::ShutDown { job_id: job_id.to_owned() })?;
        let broken = {
            let mut registry = self.registry.write();
            if registry.is_closed {
                return Err(DeleteError::ShutDown { job_id: job_id.to_owned() });
            }
            match registry.entries.get_mut(job_id) {
                Some(entry @ Entry::Broken(_)) => std::mem::replace(entry, Entry::Reserved),
                _ => return Err(DeleteError::NotFound { job_id: job_id.to_owned() }),
            }
        };
        let removed = self.remove_record(job_id);
        let mut registry = self.registry.write();
        match &removed {
            Ok(()) => drop(registry.entries.remove(job_id)),
            Err(_) => drop(registry.entries.insert(job_id.into(), broken)),
        }
        removed
    }

    /// A job that has never rolled anything up leaves no definition behind: its id can be used again, with a better
    /// one.
    fn tidy_up_if_empty(&self, job: &Job) {
        let kept = || self.runtime.engine_call(|runtime| runtime.rollup_index.committed_progress(&job.context()));
        let is_empty = job.lifecycle.view().progress.position.is_none()
            && matches!(kept(), Ok(CommittedProgress::Kept(None) | CommittedProgress::NotKept));
        if is_empty {
            // Should it stay, the id is taken in this rollup index, as it always is in Elasticsearch.
            let _ = self.runtime.engine_call(|runtime| runtime.rollup_index.remove(&job.context()));
        }
    }
}

/// Keeps a job from being started until its delete is over, however it ends.
struct Announced<'a>(&'a Job);

impl<'a> Announced<'a> {
    fn delete(job: &'a Job) -> Self {
        job.lifecycle.announce_delete();
        Self(job)
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.lifecycle.withdraw_delete();
    }
}

impl OperationError for DeleteError {
    fn refused(job_id: String, refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound { job_id },
            // It is deleted all the same; what is refused here is what else is asked of it.
            Refusal::Unreadable(reason) => Self::Store { job_id, source: StoreError::damaged(reason) },
            Refusal::Store(source) => Self::Store { job_id, source },
            Refusal::LostOwnership(source) => Self::LostOwnership { job_id, source },
            Refusal::ShutDown => Self::ShutDown { job_id },
            Refusal::State(state) => Self::NotStopped { job_id, state },
        }
    }
}
