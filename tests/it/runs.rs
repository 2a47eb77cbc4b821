//! Runs: when they begin, what they cover, how they share threads, what the status says.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::JobStore;
use rollup_jobs::testing::EngineFault;
use rollup_jobs::{HealthColor, JobState, JobStatus, Phase};

use crate::meddling::{Act, Meddling};
use crate::support::{Heard, SpyStore, World, config, loaded, now, undisturbed, waiting};

#[test]
fn the_schedule_triggers_started_jobs_only() {
    let world = World::new();
    let hourly = |id: &str| config(id).cron("0 0 * * * ?").build().unwrap();
    world.manager.put(hourly("started")).unwrap();
    world.manager.put(hourly("stopped")).unwrap();
    world.manager.start("started").unwrap();
    let next = world.status("started").next_run().unwrap();
    assert_eq!(next.to_string(), "2026-11-23T13:00:00Z");
    assert_eq!(world.status("stopped").next_run(), None);
    world.clock.advance(Duration::from_mins(59));
    assert_eq!(world.status("started").stats().trigger_count(), 0);
    world.clock.advance(Duration::from_mins(1));
    world.wait_for_end_of_run("started", 1);
    assert_eq!(world.documents(), undisturbed("started"));
    world.clock.advance(Duration::from_hours(1));
    world.wait_for_end_of_run("started", 2);
    assert_eq!(world.status("stopped").run(), 0);
    let _ = world.manager.stop("started", waiting()).unwrap();
    assert_eq!(world.status("started").next_run(), None);
}

#[test]
fn times_that_were_missed_are_not_made_up_for() {
    let world = World::new();
    world.manager.put(config("sensor").cron("0 0 * * * ?").build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    world.clock.advance(Duration::from_mins(301));
    world.wait_for_end_of_run("sensor", 1);
    assert_eq!(world.status("sensor").next_run().unwrap().to_string(), "2026-11-23T18:00:00Z");
    world.clock.advance(Duration::from_hours(1));
    world.wait_for_end_of_run("sensor", 2);
    assert_eq!(world.status("sensor").stats().trigger_count(), 2);
}

#[test]
fn a_schedule_that_is_over_never_triggers() {
    let world = World::new();
    world.manager.put(config("sensor").cron("0 0 0 1 1 ? 2020").build().unwrap()).unwrap();
    let told = "the schedule [0 0 0 1 1 ? 2020] has no time to come: only a trigger runs the job";
    assert_eq!(world.status("sensor").notice().unwrap().text(), told);
    world.manager.start("sensor").unwrap();
    let status = world.status("sensor");
    assert_eq!((status.next_run(), status.health().reason()), (None, Some(told)));
}

#[test]
fn only_complete_buckets_are_rolled_up_and_the_next_run_has_the_rest() {
    let data = MemoryEngine::new();
    let reading =
        |millis: i64| SourceDocument::new().date("timestamp", millis).keyword("node", "a").double("temperature", 1.0);
    for minute in [0, 59, 60, 119, 120] {
        data.add("sensor-1", reading(minute * 60_000));
    }
    let world = World::on(data, |engine| engine, |builder| builder);
    world.manager.put(config("sensor").date_histogram(delayed()).build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    // At 02:29 with a delay of half an hour the bucket of one o'clock is not over yet.
    for (now, expected) in [("1970-01-01T02:29:59.999Z", 1), ("1970-01-01T02:30:00Z", 2), ("1970-01-01T03:29:00Z", 2)] {
        world.clock.set_wall_clock(now.parse().unwrap());
        world.run("sensor");
        assert_eq!(world.documents().len(), expected, "{now}");
    }
    assert_eq!(world.status("sensor").stats().documents_processed(), 4);
}

fn delayed() -> rollup_jobs::DateHistogram {
    rollup_jobs::DateHistogram::fixed_interval("timestamp", "1h").delay("30m")
}

#[test]
fn the_boundary_is_that_of_the_trigger_however_long_the_run_takes() {
    let data = MemoryEngine::new();
    data.extend("sensor-1", crate::support::readings());
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.clock.set_wall_clock("1970-01-01T05:00:00Z".parse().unwrap());
    world.gates.search().close();
    world.manager.trigger("sensor").unwrap();
    world.gates.search().wait_for_waiting(1);
    world.clock.set_wall_clock("1970-01-02T00:00:00Z".parse().unwrap());
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    assert_eq!(world.documents().len(), 15, "five hours of three nodes");
}

#[test]
fn runs_take_turns_on_one_thread() {
    let world = World::with(|builder| builder.indexer_threads(1));
    for id in ["a", "b"] {
        world.put_started(id);
    }
    world.gates.search().close();
    world.manager.trigger("a").unwrap();
    world.manager.trigger("b").unwrap();
    world.gates.search().open();
    for id in ["a", "b"] {
        world.wait_for_end_of_run(id, 1);
    }
    let turns: Vec<String> = world
        .watcher
        .heard()
        .into_iter()
        .filter_map(|heard| match heard {
            Heard::Turn(id, _) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(turns[..4], ["a", "b", "a", "b"], "neither waits for the other's end");
}

#[test]
fn a_status_never_waits_for_the_engine_and_says_what_it_does() {
    let world = World::new();
    world.put_indexing("sensor");
    world.clock.advance(Duration::from_secs(7));
    let status = world.status("sensor");
    assert_eq!((status.state(), status.phase(), status.run()), (JobState::Indexing, Phase::Searching, 1));
    assert_eq!(status.in_phase_for(), Duration::from_secs(7));
    assert_eq!(status.config().unwrap().id(), "sensor");
    assert_eq!(status.health().color(), HealthColor::Green);
    world.clock.advance(Duration::from_mins(5));
    let health = world.status("sensor").health().clone();
    assert_eq!(health.color(), HealthColor::Red, "an engine call is wedged");
    assert_eq!(health.reason(), Some("an engine call has not returned: searching for 5m 7s"));
}

#[test]
fn health_turns_yellow_after_one_failed_run_red_after_three_and_green_after_a_good_one() {
    let (world, engine) = World::faulty(loaded(), EngineFault::Rejected);
    world.put_started("sensor");
    for expected in [HealthColor::Yellow, HealthColor::Yellow, HealthColor::Red] {
        engine.fail_at(3);
        world.run("sensor");
        let status = world.status("sensor");
        assert_eq!((status.state(), status.health().color()), (JobState::Started, expected));
        assert!(status.health().reason().unwrap().contains("planned fault"), "{:?}", status.health());
    }
    engine.heal();
    world.run("sensor");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    assert_eq!(world.documents(), undisturbed("sensor"), "nothing was skipped");
    let error = world.status("sensor").last_errors()[0].clone();
    assert_eq!((error.phase(), error.run(), error.is_transient()), (Phase::Searching, 1, false));
    assert_eq!(error.to_string(), "while searching in run 1: the engine rejected the request: planned fault");
}

#[test]
fn only_the_last_errors_are_kept() {
    let (world, engine) = World::faulty(loaded(), EngineFault::Rejected);
    world.put_started("sensor");
    for _ in 0..JobStatus::ERRORS_KEPT + 4 {
        engine.fail_at(1);
        world.run("sensor");
    }
    let errors = world.status("sensor").last_errors().to_vec();
    assert_eq!(errors.len(), JobStatus::ERRORS_KEPT);
    assert_eq!(errors.last().unwrap().run(), 20);
}

#[test]
fn a_rollup_index_that_is_gone_is_rolled_up_anew() {
    for data in [MemoryEngine::new(), MemoryEngine::without_progress()] {
        data.extend("sensor-1", crate::support::readings());
        let world = World::on(data, |engine| engine, |builder| builder);
        world.put_started("sensor");
        world.run("sensor");
        assert!(world.data.remove_index("rolled"));
        world.data.add("sensor-1", SourceDocument::new().date("timestamp", now()).keyword("node", "z"));
        world.clock.advance(Duration::from_hours(1));
        let run = world.manager.trigger("sensor").unwrap().run();
        // An engine without checkpoints finds out when it writes, and tries again after a pause.
        world.let_pauses_pass_until_end_of_run(run);
        assert_eq!(world.documents().len(), 31);
        assert!(world.status("sensor").notice().unwrap().text().contains("rolling up from the start"));
    }
}

/// A crash between the engine's commit and the store's save.
#[test]
fn a_run_says_that_the_engine_was_further_than_the_store() {
    let world = World::new();
    world.put_started("sensor");
    let store = SpyStore::default();
    store.insert(&world.store.record("sensor")).unwrap();
    world.run("sensor");
    let position = world.status("sensor").position().unwrap().clone();
    let after = World::on_store(world.data.clone(), Arc::new(store));
    after.gates.search().open();
    after.run("sensor");
    let expected =
        format!("the engine has committed up to {position}, the job store up to nothing: going on from the engine's");
    assert_eq!(after.status("sensor").notice().unwrap().text(), expected);
}

/// A document that is rejected again and again had an empty commit before each try, which counted as progress: the
/// run never ended, and its pauses never grew.
#[test]
fn an_item_that_is_rejected_again_and_again_ends_the_run() {
    let data = MemoryEngine::without_progress();
    data.extend("sensor-1", crate::support::readings());
    let world = World::on(
        data,
        |engine| Arc::new(Meddling { engine, manager: Arc::default(), act: Act::RejectFirst }),
        |builder| builder,
    );
    world.put_started("sensor");
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(world.status("sensor").last_errors().len(), 5);
    assert!(world.documents().is_empty());
}
