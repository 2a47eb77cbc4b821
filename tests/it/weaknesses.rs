//! Known weaknesses of Elasticsearch's rollup jobs that are not reproduced, a test each.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rollup_jobs::engine::{
    Engine, EngineError, FieldCapabilities, JobContext, MemoryEngine, RollupIndex, RollupIndexAdapter, Source,
    SourceAdapter, SourceDocument,
};
use rollup_jobs::testing::EngineFault;
use rollup_jobs::{
    DateHistogram, DeleteOptions, HealthColor, IndexPattern, JobState, Phase, PutError, RetryOptions, RollupJobConfig,
    StartError, StopError, StopOptions, StoredState,
};
use serde_json::json;

use crate::support::{HOUR, JoinInTime, World, config, loaded, undisturbed, waiting};

#[test]
fn a_stop_of_an_idle_job_is_not_forgotten() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let _ = world.manager.stop("sensor", StopOptions::new()).unwrap();
    assert_eq!(world.after_crash().state("sensor"), JobState::Stopped);
}

#[test]
fn a_checkpoint_under_way_does_not_undo_a_stop() {
    crate::stop_promises::a_stop_overtakes_a_checkpoint();
}

#[test]
fn waiting_does_not_poll() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiters: Vec<_> = (0..8).map(|_| world.stop_in_thread("sensor", Duration::from_secs(1))).collect();
    world.gates.commit().open();
    for waiter in waiters {
        assert!(waiter.join_in_time().unwrap().is_at_rest(), "the clock never moved");
    }
}

#[test]
fn a_short_stop_is_not_missed() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiter = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    // Whoever is first, restarts; or deletes.
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.manager.start("sensor").unwrap();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
}

#[test]
fn a_stop_followed_by_a_delete_is_a_success() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiter = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.manager.delete("sensor").unwrap();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
}

#[test]
fn completion_means_that_the_last_checkpoint_is_stored() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiter = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
    let record = world.store.record("sensor");
    assert_eq!((record.state(), record.progress().stats.rollups_indexed()), (StoredState::Stopped, 4));
    world.manager.delete("sensor").unwrap();
    assert!(world.store.records().is_empty(), "no late save comes after the delete");
}

#[test]
fn a_timeout_is_checked_arithmetic_and_zero_looks_once() {
    let world = World::new();
    world.put_stopping("sensor");
    let zero = StopOptions::new().wait_for_completion(true).timeout(Duration::ZERO);
    assert!(matches!(world.manager.stop("sensor", zero), Err(StopError::Timeout { .. })));
    let for_ever = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    assert!(for_ever.join_in_time().unwrap().is_at_rest());
}

#[test]
fn the_answer_tells_whether_the_job_is_at_rest() {
    let world = World::new();
    world.put_stopping("sensor");
    assert!(!world.manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
    world.gates.commit().open();
    world.wait_for_state("sensor", JobState::Stopped);
    assert!(world.manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
}

#[test]
fn a_search_in_flight_is_cancelled() {
    let world = World::new();
    world.put_indexing("sensor");
    let _ = world.manager.stop("sensor", waiting()).unwrap();
}

#[test]
fn a_delete_is_done_when_it_returns() {
    let world = World::new();
    world.put("sensor");
    world.manager.delete("sensor").unwrap();
    assert!(world.manager.get("sensor").is_none());
    assert!(world.store.records().is_empty());
}

#[test]
fn an_id_can_be_used_again_when_its_data_is_deleted_too() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.manager.delete("sensor").unwrap();
    let again = world.manager.put(config("sensor").build().unwrap());
    assert!(matches!(again, Err(PutError::PreviouslyCreated { .. })), "the documents are still there");

    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.manager.delete_with("sensor", DeleteOptions::new().delete_data(true)).unwrap();
    assert!(world.documents().is_empty());
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn a_failed_save_during_a_run_is_not_swallowed() {
    let world = World::with(|builder| builder.retry(RetryOptions::new().attempts(1)));
    world.put_started("sensor");
    world.store.refuse_updates(true);
    world.run("sensor");
    let status = world.status("sensor");
    assert_eq!(status.health().color(), HealthColor::Red);
    assert_eq!(status.last_errors().last().unwrap().phase(), Phase::Saving);
    world.store.refuse_updates(false);
    world.run("sensor");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn a_run_that_fails_before_its_first_search_is_reported() {
    let (world, faulty) = World::faulty(loaded(), EngineFault::Rejected);
    world.put_started("sensor");
    faulty.fail_at(1);
    world.run("sensor");
    let status = world.status("sensor");
    assert_eq!((status.state(), status.health().color()), (JobState::Started, HealthColor::Yellow));
    assert_eq!(status.last_errors()[0].causes(), ["planned fault"]);
    assert_eq!(status.stats().search_failures(), 1, "it is counted");
    assert_eq!(world.store.record("sensor").progress().stats.search_failures(), 1, "and saved");
}

#[test]
fn a_bad_schedule_is_refused_when_the_job_is_configured() {
    let error = config("sensor").cron("0 * * *").build().unwrap_err();
    assert_eq!(error.problems()[0].message(), "invalid cron expression [0 * * *]");
}

#[test]
fn a_put_that_fails_late_leaves_nothing() {
    let world = World::new();
    world.store.refuse_updates(true);
    assert!(matches!(world.manager.put(config("sensor").build().unwrap()), Err(PutError::Store { .. })));
    assert!(world.manager.get("sensor").is_none());
    assert!(world.store.records().is_empty());
    world.store.refuse_updates(false);
    // Another definition of the same id is no conflict.
    world.manager.put(config("sensor").page_size(9).build().unwrap()).unwrap();
}

#[test]
fn a_put_is_finished_or_undone_after_a_crash() {
    // The crash comes when the rollup index is prepared and the record not yet saved as stopped.
    let world = World::new();
    let crashed = Arc::new(OnceLock::new());
    let (slot, store) = (crashed.clone(), Arc::downgrade(&world.store));
    world.store.on_update(move |_| {
        slot.get_or_init(|| store.upgrade().unwrap().records());
    });
    world.put("sensor");
    assert_eq!(crashed.get().unwrap()[0].state(), StoredState::Preparing);
    let store = Arc::new(crate::support::SpyStore::default());
    rollup_jobs::store::JobStore::insert(&store.inner, &crashed.get().unwrap()[0]).unwrap();
    assert_eq!(World::on_store(world.data.clone(), store).state("sensor"), JobState::Stopped);

    // An earlier job's documents are in the way: nobody had been told that the new job exists, and they stay.
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    let documents = world.documents();
    let store = Arc::new(crate::support::SpyStore::default());
    rollup_jobs::store::JobStore::insert(&store.inner, &crashed.get().unwrap()[0]).unwrap();
    let next = World::on_store(world.data.clone(), store.clone());
    assert!(next.manager.get("sensor").is_none());
    assert!(store.records().is_empty());
    assert_eq!(next.documents(), documents);
}

#[test]
fn duplicates_are_refused() {
    assert!(config("sensor").terms(["node", "node"]).build().is_err());
    assert!(config("sensor").metric("temperature", [rollup_jobs::Metric::Min]).build().is_err());
}

#[test]
fn missing_groups_are_a_clear_error() {
    let json = json!({ "id": "a", "index_pattern": "x", "rollup_index": "y", "cron": "0 0 * * * ?", "page_size": 1,
                       "metrics": [{ "field": "m", "metrics": ["min"] }] });
    let error = RollupJobConfig::from_json(&json.to_string()).unwrap_err();
    assert_eq!(error.to_string(), "invalid configuration of rollup job [a]: groups: Required [groups]");
}

#[test]
fn the_rollup_index_is_compared_with_what_the_pattern_means() {
    // By text `sensor-*` has nothing to do with `rolled`; but it resolves to an index that has this name too, as an
    // alias.
    let world = World::on(loaded(), |engine| Arc::new(Aliased(engine)), |builder| builder);
    let Err(PutError::Invalid(error)) = world.manager.put(config("sensor").build().unwrap()) else { panic!("refused") };
    assert_eq!(error.problems()[0].message(), "Index pattern would match rollup index name which is not allowed");
}

#[test]
fn a_fixed_day_is_24_hours_at_the_boundary_too() {
    // In New York clocks were set forward on 2013-03-10; a fixed day goes on counting 24 hours from the local epoch.
    let data = MemoryEngine::new();
    let noon = |day: &str| format!("{day}T17:00:00Z").parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for day in ["2013-03-09", "2013-03-10", "2013-03-11"] {
        data.add("sensor-1", SourceDocument::new().date("timestamp", noon(day)));
    }
    let world = World::on(data, |engine| engine, |builder| builder);
    let config = RollupJobConfig::builder("sensor")
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(10)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1d").time_zone("America/New_York"));
    world.manager.put(config.build().unwrap()).unwrap();
    world.clock.set_wall_clock("2013-03-11T12:00:00Z".parse().unwrap());
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    let starts: Vec<i64> =
        world.documents().values().map(|d| d["timestamp.date_histogram.timestamp"].as_i64().unwrap()).collect();
    assert_eq!(starts.len(), 2, "the bucket of the 11th is not over: {starts:?}");
    assert_eq!((starts[0] - starts[1]).abs(), 24 * HOUR);
}

#[test]
fn a_rejected_item_is_never_skipped() {
    let (world, faulty) = World::faulty(
        {
            let data = MemoryEngine::without_progress();
            data.extend("sensor-1", crate::support::readings());
            data
        },
        EngineFault::ItemUnavailable,
    );
    world.put_started("sensor");
    // Progress, indices, scan, page, begin, write.
    faulty.fail_at(6);
    let run = world.manager.trigger("sensor").unwrap().run();
    world.wait_for_phase("sensor", Phase::BackingOff);
    assert_eq!(world.status("sensor").stats().rollups_indexed(), 2, "only what lies before the item counts");
    world.clock.advance(Duration::from_secs(1));
    world.wait_for_end_of_run("sensor", run);
    assert_eq!(world.documents(), undisturbed("sensor"));
    let stats = world.status("sensor").stats().clone();
    assert_eq!((stats.rollups_indexed(), stats.index_failures()), (30, 1));
}

#[test]
fn errors_are_visible_and_retried_with_pauses() {
    let (world, faulty) = World::faulty(loaded(), EngineFault::Unavailable);
    world.put_started("sensor");
    faulty.fail_from(1, u64::MAX / 2);
    world.manager.trigger("sensor").unwrap();
    for failures in 1..5 {
        world.wait_for("sensor", "a pause", |status| {
            status.phase() == Phase::BackingOff && status.last_errors().len() == failures
        });
        assert_eq!(world.status("sensor").health().color(), HealthColor::Yellow);
        world.clock.advance(Duration::from_mins(1));
    }
    world.wait_for_state("sensor", JobState::Started);
    assert_eq!(world.status("sensor").last_errors().len(), 5, "five tries, and the run is over");
}

#[test]
fn statistics_survive_a_restart_and_redone_pages_count_once() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let before = world.status("sensor").stats().clone();
    assert_eq!((before.documents_processed(), before.rollups_indexed(), before.trigger_count()), (60, 30, 1));
    assert_eq!(*world.after_crash().status("sensor").stats(), before);
}

#[test]
fn a_page_that_a_crash_makes_redo_counts_once() {
    // The crash comes when the third page is committed, and not saved: an engine without checkpoints does it again.
    let data = MemoryEngine::without_progress();
    data.extend("sensor-1", crate::support::readings());
    let world = World::on(data, |engine| engine, |builder| builder);
    let (crashed, saves) = (Arc::new(OnceLock::new()), std::sync::atomic::AtomicUsize::new(0));
    let (slot, store) = (crashed.clone(), Arc::downgrade(&world.store));
    world.store.on_update(move |record| {
        let indexing = record.state() == StoredState::Indexing;
        if indexing && saves.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
            slot.set(store.upgrade().unwrap().record("sensor")).unwrap();
        }
    });
    world.put_started("sensor");
    world.run("sensor");
    let record = crashed.get().unwrap();
    assert_eq!(record.progress().stats.rollups_indexed(), 8, "two pages are saved");
    let store = Arc::new(crate::support::SpyStore::default());
    rollup_jobs::store::JobStore::insert(&store.inner, record).unwrap();
    let next = World::on_store(world.data.clone(), store);
    next.gates.search().open();
    next.wait_for_state("sensor", JobState::Started);
    let stats = next.status("sensor").stats().clone();
    assert_eq!((stats.documents_processed(), stats.rollups_indexed()), (60, 30));
    assert_eq!(next.documents(), undisturbed("sensor"));
}

#[test]
fn documents_before_1970_are_rolled_up_and_those_without_a_date_are_counted() {
    let data = MemoryEngine::new();
    data.add(
        "sensor-1",
        SourceDocument::new().date("timestamp", -HOUR).keyword("node", "a").double("temperature", 1.0),
    );
    data.add("sensor-1", SourceDocument::new().keyword("node", "a").double("temperature", 1.0));
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents().len(), 1);
    assert_eq!(world.status("sensor").stats().documents_skipped(), 1);
}

#[test]
fn on_purpose_a_start_while_stopping_is_refused_and_nothing_is_queued() {
    let world = World::new();
    world.put_stopping("sensor");
    assert!(matches!(world.manager.start("sensor"), Err(StartError::Stopping { .. })));
    world.gates.commit().open();
    world.wait_for_state("sensor", JobState::Stopped);
}

/// An engine that knows the source index by the rollup index's name as well. A put is refused before it does anything
/// else.
#[derive(Debug)]
struct Aliased(Arc<dyn Engine>);

impl SourceAdapter for Aliased {
    fn source(&self) -> &dyn Source {
        &*self.0
    }

    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        let mut capabilities = self.0.field_capabilities(job, pattern, fields)?;
        capabilities.indices.push("rolled".to_owned());
        Ok(capabilities)
    }
}

impl RollupIndexAdapter for Aliased {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.0
    }
}
