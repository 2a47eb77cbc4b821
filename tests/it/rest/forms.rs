//! The forms that a request may have: packed bodies, one thing for a list, parameters that clients send, names.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
use rollup_jobs::rest::{AllowAll, RouterOptions, router_with};
use serde_json::{Value, json};

use super::Client;
use crate::support::{World, config};

fn body() -> Value {
    let mut body = config("sensor").build().unwrap().to_json();
    body.as_object_mut().unwrap().remove("id");
    body
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn put_packed(client: &Client, encoding: &str, body: Vec<u8>) -> super::Answer {
    let request = Request::put("/_rollup/job/sensor").header("content-type", "application/json");
    client.answer(request.header("content-encoding", encoding).body(Body::from(body)).unwrap())
}

#[test]
fn a_gzip_body_is_inflated_within_bounds() {
    let world = World::new();
    let options = RouterOptions::new().body_limit(10_000);
    let client = Client::with(router_with(Arc::clone(&world.manager), AllowAll, options));
    let packed = gzip(body().to_string().as_bytes());
    assert_eq!(put_packed(&client, "gzip", packed[..packed.len() / 2].to_vec()).status.as_u16(), 400);
    let bomb = gzip(&vec![b' '; 10_000_000]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    assert_eq!(put_packed(&client, "gzip", bomb).status.as_u16(), 413);
    assert_eq!(put_packed(&client, "br", packed.clone()).status.as_u16(), 415);
    put_packed(&client, "gzip", packed).is(200, &json!({ "acknowledged": true }));
    world.status("sensor");
}

#[test]
fn what_elasticsearch_takes_for_a_list_is_taken() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let mut body = body();
    body["groups"]["terms"]["fields"] = json!("node");
    body["metrics"] = json!({ "field": "temperature", "metrics": "max" });
    client.put("/_rollup/job/sensor", &body).is(200, &json!({ "acknowledged": true }));
    let config = &client.send("GET /_rollup/job/sensor").json()["jobs"][0]["config"];
    assert_eq!(config["groups"]["terms"]["fields"], json!(["node"]));
    assert_eq!(config["metrics"], json!([{ "field": "temperature", "metrics": ["max"] }]));
}

#[test]
fn the_format_is_json() {
    let world = World::new();
    world.put("sensor");
    let client = Client::of(&world.manager);
    assert_eq!(client.send("POST /_rollup/job/sensor/_stop?format=json").status.as_u16(), 200);
    assert_eq!(client.send("GET /_rollup/job/sensor?format=yaml").status.as_u16(), 406);
    let answer = client.send("GET /_rollup/job/sensor?fromat=json");
    let reason = "request [/_rollup/job/sensor] contains unrecognized parameter: [fromat] -> did you mean [format]?";
    answer.is_error(400, "illegal_argument_exception", reason);
    let answer = client.send("GET /_rollup/job/sensor?prety");
    let reason = "request [/_rollup/job/sensor] contains unrecognized parameter: [prety] -> did you mean [pretty]?";
    answer.is_error(400, "illegal_argument_exception", reason);
}

/// Members that come one after the other, as the text has them.
#[track_caller]
fn are_in_order(text: &str, members: &[&str]) {
    let mut rest = text;
    for member in members {
        rest = rest.split_once(&format!("\"{member}\":")).unwrap_or_else(|| panic!("no [{member}] left in {text}")).1;
    }
}

#[test]
fn members_are_in_elasticsearchs_order() {
    let world = World::new();
    world.put("sensor");
    let options = RouterOptions::new().openapi(true);
    let client = Client::with(router_with(Arc::clone(&world.manager), AllowAll, options));
    let config = ["id", "index_pattern", "rollup_index", "cron", "groups", "metrics", "timeout", "page_size"];
    let job = [&["jobs", "config"], &config[..], &["status", "job_state", "stats", "pages_processed", "index_total"]]
        .concat();
    for query in ["", "?pretty", "?filter_path=jobs.*"] {
        are_in_order(&client.send(&format!("GET /_rollup/job/sensor{query}")).text, &job);
    }
    are_in_order(&serde_json::to_string(&world.status("sensor")).unwrap(), &job[1..]);
    let refused = client.send("POST /_rollup/job/other/_stop").text;
    are_in_order(&refused, &["error", "root_cause", "type", "reason", "type", "reason", "status"]);
    are_in_order(
        &client.send("GET /_rollup/openapi.json").text,
        &["openapi", "info", "servers", "paths", "components"],
    );
}

#[test]
fn options_tells_what_a_path_takes() {
    let world = World::new();
    let client = Client::of(&world.manager);
    for (path, allowed) in [
        ("/_rollup/job/sensor", ["DELETE", "GET", "PUT"].as_slice()),
        ("/_rollup/job/sensor/_stop", &["POST"]),
        ("/_rollup/job", &["GET"]),
    ] {
        let answer = client.send(&format!("OPTIONS {path}"));
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""), "{path}");
        let mut given: Vec<_> = answer.headers["allow"].to_str().unwrap().split(", ").collect();
        given.sort_unstable();
        assert_eq!(given, allowed, "{path}");
    }
    assert_eq!(client.send("OPTIONS /_rollup/elsewhere").status.as_u16(), 400);
}

#[test]
fn an_answer_that_went_well_may_carry_a_warning() {
    let world = World::new();
    let client = Client::of(&world.manager);
    assert!(!client.put("/_rollup/job/plain", &body()).headers.contains_key("warning"));

    let mut old_zone = body();
    old_zone["groups"]["date_histogram"]["time_zone"] = json!("Asia/Calcutta");
    let answer = client.put("/_rollup/job/zone", &old_zone);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert!(answer.headers["warning"].to_str().unwrap().contains("Asia/Kolkata"), "{:?}", answer.headers);

    let mut never = body();
    never["cron"] = json!("0 0 0 * * ? 2020");
    let answer = client.put("/_rollup/job/never", &never);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert!(answer.headers["warning"].to_str().unwrap().contains("no time to come"), "{:?}", answer.headers);
    assert_eq!(world.status("never").health().color(), rollup_jobs::HealthColor::Yellow);
    assert!(world.status("never").never_fires() && !world.status("plain").never_fires());
}

#[test]
fn a_name_that_cannot_be_stored_is_refused_with_the_rule() {
    let world = World::new();
    let client = Client::of(&world.manager);
    for (member, name, rule) in [
        ("rollup_index", "Rolled", "must be lowercase"),
        ("rollup_index", "..", "must not be '.' or '..'"),
        ("index_pattern", "a\tb*", "must not contain control characters"),
    ] {
        let mut body = body();
        body[member] = json!(name);
        let answer = client.put("/_rollup/job/sensor", &body);
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
        assert!(answer.text.contains(rule), "{}", answer.text);
    }
    let long = client.put(&format!("/_rollup/job/{}", "i".repeat(490)), &body());
    assert_eq!(long.status.as_u16(), 400, "{}", long.text);
    assert!(long.text.contains("too long"), "{}", long.text);
}
