//! The OpenAPI description, against every answer that any test of the REST face gets.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Uri};
use rollup_jobs::rest::{AllowAll, RouterOptions, router_with};
use serde_json::{Value, json};

use super::{Answer, Client};
use crate::support::World;

/// As a router serves it.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let world = World::new();
    let router = router_with(Arc::clone(&world.manager), AllowAll, RouterOptions::new().openapi(true));
    Client::with(router).unchecked(Request::get("/_rollup/openapi.json").body(Body::empty()).unwrap()).json()
});

/// What the description has about this request, if it has its path and method.
fn operation<'a>(method: &Method, path: &str) -> Option<&'a Value> {
    let path = path.trim_end_matches('/');
    let names: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        let is_any = |part: &str| part.starts_with('{');
        parts.len() == names.len() && parts.iter().zip(&names).all(|(part, name)| is_any(part) || part == name)
    };
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method.as_str().to_lowercase())
}

fn resolved(value: &Value) -> &Value {
    match value.get("$ref") {
        Some(reference) => DESCRIPTION.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Whether there is such a path with such a method.
pub fn describes(method: &Method, uri: &Uri) -> bool {
    operation(method, uri.path()).is_some()
}

/// The answer is one that the description tells to expect.
#[track_caller]
pub fn check(method: &Method, uri: &Uri, answer: &Answer) {
    let Some(operation) = operation(method, uri.path()) else { return };
    let status = answer.status.as_str();
    let response = resolved(operation["responses"].get(status).unwrap_or_else(|| panic!("{method} {uri}: {status}")));
    if uri.query().is_some_and(|query| query.contains("filter_path")) {
        // What it leaves out is missing.
        return;
    }
    for (name, header) in response.get("headers").and_then(Value::as_object).into_iter().flatten() {
        assert!(header["required"] == false || answer.headers.contains_key(name.as_str()), "{name}");
    }
    let mut schema = response["content"]["application/json"]["schema"].clone();
    // References begin at the root.
    schema["components"] = DESCRIPTION["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {uri}: {errors:#?}\n{}", answer.text);
}

/// The parameters of an operation, with those of its path.
fn parameters(path: &str, method: &str) -> Vec<(String, String)> {
    let item = &DESCRIPTION["paths"][path];
    let lists = [item.get("parameters"), item[method].get("parameters")];
    let all = lists.into_iter().flatten().flat_map(|list| list.as_array().unwrap()).map(resolved);
    all.map(|one| (one["in"].as_str().unwrap().to_owned(), one["name"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn every_described_parameter_is_taken_and_no_other() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let every = [
        "pretty",
        "human",
        "error_trace",
        "format",
        "filter_path",
        "wait_for_completion",
        "timeout",
        "allow_no_match",
        "delete_data",
        "typed_keys",
        "rest_total_hits_as_int",
        "explain",
        "edges",
        "max_buckets",
        "strict",
    ];
    for (path, item) in DESCRIPTION["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete"].into_iter().filter(|method| item.get(*method).is_some()) {
            let known = parameters(path, method);
            let path = path.replace("{id}", "nobody").replace("{index}", "nobody");
            for name in every {
                let line =
                    format!("{} {path}?{name}={}", method.to_uppercase(), if name == "timeout" { "1s" } else { "" });
                let refused = client.send(&line).text.contains("unrecognized parameter");
                assert_eq!(refused, !known.contains(&("query".to_owned(), name.to_owned())), "{line}");
            }
        }
    }
}

#[test]
fn a_host_that_wants_it_serves_the_description() {
    let world = World::new();
    let line = "GET /_rollup/openapi.json";
    assert_eq!(Client::of(&world.manager).send(line).status.as_u16(), 400);
    let options = RouterOptions::new().openapi(true);
    let router = router_with(Arc::clone(&world.manager), AllowAll, options);
    let served = Client::with(router.clone()).send(line).json();
    assert_eq!((&served["openapi"], &served["servers"]), (&json!("3.1.0"), &json!([{ "url": "/" }])));
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
    let nested = Client::with(Router::new().nest("/search/v1", router));
    let served = nested.send("GET /search/v1/_rollup/openapi.json").json();
    assert_eq!(served["servers"], json!([{ "url": "/search/v1" }]));
}

#[test]
fn all_metrics_are_described() {
    let described = &DESCRIPTION["components"]["schemas"]["Metric"]["properties"]["metrics"]["items"]["enum"];
    let known: Vec<_> = rollup_jobs::Metric::ALL.iter().map(|metric| metric.as_str()).collect();
    assert_eq!(*described, serde_json::json!(known));
}
