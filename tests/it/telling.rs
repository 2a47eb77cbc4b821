//! What is told of late data: how much of it came, how late, what became of it, and what is still to be done.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::SourceDocument;
use rollup_jobs::{
    DateHistogram, HealthColor, JobState, LateData, LateDataError, LateDocuments, RepairWhen, RollupJobConfig,
    TimeValue, VerifyOptions,
};
use serde_json::json;

use crate::noticing::{World, late, open};
use crate::support::{HOUR, Heard, PATIENCE, config, instants, now, waiting};

fn late_documents(world: &World) -> LateDocuments {
    world.manager.get("sensor").unwrap().late_documents()
}

#[test]
fn late_documents_are_counted_and_counted_once() {
    let mut world = World::new();
    assert_eq!(late_documents(&world), LateDocuments::default());
    world.host.commit([late(3, "x"), late(7, "y")]);
    let report = world.manager.late_data("sensor").unwrap();
    assert_eq!(report.changed, [instants(3..4), instants(7..8)]);
    assert_eq!((report.being_changed.len(), report.lost.len(), report.shrunk.len()), (0, 0, 0));
    assert_eq!(report.oldest(), Some(instants(3..4).start));
    let told = world.watcher.wait_for(&world.manager, "the observers to be told", || {
        world.watcher.heard().into_iter().find_map(|heard| match heard {
            Heard::Late(id, late) => Some((id, late)),
            _ => None,
        })
    });
    assert_eq!(told, ("sensor".to_owned(), report.late_documents.clone()));

    // Nobody counts them again: not a search, not the run that repairs them, not the next manager.
    assert_eq!(world.total(), 62);
    world.run();
    let counted = late_documents(&world);
    assert_eq!((counted.noticed, counted.refused, counted.read_again), (2, 0, 14));
    assert_eq!(world.manager.late_data("sensor").unwrap().changed, []);
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.manager.shutdown(PATIENCE).unwrap();
    (world.manager, world.watcher) = open(Arc::new(world.engine.clone()), &world.store, &world.clock);
    assert_eq!(late_documents(&world), counted);
}

/// The delay that a job should have is said by how late its documents are.
#[test]
fn how_late_documents_are_is_known() {
    let mut world = World::new();
    world.host.commit((0..99).map(|n| late(9, &format!("late-{n}"))).chain([late(1, "later")]));
    let report = world.manager.late_data("sensor").unwrap();
    let after = |hour: i64| Duration::from_millis((now() - hour * HOUR).unsigned_abs());
    let lateness = &report.late_documents.lateness;
    assert_eq!(lateness.max(), Some(after(1)));
    let delay = report.delay_for_99_percent().unwrap();
    assert_eq!(lateness.quantile(0.99), Some(delay));
    assert!((after(9)..after(9) * 6 / 5).contains(&delay), "{delay:?}");
}

#[test]
fn what_comes_where_raw_documents_are_sealed_is_refused() {
    let mut world = World::new();
    let seal = instants(5..6).start;
    world.manager.seal_before("sensor-1", seal).unwrap();
    world.host.commit([late(3, "x"), late(7, "y")]);
    let report = world.manager.late_data("sensor").unwrap();
    assert_eq!(report.changed, [instants(7..8)]);
    assert_eq!((report.late_documents.noticed, report.late_documents.refused), (2, 1));
}

#[test]
fn a_job_that_is_not_repaired_for_long_is_yellow() {
    let warn_after = TimeValue::parse("2h", "warn_after").unwrap();
    let mut world = World::with(LateData::new().repair(RepairWhen::WhenAsked).warn_after(warn_after));
    world.host.commit([late(3, "x")]);
    world.run();
    let health = || world.manager.get("sensor").unwrap().health().clone();
    world.clock.advance(Duration::from_mins(119));
    assert_eq!(health().color(), HealthColor::Green);
    world.clock.advance(Duration::from_mins(1));
    let reason = "documents from 1970-01-01T03:00:00Z on have changed, and are not rolled up again for 2h";
    assert_eq!((health().color(), health().reason()), (HealthColor::Yellow, Some(reason)));
    world.manager.refresh("sensor", instants(3..4)).unwrap().wait(PATIENCE).unwrap();
    world.run();
    assert_eq!(health().color(), HealthColor::Green);
    // It begins to count anew.
    world.host.commit([late(4, "y")]);
    world.run();
    assert_eq!(health().color(), HealthColor::Green);
}

#[test]
fn a_verification_is_remembered() {
    let world = World::new();
    assert_eq!(world.manager.late_data("sensor").unwrap().last_verification, None);
    let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
    let last = world.manager.late_data("sensor").unwrap().last_verification.unwrap();
    assert_eq!((last.right, last.different, last.missing, last.too_many), (found.right, 0, 0, 0));
    assert_eq!(last.at.as_millisecond(), now());
    assert!(matches!(world.manager.late_data("nobody"), Err(LateDataError::NotFound { .. })));
}

#[test]
fn the_warning_is_a_setting() {
    let warn_after = TimeValue::parse("36h", "warn_after").unwrap();
    let config = config("sensor").late_data(LateData::new().warn_after(warn_after)).build().unwrap();
    let printed = config.to_json();
    assert_eq!(printed["late_data"], json!({ "warn_after": "36h" }));
    assert_eq!(RollupJobConfig::from_json(&printed.to_string()).unwrap(), config);
    assert_eq!(config.late_data().warns_after(), Duration::from_hours(36));
    assert_eq!(LateData::new().warns_after(), Duration::from_hours(24));
    let mut wrong = printed;
    wrong["late_data"]["warn_after"] = json!("-1");
    let error = RollupJobConfig::from_json(&wrong.to_string()).unwrap_err().to_string();
    assert!(error.contains("late_data.warn_after") && error.contains("[warn_after] has to be zero or more"), "{error}");
}

/// Documents in the minute that a job of seconds has rolled up in part are not late if the job has not been there.
#[test]
fn what_comes_in_time_is_not_late_in_a_minute_that_is_rolled_up_in_part() {
    let mut world = World::new();
    let job = RollupJobConfig::builder("seconds").index_pattern("sensor-*").rollup_index("rolled-seconds");
    let job = job.cron("0 0 0 1 1 ? 2090").page_size(100);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "10s")).build().unwrap();
    world.manager.put(job).unwrap();
    world.manager.start("seconds").unwrap();
    let run = |world: &World| {
        world.manager.trigger("seconds").unwrap();
        world.watcher.wait_for(&world.manager, "the end of a run", || {
            (world.manager.get("seconds").unwrap().state() == JobState::Started).then_some(())
        });
    };
    for second in [10, 20, 30] {
        let date = now() + second * 1_000 - 5_000;
        world.host.commit([SourceDocument::new().date("timestamp", date).keyword("id", &format!("at-{second}"))]);
        world.clock.advance(Duration::from_secs(10));
        run(&world);
        world
            .host
            .commit([SourceDocument::new().date("timestamp", date + 6_000).keyword("id", &format!("then-{second}"))]);
        world.host.merge();
        let report = world.manager.late_data("seconds").unwrap();
        assert_eq!((report.late_documents.noticed, report.changed), (0, vec![]), "after {second} seconds");
    }
    // One that is late is late by its own second.
    world.host.commit([SourceDocument::new().date("timestamp", now() + 12_000).keyword("id", "late")]);
    let report = world.manager.late_data("seconds").unwrap();
    assert_eq!(report.late_documents.noticed, 1);
}
