use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    CommitReport, CommittedProgress, EngineError, FieldCapabilities, FieldType, JobContext, PageStream, RollupIndex,
    RollupWriter, ScanRequest, Source, StopSignal, WriteReport, left_out,
};
use crate::job::{GroupKey, IndexPattern, KeyPart, OUT_OF_RANGE, Progress};
use crate::rollup::{MetricValues, Page, RolledUpDocument, RolledUpDocuments};
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
    documents: BTreeMap<GroupKey, RolledUpDocument>,
}

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

/// A value of a source document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceValue {
    /// Milliseconds since 1970.
    Date(i64),
    /// A whole number in the signed 64-bit range.
    Integer(i64),
    /// A whole number in the unsigned 64-bit range.
    Unsigned(u64),
    /// A floating-point number.
    Double(f64),
    /// Text that is one term.
    Keyword(Arc<str>),
    /// True or false.
    Boolean(bool),
}

/// A document of a source index: fields with any number of values each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceDocument {
    fields: BTreeMap<String, Vec<SourceValue>>,
}

impl SourceDocument {
    /// Without any field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more value of `field`.
    #[must_use]
    pub fn with(mut self, field: &str, value: SourceValue) -> Self {
        self.fields.entry(field.to_owned()).or_default().push(value);
        self
    }

    /// One more date, in milliseconds since 1970.
    #[must_use]
    pub fn date(self, field: &str, millis: i64) -> Self {
        self.with(field, SourceValue::Date(millis))
    }

    /// One more whole number.
    #[must_use]
    pub fn integer(self, field: &str, value: i64) -> Self {
        self.with(field, SourceValue::Integer(value))
    }

    /// One more unsigned whole number.
    #[must_use]
    pub fn unsigned(self, field: &str, value: u64) -> Self {
        self.with(field, SourceValue::Unsigned(value))
    }

    /// One more floating-point number.
    #[must_use]
    pub fn double(self, field: &str, value: f64) -> Self {
        self.with(field, SourceValue::Double(value))
    }

    /// One more keyword.
    #[must_use]
    pub fn keyword(self, field: &str, value: &str) -> Self {
        self.with(field, SourceValue::Keyword(value.into()))
    }

    /// The fields and their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[SourceValue])> {
        self.fields.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    fn values(&self, field: &str) -> &[SourceValue] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }
}

impl SourceValue {
    fn field_type(&self) -> FieldType {
        match self {
            Self::Date(_) => FieldType::Date,
            Self::Integer(_) => FieldType::Long,
            Self::Unsigned(_) => FieldType::Unsigned,
            Self::Double(_) => FieldType::Double,
            Self::Keyword(_) => FieldType::Keyword,
            Self::Boolean(_) => FieldType::Boolean,
        }
    }

    /// The value as a metric sees it: a double, rounded to nearest where it is an integer beyond 2^53.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles, as in Elasticsearch")]
    fn as_double(&self) -> Option<f64> {
        match self {
            Self::Date(value) | Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Keyword(_) | Self::Boolean(_) => None,
        }
    }

    fn as_term(&self) -> KeyPart {
        match self {
            Self::Integer(value) => KeyPart::Integer(*value),
            Self::Unsigned(value) => KeyPart::unsigned(*value),
            Self::Double(value) => KeyPart::double(*value),
            Self::Keyword(text) => KeyPart::Text(Arc::clone(text)),
            Self::Date(_) | Self::Boolean(_) => KeyPart::Null,
        }
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
}

impl MemoryData {
    fn resolve(&self, pattern: &IndexPattern) -> Result<Vec<&str>, EngineError> {
        pattern
            .resolve(self.sources.keys().map(String::as_str))
            .map_err(|name| EngineError::not_found(format!("no such index [{name}]")))
    }

    fn rollup(&mut self, job: &JobContext) -> Option<&mut Rollup> {
        self.rollups.get_mut(&place(job))
    }
}

fn place(job: &JobContext) -> (String, String) {
    (job.config().rollup_index().to_owned(), job.id().to_owned())
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
            let names = documents.iter().flat_map(|document| document.fields.keys());
            capabilities.known_fields.extend(names.chain(mapped.into_iter().flat_map(BTreeMap::keys)).cloned());
            for field in fields {
                let values = documents.iter().flat_map(|document| document.values(field));
                let told = mapped.and_then(|mapped| mapped.get(*field)).cloned();
                for field_type in values.map(SourceValue::field_type).chain(told).collect::<BTreeSet<_>>() {
                    capabilities.add(field, index, field_type, true, 0);
                }
            }
        }
        Ok(capabilities)
    }

    fn scan(
        &self,
        job: &JobContext,
        request: ScanRequest,
        _stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let shared = self.shared.lock();
        let sources = shared.resolve(job.config().index_pattern())?;
        let names = sources.iter().map(ToString::to_string).collect();
        let sources = sources.into_iter().map(|index| Arc::clone(&shared.sources[index])).collect();
        let job = job.clone();
        Ok(Box::new(MemoryStream { job, request, names, sources, buckets: None, skipped: 0, too_far: 0 }))
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
                vacant.insert(Rollup { job: job.clone(), progress: None, documents: BTreeMap::new() });
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
        let gone = || EngineError::not_found(format!("no such index [{}]", job.config().rollup_index()));
        shared.rollup(job).ok_or_else(gone)?.job = job.clone();
        Ok(())
    }

    fn begin(&self, job: &JobContext) -> Result<Box<dyn RollupWriter>, EngineError> {
        if self.shared.lock().rollup(job).is_none() {
            return Err(EngineError::not_found(format!("no such index [{}]", job.config().rollup_index())));
        }
        Ok(Box::new(MemoryWriter { engine: self.clone(), job: job.clone(), pending: Vec::new() }))
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        if !self.keeps_progress {
            return Ok(CommittedProgress::NotKept);
        }
        let mut shared = self.shared.lock();
        Ok(CommittedProgress::Kept(shared.rollup(job).and_then(|rollup| rollup.progress.clone())))
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

struct MemoryStream {
    job: JobContext,
    request: ScanRequest,
    names: Vec<String>,
    sources: Vec<Arc<Vec<SourceDocument>>>,
    buckets: Option<std::collections::btree_map::IntoIter<GroupKey, (u64, Vec<MetricValues>)>>,
    skipped: u64,
    /// Those of them whose date is too far away.
    too_far: u64,
}

impl PageStream for MemoryStream {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if stop.is_stopped() {
            return Err(EngineError::cancelled());
        }
        if self.buckets.is_none() {
            self.buckets = Some(self.group(stop)?.into_iter());
        }
        let config = self.job.config();
        let mut page = Page::of_width(config.key_names().len(), config.metrics().len());
        for (key, (doc_count, metrics)) in self.buckets.iter_mut().flatten().take(config.page_size()) {
            page.push(key, doc_count, metrics);
        }
        Ok(page)
    }

    fn source_indices(&self) -> Option<Vec<String>> {
        Some(self.names.clone())
    }

    fn take_notice(&mut self) -> Option<String> {
        let too_far = std::mem::take(&mut self.too_far);
        (too_far > 0).then(|| left_out(too_far, OUT_OF_RANGE))
    }

    fn documents_skipped(&self) -> u64 {
        self.skipped
    }
}

impl MemoryStream {
    fn group(&mut self, stop: &StopSignal) -> Result<BTreeMap<GroupKey, (u64, Vec<MetricValues>)>, EngineError> {
        let config = self.job.config();
        let mut groups: BTreeMap<GroupKey, (u64, Vec<MetricValues>)> = BTreeMap::new();
        for block in self.sources.iter().flat_map(|source| source.chunks(BLOCK)) {
            if stop.is_stopped() {
                return Err(EngineError::cancelled());
            }
            for document in block {
                let keys = self.keys(document);
                self.skipped += u64::from(keys.is_none());
                let has_date = !document.values(config.groups().date_histogram().field()).is_empty();
                self.too_far += u64::from(keys.is_none() && has_date);
                for key in keys.into_iter().flatten().filter(|key| self.is_wanted(key)) {
                    let empty = || (0, vec![MetricValues::default(); config.metrics().len()]);
                    let (doc_count, metrics) = groups.entry(key).or_insert_with(empty);
                    *doc_count += 1;
                    for (values, metric) in metrics.iter_mut().zip(config.metrics()) {
                        document
                            .values(metric.field())
                            .iter()
                            .filter_map(SourceValue::as_double)
                            .for_each(|v| values.add(v));
                    }
                }
            }
        }
        Ok(groups)
    }

    fn is_wanted(&self, key: &GroupKey) -> bool {
        matches!(key[0], KeyPart::Date(start) if start < self.request.before)
            && self.request.after.as_ref().is_none_or(|after| key > after)
    }

    /// Every combination of the document's distinct key parts; `None` without a date.
    fn keys(&self, document: &SourceDocument) -> Option<Vec<GroupKey>> {
        let (groups, rounding) = (self.job.config().groups(), self.job.config().rounding());
        let dates = document.values(groups.date_histogram().field()).iter().filter_map(|value| match value {
            SourceValue::Date(millis) => rounding.has(*millis).then(|| KeyPart::Date(rounding.round_down(*millis))),
            SourceValue::Integer(_)
            | SourceValue::Unsigned(_)
            | SourceValue::Double(_)
            | SourceValue::Keyword(_)
            | SourceValue::Boolean(_) => None,
        });
        let dates: BTreeSet<_> = dates.collect();
        if dates.is_empty() {
            return None;
        }
        let interval = groups.histogram().map_or(1.0, crate::job::Histogram::interval);
        let histogram = groups.histogram_fields().iter().map(|field| {
            let values = document.values(field).iter().filter_map(SourceValue::as_double);
            parts(values.map(|value| KeyPart::histogram(value, interval)))
        });
        let terms =
            groups.terms_fields().iter().map(|field| parts(document.values(field).iter().map(SourceValue::as_term)));
        let mut keys: Vec<GroupKey> = dates.into_iter().map(|date| vec![date]).collect();
        for parts in histogram.chain(terms) {
            keys = keys
                .iter()
                .flat_map(|key| parts.iter().map(|part| [key.as_slice(), std::slice::from_ref(part)].concat()))
                .collect();
        }
        Some(keys)
    }
}

/// The distinct parts, or the null group if there is none.
fn parts(parts: impl Iterator<Item = KeyPart>) -> BTreeSet<KeyPart> {
    let parts: BTreeSet<_> = parts.filter(|part| *part != KeyPart::Null).collect();
    if parts.is_empty() { BTreeSet::from([KeyPart::Null]) } else { parts }
}

struct MemoryWriter {
    engine: MemoryEngine,
    job: JobContext,
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
        let index = self.job.config().rollup_index();
        let rollup =
            shared.rollup(&self.job).ok_or_else(|| EngineError::not_found(format!("no such index [{index}]")))?;
        rollup.documents.extend(self.pending.into_iter().map(|document| (document.key().clone(), document)));
        if self.engine.keeps_progress {
            rollup.progress = Some(progress.clone());
        }
        Ok(CommitReport::default())
    }
}
