//! Every state of a job by every API, as Elasticsearch 8 answers.

use rollup_jobs::testing::EngineFault;
use rollup_jobs::{DeleteOptions, JobState, StopOptions};
use serde_json::{Value, json};

use super::{Client, error};
use crate::support::{World, config, loaded};

const NOT_FOUND: &str = "resource_not_found_exception";

fn world() -> (World, Client) {
    let world = World::new();
    let client = Client::of(&world.manager);
    (world, client)
}

fn not_deleted(state: &str) -> Value {
    let reason = format!(
        "Could not delete job [sensor] because indexer state is [{state}].  Job must be [STOPPED] before deletion."
    );
    json!({
        "task_failures": [{ "task_id": 0, "node_id": "_local", "status": "INTERNAL_SERVER_ERROR",
            "reason": { "type": "illegal_state_exception", "reason": reason } }],
        "acknowledged": false
    })
}

#[test]
fn a_job_from_put_to_delete() {
    let (world, client) = world();
    let body = config("sensor").build().unwrap().to_json();
    let put = client.put("/_rollup/job/sensor", &body);
    assert_eq!(put.text, r#"{"acknowledged":true}"#);
    assert_eq!(client.send("POST /_rollup/job/sensor/_start").text, r#"{"started":true}"#);
    assert_eq!(client.send("POST /_rollup/job/sensor/_start/").text, r#"{"started":true}"#, "it is started already");
    assert_eq!(client.send("POST /_rollup/job/sensor/_trigger").text, r#"{"triggered":true,"run":1,"new":true}"#);
    world.wait_for_end_of_run("sensor", 1);
    let stop = "POST /_rollup/job/sensor/_stop?wait_for_completion=true&timeout=10s";
    assert_eq!(client.send(stop).text, r#"{"stopped":true,"state":"stopped"}"#);
    assert_eq!(client.send("DELETE /_rollup/job/sensor").text, r#"{"acknowledged":true}"#);
    client.send("GET /_rollup/job/sensor").is(200, &json!({ "jobs": [] }));
}

#[test]
fn of_a_job_that_is_not_there() {
    let (_world, client) = world();
    for verb in ["_start", "_stop", "_stop?wait_for_completion=true", "_trigger"] {
        let answer = client.send(&format!("POST /_rollup/job/sensor/{verb}"));
        answer.is_error(404, NOT_FOUND, "Task for Rollup Job [sensor] not found");
    }
    for query in ["", "?wait_for_completion=true", "?delete_data=true"] {
        let answer = client.send(&format!("DELETE /_rollup/job/sensor{query}"));
        answer.is_error(404, NOT_FOUND, "the task with id [sensor] doesn't exist");
    }
    client.send("POST /_rollup/job//_stop").is_error(404, NOT_FOUND, "Task for Rollup Job [] not found");
}

#[test]
fn of_a_stopped_job() {
    let (world, client) = world();
    world.put("sensor");
    for query in ["", "?wait_for_completion", "?wait_for_completion=true&timeout=0", "?timeout=-1"] {
        let answer = client.send(&format!("POST /_rollup/job/sensor/_stop{query}"));
        answer.is(200, &json!({ "stopped": true, "state": "stopped" }));
    }
    let reason = "Cannot trigger task for Rollup Job [sensor] because state was [STOPPED]";
    client.send("POST /_rollup/job/sensor/_trigger").is_error(409, "status_exception", reason);
}

#[test]
fn of_a_started_job() {
    let (world, client) = world();
    world.put_started("sensor");
    client.send("DELETE /_rollup/job/sensor").is(500, &not_deleted("STARTED"));
    let stopped = json!({ "stopped": true, "state": "stopped" });
    client.send("POST /_rollup/job/sensor/_stop").is(200, &stopped);
    assert_eq!(world.state("sensor"), JobState::Stopped);
}

#[test]
fn of_an_indexing_job_and_then_a_stopping_one() {
    let (world, client) = world();
    world.gates.commit().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    client.send("POST /_rollup/job/sensor/_start").is(200, &json!({ "started": true }));
    client.send("POST /_rollup/job/sensor/_trigger").is(200, &json!({ "triggered": true, "run": 1, "new": false }));
    client.send("DELETE /_rollup/job/sensor").is(500, &not_deleted("INDEXING"));

    for _ in 0..2 {
        let stopping = json!({ "stopped": true, "state": "stopping" });
        client.send("POST /_rollup/job/sensor/_stop").is(200, &stopping);
    }
    let reason = "Cannot start task for Rollup Job [sensor] because state was [STOPPING]";
    client.send("POST /_rollup/job/sensor/_start").is_error(500, "exception", reason);
    client.send("DELETE /_rollup/job/sensor").is(500, &not_deleted("STOPPING"));

    for (sent, printed) in [("0", "0ms"), ("-1", "-1"), ("1ms", "1ms"), ("20micros", "20micros"), ("00s", "0s")] {
        let paths = [("POST", "sensor/_stop"), ("DELETE", "sensor")];
        for (method, path) in paths {
            let answer = client.send(&format!("{method} /_rollup/job/{path}?wait_for_completion=true&timeout={sent}"));
            let reason = format!(
                "Timed out after [{printed}] while waiting for rollup job [sensor] to stop. State was [STOPPING]"
            );
            let mut body = answer.json();
            let detail = body["error"].as_object_mut().unwrap().remove("detail").unwrap();
            assert!(detail.as_str().unwrap().starts_with("rollup job [sensor] is stopping, committing"), "{detail}");
            assert_eq!((answer.status.as_u16(), body), (500, error(500, "timeout_exception", &reason)));
        }
    }
    world.gates.commit().open();
    let answer = client.send("DELETE /_rollup/job/sensor?wait_for_completion=true&timeout=10s");
    answer.is(200, &json!({ "acknowledged": true }));
}

#[test]
fn many_jobs_are_stopped_with_one_request_that_says_so() {
    let (world, client) = world();
    world.put_stopping("sensor-1");
    world.put_started("sensor-2");
    world.put_started("gateway");
    client.send("POST /_rollup/job/sensor-*/_stop").is_error(
        404,
        NOT_FOUND,
        "Task for Rollup Job [sensor-*] not found",
    );
    let states = |one: &str| json!({ "stopped": true, "jobs": [{ "id": "sensor-1", "state": one }, { "id": "sensor-2", "state": "stopped" }] });
    client.send("POST /_rollup/job/sensor-*,nobody/_stop?allow_no_match").is(200, &states("stopping"));
    assert_eq!(world.state("gateway"), JobState::Started);

    let line = "POST /_rollup/job/_all/_stop?allow_no_match&wait_for_completion&timeout=0";
    let answer = client.send(line);
    assert_eq!((answer.status.as_u16(), &answer.json()["stopped"]), (500, &json!(false)));
    assert_eq!(answer.json()["jobs"][0], json!({ "id": "gateway", "state": "stopped" }));
    assert_eq!(answer.json()["jobs"][1]["error"]["type"], "timeout_exception");

    world.gates.commit().open();
    let line = "POST /_rollup/job/sensor-*/_stop?allow_no_match=true&wait_for_completion=true";
    client.send(line).is(200, &states("stopped"));
    let none = client.send("POST /_rollup/job/sensor-1,nobody/_stop?allow_no_match=false");
    none.is_error(404, NOT_FOUND, "no rollup job matches [nobody]");
    client.send("POST /_rollup/job/none-*/_stop?allow_no_match").is(200, &json!({ "stopped": true, "jobs": [] }));
}

#[test]
fn get_shows_the_config_the_state_the_statistics_and_how_the_job_is() {
    let (world, client) = world();
    world.put("sensor");
    world.put("gateway");
    let answer = client.send("GET /_rollup/job/sensor").json();
    let job = &answer["jobs"][0];
    assert_eq!(job["config"], config("sensor").build().unwrap().to_json());
    assert_eq!(job["status"], json!({ "job_state": "stopped" }));
    assert_eq!(job["stats"].as_object().unwrap().len(), 12);
    assert_eq!(job["health"], json!({ "color": "green" }));
    assert_eq!((&job["last_errors"], &job["next_run"]), (&json!([]), &Value::Null));
    for all in ["", "/", "/_all", "/*", "/%2A"] {
        let answer = client.send(&format!("GET /_rollup/job{all}")).json();
        let ids: Vec<_> = answer["jobs"].as_array().unwrap().iter().map(|job| &job["config"]["id"]).collect();
        assert_eq!(ids, ["gateway", "sensor"], "{all}");
    }
    for unknown in ["sens*", "sensor,gateway", "nobody"] {
        client.send(&format!("GET /_rollup/job/{unknown}")).is(200, &json!({ "jobs": [] }));
    }
}

#[test]
fn the_members_of_an_answer_are_in_elasticsearchs_order() {
    let (world, client) = world();
    world.put("sensor");
    let text = client.send("GET /_rollup/job/sensor").text;
    assert!(text.starts_with(r#"{"jobs":[{"config":{"id":"sensor","index_pattern":"#), "{text}");
    let text = client.send("POST /_rollup/job/nobody/_stop").text;
    let start = r#"{"error":{"root_cause":[{"type":"resource_not_found_exception","reason":"Task"#;
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn of_an_id_that_is_taken() {
    let (world, client) = world();
    world.put("sensor");
    let config = config("sensor").build().unwrap().to_json();
    let same = "Cannot create rollup job [sensor] because job was previously created (existing metadata).";
    client.put("/_rollup/job/sensor", &config).is_error(409, "status_exception", same);
    let mut elsewhere = config.clone();
    elsewhere["rollup_index"] = json!("elsewhere");
    let other = "Cannot create job [sensor] because it has already been created (task exists)";
    client.put("/_rollup/job/sensor", &elsewhere).is_error(409, "status_exception", other);
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    world.manager.delete_with("sensor", DeleteOptions::new().stop(StopOptions::new())).unwrap();
    let mut expected = super::error(409, "status_exception", same);
    let remove = "DELETE _rollup/job/sensor?delete_data=true";
    expected["error"]["detail"] = json!(format!("a job that was deleted has left data: {remove} removes it"));
    client.put("/_rollup/job/sensor", &config).is(409, &expected);
    client.send(&remove.replace("_rollup", "/_rollup")).is(200, &json!({ "acknowledged": true }));
    client.put("/_rollup/job/sensor", &config).is(200, &json!({ "acknowledged": true }));
}

/// As Elasticsearch says it: the reason is on top.
#[test]
fn of_an_index_that_is_no_rollup_index() {
    let (world, client) = world();
    let mut config = config("sensor").build().unwrap().to_json();
    config["index_pattern"] = json!("sensor-1");
    world.data.extend("other", [rollup_jobs::engine::SourceDocument::new().date("timestamp", 0)]);
    config["rollup_index"] = json!("other");
    let answer = client.put("/_rollup/job/sensor", &config);
    let reason = "Rollup data cannot be added to existing indices that contain non-rollup data (expected to find \
                  _meta key in mapping of rollup index [other] but not found).";
    answer.is_error(500, "runtime_exception", reason);
}

#[test]
fn of_a_store_that_refuses() {
    let (world, client) = world();
    world.put_started("sensor");
    world.store.refuse_updates(true);
    let answer = client.send("POST /_rollup/job/sensor/_stop").json();
    assert_eq!(answer["status"], 500);
    assert_eq!(answer["error"]["type"], "exception");
    assert_eq!(answer["error"]["reason"], "Error while updating state for rollup job [sensor] to [STOPPED].");
    assert!(answer["error"]["caused_by"]["reason"].is_string());
    world.store.refuse_updates(false);
    client.send("POST /_rollup/job/sensor/_stop").is(200, &json!({ "stopped": true, "state": "stopped" }));
    world.store.refuse_updates(true);
    let answer = client.send("POST /_rollup/job/sensor/_start").json();
    assert_eq!(answer["error"]["reason"], "Error while updating state for rollup job [sensor] to [STARTED].");
    world.store.refuse_updates(false);
}

#[test]
fn of_a_manager_that_is_shut_down() {
    let (world, client) = world();
    world.put_started("sensor");
    world.manager.shutdown(std::time::Duration::from_secs(10)).unwrap();
    for line in
        ["POST /_rollup/job/sensor/_stop", "POST /_rollup/job/sensor/_start", "POST /_rollup/job/sensor/_trigger"]
    {
        assert_eq!(client.send(line).status.as_u16(), 503, "{line}");
    }
}

#[test]
fn a_failed_run_is_in_the_open() {
    let (world, engine) = World::faulty(loaded(), EngineFault::Rejected);
    let client = Client::of(&world.manager);
    world.put_started("sensor");
    engine.fail_at(1);
    world.manager.trigger("sensor").unwrap();
    // Not only for the error, which is known a moment before the run is over and counts for the health.
    world.wait_for_end_of_run("sensor", 1);
    let job = client.send("GET /_rollup/job/sensor").json()["jobs"][0].clone();
    assert_eq!(job["last_errors"][0]["phase"], "searching");
    assert_ne!(job["health"]["color"], "green");
    assert!(job["next_run"].is_string());
}

#[test]
fn an_update_changes_settings_and_nothing_else() {
    let (world, client) = world();
    world.put("sensor");
    let update =
        |body: &str| client.request("POST /_rollup/job/sensor/_update", &[("content-type", "application/json")], body);
    update(r#"{ "cron": "0 0 12 * * ?", "page_size": "7", "delay": "90m" }"#).is(200, &json!({ "acknowledged": true }));
    let config = client.send("GET /_rollup/job/sensor").json()["jobs"][0]["config"].clone();
    assert_eq!((&config["cron"], &config["page_size"]), (&json!("0 0 12 * * ?"), &json!(7)));
    assert_eq!(config["groups"]["date_histogram"]["delay"], "90m");
    update(r#"{ "delay": null }"#).is(200, &json!({ "acknowledged": true }));
    let config = client.send("GET /_rollup/job/sensor").json()["jobs"][0]["config"].clone();
    assert_eq!(config["groups"]["date_histogram"].get("delay"), None);

    let answer = update(r#"{ "rollup_index": "elsewhere", "metrics": [] }"#);
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (400, &json!("illegal_argument_exception")));
    let problems = answer.json()["error"]["problems"].clone();
    let text = "[rollup_index] determines the documents of a rollup job and cannot be changed";
    assert_eq!((problems.as_array().unwrap().len(), &problems[0]["message"]), (2, &json!(text)));
    assert!(problems[0]["hint"].as_str().unwrap().starts_with("put another job"), "{problems}");
    let answer = update(r#"{ "page_size": 0 }"#);
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["problems"][0]["field"]), (400, &json!("page_size")));
    update("").is_error(400, "parse_exception", "request body is required");
    assert_eq!(update("{").status.as_u16(), 400);
    assert_eq!(update(r#"{ "timeuot": "1s" }"#).status.as_u16(), 400);
    let nobody = client.request("POST /_rollup/job/nobody/_update", &[("content-type", "application/json")], "{}");
    nobody.is_error(404, NOT_FOUND, "Task for Rollup Job [nobody] not found");
    world.store.refuse_updates(true);
    assert_eq!(update(r#"{ "page_size": 8 }"#).status.as_u16(), 500);
}
