use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Batch, CommitReport, CommittedProgress, EngineError, FieldCapabilities, FieldType, JobContext, PageStream,
    RolledUpSnapshot, RollupIndex, RollupWriter, Source, SourceIndex, StopSignal, WriteReport, left_out,
};
use crate::filter::FilterField;
use crate::job::{GroupKey, IndexPattern, KeyPart, OUT_OF_RANGE, Progress};
use crate::rollup::{Page, RolledUpDocument, RolledUpDocuments};
use crate::scan::{Fold, Pages, RolledUpFields, ScanRequest, Snapshot, SourceDocument, SourceValue};
use crate::sync::{Arc, Mutex};

/// How many documents a scan looks at between two looks at the stop signal.
const BLOCK: usize = 1_024;

/// The reference engine: all data in memory, every rule in its plainest form. For documentation, tests and small data.
///
/// ```
/// use rollup_jobs::engine::{MemoryEngine, SourceDocument};
///
/// let engine = MemoryEngine::new();
/// engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", 20.5));
/// ```
#[derive(Debug, Clone)]
pub struct MemoryEngine {
    keeps_progress: bool,
    shared: Arc<Mutex<MemoryData>>,
}

#[derive(Debug, Default, Clone)]
struct MemoryData {
    sources: BTreeMap<String, Arc<Vec<SourceDocument>>>,
    /// By index, the types of fields that a host has told.
    mappings: BTreeMap<String, BTreeMap<String, FieldType>>,
    rollups: BTreeMap<(String, String), Rollup>,
}

#[derive(Debug, Clone)]
struct Rollup {
    job: JobContext,
    progress: Option<Progress>,
    documents: RollupDocuments,
}

type RollupDocuments = Arc<BTreeMap<GroupKey, RolledUpDocument>>;

impl Rollup {
    fn is_of(&self, job: &JobContext) -> bool {
        self.job.config().has_identity_of(job.config())
    }

    /// Whether a job that is put may have it.
    fn is_new(&self) -> bool {
        let position = self.progress.as_ref().and_then(|progress| progress.position.as_ref());
        self.documents.is_empty() && position.is_none()
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryEngine {
    /// An empty engine that commits documents and progress in one step.
    #[must_use]
    pub fn new() -> Self {
        Self { keeps_progress: true, shared: Arc::default() }
    }

    /// An empty engine that keeps no progress and replaces documents by id, as a remote search engine does.
    #[must_use]
    pub fn without_progress() -> Self {
        Self { keeps_progress: false, ..Self::new() }
    }

    /// Adds a document to a source index, which is created if need be.
    pub fn add(&self, index: &str, document: SourceDocument) {
        self.extend(index, [document]);
    }

    /// Adds documents to a source index, which is created if need be.
    pub fn extend(&self, index: &str, documents: impl IntoIterator<Item = SourceDocument>) {
        let mut shared = self.shared.lock();
        let source = shared.sources.entry(index.to_owned()).or_default();
        Arc::make_mut(source).extend(documents);
    }

    /// Says what type a field of a source index has, which is created if need be: by itself the engine knows types
    /// only from values, and a job whose field has none yet could not be put.
    ///
    /// ```
    /// use rollup_jobs::engine::{FieldType, MemoryEngine};
    ///
    /// let engine = MemoryEngine::new();
    /// engine.map("sensor-1", "timestamp", FieldType::Date);
    /// ```
    pub fn map(&self, index: &str, field: &str, field_type: FieldType) {
        let mut shared = self.shared.lock();
        shared.sources.entry(index.to_owned()).or_default();
        shared.mappings.entry(index.to_owned()).or_default().insert(field.to_owned(), field_type);
    }

    /// Removes the documents of a source index that `keep` does not want to keep.
    ///
    /// ```
    /// use rollup_jobs::engine::{MemoryEngine, SourceDocument, SourceValue};
    ///
    /// let engine = MemoryEngine::new();
    /// engine.extend("sensor-1", [0, 1].map(|at| SourceDocument::new().date("timestamp", at)));
    /// engine.retain("sensor-1", |document| document.fields().any(|(_, values)| *values == [SourceValue::Date(1)]));
    /// ```
    pub fn retain(&self, index: &str, keep: impl FnMut(&SourceDocument) -> bool) {
        let mut shared = self.shared.lock();
        if let Some(source) = shared.sources.get_mut(index) {
            Arc::make_mut(source).retain(keep);
        }
    }

    /// Another engine that holds what this one holds now: what a restart would find, had it been on disk.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let copy = self.shared.lock().clone();
        Self { keeps_progress: self.keeps_progress, shared: Arc::new(Mutex::new(copy)) }
    }

    /// Removes a source index or a rollup index with everything in it. Says whether there was one.
    #[must_use]
    pub fn remove_index(&self, index: &str) -> bool {
        let mut shared = self.shared.lock();
        let before = shared.rollups.len();
        shared.rollups.retain(|(rollup_index, _), _| rollup_index != index);
        shared.mappings.remove(index);
        shared.sources.remove(index).is_some() || shared.rollups.len() < before
    }

    /// The rolled-up documents in a rollup index: of one job after the other, each in key order.
    #[must_use]
    pub fn rolled_up(&self, rollup_index: &str) -> Vec<RolledUpDocument> {
        let shared = self.shared.lock();
        let rollups = shared.rollups.iter().filter(|((index, _), _)| index == rollup_index);
        rollups.flat_map(|(_, rollup)| rollup.documents.values().cloned()).collect()
    }

    /// How far a job has come, whose rollup is there or not.
    fn committed(&self, rollup: Option<&Rollup>) -> CommittedProgress {
        if self.keeps_progress {
            CommittedProgress::Kept(rollup.and_then(|rollup| rollup.progress.clone()))
        } else {
            CommittedProgress::NotKept
        }
    }
}

impl MemoryData {
    fn resolve(&self, pattern: &IndexPattern) -> Result<Vec<&str>, EngineError> {
        pattern
            .resolve(self.sources.keys().map(String::as_str))
            .map_err(|name| EngineError::not_found(format!("no such index [{name}]")))
    }

    /// The types that a field has in an index: those of its values, and the one that a host has told.
    fn types(&self, index: &str, field: &str) -> BTreeSet<FieldType> {
        let values = self.sources.get(index).into_iter().flat_map(|documents| documents.iter());
        let values = values.flat_map(|document| document.values(field)).map(type_of);
        let told = self.mappings.get(index).and_then(|mapped| mapped.get(field)).cloned();
        values.chain(told).collect()
    }

    fn rollup(&mut self, job: &JobContext) -> Option<&mut Rollup> {
        self.rollups.get_mut(&place(job))
    }
}

fn dates(document: &SourceDocument, field: &str) -> impl Iterator<Item = i64> {
    document.values(field).iter().filter_map(|value| if let SourceValue::Date(at) = value { Some(*at) } else { None })
}

fn type_of(value: &SourceValue) -> FieldType {
    match value {
        SourceValue::Date(_) => FieldType::Date,
        SourceValue::Integer(_) => FieldType::Long,
        SourceValue::Unsigned(_) => FieldType::Unsigned,
        SourceValue::Double(_) => FieldType::Double,
        SourceValue::Keyword(_) => FieldType::Keyword,
        SourceValue::Boolean(_) => FieldType::Boolean,
    }
}

fn place(job: &JobContext) -> (String, String) {
    (job.config().rollup_index().to_owned(), job.id().to_owned())
}

fn gone(job: &JobContext) -> EngineError {
    EngineError::not_found(format!("no such index [{}]", job.config().rollup_index()))
}

impl Source for MemoryEngine {
    fn field_capabilities(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        let shared = self.shared.lock();
        let indices = shared.resolve(pattern)?;
        let mut capabilities = FieldCapabilities::new(indices.iter().map(ToString::to_string).collect());
        for index in indices {
            let (documents, mapped) = (&shared.sources[index], shared.mappings.get(index));
            let names = documents.iter().flat_map(|document| document.fields().map(|(name, _)| name));
            capabilities.known_fields.extend(
                names.chain(mapped.into_iter().flat_map(BTreeMap::keys).map(String::as_str)).map(str::to_owned),
            );
            for field in fields {
                for field_type in shared.types(index, field) {
                    capabilities.add(field, index, field_type, true, 0);
                }
            }
        }
        Ok(capabilities)
    }

    fn scan(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        _stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        request.check()?;
        let held = request.snapshot.as_ref().and_then(Snapshot::get::<MemoryData>);
        let now = held.is_none().then(|| self.shared.lock());
        let Some(shared) = held.or(now.as_deref()) else { unreachable!("a moment or this one") };
        let sources = shared.resolve(pattern)?;
        let sources = sources.into_iter().map(|index| {
            let filtered = request.filter.fields();
            let types = filtered.iter().map(|field| (*field, shared.types(index, field)));
            // Of several types that a field has in one index, which a real index does not allow, the first.
            let types = types.filter_map(|(field, types)| Some((field, types.into_iter().next()?)));
            let holds = types.map(|(field, kind)| match kind.filter_field() {
                Some(holds) => Ok((field.to_owned(), holds)),
                None => Err(EngineError::rejected(format!(
                    "[filter] field [{field}] of source index [{index}] is [{kind}], and a filter cannot look at it"
                ))),
            });
            let (documents, holds) = (Arc::clone(&shared.sources[index]), holds.collect::<Result<_, EngineError>>()?);
            Ok(RawRows { index: index.to_owned(), documents, holds })
        });
        let rows = Rows::Raw(sources.collect::<Result<_, EngineError>>()?);
        Ok(MemoryStream::boxed(request, rows))
    }

    fn snapshot(
        &self,
        _job: &JobContext,
        _pattern: &IndexPattern,
        _stop: &StopSignal,
    ) -> Result<Option<Snapshot>, EngineError> {
        let shared = self.shared.lock();
        let (sources, mappings) = (shared.sources.clone(), shared.mappings.clone());
        Ok(Some(Snapshot::new(MemoryData { sources, mappings, rollups: BTreeMap::new() })))
    }
}

impl RollupIndex for MemoryEngine {
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        let mut shared = self.shared.lock();
        let rollup_index = job.config().rollup_index();
        if shared.sources.contains_key(rollup_index) {
            return Err(EngineError::not_rollup(format!(
                "Rollup data cannot be added to existing indices that contain non-rollup data \
                 (expected to find _meta key in mapping of rollup index [{rollup_index}] but not found)."
            )));
        }
        match shared.rollups.entry(place(job)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Rollup { job: job.clone(), progress: None, documents: Arc::default() });
                Ok(())
            }
            Entry::Occupied(mut known) if known.get().is_of(job) && known.get().is_new() => {
                known.get_mut().job = job.clone();
                Ok(())
            }
            Entry::Occupied(_) => Err(EngineError::already_exists(format!(
                "rollup index [{rollup_index}] holds data or another definition of job [{}]",
                job.id()
            ))),
        }
    }

    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        let mut shared = self.shared.lock();
        shared.rollup(job).ok_or_else(|| gone(job))?.job = job.clone();
        Ok(())
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        if self.shared.lock().rollup(job).is_none() {
            return Err(gone(job));
        }
        let (engine, job, batch) = (self.clone(), job.clone(), batch.clone());
        Ok(Box::new(MemoryWriter { engine, job, batch, pending: Vec::new() }))
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        _stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        RolledUpFields::of(job.layout(), &request)?;
        let documents = match request.snapshot.as_ref().and_then(Snapshot::get::<RollupDocuments>) {
            Some(held) => Arc::clone(held),
            None => Arc::clone(&self.shared.lock().rollup(job).ok_or_else(|| gone(job))?.documents),
        };
        Ok(MemoryStream::boxed(request, Rows::RolledUp(job.clone(), documents)))
    }

    fn snapshot_rolled_up(
        &self,
        job: &JobContext,
        _stop: &StopSignal,
    ) -> Result<Option<RolledUpSnapshot>, EngineError> {
        let mut shared = self.shared.lock();
        let rollup = shared.rollup(job).ok_or_else(|| gone(job))?;
        let progress = self.committed(Some(rollup));
        let documents = Snapshot::new::<RollupDocuments>(Arc::clone(&rollup.documents));
        Ok(Some(RolledUpSnapshot::new(documents, progress)))
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        Ok(self.committed(self.shared.lock().rollup(job).as_deref()))
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        let shared = self.shared.lock();
        let of_job = shared.rollups.keys().filter(|(_, id)| id == job_id);
        Ok(of_job.map(|(index, _)| index.clone()).collect())
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.lock().rollups.remove(&place(job));
        Ok(())
    }
}

/// What a scan reads.
enum Rows {
    /// Documents of indices.
    Raw(Vec<RawRows>),
    RolledUp(JobContext, RollupDocuments),
}

struct RawRows {
    index: String,
    documents: Arc<Vec<SourceDocument>>,
    /// What its fields hold that a filter looks at.
    holds: BTreeMap<String, FilterField>,
}

struct MemoryStream {
    request: ScanRequest,
    rows: Rows,
    pages: Option<Pages>,
    /// Rows whose date is too far away, until that was told.
    too_far: u64,
}

impl MemoryStream {
    fn boxed(request: ScanRequest, rows: Rows) -> Box<dyn PageStream> {
        Box::new(Self { request, rows, pages: None, too_far: 0 })
    }
}

impl PageStream for MemoryStream {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if stop.is_stopped() {
            return Err(EngineError::cancelled());
        }
        let pages = match &mut self.pages {
            Some(pages) => pages,
            none => {
                let pages = none.insert(self.rows.group(self.request.clone(), stop)?);
                self.too_far = pages.rows_too_far();
                pages
            }
        };
        Ok(pages.next_page())
    }

    fn source_indices(&self) -> Option<Vec<SourceIndex>> {
        let Rows::Raw(sources) = &self.rows else { return None };
        let date_field = self.request.grouping.date_field();
        let source_index = |RawRows { index, documents, .. }: &RawRows| {
            let dates = documents.iter().flat_map(|document| dates(document, date_field));
            let (first, last) = dates.fold((i64::MAX, i64::MIN), |(first, last), at| (first.min(at), last.max(at)));
            SourceIndex::new(index).dates(first..last.saturating_add(1))
        };
        Some(sources.iter().map(source_index).collect())
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        Some(self.pages.as_ref()?.several_values().clone())
    }

    fn take_notice(&mut self) -> Option<String> {
        let too_far = std::mem::take(&mut self.too_far);
        (too_far > 0).then(|| left_out(too_far, OUT_OF_RANGE))
    }

    fn documents_skipped(&self) -> u64 {
        self.pages.as_ref().map_or(0, Pages::rows_without_date)
    }
}

impl Rows {
    fn group(&self, request: ScanRequest, stop: &StopSignal) -> Result<Pages, EngineError> {
        let look = || if stop.is_stopped() { Err(EngineError::cancelled()) } else { Ok(()) };
        match self {
            Self::Raw(sources) => {
                let mut fold = Fold::new(request)?;
                for RawRows { documents, holds, .. } in sources {
                    fold.holding(&|field| holds.get(field).copied())?;
                    for block in documents.chunks(BLOCK) {
                        look()?;
                        for document in block {
                            fold.add(document);
                        }
                    }
                }
                Ok(fold.into_pages())
            }
            Self::RolledUp(job, documents) => {
                let fields = RolledUpFields::of(job.layout(), &request)?;
                let mut fold = Fold::of_rolled_up(request, &fields)?;
                for (at, document) in documents.values().enumerate() {
                    if at % BLOCK == 0 {
                        look()?;
                    }
                    fold.add_rolled_up(&fields, document);
                }
                Ok(fold.into_pages())
            }
        }
    }
}

struct MemoryWriter {
    engine: MemoryEngine,
    job: JobContext,
    batch: Batch,
    pending: Vec<RolledUpDocument>,
}

impl RollupWriter for MemoryWriter {
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let mut taken = 0;
        while taken < documents.len() && !stop.is_stopped() {
            let end = (taken + BLOCK).min(documents.len());
            self.pending.extend(documents.slice(taken..end).iter());
            taken = end;
        }
        Ok(WriteReport::accepted(taken))
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let mut shared = self.engine.shared.lock();
        let rollup = shared.rollup(&self.job).ok_or_else(|| gone(&self.job))?;
        if let Batch::Replace(buckets) = &self.batch {
            let is_replaced = |key: &GroupKey| matches!(key[0], KeyPart::Date(start) if buckets.contain(start, start));
            Arc::make_mut(&mut rollup.documents).retain(|key, _| !is_replaced(key));
        }
        Arc::make_mut(&mut rollup.documents)
            .extend(self.pending.into_iter().map(|document| (document.key().clone(), document)));
        if self.engine.keeps_progress {
            rollup.progress = Some(progress.clone());
        }
        Ok(CommitReport::default())
    }
}
