//! What comes between a run's look at its source indices and the moment of which it reads them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::{
    EngineError, JobContext, Look, Noticed, PageStream, RollupIndex, RollupIndexAdapter, ScanRequest, Source,
    SourceAdapter, SourceDocument, StopSignal,
};
use rollup_jobs::search::SearchRequest;
use rollup_jobs::store::{JobStore as _, MemoryStore};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{IndexPattern, LateDocuments, RollupJobManager};

use crate::noticing::{open, run};
use crate::support::{HOUR, NOW, Watcher, config, readings};
use crate::tantivy_harness::{FIELDS, Written};

type Act = Box<dyn FnOnce() + Send>;

/// Has something happen before the next scan of its source, and right after it has begun.
struct Meanwhile {
    engine: TantivyEngine,
    before: Mutex<Option<Act>>,
    after: Mutex<Option<Act>>,
    /// When an engine has looked, and nobody knows yet what it has seen.
    after_look: Mutex<Option<Act>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meanwhile").finish_non_exhaustive()
    }
}

fn act_once(act: &Mutex<Option<Act>>) {
    let act = act.lock().unwrap().take();
    if let Some(act) = act {
        act();
    }
}

impl SourceAdapter for Meanwhile {
    fn source(&self) -> &dyn Source {
        &self.engine
    }

    fn look(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        look: &Look<'_>,
        stop: &StopSignal,
    ) -> Result<Vec<Noticed>, EngineError> {
        let noticed = self.engine.look(job, pattern, look, stop);
        act_once(&self.after_look);
        noticed
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        act_once(&self.before);
        let stream = self.engine.scan(job, pattern, request, stop);
        act_once(&self.after);
        stream
    }
}

impl RollupIndexAdapter for Meanwhile {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.engine
    }
}

struct World {
    engine: Arc<Meanwhile>,
    /// An index that is not registered yet.
    other: Arc<Mutex<Written>>,
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    watcher: Arc<Watcher>,
    manager: Arc<RollupJobManager>,
}

fn reading(hour: i64, id: &str) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", "b").keyword("id", id)
}

impl World {
    /// A job that has not run yet, over sixty documents.
    fn new() -> Self {
        let mut host = Written::new(&FIELDS);
        host.commit(readings());
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &host.index).unwrap();
        let engine = Arc::new(Meanwhile {
            engine,
            before: Mutex::default(),
            after: Mutex::default(),
            after_look: Mutex::default(),
        });
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let store: Arc<MemoryStore> = Arc::default();
        let (manager, watcher) = open(Arc::clone(&engine) as _, &store, &clock);
        let manager = Arc::new(manager);
        manager.put(config("sensor").build().unwrap()).unwrap();
        manager.start("sensor").unwrap();
        let mut other = Written::new(&FIELDS);
        other.commit([reading(2, "x")]);
        Self { engine, other: Arc::new(Mutex::new(other)), clock, store, watcher, manager }
    }

    fn run(&self) {
        run(&self.manager, &self.watcher);
    }

    /// The other index is registered before the next scan, and gets one document more when it has begun.
    fn register_and_add_meanwhile(&self) {
        let (engine, other) = (self.engine.engine.clone(), Arc::clone(&self.other));
        let register = move || engine.register("sensor-2", &other.lock().unwrap().index).unwrap();
        let other = Arc::clone(&self.other);
        let add = move || other.lock().unwrap().commit([reading(6, "y")]);
        *self.engine.before.lock().unwrap() = Some(Box::new(register));
        *self.engine.after.lock().unwrap() = Some(Box::new(add));
    }

    fn check(&self) {
        assert!(self.engine.after.lock().unwrap().is_none(), "a run has read its source");
        let total = || self.manager.search(&SearchRequest::new("sensor-*")).unwrap().total().unwrap();
        assert_eq!(total(), 62);
        self.run();
        assert_eq!(total(), 62);
        let rolled_up = self.manager.rolled_up("sensor").unwrap().map(|row| row.unwrap().doc_count());
        assert_eq!(rolled_up.sum::<u64>(), 62);
    }
}

/// It counted as one that the run had read, though the run had begun behind its documents.
#[test]
fn an_index_that_comes_after_the_look_of_a_run_is_late_data() {
    let world = World::new();
    world.run();
    world.clock.advance(Duration::from_hours(1));
    world.register_and_add_meanwhile();
    world.run();
    world.check();
}

/// The first look at it was behind what the run reads of it.
#[test]
fn what_comes_to_such_an_index_while_the_first_run_reads_it_is_late_data_too() {
    let world = World::new();
    world.register_and_add_meanwhile();
    world.run();
    world.check();
}

/// Two look at an index for the first time: the one that is slower must not take all of it for late data.
#[test]
fn what_another_look_has_seen_meanwhile_is_no_change() {
    let world = World::new();
    let (manager, watcher) = (Arc::clone(&world.manager), Arc::clone(&world.watcher));
    *world.engine.after_look.lock().unwrap() = Some(Box::new(move || run(&manager, &watcher)));
    assert_eq!(world.manager.late_data("sensor").unwrap().changed, []);
    assert_eq!(world.manager.rolled_up("sensor").unwrap().count(), 30, "the job has run meanwhile");
    assert_eq!(world.store.ledger("sensor-1").unwrap().last_number, 0);
    assert_eq!(world.manager.get("sensor").unwrap().late_documents(), LateDocuments::default());
}
