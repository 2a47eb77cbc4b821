//! Changes that are noted over HTTP.

use rollup_jobs::store::{JobStore, change_ledger};
use serde_json::{Value, json};

use super::{Answer, Client};
use crate::support::{HOUR, World};

fn note(client: &Client, index: &str, body: &Value) -> Answer {
    client.post(&format!("/{index}/_rollup/_note_change"), body)
}

fn range(from: Value, until: Value) -> Value {
    json!({ "range": { "gte": from, "lt": until } })
}

#[test]
fn the_range_is_noted() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let noted = [
        (range(json!("1970-01-01T02:00:00Z"), json!("1970-01-01T05:00:00+02:00")), 2 * HOUR..3 * HOUR),
        (range(json!(4 * HOUR), json!(5 * HOUR)), 4 * HOUR..5 * HOUR),
        // In UTC unless it says otherwise.
        (range(json!("1970-01-02"), json!("1970-01-02T01:00")), 24 * HOUR..25 * HOUR),
    ];
    for (body, expected) in noted {
        note(&client, "sensor-1", &body).is(200, &json!({ "acknowledged": true }));
        let ledger = world.store.ledger("sensor-1").unwrap();
        assert_eq!(ledger.notes.last().unwrap().range, expected, "{body}");
    }
    assert_eq!(client.send("GET /sensor-1/_rollup/_note_change").status.as_u16(), 405);
}

#[test]
fn what_is_no_range_is_refused_and_nothing_noted() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let whole = || range(json!(0), json!(HOUR));
    let mut more = whole();
    more["range"]["lte"] = json!(1);
    for (index, body, reason) in [
        ("sensor-1", json!({}), "[range] has to be an object with [gte] and [lt]"),
        ("sensor-1", json!({ "ranges": 1 }), "[body] unknown field [ranges]: it has [range]"),
        ("sensor-1", more, "[range] unknown field [lte]: it has [gte] and [lt]"),
        (
            "sensor-1",
            range(json!("yesterday"), json!(0)),
            "[range.gte] has to be an instant, such as [2026-01-01T00:00:00Z], or milliseconds since 1970, but was \
             \"yesterday\"",
        ),
        (
            "sensor-1",
            json!({ "range": { "gte": 0 } }),
            "[range.lt] has to be an instant, such as [2026-01-01T00:00:00Z], or milliseconds since 1970, but is \
             missing",
        ),
        ("sensor-*", whole(), "cannot note a change of [sensor-*]: name one index, without wildcards"),
        (
            "sensor-1",
            range(json!(HOUR), json!(0)),
            "cannot note a change of [sensor-1]: its range ends at [1970-01-01T00:00:00Z] and does not begin before, \
             but at [1970-01-01T01:00:00Z]",
        ),
    ] {
        note(&client, index, &body).is_error(400, "illegal_argument_exception", reason);
    }
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..HOUR)).unwrap();
    note(&client, "sensor-1", &whole()).is_error(
        409,
        "status_exception",
        "cannot note a change of [sensor-1]: its documents from [1970-01-01T00:00:00Z] until [1970-01-01T01:00:00Z] \
         are sealed",
    );
    assert!(world.store.ledger("sensor-1").unwrap().notes.is_empty());
}

#[test]
fn a_refresh_is_waited_for_and_refused() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let refresh = |id: &str, parameters: &str, body: &Value| {
        client.post(&format!("/_rollup/job/{id}/_refresh{parameters}"), body)
    };
    let hours = range(json!(2 * HOUR), json!(4 * HOUR));
    assert_eq!(refresh("nobody", "", &hours).status.as_u16(), 404);
    world.put("sensor");
    let refused = refresh("sensor", "", &hours);
    assert_eq!(refused.status.as_u16(), 409);
    assert_eq!(refused.json()["error"]["reason"], "Cannot refresh Rollup Job [sensor] because state was [STOPPED]");
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert_eq!(refresh("sensor", "", &range(json!(HOUR), json!(HOUR))).status.as_u16(), 400);
    world
        .data
        .add("sensor-1", rollup_jobs::engine::SourceDocument::new().date("timestamp", 3 * HOUR).keyword("node", "new"));
    let done = json!({ "acknowledged": true, "completed": true });
    refresh("sensor", "?wait_for_completion=true&timeout=60s", &hours).is(200, &done);
    assert_eq!(world.documents().len(), 31);
    world.gates.search().close();
    let timed_out = refresh("sensor", "?wait_for_completion&timeout=10ms", &hours);
    assert_eq!(timed_out.status.as_u16(), 500);
    assert_eq!(timed_out.json()["error"]["type"], "timeout_exception");
    assert_eq!(refresh("sensor", "", &hours).json()["completed"], false);
}
