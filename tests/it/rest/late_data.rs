//! Late data, verification, sealing and dropping over HTTP.

use rollup_jobs::engine::SourceDocument;
use serde_json::{Value, json};

use super::Client;
use crate::support::{HOUR, World, instants, now};

fn rolled_up() -> (World, Client) {
    let world = World::new();
    let client = Client::of(&world.manager);
    world.put_started("sensor");
    world.run("sensor");
    (world, client)
}

fn stretch(hours: std::ops::Range<i64>) -> Value {
    json!({ "gte": hours.start * HOUR, "lt": hours.end * HOUR })
}

#[test]
fn what_is_known_of_late_data_is_told() {
    let (world, client) = rolled_up();
    let nothing = json!({
        "changed": [], "being_changed": [], "lost": [], "shrunk": [], "inherited": [],
        "late_documents": { "noticed": 0, "refused": 0, "read_again": 0, "lateness_in_ms": {} },
    });
    client.send("GET /_rollup/job/sensor/_late_data").is(200, &nothing);
    world.gates.search().close();
    world.manager.note_change("sensor-1", instants(2..3)).unwrap();
    let changed = client.send("GET /_rollup/job/sensor/_late_data").json();
    assert_eq!(changed["changed"], json!([stretch(2..3)]));
    world.gates.search().open();
    world.run("sensor");
    let repaired = client.send("GET /_rollup/job/sensor/_late_data").json();
    assert_eq!((&repaired["changed"], &repaired["late_documents"]["read_again"]), (&json!([]), &json!(6)));
    assert_eq!(client.send("GET /_rollup/job/nobody/_late_data").status.as_u16(), 404);
}

#[test]
fn a_job_is_verified_and_mended() {
    let (world, client) = rolled_up();
    let right = json!({
        "right": 30, "different": 0, "missing": 0, "too_many": 0, "not_right": [], "not_verified": [],
    });
    client.post("/_rollup/job/sensor/_verify", &Value::Null).is_error(
        400,
        "illegal_argument_exception",
        "[body] has to be an object with [range]",
    );
    client.send("POST /_rollup/job/sensor/_verify").is(200, &right);
    world.data.add("sensor-1", SourceDocument::new().date("timestamp", 3 * HOUR).keyword("node", "new"));
    let only = |hours| json!({ "range": stretch(hours) });
    let elsewhere = client.post("/_rollup/job/sensor/_verify?timeout=60s", &only(0..2)).json();
    assert_eq!((&elsewhere["right"], &elsewhere["missing"]), (&json!(6), &json!(0)));
    let found = client.post("/_rollup/job/sensor/_verify?repair", &only(0..10)).json();
    assert_eq!((&found["missing"], &found["not_right"]), (&json!(1), &json!([stretch(3..4)])));
    world.wait_for("sensor", "the repair", |_| world.documents().len() == 31);
    let last = client.send("GET /_rollup/job/sensor/_late_data").json();
    assert_eq!(
        (&last["last_verification"]["missing"], &last["last_verification"]["at_in_ms"]),
        (&json!(1), &json!(now()))
    );
    assert_eq!(client.send("POST /_rollup/job/nobody/_verify").status.as_u16(), 404);
}

#[test]
fn raw_documents_are_sealed_before_they_go() {
    let (world, client) = rolled_up();
    let safe = client.send("GET /sensor-1/_rollup/_safe_to_drop");
    safe.is(200, &json!({ "before": now(), "needed_by": "rollup job [sensor] has not rolled them up yet" }));
    let seal =
        |index: &str, before: Value| client.post(&format!("/{index}/_rollup/_seal"), &json!({ "before": before }));
    let refused = seal("sensor-1", json!(now() + HOUR));
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["type"].clone()), (409, json!("status_exception")));
    seal("sensor-1", json!("1970-01-01T05:00:00Z")).is(200, &json!({ "acknowledged": true }));
    assert_eq!(
        rollup_jobs::store::JobStore::ledger(&*world.store, "sensor-1").unwrap().seals,
        std::slice::from_ref(&(i64::MIN..5 * HOUR))
    );
    let wildcard = "cannot seal [sensor-*]: name one index, without wildcards";
    seal("sensor-*", json!(0)).is_error(400, "illegal_argument_exception", wildcard);
    client.send("POST /sensor-*/_rollup/_raw_dropped").is_error(400, "illegal_argument_exception", wildcard);
    seal("sensor-1", json!("soon")).is_error(
        400,
        "illegal_argument_exception",
        "[before] has to be an instant, such as [2026-01-01T00:00:00Z], or milliseconds since 1970, but was \"soon\"",
    );
    client.send("POST /sensor-1/_rollup/_raw_dropped").is(200, &json!({ "acknowledged": true }));
}
