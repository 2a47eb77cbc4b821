//! The data of a job that is gone.

use rollup_jobs::{DeleteError, DeleteOptions, PutError, RemoveDataError};
use serde_json::json;

use crate::rest::Client;
use crate::support::{World, config, undisturbed};

/// A job was deleted, as in Elasticsearch: its documents and its definition are there.
fn left_over() -> World {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.put_started("other");
    world.run("other");
    assert!(world.manager.stop("sensor", crate::support::waiting()).unwrap().is_at_rest());
    world.manager.delete("sensor").unwrap();
    assert_eq!(world.documents().len(), undisturbed("sensor").len() + undisturbed("other").len());
    world
}

#[test]
fn it_can_be_removed_so_that_the_id_can_be_used_again() {
    let world = left_over();
    let again = world.manager.put(config("sensor").build().unwrap());
    assert!(matches!(again, Err(PutError::PreviouslyCreated { .. })), "{again:?}");
    world.manager.remove_data("rolled", "sensor").unwrap();
    assert_eq!(world.documents(), undisturbed("other"));
    world.manager.remove_data("rolled", "sensor").expect("nothing there is no error");
    world.manager.remove_data("nowhere", "nobody").expect("nothing there is no error");
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents().len(), undisturbed("sensor").len() + undisturbed("other").len());
}

#[test]
fn a_job_that_is_there_keeps_its_data() {
    let world = left_over();
    let before = world.documents();
    let refused = world.manager.remove_data("rolled", "other");
    assert!(matches!(refused, Err(RemoveDataError::InUse { .. })), "{refused:?}");
    let refused = world.manager.remove_data("Rolled", "sensor");
    assert!(matches!(refused, Err(RemoveDataError::Name { .. })), "{refused:?}");
    assert_eq!(world.documents(), before);
}

#[test]
fn a_delete_with_data_of_an_unknown_job_removes_what_it_has_left() {
    let world = left_over();
    let options = DeleteOptions::new().delete_data(true);
    world.manager.delete_with("sensor", options.clone()).unwrap();
    assert_eq!(world.documents(), undisturbed("other"));
    let nothing = world.manager.delete_with("sensor", options);
    assert!(matches!(nothing, Err(DeleteError::NotFound { .. })), "{nothing:?}");
}

#[test]
fn so_does_the_delete_over_http() {
    let world = left_over();
    let client = Client::of(&world.manager);
    assert_eq!(client.send("DELETE /_rollup/job/sensor").status.as_u16(), 404);
    client.send("DELETE /_rollup/job/sensor?delete_data=true").is(200, &json!({ "acknowledged": true }));
    assert_eq!(world.documents(), undisturbed("other"));
    assert_eq!(client.send("DELETE /_rollup/job/sensor?delete_data=true").status.as_u16(), 404);
}

#[test]
fn a_manager_that_is_shut_down_removes_nothing() {
    let world = left_over();
    let before = world.documents();
    world.manager.shutdown(std::time::Duration::from_secs(30)).unwrap();
    let refused = world.manager.remove_data("rolled", "sensor");
    assert!(matches!(refused, Err(RemoveDataError::ShutDown { .. })), "{refused:?}");
    assert_eq!(world.documents(), before);
}
