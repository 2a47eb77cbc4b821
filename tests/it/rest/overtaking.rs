//! A stop is never behind anything else that the host is asked for.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use rollup_jobs::{JobState, StopOptions};
use serde_json::json;
use tower::ServiceExt;

use super::Client;
use crate::support::{PATIENCE, World, hold};

/// More than are let through at once, and all of them hang.
const CALLS: usize = 12;

/// So many are let through.
const PLACES: usize = 8;

/// Sends a request that is answered some time.
fn send(client: &Client, request: Builder) -> tokio::task::JoinHandle<u16> {
    let answer = client.router.clone().oneshot(request.body(Body::empty()).unwrap());
    client.runtime.spawn(async { answer.await.unwrap().status().as_u16() })
}

fn all_well(client: &Client, answers: Vec<tokio::task::JoinHandle<u16>>) {
    for answer in answers {
        let answer = client.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        assert_eq!(answer.unwrap().unwrap(), 200);
    }
}

#[test]
fn a_stop_does_not_wait_behind_calls_that_hang() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let ids: Vec<_> = (0..CALLS).map(|number| format!("deleted-{number}")).collect();
    for id in &ids {
        world.put_started(id);
        let _ = world.manager.stop(id, StopOptions::new()).unwrap();
    }
    world.put_started("sensor");
    let (hold, inside, leave) = hold();
    world.store.on_remove(move |_| hold());
    let deletes = ids.iter().map(|id| send(&client, Request::delete(format!("/_rollup/job/{id}")))).collect();
    for _ in 0..PLACES {
        inside.recv_timeout(PATIENCE).unwrap();
    }

    client
        .send("POST /_rollup/job/sensor/_stop?wait_for_completion=true&timeout=1s")
        .is(200, &json!({ "stopped": true, "state": "stopped" }));
    assert!(inside.try_recv().is_err(), "the other deletes wait for a place");

    for _ in 0..CALLS {
        leave.send(()).unwrap();
    }
    all_well(&client, deletes);
    assert_eq!(world.manager.list().len(), 1);
}

/// Where stops hang themselves, one that comes later is answered in its time, and stays in force.
#[test]
fn a_stop_that_waits_for_a_place_is_answered_in_its_time() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let ids: Vec<_> = (0..CALLS).map(|number| format!("stopped-{number}")).collect();
    for id in ids.iter().map(String::as_str).chain(["sensor"]) {
        world.put_started(id);
    }
    let (hold, inside, leave) = hold();
    world.store.on_update(move |_| hold());
    let stops = ids.iter().map(|id| send(&client, Request::post(format!("/_rollup/job/{id}/_stop")))).collect();
    for _ in 0..PLACES {
        inside.recv_timeout(PATIENCE).unwrap();
    }

    let answer = client.send("POST /_rollup/job/sensor/_stop?wait_for_completion=true&timeout=10ms");
    let reason = "Timed out after [10ms] while waiting for rollup job [sensor] to stop. State was [STARTED]";
    answer.is_error(500, "timeout_exception", reason);

    for _ in 0..=CALLS {
        leave.send(()).unwrap();
    }
    all_well(&client, stops);
    world.wait_for_state("sensor", JobState::Stopped);
}
