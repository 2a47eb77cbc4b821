//! Stop, wait and delete as one operation.

use std::time::Duration;

use rollup_jobs::store::JobStore;
use rollup_jobs::{DeleteError, DeleteOptions, JobState, StartError, StopError, StopOptions};

use crate::support::{JoinInTime, World, in_thread, undisturbed};

fn stopping_first(timeout: Duration) -> DeleteOptions {
    DeleteOptions::new().stop(StopOptions::new().timeout(timeout)).delete_data(true)
}

#[test]
fn a_running_job_is_stopped_and_deleted_with_its_data_and_its_id_is_free() {
    let world = World::new();
    world.put_stopping("sensor");
    let manager = world.manager.clone();
    let delete = in_thread(move || manager.delete_with("sensor", stopping_first(Duration::MAX)));
    world.watcher.wait_for(&world.manager, "the delete to be announced", || {
        matches!(world.manager.start("sensor"), Err(StartError::Aborting { .. })).then_some(())
    });
    world.gates.commit().open();
    delete.join_in_time().unwrap();
    assert!(world.manager.get("sensor").is_none() && world.store.records().is_empty());
    assert!(world.documents().is_empty());
    // Observers are told after the fact: the next job's first run must not be taken for this one's.
    world.wait_for_end_of_run("sensor", 1);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn after_a_timeout_the_stop_stays_in_force_and_the_delete_does_not() {
    let world = World::new();
    world.put_stopping("sensor");
    let error = world.manager.delete_with("sensor", stopping_first(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, DeleteError::Stop { source: StopError::Timeout { .. }, .. }), "{error}");
    assert_eq!(error.to_string(), "could not delete rollup job [sensor], which had to be stopped before");
    assert_eq!(world.state("sensor"), JobState::Stopping);
    world.gates.commit().open();
    world.wait_for_state("sensor", JobState::Stopped);
    world.manager.start("sensor").unwrap();
    world.manager.delete_with("sensor", stopping_first(Duration::MAX)).unwrap();
    assert!(world.manager.get("sensor").is_none());
}

#[test]
fn a_stop_that_cannot_be_saved_keeps_the_job() {
    let world = World::new();
    world.put_started("sensor");
    world.store.refuse_updates(true);
    let error = world.manager.delete_with("sensor", stopping_first(Duration::MAX)).unwrap_err();
    assert!(matches!(error, DeleteError::Stop { source: StopError::Store { .. }, .. }), "{error}");
    world.store.refuse_updates(false);
    world.manager.delete_with("sensor", stopping_first(Duration::MAX)).unwrap();
}

#[test]
fn an_idle_a_stopped_and_an_unknown_job() {
    let world = World::new();
    world.put_started("idle");
    world.put("stopped");
    for id in ["idle", "stopped"] {
        world.manager.delete_with(id, stopping_first(Duration::ZERO)).unwrap();
    }
    let unknown = world.manager.delete_with("idle", stopping_first(Duration::MAX));
    assert!(matches!(unknown, Err(DeleteError::NotFound { .. })));
}

#[test]
fn a_job_whose_record_somebody_has_taken_away() {
    let world = World::new();
    world.put("sensor");
    world.store.inner.remove("sensor").unwrap();
    world.manager.delete("sensor").unwrap();
    assert!(world.manager.get("sensor").is_none());
}
