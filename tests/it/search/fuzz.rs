//! Search bodies of all kinds, sensible and senseless: each is answered or refused with its place, and nothing panics.
//!
//! For five seconds, or as many as `ROLLUP_FUZZ_SECONDS` says.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use rollup_jobs::search::{PrintOptions, SearchError, SearchRequest};
use serde_json::{Map, Value, json};

use crate::support::World;

const KINDS: [&str; 14] = [
    "date_histogram",
    "histogram",
    "terms",
    "filter",
    "filters",
    "range",
    "date_range",
    "min",
    "max",
    "sum",
    "avg",
    "value_count",
    "stats",
    "cardinality",
];

const MEMBERS: [&str; 26] = [
    "field",
    "calendar_interval",
    "fixed_interval",
    "interval",
    "time_zone",
    "offset",
    "format",
    "keyed",
    "min_doc_count",
    "extended_bounds",
    "hard_bounds",
    "order",
    "size",
    "include",
    "exclude",
    "missing",
    "filters",
    "ranges",
    "other_bucket",
    "from",
    "to",
    "key",
    "min",
    "max",
    "_count",
    "nonsense",
];

fn scalar() -> impl Strategy<Value = Value> {
    const TEXTS: [&str; 24] = [
        "timestamp",
        "node",
        "temperature",
        "nobody",
        "1h",
        "90m",
        "1d",
        "month",
        "1ms",
        "-6h",
        "+30m",
        "Europe/Berlin",
        "America/St_Johns",
        "+05:30",
        "yyyy-MM-dd",
        "epoch_second",
        "a",
        "now",
        "now-1d/d",
        "1970-01-01",
        "2026-01-01||+1M/d",
        "asc",
        "desc",
        "",
    ];
    prop_oneof![
        6 => select(&TEXTS[..]).prop_map(Value::from),
        2 => select(vec![0_i64, 1, 2, 10, -1, 36_000_000, i64::MAX, i64::MIN]).prop_map(Value::from),
        1 => select(vec![0.5, -0.0, 1e300, f64::MIN_POSITIVE]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => "\\PC{0,6}".prop_map(Value::from),
    ]
}

fn value() -> BoxedStrategy<Value> {
    scalar()
        .prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((select(&MEMBERS[..]), inner.clone()), 0..3).prop_map(object),
                query_of(inner),
            ]
        })
        .boxed()
}

fn object(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn query_of(inner: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = Value> {
    let field = || select(vec!["timestamp", "node", "temperature", "nobody"]);
    let bounds = (select(vec!["gte", "gt", "from"]), scalar(), select(vec!["lt", "lte", "to"]), scalar());
    prop_oneof![
        (field(), scalar()).prop_map(|(field, value)| json!({ "term": { field: value } })),
        (field(), bounds)
            .prop_map(|(field, (from, low, to, high))| json!({ "range": { field: { from: low, to: high } } })),
        (select(vec!["must", "must_not", "should", "filter"]), prop::collection::vec(inner, 0..3))
            .prop_map(|(kind, parts)| json!({ "bool": { kind: parts } })),
        Just(json!({ "match_all": {} })),
    ]
}

/// What is right as it is, mostly.
fn sensible() -> impl Strategy<Value = Value> {
    let interval = select(vec!["1h", "day", "week", "month", "90m"]);
    prop_oneof![
        (select(vec!["calendar_interval", "fixed_interval", "interval"]), interval)
            .prop_map(|(name, interval)| { json!({ "date_histogram": { "field": "timestamp", name: interval } }) }),
        Just(json!({
            "terms": { "field": "node", "order": { "x": "desc" } },
            "aggs": { "x": { "max": { "field": "temperature" } } }
        })),
        Just(json!({ "histogram": { "field": "temperature", "interval": 2.5 } })),
        Just(json!({ "date_range": { "field": "timestamp", "ranges": [{ "to": "now-1d" }, { "from": 0 }] } })),
        select(vec!["min", "stats", "avg"]).prop_map(|kind| json!({ kind: { "field": "temperature" } })),
    ]
}

fn aggregation() -> impl Strategy<Value = Value> {
    let senseless = (select(&KINDS[..]), prop::collection::vec((select(&MEMBERS[..]), value()), 0..4))
        .prop_map(|(kind, members)| json!({ kind: object(members) }));
    let leaf = prop_oneof![2 => sensible().boxed(), 1 => senseless.boxed()];
    // Something else in the place of a member, now and then.
    let changed =
        (leaf, prop::option::weighted(0.3, (select(&MEMBERS[..]), value()))).prop_map(|(mut leaf, change)| {
            if let (Some((name, value)), Some(body)) =
                (change, leaf.as_object_mut().and_then(|leaf| leaf.values_mut().next()).and_then(Value::as_object_mut))
            {
                body.insert(name.to_owned(), value);
            }
            leaf
        });
    changed.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), inner).prop_map(|(mut outer, inner)| {
            if let Some(outer) = outer.as_object_mut() {
                outer.insert("aggs".to_owned(), json!({ "inside": inner }));
            }
            outer
        })
    })
}

fn body() -> impl Strategy<Value = Value> {
    let aggregations = prop::collection::vec(("[a-c]{0,2}", aggregation()), 0..3);
    let members = prop::collection::vec((select(vec!["size", "timeout", "sort", "profile", "x"]), value()), 0..1);
    (aggregations, prop::option::of(query_of(value())), members).prop_map(|(aggregations, query, members)| {
        let mut body: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        body.insert("aggs".to_owned(), aggregations.into_iter().collect());
        body.extend(query.map(|query| ("query".to_owned(), query)));
        Value::Object(body)
    })
}

/// Says whether it was answered.
fn is_answered(world: &World, body: &Value) -> Result<bool, TestCaseError> {
    let mut answered = false;
    for indices in ["sensor-*", "rolled", "sensor-1,rolled"] {
        let request = match SearchRequest::from_json(indices, body) {
            Ok(request) => request.max_buckets(2_000).strict(indices == "rolled"),
            Err(error) => {
                prop_assert!(!error.place().is_empty() && !error.problem().is_empty(), "{error}");
                continue;
            }
        };
        match world.manager.search(&request) {
            Ok(response) => {
                answered = true;
                let options = PrintOptions::new().typed_keys(true).explain(true);
                prop_assert!(serde_json::to_string(&response.printed(options)).is_ok());
            }
            Err(SearchError::Engine { source, .. }) => {
                prop_assert!(!format!("{source:?}").contains("panicked"), "{source:?}");
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
    Ok(answered)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long to go on is real time")]
fn each_body_is_answered_or_refused() {
    let seconds = std::env::var("ROLLUP_FUZZ_SECONDS").map_or(5, |text| text.parse().unwrap());
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    let world = Arc::new(World::new());
    world.put_started("sensor");
    world.run("sensor");
    let (mut bodies, answered) = (0, std::cell::Cell::new(0));
    while bodies == 0 || std::time::Instant::now() < end {
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) });
        let tried = runner.run(&body(), |body| {
            answered.set(answered.get() + usize::from(is_answered(&world, &body)?));
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{error}"));
        bodies += 200;
    }
    assert!(answered.get() * 10 > bodies, "{} of {bodies} are answered", answered.get());
}
