//! What the embedded engine notices by itself: documents that come, change or go in time that is rolled up, and no
//! merge.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::{Engine, SourceDocument};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{PartReason, SearchRequest, Tier};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{JobState, LateData, RepairWhen, RollupJobManager, StopOptions};

use crate::support::{HOUR, NOW, PATIENCE, Watcher, config, readings};
use crate::tantivy_harness::{FIELDS, Written};

/// Ten hours of readings in ten commits, with ids, rolled up.
pub struct World {
    pub host: Written,
    pub engine: TantivyEngine,
    pub store: Arc<MemoryStore>,
    pub clock: Arc<ManualClock>,
    pub watcher: Arc<Watcher>,
    pub manager: RollupJobManager,
}

fn identified() -> impl Iterator<Item = SourceDocument> {
    readings().enumerate().map(|(number, reading)| reading.keyword("id", &number.to_string()))
}

pub fn late(hour: i64, id: &str) -> SourceDocument {
    SourceDocument::new()
        .date("timestamp", hour * HOUR + 1)
        .keyword("node", "b")
        .double("temperature", 7.5)
        .keyword("id", id)
}

pub fn open(
    engine: Arc<dyn Engine>,
    store: &Arc<MemoryStore>,
    clock: &Arc<ManualClock>,
) -> (RollupJobManager, Arc<Watcher>) {
    let watcher: Arc<Watcher> = Arc::default();
    let builder = RollupJobManager::builder(engine, Arc::clone(store) as _);
    let builder = builder.clock(Arc::clone(clock) as _).observer(Arc::clone(&watcher) as _);
    (builder.turn_time(Duration::ZERO).open().unwrap(), watcher)
}

/// A run of the job, to its end.
pub fn run(manager: &RollupJobManager, watcher: &Watcher) {
    manager.trigger("sensor").unwrap();
    watcher.wait_for(manager, "the end of a run", || {
        (manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
    });
}

impl World {
    pub fn with(late_data: LateData) -> Self {
        let mut host = Written::new(&FIELDS);
        let readings: Vec<_> = identified().collect();
        for commit in readings.chunks(6) {
            host.commit(commit.to_vec());
        }
        let (engine, store) = (TantivyEngine::in_ram(), Arc::new(MemoryStore::new()));
        engine.register("sensor-1", &host.index).unwrap();
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let (manager, watcher) = open(Arc::new(engine.clone()), &store, &clock);
        manager.put(config("sensor").late_data(late_data).build().unwrap()).unwrap();
        manager.start("sensor").unwrap();
        let world = Self { host, engine, store, clock, watcher, manager };
        world.run();
        world
    }

    pub fn new() -> Self {
        Self::with(LateData::new().repair(RepairWhen::AfterRun))
    }

    pub fn run(&self) {
        run(&self.manager, &self.watcher);
    }

    pub fn total(&self) -> u64 {
        self.manager.search(&SearchRequest::new("sensor-*")).unwrap().total().unwrap()
    }

    /// The hours that are read for a reason.
    fn hours(&self, reason: PartReason) -> Vec<(i64, i64)> {
        let plan = self.manager.plan(&SearchRequest::new("sensor-*")).unwrap();
        let parts = plan.parts.iter().filter(|part| part.reason == reason);
        parts.map(|part| (part.from.unwrap() / HOUR, part.until.unwrap() / HOUR)).collect()
    }

    fn changed(&self) -> Vec<(i64, i64)> {
        self.hours(PartReason::Changed)
    }

    /// How many documents each rolled-up document stands for, and the sum of temperatures.
    fn rolled_up(manager: &RollupJobManager) -> Vec<(i64, Option<String>, u64, Option<f64>)> {
        let rows = manager.rolled_up("sensor").unwrap().map(Result::unwrap);
        rows.map(|row| (row.date(), row.text("node").map(str::to_owned), row.doc_count(), row.sum("temperature")))
            .collect()
    }

    /// What is rolled up is what a job that begins now would roll up.
    fn check_as_new(&self) {
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &self.host.index).unwrap();
        let (manager, watcher) = open(Arc::new(engine.clone()), &Arc::new(MemoryStore::new()), &self.clock);
        manager.put(config("sensor").build().unwrap()).unwrap();
        manager.start("sensor").unwrap();
        run(&manager, &watcher);
        assert_eq!(Self::rolled_up(&self.manager), Self::rolled_up(&manager));
    }

    fn notes(&self) -> usize {
        let ledger = self.store.ledger("sensor-1").unwrap();
        ledger.notes.len() + ledger.shrunk.len()
    }
}

/// The worst complaint about systems of this kind: what comes late is lost, and nobody says so.
#[test]
fn late_documents_are_in_the_answer_at_once_and_rolled_up_with_the_next_run() {
    let mut world = World::new();
    world.host.commit([late(3, "x"), late(7, "y"), late(-20_000, "z")]);
    assert_eq!(world.total(), 63);
    assert_eq!(world.changed(), [(-20_000, -19_999), (3, 4), (7, 8)], "and one bucket each");
    world.run();
    assert_eq!((world.total(), world.changed()), (63, vec![]));
    world.check_as_new();
    world.run();
    assert_eq!(world.notes(), 0);
}

#[test]
fn what_is_noticed_by_a_search_is_repaired_at_once() {
    let mut world = World::with(LateData::new());
    world.host.commit([late(3, "x")]);
    assert_eq!(world.total(), 61);
    world.watcher.wait_for(&world.manager, "a repair", || (world.changed().is_empty()).then_some(()));
    world.check_as_new();
}

#[test]
fn merges_are_no_changes_and_neither_is_what_is_new() {
    let mut world = World::new();
    world.host.merge();
    assert_eq!((world.total(), world.changed(), world.notes()), (60, vec![], 0));
    let next = NOW.parse::<Timestamp>().unwrap().as_millisecond() / HOUR;
    world.host.commit([late(next, "x")]);
    assert_eq!((world.total(), world.notes()), (61, 0));
    world.host.merge();
    world.host.commit([late(4, "y")]);
    world.host.merge();
    assert_eq!((world.total(), world.changed()), (62, vec![(4, 5)]), "found in what is merged");
    world.clock.advance(Duration::from_hours(2));
    world.run();
    assert_eq!((world.total(), world.changed()), (62, vec![]));
    world.check_as_new();
}

#[test]
fn an_update_is_a_change() {
    let mut world = World::new();
    // In its hour, and from one hour into another.
    world.host.delete("20");
    world.host.commit([late(3, "20")]);
    assert_eq!((world.total(), world.changed()), (60, vec![(3, 4)]));
    world.run();
    world.check_as_new();
    world.host.delete("30");
    world.host.commit([late(8, "30")]);
    assert_eq!((world.changed(), world.hours(PartReason::Shrunk)), (vec![(8, 9)], vec![(5, 6)]));
}

/// Raw documents are removed to save space: what was rolled up of them stays, until the host says that it should not.
#[test]
fn what_is_gone_stays_rolled_up_and_is_told_of() {
    let mut world = World::new();
    for id in 18..24 {
        world.host.delete(&id.to_string());
    }
    world.host.commit([]);
    assert_eq!((world.total(), world.changed()), (60, vec![]));
    assert_eq!(world.hours(PartReason::Shrunk), [(3, 4)]);
    let before = World::rolled_up(&world.manager);
    world.run();
    assert_eq!(World::rolled_up(&world.manager), before);
    // What comes there now is not read without the others.
    world.host.commit([late(3, "x")]);
    assert_eq!((world.total(), world.changed(), world.hours(PartReason::Shrunk)), (60, vec![], vec![(3, 4)]));
    let at = |hour: i64| Timestamp::from_millisecond(hour * HOUR).unwrap();
    world.manager.note_change("sensor-1", at(3)..at(4)).unwrap();
    assert_eq!((world.total(), world.changed(), world.hours(PartReason::Shrunk)), (55, vec![(3, 4)], vec![]));
    world.run();
    world.check_as_new();
}

#[test]
fn deletions_are_trusted_where_the_job_says_so_or_is_asked() {
    let mut world = World::with(LateData::new().repair(RepairWhen::AfterRun).trust_deletes(true));
    world.host.delete("20");
    world.host.commit([]);
    assert_eq!((world.total(), world.changed()), (59, vec![(3, 4)]));
    world.run();
    world.check_as_new();
    let mut world = World::new();
    world.host.delete("20");
    world.host.commit([]);
    world.run();
    let at = |hour: i64| Timestamp::from_millisecond(hour * HOUR).unwrap();
    world.manager.refresh("sensor", at(3)..at(4)).unwrap().wait(PATIENCE).unwrap();
    assert_eq!((world.total(), world.hours(PartReason::Shrunk)), (59, vec![]));
    world.check_as_new();
}

#[test]
fn an_index_that_is_registered_late_is_late_data() {
    let world = World::new();
    let mut other = Written::new(&FIELDS);
    other.commit([late(2, "x"), late(6, "y")]);
    world.engine.register("sensor-2", &other.index).unwrap();
    assert_eq!((world.total(), world.changed()), (62, vec![(2, 3), (6, 7)]));
    world.run();
    assert_eq!((world.total(), world.changed()), (62, vec![]));
    let rolled_up: u64 = World::rolled_up(&world.manager).iter().map(|row| row.2).sum();
    assert_eq!(rolled_up, 62);
}

/// What changes while no manager is open is found by the next one, since what was seen last is stored.
#[test]
fn what_changes_between_two_managers_is_noticed() {
    let mut world = World::new();
    let options = StopOptions::new().wait_for_completion(true).timeout(PATIENCE);
    assert!(world.manager.stop("sensor", options).unwrap().is_at_rest());
    world.manager.shutdown(PATIENCE).unwrap();
    world.host.commit([late(3, "x")]);
    world.host.merge();
    (world.manager, world.watcher) = open(Arc::new(world.engine.clone()), &world.store, &world.clock);
    assert_eq!((world.total(), world.changed()), (61, vec![(3, 4)]));
    world.manager.start("sensor").unwrap();
    world.run();
    world.check_as_new();
}

/// A document that comes between a look and the snapshot of a search is not in half of the answer.
#[test]
fn a_search_is_of_one_moment_whatever_comes_meanwhile() {
    let mut world = World::new();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    world.host.commit([late(3, "x")]);
    // The raw part is hour 3 and what is not rolled up: totals only grow, by whole commits of one in each hour.
    let next = NOW.parse::<Timestamp>().unwrap().as_millisecond() / HOUR;
    let totals = std::thread::scope(|scope| {
        let manager = &world.manager;
        let searching = scope.spawn({
            let stop = std::sync::Arc::clone(&stop);
            move || {
                let mut totals = Vec::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    totals.push(manager.search(&SearchRequest::new("sensor-*")).unwrap().total().unwrap());
                }
                totals
            }
        });
        for round in 0..30 {
            let documents = [5, next].map(|hour| late(hour, &format!("{round}")));
            world.host.commit(documents);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        searching.join().unwrap()
    });
    assert!(totals.iter().all(|total| total % 2 == 1), "a commit is there or it is not: {totals:?}");
    assert!(totals.is_sorted());
    assert_eq!(world.total(), 121);
}

#[test]
fn tiers_are_told() {
    let mut world = World::new();
    world.host.delete("20");
    world.host.commit([]);
    let plan = world.manager.plan(&SearchRequest::new("sensor-*")).unwrap();
    let part = plan.parts.iter().find(|part| part.reason == PartReason::Shrunk).unwrap();
    assert_eq!(part.tier, Tier::RolledUp);
    assert_eq!(part.to_string(), "rolled_up from 1970-01-01T03:00:00Z until 1970-01-01T04:00:00Z: shrunk");
}

/// A store that keeps no marks, or a job of a former version: what is rolled up is counted.
#[test]
fn where_nothing_is_remembered_it_is_counted() {
    let mut world = World::new();
    let options = StopOptions::new().wait_for_completion(true).timeout(PATIENCE);
    assert!(world.manager.stop("sensor", options).unwrap().is_at_rest());
    world.manager.shutdown(PATIENCE).unwrap();
    // In a store of its own, without what the other one remembers.
    let store = Arc::new(MemoryStore::new());
    for loaded in world.store.load().unwrap() {
        let rollup_jobs::store::LoadedRecord::Job(record) = loaded else { panic!("{loaded:?}") };
        store.insert(&record).unwrap();
    }
    world.store = store;
    world.host.delete("40");
    world.host.commit([late(3, "x"), late(3, "y")]);
    world.host.merge();
    (world.manager, world.watcher) = open(Arc::new(world.engine.clone()), &world.store, &world.clock);
    world.manager.start("sensor").unwrap();
    world.run();
    assert_eq!((world.total(), world.changed()), (62, vec![]));
    assert_eq!(world.hours(PartReason::Shrunk), [(6, 7)]);
    let at = |hour: i64| Timestamp::from_millisecond(hour * HOUR).unwrap();
    world.manager.note_change("sensor-1", at(6)..at(7)).unwrap();
    world.run();
    world.check_as_new();
}

/// A document comes when the seal is written already, and before anything is dropped: the seal is withdrawn.
#[test]
fn a_seal_that_a_late_document_races_is_withdrawn() {
    #[derive(Debug)]
    struct Racing(MemoryStore, std::sync::Mutex<Option<Racer>>);
    struct Racer(Written);
    impl std::fmt::Debug for Racer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Racer")
        }
    }
    impl rollup_jobs::store::JobStoreAdapter for Racing {
        fn store(&self) -> &dyn JobStore {
            &self.0
        }

        fn replace_ledger(
            &self,
            index: &str,
            ledger: &rollup_jobs::Ledger,
        ) -> Result<bool, rollup_jobs::store::StoreError> {
            let replaced = self.0.replace_ledger(index, ledger);
            if !ledger.seals.is_empty()
                && let Some(Racer(mut host)) = self.1.lock().unwrap().take()
            {
                host.commit([late(3, "x")]);
            }
            replaced
        }
    }
    let world = World::new();
    let World { host, engine, store, clock, manager, .. } = world;
    let options = StopOptions::new().wait_for_completion(true).timeout(PATIENCE);
    assert!(manager.stop("sensor", options).unwrap().is_at_rest());
    drop(manager);
    let racing = Arc::new(Racing((*store).clone(), std::sync::Mutex::new(Some(Racer(host)))));
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::clone(&racing) as _).clock(clock).open().unwrap();
    let at = |hour: i64| Timestamp::from_millisecond(hour * HOUR).unwrap();
    let refused = manager.seal_before("sensor-1", at(5)).unwrap_err();
    assert!(refused.to_string().contains("safe is what is before [1970-01-01T03:00:00Z]"), "{refused}");
    assert_eq!(store.ledger("sensor-1").unwrap().seals, []);
    manager.seal_before("sensor-1", at(3)).unwrap();
    assert_eq!(store.ledger("sensor-1").unwrap().seals, vec![i64::MIN..3 * HOUR]);
}
