//! `TantivyEngine`: the embedded engine for real use. Feature `tantivy`.
//!
//! The host registers the tantivy indices it owns as source indices; the engine reads what the host has committed and
//! never touches the host's writer. Rolled-up documents go into tantivy indices of the engine's own, one per job,
//! below a folder that the host names, or in memory.
//!
//! Source fields are fast fields: `date`, `i64`, `u64` and `f64`, and text as keywords. Integers beyond 2^53 stay
//! exact as terms; metrics and histograms see them as the nearest double. A boolean is known and, as in
//! Elasticsearch, neither grouped by nor measured. JSON fields are not looked into.
//!
//! A scan of documents that are in the order of time reads their dates first, and then makes one pass over the
//! columns for each slice of time: about 262,144 documents per thread. Where they are in no order the first slice is
//! all of them. What of a slice does not fit into the engine's memory budget takes one more pass for each further
//! part, and one that reads the keys once more to find out which documents are for which; beyond some 60 million
//! documents in one date bucket (with all of the default budget) that is not noted, and each further pass reads all
//! keys. Several streams share the budget: more streams get smaller parts, never more memory.

mod held;
mod noticing;
mod rollup;
mod scan;
mod schema;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use ::tantivy;
use ::tantivy::Index;

use super::{
    Batch, CommittedProgress, EngineError, FieldCapabilities, JobContext, Look, Noticed, PageStream, RolledUpSnapshot,
    RollupIndex, RollupWriter, ScanRequest, Snapshot, Source, SourceMark, StopSignal,
};
use crate::job::IndexPattern;
use crate::scan::RolledUpFields;
use crate::sync::{Arc, RwLock};
use held::Held;
use noticing::Mark;
use rollup::{Folders, JobIndex, JobIndices, Memory, TantivyWriter, WriterOptions};
pub use rollup::{RollupPlace, RollupStorage};
use scan::{Budget, RowColumns, Scan, ScanSource};
use segments::Segments;

/// The embedded engine, on the search engine library tantivy.
///
/// Cloning gives another handle on the same engine.
///
/// ```
/// use rollup_jobs::engine::tantivy::TantivyEngine;
/// use rollup_jobs::engine::tantivy::tantivy::Index;
/// use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
///
/// let mut schema = Schema::builder();
/// schema.add_date_field("timestamp", DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds));
/// schema.add_text_field("node", STRING | FAST);
/// let index = Index::create_in_ram(schema.build());
///
/// let engine = TantivyEngine::in_ram();
/// engine.register("sensor-1", &index)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TantivyEngine {
    shared: Arc<TantivyState>,
}

struct TantivyState {
    options: TantivyOptions,
    sources: RwLock<BTreeMap<String, RegisteredIndex>>,
    rollups: JobIndices,
    budget: Arc<Budget>,
}

/// An index that the host has registered.
#[derive(Clone)]
struct RegisteredIndex {
    index: Index,
    segments: Arc<Segments>,
}

impl RegisteredIndex {
    fn to_scan(&self, name: &str) -> ScanSource {
        let described = format!("source index [{name}]");
        ScanSource { described, index: self.index.clone(), segments: Arc::clone(&self.segments) }
    }
}

/// The limits of a [`TantivyEngine`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TantivyOptions {
    memory_budget: usize,
    scan_threads: usize,
    writer_memory: usize,
    writer_threads: usize,
}

impl Default for TantivyOptions {
    fn default() -> Self {
        Self { memory_budget: 256 << 20, scan_threads: 1, writer_memory: 64 << 20, writer_threads: 1 }
    }
}

impl TantivyOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much memory all open scans together may use for their groups, in bytes. Default: 256 MiB.
    pub fn memory_budget(mut self, memory_budget: usize) -> Self {
        self.memory_budget = memory_budget;
        self
    }

    /// How many threads one scan may use in any case. Default: 1, and beside it as many as are idle in the manager's
    /// pool.
    pub fn scan_threads(mut self, scan_threads: usize) -> Self {
        self.scan_threads = scan_threads;
        self
    }

    /// How much memory a turn's writer may use for documents that are not yet written, in bytes, and about half as
    /// much again while it writes them. Default: 64 MiB.
    pub fn writer_memory(mut self, writer_memory: usize) -> Self {
        self.writer_memory = writer_memory;
        self
    }

    /// How many threads write a turn's documents while the turn goes on. Default: 1.
    pub fn writer_threads(mut self, writer_threads: usize) -> Self {
        self.writer_threads = writer_threads;
        self
    }
}

/// A source index could not be registered, or an engine not be opened. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TantivyEngineError {
    /// The name is taken by a source index.
    #[error("a source index [{name}] is registered already")]
    Registered {
        /// The name.
        name: String,
    },
    /// The name is taken by a rollup index.
    #[error("[{name}] is a rollup index and cannot be a source index")]
    IsRollupIndex {
        /// The name.
        name: String,
    },
    /// A pattern could not tell the name.
    #[error("an index name must not be empty, begin with [-] or contain [,] or [*], but was [{name}]")]
    Name {
        /// The name.
        name: String,
    },
    /// Another engine has this folder: in another process, or in this one.
    #[error("the folder of rollup indices {} is open already: only one engine can have it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of the rollup indices cannot be used.
    #[error("could not open the folder of rollup indices {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl TantivyEngine {
    /// Opens an engine whose rollup indices live below `folder`, which is created if need be. Each is a folder of its
    /// own, with one tantivy index per job.
    ///
    /// The folder belongs to one engine at a time, and its clones: two would write each other's jobs. It is free
    /// again when the last clone is dropped, that of a manager too. Whoever only wants to search opens an index in it
    /// with tantivy itself, or asks [`rollup_index`](Self::rollup_index).
    ///
    /// # Errors
    /// [`TantivyEngineError::InUse`], [`TantivyEngineError::Folder`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, TantivyEngineError> {
        Self::open_with(folder, TantivyOptions::new())
    }

    /// Opens an engine with other limits.
    ///
    /// # Errors
    /// [`TantivyEngineError::InUse`], [`TantivyEngineError::Folder`].
    pub fn open_with(folder: impl AsRef<Path>, options: TantivyOptions) -> Result<Self, TantivyEngineError> {
        let path = folder.as_ref().to_owned();
        let folders = Folders::lock(path.clone()).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => TantivyEngineError::InUse { path },
            _ => TantivyEngineError::Folder { path, source },
        })?;
        Ok(Self::on(Arc::new(folders), options))
    }

    /// An engine whose rollup indices live in memory.
    #[must_use]
    pub fn in_ram() -> Self {
        Self::in_ram_with(TantivyOptions::new())
    }

    /// An engine in memory with other limits.
    #[must_use]
    pub fn in_ram_with(options: TantivyOptions) -> Self {
        Self::on(Arc::<Memory>::default(), options)
    }

    /// An engine whose rollup indices live in a storage of the host's own. It must not be another engine's too.
    #[must_use]
    pub fn on(storage: Arc<dyn RollupStorage>, options: TantivyOptions) -> Self {
        let budget = Arc::new(Budget::new(options.memory_budget));
        let (sources, rollups) = (RwLock::default(), JobIndices::new(storage));
        Self { shared: Arc::new(TantivyState { options, sources, rollups, budget }) }
    }

    /// Lets jobs read `index` under `name`, from their next run on. The host goes on writing to it as it likes; a run
    /// sees what was committed when it began. An index that has several names counts once.
    ///
    /// Register what there is before the manager is opened, or open it
    /// [paused](crate::RollupJobManagerBuilder::paused): jobs that were indexing go on at once. What an index that is
    /// registered later holds of buckets that are rolled up by then counts as late, and is rolled up again.
    ///
    /// # Errors
    /// [`TantivyEngineError`] if the name is taken or cannot be used.
    pub fn register(&self, name: &str, index: &Index) -> Result<(), TantivyEngineError> {
        let name = name.to_owned();
        if name.is_empty() || name.starts_with('-') || name.contains([',', '*']) {
            return Err(TantivyEngineError::Name { name });
        }
        let mut sources = self.shared.sources.write();
        if self.shared.is_rollup_index(&name) {
            return Err(TantivyEngineError::IsRollupIndex { name });
        }
        if sources.contains_key(&name) {
            return Err(TantivyEngineError::Registered { name });
        }
        sources.insert(name, RegisteredIndex { index: index.clone(), segments: Arc::default() });
        Ok(())
    }

    /// Takes a source index away. Runs under way go on with it. Says whether it was registered.
    #[must_use = "a name that was not registered may be a misspelt one"]
    pub fn unregister(&self, name: &str) -> bool {
        self.shared.sources.write().remove(name).is_some()
    }

    /// The tantivy index that holds the rolled-up documents of a job, to search it. Readers are the caller's own to
    /// reload.
    ///
    /// All fields are fast fields, and none is indexed: aggregations, `RangeQuery` and `TermQuery` read the columns.
    /// A `TermQuery` does so where nothing is scored; where hits are ranked, wrap it in a `ConstScoreQuery`. A
    /// `TermSetQuery` finds no index.
    ///
    /// # Errors
    /// [`EngineError`] if there is one and it cannot be opened.
    pub fn rollup_index(&self, rollup_index: &str, job_id: &str) -> Result<Option<Index>, EngineError> {
        let place = RollupPlace { rollup_index: rollup_index.to_owned(), job_id: job_id.to_owned() };
        Ok(self.shared.rollups.get(&place)?.map(|job| job.index().clone()))
    }

    /// How much memory the groups of all open scans use at this moment, in bytes, and the most they ever did.
    #[must_use]
    pub fn memory_used(&self) -> (usize, usize) {
        self.shared.budget.used()
    }
}

impl TantivyState {
    fn is_rollup_index(&self, name: &str) -> bool {
        self.rollups.storage.holds(name)
    }

    fn resolve(&self, pattern: &IndexPattern) -> Result<Vec<(String, RegisteredIndex)>, EngineError> {
        let sources = self.sources.read();
        let names = pattern
            .resolve(sources.keys().map(String::as_str))
            .map_err(|name| EngineError::not_found(format!("no such index [{name}]")))?;
        Ok(names.into_iter().map(|name| (name.to_owned(), sources[name].clone())).collect())
    }

    fn scan(
        &self,
        request: ScanRequest,
        columns: RowColumns,
        rows: &Held,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let (budget, threads) = (Arc::clone(&self.budget), self.options.scan_threads);
        Ok(Box::new(Scan::open(request, columns, &rows.committed, rows.names.as_deref(), budget, threads, stop)?))
    }

    fn existing(&self, job: &JobContext) -> Result<Arc<JobIndex>, EngineError> {
        let missing = || EngineError::not_found(format!("no such index [{}]", job.config().rollup_index()));
        self.rollups.get(&place(job))?.ok_or_else(missing)
    }
}

impl Source for TantivyEngine {
    fn field_capabilities(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        let sources = self.shared.resolve(pattern)?;
        let mut capabilities = FieldCapabilities::new(sources.iter().map(|(name, _)| name.clone()).collect());
        for (name, source) in &sources {
            let schema = source.index.schema();
            capabilities.known_fields.extend(schema.fields().map(|(_, entry)| entry.name().to_owned()));
            for field in fields.iter().collect::<BTreeSet<_>>() {
                schema::add_capability(&mut capabilities, name, &schema, field);
            }
        }
        Ok(capabilities)
    }

    fn scan(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        mut request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        request.check()?;
        let columns = RowColumns::of_source(&request.grouping);
        match request.snapshot.take().as_ref().and_then(Snapshot::get) {
            Some(held) => self.shared.scan(request, columns, held, stop),
            None => self.shared.scan(request, columns, &Held::of_sources(&self.shared, pattern, stop)?, stop),
        }
    }

    fn snapshot(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Option<Snapshot>, EngineError> {
        Held::of_sources(&self.shared, pattern, stop).map(|held| Some(Snapshot::new(held)))
    }

    fn look(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        look: &Look<'_>,
        stop: &StopSignal,
    ) -> Result<Vec<Noticed>, EngineError> {
        let sources = self.shared.resolve(pattern)?;
        let noticed = sources.iter().map(|(name, source)| source.look(name, look, stop));
        noticed.filter_map(Result::transpose).collect()
    }

    fn read_mark(&self, bytes: &[u8]) -> Option<SourceMark> {
        Mark::read(bytes).map(SourceMark::new)
    }
}

impl RollupIndex for TantivyEngine {
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        let place = place(job);
        let rollup_index = job.config().rollup_index();
        // Held until the index is there, so that nobody registers the name meanwhile.
        let sources = self.shared.sources.read();
        if sources.contains_key(rollup_index) {
            return Err(EngineError::not_rollup(format!(
                "Rollup data cannot be added to existing indices that contain non-rollup data \
                 (expected to find _meta key in mapping of rollup index [{rollup_index}] but not found)."
            )));
        }
        self.shared.rollups.prepare(place, job)
    }

    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.existing(job)?.redefine(job)
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let index = self.shared.existing(job)?;
        let TantivyOptions { writer_threads, writer_memory, .. } = self.shared.options;
        let options = WriterOptions { threads: writer_threads.max(1), memory: writer_memory };
        Ok(Box::new(TantivyWriter::begin(index, job, options, batch)?))
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        mut request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let fields = RolledUpFields::of(job.layout(), &request)?;
        let columns = RowColumns::of_rolled_up(&fields, &request);
        match request.snapshot.take().as_ref().and_then(Snapshot::get) {
            Some(held) => self.shared.scan(request, columns, held, stop),
            None => self.shared.scan(request, columns, &Held::of_job(&*self.shared.existing(job)?, stop)?, stop),
        }
    }

    fn snapshot_rolled_up(&self, job: &JobContext, stop: &StopSignal) -> Result<Option<RolledUpSnapshot>, EngineError> {
        Held::with_progress(&*self.shared.existing(job)?, stop).map(Some)
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        let index = self.shared.rollups.get(&place(job))?;
        Ok(CommittedProgress::Kept(index.map(|index| index.progress()).transpose()?.flatten()))
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        self.shared.existing(job)?.merge(job, stop)
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        let found = self.shared.rollups.storage.rollup_indices_of(job_id);
        found.map_err(|error| failed("the folder of rollup indices", error.into()))
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.rollups.remove(&place(job))
    }
}

impl fmt::Debug for TantivyEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TantivyEngine")
            .field("storage", &self.shared.rollups.storage)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

fn place(job: &JobContext) -> RollupPlace {
    RollupPlace { rollup_index: job.config().rollup_index().to_owned(), job_id: job.id().to_owned() }
}

/// `error` while doing something at `place`: what may pass is transient.
fn failed(place: &str, error: ::tantivy::TantivyError) -> EngineError {
    use ::tantivy::TantivyError;
    use ::tantivy::directory::error::{OpenDirectoryError, OpenReadError, OpenWriteError};
    #[derive(Debug, thiserror::Error)]
    #[error("{place}")]
    struct At {
        place: String,
        source: TantivyError,
    }
    let transient = match &error {
        TantivyError::LockFailure(..) => true,
        TantivyError::IoError(io) => is_passing(io),
        TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. })
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
        | TantivyError::OpenDirectoryError(
            OpenDirectoryError::IoError { io_error, .. } | OpenDirectoryError::FailedToCreateTempDir(io_error),
        ) => is_passing(io_error),
        // The writer's thread died; the reason, such as a full disk, is not always told.
        TantivyError::ErrorInThread(_) => true,
        _ => false,
    };
    let is_name = matches!(&error, TantivyError::IoError(io) if io.kind() == std::io::ErrorKind::InvalidFilename);
    let at = At { place: place.to_owned(), source: error };
    if is_name {
        return EngineError::invalid_name(at);
    }
    if transient { EngineError::unavailable(at) } else { EngineError::rejected(at) }
}

/// A full disk may have room again, and a process that has too many files open may close some; a folder without
/// permission will not get any by itself.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    !matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::InvalidData
            | ErrorKind::InvalidFilename
            | ErrorKind::ReadOnlyFilesystem
    )
}
