//! The same documents as the embedded engines make, by an oracle that nobody here wrote: Elasticsearch's own
//! composite aggregation.

use std::sync::Arc;

use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::testing::EngineHarness;
use serde_json::json;

use crate::server::{BOTH, Kind, Server};
use crate::tantivy_harness::{TantivyHarness, read_rollup};
use crate::world::{FIELDS, World, assert_same, bare, expected, job, jobs, load, readings, rolled_up};

/// Bit for bit, but for sums.
fn differential(kind: Kind) {
    let server = Server::empty(kind);
    // OpenSearch counts a document with several values in a bucket more than once.
    let source = readings(6_000, kind == Kind::OpenSearch);
    load(&server, &source);
    let world = World::new(Arc::new(ElasticsearchEngine::new(server.cluster())));
    for job in jobs() {
        world.put(&job);
        let status = world.run_well(job.id());
        assert!(status.last_errors().is_empty(), "{status:#?}");
        let without_date = source.iter().filter(|document| document.fields().all(|(name, _)| name != "timestamp"));
        assert_eq!(status.stats().documents_skipped(), without_date.count() as u64);
    }
    let expected = expected(&source, &jobs());
    assert!(expected.len() > 6_000, "{} documents", expected.len());
    assert_same(&rolled_up(&server), &expected);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn elasticsearch_rolls_up_the_same_documents() {
    differential(Kind::Elasticsearch);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn opensearch_rolls_up_the_same_documents_where_fields_have_one_value() {
    differential(Kind::OpenSearch);
}

/// The tantivy engine equals the reference, which equals Elasticsearch.
#[test]
fn tantivy_rolls_up_the_same_documents() {
    let source = readings(6_000, false);
    let harness = TantivyHarness::in_ram();
    harness.create_index("sensor-1", &FIELDS);
    harness.add("sensor-1", &source);
    let world = World::new(harness.engine());
    for job in jobs() {
        world.put(&job);
        world.run_well(job.id());
        let index = harness.engine.rollup_index("rolled", job.id()).unwrap().unwrap();
        let expected = expected(&source, std::slice::from_ref(&job));
        assert_same(&bare(read_rollup(&index)), &bare(expected));
    }
}

/// What the two servers and we count differently, as it is.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_document_with_several_values_in_a_bucket_counts_again_on_opensearch() {
    for (kind, doc_count) in [(Kind::OpenSearch, 3), (Kind::Elasticsearch, 1)] {
        let server = Server::empty(kind);
        server.create_index("sensor-1", &FIELDS);
        let document = rollup_jobs::engine::SourceDocument::new().date("timestamp", 0);
        let document = document.double("load", 1.1).double("load", 1.2).double("load", 1.3);
        server.add("sensor-1", &[document]);
        let world = World::new(Arc::new(ElasticsearchEngine::new(server.cluster())));
        let config = job("several").histogram(rollup_jobs::Histogram::new(1.0, ["load"])).build().unwrap();
        world.put(&config);
        world.run_well("several");
        let documents = rolled_up(&server);
        let found: Vec<_> = documents.values().map(|document| &document["load.histogram._count"]).collect();
        assert_eq!(found, [&json!(doc_count)], "{kind:?}");
    }
}

/// -0.0 and 0.0 are two terms there, as in Elasticsearch's own rollups.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn negative_zero_is_a_term_of_its_own_on_a_cluster() {
    for kind in BOTH {
        let server = Server::empty(kind);
        server.create_index("sensor-1", &FIELDS);
        let document = |load: f64| rollup_jobs::engine::SourceDocument::new().date("timestamp", 0).double("load", load);
        server.add("sensor-1", &[document(-0.0), document(0.0), document(1.0)]);
        let world = World::new(Arc::new(ElasticsearchEngine::new(server.cluster())));
        // A page per bucket: going on after -0.0 too.
        world.put(&job("zeros").terms(["load"]).page_size(1).build().unwrap());
        world.run_well("zeros");
        let documents = rolled_up(&server);
        let mut found: Vec<_> = documents.values().map(|document| document["load.terms.value"].to_string()).collect();
        found.sort_unstable();
        assert_eq!(found, ["-0.0", "0.0", "1.0"], "{kind:?}");
    }
}
