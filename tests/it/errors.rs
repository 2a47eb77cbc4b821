//! Errors read well, keep their causes in `source()`, and fit under the umbrella.

use std::error::Error as _;

use rollup_jobs::{Error, RollupJobConfig, StopOptions};

use crate::support::{World, waiting};

#[test]
fn messages_name_the_job_and_causes_are_sources() {
    let world = World::new();
    let error = world.manager.stop("nobody", StopOptions::new()).unwrap_err();
    assert_eq!(error.to_string(), "rollup job [nobody] not found");
    world.put_started("sensor");
    let error = world.manager.delete("sensor").unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not delete rollup job [sensor] because it is started: it must be stopped before"
    );
    world.store.refuse_updates(true);
    let error = world.manager.stop("sensor", waiting()).unwrap_err();
    assert_eq!(error.to_string(), "could not save the stop of rollup job [sensor]");
    assert_eq!(error.source().unwrap().to_string(), "the job store is not available");
    assert_eq!(error.source().unwrap().source().unwrap().to_string(), "planned refusal");
}

#[test]
fn the_umbrella_is_transparent() {
    fn stop(world: &World) -> Result<(), Error> {
        let _ = world.manager.stop("nobody", StopOptions::new())?;
        Ok(())
    }
    let error = stop(&World::new()).unwrap_err();
    assert!(matches!(error, Error::Stop(_)));
    assert_eq!(error.to_string(), "rollup job [nobody] not found");
}

#[test]
fn the_umbrella_lists_all_problems_of_a_configuration() {
    let error: Error = RollupJobConfig::builder("").cron("x").build().unwrap_err().into();
    let text = error.to_string();
    for part in ["Required [index_pattern, rollup_index, page_size]", "Id must be", "invalid cron expression [x]"] {
        assert!(text.contains(part), "{text}");
    }
}
