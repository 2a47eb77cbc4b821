//! Opening a manager: its options, and what becomes of the jobs in the store.

use std::fmt;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use super::calls::Calls;
use super::put::prepare;
use super::{Broken, Entry, Registry, RollupJobManager};
use crate::clock::{Clock, SystemClock};
use crate::engine::{EngineErrorKind, RollupIndex, Source};
use crate::guard::texts_of;
use crate::job::{JobRecord, StoredState};
use crate::observer::Observer;
use crate::ownership::{NotAcquired, Owner};
use crate::runtime::{Runtime, Settings, Systems, Threads};
use crate::store::{self, JobStore, LoadedRecord, Ownership, StoreError, StoreErrorKind};
use crate::sync::{Arc, RwLock};

/// The options of a [`RollupJobManager`]. Setters never fail, [`open`](Self::open) does.
#[must_use = "a builder does nothing until it is opened"]
pub struct RollupJobManagerBuilder {
    systems: Systems,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    settings: Settings,
    patience: Duration,
}

/// How often, and after which pauses, a failed engine call is tried again before its run ends.
///
/// A pause is between half and the whole of its nominal length, so that jobs that failed together do not come back
/// together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RetryOptions {
    attempts: u32,
    initial_delay: Duration,
    max_delay: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self { attempts: 5, initial_delay: Duration::from_millis(100), max_delay: Duration::from_secs(30) }
    }
}

impl RetryOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a call may fail in a row before the run ends. Default: 5. 0 and 1 mean never to try again.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The first pause; each further one is twice as long. Default: 100 ms.
    pub fn initial_delay(mut self, initial_delay: Duration) -> Self {
        self.initial_delay = initial_delay;
        self
    }

    /// The longest pause. Default: 30 s.
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }
}

/// A manager could not be opened. Nothing of it is left, no thread and no change in the store, and whoever has the
/// jobs keeps them.
///
/// Only [`Store`](Self::Store) may come so late that the store is this manager's already: it could be read before it
/// was taken over, and not any more afterwards. Then nobody has the jobs until the next open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option has a value that cannot work.
    #[error("invalid option [{option}]: {message}")]
    Option {
        /// The setter.
        option: &'static str,
        /// What is wrong.
        message: &'static str,
    },
    /// The job store could not be read.
    #[error("could not load the rollup jobs")]
    Store(#[source] StoreError),
    /// Somebody else owns the job store, and is alive. Shut that manager down, or
    /// [wait for it](RollupJobManagerBuilder::wait_for_ownership).
    #[error("the rollup jobs belong to {owner}, who is alive: shut that manager down, or wait for it")]
    Owned {
        /// Who it is, as the store says.
        owner: String,
    },
    /// The threads could not be started.
    #[error("could not start the threads of the rollup jobs")]
    Threads(#[source] std::io::Error),
}

impl RollupJobManagerBuilder {
    pub(super) fn new(source: Arc<dyn Source>, rollup_index: Arc<dyn RollupIndex>, store: Arc<dyn JobStore>) -> Self {
        let retry = RetryOptions::default();
        let settings = Settings {
            indexer_threads: available_parallelism().map_or(1, NonZero::get),
            turn_time: Duration::from_millis(500),
            wedged_after: Duration::from_mins(5),
            retry_attempts: retry.attempts,
            retry_initial: retry.initial_delay,
            retry_max: retry.max_delay,
            paused: false,
        };
        let clock = Arc::new(SystemClock::new());
        let systems = Systems { source, rollup_index, store };
        Self { systems, clock, observers: Vec::new(), settings, patience: Duration::ZERO }
    }

    /// How many threads run jobs, at least 1. Default: the number of cores.
    pub fn indexer_threads(mut self, indexer_threads: usize) -> Self {
        self.settings.indexer_threads = indexer_threads;
        self
    }

    /// How long a run may keep a thread before it commits and queues up again, so that a long one shares with the
    /// others; it is looked at between pages, and a turn delivers at least one. Default: 500 ms.
    ///
    /// A crash redoes at most one turn.
    pub fn turn_time(mut self, turn_time: Duration) -> Self {
        self.settings.turn_time = turn_time;
        self
    }

    /// After how long an engine call that has not returned makes its job's health red, and its indexer thread counts
    /// as lost: another one is started in its place, up to 64 of them. A call that is well should not take that long.
    /// Default: 5 minutes; zero is refused.
    pub fn wedged_after(mut self, wedged_after: Duration) -> Self {
        self.settings.wedged_after = wedged_after;
        self
    }

    /// How failed engine calls are tried again. Default: [`RetryOptions::new`].
    pub fn retry(mut self, retry: RetryOptions) -> Self {
        self.settings.retry_attempts = retry.attempts;
        self.settings.retry_initial = retry.initial_delay;
        self.settings.retry_max = retry.max_delay;
        self
    }

    /// One more observer. Default: none.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// How long [`open`](Self::open) waits for the jobs to be given up by another process that has them, as in a
    /// rolling update; for stores that several processes can reach. Default: zero.
    ///
    /// Even then it may have to watch the other one for as long as its lease (30 s, say): if that one is dead nobody
    /// knows it before, and it is succeeded then; if it is alive it shows at its next renewal, which ends the waiting
    /// once this time is over. One that shuts down is succeeded at once. A store that cannot be reached is waited
    /// for, too.
    pub fn wait_for_ownership(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether nothing runs before [`RollupJobManager::resume`]: for hosts that register their sources after they
    /// have opened the manager. A run that begins before all are there takes those that are for everything there is,
    /// and never comes back for the others' documents. Everything else can be done meanwhile; triggers wait. Default:
    /// no, jobs that were indexing go on at once.
    pub fn paused(mut self, paused: bool) -> Self {
        self.settings.paused = paused;
        self
    }

    /// Where time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Loads the jobs and starts the threads.
    ///
    /// A job comes back as it was: stopped, or started and waiting for its time; one that was indexing goes on at
    /// once, with the source indices that the engine has *then*: register them before, or open
    /// [paused](Self::paused). (A run is stored as such with its first turn: after a crash before that the job
    /// is started, and waits.) A job whose record cannot be read is listed with red health and the reason, and does
    /// not hide the others. A put that a crash interrupted is finished, or undone if the rollup index has data of an
    /// earlier job of that id.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the manager is left then.
    pub fn open(self) -> Result<RollupJobManager, OpenError> {
        if self.settings.indexer_threads == 0 {
            let message = "at least one thread is needed to run jobs";
            return Err(OpenError::Option { option: "indexer_threads", message });
        }
        if self.settings.wedged_after.is_zero() {
            let message = "every call would count as wedged at once";
            return Err(OpenError::Option { option: "wedged_after", message });
        }
        let Self { systems, clock, observers, settings, patience } = self;
        let store = &systems.store;
        // What can fail comes first: taking a store over takes the jobs away from whoever has them.
        if store.lease_duration().is_none() {
            readable(&**store)?;
        }
        let threads = Threads::start(&settings, &clock).map_err(OpenError::Threads)?;
        let acquired = Owner::acquire(Arc::clone(store), Arc::clone(&clock), patience);
        let owner = acquired.map_err(|error| {
            threads.end();
            match error {
                NotAcquired::Held(lease) => OpenError::Owned { owner: lease.owner },
                NotAcquired::Store(source) => OpenError::Store(source),
            }
        })?;
        let (registry, calls, shut_down) = (Arc::<RwLock<Registry>>::default(), Calls::default(), Arc::default());
        let runtime = Runtime::start(threads, systems, clock, observers, settings, owner, &registry);
        let runtime = runtime.map_err(OpenError::Threads)?;
        let manager = RollupJobManager { runtime, registry, calls, shut_down };
        // Should it fail, the manager goes as any other does: it ends its threads, and lets the next owner in.
        manager.load()?;
        Ok(manager)
    }
}

impl RollupJobManagerBuilder {
    /// Where everything is, and what time it is there.
    pub(super) fn into_systems(self) -> (Systems, Arc<dyn Clock>) {
        (self.systems, self.clock)
    }
}

/// Whether a store that knows no lease can be read, before it is taken away from its owner.
fn readable(store: &dyn JobStore) -> Result<(), OpenError> {
    store::call(store, |store| store.load()).map(drop).map_err(OpenError::Store)
}

impl RollupJobManager {
    fn load(&self) -> Result<(), OpenError> {
        let mut loaded = self.runtime.store_call(|store| store.load()).map_err(OpenError::Store)?;
        let mut records: Vec<_> = loaded
            .iter_mut()
            .filter_map(|record| match record {
                LoadedRecord::Job(record) => Some(&mut **record),
                LoadedRecord::Unreadable { .. } => None,
            })
            .collect();
        let newest = records.iter().map(|record| record.revision).max().unwrap_or(0);
        self.runtime.revisions.go_on_after(newest);
        self.fence_all(&mut records)?;
        let read = records.iter().flat_map(|record| record.progress.known_source_indices().map(str::to_owned));
        self.runtime.end_open_changes(read.collect()).map_err(OpenError::Store)?;
        self.registry.write().entries.reserve(loaded.len());
        for record in loaded {
            self.restore(record);
        }
        Ok(())
    }

    /// A store that says of itself that it has one owner gives out no epochs. So that a manager which was left behind
    /// cannot save any more, this one takes a later epoch than the records have, and writes it into each. A record
    /// that the store does not take now gets it with its next save.
    fn fence_all(&self, records: &mut [&mut JobRecord]) -> Result<(), OpenError> {
        const AT_ONCE: usize = 1_000;
        if self.runtime.owner.epoch() != Ownership::SOLE.epoch {
            return Ok(());
        }
        let epoch = Ownership::after(records.iter().map(|record| record.epoch).max().unwrap_or(0)).epoch;
        self.runtime.owner.take_epoch(epoch);
        for records in records.chunks_mut(AT_ONCE) {
            let records = records.iter_mut().map(|record| {
                record.epoch = epoch;
                record.clone()
            });
            let records: Vec<_> = records.collect();
            let saved = self.runtime.save(&records);
            let is_lost = |error: &StoreError| error.kind() == StoreErrorKind::LostOwnership;
            let failed = saved.into_iter().filter_map(Result::err).find(is_lost);
            failed.map_or(Ok(()), |error| Err(OpenError::Store(error)))?;
        }
        Ok(())
    }

    fn restore(&self, loaded: LoadedRecord) {
        let (id, entry) = match loaded {
            LoadedRecord::Job(record) if record.state == StoredState::Preparing => {
                let id = record.id().to_owned();
                match self.finish_put(*record) {
                    Ok(Some(entry)) => (id, entry),
                    Ok(None) => return,
                    Err(reason) => (id.clone(), Entry::Broken(Arc::new(Broken { id, reason }))),
                }
            }
            LoadedRecord::Job(record) => {
                let state = record.state;
                let job = self.runtime.job(*record);
                self.registry.write().entries.insert(Arc::clone(job.shared_id()), Entry::Job(Arc::clone(&job)));
                match state {
                    StoredState::Started => job.arm(),
                    StoredState::Indexing => {
                        job.arm();
                        let _goes_on = job.trigger(self.runtime.clock.now());
                    }
                    _ => {}
                }
                return;
            }
            LoadedRecord::Unreadable { id, error } => {
                let reason = texts_of(&error).join(": ");
                (id.clone(), Entry::Broken(Arc::new(Broken { id, reason })))
            }
        };
        self.registry.write().entries.insert(id.into(), entry);
    }

    /// A crash came between the first and the last step of a put. Its caller got no answer, so both ends are right; but
    /// what an earlier job of that id left in the rollup index is not ours to touch.
    fn finish_put(&self, mut record: JobRecord) -> Result<Option<Entry>, String> {
        let context = self.runtime.context(Arc::clone(&record.definition));
        let text = |error: &dyn std::error::Error| format!("a put was interrupted: {error}");
        match self.runtime.engine_call(|runtime| prepare(runtime, &context, &record.progress)) {
            Ok(()) => {
                record.state = StoredState::Stopped;
                record.revision = self.runtime.revisions.next();
                record.epoch = self.runtime.owner.epoch();
                self.runtime.save_one(&record).map_err(|error| text(&error))?;
                Ok(Some(Entry::Job(self.runtime.job(record))))
            }
            Err(error) if error.kind() == EngineErrorKind::AlreadyExists => {
                self.runtime.store_call(|store| store.remove(record.id())).map_err(|error| text(&error))?;
                Ok(None)
            }
            Err(error) => Err(format!("a put was interrupted: {}", texts_of(&error).join(": "))),
        }
    }
}

impl fmt::Debug for RollupJobManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollupJobManagerBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
