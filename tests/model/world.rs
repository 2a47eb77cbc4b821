//! A small manager for one schedule: three buckets, a page each, a turn each, and an engine and a store that look on.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{JoinHandle, yield_now};
use shuttle::{Config, Runner};

use crate::engine::{
    Batch, CommitReport, EngineError, JobContext, MemoryEngine, PageStream, PageStreamAdapter, RollupIndex,
    RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, SourceDocument,
    StopSignal, WriteReport,
};
use crate::job::JobDefinition;
use crate::rollup::{Page, RolledUpDocument, RolledUpDocuments};
use crate::store::{JobStore, JobStoreAdapter, LoadedRecord, MemoryStore, Ownership, StoreError};
use crate::testing::ManualClock;
use crate::{
    DateHistogram, IndexPattern, JobRecord, JobState, Ledger, Observer, Progress, RollupJobConfig, RollupJobManager,
    RollupJobManagerBuilder, StopError, StopOptions, Stopped, StoredState,
};

pub(super) const ID: &str = "sensor";
/// The second job, where there are two.
pub(super) const OTHER: &str = "other";

/// Runs a scenario under as many random schedules, and as many that change priorities at three points, as the
/// environment says, or 10,000.
pub(super) fn check(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let schedules = std::env::var("ROLLUP_MODEL_SCHEDULES").map_or(10_000, |text| text.parse().unwrap());
    run(RandomScheduler::new(schedules), scenario.clone());
    run(PctScheduler::new(3, schedules), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

/// What the engine and the store do wrong, and what they saw.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) panic_in_commit: AtomicBool,
    pub(super) fail_in_write: AtomicBool,
    pub(super) refuse_saves: AtomicBool,
    /// How many are at each job.
    at_work: [AtomicUsize; 2],
    two_at_once: AtomicBool,
}

impl Plan {
    /// Two threads at one job at once: noted, since a panic in an engine call ends only its run.
    fn enter(&self, job: &JobContext) -> AtWork<'_> {
        let at_work = &self.at_work[usize::from(job.id() == OTHER)];
        if at_work.fetch_add(1, Ordering::SeqCst) > 0 {
            self.two_at_once.store(true, Ordering::SeqCst);
        }
        yield_now();
        AtWork(at_work)
    }
}

struct AtWork<'a>(&'a AtomicUsize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) struct World {
    jobs: &'static [&'static str],
    pub(super) manager: Arc<RollupJobManager>,
    pub(super) store: Arc<ModelStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) plan: Arc<Plan>,
    data: MemoryEngine,
}

/// The stored forms of the jobs, made once.
fn record(id: &str) -> JobRecord {
    static RECORDS: OnceLock<[JobRecord; 2]> = OnceLock::new();
    let make = |id| {
        let config = RollupJobConfig::builder(id).index_pattern("source").rollup_index(format!("rolled-{id}"));
        let config = config.cron("0 0 0 1 1 ? 2090");
        let config = config.page_size(1).date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        let config = config.build().unwrap();
        JobRecord {
            definition: Arc::new(JobDefinition { config, terms_types: Vec::new(), run_as: None }),
            redefine: false,
            state: StoredState::Stopped,
            progress: Arc::default(),
            run: 0,
            revision: 1,
            epoch: 0,
        }
    };
    RECORDS.get_or_init(|| [ID, OTHER].map(make))[usize::from(id == OTHER)].clone()
}

impl World {
    pub(super) fn new(threads: usize) -> Self {
        Self::on(MemoryStore::new(), &[ID], |builder| builder.indexer_threads(threads))
    }

    /// One thread, and a started job that has run.
    pub(super) fn rolled_up() -> Self {
        let world = Self::new(1);
        world.manager.start(ID).unwrap();
        world.run_to_the_end();
        world
    }

    pub(super) fn observed(threads: usize, observer: Arc<dyn Observer>) -> Self {
        Self::on(MemoryStore::new(), &[ID], |builder| builder.indexer_threads(threads).observer(observer))
    }

    /// Opened paused.
    pub(super) fn paused(observer: Arc<dyn Observer>) -> Self {
        Self::on(MemoryStore::new(), &[ID], |builder| builder.indexer_threads(1).paused(true).observer(observer))
    }

    /// Whose jobs are its own for so long at a time.
    pub(super) fn leased(lease: Duration) -> Self {
        Self::on(MemoryStore::new().leased_for(lease), &[ID], |builder| builder.indexer_threads(1))
    }

    /// With a second job.
    pub(super) fn of_two(threads: usize, observer: Arc<dyn Observer>) -> Self {
        Self::on(MemoryStore::new(), &[ID, OTHER], |builder| builder.indexer_threads(threads).observer(observer))
    }

    fn on(
        store: MemoryStore,
        jobs: &'static [&'static str],
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> Self {
        let data = MemoryEngine::new();
        for hour in 0..3 {
            data.add("source", SourceDocument::new().date("timestamp", hour * 3_600_000));
        }
        let plan = Arc::<Plan>::default();
        let store = Arc::new(ModelStore { inner: store, plan: Arc::clone(&plan) });
        for id in jobs {
            store.inner.insert(&record(id)).unwrap();
        }
        let engine = Arc::new(ModelEngine { inner: data.clone(), plan: Arc::clone(&plan) });
        let clock = Arc::new(ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap()));
        let builder = RollupJobManager::builder(engine, Arc::clone(&store) as Arc<dyn JobStore>)
            .turn_time(Duration::ZERO)
            .clock(Arc::clone(&clock) as Arc<dyn crate::Clock>);
        Self { jobs, manager: Arc::new(options(builder).open().unwrap()), store, clock, plan, data }
    }

    pub(super) fn start_and_trigger(&self) {
        for id in self.jobs {
            self.manager.start(id).unwrap();
            self.manager.trigger(id).unwrap();
        }
        pause();
    }

    /// A document comes late, and its host says so.
    pub(super) fn late(&self, hour: i64) -> JoinHandle<()> {
        let data = self.data.clone();
        self.spawn(move |manager| {
            let at = |hour: i64| crate::jiff::Timestamp::from_second(hour * 3_600).unwrap();
            data.add("source", SourceDocument::new().date("timestamp", hour * 3_600_000));
            yield_now();
            manager.note_change("source", at(hour)..at(hour + 1)).unwrap();
        })
    }

    /// A document comes late, and its host says so before and after. Says whether it was let in.
    pub(super) fn begins_and_ends_a_change(&self, hour: i64) -> JoinHandle<bool> {
        let data = self.data.clone();
        self.spawn(move |manager| {
            let at = |hour: i64| crate::jiff::Timestamp::from_second(hour * 3_600).unwrap();
            let change = match manager.begin_change("source", at(hour)..at(hour + 1)) {
                Err(crate::ChangeError::Sealed { .. }) => return false,
                change => change.unwrap(),
            };
            yield_now();
            data.add("source", SourceDocument::new().date("timestamp", hour * 3_600_000));
            yield_now();
            change.done().unwrap();
            true
        })
    }

    /// Lets the job come to rest, and then run to the end once more.
    pub(super) fn run_to_the_end(&self) {
        let rest = || {
            while self.manager.get(ID).is_some_and(|status| status.state() == JobState::Indexing) {
                pause();
            }
        };
        rest();
        self.manager.trigger(ID).unwrap();
        rest();
    }

    /// How many documents the rolled-up documents of the job stand for, by their order.
    pub(super) fn counts(&self) -> Vec<u64> {
        let count =
            |document: &RolledUpDocument| document.to_json()["timestamp.date_histogram._count"].as_u64().unwrap();
        self.data.rolled_up(&format!("rolled-{ID}")).iter().map(count).collect()
    }

    /// In a thread of its own.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce(&RollupJobManager) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let manager = Arc::clone(&self.manager);
        shuttle::thread::spawn(move || {
            pause();
            body(&manager)
        })
    }

    /// Nobody starts the jobs any more: stopped has to mean at rest, with everything committed and saved, and nobody at
    /// it.
    pub(super) fn check_stopped(&self) {
        assert!(self.plan.at_work.iter().all(|at_work| at_work.load(Ordering::SeqCst) == 0), "nobody works any more");
        for id in self.jobs {
            let status = self.manager.get(id).unwrap();
            assert_eq!(status.state(), JobState::Stopped);
            let record = self.store.record_of(id).unwrap();
            assert_eq!(record.state(), StoredState::Stopped, "durably");
            assert_eq!(record.progress().position.as_ref(), status.position(), "with the position");
            let rolled_up = self.data.rolled_up(record.config().rollup_index()).len() as u64;
            assert_eq!(record.progress().stats.rollups_indexed(), rolled_up, "and everything that is committed");
        }
    }

    /// Ends the schedule: all threads end, and never were two of them at the job.
    pub(super) fn end(self) {
        drop(self.manager);
        assert!(!self.plan.two_at_once.load(Ordering::SeqCst), "two threads were at one job");
    }
}

pub(super) fn waiting() -> StopOptions {
    StopOptions::new().wait_for_completion(true).timeout(Duration::MAX)
}

/// Lets the others get anywhere: a run has many more steps before its first page is saved than a stop has.
pub(super) fn pause() {
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..80) {
        yield_now();
    }
}

pub(super) fn stop(manager: &RollupJobManager) -> Result<Stopped, StopError> {
    manager.stop(ID, waiting())
}

pub(super) fn at_rest(stopped: Result<Stopped, StopError>) {
    assert!(stopped.unwrap().is_at_rest());
}

/// A memory store whose calls take a while: what two threads save may overtake each other.
pub(super) struct ModelStore {
    inner: MemoryStore,
    plan: Arc<Plan>,
}

impl ModelStore {
    fn record_of(&self, id: &str) -> Option<JobRecord> {
        self.inner.load().unwrap().into_iter().find_map(|loaded| match loaded {
            LoadedRecord::Job(record) if record.id() == id => Some(*record),
            _ => None,
        })
    }

    /// Of the first job.
    pub(super) fn record(&self) -> Option<JobRecord> {
        self.record_of(ID)
    }
}

impl fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelStore")
    }
}

impl JobStoreAdapter for ModelStore {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        yield_now();
        if self.plan.refuse_saves.load(Ordering::SeqCst) {
            return records.iter().map(|_| Err(StoreError::unavailable("planned"))).collect();
        }
        let updated = self.inner.update(records);
        yield_now();
        updated
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        yield_now();
        self.inner.remove(id)
    }

    fn ledger(&self, index: &str) -> Result<Ledger, StoreError> {
        let ledger = self.inner.ledger(index);
        yield_now();
        ledger
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        let replaced = self.inner.replace_ledger(index, ledger);
        yield_now();
        replaced
    }

    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        yield_now();
        self.inner.renew(ownership)
    }

    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        yield_now();
        self.inner.release(ownership)
    }
}

struct ModelEngine {
    inner: MemoryEngine,
    plan: Arc<Plan>,
}

impl fmt::Debug for ModelEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelEngine")
    }
}

impl SourceAdapter for ModelEngine {
    fn source(&self) -> &dyn Source {
        &self.inner
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let _at_work = self.plan.enter(job);
        let stream = self.inner.scan(job, pattern, request, stop)?;
        Ok(Box::new(ModelStream { stream, plan: Arc::clone(&self.plan), job: job.clone() }))
    }
}

impl RollupIndexAdapter for ModelEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.inner
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let _at_work = self.plan.enter(job);
        let writer = self.inner.begin(job, batch)?;
        Ok(Box::new(ModelWriter { writer, plan: Arc::clone(&self.plan), job: job.clone() }))
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        let _at_work = self.plan.enter(job);
        self.inner.remove(job)
    }
}

struct ModelStream {
    stream: Box<dyn PageStream>,
    plan: Arc<Plan>,
    job: JobContext,
}

impl PageStreamAdapter for ModelStream {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let _at_work = self.plan.enter(&self.job);
        self.stream.next_page(stop)
    }
}

struct ModelWriter {
    writer: Box<dyn RollupWriter>,
    plan: Arc<Plan>,
    job: JobContext,
}

impl RollupWriterAdapter for ModelWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let _at_work = self.plan.enter(&self.job);
        if self.plan.fail_in_write.load(Ordering::SeqCst) {
            return Err(EngineError::rejected("planned"));
        }
        self.writer.write(documents, stop)
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let _at_work = self.plan.enter(&self.job);
        if self.plan.panic_in_commit.load(Ordering::SeqCst) {
            // Without the hook, which would print ten thousand of them.
            resume_unwind(Box::new("planned"));
        }
        let report = self.writer.commit(progress);
        yield_now();
        report
    }
}
