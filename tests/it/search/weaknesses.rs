//! Known weaknesses of Elasticsearch's rollup search that are not reproduced, a test each, with the right value.

use rollup_jobs::engine::{FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::search::{SearchError, SearchRequest, SearchResponse, Tier};
use rollup_jobs::{DateHistogram, Histogram, RollupJobConfigBuilder};
use serde_json::{Value, json};

use crate::support::{HOUR, World, config};

fn reading(hour: i64, node: &str, price: f64) -> SourceDocument {
    let document = SourceDocument::new().date("timestamp", hour * HOUR).keyword("node", node);
    document.double("price", price).double("load", price).double("temperature", price)
}

fn job(id: &str) -> RollupJobConfigBuilder {
    config(id).page_size(100).terms(["node", "price"]).histogram(Histogram::new(0.5, ["load"]))
}

/// A world in which jobs have rolled these documents up.
fn rolled_up(documents: impl IntoIterator<Item = SourceDocument>, jobs: &[RollupJobConfigBuilder]) -> World {
    let data = MemoryEngine::new();
    for (field, kind) in [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("price", FieldType::Double),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ] {
        data.map("sensor-1", field, kind);
    }
    documents.into_iter().for_each(|document| data.add("sensor-1", document));
    let world = World::on(data, |engine| engine, |builder| builder);
    for job in jobs {
        let config = job.clone().build().unwrap();
        let id = config.id().to_owned();
        world.manager.put(config).unwrap();
        world.manager.start(&id).unwrap();
        world.run(&id);
    }
    world
}

/// Two hours: four readings of a, two of b, and one without a node.
fn readings() -> Vec<SourceDocument> {
    let mut readings = vec![
        reading(0, "a", 0.5),
        reading(0, "a", 0.75),
        reading(0, "b", 1.5),
        reading(1, "a", 0.5),
        reading(1, "a", 2.5),
        reading(1, "b", 1.5),
    ];
    let document = SourceDocument::new().date("timestamp", HOUR).double("load", 9.0);
    readings.push(document.double("price", 9.0).double("temperature", 9.0));
    readings
}

fn search(world: &World, indices: &str, body: &Value) -> Result<SearchResponse, SearchError> {
    world.manager.search(&SearchRequest::from_json(indices, body).unwrap())
}

/// What only rolled-up documents say.
fn answer(world: &World, body: &Value) -> Value {
    search(world, "rolled", body).unwrap().to_json()
}

fn of(world: &World, aggregation: &Value) -> Value {
    answer(world, &json!({ "aggs": { "a": aggregation } }))["aggregations"]["a"].clone()
}

fn total(world: &World, query: &Value) -> Value {
    answer(world, &json!({ "query": query }))["hits"]["total"]["value"].clone()
}

/// Keys and counts of buckets.
fn counts(aggregation: &Value) -> Vec<(Value, u64)> {
    let buckets = aggregation["buckets"].as_array().unwrap();
    buckets.iter().map(|bucket| (bucket["key"].clone(), bucket["doc_count"].as_u64().unwrap())).collect()
}

#[test]
fn the_size_may_be_left_out() {
    assert_eq!(total(&rolled_up(readings(), &[job("sensor")]), &json!({ "match_all": {} })), 7);
}

#[test]
fn values_are_counted() {
    let world = rolled_up(readings(), &[job("sensor")]);
    assert_eq!(of(&world, &json!({ "value_count": { "field": "temperature" } })), json!({ "value": 7 }));
}

#[test]
fn numbers_with_fractions_are_terms() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let prices = of(&world, &json!({ "terms": { "field": "price", "size": 2 } }));
    assert_eq!(counts(&prices), [(json!(0.5), 2), (json!(1.5), 2)]);
    assert_eq!(prices["sum_other_doc_count"], 3);
}

#[test]
fn histogram_keys_keep_their_fractions() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let ranges = json!({ "histogram": { "field": "load", "interval": 0.5, "min_doc_count": 1 } });
    let expected = [(json!(0.5), 3), (json!(1.5), 2), (json!(2.5), 1), (json!(9.0), 1)];
    assert_eq!(counts(&of(&world, &ranges)), expected);
}

#[test]
fn queries_mean_what_they_say() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let node = |node: &str| json!({ "term": { "node": node } });
    let cheap = json!({ "term": { "price": 0.5 } });
    let boosting = json!({ "boosting": { "positive": node("b"), "negative": node("a"), "negative_boost": 0.5 } });
    assert_eq!(total(&world, &boosting), 2);
    for (least, expected) in [(1, 6), (2, 2), (3, 0)] {
        let should = json!([node("a"), node("b"), cheap]);
        let query = json!({ "bool": { "should": should, "minimum_should_match": least } });
        assert_eq!(total(&world, &query), expected, "{least}");
    }
    let either = json!({ "dis_max": { "queries": [node("b"), cheap], "tie_breaker": 0.7 } });
    assert_eq!(total(&world, &either), 4);
    let early = json!({ "range": { "timestamp": { "lt": 3_600_000, "boost": 2.0, "format": "epoch_millis" } } });
    assert_eq!(total(&world, &early), 3);
}

#[test]
fn an_error_names_the_query_that_is_wrong() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let query = json!({ "terms": { "humidity": [1, 2] } });
    let error = search(&world, "rolled", &json!({ "query": query })).unwrap_err();
    let SearchError::NotServed { why_not, .. } = error else { panic!("{error}") };
    assert_eq!(why_not[0].place, "query");
    assert!(why_not[0].to_string().contains("[humidity]"), "{}", why_not[0]);
    let mut request = SearchRequest::from_json("rolled", &json!({ "query": query })).unwrap();
    request.strict = true;
    let error = world.manager.search(&request).unwrap_err().to_string();
    assert!(error.contains("Field [humidity] in [terms] query is not available"), "{error}");
}

#[test]
fn what_is_raw_and_rolled_up_counts_once_also_in_a_bucket_of_both() {
    let world = rolled_up(readings(), &[job("sensor")]);
    // The job has not seen these; the first is on the day of what it has rolled up.
    world.data.add("sensor-1", reading(crate::support::now() / HOUR, "a", 4.0));
    let sum = json!({ "sum": { "field": "temperature" } });
    let body = json!({ "aggs": {
        "sum": sum,
        "nodes": { "terms": { "field": "node" }, "aggs": { "sum": sum } },
        "years": { "date_histogram": { "field": "timestamp", "fixed_interval": "100000d" }, "aggs": { "sum": sum } }
    } });
    let response = search(&world, "sensor-*", &body).unwrap();
    assert!(response.plan().parts.iter().any(|part| part.tier == Tier::RolledUp), "{:?}", response.plan());
    let found = &response.to_json()["aggregations"];
    assert_eq!(found["sum"], json!({ "value": 20.25 }));
    assert_eq!(counts(&found["nodes"]), [(json!("a"), 5), (json!("b"), 2)]);
    assert_eq!(found["nodes"]["buckets"][0]["sum"], json!({ "value": 8.25 }));
    assert_eq!(counts(&found["years"]), [(json!(0), 8)]);
    assert_eq!(found["years"]["buckets"][0]["sum"], json!({ "value": 20.25 }));
}

#[test]
fn two_jobs_on_the_same_documents_count_them_once() {
    let world = rolled_up(readings(), &[job("one"), job("two")]);
    assert_eq!(of(&world, &json!({ "sum": { "field": "temperature" } })), json!({ "value": 16.25 }));
    assert_eq!(counts(&of(&world, &json!({ "terms": { "field": "node" } }))), [(json!("a"), 4), (json!("b"), 2)]);
}

#[test]
fn months_are_not_made_of_weeks() {
    let weekly = job("sensor").date_histogram(DateHistogram::calendar_interval("timestamp", "1w"));
    let world = rolled_up([reading(0, "a", 1.0), reading(31 * 24, "a", 2.0)], &[weekly]);
    let months = json!({ "aggs": { "a": { "date_histogram": {
        "field": "timestamp", "calendar_interval": "1M", "min_doc_count": 1
    } } } });
    let error = search(&world, "rolled", &months).unwrap_err();
    assert!(matches!(error, SearchError::NotServed { .. }), "{error}");
    let raw = search(&world, "sensor-*", &months).unwrap().to_json();
    assert_eq!(counts(&raw["aggregations"]["a"]), [(json!(0), 1), (json!(31 * 24 * HOUR), 1)]);
}

#[test]
fn nothing_of_a_request_is_dropped_silently() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let hours = |members: Value| {
        let mut histogram = json!({ "field": "timestamp", "fixed_interval": "1h" });
        histogram.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({ "date_histogram": histogram })
    };
    for (aggregation, place) in [
        (json!({ "derivative": { "buckets_path": "b" } }), "aggs.a.derivative"),
        (hours(json!({ "missing": 0 })), "aggs.a.date_histogram.missing"),
        (json!({ "max": { "field": "temperature", "script": "_value" } }), "aggs.a.max.script"),
        (json!({ "terms": { "field": "node", "script": "_value" } }), "aggs.a.terms.script"),
    ] {
        let error = SearchRequest::from_json("rolled", &json!({ "aggs": { "a": aggregation } })).unwrap_err();
        assert_eq!(error.place(), place);
    }
    let bounded = of(&world, &hours(json!({ "hard_bounds": { "min": 3_600_000 } })));
    assert_eq!(counts(&bounded), [(json!(3_600_000), 4)]);
    let moved = json!({ "aggs": { "a": hours(json!({ "offset": "30m" })) } });
    let error = search(&world, "rolled", &moved).unwrap_err();
    let SearchError::NotServed { why_not, .. } = error else { panic!("{error}") };
    assert_eq!(why_not[0].place, "aggs.a.date_histogram");
    let raw = search(&world, "sensor-*", &moved).unwrap().to_json();
    assert_eq!(counts(&raw["aggregations"]["a"]), [(json!(-1_800_000), 3), (json!(1_800_000), 4)]);
}

#[test]
fn several_rollup_indices_are_searched_together() {
    let world = rolled_up(readings(), &[job("one"), job("two").rollup_index("other")]);
    let sum = json!({ "aggs": { "a": { "sum": { "field": "temperature" } } } });
    for indices in ["rolled,other", "*"] {
        let found = search(&world, indices, &sum).unwrap().to_json();
        assert_eq!(found["aggregations"]["a"], json!({ "value": 16.25 }), "{indices}");
    }
}

#[test]
fn rollup_indices_of_different_documents_are_not_answered_by_one_of_them() {
    let meters = job("two").index_pattern("meter-*").rollup_index("other").build().unwrap();
    let world = rolled_up(readings(), &[job("one")]);
    world.data.add("meter-1", reading(0, "a", 1.0));
    world.manager.put(meters).unwrap();
    world.manager.start("two").unwrap();
    world.run("two");
    let sum = json!({ "aggs": { "a": { "sum": { "field": "temperature" } } } });
    let error = search(&world, "rolled,other", &sum).unwrap_err().to_string();
    assert!(error.contains("name one of [meter-*], [sensor-*] as well, or instead"), "{error}");
    for (indices, expected) in [("rolled", 16.25), ("other", 1.0), ("other,meter-*", 1.0), ("*", 17.25)] {
        let found = search(&world, indices, &sum).unwrap().to_json();
        assert_eq!(found["aggregations"]["a"], json!({ "value": expected }), "{indices}");
    }
}

#[test]
fn a_search_that_is_not_whole_is_an_error() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let error = search(&world, "sensor-*", &json!({ "timeout": "0ms" })).unwrap_err();
    assert!(matches!(error, SearchError::Timeout { .. }), "{error}");
    let whole = search(&world, "sensor-*", &json!({ "timeout": "1h" })).unwrap().to_json();
    assert_eq!((&whole["timed_out"], &whole["terminated_early"]), (&json!(false), &json!(false)));
    assert_eq!(whole["_shards"]["failed"], 0);
}

#[test]
fn without_aggregations_the_total_is_what_was_matched() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let found = answer(&world, &json!({ "query": { "term": { "node": "b" } } }));
    assert_eq!((&found["hits"]["total"]["value"], found.get("aggregations")), (&json!(2), None));
}

#[test]
fn aggregations_have_the_names_that_they_were_given() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let warmest = json!({ "max": { "field": "temperature" } });
    let nodes = json!({ "terms": { "field": "node", "size": 1 }, "aggs": { "x.value": warmest, "x._count": warmest } });
    let found = answer(&world, &json!({ "aggs": { "nodes._count": nodes, "a.value.b": warmest } }));
    let bucket = json!({ "key": "a", "doc_count": 4, "x.value": { "value": 2.5 }, "x._count": { "value": 2.5 } });
    assert_eq!(found["aggregations"]["nodes._count"]["buckets"], json!([bucket]));
    assert_eq!(found["aggregations"]["a.value.b"], json!({ "value": 9.0 }));
}

#[test]
fn documents_without_a_value_can_be_asked_for() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let nodes = of(&world, &json!({ "terms": { "field": "node", "missing": "none" } }));
    assert_eq!(counts(&nodes), [(json!("a"), 4), (json!("b"), 2), (json!("none"), 1)]);
    assert_eq!(total(&world, &json!({ "bool": { "must_not": { "exists": { "field": "node" } } } })), 1);
}

#[test]
fn of_jobs_that_are_alike_the_same_one_always_serves() {
    for ids in [["a", "b"], ["b", "a"]] {
        let world = rolled_up(readings(), &ids.map(job));
        for _ in 0..10 {
            let plan = world.manager.plan(&SearchRequest::new("sensor-*")).unwrap();
            assert_eq!(plan.job_id.as_deref(), Some("a"));
        }
    }
}

#[test]
fn the_first_terms_are_those_with_the_most_documents() {
    // Rolled up, a is one document and b are three.
    let many = (0..9).map(|_| reading(0, "a", 1.0));
    let few = (0..3).map(|hour| reading(hour, "b", 1.0));
    let world = rolled_up(many.chain(few), &[job("sensor")]);
    let nodes = |members: Value| {
        let mut terms = json!({ "field": "node" });
        terms.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        counts(&of(&world, &json!({ "terms": terms })))
    };
    assert_eq!(nodes(json!({ "size": 1 })), [(json!("a"), 9)]);
    assert_eq!(nodes(json!({ "size": 1, "order": { "_count": "asc" } })), [(json!("b"), 3)]);
    assert_eq!(nodes(json!({ "min_doc_count": 4 })), [(json!("a"), 9)]);
}

#[test]
fn caps_are_of_the_jobs_that_there_are_and_found_by_what_their_pattern_means() {
    let world = rolled_up(readings(), &[job("sensor")]);
    let found = |pattern: &str| world.manager.caps(pattern).iter().count();
    for (pattern, jobs) in [("sensor-1", 1), ("sensor-*", 1), ("*", 1), ("_all", 1), ("other", 0)] {
        assert_eq!(found(pattern), jobs, "{pattern}");
    }
    let _ = world.manager.stop("sensor", crate::support::waiting()).unwrap();
    world.manager.delete("sensor").unwrap();
    assert_eq!(found("sensor-*"), 0);
    assert!(world.manager.index_caps("rolled").is_err());
}
