//! A job reads in one system and writes in another: it has the results of one that does both in the same, also when its
//! process is killed at whatever call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{MemoryEngine, RollupIndex, RollupIndexAdapter, Source, SourceAdapter};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::{EngineFault, FaultyEngine, FaultyStore, ManualClock, StoreFault, documents_of};
use rollup_jobs::{JobState, RollupJobManager};
use serde_json::Value;

use crate::disk::{Disk, Left};
use crate::support::{Heard, NOW, Watcher, config, loaded, readings, records, undisturbed, waiting};
use crate::tantivy_harness::{read_rollup, sensor_index};

/// Two systems as one engine, so that a plan of faults counts the calls of both.
#[derive(Debug)]
struct Joined {
    source: Arc<dyn Source>,
    rollup_index: Arc<dyn RollupIndex>,
}

impl SourceAdapter for Joined {
    fn source(&self) -> &dyn Source {
        &*self.source
    }
}

impl RollupIndexAdapter for Joined {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.rollup_index
    }
}

/// A pair of systems: what a process is opened on, what it has rolled up, and what is left of it after a kill.
trait Pair {
    fn source(&self) -> Arc<dyn Source>;
    fn rollup_index(&self) -> Arc<dyn RollupIndex>;
    fn rolled_up(&self) -> BTreeMap<String, Value>;
    fn after_kill(&self) -> Self;
}

struct MemoryToTantivy {
    source: MemoryEngine,
    disk: Disk,
    engine: Arc<TantivyEngine>,
}

impl MemoryToTantivy {
    fn on(source: MemoryEngine, disk: Disk) -> Self {
        let engine = Arc::new(TantivyEngine::on(Arc::new(disk.clone()), TantivyOptions::new()));
        Self { source, disk, engine }
    }
}

impl Pair for MemoryToTantivy {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.source.clone())
    }

    fn rollup_index(&self) -> Arc<dyn RollupIndex> {
        self.engine.clone()
    }

    fn rolled_up(&self) -> BTreeMap<String, Value> {
        assert!(documents_of(&self.source, "rolled").is_empty(), "nothing is written where is read");
        let index = self.engine.rollup_index("rolled", "sensor").unwrap();
        index.map(|index| read_rollup(&index)).unwrap_or_default()
    }

    fn after_kill(&self) -> Self {
        Self::on(self.source.clone(), self.disk.after_cut(Left::Nothing))
    }
}

struct TantivyToMemory {
    source: Arc<TantivyEngine>,
    rolled_up: MemoryEngine,
}

impl TantivyToMemory {
    fn new() -> Self {
        let source = TantivyEngine::in_ram();
        source.register("sensor-1", &sensor_index(readings())).unwrap();
        Self { source: Arc::new(source), rolled_up: MemoryEngine::new() }
    }
}

impl Pair for TantivyToMemory {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    fn rollup_index(&self) -> Arc<dyn RollupIndex> {
        Arc::new(self.rolled_up.clone())
    }

    fn rolled_up(&self) -> BTreeMap<String, Value> {
        assert!(self.source.rollup_index("rolled", "sensor").unwrap().is_none(), "nothing is written where is read");
        documents_of(&self.rolled_up, "rolled")
    }

    fn after_kill(&self) -> Self {
        Self { source: self.source.clone(), rolled_up: self.rolled_up.snapshot() }
    }
}

struct Process {
    manager: RollupJobManager,
    watcher: Arc<Watcher>,
    engine: FaultyEngine,
    store: FaultyStore,
}

impl Process {
    fn open(pair: &impl Pair, store: &MemoryStore) -> Self {
        let joined = Joined { source: pair.source(), rollup_index: pair.rollup_index() };
        let engine = FaultyEngine::new(Arc::new(joined), EngineFault::Hang);
        let store = FaultyStore::new(Arc::new(store.clone()));
        let watcher: Arc<Watcher> = Arc::default();
        let (source, rollup_index) = (Arc::new(engine.clone()), Arc::new(engine.clone()));
        let manager = RollupJobManager::builder_of(source, rollup_index, Arc::new(store.clone()))
            .indexer_threads(1)
            .turn_time(Duration::ZERO)
            .clock(Arc::new(ManualClock::at(NOW.parse().unwrap())))
            .observer(watcher.clone())
            .open()
            .unwrap();
        Self { manager, watcher, engine, store }
    }

    /// Waits until the run is over, or a call hangs. Says whether one does.
    fn hangs(&self) -> bool {
        let hangs = || self.engine.has_failed() || self.store.has_failed();
        self.watcher.wait_for(&self.manager, "a call that hangs, or the end of the run", || {
            let is_over = self.watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..)));
            (is_over || hangs()).then_some(())
        });
        hangs()
    }
}

impl Drop for Process {
    /// What hangs goes on, into what nobody looks at any more.
    fn drop(&mut self) {
        self.engine.heal();
        self.store.heal();
    }
}

/// What is stored at this moment.
fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    for record in records(store) {
        copy.insert(&record).unwrap();
    }
    copy
}

/// Rolls up, is killed at the `call`-th call of both systems or of the store, and goes on. Says whether there was such
/// a call.
fn killed<P: Pair>(pair: P, plan: impl FnOnce(&Process), expected: &BTreeMap<String, Value>, what: &str) -> bool {
    let store = MemoryStore::new();
    let process = Process::open(&pair, &store);
    process.manager.put(config("sensor").build().unwrap()).unwrap();
    process.manager.start("sensor").unwrap();
    plan(&process);
    process.manager.trigger("sensor").unwrap();
    let hangs = process.hangs();
    let (left, store) = (pair.after_kill(), copy(&store));
    drop(process);
    let process = Process::open(&left, &store);
    if process.manager.get("sensor").unwrap().state() == JobState::Started {
        // A run is known to the store from its first checkpoint on.
        let _ = process.manager.trigger("sensor").unwrap();
    }
    assert!(!process.hangs(), "{what}");
    assert!(process.manager.stop("sensor", waiting()).unwrap().is_at_rest(), "{what}");
    assert_eq!(&left.rolled_up(), expected, "{what}");
    let status = process.manager.get("sensor").unwrap();
    assert!(status.last_errors().is_empty(), "{what}: {:?}", status.last_errors());
    assert_eq!((status.stats().documents_processed(), status.stats().rollups_indexed()), (60, 30), "{what}");
    hangs
}

fn killed_at_every_call<P: Pair>(new: impl Fn() -> P, expected: &BTreeMap<String, Value>) {
    let mut kills = 0;
    for call in 1.. {
        let what = format!("killed at call {call} of an engine");
        if !killed(new(), |process| process.engine.fail_at(call), expected, &what) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 25, "the whole run was tried: {kills} kills");
    kills = 0;
    for call in 1.. {
        let what = format!("killed at call {call} of the store");
        if !killed(new(), |process| process.store.fail_at(call, StoreFault::Hang), expected, &what) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 7, "every checkpoint was tried: {kills} kills");
}

/// As tantivy keeps a document: what is null is left out.
fn without_nulls(mut documents: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for document in documents.values_mut() {
        document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    documents
}

#[test]
fn from_memory_to_tantivy() {
    let expected = without_nulls(undisturbed("sensor"));
    killed_at_every_call(|| MemoryToTantivy::on(loaded(), Disk::default()), &expected);
}

#[test]
fn from_tantivy_to_memory() {
    killed_at_every_call(TantivyToMemory::new, &undisturbed("sensor"));
}
