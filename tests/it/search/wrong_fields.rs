//! Fields that do not hold what a search asks of them: the place of the request is named, and what is there.

use std::sync::Arc;

use rollup_jobs::engine::FieldType;
use rollup_jobs::search::{
    HistogramAggregation, MetricAggregation, SearchError, SearchRequest, SearchRequestError, TermsAggregation,
};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::EngineHarness;
use rollup_jobs::{RollupJobConfig, RollupJobManager};

use crate::support::config;
use crate::tantivy_harness::{FIELDS, TantivyHarness};

/// Two indices that differ in what a code is, and no job that groups by anything but nodes.
fn manager() -> RollupJobManager {
    let harness = TantivyHarness::in_ram();
    for (index, code) in [("sensor-1", FieldType::Long), ("sensor-2", FieldType::Keyword)] {
        let mut fields = FIELDS.to_vec();
        fields.push(("code", code));
        harness.create_index(index, &fields);
    }
    let manager = RollupJobManager::builder(harness.engine(), Arc::new(MemoryStore::new())).open().unwrap();
    let config: RollupJobConfig = config("sensor").build().unwrap();
    manager.put(config).unwrap();
    manager
}

#[track_caller]
fn wrong(outcome: Result<impl std::fmt::Debug, SearchError>) -> (String, String) {
    let source: SearchRequestError = match outcome {
        Err(SearchError::Request { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    (source.place().to_owned(), source.problem().to_owned())
}

#[test]
fn the_place_is_named() {
    let manager = manager();
    let search = || SearchRequest::new("sensor-*");
    let inside = TermsAggregation::new("node").aggregation("most", MetricAggregation::max("node"));
    for (request, place, problem) in [
        (
            search().aggregation("most", MetricAggregation::max("node")),
            "aggs.most.max",
            "needs numbers, but [node] is [keyword] in [sensor-1, sensor-2]",
        ),
        (
            search().aggregation("nodes", inside),
            "aggs.nodes.aggs.most.max",
            "needs numbers, but [node] is [keyword] in [sensor-1, sensor-2]",
        ),
        (
            search().aggregation("codes", HistogramAggregation::new("code", 5.0)),
            "aggs.codes.histogram",
            "needs numbers, but [code] is [keyword] in [sensor-2]",
        ),
        (
            search().aggregation("codes", TermsAggregation::new("code")),
            "aggs.codes.terms",
            "[code] is [long] in [sensor-1] and [keyword] in [sensor-2]: search these indices apart",
        ),
        (
            search().aggregation("nodes", TermsAggregation::new("nod")),
            "aggs.nodes.terms",
            "there is no field [nod] to group by: did you mean [node]?",
        ),
        (
            search().aggregation("times", TermsAggregation::new("timestamp")),
            "aggs.times.terms",
            "[timestamp] is a date: [date_histogram] groups by it",
        ),
    ] {
        assert_eq!(wrong(manager.search(&request)), (place.to_owned(), problem.to_owned()));
    }
    let codes = search().aggregation("codes", HistogramAggregation::new("code", 5.0));
    let (place, _) = wrong(manager.search_buckets(&codes).map(drop));
    assert_eq!(place, "aggs.codes.histogram");
}
