//! What Elasticsearch makes of a stored state when it restarts, a test per row: in which state a job with a stored
//! state comes back, and that it keeps its position. On purpose, `indexing` goes on at once, and a stop of an idle job
//! is stored.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{Batch, JobContext, MemoryEngine, RollupIndex};
use rollup_jobs::testing::{EngineFault, FaultyEngine};
use rollup_jobs::{JobRecord, JobState, RollupJobManager, StoredState, TermsType};
use serde_json::json;

use crate::support::{SpyStore, World, config, loaded, undisturbed, waiting};

const POSITION: &str = r#"{"node.terms":"b","timestamp.date_histogram":3600000}"#;

/// One stored record, and an engine that is as far.
fn stored(state: &str) -> (MemoryEngine, Arc<SpyStore>) {
    let data = loaded();
    let config = config("sensor").build().unwrap();
    let mut record = json!({
        "format": 1, "config": config.to_json(), "terms_types": ["keyword"], "state": state,
        "checkpoint": {
            "position": [["timestamp.date_histogram", { "date": 3_600_000 }], ["node.terms", { "text": "b" }]],
            "stats": { "rollups_indexed": 5 }
        },
        "run": 3, "revision": 17, "epoch": 0
    });
    if state == "preparing" {
        // With a position it would be an adoption that was interrupted.
        record["checkpoint"] = json!({ "position": null, "stats": {} });
    }
    let record = JobRecord::from_json(record.to_string().as_bytes()).unwrap();
    if state != "preparing" {
        // The engine is as far as the store, or an indexing job begins from the start.
        let job = JobContext::new(config, &[TermsType::Keyword]);
        data.prepare(&job).unwrap();
        data.begin(&job, &Batch::Append).unwrap().commit(record.progress()).unwrap();
    }
    let store = SpyStore::default();
    rollup_jobs::store::JobStore::insert(&store.inner, &record).unwrap();
    (data, Arc::new(store))
}

/// A world that opens on it. The search is held, so that a run cannot end.
fn restored(state: &str) -> World {
    let (data, store) = stored(state);
    World::on_store(data, store)
}

fn comes_back(state: &str, expected: JobState) -> World {
    let world = restored(state);
    let status = world.status("sensor");
    assert_eq!(status.state(), expected);
    assert_eq!(status.position().unwrap().to_string(), POSITION);
    assert_eq!(status.stats().rollups_indexed(), 5, "statistics are kept too");
    world
}

#[test]
fn no_status_at_all() {
    let world = World::new();
    world.put("sensor");
    let world = world.after_crash();
    assert_eq!(world.state("sensor"), JobState::Stopped);
    assert!(world.status("sensor").position().is_none());
}

#[test]
fn stopped() {
    comes_back("stopped", JobState::Stopped);
}

#[test]
fn started() {
    let world = comes_back("started", JobState::Started);
    assert_eq!(world.gates.search().arrived(), 0, "it waits for its time");
    assert!(world.status("sensor").next_run().is_some(), "which comes");
}

#[test]
fn indexing() {
    // Elasticsearch has it wait for the next tick; here it goes on at once.
    let world = comes_back("indexing", JobState::Indexing);
    world.gates.search().wait_for_waiting(1);
    assert_eq!(world.status("sensor").run(), 4);
}

#[test]
fn stopping() {
    comes_back("stopping", JobState::Stopped);
}

#[test]
fn aborting() {
    comes_back("aborting", JobState::Stopped);
}

#[test]
fn preparing() {
    // Ours: a put that a crash interrupted is finished.
    let world = restored("preparing");
    assert_eq!(world.state("sensor"), JobState::Stopped);
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped);
    world.manager.start("sensor").unwrap();
    world.gates.search().open();
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

/// Only a rollup index with another job's documents says that nobody was told of this one.
#[test]
fn preparing_that_fails() {
    let (data, store) = stored("preparing");
    let engine = FaultyEngine::new(Arc::new(data), EngineFault::Rejected);
    engine.fail_at(1);
    let manager = RollupJobManager::builder(Arc::new(engine), store.clone()).open().unwrap();
    let status = manager.get("sensor").unwrap();
    assert!(status.config().is_none() && status.health().reason().unwrap().contains("a put was interrupted"));
    assert_eq!(store.record("sensor").state(), StoredState::Preparing);
}

fn three_jobs() -> World {
    let world = World::new();
    world.put("stopped");
    world.put_started("started");
    world.put_indexing("indexing");
    world
}

fn come_back_the_same(store: Arc<SpyStore>) {
    let world = World::on_store(loaded(), store);
    assert_eq!(world.state("stopped"), JobState::Stopped);
    assert_eq!(world.state("started"), JobState::Started);
    assert_eq!(world.state("indexing"), JobState::Indexing);
}

#[test]
fn three_jobs_come_back_the_same_after_a_shutdown() {
    let world = three_jobs();
    world.manager.shutdown(Duration::MAX).unwrap();
    come_back_the_same(world.store.clone());
}

#[test]
fn three_jobs_come_back_the_same_after_a_drop() {
    let world = three_jobs();
    let store = world.store.clone();
    drop(world.manager);
    come_back_the_same(store);
}

#[test]
fn a_run_that_waits_for_a_thread_comes_back_indexing() {
    let world = World::with(|builder| builder.indexer_threads(1));
    world.put_indexing("holder");
    world.put_started("queued");
    world.manager.trigger("queued").unwrap();
    world.manager.shutdown(Duration::MAX).unwrap();
    let world = World::on_store(loaded(), world.store.clone());
    assert_eq!(world.state("queued"), JobState::Indexing);
}

#[test]
fn an_interrupted_run_goes_on_where_it_was_and_loses_nothing() {
    let world = World::new();
    world.gates.search().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.search().let_through(3);
    world.wait_for("sensor", "three pages", |status| status.stats().pages_processed() == 3);
    world.manager.shutdown(Duration::MAX).unwrap();
    assert_eq!(world.documents().len(), 12);
    let next = World::on_store(world.data.clone(), world.store.clone());
    assert_eq!(next.status("sensor").stats().rollups_indexed(), 12);
    next.gates.search().open();
    next.wait_for_state("sensor", JobState::Started);
    assert_eq!(next.documents(), undisturbed("sensor"));
    assert_eq!(next.status("sensor").stats().documents_processed(), 60, "each document is counted once");
    let _ = next.manager.stop("sensor", waiting()).unwrap();
}
