//! Put: a job is checked, prepared and stored, wholly or not at all.

use super::calls::Call;
use super::field_validation::{fields_of, validate, validate_engine};
use super::{Entry, Registry, RollupJobManager};
use crate::engine::{EngineError, EngineErrorKind, JobContext};
use crate::guard::texts_of;
use crate::job::{
    ConfigError, ConfigProblem, ConfigProblemKind, JobDefinition, JobRecord, Progress, RollupJobConfig, RunAs,
    StoredState, TermsType,
};
use crate::runtime::{Runtime, new_record};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::Arc;

/// How a job is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct PutOptions {
    run_as: Option<RunAs>,
}

impl PutOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whom the job acts for: opaque, stored with the job, handed to the engine in each call, never shown. Default:
    /// nobody.
    pub fn run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = Some(run_as);
        self
    }
}

/// A job could not be put. There is no job of it then, and nothing of it in store or engine, unless a variant says
/// otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The configured fields do not fit the source indices. It holds everything that is wrong.
    #[error(transparent)]
    Invalid(ConfigError),
    /// There is a job of this id (409 in Elasticsearch).
    #[error("cannot create rollup job [{job_id}] because it has already been created")]
    AlreadyExists {
        /// The job.
        job_id: String,
    },
    /// The rollup index holds data, or another definition, of an earlier job of this id (409 in Elasticsearch).
    /// Remove that job's data ([`RollupJobManager::remove_data`]), or choose another id or rollup index.
    #[error(
        "cannot create rollup job [{job_id}] because it was previously created: remove_data removes what it has left"
    )]
    PreviouslyCreated {
        /// The job.
        job_id: String,
        /// What the engine says.
        source: EngineError,
    },
    /// The engine failed.
    #[error("could not put rollup job [{job_id}]: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
    /// The job store failed. Should it have refused the undoing as well, the id stays taken until the next open
    /// finishes it.
    #[error("could not put rollup job [{job_id}]: save failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Somebody else owns the jobs now: another process, or another manager.
    #[error("could not put rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The manager is shut down.
    #[error("could not put rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Creates a job, stopped. See [`put_with`](Self::put_with).
    ///
    /// # Errors
    /// [`PutError`], as there.
    pub fn put(&self, config: RollupJobConfig) -> Result<(), PutError> {
        self.put_with(config, PutOptions::new())
    }

    /// Creates a job, stopped: checks its fields against the source indices, prepares its rollup index and stores it.
    ///
    /// It is one step, over a crash too: a put that was interrupted is finished or undone by the next open.
    /// Elasticsearch checks neither the schedule nor what the pattern really means, and leaves half a job behind when
    /// it fails late.
    ///
    /// # Errors
    /// [`PutError`]. There is no job then; see each variant.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// use rollup_jobs::{DateHistogram, PutError, RollupJobConfig, RollupJobManager};
    ///
    /// let engine = Arc::new(MemoryEngine::new());
    /// engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// let config = RollupJobConfig::builder("sensor")
    ///     .index_pattern("sensor-*")
    ///     .rollup_index("rolled")
    ///     .cron("0 0 * * * ?")
    ///     .page_size(1_000)
    ///     .date_histogram(DateHistogram::fixed_interval("time", "1h"))
    ///     .build()?;
    /// let Err(PutError::Invalid(error)) = manager.put(config) else { panic!("the field does not exist") };
    /// assert_eq!(
    ///     error.problems()[0].message(),
    ///     "Could not find any fields in the index/index-pattern that were configured in job",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_with(&self, config: RollupJobConfig, options: PutOptions) -> Result<(), PutError> {
        let put = Put::new(self, config, options)?;
        let reservation = put.reserve()?;
        let terms_types = put.check()?;
        let record = put.store(terms_types, Progress::default())?;
        let job = self.runtime.job(record);
        job.note_if_it_never_fires();
        reservation.fill(Entry::Job(job));
        Ok(())
    }
}

pub(super) struct Put<'a> {
    manager: &'a RollupJobManager,
    config: RollupJobConfig,
    run_as: Option<RunAs>,
    /// A shutdown waits for the whole put.
    _call: Call<'a>,
}

impl<'a> Put<'a> {
    pub(super) fn new(
        manager: &'a RollupJobManager,
        config: RollupJobConfig,
        options: PutOptions,
    ) -> Result<Self, PutError> {
        let call = manager.calls.begin();
        let call = call.ok_or_else(|| PutError::ShutDown { job_id: config.id().to_owned() })?;
        Ok(Self { manager, config, run_as: options.run_as, _call: call })
    }

    pub(super) fn config(&self) -> &RollupJobConfig {
        &self.config
    }

    fn job_id(&self) -> String {
        self.config.id().to_owned()
    }

    pub(super) fn reserve(&self) -> Result<Reservation<'a>, PutError> {
        if let Some(source) = self.manager.runtime.owner.lost() {
            return Err(PutError::LostOwnership { job_id: self.job_id(), source });
        }
        let mut registry = self.manager.registry.write();
        if registry.is_closed {
            return Err(PutError::ShutDown { job_id: self.job_id() });
        }
        if registry.entries.contains_key(self.config.id()) {
            return Err(PutError::AlreadyExists { job_id: self.job_id() });
        }
        Ok(Reservation::take(self.manager, &mut registry, self.config.id()))
    }

    fn store_error(&self, source: StoreError) -> PutError {
        match source.kind() {
            StoreErrorKind::AlreadyExists => PutError::AlreadyExists { job_id: self.job_id() },
            StoreErrorKind::LostOwnership => PutError::LostOwnership { job_id: self.job_id(), source },
            _ => PutError::Store { job_id: self.job_id(), source },
        }
    }

    fn definition(&self, terms_types: Vec<TermsType>) -> Arc<JobDefinition> {
        Arc::new(JobDefinition { config: self.config.clone(), terms_types, run_as: self.run_as.clone() })
    }

    fn engine<T>(&self, call: impl FnOnce(&Runtime) -> Result<T, EngineError>) -> Result<T, PutError> {
        self.manager.runtime.engine_call(call).map_err(|source| match source.kind() {
            EngineErrorKind::AlreadyExists => PutError::PreviouslyCreated { job_id: self.job_id(), source },
            _ if source.is_invalid_name() => PutError::Invalid(invalid_name(&self.config, &source)),
            _ => PutError::Engine { job_id: self.job_id(), source },
        })
    }

    pub(super) fn check(&self) -> Result<Vec<TermsType>, PutError> {
        let (definition, fields) = (self.definition(Vec::new()), fields_of(&self.config));
        let invalid = |problems| PutError::Invalid(ConfigError::new(self.config.id(), problems));
        let problems = validate_engine(&self.config, &*self.manager.runtime.source);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let context = self.manager.runtime.context(definition);
        let capabilities =
            self.engine(|runtime| runtime.source.field_capabilities(&context, self.config.index_pattern(), &fields))?;
        validate(&self.config, &capabilities).map_err(invalid)
    }

    /// Preparing on disk, prepared in the engine, stopped on disk: a crash in between is seen by the next open.
    pub(super) fn store(&self, terms_types: Vec<TermsType>, progress: Progress) -> Result<JobRecord, PutError> {
        let runtime = &self.manager.runtime;
        let definition = self.definition(terms_types);
        let context = runtime.context(Arc::clone(&definition));
        let is_new = progress.position.is_none();
        let mut record = new_record(definition, progress, runtime);
        if let Err(source) = runtime.store_call(|store| store.insert(&record)) {
            if source.is_transient() {
                // It may be there all the same, and the id is nobody else's now.
                let _ = self.remove_record();
            }
            return Err(self.store_error(source));
        }
        if let Err(error) = self.engine(|runtime| prepare(runtime, &context, &record.progress)) {
            self.remove_record()?;
            return Err(error);
        }
        record.state = StoredState::Stopped;
        record.revision = runtime.revisions.next();
        if let Err(source) = runtime.save_one(&record) {
            if source.kind() == StoreErrorKind::LostOwnership {
                // Whoever has the jobs now has found the record, and what is in the engine is theirs.
                return Err(self.store_error(source));
            }
            if is_new {
                // Nothing was in the rollup index, or preparing it would have been refused.
                self.engine(|runtime| runtime.rollup_index.remove(&context))?;
            }
            self.remove_record()?;
            return Err(self.store_error(source));
        }
        Ok(record)
    }

    fn remove_record(&self) -> Result<(), PutError> {
        let removed = self.manager.runtime.store_call(|store| store.remove(self.config.id()));
        removed.map_err(|source| self.store_error(source))
    }
}

/// The engine knows which of the two names it cannot keep, and says so.
fn invalid_name(config: &RollupJobConfig, error: &EngineError) -> ConfigError {
    let problem = ConfigProblem::new(ConfigProblemKind::Name, "rollup_index", texts_of(error).join(": "));
    ConfigError::new(config.id(), vec![problem])
}

/// What the engine does for a job that is put, or goes on from elsewhere.
pub(super) fn prepare(runtime: &Runtime, job: &JobContext, progress: &Progress) -> Result<(), EngineError> {
    let index = &runtime.rollup_index;
    if progress.position.is_none() { index.prepare(job) } else { index.adopt(job, progress) }
}

/// Keeps an id from being put, or put twice, at once. Given back unless it was filled, also when a put panics.
pub(super) struct Reservation<'a> {
    manager: &'a RollupJobManager,
    id: Arc<str>,
    filled: bool,
}

impl<'a> Reservation<'a> {
    /// Of an id that is free.
    pub(super) fn take(manager: &'a RollupJobManager, registry: &mut Registry, id: &str) -> Self {
        let id: Arc<str> = id.into();
        registry.entries.insert(Arc::clone(&id), Entry::Reserved);
        Self { manager, id, filled: false }
    }

    pub(super) fn fill(mut self, entry: Entry) {
        self.filled = true;
        let mut registry = self.manager.registry.write();
        if registry.is_closed
            && let Entry::Job(job) = &entry
        {
            // The shutdown has not seen it.
            let runtime = &self.manager.runtime;
            drop(job.lifecycle.shut_down(&runtime.revisions, runtime.clock.monotonic()));
            job.lifecycle.close();
        }
        registry.entries.insert(Arc::clone(&self.id), entry);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.manager.registry.write().entries.remove(&self.id);
        }
    }
}
