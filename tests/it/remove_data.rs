//! The data of a job that is gone.

use std::time::Duration;

use rollup_jobs::engine::MemoryEngine;
use rollup_jobs::{DateHistogram, DeleteError, DeleteOptions, Phase, PutError, RemoveDataError};

use crate::support::{World, config, readings, undisturbed, waiting};

/// A job was deleted, as in Elasticsearch: its documents and its definition are there.
fn left_over() -> World {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.put_started("other");
    world.run("other");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
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
fn what_a_job_has_left_in_another_rollup_index_can_be_removed() {
    let world = left_over();
    world.manager.put(config("sensor").rollup_index("rolled-2").build().unwrap()).unwrap();
    world.manager.remove_data("rolled", "sensor").unwrap();
    assert_eq!(world.documents(), undisturbed("other"));
    assert!(world.manager.get("sensor").is_some());
}

#[test]
fn a_delete_with_data_of_an_unknown_job_removes_what_it_has_left() {
    let world = left_over();
    let unknown = world.manager.delete("sensor");
    assert!(matches!(unknown, Err(DeleteError::NotFound { .. })), "{unknown:?}");
    assert_eq!(world.documents().len(), 60, "it has not asked for that");
    let options = DeleteOptions::new().delete_data(true);
    world.manager.delete_with("sensor", options.clone()).unwrap();
    assert_eq!(world.documents(), undisturbed("other"));
    let nothing = world.manager.delete_with("sensor", options);
    assert!(matches!(nothing, Err(DeleteError::NotFound { .. })), "{nothing:?}");
}

/// As in Elasticsearch, unless there is nothing: then the id is free for another definition.
#[test]
fn a_delete_takes_only_the_definition_of_a_job_that_has_rolled_nothing_up() {
    let data = MemoryEngine::without_progress();
    data.extend("sensor-1", readings());
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put("sensor");
    world.manager.delete("sensor").unwrap();
    let every_two_hours = DateHistogram::fixed_interval("timestamp", "2h");
    world.manager.put(config("sensor").date_histogram(every_two_hours).build().unwrap()).unwrap();
    world.manager.delete("sensor").unwrap();

    world.put_started("sensor");
    world.run("sensor");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.manager.delete("sensor").unwrap();
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
#[cfg(feature = "rest")]
fn so_does_the_delete_over_http() {
    use crate::rest::Client;
    use serde_json::json;

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
    world.manager.shutdown(Duration::from_secs(30)).unwrap();
    let refused = world.manager.remove_data("rolled", "sensor");
    assert!(matches!(refused, Err(RemoveDataError::ShutDown { .. })), "{refused:?}");
    assert_eq!(world.documents(), before);
}

/// The documents are gone and the record stays: the job does not go on behind documents that are not there.
#[test]
fn a_record_that_stays_behind_has_no_position() {
    let data = MemoryEngine::without_progress();
    data.extend("sensor-1", readings());
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.store.on_remove(|_| panic!("planned refusal"));
    let kept = world.manager.delete_with("sensor", DeleteOptions::new().delete_data(true));
    assert!(matches!(kept, Err(DeleteError::Store { .. })), "{kept:?}");
    assert_eq!(world.documents().len(), 0);
    let again = world.after_crash();
    again.gates.search().open();
    assert_eq!(again.status("sensor").position(), None);
    again.manager.start("sensor").unwrap();
    again.manager.trigger("sensor").unwrap();
    again.wait_for("sensor", "all documents", |status| {
        // It finds its rollup index gone, and tries again after a while.
        again.clock.advance(Duration::from_secs(1));
        again.documents().len() == 30 && status.phase() == Phase::Idle
    });
    assert_eq!(again.documents(), undisturbed("sensor"));
}
