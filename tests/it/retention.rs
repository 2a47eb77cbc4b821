//! A job that keeps what it has rolled up for a time, and not longer.

use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::search::{DateHistogramAggregation, SearchRequest};
use rollup_jobs::testing::EngineFault;
use rollup_jobs::{JobUpdate, RollupJobConfig};
use serde_json::json;

use crate::support::{HOUR, World, config, now, undisturbed};

/// One reading in each of the last hundred hours, rolled up.
fn hundred_hours(data: MemoryEngine) -> World {
    data.extend("sensor-1", (0..100).map(|hour| reading(now() / HOUR - 100 + hour)));
    let world = World::on(data, |engine| engine, |builder| builder);
    world.manager.put(config("sensor").max_age("50h").build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    world
}

fn reading(hour: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR).keyword("node", "a").double("temperature", 1.0)
}

fn hours(world: &World) -> usize {
    let hours = DateHistogramAggregation::fixed("timestamp", "1h");
    let response = world.manager.search(&SearchRequest::new("sensor-*").aggregation("hours", hours)).unwrap();
    response.buckets("hours").unwrap().len()
}

#[test]
fn what_is_too_old_goes_and_the_rest_stays() {
    for data in [MemoryEngine::new(), MemoryEngine::without_progress()] {
        let world = hundred_hours(data);
        world.run("sensor");
        world.run("sensor");
        assert_eq!(world.documents().len(), 50);
        assert_eq!(hours(&world), 100, "raw documents are still there");
        let run = |advanced: u64| {
            world.clock.advance(Duration::from_hours(advanced));
            world.run("sensor");
            world.documents().len()
        };
        assert_eq!((run(10), run(30), run(100)), (40, 10, 0));
        // What was said of it is no matter any more.
        let at = |hour: i64| rollup_jobs::jiff::Timestamp::from_millisecond((now() / HOUR + hour) * HOUR).unwrap();
        world.manager.note_change("sensor-1", at(-70)..at(-60)).unwrap();
        world.run("sensor");
        assert_eq!(world.documents().len(), 0);
    }
}

/// Raw documents are dropped sooner than what is rolled up: what neither is there any more nobody misses.
#[test]
fn a_search_over_all_time_is_answered_by_what_there_is() {
    let world = hundred_hours(MemoryEngine::new());
    world.run("sensor");
    let before = world.manager.safe_to_drop_before("sensor-1").unwrap().before.unwrap();
    world.manager.seal_before("sensor-1", before).unwrap();
    world.data.retain("sensor-1", |_| false);
    assert_eq!(hours(&world), 100);
    world.run("sensor");
    assert_eq!(hours(&world), 50);
}

#[test]
fn faults_at_every_call_lose_nothing_that_is_to_stay() {
    for fault in [EngineFault::Unavailable, EngineFault::UnavailableAfterwards, EngineFault::Panic] {
        for data in [MemoryEngine::new, MemoryEngine::without_progress] {
            let (mut call, mut has_failed) = (1, true);
            while has_failed {
                let data = data();
                data.extend("sensor-1", (0..20).map(|hour| reading(now() / HOUR - 20 + hour)));
                let (world, engine) = World::faulty(data, fault);
                world.manager.put(config("sensor").max_age("10h").build().unwrap()).unwrap();
                world.manager.start("sensor").unwrap();
                world.run("sensor");
                engine.fail_at(call);
                let run = world.manager.trigger("sensor").unwrap().run();
                world.let_pauses_pass_until_end_of_run(run);
                has_failed = engine.has_failed();
                engine.heal();
                assert_eq!(hours(&world), 20, "{fault:?} {call}");
                let run = world.manager.trigger("sensor").unwrap().run();
                world.let_pauses_pass_until_end_of_run(run);
                assert_eq!((hours(&world), world.documents().len()), (20, 10), "{fault:?} {call}");
                call += 1;
            }
            assert!(call > 4, "{call}");
        }
    }
}

#[test]
fn the_policy_is_elasticsearchs_of_transforms() {
    let world = World::new();
    let mut json = config("sensor").build().unwrap().to_json();
    json["retention_policy"] = json!({ "time": { "field": "timestamp", "max_age": "400d" } });
    let with_policy = RollupJobConfig::from_json(&json.to_string()).unwrap();
    assert_eq!(with_policy.max_age().unwrap().to_string(), "400d");
    assert_eq!(with_policy.to_json()["retention_policy"], json!({ "time": { "max_age": "400d" } }));
    for (policy, field) in [
        (json!({ "time": { "field": "other", "max_age": "1d" } }), "retention_policy.time.field"),
        (json!({ "time": { "max_age": "soon" } }), "retention_policy.time.max_age"),
        (json!({ "time": { "max_age": "0s" } }), "retention_policy.time.max_age"),
        (json!({ "time": {} }), "retention_policy.time.max_age"),
        (json!({}), "retention_policy.time.max_age"),
    ] {
        json["retention_policy"] = policy;
        let refused = RollupJobConfig::from_json(&json.to_string()).unwrap_err();
        assert_eq!(refused.problems()[0].field(), field, "{refused}");
    }
    // It is a setting.
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    let update = JobUpdate::from_json(r#"{ "retention_policy": { "time": { "max_age": "1d" } } }"#).unwrap();
    world.manager.update("sensor", update).unwrap();
    world.run("sensor");
    assert_eq!(world.documents().len(), 0);
    world.manager.update("sensor", JobUpdate::from_json(r#"{ "retention_policy": null }"#).unwrap()).unwrap();
    assert_eq!(world.store.record("sensor").config().max_age(), None);
}
