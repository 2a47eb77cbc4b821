//! A manager with everything around it that a test wants to hold, fail or look at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rollup_jobs::engine::{Engine, MemoryEngine, SourceDocument};
use rollup_jobs::store::{JobStore, JobStoreAdapter, LoadedRecord, MemoryStore, StoreError};
use rollup_jobs::testing::{EngineFault, FaultyEngine, FaultyStore, GatedEngine, ManualClock, documents_of};
use rollup_jobs::{
    DateHistogram, JobError, JobRecord, JobState, JobStatus, LateData, LateDocuments, Metric, Observer, Phase,
    RepairWhen, RollupJobConfig, RollupJobConfigBuilder, RollupJobManager, RollupJobManagerBuilder, RunEnded,
    StateChange, StopOptions, TurnEnded,
};
use serde_json::Value;

/// How long a test waits for anything before it fails: a hang is a failure. Mutants (tests/mutants.sh) hang often, and
/// are not worth a minute each.
pub const PATIENCE: Duration = Duration::from_secs(if option_env!("ROLLUP_IN_A_HURRY").is_some() { 8 } else { 60 });

/// The time at which a test's clock stands.
pub const NOW: &str = "2026-11-23T12:00:00Z";
pub const HOUR: i64 = 3_600_000;

/// The same in milliseconds: where a bucket begins that is not over.
pub fn now() -> i64 {
    NOW.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// These hours since 1970.
pub fn instants(hours: std::ops::Range<i64>) -> std::ops::Range<jiff::Timestamp> {
    let at = |hour: i64| jiff::Timestamp::from_millisecond(hour * HOUR).unwrap();
    at(hours.start)..at(hours.end)
}

/// A delay for which, by the machine's clock, about so many hours since 1970 are over.
#[expect(clippy::disallowed_methods, reason = "the manager has the machine's clock too")]
pub fn delay_until(hours: i64) -> String {
    format!("{}h", jiff::Timestamp::now().as_millisecond() / HOUR - hours)
}

/// What an observer heard, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    State(String, StateChange),
    Turn(String, TurnEnded),
    Run(String, RunEnded),
    Error(String, String),
    Late(String, LateDocuments),
}

/// Hears everything and wakes whoever waits for something to become true.
#[derive(Default)]
pub struct Watcher {
    heard: Mutex<Vec<Heard>>,
    changed: Condvar,
}

impl Watcher {
    fn hear(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
        self.changed.notify_all();
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The one wait of all tests: until `done` says so, looked at whenever something happens.
    #[expect(clippy::disallowed_methods, reason = "the patience of a test is real time")]
    pub fn wait_for<T>(&self, manager: &RollupJobManager, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // What is heard after this look wakes the wait below.
            let before = self.heard.lock().unwrap().len();
            if let Some(answer) = done() {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}: {:#?}", manager.list());
            // The bound is for changes that no observer is told of, such as of a phase.
            let bound = left.min(Duration::from_millis(20));
            let heard = self.heard.lock().unwrap();
            drop(self.changed.wait_timeout_while(heard, bound, |heard| heard.len() == before).unwrap());
        }
    }
}

impl Observer for Watcher {
    fn state_changed(&self, job_id: &str, change: &StateChange) {
        self.hear(Heard::State(job_id.to_owned(), *change));
    }

    fn turn_ended(&self, job_id: &str, turn: &TurnEnded) {
        self.hear(Heard::Turn(job_id.to_owned(), turn.clone()));
    }

    fn run_ended(&self, job_id: &str, run: &RunEnded) {
        self.hear(Heard::Run(job_id.to_owned(), *run));
    }

    fn error(&self, job_id: &str, error: &JobError) {
        self.hear(Heard::Error(job_id.to_owned(), error.to_string()));
    }

    fn late_documents(&self, job_id: &str, late: &LateDocuments) {
        self.hear(Heard::Late(job_id.to_owned(), late.clone()));
    }
}

type Hook<T> = Mutex<Option<Arc<dyn Fn(&T) + Send + Sync>>>;

/// A store whose calls a test can look at, hold or refuse.
#[derive(Default)]
pub struct SpyStore {
    pub inner: MemoryStore,
    pub before_update: Hook<JobRecord>,
    pub before_remove: Hook<str>,
    pub refuse_updates: std::sync::atomic::AtomicBool,
    pub refuse_one: Mutex<Option<StoreError>>,
    pub updates: AtomicUsize,
}

impl SpyStore {
    pub fn on_update(&self, hook: impl Fn(&JobRecord) + Send + Sync + 'static) {
        *self.before_update.lock().unwrap() = Some(Arc::new(hook));
    }

    pub fn on_remove(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        *self.before_remove.lock().unwrap() = Some(Arc::new(hook));
    }

    pub fn refuse_updates(&self, refuse: bool) {
        self.refuse_updates.store(refuse, Ordering::SeqCst);
    }

    /// Refuses the next update with this.
    pub fn refuse_once(&self, error: StoreError) {
        *self.refuse_one.lock().unwrap() = Some(error);
    }

    /// The stored records, as a restart would find them now.
    pub fn records(&self) -> Vec<JobRecord> {
        records(&self.inner)
    }

    pub fn record(&self, id: &str) -> JobRecord {
        self.records().into_iter().find(|record| record.id() == id).expect("a stored record")
    }
}

pub fn records(store: &dyn JobStore) -> Vec<JobRecord> {
    let whole = |loaded| match loaded {
        LoadedRecord::Job(record) => *record,
        other => panic!("{other:?}"),
    };
    store.load().unwrap().into_iter().map(whole).collect()
}

impl fmt::Debug for SpyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpyStore")
    }
}

impl JobStoreAdapter for SpyStore {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        self.updates.fetch_add(1, Ordering::SeqCst);
        let hook = self.before_update.lock().unwrap().clone();
        for record in records {
            if let Some(hook) = &hook {
                hook(record);
            }
        }
        if let Some(error) = self.refuse_one.lock().unwrap().take() {
            return records.iter().map(|_| Err(error.clone())).collect();
        }
        if self.refuse_updates.load(Ordering::SeqCst) {
            return records.iter().map(|_| Err(StoreError::unavailable("planned refusal"))).collect();
        }
        self.inner.update(records)
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        let hook = self.before_remove.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(id);
        }
        self.inner.remove(id)
    }
}

/// A manager over a gated memory engine, a spied store and a clock that stands still. A turn is one page.
pub struct World {
    at_end: AtEnd,
    pub manager: Arc<RollupJobManager>,
    pub data: MemoryEngine,
    pub gates: GatedEngine,
    pub store: Arc<SpyStore>,
    pub clock: Arc<ManualClock>,
    pub watcher: Arc<Watcher>,
}

impl World {
    pub fn new() -> Self {
        Self::on(loaded(), |engine| engine, |builder| builder)
    }

    pub fn with(options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder) -> Self {
        Self::on(loaded(), |engine| engine, options)
    }

    /// On this data, with something more between manager and engine.
    pub fn on(
        data: MemoryEngine,
        wrap: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> Self {
        let gates = GatedEngine::new(Arc::new(data.clone()));
        Self::open(data, gates.clone(), wrap(Arc::new(gates)), Arc::default(), options)
    }

    /// With a store that fails on command.
    pub fn faulty_store() -> (Self, FaultyStore) {
        Self::faulty_store_with(|builder| builder)
    }

    pub fn faulty_store_with(
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> (Self, FaultyStore) {
        let data = loaded();
        let gates = GatedEngine::new(Arc::new(data.clone()));
        let store: Arc<SpyStore> = Arc::default();
        let faulty = FaultyStore::new(store.clone());
        let builder = RollupJobManager::builder(Arc::new(gates.clone()), Arc::new(faulty.clone()));
        let mut world = Self::build(data, gates, store, builder, |builder| options(builder.indexer_threads(1)));
        let healed = faulty.clone();
        world.at_end.push(move || healed.heal());
        (world, faulty)
    }

    /// Like [`on`](Self::on), and hands the engine in between out.
    pub fn wrapped<E: Engine + Clone + 'static>(
        data: MemoryEngine,
        wrap: impl FnOnce(Arc<dyn Engine>) -> E,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> (Self, E) {
        let gates = GatedEngine::new(Arc::new(data.clone()));
        let engine = wrap(Arc::new(gates.clone()));
        let world = Self::open(data, gates, Arc::new(engine.clone()), Arc::default(), options);
        (world, engine)
    }

    /// With an engine that fails on command.
    pub fn faulty(data: MemoryEngine, fault: EngineFault) -> (Self, FaultyEngine) {
        let wrap = |engine| FaultyEngine::new(engine, fault);
        let (mut world, faulty) = Self::wrapped(data, wrap, |builder| builder.indexer_threads(1));
        let healed = faulty.clone();
        world.at_end.push(move || healed.heal());
        (world, faulty)
    }

    fn open(
        data: MemoryEngine,
        gates: GatedEngine,
        engine: Arc<dyn Engine>,
        store: Arc<SpyStore>,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> Self {
        let builder = RollupJobManager::builder(engine, store.clone());
        Self::build(data, gates, store, builder, options)
    }

    fn build(
        data: MemoryEngine,
        gates: GatedEngine,
        store: Arc<SpyStore>,
        builder: RollupJobManagerBuilder,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let watcher: Arc<Watcher> = Arc::default();
        let builder =
            builder.indexer_threads(2).turn_time(Duration::ZERO).clock(clock.clone()).observer(watcher.clone());
        let manager = Arc::new(options(builder).open().unwrap());
        let mut at_end = AtEnd::default();
        let held = gates.clone();
        at_end.push(move || {
            for gate in [held.search(), held.write(), held.commit()] {
                gate.open();
            }
        });
        Self { at_end, manager, data, gates, store, clock, watcher }
    }

    /// Another manager on the same data and a copy of what is stored now: the world after a crash at this moment.
    pub fn after_crash(&self) -> Self {
        self.after_crash_with(|builder| builder)
    }

    pub fn after_crash_with(&self, options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder) -> Self {
        let store = SpyStore::default();
        for record in self.store.records() {
            store.inner.insert(&record).unwrap();
        }
        Self::on_store_with(self.data.clone(), Arc::new(store), options)
    }

    pub fn on_store(data: MemoryEngine, store: Arc<SpyStore>) -> Self {
        Self::on_store_with(data, store, |builder| builder)
    }

    fn on_store_with(
        data: MemoryEngine,
        store: Arc<SpyStore>,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> Self {
        let gates = GatedEngine::new(Arc::new(data.clone()));
        gates.search().close();
        Self::open(data, gates.clone(), Arc::new(gates), store, options)
    }

    pub fn put(&self, id: &str) {
        self.manager.put(config(id).build().unwrap()).unwrap();
    }

    /// A started job [sensor] that rolls up again what has changed: then.
    pub fn put_repairing(&self, repair: RepairWhen) {
        let config = config("sensor").late_data(LateData::new().repair(repair));
        self.manager.put(config.build().unwrap()).unwrap();
        self.manager.start("sensor").unwrap();
    }

    pub fn put_started(&self, id: &str) {
        self.put(id);
        self.manager.start(id).unwrap();
    }

    /// A job whose run is held in its search, before its first page.
    pub fn put_indexing(&self, id: &str) {
        self.gates.search().close();
        self.put_started(id);
        self.manager.trigger(id).unwrap();
        self.gates.search().wait_for_waiting(1);
    }

    /// A job that is stopping: its run is held in a commit.
    pub fn put_stopping(&self, id: &str) {
        self.gates.commit().close();
        self.put_started(id);
        self.manager.trigger(id).unwrap();
        self.gates.commit().wait_for_waiting(1);
        let stopped = self.manager.stop(id, StopOptions::new()).unwrap();
        assert!(!stopped.is_at_rest());
    }

    /// Runs the job to the end of its data.
    pub fn run(&self, id: &str) {
        let before = self.watcher.heard().len();
        let run = self.manager.trigger(id).unwrap().run();
        self.wait_for_end_after(before, id, run);
    }

    pub fn wait_for_end_of_run(&self, id: &str, run: u64) {
        self.wait_for_end_after(0, id, run);
    }

    /// The same of a run that pauses: time passes until it ends.
    pub fn let_pauses_pass_until_end_of_run(&self, run: u64) {
        self.watcher.wait_for(&self.manager, "the run to end", || {
            self.clock.advance(Duration::from_secs(1));
            let is_end = |heard: &Heard| matches!(heard, Heard::Run(_, ended) if ended.run == run);
            self.watcher.heard().iter().any(is_end).then_some(())
        });
    }

    fn wait_for_end_after(&self, before: usize, id: &str, run: u64) {
        self.watcher.wait_for(&self.manager, "the end of the run", || {
            self.watcher.heard()[before..]
                .iter()
                .any(|heard| matches!(heard, Heard::Run(job, ended) if job == id && ended.run == run))
                .then_some(())
        });
    }

    pub fn wait_for_state(&self, id: &str, state: JobState) {
        self.wait_for(id, &format!("[{id}] to be {state}"), |status| status.state() == state);
    }

    pub fn wait_for_phase(&self, id: &str, phase: Phase) {
        self.wait_for(id, &format!("[{id}] to be {phase}"), |status| status.phase() == phase);
    }

    pub fn wait_for(&self, id: &str, what: &str, done: impl Fn(&JobStatus) -> bool) {
        self.watcher.wait_for(&self.manager, what, || done(&self.status(id)).then_some(()));
    }

    pub fn status(&self, id: &str) -> JobStatus {
        self.manager.get(id).expect("a job")
    }

    pub fn state(&self, id: &str) -> JobState {
        self.status(id).state()
    }

    pub fn documents(&self) -> BTreeMap<String, Value> {
        documents_of(&self.data, "rolled")
    }

    /// Stops in a thread of its own, with waiting. When this returns that stop waits, or has its answer.
    pub fn stop_in_thread(
        &self,
        id: &str,
        timeout: Duration,
    ) -> JoinHandle<Result<rollup_jobs::Stopped, rollup_jobs::StopError>> {
        let (manager, id) = (self.manager.clone(), id.to_owned());
        let stop = in_thread(move || manager.stop(&id, StopOptions::new().wait_for_completion(true).timeout(timeout)));
        self.watcher.wait_for(&self.manager, "a stop that waits", || {
            (stop.is_finished() || self.clock.has_asleep(stop.thread().id())).then_some(())
        });
        stop
    }
}

/// A failed test must not hang in what it held: this is dropped before the manager.
#[derive(Default)]
struct AtEnd(Vec<Box<dyn Fn() + Send + Sync>>);

impl AtEnd {
    fn push(&mut self, release: impl Fn() + Send + Sync + 'static) {
        self.0.push(Box::new(release));
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        for release in &self.0 {
            release();
        }
    }
}

pub fn in_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name("test".to_owned()).spawn(body).unwrap()
}

/// Joins a thread, and fails if it does not end: a hang is a failure.
pub trait JoinInTime<T> {
    fn join_in_time(self) -> T;
}

impl<T> JoinInTime<T> for JoinHandle<T> {
    fn join_in_time(self) -> T {
        wait_until("a thread has ended", || self.is_finished());
        self.join().unwrap()
    }
}

/// Waits for something that nobody tells of.
#[expect(clippy::disallowed_methods, reason = "the patience of a test is real time")]
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Something that whoever calls it is held by: it tells when that is so, and until when.
pub fn hold() -> (impl Fn() + Send + Sync, Receiver<()>, Sender<()>) {
    let ((entered, inside), (leave, left)) = (channel(), channel());
    let (entered, left) = (Mutex::new(entered), Mutex::new(left));
    let hold = move || {
        entered.lock().unwrap().send(()).unwrap();
        left.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    };
    (hold, inside, leave)
}

pub fn waiting() -> StopOptions {
    StopOptions::new().wait_for_completion(true).timeout(PATIENCE)
}

/// Three nodes over ten hours.
pub fn loaded() -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.extend("sensor-1", readings());
    engine
}

pub fn readings() -> impl Iterator<Item = SourceDocument> {
    (0..60_u32).map(|n| {
        SourceDocument::new()
            .date("timestamp", i64::from(n) * HOUR / 6)
            .keyword("node", ["a", "b", "c"][n as usize % 3])
            .double("temperature", f64::from(n) / 4.0)
    })
}

/// A job over them with 30 buckets in pages of 4, which nothing but a trigger runs.
pub fn config(id: &str) -> RollupJobConfigBuilder {
    RollupJobConfig::builder(id)
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(4)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .terms(["node"])
        .metric("temperature", Metric::ALL.iter().copied())
}

/// What a job of [`config`] has rolled up when it was never disturbed.
pub fn undisturbed(id: &str) -> BTreeMap<String, Value> {
    let world = World::new();
    world.put_started(id);
    world.run(id);
    let documents = world.documents();
    assert_eq!(documents.len(), 30);
    documents
}
