//! How long a stop that waits takes beyond what has to be waited for.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::Criterion;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::{
    Batch, CommitReport, EngineError, JobContext, MemoryEngine, PageStream, RollupIndex, RollupIndexAdapter,
    RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, SourceDocument, StopSignal, WriteReport,
};
use rollup_jobs::rollup::{Page, RolledUpDocuments};
use rollup_jobs::store::{JobStore, JobStoreAdapter, MemoryStore, StoreError};
use rollup_jobs::{
    DateHistogram, IndexPattern, JobRecord, Progress, RollupJobConfig, RollupJobConfigBuilder, RollupJobManager,
    StopOptions,
};

use crate::common::{hourly, sensor_index};
use crate::latencies::{Latencies, spin};

pub(crate) fn waiting() -> StopOptions {
    StopOptions::new().wait_for_completion(true).timeout(Duration::MAX)
}

/// Notes when an indexer thread's save returned.
#[derive(Debug, Default)]
struct TimedStore {
    inner: MemoryStore,
    saved: Mutex<Option<Instant>>,
}

impl JobStoreAdapter for TimedStore {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let updated = self.inner.update(records);
        if std::thread::current().name().is_some_and(|name| name.starts_with("rollup-indexer")) {
            *self.saved.lock().unwrap() = Some(Instant::now());
        }
        updated
    }
}

/// A manager with one job, whose run is parked in a page until it is stopped, and then busy for a while.
pub(crate) struct Parked {
    pub(crate) manager: RollupJobManager,
    store: Arc<TimedStore>,
    engine: Arc<ParkingEngine>,
    searching: Mutex<Receiver<()>>,
}

struct ParkingEngine {
    data: MemoryEngine,
    searching: Mutex<Sender<()>>,
    /// How long the engine goes on after a stop.
    busy: Mutex<Duration>,
}

impl fmt::Debug for ParkingEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ParkingEngine")
    }
}

impl SourceAdapter for ParkingEngine {
    fn source(&self) -> &dyn Source {
        &self.data
    }

    fn scan(
        &self,
        _: &JobContext,
        _: &IndexPattern,
        _: ScanRequest,
        _: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let stream =
            ParkingStream { searching: self.searching.lock().unwrap().clone(), busy: *self.busy.lock().unwrap() };
        Ok(Box::new(stream))
    }
}

impl RollupIndexAdapter for ParkingEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.data
    }
}

struct ParkingStream {
    searching: Sender<()>,
    busy: Duration,
}

impl PageStream for ParkingStream {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if self.busy.is_zero() {
            // Nobody has to wake it, which would be part of what the call costs.
            self.searching.send(()).unwrap();
            while !stop.is_stopped() {
                std::hint::spin_loop();
            }
            return Err(EngineError::cancelled());
        }
        let (raised, wait) = channel();
        let _woken = stop.on_stop(move || {
            let _ = raised.send(());
        });
        self.searching.send(()).unwrap();
        wait.recv().unwrap();
        // Long pauses are slept through, so that the other threads have the machine.
        if self.busy > Duration::from_millis(1) {
            std::thread::sleep(self.busy);
        } else {
            spin(self.busy);
        }
        Err(EngineError::cancelled())
    }
}

impl Parked {
    pub(crate) fn new(busy: Duration) -> Self {
        let data = MemoryEngine::new();
        data.add("source", SourceDocument::new().date("timestamp", 0));
        let (searching, arrived) = channel();
        let engine = Arc::new(ParkingEngine { data, searching: Mutex::new(searching), busy: Mutex::new(busy) });
        let store = Arc::<TimedStore>::default();
        let manager = RollupJobManager::builder(engine.clone(), store.clone()).indexer_threads(1).open().unwrap();
        let config = RollupJobConfig::builder("sensor").index_pattern("source").rollup_index("rolled").page_size(10);
        let config = config.cron("0 0 0 1 1 ? 2090").date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        manager.put(config.build().unwrap()).unwrap();
        Self { manager, store, engine, searching: Mutex::new(arrived) }
    }

    pub(crate) fn busy(&self, busy: Duration) {
        *self.engine.busy.lock().unwrap() = busy;
    }

    /// Starts the job, and waits until its run is parked.
    pub(crate) fn begin(&self) {
        self.manager.start("sensor").unwrap();
        self.manager.trigger("sensor").unwrap();
        self.searching.lock().unwrap().recv().unwrap();
    }

    /// How long ago the run's end was saved.
    pub(crate) fn since_saved(&self) -> Duration {
        self.store.saved.lock().unwrap().unwrap().elapsed()
    }
}

/// From the return of the save on the indexer thread to the return of the stop, beside the bare hand-over between two
/// threads.
pub(crate) fn hand_over(criterion: &mut Criterion) {
    const BUSY: Duration = Duration::from_micros(200);
    let mut group = criterion.benchmark_group("waiting, hand-over");
    group.sample_size(50).measurement_time(Duration::from_secs(5));

    let cell = Arc::new((parking_lot::Mutex::new(None::<Instant>), parking_lot::Condvar::new()));
    let (go, went) = channel::<()>();
    let other = {
        let cell = cell.clone();
        std::thread::spawn(move || {
            while went.recv().is_ok() {
                spin(BUSY);
                let now = Instant::now();
                *cell.0.lock() = Some(now);
                cell.1.notify_all();
            }
        })
    };
    let mut bare = Latencies::default();
    group.bench_function("baseline: condvar between two threads", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                go.send(()).unwrap();
                let mut notified = cell.0.lock();
                cell.1.wait_while(&mut notified, |notified| notified.is_none());
                let latency = notified.take().unwrap().elapsed();
                drop(notified);
                bare.push(latency);
                spent += latency;
            }
            spent
        });
    });
    drop(go);
    other.join().unwrap();

    let parked = Parked::new(BUSY);
    let mut ours = Latencies::default();
    group.bench_function("stop: from the save to the return", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                parked.begin();
                let stopped = parked.manager.stop("sensor", waiting()).unwrap();
                let latency = parked.since_saved();
                assert!(stopped.is_at_rest());
                ours.push(latency);
                spent += latency;
            }
            spent
        });
    });
    group.finish();
    bare.print("bare condvar");
    ours.print("stop");
    if let (Some(ours), Some(bare)) = (ours.quantile(50), bare.quantile(50)) {
        println!("    ratio of the medians: {:.2}", ours.as_secs_f64() / bare.as_secs_f64());
    }
}

/// From the call to the return, without the commit, while ten million documents are scanned.
pub(crate) fn during_a_scan(criterion: &mut Criterion, source: &Index) {
    let inner = TantivyEngine::in_ram();
    inner.register("sensor", source).unwrap();
    let mut group = criterion.benchmark_group("waiting, scan of 10 M documents");
    group.sample_size(50).measurement_time(Duration::from_secs(10));
    let rounds = Rounds::new(inner, MemoryStore::new());
    let (mut latencies, mut commit_times) = (Latencies::default(), Latencies::default());
    group.bench_function("stop", |b| {
        b.iter_custom(|count| {
            (0..count)
                .map(|round| {
                    // Somewhere in the scan's first tenth of a second.
                    let (latency, commit) =
                        rounds.stop_after(1_000, || spin(Duration::from_micros(2_000 + round * 997 % 80_000)));
                    latencies.push(latency);
                    commit_times.push(commit);
                    latency
                })
                .sum()
        });
    });
    group.finish();
    latencies.print("stop during a scan, without the commit");
    commit_times.print("    the commit");
}

/// Says when a page is being written or segments are merged, and how long the commits take.
#[derive(Debug)]
struct TimedEngine {
    inner: TantivyEngine,
    writing: Mutex<Sender<()>>,
    merging: Mutex<Sender<()>>,
    commits: Arc<Mutex<Duration>>,
}

struct TimedWriter {
    inner: Box<dyn RollupWriter>,
    writing: Sender<()>,
    commits: Arc<Mutex<Duration>>,
}

impl RollupWriterAdapter for TimedWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.inner
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.inner
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let _ = self.writing.send(());
        self.inner.write(documents, stop)
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let began = Instant::now();
        let report = self.inner.commit(progress);
        *self.commits.lock().unwrap() = began.elapsed();
        report
    }
}

impl SourceAdapter for TimedEngine {
    fn source(&self) -> &dyn Source {
        &self.inner
    }
}

impl RollupIndexAdapter for TimedEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.inner
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let writing = self.writing.lock().unwrap().clone();
        Ok(Box::new(TimedWriter { inner: self.inner.begin(job, batch)?, writing, commits: Arc::clone(&self.commits) }))
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        let _ = self.merging.lock().unwrap().send(());
        self.inner.merge(job, stop)
    }
}

/// Jobs that are put, started, stopped and deleted, one after the other.
pub(crate) struct Rounds {
    manager: RollupJobManager,
    written: Receiver<()>,
    pub(crate) merged: Receiver<()>,
    commits: Arc<Mutex<Duration>>,
    /// The number of the next one.
    job: AtomicUsize,
}

impl Rounds {
    pub(crate) fn new(inner: TantivyEngine, store: impl JobStore + 'static) -> Self {
        let ((writing, written), (merging, merged)) = (channel(), channel());
        let commits = Arc::<Mutex<Duration>>::default();
        let (writing, merging) = (Mutex::new(writing), Mutex::new(merging));
        let engine = TimedEngine { inner, writing, merging, commits: Arc::clone(&commits) };
        let builder = RollupJobManager::builder(Arc::new(engine), Arc::new(store));
        Self { manager: builder.indexer_threads(1).open().unwrap(), written, merged, commits, job: AtomicUsize::new(0) }
    }

    /// How long it takes to stop a new job in what it does when `wait` returns, and how long its commits take in that
    /// time.
    pub(crate) fn stop_after(&self, page: u32, wait: impl FnOnce()) -> (Duration, Duration) {
        self.stop_one_after(|id| hourly(id).page_size(page), wait)
    }

    /// The same of another job.
    pub(crate) fn stop_one_after(
        &self,
        job: impl FnOnce(&str) -> RollupJobConfigBuilder,
        wait: impl FnOnce(),
    ) -> (Duration, Duration) {
        let id = format!("job-{}", self.job.fetch_add(1, Ordering::Relaxed));
        self.manager.put(job(&id).build().unwrap()).unwrap();
        self.manager.start(&id).unwrap();
        while self.written.try_recv().is_ok() {}
        while self.merged.try_recv().is_ok() {}
        self.manager.trigger(&id).unwrap();
        wait();
        *self.commits.lock().unwrap() = Duration::ZERO;
        let began = Instant::now();
        assert!(self.manager.stop(&id, waiting()).unwrap().is_at_rest());
        let (latency, commit) = (began.elapsed(), *self.commits.lock().unwrap());
        self.manager.delete_with(&id, rollup_jobs::DeleteOptions::new().delete_data(true)).unwrap();
        (latency.saturating_sub(commit), commit)
    }
}

/// From the call to the return while a page is written, the commit of what was written apart.
pub(crate) fn during_a_write(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let source = sensor_index(folder.path(), 400_000);
    let mut group = criterion.benchmark_group("waiting, write of a page");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for page in [1_000_u32, 65_536] {
        let inner = TantivyEngine::in_ram();
        inner.register("sensor", &source).unwrap();
        let rounds = Rounds::new(inner, MemoryStore::new());
        let (mut latencies, mut commit_times) = (Latencies::default(), Latencies::default());
        group.bench_function(format!("stop, page of {page} documents"), |b| {
            b.iter_custom(|count| {
                (0..count)
                    .map(|round| {
                        // Somewhere in the write of the first page. The caller comes from elsewhere: busy here, it
                        // would be one more thread that the indexer has to share the cores with.
                        let (latency, commit) = rounds.stop_after(page, || {
                            rounds.written.recv().unwrap();
                            std::thread::sleep(Duration::from_nanos(round * 7_919 % 10 * u64::from(page) * 20));
                        });
                        latencies.push(latency);
                        commit_times.push(commit);
                        latency
                    })
                    .sum()
            });
        });
        latencies.print(&format!("stop while a page of {page} is written, without the commit"));
        commit_times.print("    the commit");
    }
    group.finish();
}
