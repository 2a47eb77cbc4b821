//! A rollup index that is gone is started over, from the start, whatever interrupts that.
//!
//! The mark that the index is prepared was written before the position was given up. An interruption in between left
//! an empty index and an old position: 50 documents instead of 350, green, for ever. The position is given up first
//! now, durably.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage, TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{Engine, MemoryEngine, SourceDocument};
use rollup_jobs::testing::{EngineFault, FaultyEngine, FaultyStore, StoreFault, documents_of};
use rollup_jobs::{DateHistogram, JobRecord, JobState, JobUpdate, RetryOptions, RollupJobManager};
use serde_json::Value;

use crate::disk::{Disk, Left};
use crate::support::{HOUR, SpyStore, Watcher, World, config, delay_until, loaded, readings, undisturbed};
use crate::tantivy_harness::{read_rollup, sensor_index};

/// A manager whose engine and store can fail, over data that outlives it.
struct Host {
    manager: RollupJobManager,
    engine: FaultyEngine,
    store: FaultyStore,
    watcher: Arc<Watcher>,
}

impl Host {
    fn open(data: &MemoryEngine, store: &Arc<SpyStore>, fault: EngineFault) -> Self {
        Self::on(Arc::new(data.clone()), store, fault)
    }

    fn on(engine: Arc<dyn Engine>, store: &Arc<SpyStore>, fault: EngineFault) -> Self {
        let (engine, store) = (FaultyEngine::new(engine, fault), FaultyStore::new(store.clone()));
        let watcher: Arc<Watcher> = Arc::default();
        let builder = RollupJobManager::builder(Arc::new(engine.clone()), Arc::new(store.clone()));
        let builder = builder
            .indexer_threads(1)
            .turn_time(Duration::ZERO)
            .retry(RetryOptions::new().attempts(2).initial_delay(Duration::from_millis(1)));
        let manager = builder.observer(watcher.clone()).open().unwrap();
        Self { manager, engine, store, watcher }
    }

    fn run(&self) {
        self.manager.trigger("sensor").unwrap();
        self.settle();
    }

    fn settle(&self) {
        self.watcher.wait_for(&self.manager, "the end of the run", || {
            (self.manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
        });
    }
}

/// Rolled up, and then the rollup index is deleted.
fn deleted(data: &MemoryEngine) -> Arc<SpyStore> {
    let store: Arc<SpyStore> = Arc::default();
    let host = Host::open(data, &store, EngineFault::Unavailable);
    let date = || DateHistogram::fixed_interval("timestamp", "1h");
    host.manager.put(config("sensor").date_histogram(date().delay(delay_until(10))).build().unwrap()).unwrap();
    host.manager.start("sensor").unwrap();
    host.run();
    assert_eq!(documents_of(data, "rolled").len(), 30);
    host.manager.update("sensor", JobUpdate::new().no_delay()).unwrap();
    assert!(data.remove_index("rolled"));
    // Without anything new an engine that keeps no checkpoints is asked for nothing that could find out.
    data.extend("sensor-1", more());
    store
}

/// What the next process finds of the jobs.
fn stored(records: Vec<JobRecord>) -> Arc<SpyStore> {
    let store = SpyStore::default();
    for record in records {
        rollup_jobs::store::JobStore::insert(&store.inner, &record).unwrap();
    }
    Arc::new(store)
}

/// One more hour, of which nothing is over in the first run.
fn more() -> impl Iterator<Item = SourceDocument> {
    ["a", "b", "c"].into_iter().map(|node| SourceDocument::new().date("timestamp", 20 * HOUR).keyword("node", node))
}

/// What a job has of all this that was never disturbed.
fn expected() -> BTreeMap<String, Value> {
    let data = loaded();
    data.extend("sensor-1", more());
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    world.documents()
}

fn engines() -> [MemoryEngine; 2] {
    let forgetful = MemoryEngine::without_progress();
    forgetful.extend("sensor-1", readings());
    [loaded(), forgetful]
}

/// The run fails at its n-th call of engine or store; the process ends there, or goes on and runs again.
fn fails_at(
    expected: &BTreeMap<String, Value>,
    data: &MemoryEngine,
    call: u64,
    engine_fault: Option<EngineFault>,
    store_fault: StoreFault,
    dies: bool,
) -> bool {
    let store = deleted(data);
    let mut host = Host::open(data, &store, engine_fault.unwrap_or(EngineFault::Unavailable));
    match engine_fault {
        Some(_) => host.engine.fail_at(call),
        None => host.store.fail_at(call, store_fault),
    }
    host.run();
    let failed = host.engine.has_failed() || host.store.has_failed();
    host.store.heal();
    if dies {
        // What is stored now is all that the next process knows.
        host = Host::open(data, &stored(store.records()), EngineFault::Unavailable);
        host.settle();
    }
    host.run();
    let what = format!("{engine_fault:?} {store_fault:?} at call {call}, dies: {dies}");
    let status = host.manager.get("sensor");
    assert!(documents_of(data, "rolled") == *expected, "{what}: {status:?}");
    failed
}

#[test]
fn an_interruption_at_every_engine_call_loses_nothing() {
    let expected = expected();
    for fault in
        [EngineFault::Unavailable, EngineFault::Rejected, EngineFault::UnavailableAfterwards, EngineFault::Panic]
    {
        for dies in [false, true] {
            for data in engines() {
                let mut calls = 1;
                while fails_at(&expected, &data.snapshot(), calls, Some(fault), StoreFault::Unavailable, dies) {
                    calls += 1;
                }
                assert!(calls > 10, "the whole run was tried: {calls} calls");
            }
        }
    }
}

#[test]
fn an_interruption_at_every_store_call_loses_nothing() {
    let expected = expected();
    for fault in [StoreFault::Unavailable, StoreFault::Rejected, StoreFault::UnavailableAfterwards, StoreFault::Panic] {
        for dies in [false, true] {
            for data in engines() {
                let mut calls = 1;
                while fails_at(&expected, &data.snapshot(), calls, None, fault, dies) {
                    calls += 1;
                }
                assert!(calls > 5, "the whole run was tried: {calls} calls");
            }
        }
    }
}

/// The same on tantivy, whose checkpoint goes with its documents.
fn fails_on_tantivy(source: &Index, call: u64, fault: EngineFault, dies: bool) -> bool {
    let (disk, store) = (Disk::default(), Arc::new(SpyStore::default()));
    let open = |disk: &Disk, store: &Arc<SpyStore>| {
        let tantivy = TantivyEngine::on(Arc::new(disk.clone()), TantivyOptions::new());
        tantivy.register("sensor-1", source).unwrap();
        let tantivy = Arc::new(tantivy);
        (Arc::clone(&tantivy), Host::on(tantivy, store, fault))
    };
    let (_, host) = open(&disk, &store);
    host.manager.put(config("sensor").build().unwrap()).unwrap();
    host.manager.start("sensor").unwrap();
    host.run();
    drop(host);
    disk.remove(&RollupPlace { rollup_index: "rolled".to_owned(), job_id: "sensor".to_owned() }).unwrap();

    let (mut tantivy, mut host) = open(&disk, &store);
    host.engine.fail_at(call);
    host.run();
    let failed = host.engine.has_failed();
    if dies {
        (tantivy, host) = open(&disk.after_cut(Left::Everything), &stored(store.records()));
        host.settle();
    }
    host.run();
    let found = tantivy.rollup_index("rolled", "sensor").unwrap().map(|index| read_rollup(&index));
    let what = format!("{fault:?} at call {call}, dies: {dies}");
    assert_eq!(found.unwrap_or_default(), undisturbed("sensor"), "{what}: {:?}", host.manager.get("sensor"));
    failed
}

#[test]
fn an_interruption_at_every_call_of_tantivy_loses_nothing() {
    let source = sensor_index(readings());
    for fault in [EngineFault::Unavailable, EngineFault::UnavailableAfterwards] {
        for dies in [false, true] {
            let mut calls = 1;
            while fails_on_tantivy(&source, calls, fault, dies) {
                calls += 1;
            }
            assert!(calls > 10, "the whole run was tried: {calls} calls");
        }
    }
}

/// What is left of data and records.
type Crash = (MemoryEngine, Vec<JobRecord>);

/// The process dies before, or after, each save of such a run.
#[test]
fn a_crash_at_every_save_loses_nothing() {
    let expected = expected();
    for data in engines() {
        let store = deleted(&data);
        let crashes: Arc<Mutex<Vec<Crash>>> = Arc::default();
        let (seen, there, spied) = (Arc::clone(&crashes), data.clone(), Arc::downgrade(&store));
        store.on_update(move |record| {
            let before = spied.upgrade().unwrap().records();
            let after: Vec<_> =
                before.iter().filter(|other| other.id() != record.id()).chain([record]).cloned().collect();
            seen.lock().unwrap().extend([(there.snapshot(), before), (there.snapshot(), after)]);
        });
        Host::open(&data, &store, EngineFault::Unavailable).run();
        let crashes = std::mem::take(&mut *crashes.lock().unwrap());
        assert!(crashes.len() > 20, "{} crashes", crashes.len());
        for (at, (data, records)) in crashes.into_iter().enumerate() {
            let host = Host::open(&data, &stored(records), EngineFault::Unavailable);
            host.settle();
            host.run();
            assert!(documents_of(&data, "rolled") == expected, "crash {at}: {:?}", host.manager.get("sensor"));
        }
    }
}
