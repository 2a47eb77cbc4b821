//! Requests of all kinds, sensible and senseless: no panic, and no answer that the description does not have.
//!
//! For ten seconds, or as many as `ROLLUP_FUZZ_SECONDS` says. The seed of what fails is kept in
//! `fuzz.proptest-regressions`, and tried first from then on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use rollup_jobs::rest::{AllowAll, RouterOptions, router_with};
use serde_json::Value;

use super::{Client, openapi};
use crate::support::{World, config};

const BODY_LIMIT: usize = 4_096;

/// A request that may be anything that can be sent at all.
#[derive(Clone)]
struct Anything {
    method: String,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl fmt::Debug for Anything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, uri, headers, body } = self;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
        write!(f, "{method} {uri} {headers:?} {:?}", String::from_utf8_lossy(body))
    }
}

impl Anything {
    /// Nothing if no server would get to see it.
    fn request(self) -> Option<Request<Body>> {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).ok()?;
        *request.uri_mut() = Uri::try_from(self.uri).ok()?;
        for (name, value) in self.headers {
            request.headers_mut().append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(&value).ok()?);
        }
        Some(request)
    }
}

fn one_of(known: &'static [&'static str], anything: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![9 => select(known).prop_map(str::to_owned), 1 => anything]
}

fn path() -> impl Strategy<Value = String> {
    const IDS: &[&str] = &[
        "stopped",
        "started",
        "stopping",
        "nobody",
        "_all",
        "*",
        "s*,nobody",
        "",
        "%2F",
        "a%20b",
        "%zz",
        "%",
        "%00",
        "%ff",
        "..",
        "+",
        "%2A",
        "é",
    ];
    const VERBS: &[&str] =
        &["/_stop", "/_start", "/_trigger", "/_update", "", "", "/", "/_stop/", "//_stop", "/_stop/_stop", "/_pause"];
    let id = prop_oneof![9 => one_of(IDS, "\\PC{0,20}"), 1 => Just("x".repeat(20_000))];
    prop_oneof![
        19 => (id, one_of(VERBS, "/\\PC{0,10}")).prop_map(|(id, verb)| format!("/_rollup/job/{id}{verb}")),
        1 => one_of(&["/_rollup", "/_rollup/", "/_rollup/job", "/_rollup/openapi.json", "/_rollup//job/a"], "/_rollup/\\PC{0,20}"),
    ]
}

fn query() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "wait_for_completion",
        "timeout",
        "allow_no_match",
        "delete_data",
        "pretty",
        "human",
        "error_trace",
        "filter_path",
        "timeuot",
        "",
        "%zz",
    ];
    const VALUES: &[&str] = &[
        "true",
        "false",
        "",
        "10s",
        "1ms",
        "0",
        "-1",
        "-2s",
        "5w",
        "9223372036854775807d",
        "99999999999999999999s",
        "1.5s",
        "%20",
        "%",
        "**",
        "jobs.*",
        "-jobs",
        "error.type,-**",
        "+5s",
        "%F0%9F%8C%8D",
    ];
    let pair =
        (one_of(NAMES, "[^#]{0,10}"), one_of(VALUES, "[^#]{0,10}")).prop_map(|(name, value)| format!("{name}={value}"));
    prop_oneof![Just(String::new()), prop::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"))]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    const NAMES: &[&str] =
        &["content-type", "content-type", "accept", "x-opaque-id", "authorization", "content-encoding"];
    const VALUES: &[&str] = &[
        "application/json",
        "application/json",
        "application/vnd.elasticsearch+json; compatible-with=8",
        "text/plain",
        "*/*",
        "",
        "application/vnd.elasticsearch+json;compatible-with=x",
        "application/json; charset=utf-8",
        ",",
        ";",
        "gzip",
    ];
    let value = prop_oneof![
        9 => select(VALUES).prop_map(|value| value.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    let usual = vec![("content-type".to_owned(), b"application/json".to_vec())];
    prop_oneof![Just(usual), prop::collection::vec((select(NAMES).prop_map(str::to_owned), value), 0..4)]
}

/// Any JSON, not very deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        one_of(
            &["1h", "7d", "0s", "month", "UTC", "Mars/Olympus", "*", "sensor-*", "temperature", "min", "1000"],
            "\\PC{0,20}"
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,8}", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Pointers to everything that is inside.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let place = format!("{at}/{name}");
        places(value, &place, found);
        found.push(place);
    }
}

/// A configuration in which a few values have been replaced by others, or any bytes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<Index>(), json_value()), 0..3);
    let changed = (changes, any::<Index>(), prop::bool::weighted(0.1)).prop_map(|(changes, end, cut)| {
        let mut body = config("fuzzed").build().unwrap().to_json();
        body.as_object_mut().unwrap().remove("id");
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&body, "", &mut found);
            *body.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        }
        let mut text = body.to_string().into_bytes();
        if cut {
            text.truncate(end.index(text.len()));
        }
        text
    });
    prop_oneof![
        4 => Just(Vec::new()),
        10 => changed,
        2 => json_value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => Just(vec![b' '; BODY_LIMIT + 1]),
    ]
}

fn anything() -> impl Strategy<Value = Anything> {
    let method = one_of(&["GET", "PUT", "PUT", "POST", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"], "[A-Z]{1,8}");
    (method, path(), query(), headers(), body()).prop_map(|(method, path, query, headers, body)| {
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        Anything { method, uri, headers, body }
    })
}

fn try_all(requests: Vec<Anything>) -> Result<(), TestCaseError> {
    let world = World::new();
    world.put("stopped");
    world.put_started("started");
    world.put_stopping("stopping");
    let options = RouterOptions::new().openapi(true).body_limit(BODY_LIMIT);
    let client = Client::in_no_time(router_with(Arc::clone(&world.manager), AllowAll, options));
    for request in requests.into_iter().filter_map(Anything::request) {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // It holds the answer against the description itself.
        let answer = client.answer(request);
        prop_assert!(answer.text.is_empty() || serde_json::from_str::<Value>(&answer.text).is_ok(), "{}", answer.text);
        if !openapi::describes(&method, &uri) && uri.path() != "/_rollup/openapi.json" {
            let told_what_is_allowed = method == Method::OPTIONS && answer.headers.contains_key("allow");
            prop_assert!(
                told_what_is_allowed || answer.status.is_client_error(),
                "{method} {uri}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
    world.gates.commit().open();
    Ok(())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long to go on is real time")]
fn no_request_gets_an_answer_that_is_not_described() {
    let seconds = std::env::var("ROLLUP_FUZZ_SECONDS").map_or(10, |text| text.parse().unwrap());
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    let config = Config { cases: 50, failure_persistence: Some(Box::new(persistence)), ..Config::default() };
    let config = Config { source_file: Some(file!()), ..config };
    // At least once, so that what has failed before is tried.
    loop {
        let requests = prop::collection::vec(anything(), 1..12);
        TestRunner::new(config.clone()).run(&requests, try_all).unwrap_or_else(|error| panic!("{error}"));
        if std::time::Instant::now() >= end {
            break;
        }
    }
}

/// The strategies reach what they are for: a put that succeeds, and every kind of refusal.
#[test]
fn requests_are_sensible_often_enough() {
    let mut runner = TestRunner::deterministic();
    let world = World::new();
    let options = RouterOptions::new().body_limit(BODY_LIMIT);
    let client = Client::in_no_time(router_with(Arc::clone(&world.manager), AllowAll, options));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3_000 {
        let anything = anything().new_tree(&mut runner).unwrap();
        let Some(request) = proptest::strategy::ValueTree::current(&anything).request() else { continue };
        let (method, answer) = (request.method().to_string(), client.answer(request));
        seen.insert(format!("{method} {}", answer.status.as_u16()));
    }
    for expected in "PUT 200,PUT 400,PUT 406,PUT 413,POST 404,GET 200,DELETE 404,HEAD 405".split(',') {
        assert!(seen.contains(expected), "[{expected}] is not among {seen:?}");
    }
}
