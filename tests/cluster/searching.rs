//! Searches over a cluster: raw and rolled-up documents in one answer, which is that of the reference engine over the
//! raw ones.

use std::sync::Arc;

use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::MemoryEngine;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::search::{SearchRequest, Tier};
use rollup_jobs::{DateHistogram, Histogram, RollupJobConfig};
use serde_json::{Value, json};

use crate::live_edge::{self, Data};
use crate::scripted::Scripted;
use crate::server::{BOTH, Server};
use crate::suite::ClusterHarness;
use crate::world::{FIELDS, World, job, load, readings};

/// Until the end of 1970, of data that goes on for a year.
#[expect(clippy::disallowed_methods, reason = "the manager has the machine's clock too")]
fn config() -> RollupJobConfig {
    const YEAR: i64 = 365 * 24;
    let delay = format!("{}h", rollup_jobs::jiff::Timestamp::now().as_millisecond() / 3_600_000 - YEAR);
    let date = DateHistogram::fixed_interval("timestamp", "6h").delay(delay);
    job("asked").date_histogram(date).histogram(Histogram::new(1.0, ["load"])).terms(["node"]).build().unwrap()
}

fn bodies() -> Vec<Value> {
    let stats = json!({ "t": { "stats": { "field": "temperature" } } });
    let months = |aggs: &Value| {
        let month = json!({ "field": "timestamp", "calendar_interval": "1M", "time_zone": "-06:00" });
        json!({ "date_histogram": month, "aggs": aggs })
    };
    let nodes =
        |aggs: &Value| json!({ "terms": { "field": "node", "size": 3, "order": { "t.max": "desc" } }, "aggs": aggs });
    vec![
        json!({}),
        json!({ "aggs": stats }),
        json!({ "aggs": { "months": months(&stats) } }),
        json!({ "aggs": { "nodes": nodes(&stats) } }),
        json!({ "aggs": { "months": months(&json!({ "nodes": nodes(&stats) })), "nodes": nodes(&stats) } }),
        json!({
            "query": { "range": { "timestamp": { "gte": "1969-03-01T07:00:00Z", "lt": "1971-02-01" } } },
            "aggs": { "loads": { "histogram": { "field": "load", "interval": 2 }, "aggs": stats } }
        }),
        json!({
            "query": { "bool": {
                "must_not": [{ "term": { "node": "a" } }],
                "filter": [{ "exists": { "field": "load" } }]
            } },
            "aggs": { "some": { "filters": { "filters": {
                "late": { "range": { "timestamp": { "gte": "1970-06-01" } } },
                "low": { "range": { "load": { "lt": 0 } } }
            } }, "aggs": { "nodes": { "terms": { "field": "node", "missing": "none" } } } } }
        }),
        // What is not kept is asked of the raw documents.
        json!({ "query": { "range": { "temperature": { "gte": 0 } } }, "aggs": { "nodes": nodes(&stats) } }),
    ]
}

/// Numbers up to rounding, all else as it is.
fn is_same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            found.len() == expected.len()
                && found.iter().all(|(name, value)| expected.get(name).is_some_and(|other| is_same(value, other)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(one, other)| is_same(one, other))
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
        }
        _ => found == expected,
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn the_answers_are_those_of_the_reference() {
    let documents = readings(3_000, true);
    let memory = MemoryEngine::new();
    for (field, kind) in FIELDS {
        memory.map("sensor-1", field, kind);
    }
    memory.extend("sensor-1", documents.iter().cloned());
    let reference = World::new(Arc::new(memory));
    reference.put(&config());
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &documents);
        let world = World::new(Arc::new(ElasticsearchEngine::new(server.cluster())));
        world.put(&config());
        world.run_well("asked");
        let mut with_rolled_up = 0;
        for body in bodies() {
            let request = SearchRequest::from_json("sensor-*", &body).unwrap();
            let (found, expected) =
                (world.manager.search(&request).unwrap(), reference.manager.search(&request).unwrap());
            with_rolled_up += usize::from(found.plan().parts.iter().any(|part| part.tier == Tier::RolledUp));
            let (found_json, expected_json) = (found.to_json(), expected.to_json());
            assert!(
                is_same(&found_json["aggregations"], &expected_json["aggregations"]),
                "{kind:?} {body}\n{:#?}\n{found_json:#}\n{expected_json:#}",
                found.plan()
            );
            assert_eq!(found.total(), expected.total(), "{kind:?} {body}");
        }
        assert_eq!(with_rolled_up, bodies().len() - 1, "{kind:?}");
    }
}

/// Those that a search makes of the cluster, beside those of the job store.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_search_takes_few_requests() {
    let documents = readings(3_000, true);
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &documents);
        let proxy = Scripted::before(&server.nodes[0], |_, _| None);
        let cluster = Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap();
        let world = World::new(Arc::new(ElasticsearchEngine::new(cluster)));
        world.put(&config());
        world.run_well("asked");
        let requests = |indices: &str, body: &Value| {
            proxy.requests.try_iter().for_each(drop);
            world.manager.search(&SearchRequest::from_json(indices, body).unwrap()).unwrap();
            let lines = proxy.requests.try_iter().map(|seen| seen.line);
            // Nobody waits until a point in time is closed.
            lines.filter(|line| !line.starts_with("DELETE")).collect::<Vec<_>>()
        };
        let months = &bodies()[2];
        // Whether the index is the job's, that all is visible, and the answer.
        let rolled_up = requests("rolled", months);
        assert_eq!(rolled_up.len(), 3, "{kind:?} {rolled_up:#?}");
        // What the pattern means, before and after; a point in time; how many values there are; and the answer.
        let both = requests("sensor-*", months);
        assert!(both.len() <= 10, "{kind:?} {both:#?}");
    }
}

/// Documents come to a cluster, and indices come and go: 672 searches, or `ROLLUP_SEARCH_CASES` times as many.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn each_answer_is_that_of_one_moment() {
    let times: usize = std::env::var("ROLLUP_SEARCH_CASES").map_or(1, |times| times.parse().expect("a number"));
    for (kind, in_an_index) in BOTH.into_iter().flat_map(|kind| [(kind, None), (kind, Some(150))]) {
        live_edge::each_answer_is_that_of_one_moment(56 * times, || {
            let harness = ClusterHarness::new(kind);
            let server = Arc::clone(&harness.server);
            let drop = Box::new(move |index: &str| {
                let (status, answer) = server.try_ask(reqwest::Method::DELETE, index, None);
                assert_eq!(status, 200, "{answer}");
            });
            Data {
                harness: Box::new(harness),
                drop,
                batch: 25,
                in_an_index,
                page_size: 500,
                answers_between: 20,
                may_be_unavailable: true,
            }
        });
    }
}
