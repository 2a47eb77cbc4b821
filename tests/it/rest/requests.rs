//! What every request has: a path, a method, parameters, headers and a body.

use std::sync::Arc;

use axum::Router;
use rollup_jobs::rest::{AllowAll, RouterOptions, router, router_with};
use serde_json::{Value, json};

use super::{Client, error};
use crate::support::World;

const ILLEGAL: &str = "illegal_argument_exception";

fn client() -> (World, Client) {
    let world = World::new();
    world.put("sensor");
    let client = Client::of(&world.manager);
    (world, client)
}

#[test]
fn parameters_are_read_as_elasticsearch_reads_them() {
    let (_world, client) = client();
    let unit = |value: &str| {
        format!(
            "failed to parse setting [timeout] with value [{value}] as a time value: unit is missing or unrecognized"
        )
    };
    let unrecognized = |rest: &str| format!("request [/_rollup/job/sensor/_stop] contains unrecognized {rest}");
    for (query, reason) in [
        ("wait_for_completion=yes", "Failed to parse value [yes] as only [true] or [false] are allowed.".to_owned()),
        ("wait_for_completion=TRUE", "Failed to parse value [TRUE] as only [true] or [false] are allowed.".to_owned()),
        ("pretty=1", "Failed to parse value [1] as only [true] or [false] are allowed.".to_owned()),
        ("timeout=10", unit("10")),
        ("timeout", unit("")),
        ("timeout=5M", unit("5M")),
        ("timeout=1.5s", "failed to parse [1.5s], fractional time values are not supported".to_owned()),
        (
            "timeout=-2s",
            "failed to parse setting [timeout] with value [-2s] as a time value: negative durations are not supported"
                .to_owned(),
        ),
        ("nonsense=1", unrecognized("parameter: [nonsense]")),
        ("b=1&a=2&b=3", unrecognized("parameters: [a], [b]")),
        ("timeuot=1s", unrecognized("parameter: [timeuot] -> did you mean [timeout]?")),
        ("a=%", "partial escape sequence at end of string: %".to_owned()),
        ("a=%4", "partial escape sequence at end of string: %4".to_owned()),
        ("a=%zz", "invalid escape sequence `%zz' at index 0 of: %zz".to_owned()),
        ("a=x%ff", "the escape sequences are not valid UTF-8: x%ff".to_owned()),
    ] {
        client.send(&format!("POST /_rollup/job/sensor/_stop?{query}")).is_error(400, ILLEGAL, &reason);
    }
    let start = client.send("POST /_rollup/job/sensor/_start?timeout=1s");
    start.is_error(400, ILLEGAL, "request [/_rollup/job/sensor/_start] contains unrecognized parameter: [timeout]");
    for query in ["timeout=10s&timeout=20%20s", "timeout=+5s", "human", "error_trace=true", "&&", "filter_path="] {
        assert_eq!(client.send(&format!("POST /_rollup/job/sensor/_stop?{query}")).status.as_u16(), 200, "{query}");
    }
}

#[test]
fn ids_are_what_is_between_the_slashes() {
    let (_world, client) = client();
    let long = "x".repeat(20_000);
    for (sent, id) in
        [("a%2Fb", "a/b"), ("a+b", "a+b"), ("%C3%A9", "é"), ("a%20b", "a b"), ("..", ".."), (&long, &long)]
    {
        let reason = format!("Task for Rollup Job [{id}] not found");
        let answer = client.send(&format!("POST /_rollup/job/{sent}/_stop"));
        answer.is_error(404, "resource_not_found_exception", &reason);
    }
    let reason = "invalid escape sequence `%zz' at index 1 of: a%zz";
    client.send("POST /_rollup/job/a%zz/_stop").is_error(400, ILLEGAL, reason);
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let (_world, client) = client();
    for line in
        ["GET /_rollup", "GET /_rollup/", "GET /_rollup/jobs", "POST /_rollup/job/a/_pause", "GET /_rollup/job/a/b/c"]
    {
        let (method, path) = line.split_once(' ').unwrap();
        let text = format!("no handler found for uri [{path}] and method [{method}]");
        client.send(line).is(400, &json!({ "error": text, "status": 400 }));
    }
    for (line, allowed) in [
        ("GET /_rollup/job/sensor/_stop?timeout=1s", "POST"),
        ("POST /_rollup/job/sensor", "GET, PUT, DELETE"),
        ("PUT /_rollup/job/", "GET"),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let text = format!("Incorrect HTTP method for uri [{path}] and method [{method}], allowed: [{allowed}]");
        let answer = client.send(line);
        answer.is(405, &json!({ "error": text, "status": 405 }));
        assert_eq!(answer.headers["allow"], allowed);
    }
}

#[test]
fn a_router_can_be_mounted_anywhere() {
    let world = World::new();
    world.put("sensor");
    let client = Client::with(Router::new().nest("/search/v1", router(Arc::clone(&world.manager), AllowAll)));
    assert_eq!(client.send("POST /search/v1/_rollup/job/sensor/_stop").status.as_u16(), 200);
    let reason = "request [/search/v1/_rollup/job/sensor/_stop] contains unrecognized parameter: [x]";
    client.send("POST /search/v1/_rollup/job/sensor/_stop?x=1").is_error(400, ILLEGAL, reason);
}

#[test]
fn an_answer_looks_as_the_caller_wants_it() {
    let (_world, client) = client();
    let text = client.send("POST /_rollup/job/sensor/_stop?pretty").text;
    assert_eq!(text, "{\n  \"stopped\": true,\n  \"state\": \"stopped\"\n}\n");
    assert!(client.send("POST /_rollup/job/nobody/_stop?pretty&filter_path=none").text.contains("\n  \"error\": {\n"));
    for (filter, expected) in [
        ("jobs.config.id", json!({ "jobs": [{ "config": { "id": "sensor" } }] })),
        (
            "jobs.status.job_*,jobs.health",
            json!({ "jobs": [{ "status": { "job_state": "stopped" }, "health": { "color": "green" } }] }),
        ),
        ("**.color", json!({ "jobs": [{ "health": { "color": "green" } }] })),
        ("*.health.**", json!({ "jobs": [{ "health": { "color": "green" } }] })),
        ("nothing", json!({})),
        ("-jobs", json!({})),
        ("jobs.health,jobs.status,-**.color", json!({ "jobs": [{ "status": { "job_state": "stopped" } }] })),
    ] {
        client.send(&format!("GET /_rollup/job/sensor?filter_path={filter}")).is(200, &expected);
    }
}

#[test]
fn headers_are_those_of_official_clients() {
    let (_world, client) = client();
    let stop = "POST /_rollup/job/sensor/_stop";
    for version in ["8", "9"] {
        let compatible = format!("application/vnd.elasticsearch+json; compatible-with={version}");
        let answer =
            client.request(stop, &[("accept", &compatible), ("content-type", &compatible), ("x-opaque-id", "me")], "");
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(answer.headers["content-type"], compatible);
        assert_eq!(answer.headers["x-opaque-id"], "me");
        assert_eq!(answer.headers["x-elastic-product"], "Elasticsearch");
    }
    for accept in ["*/*", "application/json", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", ""] {
        let answer = client.request(stop, &[("accept", accept)], "");
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
    }
    for accept in ["text/plain", "application/vnd.elasticsearch+json;compatible-with=12", "application/yaml"] {
        let known = "application/json and application/vnd.elasticsearch+json;compatible-with=8";
        let mut expected = error(400, "media_type_header_exception", "Invalid media-type value on headers [Accept]");
        expected["error"]["caused_by"] =
            json!({ "type": ILLEGAL, "reason": format!("unsupported media type [{accept}]: ask for {known}") });
        client.request(stop, &[("accept", accept)], "").is(400, &expected);
    }
}

#[test]
fn bodies_that_cannot_be_read() {
    let world = World::new();
    let options = RouterOptions::new().body_limit(100);
    let client = Client::with(router_with(Arc::clone(&world.manager), AllowAll, options));
    let json = [("content-type", "application/json")];
    let put = "PUT /_rollup/job/sensor";
    let short = |status: u16, text: &str| json!({ "error": text, "status": status });
    client.request(put, &[], "{}").is(406, &short(406, "Content-Type header is missing"));
    let plain = [("content-type", "text/plain")];
    client.request(put, &plain, "{}").is(406, &short(406, "Content-Type header [text/plain] is not supported"));
    client.request(put, &json, "").is_error(400, "parse_exception", "request body is required");
    let reason = "request [POST /_rollup/job/sensor/_stop] does not support having a body";
    client.request("POST /_rollup/job/sensor/_stop", &json, "{}").is_error(400, ILLEGAL, reason);
    let answer = client.request(put, &json, &" ".repeat(101));
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["type"]),
        (413, &Value::from("content_too_long_exception"))
    );
    assert_eq!(client.request(put, &json, &" ".repeat(100)).status.as_u16(), 400);
}
