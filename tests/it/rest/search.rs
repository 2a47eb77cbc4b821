//! Searches, plans and caps over HTTP, and who may ask for them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::rest::{
    AllowAll, AuthenticatedUser, Privilege, PrivilegeAuthorizer, RouterOptions, router, router_with,
};
use rollup_jobs::{JobState, PutOptions, RunAs};
use serde_json::{Value, json};

use super::{Answer, Client};
use crate::support::{HOUR, World, config, now};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A job that has rolled everything up, and a document that has come since.
fn rolled_up() -> (World, Client) {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.data.add(
        "sensor-1",
        SourceDocument::new().date("timestamp", now()).keyword("node", "a").double("temperature", 99.0),
    );
    let client = Client::of(&world.manager);
    (world, client)
}

fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client.request(&format!("POST {path}"), &JSON, &body.to_string())
}

fn by_node() -> Value {
    let hottest = json!({ "max": { "field": "temperature" } });
    json!({ "aggs": { "nodes": { "terms": { "field": "node" }, "aggs": { "hottest": hottest } } } })
}

#[test]
fn raw_and_rolled_up_are_one_answer() {
    let (_world, client) = rolled_up();
    let answer = post(&client, "/sensor-*/_rollup_search", &by_node()).json();
    let bucket = |key: &str, doc_count: u64, hottest: f64| {
        let hottest = json!({ "value": hottest });
        json!({ "key": key, "doc_count": doc_count, "hottest": hottest })
    };
    let aggregations = json!({ "nodes": {
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": 0,
        "buckets": [bucket("a", 21, 99.0), bucket("b", 20, 14.5), bucket("c", 20, 14.75)]
    } });
    assert_eq!(answer["aggregations"], aggregations);
    assert_eq!(answer["hits"], json!({ "total": { "value": 61, "relation": "eq" }, "max_score": 0.0, "hits": [] }));
    assert_eq!(answer["_shards"]["successful"], 2);

    // Numbers and switches may be texts, and all indices have a name.
    let body = json!({ "size": "0", "aggs": { "all": {
        "histogram": { "field": "temperature", "interval": "1000", "keyed": "true", "min_doc_count": "1" }
    } } });
    let all = post(&client, "/_all/_rollup_search", &body).json();
    assert_eq!(all["aggregations"]["all"]["buckets"], json!({ "0.0": { "key": 0.0, "doc_count": 61 } }));

    // What was rolled up, and nothing else.
    let rolled_up = post(&client, "/rolled/_rollup_search?rest_total_hits_as_int", &by_node()).json();
    assert_eq!(rolled_up["hits"]["total"], 60);
    assert_eq!(rolled_up["aggregations"]["nodes"]["buckets"][0], bucket("a", 20, 14.25));

    let typed =
        post(&client, "/sensor-*/_rollup_search?typed_keys=true&filter_path=aggregations.*.buckets.key", &by_node());
    typed.is(
        200,
        &json!({ "aggregations": { "sterms#nodes": { "buckets": [{ "key": "a" }, { "key": "b" }, { "key": "c" }] } } }),
    );
}

fn part(from: &str, until: &str, tier: &str, reason: &str) -> Value {
    json!({ "from": from, "until": until, "tier": tier, "reason": reason })
}

#[test]
fn an_answer_says_of_which_parts_it_is_made() {
    let (_world, client) = rolled_up();
    let body = json!({ "query": { "range": { "timestamp": { "gte": HOUR / 2, "lt": now() + HOUR } } } });
    let plan = json!({
        "job_id": "sensor",
        "parts": [
            part("1970-01-01T00:30:00.000Z", "1970-01-01T01:00:00.000Z", "raw", "bound_inside_bucket"),
            part("1970-01-01T01:00:00.000Z", "2026-11-23T12:00:00.000Z", "rolled_up", "proved"),
            part("2026-11-23T12:00:00.000Z", "2026-11-23T13:00:00.000Z", "raw", "not_rolled_up_yet")
        ],
        "why_not": []
    });
    let answer = post(&client, "/sensor-*/_rollup_search?explain", &body).json();
    assert_eq!((&answer["rollup"], &answer["hits"]["total"]["value"]), (&plan, &json!(58)));
    post(&client, "/_rollup/plan?index=sensor-*", &body).is(200, &plan);

    // Without raw documents half a bucket is nothing that can be told.
    let refused = post(&client, "/rolled/_rollup_search", &body);
    assert_eq!(refused.status.as_u16(), 400);
    assert!(refused.text.contains("raw documents are not asked for"), "{}", refused.text);
    for (edges, total) in [("inner", 54), ("outer", 60)] {
        let answer = post(&client, &format!("/rolled/_rollup_search?edges={edges}"), &body).json();
        assert_eq!(answer["hits"]["total"]["value"], total, "{edges}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let (_world, client) = rolled_up();
    let search = |body: &Value| post(&client, "/sensor-*/_rollup_search", body);
    for (body, place, reason) in [
        (
            json!({ "size": 10 }),
            "size",
            "Rollup does not support returning search hits, please try again with [size: 0].",
        ),
        (
            json!({ "size": 0, "post_filter": { "match_all": {} } }),
            "post_filter",
            "Rollup search does not support post filtering.",
        ),
        (json!({ "profile": true }), "profile", "Rollup search does not support profiling at the moment."),
        (json!({ "explain": true }), "explain", "Rollup search does not support explaining."),
        (
            json!({ "aggs": { "a": {
                "date_histogram": { "field": "timestamp", "fixed_interval": "1h", "missing": 7 }
            } } }),
            "aggs.a.date_histogram.missing",
            "[aggs.a.date_histogram.missing] is not supported; known here are [field, calendar_interval, \
             fixed_interval, interval, time_zone, offset, format, keyed, min_doc_count, extended_bounds, hard_bounds, \
             order]",
        ),
        (
            json!({ "aggs": { "a": { "terms": { "field": "node", "min_doc_count": 0 } } } }),
            "aggs.a.terms.min_doc_count",
            "[aggs.a.terms.min_doc_count] 0 is not supported: what is rolled up does not know of terms that no \
             document has",
        ),
        (
            json!({ "aggs": { "a": { "histogram": { "field": "temperature", "interval": 5e-324 } } } }),
            "aggs.a.histogram.interval",
            "[aggs.a.histogram.interval] has to be 1e-100 at least, but was [5e-324]",
        ),
        (
            json!({ "aggs": { "a": { "date_histogram": { "field": "timestamp", "fixed_interval": "1w" } } } }),
            "aggs.a.date_histogram.fixed_interval",
            "[aggs.a.date_histogram.fixed_interval] failed to parse setting [date_histogram.FixedInterval] with value \
             [1w] as a time value: unit is missing or unrecognized; it is of the calendar: ask for it as \
             [calendar_interval]",
        ),
        (
            json!({ "query": { "match": { "node": "a" } } }),
            "query.match",
            "[query.match] unsupported query [match]; supported are match_all, match_none, term, terms, range, exists, \
             prefix, bool, constant_score, dis_max, boosting",
        ),
    ] {
        let answer = search(&body);
        let mut expected = super::error(400, "illegal_argument_exception", reason);
        expected["error"]["place"] = json!(place);
        answer.is(400, &expected);
    }
    let unknown = search(&json!({ "aggs": { "a": { "cardinality": { "field": "node" } } } }));
    let text = "Unable to translate aggregation tree into Rollup.  Aggregation [a] is of type \
                [CardinalityAggregationBuilder] which is currently unsupported.";
    assert!(unknown.status.as_u16() == 400 && unknown.text.contains(text), "{}", unknown.text);

    let date = search(&json!({ "aggs": { "a": { "terms": { "field": "timestamp" } } } }));
    assert!(date.text.contains("[timestamp] is a date: [date_histogram] groups by it"), "{}", date.text);

    let nobody = post(&client, "/nobody/_rollup_search", &by_node());
    nobody.is_error(
        404,
        "resource_not_found_exception",
        "could not search [nobody]: no rollup job reads it, and none has it as its rollup index; jobs read [sensor-*]",
    );
    let minutes = json!({ "aggs": { "a": { "date_histogram": { "field": "timestamp", "fixed_interval": "1m" } } } });
    let many = search(&minutes);
    assert!(many.status.as_u16() == 400 && many.text.contains("too_many_buckets_exception"), "{}", many.text);
    let refused = post(&client, "/rolled/_rollup_search", &minutes).json();
    assert_eq!(refused["error"]["why_not"][0]["job_id"], "sensor");
    assert_eq!(refused["error"]["why_not"][0]["place"], "aggs.a.date_histogram");
    let deep = format!("{}{}", "{\"aggs\":{\"a\":".repeat(100_000), "1");
    let deep = client.request("POST /sensor-*/_rollup_search", &JSON, &deep[..1 << 20]);
    assert_eq!(deep.status.as_u16(), 400, "{}", deep.text);
}

#[test]
fn caps_say_what_can_be_asked() {
    let world = World::new();
    let client = Client::of(&world.manager);
    client.send("GET /_rollup/data").is(200, &json!({}));
    world.put("sensor");
    let metrics: Vec<_> = ["min", "avg", "max", "sum", "value_count"].map(|agg| json!({ "agg": agg })).to_vec();
    let job = json!({
        "job_id": "sensor",
        "rollup_index": "rolled",
        "index_pattern": "sensor-*",
        "fields": {
            "timestamp": [{ "agg": "date_histogram", "fixed_interval": "1h", "time_zone": "UTC" }],
            "node": [{ "agg": "terms" }],
            "temperature": metrics
        }
    });
    let caps = json!({ "sensor-*": { "rollup_jobs": [job] } });
    for path in ["", "/_all", "/*", "/sensor-*", "/sensor-1"] {
        client.send(&format!("GET /_rollup/data{path}")).is(200, &caps);
    }
    client.send("GET /_rollup/data/other").is(200, &json!({}));
    let of_index = json!({ "rolled": { "rollup_jobs": [job] } });
    for index in ["rolled", "roll*", "_all"] {
        client.send(&format!("GET /{index}/_rollup/data")).is(200, &of_index);
    }
    client.send("GET /other/_rollup/data").is_error(404, "index_not_found_exception", "no such index [other]");
}

fn guarded() -> (World, Client) {
    let world = World::new();
    let options = PutOptions::new().run_as(RunAs::new("owner"));
    world.manager.put_with(config("sensor").build().unwrap(), options).unwrap();
    world.manager.start("sensor").unwrap();
    world.wait_for_state("sensor", JobState::Started);
    world.run("sensor");
    let authorizer = PrivilegeAuthorizer::new("Basic")
        .user("all", [Privilege::All])
        .user("monitor", [Privilege::Monitor])
        .reads("owner", ["sensor-*", "rolled"])
        .reads("reader", ["sensor-*", "rolled"])
        .reads("only_raw", ["sensor-*"])
        .reads("only_rolled", ["rolled"])
        .reads("nothing", [""]);
    let client = Client::with(router(Arc::clone(&world.manager), authorizer));
    (world, client)
}

fn ask(client: &Client, user: &str, line: &str) -> Answer {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    request.extensions_mut().insert(AuthenticatedUser(user.to_owned()));
    client.answer(request)
}

#[test]
fn a_search_reads_what_its_caller_may_read() {
    let (_world, client) = guarded();
    let total = |user: &str, index: &str| {
        let answer = ask(&client, user, &format!("GET /{index}/_rollup_search?explain"));
        (
            answer.status.as_u16(),
            answer.json()["hits"]["total"]["value"].as_u64(),
            answer.json()["rollup"]["job_id"].clone(),
        )
    };
    for user in ["all", "owner", "reader"] {
        assert_eq!(total(user, "sensor-*"), (200, Some(60), json!("sensor")), "{user}");
        assert_eq!(total(user, "rolled"), (200, Some(60), json!("sensor")), "{user}");
    }
    // Who may not read what is rolled up gets the raw documents, and no word of the job.
    assert_eq!(total("only_raw", "sensor-*"), (200, Some(60), Value::Null));
    assert_eq!(total("only_raw", "rolled").0, 403);
    // Who may not read the source gets nothing that was made of it.
    assert_eq!(total("only_rolled", "sensor-1").0, 403);
    assert_eq!(total("only_rolled", "rolled").0, 400);
    for user in ["only_rolled", "nothing"] {
        let answer = ask(&client, user, "GET /sensor-*/_rollup_search");
        assert!(answer.status.as_u16() != 200 && !answer.text.contains("[sensor]"), "{}", answer.text);
    }
    let refused = ask(&client, "monitor", "GET /sensor-*/_rollup_search");
    refused.is_error(
        403,
        "security_exception",
        "action [indices:data/read/xpack/rollup/search] is unauthorized for user [monitor], this action is granted by \
         the index privileges [read,all]",
    );
}

#[test]
fn caps_name_nothing_that_their_caller_may_not_read() {
    let (_world, client) = guarded();
    assert_eq!(ask(&client, "monitor", "GET /_rollup/data").json(), json!({}));
    assert_eq!(ask(&client, "only_rolled", "GET /rolled/_rollup/data").json(), json!({}));
    let readable = ask(&client, "reader", "GET /rolled/_rollup/data").json();
    assert_eq!(readable["rolled"]["rollup_jobs"][0]["job_id"], "sensor");
    assert_eq!(ask(&client, "reader", "GET /_rollup/data").status.as_u16(), 403);
}

#[test]
fn the_routes_of_searches_stand_beside_those_of_the_host() {
    use axum::routing::get;
    let (world, _) = rolled_up();
    for own in ["/{name}/_search", "/{index}/_search", "/{name}", "/_search"] {
        let host = axum::Router::new().route(own, get(|| async { "the host's" }));
        let client = Client::with(host.merge(router(Arc::clone(&world.manager), rollup_jobs::rest::AllowAll)));
        let own = own.replace("{name}", "sensor-1").replace("{index}", "sensor-1");
        assert_eq!(client.send(&format!("GET {own}")).text, "the host's");
        assert_eq!(client.send("GET /sensor-*/_rollup_search").json()["hits"]["total"]["value"], 61);
    }
}

#[test]
fn what_elasticsearch_refuses_is_refused_where_that_is_asked_for() {
    let (_world, client) = rolled_up();
    let histogram = |members: Value| {
        let mut histogram = json!({ "field": "timestamp" });
        for (name, value) in members.as_object().unwrap() {
            histogram[name] = value.clone();
        }
        json!({ "size": 0, "aggs": { "a": { "date_histogram": histogram } } })
    };
    let no_dates = "There is not a rollup job that has a [date_histogram] agg on field [timestamp] which also \
                    satisfies all requirements of query.";
    let aggregation = |body: Value| json!({ "size": 0, "aggs": { "a": body } });
    let query = |body: Value| json!({ "size": 0, "query": body });
    for (body, reason) in [
        (by_node(), "Rollup does not support returning search hits, please try again with [size: 0]."),
        (histogram(json!({ "calendar_interval": "1d" })), no_dates),
        (histogram(json!({ "fixed_interval": "3h", "time_zone": "Europe/Berlin" })), no_dates),
        (
            aggregation(json!({ "terms": { "field": "temperature" } })),
            "There is not a rollup job that has a [terms] agg on field [temperature] which also satisfies all \
             requirements of query.",
        ),
        (
            aggregation(json!({ "max": { "field": "node" } })),
            "There is not a rollup job that has a [max] agg with name [a] which also satisfies all requirements \
             of query.",
        ),
        (
            aggregation(json!({ "stats": { "field": "temperature" } })),
            "Unable to translate aggregation tree into Rollup.  Aggregation [a] is of type [StatsAggregationBuilder] \
             which is currently unsupported.",
        ),
        (query(json!({ "exists": { "field": "node" } })), "Unsupported Query in search request: [exists]"),
        (
            query(json!({ "term": { "temperature": 7 } })),
            "Field [temperature] in [term] query is not available in selected rollup indices, cannot query.",
        ),
    ] {
        let refused = post(&client, "/rolled/_rollup_search?strict=elasticsearch", &body);
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["reason"]), (400, &json!(reason)));
    }
    for (body, buckets) in
        [(histogram(json!({ "fixed_interval": "3h" })), 4), (histogram(json!({ "interval": "1h" })), 10)]
    {
        let answer = post(&client, "/rolled/_rollup_search?strict=elasticsearch", &body).json();
        assert_eq!(answer["aggregations"]["a"]["buckets"].as_array().unwrap().len(), buckets);
    }
    // A bucket is where it begins.
    let range = query(json!({ "range": { "timestamp": { "gte": HOUR / 2, "lt": 5 * HOUR / 2 } } }));
    let answer = post(&client, "/rolled/_rollup_search?strict=elasticsearch&rest_total_hits_as_int", &range).json();
    assert_eq!(answer["hits"]["total"], 12);
}

#[test]
fn ranges_come_in_their_own_order() {
    let (_world, client) = rolled_up();
    let ranges = json!([{ "from": 14 }, { "from": 0, "to": 14.5 }, { "to": 14 }, { "from": 0, "to": 14 }, { "to": 0 }]);
    let days = json!([{ "from": "2025-01-02" }, { "from": "2025-01-01" }, { "to": "2025-01-01" }]);
    let body = json!({ "aggs": {
        "numbers": { "range": { "field": "temperature", "ranges": ranges } },
        "days": { "date_range": { "field": "timestamp", "format": "yyyy-MM-dd", "ranges": days } }
    } });
    let answer = post(&client, "/sensor-*/_rollup_search", &body).json();
    let keys = |name: &str| -> Vec<String> {
        let buckets = answer["aggregations"][name]["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("numbers"), ["*-0.0", "*-14.0", "0.0-14.0", "0.0-14.5", "14.0-*"]);
    assert_eq!(keys("days"), ["*-2025-01-01", "2025-01-01-*", "2025-01-02-*"]);
}

#[test]
fn a_caller_cannot_allow_itself_more_buckets_than_the_host_does() {
    let (world, _) = rolled_up();
    let router = router_with(Arc::clone(&world.manager), AllowAll, RouterOptions::new().max_buckets(3));
    let client = Client::with(router);
    let search = |parameters: &str| post(&client, &format!("/sensor-*/_rollup_search{parameters}"), &by_node());
    assert_eq!(search("").status, 200);
    assert_eq!(search("?max_buckets=3").status, 200);
    let few = search("?max_buckets=2");
    assert!(few.status == 400 && few.text.contains("more than [2] buckets"), "{}", few.text);
    let many = "[max_buckets] can be 3 at most here, but was [4]";
    search("?max_buckets=4").is_error(400, "illegal_argument_exception", many);
}

#[test]
fn a_total_that_is_not_known_is_no_number() {
    let world = World::new();
    let several =
        SourceDocument::new().date("timestamp", now() - 3 * 3_600_000).keyword("node", "a").keyword("node", "b");
    world.data.add("sensor-1", several);
    world.put_started("sensor");
    world.run("sensor");
    let client = Client::of(&world.manager);
    let total = |parameters: &str| {
        post(&client, &format!("/rolled/_rollup_search{parameters}"), &by_node()).json()["hits"]["total"].clone()
    };
    // As Elasticsearch prints hits that were not counted.
    assert_eq!(total("?rest_total_hits_as_int"), -1);
    assert_eq!(total(""), json!({ "value": 0, "relation": "gte" }));
}

#[test]
fn an_interval_as_long_as_time_is_refused_with_its_place() {
    let (_world, client) = rolled_up();
    for (interval, zone) in [("9223372036854775807ms", "Europe/Berlin"), ("106751991167d", "-05:00")] {
        let days = json!({ "field": "timestamp", "fixed_interval": interval, "time_zone": zone });
        let answer = post(&client, "/sensor-*/_rollup_search", &json!({ "aggs": { "a": { "date_histogram": days } } }));
        let reason = format!("[aggs.a.date_histogram.fixed_interval] can be 3650000d at most, but was [{interval}]");
        let mut expected = super::error(400, "illegal_argument_exception", &reason);
        expected["error"]["place"] = json!("aggs.a.date_histogram.fixed_interval");
        answer.is(400, &expected);
        let job = rollup_jobs::RollupJobConfig::builder("long").index_pattern("sensor-*").rollup_index("long");
        let error = job
            .cron("0 0 0 * * ?")
            .page_size(10)
            .date_histogram(rollup_jobs::DateHistogram::fixed_interval("timestamp", interval).time_zone(zone))
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains("3650000d at most"), "{error}");
    }
    let longest =
        json!({ "field": "timestamp", "fixed_interval": "3650000d", "time_zone": "Europe/Berlin", "offset": "-300d" });
    let answer = post(&client, "/sensor-*/_rollup_search", &json!({ "aggs": { "a": { "date_histogram": longest } } }));
    assert_eq!(answer.json()["aggregations"]["a"]["buckets"].as_array().map(Vec::len), Some(1), "{}", answer.text);
}
