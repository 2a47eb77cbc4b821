//! The conformance suite of engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{Engine, FieldType, JobContext, SourceDocument, SourceValue};
use rollup_jobs::testing::{EngineHarness, check_engine};
use serde_json::{Value, json};

use crate::server::{Kind, Server};

pub(crate) struct ClusterHarness {
    pub(crate) server: Arc<Server>,
    engine: Arc<ElasticsearchEngine>,
}

impl ClusterHarness {
    pub(crate) fn new(kind: Kind) -> Self {
        let server = Arc::new(Server::empty(kind));
        let engine = Arc::new(ElasticsearchEngine::new(server.cluster()));
        Self { server, engine }
    }
}

impl EngineHarness for ClusterHarness {
    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    fn create_index(&self, index: &str, fields: &[(&str, FieldType)]) {
        let held = fields.iter().filter(|(_, kind)| *kind != FieldType::Unsigned).cloned().collect::<Vec<_>>();
        self.server.create_index(index, &held);
    }

    fn add(&self, index: &str, documents: &[SourceDocument]) {
        self.server.add(index, documents);
    }

    /// Neither server takes NaN and infinities, both tell -0.0 from 0.0, and rollup jobs have no unsigned numbers
    /// there. OpenSearch counts a document with several values in a bucket more than once.
    fn as_held(&self, document: SourceDocument) -> SourceDocument {
        let only_one = self.server.kind == Kind::OpenSearch;
        let mut held = SourceDocument::new();
        for (name, values) in document.fields() {
            let values = values.iter().filter(|value| match value {
                SourceValue::Double(value) => value.is_finite() && !(*value == 0.0 && value.is_sign_negative()),
                SourceValue::Unsigned(_) => false,
                _ => true,
            });
            let most = if only_one { 1 } else { usize::MAX };
            held = values.take(most).fold(held, |held, value| held.with(name, value.clone()));
        }
        held
    }

    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value> {
        let index = job.config().rollup_index();
        if self.server.try_ask(reqwest::Method::POST, &format!("{index}/_refresh"), None).0 == 404 {
            return BTreeMap::new();
        }
        // Tombstones stand for nothing.
        let query = json!({ "size": 10_000, "query": { "bool": {
            "filter": { "term": { "_rollup.id": job.id() } },
            "must_not": { "term": { "timestamp.date_histogram._count": 0 } },
        } } });
        let found = self.server.post(&format!("{index}/_search"), query);
        let hits = found["hits"]["hits"].as_array().unwrap();
        assert!(hits.len() < 10_000);
        hits.iter().map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone())).collect()
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn opensearch_passes_the_engine_suite() {
    check_engine(|| Box::new(ClusterHarness::new(Kind::OpenSearch)));
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn elasticsearch_passes_the_engine_suite() {
    check_engine(|| Box::new(ClusterHarness::new(Kind::Elasticsearch)));
}
