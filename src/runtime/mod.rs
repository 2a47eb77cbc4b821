//! What does the work? The threads of a manager, its jobs, and what all of them share.

mod back_off;
mod indexer;
mod job;
mod ledgers;
mod noticing;
mod pool;
mod registry;
mod verifying;

use std::io;
use std::slice;
use std::time::Duration;

pub(crate) use indexer::Run;
pub(crate) use job::Job;
pub(crate) use noticing::LookError;
pub(crate) use registry::{Broken, Entry, Registry};
pub(crate) use verifying::{VerifyFault, Verifying};

use crate::clock::{Clock, Deadline};
use crate::engine::{self, EngineError, JobContext, RollupIndex, Source};
use crate::job::{JobDefinition, JobRecord, Progress, StoredState};
use crate::lifecycle::{Lifecycle, Revisions};
use crate::observer::Observer;
use crate::ownership::Owner;
use crate::schedule::Timer;
use crate::store::{self, JobStore, StoreError, StoreErrorKind};
use crate::sync::{Arc, AtomicBool, AtomicU64, Crew, Ordering, RwLock, Weak};
use noticing::Marks;
use pool::Pool;

/// What the host has set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) indexer_threads: usize,
    pub(crate) turn_time: Duration,
    pub(crate) wedged_after: Duration,
    pub(crate) retry_attempts: u32,
    pub(crate) retry_initial: Duration,
    pub(crate) retry_max: Duration,
    /// Whether turns wait until somebody resumes.
    pub(crate) paused: bool,
}

/// What all jobs and threads of a manager share.
pub(crate) struct Runtime {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) rollup_index: Arc<dyn RollupIndex>,
    store: Arc<dyn JobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) settings: Settings,
    /// The newest revision of any record in the store.
    pub(crate) revisions: Revisions,
    pub(crate) owner: Owner,
    /// Turns wait until somebody resumes.
    paused: AtomicBool,
    pub(crate) timer: Timer,
    pub(crate) pool: Pool,
    pub(crate) own_threads: Crew,
    /// Of the manager, which may have gone.
    registry: Weak<RwLock<Registry>>,
    marks: Marks,
    /// Of how many jobs nobody knows how far they have come.
    unknown_ceilings: AtomicU64,
    next_key: AtomicU64,
}

/// Where data and jobs are.
pub(crate) struct Systems {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) rollup_index: Arc<dyn RollupIndex>,
    pub(crate) store: Arc<dyn JobStore>,
}

/// The threads of a manager that has no jobs yet.
pub(crate) struct Threads {
    timer: Timer,
    pool: Pool,
    crew: Crew,
}

impl Threads {
    /// Starts all of them, or none.
    pub(crate) fn start(settings: &Settings, clock: &Arc<dyn Clock>) -> io::Result<Self> {
        let crew = Crew::default();
        let timer = Timer::start(Arc::clone(clock), &crew)?;
        let pool = Pool::new(settings.wedged_after, Arc::clone(clock), timer.clone(), crew.clone());
        let threads = Self { timer, pool, crew };
        match threads.pool.start(settings.indexer_threads) {
            Ok(()) => Ok(threads),
            Err(error) => {
                threads.end();
                Err(error)
            }
        }
    }

    /// Ends them before they had anything to do.
    pub(crate) fn end(&self) {
        end(&self.timer, &self.pool);
    }
}

fn end(timer: &Timer, pool: &Pool) {
    timer.close();
    pool.close();
    pool.join(Deadline::NEVER);
    timer.join(Deadline::NEVER);
}

impl Runtime {
    /// Takes the threads over. Should the one that renews the ownership not start, they are ended, and it is let go.
    pub(crate) fn start(
        threads: Threads,
        systems: Systems,
        clock: Arc<dyn Clock>,
        observers: Vec<Arc<dyn Observer>>,
        settings: Settings,
        owner: Owner,
        registry: &Arc<RwLock<Registry>>,
    ) -> io::Result<Arc<Self>> {
        let Threads { timer, pool, crew: own_threads } = threads;
        let Systems { source, rollup_index, store } = systems;
        let paused = AtomicBool::new(settings.paused);
        let runtime = Arc::new(Self {
            source,
            rollup_index,
            store,
            clock,
            observers,
            settings,
            revisions: Revisions::default(),
            owner,
            paused,
            timer,
            pool,
            own_threads,
            registry: Arc::downgrade(registry),
            marks: Marks::default(),
            unknown_ceilings: AtomicU64::new(0),
            next_key: AtomicU64::new(0),
        });
        let this = Arc::downgrade(&runtime);
        let changed = move || this.upgrade().into_iter().for_each(|runtime| runtime.ownership_changed());
        runtime.owner.keep(&runtime.own_threads, changed).inspect_err(|_| {
            end(&runtime.timer, &runtime.pool);
        })?;
        Ok(runtime)
    }

    /// Whether turns have to wait for [`resume`](Self::resume).
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Lets turns begin.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::Release);
        self.pool.resume();
    }

    /// It is back, and what had to wait goes on; or it is lost, and what is under way is given up.
    fn ownership_changed(&self) {
        if self.owner.lost().is_some() {
            for job in self.pool.jobs() {
                job.lifecycle.signal().raise();
            }
        }
        self.pool.resume();
    }

    /// What engines get to know of a job.
    pub(crate) fn context(&self, definition: Arc<JobDefinition>) -> JobContext {
        JobContext::of(definition).with_epoch(self.owner.epoch())
    }

    /// The job that a record describes, in the state that it comes back in.
    pub(crate) fn job(self: &Arc<Self>, record: JobRecord) -> Arc<Job> {
        let context = self.context(record.definition);
        let (state, now) = (record.state.restored(), self.clock.monotonic());
        let lifecycle = Lifecycle::new(state, record.progress, record.run, now, !self.observers.is_empty());
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.unknown_ceilings.fetch_add(1, Ordering::AcqRel);
        Job::new(context, record.redefine, lifecycle, key, self)
    }

    /// All jobs of the manager; `None` if there may be others, of which nobody knows how far they have come.
    pub(crate) fn all_jobs(&self) -> Option<Vec<Arc<Job>>> {
        let registry = self.registry.upgrade()?;
        let registry = registry.read();
        (!registry.has_broken()).then(|| registry.jobs())
    }

    /// Calls the store. One that panics has refused; one that has another owner is not called any more.
    pub(crate) fn store_call<T>(
        &self,
        call: impl FnOnce(&dyn JobStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(lost) = self.owner.lost() {
            return Err(lost);
        }
        store::call(&*self.store, call).inspect_err(|error| self.note_refusal(error))
    }

    /// For what is no matter of the ownership.
    pub(crate) fn job_store(&self) -> &Arc<dyn JobStore> {
        &self.store
    }

    fn note_refusal(&self, error: &StoreError) {
        if error.kind() == StoreErrorKind::LostOwnership && self.owner.lose(error.clone()) {
            self.ownership_changed();
        }
    }

    /// Calls source or rollup index in a caller's thread. One that panics has refused.
    pub(crate) fn engine_call<T>(&self, call: impl FnOnce(&Self) -> Result<T, EngineError>) -> Result<T, EngineError> {
        engine::call(|| call(self))
    }

    /// Saves records: one answer each, however many the store gives.
    pub(crate) fn save(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        if records.is_empty() {
            return Vec::new();
        }
        let answers = self.store_call(|store| Ok(store.update(records)));
        let mut answers = answers.unwrap_or_else(|error| vec![Err(error); records.len()]);
        // The next job must not take an answer for its own.
        answers.resize_with(records.len(), || Err(StoreError::rejected("the job store gave no answer")));
        answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(|error| self.note_refusal(error));
        answers
    }

    pub(crate) fn save_one(&self, record: &JobRecord) -> Result<(), StoreError> {
        self.save(slice::from_ref(record)).into_iter().collect()
    }
}

/// The record of a job that is being put.
pub(crate) fn new_record(definition: Arc<JobDefinition>, progress: Progress, runtime: &Runtime) -> JobRecord {
    JobRecord {
        definition,
        redefine: false,
        state: StoredState::Preparing,
        progress: Arc::new(progress),
        run: 0,
        revision: runtime.revisions.next(),
        epoch: runtime.owner.epoch(),
    }
}
