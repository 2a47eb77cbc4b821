//! New settings: durable, in force from the next run on, and never in the way of what is rolled up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::{Engine, EngineError, JobContext, RollupIndex, RollupIndexAdapter, Source, SourceAdapter};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::EngineFault;
use rollup_jobs::{
    ConfigProblemKind, DateHistogram, DeleteError, HealthColor, JobState, JobUpdate, Phase, RollupJobConfig,
    RollupJobManager, UpdateError,
};

use crate::support::{HOUR, JoinInTime, PATIENCE, World, config, hold, in_thread, loaded, now, undisturbed};

const NOON: &str = "0 0 12 * * ?";

fn settings(world: &World) -> (String, usize, Option<String>) {
    let status = world.status("sensor");
    let config = status.config().unwrap();
    (config.schedule().to_string(), config.page_size(), config.delay().map(|delay| delay.to_string()))
}

fn changed() -> JobUpdate {
    JobUpdate::new().cron(NOON).page_size(7).delay("90m")
}

fn expected() -> (String, usize, Option<String>) {
    (NOON.to_owned(), 7, Some("90m".to_owned()))
}

#[test]
fn a_stopped_and_a_started_job_have_new_settings_durably() {
    for started in [false, true] {
        let world = World::new();
        world.put("sensor");
        if started {
            world.manager.start("sensor").unwrap();
        }
        let state = world.state("sensor");
        world.manager.update("sensor", changed()).unwrap();
        assert_eq!((settings(&world), world.state("sensor")), (expected(), state));
        let again = world.after_crash();
        assert_eq!((settings(&again), again.state("sensor")), (expected(), state), "they are durable");
        again.gates.search().open();
        if !started {
            again.manager.start("sensor").unwrap();
        }
        again.run("sensor");
        assert_eq!(again.documents(), undisturbed("sensor"), "no document depends on them");
    }
}

#[test]
fn what_is_not_given_stays() {
    let world = World::new();
    world.put("sensor");
    let (cron, page_size, delay) = settings(&world);
    world.manager.update("sensor", JobUpdate::new().page_size(9)).unwrap();
    assert_eq!(settings(&world), (cron.clone(), 9, delay));
    world.manager.update("sensor", JobUpdate::new().delay("1h")).unwrap();
    assert_eq!(settings(&world), (cron.clone(), 9, Some("1h".to_owned())));
    world.manager.update("sensor", JobUpdate::new().no_delay()).unwrap();
    assert_eq!(settings(&world), (cron, 9, None));
    assert_eq!(page_size, 4);
}

#[test]
fn nothing_is_saved_where_nothing_changes() {
    let world = World::new();
    world.put("sensor");
    let saves = world.store.updates.load(Ordering::SeqCst);
    world.manager.update("sensor", JobUpdate::new()).unwrap();
    world.manager.update("sensor", JobUpdate::new().page_size(4)).unwrap();
    assert_eq!(world.store.updates.load(Ordering::SeqCst), saves);
}

#[test]
fn the_schedule_follows_at_once() {
    let world = World::new();
    world.put_started("sensor");
    assert_eq!(world.status("sensor").next_run().unwrap().to_string(), "2090-01-01T00:00:00Z");
    world.manager.update("sensor", JobUpdate::new().cron("0 30 * * * ?")).unwrap();
    assert_eq!(world.status("sensor").next_run().unwrap().to_string(), "2026-11-23T12:30:00Z");
    world.clock.advance(Duration::from_mins(30));
    world.wait_for("sensor", "the scheduled run", |status| status.run() == 1 && status.phase() == Phase::Idle);
    // And away again: no former time is left.
    world.manager.update("sensor", JobUpdate::new().cron("0 0 0 1 1 ? 1980")).unwrap();
    let status = world.status("sensor");
    assert_eq!((status.next_run(), status.health().color()), (None, HealthColor::Yellow));
    world.clock.advance(Duration::from_hours(48));
    world.manager.trigger("sensor").unwrap();
    world.wait_for_end_of_run("sensor", 2);
}

#[test]
fn a_stopped_job_is_not_armed_by_it() {
    let world = World::new();
    world.put("sensor");
    world.manager.update("sensor", JobUpdate::new().cron("0 * * * * ?")).unwrap();
    assert_eq!(world.status("sensor").next_run(), None);
}

/// Pages of four until the end of the run, of ten in the next one.
#[test]
fn a_run_keeps_what_it_was_begun_with() {
    let world = World::new();
    world.put_indexing("sensor");
    world.gates.search().let_through(1);
    world.wait_for("sensor", "the first page", |status| {
        status.stats().pages_processed() == 1 && status.phase() == Phase::Searching
    });
    world.manager.update("sensor", JobUpdate::new().page_size(10)).unwrap();
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    assert_eq!(world.status("sensor").stats().pages_processed(), 9, "30 buckets, 4 a page, and an empty one");
    assert_eq!(settings(&world).1, 10, "what the run has saved meanwhile has the new settings");
    assert_eq!(settings(&world.after_crash()).1, 10);
    let later = (0..60_u32).map(|n| {
        let reading = rollup_jobs::engine::SourceDocument::new().date("timestamp", now() + i64::from(n) * HOUR / 6);
        reading.keyword("node", ["a", "b", "c"][n as usize % 3]).double("temperature", f64::from(n))
    });
    world.data.extend("sensor-1", later);
    world.clock.advance(Duration::from_hours(10));
    world.run("sensor");
    assert_eq!(world.status("sensor").stats().pages_processed(), 9 + 4, "30 buckets, 10 a page, and an empty one");
}

#[test]
fn a_longer_delay_takes_nothing_back() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let before = world.status("sensor");
    world.manager.update("sensor", JobUpdate::new().delay("365d")).unwrap();
    world.run("sensor");
    let after = world.status("sensor");
    assert_eq!((after.rolled_up_until(), after.position()), (before.rolled_up_until(), before.position()));
    assert_eq!(world.documents(), undisturbed("sensor"));
    assert_eq!(after.health().color(), HealthColor::Green);
}

#[test]
fn settings_that_are_not_valid_change_nothing() {
    let world = World::new();
    world.put("sensor");
    let before = settings(&world);
    let update = JobUpdate::new().cron("never").page_size(0).delay("-1");
    let Err(UpdateError::Invalid(error)) = world.manager.update("sensor", update) else { panic!("three mistakes") };
    let fields: Vec<_> = error.problems().iter().map(rollup_jobs::ConfigProblem::field).collect();
    assert_eq!(fields, ["cron", "page_size", "delay"]);
    assert_eq!(settings(&world), before);
    assert_eq!(settings(&world.after_crash()), before);
}

#[test]
fn what_documents_depend_on_cannot_be_changed() {
    for name in ["id", "index_pattern", "rollup_index", "groups", "metrics"] {
        let error = JobUpdate::from_json(&format!(r#"{{ "cron": "{NOON}", "{name}": [] }}"#)).unwrap_err();
        let [problem] = error.problems() else { panic!("one problem: {error}") };
        assert_eq!((problem.kind(), problem.field()), (ConfigProblemKind::Identity, name));
        assert!(problem.hint().is_some());
    }
    for text in ["", "[]", "7", "{", r#"{ "timeuot": "1s" }"#, r#"{ "timeout": "1s" }"#] {
        let error = JobUpdate::from_json(text).unwrap_err();
        assert_eq!(error.problems()[0].kind(), ConfigProblemKind::Syntax, "{text}");
    }
    assert_eq!(JobUpdate::from_json(r#"{ "delay": null }"#).unwrap(), JobUpdate::new().no_delay());
    assert_eq!(JobUpdate::from_json("{}").unwrap(), JobUpdate::new());
}

#[test]
fn a_save_that_is_refused_leaves_the_settings_as_they_were() {
    let world = World::new();
    world.put_started("sensor");
    let before = settings(&world);
    world.store.refuse_updates(true);
    assert!(matches!(world.manager.update("sensor", changed()), Err(UpdateError::Store { .. })));
    assert_eq!(settings(&world), before);
    assert!(world.status("sensor").next_run().unwrap().to_string().starts_with("2090"));
    world.store.refuse_updates(false);
    assert_eq!(settings(&world.after_crash()), before);
    world.manager.update("sensor", changed()).unwrap();
    assert_eq!(settings(&world), expected());
}

/// The store has kept it and said that it failed: what was before is saved once more.
#[test]
fn a_save_that_took_place_and_failed_is_undone() {
    let (world, store) = World::faulty_store();
    world.put("sensor");
    let before = settings(&world);
    store.fail_at(1, rollup_jobs::testing::StoreFault::UnavailableAfterwards);
    assert!(matches!(world.manager.update("sensor", changed()), Err(UpdateError::Store { .. })));
    assert_eq!(settings(&world), before);
    assert_eq!(settings(&world.after_crash()), before);
}

#[test]
fn two_updates_at_once_are_both_in_force() {
    let world = World::new();
    world.put("sensor");
    let (held, inside, go) = hold();
    let once = Mutex::new(Some(held));
    world.store.on_update(move |_| {
        let held = once.lock().unwrap().take();
        if let Some(held) = held {
            held();
        }
    });
    let manager = Arc::clone(&world.manager);
    let first = in_thread(move || manager.update("sensor", JobUpdate::new().page_size(11)));
    inside.recv_timeout(PATIENCE).unwrap();
    let manager = Arc::clone(&world.manager);
    let second = in_thread(move || manager.update("sensor", JobUpdate::new().delay("2h")));
    go.send(()).unwrap();
    first.join_in_time().unwrap();
    second.join_in_time().unwrap();
    let (_, page_size, delay) = settings(&world);
    assert_eq!((page_size, delay), (11, Some("2h".to_owned())));
    assert_eq!(settings(&world.after_crash()), settings(&world));
}

#[test]
fn who_cannot_be_updated_says_so() {
    let world = World::new();
    assert!(matches!(world.manager.update("nobody", changed()), Err(UpdateError::NotFound { .. })));
    world.put("sensor");
    world.manager.delete("sensor").unwrap();
    assert!(matches!(world.manager.update("sensor", changed()), Err(UpdateError::NotFound { .. })));
    world.put("sensor");
    world.manager.shutdown(PATIENCE).unwrap();
    assert!(matches!(world.manager.update("sensor", changed()), Err(UpdateError::ShutDown { .. })));
}

#[test]
fn a_job_that_is_being_deleted_is_not_updated() {
    let world = World::new();
    world.put("sensor");
    let (held, inside, go) = hold();
    *world.store.before_remove.lock().unwrap() = Some(Arc::new(move |_: &str| held()));
    let manager = Arc::clone(&world.manager);
    let delete = in_thread(move || manager.delete("sensor"));
    inside.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(world.manager.update("sensor", changed()), Err(UpdateError::Aborting { .. })));
    go.send(()).unwrap();
    let deleted: Result<(), DeleteError> = delete.join_in_time();
    deleted.unwrap();
}

#[test]
fn a_job_that_is_stopping_is_updated_and_still_stops() {
    let world = World::new();
    world.put_stopping("sensor");
    world.manager.update("sensor", changed()).unwrap();
    world.gates.commit().open();
    world.wait_for_state("sensor", JobState::Stopped);
    let again = world.after_crash();
    assert_eq!((settings(&again), again.state("sensor")), (expected(), JobState::Stopped));
}

#[test]
fn whoever_has_lost_the_jobs_cannot_update_them() {
    let store = MemoryStore::new();
    let open = || RollupJobManager::builder(Arc::new(loaded()), Arc::new(store.clone())).open().unwrap();
    let former = open();
    former.put(config("sensor").build().unwrap()).unwrap();
    let _owner = open();
    assert!(matches!(former.update("sensor", changed()), Err(UpdateError::LostOwnership { .. })));
}

/// Counts how often the rollup index is told, and refuses it at first.
#[derive(Debug)]
struct Told {
    engine: Arc<dyn Engine>,
    times: Arc<AtomicU64>,
    refused: u64,
}

impl SourceAdapter for Told {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }
}

impl RollupIndexAdapter for Told {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        if self.times.fetch_add(1, Ordering::SeqCst) < self.refused {
            return Err(EngineError::unavailable("planned fault"));
        }
        self.engine.redefine(job)
    }
}

#[test]
fn the_next_run_tells_the_rollup_index_once() {
    let times: Arc<AtomicU64> = Arc::default();
    let told = Arc::clone(&times);
    let world =
        World::on(loaded(), move |engine| Arc::new(Told { engine, times: told, refused: 2 }), |builder| builder);
    let told = || times.load(Ordering::SeqCst);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(told(), 0, "there is nothing to tell");
    world.manager.update("sensor", changed()).unwrap();
    assert_eq!(told(), 0, "not before the run, which is the index's only writer");
    world.run("sensor");
    assert_eq!((told(), world.status("sensor").last_errors().len()), (1, 1), "what it refuses is reported");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green, "and the run goes on");
    world.run("sensor");
    world.run("sensor");
    assert_eq!(told(), 3, "until it takes it");
    world.run("sensor");
    assert_eq!(told(), 3);
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn that_it_has_to_be_told_survives_a_crash() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.manager.update("sensor", changed()).unwrap();
    let again = world.after_crash();
    assert!(again.store.record("sensor").to_json()["redefine"].as_bool().unwrap());
    again.gates.search().open();
    again.run("sensor");
    assert!(!again.store.record("sensor").to_json()["redefine"].as_bool().unwrap());
}

/// An update at every engine call of a run that fails: it is never lost.
#[test]
fn an_update_before_a_run_that_fails_is_told_later() {
    for call in 1.. {
        let (world, engine) = World::faulty(loaded(), EngineFault::Rejected);
        world.put_started("sensor");
        world.manager.update("sensor", JobUpdate::new().page_size(5)).unwrap();
        engine.fail_at(call);
        world.run("sensor");
        let failed = engine.has_failed();
        engine.heal();
        world.run("sensor");
        assert_eq!(world.documents(), undisturbed("sensor"), "call {call}");
        assert!(!world.store.record("sensor").to_json()["redefine"].as_bool().unwrap(), "call {call}");
        if !failed {
            assert!(call > 20);
            return;
        }
    }
}

/// Of a definition, what documents depend on, in whatever order it names fields and metrics.
#[test]
fn engines_tell_jobs_by_their_identity() {
    let job = |config: RollupJobConfig| JobContext::new(config, &[]);
    let base = || config("sensor").terms(["a", "b"]).metric("load", [rollup_jobs::Metric::Min]);
    let one = job(base().build().unwrap());
    let same = base().terms(["b", "a"]).cron(NOON).page_size(99);
    let same = same.date_histogram(DateHistogram::fixed_interval("timestamp", "1h").delay("3h"));
    assert!(one.is_same_job(&same.build().unwrap().to_json()));
    for other in [
        base().terms(["a"]),
        base().rollup_index("elsewhere"),
        base().index_pattern("sensor-1"),
        base().metric("more", [rollup_jobs::Metric::Max]),
        base().date_histogram(DateHistogram::fixed_interval("timestamp", "2h")),
        base().date_histogram(DateHistogram::calendar_interval("timestamp", "1h")),
        base().date_histogram(DateHistogram::fixed_interval("timestamp", "1h").time_zone("Asia/Tokyo")),
    ] {
        let other = other.build().unwrap().to_json();
        assert!(!one.is_same_job(&other), "{other}");
    }
    assert!(!one.is_same_job(&serde_json::json!({ "id": "sensor" })));
}

#[cfg(feature = "tantivy")]
mod with_tantivy {
    use super::*;
    use crate::half_way::half_way;
    use crate::support::Watcher;
    use crate::tantivy_harness::{TantivyHarness, read_rollup, sensor_index};

    /// Tantivy has definition and progress in one commit: the one changes, the other stays, at whatever call it is
    /// interrupted.
    #[test]
    fn tantivy_keeps_the_progress_when_it_is_told() {
        let harness = TantivyHarness::in_ram();
        harness.engine.register("sensor-1", &sensor_index(crate::support::readings())).unwrap();
        let config = config("sensor").build().unwrap();
        let manager = half_way(harness.engine.clone(), &config);
        let documents = || read_rollup(&harness.engine.rollup_index("rolled", "sensor").unwrap().unwrap());
        let before = documents().len();
        assert!(before > 0 && before < 30);
        manager.update("sensor", JobUpdate::new().page_size(1_000)).unwrap();
        manager.start("sensor").unwrap();
        manager.trigger("sensor").unwrap();
        Watcher::default().wait_for(&manager, "all documents", || {
            let status = manager.get("sensor").unwrap();
            (status.state() == JobState::Stopped && status.stats().rollups_indexed() == 30).then_some(())
        });
        assert_eq!(documents().len(), 30);
        assert_eq!(manager.get("sensor").unwrap().stats().rollups_indexed(), 30);
    }
}
