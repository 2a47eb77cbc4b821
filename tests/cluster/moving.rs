//! Jobs that move house: from tantivy to a cluster and back, and out of Elasticsearch's own hands.

use std::sync::Arc;

use reqwest::Method;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{Engine, SourceDocument, SourceValue};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::{EngineHarness, FaultyStore, StoreCall};
use rollup_jobs::{AdoptError, ForeignJob, PutError, RollupJobConfig, RollupJobManager};
use serde_json::{Value, json};

use crate::half_way::half_way;
use crate::server::{BOTH, Server};
use crate::tantivy_harness::{TantivyHarness, read_rollup};
use crate::world::{Documents, FIELDS, World, assert_same, bare, expected, job, jobs, load, readings, rolled_up};

fn source() -> Vec<SourceDocument> {
    readings(6_000, true)
}

fn engine(server: &Server) -> Arc<dyn Engine> {
    Arc::new(ElasticsearchEngine::new(server.cluster()))
}

fn tantivy() -> TantivyHarness {
    let harness = TantivyHarness::in_ram();
    harness.create_index("sensor-1", &FIELDS);
    harness.add("sensor-1", &source());
    harness
}

fn of(harness: &TantivyHarness, job: &RollupJobConfig) -> Documents {
    read_rollup(&harness.engine.rollup_index("rolled", job.id()).unwrap().unwrap())
}

fn of_job(server: &Server, job: &RollupJobConfig) -> Documents {
    let mut all = rolled_up(server);
    all.retain(|_, document| document["_rollup.id"] == job.id());
    all
}

fn go_on(engine: Arc<dyn Engine>, there: &RollupJobManager, job: &RollupJobConfig) {
    let world = World::new(engine);
    world.manager.adopt(&ForeignJob::from(&there.get(job.id()).unwrap())).unwrap();
    world.manager.start(job.id()).unwrap();
    world.run_well(job.id());
}

/// No bucket is in both halves, and together they are the whole.
fn assert_halves(first: Documents, second: Documents, job: &RollupJobConfig) {
    assert!(!first.is_empty() && !second.is_empty(), "{}: {} and {}", job.id(), first.len(), second.len());
    let count = first.len() + second.len();
    let both: Documents = first.into_iter().chain(second).collect();
    assert_eq!(both.len(), count, "{}: nothing twice", job.id());
    assert_same(&bare(both), &bare(expected(&source(), std::slice::from_ref(job))));
}

/// The same definition on both sides; the engine is what differs.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn one_half_here_and_the_other_half_there() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        for job in jobs() {
            let here = tantivy();
            let there = half_way(here.engine(), &job);
            go_on(engine(&server), &there, &job);
            assert_halves(of(&here, &job), of_job(&server, &job), &job);
        }
        server.ask(Method::DELETE, "rolled", None);
        for job in jobs() {
            let here = tantivy();
            let there = half_way(engine(&server), &job);
            go_on(here.engine(), &there, &job);
            assert_halves(of_job(&server, &job), of(&here, &job), &job);
        }
    }
}

/// Its own indices take no earlier dates.
fn since_1970() -> Vec<SourceDocument> {
    let is_early = |value: &SourceValue| matches!(value, SourceValue::Date(millis) if *millis < 0);
    let mut source = source();
    source.retain(|document| !document.fields().any(|(_, values)| values.iter().any(is_early)));
    source
}

/// What Elasticsearch leaves behind of a job that it has stopped: an index as it makes it, documents in versions that
/// it has counted by itself, some of them behind the position that it has saved, and what its get API prints.
fn left_by_elasticsearch(server: &Server, job: &RollupJobConfig) -> Value {
    let whole = expected(&since_1970(), std::slice::from_ref(job));
    let mut documents: Vec<_> = whole.into_iter().collect();
    documents.sort_by_key(|(_, document)| document["timestamp.date_histogram.timestamp"].as_i64());
    let mut entry = job.to_json();
    // What is left out has its default there too.
    entry.as_object_mut().unwrap().remove("timeout");
    server.put(
        "rolled",
        json!({ "mappings": {
            "_meta": { "_rollup": { job.id(): entry }, "rollup-version": "7.17.0" },
            "dynamic_templates": [
                { "strings": { "match_mapping_type": "string", "mapping": { "type": "keyword" } } },
                { "date_histograms": { "path_match": "*.date_histogram.timestamp", "mapping": { "type": "date" } } }
            ]
        } }),
    );
    let (half, behind) = (documents.len() / 2, documents.len() / 2 + 20);
    let mut lines = String::new();
    for (id, document) in &documents[..behind] {
        for line in [&json!({ "index": { "_id": id } }), document] {
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
    }
    let (status, answer) = server.try_ask(Method::POST, "rolled/_bulk?refresh=true", Some(lines));
    assert!(status == 200 && answer["errors"] == false, "{status} {answer}");
    json!({
        "config": job.to_json(),
        "status": {
            "job_state": "stopped", "upgraded_doc_id": true,
            "current_position": { "timestamp.date_histogram": documents[half].1["timestamp.date_histogram.timestamp"] }
        },
        "stats": { "rollups_indexed": half }
    })
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_job_of_elasticsearch_goes_on_in_its_own_index() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let source = since_1970();
        load(&server, &source);
        let config = job("sensor").page_size(20).build().unwrap();
        let foreign = ForeignJob::from_json(&left_by_elasticsearch(&server, &config).to_string()).unwrap();

        // A save that fails undoes nothing that it did not do.
        let before = rolled_up(&server);
        let store = FaultyStore::new(Arc::new(MemoryStore::new()));
        let manager = RollupJobManager::builder(engine(&server), Arc::new(store.clone())).open().unwrap();
        store.refuse(&[StoreCall::Update]);
        let refused = manager.adopt(&foreign);
        assert!(matches!(refused, Err(AdoptError::Put(PutError::Store { .. }))), "{refused:?}");
        assert_eq!(rolled_up(&server), before);
        drop(manager);

        let world = World::new(engine(&server));
        let put = world.manager.put(config.clone());
        assert!(matches!(put, Err(PutError::PreviouslyCreated { .. })), "a new job would begin at the start: {put:?}");
        world.manager.adopt(&foreign).unwrap();
        world.manager.start("sensor").unwrap();
        let status = world.run_well("sensor");
        assert!(status.notice().is_none(), "it was not rolled up again: {:?}", status.notice());
        let whole = expected(&source, std::slice::from_ref(&config));
        assert_eq!(status.stats().rollups_indexed(), whole.len() as u64 - 1, "from the one after its position on");
        assert_same(&rolled_up(&server), &whole);
    }
}
