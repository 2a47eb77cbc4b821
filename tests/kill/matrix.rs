//! The crash matrix: killed at every point between two durable steps, from every state that can be on disk, a job is
//! found in the documented state, and goes on to the documents of an undisturbed one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexReader, IndexWriter, ReloadPolicy, doc};
use rollup_jobs::engine::{
    Batch, CommitReport, EngineError, JobContext, RollupIndex, RollupIndexAdapter, RollupWriter, RollupWriterAdapter,
    Source, SourceAdapter, StopSignal, WriteReport,
};
use rollup_jobs::rollup::RolledUpDocuments;
use rollup_jobs::store::{JobStore, JobStoreAdapter, LoadedRecord, RedbStore, StoreError};
use rollup_jobs::{
    DateHistogram, DeleteOptions, JobRecord, JobState, Ledger, Metric, Observer, Phase, Progress, RollupJobConfig,
    RollupJobManager, StopOptions, TurnEnded, VerifyOptions,
};

use crate::child_process::{report, start, task};

/// A point between two durable steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    SavedAsPreparing,
    Prepared,
    Written,
    Committed,
    /// A record is saved: the n-th since the process began.
    Saved,
    /// The end of a turn is there for everybody to see.
    Published,
    /// A call of the manager has returned.
    Returned,
    DataRemoved,
    RecordRemoved,
    /// It is noted that documents have changed.
    Noted,
}

/// What is found when everything is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Stopped,
    /// Started, and waiting for its time.
    Started,
    /// Was indexing, and goes on by itself.
    GoesOn,
}

/// What the child does until it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Put,
    Start,
    /// A run.
    Run,
    /// A run in whose second turn somebody asks for a stop, without waiting.
    StopInRun,
    /// A stop of a job that waits for its time.
    StopIdle,
    /// A run to the end, a stop, a delete of job and data.
    Delete,
    /// A run to the end; then a document comes late, and is rolled up. Points count from there on.
    Repair,
}

/// Where each script is killed: at the n-th time it comes to the point, with this on disk, and what is found then.
const MATRIX: [(Script, Point, u64, &str, Found); 31] = [
    (Script::Put, Point::SavedAsPreparing, 1, "preparing", Found::Stopped),
    (Script::Put, Point::Prepared, 1, "preparing", Found::Stopped),
    (Script::Put, Point::Saved, 1, "stopped", Found::Stopped),
    (Script::Put, Point::Returned, 1, "stopped", Found::Stopped),
    (Script::Start, Point::Saved, 2, "started", Found::Started),
    (Script::Start, Point::Returned, 2, "started", Found::Started),
    (Script::Run, Point::Prepared, 2, "started", Found::Started),
    (Script::Run, Point::Written, 1, "started", Found::Started),
    (Script::Run, Point::Committed, 1, "started", Found::Started),
    (Script::Run, Point::Saved, 3, "indexing", Found::GoesOn),
    (Script::Run, Point::Published, 1, "indexing", Found::GoesOn),
    (Script::Run, Point::Written, 2, "indexing", Found::GoesOn),
    (Script::Run, Point::Committed, 2, "indexing", Found::GoesOn),
    (Script::Run, Point::Saved, 4, "indexing", Found::GoesOn),
    (Script::StopInRun, Point::Saved, 4, "stopped", Found::Stopped),
    (Script::StopInRun, Point::Written, 2, "stopped", Found::Stopped),
    (Script::StopInRun, Point::Committed, 2, "stopped", Found::Stopped),
    (Script::StopInRun, Point::Saved, 5, "stopped", Found::Stopped),
    (Script::StopInRun, Point::Published, 2, "stopped", Found::Stopped),
    (Script::StopIdle, Point::Saved, 3, "stopped", Found::Stopped),
    (Script::StopIdle, Point::Returned, 3, "stopped", Found::Stopped),
    (Script::Delete, Point::DataRemoved, 1, "stopped", Found::Stopped),
    (Script::Delete, Point::RecordRemoved, 1, "nothing", Found::Nothing),
    (Script::Delete, Point::Returned, 4, "nothing", Found::Nothing),
    (Script::Repair, Point::Noted, 1, "started", Found::Started),
    (Script::Repair, Point::Written, 1, "started", Found::Started),
    (Script::Repair, Point::Saved, 1, "indexing", Found::GoesOn),
    (Script::Repair, Point::Published, 1, "indexing", Found::GoesOn),
    (Script::Repair, Point::Committed, 1, "indexing", Found::GoesOn),
    (Script::Repair, Point::Saved, 2, "indexing", Found::GoesOn),
    (Script::Repair, Point::Saved, 3, "started", Found::Started),
];

/// Halts the process at its point, for ever; the parent kills it there.
struct Halt {
    point: Point,
    nth: u64,
    count: AtomicU64,
    /// Whether points count yet.
    is_armed: AtomicBool,
    /// Whose job is stopped in the second write.
    stops: OnceLock<Weak<RollupJobManager>>,
    writes: AtomicU64,
}

impl Halt {
    fn reach(&self, point: Point) {
        if self.is_armed.load(Ordering::SeqCst)
            && point == self.point
            && self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.nth
        {
            report("halted");
            loop {
                std::thread::park();
            }
        }
    }
}

impl fmt::Debug for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Halt")
    }
}

#[derive(Debug)]
struct HaltingStore(RedbStore, Arc<Halt>);

impl JobStoreAdapter for HaltingStore {
    fn store(&self) -> &dyn JobStore {
        &self.0
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        let inserted = self.0.insert(record);
        self.1.reach(Point::SavedAsPreparing);
        inserted
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let updated = self.0.update(records);
        self.1.reach(Point::Saved);
        updated
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        let removed = self.0.remove(id);
        self.1.reach(Point::RecordRemoved);
        removed
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        let replaced = self.0.replace_ledger(index, ledger);
        self.1.reach(Point::Noted);
        replaced
    }
}

#[derive(Debug)]
struct HaltingEngine(TantivyEngine, Arc<Halt>);

impl SourceAdapter for HaltingEngine {
    fn source(&self) -> &dyn Source {
        &self.0
    }
}

impl RollupIndexAdapter for HaltingEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.0
    }

    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        let prepared = self.0.prepare(job);
        self.1.reach(Point::Prepared);
        prepared
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(HaltingWriter(self.0.begin(job, batch)?, Arc::clone(&self.1))))
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        let removed = self.0.remove(job);
        self.1.reach(Point::DataRemoved);
        removed
    }
}

struct HaltingWriter(Box<dyn RollupWriter>, Arc<Halt>);

impl RollupWriterAdapter for HaltingWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.0
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.0
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let written = self.0.write(documents, stop);
        if self.1.writes.fetch_add(1, Ordering::SeqCst) == 1
            && let Some(manager) = self.1.stops.get().and_then(Weak::upgrade)
        {
            assert!(!manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
        }
        self.1.reach(Point::Written);
        written
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let Self(writer, halt) = *self;
        let committed = writer.commit(progress);
        halt.reach(Point::Committed);
        committed
    }
}

struct HaltingObserver(Arc<Halt>);

impl Observer for HaltingObserver {
    fn turn_ended(&self, _: &str, _: &TurnEnded) {
        self.0.reach(Point::Published);
    }
}

/// Two nodes over a day.
fn source() -> Index {
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let temperature = schema.add_f64_field("temperature", FAST);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for n in 0..96_i64 {
        let at = DateTime::from_timestamp_millis(n * 900_000);
        let value = f64::from(i32::try_from(n).unwrap()) / 4.0;
        writer.add_document(doc!(timestamp => at, node => format!("n{}", n % 2), temperature => value)).unwrap();
    }
    writer.commit().unwrap();
    index
}

/// A document of the sixth hour comes.
fn add_late(index: &Index) {
    let [timestamp, node, temperature] =
        ["timestamp", "node", "temperature"].map(|name| index.schema().get_field(name).unwrap());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    let at = DateTime::from_timestamp_millis(5 * 3_600_000 + 1);
    writer.add_document(doc!(timestamp => at, node => "n0", temperature => 1_000.0)).unwrap();
    writer.commit().unwrap();
}

fn config() -> RollupJobConfig {
    RollupJobConfig::builder("sensor")
        .index_pattern("sensor")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(12)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .terms(["node"])
        .metric("temperature", [Metric::Sum])
        .build()
        .unwrap()
}

fn open_engine(folder: &Path, source: &Index) -> TantivyEngine {
    let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
    engine.register("sensor", source).unwrap();
    engine
}

/// What the child does: one line of the matrix, up to its point.
#[test]
fn child() {
    let Some((folder, task)) = task() else { return };
    let (script, point, nth, ..) = MATRIX[task.parse::<usize>().unwrap()];
    let (count, writes, stops) = (AtomicU64::new(0), AtomicU64::new(0), OnceLock::new());
    let is_armed = AtomicBool::new(script != Script::Repair);
    let halt = Arc::new(Halt { point, nth, count, is_armed, stops, writes });
    let store = HaltingStore(RedbStore::open(folder.join("jobs.redb")).unwrap(), Arc::clone(&halt));
    let source = source();
    let engine = HaltingEngine(open_engine(&folder, &source), Arc::clone(&halt));
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(store))
        .indexer_threads(1)
        .turn_time(Duration::ZERO)
        .observer(Arc::new(HaltingObserver(Arc::clone(&halt))))
        .open();
    let manager = Arc::new(manager.unwrap());
    if script == Script::StopInRun {
        halt.stops.set(Arc::downgrade(&manager)).unwrap();
    }
    manager.put(config()).unwrap();
    halt.reach(Point::Returned);
    manager.start("sensor").unwrap();
    halt.reach(Point::Returned);
    match script {
        Script::Put | Script::Start => {}
        Script::Run | Script::StopInRun => {
            manager.trigger("sensor").unwrap();
        }
        Script::StopIdle => {
            let _ = manager.stop("sensor", StopOptions::new()).unwrap();
            halt.reach(Point::Returned);
        }
        Script::Delete => {
            manager.trigger("sensor").unwrap();
            wait_for_end(&manager);
            let _ = manager.stop("sensor", StopOptions::new().wait_for_completion(true)).unwrap();
            halt.reach(Point::Returned);
            manager.delete_with("sensor", DeleteOptions::new().delete_data(true)).unwrap();
            halt.reach(Point::Returned);
        }
        Script::Repair => {
            manager.trigger("sensor").unwrap();
            wait_for_end(&manager);
            add_late(&source);
            halt.is_armed.store(true, Ordering::SeqCst);
            manager.trigger("sensor").unwrap();
        }
    }
    // The indexer thread comes to the point, unless the test is wrong; then the parent waits in vain, and fails.
    loop {
        std::thread::park();
    }
}

/// Until a run is over: it has been through all there is.
fn wait_for_end(manager: &RollupJobManager) {
    wait_until(manager, || {
        let status = manager.get("sensor").unwrap();
        status.stats().documents_processed() == 96 && status.phase() == Phase::Idle
    });
}

fn wait_until(manager: &RollupJobManager, is_over: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "the patience of a test is real time")]
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        if is_over() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "the patience of a test is real time")]
        let late = std::time::Instant::now() > deadline;
        assert!(!late, "waited in vain for the end of the run: {:#?}", manager.get("sensor"));
        std::thread::yield_now();
    }
}

/// The rolled-up documents by id; one that is there twice is a failure.
fn documents(engine: &TantivyEngine) -> BTreeMap<String, (i64, u64)> {
    let mut documents = BTreeMap::new();
    let Some(index) = engine.rollup_index("rolled", "sensor").unwrap() else { return documents };
    let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().unwrap();
    for segment in reader.searcher().segment_readers() {
        let fast = segment.fast_fields();
        let id = fast.str("_id").unwrap().unwrap();
        let date = fast.date("timestamp.date_histogram.timestamp").unwrap();
        let sum = fast.f64("temperature.sum.value").unwrap();
        for doc in segment.doc_ids_alive() {
            let mut name = String::new();
            id.ord_to_str(id.term_ords(doc).next().unwrap(), &mut name).unwrap();
            let document = (date.first(doc).unwrap().into_timestamp_millis(), sum.first(doc).unwrap().to_bits());
            assert!(documents.insert(name.clone(), document).is_none(), "[{name}] is there twice");
        }
    }
    documents
}

fn state_on_disk(folder: &Path) -> String {
    let store = RedbStore::open(folder.join("jobs.redb")).unwrap();
    match store.load().unwrap().pop() {
        None => "nothing".to_owned(),
        Some(LoadedRecord::Job(record)) => record.to_json()["state"].as_str().unwrap().to_owned(),
        Some(other) => panic!("{other:?}"),
    }
}

/// Opens what is on disk, looks, and runs the job to its end, until it has everything that came late too, if any did.
fn finish(folder: &Path, found: Found, is_late: bool, what: &str) -> BTreeMap<String, (i64, u64)> {
    let source = source();
    if is_late {
        add_late(&source);
    }
    let engine = Arc::new(open_engine(folder, &source));
    let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
    let manager = RollupJobManager::builder(engine.clone(), store).indexer_threads(1).open().unwrap();
    let status = manager.get("sensor");
    match (found, status.as_ref().map(rollup_jobs::JobStatus::state)) {
        (Found::Nothing, None) => manager.put(config()).unwrap(),
        (Found::Stopped, Some(JobState::Stopped)) | (Found::Started, Some(JobState::Started)) => {}
        (Found::GoesOn, Some(JobState::Started | JobState::Indexing)) => {}
        (found, state) => panic!("{what}: {found:?} was to be found, and it is {state:?}"),
    }
    if found == Found::Started {
        assert_eq!(status.unwrap().phase(), Phase::Idle, "{what}: it waits for its time");
    }
    if found != Found::GoesOn {
        manager.start("sensor").unwrap();
        manager.trigger("sensor").unwrap();
    }
    wait_until(&manager, || {
        let found = manager.verify("sensor", &VerifyOptions::new()).unwrap();
        found.right == 48 && found.is_right()
    });
    assert!(manager.get("sensor").unwrap().last_errors().is_empty(), "{what}");
    assert!(manager.stop("sensor", StopOptions::new().wait_for_completion(true)).unwrap().is_at_rest());
    manager.delete("sensor").unwrap();
    documents(&engine)
}

#[test]
fn killed_between_any_two_durable_steps() {
    let expected = [false, true].map(|is_late| {
        let folder = tempfile::tempdir().unwrap();
        let documents = finish(folder.path(), Found::Nothing, is_late, "undisturbed");
        assert_eq!(documents.len(), 48);
        documents
    });
    assert_ne!(expected[0], expected[1]);
    for (line, (script, point, nth, on_disk, found)) in MATRIX.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let child = start("matrix::child", folder.path(), &line.to_string());
        assert_eq!(child.next(), "halted");
        child.kill();
        let what = format!("{script:?}, killed at {point:?} {nth}");
        assert_eq!(state_on_disk(folder.path()), on_disk, "{what}");
        let is_late = script == Script::Repair;
        assert_eq!(finish(folder.path(), found, is_late, &what), expected[usize::from(is_late)], "{what}");
    }
}
